//! The whole warping matrix, in strips of rows that stay in registers.
//!
//! A strip has `LANES` x `K` rows. Lane `l`, counted from the last one, holds rows `l K .. (l + 1) K`, one in each of
//! `K` registers. At step `t` row `r` of the strip computes column `t - r`, so every cell's neighbours were computed at
//! the two steps before: the left one in the same register, the upper and the diagonal one in the register before,
//! both without moving lanes. Only the first register takes its upper row from the lane above, which is the last
//! register's one shifted by a lane, with the row above the strip shifted in.
//!
//! Nothing is masked: columns outside the matrix hold infinity, and rows past the last one depend on rows above only.
//! `K` is as large as the registers allow: the chain from one step to the next is a shift, a minimum and an addition,
//! 11 cycles, in which `K` = 8 registers keep both arithmetic ports busy.

use crate::dtw::moves::MoveSink;
use crate::input::KernelError;
use crate::simd::{Number, Vector};

/// Steps between two refills of the window of columns.
const BLOCK_STEPS: usize = 64;

/// Registers in a strip with AVX-512: 2 `K` cells and `K` rows leave 8 of the 32 for the rest.
pub(crate) const K_AVX512: usize = 8;

/// Registers in a strip with AVX2. The rows are operands in memory.
pub(crate) const K_AVX2: usize = 4;

/// Registers of moves that [`distance`] notes.
pub(crate) fn move_registers<V: Vector, const K: usize>(rows: usize, columns: usize) -> usize {
    rows.div_ceil(V::LANES * K) * (columns + V::LANES * K - 1) * K
}

/// The register and the lane of a cell, in the order of the moves.
pub(crate) fn place<V: Vector, const K: usize>(i: usize, j: usize, columns: usize) -> (usize, usize) {
    let strip_rows = V::LANES * K;
    let (strip, r) = (i / strip_rows, i % strip_rows);
    let step = strip * (columns + strip_rows - 1) + j + r;
    (step * K + r % K, V::LANES - 1 - r / K)
}

/// The squared distance between `rows` and `columns` within `bound`; the moves into all cells go to `moves`, which is
/// asked after every strip whether to go on.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn distance<V: Vector, const K: usize>(
    rows: &[V::Lane],
    columns: &[V::Lane],
    bound: V::Lane,
    moves: &mut impl MoveSink,
) -> Result<Option<V::Lane>, KernelError> {
    let mut edge = vec![V::Lane::INFINITY; edge_cells::<V, K>(columns.len())];
    // SAFETY: the caller vouches for the instructions; the edge is long enough.
    unsafe { distance_from::<V, K>(rows, columns, &mut edge, V::Lane::ZERO, bound, moves) }
}

/// How long the edge of [`distance_from`] is for so many columns.
pub(crate) fn edge_cells<V: Vector, const K: usize>(columns: usize) -> usize {
    columns + 3 * V::LANES * K
}

/// Where in an edge the row above begins.
pub(crate) fn edge_start<V: Vector, const K: usize>() -> usize {
    V::LANES * K - 1
}

/// [`distance`] where a row comes before the first one: it is in `edge` from [`edge_start`] on, and the cells around it are
/// infinite; `corner` is the diagonal neighbour of the first cell. Rows in whole strips leave the last of them in its
/// place.
///
/// # Safety
/// The processor has the instructions of `V`; `edge` has [`edge_cells`].
#[inline(always)]
pub(crate) unsafe fn distance_from<V: Vector, const K: usize>(
    rows: &[V::Lane],
    columns: &[V::Lane],
    edge: &mut [V::Lane],
    mut corner: V::Lane,
    bound: V::Lane,
    moves: &mut impl MoveSink,
) -> Result<Option<V::Lane>, KernelError> {
    let strip_rows = V::LANES * K;
    assert_eq!(edge.len(), edge_cells::<V, K>(columns.len()), "an edge reaches around the row");
    let mut padded = Vec::with_capacity(columns.len() + strip_rows + BLOCK_STEPS);
    padded.extend_from_slice(columns);
    padded.resize(columns.len() + strip_rows + BLOCK_STEPS, V::Lane::INFINITY);

    let mut above = rows;
    let mut steps_before = 0;
    loop {
        if steps_before > 0 {
            moves.go_on()?;
        }
        let (own, below) = above.split_at(strip_rows.min(above.len()));
        // The last strip ends with the last cell of its last row.
        let steps = columns.len() + if below.is_empty() { own.len() } else { strip_rows } - 1;
        let mut lanes = vec![V::Lane::ZERO; strip_rows];
        for (r, &x) in own.iter().enumerate() {
            lanes[r % K * V::LANES + (V::LANES - 1 - r / K)] = x;
        }
        // SAFETY: the caller vouches for the instructions; the buffers have the lengths that `strip` asks for.
        let last =
            unsafe { strip::<V, K>(&lanes, &padded, edge, corner, steps, (&mut *moves, steps_before)) };
        steps_before += steps;
        if below.is_empty() {
            let r = own.len() - 1;
            let mut cells = vec![V::Lane::ZERO; V::LANES];
            // SAFETY: there is room for all lanes.
            unsafe { last[r % K].store(&mut cells, 0) };
            let distance = cells[V::LANES - 1 - r / K];
            return Ok((distance <= bound).then_some(distance));
        }
        let last_row = &edge[strip_rows - 1..][..columns.len()];
        let least =
            last_row.iter().fold(V::Lane::INFINITY, |least, &cell| if cell < least { cell } else { least });
        // Every path crosses every row. Asked as "within", because a bound of NaN is exceeded by all.
        if least <= bound {
            (above, corner) = (below, V::Lane::INFINITY);
        } else {
            return Ok(None);
        }
    }
}

/// Computes one strip and returns the cells of its last step. Turns `edge` from the row above the strip into its last.
///
/// # Safety
/// The processor has the instructions of `V`; `lanes` holds `LANES * K` numbers; `columns` holds `steps + BLOCK_STEPS`,
/// `edge` `steps + 2 * LANES * K`.
#[inline(always)]
unsafe fn strip<V: Vector, const K: usize>(
    lanes: &[V::Lane],
    columns: &[V::Lane],
    edge: &mut [V::Lane],
    corner: V::Lane,
    steps: usize,
    (moves, steps_before): (&mut impl MoveSink, usize),
) -> [V; K] {
    debug_assert!(lanes.len() == V::LANES * K && edge.len() >= steps + 2 * V::LANES * K);
    debug_assert!(columns.len() >= steps.next_multiple_of(BLOCK_STEPS) && BLOCK_STEPS > K && K > 1);
    // SAFETY: the caller vouches for the instructions.
    let infinity = unsafe { V::splat(V::Lane::INFINITY) };
    let mut state = State { rows: [infinity; K], diagonal: infinity, step: 0, steps_before };
    for (k, rows) in state.rows.iter_mut().enumerate() {
        // SAFETY: `lanes` holds K registers.
        *rows = unsafe { V::load(lanes, k * V::LANES) };
    }
    // Only the lane of the first row counts; the others meet infinite costs first.
    // SAFETY: the caller vouches for the instructions.
    state.diagonal = unsafe { V::splat(corner) };
    let (mut even, mut odd) = ([infinity; K], [infinity; K]);
    // At step `t` of a block, entry `K + t` holds in each lane the column of that lane's first row.
    let mut window = [infinity; BLOCK_STEPS + 16];
    loop {
        for t in 0..BLOCK_STEPS {
            // Each lane follows the one above K steps later.
            // SAFETY: the caller vouches for the instructions; `columns` covers all blocks.
            let column = unsafe { V::splat(*columns.get_unchecked(state.step + t)) };
            window[K + t] = window[t].neighbours_above(column);
        }
        let end = steps.min(state.step + BLOCK_STEPS);
        let mut at = K;
        while state.step + 2 <= end {
            // SAFETY: the buffers are long enough for all steps.
            unsafe {
                state.advance(&mut even, &odd, &window, at, edge, moves);
                state.advance(&mut odd, &even, &window, at + 1, edge, moves);
            }
            at += 2;
        }
        if state.step == steps {
            return odd;
        } else if state.step < end {
            // SAFETY: as above. Blocks have an even number of steps, so an odd one is the last.
            unsafe { state.advance(&mut even, &odd, &window, at, edge, moves) };
            return even;
        }
        window.copy_within(BLOCK_STEPS..BLOCK_STEPS + K, 0);
    }
}

/// What a strip carries from step to step beside its cells.
struct State<V, const K: usize> {
    rows: [V; K],
    /// What the first register has as its diagonal neighbours.
    diagonal: V,
    step: usize,
    steps_before: usize,
}

impl<V: Vector, const K: usize> State<V, K> {
    /// Turns the cells of the step before the last into those of the next one.
    ///
    /// # Safety
    /// `at - K >= 0`, `at < window.len()`; `edge` reaches `2 LANES K` past the step.
    #[inline(always)]
    unsafe fn advance(
        &mut self,
        cells: &mut [V; K],
        last: &[V; K],
        window: &[V],
        at: usize,
        edge: &mut [V::Lane],
        moves: &mut impl MoveSink,
    ) {
        debug_assert!(at >= K && at < window.len());
        let offset = V::LANES * K - 1;
        // SAFETY: the caller vouches for the length of `edge`.
        let above = unsafe { V::splat(*edge.get_unchecked(self.step + offset)) };
        let first_up = last[K - 1].neighbours_above(above);
        for k in (0..K).rev() {
            // Descending, so that `cells[k - 1]` is still that of two steps ago.
            let (up, diagonal) = if k > 0 { (last[k - 1], cells[k - 1]) } else { (first_up, self.diagonal) };
            // SAFETY: the caller vouches for `at`.
            let cost = self.rows[k] - unsafe { *window.get_unchecked(at - k) };
            let least = moves.up_last((self.steps_before + self.step) * K + k, up, diagonal, last[k]);
            cells[k] = least + cost * cost;
        }
        self.diagonal = first_up;
        // Lane 0 is the strip's last row; the other lanes land on columns that later steps write.
        // SAFETY: the caller vouches for the length of `edge`.
        unsafe { cells[K - 1].store(edge, self.step) };
        self.step += 1;
    }
}
