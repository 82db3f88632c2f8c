//! The cascade of bounds over as many consecutive windows as a register has lanes, in single precision; in double
//! precision where that cannot tell.

use std::iter::Peekable;
use std::ops::Range;

use super::batch::Batch;
use super::coarse::Coarse;
use super::rolling::Rolling;
use super::windows::{Shape, Windows};
use super::{LAST_BLOCK_STARTS_MIN, Pass};
use crate::dtw::lanes::{ROWS_AVX2, ROWS_AVX512};
use crate::input::KernelError;
use crate::simd::Vector;
use crate::simd::x86::{F32x8, F32x16, F64x4, F64x8};

/// Shorter queries have no three layers to either end.
const POINTS_MIN: usize = 6;

/// Lanes of the widest register of single precision.
const LANES_MAX: usize = 16;

/// Single precision cannot tell when the room that it needs exceeds this share of the root of the limit.
const ROOM_SHARE_MAX: f32 = 1.0 / 64.0;

/// Long series are sampled for windows to begin with: every so many blocks at most, and as many blocks at least.
const SAMPLED_STEP_MAX: usize = 4;
const SAMPLED_BLOCKS_MIN: usize = 64;

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
    unsafe { promising::<F32x16>(passes) }
}

#[target_feature(enable = "avx2")]
pub(super) fn promising_avx2(passes: &[Pass<'_>]) -> Result<Vec<Vec<(f64, usize)>>, KernelError> {
    // SAFETY: this function has the instructions.
    unsafe { promising::<F32x8>(passes) }
}

/// Of each search the window with the least LB_Kim of each place that is looked at, as (bound, start).
///
/// # Safety
/// The processor has the instructions of `V`; the series has at least `LAST_BLOCK_STARTS_MIN` windows; all searches have
/// queries of the same length.
#[inline(always)]
unsafe fn promising<V: Vector<Lane = f32>>(
    passes: &[Pass<'_>],
) -> Result<Vec<Vec<(f64, usize)>>, KernelError> {
    let (points, series) = (passes[0].search.query.len(), passes[0].series);
    let shapes: Vec<Shape<f32>> = passes.iter().map(|pass| pass.search.shape(|value| value as f32)).collect();
    let (mut rolling, mut coarse) = (Rolling::default(), Coarse::default());
    let mut places: Vec<Places> = passes.iter().map(|_| Places::default()).collect();
    let step = (passes[0].blocks().count() / SAMPLED_BLOCKS_MIN).clamp(1, SAMPLED_STEP_MAX);
    for block in passes[0].blocks().step_by(step) {
        rolling.fill(series, points, block.clone());
        coarse.fill(&series[block.start..block.end - 1 + points], points, &rolling);
        for ((pass, shape), places) in passes.iter().zip(&shapes).zip(&mut places) {
            pass.search.check_cancelled()?;
            for offset in (0..block.len()).step_by(V::LANES) {
                let from = offset.min(block.len() - V::LANES);
                let mut bounds = [0.0; LANES_MAX];
                // SAFETY: the caller vouches for the instructions; the block has a register of windows from `from` on,
                // and no register has more than `LANES_MAX` lanes.
                let is_better = unsafe {
                    let kim = coarse.windows::<V>(from).kim(shape);
                    kim.store(&mut bounds, 0);
                    kim.less(V::splat(places.least as f32)) != 0
                };
                if is_better || block.start + from + V::LANES > places.end {
                    let bounds = bounds.into_iter().map(f64::from);
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
    let (points, series) = (passes[0].search.query.len(), passes[0].series);
    let mut current = Block { half_width: passes[0].search.half_width, ..Block::default() };
    let mut runs: Vec<Run<_>> =
        seeds.iter().zip(&*passes).map(|(seeds, pass)| Run::new::<W>(pass, seeds.iter().copied())).collect();
    for block in passes[0].blocks() {
        current.fill(series, points, block);
        for (pass, run) in passes.iter_mut().zip(&mut runs) {
            pass.search.check_cancelled()?;
            // SAFETY: the caller vouches for the instructions, and the block has a register of windows.
            unsafe { run.take::<V, W, K>(pass, &mut current)? };
        }
    }
    for (pass, run) in passes.iter_mut().zip(&mut runs) {
        // SAFETY: the caller vouches for the instructions.
        unsafe { run.batch.flush::<W, K>(pass)? };
    }
    Ok(())
}

/// A block of windows, for all searches.
#[derive(Default)]
struct Block<'s> {
    half_width: usize,
    starts: Range<usize>,
    rows: &'s [f64],
    rolling: Rolling,
    coarse: Coarse,
    is_envelope_known: bool,
}

impl<'s> Block<'s> {
    #[inline(always)]
    fn fill(&mut self, series: &'s [f64], points: usize, starts: Range<usize>) {
        self.rows = &series[starts.start..starts.end - 1 + points];
        self.rolling.fill(series, points, starts.clone());
        self.coarse.fill(self.rows, points, &self.rolling);
        self.is_envelope_known = false;
        self.starts = starts;
    }

    /// Computed when the first window needs it.
    #[inline(always)]
    fn need_envelope(&mut self) {
        if !self.is_envelope_known {
            self.coarse.fill_envelope(self.half_width);
            self.is_envelope_known = true;
        }
    }
}

/// What one search carries from block to block.
struct Run<I: Iterator<Item = usize>> {
    single: Shape<f32>,
    double: Shape<f64>,
    /// What single precision makes of a limit and of the sum that it is compared with.
    rounding: f32,
    batch: Batch,
    seeds: Peekable<I>,
}

impl<I: Iterator<Item = usize>> Run<I> {
    fn new<W: Vector<Lane = f32>>(pass: &Pass<'_>, seeds: I) -> Self {
        // Off by 2⁻²⁴ of themselves for each term, and a few more for the terms and the limit.
        let terms = (2 * pass.search.query.len() + 32) as f64;
        Self {
            single: pass.search.shape(|value| value as f32),
            double: pass.search.shape(|value| value),
            rounding: (1.0 + terms / (1 << 24) as f64) as f32,
            batch: Batch::new::<W>(&pass.search.query),
            seeds: seeds.peekable(),
        }
    }

    /// Takes the windows of a block through the bounds.
    ///
    /// # Safety
    /// The processor has the instructions of `V` and `W`; the block has a register of windows.
    #[inline(always)]
    unsafe fn take<V: Vector<Lane = f64>, W: Vector<Lane = f32>, const K: usize>(
        &mut self,
        pass: &mut Pass<'_>,
        block: &mut Block<'_>,
    ) -> Result<(), KernelError> {
        for offset in (0..block.starts.len()).step_by(W::LANES) {
            // The last register reaches back to windows that were seen already.
            let from = offset.min(block.starts.len() - W::LANES);
            let first = block.starts.start + from;
            let mut left = pass.candidates(first, offset - from..W::LANES, &mut self.seeds);
            if pass.search.is_constant || block.rolling.has_constant {
                let candidates = left;
                for lane in (0..W::LANES).filter(|lane| candidates >> lane & 1 == 1) {
                    let moments = block.rolling.get(from + lane);
                    if let Some(distance_squared) = pass.search.known_distance(&moments) {
                        pass.take_known(first + lane, distance_squared);
                        left &= !(1 << lane);
                    }
                }
            }
            if left == 0 {
                continue;
            }
            // SAFETY: the caller vouches for the instructions; the block has a register of windows from `from` on.
            left = unsafe { self.survivors::<V, W>(pass, block, from, left) };
            for lane in (0..W::LANES).filter(|lane| left >> lane & 1 == 1) {
                let offset = from + lane;
                self.batch.push::<W>(pass, first + lane, block.rolling.get(offset), &block.coarse, offset);
                if self.batch.is_full::<W>() {
                    // SAFETY: the caller vouches for the instructions.
                    unsafe { self.batch.flush::<W, K>(pass)? };
                }
            }
        }
        Ok(())
    }

    /// Those of the windows `left` in the register from `from` on that no bound rules out.
    ///
    /// # Safety
    /// The processor has the instructions of `V` and `W`; the block has a register of windows from `from` on.
    #[inline(always)]
    unsafe fn survivors<V: Vector<Lane = f64>, W: Vector<Lane = f32>>(
        &self,
        pass: &mut Pass<'_>,
        block: &mut Block<'_>,
        from: usize,
        mut left: u32,
    ) -> u32 {
        let root = pass.limit.sqrt() as f32;
        // SAFETY: the caller vouches for all of it; windows have at least `POINTS_MIN` points.
        let (limits, beyond) = unsafe {
            let roots = W::load(&block.coarse.rooms, from) + W::splat(root);
            let limits = roots * roots * W::splat(self.rounding);
            (limits, limits.less(block.coarse.windows::<W>(from).kim(&self.single)))
        };
        pass.pruned.kim += u64::from((left & beyond).count_ones());
        left &= !beyond;
        if left == 0 {
            return 0;
        }
        // SAFETY: as above.
        let beyond = unsafe { block.coarse.windows::<W>(from).beyond_query(&self.single, limits, left) };
        pass.pruned.keogh_query += u64::from((left & beyond).count_ones());
        left &= !beyond;
        if left == 0 {
            return 0;
        }
        block.need_envelope();
        // SAFETY: as above; the envelope is as long as the rows.
        let beyond = unsafe {
            let around = (&block.coarse.lower[from..], &block.coarse.upper[from..]);
            block.coarse.windows::<W>(from).beyond_data(&self.single, around, limits, left)
        };
        pass.pruned.keogh_data += u64::from((left & beyond).count_ones());
        left &= !beyond;
        let is_rough = |lane: usize| block.coarse.rooms[from + lane] > ROOM_SHARE_MAX * root;
        if (0..W::LANES).any(|lane| left >> lane & 1 == 1 && is_rough(lane)) {
            for part in (0..W::LANES).step_by(V::LANES) {
                // SAFETY: as above.
                left &= !unsafe { self.beyond_in_double::<V>(pass, block, from, part, left) };
            }
        }
        left
    }

    /// Those of a part of a larger register that LB_Keogh by the envelope of the query rules out in double precision,
    /// among those `left`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`; the block has a register of windows from `from + part` on.
    #[inline(always)]
    unsafe fn beyond_in_double<V: Vector<Lane = f64>>(
        &self,
        pass: &mut Pass<'_>,
        block: &Block<'_>,
        from: usize,
        part: usize,
        left: u32,
    ) -> u32 {
        let wanted = left >> part & ((1 << V::LANES) - 1);
        if wanted == 0 {
            return 0;
        }
        let (at, rolling) = (from + part, &block.rolling);
        // SAFETY: the caller vouches for both.
        let beyond = unsafe {
            let means = [V::load(&rolling.centres, at), V::load(&rolling.shifts, at)];
            let windows = Windows { rows: &block.rows[at..], means, scale: V::load(&rolling.scales, at) };
            wanted & windows.beyond_query(&self.double, V::splat(pass.limit), wanted)
        };
        pass.pruned.keogh_query += u64::from(beyond.count_ones());
        beyond << part
    }
}
