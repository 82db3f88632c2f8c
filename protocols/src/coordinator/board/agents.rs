//! What the board knows of an agent: what it exposes, what it holds, what waits for it and how it stands.

use super::{Offset, tasks::Rank};
use crate::{
    NodeId,
    coordinator::{Slots, SubmitTask, TaskId},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Duration,
};

/// How long an agent pauses the first time. Each further pause is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Where doubling ends.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long, and of how many agents that have left, the standing is kept.
const GONE_HELD: Duration = Duration::from_secs(600);
const GONE_MAX: usize = 1_000;

/// The longest pause that an agent can ask for, or that a lease can bring.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// An assignment, seen from the agent that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) task: TaskId,
    pub(super) part: usize,
    pub(super) attempt: u32,
}

impl Held {
    pub(super) fn all_of(task: TaskId) -> RangeInclusive<Held> {
        Held { task, part: 0, attempt: 0 }..=Held { task, part: usize::MAX, attempt: u32::MAX }
    }
}

/// How long an assignment may take before another agent is asked as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    /// The place in the order in which assignments are given.
    pub(super) place: u64,
    pub(super) since: Offset,
    /// How often it ran out.
    pub(super) ran_out: u32,
}

impl Lease {
    pub(super) fn is_overdue(&self) -> bool {
        self.ran_out > 0
    }
}

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) protocols: BTreeSet<String>,
    slots: Slots,
    /// It takes nothing new.
    pub(super) draining: bool,
    /// Never more than it has slots for.
    pub(super) held: BTreeMap<Held, Lease>,
    /// The parts at home here that wait for a slot, most urgent first.
    pub(super) waiting: BTreeSet<(Rank, usize)>,
    /// The tasks that had started when it joined and whose parts were not shared with it since.
    pub(super) unshared: BTreeSet<Rank>,
    pub(super) standing: Standing,
    /// A late part was withdrawn from it, and no answer of it counted since.
    pub(super) owes: bool,
    /// How long it had what was lost with it, where that was noticed part by part before its session ended.
    lost: Option<Duration>,
}

/// How an agent stands: it outlasts the sessions of the agent.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) paused_until: Option<Offset>,
    /// How often it paused since an answer of it counted.
    pauses: u32,
    /// How often it left with parts in progress since then.
    losses: u32,
    /// Whether an answer of it ever counted.
    is_proven: bool,
}

impl Standing {
    /// Gives it nothing for some time, `at_least` so long.
    pub(super) fn pause(&mut self, at_least: Duration, now: Offset) {
        let backoff = PAUSE_MIN.saturating_mul(1 << self.pauses.min(16)).min(BACKOFF_MAX);
        let until = now.after(backoff.max(at_least.min(PAUSE_MAX)));
        self.paused_until = self.paused_until.max(until);
        self.pauses = self.pauses.saturating_add(1);
    }

    /// It left with parts that it had for so long. That happens to the best of them once.
    fn lose(&mut self, held_for: Duration, now: Offset) {
        self.pause(held_for.saturating_mul(self.losses), now);
        self.losses = self.losses.saturating_add(1);
    }
}

/// The standing of agents that have left, of which something is held against them.
#[derive(Debug, Default)]
pub(super) struct Gone(BTreeMap<NodeId, (Offset, Standing)>);

impl Gone {
    pub(super) fn keep(&mut self, id: NodeId, mut agent: Agent, lease: Duration, now: Offset) {
        agent.note_loss(lease, now);
        if let Some(held_for) = agent.lost {
            agent.standing.lose(held_for, now);
        }
        if agent.standing.pauses == 0 {
            return;
        }
        self.0.insert(id, (now, agent.standing));
        if self.0.len() > GONE_MAX {
            let oldest = self.0.iter().min_by_key(|(_, (left, _))| *left).map(|(id, _)| id.clone());
            self.0.remove(&oldest.expect("it is not empty"));
        }
    }

    /// The standing with which an agent comes back.
    pub(super) fn take(&mut self, id: &NodeId, now: Offset) -> Standing {
        let kept = self.0.remove(id).filter(|(left, _)| now.since(*left) < GONE_HELD);
        let mut standing = kept.map(|(_, standing)| standing).unwrap_or_default();
        standing.paused_until = standing.paused_until.filter(|until| *until > now);
        standing
    }

    pub(super) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Standing> {
        self.0.get_mut(id).map(|(_, standing)| standing)
    }
}

impl Agent {
    pub(super) fn new(slots: Slots, standing: Standing) -> Self {
        Self {
            protocols: BTreeSet::new(),
            slots,
            draining: false,
            held: BTreeMap::new(),
            waiting: BTreeSet::new(),
            unshared: BTreeSet::new(),
            standing,
            owes: false,
            lost: None,
        }
    }

    /// A part that it holds is lost, perhaps with its session.
    pub(super) fn note_loss(&mut self, lease: Duration, now: Offset) {
        let age = |of: &Lease| now.since(of.since) + if of.is_overdue() { lease } else { Duration::ZERO };
        self.lost = self.lost.max(self.held.values().map(age).max());
    }

    pub(super) fn slots(&self) -> Slots {
        self.slots
    }

    pub(super) fn is_capable(&self, id: &NodeId, task: &SubmitTask) -> bool {
        !self.draining && self.protocols.contains(&task.protocol) && !task.avoid.contains(id)
    }

    /// Whether it can be given a part now.
    pub(super) fn is_free(&self) -> bool {
        !self.draining
            && self.standing.paused_until.is_none()
            && self.held.len() < self.slots.all().get() as usize
    }

    /// What it holds in the order in which it was given, split into what it works on and what waits at it.
    pub(super) fn queue(&self) -> (Vec<Held>, Vec<Held>) {
        let mut queue: Vec<Held> = self.held.keys().copied().collect();
        queue.sort_unstable_by_key(|held| self.held[held].place);
        let ahead = queue.split_off(queue.len().min(self.slots.at_once().get() as usize));
        (queue, ahead)
    }

    /// Takes back what it holds. Where it worked on that, it begins what has waited longest, and with that its lease.
    pub(super) fn release(&mut self, held: &Held, now: Offset) -> Option<Lease> {
        let released = self.held.remove(held)?;
        let at_once = self.slots.at_once().get() as usize;
        if self.held.len() >= at_once
            && let Some(last) = self.queue().0.last().and_then(|last| self.held.get_mut(last))
            && last.place > released.place
        {
            (last.since, last.ran_out) = (now, 0);
        }
        Some(released)
    }

    /// In good standing: it owes no answer whose lease ran out, and does not pause. Where such a part was withdrawn from it,
    /// it owes what it was given instead.
    pub(super) fn is_good(&self) -> bool {
        !self.draining
            && self.standing.paused_until.is_none()
            && !self.held.values().any(|lease| self.owes || lease.is_overdue())
    }

    /// An answer of it counted.
    pub(super) fn prove(&mut self) {
        self.standing =
            Standing { is_proven: true, paused_until: self.standing.paused_until, ..Standing::default() };
        (self.owes, self.lost) = (false, None);
    }

    /// The less there are, the sooner an answer of it is to be expected.
    pub(super) fn doubts(&self) -> u32 {
        self.standing.pauses.saturating_add(u32::from(!self.standing.is_proven))
    }

    /// The assignments and when their leases expire.
    pub(super) fn expiries(&self, lease: Duration) -> impl Iterator<Item = (Held, Offset)> {
        self.held.iter().filter_map(move |(held, of)| Some((*held, of.since.after(lease)?)))
    }
}

/// The agents that are here.
#[derive(Debug, Default)]
pub(super) struct Agents(pub(super) BTreeMap<NodeId, Agent>);

impl Agents {
    pub(super) fn capable<'a>(
        &'a self,
        task: &'a SubmitTask,
    ) -> impl Iterator<Item = (&'a NodeId, &'a Agent)> {
        self.0.iter().filter(|(id, agent)| agent.is_capable(id, task))
    }

    /// The capable agents in good standing, or all capable ones where none is.
    pub(super) fn best(&self, task: &SubmitTask) -> Vec<NodeId> {
        let good = self.capable(task).filter(|(_, agent)| agent.is_good());
        let good: Vec<NodeId> = good.map(|(id, _)| id.clone()).collect();
        if good.is_empty() { self.capable(task).map(|(id, _)| id.clone()).collect() } else { good }
    }

    pub(super) fn has_good(&self, task: &SubmitTask) -> bool {
        self.capable(task).any(|(_, agent)| agent.is_good())
    }

    pub(super) fn end_pauses(&mut self, now: Offset) {
        for agent in self.0.values_mut() {
            agent.standing.paused_until = agent.standing.paused_until.filter(|until| *until > now);
        }
    }
}
