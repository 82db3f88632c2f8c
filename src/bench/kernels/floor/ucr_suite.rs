//! Subsequence search as the UCR Suite does it (Rakthanmanon and others 2012, `UCR_DTW.cpp`), in scalar code: one window
//! after the other through LB_KimFL, LB_Keogh by the envelope of the query, LB_Keogh by that of the series, and the
//! distance, each given up as soon as it exceeds the best so far.
//!
//! Two differences, both in its favour: the query is sorted by the magnitudes themselves, where the original's
//! comparison truncates them to whole numbers; and the series is in memory, not read from a file.

use std::collections::VecDeque;

/// Rows that are taken together; sums and envelopes start afresh with each.
const EPOCH: usize = 100_000;

/// A query made ready.
pub(crate) struct UcrSuite {
    query: Vec<f64>,
    half_width: usize,
    /// Query points by falling magnitude, with what belongs to them in that order.
    order: Vec<usize>,
    query_ordered: Vec<f64>,
    lower_ordered: Vec<f64>,
    upper_ordered: Vec<f64>,
}

/// The mean and the deviation of a window.
#[derive(Clone, Copy)]
struct Moments {
    mean: f64,
    deviation: f64,
}

impl Moments {
    fn normalize(self, x: f64) -> f64 {
        (x - self.mean) / self.deviation
    }
}

impl UcrSuite {
    pub(crate) fn new(query: &[f64], half_width: usize) -> Self {
        let count = query.len() as f64;
        let mean = query.iter().sum::<f64>() / count;
        let deviation = (query.iter().map(|q| q * q).sum::<f64>() / count - mean * mean).sqrt();
        let query: Vec<f64> = query.iter().map(|q| (q - mean) / deviation).collect();
        let mut order: Vec<usize> = (0..query.len()).collect();
        order.sort_by(|&a, &b| query[b].abs().total_cmp(&query[a].abs()));
        let (lower, upper) = envelope(&query, half_width);
        let ordered = |values: &[f64]| order.iter().map(|&k| values[k]).collect::<Vec<f64>>();
        Self {
            query_ordered: ordered(&query),
            lower_ordered: ordered(&lower),
            upper_ordered: ordered(&upper),
            query,
            half_width,
            order,
        }
    }

    /// The start of the nearest window and its squared distance.
    pub(crate) fn run(&self, series: &[f64]) -> (usize, f64) {
        let points = self.query.len();
        let mut best = (0, f64::INFINITY);
        let mut scratch = Scratch::new(points, self.half_width);
        let mut first = 0;
        while first + points <= series.len() {
            let rows = &series[first..(first + EPOCH).min(series.len())];
            self.run_epoch(rows, first, &mut best, &mut scratch);
            first += EPOCH - (points - 1);
        }
        best
    }

    fn run_epoch(&self, rows: &[f64], first: usize, best: &mut (usize, f64), scratch: &mut Scratch) {
        let points = self.query.len();
        let (lower, upper) = envelope(rows, self.half_width);
        let (mut sum, mut squares) = (0.0, 0.0);
        for (end, &entering) in rows.iter().enumerate() {
            sum += entering;
            squares += entering * entering;
            if end + 1 < points {
                continue;
            }
            let start = end + 1 - points;
            let window = &rows[start..=end];
            let mean = sum / points as f64;
            let moments = Moments { mean, deviation: (squares / points as f64 - mean * mean).sqrt() };
            let around = (&lower[start..=end], &upper[start..=end]);
            if let Some(distance) = self.distance(window, moments, around, best.1, scratch) {
                *best = (first + start, distance);
            }
            sum -= window[0];
            squares -= window[0] * window[0];
        }
    }

    /// The distance of one window when it is less than `best`. A comparison with NaN, of a constant window, is false.
    #[inline(always)]
    fn distance(
        &self,
        window: &[f64],
        moments: Moments,
        (lower, upper): (&[f64], &[f64]),
        best: f64,
        scratch: &mut Scratch,
    ) -> Option<f64> {
        if !self.is_kim_below(window, moments, best) {
            return None;
        }
        let Scratch { normalized, query_shares, data_shares, later, rows } = scratch;
        let by_query = self.keogh_query(window, moments, best, query_shares);
        if by_query >= best {
            return None;
        }
        for (z, &x) in normalized.iter_mut().zip(window) {
            *z = moments.normalize(x);
        }
        let by_data = self.keogh_data(lower, upper, moments, best, data_shares);
        if by_data >= best {
            return None;
        }
        let shares = if by_query > by_data { query_shares } else { data_shares };
        let mut sum = 0.0;
        for (later, &share) in later.iter_mut().zip(&*shares).rev() {
            sum += share;
            *later = sum;
        }
        let distance = dtw(normalized, &self.query, later, self.half_width, best, rows);
        (distance < best).then_some(distance)
    }

    /// LB_KimFL: three points at the front and three at the back, given up after each.
    #[inline(always)]
    fn is_kim_below(&self, window: &[f64], moments: Moments, best: f64) -> bool {
        let (query, last) = (&self.query, self.query.len() - 1);
        let (x0, y0) = (moments.normalize(window[0]), moments.normalize(window[last]));
        let mut bound = square(x0, query[0]) + square(y0, query[last]);
        if bound >= best {
            return false;
        }
        let x1 = moments.normalize(window[1]);
        bound += square(x1, query[0]).min(square(x0, query[1])).min(square(x1, query[1]));
        if bound >= best {
            return false;
        }
        let y1 = moments.normalize(window[last - 1]);
        bound += square(y1, query[last]).min(square(y0, query[last - 1])).min(square(y1, query[last - 1]));
        if bound >= best {
            return false;
        }
        let x2 = moments.normalize(window[2]);
        let layer = square(x0, query[2]).min(square(x1, query[2])).min(square(x2, query[2]));
        bound += layer.min(square(x2, query[1])).min(square(x2, query[0]));
        if bound >= best {
            return false;
        }
        let y2 = moments.normalize(window[last - 2]);
        let layer =
            square(y0, query[last - 2]).min(square(y1, query[last - 2])).min(square(y2, query[last - 2]));
        bound += layer.min(square(y2, query[last - 1])).min(square(y2, query[last]));
        bound < best
    }

    #[inline(always)]
    fn keogh_query(&self, window: &[f64], moments: Moments, best: f64, shares: &mut [f64]) -> f64 {
        let mut bound = 0.0;
        let bounds = self.lower_ordered.iter().zip(&self.upper_ordered);
        for (&k, (&lower, &upper)) in self.order.iter().zip(bounds) {
            if bound >= best {
                break;
            }
            let x = moments.normalize(window[k]);
            let share = if x > upper {
                square(x, upper)
            } else if x < lower {
                square(x, lower)
            } else {
                0.0
            };
            bound += share;
            shares[k] = share;
        }
        bound
    }

    #[inline(always)]
    fn keogh_data(
        &self,
        lower: &[f64],
        upper: &[f64],
        moments: Moments,
        best: f64,
        shares: &mut [f64],
    ) -> f64 {
        let mut bound = 0.0;
        for (&k, &q) in self.order.iter().zip(&self.query_ordered) {
            if bound >= best {
                break;
            }
            let (upper, lower) = (moments.normalize(upper[k]), moments.normalize(lower[k]));
            let share = if q > upper {
                square(q, upper)
            } else if q < lower {
                square(q, lower)
            } else {
                0.0
            };
            bound += share;
            shares[k] = share;
        }
        bound
    }
}

/// What windows leave behind for the next.
struct Scratch {
    normalized: Vec<f64>,
    query_shares: Vec<f64>,
    data_shares: Vec<f64>,
    later: Vec<f64>,
    rows: [Vec<f64>; 2],
}

impl Scratch {
    fn new(points: usize, half_width: usize) -> Self {
        let zeros = || vec![0.0; points];
        // One cell more at either end stands for what lies outside the band.
        let row = || vec![f64::INFINITY; 2 * half_width + 3];
        Self {
            normalized: zeros(),
            query_shares: zeros(),
            data_shares: zeros(),
            later: zeros(),
            rows: [row(), row()],
        }
    }
}

/// The distance, given up when the least cell of a row and the bound of what is still to come reach `best`.
fn dtw(
    a: &[f64],
    b: &[f64],
    later: &[f64],
    half_width: usize,
    best: f64,
    [previous, current]: &mut [Vec<f64>; 2],
) -> f64 {
    let points = a.len();
    previous.fill(f64::INFINITY);
    current.fill(f64::INFINITY);
    for (i, &x) in a.iter().enumerate() {
        let (first, end) = (i.saturating_sub(half_width), (i + half_width + 1).min(points));
        // Cell `k` of a row is column `k - 1 + i - half_width`, so the cell above is one to the right.
        let offset = half_width.saturating_sub(i) + 1;
        let mut least = f64::INFINITY;
        let mut left = f64::INFINITY;
        let mut diagonal = if i == 0 { 0.0 } else { previous[offset] };
        for (j, &y) in b[first..end].iter().enumerate() {
            let up = previous[offset + j + 1];
            let mut cell = if up < left { up } else { left };
            if diagonal < cell {
                cell = diagonal;
            }
            left = cell + square(x, y);
            current[offset + j] = left;
            diagonal = up;
            if left < least {
                least = left;
            }
        }
        // What the band leaves at its right end is read by the next row.
        current[offset + end - first] = f64::INFINITY;
        if i + half_width + 1 < points {
            let bound = least + later[i + half_width + 1];
            if bound >= best {
                return bound;
            }
        }
        std::mem::swap(previous, current);
    }
    previous[half_width + 1]
}

/// The running minimum and maximum, by queues of what may still become one (Lemire 2009).
fn envelope(series: &[f64], half_width: usize) -> (Vec<f64>, Vec<f64>) {
    let mut lower = Vec::with_capacity(series.len());
    let mut upper = Vec::with_capacity(series.len());
    let (mut least, mut most): (VecDeque<usize>, VecDeque<usize>) = Default::default();
    for i in 0..series.len() + half_width {
        if let Some(&x) = series.get(i) {
            while least.back().is_some_and(|&other| series[other] >= x) {
                least.pop_back();
            }
            while most.back().is_some_and(|&other| series[other] <= x) {
                most.pop_back();
            }
            least.push_back(i);
            most.push_back(i);
        }
        let Some(centre) = i.checked_sub(half_width) else { continue };
        for queue in [&mut least, &mut most] {
            while queue.front().is_some_and(|&other| other + half_width < centre) {
                queue.pop_front();
            }
        }
        lower.push(series[least[0]]);
        upper.push(series[most[0]]);
    }
    (lower, upper)
}

fn square(x: f64, y: f64) -> f64 {
    (x - y) * (x - y)
}
