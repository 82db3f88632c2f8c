//! Which vector instructions the kernels use, and the few operations that they are written in.
//!
//! Every kernel exists in a portable form, and where it pays in a vector form that computes the same sums in the same
//! order for each cell: no fused multiply-add, so all forms agree to the last bit.
//!
//! No kernel mentions an instruction: it is generic over [`Vector`], and one function for each [`Simd`] instantiates it
//! behind `#[target_feature]`. A new instruction set is a new implementation of `Vector`.

#[cfg(target_arch = "x86_64")]
pub(crate) mod wide;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use std::fmt::Debug;
use std::ops::{Add, Mul, Sub};
use std::sync::OnceLock;

use crate::input::{MAGNITUDE_MAX, MAGNITUDE_MAX_F32};

/// The vector instructions that the kernels use, from the least to the most.
///
/// Chosen once per process: the best that the processor has, or less when the environment variable `SWARM_SIMD` says
/// so: `portable` and `avx2` switch the higher ones off. Answers do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Simd {
    /// None beyond what the compiler was told to use everywhere.
    Portable,
    /// 256 bits: AVX2.
    Avx2,
    /// 512 bits: AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Simd {
    /// The instructions in use.
    pub fn active() -> Self {
        static ACTIVE: OnceLock<Simd> = OnceLock::new();
        *ACTIVE.get_or_init(|| Self::permitted(std::env::var("SWARM_SIMD").ok().as_deref()).min(Self::best()))
    }

    fn permitted(wish: Option<&str>) -> Self {
        match wish {
            Some("portable") => Self::Portable,
            Some("avx2") => Self::Avx2,
            _ => Self::Avx512,
        }
    }

    /// The best that the processor has.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx2 && avx512 {
                return Self::Avx512;
            } else if avx2 {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    /// All that this processor can run, for tests.
    #[cfg(test)]
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        [Self::Portable, Self::Avx2, Self::Avx512].into_iter().filter(|&simd| simd <= Self::best())
    }
}

/// What a kernel asks of a number: `f64`, and `f32` where half the precision buys twice the speed.
pub(crate) trait Number:
    Copy + Debug + PartialOrd + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Into<f64> + 'static
{
    /// 0.
    const ZERO: Self;
    /// The cost of what must not be.
    const INFINITY: Self;
    /// Largest magnitude accepted.
    const MAGNITUDE_MAX: Self;
    /// The vector of 256 bits.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Vector<Lane = Self>;
    /// The vector of 512 bits.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Vector<Lane = Self>;
}

impl Number for f64 {
    const ZERO: Self = 0.0;
    const INFINITY: Self = Self::INFINITY;
    const MAGNITUDE_MAX: Self = MAGNITUDE_MAX;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = x86::F64x4;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = x86::F64x8;
}

impl Number for f32 {
    const ZERO: Self = 0.0;
    const INFINITY: Self = Self::INFINITY;
    const MAGNITUDE_MAX: Self = MAGNITUDE_MAX_F32;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = x86::F32x8;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = x86::F32x16;
}

/// A register of numbers. Lane 0 is the first in memory.
///
/// A value can be had only from [`splat`](Self::splat) and [`load`](Self::load), whose callers vouch for the
/// instructions: having one proves that the processor has them, so that arithmetic is safe.
pub(crate) trait Vector: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// The number in each lane.
    type Lane: Number;
    /// How many of them.
    const LANES: usize;

    /// The same number in all lanes.
    ///
    /// # Safety
    /// The processor has the instructions of this type.
    unsafe fn splat(value: Self::Lane) -> Self;

    /// The numbers from `values[at]` on.
    ///
    /// # Safety
    /// The processor has the instructions of this type, and `at + LANES <= values.len()`.
    unsafe fn load(values: &[Self::Lane], at: usize) -> Self;

    /// Writes the lanes to `values[at]` and on.
    ///
    /// # Safety
    /// `at + LANES <= values.len()`.
    unsafe fn store(self, values: &mut [Self::Lane], at: usize);

    /// The smaller of each lane; operands are never NaN.
    fn min(self, other: Self) -> Self;

    /// The smaller of each lane; operands are neither negative nor NaN, and so in the order of their bits. The integer
    /// instruction leaves the units that multiply free.
    fn min_non_negative(self, other: Self) -> Self;

    /// The larger of each lane; operands are never NaN.
    fn max(self, other: Self) -> Self;

    /// Each lane takes its upper neighbour; the last takes lane 0 of `next`.
    fn neighbours_above(self, next: Self) -> Self;

    /// Each lane takes its lower neighbour; lane 0 takes the last of `previous`.
    fn neighbours_below(self, previous: Self) -> Self;

    /// Bit `i` says whether lane `i` is less than that of `other`.
    fn less(self, other: Self) -> u32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_can_only_take_away() {
        assert_eq!(Simd::permitted(Some("portable")), Simd::Portable);
        assert_eq!(Simd::permitted(Some("avx2")), Simd::Avx2);
        assert_eq!(Simd::permitted(None), Simd::Avx512);
        assert!(Simd::active() <= Simd::best());
    }
}
