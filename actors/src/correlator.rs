//! [`Correlator`]: an actor that says how series go together.

#[cfg(test)]
mod tests;

use crate::{
    call::{Answer, Call},
    content_store::Contents,
    mailbox::Mailbox,
    parts::{self, Groups},
    workers::Workers,
};
use actix::{Actor, Context, Handler};
use std::sync::{Arc, Mutex, PoisonError};
use swarm_kernels::{
    Band, KernelError, Lcss,
    correlation::{Measure, Pairs},
};
use swarm_protocols::{
    ContentHash, Floats,
    correlation::{CorrelateGroups, Correlator as CorrelatorProtocol, PairMeasure},
};

/// Compares all pairs of series that its node keeps: by Pearson's and Spearman's correlation, by their longest common
/// subsequence, by dynamic time warping.
///
/// It speaks the protocol of the same name: get its [`mailbox`](Self::mailbox) and ask for pairs of the matrix. Groups
/// of series are named by their content; a request of which the node lacks content is answered with
/// [`PartError::MissingInputs`](swarm_protocols::part::PartError::MissingInputs). The series that were compared last
/// are also kept made ready, so that the next pairs of the same matrix begin at once; that takes up to 2.5 times the
/// memory of their values. They are computed on workers, one thread for each request, and stop soon after nobody waits
/// for them any more.
///
/// ```
/// use actix::Actor;
/// use std::num::NonZeroUsize;
/// use swarm_actors::{Workers, content_store::Contents, correlator::Correlator};
/// use swarm_protocols::{
///     correlation::{CorrelateGroups, PairMeasure},
///     series_group::SeriesGroup,
/// };
///
/// # #[actix::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (workers, contents) = (Workers::new(NonZeroUsize::MIN, 16), Contents::new(64 << 20));
/// let correlator = Correlator::new(workers, contents.clone()).mailbox();
///
/// let series = vec![vec![1.0, 2.0, 4.0].into(), vec![-1.0, -2.0, -4.0].into()];
/// let group = contents.insert(SeriesGroup::new(series)?.encode())?;
/// let pairs = CorrelateGroups { groups: vec![group], measure: PairMeasure::Pearson, from: 0, until: 3 };
/// // The first with itself, with the second; the second with itself.
/// assert_eq!(*correlator.ask(pairs).await?, [1.0, -1.0, 1.0]);
/// # Ok(())
/// # }
/// ```
pub struct Correlator {
    workers: Workers,
    contents: Contents,
    ready: Ready,
}

impl Correlator {
    /// Compares what is in `contents`, on `workers`.
    ///
    /// Requests beyond the threads and the queue of `workers` are answered with
    /// [`Overloaded`](swarm_protocols::DeliveryError::Overloaded), so the queue should hold what coordinators may ask
    /// at once.
    pub fn new(workers: Workers, contents: Contents) -> Self {
        Self { workers, contents, ready: Ready::default() }
    }

    /// Starts it on this thread, with a mailbox.
    pub fn mailbox(self) -> Mailbox<CorrelatorProtocol> {
        Mailbox::start(self)
    }
}

impl Actor for Correlator {
    type Context = Context<Self>;
}

impl Handler<Call<CorrelateGroups>> for Correlator {
    type Result = Answer<CorrelateGroups>;

    fn handle(&mut self, call: Call<CorrelateGroups>, _: &mut Self::Context) -> Self::Result {
        let ready = self.ready.clone();
        parts::answer_series(&self.contents, &self.workers, call, move |request, groups, cancelled| {
            let run = request.from as usize..request.until as usize;
            ready.pairs(request, groups)?.values(run, &|| cancelled()).map(Floats::from)
        })
    }
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
    /// The series of a request made ready: once for all pairs of one matrix, while others of them wait.
    fn pairs(&self, request: &CorrelateGroups, groups: &Groups<'_>) -> Result<Arc<Pairs>, KernelError> {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = &*ready
            && prepared.groups == request.groups
            && prepared.measure == request.measure
        {
            return Ok(Arc::clone(&prepared.pairs));
        }
        // What was there before goes first: both at once would take twice the memory.
        *ready = None;
        let series = groups.all_series().map(|values| values.to_vec()).collect();
        let pairs = Arc::new(Pairs::new(measure_of(request.measure)?, series)?);
        let (groups, measure) = (request.groups.clone(), request.measure);
        *ready = Some(Prepared { groups, measure, pairs: Arc::clone(&pairs) });
        Ok(pairs)
    }
}

/// What the kernels compute for a measure.
///
/// # Errors
/// When `epsilon` is negative or not a number.
pub fn measure_of(measure: PairMeasure) -> Result<Measure, KernelError> {
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
