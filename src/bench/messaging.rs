//! Asking an actor on another node, beside raw quinn doing the same. Two processes on loopback: this
//! one asks, a child of the same binary answers. Each runs everything on one thread.
//!
//! What makes the floor comparable: the same identities, so the same TLS; the same
//! [transport parameters](swarm_actors::transport), streams allowed by the same rule; answers that
//! are checked in the same way. Each side has a connection of its own, which it keeps over all cases.

mod child;
mod echo;
mod floor;
pub(crate) mod responder;
mod workload;

use std::time::{Duration, SystemTime};

use serde_json::json;
use swarm_actors::identity::{Authority, AuthorityError, InvalidValidity, Validity};
use swarm_protocols::{NodeId, Role};

use self::child::Responder;
use self::floor::FloorClient;
use self::workload::{Measured, Mode, SwarmClient, Workload};
use super::{Compared, ROUNDS, Side, median};

/// How long a round may take beyond its time before the run is given up.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// Measures every case whose name holds `only`, for `seconds` on each side.
pub(crate) fn run(seconds: Duration, only: &str, report: &mut Report<'_>) -> Result<(), MessagingError> {
    actix_rt::System::new().block_on(async {
        let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400))?;
        let authority = Authority::new("bench", day)?;
        let server = authority.issue(&node_id("responder"), Role::Agent, day)?;
        let client = authority.issue(&node_id("asker"), Role::Operator, day)?;

        let mut child = Responder::start(&server).await?;
        let measured = async {
            let addresses = child.addresses().await?;
            let measured = async {
                let swarm = SwarmClient::connect(client.clone(), server.id(), addresses.node).await?;
                let floor = FloorClient::connect(&client, server.id(), addresses.floor).await?;
                Bench { swarm, floor }.all(seconds, only, report).await
            };
            tokio::select! {
                measured = measured => measured,
                ended = child.ended() => Err(ended),
            }
        };
        let measured = measured.await;
        child.stop().await;
        measured
    })
}

fn cases() -> impl Iterator<Item = Workload> {
    let case = |(mode, payload_bytes), in_flight| Workload { mode, payload_bytes, in_flight };
    let sequential = [Mode::Lane, Mode::Stream].map(|mode| case((mode, 64), 1));
    let concurrent = [(Mode::Lane, 64), (Mode::Stream, 64), (Mode::Lane, 1024)];
    let concurrent = concurrent.map(|kind| [64, 256, 1000].map(|in_flight| case(kind, in_flight)));
    sequential.into_iter().chain(concurrent.into_iter().flatten())
}

fn node_id(name: &str) -> NodeId {
    name.parse().expect("a lower-case word is a node id")
}

struct Bench {
    swarm: SwarmClient,
    floor: FloorClient,
}

impl Bench {
    async fn all(
        &self,
        seconds: Duration,
        only: &str,
        report: &mut Report<'_>,
    ) -> Result<(), MessagingError> {
        for workload in cases().filter(|workload| workload.name().contains(only)) {
            if workload.in_flight == 1 {
                self.latency(workload, seconds, report).await?;
            } else {
                self.rate(workload, seconds, report).await?;
            }
        }
        Ok(())
    }

    async fn latency(
        &self,
        workload: Workload,
        seconds: Duration,
        report: &mut Report<'_>,
    ) -> Result<(), MessagingError> {
        let rounds = self.rounds(workload, seconds).await?;
        for (metric, share) in [("ask_p50_us", 0.5), ("ask_p99_us", 0.99)] {
            let of = |measured: &Measured| measured.percentile_us(share);
            report(&compared(metric, "us", workload, &rounds, of)).map_err(MessagingError::Print)?;
        }
        Ok(())
    }

    async fn rate(
        &self,
        workload: Workload,
        seconds: Duration,
        report: &mut Report<'_>,
    ) -> Result<(), MessagingError> {
        let rounds = self.rounds(workload, seconds).await?;
        let figure = compared("ask_per_second", "1/s", workload, &rounds, Measured::per_second);
        report(&figure).map_err(MessagingError::Print)
    }

    /// The measurements of floor and swarm, in turns, after a warm-up of each.
    async fn rounds(
        &self,
        workload: Workload,
        seconds: Duration,
    ) -> Result<Vec<(Measured, Measured)>, MessagingError> {
        let each = seconds / ROUNDS;
        for side in [Side::Floor, Side::Swarm] {
            self.round(side, workload, each).await?;
        }
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let floor = self.round(Side::Floor, workload, each).await?;
            rounds.push((floor, self.round(Side::Swarm, workload, each).await?));
        }
        Ok(rounds)
    }

    async fn round(
        &self,
        side: Side,
        workload: Workload,
        time: Duration,
    ) -> Result<Measured, MessagingError> {
        let measured = async {
            match side {
                Side::Swarm => workload.measure(time, |progress| self.swarm.ask(workload, progress)).await,
                Side::Floor => workload.measure(time, |progress| self.floor.ask(workload, progress)).await,
            }
        };
        let stalled = || MessagingError::Stalled(workload.name());
        tokio::time::timeout(time + PATIENCE, measured).await.map_err(|_| stalled())?
    }
}

fn compared(
    metric: &'static str,
    unit: &'static str,
    workload: Workload,
    rounds: &[(Measured, Measured)],
    of: impl Fn(&Measured) -> f64,
) -> Compared {
    let Workload { mode, payload_bytes, in_flight } = workload;
    let mut floor: Vec<f64> = rounds.iter().map(|(floor, _)| of(floor)).collect();
    let mut swarm: Vec<f64> = rounds.iter().map(|(_, swarm)| of(swarm)).collect();
    Compared {
        bench: "messaging",
        metric,
        unit,
        params: json!({ "payload_bytes": payload_bytes, "in_flight": in_flight, "mode": mode.word() }),
        swarm: median(&mut swarm),
        floor: median(&mut floor),
    }
}
