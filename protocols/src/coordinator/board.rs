//! The rule of the coordinator: which agent works on which part of which task, and when a task is
//! done or has failed.
//!
//! [`Board`] takes what happened and `now`, and says through [`Board::poll`] what is to be done.
//! It knows no job: a part is a [`ContentHash`], its result an opaque `T`.
//!
//! **Placement.** A task starts when a capable agent has a free slot and nothing more urgent to do.
//! Its parts are then [placed](crate::content::place) over all capable agents, and a part waits for
//! its home as long as that lives and answers, because an agent that saw a part before still has
//! it. Where the task says [`Waiting::ForAnyone`], an agent with a free slot for which nothing waits takes the
//! last part that waits for the agent with the most of them: so agents that are faster, or have more slots,
//! do more. An agent takes the most urgent part that waits for it, so tasks interleave. There is no
//! ageing: less urgent tasks wait as long as more urgent ones keep every slot busy.
//!
//! **When agents come and go.** An agent that joins takes part in tasks that have not started; of
//! a started task, the parts which were never assigned are placed anew with it among the agents. The
//! unfinished parts of a lost agent are placed over the others at once.
//!
//! **Leases.** A part that is not answered within its lease goes to another agent, as a new
//! attempt. The silent agent's slot stays occupied until it answers or is lost, and its late answer
//! changes nothing. Where no other capable agent in good standing is there, the lease is renewed
//! instead: asking the same agent again would only double its work. In either case the agent is
//! not in good standing until it answers: parts are placed on it, or wait for it, only where every
//! capable agent owes an answer. A deadline holds all the same.
//!
//! **Attempts** count the assignments of a part. One that fails, expires or dies with its agent is
//! followed by another, up to [`BoardConfig::attempts_max`]; then the task fails. A part that only
//! waited for a lost agent has spent no attempt.

mod agents;
mod dispatch;
mod endings;
mod invariants;
mod listing;
mod tasks;
#[cfg(test)]
mod tests;

use super::{Progress, QueueLimit, TaskError, TaskId, TaskPriority, TaskSummary, Waiting};
use crate::{ContentHash, NodeId};
use agents::{Agent, Agents, Held};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroU32,
    time::{Duration, Instant},
};
use tasks::{Rank, State, Task};

/// The most parts of one task. Placing so many over 100 agents takes about 50 ms.
pub const PARTS_MAX: usize = 4_096;

/// How many tasks that have ended a board lists, the latest of them.
pub const LISTED_MAX: usize = 100;

/// The limits of a [`Board`].
#[derive(Debug, Clone)]
pub struct BoardConfig {
    /// How many tasks may be queued or running.
    pub queue_limit: NonZeroU32,
    /// How long an agent may work on a part before the part is given to another as well.
    pub lease: Duration,
    /// How often a part may be assigned.
    pub attempts_max: NonZeroU32,
    /// How long a task waits for a capable agent when there is none.
    pub agent_wait: Duration,
}

/// A task to be done.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Its name.
    pub id: TaskId,
    /// The word for what it does, for [`Board::tasks`] alone.
    pub kind: &'static str,
    /// How urgent it is.
    pub priority: TaskPriority,
    /// When it fails if it is not done.
    pub deadline: Option<Instant>,
    /// What an agent must offer to work on it.
    pub capability: String,
    /// Its parts: at least one, at most [`PARTS_MAX`].
    pub parts: Vec<ContentHash>,
    /// What a part waits for while its home is busy.
    pub waiting: Waiting,
}

/// One part of a task in the hands of one agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assignment {
    /// Who works on it.
    pub agent: NodeId,
    /// The task.
    pub task: TaskId,
    /// The position of the part in the task, from 0.
    pub part: usize,
    /// The how-manieth assignment of this part it is, from 1.
    pub attempt: u32,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command<T> {
    /// Ask the agent for the part, and report the outcome with [`Board::completed`] or
    /// [`Board::failed`].
    Assign {
        /// Who is to do what.
        assignment: Assignment,
        /// The content of the part.
        hash: ContentHash,
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
        /// The accepted results, in the order of the parts.
        results: Vec<T>,
        /// Whose results they are.
        agents: BTreeSet<NodeId>,
    },
    /// The task ended without a result.
    Failed {
        /// Which task.
        task: TaskId,
        /// Why.
        error: TaskError,
    },
}

/// What became of a reported result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// It is the result of the part.
    Accepted,
    /// It was dropped: the part has a newer attempt or a result, or its task has ended.
    Fenced,
}

/// Whether a part that failed may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// On another agent, or on the same one if there is no other in good standing.
    Elsewhere,
    /// It would fail everywhere, so the task fails.
    Never,
}

/// The state machine. See the [module](self) for its rules.
///
/// After every input take all commands from [`poll`](Self::poll), then call
/// [`handle_timeout`](Self::handle_timeout) at [`next_timeout`](Self::next_timeout).
///
/// Memory is bounded by the limit of tasks, the parts of each, the agents that joined and their
/// slots, and [`LISTED_MAX`]. What never is:
/// - an agent that holds more assignments than it has slots;
/// - an unfinished part that neither is queued nor has exactly one current assignment;
/// - a free slot of an agent for which a part waits, or that could take a part which waits for anyone;
/// - anything left of a task that ended, but for the overdue assignments that agents still hold
///   and its line in [`tasks`](Board::tasks).
#[derive(Debug)]
pub struct Board<T> {
    config: BoardConfig,
    agents: Agents,
    tasks: BTreeMap<Rank, Task<T>>,
    ranks: BTreeMap<TaskId, Rank>,
    /// The tasks with parts that have no home, by the capability they need.
    unplaced: BTreeMap<String, BTreeSet<Rank>>,
    commands: VecDeque<Command<T>>,
    /// The latest tasks that have ended, the first to end first.
    ended: VecDeque<TaskSummary>,
    /// How many tasks were accepted.
    sequence: u64,
}

impl<T> Board<T> {
    /// A board without tasks and agents.
    ///
    /// # Panics
    /// If the lease is zero: it would expire without end.
    pub fn new(config: BoardConfig) -> Self {
        assert!(!config.lease.is_zero(), "a lease of zero expires before any work is done");
        Self {
            config,
            agents: Agents::default(),
            tasks: BTreeMap::new(),
            ranks: BTreeMap::new(),
            unplaced: BTreeMap::new(),
            commands: VecDeque::new(),
            ended: VecDeque::new(),
            sequence: 0,
        }
    }

    /// An agent is there and works on up to `slots` parts at once. It is a fresh one: if an agent
    /// of this id is known, that one is lost.
    pub fn agent_joined(
        &mut self,
        agent: NodeId,
        capabilities: BTreeSet<String>,
        slots: NonZeroU32,
        now: Instant,
    ) {
        self.remove_agent(&agent, now);
        for task in self.tasks.values_mut().filter(|task| capabilities.contains(&task.capability)) {
            task.stranded_since = None;
        }
        self.agents.0.insert(agent.clone(), Agent::new(capabilities, slots));
        self.share_with(&agent);
        self.settle(now);
    }

    /// An agent is gone, and with it what it worked on: report nothing more about its assignments.
    /// An unknown one is ignored.
    pub fn agent_lost(&mut self, agent: &NodeId, now: Instant) {
        self.remove_agent(agent, now);
        self.settle(now);
    }

    /// Queues a task, or says why not.
    pub fn submit(&mut self, task: NewTask, now: Instant) -> Result<(), TaskError> {
        let count = task.parts.len();
        if count == 0 || count > PARTS_MAX {
            let reason = format!("it has {count} parts, 1 to {PARTS_MAX} are expected");
            return Err(TaskError::Invalid { reason });
        }
        if self.ranks.contains_key(&task.id) || self.agents.0.values().any(|agent| agent.works_on(task.id)) {
            return Err(TaskError::Duplicate { task: task.id });
        }
        if task.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(TaskError::DeadlineExceeded);
        }
        let limit = self.config.queue_limit.get();
        if self.tasks.len() >= limit as usize {
            return Err(TaskError::QueueFull { limit: QueueLimit::Tasks(limit) });
        }
        let rank = Rank { urgency: Reverse(task.priority), sequence: self.sequence };
        self.sequence += 1;
        let stranded = self.agents.capable(&task.capability).next().is_none();
        self.unplaced.entry(task.capability.clone()).or_default().insert(rank);
        self.ranks.insert(task.id, rank);
        let mut task = Task::new(task, now);
        task.stranded_since = stranded.then_some(now);
        self.tasks.insert(rank, task);
        self.settle(now);
        Ok(())
    }

    /// An agent answered. Its slot is free, whatever becomes of the result.
    pub fn completed(&mut self, assignment: &Assignment, result: T, now: Instant) -> Completion {
        let completion = match self.report(assignment) {
            None => Completion::Fenced,
            Some(rank) => {
                self.accept(rank, assignment, result, now);
                Completion::Accepted
            }
        };
        self.settle(now);
        completion
    }

    /// An agent could not do it. Its slot is free; the rest is ignored if the part has a newer
    /// attempt or a result, or its task has ended.
    pub fn failed(&mut self, assignment: &Assignment, cause: String, retry: Retry, now: Instant) {
        if let Some(rank) = self.report(assignment) {
            match retry {
                Retry::Never => self.fail_part(rank, assignment.part, &assignment.agent, cause, now),
                Retry::Elsewhere if self.is_last_attempt(rank, assignment.part) => {
                    self.fail_part(rank, assignment.part, &assignment.agent, cause, now);
                }
                Retry::Elsewhere => {
                    let capability = &self.tasks[&rank].capability;
                    let nodes = self.agents.candidates(capability, Some(&assignment.agent));
                    self.place(rank, &[assignment.part], &nodes);
                }
            }
        }
        self.settle(now);
    }

    /// Ends a task at its client's wish. `false` if there is none of this id.
    pub fn cancel(&mut self, task: TaskId, now: Instant) -> bool {
        let Some(rank) = self.ranks.get(&task).copied() else { return false };
        self.fail(rank, TaskError::Cancelled, now);
        self.settle(now);
        true
    }

    /// Does what was due by `now`: deadlines, tasks that waited too long for an agent, leases.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.end_overdue_tasks(now);
        self.expire_leases(now);
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do next. Looks at every task
    /// and every slot.
    pub fn next_timeout(&self) -> Option<Instant> {
        let deadlines = self.tasks.values().filter_map(|task| task.deadline);
        let stranded = self.tasks.values().filter_map(|task| self.gives_up_at(task));
        let leases =
            self.agents.0.values().flat_map(|agent| agent.expiries(self.config.lease)).map(|(_, end)| end);
        deadlines.chain(stranded).chain(leases).min()
    }

    /// What is to be done next; `None` when nothing is left to do for now.
    pub fn poll(&mut self) -> Option<Command<T>> {
        self.commands.pop_front()
    }

    /// How far a task got; `None` if there is none of this id, or it has ended.
    pub fn progress(&self, task: TaskId) -> Option<Progress> {
        self.ranks.get(&task).map(|rank| self.tasks[rank].progress())
    }

    /// Frees the slot that `assignment` occupies. The rank of its task, if its outcome counts.
    fn report(&mut self, assignment: &Assignment) -> Option<Rank> {
        let Assignment { task, part, attempt, .. } = *assignment;
        let agent = self.agents.0.get_mut(&assignment.agent)?;
        agent.held.remove(&Held { task, part, attempt })?;
        let rank = *self.ranks.get(&task)?;
        self.tasks[&rank].is_current(assignment).then_some(rank)
    }
}
