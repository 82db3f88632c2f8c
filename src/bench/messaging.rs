//! Asking an actor on another node, beside raw quinn doing the same. Two processes on loopback: this
//! one asks, a child of the same binary answers. Each runs everything on one thread.
//!
//! What makes the floor comparable: the same identities, so the same TLS; the same
//! [transport parameters](swarm_actors::transport), streams allowed by the same rule; answers that
//! are checked in the same way. Each side has a connection of its own, which it keeps over all cases but those about
//! connections. The actor that is asked has the settings of every actor.

mod callers;
mod child;
mod closed_loop;
mod connections;
mod echo;
mod floor;
mod local;
mod notes;
mod open_loop;
mod payloads;
mod reconnections;
pub(crate) mod responder;
mod rounds;
mod usage;

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use swarm_actors::Mailbox;
use swarm_actors::identity::{Authority, AuthorityError, EarlyData, Identity, InvalidValidity, Validity};
use swarm_protocols::{NodeId, Role};

use self::child::Responder;
use self::echo::Echoing;
use self::rounds::{PATIENCE, Rounds};
use super::{Compared, Side};

/// Why there are no (further) figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessagingError {
    #[error("cannot make identities: {0}")]
    Authority(#[from] AuthorityError),
    #[error("cannot make identities: {0}")]
    Validity(#[from] InvalidValidity),
    #[error("cannot start the responder: {0}")]
    Start(String),
    #[error("the responder is lost: {0}")]
    Lost(String),
    #[error("an answer is not what was asked: {0}")]
    Wrong(&'static str),
    #[error("{0} did not end {PATIENCE:?} after its time")]
    Stalled(String),
    #[error("{0}")]
    Print(String),
}

/// Where the figures go, one by one.
pub(crate) type Report<'a> = dyn FnMut(&Compared) -> Result<(), String> + 'a;

/// Measures every case whose name holds `only`, for `time` on each side.
pub(crate) fn run(time: Duration, only: &str, report: &mut Report<'_>) -> Result<(), MessagingError> {
    actix_rt::System::new().block_on(async {
        let cluster = Cluster::new()?;
        Responder::with(&cluster.responder, async |responder| {
            let asker = cluster.newcomer()?;
            let (peer, addresses) = (cluster.responder.id(), responder.addresses);
            let endpoint = floor::endpoint()?;
            let dialling = floor::dialling(&asker, peer, EarlyData::Refused);
            let floor = floor::connect(&endpoint, dialling, peer, addresses.floor).await?;
            let node = connections::start(asker).await?;
            let swarm = connections::reach(&node, peer, addresses.node).await?;
            let mut bench = Bench { cluster: &cluster, responder, swarm, floor, time, only, report };
            closed_loop::measure(&mut bench).await?;
            open_loop::measure(&mut bench).await?;
            notes::measure_tells(&mut bench).await?;
            notes::measure_bulk(&mut bench).await?;
            connections::measure_first_reply(&mut bench).await?;
            reconnections::measure_first_reply(&mut bench).await?;
            connections::measure_memory(&mut bench).await?;
            local::measure(&mut bench).await
        })
        .await
    })
}

/// Who may talk to whom: an authority, the identity of the responder, and as many askers as are wanted.
struct Cluster {
    authority: Authority,
    day: Validity,
    responder: Identity,
    askers: Cell<u32>,
}

impl Cluster {
    fn new() -> Result<Self, MessagingError> {
        let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400))?;
        let authority = Authority::new("bench", day)?;
        let responder = authority.issue(&node_id("responder"), Role::Agent, day)?;
        Ok(Self { authority, day, responder, askers: Cell::new(0) })
    }

    /// The identity of a node that nobody has met.
    fn newcomer(&self) -> Result<Identity, MessagingError> {
        let number = self.askers.get();
        self.askers.set(number + 1);
        Ok(self.authority.issue(&node_id(&format!("asker-{number}")), Role::Operator, self.day)?)
    }
}

fn node_id(name: &str) -> NodeId {
    name.parse().expect("lower-case letters, digits and a dash are a node id")
}

struct Bench<'a> {
    cluster: &'a Cluster,
    responder: &'a mut Responder,
    swarm: Mailbox<Echoing>,
    floor: quinn::Connection,
    time: Duration,
    only: &'a str,
    report: &'a mut Report<'a>,
}

impl Bench<'_> {
    fn wants(&self, name: &str) -> bool {
        name.contains(self.only)
    }

    /// Prints the medians of all sides, or nothing where one of them has no such number on this system.
    fn print<T>(
        &mut self,
        metric: &'static str,
        unit: &'static str,
        params: serde_json::Value,
        rounds: &Rounds<T>,
        of: impl Fn(&T) -> Option<f64>,
    ) -> Result<(), MessagingError> {
        let Some(mut controls) = rounds.medians(of) else { return Ok(()) };
        let ours = controls.iter().position(|(side, _)| *side == Side::Swarm);
        let Some((_, swarm)) = ours.map(|at| controls.remove(at)) else { return Ok(()) };
        let compared = Compared { bench: "messaging", metric, unit, params, swarm, controls };
        (self.report)(&compared).map_err(MessagingError::Print)
    }
}

/// The longest time that is told from longer ones, in nanoseconds; no round takes longer.
const LATENCY_NS_MAX: u64 = 120_000_000_000;

/// For times in nanoseconds, to three digits.
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_NS_MAX, 3).expect("these bounds and three digits are allowed")
}
