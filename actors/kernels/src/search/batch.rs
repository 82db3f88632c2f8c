//! Windows that no bound rules out, warped several at a time in single precision.
//!
//! Their distances decide only who is warped once more, alone and in full precision: the limit leaves room for all that
//! the rolled moments and the single precision may add.

use super::coarse::{Coarse, ROW_ERROR};
use super::rolling::ROLLED_ERROR;
use super::{Pass, prune_above};
use crate::dtw::lanes;
use crate::input::{KernelError, go_on};
use crate::lower_bound::{Envelope, excess_squared};
use crate::simd::Vector;
use crate::znorm::Moments;

/// Points that share one entry of what is still to pay.
const STRIDE: usize = 8;

/// Rows between two questions whether to go on, about.
const CANCEL_ROWS: usize = 64;

/// Up to a register of windows that wait for their distance.
pub(super) struct Batch {
    starts: Vec<usize>,
    query: Vec<f32>,
    /// The normalised windows side by side: point `j` of lane `l` at `j * LANES + l`.
    points: Vec<f32>,
    /// What a path that has used `STRIDE * i` points of the query must still pay at least, likewise.
    later: Vec<f32>,
    edge: Vec<f32>,
    found: Vec<f32>,
    /// Of the window that is being taken.
    normalized: Vec<f64>,
    query_later: Vec<f64>,
    window_later: Vec<f64>,
}

impl Batch {
    pub(super) fn new<V: Vector<Lane = f32>>(query: &[f64]) -> Self {
        let points = query.len();
        Self {
            starts: Vec::with_capacity(V::LANES),
            query: query.iter().map(|&q| q as f32).collect(),
            points: vec![0.0; points * V::LANES],
            later: vec![f32::INFINITY; (points.div_ceil(STRIDE) + 1) * V::LANES],
            edge: Vec::new(),
            found: vec![0.0; V::LANES],
            normalized: vec![0.0; points],
            query_later: vec![0.0; points.div_ceil(STRIDE) + 1],
            window_later: vec![0.0; points.div_ceil(STRIDE) + 1],
        }
    }

    pub(super) fn is_full<V: Vector>(&self) -> bool {
        self.starts.len() == V::LANES
    }

    /// Takes a window with its rolled moments; it is window `offset` of the block.
    #[inline(always)]
    pub(super) fn push<V: Vector<Lane = f32>>(
        &mut self,
        pass: &Pass<'_>,
        start: usize,
        moments: Moments,
        coarse: &Coarse,
        offset: usize,
    ) {
        let lane = self.starts.len();
        self.starts.push(start);
        let query = &pass.search.query;
        let window = &pass.series[start..start + query.len()];
        for (z, &x) in self.normalized.iter_mut().zip(window) {
            *z = moments.normalize(x);
        }
        for (lanes, &z) in self.points.chunks_exact_mut(V::LANES).zip(&self.normalized) {
            lanes[lane] = z as f32;
        }
        let (factor, summand) = coarse.normalization(&moments);
        let ends = offset..offset + query.len();
        let (lower, upper) = (&coarse.lower[ends.clone()], &coarse.upper[ends]);
        // A little wider, for what single precision did to it.
        let lower_z = |&lower: &f32| (f64::from(lower) - ROW_ERROR) * factor + summand;
        let upper_z = |&upper: &f32| (f64::from(upper) + ROW_ERROR) * factor + summand;
        still_to_pay(&mut self.query_later, query, lower.iter().map(lower_z), upper.iter().map(upper_z));
        let Envelope { lower, upper } = &pass.search.envelope;
        let (lower, upper) = (lower.iter().copied(), upper.iter().copied());
        still_to_pay(&mut self.window_later, &self.normalized, lower, upper);
        // Rows before `i` reach columns before `i + half_width`: both what later rows and what later columns must pay
        // is still to come.
        let ahead = pass.search.half_width.div_ceil(STRIDE).min(self.window_later.len() - 1);
        let columns = self.window_later[ahead..].iter().copied().chain(std::iter::repeat(0.0));
        let later = self.query_later.iter().zip(columns);
        for (lanes, (&rows, columns)) in self.later.chunks_exact_mut(V::LANES).zip(later) {
            lanes[lane] = if rows < columns { columns } else { rows } as f32;
        }
    }

    /// Warps the windows, and those again that may matter.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub(super) unsafe fn flush<V: Vector<Lane = f32>, const K: usize>(
        &mut self,
        pass: &mut Pass<'_>,
    ) -> Result<(), KernelError> {
        if self.starts.is_empty() {
            return Ok(());
        }
        pass.search.check_cancelled()?;
        // Lanes without a window are dead from the start.
        for lane in self.starts.len()..V::LANES {
            self.later.iter_mut().skip(lane).step_by(V::LANES).for_each(|later| *later = f32::INFINITY);
        }
        let all = (1 << V::LANES) - 1;
        let (limit, cancelled) = (limit(pass), pass.search.cancelled());
        let Self { query, points, later, edge, found, .. } = self;
        // SAFETY: the caller vouches for the instructions; `later` has a register for every `STRIDE` rows and one
        // more, `found` has one.
        unsafe {
            let limit = V::splat(limit);
            let wanted = |rows: usize, least: V| {
                let is_wanted = limit.less(least + V::load(later, rows.div_ceil(STRIDE) * V::LANES)) != all;
                if is_wanted && rows % CANCEL_ROWS < K {
                    go_on(cancelled)?;
                }
                Ok(is_wanted)
            };
            match lanes::distances::<V, K>(query, points, pass.reach, edge, wanted)? {
                Some(distances) => distances.store(found, 0),
                None => found.fill(f32::INFINITY),
            }
        }
        for lane in 0..self.starts.len() {
            if self.found[lane] <= limit {
                pass.compute_alone(self.starts[lane])?;
            } else {
                pass.pruned.abandoned += 1;
            }
        }
        self.starts.clear();
        Ok(())
    }
}

/// What a distance from a batch may reach while the true one is within the bound.
///
/// Along the path of the true distance each point occurs at most `2 r + 1` times. Seen as the length of a vector, the
/// rolled moments change it by `ROLLED_ERROR` times that of `1 + |z|`, at most `2 sqrt(m (2 r + 1))`, and single
/// precision by 2⁻²⁴ times that of both series, as much again. Its sums and those of what is still to pay are off by
/// 2⁻²⁴ of themselves for each of at most `2 m` cells, and a few more for the squares.
fn limit(pass: &Pass<'_>) -> f32 {
    let points = pass.search.query.len() as f64;
    let single = 2_f64.powi(-24);
    let along = 2.0 * (points * (2 * pass.search.half_width + 1) as f64).sqrt();
    let room = (2.0 * ROLLED_ERROR + 2.0 * single) * along;
    let bound = prune_above(pass.bound(), pass.search.query.len());
    ((bound.sqrt() + room).powi(2) * (1.0 + (2.0 * points + 20.0) * single)) as f32
}

/// What the points from each `STRIDE`th one on cost outside their interval.
#[inline(always)]
fn still_to_pay(
    later: &mut [f64],
    values: &[f64],
    lower: impl Iterator<Item = f64>,
    upper: impl Iterator<Item = f64>,
) {
    let mut excesses = [0.0; STRIDE];
    let mut bounds = lower.zip(upper);
    for (share, values) in later.iter_mut().zip(values.chunks(STRIDE)) {
        excesses.fill(0.0);
        for (excess, (&x, (lower, upper))) in excesses.iter_mut().zip(values.iter().zip(&mut bounds)) {
            *excess = excess_squared(x, lower, upper);
        }
        let [a, b, c, d, e, f, g, h] = excesses;
        *share = ((a + b) + (c + d)) + ((e + f) + (g + h));
    }
    let mut sum = 0.0;
    for share in later.iter_mut().rev().skip(1) {
        sum += *share;
        *share = sum;
    }
}
