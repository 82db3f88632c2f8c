//! What the board knows of an agent: what it exposes, what it holds, what waits for it and how it stands.

use super::{Offset, tasks::Rank};
use crate::{NodeId, coordinator::SubmitTask, coordinator::TaskId};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    ops::RangeInclusive,
    time::Duration,
};

/// How long an agent pauses the first time. Each further pause is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Where doubling ends.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

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
    pub(super) since: Offset,
    /// It ran out once at least.
    pub(super) overdue: bool,
}

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) protocols: BTreeSet<String>,
    slots: NonZeroU32,
    /// It takes nothing new.
    pub(super) draining: bool,
    /// Never more than `slots`.
    pub(super) held: BTreeMap<Held, Lease>,
    /// The parts at home here that wait for a slot, most urgent first.
    pub(super) waiting: BTreeSet<(Rank, usize)>,
    /// The tasks that had started when it joined and whose parts were not shared with it since.
    pub(super) unshared: BTreeSet<Rank>,
    pub(super) paused_until: Option<Offset>,
    /// How often it paused since an answer of it counted.
    pauses: u32,
}

impl Agent {
    pub(super) fn new(slots: NonZeroU32) -> Self {
        Self {
            protocols: BTreeSet::new(),
            slots,
            draining: false,
            held: BTreeMap::new(),
            waiting: BTreeSet::new(),
            unshared: BTreeSet::new(),
            paused_until: None,
            pauses: 0,
        }
    }

    pub(super) fn slots(&self) -> NonZeroU32 {
        self.slots
    }

    pub(super) fn is_capable(&self, id: &NodeId, task: &SubmitTask) -> bool {
        !self.draining && self.protocols.contains(&task.protocol) && !task.avoid.contains(id)
    }

    /// Whether it can be given a part now.
    pub(super) fn is_free(&self) -> bool {
        !self.draining && self.paused_until.is_none() && self.held.len() < self.slots.get() as usize
    }

    /// In good standing: it owes no answer whose lease ran out, and does not pause.
    pub(super) fn is_good(&self) -> bool {
        !self.draining && self.paused_until.is_none() && self.held.values().all(|lease| !lease.overdue)
    }

    /// Gives it nothing for some time, `at_least` so long.
    pub(super) fn pause(&mut self, at_least: Duration, now: Offset) {
        let backoff = PAUSE_MIN.saturating_mul(1 << self.pauses.min(16)).min(BACKOFF_MAX);
        let until = now.after(backoff.max(at_least.min(PAUSE_MAX)));
        self.paused_until = self.paused_until.max(until);
        self.pauses = self.pauses.saturating_add(1);
    }

    /// An answer of it counted.
    pub(super) fn prove(&mut self) {
        self.pauses = 0;
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
        for agent in self.0.values_mut().filter(|agent| agent.paused_until.is_some_and(|until| until <= now))
        {
            agent.paused_until = None;
        }
    }
}
