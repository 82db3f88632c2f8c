//! The cascade of bounds over as many consecutive windows as a register has lanes.
//!
//! Point `k` of windows that follow each other is contiguous in the series, so a bound of all of them costs one load
//! for each point of the query.

use super::batch::Batch;
use super::rolling::Rolling;
use super::{ABANDON_POINTS, LAST_BLOCK_STARTS_MIN, Pass};
use crate::dtw::lanes::{ROWS_AVX2, ROWS_AVX512};
use crate::input::KernelError;
use crate::lower_bound::Envelope;
use crate::simd::Vector;
use crate::simd::x86::{F32x8, F32x16, F64x4, F64x8};

/// Shorter queries have no three layers to either end.
const POINTS_MIN: usize = 6;

/// Whether a search is long enough for registers of windows.
pub(super) fn pays(points: usize, series: usize) -> bool {
    points >= POINTS_MIN && series - points + 1 >= LAST_BLOCK_STARTS_MIN
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn cascade_avx512(passes: &mut [Pass<'_>], seeds: &[Vec<usize>]) -> Result<(), KernelError> {
    // SAFETY: this function has the instructions.
    unsafe { cascade::<F64x8, F32x16, ROWS_AVX512>(passes, seeds) }
}

#[target_feature(enable = "avx2")]
pub(super) fn cascade_avx2(passes: &mut [Pass<'_>], seeds: &[Vec<usize>]) -> Result<(), KernelError> {
    // SAFETY: this function has the instructions.
    unsafe { cascade::<F64x4, F32x8, ROWS_AVX2>(passes, seeds) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn promising_avx512(passes: &[Pass<'_>]) -> Result<Vec<Vec<(f64, usize)>>, KernelError> {
    // SAFETY: this function has the instructions.
    unsafe { promising::<F64x8>(passes) }
}

#[target_feature(enable = "avx2")]
pub(super) fn promising_avx2(passes: &[Pass<'_>]) -> Result<Vec<Vec<(f64, usize)>>, KernelError> {
    // SAFETY: this function has the instructions.
    unsafe { promising::<F64x4>(passes) }
}

/// Of each search the window with the least LB_Kim of each place, as (bound, start).
///
/// # Safety
/// The processor has the instructions of `V`; the series has at least `LAST_BLOCK_STARTS_MIN` windows; all searches have
/// queries of the same length.
#[inline(always)]
unsafe fn promising<V: Vector<Lane = f64>>(
    passes: &[Pass<'_>],
) -> Result<Vec<Vec<(f64, usize)>>, KernelError> {
    let (points, series) = (passes[0].search.query.len(), passes[0].series);
    let mut rolling = Rolling::default();
    let mut places: Vec<Places> = passes.iter().map(|_| Places::default()).collect();
    for block in passes[0].blocks() {
        let rows = &series[block.start..block.end - 1 + points];
        rolling.fill(series, points, block.clone());
        for (pass, places) in passes.iter().zip(&mut places) {
            pass.search.check_cancelled()?;
            for offset in (0..block.len()).step_by(V::LANES) {
                let from = offset.min(block.len() - V::LANES);
                let mut bounds = [0.0; 8];
                // SAFETY: the caller vouches for the instructions; the block has a register of windows from `from` on,
                // and no register has more than 8 lanes.
                let is_better = unsafe {
                    let kim = Windows::<V>::new(&rows[from..], &rolling, from).kim(&pass.search.query);
                    kim.store(&mut bounds, 0);
                    kim.less(V::splat(places.least)) != 0
                };
                if is_better || block.start + from + V::LANES > places.end {
                    let windows = (block.start + from..).zip(bounds).take(V::LANES).skip(offset - from);
                    places.take(pass, windows);
                }
            }
        }
    }
    Ok(places.into_iter().map(|places| places.promising).collect())
}

/// The best windows so far of a search, one for each place.
struct Places {
    promising: Vec<(f64, usize)>,
    /// Where the place of the last one ends.
    end: usize,
    /// The bound of the last one.
    least: f64,
}

impl Default for Places {
    fn default() -> Self {
        Self { promising: Vec::new(), end: 0, least: f64::INFINITY }
    }
}

impl Places {
    fn take(&mut self, pass: &Pass<'_>, windows: impl Iterator<Item = (usize, f64)>) {
        let place_rows = pass.place_rows();
        for (start, bound) in windows {
            if !pass.search.admits(start) {
                continue;
            }
            if start >= self.end {
                self.end = (start / place_rows + 1) * place_rows;
                self.least = bound;
                self.promising.push((bound, start));
            } else if bound < self.least
                && let Some(best) = self.promising.last_mut()
            {
                self.least = bound;
                *best = (bound, start);
            }
        }
    }
}

/// Takes every candidate but the seeds through the bounds, and computes what they leave.
///
/// # Safety
/// The processor has the instructions of `V` and `W`; the series has at least `LAST_BLOCK_STARTS_MIN` windows; all
/// searches have queries and bands of the same size.
#[inline(always)]
unsafe fn cascade<V: Vector<Lane = f64>, W: Vector<Lane = f32>, const K: usize>(
    passes: &mut [Pass<'_>],
    seeds: &[Vec<usize>],
) -> Result<(), KernelError> {
    let (points, half_width) = (passes[0].search.query.len(), passes[0].search.half_width);
    let series = passes[0].series;
    let mut rolling = Rolling::default();
    let mut envelope = Envelope::default();
    let mut batches: Vec<Batch> = passes.iter().map(|pass| Batch::new::<W>(&pass.search.query)).collect();
    let mut seeds: Vec<_> = seeds.iter().map(|seeds| seeds.iter().copied().peekable()).collect();
    for block in passes[0].blocks() {
        let rows = &series[block.start..block.end - 1 + points];
        rolling.fill(series, points, block.clone());
        let mut envelope_known = false;
        for ((pass, batch), seeds) in passes.iter_mut().zip(&mut batches).zip(&mut seeds) {
            pass.search.check_cancelled()?;
            for offset in (0..block.len()).step_by(V::LANES) {
                // The last register reaches back to windows that were seen already.
                let from = offset.min(block.len() - V::LANES);
                let mut candidates = 0_u32;
                for lane in offset - from..V::LANES {
                    let start = block.start + from + lane;
                    let is_seed = seeds.next_if_eq(&start).is_some();
                    candidates |= u32::from(!is_seed && pass.search.admits(start)) << lane;
                }
                if candidates == 0 {
                    continue;
                }
                // SAFETY: the caller vouches for the instructions; the block has a register of windows from `from` on.
                let windows = unsafe { Windows::<V>::new(&rows[from..], &rolling, from) };
                // SAFETY: as above.
                let mut survivors = unsafe { windows.survivors(pass, block.start + from, candidates) };
                if survivors == 0 {
                    continue;
                }
                if !envelope_known {
                    envelope.refill(rows, half_width);
                    envelope_known = true;
                }
                // SAFETY: as above; the envelope is as long as the rows.
                let beyond = unsafe {
                    windows.beyond_data(pass, &envelope.lower[from..], &envelope.upper[from..], survivors)
                };
                pass.pruned.keogh_data += u64::from((survivors & beyond).count_ones());
                survivors &= !beyond;
                for lane in (0..V::LANES).filter(|lane| survivors >> lane & 1 == 1) {
                    let offset = from + lane;
                    let around = (&envelope.lower[offset..], &envelope.upper[offset..]);
                    batch.push::<W>(pass, block.start + offset, rolling.get(offset), around);
                    if batch.is_full::<W>() {
                        // SAFETY: the caller vouches for the instructions.
                        unsafe { batch.flush::<W, K>(pass)? };
                    }
                }
            }
        }
    }
    for (pass, batch) in passes.iter_mut().zip(&mut batches) {
        // SAFETY: the caller vouches for the instructions.
        unsafe { batch.flush::<W, K>(pass)? };
    }
    Ok(())
}

/// A register of consecutive windows with their moments.
struct Windows<'s, V> {
    rows: &'s [f64],
    centre: V,
    shift: V,
    scale: V,
}

impl<'s, V: Vector<Lane = f64>> Windows<'s, V> {
    /// # Safety
    /// The processor has the instructions of `V`, and the block has a register of windows from `from` on.
    #[inline(always)]
    unsafe fn new(rows: &'s [f64], rolling: &Rolling, from: usize) -> Self {
        // SAFETY: the caller vouches for both.
        unsafe {
            Self {
                rows,
                centre: V::load(&rolling.centres, from),
                shift: V::load(&rolling.shifts, from),
                scale: V::load(&rolling.scales, from),
            }
        }
    }

    /// The normalised point `k` of each window.
    ///
    /// # Safety
    /// All windows have such a point.
    #[inline(always)]
    unsafe fn point(&self, k: usize) -> V {
        // SAFETY: the caller vouches for the point.
        unsafe { self.normalized(self.rows, k) }
    }

    /// What each window makes of its value `k` in something as long as the rows.
    ///
    /// # Safety
    /// All windows have such a value.
    #[inline(always)]
    unsafe fn normalized(&self, values: &[f64], k: usize) -> V {
        // SAFETY: the caller vouches for the value.
        (unsafe { V::load(values, k) } - self.centre - self.shift) * self.scale
    }

    /// Those of `candidates` that neither LB_Kim nor the envelope of the query rules out.
    ///
    /// # Safety
    /// `rows` holds all windows.
    #[inline(always)]
    unsafe fn survivors(&self, pass: &mut Pass<'_>, first: usize, candidates: u32) -> u32 {
        // SAFETY: a value of `V` exists; the caller vouches for the rows.
        let (limit, kim) = unsafe { (V::splat(pass.limit), self.kim(&pass.search.query)) };
        let mut left = candidates & !limit.less(kim);
        for lane in 0..V::LANES {
            if left >> lane & 1 == 1 && !pass.picks.may_want(first + lane) {
                left &= !(1 << lane);
            }
        }
        pass.pruned.kim += u64::from((candidates & !left).count_ones());
        if left == 0 {
            return 0;
        }
        // SAFETY: the caller vouches for the rows.
        let survivors = left & !unsafe { self.beyond_query(pass, limit, left) };
        pass.pruned.keogh_query += u64::from((left & !survivors).count_ones());
        survivors
    }

    /// LB_Kim: the cheapest cells in the three outermost layers of both corners.
    ///
    /// # Safety
    /// `rows` holds all windows.
    #[inline(always)]
    unsafe fn kim(&self, query: &[f64]) -> V {
        let last = query.len() - 1;
        // SAFETY: a value of `V` exists; queries have at least six points, and the caller vouches for the windows.
        unsafe {
            let first = corner(
                [V::splat(query[0]), V::splat(query[1]), V::splat(query[2])],
                [self.point(0), self.point(1), self.point(2)],
            );
            let end = corner(
                [V::splat(query[last]), V::splat(query[last - 1]), V::splat(query[last - 2])],
                [self.point(last), self.point(last - 1), self.point(last - 2)],
            );
            first + end
        }
    }

    /// Windows whose LB_Keogh by the envelope of the query exceeds the limit, as far as it took to rule out all that
    /// are `wanted`.
    ///
    /// # Safety
    /// `rows` holds all windows.
    #[inline(always)]
    unsafe fn beyond_query(&self, pass: &Pass<'_>, limit: V, wanted: u32) -> u32 {
        let Envelope { lower, upper } = &pass.search.envelope;
        // SAFETY: a value of `V` exists.
        let mut bound = unsafe { V::splat(0.0) };
        let mut beyond = 0;
        for some in pass.search.order.chunks(ABANDON_POINTS) {
            for &k in some {
                // SAFETY: as above; the caller vouches for the rows.
                bound = bound + unsafe { excess(self.point(k), V::splat(lower[k]), V::splat(upper[k])) };
            }
            beyond = limit.less(bound);
            if wanted & !beyond == 0 {
                break;
            }
        }
        beyond
    }

    /// The same by the envelope of the series.
    ///
    /// # Safety
    /// The envelope holds all windows.
    #[inline(always)]
    unsafe fn beyond_data(&self, pass: &Pass<'_>, lower: &[f64], upper: &[f64], wanted: u32) -> u32 {
        let query = &pass.search.query;
        // SAFETY: a value of `V` exists.
        let (mut bound, limit) = unsafe { (V::splat(0.0), V::splat(pass.limit)) };
        let mut beyond = 0;
        for some in pass.search.order.chunks(ABANDON_POINTS) {
            for &k in some {
                // SAFETY: as above; the caller vouches for the envelope.
                bound = bound
                    + unsafe {
                        excess(V::splat(query[k]), self.normalized(lower, k), self.normalized(upper, k))
                    };
            }
            beyond = limit.less(bound);
            if wanted & !beyond == 0 {
                break;
            }
        }
        beyond
    }
}

/// Squared distance of `x` from the interval `lower..=upper`.
#[inline(always)]
fn excess<V: Vector<Lane = f64>>(x: V, lower: V, upper: V) -> V {
    square(x - x.max(lower).min(upper))
}

/// The cheapest cells of the layers `max(i, j) = 0, 1, 2`.
#[inline(always)]
fn corner<V: Vector>(q: [V; 3], z: [V; 3]) -> V {
    let second = square(q[0] - z[1]).min(square(q[1] - z[0])).min(square(q[1] - z[1]));
    let third = square(q[0] - z[2]).min(square(q[1] - z[2])).min(square(q[2] - z[2]));
    let third = third.min(square(q[2] - z[0])).min(square(q[2] - z[1]));
    square(q[0] - z[0]) + second + third
}

#[inline(always)]
fn square<V: Vector>(x: V) -> V {
    x * x
}
