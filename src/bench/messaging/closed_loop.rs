//! Requests that are answered with the same bytes, so many in flight at any time: how many a second, how long one
//! takes where it is alone, and what both processes use for one.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use quinn::Connection;
use serde_json::json;
use swarm_actors::{Mailbox, Pipeline};
use swarm_protocols::Blob;

use super::echo::{Echo, Echoing};
use super::floor::{self, Frames, lost, put_request};
use super::payloads::Payloads;
use super::rounds::{Rounds, for_time, in_turns};
use super::usage::Usage;
use super::{Bench, MessagingError, callers, new_histogram};
use crate::bench::Side;

/// How requests share streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Pipelined on a long-lived stream.
    Lane,
    /// The same, asked in bulk.
    Pipeline,
    /// A stream each.
    Stream,
}

/// One kind of requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workload {
    mode: Mode,
    payload_bytes: usize,
    in_flight: usize,
}

impl Workload {
    /// Small requests on a lane, as many as are ever in flight here.
    pub(super) const BUSY_LANE: Self = Self { mode: Mode::Lane, payload_bytes: 64, in_flight: 1000 };

    fn all() -> impl Iterator<Item = Workload> {
        let case = |(mode, payload_bytes), in_flight| Workload { mode, payload_bytes, in_flight };
        let sequential = [Mode::Lane, Mode::Stream].map(|mode| case((mode, 64), 1));
        let concurrent = [(Mode::Lane, 64), (Mode::Pipeline, 64), (Mode::Stream, 64), (Mode::Lane, 1024)];
        let concurrent = concurrent.map(|kind| [64, 256, 1000].map(|in_flight| case(kind, in_flight)));
        sequential.into_iter().chain(concurrent.into_iter().flatten())
    }

    /// As in `lane-64-256`: mode, bytes, in flight.
    fn name(self) -> String {
        format!("{}-{}-{}", self.word(), self.payload_bytes, self.in_flight)
    }

    fn word(self) -> &'static str {
        match self.mode {
            Mode::Lane => "lane",
            Mode::Pipeline => "pipeline",
            Mode::Stream => "stream",
        }
    }

    /// Where requests are small and share a stream, to await each of them is a large part of the work.
    fn sides(self) -> &'static [Side] {
        match (self.mode, self.payload_bytes) {
            (Mode::Lane, ..=64) => &[Side::Floor, Side::Callers, Side::Swarm],
            _ => &[Side::Floor, Side::Swarm],
        }
    }
}

/// What one round brought.
pub(super) struct Measured {
    answers: u64,
    elapsed: Duration,
    /// From answer to answer in nanoseconds, with one request in flight.
    latencies: Histogram<u64>,
    /// Of the process that asks and of the one that answers, before and after.
    usage: [(Usage, Usage); 2],
}

impl Measured {
    pub(super) fn per_second(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }
}

/// Prints the figures of every workload that is wanted.
pub(super) async fn measure(bench: &mut Bench<'_>) -> Result<(), MessagingError> {
    for workload in Workload::all() {
        if !bench.wants(&workload.name()) {
            continue;
        }
        let rounds = rounds(bench, workload, workload.sides()).await?;
        let Workload { payload_bytes, in_flight, .. } = workload;
        let params =
            json!({ "payload_bytes": payload_bytes, "in_flight": in_flight, "mode": workload.word() });
        if in_flight == 1 {
            for (metric, share) in [("ask_p50_us", 0.5), ("ask_p99_us", 0.99)] {
                let of = |measured: &Measured| Some(measured.latencies.value_at_quantile(share) as f64 / 1e3);
                bench.print(metric, "us", params.clone(), &rounds, of)?;
            }
        } else {
            let of = |measured: &Measured| Some(measured.per_second());
            bench.print("ask_per_second", "1/s", params.clone(), &rounds, of)?;
        }
        for (which, process) in ["caller", "callee"].into_iter().enumerate() {
            let mut params = params.clone();
            params["process"] = process.into();
            let of = |measured: &Measured| {
                let (before, after) = &measured.usage[which];
                Some(after.processor_ns_since(before)? / measured.answers as f64)
            };
            bench.print("ask_cpu_ns", "ns", params.clone(), &rounds, of)?;
            let of = |measured: &Measured| {
                let (before, after) = &measured.usage[which];
                Some(after.allocations_since(before) / measured.answers as f64)
            };
            bench.print("ask_allocations", "1", params, &rounds, of)?;
        }
    }
    Ok(())
}

/// Measures one workload.
pub(super) async fn rounds(
    bench: &mut Bench<'_>,
    workload: Workload,
    sides: &[Side],
) -> Result<Rounds<Measured>, MessagingError> {
    let Bench { responder, swarm, floor, time, .. } = bench;
    in_turns(&workload.name(), sides, *time, async |side, time| {
        let before = (Usage::now(), responder.usage().await?);
        let ((answers, latencies), elapsed) = for_time(time, async |over| {
            let progress = Progress::new(workload, over);
            match (side, workload.mode) {
                (Side::Swarm, Mode::Pipeline) => ask_in_bulk(swarm, &progress).await?,
                (Side::Swarm, mode) => ask(swarm, mode, &progress).await?,
                (Side::Callers, _) => callers::ask(floor, &progress).await?,
                (Side::Floor, Mode::Lane | Mode::Pipeline) => pipelined(floor, &progress).await?,
                (Side::Floor, Mode::Stream) => on_own_streams(floor, &progress).await?,
            }
            Ok((progress.answers.get(), progress.latencies.into_inner()))
        })
        .await?;
        let after = (Usage::now(), responder.usage().await?);
        Ok(Measured { answers, elapsed, latencies, usage: [(before.0, after.0), (before.1, after.1)] })
    })
    .await
}

/// Counts the requests of a round, and says when it is over.
pub(super) struct Progress<'a> {
    pub(super) payloads: Payloads,
    pub(super) in_flight: usize,
    over: &'a Cell<bool>,
    answers: Cell<u64>,
    last: Cell<Instant>,
    latencies: RefCell<Histogram<u64>>,
}

impl<'a> Progress<'a> {
    fn new(workload: Workload, over: &'a Cell<bool>) -> Self {
        Self {
            payloads: Payloads::new(workload.payload_bytes),
            in_flight: workload.in_flight,
            over,
            answers: Cell::new(0),
            last: Cell::new(Instant::now()),
            latencies: RefCell::new(new_histogram()),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Checks and counts the answer to request `number`.
    pub(super) fn answered(&self, number: u64, answer: &[u8]) -> Result<(), MessagingError> {
        self.payloads.check(number, answer)?;
        self.answers.set(self.answers.get() + 1);
        if self.in_flight == 1 {
            let now = Instant::now();
            let latency = now - self.last.replace(now);
            self.latencies.borrow_mut().saturating_record(latency.as_nanos() as u64);
        }
        Ok(())
    }
}

/// Through a mailbox: as many closed loops as requests are to be in flight.
async fn ask(mailbox: &Mailbox<Echoing>, mode: Mode, progress: &Progress<'_>) -> Result<(), MessagingError> {
    let one = async || {
        while !progress.is_over() {
            let (number, payload) = progress.payloads.make();
            let ask = mailbox.ask(Echo(Blob::from(payload)));
            let ask = if mode == Mode::Stream { ask.on_own_stream() } else { ask };
            progress.answered(number, &ask.await.map_err(lost)?)?;
        }
        Ok(())
    };
    try_join_all((0..progress.in_flight).map(|_| one())).await.map(drop)
}

/// Through a pipeline of the mailbox.
async fn ask_in_bulk(mailbox: &Mailbox<Echoing>, progress: &Progress<'_>) -> Result<(), MessagingError> {
    let mut pipeline = mailbox.pipeline::<Echo>();
    // Both count from 0 on.
    let ask =
        |pipeline: &mut Pipeline<Echoing, Echo>| pipeline.ask(Echo(Blob::from(progress.payloads.make().1)));
    for _ in 0..progress.in_flight {
        ask(&mut pipeline);
    }
    while let Some((number, answer)) = pipeline.next().await {
        progress.answered(number, &answer.map_err(lost)?)?;
        if !progress.is_over() {
            ask(&mut pipeline);
        }
    }
    Ok(())
}

/// The floor on a lane. Answers come in the order of the requests. Every wake-up takes all that have come, and sends
/// as many new requests in one write.
async fn pipelined(connection: &Connection, progress: &Progress<'_>) -> Result<(), MessagingError> {
    let (mut send, recv) = connection.open_bi().await.map_err(lost)?;
    let (mut frames, mut next) = (Frames::new(recv), Vec::new());
    for _ in 0..progress.in_flight {
        put_request(&progress.payloads, &mut next);
    }
    let (mut waiting, mut oldest) = (progress.in_flight, 0);
    while waiting > 0 {
        if !next.is_empty() {
            let room = Vec::with_capacity(next.len());
            let bytes = std::mem::replace(&mut next, room);
            send.write_chunk(bytes.into()).await.map_err(lost)?;
        }
        frames
            .answers(|answer| {
                progress.answered(oldest, answer)?;
                oldest += 1;
                if progress.is_over() {
                    waiting -= 1;
                } else {
                    put_request(&progress.payloads, &mut next);
                }
                Ok(())
            })
            .await?;
    }
    send.finish().map_err(lost)
}

/// The floor with a stream for each request.
async fn on_own_streams(connection: &Connection, progress: &Progress<'_>) -> Result<(), MessagingError> {
    let one = async || {
        while !progress.is_over() {
            let (number, answer) = floor::ask(connection, &progress.payloads).await?;
            progress.answered(number, &answer)?;
        }
        Ok(())
    };
    try_join_all((0..progress.in_flight).map(|_| one())).await.map(drop)
}
