//! Dynamic time warping, the plain scalar form: two rolling rows, `if a < b` instead of `f64::min`, and the left and
//! diagonal neighbours in locals instead of being read again.

use std::ops::{Add, Mul, Sub};

/// `f32` or `f64`.
pub(crate) trait Real:
    Copy + PartialOrd + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    const ZERO: Self;
    const INFINITY: Self;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const INFINITY: Self = Self::INFINITY;
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const INFINITY: Self = Self::INFINITY;
}

/// The two rows, reused from call to call.
pub(crate) struct Rows<T> {
    previous: Vec<T>,
    current: Vec<T>,
}

impl<T: Real> Rows<T> {
    /// For series of `points` points.
    pub(crate) fn new(points: usize) -> Self {
        Self { previous: vec![T::INFINITY; points], current: vec![T::INFINITY; points] }
    }

    /// The sum of squared differences along the cheapest path of two series of one length.
    pub(crate) fn distance_squared(&mut self, a: &[T], b: &[T], half_width: usize) -> T {
        self.sweep(a, b, half_width, |_, _, _| ())
    }

    /// The same, with a cheapest path. `moves` holds a byte for each cell.
    pub(crate) fn align(&mut self, a: &[T], b: &[T], half_width: usize, moves: &mut [u8]) -> (T, usize) {
        let columns = b.len();
        let distance = self.sweep(a, b, half_width, |row, column, way| moves[row * columns + column] = way);
        let (mut i, mut j) = (a.len() - 1, columns - 1);
        let mut path = vec![(i, j)];
        while (i, j) != (0, 0) {
            match moves[i * columns + j] {
                LEFT => j -= 1,
                UP => i -= 1,
                _ => (i, j) = (i - 1, j - 1),
            }
            path.push((i, j));
        }
        path.reverse();
        (distance, path.len())
    }

    #[inline(always)]
    fn sweep(&mut self, a: &[T], b: &[T], half_width: usize, mut note: impl FnMut(usize, usize, u8)) -> T {
        let Self { previous, current } = self;
        previous.fill(T::INFINITY);
        for (i, &x) in a.iter().enumerate() {
            let (first, end) = (i.saturating_sub(half_width), (i + half_width + 1).min(b.len()));
            let mut left = T::INFINITY;
            let mut diagonal = match (i, first) {
                (0, _) => T::ZERO,
                (_, 0) => T::INFINITY,
                _ => previous[first - 1],
            };
            let cells = current[first..end].iter_mut().zip(&previous[first..end]).zip(&b[first..end]);
            for (offset, ((cell, &up), &y)) in cells.enumerate() {
                let is_up = up < diagonal;
                let earlier = if is_up { up } else { diagonal };
                let is_left = left < earlier;
                let least = if is_left { left } else { earlier };
                note(i, first + offset, if is_left { LEFT } else { u8::from(is_up) });
                left = least + (x - y) * (x - y);
                *cell = left;
                diagonal = up;
            }
            // The next row reaches one column farther.
            if let Some(beyond) = current.get_mut(end) {
                *beyond = T::INFINITY;
            }
            std::mem::swap(previous, current);
        }
        previous[b.len() - 1]
    }
}

const UP: u8 = 1;
const LEFT: u8 = 2;
