//! Lower bounds of as many consecutive windows as a register has lanes.
//!
//! Point `k` of windows that follow each other is contiguous in the series, so a bound of all of them costs one load
//! for each point of the query.

use super::ABANDON_POINTS;
use crate::lower_bound::Envelope;
use crate::simd::{Number, Vector};

/// A query with its envelope, for bounds.
pub(super) struct Shape<T> {
    query: Vec<T>,
    /// By falling magnitude: the point, its value, and its envelope.
    ordered: Vec<(usize, T, [T; 2])>,
}

impl<T: Number> Shape<T> {
    pub(super) fn new(query: &[f64], envelope: &Envelope, order: &[usize], number: fn(f64) -> T) -> Self {
        let bounds = |k: usize| [number(envelope.lower[k]), number(envelope.upper[k])];
        Self {
            query: query.iter().map(|&q| number(q)).collect(),
            ordered: order.iter().map(|&k| (k, number(query[k]), bounds(k))).collect(),
        }
    }
}

/// A register of consecutive windows. The mean of each is the sum of `MEANS` numbers.
pub(super) struct Windows<'s, V: Vector, const MEANS: usize> {
    /// From the first point of the first window on.
    pub(super) rows: &'s [V::Lane],
    pub(super) means: [V; MEANS],
    pub(super) scale: V,
}

impl<V: Vector, const MEANS: usize> Windows<'_, V, MEANS> {
    /// What each window makes of its value `k` in something as long as the rows.
    ///
    /// # Safety
    /// All windows have such a value.
    #[inline(always)]
    unsafe fn normalized(&self, values: &[V::Lane], k: usize) -> V {
        // SAFETY: the caller vouches for the value.
        let x = unsafe { V::load(values, k) };
        self.means.iter().fold(x, |x, &mean| x - mean) * self.scale
    }

    /// LB_Kim: the cheapest cells in the three outermost layers of both corners.
    ///
    /// # Safety
    /// `rows` holds all windows, which have at least six points.
    #[inline(always)]
    pub(super) unsafe fn kim(&self, shape: &Shape<V::Lane>) -> V {
        let last = shape.query.len() - 1;
        // SAFETY: a value of `V` exists; the caller vouches for the windows.
        unsafe {
            let q = |k: usize| V::splat(shape.query[k]);
            let z = |k: usize| self.normalized(self.rows, k);
            corner([q(0), q(1), q(2)], [z(0), z(1), z(2)])
                + corner([q(last), q(last - 1), q(last - 2)], [z(last), z(last - 1), z(last - 2)])
        }
    }

    /// Windows whose LB_Keogh by the envelope of the query exceeds their limit, as far as it took to rule out all that
    /// are `wanted`.
    ///
    /// # Safety
    /// `rows` holds all windows.
    #[inline(always)]
    pub(super) unsafe fn beyond_query(&self, shape: &Shape<V::Lane>, limits: V, wanted: u32) -> u32 {
        beyond(shape, limits, wanted, |&(k, _, [lower, upper])| {
            // SAFETY: a value of `V` exists; the caller vouches for the rows.
            unsafe { excess(self.normalized(self.rows, k), V::splat(lower), V::splat(upper)) }
        })
    }

    /// The same by the envelope of the series.
    ///
    /// # Safety
    /// The envelope, from the first point of the first window on, holds all windows.
    #[inline(always)]
    pub(super) unsafe fn beyond_data(
        &self,
        shape: &Shape<V::Lane>,
        (lower, upper): (&[V::Lane], &[V::Lane]),
        limits: V,
        wanted: u32,
    ) -> u32 {
        beyond(shape, limits, wanted, |&(k, q, _)| {
            // SAFETY: a value of `V` exists; the caller vouches for the envelope.
            unsafe { excess(V::splat(q), self.normalized(lower, k), self.normalized(upper, k)) }
        })
    }
}

#[inline(always)]
fn beyond<V: Vector>(
    shape: &Shape<V::Lane>,
    limits: V,
    wanted: u32,
    share: impl Fn(&(usize, V::Lane, [V::Lane; 2])) -> V,
) -> u32 {
    // SAFETY: a value of `V` exists.
    let mut bound = unsafe { V::splat(V::Lane::ZERO) };
    let mut beyond = 0;
    for some in shape.ordered.chunks(ABANDON_POINTS) {
        for point in some {
            bound = bound + share(point);
        }
        beyond = limits.less(bound);
        if wanted & !beyond == 0 {
            break;
        }
    }
    beyond
}

/// Squared distance of `x` from the interval `lower..=upper`.
#[inline(always)]
pub(super) fn excess<V: Vector>(x: V, lower: V, upper: V) -> V {
    square(x - x.max(lower).min(upper))
}

/// The cheapest cells of the layers `max(i, j) = 0, 1, 2`.
#[inline(always)]
fn corner<V: Vector>(q: [V; 3], z: [V; 3]) -> V {
    let second = square(q[0] - z[1]).min(square(q[1] - z[0])).min(square(q[1] - z[1]));
    let third = square(q[0] - z[2]).min(square(q[1] - z[2])).min(square(q[2] - z[2]));
    let third = third.min(square(q[2] - z[0])).min(square(q[2] - z[1]));
    square(q[0] - z[0]) + second + third
}

#[inline(always)]
fn square<V: Vector>(x: V) -> V {
    x * x
}
