//! The portable form of the recurrence with moves: row by row.

use crate::band::Reach;
use crate::dtw::align::{Alignment, trace};

/// The predecessor above beats the diagonal one.
const UP: u8 = 1;
/// The left predecessor beats both others.
const LEFT: u8 = 2;

/// The alignment of checked series.
pub(super) fn align(a: &[f64], b: &[f64], reach: Reach) -> Alignment {
    let mut moves = Moves::new(reach, a.len());
    let mut row = vec![f64::INFINITY; b.len()];
    let mut row_moves = vec![0; b.len()];
    for (i, &x) in a.iter().enumerate() {
        let (first, end) = (reach.first(i), reach.end(i));
        let mut left = f64::INFINITY;
        // A non-zero first column moves by one per row, so its left neighbour belongs to the previous row.
        let mut diagonal = match (i, first) {
            (0, _) => 0.0,
            (_, 0) => f64::INFINITY,
            _ => row[first - 1],
        };
        // Cells that no row has reached yet still hold infinity.
        for ((cell, step), &y) in
            row[first..end].iter_mut().zip(&mut row_moves[first..end]).zip(&b[first..end])
        {
            let up = *cell;
            let is_up = up < diagonal;
            let earlier = if is_up { up } else { diagonal };
            let is_left = left < earlier;
            let least = if is_left { left } else { earlier };
            *step = (u8::from(is_up) * UP) | (u8::from(is_left) * LEFT);
            left = least + (x - y) * (x - y);
            *cell = left;
            diagonal = up;
        }
        moves.push(&row_moves[first..end]);
    }
    Alignment { distance_squared: row[b.len() - 1], path: trace(a.len(), b.len(), |i, j| moves.get(i, j)) }
}

/// Moves into each cell of the band, four to a byte, every row starting at a byte of its own.
struct Moves {
    reach: Reach,
    packed: Vec<u8>,
    row_offsets: Vec<usize>,
}

impl Moves {
    fn new(reach: Reach, rows: usize) -> Self {
        let bytes = (0..rows).map(|i| (reach.end(i) - reach.first(i)).div_ceil(4)).sum();
        Self { reach, packed: Vec::with_capacity(bytes), row_offsets: Vec::with_capacity(rows) }
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
        let step = self.packed[self.row_offsets[i] + column / 4] >> (column % 4 * 2);
        (step & UP != 0, step & LEFT != 0)
    }
}
