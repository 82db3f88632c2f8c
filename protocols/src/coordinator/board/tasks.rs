//! What the board knows of a task and its parts.

use super::{Assignment, NewTask};
use crate::{
    ContentHash, NodeId,
    coordinator::{Progress, TaskId, TaskPriority, Waiting},
};
use std::{cmp::Reverse, collections::BTreeSet, time::Instant};

/// The turn of a task: the more urgent goes first, then the one that was submitted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) urgency: Reverse<TaskPriority>,
    /// Counts the accepted tasks, so that no two ranks are equal.
    pub(super) sequence: u64,
}

#[derive(Debug)]
pub(super) struct Task<T> {
    pub(super) id: TaskId,
    pub(super) kind: &'static str,
    pub(super) submitted: Instant,
    /// Whether a part of it was ever assigned.
    pub(super) started: bool,
    pub(super) deadline: Option<Instant>,
    pub(super) capability: String,
    pub(super) waiting: Waiting,
    /// Since when there is no agent that could do it; `None` while there is one.
    pub(super) stranded_since: Option<Instant>,
    pub(super) parts: Vec<Part<T>>,
    /// How many parts are not done.
    pub(super) left: usize,
}

#[derive(Debug)]
pub(super) struct Part<T> {
    pub(super) hash: ContentHash,
    /// How often it was assigned, which is also the number of its last attempt.
    pub(super) attempts: u32,
    pub(super) state: State<T>,
}

#[derive(Debug, PartialEq)]
pub(super) enum State<T> {
    /// It has no home: the task has not started, or every capable agent was lost.
    Unplaced,
    /// It waits for a slot of its home agent.
    Waiting(NodeId),
    /// The agent works on it.
    Assigned(NodeId),
    /// The agent's result was accepted.
    Done(NodeId, T),
}

impl<T> Task<T> {
    pub(super) fn new(task: NewTask, submitted: Instant) -> Self {
        let part = |hash| Part { hash, attempts: 0, state: State::Unplaced };
        Self {
            id: task.id,
            kind: task.kind,
            submitted,
            started: false,
            deadline: task.deadline,
            capability: task.capability,
            waiting: task.waiting,
            stranded_since: None,
            left: task.parts.len(),
            parts: task.parts.into_iter().map(part).collect(),
        }
    }

    pub(super) fn unplaced(&self) -> Vec<usize> {
        let unplaced = |part: &Part<T>| matches!(part.state, State::Unplaced);
        (0..self.parts.len()).filter(|index| unplaced(&self.parts[*index])).collect()
    }

    /// Whether `assignment` is the one whose outcome counts for its part.
    pub(super) fn is_current(&self, assignment: &Assignment) -> bool {
        self.parts.get(assignment.part).is_some_and(|part| {
            part.attempts == assignment.attempt
                && matches!(&part.state, State::Assigned(agent) if *agent == assignment.agent)
        })
    }

    pub(super) fn progress(&self) -> Progress {
        let assigned = self.parts.iter().filter(|part| matches!(part.state, State::Assigned(_))).count();
        self.progress_with(assigned)
    }

    /// The progress of a task of which so many parts are assigned.
    pub(super) fn progress_with(&self, assigned: usize) -> Progress {
        let count = |n: usize| u32::try_from(n).expect("a task has at most PARTS_MAX parts");
        Progress {
            done: count(self.parts.len() - self.left),
            assigned: count(assigned),
            total: count(self.parts.len()),
        }
    }

    /// The results in the order of the parts, and who worked for them; call it when none is left.
    pub(super) fn into_results(self) -> (Vec<T>, BTreeSet<NodeId>) {
        debug_assert_eq!(self.left, 0);
        let done = self.parts.into_iter().filter_map(|part| match part.state {
            State::Done(agent, result) => Some((result, agent)),
            State::Unplaced | State::Waiting(_) | State::Assigned(_) => None,
        });
        done.unzip()
    }
}
