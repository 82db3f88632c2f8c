//! Longest common subsequence of two series: how many points match in order, give or take `epsilon`.
//!
//! Bit-parallel (Crochemore and others 2001, Hyyrö 2004): a machine word holds 64 cells of a column of the matrix, and
//! an addition carries along it. With `M` the points of one series that match a point of the other,
//! `V = (V + (V & M)) | (V & !M)`; the zeros that remain count the matches.
//!
//! `M` is the set of values within `epsilon` of a point, so it is a range of the sorted series: the difference of two
//! prefixes, all of which are prepared.

use crate::input::{KernelError, Series, check};
use crate::matrix::Symmetric;

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
    pub fn matches(&self, a: &[f64], b: &[f64]) -> Result<usize, KernelError> {
        check(Series::First, a)?;
        check(Series::Second, b)?;
        Ok(self.count(&Prefixes::of(a), b, &mut Vec::new()))
    }

    /// The matches as a share of the shorter series: 1 for a series with itself, 0 without any match.
    pub fn similarity(&self, a: &[f64], b: &[f64]) -> Result<f64, KernelError> {
        Ok(self.matches(a, b)? as f64 / a.len().min(b.len()) as f64)
    }

    /// [`similarity`](Self::similarity) of all pairs.
    ///
    /// Memory is that of the prefixes of one series: `n` bits for each of its `n` points.
    pub fn all_pairs<S: AsRef<[f64]>>(&self, series: &[S]) -> Result<Symmetric<f64>, KernelError> {
        for (index, values) in series.iter().enumerate() {
            check(Series::Member(index), values.as_ref())?;
        }
        let mut similarities = Symmetric::filled(series.len(), 1.0);
        for (i, a) in series.iter().enumerate() {
            let mut similarity = self.with(a.as_ref());
            for (j, b) in series.iter().enumerate().skip(i + 1) {
                similarities.set(i, j, similarity(b.as_ref()));
            }
        }
        Ok(similarities)
    }

    /// [`similarity`](Self::similarity) of one series with any others, of values that were checked.
    pub(crate) fn with(self, a: &[f64]) -> impl FnMut(&[f64]) -> f64 + use<> {
        let (prefixes, points, mut ranges) = (Prefixes::of(a), a.len(), Vec::new());
        move |b| self.count(&prefixes, b, &mut ranges) as f64 / points.min(b.len()) as f64
    }

    fn count(&self, a: &Prefixes, b: &[f64], ranges: &mut Vec<(usize, usize)>) -> usize {
        ranges.clear();
        ranges.extend(b.iter().map(|&y| a.range(y, self.epsilon)));
        match (self.window, a.words) {
            (None, 1) => zeros(&in_words::<1>(a, ranges)),
            (None, 2) => zeros(&in_words::<2>(a, ranges)),
            (None, 4) => zeros(&in_words::<4>(a, ranges)),
            (None, 8) => zeros(&in_words::<8>(a, ranges)),
            (None, 16) => zeros(&in_words::<16>(a, ranges)),
            (None, _) => zeros(&in_slices(a, ranges, |_, _| u64::MAX)),
            (Some(window), _) => zeros(&in_slices(a, ranges, |j, word| near(j, window, word))),
        }
    }
}

/// Steps between neighbouring ranks on the grid, on average.
const GRID_STEPS: usize = 4;

/// Sets of points in order of their values: set `r` holds the `r` smallest.
struct Prefixes {
    sorted: Vec<f64>,
    /// Words in a set; a power of two while the whole set fits in registers.
    words: usize,
    sets: Vec<u64>,
    /// How many points lie below each step of an even grid from the least to the greatest.
    grid: Vec<u32>,
    steps_per_unit: f64,
}

impl Prefixes {
    fn of(series: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..series.len()).collect();
        order.sort_unstable_by(|&a, &b| series[a].total_cmp(&series[b]));
        let words = series.len().div_ceil(64);
        let words = if words <= 16 { words.next_power_of_two() } else { words };
        let mut sets = vec![0; words * (series.len() + 1)];
        for (rank, &point) in order.iter().enumerate() {
            let (before, after) = sets[rank * words..].split_at_mut(words);
            after[..words].copy_from_slice(before);
            after[point / 64] |= 1 << (point % 64);
        }
        let sorted: Vec<f64> = order.iter().map(|&point| series[point]).collect();
        let steps = GRID_STEPS * series.len();
        let spread = sorted[series.len() - 1] - sorted[0];
        let mut prefixes =
            Self { sorted, words, sets, grid: Vec::new(), steps_per_unit: steps as f64 / spread };
        let mut rank = 0;
        for step in 0..=steps {
            while rank < series.len() && prefixes.step(prefixes.sorted[rank], steps) < step {
                rank += 1;
            }
            prefixes.grid.push(u32::try_from(rank).unwrap_or(0));
        }
        prefixes
    }

    /// The step of the grid at or below a value, at most `last`. Not a number, from a series without spread, is 0.
    #[inline(always)]
    fn step(&self, value: f64, last: usize) -> usize {
        (((value - self.sorted[0]) * self.steps_per_unit) as usize).min(last)
    }

    /// Ranks of the points `x` with `|x - y| <= epsilon`. Differences round in order, so they are neighbours.
    #[inline(always)]
    fn range(&self, y: f64, epsilon: f64) -> (usize, usize) {
        let first = self.rank(y - epsilon, |x| x - y < -epsilon);
        (first, self.rank(y + epsilon, |x| x - y <= epsilon).max(first))
    }

    /// How many of the smallest points are `low`, which ends near `value`.
    #[inline(always)]
    fn rank(&self, value: f64, low: impl Fn(f64) -> bool) -> usize {
        let mut rank = self.grid[self.step(value, self.grid.len() - 1)] as usize;
        // The grid may round beyond the end of what is low; where it does not, few points are left to pass.
        if rank > 0 && !low(self.sorted[rank - 1]) {
            return self.sorted.partition_point(|&x| low(x));
        }
        while rank < self.sorted.len() && low(self.sorted[rank]) {
            rank += 1;
        }
        rank
    }

    fn set(&self, rank: usize) -> &[u64] {
        &self.sets[rank * self.words..(rank + 1) * self.words]
    }
}

/// The last column, for sets of `W` words.
fn in_words<const W: usize>(a: &Prefixes, ranges: &[(usize, usize)]) -> [u64; W] {
    let (sets, _) = a.sets.as_chunks::<W>();
    let mut column = [u64::MAX; W];
    for &(first, end) in ranges {
        let (below, within) = (&sets[first], &sets[end]);
        let mut carry = false;
        for w in 0..W {
            (column[w], carry) = advance(column[w], within[w] & !below[w], carry);
        }
    }
    column
}

/// The last column, for sets of any size, with what of word `w` may match point `j` given by `near(j, w)`.
fn in_slices(a: &Prefixes, ranges: &[(usize, usize)], near: impl Fn(usize, usize) -> u64) -> Vec<u64> {
    let mut column = vec![u64::MAX; a.words];
    for (j, &(first, end)) in ranges.iter().enumerate() {
        let sets = a.set(first).iter().zip(a.set(end));
        let mut carry = false;
        for (w, (word, (&below, &within))) in column.iter_mut().zip(sets).enumerate() {
            (*word, carry) = advance(*word, within & !below & near(j, w), carry);
        }
    }
    column
}

/// One word of the recurrence, with the carry from the word below.
#[inline(always)]
fn advance(word: u64, matching: u64, carry: bool) -> (u64, bool) {
    let (sum, first) = word.overflowing_add(word & matching);
    let (sum, second) = sum.overflowing_add(u64::from(carry));
    (sum | (word & !matching), first | second)
}

/// Points of word `w` at most `window` away from point `j`.
fn near(j: usize, window: usize, w: usize) -> u64 {
    let below = |point: usize| match point.saturating_sub(w * 64) {
        bits @ 0..64 => (1_u64 << bits) - 1,
        _ => u64::MAX,
    };
    below(j.saturating_add(window).saturating_add(1)) & !below(j.saturating_sub(window))
}

/// Bits past the last point match nothing and stay ones.
fn zeros(column: &[u64]) -> usize {
    column.iter().map(|word| word.count_zeros() as usize).sum()
}
