//! z-normalisation: mean 0, population standard deviation 1.

/// A deviation beyond this share of the mean is none of rounding: the first sum is off by far less.
const DOUBTLESS: f64 = 1e-12;

/// The least variance that is one: the square of a smaller deviation is no normal number, with few digits or none.
pub(crate) const VARIANCE_MIN: f64 = f64::MIN_POSITIVE;

/// z-normalises a series: subtracts the mean and divides by the population standard deviation.
///
/// A constant series becomes zeros. A series is constant when all its values are equal, or when its deviation is below
/// 1.5e-154, whose square is no normal number. That is the rule of all kernels. So thirty times 0.1 is constant, and 0.3
/// beside 0.1 + 0.2, which is one unit in the last place more, is not.
///
/// The mean is corrected in a second pass, which keeps large offsets accurate. Values that are not finite or
/// lie beyond [`MAGNITUDE_MAX`](crate::MAGNITUDE_MAX) give NaN, which the kernels refuse.
///
/// ```
/// assert_eq!(swarm_kernels::z_normalize(&[1.0, 3.0]), [-1.0, 1.0]);
/// assert_eq!(swarm_kernels::z_normalize(&[0.1, 0.1, 0.1]), [0.0, 0.0, 0.0]);
/// ```
pub fn z_normalize(series: &[f64]) -> Vec<f64> {
    let mut normalized = vec![0.0; series.len()];
    z_normalize_into(series, &mut normalized);
    normalized
}

/// [`z_normalize`] into a slice of the same length.
///
/// # Panics
/// When the lengths differ.
pub fn z_normalize_into(series: &[f64], normalized: &mut [f64]) {
    assert_eq!(series.len(), normalized.len(), "a z-normalised series has as many points as the series");
    let moments = Moments::of(series);
    for (z, &x) in normalized.iter_mut().zip(series) {
        *z = moments.normalize(x);
    }
}

/// Whether a series is constant, as [`z_normalize`] has it.
pub fn is_constant(series: &[f64]) -> bool {
    Moments::of(series).is_constant()
}

/// Mean and reciprocal deviation. The scale of a constant series is 0, which normalises it to zeros.
///
/// The mean is `centre + shift`: as one number it would be off by up to half a unit in the last place of the
/// offset, which at 1e12 is 6e-5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moments {
    /// A value near the series, so that subtracting it is nearly exact.
    pub(crate) centre: f64,
    pub(crate) shift: f64,
    pub(crate) scale: f64,
}

impl Moments {
    /// Two passes; the second corrects the mean of the first (Chan, Golub and LeVeque 1983).
    pub(crate) fn of(series: &[f64]) -> Self {
        let points = series.len() as f64;
        let centre = sum(series, |x| x) / points;
        let shift = sum(series, |x| x - centre) / points;
        let squares = sum(series, |x| (x - centre) * (x - centre)) / points;
        if !squares.is_finite() {
            return Self { centre, shift, scale: f64::NAN };
        }
        let variance = squares - shift * shift;
        let deviation = variance.max(0.0).sqrt();
        if deviation > DOUBTLESS * centre.abs() && variance >= VARIANCE_MIN {
            Self { centre, shift, scale: 1.0 / deviation }
        } else {
            Self::in_doubt(series)
        }
    }

    /// Of a series that is constant or nearly so: differences from one of its values are exact, or as good as the
    /// values, and the mean of those is as exact as they are.
    #[cold]
    fn in_doubt(series: &[f64]) -> Self {
        let points = series.len() as f64;
        let centre = series.first().copied().unwrap_or(0.0);
        let shift = sum(series, |x| x - centre) / points;
        let variance = sum(series, |x| (x - centre - shift) * (x - centre - shift)) / points;
        // Of equal values all differences are 0.
        let scale = if variance < VARIANCE_MIN { 0.0 } else { 1.0 / variance.sqrt() };
        Self { centre, shift, scale }
    }

    /// Whether the series is constant, or has no points.
    pub(crate) fn is_constant(&self) -> bool {
        self.scale == 0.0 || self.scale.is_nan()
    }

    #[inline(always)]
    pub(crate) fn normalize(&self, x: f64) -> f64 {
        (x - self.centre - self.shift) * self.scale
    }
}

/// Pairwise above 1024 terms and in eight lanes below: the error grows with 128 + log(n) terms, not with n.
pub(crate) fn sum(values: &[f64], term: impl Fn(f64) -> f64 + Copy) -> f64 {
    if values.len() > 1024 {
        let (head, tail) = values.split_at(values.len() / 2);
        return sum(head, term) + sum(tail, term);
    }
    let (chunks, rest) = values.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += term(x);
        }
    }
    let tail: f64 = rest.iter().map(|&x| term(x)).sum();
    ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7])) + tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_normal(z: &[f64], tolerance: f64) {
        let points = z.len() as f64;
        let mean = z.iter().sum::<f64>() / points;
        let variance = z.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / points;
        assert!(
            mean.abs() < tolerance && (variance - 1.0).abs() < tolerance,
            "mean {mean}, variance {variance}"
        );
    }

    #[test]
    fn constant_series_become_zeros() {
        for value in [0.0, 0.1, -3.25, 1e6 + 0.1, 1e-300, 1e100] {
            for length in [1, 2, 17, 33, 1000, 3001] {
                assert_eq!(z_normalize(&vec![value; length]), vec![0.0; length], "{value} x {length}");
            }
        }
        assert_eq!(z_normalize(&[0.0, -0.0]), [0.0; 2]);
        assert!(z_normalize(&[]).is_empty());
    }

    #[test]
    fn f4_values_that_differ_in_their_last_bits_are_not_constant() {
        // 0.1 + 0.2 is one unit in the last place above 0.3.
        assert_normal(&z_normalize(&[0.1 + 0.2, 0.3, 0.3]), 1e-14);
        for unit in [0.3, 1e15, -1e100, 1e-100] {
            let ulp = f64::EPSILON * 2.0_f64.powf(f64::abs(unit).log2().floor());
            for length in [2, 17, 3001, 200_000] {
                let mut series = vec![unit; length];
                series[length / 2] += ulp;
                let z = z_normalize(&series);
                assert_normal(&z, 1e-9);
                let highest = ((length - 1) as f64).sqrt();
                assert!((z[length / 2] - highest).abs() < 1e-9 * highest, "{unit} x {length}");
            }
        }
    }

    #[test]
    fn faint_series_are_normalised_or_constant_and_nothing_between() {
        for exponent in -324..=0 {
            let scale = 10.0_f64.powi(exponent);
            let z = z_normalize(&[0.0, 3.0, 1.0, 2.0, 2.0, 9.0].map(|x| x * scale));
            if z.iter().any(|&z| z != 0.0) {
                assert_normal(&z, 1e-14);
            } else {
                assert!(exponent < -153, "1e{exponent} is not constant");
            }
        }
    }

    #[test]
    fn a_large_offset_does_not_change_the_shape() {
        let shape: Vec<f64> = (0..500).map(|i| f64::from(i * i % 37)).collect();
        let moved: Vec<f64> = shape.iter().map(|v| v + 1e12).collect();
        for (a, b) in z_normalize(&shape).iter().zip(z_normalize(&moved)) {
            assert!((a - b).abs() < 1e-12);
        }
        let faint: Vec<f64> = (0..128).map(|i| 1e6 + 1e-6 * f64::from(i % 5)).collect();
        assert_normal(&z_normalize(&faint), 1e-9);
    }

    #[test]
    fn values_that_cannot_be_normalised_give_nan() {
        for bad in [f64::NAN, f64::INFINITY, 1e200] {
            assert!(z_normalize(&[1.0, bad, 2.0]).iter().any(|z| z.is_nan()));
        }
    }

    #[test]
    #[should_panic(expected = "as many points")]
    fn a_slice_of_another_length_is_a_programming_error() {
        z_normalize_into(&[1.0, 2.0], &mut [0.0]);
    }

    proptest! {
        #[test]
        fn mean_zero_deviation_one(
            shape in proptest::collection::vec(-10.0..10.0_f64, 2..200), offset in -1e6..1e6_f64,
        ) {
            let series: Vec<f64> = shape.iter().map(|v| v + offset).collect();
            prop_assume!(series.iter().any(|v| (v - series[0]).abs() > 1e-3));
            assert_normal(&z_normalize(&series), 1e-9);
        }

        #[test]
        fn sums_agree_with_the_plain_one(values in proptest::collection::vec(-1e3..1e3_f64, 0..3000)) {
            let plain: f64 = values.iter().sum();
            prop_assert!((sum(&values, |x| x) - plain).abs() < 1e-8);
        }
    }
}
