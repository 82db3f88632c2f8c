//! The warping path itself, from a matrix of moves.

use crate::band::Band;
use crate::dtw::{kernel, matrix};
use crate::input::{Cancelled, KernelError, NEVER, Series, check};
use crate::simd::Simd;

/// Most cells inside the band of which [`align`] keeps all moves at once: 2³¹, that is 512 MiB.
pub const ALIGN_MATRIX_CELLS_MAX: u64 = 1 << 31;

/// Cells whose moves [`align`] keeps at once in larger bands: 2²⁸, that is 64 MiB.
const SEGMENT_CELLS_MAX: u64 = 1 << 28;

/// A cheapest warping path and what it costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Alignment {
    /// What [`distance_squared`](crate::dtw::distance_squared) returns for the same arguments.
    pub distance_squared: f64,
    /// Pairs of indices from `(0, 0)` to the last points of both series; each step advances one index or both by 1.
    pub path: Vec<(usize, usize)>,
}

/// The distance together with a cheapest path; among equally cheap predecessors the diagonal one is taken, then
/// the one that advances `a` alone.
///
/// Memory is 2 bits for each cell inside the band, plus one row: 250 kB for 1000 x 1000 points. For bands of more than
/// [`ALIGN_MATRIX_CELLS_MAX`] cells it is proportional to the lengths: 64 MiB, the path, and the values of some dozens of
/// rows. Distance and path are the same; without a band they take twice as long as [`distance_squared`](crate::dtw::distance_squared),
/// 2 to 3 s for 50,000 x 50,000 points, within a band about ten times as long, because there no vector instructions are used.
///
/// ```
/// use swarm_kernels::{Band, dtw};
/// let alignment = dtw::align(&[0.0, 2.0], &[0.0, 0.0, 2.0], Band::Full)?;
/// assert_eq!(alignment.path, [(0, 0), (0, 1), (1, 2)]);
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
pub fn align(a: &[f64], b: &[f64], band: Band) -> Result<Alignment, KernelError> {
    align_unless(NEVER, a, b, band)
}

/// [`align`], which stops with [`KernelError::Cancelled`] once `cancelled` says so, as
/// [`distance_squared_unless`](crate::dtw::distance_squared_unless) does.
pub fn align_unless(
    cancelled: Cancelled<'_>,
    a: &[f64],
    b: &[f64],
    band: Band,
) -> Result<Alignment, KernelError> {
    check(Series::First, a)?;
    check(Series::Second, b)?;
    let reach = band.reach(a.len(), b.len());
    let cells =
        (0..a.len()).fold(0_u64, |cells, i| cells.saturating_add((reach.end(i) - reach.first(i)) as u64));
    let simd = Simd::active();
    if cells > ALIGN_MATRIX_CELLS_MAX {
        matrix::align_in_segments(simd, a, b, reach, SEGMENT_CELLS_MAX, cancelled)
    } else {
        kernel::align(simd, a, b, reach, cells, cancelled)
    }
}

/// Follows the moves back from the last points. `moves(i, j)` says whether the predecessor above beats the diagonal
/// one, and whether the left one beats both.
#[cfg(target_arch = "x86_64")]
pub(super) fn trace(
    rows: usize,
    columns: usize,
    moves: impl Fn(usize, usize) -> (bool, bool),
) -> Vec<(usize, usize)> {
    let (mut i, mut j) = (rows - 1, columns - 1);
    let mut path = Vec::with_capacity(rows + columns);
    path.push((i, j));
    while (i, j) != (0, 0) {
        match moves(i, j) {
            (_, true) => j -= 1,
            (true, false) => i -= 1,
            (false, false) => (i, j) = (i - 1, j - 1),
        }
        path.push((i, j));
    }
    path.reverse();
    path
}
