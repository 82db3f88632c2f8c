//! Searching a series while it arrives, point by point.

mod tail;

use super::picks::Picks;
use super::rolling::prune_above;
use super::{ABANDON_POINTS, Match, Search};
use crate::band::Band;
use crate::compare::{compared, compared_max};
use crate::dtw;
use crate::input::{KernelError, NEVER, Series, check};
use crate::lower_bound::{self, Envelope, excess_squared};
use crate::znorm::{Moments, z_normalize_into};
use tail::Tail;

/// Reports every window within a distance of a query as soon as its last point has arrived.
///
/// The windows and their distances are those that [`Search`] would find in the whole series, were it asked for all
/// of them; how the points are divided into pushes does not matter.
///
/// Memory does not grow: it is proportional to the query. A point costs constant time where LB_Kim rules its window
/// out; else up to the length of the query for the other bounds, and a distance where they do not either. For queries of
/// 128 to 1024 points on a random walk that was 0.07 to 0.3 microseconds, three to six times what a [`Search`] of the whole
/// series takes, which looks at many windows at once.
///
/// ```
/// use swarm_kernels::search::Monitor;
/// let mut monitor = Monitor::new(&[0.0, 1.0, 0.0], 0, 0.01)?;
/// let series = [5.0, 5.0, 7.0, 5.0, 6.0, 5.5];
/// let mut starts = Vec::new();
/// for point in series {
///     starts.extend(monitor.push(point)?.map(|found| found.start));
/// }
/// assert_eq!(starts, [1]);
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
#[derive(Clone)]
pub struct Monitor {
    query: StreamQuery,
    distance_squared_max: f64,
}

impl Monitor {
    /// Watches for windows of at most that squared distance within a band of `window` points to either side.
    ///
    /// A distance that is NaN or negative is that of no window.
    pub fn new(query: &[f64], window: usize, distance_squared_max: f64) -> Result<Self, KernelError> {
        Ok(Self { query: StreamQuery::new(query, window)?, distance_squared_max })
    }

    /// Takes the next point. Returns the window that it completes, if that is near enough.
    ///
    /// A point that [`Search`] would refuse is refused, and the series goes on without it.
    pub fn push(&mut self, point: f64) -> Result<Option<Match>, KernelError> {
        self.query.push(point, self.distance_squared_max)
    }

    /// Takes the next points, and passes on the windows that they complete, in order.
    ///
    /// When a point is refused, those before it have been taken; the error has its row in the whole series.
    pub fn extend(&mut self, points: &[f64], mut found: impl FnMut(Match)) -> Result<(), KernelError> {
        for &point in points {
            if let Some(window) = self.push(point)? {
                found(window);
            }
        }
        Ok(())
    }

    /// Takes a point whose value is not known: no window that holds it is reported.
    pub fn push_missing(&mut self) {
        self.query.tail.push_missing();
    }
}

/// Knows at any time which windows of a series, as far as it has arrived, are nearest to a query.
///
/// [`matches`](Self::matches) are those of a [`Search`] for the same `top` and `apart` in the points so far. Memory
/// does not grow with the series: beside that of a [`Monitor`] it is at most `4 top` x `apart` windows.
///
/// ```
/// use swarm_kernels::search::Leaders;
/// let mut leaders = Leaders::new(&[0.0, 1.0, 0.0], 0, 1, 3)?;
/// assert_eq!(leaders.extend(&[5.0, 5.5, 7.0, 5.0])?.len(), 2);
/// assert_eq!(leaders.push(6.0)?, None);
/// assert_eq!(leaders.matches()[0].start, 1);
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
#[derive(Clone)]
pub struct Leaders {
    query: StreamQuery,
    top: usize,
    picks: Picks,
}

impl Leaders {
    /// Looks for the `top` best windows that start at least `apart` rows from each other, within a band of `window`
    /// points to either side.
    pub fn new(query: &[f64], window: usize, top: usize, apart: usize) -> Result<Self, KernelError> {
        // A pool of no windows has no last one, whose distance would be a bound.
        Ok(Self { query: StreamQuery::new(query, window)?, top, picks: Picks::new(top.max(1), apart) })
    }

    /// Takes the next point. Returns the window that it completes, if that is now among the best.
    ///
    /// A point that [`Search`] would refuse is refused, and the series goes on without it.
    pub fn push(&mut self, point: f64) -> Result<Option<Match>, KernelError> {
        let bound = if self.top == 0 { f64::NAN } else { self.picks.bound() };
        let Some(window) = self.query.push(point, bound)? else { return Ok(None) };
        self.picks.offer(window);
        Ok(self.picks.best().contains(&window).then_some(window))
    }

    /// Takes the next points; returns the windows that were among the best when their last point arrived.
    ///
    /// When a point is refused, those before it have been taken; the error has its row in the whole series.
    pub fn extend(&mut self, points: &[f64]) -> Result<Vec<Match>, KernelError> {
        points.iter().filter_map(|&point| self.push(point).transpose()).collect()
    }

    /// Takes a point whose value is not known: no window that holds it is among the best.
    pub fn push_missing(&mut self) {
        self.query.tail.push_missing();
    }

    /// The best windows so far, nearest first; equal distances by start.
    pub fn matches(&self) -> Vec<Match> {
        if self.top == 0 { Vec::new() } else { self.picks.best() }
    }
}

/// A query and the end of the series that it is compared with.
#[derive(Clone)]
struct StreamQuery {
    search: Search<'static>,
    /// The points that LB_Kim looks at: the three outermost to either end, or one of a short query.
    ends: Vec<usize>,
    query_ends: Vec<f64>,
    window_ends: Vec<f64>,
    tail: Tail,
    /// The last window, normalised.
    window: Vec<f64>,
}

impl StreamQuery {
    fn new(query: &[f64], window: usize) -> Result<Self, KernelError> {
        let search = Search::new(query, window)?;
        let points = query.len();
        let ends = match points {
            1 => vec![0],
            2..6 => vec![0, points - 1],
            _ => (0..3).chain(points - 3..points).collect(),
        };
        Ok(Self {
            query_ends: ends.iter().map(|&end| search.query[end]).collect(),
            window_ends: vec![0.0; ends.len()],
            ends,
            tail: Tail::new(points, search.half_width),
            window: vec![0.0; points],
            search,
        })
    }

    /// Takes a point. Returns the window that it completes, if its distance does not exceed `bound`.
    #[inline]
    fn push(&mut self, point: f64, bound: f64) -> Result<Option<Match>, KernelError> {
        check(Series::Searched, &[point]).map_err(|error| at_row(error, self.tail.len()))?;
        if !self.tail.push(point) {
            return Ok(None);
        }
        let points = self.search.query.len();
        let farthest = compared_max(bound, points);
        let limit = prune_above(farthest, points);
        let moments = self.tail.moments();
        let mut distance = self.search.known_distance(&moments);
        if distance.is_none() {
            if self.kim(&moments) > limit || self.exceeds(&moments, limit) {
                return Ok(None);
            }
            z_normalize_into(self.tail.window(), &mut self.window);
            let Search { query, half_width, simd, .. } = &self.search;
            let band = Band::Points(*half_width);
            distance = dtw::distance_checked_within(*simd, query, &self.window, band, farthest, NEVER)?;
        }
        let distance =
            distance.map(|distance| compared(distance, points)).filter(|distance| *distance <= bound);
        Ok(distance.map(|distance_squared| Match { start: self.tail.start(), distance_squared }))
    }

    #[inline]
    fn kim(&mut self, moments: &Moments) -> f64 {
        let window = self.tail.window();
        for (z, &end) in self.window_ends.iter_mut().zip(&self.ends) {
            *z = moments.normalize(window[end]);
        }
        lower_bound::kim(&self.query_ends, &self.window_ends)
    }

    /// Whether LB_Keogh rules the last window out, by the envelope of the query or by that of the series.
    fn exceeds(&mut self, moments: &Moments, limit: f64) -> bool {
        let Search { query, order, envelope: Envelope { lower, upper }, .. } = &self.search;
        let window = self.tail.window();
        let excess = |k: usize| excess_squared(moments.normalize(window[k]), lower[k], upper[k]);
        if sum_exceeds(order, limit, excess) {
            return true;
        }
        let (lower, upper) = self.tail.envelope();
        sum_exceeds(order, limit, |k| match (lower.get(k), upper.get(k)) {
            (Some(&lower), Some(&upper)) => {
                excess_squared(query[k], moments.normalize(lower), moments.normalize(upper))
            }
            _ => 0.0,
        })
    }
}

/// Whether the terms of the points, taken in this order, exceed the limit.
fn sum_exceeds(order: &[usize], limit: f64, term: impl Fn(usize) -> f64) -> bool {
    let mut bound = 0.0;
    order.chunks(ABANDON_POINTS).any(|some| {
        bound += some.iter().map(|&k| term(k)).sum::<f64>();
        bound > limit
    })
}

/// The error of a single value, at the row that the value would have had.
fn at_row(error: KernelError, row: usize) -> KernelError {
    match error {
        KernelError::NotANumber { series, .. } => KernelError::NotANumber { series, index: row },
        KernelError::Infinite { series, .. } => KernelError::Infinite { series, index: row },
        KernelError::TooLarge { series, value, limit, .. } => {
            KernelError::TooLarge { series, index: row, value, limit }
        }
        other => other,
    }
}
