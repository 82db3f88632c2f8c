//! A band of the warping matrix, in coordinates along the diagonal.
//!
//! Cells of one anti-diagonal `s = i + j` do not depend on each other. Inside the band they have `d = j - i` from
//! `-below` to `above`, every other one: those with even `d + below` are class 0, the rest class 1. Cell `e` of a class
//! has `d = -below + 2 e + class`. Its diagonal neighbour is cell `e` of its own class two anti-diagonals before, which
//! it overwrites; the other two belong to the other class, one anti-diagonal before: for class 0 the upper neighbour is
//! cell `e`, the left one `e - 1`; for class 1 the left neighbour is cell `e`, the upper one `e + 1`. So one
//! anti-diagonal of each class is kept, and the shift alternates by one lane.
//!
//! Points outside the series are infinite, of opposite signs so that no difference is NaN; only the end of the band
//! needs a mask. Narrow bands stay in registers, wider ones in memory, where each anti-diagonal visits the cells of the
//! matrix alone.

use crate::band::Reach;
use crate::dtw::moves::MoveSink;
use crate::input::KernelError;
use crate::simd::{Number, Vector};

/// Anti-diagonals between two looks at the bound.
const ABANDON_PAIRS: usize = 16;

/// Pairs of anti-diagonals between two questions whether to go on.
const CANCEL_PAIRS: usize = 256;

/// A cache line, which is also the largest register.
const LINE_BYTES: usize = 64;

/// Registers for one class, in the order of the moves.
pub(crate) fn width<V: Vector>(reach: Reach) -> usize {
    (reach.below() + reach.above() + 1).div_ceil(2).div_ceil(V::LANES)
}

/// Registers of moves that [`distance`] notes.
pub(crate) fn move_registers<V: Vector>(rows: usize, columns: usize, reach: Reach) -> usize {
    2 * pairs(rows, columns, reach.below()) * width::<V>(reach)
}

/// The register and the lane of a cell, in the order of the moves.
pub(crate) fn place<V: Vector>(i: usize, j: usize, reach: Reach) -> (usize, usize) {
    let below = reach.below();
    let diagonal = j + below - i;
    let anti_diagonal = (i + j + below % 2) / 2 * 2 + diagonal % 2;
    (anti_diagonal * width::<V>(reach) + diagonal / 2 / V::LANES, diagonal / 2 % V::LANES)
}

/// Pairs of anti-diagonals, one of each class, that cover the matrix. The first one begins before it when cell `(0, 0)`
/// has class 1.
fn pairs(rows: usize, columns: usize, below: usize) -> usize {
    (rows + columns - 1 + below % 2).div_ceil(2)
}

/// The two series padded with infinity, and the band around them.
struct Matrix<'s, T> {
    reversed_rows: &'s [T],
    columns: &'s [T],
    row_count: usize,
    column_count: usize,
    below: usize,
    /// Cells of class 0 and class 1.
    counts: [usize; 2],
    pad: usize,
}

impl<T> Matrix<'_, T> {
    fn pairs(&self) -> usize {
        pairs(self.row_count, self.column_count, self.below)
    }

    /// Where the points of cell 0 begin at a pair of anti-diagonals: in the reversed rows, and in the columns for
    /// class 0; for class 1 one further.
    fn offsets(&self, pair: usize) -> (usize, usize) {
        let row = pair + self.below / 2;
        (self.pad + self.row_count - 1 - row, self.pad + pair - self.below.div_ceil(2))
    }

    /// Cells of a pair of anti-diagonals that may lie in the matrix, for either class.
    fn inside(&self, pair: usize) -> (usize, usize) {
        let row = pair + self.below / 2;
        // Column of cell 0 of class 1; that of class 0 is one less.
        let column = (pair + 1).wrapping_sub(self.below.div_ceil(2)).cast_signed();
        let first = (row + 1).saturating_sub(self.row_count).cast_signed().max(-column);
        let end = (row + 1).cast_signed().min(self.column_count.cast_signed() - column + 1);
        (first.max(0).cast_unsigned(), end.max(0).cast_unsigned().min(self.counts[0]))
    }
}

/// The squared distance between `rows` and `columns` within `bound`; the moves into all cells go to `moves`.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn distance<V: Vector>(
    rows: &[V::Lane],
    columns: &[V::Lane],
    reach: Reach,
    bound: V::Lane,
    moves: &mut impl MoveSink,
) -> Result<Option<V::Lane>, KernelError> {
    let diagonals = reach.below() + reach.above() + 1;
    let counts = [diagonals.div_ceil(2), diagonals / 2];
    let width = width::<V>(reach);
    let pad = (width + 1) * V::LANES;
    let infinity = V::Lane::INFINITY;

    let mut padded = Vec::with_capacity(rows.len() + columns.len() + 4 * pad);
    padded.resize(pad, infinity);
    padded.extend(rows.iter().rev());
    padded.resize(rows.len() + 2 * pad, infinity);
    padded.resize(rows.len() + 3 * pad, V::Lane::ZERO - infinity);
    padded.extend_from_slice(columns);
    padded.resize(rows.len() + columns.len() + 4 * pad, V::Lane::ZERO - infinity);
    let (reversed_rows, columns_padded) = padded.split_at(rows.len() + 2 * pad);
    let matrix = Matrix {
        reversed_rows,
        columns: columns_padded,
        row_count: rows.len(),
        column_count: columns.len(),
        below: reach.below(),
        counts,
        pad,
    };
    // SAFETY: the caller vouches for the instructions; `width` registers hold all cells of a class.
    let found = unsafe {
        match width {
            1 => in_registers::<V, 1>(&matrix, bound, moves),
            2 => in_registers::<V, 2>(&matrix, bound, moves),
            3 => in_registers::<V, 3>(&matrix, bound, moves),
            4 => in_registers::<V, 4>(&matrix, bound, moves),
            5 => in_registers::<V, 5>(&matrix, bound, moves),
            6 => in_registers::<V, 6>(&matrix, bound, moves),
            7 => in_registers::<V, 7>(&matrix, bound, moves),
            8 => in_registers::<V, 8>(&matrix, bound, moves),
            9 => in_registers::<V, 9>(&matrix, bound, moves),
            10 => in_registers::<V, 10>(&matrix, bound, moves),
            11 => in_registers::<V, 11>(&matrix, bound, moves),
            12 => in_registers::<V, 12>(&matrix, bound, moves),
            13 => in_registers::<V, 13>(&matrix, bound, moves),
            14 => in_registers::<V, 14>(&matrix, bound, moves),
            _ => in_memory::<V>(&matrix, width, bound, moves),
        }
    };
    let end = columns.len() + reach.below() - rows.len();
    let distance = found?.map(|cells| cells[end % 2 * width * V::LANES + end / 2]);
    Ok(distance.filter(|distance| *distance <= bound))
}

/// Both classes before the first anti-diagonal: infinite, but for the cell before `(0, 0)`; and for each class what
/// the costs in its last register must not fall below: 0, or infinity past the end of the band.
fn beginning<V: Vector>(matrix: &Matrix<'_, V::Lane>, width: usize) -> (Vec<V::Lane>, [Vec<V::Lane>; 2]) {
    let mut cells = vec![V::Lane::INFINITY; 2 * width * V::LANES];
    cells[matrix.below % 2 * width * V::LANES + matrix.below / 2] = V::Lane::ZERO;
    let floor = |count: usize| {
        let lane = |i| if (width - 1) * V::LANES + i < count { V::Lane::ZERO } else { V::Lane::INFINITY };
        (0..V::LANES).map(lane).collect()
    };
    (cells, matrix.counts.map(floor))
}

/// Bands of at most `2 LANES W` diagonals. Returns the last cells of class 0, then of class 1, or nothing once all
/// paths exceed the bound.
///
/// # Safety
/// The processor has the instructions of `V`, and `W` registers hold all cells of a class.
#[inline(always)]
unsafe fn in_registers<V: Vector, const W: usize>(
    matrix: &Matrix<'_, V::Lane>,
    bound: V::Lane,
    moves: &mut impl MoveSink,
) -> Result<Option<Vec<V::Lane>>, KernelError> {
    let (mut cells, floors) = beginning::<V>(matrix, W);
    // SAFETY: the caller vouches for the instructions; both floors hold one register.
    let (infinity, floors) =
        unsafe { (V::splat(V::Lane::INFINITY), [V::load(&floors[0], 0), V::load(&floors[1], 0)]) };
    for start in (0..matrix.pairs()).step_by(CANCEL_PAIRS) {
        if start > 0 {
            moves.go_on()?;
        }
        // A register that lived through the call would be in memory in the inner loop too.
        let (mut class_0, mut class_1, mut x) = ([infinity; W], [infinity; W], [infinity; W]);
        for w in 0..W {
            // SAFETY: `cells` holds 2 W registers.
            unsafe {
                class_0[w] = V::load(&cells, w * V::LANES);
                class_1[w] = V::load(&cells, (W + w) * V::LANES);
            }
        }
        for pair in start..matrix.pairs().min(start + CANCEL_PAIRS) {
            let (row, column) = matrix.offsets(pair);
            for w in 0..W {
                // SAFETY: the padding is wider than a class.
                let y = unsafe {
                    x[w] = V::load(matrix.reversed_rows, row + w * V::LANES);
                    V::load(matrix.columns, column + w * V::LANES)
                };
                let cost = square(x[w] - y);
                let cost = if w + 1 == W { cost.max(floors[0]) } else { cost };
                let left = class_1[w].neighbours_below(if w > 0 { class_1[w - 1] } else { infinity });
                class_0[w] = moves.left_last(2 * pair * W + w, class_1[w], class_0[w], left) + cost;
            }
            for w in 0..W {
                // SAFETY: as above.
                let cost = square(x[w] - unsafe { V::load(matrix.columns, column + 1 + w * V::LANES) });
                let cost = if w + 1 == W { cost.max(floors[1]) } else { cost };
                let up = class_0[w].neighbours_above(if w + 1 < W { class_0[w + 1] } else { infinity });
                class_1[w] = moves.up_last((2 * pair + 1) * W + w, up, class_1[w], class_0[w]) + cost;
            }
            if pair % ABANDON_PAIRS == ABANDON_PAIRS - 1 {
                let mut least = class_0[0].min(class_1[0]);
                for w in 1..W {
                    least = least.min(class_0[w]).min(class_1[w]);
                }
                // SAFETY: `cells` holds at least one register, and is written in full below.
                unsafe { least.store(&mut cells, 0) };
                if !any_within(&cells[..V::LANES], bound) {
                    return Ok(None);
                }
            }
        }
        for w in 0..W {
            // SAFETY: as above.
            unsafe {
                class_0[w].store(&mut cells, w * V::LANES);
                class_1[w].store(&mut cells, (W + w) * V::LANES);
            }
        }
    }
    Ok(Some(cells))
}

#[inline(always)]
fn square<V: Vector>(x: V) -> V {
    x * x
}

/// Whether a path may still come in within the bound: each crosses one of two neighbouring anti-diagonals.
fn any_within<T: Number>(cells: &[T], bound: T) -> bool {
    cells.iter().any(|&cell| cell <= bound)
}

/// [`in_registers`] for bands of any width.
///
/// # Safety
/// The processor has the instructions of `V`, and `width` registers hold all cells of a class.
#[inline(always)]
unsafe fn in_memory<V: Vector>(
    matrix: &Matrix<'_, V::Lane>,
    width: usize,
    bound: V::Lane,
    moves: &mut impl MoveSink,
) -> Result<Option<Vec<V::Lane>>, KernelError> {
    let (beginning, floors) = beginning::<V>(matrix, width);
    // Registers that straddle cache lines cost twice.
    let mut unaligned = vec![V::Lane::INFINITY; beginning.len() + LINE_BYTES];
    let skip = unaligned.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES);
    let cells = &mut unaligned[skip..skip + beginning.len()];
    cells.copy_from_slice(&beginning);
    let (class_0, class_1) = cells.split_at_mut(width * V::LANES);
    // SAFETY: the caller vouches for the instructions; both floors hold one register.
    let (infinity, floors) =
        unsafe { (V::splat(V::Lane::INFINITY), [V::load(&floors[0], 0), V::load(&floors[1], 0)]) };
    for start in (0..matrix.pairs()).step_by(CANCEL_PAIRS) {
        // A call in the inner loop would cost its registers.
        if start > 0 {
            moves.go_on()?;
        }
        for pair in start..matrix.pairs().min(start + CANCEL_PAIRS) {
            let (row, column) = matrix.offsets(pair);
            let (first, end) = matrix.inside(pair);
            let (first, end) = (first / V::LANES, end.div_ceil(V::LANES));
            // SAFETY: `first..end` lies within the `width` registers of a class, and the padding is wider than that.
            unsafe {
                let mut below = infinity;
                if first > 0 {
                    below = V::load(class_1, (first - 1) * V::LANES);
                }
                for w in first..end {
                    let at = w * V::LANES;
                    let cost = V::load(matrix.reversed_rows, row + at) - V::load(matrix.columns, column + at);
                    let up = V::load(class_1, at);
                    let diagonal = V::load(class_0, at);
                    let least =
                        moves.left_last(2 * pair * width + w, up, diagonal, up.neighbours_below(below));
                    below = up;
                    (least + square(cost)).store(class_0, at);
                }
                if end == width {
                    let at = (width - 1) * V::LANES;
                    V::load(class_0, at).max(floors[0]).store(class_0, at);
                }
                if first == end {
                    continue;
                }
                let mut left = V::load(class_0, first * V::LANES);
                for w in first..end {
                    let at = w * V::LANES;
                    let cost =
                        V::load(matrix.reversed_rows, row + at) - V::load(matrix.columns, column + 1 + at);
                    let next = if w + 1 < width { V::load(class_0, at + V::LANES) } else { infinity };
                    let (up, diagonal) = (left.neighbours_above(next), V::load(class_1, at));
                    let least = moves.up_last((2 * pair + 1) * width + w, up, diagonal, left);
                    left = next;
                    (least + square(cost)).store(class_1, at);
                }
                if end == width {
                    let at = (width - 1) * V::LANES;
                    V::load(class_1, at).max(floors[1]).store(class_1, at);
                }
            }
            if pair % ABANDON_PAIRS == ABANDON_PAIRS - 1
                && !any_within(class_0, bound)
                && !any_within(class_1, bound)
            {
                return Ok(None);
            }
        }
    }
    Ok(Some(cells.to_vec()))
}
