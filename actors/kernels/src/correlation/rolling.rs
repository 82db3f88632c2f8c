//! Pearson's correlation of all pairs over the last points of series that grow.

use crate::input::{KernelError, Series};
use crate::matrix::Symmetric;
use crate::znorm::VARIANCE_MIN;

/// What rounding may add to a correlation for each step since its sums were taken afresh, over the bound that is
/// promised: at most 22 times 2⁻⁵³ of the largest sum of squares since then, in units of the present one.
///
/// A step rounds the product of a pair by 5 times 2⁻⁵³ of that, and the two sums whose product is subtracted by 6 times;
/// in the correlation it is divided by the roots of two sums of squares that are off by as much.
const ROUNDING: f64 = 22.0 * (f64::EPSILON / 2.0) / 1e-9;

/// Points whose products are added up by themselves, so that long sums are as exact as short ones.
const CHUNK_POINTS: usize = 256;

/// The correlations of some series over their last `window` points.
///
/// A point costs one addition and one subtraction for each pair. They stay within 1e-9 of those of the window by itself:
/// how far rounding may have carried the sums of a series is tracked, and they are taken afresh, around its mean, before
/// that shows. What is constant is said at [`z_normalize`](crate::z_normalize).
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
    window: usize,
    /// The last points, each with all series; the oldest is overwritten.
    points: Vec<f64>,
    pushed: usize,
    states: Vec<State>,
    /// Of the points in the window, less their centre.
    sums: Vec<f64>,
    /// Of all pairs, row by row.
    products: Vec<f64>,
    entering: Vec<f64>,
    leaving: Vec<f64>,
    /// The series whose sums are to be taken afresh.
    stale: Vec<usize>,
}

/// Of one series.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// What the sums are taken around: a value near the mean, from which differences are exact, and what it lacks.
    centre: [f64; 2],
    /// Since the sums were taken afresh: how many points were taken, and the largest sum of squares.
    steps: f64,
    peak: f64,
    last: f64,
    /// How many equal values came last.
    run: usize,
}

impl State {
    #[inline(always)]
    fn centred(&self, x: f64) -> f64 {
        x - self.centre[0] - self.centre[1]
    }
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
            window,
            points: vec![0.0; series * window],
            pushed: 0,
            states: vec![State::default(); series],
            sums: zeros(),
            products: vec![0.0; series * series],
            entering: zeros(),
            leaving: zeros(),
            stale: Vec::with_capacity(series),
        }
    }

    /// Takes the next point of every series.
    pub fn push(&mut self, point: &[f64]) -> Result<(), KernelError> {
        let series = self.states.len();
        if point.len() != series {
            return Err(KernelError::LengthDiffers {
                series: Series::Member(self.pushed),
                length: point.len(),
                expected: series,
            });
        }
        for (index, &value) in point.iter().enumerate() {
            crate::input::check(Series::Member(index), &[value])?;
        }
        let slot = self.pushed % self.window;
        let oldest = &mut self.points[slot * series..(slot + 1) * series];
        for (i, state) in self.states.iter_mut().enumerate() {
            self.entering[i] = state.centred(point[i]);
            self.leaving[i] = if self.pushed < self.window { 0.0 } else { state.centred(oldest[i]) };
            state.run = if point[i] == state.last { state.run + 1 } else { 1 };
            state.last = point[i];
        }
        oldest.copy_from_slice(point);
        self.pushed += 1;
        let count = self.points() as f64;
        self.stale.clear();
        for (i, (&entering, &leaving)) in self.entering.iter().zip(&self.leaving).enumerate() {
            self.sums[i] += entering - leaving;
            let row = &mut self.products[i * series..(i + 1) * series];
            for ((product, x), y) in row.iter_mut().zip(&self.entering).zip(&self.leaving) {
                *product += entering * x - leaving * y;
            }
            let state = &mut self.states[i];
            state.steps += 1.0;
            state.peak = state.peak.max(row[i]);
            let squares = row[i] - self.sums[i] * self.sums[i] / count;
            // Those of a chunk, and of all chunks, count as steps.
            let steps = state.steps + CHUNK_POINTS as f64 + count / CHUNK_POINTS as f64;
            let is_trusted = squares >= ROUNDING * steps * state.peak
                || state.run >= self.pushed.min(self.window)
                || state.peak < VARIANCE_MIN * count;
            if !is_trusted {
                self.stale.push(i);
            }
        }
        self.refresh();
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
        let series = self.states.len();
        let per_deviation: Vec<f64> = (0..series).map(|i| self.per_deviation(i)).collect();
        let mut correlations = Symmetric::filled(series, f64::NAN);
        let mut row = vec![0.0; series];
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

    /// The reciprocal root of the summed squares around the mean; NaN of a constant series.
    fn per_deviation(&self, i: usize) -> f64 {
        let squares = self.about(i, i);
        let is_constant =
            self.states[i].run >= self.points() || squares < VARIANCE_MIN * self.points() as f64;
        if is_constant { f64::NAN } else { 1.0 / squares.sqrt() }
    }

    /// The summed products around both means.
    #[inline(always)]
    fn about(&self, i: usize, j: usize) -> f64 {
        self.products[i * self.states.len() + j] - self.sums[i] / self.points() as f64 * self.sums[j]
    }

    /// Takes the sums of stale series afresh, around their means.
    fn refresh(&mut self) {
        if self.stale.is_empty() {
            return;
        }
        let series = self.states.len();
        let points = &self.points[..self.points() * series];
        let count = self.points() as f64;
        for &i in &self.stale {
            self.states[i] = State { centre: [0.0; 2], steps: 0.0, ..self.states[i] };
            self.sums[i] = 0.0;
            self.products[i * series..(i + 1) * series].fill(0.0);
        }
        // The second pass corrects the mean of the first.
        for part in [0, 1] {
            for point in points.chunks_exact(series) {
                for &i in &self.stale {
                    self.sums[i] += self.states[i].centred(point[i]);
                }
            }
            for &i in &self.stale {
                self.states[i].centre[part] = self.sums[i] / count;
                self.sums[i] = 0.0;
            }
        }
        let mut centred = vec![0.0; CHUNK_POINTS * series];
        let mut of_chunk = vec![0.0; series];
        for chunk in points.chunks(CHUNK_POINTS * series) {
            let centred = &mut centred[..chunk.len()];
            for (centred, point) in centred.chunks_exact_mut(series).zip(chunk.chunks_exact(series)) {
                for ((centred, &x), state) in centred.iter_mut().zip(point).zip(&self.states) {
                    *centred = state.centred(x);
                }
            }
            for &i in &self.stale {
                of_chunk.fill(0.0);
                let mut sum = 0.0;
                for point in centred.chunks_exact(series) {
                    sum += point[i];
                    for (product, x) in of_chunk.iter_mut().zip(point) {
                        *product += point[i] * x;
                    }
                }
                self.sums[i] += sum;
                let row = &mut self.products[i * series..(i + 1) * series];
                row.iter_mut().zip(&of_chunk).for_each(|(product, of_chunk)| *product += of_chunk);
            }
        }
        for &i in &self.stale {
            for j in 0..series {
                self.products[j * series + i] = self.products[i * series + j];
            }
            self.states[i].peak = self.products[i * series + i];
        }
    }
}
