//! Distances as they are compared: what is equal but for rounding is equal.

/// A squared distance of two z-normalised series, of which the longer has so many points, as searches and classifiers
/// compare and report it: rounded to a multiple of 2⁻³³, of 2⁻⁵⁰ times the square of the points (rounded up to a power
/// of two) from 257 points on.
///
/// A sum of as many squares as a path has cells, all of which are at most `m`, is off by less than half of that. So
/// copies of a series, at other levels and in other units too, are at equal distances, and so are all series from a
/// constant one: 0 and `m` are such multiples. Who wins is then decided by places and not by the last bits.
///
/// ```
/// use swarm_kernels::compared;
/// assert_eq!(compared(60.000_000_000_000_01, 60), compared(59.999_999_999_999_99, 60));
/// assert_eq!(compared(1e-30, 60), 0.0);
/// ```
pub fn compared(distance_squared: f64, points: usize) -> f64 {
    let step = step(points);
    (distance_squared / step).round() * step
}

/// No distance beyond this one is compared as `bound` or less.
pub(crate) fn compared_max(bound: f64, points: usize) -> f64 {
    bound + step(points) / 2.0
}

/// A power of two, so that neither the division nor the product is rounded.
fn step(points: usize) -> f64 {
    let points = points.next_power_of_two() as f64;
    (points * points * 2.0_f64.powi(-50)).max(2.0_f64.powi(-33))
}
