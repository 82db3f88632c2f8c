//! Exact search for the windows of a long series that are nearest to a query under z-normalised, banded DTW.

#[cfg(target_arch = "x86_64")]
mod batch;
#[cfg(target_arch = "x86_64")]
mod coarse;
#[cfg(test)]
mod drift;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod many;
mod missing;
mod picks;
mod rolling;
mod stream;
#[cfg(target_arch = "x86_64")]
mod windows;

pub use many::run_all;
pub use stream::{Leaders, Monitor};

use crate::band::{Band, Reach};
use crate::compare::{compared, compared_max};
use crate::dtw::{self, sweep::sweep};
use crate::input::{Cancelled, KernelError, NEVER, Series, check, go_on};
use crate::lower_bound::{self, Envelope, excess_squared, shares_to_limits};
#[cfg(target_arch = "x86_64")]
use crate::simd::Number;
use crate::simd::Simd;
use crate::znorm::{Moments, is_constant, z_normalize};
use picks::Picks;
use rolling::{BLOCK_STARTS, Rolling, prune_above};

/// Query points between two looks at the bound.
const ABANDON_POINTS: usize = 8;

/// Windows in the last of several blocks.
const LAST_BLOCK_STARTS_MIN: usize = 16;

/// Windows computed before the cascade, so that it starts with a useful bound.
const SEEDS_MIN: usize = 32;

/// A window of the searched series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Row of the window's first point.
    pub start: usize,
    /// Squared DTW distance between the z-normalised query and the z-normalised window, as [`compared`] has it.
    pub distance_squared: f64,
}

/// What became of the candidates; the sum is the number of candidates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ruled out by LB_Kim, or known to be no nearer than earlier windows: at distance 0, or without a warping path.
    pub kim: u64,
    /// Ruled out by LB_Keogh with the envelope of the query.
    pub keogh_query: u64,
    /// Ruled out by LB_Keogh with the envelope of the series.
    pub keogh_data: u64,
    /// Ruled out in the middle of the distance.
    pub abandoned: u64,
    /// Distances computed to the end.
    pub computed: u64,
}

/// The answer of a search.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Nearest first; equal distances by start.
    pub matches: Vec<Match>,
    /// How the candidates were disposed of.
    pub pruned: Pruned,
}

/// A query made ready to run over series.
///
/// The matches are those of the exhaustive search: all candidate windows in order of `(distance_squared, start)`,
/// each picked unless it starts fewer than [`apart`](Self::apart) rows from one picked before, until there are
/// [`top`](Self::top). Distances are those of [`dtw::distance_squared`] on
/// [`z_normalize`]d series as [`compared`] has them, to the last bit; pruning never changes the answer.
///
/// Beside the series, memory is proportional to the query, plus one entry for every `apart` rows (or every query
/// length, when that is more), plus at most `4 top` x `apart` windows; while fewer than `2 top - 1` windows fit apart
/// from each other, one entry for each candidate.
#[derive(Clone)]
pub struct Search<'a> {
    query: Vec<f64>,
    envelope: Envelope,
    /// Query points by falling magnitude: the first ones decide most windows.
    order: Vec<usize>,
    half_width: usize,
    is_constant: bool,
    top: usize,
    apart: usize,
    starts: Option<&'a (dyn Fn(usize) -> bool + Sync)>,
    cancel: Option<&'a (dyn Fn() -> bool + Sync)>,
    simd: Simd,
}

impl<'a> Search<'a> {
    /// Prepares a query for a band of `window` points to either side. Looks for the single best match.
    pub fn new(query: &[f64], window: usize) -> Result<Self, KernelError> {
        check(Series::Query, query)?;
        let half_width = Band::Points(window).half_width(query.len());
        let normalized = z_normalize(query);
        let mut order: Vec<usize> = (0..query.len()).collect();
        order.sort_by(|&a, &b| normalized[b].abs().total_cmp(&normalized[a].abs()));
        Ok(Self {
            envelope: Envelope::new(&normalized, half_width),
            query: normalized,
            order,
            half_width,
            is_constant: is_constant(query),
            top: 1,
            apart: query.len(),
            starts: None,
            cancel: None,
            simd: Simd::active(),
        })
    }

    /// How many matches to return at most; fewer when no more lie apart.
    pub fn top(self, top: usize) -> Self {
        Self { top, ..self }
    }

    /// Rows between the starts of two matches at least; the length of the query unless said otherwise.
    pub fn apart(self, rows: usize) -> Self {
        Self { apart: rows, ..self }
    }

    /// Leaves out the windows whose start does not satisfy `admitted`, which may be asked more than once per start.
    pub fn starts(self, admitted: &'a (dyn Fn(usize) -> bool + Sync)) -> Self {
        Self { starts: Some(admitted), ..self }
    }

    /// Stops with [`KernelError::Cancelled`] once `cancelled` says so. It is asked every 1024 starts and before each
    /// distance, or before some that are computed together, so the delay is at most that of those.
    pub fn cancel(self, cancelled: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { cancel: Some(cancelled), ..self }
    }

    /// Uses no more than these instructions. The matches do not depend on it; what becomes of the other candidates may.
    ///
    /// [`Simd::Portable`] is the scalar cascade, the control of the benchmarks.
    pub fn simd(self, most: Simd) -> Self {
        Self { simd: most.min(Simd::active()), ..self }
    }

    /// Searches a series.
    pub fn run(&self, series: &[f64]) -> Result<Found, KernelError> {
        check(Series::Searched, series)?;
        let points = self.query.len();
        if points > series.len() {
            return Err(KernelError::QueryTooLong { query: points, series: series.len() });
        }
        if self.top == 0 {
            return Ok(Found::default());
        }
        let mut pass = [Pass::new(self, series)];
        Pass::run(&mut pass)?;
        let [pass] = pass;
        Ok(pass.found())
    }

    fn admits(&self, start: usize) -> bool {
        self.starts.is_none_or(|admitted| admitted(start))
    }

    /// The query with its envelope, in the precision of the bounds.
    #[cfg(target_arch = "x86_64")]
    fn shape<T: Number>(&self, number: fn(f64) -> T) -> windows::Shape<T> {
        windows::Shape::new(&self.query, &self.envelope, &self.order, number)
    }

    /// The squared distance of a window that needs no warping path: constant series are equal, and all others are equally
    /// far from one. No bound rules such windows out, since none is nearer than the others.
    #[inline(always)]
    fn known_distance(&self, window: &Moments) -> Option<f64> {
        match (self.is_constant, window.is_constant()) {
            (true, true) => Some(0.0),
            (true, false) | (false, true) => Some(self.query.len() as f64),
            (false, false) => None,
        }
    }

    fn check_cancelled(&self) -> Result<(), KernelError> {
        go_on(self.cancelled())
    }

    fn cancelled(&self) -> Cancelled<'a> {
        match self.cancel {
            Some(cancelled) => cancelled,
            None => NEVER,
        }
    }
}

/// One run over one series.
struct Pass<'s> {
    search: &'s Search<'s>,
    series: &'s [f64],
    reach: Reach,
    picks: Picks,
    pruned: Pruned,
    /// What a lower bound must exceed to rule a window out; follows the bound of `picks`.
    limit: f64,
    window: Vec<f64>,
    row: Vec<f64>,
    query_shares: Vec<f64>,
    window_shares: Vec<f64>,
}

impl<'s> Pass<'s> {
    fn new(search: &'s Search<'s>, series: &'s [f64]) -> Self {
        let points = search.query.len();
        Self {
            search,
            series,
            reach: Band::Points(search.half_width).reach(points, points),
            picks: Picks::new(search.top, search.apart),
            pruned: Pruned::default(),
            limit: f64::INFINITY,
            window: vec![0.0; points],
            row: Vec::new(),
            query_shares: vec![0.0; points],
            window_shares: vec![0.0; points],
        }
    }

    fn blocks(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let starts = self.series.len() - self.search.query.len() + 1;
        let mut first = 0;
        std::iter::from_fn(move || {
            let left = starts - first;
            let length = match left.checked_sub(BLOCK_STARTS) {
                None | Some(0) => left,
                // The last block is not shorter than a register.
                Some(rest) if rest < LAST_BLOCK_STARTS_MIN => BLOCK_STARTS - LAST_BLOCK_STARTS_MIN,
                Some(_) => BLOCK_STARTS,
            };
            first += length;
            (length > 0).then(|| first - length..first)
        })
    }

    /// Takes all candidates of searches with the same length of query, band, instructions and series.
    fn run(passes: &mut [Self]) -> Result<(), KernelError> {
        let Some(first) = passes.first() else { return Ok(()) };
        let simd = first.simd();
        let promising: Vec<Vec<(f64, usize)>> = match simd {
            // SAFETY: an instruction set that is in use was detected.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { lanes::promising_avx512(passes)? },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { lanes::promising_avx2(passes)? },
            _ => passes.iter().map(Self::promising).collect::<Result<_, _>>()?,
        };
        let mut seeds = Vec::with_capacity(passes.len());
        for (pass, promising) in passes.iter_mut().zip(promising) {
            seeds.push(pass.seed(promising)?);
        }
        match simd {
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { lanes::cascade_avx512(passes, &seeds) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { lanes::cascade_avx2(passes, &seeds) },
            _ => passes.iter_mut().zip(&seeds).try_for_each(|(pass, seeds)| pass.cascade(seeds)),
        }
    }

    /// The instructions that pay for this search, all of which were detected.
    fn simd(&self) -> Simd {
        #[cfg(target_arch = "x86_64")]
        if lanes::pays(self.search.query.len(), self.series.len()) {
            return self.search.simd;
        }
        Simd::Portable
    }

    fn found(self) -> Found {
        Found { matches: self.picks.finish(), pruned: self.pruned }
    }

    /// Rows of the series among which at most one window is a seed.
    fn place_rows(&self) -> usize {
        self.search.apart.max(self.search.query.len())
    }

    /// Which of the windows from `first` on are to be looked at, of those in `lanes`; the seeds were already.
    #[cfg(target_arch = "x86_64")]
    fn candidates(
        &mut self,
        first: usize,
        lanes: std::ops::Range<usize>,
        seeds: &mut std::iter::Peekable<impl Iterator<Item = usize>>,
    ) -> u32 {
        let mut candidates = ((1_u64 << lanes.end) - (1_u64 << lanes.start)) as u32;
        while let Some(seed) = seeds.next_if(|&seed| seed < first + lanes.end) {
            candidates &= !(1 << (seed - first));
        }
        if self.search.starts.is_some() {
            for lane in lanes.clone().filter(|lane| !self.search.admits(first + lane)) {
                candidates &= !(1 << lane);
            }
        }
        // Unless all the best lie at distance 0, a window at distance 0 is wanted wherever it starts.
        if self.picks.bound() == 0.0 {
            for lane in lanes.filter(|lane| !self.picks.wants(first + lane, 0.0)) {
                self.pruned.kim += u64::from(candidates >> lane & 1);
                candidates &= !(1 << lane);
            }
        }
        candidates
    }

    /// Computes the windows that look most promising of all places; returns their starts, ascending.
    fn seed(&mut self, mut promising: Vec<(f64, usize)>) -> Result<Vec<usize>, KernelError> {
        promising.sort_by(|a, b| a.0.total_cmp(&b.0));
        promising.truncate(SEEDS_MIN.max(self.search.top.saturating_mul(4)));
        for &(_, start) in &promising {
            self.compute_alone(start)?;
        }
        let mut seeds: Vec<usize> = promising.iter().map(|&(_, start)| start).collect();
        seeds.sort_unstable();
        Ok(seeds)
    }

    /// The window with the least LB_Kim of each place, as (bound, start).
    fn promising(&self) -> Result<Vec<(f64, usize)>, KernelError> {
        let (points, place_rows) = (self.search.query.len(), self.place_rows());
        let mut rolling = Rolling::default();
        let mut promising: Vec<(f64, usize)> = Vec::new();
        for block in self.blocks() {
            self.search.check_cancelled()?;
            rolling.fill(self.series, points, block.clone());
            for (offset, start) in block.enumerate() {
                let moments = &rolling.get(offset);
                if !self.search.admits(start) {
                    continue;
                }
                let bound = self.kim(start, moments);
                match promising.last_mut() {
                    Some(best) if best.1 / place_rows == start / place_rows => {
                        if bound < best.0 {
                            *best = (bound, start);
                        }
                    }
                    _ => promising.push((bound, start)),
                }
            }
        }
        Ok(promising)
    }

    /// Takes every other candidate through the bounds, the cheapest first, and computes what they leave.
    fn cascade(&mut self, seeds: &[usize]) -> Result<(), KernelError> {
        let (points, half_width) = (self.search.query.len(), self.search.half_width);
        let mut rolling = Rolling::default();
        let mut envelope = Envelope::default();
        let mut seeds = seeds.iter().copied().peekable();
        for block in self.blocks() {
            self.search.check_cancelled()?;
            // Computed when the first window needs it. Rows outside the block's windows are in no warping path.
            let first = block.start;
            let rows = &self.series[first..block.end - 1 + points];
            let mut envelope_known = false;
            rolling.fill(self.series, points, block.clone());
            for (offset, start) in block.enumerate() {
                let moments = &rolling.get(offset);
                if seeds.next_if_eq(&start).is_some() || !self.search.admits(start) {
                    continue;
                }
                if let Some(distance_squared) = self.search.known_distance(moments) {
                    self.take_known(start, distance_squared);
                    continue;
                }
                if self.kim(start, moments) > self.limit || !self.picks.wants(start, 0.0) {
                    self.pruned.kim += 1;
                    continue;
                }
                if self.exceeds_query_envelope(start, moments) {
                    self.pruned.keogh_query += 1;
                    continue;
                }
                if !envelope_known {
                    envelope.refill(rows, half_width);
                    envelope_known = true;
                }
                let moments = Moments::of(&self.series[start..start + points]);
                if self.exceeds_data_envelope(start - first, &moments, &envelope) {
                    self.pruned.keogh_data += 1;
                    continue;
                }
                self.normalize_window(start, moments);
                self.share_window();
                self.compute(start)?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn kim(&self, start: usize, moments: &Moments) -> f64 {
        let (query, window) = (&self.search.query[..], &self.series[start..start + self.search.query.len()]);
        let points = query.len();
        if points < 6 {
            let ends = [moments.normalize(window[0]), moments.normalize(window[points - 1])];
            return if points == 1 {
                lower_bound::kim(query, &ends[..1])
            } else {
                lower_bound::kim(&[query[0], query[points - 1]], &ends)
            };
        }
        let z = |index: usize| moments.normalize(window[index]);
        lower_bound::corner(&[query[0], query[1], query[2]], &[z(0), z(1), z(2)])
            + lower_bound::corner(
                &[query[points - 1], query[points - 2], query[points - 3]],
                &[z(points - 1), z(points - 2), z(points - 3)],
            )
    }

    fn exceeds_query_envelope(&self, start: usize, moments: &Moments) -> bool {
        let Envelope { lower, upper } = &self.search.envelope;
        let window = &self.series[start..start + self.search.query.len()];
        let mut bound = 0.0;
        for some in self.search.order.chunks(ABANDON_POINTS) {
            for &index in some {
                bound += excess_squared(moments.normalize(window[index]), lower[index], upper[index]);
            }
            if bound > self.limit {
                return true;
            }
        }
        false
    }

    /// Leaves in `query_shares` what a path may have cost after each query point.
    fn exceeds_data_envelope(&mut self, offset: usize, moments: &Moments, envelope: &Envelope) -> bool {
        let query = &self.search.query;
        let lower = &envelope.lower[offset..offset + query.len()];
        let upper = &envelope.upper[offset..offset + query.len()];
        let bounds = lower.iter().zip(upper);
        for ((share, &q), (&lower, &upper)) in self.query_shares.iter_mut().zip(query).zip(bounds) {
            *share = excess_squared(q, moments.normalize(lower), moments.normalize(upper));
        }
        shares_to_limits(&mut self.query_shares, self.limit) > self.limit
    }

    /// Leaves in `window_shares` what a path may have cost after each point of the window.
    fn share_window(&mut self) {
        let Envelope { lower, upper } = &self.search.envelope;
        let bounds = lower.iter().zip(upper);
        for ((share, &z), (&lower, &upper)) in self.window_shares.iter_mut().zip(&self.window).zip(bounds) {
            *share = excess_squared(z, lower, upper);
        }
        shares_to_limits(&mut self.window_shares, self.limit);
    }

    fn normalize_window(&mut self, start: usize, moments: Moments) {
        for (z, &x) in self.window.iter_mut().zip(&self.series[start..]) {
            *z = moments.normalize(x);
        }
    }

    /// Warps one window within the bound, without any limits by point, and offers it.
    fn compute_alone(&mut self, start: usize) -> Result<(), KernelError> {
        let points = self.search.query.len();
        let moments = Moments::of(&self.series[start..start + points]);
        if let Some(distance_squared) = self.search.known_distance(&moments) {
            self.take_known(start, distance_squared);
            return Ok(());
        }
        self.normalize_window(start, moments);
        let band = Band::Points(self.search.half_width);
        let (query, window, bound) = (&self.search.query, &self.window, self.bound());
        let cancelled = self.search.cancelled();
        let distance = dtw::distance_checked_within(self.search.simd, query, window, band, bound, cancelled);
        self.take(start, distance?);
        Ok(())
    }

    /// Warps the normalised window within the limits that both shares leave, and offers it.
    fn compute(&mut self, start: usize) -> Result<(), KernelError> {
        let (query_limits, window_limits) = (&self.query_shares, &self.window_shares);
        let distance = sweep(
            &self.search.query,
            &self.window,
            self.reach,
            self.search.cancelled(),
            |i| query_limits[i],
            |j| window_limits[j],
            &mut self.row,
        );
        self.take(start, distance?);
        Ok(())
    }

    /// Offers a window whose distance was computed, and counts one whose was not.
    fn take(&mut self, start: usize, distance: Option<f64>) {
        match distance {
            Some(distance_squared) => self.offer(start, distance_squared),
            None => self.pruned.abandoned += 1,
        }
    }

    /// Offers a window whose distance is known, unless earlier ones are as near.
    fn take_known(&mut self, start: usize, distance_squared: f64) {
        if self.picks.wants(start, compared(distance_squared, self.search.query.len())) {
            self.offer(start, distance_squared);
        } else {
            self.pruned.kim += 1;
        }
    }

    /// Takes a window whose distance was computed to the end.
    fn offer(&mut self, start: usize, distance_squared: f64) {
        let points = self.search.query.len();
        self.pruned.computed += 1;
        self.picks.offer(Match { start, distance_squared: compared(distance_squared, points) });
        self.limit = prune_above(self.bound(), points);
    }

    /// A window farther than this cannot change the answer.
    fn bound(&self) -> f64 {
        compared_max(self.picks.bound(), self.search.query.len())
    }
}
