//! The portable form of the recurrence with moves: row by row, and where the moves of all rows would take too much
//! memory, segment by segment.
//!
//! The values of one row are all that the rows below need of those above. So the rows are computed once without their
//! moves, keeping a row here and there; then from the last segment to the first each is computed again from the row kept
//! above it, now with its moves, as far as the column in which the path leaves it. Segments whose moves are still too
//! many are divided in the same way. Every cell is computed from the same neighbours with the same operations as in one
//! go, so the path is the same, ties included, which Hirschberg's division (1975) would not give: it adds up halves that
//! were rounded from opposite ends.

use std::ops::Range;

use crate::band::Reach;
use crate::dtw::align::Alignment;
#[cfg(target_arch = "x86_64")]
use crate::dtw::strip_segments;
use crate::input::{Cancelled, KernelError, go_on};
use crate::simd::Simd;

/// The predecessor above beats the diagonal one.
const UP: u8 = 1;
/// The left predecessor beats both others.
const LEFT: u8 = 2;

/// Parts that a segment with too many moves is divided into. Each level of division costs the values of as many rows, and
/// another pass over the cells up to the path.
const PARTS: usize = 16;

/// Rows between two questions whether to go on.
const CANCEL_ROWS: usize = 64;

/// The alignment of checked series, unless cancelled.
pub(super) fn align(
    a: &[f64],
    b: &[f64],
    reach: Reach,
    cancelled: Cancelled<'_>,
) -> Result<Alignment, KernelError> {
    align_in_segments(Simd::Portable, a, b, reach, u64::MAX, cancelled)
}

/// [`align`], keeping the moves of at most `cells_max` cells at a time, or of one strip of rows when that has more. Uses
/// vector instructions for the whole matrix only.
pub(super) fn align_in_segments(
    simd: Simd,
    a: &[f64],
    b: &[f64],
    reach: Reach,
    cells_max: u64,
    cancelled: Cancelled<'_>,
) -> Result<Alignment, KernelError> {
    let mut aligner = Aligner {
        simd: if reach.is_full(a.len()) { simd } else { Simd::Portable },
        a,
        b,
        reach,
        cells_max,
        cancelled,
        row: Vec::new(),
        row_moves: vec![0; b.len()],
        path: Vec::with_capacity(a.len() + b.len()),
        distance_squared: f64::INFINITY,
    };
    aligner.trace(0..a.len(), &[], b.len() - 1)?;
    aligner.path.reverse();
    Ok(Alignment { distance_squared: aligner.distance_squared, path: aligner.path })
}

struct Aligner<'s> {
    simd: Simd,
    a: &'s [f64],
    b: &'s [f64],
    reach: Reach,
    cells_max: u64,
    cancelled: Cancelled<'s>,
    /// The row computed last.
    row: Vec<f64>,
    row_moves: Vec<u8>,
    /// From the end.
    path: Vec<(usize, usize)>,
    distance_squared: f64,
}

impl Aligner<'_> {
    /// Adds to the path its cells in `rows`, from column `exit` of the last one backwards, and returns its column in the
    /// row above, whose values are given from its first column on.
    fn trace(&mut self, rows: Range<usize>, above: &[f64], exit: usize) -> Result<usize, KernelError> {
        let cells = rows.clone().map(|i| self.columns(i, exit).len() as u64).sum::<u64>();
        self.restore(rows.start, above);
        let rows_min = self.rows_min();
        if cells <= self.cells_max || rows.len() <= rows_min {
            return self.trace_at_once(rows, cells, exit);
        }
        let part_rows = rows.len().div_ceil(PARTS).next_multiple_of(rows_min);
        let mut kept = vec![(rows.start, above.to_vec())];
        for start in rows.clone().step_by(part_rows) {
            let end = start + part_rows;
            if end < rows.end {
                self.sweep(start..end, exit)?;
                kept.push((end, self.row[self.columns(end - 1, exit)].to_vec()));
            }
        }
        let (mut end, mut exit) = (rows.end, exit);
        while let Some((start, above)) = kept.pop() {
            exit = self.trace(start..end, &above, exit)?;
            end = start;
        }
        Ok(exit)
    }

    /// [`trace`](Self::trace) with the moves of all the rows.
    fn trace_at_once(&mut self, rows: Range<usize>, cells: u64, exit: usize) -> Result<usize, KernelError> {
        #[cfg(target_arch = "x86_64")]
        if self.simd > Simd::Portable {
            let (of_rows, columns) = (&self.a[rows.clone()], &self.b[..=exit]);
            let (is_first, row) = (rows.start == 0, &mut self.row[..=exit]);
            let (moves, last) =
                strip_segments::moves(self.simd, of_rows, columns, is_first, row, self.cancelled)?;
            if rows.end == self.a.len() {
                self.distance_squared = last;
            }
            let first = rows.start;
            return Ok(self.follow(rows, |i, j| moves.get(i - first, j), exit));
        }
        let mut moves = Moves::new(self.reach, rows.clone(), cells);
        for i in rows.clone() {
            let columns = self.columns(i, exit);
            self.advance::<true>(i, columns.clone())?;
            moves.push(&self.row_moves[columns]);
        }
        if rows.end == self.a.len() {
            self.distance_squared = self.row[exit];
        }
        Ok(self.follow(rows, |i, j| moves.get(i, j), exit))
    }

    /// Turns the row above `rows` into their last one.
    fn sweep(&mut self, rows: Range<usize>, exit: usize) -> Result<(), KernelError> {
        #[cfg(target_arch = "x86_64")]
        if self.simd > Simd::Portable {
            let (is_first, row) = (rows.start == 0, &mut self.row[..=exit]);
            let (rows, columns) = (&self.a[rows], &self.b[..=exit]);
            return strip_segments::sweep(self.simd, rows, columns, is_first, row, self.cancelled);
        }
        for i in rows {
            self.advance::<false>(i, self.columns(i, exit))?;
        }
        Ok(())
    }

    /// Segments have a multiple of so many rows, except for the last.
    fn rows_min(&self) -> usize {
        #[cfg(target_arch = "x86_64")]
        if self.simd > Simd::Portable {
            return strip_segments::WHOLE_ROWS;
        }
        1
    }

    /// The columns of a row that lie in the band and not beyond `exit`.
    fn columns(&self, i: usize, exit: usize) -> Range<usize> {
        self.reach.first(i)..self.reach.end(i).min(exit + 1)
    }

    /// Turns the row into the one above row `i`.
    fn restore(&mut self, i: usize, above: &[f64]) {
        // Cells that no row has reached yet hold infinity.
        self.row.clear();
        self.row.resize(self.b.len(), f64::INFINITY);
        if let Some(i) = i.checked_sub(1) {
            let first = self.reach.first(i);
            self.row[first..first + above.len()].copy_from_slice(above);
        }
    }

    /// Turns the row above row `i` into row `i`, and notes its moves if wanted.
    fn advance<const MOVES: bool>(&mut self, i: usize, columns: Range<usize>) -> Result<(), KernelError> {
        if i % CANCEL_ROWS == CANCEL_ROWS - 1 {
            go_on(self.cancelled)?;
        }
        let x = self.a[i];
        let mut left = f64::INFINITY;
        // A non-zero first column moves by one per row, so its left neighbour belongs to the previous row.
        let mut diagonal = match (i, columns.start) {
            (0, _) => 0.0,
            (_, 0) => f64::INFINITY,
            (_, first) => self.row[first - 1],
        };
        let steps = &mut self.row_moves[columns.clone()];
        for ((cell, step), &y) in self.row[columns.clone()].iter_mut().zip(steps).zip(&self.b[columns]) {
            let up = *cell;
            let is_up = up < diagonal;
            let earlier = if is_up { up } else { diagonal };
            let is_left = left < earlier;
            let least = if is_left { left } else { earlier };
            if MOVES {
                *step = (u8::from(is_up) * UP) | (u8::from(is_left) * LEFT);
            }
            left = least + (x - y) * (x - y);
            *cell = left;
            diagonal = up;
        }
        Ok(())
    }

    /// Follows the moves from column `exit` of the last row until the path leaves the rows, or ends in the first cell.
    fn follow(
        &mut self,
        rows: Range<usize>,
        moves: impl Fn(usize, usize) -> (bool, bool),
        exit: usize,
    ) -> usize {
        let (mut i, mut j) = (rows.end - 1, exit);
        loop {
            self.path.push((i, j));
            if (i, j) == (0, 0) {
                return 0;
            }
            let (is_up, is_left) = moves(i, j);
            j -= usize::from(is_left || !is_up);
            if !is_left {
                if i == rows.start {
                    return j;
                }
                i -= 1;
            }
        }
    }
}

/// Moves into cells of the band, four to a byte, every row starting at a byte of its own.
struct Moves {
    reach: Reach,
    first_row: usize,
    packed: Vec<u8>,
    row_offsets: Vec<usize>,
}

impl Moves {
    fn new(reach: Reach, rows: Range<usize>, cells: u64) -> Self {
        let bytes = cells as usize / 4 + rows.len();
        let row_offsets = Vec::with_capacity(rows.len());
        Self { reach, first_row: rows.start, packed: Vec::with_capacity(bytes), row_offsets }
    }

    fn push(&mut self, row_moves: &[u8]) {
        self.row_offsets.push(self.packed.len());
        let (fours, rest) = row_moves.as_chunks::<4>();
        self.packed.extend(fours.iter().map(|[a, b, c, d]| a | (b << 2) | (c << 4) | (d << 6)));
        if !rest.is_empty() {
            self.packed.push(rest.iter().rev().fold(0, |byte, bits| (byte << 2) | bits));
        }
    }

    fn get(&self, i: usize, j: usize) -> (bool, bool) {
        let column = j - self.reach.first(i);
        let step = self.packed[self.row_offsets[i - self.first_row] + column / 4] >> (column % 4 * 2);
        (step & UP != 0, step & LEFT != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Band;
    use crate::input::NEVER;
    use proptest::prelude::*;

    fn check(a: &[f64], b: &[f64], reach: Reach, cells_max: u64) -> Result<(), TestCaseError> {
        let expected = align(a, b, reach, NEVER);
        for simd in Simd::available() {
            prop_assert_eq!(&align_in_segments(simd, a, b, reach, cells_max, NEVER), &expected, "{:?}", simd);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn segments_of_any_size_give_the_path_of_the_whole_matrix(
            // Small whole numbers, so that many paths are equally cheap.
            a in prop::collection::vec((-3_i8..4).prop_map(f64::from), 1..80),
            b in prop::collection::vec((-3_i8..4).prop_map(f64::from), 1..80),
            half_width in 0_usize..90, cells_max in prop_oneof![0_u64..40, 0_u64..4000],
        ) {
            check(&a, &b, Band::Points(half_width).reach(a.len(), b.len()), cells_max)?;
        }

        #[test]
        fn so_they_do_where_sums_are_rounded(
            a in prop::collection::vec(-1.0..1.0_f64, 1..600), b in prop::collection::vec(-1.0..1.0_f64, 1..300),
            half_width in 0_usize..300, cells_max in 0_u64..9000,
        ) {
            check(&a, &b, Band::Points(half_width).reach(a.len(), b.len()), cells_max)?;
            check(&a, &b, Band::Full.reach(a.len(), b.len()), cells_max)?;
        }
    }
}
