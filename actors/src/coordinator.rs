//! [`Coordinator`]: an actor that accepts tasks and gives parts of them to agents.
//!
//! Who gets what, and when a task is done or has failed, is decided by the
//! [`Board`]; the actor carries it out. Agents are made
//! known with [`AgentJoined`] and [`AgentLost`]: a swarm starts an [`AgentWatch`] for that, a test
//! sends them itself, with [probes](crate::testing::Probe) for mailboxes.

mod agent_watch;
mod asks;
mod listing;
mod submission;
#[cfg(test)]
mod tests;

pub use agent_watch::{AgentWatch, CORRELATOR_NAME, MATCHER_NAME, SERIES_MATCHER_NAME};

use crate::{
    call::{Answer, Call},
    mailbox::Mailbox,
    node::Node,
    part_store::PartStore,
    workers::Workers,
};
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, SpawnHandle};
use asks::{Answered, Asks};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::{NonZeroU32, NonZeroUsize},
    time::{Duration, Instant},
};
use submission::{ClientLeft, Finished, PartAnswer, Running, StoredPart};
use swarm_protocols::{
    ContentHash, NoError, NodeId, Protocol,
    coordinator::{
        Coordinator as CoordinatorProtocol, Progress, SubmitTask, TaskId, TaskProgress,
        board::{Board, BoardConfig, Command, Completion},
    },
    correlation::Correlator as CorrelatorProtocol,
    similar_windows::{PatternMatcher as MatcherProtocol, StoreError, StorePart},
    units::SeriesMatcher,
};

/// What an agent must offer to be given parts of a
/// [`SimilarWindows`](swarm_protocols::coordinator::Job::SimilarWindows) job.
pub const PATTERN_MATCHER: &str = MatcherProtocol::NAME;

/// What an agent must offer to be given searches, classifications and distances.
pub const SERIES_MATCHER: &str = SeriesMatcher::NAME;

/// What an agent must offer to be given correlations.
pub const CORRELATOR: &str = CorrelatorProtocol::NAME;

/// The limits of a [`Coordinator`].
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// The limits of its rule.
    pub board: BoardConfig,
    /// How many bytes of encoded parts it keeps, each part counted with 256 bytes more than it has.
    /// The parts of queued and running tasks stay; of the others the least recently used make room.
    pub store_bytes_max: usize,
    /// Where results are merged.
    pub workers: Workers,
}

impl Default for CoordinatorConfig {
    /// 1,000 tasks, leases of 30 seconds, 5 attempts, 10 seconds of waiting for a capable agent,
    /// 256 MiB of parts, and one thread for merging.
    fn default() -> Self {
        let queue_limit = NonZeroU32::new(1_000).expect("it is not zero");
        let attempts_max = NonZeroU32::new(5).expect("it is not zero");
        Self {
            board: BoardConfig {
                queue_limit,
                lease: Duration::from_secs(30),
                attempts_max,
                agent_wait: Duration::from_secs(10),
            },
            store_bytes_max: 256 << 20,
            workers: Workers::new(NonZeroUsize::MIN, queue_limit.get() as usize),
        }
    }
}

/// Accepts tasks, gives their parts to agents, and answers with the merged result.
///
/// It speaks the protocol of the same name: get its [`mailbox`](Self::mailbox). A task ends with
/// its client: when that stops waiting, agents are told to stop as well. Tasks live in memory, so
/// those accepted die with the actor.
pub struct Coordinator {
    node: Option<Node>,
    workers: Workers,
    board: Board<PartAnswer>,
    library: PartStore<StoredPart>,
    /// The tasks on the board, and who waits for them.
    tasks: BTreeMap<TaskId, Running>,
    agents: BTreeMap<NodeId, ConnectedAgent>,
    asks: Asks,
    timer: Option<(Instant, SpawnHandle)>,
    started: Instant,
}

/// An agent that can be given work.
struct ConnectedAgent {
    mailboxes: AgentMailboxes,
    agent_type: String,
    since: Instant,
    /// How many parts it has answered.
    answered: u64,
}

impl Coordinator {
    /// A coordinator without agents. `node` is where its
    /// [`Status`](swarm_protocols::coordinator::Status) takes the numbers of requests from; without
    /// one they are zero.
    ///
    /// # Panics
    /// Where the lease is zero.
    pub fn new(config: CoordinatorConfig, node: Option<Node>) -> Self {
        let CoordinatorConfig { board, store_bytes_max, workers } = config;
        Self {
            node,
            workers,
            asks: Asks::new(&board),
            board: Board::new(board),
            library: PartStore::new(store_bytes_max),
            tasks: BTreeMap::new(),
            agents: BTreeMap::new(),
            timer: None,
            started: now(),
        }
    }

    /// The mailbox of a started one.
    pub fn mailbox(address: Addr<Self>) -> Mailbox<CoordinatorProtocol> {
        Mailbox::local(address)
    }

    /// Ends every input: carries out what the board wants, and sets the timer for its next timeout.
    fn drive(&mut self, context: &mut Context<Self>) {
        while let Some(command) = self.board.poll() {
            match command {
                Command::Assign { assignment, .. } => {
                    let mailboxes = self.agents[&assignment.agent].mailboxes.clone();
                    let work = self.tasks[&assignment.task].work.clone();
                    self.asks.begin(assignment, mailboxes, work, context.address());
                }
                Command::Withdraw { assignment } => self.asks.withdraw(&assignment),
                Command::Finished { task, results, agents } => {
                    self.end(task, |work| Ok(Finished { work, results, agents }));
                }
                Command::Failed { task, error } => self.end(task, |_| Err(error)),
            }
        }
        self.set_timer(context);
    }

    fn set_timer(&mut self, context: &mut Context<Self>) {
        let next = self.board.next_timeout();
        if self.timer.map(|(at, _)| at) == next {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.timer = next.map(|at| {
            let wait = at.saturating_duration_since(now());
            let timer = context.run_later(wait, |coordinator, context| {
                coordinator.timer = None;
                coordinator.board.handle_timeout(now());
                coordinator.drive(context);
            });
            (at, timer)
        });
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;
}

/// The clock of the runtime, which a test may have paused.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How an agent is asked. What it has a mailbox for is what it can do.
#[derive(Debug, Clone, Default)]
pub struct AgentMailboxes {
    /// The [`PATTERN_MATCHER`].
    pub matcher: Option<Mailbox<MatcherProtocol>>,
    /// The [`SERIES_MATCHER`].
    pub series_matcher: Option<Mailbox<SeriesMatcher>>,
    /// The [`CORRELATOR`].
    pub correlator: Option<Mailbox<CorrelatorProtocol>>,
}

impl AgentMailboxes {
    /// The names of the protocols.
    pub fn capabilities(&self) -> BTreeSet<String> {
        let matcher = self.matcher.as_ref().map(|_| PATTERN_MATCHER);
        let series_matcher = self.series_matcher.as_ref().map(|_| SERIES_MATCHER);
        let correlator = self.correlator.as_ref().map(|_| CORRELATOR);
        [matcher, series_matcher, correlator].into_iter().flatten().map(str::to_owned).collect()
    }
}

/// An agent can be given work. If one of this id is known, that one is lost.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct AgentJoined {
    /// Its node.
    pub node: NodeId,
    /// What kind of agent it says it is.
    pub agent_type: String,
    /// How many parts it works on at once.
    pub slots: NonZeroU32,
    /// How it is asked, and so what it can do.
    pub mailboxes: AgentMailboxes,
}

impl Handler<AgentJoined> for Coordinator {
    type Result = ();

    fn handle(&mut self, joined: AgentJoined, context: &mut Self::Context) {
        let AgentJoined { node, agent_type, slots, mailboxes } = joined;
        self.asks.forget_agent(&node);
        let capabilities = mailboxes.capabilities();
        let agent = ConnectedAgent { mailboxes, agent_type, since: now(), answered: 0 };
        self.agents.insert(node.clone(), agent);
        self.board.agent_joined(node, capabilities, slots, now());
        self.drive(context);
    }
}

/// An agent is gone, and with it what it worked on. An unknown one is ignored.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct AgentLost {
    /// Its node.
    pub node: NodeId,
}

impl Handler<AgentLost> for Coordinator {
    type Result = ();

    fn handle(&mut self, AgentLost { node }: AgentLost, context: &mut Self::Context) {
        self.asks.forget_agent(&node);
        self.agents.remove(&node);
        self.board.agent_lost(&node, now());
        self.drive(context);
    }
}

impl Handler<Answered> for Coordinator {
    type Result = ();

    fn handle(&mut self, answered: Answered, context: &mut Self::Context) {
        let Some((assignment, outcome)) = self.asks.end(answered) else { return };
        match outcome {
            Ok(result) => {
                if let Some(agent) = self.agents.get_mut(&assignment.agent) {
                    agent.answered += 1;
                }
                let completion = self.board.completed(&assignment, result, now());
                if completion == Completion::Fenced {
                    tracing::info!(agent = %assignment.agent, task = %assignment.task, "a late answer was dropped");
                }
            }
            Err(failure) => {
                let asks::Failure { cause, retry } = failure;
                tracing::warn!(agent = %assignment.agent, task = %assignment.task, cause, "a part failed");
                self.board.failed(&assignment, cause, retry, now());
            }
        }
        self.drive(context);
    }
}

impl Handler<Call<StorePart>> for Coordinator {
    type Result = Result<ContentHash, StoreError>;

    fn handle(&mut self, mut call: Call<StorePart>, _: &mut Self::Context) -> Self::Result {
        let encoded = std::mem::take(&mut call.request.part);
        let hash = ContentHash::of(&encoded);
        let (part, weight) = StoredPart::new(encoded)?;
        self.library.insert(hash, part, weight)?;
        Ok(hash)
    }
}

impl Handler<Call<SubmitTask>> for Coordinator {
    type Result = Answer<SubmitTask>;

    fn handle(&mut self, call: Call<SubmitTask>, context: &mut Self::Context) -> Self::Result {
        let accepted = self.accept(&call.request);
        self.drive(context);
        let workers = self.workers.clone();
        let left = ClientLeft::when_dropped(call.request.id, context.address());
        // The call itself goes: what it said is known, and may be large.
        call.answer(|_| async move {
            let finished = submission::outcome(accepted?, left).await?;
            finished.merge(&workers).await
        })
    }
}

impl Handler<ClientLeft> for Coordinator {
    type Result = ();

    fn handle(&mut self, left: ClientLeft, context: &mut Self::Context) {
        // Another client may have a task of the same id here by now, and wait for it.
        if self.tasks.get(&left.task).is_some_and(Running::is_abandoned) {
            self.board.cancel(left.task, now());
            self.drive(context);
        }
    }
}

impl Handler<Call<TaskProgress>> for Coordinator {
    type Result = Result<Option<Progress>, NoError>;

    fn handle(&mut self, call: Call<TaskProgress>, _: &mut Self::Context) -> Self::Result {
        Ok(self.board.progress(call.request.id))
    }
}
