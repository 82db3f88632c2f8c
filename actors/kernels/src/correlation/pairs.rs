//! All pairs of some series, in parts that can be computed anywhere and put together again.

use std::ops::Range;

use crate::band::Band;
use crate::correlation::check_lengths;
use crate::correlation::gaps::{Form, Gaps};
use crate::dtw::{self, Ring};
use crate::input::{KernelError, Series, check, go_on};
use crate::lcss::{self, Lcss};
use crate::matrix::Symmetric;
use crate::simd::Simd;

/// Rows of a part, so that what is loaded of a partner serves several.
const PART_ROWS: usize = 4;

/// From how many series on several are compared at a time by DTW; of fewer most of a register would be idle.
const RING_ORDER_MIN: usize = 8;

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

/// How the pairs of some series, each with itself among them, are divided into parts of like work.
///
/// A series is paired with itself and with those that follow it, the first one following the last, up to half way
/// round: so every pair occurs once and all rows are of like length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    order: usize,
}

impl Partition {
    /// For so many series.
    pub fn new(order: usize) -> Self {
        Self { order }
    }

    /// How many parts there are.
    pub fn parts(self) -> usize {
        self.order.div_ceil(PART_ROWS)
    }

    /// The pairs of a part, in the order in which [`Pairs::part`] gives their values.
    pub fn pairs(self, part: usize) -> impl Iterator<Item = (usize, usize)> {
        self.rows(part).flat_map(move |i| (0..=self.ahead(i)).map(move |ahead| (i, (i + ahead) % self.order)))
    }

    /// How many pairs a part has.
    pub fn pairs_in(self, part: usize) -> usize {
        self.rows(part).map(|i| self.ahead(i) + 1).sum()
    }

    fn rows(self, part: usize) -> Range<usize> {
        let first = part.saturating_mul(PART_ROWS).min(self.order);
        first..(first + PART_ROWS).min(self.order)
    }

    /// How many series after this one it is paired with. Of those just half way round only the first half pairs.
    fn ahead(self, i: usize) -> usize {
        let half = self.order / 2;
        if self.order.is_multiple_of(2) && i >= half { half - 1 } else { half }
    }
}

/// Series that are all compared with each other, made ready.
///
/// Values do not depend on the division into parts, nor on the instructions of the processor.
///
/// ```
/// use swarm_kernels::correlation::{Measure, Pairs};
/// let pairs = Pairs::new(Measure::Pearson, vec![vec![1.0, 2.0, 4.0], vec![4.0, 2.0, 1.0], vec![3.0, 3.0, 3.0]])?;
/// let parts = (0..pairs.partition().parts()).map(|part| pairs.part(part, &|| false)).collect::<Result<Vec<_>, _>>()?;
/// let matrix = pairs.partition().matrix(parts.iter().enumerate().map(|(part, values)| (part, values.as_slice())));
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

    /// How the pairs are divided.
    pub fn partition(&self) -> Partition {
        Partition::new(self.series.len())
    }

    /// The values of a part, in the order of [`Partition::pairs`].
    ///
    /// `cancelled` is asked for every pair at least, and by DTW also within the matrix of a pair; when it says so, the
    /// answer is [`KernelError::Cancelled`].
    pub fn part(&self, part: usize, cancelled: &dyn Fn() -> bool) -> Result<Vec<f64>, KernelError> {
        let partition = self.partition();
        let mut values = Vec::with_capacity(partition.pairs_in(part));
        match (self.measure, &self.prepared) {
            (_, Prepared::Units(units, gaps)) => return self.correlations(part, units, gaps, cancelled),
            (_, Prepared::Ring(ring)) => {
                for i in partition.rows(part) {
                    values.push(1.0);
                    let distances =
                        ring.row(&self.series[i], i, partition.ahead(i), self.band(), cancelled)?;
                    values.extend(distances.into_iter().map(similarity));
                }
            }
            (Measure::Lcss(lcss), Prepared::Order(order)) => {
                for i in partition.rows(part) {
                    values.push(1.0);
                    let mut similarity = lcss.with(order, i);
                    for ahead in 1..=partition.ahead(i) {
                        go_on(cancelled)?;
                        values.push(similarity((i + ahead) % self.series.len()));
                    }
                }
            }
            _ => {
                for (i, j) in partition.pairs(part) {
                    go_on(cancelled)?;
                    let (a, b) = (&self.series[i], &self.series[j]);
                    let unlike = || dtw::distance_squared_unless(cancelled, a, b, self.band());
                    let distance = if i == j { 0.0 } else { unlike()? };
                    values.push(similarity(distance));
                }
            }
        }
        Ok(values)
    }

    fn band(&self) -> Band {
        match self.measure {
            Measure::Dtw(band) => band,
            _ => Band::Full,
        }
    }

    fn correlations(
        &self,
        part: usize,
        units: &[Vec<f64>],
        gaps: &Gaps,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<f64>, KernelError> {
        let partition = self.partition();
        let (rows, order) = (partition.rows(part), self.series.len());
        let mut of_rows: [Vec<f64>; PART_ROWS] = Default::default();
        let vectors = |first: usize| std::array::from_fn(|k| units[(first + k) % order].as_slice());
        let furthest = rows.clone().map(|i| i + partition.ahead(i)).max().unwrap_or(0);
        for first in (rows.start..=furthest).step_by(PART_ROWS) {
            go_on(cancelled)?;
            let products = dots(Simd::active(), vectors(rows.start), vectors(first));
            for ((i, values), products) in rows.clone().zip(&mut of_rows).zip(products) {
                for (partner, product) in (first..).zip(products) {
                    if (i..=i + partition.ahead(i)).contains(&partner) {
                        let j = partner % order;
                        let values_of = [self.series[i].as_slice(), &self.series[j]];
                        let units_of = [units[i].as_slice(), &units[j]];
                        let value = gaps.correlation([i, j], values_of, units_of, product.clamp(-1.0, 1.0));
                        values.push(if i == j && !value.is_nan() { 1.0 } else { value });
                    }
                }
            }
        }
        Ok(of_rows.concat())
    }
}

impl Partition {
    /// The matrix of parts that [`Pairs::part`] computed; NaN where a part is absent.
    ///
    /// # Panics
    /// When there is no such part, or its values are not as many as its pairs.
    pub fn matrix<'v>(self, parts: impl IntoIterator<Item = (usize, &'v [f64])>) -> Symmetric<f64> {
        let mut matrix = Symmetric::filled(self.order, f64::NAN);
        for (part, values) in parts {
            assert!(
                part < self.parts() && values.len() == self.pairs_in(part),
                "a part has a value for each pair"
            );
            for ((i, j), &value) in self.pairs(part).zip(values) {
                matrix.set(i, j, value);
            }
        }
        matrix
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

type Tile<T> = [[T; PART_ROWS]; PART_ROWS];

/// Inner products of some vectors with others, all of one length.
fn dots(simd: Simd, a: [&[f64]; PART_ROWS], b: [&[f64]; PART_ROWS]) -> Tile<f64> {
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
unsafe fn dots_avx512(a: [&[f64]; PART_ROWS], b: [&[f64]; PART_ROWS]) -> Tile<f64> {
    // SAFETY: this function has the instructions, the caller vouches for the lengths.
    unsafe { super::x86::dots::<crate::simd::x86::F64x8, PART_ROWS, 1>(a, b) }
}

/// # Safety
/// All vectors have one length.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn dots_avx2(a: [&[f64]; PART_ROWS], b: [&[f64]; PART_ROWS]) -> Tile<f64> {
    // Four sums in two registers each are what sixteen registers hold.
    const SIDE: usize = 2;
    let mut products = [[0.0; PART_ROWS]; PART_ROWS];
    for k in (0..PART_ROWS).step_by(SIDE) {
        for l in (0..PART_ROWS).step_by(SIDE) {
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
    fn every_pair_is_in_one_part_and_parts_are_of_like_size() {
        for order in 0..70 {
            let partition = Partition::new(order);
            let mut seen = vec![0; order * order];
            for part in 0..partition.parts() {
                assert_eq!(partition.pairs(part).count(), partition.pairs_in(part));
                for (i, j) in partition.pairs(part) {
                    seen[i.min(j) * order + i.max(j)] += 1;
                }
            }
            for i in 0..order {
                assert!((i..order).all(|j| seen[i * order + j] == 1), "{order} series");
            }
            let sizes = (0..partition.parts().saturating_sub(1)).map(|part| partition.pairs_in(part));
            let (least, most) = (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
            assert!(most - least <= PART_ROWS, "{order} series: {least} to {most}");
        }
    }

    #[test]
    fn inner_products_are_those_of_one_pair_to_the_bit() {
        for length in (0..=40).chain([1001]) {
            let value = |i: usize, j: usize| ((i * 31 + j * j * 17) % 97) as f64 / 7.0;
            let vectors: Vec<Vec<f64>> = (0..8).map(|i| (0..length).map(|j| value(i, j)).collect()).collect();
            let a = std::array::from_fn(|k| vectors[k].as_slice());
            let b = std::array::from_fn(|l| vectors[PART_ROWS + l].as_slice());
            let expected = a.map(|a| b.map(|b| super::super::dot(a, b)));
            for simd in Simd::available() {
                assert_eq!(dots(simd, a, b), expected, "{simd:?}, {length} points");
            }
        }
    }
}
