//! All pairs of many series.

use crate::band::Band;
use crate::dtw::kernel;
use crate::input::{KernelError, Series, check};
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
    let is_even = series.windows(2).all(|two| two[0].len() == two[1].len());
    match simd {
        // SAFETY: an instruction set that is in use was detected.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 if is_even => unsafe { x86::all_pairs_avx512(series, band, &mut distances) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 if is_even => unsafe { x86::all_pairs_avx2(series, band, &mut distances) },
        _ => {
            for (i, a) in series.iter().enumerate() {
                for (j, b) in series.iter().enumerate().skip(i + 1) {
                    let distance = kernel::distance_within(simd, a, b, band, T::INFINITY);
                    distances.set(i, j, distance.expect("no distance exceeds infinity"));
                }
            }
        }
    }
    Ok(distances)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::band::Band;
    use crate::dtw::lanes::{self, ROWS_AVX2, ROWS_AVX512};
    use crate::matrix::Symmetric;
    use crate::simd::{Number, Vector};

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn all_pairs_avx512<T: Number>(series: &[&[T]], band: Band, distances: &mut Symmetric<T>) {
        // SAFETY: this function has the instructions.
        unsafe { all_pairs::<T::Avx512, ROWS_AVX512>(series, band, distances) }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn all_pairs_avx2<T: Number>(series: &[&[T]], band: Band, distances: &mut Symmetric<T>) {
        // SAFETY: this function has the instructions.
        unsafe { all_pairs::<T::Avx2, ROWS_AVX2>(series, band, distances) }
    }

    /// Each series is compared with those that follow it, the first following the last, up to half way round: so every
    /// pair occurs, and nearly all registers are full.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, and all series have one length.
    #[inline(always)]
    unsafe fn all_pairs<V: Vector, const K: usize>(
        series: &[&[V::Lane]],
        band: Band,
        distances: &mut Symmetric<V::Lane>,
    ) {
        let (order, points) = (series.len(), series.first().map_or(0, |first| first.len()));
        if order < 2 {
            return;
        }
        let half = order / 2;
        let stride = order + half.next_multiple_of(V::LANES) + V::LANES;
        let reach = band.reach(points, points);
        // Point after point, all series side by side, and again from the first.
        let mut transposed = vec![V::Lane::ZERO; points * stride];
        for member in 0..stride {
            for (j, &y) in series[member % order].iter().enumerate() {
                transposed[j * stride + member] = y;
            }
        }
        let (mut tile, mut edge) = (vec![V::Lane::ZERO; points * V::LANES], Vec::new());
        let mut found = vec![V::Lane::ZERO; V::LANES];
        for i in 0..order {
            for ahead in (1..=half).step_by(V::LANES) {
                for (j, lanes) in tile.chunks_exact_mut(V::LANES).enumerate() {
                    lanes.copy_from_slice(&transposed[j * stride + i + ahead..][..V::LANES]);
                }
                // SAFETY: the caller vouches for the instructions; `found` holds one register.
                unsafe {
                    let all = lanes::distances::<V, K>(series[i], &tile, reach, &mut edge, |_, _| true);
                    all.expect("nothing was abandoned").store(&mut found, 0);
                }
                for (lane, &distance) in found.iter().enumerate().take(half + 1 - ahead) {
                    distances.set(i, (i + ahead + lane) % order, distance);
                }
            }
        }
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
