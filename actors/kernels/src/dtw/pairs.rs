//! All pairs of many series.

use std::ops::Range;

use crate::band::Band;
use crate::dtw::{WITHIN_INFINITY, kernel};
use crate::input::{Cancelled, KernelError, NEVER, Series, check};
use crate::matrix::Symmetric;
use crate::simd::{Number, Simd};

/// [`distance_squared`](crate::dtw::distance_squared) of all pairs.
///
/// Series of one length are compared several at a time, which is much faster than one pair after the other; the
/// answers are the same. Memory beside the series: about 1.5 times theirs.
///
/// ```
/// use swarm_kernels::{Band, dtw};
/// let distances = dtw::all_pairs(&[[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]], Band::Full)?;
/// assert_eq!(distances.row(0), [0.0, 0.0, 1.0]);
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
pub fn all_pairs<S: AsRef<[f64]>>(series: &[S], band: Band) -> Result<Symmetric<f64>, KernelError> {
    checked(Simd::active(), &series.iter().map(AsRef::as_ref).collect::<Vec<_>>(), band)
}

/// [`all_pairs`] in single precision: see [`distance_squared_f32`](crate::dtw::distance_squared_f32).
pub fn all_pairs_f32<S: AsRef<[f32]>>(series: &[S], band: Band) -> Result<Symmetric<f32>, KernelError> {
    checked(Simd::active(), &series.iter().map(AsRef::as_ref).collect::<Vec<_>>(), band)
}

fn checked<T: Number>(simd: Simd, series: &[&[T]], band: Band) -> Result<Symmetric<T>, KernelError> {
    for (index, values) in series.iter().enumerate() {
        check(Series::Member(index), values)?;
    }
    let mut distances = Symmetric::filled(series.len(), T::ZERO);
    if let Some(ring) = Ring::new(simd, series) {
        for (i, &values) in series.iter().enumerate() {
            let row = ring.row(values, i, 1..series.len() / 2 + 1, band, NEVER)?;
            for (ahead, distance) in row.into_iter().enumerate() {
                distances.set(i, (i + ahead + 1) % series.len(), distance);
            }
        }
        return Ok(distances);
    }
    for (i, a) in series.iter().enumerate() {
        for (j, b) in series.iter().enumerate().skip(i + 1) {
            let distance = kernel::distance_within(simd, a, b, band, T::INFINITY, NEVER)?;
            distances.set(i, j, distance.expect(WITHIN_INFINITY));
        }
    }
    Ok(distances)
}

/// Series of one length, so arranged that each can be compared with several that follow it at a time.
///
/// The first one follows the last. When each is compared with those up to half way round, every pair occurs, and nearly
/// all registers are full.
#[derive(Debug, Clone)]
pub(crate) struct Ring<T> {
    simd: Simd,
    order: usize,
    points: usize,
    /// Point after point, all series side by side, and again from the first.
    transposed: Vec<T>,
    stride: usize,
}

impl<T: Number> Ring<T> {
    /// Arranges checked series, two or more of one length. There is no ring without vector instructions.
    pub(crate) fn new<S: AsRef<[T]>>(simd: Simd, series: &[S]) -> Option<Self> {
        let lanes = lanes_of::<T>(simd)?;
        let order = series.len();
        let points = series.first().map_or(0, |first| first.as_ref().len());
        if order < 2 || series.iter().any(|values| values.as_ref().len() != points) {
            return None;
        }
        let stride = order + (order / 2).next_multiple_of(lanes) + lanes;
        let mut transposed = vec![T::ZERO; points * stride];
        for member in 0..stride {
            for (j, &y) in series[member % order].as_ref().iter().enumerate() {
                transposed[j * stride + member] = y;
            }
        }
        Some(Self { simd, order, points, transposed, stride })
    }

    /// How many are compared at a time.
    pub(crate) fn lanes(&self) -> usize {
        lanes_of::<T>(self.simd).expect("there is no ring without vector instructions")
    }

    /// The squared distances of series `i`, whose values are given, to those that are so far ahead of it, at most half
    /// way round.
    ///
    /// `cancelled` is asked after every few points.
    pub(crate) fn row(
        &self,
        values: &[T],
        i: usize,
        ahead: Range<usize>,
        band: Band,
        cancelled: Cancelled<'_>,
    ) -> Result<Vec<T>, KernelError> {
        assert!(
            values.len() == self.points && i < self.order && ahead.end <= self.order / 2 + 1,
            "a row of the ring"
        );
        match self.simd {
            // SAFETY: an instruction set that is in use was detected.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { x86::row_avx512(self, values, i, ahead, band, cancelled) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { x86::row_avx2(self, values, i, ahead, band, cancelled) },
            _ => unreachable!("there is no ring without vector instructions"),
        }
    }
}

/// How many series are compared at a time.
fn lanes_of<T: Number>(simd: Simd) -> Option<usize> {
    match simd {
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => Some(<T::Avx512 as crate::simd::Vector>::LANES),
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => Some(<T::Avx2 as crate::simd::Vector>::LANES),
        _ => None,
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::ops::Range;

    use super::Ring;
    use crate::band::Band;
    use crate::dtw::lanes::{self, ROWS_AVX2, ROWS_AVX512};
    use crate::input::{Cancelled, KernelError, go_on};
    use crate::simd::{Number, Vector};

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn row_avx512<T: Number>(
        ring: &Ring<T>,
        values: &[T],
        i: usize,
        ahead: Range<usize>,
        band: Band,
        cancelled: Cancelled<'_>,
    ) -> Result<Vec<T>, KernelError> {
        // SAFETY: this function has the instructions.
        unsafe { row::<T::Avx512, ROWS_AVX512>(ring, values, i, ahead, band, cancelled) }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn row_avx2<T: Number>(
        ring: &Ring<T>,
        values: &[T],
        i: usize,
        ahead: Range<usize>,
        band: Band,
        cancelled: Cancelled<'_>,
    ) -> Result<Vec<T>, KernelError> {
        // SAFETY: this function has the instructions.
        unsafe { row::<T::Avx2, ROWS_AVX2>(ring, values, i, ahead, band, cancelled) }
    }

    /// # Safety
    /// The processor has the instructions of `V`, for whose lanes the ring was made.
    #[inline(always)]
    unsafe fn row<V: Vector, const K: usize>(
        ring: &Ring<V::Lane>,
        values: &[V::Lane],
        i: usize,
        ahead: Range<usize>,
        band: Band,
        cancelled: Cancelled<'_>,
    ) -> Result<Vec<V::Lane>, KernelError> {
        let reach = band.reach(ring.points, ring.points);
        let (mut tile, mut edge) = (vec![V::Lane::ZERO; ring.points * V::LANES], Vec::new());
        let mut found = vec![V::Lane::ZERO; ahead.len().next_multiple_of(V::LANES)];
        for first in (0..ahead.len()).step_by(V::LANES) {
            go_on(cancelled)?;
            for (j, lanes) in tile.chunks_exact_mut(V::LANES).enumerate() {
                lanes.copy_from_slice(
                    &ring.transposed[j * ring.stride + i + ahead.start + first..][..V::LANES],
                );
            }
            // SAFETY: the caller vouches for the instructions; `found` holds a register from `first` on.
            unsafe {
                let wanted = |_, _| go_on(cancelled).map(|()| true);
                let distances = lanes::distances::<V, K>(values, &tile, reach, &mut edge, wanted)?;
                distances.expect("all are wanted").store(&mut found, first);
            }
        }
        found.truncate(ahead.len());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn check_all<T: Number>(series: &[Vec<T>], band: Band) {
        let series: Vec<&[T]> = series.iter().map(Vec::as_slice).collect();
        let expected = checked(Simd::Portable, &series, band).unwrap();
        for simd in Simd::available() {
            let found = checked(simd, &series, band).unwrap();
            assert_eq!(found, expected, "{simd:?}, {} x {}", series.len(), series[0].len());
        }
    }

    #[test]
    fn all_forms_agree_on_every_length_and_number() {
        let mut random = StdRng::seed_from_u64(23);
        for length in (1..=70).chain([129, 256]) {
            let number = random.random_range(1..45);
            let series: Vec<Vec<f64>> =
                (0..number).map(|_| (0..length).map(|_| random.random::<f64>() - 0.5).collect()).collect();
            let single: Vec<Vec<f32>> =
                series.iter().map(|values| values.iter().map(|&value| value as f32).collect()).collect();
            for band in [Band::Full, Band::Points(length % 7), Band::Points(length / 10 + 1)] {
                check_all(&series, band);
                check_all(&single, band);
            }
        }
    }

    #[test]
    fn series_of_several_lengths_are_compared_one_by_one() {
        let series: Vec<Vec<f64>> = (1..20).map(|n| (0..n).map(|i| f64::from(i * n % 5)).collect()).collect();
        check_all(&series, Band::Points(2));
        assert_eq!(all_pairs::<&[f64]>(&[], Band::Full).unwrap().order(), 0);
        assert_eq!(
            all_pairs(&[[0.0], [f64::NAN]], Band::Full),
            Err(KernelError::NotANumber { series: Series::Member(1), index: 0 })
        );
    }
}
