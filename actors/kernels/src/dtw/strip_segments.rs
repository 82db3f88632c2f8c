//! Some rows of the whole warping matrix by strips, from the values of the row above them.

use crate::dtw::WITHIN_INFINITY;
use crate::dtw::kernel::x86::{segment_avx2, segment_avx512};
use crate::dtw::moves::{MoveSink, Moves, NoMoves};
use crate::dtw::strips::{self, K_AVX2, K_AVX512};
use crate::input::{Cancelled, KernelError};
use crate::simd::x86::{F64x4, F64x8};
use crate::simd::{Simd, Vector};

/// Whole strips, for each of the instructions.
pub(super) const WHOLE_ROWS: usize = 64;

/// The moves of some rows.
pub(super) struct StripMoves<'a> {
    simd: Simd,
    columns: usize,
    moves: Moves<'a>,
}

impl StripMoves<'_> {
    /// The moves into a cell, whose row is counted from the first one of the segment.
    pub(super) fn get(&self, i: usize, j: usize) -> (bool, bool) {
        match self.simd {
            Simd::Avx512 => self.moves.get::<F64x8>(strips::place::<F64x8, K_AVX512>(i, j, self.columns)),
            _ => self.moves.get::<F64x4>(strips::place::<F64x4, K_AVX2>(i, j, self.columns)),
        }
    }
}

/// Turns the row above `rows`, which come in whole strips, into their last one. `is_first` says that there is none above,
/// and the row is infinite.
pub(super) fn sweep(
    simd: Simd,
    rows: &[f64],
    columns: &[f64],
    is_first: bool,
    row: &mut [f64],
    cancelled: Cancelled<'_>,
) -> Result<(), KernelError> {
    debug_assert!(rows.len().is_multiple_of(WHOLE_ROWS));
    run(simd, rows, columns, is_first, row, &mut NoMoves(cancelled)).map(drop)
}

/// The moves of `rows`, and the last value of the last one.
pub(super) fn moves<'a>(
    simd: Simd,
    rows: &[f64],
    columns: &[f64],
    is_first: bool,
    row: &mut [f64],
    cancelled: Cancelled<'a>,
) -> Result<(StripMoves<'a>, f64), KernelError> {
    let (of_rows, of_columns) = (rows.len(), columns.len());
    let mut moves = match simd {
        Simd::Avx512 => {
            let registers = strips::move_registers::<F64x8, K_AVX512>(of_rows, of_columns);
            Moves::new::<F64x8>(registers, cancelled)
        }
        _ => Moves::new::<F64x4>(strips::move_registers::<F64x4, K_AVX2>(of_rows, of_columns), cancelled),
    };
    let last = run(simd, rows, columns, is_first, row, &mut moves)?;
    Ok((StripMoves { simd, columns: of_columns, moves }, last))
}

fn run(
    simd: Simd,
    rows: &[f64],
    columns: &[f64],
    is_first: bool,
    row: &mut [f64],
    moves: &mut impl MoveSink,
) -> Result<f64, KernelError> {
    let corner = if is_first { 0.0 } else { f64::INFINITY };
    // SAFETY: an instruction set that is in use was detected; without any there are no strips.
    unsafe {
        match simd {
            Simd::Avx512 => segment_avx512(rows, columns, corner, row, moves),
            _ => segment_avx2(rows, columns, corner, row, moves),
        }
    }
}

/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn segment<V: Vector<Lane = f64>, const K: usize>(
    rows: &[f64],
    columns: &[f64],
    corner: f64,
    row: &mut [f64],
    moves: &mut impl MoveSink,
) -> Result<f64, KernelError> {
    let place = strips::edge_start::<V, K>()..strips::edge_start::<V, K>() + columns.len();
    let mut edge = vec![f64::INFINITY; strips::edge_cells::<V, K>(columns.len())];
    edge[place.clone()].copy_from_slice(row);
    // SAFETY: the caller vouches for the instructions; the edge has its length.
    let last =
        unsafe { strips::distance_from::<V, K>(rows, columns, &mut edge, corner, f64::INFINITY, moves)? };
    row.copy_from_slice(&edge[place]);
    Ok(last.expect(WITHIN_INFINITY))
}
