//! [`Correlator`]: an actor that says how series go together.

#[cfg(test)]
mod tests;

use crate::{
    call::{Answer, Call},
    groups::{self, Groups},
    mailbox::Mailbox,
    part_store::PartStore,
    workers::Workers,
};
use actix::{Actor, Addr, Context, Handler};
use std::sync::{Arc, Mutex, PoisonError};
use swarm_kernels::{
    Band, KernelError, Lcss,
    correlation::{Measure, Pairs},
};
use swarm_protocols::{
    ContentHash, Floats, Part,
    correlation::{CorrelateGroups, Correlator as CorrelatorProtocol, PairMeasure, ROWS_STEP},
    similar_windows::{StoreError, StorePart},
};

/// Holds series in memory and compares all pairs of them: by Pearson's and Spearman's correlation, by their longest
/// common subsequence, by dynamic time warping.
///
/// It speaks the protocol of the same name: get its [`mailbox`](Self::mailbox), store groups of series, and ask for
/// rows of the matrix. Groups are kept under the names of their content up to a bound; the least recently used make
/// room for new ones, and whoever asks for one that is gone is told so and stores it again. The series that were
/// compared last are also kept made ready, so that the next rows of the same matrix begin at once; that takes up to
/// 2.5 times the memory of their values. Rows are computed on workers, one thread for each request, and stop soon
/// after nobody waits for them any more.
///
/// ```
/// use actix::Actor;
/// use std::num::NonZeroUsize;
/// use swarm_actors::{Workers, correlator::Correlator};
/// use swarm_protocols::{
///     correlation::{CorrelateGroups, PairMeasure},
///     series_group::SeriesGroup,
///     similar_windows::StorePart,
/// };
///
/// # #[actix::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let workers = Workers::new(NonZeroUsize::MIN, 16);
/// let correlator = Correlator::mailbox(Correlator::new(workers, 64 << 20).start());
///
/// let series = vec![vec![1.0, 2.0, 4.0].into(), vec![-1.0, -2.0, -4.0].into()];
/// let group = correlator.ask(StorePart { part: SeriesGroup::new(series)?.encode() }).await?;
/// let rows = CorrelateGroups { groups: vec![group], measure: PairMeasure::Pearson, from: 0, until: 2 };
/// // The first with itself, with the second; the second with itself.
/// assert_eq!(*correlator.ask(rows).await?, [1.0, -1.0, 1.0]);
/// # Ok(())
/// # }
/// ```
pub struct Correlator {
    workers: Workers,
    parts: PartStore<Part>,
    ready: Ready,
}

impl Correlator {
    /// Computes on `workers`, and keeps up to `store_bytes_max` bytes of encoded parts, each counted with 256 bytes
    /// more than it has.
    ///
    /// Requests beyond the threads and the queue of `workers` are answered with
    /// [`UnitError::Busy`](swarm_protocols::units::UnitError::Busy), so the queue should hold what coordinators may
    /// ask at once.
    pub fn new(workers: Workers, store_bytes_max: usize) -> Self {
        Self { workers, parts: PartStore::new(store_bytes_max), ready: Ready::default() }
    }

    /// The mailbox of a started one.
    pub fn mailbox(address: Addr<Self>) -> Mailbox<CorrelatorProtocol> {
        Mailbox::local(address)
    }
}

impl Actor for Correlator {
    type Context = Context<Self>;
}

impl Handler<Call<StorePart>> for Correlator {
    type Result = Result<ContentHash, StoreError>;

    fn handle(&mut self, call: Call<StorePart>, _: &mut Self::Context) -> Self::Result {
        groups::store(&mut self.parts, &call.request.part)
    }
}

impl Handler<Call<CorrelateGroups>> for Correlator {
    type Result = Answer<CorrelateGroups>;

    fn handle(&mut self, call: Call<CorrelateGroups>, _: &mut Self::Context) -> Self::Result {
        let ready = self.ready.clone();
        groups::answer(&mut self.parts, &self.workers, call, move |unit, groups, cancelled| {
            rows(unit, &*ready.pairs(unit, groups)?, &|| cancelled())
        })
    }
}

/// The values of the rows that are asked for; the unit has been checked.
fn rows(unit: &CorrelateGroups, pairs: &Pairs, cancelled: &dyn Fn() -> bool) -> Result<Floats, KernelError> {
    let mut values = Vec::new();
    for part in unit.from / ROWS_STEP..unit.until.div_ceil(ROWS_STEP) {
        values.extend(pairs.part(part as usize, cancelled)?);
    }
    Ok(values.into())
}

/// The series that were compared last, made ready. Worker threads share it.
#[derive(Clone, Default)]
struct Ready(Arc<Mutex<Option<Prepared>>>);

struct Prepared {
    groups: Vec<ContentHash>,
    measure: PairMeasure,
    pairs: Arc<Pairs>,
}

impl Ready {
    /// The series of a unit made ready: once for all units of one matrix, while others of them wait.
    fn pairs(&self, unit: &CorrelateGroups, groups: &Groups) -> Result<Arc<Pairs>, KernelError> {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = &*ready
            && prepared.groups == unit.groups
            && prepared.measure == unit.measure
        {
            return Ok(Arc::clone(&prepared.pairs));
        }
        // What was there before goes first: both at once would take twice the memory.
        *ready = None;
        let series = groups.all_series().map(|values| values.to_vec()).collect();
        let pairs = Arc::new(Pairs::new(measure_of(unit.measure)?, series)?);
        let (groups, measure) = (unit.groups.clone(), unit.measure);
        *ready = Some(Prepared { groups, measure, pairs: Arc::clone(&pairs) });
        Ok(pairs)
    }
}

fn measure_of(measure: PairMeasure) -> Result<Measure, KernelError> {
    let points = |window: u64| usize::try_from(window).unwrap_or(usize::MAX);
    Ok(match measure {
        PairMeasure::Pearson => Measure::Pearson,
        PairMeasure::Spearman => Measure::Spearman,
        PairMeasure::Lcss { epsilon, window } => {
            let lcss = Lcss::new(epsilon)?;
            Measure::Lcss(window.map_or(lcss, |window| lcss.window(points(window))))
        }
        PairMeasure::Dtw { window } => {
            Measure::Dtw(window.map_or(Band::Full, |window| Band::Points(points(window))))
        }
    })
}
