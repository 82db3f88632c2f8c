//! The end of a series that only grows: its last window with mean and deviation, and the envelope around it.

use crate::lower_bound::Envelope;
use crate::search::rolling::{BLOCK_STARTS, TRUSTED_SHARE, TRUSTED_VARIANCE};
use crate::znorm::{Moments, sum};

/// At least so many rows are taken before those that no window needs any more are dropped.
const SLACK_ROWS: usize = 1024;

/// Keeps what the windows to come need: at most `4 points + 1024` rows and their envelope.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    points: usize,
    half_width: usize,
    /// One after the other, so that a window is a slice.
    rows: Vec<f64>,
    rows_max: usize,
    /// Row of the series that `rows` begins with.
    first: usize,
    /// Windows that begin before this row hold a missing point.
    complete_from: usize,
    sums: Sums,
    /// The envelope of `rows`, as far as it has been asked for.
    around: Envelope,
    fresh: Envelope,
}

/// Sums over the last window, of differences from a value near it.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    centre: f64,
    total: f64,
    squares: f64,
    /// The largest sum of squares since they were taken afresh.
    squares_peak: f64,
    windows_left: usize,
}

impl Sums {
    fn of(window: &[f64]) -> Self {
        let centre = sum(window, |x| x) / window.len() as f64;
        let squares = sum(window, |x| (x - centre) * (x - centre));
        let total = sum(window, |x| x - centre);
        Self { centre, total, squares, squares_peak: squares, windows_left: BLOCK_STARTS }
    }

    #[inline]
    fn roll(&mut self, leaving: f64, entering: f64) {
        let (leaving, entering) = (leaving - self.centre, entering - self.centre);
        self.total += entering - leaving;
        self.squares += entering * entering - leaving * leaving;
        self.squares_peak = self.squares_peak.max(self.squares);
        self.windows_left -= 1;
    }

    /// As good as those of [`Rolling`](crate::search::rolling::Rolling), by the same tests; else nothing.
    #[inline]
    fn moments(&self, points: usize) -> Option<Moments> {
        let share = 1.0 / points as f64;
        let shift = self.total * share;
        let variance_sum = self.squares - self.total * shift;
        let variance = variance_sum * share;
        let deviation = variance.sqrt();
        let is_trusted = variance_sum >= TRUSTED_SHARE * self.squares_peak && variance > TRUSTED_VARIANCE;
        is_trusted.then(|| Moments { centre: self.centre, shift, scale: 1.0 / deviation })
    }
}

impl Tail {
    pub(super) fn new(points: usize, half_width: usize) -> Self {
        let rows_kept = points + half_width;
        Self {
            points,
            half_width,
            rows: Vec::new(),
            rows_max: rows_kept + rows_kept.max(SLACK_ROWS),
            first: 0,
            complete_from: 0,
            sums: Sums::default(),
            around: Envelope::default(),
            fresh: Envelope::default(),
        }
    }

    /// How many points the series has.
    pub(super) fn len(&self) -> usize {
        self.first + self.rows.len()
    }

    /// Takes a point. Returns whether there is a window that ends with it and has no missing point.
    #[inline]
    pub(super) fn push(&mut self, x: f64) -> bool {
        if self.rows.len() == self.rows_max {
            self.drop_rows();
        }
        self.rows.push(x);
        if let Some(leaving) = (self.rows.len() - 1).checked_sub(self.points) {
            if self.sums.windows_left > 0 {
                self.sums.roll(self.rows[leaving], x);
            }
            self.first + leaving + 1 >= self.complete_from
        } else {
            self.rows.len() == self.points && self.first >= self.complete_from
        }
    }

    /// Takes a point whose value is not known.
    pub(super) fn push_missing(&mut self) {
        // Its value is in no window that is looked at; that of its predecessor keeps the sums near those that are.
        self.push(self.rows.last().copied().unwrap_or(0.0));
        self.complete_from = self.len();
    }

    /// Row of the series with which the last window begins; there must be one.
    pub(super) fn start(&self) -> usize {
        self.len() - self.points
    }

    /// The last window; there must be one.
    #[inline]
    pub(super) fn window(&self) -> &[f64] {
        &self.rows[self.rows.len() - self.points..]
    }

    /// Of the last window, for bounds only.
    #[inline]
    pub(super) fn moments(&mut self) -> Moments {
        if self.sums.windows_left == 0 {
            self.sums = Sums::of(self.window());
        }
        self.sums.moments(self.points).unwrap_or_else(|| {
            self.sums = Sums::of(self.window());
            Moments::of(self.window())
        })
    }

    /// Lower and upper envelope around the points of the last window, as far as the points around them have arrived.
    pub(super) fn envelope(&mut self) -> (&[f64], &[f64]) {
        let known = self.around.lower.len();
        let complete = self.rows.len().saturating_sub(self.half_width);
        if known < complete {
            let from = known.saturating_sub(self.half_width);
            self.fresh.refill(&self.rows[from..], self.half_width);
            self.around.lower.extend_from_slice(&self.fresh.lower[known - from..complete - from]);
            self.around.upper.extend_from_slice(&self.fresh.upper[known - from..complete - from]);
        }
        let start = (self.rows.len() - self.points).min(self.around.lower.len());
        (&self.around.lower[start..], &self.around.upper[start..])
    }

    /// Keeps the points of the next window but one, and those that its envelope takes in.
    fn drop_rows(&mut self) {
        let dropped = self.rows.len() - (self.points + self.half_width);
        self.rows.drain(..dropped);
        self.first += dropped;
        let Envelope { lower, upper } = &mut self.around;
        // The envelope of rows whose neighbours were dropped before it was asked for is anything.
        for (extremes, anything) in [(lower, f64::NEG_INFINITY), (upper, f64::INFINITY)] {
            extremes.drain(..dropped.min(extremes.len()));
            extremes.resize(extremes.len().max(self.half_width), anything);
        }
    }
}
