//! Which form of the recurrence computes a pair.

use crate::band::{Band, Reach};
use crate::dtw::align::Alignment;
use crate::dtw::matrix;
use crate::dtw::moves::NoMoves;
use crate::dtw::sweep::sweep;
use crate::input::{Cancelled, KernelError};
#[cfg(target_arch = "x86_64")]
use crate::simd::Vector;
use crate::simd::{Number, Simd};

/// Matrices of fewer cells are faster without vectors.
const VECTOR_CELLS_MIN: usize = 256;

/// Shorter series leave most of a strip empty: the anti-diagonals do better.
#[cfg(target_arch = "x86_64")]
const STRIP_POINTS_MIN: usize = 24;

/// In a band of fewer diagonals than so many long vectors hold, short ones do better: they leave less of themselves
/// unused, and an anti-diagonal waits for the one before it either way.
#[cfg(target_arch = "x86_64")]
const NARROW_VECTORS: usize = 3;

/// The squared distance, or nothing when it exceeds `bound`; the only error is that it is cancelled. All of `simd` give
/// the same bits.
pub(crate) fn distance_within<T: Number>(
    simd: Simd,
    a: &[T],
    b: &[T],
    band: Band,
    bound: T,
    cancelled: Cancelled<'_>,
) -> Result<Option<T>, KernelError> {
    // Strips do better the shorter their rows and the more of them: the longer series goes down.
    let (rows, columns) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let reach = band.reach(rows.len(), columns.len());
    let diagonals = reach.below() + reach.above() + 1;
    let cells = columns.len().saturating_mul(rows.len().min(diagonals));
    match simd {
        // SAFETY: an instruction set that is in use was detected, and with it those below it.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 if cells >= VECTOR_CELLS_MIN && diagonals < NARROW_VECTORS * T::Avx512::LANES => unsafe {
            x86::diagonals_avx2(rows, columns, reach, bound, &mut NoMoves(cancelled))
        },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 if cells >= VECTOR_CELLS_MIN => unsafe {
            if reach.is_full(rows.len()) && columns.len() >= STRIP_POINTS_MIN {
                x86::strips_avx512(rows, columns, bound, &mut NoMoves(cancelled))
            } else {
                x86::diagonals_avx512(rows, columns, reach, bound, &mut NoMoves(cancelled))
            }
        },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 if cells >= VECTOR_CELLS_MIN => unsafe {
            if reach.is_full(rows.len()) && columns.len() >= STRIP_POINTS_MIN {
                x86::strips_avx2(rows, columns, bound, &mut NoMoves(cancelled))
            } else {
                x86::diagonals_avx2(rows, columns, reach, bound, &mut NoMoves(cancelled))
            }
        },
        _ => sweep(rows, columns, reach, cancelled, |_| bound, |_| T::INFINITY, &mut Vec::new()),
    }
}

/// The alignment of two checked series, whose band has that many `cells`, unless cancelled. All of `simd` give the same
/// path.
pub(super) fn align(
    simd: Simd,
    a: &[f64],
    b: &[f64],
    reach: Reach,
    cells: u64,
    cancelled: Cancelled<'_>,
) -> Result<Alignment, KernelError> {
    #[cfg(target_arch = "x86_64")]
    if cells >= VECTOR_CELLS_MIN as u64 {
        let is_full = reach.is_full(a.len());
        // A band between series of very different lengths is mostly outside the matrix.
        let within = (a.len() + b.len()) as u64 * (reach.below() + reach.above() + 1) as u64 / 4 <= cells;
        // SAFETY: an instruction set that is in use was detected.
        unsafe {
            match simd {
                Simd::Avx512 if is_full => return x86::align_strips_avx512(a, b, cancelled),
                Simd::Avx512 if within => return x86::align_diagonals_avx512(a, b, reach, cancelled),
                Simd::Avx2 if is_full => return x86::align_strips_avx2(a, b, cancelled),
                Simd::Avx2 if within => return x86::align_diagonals_avx2(a, b, reach, cancelled),
                _ => {}
            }
        }
    }
    matrix::align(a, b, reach, cancelled)
}

/// The vector forms, each compiled for its instructions.
#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use crate::band::Reach;
    use crate::dtw::align::{Alignment, trace};
    use crate::dtw::moves::{MoveSink, Moves};
    use crate::dtw::strips::{K_AVX2, K_AVX512};
    use crate::dtw::{WITHIN_INFINITY, diagonals, strip_segments, strips};
    use crate::input::{Cancelled, KernelError};
    use crate::simd::x86::{F64x4, F64x8};
    use crate::simd::{Number, Vector};

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(crate) fn strips_avx512<T: Number>(
        a: &[T],
        b: &[T],
        bound: T,
        moves: &mut impl MoveSink,
    ) -> Result<Option<T>, KernelError> {
        // SAFETY: this function has the instructions.
        unsafe { strips::distance::<T::Avx512, K_AVX512>(a, b, bound, moves) }
    }

    #[target_feature(enable = "avx2")]
    pub(crate) fn strips_avx2<T: Number>(
        a: &[T],
        b: &[T],
        bound: T,
        moves: &mut impl MoveSink,
    ) -> Result<Option<T>, KernelError> {
        // SAFETY: this function has the instructions.
        unsafe { strips::distance::<T::Avx2, K_AVX2>(a, b, bound, moves) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(crate) fn diagonals_avx512<T: Number>(
        a: &[T],
        b: &[T],
        reach: Reach,
        bound: T,
        moves: &mut impl MoveSink,
    ) -> Result<Option<T>, KernelError> {
        // SAFETY: this function has the instructions.
        unsafe { diagonals::distance::<T::Avx512>(a, b, reach, bound, moves) }
    }

    #[target_feature(enable = "avx2")]
    pub(crate) fn diagonals_avx2<T: Number>(
        a: &[T],
        b: &[T],
        reach: Reach,
        bound: T,
        moves: &mut impl MoveSink,
    ) -> Result<Option<T>, KernelError> {
        // SAFETY: this function has the instructions.
        unsafe { diagonals::distance::<T::Avx2>(a, b, reach, bound, moves) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(crate) fn align_strips_avx512(
        a: &[f64],
        b: &[f64],
        cancelled: Cancelled<'_>,
    ) -> Result<Alignment, KernelError> {
        align_strips::<F64x8, K_AVX512>(a, b, cancelled, |moves| strips_avx512(a, b, f64::INFINITY, moves))
    }

    #[target_feature(enable = "avx2")]
    pub(crate) fn align_strips_avx2(
        a: &[f64],
        b: &[f64],
        cancelled: Cancelled<'_>,
    ) -> Result<Alignment, KernelError> {
        align_strips::<F64x4, K_AVX2>(a, b, cancelled, |moves| strips_avx2(a, b, f64::INFINITY, moves))
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(crate) fn align_diagonals_avx512(
        a: &[f64],
        b: &[f64],
        reach: Reach,
        cancelled: Cancelled<'_>,
    ) -> Result<Alignment, KernelError> {
        align_diagonals::<F64x8>(a, b, reach, cancelled, |moves| {
            diagonals_avx512(a, b, reach, f64::INFINITY, moves)
        })
    }

    #[target_feature(enable = "avx2")]
    pub(crate) fn align_diagonals_avx2(
        a: &[f64],
        b: &[f64],
        reach: Reach,
        cancelled: Cancelled<'_>,
    ) -> Result<Alignment, KernelError> {
        align_diagonals::<F64x4>(a, b, reach, cancelled, |moves| {
            diagonals_avx2(a, b, reach, f64::INFINITY, moves)
        })
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(crate) fn segment_avx512(
        rows: &[f64],
        columns: &[f64],
        corner: f64,
        row: &mut [f64],
        moves: &mut impl MoveSink,
    ) -> Result<f64, KernelError> {
        // SAFETY: this function has the instructions.
        unsafe { strip_segments::segment::<F64x8, K_AVX512>(rows, columns, corner, row, moves) }
    }

    #[target_feature(enable = "avx2")]
    pub(crate) fn segment_avx2(
        rows: &[f64],
        columns: &[f64],
        corner: f64,
        row: &mut [f64],
        moves: &mut impl MoveSink,
    ) -> Result<f64, KernelError> {
        // SAFETY: this function has the instructions.
        unsafe { strip_segments::segment::<F64x4, K_AVX2>(rows, columns, corner, row, moves) }
    }

    fn align_strips<V: Vector, const K: usize>(
        a: &[f64],
        b: &[f64],
        cancelled: Cancelled<'_>,
        distance: impl FnOnce(&mut Moves<'_>) -> Result<Option<f64>, KernelError>,
    ) -> Result<Alignment, KernelError> {
        let mut moves = Moves::new::<V>(strips::move_registers::<V, K>(a.len(), b.len()), cancelled);
        let distance_squared = distance(&mut moves)?.expect(WITHIN_INFINITY);
        let path = trace(a.len(), b.len(), |i, j| moves.get::<V>(strips::place::<V, K>(i, j, b.len())));
        Ok(Alignment { distance_squared, path })
    }

    fn align_diagonals<V: Vector>(
        a: &[f64],
        b: &[f64],
        reach: Reach,
        cancelled: Cancelled<'_>,
        distance: impl FnOnce(&mut Moves<'_>) -> Result<Option<f64>, KernelError>,
    ) -> Result<Alignment, KernelError> {
        let mut moves = Moves::new::<V>(diagonals::move_registers::<V>(a.len(), b.len(), reach), cancelled);
        let distance_squared = distance(&mut moves)?.expect(WITHIN_INFINITY);
        let path = trace(a.len(), b.len(), |i, j| moves.get::<V>(diagonals::place::<V>(i, j, reach)));
        Ok(Alignment { distance_squared, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::NEVER;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    /// Every vector form, whatever the sizes that [`distance_within`] would use it for, gives the portable bits.
    fn check<T: Number>(a: &[T], b: &[T], band: Band) {
        let exact = distance_within(Simd::Portable, a, b, band, T::INFINITY, NEVER).unwrap().unwrap();
        let reach = band.reach(a.len(), b.len());
        for simd in Simd::available() {
            for (bound, expected) in [
                (T::INFINITY, Ok(Some(exact))),
                (exact, Ok(Some(exact))),
                (T::INFINITY * T::ZERO, Ok(None)),
                (T::ZERO - exact, Ok(if exact == T::ZERO { Some(exact) } else { None })),
            ] {
                let case = format!("{simd:?}, {} x {}, {band:?}, bound {bound:?}", a.len(), b.len());
                assert_eq!(distance_within(simd, a, b, band, bound, NEVER), expected, "{case}");
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the instructions are available.
                unsafe {
                    let none = &mut NoMoves(NEVER);
                    match simd {
                        Simd::Portable => {}
                        Simd::Avx2 => {
                            assert_eq!(x86::diagonals_avx2(a, b, reach, bound, none), expected, "{case}");
                            if reach.is_full(a.len()) {
                                assert_eq!(x86::strips_avx2(a, b, bound, none), expected, "{case}");
                            }
                        }
                        Simd::Avx512 => {
                            assert_eq!(x86::diagonals_avx512(a, b, reach, bound, none), expected, "{case}");
                            if reach.is_full(a.len()) {
                                assert_eq!(x86::strips_avx512(a, b, bound, none), expected, "{case}");
                            }
                        }
                    }
                }
            }
        }
    }

    /// Every vector form finds the portable path, whatever the sizes that [`align`] would use it for.
    fn check_paths(a: &[f64], b: &[f64], band: Band) {
        let reach = band.reach(a.len(), b.len());
        let expected = matrix::align(a, b, reach, NEVER);
        for simd in Simd::available() {
            let case = format!("{simd:?}, {} x {}, {band:?}", a.len(), b.len());
            assert_eq!(align(simd, a, b, reach, 1 << 20, NEVER), expected, "{case}");
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the instructions are available.
            unsafe {
                match simd {
                    Simd::Portable => {}
                    Simd::Avx2 => {
                        assert_eq!(x86::align_diagonals_avx2(a, b, reach, NEVER), expected, "{case}")
                    }
                    Simd::Avx512 => {
                        assert_eq!(x86::align_diagonals_avx512(a, b, reach, NEVER), expected, "{case}")
                    }
                }
            }
        }
    }

    fn check_both(a: &[f64], b: &[f64], band: Band) {
        check(a, b, band);
        let single = |values: &[f64]| -> Vec<f32> { values.iter().map(|&value| value as f32).collect() };
        check(&single(a), &single(b), band);
    }

    fn noise(random: &mut StdRng, length: usize) -> Vec<f64> {
        (0..length).map(|_| random.random::<f64>() - 0.5).collect()
    }

    #[test]
    fn all_forms_agree_on_every_length() {
        let mut random = StdRng::seed_from_u64(5);
        let lengths = (1..=70).chain([127, 128, 129, 255, 257, 1000, 1001]);
        for n in lengths {
            let other = random.random_range(1..=n + 20);
            for m in [n, other, 1] {
                // From every offset to the alignment of a register.
                let (a, b) = (noise(&mut random, n + 15), noise(&mut random, m + 15));
                let skip = (n % 16, m % 16);
                let (a, b) = (&a[skip.0.min(15)..][..n], &b[skip.1.min(15)..][..m]);
                for band in [Band::Points(n % 11), Band::Points([17, 40, 100][n % 3]), Band::Full] {
                    check_both(a, b, band);
                    check_paths(a, b, band);
                }
            }
        }
    }

    #[test]
    fn all_forms_agree_on_extremes() {
        let tiny: Vec<f64> = (0..80).map(|i| f64::from(i) * f64::MIN_POSITIVE / 64.0).collect();
        let huge: Vec<f64> = (0..90).map(|i| if i % 2 == 0 { 1e100 } else { -1e100 }).collect();
        for band in [Band::Points(3), Band::Points(30), Band::Full] {
            check(&tiny, &tiny[..70], band);
            check(&tiny, &huge, band);
            check(&huge, &huge[1..], band);
            check_both(&[7.0; 100], &[7.0; 90], band);
            check(&[f32::MIN_POSITIVE / 2.0; 33], &[1e12_f32; 40], band);
        }
    }

    proptest! {
        #[test]
        fn all_forms_agree_on_ties(
            a in prop::collection::vec((0_u8..3).prop_map(f64::from), 1..200),
            b in prop::collection::vec((0_u8..3).prop_map(f64::from), 1..200), half_width in 0_usize..80,
        ) {
            check_both(&a, &b, Band::Points(half_width));
            check_both(&a, &b, Band::Full);
            check_paths(&a, &b, Band::Points(half_width));
            check_paths(&a, &b, Band::Full);
        }
    }
}
