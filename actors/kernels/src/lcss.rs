//! Longest common subsequence of two series: how many points match in order, give or take `epsilon`.
//!
//! Bit-parallel (Crochemore and others 2001, Hyyrö 2004): a machine word holds 64 cells of a column of the matrix, and
//! an addition carries along it. With `M` the points of one series that match a point of the other,
//! `V = (V + (V & M)) | (V & !M)`; the zeros that remain count the matches.
//!
//! `M` is the set of values within `epsilon` of a point, so it is a range of the sorted series: the difference of two
//! prefixes, all of which are prepared. Where the range begins and ends is read off the common order of all values.

mod columns;
mod order;

use crate::input::{KernelError, Series, check};
use crate::matrix::Symmetric;
use crate::simd::Simd;
use columns::{in_registers, in_slices, in_words};
use order::Counts;
pub(crate) use order::Order;

/// What counts as a match.
///
/// ```
/// use swarm_kernels::Lcss;
/// let lcss = Lcss::new(0.5)?;
/// assert_eq!(lcss.matches(&[1.0, 2.0, 3.0], &[1.2, 9.0, 2.9, 2.4])?, 2);
/// assert_eq!(lcss.window(0).similarity(&[1.0, 2.0], &[2.0, 1.0])?, 0.0);
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lcss {
    epsilon: f64,
    window: Option<usize>,
}

impl Lcss {
    /// Points `x` and `y` match when `|x - y| <= epsilon`, wherever they are.
    pub fn new(epsilon: f64) -> Result<Self, KernelError> {
        if epsilon >= 0.0 {
            Ok(Self { epsilon, window: None })
        } else {
            Err(KernelError::Epsilon { epsilon })
        }
    }

    /// Only points whose indices differ by at most `points` match.
    pub fn window(self, points: usize) -> Self {
        Self { window: Some(points), ..self }
    }

    /// The most points that match in order.
    ///
    /// # Panics
    /// When the series have 2³² points together, or more.
    pub fn matches(&self, a: &[f64], b: &[f64]) -> Result<usize, KernelError> {
        check(Series::First, a)?;
        check(Series::Second, b)?;
        let order = self.order(&[a, b]);
        Ok(self.count(Simd::active(), &Prefixes::of(&order, 0), order.reaches(1), &mut Vec::new()))
    }

    /// The matches as a share of the shorter series: 1 for a series with itself, 0 without any match.
    ///
    /// # Panics
    /// When the series have 2³² points together, or more.
    pub fn similarity(&self, a: &[f64], b: &[f64]) -> Result<f64, KernelError> {
        Ok(self.matches(a, b)? as f64 / a.len().min(b.len()) as f64)
    }

    /// [`similarity`](Self::similarity) of all pairs.
    ///
    /// Memory is that of the prefixes of one series, `n` bits for each of its `n` points, and 36 bytes for each point of
    /// all series.
    ///
    /// # Panics
    /// When the series have 2³² points together, or more.
    pub fn all_pairs<S: AsRef<[f64]>>(&self, series: &[S]) -> Result<Symmetric<f64>, KernelError> {
        for (index, values) in series.iter().enumerate() {
            check(Series::Member(index), values.as_ref())?;
        }
        let mut similarities = Symmetric::filled(series.len(), 1.0);
        let order = self.order(series);
        for i in 0..series.len() {
            let mut similarity = self.with(&order, i);
            for j in i + 1..series.len() {
                similarities.set(i, j, similarity(j));
            }
        }
        Ok(similarities)
    }

    /// Makes series of values that were checked ready for [`with`](Self::with).
    pub(crate) fn order<S: AsRef<[f64]>>(&self, series: &[S]) -> Order {
        Order::of(series, self.epsilon)
    }

    /// [`similarity`](Self::similarity) of one of the ordered series with any others.
    pub(crate) fn with(self, order: &Order, i: usize) -> impl FnMut(usize) -> f64 + use<'_> {
        let (prefixes, mut ranges) = (Prefixes::of(order, i), Vec::new());
        let points = order.places(i).len();
        move |j| {
            let reaches = order.reaches(j);
            let matches = self.count(Simd::active(), &prefixes, reaches, &mut ranges);
            matches as f64 / points.min(reaches.len()) as f64
        }
    }

    /// `ranges` is scratch space.
    fn count(&self, simd: Simd, a: &Prefixes, reaches: &[[u32; 2]], ranges: &mut Vec<[usize; 2]>) -> usize {
        ranges.clear();
        ranges.extend(reaches.iter().map(|&reach| a.counts.ranks(reach)));
        match (self.window, a.words) {
            (None, 1) => in_words::<1>(&a.sets, ranges),
            (None, 2) => in_words::<2>(&a.sets, ranges),
            (None, 4) => in_words::<4>(&a.sets, ranges),
            (None, 8 | 16) => in_registers(simd, a.words, &a.sets, ranges),
            (None, _) => in_slices(a.words, &a.sets, ranges, |_, _| u64::MAX),
            (Some(window), _) => in_slices(a.words, &a.sets, ranges, |j, word| near(j, window, word)),
        }
    }
}

/// Sets of points in order of their values: set `r` holds the `r` smallest.
struct Prefixes {
    /// Words in a set; a power of two while the whole set fits in registers.
    words: usize,
    sets: Vec<u64>,
    counts: Counts,
}

impl Prefixes {
    /// Those of one of the ordered series.
    fn of(order: &Order, index: usize) -> Self {
        let places = order.places(index);
        let words = places.len().div_ceil(64);
        let words = if words <= 16 { words.next_power_of_two() } else { words };
        let mut sets = vec![0; words * (places.len() + 1)];
        for (rank, &(_, point)) in places.iter().enumerate() {
            let (before, after) = sets[rank * words..].split_at_mut(words);
            after[..words].copy_from_slice(before);
            after[point as usize / 64] |= 1 << (point % 64);
        }
        Self { words, sets, counts: Counts::of(order, places) }
    }
}

/// Points of word `w` at most `window` away from point `j`.
fn near(j: usize, window: usize, w: usize) -> u64 {
    let below = |point: usize| match point.saturating_sub(w * 64) {
        bits @ 0..64 => (1_u64 << bits) - 1,
        _ => u64::MAX,
    };
    below(j.saturating_add(window).saturating_add(1)) & !below(j.saturating_sub(window))
}
