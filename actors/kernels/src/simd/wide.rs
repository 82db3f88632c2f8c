//! Whole numbers of many words in registers of 512 bits: AVX-512.

use std::arch::x86_64::*;
use std::array;
use std::ops::{Add, BitAnd, BitOr};

/// Words in a register.
const WORDS: usize = 8;

/// A number of `8 R` words, the lowest first. A value can be had only from functions whose callers vouch for the
/// instructions, so having one proves them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wide<const R: usize>([__m512i; R]);

impl<const R: usize> Wide<R> {
    /// All bits set.
    ///
    /// # Safety
    /// The processor has AVX-512 F.
    #[inline(always)]
    pub(crate) unsafe fn ones() -> Self {
        // SAFETY: the caller vouches for the instructions.
        Self([unsafe { _mm512_set1_epi64(-1) }; R])
    }

    /// The words from `words[at]` on.
    ///
    /// # Safety
    /// The processor has AVX-512 F, and `at + 8 R <= words.len()`.
    #[inline(always)]
    pub(crate) unsafe fn load(words: &[u64], at: usize) -> Self {
        debug_assert!(at + WORDS * R <= words.len());
        // SAFETY: the caller vouches for both; any alignment will do.
        Self(array::from_fn(|r| unsafe { _mm512_loadu_si512(words.as_ptr().add(at + WORDS * r).cast()) }))
    }

    /// The bits that `other` has not.
    #[inline(always)]
    pub(crate) fn without(self, other: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(array::from_fn(|r| unsafe { _mm512_andnot_si512(other.0[r], self.0[r]) }))
    }

    /// How many bits are not set.
    #[inline(always)]
    pub(crate) fn count_zeros(self) -> usize {
        let mut words = [0_u64; WORDS];
        let mut zeros = 0;
        for register in self.0 {
            // SAFETY: `self` proves the instructions; a register is eight words.
            unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), register) };
            zeros += words.iter().map(|word| word.count_zeros() as usize).sum::<usize>();
        }
        zeros
    }
}

impl<const R: usize> BitAnd for Wide<R> {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(array::from_fn(|r| unsafe { _mm512_and_si512(self.0[r], other.0[r]) }))
    }
}

impl<const R: usize> BitOr for Wide<R> {
    type Output = Self;

    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(array::from_fn(|r| unsafe { _mm512_or_si512(self.0[r], other.0[r]) }))
    }
}

/// The sum without the bits that do not fit.
///
/// Every word is added by itself. A word that overflowed carries into the next one; a word that is all ones passes a
/// carry on. With one bit for each word, an addition of those bits carries exactly so.
impl<const R: usize> Add for Wide<R> {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        const { assert!(R < 8, "the carries of all words fit in one") }
        // SAFETY: `self` proves the instructions.
        unsafe {
            let ones = _mm512_set1_epi64(-1);
            let sums: [__m512i; R] = array::from_fn(|r| _mm512_add_epi64(self.0[r], other.0[r]));
            let (mut overflowed, mut full) = (0_u64, 0_u64);
            for (r, &sum) in sums.iter().enumerate() {
                overflowed |= u64::from(_mm512_cmplt_epu64_mask(sum, self.0[r])) << (WORDS * r);
                full |= u64::from(_mm512_cmpeq_epu64_mask(sum, ones)) << (WORDS * r);
            }
            let carried = ((overflowed << 1) + full) ^ full;
            Self(array::from_fn(|r| {
                _mm512_mask_sub_epi64(sums[r], (carried >> (WORDS * r)) as __mmask8, sums[r], ones)
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Simd;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    /// Against word by word.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn check<const R: usize>(a: &[u64], b: &[u64]) {
        // SAFETY: this function has the instructions; both have `8 R` words.
        let (x, y) = unsafe { (Wide::<R>::load(a, 0), Wide::<R>::load(b, 0)) };
        let expect = |wide: Wide<R>, expected: Vec<u64>| {
            // SAFETY: as above.
            let expected = unsafe { Wide::<R>::load(&expected, 0) };
            let differing = wide.without(expected) | expected.without(wide);
            assert_eq!(differing.count_zeros(), 64 * WORDS * R, "{a:x?} {b:x?}");
        };
        let by_word = |word: fn(u64, u64) -> u64| a.iter().zip(b).map(|(&x, &y)| word(x, y)).collect();
        expect(x & y, by_word(|x, y| x & y));
        expect(x | y, by_word(|x, y| x | y));
        expect(x.without(y), by_word(|x, y| x & !y));
        let mut carry = false;
        let add = |(&x, &y)| {
            let (sum, carried) = u64::carrying_add(x, y, carry);
            carry = carried;
            sum
        };
        expect(x + y, a.iter().zip(b).map(add).collect());
        // SAFETY: as above.
        assert_eq!(unsafe { Wide::<R>::ones() }.count_zeros(), 0);
    }

    #[test]
    fn operations_agree_with_those_word_by_word() {
        if Simd::best() < Simd::Avx512 {
            return;
        }
        let mut random = StdRng::seed_from_u64(11);
        // Words that overflow, that pass a carry on, and that do neither.
        let mut words = |count: usize| -> Vec<u64> {
            (0..count)
                .map(|_| match random.random_range(0..5) {
                    0 => 0,
                    1 => 1,
                    2 | 3 => u64::MAX,
                    _ => random.random(),
                })
                .collect()
        };
        for _ in 0..2000 {
            // SAFETY: the processor has AVX-512.
            unsafe {
                check::<1>(&words(8), &words(8));
                check::<2>(&words(16), &words(16));
            }
        }
    }
}
