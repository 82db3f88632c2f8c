//! Dynamic time warping between two series: squared point costs, summed along the cheapest path.

mod align;
#[cfg(target_arch = "x86_64")]
mod diagonals;
mod kernel;
#[cfg(target_arch = "x86_64")]
pub(crate) mod lanes;
mod matrix;
mod moves;
mod pairs;
#[cfg(target_arch = "x86_64")]
mod strip_segments;
#[cfg(target_arch = "x86_64")]
mod strips;
pub(crate) mod sweep;

pub use align::{ALIGN_MATRIX_CELLS_MAX, Alignment, align, align_unless};
pub(crate) use kernel::distance_within as distance_checked_within;
pub(crate) use pairs::Ring;
pub use pairs::{all_pairs, all_pairs_f32};

use crate::band::Band;
use crate::input::{Cancelled, KernelError, NEVER, Series, check};
use crate::simd::{Number, Simd};

/// The least sum of squared differences along a warping path inside the band.
///
/// The usual DTW distance is its square root. Symmetric in its arguments. Time is proportional to the cells
/// inside the band, memory to the lengths.
///
/// ```
/// use swarm_kernels::{Band, dtw};
/// let (a, b) = ([0.0, 1.0, 2.0], [0.0, 0.0, 1.0, 2.0]);
/// assert_eq!(dtw::distance_squared(&a, &b, Band::Full)?, 0.0);
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
pub fn distance_squared(a: &[f64], b: &[f64], band: Band) -> Result<f64, KernelError> {
    let distance = distance_squared_within(a, b, band, f64::INFINITY)?;
    Ok(distance.expect(WITHIN_INFINITY))
}

/// [`distance_squared`], which stops with [`KernelError::Cancelled`] once `cancelled` says so. It is asked between strips
/// of rows, or every few hundred anti-diagonals of a band: some milliseconds apart even for 200,000 points.
pub fn distance_squared_unless(
    cancelled: Cancelled<'_>,
    a: &[f64],
    b: &[f64],
    band: Band,
) -> Result<f64, KernelError> {
    Ok(checked_within(a, b, band, f64::INFINITY, cancelled)?.expect(WITHIN_INFINITY))
}

/// [`distance_squared`], given up early: `None` when it exceeds `bound`, `Some` when it is less or equal.
///
/// A bound of NaN is exceeded by every distance.
pub fn distance_squared_within(
    a: &[f64],
    b: &[f64],
    band: Band,
    bound: f64,
) -> Result<Option<f64>, KernelError> {
    checked_within(a, b, band, bound, NEVER)
}

/// [`distance_squared`] in single precision, in half the time.
///
/// For series of `n` and `m` points the answer is off by at most `(n + m + 3) / 2²⁴` of itself, apart from squares
/// too small for the type. Magnitudes end at [`MAGNITUDE_MAX_F32`](crate::MAGNITUDE_MAX_F32).
pub fn distance_squared_f32(a: &[f32], b: &[f32], band: Band) -> Result<f32, KernelError> {
    let distance = distance_squared_within_f32(a, b, band, f32::INFINITY)?;
    Ok(distance.expect(WITHIN_INFINITY))
}

/// [`distance_squared_within`] in single precision.
pub fn distance_squared_within_f32(
    a: &[f32],
    b: &[f32],
    band: Band,
    bound: f32,
) -> Result<Option<f32>, KernelError> {
    checked_within(a, b, band, bound, NEVER)
}

const WITHIN_INFINITY: &str = "input within the largest magnitude cannot exceed an infinite bound";

fn checked_within<T: Number>(
    a: &[T],
    b: &[T],
    band: Band,
    bound: T,
    cancelled: Cancelled<'_>,
) -> Result<Option<T>, KernelError> {
    check(Series::First, a)?;
    check(Series::Second, b)?;
    kernel::distance_within(Simd::active(), a, b, band, bound, cancelled)
}
