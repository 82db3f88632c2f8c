//! What is asked, and how it is counted: the same for both sides.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::{join, try_join_all};
use swarm_actors::identity::Identity;
use swarm_actors::{Mailbox, Node, NodeConfig, ResolveError};
use swarm_protocols::{Blob, NodeId};

use super::MessagingError;
use super::echo::{Echo, Echoing};

/// How requests share streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Pipelined on a long-lived stream.
    Lane,
    /// A stream each.
    Stream,
}

impl Mode {
    pub(super) fn word(self) -> &'static str {
        match self {
            Mode::Lane => "lane",
            Mode::Stream => "stream",
        }
    }
}

/// Requests of `payload_bytes` that are answered with the same bytes, `in_flight` at any time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workload {
    pub(super) mode: Mode,
    pub(super) payload_bytes: usize,
    pub(super) in_flight: usize,
}

impl Workload {
    /// As in `lane-64-256`: mode, bytes, in flight.
    pub(super) fn name(self) -> String {
        format!("{}-{}-{}", self.mode.word(), self.payload_bytes, self.in_flight)
    }

    /// Runs `client` until it sees in its progress that `time` is over.
    pub(super) async fn measure<F>(
        self,
        time: Duration,
        client: impl FnOnce(std::rc::Rc<Progress>) -> F,
    ) -> Result<Measured, MessagingError>
    where
        F: Future<Output = Result<(), MessagingError>>,
    {
        let progress = std::rc::Rc::new(Progress::new(self));
        let stop = async {
            tokio::time::sleep(time).await;
            progress.stopped.set(true);
        };
        let began = Instant::now();
        let (asked, ()) = join(client(std::rc::Rc::clone(&progress)), stop).await;
        let elapsed = began.elapsed();
        asked?;
        let mut gaps = progress.gaps.take();
        gaps.sort_unstable();
        Ok(Measured { answers: progress.answers.get(), elapsed, gaps })
    }
}

/// What one round brought.
#[derive(Debug)]
pub(super) struct Measured {
    answers: u64,
    elapsed: Duration,
    gaps: Vec<Duration>,
}

impl Measured {
    pub(super) fn per_second(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }

    pub(super) fn percentile_us(&self, share: f64) -> f64 {
        let position = (self.gaps.len() as f64 * share) as usize;
        self.gaps.get(position).map_or(f64::NAN, |gap| gap.as_nanos() as f64 / 1e3)
    }
}

/// Numbers and counts the requests of a round, and says when it is over.
#[derive(Debug)]
pub(super) struct Progress {
    filler: Vec<u8>,
    stopped: Cell<bool>,
    asked: Cell<u64>,
    answers: Cell<u64>,
    /// With one request in flight, the time from answer to answer is that of a request.
    sequential: bool,
    last: Cell<Instant>,
    gaps: RefCell<Vec<Duration>>,
}

/// Where the number of a request stands in its payload.
const NUMBER_BYTES: usize = size_of::<u64>();

impl Progress {
    fn new(workload: Workload) -> Self {
        let filler = (0..workload.payload_bytes).skip(NUMBER_BYTES).map(|i| (i % 251) as u8).collect();
        Self {
            filler,
            stopped: Cell::new(false),
            asked: Cell::new(0),
            answers: Cell::new(0),
            sequential: workload.in_flight == 1,
            last: Cell::new(Instant::now()),
            gaps: RefCell::default(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stopped.get()
    }

    /// Appends the payload of the next request and returns its number.
    pub(super) fn put_payload(&self, out: &mut Vec<u8>) -> u64 {
        let number = self.asked.get();
        self.asked.set(number + 1);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&self.filler);
        number
    }

    /// Counts the answer to request `number`.
    pub(super) fn answered(&self, number: u64, payload: &[u8]) -> Result<(), MessagingError> {
        let Some((head, filler)) = payload.split_first_chunk() else {
            return Err(MessagingError::Wrong("it is too short"));
        };
        if u64::from_le_bytes(*head) != number || filler != self.filler {
            return Err(MessagingError::Wrong("it holds other bytes"));
        }
        self.answers.set(self.answers.get() + 1);
        if self.sequential {
            let now = Instant::now();
            self.gaps.borrow_mut().push(now - self.last.replace(now));
        }
        Ok(())
    }
}

/// Asks through a mailbox of the node in the other process.
pub(super) struct SwarmClient {
    mailbox: Mailbox<Echoing>,
    /// A node runs on without its handle; this one is kept as a program would.
    _node: Node,
}

impl SwarmClient {
    pub(super) async fn connect(
        identity: Identity,
        peer: &NodeId,
        address: SocketAddr,
    ) -> Result<Self, MessagingError> {
        let lost = |error: &dyn std::error::Error| MessagingError::Lost(error.to_string());
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let node = Node::start(NodeConfig::new(identity, loopback))
            .await
            .map_err(|error| MessagingError::Start(error.to_string()))?;
        node.connect(peer.clone(), address).await.map_err(|error| lost(&error))?;
        let name = format!("{peer}/echo");
        let mailbox = node.resolve(&name).await.map_err(|error: ResolveError| lost(&error))?;
        Ok(Self { mailbox, _node: node })
    }

    /// As many closed loops as requests are to be in flight.
    pub(super) async fn ask(
        &self,
        workload: Workload,
        progress: std::rc::Rc<Progress>,
    ) -> Result<(), MessagingError> {
        let one = async || {
            while !progress.is_over() {
                let mut payload = Vec::with_capacity(workload.payload_bytes);
                let number = progress.put_payload(&mut payload);
                let ask = self.mailbox.ask(Echo(Blob::from(payload)));
                let ask = if workload.mode == Mode::Stream { ask.on_own_stream() } else { ask };
                let answer = ask.await.map_err(|error| MessagingError::Lost(error.to_string()))?;
                progress.answered(number, &answer)?;
            }
            Ok(())
        };
        try_join_all((0..workload.in_flight).map(|_| one())).await.map(drop)
    }
}
