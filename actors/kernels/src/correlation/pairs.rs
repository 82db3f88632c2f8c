//! All pairs of some series, in runs that can be computed anywhere and put together again.

use std::ops::Range;

use crate::band::Band;
use crate::correlation::check_lengths;
use crate::correlation::gaps::{Form, Gaps};
use crate::dtw::{self, Ring};
use crate::input::{KernelError, Series, check, go_on};
use crate::lcss::{self, Lcss};
use crate::matrix::Symmetric;
use crate::simd::Simd;

/// Rows of correlations that are computed together, so that what is loaded of a partner serves several.
const TILE_ROWS: usize = 4;

/// From how many series on several are compared at a time by DTW; of fewer most of a register would be idle.
const RING_ORDER_MIN: usize = 8;

/// From how many cells on a pair is compared by itself where most of a register would be idle.
const ALONE_CELLS_MIN: usize = 1 << 24;

/// The longest series that [`Measure::Lcss`] takes: the tables of one series have 128 MiB then.
pub const LCSS_POINTS_MAX: usize = 1 << 15;

/// What is computed of a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// Pearson's correlation over the points at which neither is missing (NaN); NaN where it is undefined.
    Pearson,
    /// Spearman's correlation: Pearson's of the ranks among those points.
    Spearman,
    /// The matches as a share of the shorter series, 0 to 1. Missing values are refused.
    Lcss(Lcss),
    /// `1 / (1 + d)` with the DTW distance `d`, the root of the summed squares: 1 for equal series, towards 0 for
    /// distant ones. Missing values are refused.
    Dtw(Band),
}

impl Measure {
    /// Whether values lie around 0, from -1 to 1, rather than between 0 and 1.
    pub fn is_signed(self) -> bool {
        matches!(self, Measure::Pearson | Measure::Spearman)
    }

    /// How far apart series of this value are: 1 less a correlation or a share of matches, the DTW distance itself.
    pub fn distance(self, value: f64) -> f64 {
        match self {
            Measure::Dtw(_) => 1.0 / value - 1.0,
            _ => 1.0 - value,
        }
    }
}

/// The order of all pairs of some series, each with itself among them.
///
/// The pairs come in rows. A series is paired with itself and with those that follow it, the first one following the
/// last, up to half way round: so every pair occurs once and all rows are of like length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairOrder {
    series: usize,
}

impl PairOrder {
    /// For so many series.
    pub fn new(series: usize) -> Self {
        Self { series }
    }

    /// How many pairs there are.
    pub fn pairs(self) -> usize {
        self.start(self.series)
    }

    /// The pair at a position below [`pairs`](Self::pairs): the series of the row, and one that follows it.
    pub fn pair(self, position: usize) -> (usize, usize) {
        let (i, ahead) = self.place(position);
        (i, (i + ahead) % self.series)
    }

    /// The matrix of the values of all pairs.
    ///
    /// # Panics
    /// When they are not as many as the pairs.
    pub fn matrix(self, values: impl IntoIterator<Item = f64>) -> Symmetric<f64> {
        let mut matrix = Symmetric::filled(self.series, f64::NAN);
        let mut values = values.into_iter();
        for (i, j) in (0..self.pairs()).map(|position| self.pair(position)) {
            matrix.set(i, j, values.next().expect("every pair has a value"));
        }
        assert!(values.next().is_none(), "every value has a pair");
        matrix
    }

    /// The row of a position, and how far ahead of the series of the row the other one is.
    fn place(self, position: usize) -> (usize, usize) {
        let (row, long) = (self.series / 2 + 1, self.long_rows());
        match position.checked_sub(long * row) {
            None => (position / row, position % row),
            Some(rest) => (long + rest / (row - 1), rest % (row - 1)),
        }
    }

    /// The position of the pair of a series with itself, the first one of its row.
    fn start(self, i: usize) -> usize {
        i * (self.series / 2 + 1) - i.saturating_sub(self.long_rows())
    }

    /// How many rows have one pair more than the others: of an even number of series, those just half way round are the
    /// partners of the first half.
    fn long_rows(self) -> usize {
        if self.series.is_multiple_of(2) { self.series / 2 } else { self.series }
    }

    /// The rows of a run of pairs, and which partners of each are among them, by how far ahead they are.
    fn rows(self, pairs: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let rows =
            if pairs.is_empty() { 0..0 } else { self.place(pairs.start).0..self.place(pairs.end - 1).0 + 1 };
        rows.map(move |i| {
            let start = self.start(i);
            (i, pairs.start.max(start) - start..pairs.end.min(self.start(i + 1)) - start)
        })
    }
}

/// Series that are all compared with each other, made ready.
///
/// Values do not depend on which of them are computed together, nor on the instructions of the processor.
///
/// ```
/// use swarm_kernels::correlation::{Measure, Pairs};
/// let pairs = Pairs::new(Measure::Pearson, vec![vec![1.0, 2.0, 4.0], vec![4.0, 2.0, 1.0], vec![3.0, 3.0, 3.0]])?;
/// let runs = [0..4, 4..6].map(|run| pairs.values(run, &|| false)).into_iter().collect::<Result<Vec<_>, _>>()?;
/// let matrix = pairs.order().matrix(runs.concat());
/// assert!(matrix.get(0, 1) < -0.9 && matrix.get(0, 0) == 1.0 && matrix.get(2, 2).is_nan());
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pairs {
    measure: Measure,
    series: Vec<Vec<f64>>,
    prepared: Prepared,
}

#[derive(Debug, Clone)]
enum Prepared {
    Nothing,
    /// Each series as a vector of length 1, and what they lack.
    Units(Vec<Vec<f64>>, Gaps),
    Ring(Ring<f64>),
    Order(lcss::Order),
}

impl Pairs {
    /// Checks the series and makes them ready, in memory of up to 1.5 times theirs; by LCSS twice theirs, and for a
    /// moment five times.
    ///
    /// Correlations want series of one length, in which NaN is a missing value.
    ///
    /// # Panics
    /// By LCSS when the series have 2³² points together, or more.
    pub fn new(measure: Measure, series: Vec<Vec<f64>>) -> Result<Self, KernelError> {
        let prepared = match measure {
            Measure::Pearson => units(&series, Form::Values)?,
            Measure::Spearman => units(&series, Form::Ranks)?,
            Measure::Lcss(lcss) => {
                check_all(&series, LCSS_POINTS_MAX)?;
                Prepared::Order(lcss.order(&series))
            }
            Measure::Dtw(_) => {
                check_all(&series, usize::MAX)?;
                let ring = (series.len() >= RING_ORDER_MIN).then(|| Ring::new(Simd::active(), &series));
                ring.flatten().map_or(Prepared::Nothing, Prepared::Ring)
            }
        };
        Ok(Self { measure, series, prepared })
    }

    /// The order of the pairs.
    pub fn order(&self) -> PairOrder {
        PairOrder::new(self.series.len())
    }

    /// The values of a run of pairs.
    ///
    /// The fastest runs are whole rows, of correlations four and more; of DTW also those that end eight partners after
    /// each other, or after the first of a row.
    ///
    /// `cancelled` is asked for every pair at least, and by DTW also within the matrix of a pair; when it says so, the
    /// answer is [`KernelError::Cancelled`].
    ///
    /// # Panics
    /// When there are no such pairs.
    pub fn values(&self, pairs: Range<usize>, cancelled: &dyn Fn() -> bool) -> Result<Vec<f64>, KernelError> {
        assert!(pairs.end <= self.order().pairs(), "there are such pairs");
        if let Prepared::Units(units, gaps) = &self.prepared {
            return self.correlations(pairs, units, gaps, cancelled);
        }
        let mut values = Vec::with_capacity(pairs.len());
        for (i, mut ahead) in self.order().rows(pairs) {
            if ahead.start == 0 {
                values.push(1.0);
                ahead.start = 1;
            }
            match (self.measure, &self.prepared) {
                (_, Prepared::Ring(ring)) => {
                    let rest = ahead.len() % ring.lanes();
                    // Measured: a pair by itself takes 0.16 of the time of a full register, within a band 0.35.
                    let most = if self.band() == Band::Full { ring.lanes() / 2 } else { ring.lanes() / 4 };
                    let alone = if self.is_long() && rest <= most { rest } else { 0 };
                    let (together, alone) = (ahead.start..ahead.end - alone, ahead.end - alone..ahead.end);
                    let distances = ring.row(&self.series[i], i, together, self.band(), cancelled)?;
                    values.extend(distances.into_iter().map(similarity));
                    self.one_by_one(i, alone, &mut values, cancelled)?;
                }
                (Measure::Lcss(lcss), Prepared::Order(order)) => {
                    let mut similarity = lcss.with(order, i);
                    for ahead in ahead {
                        go_on(cancelled)?;
                        values.push(similarity((i + ahead) % self.series.len()));
                    }
                }
                _ => self.one_by_one(i, ahead, &mut values, cancelled)?,
            }
        }
        Ok(values)
    }

    /// The similarities by DTW of a series to those that are so far ahead of it.
    fn one_by_one(
        &self,
        i: usize,
        ahead: Range<usize>,
        values: &mut Vec<f64>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), KernelError> {
        for ahead in ahead {
            go_on(cancelled)?;
            let (a, b) = (&self.series[i], &self.series[(i + ahead) % self.series.len()]);
            values.push(similarity(dtw::distance_squared_unless(cancelled, a, b, self.band())?));
        }
        Ok(())
    }

    /// Whether the matrix of a pair of the ring, whose series have one length, is a large one.
    fn is_long(&self) -> bool {
        let points = self.series.first().map_or(0, Vec::len);
        points.saturating_mul((2 * self.band().half_width(points) + 1).min(points)) >= ALONE_CELLS_MIN
    }

    fn band(&self) -> Band {
        match self.measure {
            Measure::Dtw(band) => band,
            _ => Band::Full,
        }
    }

    fn correlations(
        &self,
        pairs: Range<usize>,
        units: &[Vec<f64>],
        gaps: &Gaps,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<f64>, KernelError> {
        let order = self.series.len();
        let vectors = |first: usize| std::array::from_fn(|k| units[(first + k) % order].as_slice());
        let mut found = Vec::with_capacity(pairs.len());
        // The partners of each row, counted on beyond the last series.
        let partners = self.order().rows(pairs).map(|(i, ahead)| (i, i + ahead.start..i + ahead.end));
        for rows in partners.collect::<Vec<_>>().chunks(TILE_ROWS) {
            let mut of_rows: [Vec<f64>; TILE_ROWS] = Default::default();
            let nearest = rows.iter().map(|(_, partners)| partners.start).min().unwrap_or(0);
            let furthest = rows.iter().map(|(_, partners)| partners.end).max().unwrap_or(0);
            for first in (nearest..furthest).step_by(TILE_ROWS) {
                go_on(cancelled)?;
                let products = dots(Simd::active(), vectors(rows[0].0), vectors(first));
                for (((i, partners), values), products) in rows.iter().zip(&mut of_rows).zip(products) {
                    for (partner, product) in (first..).zip(products) {
                        if partners.contains(&partner) {
                            let (i, j) = (*i, partner % order);
                            let values_of = [self.series[i].as_slice(), &self.series[j]];
                            let units_of = [units[i].as_slice(), &units[j]];
                            let value =
                                gaps.correlation([i, j], values_of, units_of, product.clamp(-1.0, 1.0));
                            values.push(if i == j && !value.is_nan() { 1.0 } else { value });
                        }
                    }
                }
            }
            found.extend(of_rows.into_iter().flatten());
        }
        Ok(found)
    }
}

fn similarity(distance_squared: f64) -> f64 {
    1.0 / (1.0 + distance_squared.sqrt())
}

fn check_all(series: &[Vec<f64>], points_max: usize) -> Result<(), KernelError> {
    for (index, values) in series.iter().enumerate() {
        let series = Series::Member(index);
        check(series, values)?;
        if values.len() > points_max {
            return Err(KernelError::TooLong { series, length: values.len(), limit: points_max });
        }
    }
    Ok(())
}

fn units(series: &[Vec<f64>], form: Form) -> Result<Prepared, KernelError> {
    let named = series.iter().enumerate().map(|(i, values)| (Series::Member(i), values.as_slice()));
    check_lengths(&named.collect::<Vec<_>>())?;
    let mut gaps = Gaps::new(form);
    let unit = |values: &Vec<f64>| {
        let mut unit = vec![0.0; values.len()];
        gaps.push(values, &mut unit);
        unit
    };
    Ok(Prepared::Units(series.iter().map(unit).collect(), gaps))
}

type Tile<T> = [[T; TILE_ROWS]; TILE_ROWS];

/// Inner products of some vectors with others, all of one length.
fn dots(simd: Simd, a: [&[f64]; TILE_ROWS], b: [&[f64]; TILE_ROWS]) -> Tile<f64> {
    assert!(a.iter().chain(&b).all(|vector| vector.len() == a[0].len()), "vectors have one length");
    match simd {
        // SAFETY: an instruction set that is in use was detected; all vectors have one length.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => unsafe { dots_avx512(a, b) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { dots_avx2(a, b) },
        _ => a.map(|a| b.map(|b| super::dot(a, b))),
    }
}

/// # Safety
/// All vectors have one length.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn dots_avx512(a: [&[f64]; TILE_ROWS], b: [&[f64]; TILE_ROWS]) -> Tile<f64> {
    // SAFETY: this function has the instructions, the caller vouches for the lengths.
    unsafe { super::x86::dots::<crate::simd::x86::F64x8, TILE_ROWS, 1>(a, b) }
}

/// # Safety
/// All vectors have one length.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn dots_avx2(a: [&[f64]; TILE_ROWS], b: [&[f64]; TILE_ROWS]) -> Tile<f64> {
    // Four sums in two registers each are what sixteen registers hold.
    const SIDE: usize = 2;
    let mut products = [[0.0; TILE_ROWS]; TILE_ROWS];
    for k in (0..TILE_ROWS).step_by(SIDE) {
        for l in (0..TILE_ROWS).step_by(SIDE) {
            // SAFETY: as above.
            let found = unsafe {
                super::x86::dots::<crate::simd::x86::F64x4, SIDE, 2>([a[k], a[k + 1]], [b[l], b[l + 1]])
            };
            for (products, found) in products[k..].iter_mut().zip(found) {
                products[l..l + SIDE].copy_from_slice(&found);
            }
        }
    }
    products
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_one_position_and_rows_are_of_like_length() {
        for series in 0..70 {
            let order = PairOrder::new(series);
            let pairs: Vec<(usize, usize)> =
                (0..order.pairs()).map(|position| order.pair(position)).collect();
            let mut seen: Vec<(usize, usize)> = pairs.iter().map(|&(i, j)| (i.min(j), i.max(j))).collect();
            seen.sort_unstable();
            let all = (0..series).flat_map(|i| (i..series).map(move |j| (i, j)));
            assert_eq!(seen, all.collect::<Vec<_>>(), "{series} series");
            let rows: Vec<usize> = order.rows(0..pairs.len()).map(|(_, ahead)| ahead.len()).collect();
            assert!(rows.iter().all(|row| (series.div_ceil(2)..=series / 2 + 1).contains(row)), "{rows:?}");
            let (from, until) = (pairs.len() / 3, pairs.len() * 2 / 3);
            let run = order
                .rows(from..until)
                .flat_map(|(i, ahead)| ahead.map(move |ahead| (i, (i + ahead) % series)));
            assert_eq!(run.collect::<Vec<_>>(), pairs[from..until]);
        }
    }

    #[test]
    fn inner_products_are_those_of_one_pair_to_the_bit() {
        for length in (0..=40).chain([1001]) {
            let value = |i: usize, j: usize| ((i * 31 + j * j * 17) % 97) as f64 / 7.0;
            let vectors: Vec<Vec<f64>> = (0..8).map(|i| (0..length).map(|j| value(i, j)).collect()).collect();
            let a = std::array::from_fn(|k| vectors[k].as_slice());
            let b = std::array::from_fn(|l| vectors[TILE_ROWS + l].as_slice());
            let expected = a.map(|a| b.map(|b| super::super::dot(a, b)));
            for simd in Simd::available() {
                assert_eq!(dots(simd, a, b), expected, "{simd:?}, {length} points");
            }
        }
    }
}
