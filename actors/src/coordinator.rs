//! [`Coordinator`]: an actor that accepts tasks and gives parts of them to agents.
//!
//! The [`Board`] decides which agent gets which part, and when a task is done or has failed; the actor carries it out. It
//! opens neither a request nor an answer, so it serves agents of any kind. Agents are made known with [`AgentJoined`],
//! [`AgentChanged`] and [`AgentLost`], the drain of the node with [`NodeDrains`]: a swarm starts an [`AgentWatch`] for that,
//! a test sends them itself, with [probes](crate::testing::Probe) for mailboxes.

mod agents;
mod asks;
mod inputs_held;
mod listing;
mod submission;
#[cfg(test)]
mod tests;

pub use agents::{AgentChanged, AgentJoined, AgentLost, AgentWatch, NodeDrains, Ports};

use crate::{
    call::{Answer, Call},
    content_store::Contents,
    log_limit::limited,
    mailbox::Mailbox,
    node::Node,
};
use actix::{Actor, Addr, AsyncContext, Context, Handler, SpawnHandle};
use agents::ConnectedAgent;
use asks::{AskEnded, Asks, Outcome};
use inputs_held::InputsHeld;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use submission::{Client, Running};
use swarm_protocols::{
    ContentHash, DeliveryError, NoError, NodeId,
    content_store::{MissingContent, StoreContent},
    coordinator::{
        CancelTask, Coordinator as CoordinatorProtocol, Progress, TaskId, TaskProgress,
        board::{Board, BoardConfig, Command, Failure, Input, Offset},
    },
};

/// The limits of a [`Coordinator`].
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// The limits of its rule.
    pub board: BoardConfig,
    /// What clients upload is kept here. The inputs of queued and running tasks stay: a client may hold as many bytes by
    /// them as are left beside, so alone half.
    pub contents: Contents,
}

impl Default for CoordinatorConfig {
    /// The limits of [`BoardConfig`], [within](Self::within) 576 MiB.
    fn default() -> Self {
        Self::within(576 << 20)
    }
}

impl CoordinatorConfig {
    /// The default limits, with so much memory for all that it keeps: 32 parts of 72 for tasks and answers, 33 for
    /// content, so that half of it holds the [content of one task](swarm_protocols::part::CONTENT_BYTES_MAX) and some
    /// more, and 7 for the results of tasks that have ended. It is to be a part of what its node takes: see
    /// [`NodeConfig::kept_bytes`](crate::NodeConfig::kept_bytes).
    pub fn within(bytes: usize) -> Self {
        let (bytes_max, content_bytes_max) = (bytes / 72 * 32, bytes / 72 * 33);
        let results_bytes_max = bytes - bytes_max - content_bytes_max;
        let board = BoardConfig { bytes_max, results_bytes_max, ..BoardConfig::default() };
        Self { board, contents: Contents::new(content_bytes_max) }
    }
}

/// Accepts tasks, gives their parts to agents, and answers with the answers to the parts.
///
/// It speaks the protocol of the same name: [start](Self::start_with_mailbox) it. A task ends with its client: when that
/// stops waiting, agents are told to stop as well. Tasks live in memory, so those accepted die with the actor.
pub struct Coordinator {
    node: Option<Node>,
    board: Board,
    contents: Contents,
    /// The client of the task that is being submitted.
    submitting: Option<Client>,
    /// The tasks on the board, and who waits for them.
    tasks: BTreeMap<TaskId, Running>,
    inputs_held: InputsHeld,
    agents: BTreeMap<NodeId, ConnectedAgent>,
    asks: Asks,
    /// Its node drains.
    is_draining: bool,
    timer: Option<(Offset, SpawnHandle)>,
    started: Instant,
}

impl Coordinator {
    /// A coordinator without agents. `node` is where its
    /// [`Status`](swarm_protocols::coordinator::Status) takes the numbers of requests from; without
    /// one they are zero.
    ///
    /// # Panics
    /// Where the lease is zero.
    pub fn new(config: CoordinatorConfig, node: Option<Node>) -> Self {
        let CoordinatorConfig { board, contents } = config;
        Self {
            node,
            asks: Asks::new(&board),
            board: Board::new(board),
            contents,
            submitting: None,
            tasks: BTreeMap::new(),
            inputs_held: InputsHeld::default(),
            agents: BTreeMap::new(),
            is_draining: false,
            timer: None,
            started: now(),
        }
    }

    /// Starts it on this thread: its mailbox, and its address.
    pub fn start_with_mailbox(self) -> (Mailbox<CoordinatorProtocol>, Addr<Self>) {
        Mailbox::start_with_address(self)
    }

    /// The time since the start, which is the time of the board.
    fn now(&self) -> Offset {
        Offset(now().saturating_duration_since(self.started))
    }

    /// Lets the board know what happened, carries out what it wants, and sets the timer for its next timeout.
    fn apply(&mut self, input: Input, context: &mut Context<Self>) {
        self.board.apply(input, self.now());
        while let Some(command) = self.board.poll() {
            match command {
                Command::Accepted { task } => self.accepted(task),
                Command::Joined { task } => self.joined(task),
                Command::Refused { error, .. } => self.answer(Ok(Err(error))),
                Command::Repeated { report, .. } => self.answer(Ok(Ok(report))),
                Command::Assign { assignment, task } => {
                    let ports = self.agents[&assignment.agent].ports.clone();
                    let inputs = task.part(&assignment).inputs.iter();
                    // They are held as long as the task is on the board.
                    let inputs = inputs.filter_map(|hash| self.contents.get(hash)).collect();
                    self.asks.begin(assignment, task, ports, inputs, context.address());
                }
                Command::Withdraw { assignment } => self.asks.withdraw(&assignment),
                Command::Finished { task, report } => self.end(task, Ok(Ok(report))),
                Command::Failed { task, error } => self.end(task, Ok(Err(error))),
                Command::TurnedAway { task } => self.end(task, Err(DeliveryError::Draining)),
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
            let timer = context.run_later(at.since(self.now()), |coordinator, context| {
                coordinator.timer = None;
                coordinator.apply(Input::Tick, context);
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

impl Handler<AskEnded> for Coordinator {
    type Result = ();

    fn handle(&mut self, answered: AskEnded, context: &mut Self::Context) {
        let Some((assignment, outcome)) = self.asks.end(answered) else { return };
        let agent = assignment.agent.clone();
        let input = match outcome {
            Outcome::Reply(reply) => {
                if let Some(agent) = self.agents.get_mut(&agent) {
                    agent.answered += 1;
                }
                Input::Answered { assignment, reply }
            }
            Outcome::Draining => {
                self.apply(Input::AgentDraining { agent }, context);
                let failure =
                    Failure::NotBegun { cause: "it is draining".to_owned(), again: Some(Duration::ZERO) };
                Input::Failed { assignment, failure }
            }
            Outcome::Full(error) => {
                let failure = self.asks.full(&agent, &error);
                Input::Failed { assignment, failure }
            }
            Outcome::Failure(failure) => {
                let (task, part) = (assignment.task, assignment.part);
                limited!(warn, "a part failed", %agent, %task, part, %failure);
                Input::Failed { assignment, failure }
            }
        };
        self.apply(input, context);
    }
}

impl Handler<Call<StoreContent>> for Coordinator {
    type Result = Answer<StoreContent>;

    fn handle(&mut self, call: Call<StoreContent>, _: &mut Self::Context) -> Self::Result {
        self.contents.store(call)
    }
}

impl Handler<Call<MissingContent>> for Coordinator {
    type Result = Result<Vec<ContentHash>, NoError>;

    fn handle(&mut self, call: Call<MissingContent>, _: &mut Self::Context) -> Self::Result {
        Ok(self.contents.missing(&call.request.hashes))
    }
}

impl Handler<Call<TaskProgress>> for Coordinator {
    type Result = Result<Option<Progress>, NoError>;

    fn handle(&mut self, call: Call<TaskProgress>, _: &mut Self::Context) -> Self::Result {
        Ok(self.board.progress(call.request.id))
    }
}

impl Handler<Call<CancelTask>> for Coordinator {
    type Result = Result<bool, NoError>;

    fn handle(&mut self, call: Call<CancelTask>, context: &mut Self::Context) -> Self::Result {
        let task = call.request.id;
        let is_here = self.board.progress(task).is_some();
        self.apply(Input::Cancelled { task }, context);
        Ok(is_here)
    }
}
