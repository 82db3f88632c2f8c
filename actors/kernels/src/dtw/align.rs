//! The warping path itself, from a matrix of moves.

use crate::band::{Band, Reach};
use crate::input::{KernelError, Series, check};

/// Most cells inside the band that [`align`] accepts: 2³¹, that is 512 MiB of moves.
pub const ALIGN_CELLS_MAX: u64 = 1 << 31;

/// The predecessor above beats the diagonal one.
const UP: u8 = 1;
/// The left predecessor beats both others.
const LEFT: u8 = 2;

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
/// Memory is 2 bits for each cell inside the band, plus one row: 250 kB for 1000 x 1000 points. Bands of more
/// than [`ALIGN_CELLS_MAX`] cells are refused.
///
/// ```
/// use swarm_kernels::{Band, dtw};
/// let alignment = dtw::align(&[0.0, 2.0], &[0.0, 0.0, 2.0], Band::Full)?;
/// assert_eq!(alignment.path, [(0, 0), (0, 1), (1, 2)]);
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
pub fn align(a: &[f64], b: &[f64], band: Band) -> Result<Alignment, KernelError> {
    check(Series::First, a)?;
    check(Series::Second, b)?;
    let reach = band.reach(a.len(), b.len());
    let mut moves = Moves::new(reach, a.len())?;
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
    Ok(Alignment { distance_squared: row[b.len() - 1], path: moves.trace(a.len() - 1, b.len() - 1) })
}

/// Moves into each cell of the band, four to a byte, every row starting at a byte of its own.
struct Moves {
    reach: Reach,
    packed: Vec<u8>,
    row_offsets: Vec<usize>,
}

impl Moves {
    fn new(reach: Reach, rows: usize) -> Result<Self, KernelError> {
        let cells =
            (0..rows).fold(0_u64, |cells, i| cells.saturating_add((reach.end(i) - reach.first(i)) as u64));
        if cells > ALIGN_CELLS_MAX {
            return Err(KernelError::AlignmentTooLarge { cells, limit: ALIGN_CELLS_MAX });
        }
        let bytes = (0..rows).map(|i| (reach.end(i) - reach.first(i)).div_ceil(4)).sum();
        Ok(Self { reach, packed: Vec::with_capacity(bytes), row_offsets: Vec::with_capacity(rows) })
    }

    fn push(&mut self, row_moves: &[u8]) {
        self.row_offsets.push(self.packed.len());
        let (fours, rest) = row_moves.as_chunks::<4>();
        self.packed.extend(fours.iter().map(|[a, b, c, d]| a | (b << 2) | (c << 4) | (d << 6)));
        if !rest.is_empty() {
            self.packed.push(rest.iter().rev().fold(0, |byte, bits| (byte << 2) | bits));
        }
    }

    fn get(&self, i: usize, j: usize) -> u8 {
        let column = j - self.reach.first(i);
        self.packed[self.row_offsets[i] + column / 4] >> (column % 4 * 2) & 3
    }

    fn trace(&self, mut i: usize, mut j: usize) -> Vec<(usize, usize)> {
        let mut path = vec![(i, j)];
        while (i, j) != (0, 0) {
            let step = self.get(i, j);
            if step & LEFT != 0 {
                j -= 1;
            } else if step & UP != 0 {
                i -= 1;
            } else {
                (i, j) = (i - 1, j - 1);
            }
            path.push((i, j));
        }
        path.reverse();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_cells_are_refused_before_any_allocation() {
        let long = vec![0.0; 1 << 16];
        let error = align(&long, &long, Band::Full).unwrap_err();
        assert_eq!(error, KernelError::AlignmentTooLarge { cells: 1 << 32, limit: 1 << 31 });
        let path = align(&long, &long, Band::Points(1)).unwrap().path;
        assert_eq!(path.len(), long.len());
    }
}
