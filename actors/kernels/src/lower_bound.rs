//! Lower bounds of the squared DTW distance: cheap numbers that rule out a candidate without warping it.
//!
//! All of them expect checked input (finite, within [`MAGNITUDE_MAX`](crate::MAGNITUDE_MAX)). In exact arithmetic
//! a bound never exceeds the distance; in `f64` it may by a few units in the last place, because it adds the same
//! numbers in another order. A caller who prunes leaves that much room.

use crate::simd::Number;

/// Fewer points than this leave the three outer layers of the two corners overlapping.
const LAYERED_LENGTH_MIN: usize = 6;

/// LB_Kim in the form of the UCR Suite: the cheapest cells in the three outermost layers of both corners.
///
/// A path starts at `(0, 0)` and raises `max(i, j)` by at most one per step, so it crosses every layer
/// `max(i, j) = 0, 1, 2`; likewise backwards from the end. Series of fewer than 6 points use the corners alone.
///
/// # Panics
/// When a series is empty.
pub fn kim(a: &[f64], b: &[f64]) -> f64 {
    let (a_first, b_first) = (a.first_chunk(), b.first_chunk());
    let (a_last, b_last) = (a.last_chunk(), b.last_chunk());
    if let (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) = (a_first, b_first, a_last, b_last)
        && a.len().min(b.len()) >= LAYERED_LENGTH_MIN
    {
        let reversed = |&[x, y, z]: &[f64; 3]| [z, y, x];
        return corner(a_first, b_first) + corner(&reversed(a_last), &reversed(b_last));
    }
    let ends = square(a[0] - b[0]);
    if a.len() == 1 && b.len() == 1 { ends } else { ends + square(a[a.len() - 1] - b[b.len() - 1]) }
}

/// The cheapest cells of the layers `max(i, j) = 0, 1, 2`.
#[inline(always)]
pub(crate) fn corner(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    let cost = |i: usize, j: usize| square(a[i] - b[j]);
    let second = least(least(cost(0, 1), cost(1, 0)), cost(1, 1));
    let third = least(least(least(cost(0, 2), cost(1, 2)), least(cost(2, 0), cost(2, 1))), cost(2, 2));
    cost(0, 0) + second + third
}

#[inline(always)]
fn square(x: f64) -> f64 {
    x * x
}

#[inline(always)]
fn least(x: f64, y: f64) -> f64 {
    if x < y { x } else { y }
}

/// Running minimum and maximum of a series over a window of `half_width` points to either side.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Envelope {
    /// Minimum around each point.
    pub lower: Vec<f64>,
    /// Maximum around each point.
    pub upper: Vec<f64>,
}

impl Envelope {
    /// Computes the envelope. Time grows with the logarithm of the width.
    pub fn new(series: &[f64], half_width: usize) -> Self {
        let mut envelope = Self::default();
        envelope.refill(series, half_width);
        envelope
    }

    /// [`Envelope::new`] in place, reusing the memory.
    #[inline(always)]
    pub(crate) fn refill(&mut self, series: &[f64], half_width: usize) {
        running_minimum(series, half_width, &mut self.lower);
        running_maximum(series, half_width, &mut self.upper);
    }
}

/// The minimum around each point.
#[inline(always)]
pub(crate) fn running_minimum<T: Number>(series: &[T], half_width: usize, minima: &mut Vec<T>) {
    running(series, half_width, T::INFINITY, |x, y| if x < y { x } else { y }, minima);
}

/// The maximum around each point.
#[inline(always)]
pub(crate) fn running_maximum<T: Number>(series: &[T], half_width: usize, maxima: &mut Vec<T>) {
    running(series, half_width, T::ZERO - T::INFINITY, |x, y| if x > y { x } else { y }, maxima);
}

/// The extreme around each point; `neutral` is more extreme than nothing.
///
/// By doubling: the extremes over 2, 4, 8 points, and at last over two such ranges that overlap. A few passes that
/// compile to vectors, without the mispredicted branches of a queue of hopeful points (Lemire 2009).
#[inline(always)]
fn running<T: Number>(
    series: &[T],
    half_width: usize,
    neutral: T,
    extreme: impl Fn(T, T) -> T,
    extremes: &mut Vec<T>,
) {
    let half_width = half_width.min(series.len());
    let width = 2 * half_width + 1;
    // Entry `i` starts as the point `half_width` before point `i`, and becomes the extreme from there on.
    extremes.clear();
    extremes.resize(half_width, neutral);
    extremes.extend_from_slice(series);
    extremes.resize(series.len() + 2 * half_width, neutral);
    let mut wider = vec![neutral; extremes.len()];
    let mut covered = 1;
    while covered < width {
        let step = covered.min(width - covered);
        let (current, ahead) = (&extremes[..extremes.len() - step], &extremes[step..]);
        for ((wider, &x), &y) in wider.iter_mut().zip(current).zip(ahead) {
            *wider = extreme(x, y);
        }
        std::mem::swap(extremes, &mut wider);
        covered += step;
    }
    extremes.truncate(series.len());
}

/// LB_Keogh: what `series` spends outside the envelope of the other series (Keogh and Ratanamahatana 2005).
///
/// Valid for two series of equal length under a band no wider than the envelope. Either series may be the one
/// with the envelope; the larger of both directions is a bound too.
///
/// # Panics
/// When the lengths differ.
pub fn keogh(series: &[f64], envelope: &Envelope) -> f64 {
    assert_eq!(series.len(), envelope.lower.len(), "LB_Keogh needs series of equal length");
    let bounds = envelope.lower.iter().zip(&envelope.upper);
    series.iter().zip(bounds).map(|(&x, (&lower, &upper))| excess_squared(x, lower, upper)).sum()
}

/// Squared distance of `x` from the interval `lower..=upper`.
#[inline(always)]
pub(crate) fn excess_squared(x: f64, lower: f64, upper: f64) -> f64 {
    // At most one of the two differences is positive.
    let (above, below) = (x - upper, lower - x);
    let excess = if above > below { above } else { below };
    let excess = if excess > 0.0 { excess } else { 0.0 };
    excess * excess
}

/// Turns the share of each point in a bound into what a path may have cost by the time it has used that point:
/// `limit` less the shares of all later points. Returns the whole bound.
pub(crate) fn shares_to_limits(shares: &mut [f64], limit: f64) -> f64 {
    let mut later = 0.0;
    for share in shares.iter_mut().rev() {
        let own = *share;
        *share = limit - later;
        later += own;
    }
    later
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_leave_room_for_the_later_points() {
        let mut shares = [1.0, 2.0, 4.0];
        assert_eq!(shares_to_limits(&mut shares, 10.0), 7.0);
        assert_eq!(shares, [4.0, 6.0, 10.0]);
    }

    #[test]
    fn an_envelope_of_nothing_is_empty() {
        assert_eq!(Envelope::new(&[], 3), Envelope::default());
    }

    proptest! {
        #[test]
        fn envelopes_agree_with_a_scan(
            series in proptest::collection::vec((-3_i8..4).prop_map(f64::from), 1..70), half_width in 0_usize..80,
        ) {
            let envelope = Envelope::new(&series, half_width);
            prop_assert_eq!(envelope.lower.len(), series.len());
            prop_assert_eq!(envelope.upper.len(), series.len());
            for i in 0..series.len() {
                let around = &series[i.saturating_sub(half_width)..(i + half_width + 1).min(series.len())];
                prop_assert_eq!(envelope.lower[i], around.iter().copied().fold(f64::INFINITY, f64::min));
                prop_assert_eq!(envelope.upper[i], around.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            }
        }
    }
}
