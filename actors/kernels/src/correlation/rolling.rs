//! Pearson's correlation of all pairs over the last points of series that grow.

use crate::correlation::NOISE;
use crate::input::{KernelError, Series};
use crate::matrix::Symmetric;
use crate::znorm::VARIANCE_MIN;

/// A variance that falls below this share of the largest since the sums were taken afresh is not trusted any more.
const TRUSTED_SHARE: f64 = 1e-6;

/// The correlations of some series over their last `window` points.
///
/// A point costs one addition and one subtraction for each pair. The sums are taken afresh, around the mean of each
/// series, after every `window` points and whenever a variance has fallen so far that rounding would show: they stay
/// within 1e-9 of those of the window by itself. A deviation below 1.5e-154, whose square is no normal number, counts as
/// none: unlike [`pearson`](super::pearson), which scales such a series first, this leaves its correlations undefined.
///
/// ```
/// use swarm_kernels::correlation::RollingPearson;
/// let mut rolling = RollingPearson::new(2, 3);
/// for point in [[1.0, 5.0], [2.0, 4.0], [3.0, 3.0], [4.0, 9.0]] {
///     rolling.push(&point)?;
/// }
/// assert!((rolling.correlation(0, 1) - 5.0 / (2.0_f64 * 186.0 / 9.0).sqrt()).abs() < 1e-12);
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct RollingPearson {
    series: usize,
    window: usize,
    /// The last points, each with all series; the oldest is overwritten.
    points: Vec<f64>,
    pushed: usize,
    /// What the sums are taken around.
    centres: Vec<f64>,
    sums: Vec<f64>,
    products: Vec<f64>,
    /// The largest sum of squares of each series since the sums were taken afresh.
    peaks: Vec<f64>,
    entering: Vec<f64>,
    leaving: Vec<f64>,
}

impl RollingPearson {
    /// Without any points yet.
    ///
    /// # Panics
    /// When the window has no points.
    pub fn new(series: usize, window: usize) -> Self {
        assert!(window > 0, "a window has points");
        let zeros = || vec![0.0; series];
        Self {
            series,
            window,
            points: vec![0.0; series * window],
            pushed: 0,
            centres: zeros(),
            sums: zeros(),
            products: vec![0.0; series * series],
            peaks: zeros(),
            entering: zeros(),
            leaving: zeros(),
        }
    }

    /// Takes the next point of every series.
    pub fn push(&mut self, point: &[f64]) -> Result<(), KernelError> {
        if point.len() != self.series {
            return Err(KernelError::LengthDiffers {
                series: Series::Member(self.pushed),
                length: point.len(),
                expected: self.series,
            });
        }
        for (index, &value) in point.iter().enumerate() {
            crate::input::check(Series::Member(index), &[value])?;
        }
        let slot = self.pushed % self.window;
        let oldest = &mut self.points[slot * self.series..(slot + 1) * self.series];
        for i in 0..self.series {
            self.entering[i] = point[i] - self.centres[i];
            self.leaving[i] = if self.pushed < self.window { 0.0 } else { oldest[i] - self.centres[i] };
        }
        oldest.copy_from_slice(point);
        self.pushed += 1;
        if slot == self.window - 1 || self.pushed == 1 {
            self.refresh();
            return Ok(());
        }
        let mut is_trusted = true;
        for (i, (&entering, &leaving)) in self.entering.iter().zip(&self.leaving).enumerate() {
            self.sums[i] += entering - leaving;
            let row = &mut self.products[i * self.series..(i + 1) * self.series];
            for ((product, x), y) in row.iter_mut().zip(&self.entering).zip(&self.leaving) {
                *product += entering * x - leaving * y;
            }
            self.peaks[i] = self.peaks[i].max(row[i]);
            let variance = row[i] - self.sums[i] * self.sums[i] / self.count();
            is_trusted &= variance >= TRUSTED_SHARE * self.peaks[i];
        }
        if !is_trusted {
            self.refresh();
        }
        Ok(())
    }

    /// How many points the window holds so far.
    pub fn points(&self) -> usize {
        self.pushed.min(self.window)
    }

    /// The correlation of two series over the window; NaN while it is undefined.
    ///
    /// # Panics
    /// When there is no such series.
    pub fn correlation(&self, i: usize, j: usize) -> f64 {
        (self.about(i, j) * self.per_deviation(i) * self.per_deviation(j)).clamp(-1.0, 1.0)
    }

    /// The correlations of all pairs over the window.
    pub fn matrix(&self) -> Symmetric<f64> {
        let per_deviation: Vec<f64> = (0..self.series).map(|i| self.per_deviation(i)).collect();
        let mut correlations = Symmetric::filled(self.series, f64::NAN);
        let mut row = vec![0.0; self.series];
        for (i, own) in per_deviation.iter().enumerate() {
            for ((j, correlation), other) in row.iter_mut().enumerate().zip(&per_deviation).skip(i) {
                *correlation = (self.about(i, j) * own * other).clamp(-1.0, 1.0);
            }
            for (j, &correlation) in row.iter().enumerate().skip(i) {
                correlations.set(i, j, correlation);
            }
        }
        correlations
    }

    /// The reciprocal root of the summed squares around the mean; NaN of a series that counts as constant.
    fn per_deviation(&self, i: usize) -> f64 {
        let squares = self.about(i, i);
        let centre = self.centres[i] + self.mean(i);
        let variance = squares.max(0.0) / self.count();
        let is_constant = variance.sqrt() <= NOISE * centre.abs() || variance < VARIANCE_MIN;
        if is_constant { f64::NAN } else { 1.0 / squares.sqrt() }
    }

    /// The summed products around both means.
    #[inline(always)]
    fn about(&self, i: usize, j: usize) -> f64 {
        self.products[i * self.series + j] - self.mean(i) * self.sums[j]
    }

    /// Of what is summed up, which is taken around the centre.
    #[inline(always)]
    fn mean(&self, i: usize) -> f64 {
        self.sums[i] / self.count()
    }

    fn count(&self) -> f64 {
        self.points() as f64
    }

    /// Takes the sums afresh, around the mean of the points in the window.
    fn refresh(&mut self) {
        let points = &self.points[..self.points() * self.series];
        let count = self.count();
        self.centres.fill(0.0);
        for point in points.chunks_exact(self.series.max(1)) {
            for (centre, x) in self.centres.iter_mut().zip(point) {
                *centre += x / count;
            }
        }
        self.sums.fill(0.0);
        self.products.fill(0.0);
        for point in points.chunks_exact(self.series.max(1)) {
            for ((centred, x), centre) in self.entering.iter_mut().zip(point).zip(&self.centres) {
                *centred = x - centre;
            }
            for (i, &x) in self.entering.iter().enumerate() {
                self.sums[i] += x;
                let row = &mut self.products[i * self.series..(i + 1) * self.series];
                for (product, y) in row.iter_mut().zip(&self.entering) {
                    *product += x * y;
                }
            }
        }
        for (i, peak) in self.peaks.iter_mut().enumerate() {
            *peak = self.products[i * self.series + i];
        }
    }
}
