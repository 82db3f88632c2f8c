//! The rule of the coordinator: which agent works on which part of which task, and when a task is
//! done or has failed.
//!
//! [`Board`] takes what happened as an [`Input`] with its time, and says through [`Board::poll`] what is to be done.
//! It reads no clock and rolls no dice: the same inputs at the same offsets give the same commands, so a journal of
//! them is the board. It opens no payload, no input and no answer.
//!
//! **Placement.** A task starts when a capable agent has a free slot and nothing more urgent to do. Capable is an agent
//! that exposes the protocol, is not draining, and is not avoided by the task. The parts are then [placed](placement)
//! over all capable agents, and a part waits for its home as long as that is in good standing, because an agent that
//! saw its inputs before still has them. Where the task says [`Waiting::ForAnyone`], an agent with a free slot for which
//! nothing waits takes the last part that waits for the agent with the most of them: so agents that are faster, or have
//! more slots, do more.
//!
//! **Shares.** A free slot goes to the most urgent task first, whosever it is. There is no ageing: less urgent tasks wait as
//! long as more urgent ones keep every slot busy. Among tasks of one priority it goes to the client of whom the fewest parts
//! are in progress, of those to the one whose last turn is longest ago, and there to the task that was submitted first. So
//! that nobody waits for work without an end, a part makes way for a client on whose parts nobody works, where its task is
//! not more urgent and its client has another part in progress: one that waits at an agent which works on others at once,
//! one that an agent works on when its lease ran out, for what waits behind it there also where its client has other parts to
//! be done. It is withdrawn, which spends no attempt, and begins anew later. The
//! last attempt at a part that nobody would do without it stays. Each time that a part which was worked on made way it has twice
//! as many leases before it does so again, so that a long one ends at last.
//!
//! **When agents come and go.** An agent that joins takes part in tasks that have not started; of a started task it gets
//! its share of the parts that were never assigned when it has nothing else to do. The unfinished parts of a lost agent
//! are placed over the others at once, and so are those that wait for an agent that drains.
//!
//! **Attempts.** An assignment of a part is an attempt. The first answer of any of them is the answer of the part; then
//! the others are withdrawn. A [`Failure`] that is known not to have begun spends no attempt; one for
//! want of room for the answer spends one, and is not held against the agent. A part remembers every
//! agent that failed it, and goes to one in good standing that did not as long as there is one. Then it goes to one again
//! that was lost or did not answer, as long as an attempt is left for each agent that has not tried it.
//!
//! **Room for answers.** Where the answers to the parts of a task, or all that the board holds, would be longer than they
//! may, the longest answer is dropped, and counts as a failure of whoever gave it.
//!
//! **Leases.** An agent begins what it is given in the order in which it comes, and the lease of what had to wait there
//! begins anew with that. When every attempt at a part in progress is older than the lease, another agent in good
//! standing is asked as well, one a lease: first those of whom an answer has counted, and that have not paused since.
//! Nothing else ends with a lease: the late answer counts like any other.
//!
//! **Standing.** An agent that owes an answer whose lease ran out is not in good standing, nor is one that pauses. An
//! agent pauses when it refuses a part, when another agent answers a part that it failed, and when another agent
//! answers a part for which its lease ran out: 50 ms and twice as long each time until one of its answers counts, at
//! most 5 s, or as long as it asks for, or a lease, at most 60 s. So does one that comes back after it left with parts in
//! progress: from the second time on as long as it had them, and longer each time. That is known of the latest 1,000 that
//! left, for 10 minutes. Parts are placed on agents that are not in good
//! standing, and wait for them, only where there is no other to ask. A pausing agent is given nothing.
//!
//! **Distrust.** Whom a task avoids is avoided by every task as well that its client submits within 10 minutes while
//! another capable agent is in good standing. What one client holds against an agent counts for no other.
//!
//! **Drain.** When the node of the board [drains](Input::Draining), no agent joins any more. From then on a task ends at
//! once of which no part is in progress and that no agent which is here can do: it is [turned away](Command::TurnedAway)
//! instead of waiting for an agent, and nothing is said about what agents there are. The others go on.
//!
//! **When a part fails.** No single word ends a task. A part fails, and its task with it, when nobody works on it any
//! more and either every capable agent has answered it with an error, after two attempts at least, or every one has
//! tried it and [`BoardConfig::attempts_max`] attempts are spent, or so many agents have failed it. So fewer bad agents
//! than that never end a task as long as one honest agent stays.

mod agents;
mod dispatch;
mod distrust;
mod ended;
mod endings;
mod inputs;
mod invariants;
mod listing;
pub mod placement;
mod reports;
mod route;
mod shares;
mod tasks;
#[cfg(test)]
mod tests;

pub use inputs::{Assignment, Command, Failure, Input, NewTask, Offset};

use super::{Progress, QueueLimit, Slots, TaskError, TaskId, TaskSummary, Waiting};
use crate::{ContentHash, NodeId};
use agents::{Agent, Agents, Gone, Held};
use distrust::Distrust;
use ended::{Ended, Known};
use placement::{EvenShares, Placement};
use shares::Shares;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};
use tasks::{PartFailure, Rank, State, Task};

/// The most parts of one task.
pub const PARTS_MAX: usize = 4_096;

/// The longest answers to the parts of one task together, in bytes: they are one message with some room for its rest.
pub const ANSWER_BYTES_MAX: usize = 48 << 20;

/// How many tasks that have ended a board lists, the latest of them.
pub const LISTED_MAX: usize = 100;

/// How many ids of tasks that have ended a board knows, the latest of them.
pub const ENDED_MAX: usize = 10_000;

/// The limits of a [`Board`].
#[derive(Debug, Clone)]
pub struct BoardConfig {
    /// How many tasks may be queued or running. A quarter is for clients that have none; of the rest a client may have as
    /// many as are left, so alone it has three eighths.
    pub queue_limit: NonZeroU32,
    /// How many bytes those tasks may have together, with the answers to their parts. A client may have as many as are
    /// left beside it. A part counts as 512 bytes more than it has.
    pub bytes_max: usize,
    /// How long an agent may work on a part before another is asked as well.
    pub lease: Duration,
    /// How many attempts a part has, and how many agents may fail it. An agent that has not tried it is asked also when
    /// the attempts are spent, so there may be twice as many.
    pub attempts_max: NonZeroU32,
    /// How long a task waits for a capable agent when there is none.
    pub agent_wait: Duration,
    /// How long the result of a task that ended is held for clients that submit it again.
    pub results_held: Duration,
    /// How many bytes those results may have together; the oldest make room.
    pub results_bytes_max: usize,
}

impl Default for BoardConfig {
    /// 1,000 tasks of 256 MiB, leases of 30 seconds, 5 attempts, 10 seconds of waiting for a capable agent, and results
    /// of 64 MiB for 10 minutes.
    fn default() -> Self {
        Self {
            queue_limit: NonZeroU32::new(1_000).expect("it is not zero"),
            bytes_max: 256 << 20,
            lease: Duration::from_secs(30),
            attempts_max: NonZeroU32::new(5).expect("it is not zero"),
            agent_wait: Duration::from_secs(10),
            results_held: Duration::from_secs(600),
            results_bytes_max: 64 << 20,
        }
    }
}

/// The state machine. See the [module](self) for its rules.
///
/// After every input take all commands from [`poll`](Self::poll), then apply [`Input::Tick`] at
/// [`next_timeout`](Self::next_timeout).
///
/// Memory is bounded by the limits of [`BoardConfig`], the agents that joined and their slots, and [`ENDED_MAX`]. What
/// never is:
/// - an agent that holds more assignments than it has slots;
/// - an assignment to an agent that the task avoids, or that drains or pauses;
/// - an unfinished part that neither is queued nor has an attempt in progress;
/// - a free slot of an agent for which a part waits, or that could take a part which waits for anyone, unless the agent
///   pauses;
/// - an assignment of a task that ended, or of a part that is done.
#[derive(Debug)]
pub struct Board {
    config: BoardConfig,
    placement: Box<dyn Placement>,
    agents: Agents,
    gone: Gone,
    distrust: Distrust,
    tasks: BTreeMap<Rank, Task>,
    ranks: BTreeMap<TaskId, Rank>,
    /// The tasks with parts that are placed nowhere, by the protocol they need.
    unplaced: BTreeMap<String, BTreeSet<Rank>>,
    commands: VecDeque<Command>,
    ended: Ended,
    /// What the tasks on the board count against [`BoardConfig::bytes_max`].
    bytes: usize,
    /// How many tasks were accepted.
    sequence: u64,
    is_draining: bool,
    shares: Shares,
}

impl Board {
    /// A board without tasks and agents, which places parts in [even shares](EvenShares).
    ///
    /// # Panics
    /// If the lease is zero: it would expire without end.
    pub fn new(config: BoardConfig) -> Self {
        Self::with_placement(config, Box::new(EvenShares))
    }

    /// A board that places parts by another rule.
    ///
    /// # Panics
    /// If the lease is zero: it would expire without end.
    pub fn with_placement(config: BoardConfig, placement: Box<dyn Placement>) -> Self {
        assert!(!config.lease.is_zero(), "a lease of zero expires before any work is done");
        Self {
            ended: Ended::new(config.results_held, config.results_bytes_max),
            config,
            placement,
            agents: Agents::default(),
            gone: Gone::default(),
            distrust: Distrust::default(),
            tasks: BTreeMap::new(),
            ranks: BTreeMap::new(),
            unplaced: BTreeMap::new(),
            commands: VecDeque::new(),
            bytes: 0,
            sequence: 0,
            is_draining: false,
            shares: Shares::default(),
        }
    }

    /// Takes what happened at `now`, which is never before the time of an earlier input.
    pub fn apply(&mut self, input: Input, now: Offset) {
        self.agents.end_pauses(now);
        self.ended.drop_results(now);
        match input {
            Input::AgentJoined { agent, protocols, slots } => self.join(agent, protocols, slots, now),
            Input::AgentChanged { agent, protocols } => self.change(&agent, protocols, now),
            Input::AgentDraining { agent } => self.drain(&agent, now),
            Input::AgentLost { agent } => self.remove_agent(&agent, now),
            Input::Submitted(task) => self.submit(task, now),
            Input::Answered { assignment, reply } => self.answered(&assignment, reply, now),
            Input::Failed { assignment, failure } => self.failed(&assignment, failure, now),
            Input::Cancelled { task } => match self.ranks.get(&task) {
                Some(rank) => self.fail(*rank, TaskError::Cancelled, now),
                None => self.ended.cancel(task, now),
            },
            Input::Tick => {
                self.end_overdue_tasks(now);
                self.expire_leases(now);
            }
            Input::Draining => self.is_draining = true,
        }
        if self.is_draining {
            self.end_overdue_tasks(now);
        }
        self.settle(now);
    }

    /// What is to be done next; `None` when nothing is left to do for now.
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When [`Input::Tick`] has something to do next: less than 200 years after the start. Looks at every task and every
    /// slot.
    pub fn next_timeout(&self) -> Option<Offset> {
        let deadlines = self.tasks.values().filter_map(|task| task.deadline);
        let stranded = self.tasks.values().filter_map(|task| self.gives_up_at(task));
        let agents = self.agents.0.values();
        let leases = agents.clone().flat_map(|agent| agent.expiries(self.config.lease)).map(|(_, end)| end);
        let pauses =
            agents.filter_map(|agent| agent.standing.paused_until).filter(|_| !self.tasks.is_empty());
        deadlines.chain(stranded).chain(leases).chain(pauses).min()
    }

    /// How far a task got; `None` if there is none of this id, or it has ended.
    pub fn progress(&self, task: TaskId) -> Option<Progress> {
        self.ranks.get(&task).map(|rank| self.tasks[rank].progress())
    }

    /// Whether a task of this id is here, or has ended and is not forgotten.
    pub fn remembers(&self, task: TaskId) -> bool {
        self.ranks.contains_key(&task) || self.ended.remembers(task)
    }

    fn submit(&mut self, new: NewTask, now: Offset) {
        let task = new.task().id;
        let command = match self.known(&new) {
            _ if self.ended.take_cancel(task) => Command::Refused { task, error: TaskError::Cancelled },
            Known::New => {
                self.accept(new, now);
                Command::Accepted { task }
            }
            Known::Running => Command::Joined { task },
            Known::Done(report) => Command::Repeated { task, report },
            Known::Refused(error) => Command::Refused { task, error },
        };
        self.commands.push_back(command);
    }

    fn known(&self, new: &NewTask) -> Known {
        let task = new.task();
        if let Some(rank) = self.ranks.get(&task.id) {
            let is_same = self.tasks[rank].new.body() == new.body();
            return if is_same { Known::Running } else { Known::Refused(ended::other_body(task.id)) };
        }
        let known = self.ended.known(new);
        if !matches!(known, Known::New) {
            return known;
        }
        if task.deadline.is_some_and(|within| within.is_zero()) {
            return Known::Refused(TaskError::DeadlineExceeded);
        }
        if let Err(error) = TaskError::unless_fits("parts", new.bytes(), self.config.bytes_max) {
            return Known::Refused(error);
        }
        let full = |limit| Known::Refused(TaskError::QueueFull { limit });
        // A client may hold as much as is left beside, and there is room for the next one.
        let is_own = |task: &&Task| task.new.client() == new.client();
        let own =
            self.tasks.values().filter(is_own).fold((0, 0), |(n, bytes), task| (n + 1, bytes + task.bytes));
        let limit = self.config.queue_limit.get() as usize;
        let kept_for_first = if own.0 > 0 { limit / 4 } else { 0 };
        if self.tasks.len() + own.0 + kept_for_first >= limit {
            return full(QueueLimit::Tasks(self.config.queue_limit.get()));
        }
        if (self.bytes + own.1).saturating_add(2 * new.bytes()) > self.config.bytes_max {
            return full(QueueLimit::Bytes(self.config.bytes_max as u64));
        }
        Known::New
    }

    fn accept(&mut self, mut new: NewTask, now: Offset) {
        self.distrust.note(new.client(), &new.task().avoid, now);
        let distrusted = self.distrust.of(new.client(), now);
        // One who is all that is left may do better this time.
        let others = |(id, agent): (&NodeId, &Agent)| agent.is_good() && !distrusted.contains(id);
        if self.agents.capable(new.task()).any(others) {
            new.avoid(distrusted);
        }
        let rank = Rank { urgency: Reverse(new.task().priority), sequence: self.sequence };
        self.sequence += 1;
        // An id that was cancelled begins anew.
        self.ended.forget(new.task().id);
        self.bytes += new.bytes();
        self.shares.add(new.client());
        self.unplaced.entry(new.task().protocol.clone()).or_default().insert(rank);
        self.ranks.insert(new.task().id, rank);
        self.tasks.insert(rank, Task::new(new, now));
        self.note_stranded_tasks(now);
    }
}
