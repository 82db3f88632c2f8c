//! Pearson's and Spearman's correlation: of a pair, of all pairs, and over a window that moves.
//!
//! A missing value is NaN; a pair uses the points at which neither is missing. What is undefined, with fewer than two
//! points or a constant series, is NaN too.

use crate::input::{KernelError, MAGNITUDE_MAX, Series};
use crate::matrix::Symmetric;
use crate::simd::Simd;
use crate::znorm::Moments;

mod clustering;
mod gaps;
mod pairs;
mod rolling;

pub use clustering::{Dendrogram, Join};
use gaps::{Form, Gaps};
pub use pairs::{LCSS_POINTS_MAX, Measure, PairOrder, Pairs};
pub use rolling::RollingPearson;

/// Lanes of the sums of products: part of the answer's rounding, so the same for all instructions.
const LANES: usize = 8;

/// Pearson's correlation of two series of one length.
///
/// ```
/// use swarm_kernels::correlation::pearson;
/// let correlation = pearson(&[1.0, 2.0, 3.0, f64::NAN], &[6.0, 4.0, 2.0, 0.0])?;
/// assert!((correlation + 1.0).abs() < 1e-15);
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
pub fn pearson(a: &[f64], b: &[f64]) -> Result<f64, KernelError> {
    check_lengths(&[(Series::First, a), (Series::Second, b)])?;
    Ok(pairwise(a, b, unit))
}

/// Spearman's correlation: Pearson's of the ranks, equal values sharing the mean of theirs.
pub fn spearman(a: &[f64], b: &[f64]) -> Result<f64, KernelError> {
    check_lengths(&[(Series::First, a), (Series::Second, b)])?;
    Ok(pairwise(a, b, rank_unit))
}

/// [`pearson`] of all pairs.
pub fn pearson_matrix<S: AsRef<[f64]>>(series: &[S]) -> Result<Symmetric<f64>, KernelError> {
    all_pairs(series, Form::Values)
}

/// [`spearman`] of all pairs.
pub fn spearman_matrix<S: AsRef<[f64]>>(series: &[S]) -> Result<Symmetric<f64>, KernelError> {
    all_pairs(series, Form::Ranks)
}

/// Missing values are let through, others checked as everywhere; all have one length.
fn check_lengths(series: &[(Series, &[f64])]) -> Result<(), KernelError> {
    for &(name, values) in series {
        if values.is_empty() {
            return Err(KernelError::Empty { series: name });
        }
        // Without a branch for each value, so that it costs nothing beside the products.
        let is_beyond = |value: &f64| value.abs() > MAGNITUDE_MAX;
        if values.iter().fold(false, |any, value| any | is_beyond(value)) {
            let index = values.iter().position(is_beyond).expect("some value is beyond the limit");
            let value = values[index];
            return Err(if value.is_infinite() {
                KernelError::Infinite { series: name, index }
            } else {
                KernelError::TooLarge { series: name, index, value, limit: MAGNITUDE_MAX }
            });
        }
        let expected = series[0].1.len();
        if values.len() != expected {
            return Err(KernelError::LengthDiffers { series: name, length: values.len(), expected });
        }
    }
    Ok(())
}

/// The series less its mean, as a vector of length 1; nothing of a constant series.
fn unit(values: &[f64]) -> Option<Vec<f64>> {
    let moments = Moments::of(values);
    if moments.is_constant() {
        return None;
    }
    let unit = Moments { scale: moments.scale / (values.len() as f64).sqrt(), ..moments };
    Some(values.iter().map(|&x| unit.normalize(x)).collect())
}

/// The same of the ranks; nothing of a constant series, whose values may differ.
fn rank_unit(values: &[f64]) -> Option<Vec<f64>> {
    if Moments::of(values).is_constant() { None } else { unit(&ranks(values)) }
}

/// Ranks from 1, equal values sharing the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    while first < order.len() {
        let value = values[order[first]];
        let equal = order[first..].iter().take_while(|&&point| values[point] == value).count();
        for &point in &order[first..first + equal] {
            ranks[point] = (2 * first + equal + 1) as f64 / 2.0;
        }
        first += equal;
    }
    ranks
}

/// One pair, without the points at which either is missing.
fn pairwise(a: &[f64], b: &[f64], unit: impl Fn(&[f64]) -> Option<Vec<f64>>) -> f64 {
    let (a, b): (Vec<f64>, Vec<f64>) = a.iter().zip(b).filter(|(x, y)| !x.is_nan() && !y.is_nan()).unzip();
    match (unit(&a), unit(&b)) {
        (Some(a), Some(b)) => dot(&a, &b).clamp(-1.0, 1.0),
        _ => f64::NAN,
    }
}

fn all_pairs<S: AsRef<[f64]>>(series: &[S], form: Form) -> Result<Symmetric<f64>, KernelError> {
    let series: Vec<&[f64]> = series.iter().map(AsRef::as_ref).collect();
    let named: Vec<_> = series.iter().enumerate().map(|(i, &values)| (Series::Member(i), values)).collect();
    check_lengths(&named)?;
    // In one piece: many small ones would be fetched from the system and returned to it by every call.
    let points = series.first().map_or(1, |first| first.len());
    let mut units = vec![0.0; series.len() * points];
    let mut gaps = Gaps::new(form);
    units.chunks_exact_mut(points).zip(&series).for_each(|(own, values)| gaps.push(values, own));
    let units: Vec<&[f64]> = units.chunks_exact(points).collect();
    let mut correlations = Symmetric::filled(series.len(), f64::NAN);
    products(Simd::active(), &units, &mut correlations);
    let compared = if gaps.is_any() { series.len() } else { 0 };
    for i in 0..compared {
        for j in i..compared {
            let product = correlations.get(i, j);
            let value = gaps.correlation([i, j], [series[i], series[j]], [units[i], units[j]], product);
            correlations.set(i, j, value);
        }
    }
    Ok(correlations)
}

/// All inner products of vectors of length 1.
fn products(simd: Simd, units: &[&[f64]], correlations: &mut Symmetric<f64>) {
    match simd {
        // SAFETY: an instruction set that is in use was detected.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => unsafe { x86::products_avx512(units, correlations) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { x86::products_avx2(units, correlations) },
        _ => products_by::<1>(units, correlations, |[a], [b]| [[dot(a, b)]]),
    }
}

/// All inner products, in tiles of `N` by `N`. The last ones reach back where too few vectors are left.
#[inline(always)]
fn products_by<const N: usize>(
    units: &[&[f64]],
    correlations: &mut Symmetric<f64>,
    dots: impl Fn([&[f64]; N], [&[f64]; N]) -> [[f64; N]; N],
) {
    let tile = |first: usize| {
        let first = first.min(units.len() - N);
        let mut vectors = [&[][..]; N];
        for (vector, unit) in vectors.iter_mut().zip(&units[first..]) {
            *vector = unit;
        }
        (first, vectors)
    };
    for (i, a) in (0..units.len()).step_by(N).map(tile) {
        for (j, b) in (i..units.len()).step_by(N).map(tile) {
            for (k, products) in dots(a, b).into_iter().enumerate() {
                for (l, product) in products.into_iter().enumerate() {
                    correlations.set(i + k, j + l, product.clamp(-1.0, 1.0));
                }
            }
        }
    }
}

/// An inner product in eight lanes.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (chunks, rest) = a.as_chunks::<LANES>();
    let (others, others_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (x, y) in chunks.iter().zip(others) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    total(lanes, rest, others_rest)
}

#[inline(always)]
fn total(lanes: [f64; LANES], rest: &[f64], others_rest: &[f64]) -> f64 {
    let l = lanes;
    let sum = ((l[0] + l[4]) + (l[1] + l[5])) + ((l[2] + l[6]) + (l[3] + l[7]));
    rest.iter().zip(others_rest).fold(sum, |sum, (x, y)| sum + x * y)
}

/// The vector forms.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, dot, products_by, total};
    use crate::matrix::Symmetric;
    use crate::simd::Vector;
    use crate::simd::x86::{F64x4, F64x8};

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn products_avx512(units: &[&[f64]], correlations: &mut Symmetric<f64>) {
        // SAFETY: this function has the instructions.
        unsafe { products::<F64x8, 4, 1>(units, correlations) }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn products_avx2(units: &[&[f64]], correlations: &mut Symmetric<f64>) {
        // SAFETY: this function has the instructions.
        unsafe { products::<F64x4, 2, 2>(units, correlations) }
    }

    /// # Safety
    /// The processor has the instructions of `V`, and `PARTS` registers hold all lanes.
    #[inline(always)]
    unsafe fn products<V: Vector<Lane = f64>, const N: usize, const PARTS: usize>(
        units: &[&[f64]],
        correlations: &mut Symmetric<f64>,
    ) {
        if units.len() < N {
            return products_by::<1>(units, correlations, |[a], [b]| [[dot(a, b)]]);
        }
        // SAFETY: the caller vouches for the instructions; all vectors have one length.
        products_by::<N>(units, correlations, |a, b| unsafe { dots::<V, N, PARTS>(a, b) });
    }

    /// Inner products of `N` vectors with `N` others: every value that is loaded serves `N` of them.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, `PARTS` registers hold all lanes, and all vectors have one length.
    #[inline(always)]
    pub(super) unsafe fn dots<V: Vector<Lane = f64>, const N: usize, const PARTS: usize>(
        a: [&[f64]; N],
        b: [&[f64]; N],
    ) -> [[f64; N]; N] {
        const { assert!(V::LANES * PARTS == LANES, "the registers hold all lanes") }
        debug_assert!(a.iter().chain(&b).all(|vector| vector.len() == a[0].len()));
        let even = a[0].len() / LANES * LANES;
        // SAFETY: the caller vouches for the instructions.
        let zero = unsafe { V::splat(0.0) };
        let mut sums = [[[zero; PARTS]; N]; N];
        for at in (0..even).step_by(LANES) {
            // SAFETY: eight values from `at` on exist in all vectors.
            unsafe { add_products::<V, N, PARTS>(&mut sums, a, b, at) };
        }
        let mut found = [[0.0; N]; N];
        for ((found, sums), a) in found.iter_mut().zip(&sums).zip(a) {
            for ((found, sums), b) in found.iter_mut().zip(sums).zip(b) {
                let mut lanes = [0.0; LANES];
                for (part, sum) in sums.iter().enumerate() {
                    // SAFETY: the registers hold all lanes.
                    unsafe { sum.store(&mut lanes, part * V::LANES) };
                }
                *found = total(lanes, &a[even..], &b[even..]);
            }
        }
        found
    }

    /// # Safety
    /// The processor has the instructions of `V`, and all vectors hold `PARTS` registers from `at` on.
    #[inline(always)]
    unsafe fn add_products<V: Vector<Lane = f64>, const N: usize, const PARTS: usize>(
        sums: &mut [[[V; PARTS]; N]; N],
        a: [&[f64]; N],
        b: [&[f64]; N],
        at: usize,
    ) {
        for part in 0..PARTS {
            let at = at + part * V::LANES;
            // SAFETY: the caller vouches for both.
            unsafe {
                let mut y = [V::splat(0.0); N];
                for (y, b) in y.iter_mut().zip(b) {
                    *y = V::load(b, at);
                }
                for (sums, a) in sums.iter_mut().zip(a) {
                    let x = V::load(a, at);
                    for (sum, y) in sums.iter_mut().zip(y) {
                        sum[part] = sum[part] + x * y;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_give_the_same_bits() {
        for length in (2..=70).chain([1000, 1001]) {
            let units: Vec<Vec<f64>> = (0..23)
                .map(|i| (0..length).map(|j| f64::from((i * 31 + j * j * 17) % 97)).collect::<Vec<_>>())
                .map(|values| unit(&values).unwrap_or_else(|| vec![0.0; values.len()]))
                .collect();
            let of = |simd| {
                let units: Vec<&[f64]> = units.iter().map(Vec::as_slice).collect();
                let mut correlations = Symmetric::filled(units.len(), 0.0);
                products(simd, &units, &mut correlations);
                correlations
            };
            for simd in Simd::available() {
                assert_eq!(of(simd), of(Simd::Portable), "{simd:?}, {length} points");
            }
        }
    }

    #[test]
    fn equal_values_share_their_ranks() {
        assert_eq!(ranks(&[30.0, 10.0, 20.0, 10.0, 30.0, 30.0]), [5.0, 1.5, 3.0, 1.5, 5.0, 5.0]);
        assert_eq!(ranks(&[]), [0.0; 0]);
    }
}
