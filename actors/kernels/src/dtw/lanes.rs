//! One series against as many others as a register has lanes, one in each lane.
//!
//! `K` rows advance together through the columns, each one column behind the row above it, so that no cell waits for
//! another of its step. Between passes one row is kept in memory.

use std::ops::Range;

use crate::band::Reach;
use crate::input::KernelError;
use crate::simd::{Number, Vector};

/// Rows in a pass: one register each for the point, the cell and the one before, as in a strip.
pub(crate) const ROWS_AVX512: usize = 8;

/// Rows in a pass with half as many registers.
pub(crate) const ROWS_AVX2: usize = 4;

/// The squared distances between `rows` and each lane of `columns`, point `j` of lane `l` at `j * LANES + l`.
///
/// After some rows `go_on` is told how many are done and the least cell of the last one for each lane; when it wants no
/// more, the answer is nothing, and its error ends them. `edge` is scratch space.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn distances<V: Vector, const K: usize>(
    rows: &[V::Lane],
    columns: &[V::Lane],
    reach: Reach,
    edge: &mut Vec<V::Lane>,
    mut go_on: impl FnMut(usize, V) -> Result<bool, KernelError>,
) -> Result<Option<V>, KernelError> {
    edge.clear();
    edge.resize(columns.len(), V::Lane::INFINITY);
    let mut row = 0;
    while row < rows.len() {
        let pass = Pass { rows: &rows[row..], columns, reach, row };
        // SAFETY: the caller vouches for the instructions; `edge` is as long as the columns.
        let (done, least) = unsafe {
            if let Some(least) = pass.advance::<V, K>(edge) {
                (K, least)
            } else if let Some(least) = pass.advance::<V, 4>(edge) {
                (4, least)
            } else if let Some(least) = pass.advance::<V, 2>(edge) {
                (2, least)
            } else {
                (1, pass.advance::<V, 1>(edge).expect("one row is always even"))
            }
        };
        row += done;
        if row < rows.len() && !go_on(row, least)? {
            return Ok(None);
        }
    }
    // SAFETY: `edge` is as long as the columns, which are not empty.
    Ok(Some(unsafe { V::load(edge, columns.len() - V::LANES) }))
}

/// What one pass needs to know beside the cells of the row above it.
struct Pass<'s, T> {
    /// From its first row on.
    rows: &'s [T],
    columns: &'s [T],
    reach: Reach,
    row: usize,
}

impl<T: Number> Pass<'_, T> {
    /// Steps from the first column of one row to that of the next: 1 while both are column 0, 2 while the band moves;
    /// likewise for the last columns. Nothing when it changes among `K` rows, or there are fewer, or the rows are so
    /// short that the first one ends before the last one begins.
    #[inline(always)]
    fn slopes<const K: usize>(&self) -> Option<(usize, usize)> {
        if self.rows.len() < K {
            return None;
        }
        let last = self.row + K - 1;
        let slope = |moved: usize| match moved {
            0 => Some(1),
            _ if moved == K - 1 => Some(2),
            _ => None,
        };
        let first = slope(self.reach.first(last) - self.reach.first(self.row))?;
        let end = slope(self.reach.end(last) - self.reach.end(self.row))?;
        let overlap = self.reach.first(self.row) + first * (K - 1) > self.reach.end(self.row);
        (!overlap).then_some((first, end))
    }

    /// Turns `edge` from the row above into the `K`th from it, and returns the least cell of that; nothing when `K` rows
    /// cannot go together.
    ///
    /// # Safety
    /// The processor has the instructions of `V`; `edge` is as long as the columns.
    #[inline(always)]
    unsafe fn advance<V: Vector<Lane = T>, const K: usize>(&self, edge: &mut [T]) -> Option<V> {
        debug_assert_eq!(edge.len(), self.columns.len());
        // SAFETY: the caller vouches for all of it.
        Some(unsafe {
            match self.slopes::<K>()? {
                (1, 1) => self.advance_sloped::<V, K, 1, 1>(edge),
                (1, _) => self.advance_sloped::<V, K, 1, 2>(edge),
                (_, 1) => self.advance_sloped::<V, K, 2, 1>(edge),
                (_, _) => self.advance_sloped::<V, K, 2, 2>(edge),
            }
        })
    }

    /// [`Self::advance`] once the slopes are known: of the first columns, and of the last.
    ///
    /// # Safety
    /// The processor has the instructions of `V`; `edge` is as long as the columns; the slopes are those of the rows.
    #[inline(always)]
    unsafe fn advance_sloped<V: Vector<Lane = T>, const K: usize, const FIRST: usize, const END: usize>(
        &self,
        edge: &mut [T],
    ) -> V {
        // SAFETY: the caller vouches for the instructions.
        let infinity = unsafe { V::splat(T::INFINITY) };
        let mut x = [infinity; K];
        for (x, &value) in x.iter_mut().zip(self.rows) {
            // SAFETY: as above.
            *x = unsafe { V::splat(value) };
        }
        let (first, end) = (self.reach.first(self.row), self.reach.end(self.row));
        // SAFETY: as above. The column before the first one belongs to the row above, which began one earlier.
        let diagonal = unsafe {
            match (self.row, first) {
                (0, _) => V::splat(T::ZERO),
                (_, 0) => infinity,
                _ => V::load(edge, (first - 1) * V::LANES),
            }
        };
        let mut state =
            State { x, cells: [infinity; K], last: [infinity; K], diagonal, least: infinity, step: first };
        // SAFETY: row `k` uses columns from `first + (FIRST - 1) k` to `end + (END - 1) k`, all of which exist: those
        // are its first and last ones in the band.
        unsafe {
            // One row after the other begins; those that have not still hold infinity.
            for ahead in 0..FIRST * (K - 1) {
                state.advance(self.columns, edge, 0..ahead / FIRST + 1);
            }
            while state.step < end {
                state.advance(self.columns, edge, 0..K);
            }
            // One row after the other ends, and is infinite for the next.
            for behind in 0..END * (K - 1) {
                state.advance(self.columns, edge, behind / END + 1..K);
            }
        }
        state.least
    }
}

/// The registers of a pass.
struct State<V, const K: usize> {
    x: [V; K],
    cells: [V; K],
    last: [V; K],
    /// What row 0 has as its diagonal neighbour.
    diagonal: V,
    /// Of the cells of the last row.
    least: V,
    step: usize,
}

impl<V: Vector, const K: usize> State<V, K> {
    /// Computes the next column of the `active` rows.
    ///
    /// # Safety
    /// Row `k` of the active ones has a column `step - k`.
    #[inline(always)]
    unsafe fn advance(&mut self, columns: &[V::Lane], edge: &mut [V::Lane], active: Range<usize>) {
        let mut first_up = self.diagonal;
        if active.start == 0 {
            // SAFETY: row 0 is active, so its column exists.
            first_up = unsafe { V::load(edge, self.step * V::LANES) };
        }
        for k in (0..K).rev() {
            if active.contains(&k) {
                // Descending, so that `cells[k - 1]` is still that of two steps ago.
                let (up, diagonal) =
                    if k > 0 { (self.last[k - 1], self.cells[k - 1]) } else { (first_up, self.diagonal) };
                // SAFETY: the caller vouches for the column.
                let cost = self.x[k] - unsafe { V::load(columns, (self.step - k) * V::LANES) };
                let least = self.last[k].min_non_negative(diagonal).min_non_negative(up);
                self.cells[k] = least + cost * cost;
            } else {
                // SAFETY: `self` proves the instructions.
                self.cells[k] = unsafe { V::splat(V::Lane::INFINITY) };
            }
        }
        self.diagonal = first_up;
        if active.end == K {
            // SAFETY: the last row is active, so its column exists.
            unsafe { self.cells[K - 1].store(edge, (self.step + 1 - K) * V::LANES) };
            self.least = self.least.min(self.cells[K - 1]);
        }
        std::mem::swap(&mut self.cells, &mut self.last);
        self.step += 1;
    }
}
