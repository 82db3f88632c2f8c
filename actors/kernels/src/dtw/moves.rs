//! Which neighbour each cell came from, noted while the distance is computed.

use crate::input::{self, Cancelled, KernelError};
use crate::simd::Vector;

/// Takes the least of a cell's three neighbours and may note which one it was.
///
/// The first two methods mean the same. The name says which neighbour is computed last, so that it waits for one minimum only.
/// `index` counts the registers of the matrix in the order of its kernel.
pub(crate) trait MoveSink {
    /// The least of three for the cells of one register.
    fn up_last<V: Vector>(&mut self, index: usize, up: V, diagonal: V, left: V) -> V;

    /// The least of three for the cells of one register.
    fn left_last<V: Vector>(&mut self, index: usize, up: V, diagonal: V, left: V) -> V;

    /// Ends a distance that is not wanted any more: asked between blocks of cells, never from the inner loop.
    fn go_on(&self) -> Result<(), KernelError>;
}

/// Notes nothing.
pub(crate) struct NoMoves<'a>(pub(crate) Cancelled<'a>);

impl MoveSink for NoMoves<'_> {
    #[inline(always)]
    fn up_last<V: Vector>(&mut self, _: usize, up: V, diagonal: V, left: V) -> V {
        left.min_non_negative(diagonal).min_non_negative(up)
    }

    #[inline(always)]
    fn left_last<V: Vector>(&mut self, _: usize, up: V, diagonal: V, left: V) -> V {
        up.min_non_negative(diagonal).min_non_negative(left)
    }

    fn go_on(&self) -> Result<(), KernelError> {
        input::go_on(self.0)
    }
}

/// Notes two bits for each cell. For each register there are bytes in which bit `i` says for lane `i` that the upper
/// neighbour beats the diagonal one, then that the left one beats both; four lanes share a byte.
pub(crate) struct Moves<'a> {
    bytes: Vec<u8>,
    cancelled: Cancelled<'a>,
}

impl<'a> Moves<'a> {
    /// Room for the moves of that many registers.
    pub(crate) fn new<V: Vector>(registers: usize, cancelled: Cancelled<'a>) -> Self {
        Self { bytes: vec![0; registers * V::LANES / 4], cancelled }
    }

    /// Whether the upper and the left neighbour beat those before them, for one lane of a register.
    pub(crate) fn get<V: Vector>(&self, (register, lane): (usize, usize)) -> (bool, bool) {
        let bits = match V::LANES {
            4 => u16::from(self.bytes[register] & 15) | (u16::from(self.bytes[register] >> 4) << 8),
            _ => u16::from_le_bytes([self.bytes[2 * register], self.bytes[2 * register + 1]]),
        };
        (bits >> lane & 1 != 0, bits >> (lane + 8) & 1 != 0)
    }
}

impl MoveSink for Moves<'_> {
    #[inline(always)]
    fn up_last<V: Vector>(&mut self, index: usize, up: V, diagonal: V, left: V) -> V {
        const { assert!(V::LANES == 4 || V::LANES == 8, "the layout of the bits") }
        // The comparisons are of floating-point numbers; minima of integers beside them are slower.
        let is_up = up.less(diagonal);
        let earlier = up.min(diagonal);
        let is_left = left.less(earlier);
        if V::LANES == 4 {
            self.bytes[index] = (is_up | (is_left << 4)) as u8;
        } else {
            let both = &mut self.bytes[2 * index..2 * index + 2];
            both[0] = is_up as u8;
            both[1] = is_left as u8;
        }
        earlier.min(left)
    }

    #[inline(always)]
    fn left_last<V: Vector>(&mut self, index: usize, up: V, diagonal: V, left: V) -> V {
        self.up_last(index, up, diagonal, left)
    }

    fn go_on(&self) -> Result<(), KernelError> {
        input::go_on(self.cancelled)
    }
}
