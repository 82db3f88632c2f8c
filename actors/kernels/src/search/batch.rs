//! Windows that no bound rules out, warped several at a time.

use super::{Match, Pass, prune_above};
use crate::dtw::lanes;
use crate::input::KernelError;
use crate::simd::Vector;

/// Up to a register of windows that wait for their distance.
pub(super) struct Batch {
    starts: Vec<usize>,
    /// The normalised windows side by side: point `j` of lane `l` at `j * LANES + l`.
    points: Vec<f64>,
    /// What a path that has used `i` points of the query must still pay at least, likewise.
    later: Vec<f64>,
    edge: Vec<f64>,
    found: Vec<f64>,
}

impl Batch {
    pub(super) fn new<V: Vector<Lane = f64>>(points: usize) -> Self {
        Self {
            starts: Vec::with_capacity(V::LANES),
            points: vec![0.0; points * V::LANES],
            later: vec![f64::INFINITY; points * V::LANES],
            edge: Vec::new(),
            found: vec![0.0; V::LANES],
        }
    }

    pub(super) fn is_full<V: Vector>(&self) -> bool {
        self.starts.len() == V::LANES
    }

    /// Takes a normalised window and what its points, and those of the query, cost from each one on.
    #[inline(always)]
    pub(super) fn push<V: Vector>(
        &mut self,
        start: usize,
        window: &[f64],
        query_later: &[f64],
        window_later: &[f64],
        half_width: usize,
    ) {
        let lane = self.starts.len();
        self.starts.push(start);
        for (lanes, &z) in self.points.chunks_exact_mut(V::LANES).zip(window) {
            lanes[lane] = z;
        }
        // Rows before `i` reach columns before `i + half_width`: both what later rows and what later columns must pay
        // is still to come.
        let columns = window_later[half_width.min(window_later.len())..].iter().copied();
        let later = query_later.iter().zip(columns.chain(std::iter::repeat(0.0)));
        for (lanes, (&rows, columns)) in self.later.chunks_exact_mut(V::LANES).zip(later) {
            lanes[lane] = if rows < columns { columns } else { rows };
        }
    }

    /// Warps the windows and offers them. Distances are those of one pair at a time, to the last bit.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub(super) unsafe fn flush<V: Vector<Lane = f64>, const K: usize>(
        &mut self,
        pass: &mut Pass<'_>,
    ) -> Result<(), KernelError> {
        if self.starts.is_empty() {
            return Ok(());
        }
        pass.search.check_cancelled()?;
        // Lanes without a window are dead from the start.
        for lane in self.starts.len()..V::LANES {
            self.later.iter_mut().skip(lane).step_by(V::LANES).for_each(|later| *later = f64::INFINITY);
        }
        let all = (1 << V::LANES) - 1;
        let Self { points, later, edge, found, .. } = self;
        // SAFETY: the caller vouches for the instructions; `later` has a register for each row, `found` has one.
        let is_complete = unsafe {
            let limit = V::splat(pass.limit);
            let go_on = |rows: usize, least: V| limit.less(least + V::load(later, rows * V::LANES)) != all;
            match lanes::distances::<V, K>(&pass.search.query, points, pass.reach, edge, go_on) {
                Some(distances) => {
                    distances.store(found, 0);
                    true
                }
                None => false,
            }
        };
        if is_complete {
            for (&start, &distance_squared) in self.starts.iter().zip(&self.found) {
                pass.pruned.computed += 1;
                pass.picks.offer(Match { start, distance_squared });
            }
            pass.limit = prune_above(pass.picks.bound(), pass.search.query.len());
        } else {
            pass.pruned.abandoned += self.starts.len() as u64;
        }
        self.starts.clear();
        Ok(())
    }
}
