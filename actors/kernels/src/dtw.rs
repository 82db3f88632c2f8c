//! Dynamic time warping between two series: squared point costs, summed along the cheapest path.

mod align;
pub(crate) mod sweep;

pub use align::{ALIGN_CELLS_MAX, Alignment, align};

use crate::band::Band;
use crate::input::{KernelError, Series, check};

/// The least sum of squared differences along a warping path inside the band.
///
/// The usual DTW distance is its square root. Symmetric in its arguments. Time is proportional to the cells
/// inside the band, memory to the length of `b`.
///
/// ```
/// use swarm_kernels::{Band, dtw};
/// let (a, b) = ([0.0, 1.0, 2.0], [0.0, 0.0, 1.0, 2.0]);
/// assert_eq!(dtw::distance_squared(&a, &b, Band::Full)?, 0.0);
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
pub fn distance_squared(a: &[f64], b: &[f64], band: Band) -> Result<f64, KernelError> {
    let distance = distance_squared_within(a, b, band, f64::INFINITY)?;
    Ok(distance.expect("input within MAGNITUDE_MAX cannot exceed an infinite bound"))
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
    check(Series::First, a)?;
    check(Series::Second, b)?;
    let reach = band.reach(a.len(), b.len());
    Ok(sweep::sweep(a, b, reach, |_| bound, |_| f64::INFINITY, &mut Vec::new()))
}
