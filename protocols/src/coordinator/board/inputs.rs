//! What goes into a board, and what comes out.

use super::tasks::PART_BYTES;
use crate::{
    Blob, Caller, ContentHash, NodeId,
    coordinator::{Part, Slots, SubmitTask, TaskError, TaskId, TaskReport, Waiting},
    wire::codec,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, iter, sync::Arc, time::Duration};

/// A time, as the time since a start that the caller of the board names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub Duration);

impl Offset {
    /// A century. What lies further ahead is not waited for.
    const AHEAD_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

    /// The time `later`; `None` where that is more than a century ahead, and so never.
    pub fn after(self, later: Duration) -> Option<Self> {
        (later <= Self::AHEAD_MAX).then(|| Self(self.0.saturating_add(later)))
    }

    /// The time from `earlier` until this; zero if that is not before it.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// An agent is there. It is a fresh one: if an agent of this id is known, that one is lost.
    AgentJoined {
        /// Its node.
        agent: NodeId,
        /// The names of the protocols that it exposes.
        protocols: BTreeSet<String>,
        /// How many parts it works on at once, and how many more it takes.
        slots: Slots,
    },
    /// What an agent exposes has changed. An unknown one is ignored.
    AgentChanged {
        /// Its node.
        agent: NodeId,
        /// The names of the protocols that it exposes now.
        protocols: BTreeSet<String>,
    },
    /// An agent finishes what it has and takes nothing new. An unknown one is ignored.
    AgentDraining {
        /// Its node.
        agent: NodeId,
    },
    /// An agent is gone, and with it what it worked on: report nothing more about its assignments. What it is known not
    /// to have begun is reported as [`Failure::NotBegun`] before. An unknown one is ignored.
    AgentLost {
        /// Its node.
        agent: NodeId,
    },
    /// A client submitted a task.
    Submitted(NewTask),
    /// An agent answered a part. Ignored where the agent does not hold that assignment.
    Answered {
        /// What was asked.
        assignment: Assignment,
        /// The encoded reply.
        reply: Blob,
    },
    /// An attempt brought no answer. Ignored where the agent does not hold that assignment.
    Failed {
        /// What was asked.
        assignment: Assignment,
        /// What is known of it.
        failure: Failure,
    },
    /// A client cancelled a task, or stopped waiting for it. An unknown one that comes within 10 s is refused.
    Cancelled {
        /// Its name.
        task: TaskId,
    },
    /// Time passed: deadlines, leases and waits may be over.
    Tick,
    /// The node of the board drains: no agent joins any more. Once is enough.
    Draining,
}

/// A task that was checked, with who submitted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTask {
    task: SubmitTask,
    submitter: Option<Caller>,
    body: ContentHash,
}

impl NewTask {
    /// The task, if it [makes sense](SubmitTask::check). `submitter` is on whose behalf agents are asked, `None` for the
    /// coordinator itself.
    ///
    /// Hashes the payloads: a task of 48 MiB takes some tens of milliseconds, and may be made on another thread.
    pub fn new(task: SubmitTask, submitter: Option<Caller>) -> Result<Self, TaskError> {
        task.check()?;
        let body = body_of(&task, &submitter);
        Ok(Self { task, submitter, body })
    }

    /// The task.
    pub fn task(&self) -> &SubmitTask {
        &self.task
    }

    /// Who submitted it.
    pub fn submitter(&self) -> Option<&Caller> {
        self.submitter.as_ref()
    }

    /// Whose share of the board it takes: that of the node that submitted it, or of an empty name where it is none.
    pub fn client(&self) -> &str {
        self.submitter.as_ref().map_or("", |submitter| submitter.node.as_str())
    }

    /// Lets these agents be given none of it either. It stays the same task.
    pub(super) fn avoid(&mut self, agents: BTreeSet<NodeId>) {
        self.task.avoid.extend(agents);
    }

    /// The part that an assignment of this task is about.
    pub fn part(&self, assignment: &Assignment) -> &Part {
        &self.task.parts[assignment.part]
    }

    /// What makes it the same task when it is submitted again: all of it but id, priority and deadline.
    pub(super) fn body(&self) -> ContentHash {
        self.body
    }

    /// By what its parts are placed: the first input, and where there is none something that differs from part to part.
    pub(super) fn keys(&self) -> impl Iterator<Item = ContentHash> {
        self.task.parts.iter().enumerate().map(|(at, part)| {
            let of_position = || ContentHash::of_pieces([self.body.as_bytes().as_slice(), &at.to_le_bytes()]);
            part.inputs.first().copied().unwrap_or_else(of_position)
        })
    }

    /// What it counts against [`BoardConfig::bytes_max`](super::BoardConfig::bytes_max) before its first answer.
    pub(super) fn bytes(&self) -> usize {
        let of_part =
            |part: &Part| PART_BYTES + part.payload.len() + part.request.len() + 32 * part.inputs.len();
        self.task.parts.iter().map(of_part).sum()
    }
}

/// What is encoded of a part beside its payload.
type PartHead<'a> = (&'a str, u16, &'a [ContentHash], usize);

fn body_of(task: &SubmitTask, submitter: &Option<Caller>) -> ContentHash {
    let SubmitTask { kind, protocol, waiting, avoid, parts, .. } = task;
    let heads: Vec<PartHead<'_>> = parts.iter().map(head_of).collect();
    type Body<'a> =
        (&'a str, &'a str, &'a Waiting, &'a BTreeSet<NodeId>, &'a Option<Caller>, Vec<PartHead<'a>>);
    let body: Body<'_> = (kind, protocol, waiting, avoid, submitter, heads);
    let encoded =
        codec::encode(&body).expect("inputs and words of a checked task are far below the message limit");
    // The lengths of the payloads are in what is before them, so no two tasks run together to the same bytes.
    ContentHash::of_pieces(iter::once(encoded.as_slice()).chain(parts.iter().map(|part| &*part.payload)))
}

fn head_of(part: &Part) -> PartHead<'_> {
    (&part.request, part.version, &part.inputs, part.payload.len())
}

/// One attempt of an agent at a part of a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Assignment {
    /// Who works on it.
    pub agent: NodeId,
    /// The task.
    pub task: TaskId,
    /// The position of the part in the task, from 0.
    pub part: usize,
    /// The attempt number, from 1: every assignment of the part has its own.
    pub attempt: u32,
}

/// What is known of an attempt that brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The agent has not begun: it is draining or overloaded, refused, or was lost before. It spends no attempt.
    NotBegun {
        /// Why not.
        cause: String,
        /// How long the agent is not to be asked; `None` where it would never do this part, because it does not permit
        /// or not accept the request. That it drains is told by [`Input::AgentDraining`], and is zero here.
        again: Option<Duration>,
    },
    /// The handler of the request answered with an error.
    Handler {
        /// The error as it was encoded.
        error: Blob,
    },
    /// The agent, or its actor, was lost while it may have worked on it.
    Lost {
        /// How.
        cause: String,
    },
    /// No answer came for as long as an answer is waited for. That is longer than a lease.
    TimedOut {
        /// How long that was.
        after: Duration,
    },
    /// The answer is none that can be passed on.
    Invalid {
        /// What is wrong with it.
        cause: String,
    },
    /// The part was done, and there was no room for its answer: that spends an attempt, and is not held against the agent.
    NoRoom {
        /// Whose room, and for how much.
        cause: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun { cause, .. } => write!(f, "it was not begun: {cause}"),
            Self::Handler { error } => {
                write!(f, "its handler answered with an error of {} bytes", error.len())
            }
            Self::Lost { cause } => write!(f, "the agent was lost: {cause}"),
            Self::TimedOut { after } => write!(f, "no answer within {after:?}"),
            Self::Invalid { cause } => write!(f, "the answer is invalid: {cause}"),
            Self::NoRoom { cause } => write!(f, "it was done, but: {cause}"),
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The task that was just submitted is queued.
    Accepted {
        /// Which task.
        task: TaskId,
    },
    /// The task that was just submitted is not queued; one of the same id may be, and goes on.
    Refused {
        /// Which task.
        task: TaskId,
        /// Why, or how it ended when it was submitted before.
        error: TaskError,
    },
    /// The task that was just submitted is on the board already: its client gets the same answer.
    Joined {
        /// Which task.
        task: TaskId,
    },
    /// The task that was just submitted is done since before.
    Repeated {
        /// Which task.
        task: TaskId,
        /// Its result.
        report: Arc<TaskReport>,
    },
    /// Ask the agent for the part, and report the outcome as [`Input::Answered`] or [`Input::Failed`], in the end for
    /// want of an answer as [`Failure::TimedOut`].
    Assign {
        /// Who is to do what.
        assignment: Assignment,
        /// The task with its [part](NewTask::part).
        task: Arc<NewTask>,
    },
    /// Cancel that ask, and report nothing about it any more. The board counts the slot as free.
    Withdraw {
        /// What was asked.
        assignment: Assignment,
    },
    /// Every part of the task is done.
    Finished {
        /// Which task.
        task: TaskId,
        /// Its result, which the board holds for some time.
        report: Arc<TaskReport>,
    },
    /// The task ended without a result.
    Failed {
        /// Which task.
        task: TaskId,
        /// Why.
        error: TaskError,
    },
    /// The task ended without a result because the board drains and no agent that is here can do it. It may be
    /// submitted again under its id, to this board or the one that takes its place.
    TurnedAway {
        /// Which task.
        task: TaskId,
    },
}
