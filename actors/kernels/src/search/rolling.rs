//! Mean and deviation of every window, a block of starts at a time.

use std::ops::Range;

use crate::znorm::{Moments, VARIANCE_MIN, sum};

/// Starts per block. Sums are taken afresh, around the mean of the block's rows, at the start of each.
pub(super) const BLOCK_STARTS: usize = 1024;

/// A window whose sum of squares is below this share of the largest one in its block gets its own two passes.
pub(super) const TRUSTED_SHARE: f64 = 1e-4;

/// So does one of no more variance than this: it may be constant.
pub(super) const TRUSTED_VARIANCE: f64 = 2.0 * VARIANCE_MIN;

/// Largest error of a rolled z-value `z`, relative to `1 + |z|`.
///
/// Adding and subtracting 1024 terms leaves a sum of squares off by at most 3 x 1024 x 2⁻⁵³ of its largest value in
/// the block, and the squared sum by twice that: 1e-12 together, 1e-8 of a trusted variance, 5e-9 of its deviation.
/// The mean is off by far less, and the first sum of a block is pairwise.
pub(super) const ROLLED_ERROR: f64 = 2e-8;

/// What a bound from rolled moments may exceed while the window's true distance is at most `distance_squared`.
///
/// Seen as the length of a vector over the query's points, a bound changes by at most `ROLLED_ERROR` times that of
/// `1 + |z|`, which is at most `2 sqrt(m)`; the six minima of LB_Kim may each take the largest `|z|`, `sqrt(m)`, and
/// stay below `5 sqrt(m)`. This room also covers the rounding of the bounds' own sums.
pub(super) fn prune_above(distance_squared: f64, points: usize) -> f64 {
    let room = 5.0 * ROLLED_ERROR * (points as f64).sqrt();
    (distance_squared.sqrt() + room).powi(2)
}

/// Moments of the windows that start in one block, for bounds only: distances use [`Moments::of`].
///
/// Of window `i` they are entry `i` of three lists, so that those of windows that follow each other are contiguous.
#[derive(Default)]
pub(super) struct Rolling {
    pub(super) centres: Vec<f64>,
    pub(super) shifts: Vec<f64>,
    pub(super) scales: Vec<f64>,
    squares: Vec<f64>,
    /// Whether one of the windows is constant.
    pub(super) has_constant: bool,
}

impl Rolling {
    /// The moments of one window.
    #[inline(always)]
    pub(super) fn get(&self, offset: usize) -> Moments {
        Moments { centre: self.centres[offset], shift: self.shifts[offset], scale: self.scales[offset] }
    }

    /// Moments of the windows of `points` rows that start in `starts`, a block of at most [`BLOCK_STARTS`].
    #[inline(always)]
    pub(super) fn fill(&mut self, series: &[f64], points: usize, starts: Range<usize>) {
        let rows = &series[starts.start..starts.end - 1 + points];
        let count = points as f64;
        let centre = sum(rows, |x| x) / rows.len() as f64;
        self.centres.clear();
        self.centres.resize(starts.len(), centre);
        self.scales.clear();
        self.scales.resize(starts.len(), 0.0);
        let squares_peak = self.fill_sums(rows, points, centre);

        let share = 1.0 / count;
        let mut all_trusted = true;
        for ((shift, scale), &squares) in self.shifts.iter_mut().zip(&mut self.scales).zip(&self.squares) {
            let total = *shift;
            *shift = total * share;
            let variance_sum = squares - total * *shift;
            let variance = variance_sum * share;
            let deviation = variance.sqrt();
            // False for NaN, the root of a variance that rounding made negative.
            let trusted = (variance_sum >= TRUSTED_SHARE * squares_peak) & (variance > TRUSTED_VARIANCE);
            *scale = if trusted { 1.0 / deviation } else { f64::NAN };
            all_trusted &= trusted;
        }
        self.has_constant = false;
        if all_trusted {
            return;
        }
        // How many rows from this one on are equal to it.
        let mut equal = 0;
        for (offset, &x) in rows.iter().enumerate().rev() {
            equal = if rows.get(offset + 1) == Some(&x) { equal + 1 } else { 1 };
            if self.scales.get(offset).is_some_and(|scale| scale.is_nan()) {
                let moments = if equal < points {
                    Moments::of(&rows[offset..offset + points])
                } else {
                    Moments { centre: x, shift: 0.0, scale: 0.0 }
                };
                self.has_constant |= moments.is_constant();
                (self.centres[offset], self.shifts[offset], self.scales[offset]) =
                    (moments.centre, moments.shift, moments.scale);
            }
        }
    }

    /// Leaves the sum of each window in `shifts` and that of its squares in `squares`, whose largest it returns.
    #[inline(always)]
    fn fill_sums(&mut self, rows: &[f64], points: usize, centre: f64) -> f64 {
        let mut total = sum(&rows[..points], |x| x - centre);
        let mut squares = sum(&rows[..points], |x| (x - centre) * (x - centre));
        let mut squares_peak = squares;
        let starts = rows.len() - points + 1;
        self.shifts.clear();
        self.shifts.resize(starts, total);
        self.squares.clear();
        self.squares.resize(starts, squares);
        let sums = self.shifts[1..].iter_mut().zip(&mut self.squares[1..]);
        for ((own_total, own_squares), (&leaving, &entering)) in sums.zip(rows.iter().zip(&rows[points..])) {
            let (leaving, entering) = (leaving - centre, entering - centre);
            total += entering - leaving;
            squares += entering * entering - leaving * leaving;
            (*own_total, *own_squares) = (total, squares);
            if squares > squares_peak {
                squares_peak = squares;
            }
        }
        squares_peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    /// Largest error of a rolled z-value relative to `1 + |z|`, the quantity that [`ROLLED_ERROR`] bounds.
    fn worst_error(series: &[f64], points: usize) -> f64 {
        let starts = series.len() - points + 1;
        let mut rolling = Rolling::default();
        let mut worst = 0.0_f64;
        for first in (0..starts).step_by(BLOCK_STARTS) {
            let block = first..(first + BLOCK_STARTS).min(starts);
            rolling.fill(series, points, block.clone());
            assert_eq!(rolling.shifts.len(), block.len());
            for (offset, start) in block.enumerate() {
                let rolled = rolling.get(offset);
                let window = &series[start..start + points];
                let exact = Moments::of(window);
                assert_eq!(exact.scale == 0.0, rolled.scale == 0.0, "constancy at {start}");
                // The extremes of a window have the largest errors.
                let (low, high) =
                    window.iter().fold((window[0], window[0]), |(l, h), &x| (l.min(x), h.max(x)));
                for x in [low, high] {
                    let z = exact.normalize(x);
                    worst = worst.max((rolled.normalize(x) - z).abs() / (1.0 + z.abs()));
                }
            }
        }
        worst
    }

    #[test]
    fn rolled_moments_stay_within_the_stated_error() {
        let mut random = StdRng::seed_from_u64(7);
        let mut noise =
            |scale: f64| -> Vec<f64> { (0..5000).map(|_| scale * (random.random::<f64>() - 0.5)).collect() };
        let walk: Vec<f64> = noise(1.0)
            .iter()
            .scan(0.0, |sum, step| {
                *sum += step;
                Some(*sum)
            })
            .collect();
        let offset: Vec<f64> = noise(1.0).iter().map(|x| 1e6 + x).collect();
        let far_offset: Vec<f64> = noise(1e-3).iter().map(|x| 1e9 + x).collect();
        // Two spikes that cancel: the block's mean stays near the noise, its largest sum of squares does not.
        let spikes: Vec<f64> = noise(1.0)
            .iter()
            .enumerate()
            .map(|(i, x)| match i % 1000 {
                300 => 1e6,
                320 => -1e6,
                _ => *x,
            })
            .collect();
        let steps: Vec<f64> =
            noise(1.0).iter().enumerate().map(|(i, x)| (i / 600) as f64 * 1e4 + x.max(0.0)).collect();
        let last_bits: Vec<f64> = noise(4.0).iter().map(|x| 1e15 + x).collect();
        let flat: Vec<f64> = walk.iter().map(|x| x.round() + 0.1).collect();
        // About half of the deviations have squares with all their digits.
        let faint: Vec<f64> = noise(1.0).iter().map(|x| x * 5e-154).collect();
        for series in [walk, offset, far_offset, last_bits, spikes, steps, flat, faint] {
            for points in [1, 2, 17, 128, 1500] {
                let error = worst_error(&series, points);
                assert!(error <= ROLLED_ERROR, "{error:e} with {points} points");
            }
        }
    }
}
