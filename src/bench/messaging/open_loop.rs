//! Requests that come at a steady rate, whether or not the earlier ones are answered. A latency counts from the time at
//! which its request should have come, so that one that is late makes those behind it late, too.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use quinn::Connection;
use serde_json::json;
use swarm_actors::Mailbox;
use swarm_protocols::Blob;
use tokio::task::yield_now;

use super::closed_loop::{self, Measured, Workload};
use super::echo::{Echo, Echoing};
use super::floor::{Frames, lost, put_request};
use super::payloads::Payloads;
use super::rounds::in_turns;
use super::{Bench, MessagingError, new_histogram};
use crate::bench::Side;

const NAME: &str = "open_loop_p99_us";
const PAYLOAD_BYTES: usize = 64;

/// The most requests that wait for answers; those that come meanwhile begin late.
const OUTSTANDING_MAX: usize = 1000;

/// Half of what our side does in a closed loop of as many requests is the rate of both sides.
pub(super) async fn measure(bench: &mut Bench<'_>) -> Result<(), MessagingError> {
    if !bench.wants(&format!("{NAME}-{PAYLOAD_BYTES}")) {
        return Ok(());
    }
    let busy = closed_loop::rounds(bench, Workload::BUSY_LANE, &[Side::Swarm]).await?;
    let busy = busy.medians(|measured: &Measured| Some(measured.per_second()));
    let rate = busy.map_or(0.0, |busy| busy.iter().map(|(_, per_second)| per_second / 2.0).sum::<f64>());
    let rate = (rate as u64).max(1);

    let Bench { swarm, floor, time, .. } = bench;
    let sides = [Side::Floor, Side::Swarm];
    let rounds = in_turns(NAME, &sides, *time, async |side, time| {
        let schedule = Schedule::starting(Instant::now(), rate, time);
        match side {
            Side::Swarm => ask(swarm, schedule).await,
            Side::Floor | Side::Callers => pipelined(floor, schedule).await,
        }
    });
    let rounds = rounds.await?;
    let params = json!({ "payload_bytes": PAYLOAD_BYTES, "rate": rate });
    let of = |latencies: &Histogram<u64>| Some(latencies.value_at_quantile(0.99) as f64 / 1e3);
    bench.print(NAME, "us", params, &rounds, of)
}

/// When which request comes.
struct Schedule {
    payloads: Payloads,
    start: Instant,
    rate: u64,
    count: u64,
    begun: u64,
    latencies: Histogram<u64>,
}

impl Schedule {
    /// So many requests a second for `time`.
    fn starting(start: Instant, rate: u64, time: Duration) -> Self {
        let count = ((rate as f64 * time.as_secs_f64()) as u64).max(1);
        let payloads = Payloads::new(PAYLOAD_BYTES);
        Self { payloads, start, rate, count, begun: 0, latencies: new_histogram() }
    }

    /// How many requests may begin now, besides those `outstanding`.
    fn due(&self, outstanding: usize) -> u64 {
        let due = (self.start.elapsed().as_secs_f64() * self.rate as f64) as u64 + 1;
        due.min(self.count).saturating_sub(self.begun).min((OUTSTANDING_MAX - outstanding) as u64)
    }

    /// Checks and times the answer to request `number`.
    fn answered(&mut self, number: u64, answer: &[u8]) -> Result<(), MessagingError> {
        self.payloads.check(number, answer)?;
        let scheduled = Duration::from_secs_f64(number as f64 / self.rate as f64);
        let latency = self.start.elapsed().saturating_sub(scheduled);
        self.latencies.saturating_record(latency.as_nanos() as u64);
        Ok(())
    }
}

/// Through a mailbox. It looks again and again what is due: a timer is a thousand times too coarse.
async fn ask(mailbox: &Mailbox<Echoing>, mut schedule: Schedule) -> Result<Histogram<u64>, MessagingError> {
    let mut asks = FuturesUnordered::new();
    while schedule.begun < schedule.count || !asks.is_empty() {
        for _ in 0..schedule.due(asks.len()) {
            let (number, payload) = schedule.payloads.make();
            schedule.begun += 1;
            asks.push(
                mailbox.ask(Echo(Blob::from(payload))).into_future().map(move |answer| (number, answer)),
            );
        }
        while let Some(Some((number, answer))) = asks.next().now_or_never() {
            schedule.answered(number, &answer.map_err(lost)?)?;
        }
        yield_now().await;
    }
    Ok(schedule.latencies)
}

/// The floor, which looks in the same way.
async fn pipelined(
    connection: &Connection,
    mut schedule: Schedule,
) -> Result<Histogram<u64>, MessagingError> {
    let (mut send, recv) = connection.open_bi().await.map_err(lost)?;
    let (mut frames, mut oldest) = (Frames::new(recv), 0);
    while oldest < schedule.count {
        let due = schedule.due((schedule.begun - oldest) as usize);
        if due > 0 {
            let mut next = Vec::new();
            (0..due).for_each(|_| _ = put_request(&schedule.payloads, &mut next));
            schedule.begun += due;
            send.write_chunk(next.into()).await.map_err(lost)?;
        }
        let answers = frames.answers(|answer| {
            schedule.answered(oldest, answer)?;
            oldest += 1;
            Ok(())
        });
        answers.now_or_never().transpose()?;
        yield_now().await;
    }
    send.finish().map_err(lost)?;
    Ok(schedule.latencies)
}
