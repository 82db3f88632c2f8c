//! The vectors of AVX2 and AVX-512.
//!
//! Each operation is one or two instructions. `#[inline(always)]` carries it into the kernel's function, which has the
//! `#[target_feature]`.

use std::arch::x86_64::*;
use std::ops::{Add, Mul, Sub};

use super::Vector;

/// Defines a vector type by the intrinsics of its operations.
macro_rules! vector {
    (
        $name:ident($register:ident), $lane:ident x $lanes:literal, $doc:literal,
        splat $splat:ident, load $load:ident, store $store:ident,
        add $add:ident, sub $sub:ident, mul $mul:ident, min $min:ident, max $max:ident,
        min_non_negative |$one:ident, $other:ident| $min_non_negative:expr,
        above |$current:ident, $next:ident| $above:expr,
        below |$upper:ident, $previous:ident| $below:expr,
        less |$a:ident, $b:ident| $less:expr $(,)?
    ) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy)]
        #[repr(transparent)]
        pub(crate) struct $name($register);

        vector!(@operator $name, Add, add, $add);
        vector!(@operator $name, Sub, sub, $sub);
        vector!(@operator $name, Mul, mul, $mul);

        impl Vector for $name {
            type Lane = $lane;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn splat(value: $lane) -> Self {
                // SAFETY: the caller vouches for the instructions.
                Self(unsafe { $splat(value) })
            }

            #[inline(always)]
            unsafe fn load(values: &[$lane], at: usize) -> Self {
                debug_assert!(at + $lanes <= values.len());
                // SAFETY: the caller vouches for the instructions and the bounds; any alignment will do.
                Self(unsafe { $load(values.as_ptr().add(at)) })
            }

            #[inline(always)]
            unsafe fn store(self, values: &mut [$lane], at: usize) {
                debug_assert!(at + $lanes <= values.len());
                // SAFETY: `self` proves the instructions, the caller vouches for the bounds; any alignment will do.
                unsafe { $store(values.as_mut_ptr().add(at), self.0) }
            }

            #[inline(always)]
            fn min(self, other: Self) -> Self {
                // SAFETY: `self` proves the instructions.
                Self(unsafe { $min(self.0, other.0) })
            }

            #[inline(always)]
            fn min_non_negative(self, other: Self) -> Self {
                let ($one, $other) = (self.0, other.0);
                // SAFETY: `self` proves the instructions.
                Self(unsafe { $min_non_negative })
            }

            #[inline(always)]
            fn max(self, other: Self) -> Self {
                // SAFETY: `self` proves the instructions.
                Self(unsafe { $max(self.0, other.0) })
            }

            #[inline(always)]
            fn neighbours_above(self, next: Self) -> Self {
                let ($current, $next) = (self.0, next.0);
                // SAFETY: `self` proves the instructions.
                Self(unsafe { $above })
            }

            #[inline(always)]
            fn neighbours_below(self, previous: Self) -> Self {
                let ($upper, $previous) = (self.0, previous.0);
                // SAFETY: `self` proves the instructions.
                Self(unsafe { $below })
            }

            #[inline(always)]
            fn less(self, other: Self) -> u32 {
                let ($a, $b) = (self.0, other.0);
                // SAFETY: `self` proves the instructions.
                unsafe { $less }
            }
        }
    };
    (@operator $name:ident, $trait:ident, $method:ident, $intrinsic:ident) => {
        impl $trait for $name {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: `self` proves the instructions.
                Self(unsafe { $intrinsic(self.0, other.0) })
            }
        }
    };
}

vector! {
    F64x8(__m512d), f64 x 8, "Eight `f64`: AVX-512.",
    splat _mm512_set1_pd, load _mm512_loadu_pd, store _mm512_storeu_pd,
    add _mm512_add_pd, sub _mm512_sub_pd, mul _mm512_mul_pd, min _mm512_min_pd, max _mm512_max_pd,
    min_non_negative |a, b| _mm512_castsi512_pd(_mm512_min_epi64(
        _mm512_castpd_si512(a), _mm512_castpd_si512(b))),
    above |current, next| _mm512_castsi512_pd(_mm512_alignr_epi64::<1>(
        _mm512_castpd_si512(next), _mm512_castpd_si512(current))),
    below |current, previous| _mm512_castsi512_pd(_mm512_alignr_epi64::<7>(
        _mm512_castpd_si512(current), _mm512_castpd_si512(previous))),
    less |a, b| u32::from(_mm512_cmp_pd_mask::<_CMP_LT_OQ>(a, b)),
}

vector! {
    F32x16(__m512), f32 x 16, "Sixteen `f32`: AVX-512.",
    splat _mm512_set1_ps, load _mm512_loadu_ps, store _mm512_storeu_ps,
    add _mm512_add_ps, sub _mm512_sub_ps, mul _mm512_mul_ps, min _mm512_min_ps, max _mm512_max_ps,
    min_non_negative |a, b| _mm512_castsi512_ps(_mm512_min_epi32(
        _mm512_castps_si512(a), _mm512_castps_si512(b))),
    above |current, next| _mm512_castsi512_ps(_mm512_alignr_epi32::<1>(
        _mm512_castps_si512(next), _mm512_castps_si512(current))),
    below |current, previous| _mm512_castsi512_ps(_mm512_alignr_epi32::<15>(
        _mm512_castps_si512(current), _mm512_castps_si512(previous))),
    less |a, b| u32::from(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b)),
}

// AVX2 moves lanes within halves only: first bring the neighbouring halves together, then shift within each. It has no
// minimum of 64-bit integers.
vector! {
    F64x4(__m256d), f64 x 4, "Four `f64`: AVX2.",
    splat _mm256_set1_pd, load _mm256_loadu_pd, store _mm256_storeu_pd,
    add _mm256_add_pd, sub _mm256_sub_pd, mul _mm256_mul_pd, min _mm256_min_pd, max _mm256_max_pd,
    min_non_negative |a, b| _mm256_min_pd(a, b),
    above |current, next| _mm256_shuffle_pd::<0b0101>(
        current, _mm256_permute2f128_pd::<0x21>(current, next)),
    below |current, previous| _mm256_shuffle_pd::<0b0101>(
        _mm256_permute2f128_pd::<0x21>(previous, current), current),
    less |a, b| _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_LT_OQ>(a, b)).cast_unsigned(),
}

vector! {
    F32x8(__m256), f32 x 8, "Eight `f32`: AVX2.",
    splat _mm256_set1_ps, load _mm256_loadu_ps, store _mm256_storeu_ps,
    add _mm256_add_ps, sub _mm256_sub_ps, mul _mm256_mul_ps, min _mm256_min_ps, max _mm256_max_ps,
    min_non_negative |a, b| _mm256_castsi256_ps(_mm256_min_epi32(
        _mm256_castps_si256(a), _mm256_castps_si256(b))),
    above |current, next| _mm256_castsi256_ps(_mm256_alignr_epi8::<4>(
        _mm256_castps_si256(_mm256_permute2f128_ps::<0x21>(current, next)), _mm256_castps_si256(current))),
    below |current, previous| _mm256_castsi256_ps(_mm256_alignr_epi8::<12>(
        _mm256_castps_si256(current), _mm256_castps_si256(_mm256_permute2f128_ps::<0x21>(previous, current)))),
    less |a, b| _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b)).cast_unsigned(),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Number, Simd};

    /// Every operation against its definition, from every alignment offset.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    unsafe fn check<V: Vector<Lane: From<u8>>>() {
        let lane = |value: usize| V::Lane::from(u8::try_from(value).unwrap());
        let values: Vec<V::Lane> = (0..120).map(|i| lane(i * 37 % 101)).collect();
        let mut written = vec![V::Lane::ZERO; 120];
        for at in 0..=64 - V::LANES {
            // SAFETY: the caller vouches for the instructions; both ends lie within 120 values.
            let (a, b) = unsafe { (V::load(&values, at), V::load(&values, at + 50)) };
            let mut expect = |vector: V, expected: &dyn Fn(usize) -> V::Lane| {
                // SAFETY: as above.
                unsafe { vector.store(&mut written, at) };
                for i in 0..V::LANES {
                    assert_eq!(written[at + i], expected(i), "lane {i} of {}", V::LANES);
                }
            };
            let (x, y) = (|i: usize| values[at + i], |i: usize| values[at + 50 + i]);
            expect(a + b, &|i| x(i) + y(i));
            expect(a - b, &|i| x(i) - y(i));
            expect(a * b, &|i| x(i) * y(i));
            expect(a.min(b), &|i| if x(i) < y(i) { x(i) } else { y(i) });
            expect(a.min_non_negative(b), &|i| if x(i) < y(i) { x(i) } else { y(i) });
            expect(a.max(b), &|i| if x(i) < y(i) { y(i) } else { x(i) });
            expect(a.neighbours_above(b), &|i| if i + 1 < V::LANES { x(i + 1) } else { y(0) });
            expect(a.neighbours_below(b), &|i| if i > 0 { x(i - 1) } else { y(V::LANES - 1) });
            // SAFETY: the caller vouches for the instructions.
            expect(unsafe { V::splat(values[at]) }, &|_| x(0));
            let less = (0..V::LANES).fold(0, |bits, i| bits | (u32::from(x(i) < y(i)) << i));
            assert_eq!(a.less(b), less);
        }
    }

    #[test]
    fn operations_are_what_their_names_say() {
        if Simd::best() >= Simd::Avx2 {
            // SAFETY: the processor has AVX2.
            unsafe {
                check::<F64x4>();
                check::<F32x8>();
            }
        }
        if Simd::best() >= Simd::Avx512 {
            // SAFETY: the processor has AVX-512.
            unsafe {
                check::<F64x8>();
                check::<F32x16>();
            }
        }
    }
}
