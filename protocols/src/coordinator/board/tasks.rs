//! What the board knows of a task and its parts.

use super::{Failure, NewTask, Offset};
use crate::{
    Blob, ContentHash, NodeId,
    coordinator::{PartAnswer, Progress, SubmitTask, TaskId, TaskPriority, TaskReport},
};
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

/// What a part takes beside its content, and the bookkeeping of its attempts, in bytes.
pub(super) const PART_BYTES: usize = 512;

/// The turn of a task: the more urgent goes first, then the one that was submitted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) urgency: Reverse<TaskPriority>,
    /// Counts the accepted tasks, so that no two ranks are equal.
    pub(super) sequence: u64,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) new: Arc<NewTask>,
    pub(super) submitted: Offset,
    pub(super) deadline: Option<Offset>,
    /// Whether a part of it was ever assigned.
    pub(super) started: bool,
    /// Since when there is no agent that could do it; `None` while there is one.
    pub(super) stranded_since: Option<Offset>,
    pub(super) parts: Vec<Part>,
    /// How many parts are not done.
    pub(super) left: usize,
    /// How many parts have an attempt in progress.
    pub(super) in_progress: usize,
    /// The answers so far.
    pub(super) answer_bytes: usize,
    /// What it counts against [`BoardConfig::bytes_max`](super::BoardConfig::bytes_max).
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Part {
    /// By what it is placed.
    pub(super) key: ContentHash,
    pub(super) state: State,
    /// The number of the last attempt.
    pub(super) last_attempt: u32,
    /// How many attempts were not begun.
    pub(super) not_begun: u32,
    /// How often it made way for another client.
    pub(super) made_way: u32,
    /// The attempts in progress: their numbers and who makes them.
    pub(super) attempts: Vec<(u32, NodeId)>,
    /// What became of earlier attempts, by agent.
    pub(super) tried: BTreeMap<NodeId, Tried>,
    /// How the last attempt failed, and whose it was.
    pub(super) failure: Option<PartFailure>,
}

#[derive(Debug, PartialEq)]
pub(super) enum State {
    /// It is placed nowhere: the task has not started, or there is no capable agent.
    Unplaced,
    /// It waits for a slot of its home agent.
    Waiting(NodeId),
    /// It waits for nothing but the attempts in progress.
    InProgress,
    /// It was answered.
    Done(PartAnswer),
}

/// What became of the attempts of one agent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tried {
    /// How many it began of which no answer counts.
    pub(super) failures: u32,
    /// It was lost with the part, or did not answer in time: the part may be what took it down.
    pub(super) is_lost: bool,
    /// How many it did not begin.
    pub(super) refusals: u32,
    /// It said that the part cannot be done.
    pub(super) is_verdict: bool,
    /// How many of the failures are held against it no more: it has paused for them, or they are no fault of it.
    pub(super) held_against: u32,
}

/// How an attempt failed.
#[derive(Debug, Clone)]
pub(super) struct PartFailure {
    pub(super) agent: NodeId,
    pub(super) cause: String,
    /// What its handler answered.
    pub(super) error: Option<Blob>,
}

impl Tried {
    pub(super) fn note(&mut self, failure: &Failure) {
        match failure {
            Failure::NotBegun { again, .. } => {
                self.refusals += 1;
                self.is_verdict |= again.is_none();
            }
            Failure::Lost { .. } | Failure::TimedOut { .. } => self.lose(),
            Failure::Handler { .. } | Failure::Invalid { .. } => {
                self.failures += 1;
                self.is_verdict = true;
            }
            Failure::NoRoom { .. } => {
                self.failures += 1;
                self.held_against += 1;
            }
        }
    }

    pub(super) fn lose(&mut self) {
        self.failures += 1;
        self.is_lost = true;
    }
}

impl Part {
    /// How many attempts were begun.
    pub(super) fn begun(&self) -> u32 {
        self.last_attempt - self.not_begun
    }

    pub(super) fn tried(&self, agent: &NodeId) -> Tried {
        self.tried.get(agent).copied().unwrap_or_default()
    }

    pub(super) fn is_tried_by(&self, agent: &NodeId) -> bool {
        let Tried { failures, is_verdict, .. } = self.tried(agent);
        failures > 0 || is_verdict
    }

    /// Whether this agent may be asked, as one that neither failed it nor works on it.
    pub(super) fn is_open_to(&self, agent: &NodeId) -> bool {
        !self.is_tried_by(agent) && !self.is_held_by(agent)
    }

    pub(super) fn is_held_by(&self, agent: &NodeId) -> bool {
        self.attempts.iter().any(|(_, holder)| holder == agent)
    }
}

impl Task {
    pub(super) fn new(new: NewTask, submitted: Offset) -> Self {
        let part = |key| Part {
            key,
            state: State::Unplaced,
            last_attempt: 0,
            not_begun: 0,
            made_way: 0,
            attempts: Vec::new(),
            tried: BTreeMap::new(),
            failure: None,
        };
        let parts: Vec<Part> = new.keys().map(part).collect();
        Self {
            submitted,
            deadline: new.task().deadline.and_then(|within| submitted.after(within)),
            started: false,
            stranded_since: None,
            left: parts.len(),
            parts,
            in_progress: 0,
            answer_bytes: 0,
            bytes: new.bytes(),
            new: Arc::new(new),
        }
    }

    pub(super) fn submitted(&self) -> &SubmitTask {
        self.new.task()
    }

    pub(super) fn id(&self) -> TaskId {
        self.submitted().id
    }

    pub(super) fn unplaced(&self) -> Vec<usize> {
        let unplaced = |part: &Part| matches!(part.state, State::Unplaced);
        (0..self.parts.len()).filter(|index| unplaced(&self.parts[*index])).collect()
    }

    /// An attempt begins. Its number.
    pub(super) fn begin(&mut self, part: usize, agent: NodeId) -> u32 {
        let part = &mut self.parts[part];
        self.started = true;
        self.in_progress += usize::from(part.attempts.is_empty());
        part.last_attempt += 1;
        part.attempts.push((part.last_attempt, agent));
        part.state = State::InProgress;
        part.last_attempt
    }

    /// An attempt is over.
    pub(super) fn end(&mut self, part: usize, attempt: u32) {
        let part = &mut self.parts[part];
        part.attempts.retain(|(number, _)| *number != attempt);
        self.in_progress -= usize::from(part.attempts.is_empty());
    }

    pub(super) fn progress(&self) -> Progress {
        let count = |n: usize| u32::try_from(n).expect("a task has at most PARTS_MAX parts");
        Progress {
            done: count(self.parts.len() - self.left),
            assigned: count(self.in_progress),
            total: count(self.parts.len()),
        }
    }

    /// The answers in the order of the parts; call it when none is left.
    pub(super) fn into_report(self) -> TaskReport {
        debug_assert_eq!(self.left, 0);
        let done = self.parts.into_iter().filter_map(|part| match part.state {
            State::Done(answer) => Some(answer),
            State::Unplaced | State::Waiting(_) | State::InProgress => None,
        });
        TaskReport { answers: done.collect() }
    }
}
