//! What the board knows of an agent: what it can do, what it holds and what waits for it.

use super::tasks::Rank;
use crate::{NodeId, coordinator::TaskId};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// An assignment, seen from the agent that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) task: TaskId,
    pub(super) part: usize,
    pub(super) attempt: u32,
}

/// How an assignment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lease {
    /// It is the current one of its part, since then.
    Current(Instant),
    /// It is the current one, but ran out when no other agent was there to take the part over. It
    /// runs again since then.
    Renewed(Instant),
    /// It ran out and the part went to another agent, but this one has not answered yet.
    Overdue,
}

impl Lease {
    /// Whether the outcome of the assignment counts for its part.
    pub(super) fn is_current(self) -> bool {
        self != Lease::Overdue
    }
}

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) capabilities: BTreeSet<String>,
    pub(super) slots: NonZeroU32,
    /// Never more than `slots`.
    pub(super) held: BTreeMap<Held, Lease>,
    /// The parts at home here that have no assignment, most urgent first.
    pub(super) waiting: BTreeSet<(Rank, usize)>,
}

impl Agent {
    pub(super) fn new(capabilities: BTreeSet<String>, slots: NonZeroU32) -> Self {
        Self { capabilities, slots, held: BTreeMap::new(), waiting: BTreeSet::new() }
    }

    pub(super) fn has_free_slot(&self) -> bool {
        self.held.len() < self.slots.get() as usize
    }

    /// In good standing: it owes no answer whose lease ran out.
    pub(super) fn is_prompt(&self) -> bool {
        self.held.values().all(|lease| matches!(lease, Lease::Current(_)))
    }

    /// The current assignments and when they expire. A lease beyond what a clock can say never does.
    pub(super) fn expiries(&self, lease: Duration) -> impl Iterator<Item = (Held, Instant)> {
        self.held.iter().filter_map(move |(held, state)| match state {
            Lease::Current(since) | Lease::Renewed(since) => Some((*held, since.checked_add(lease)?)),
            Lease::Overdue => None,
        })
    }

    pub(super) fn works_on(&self, task: TaskId) -> bool {
        self.held.range(Held::all_of(task)).next().is_some()
    }

    /// Forgets what it holds of `task` and says what that was.
    pub(super) fn withdraw(&mut self, task: TaskId) -> Vec<Held> {
        self.held.extract_if(Held::all_of(task), |_, _| true).map(|(held, _)| held).collect()
    }
}

impl Held {
    fn all_of(task: TaskId) -> std::ops::RangeInclusive<Held> {
        Held { task, part: 0, attempt: 0 }..=Held { task, part: usize::MAX, attempt: u32::MAX }
    }
}

/// The agents that are here.
#[derive(Debug, Default)]
pub(super) struct Agents(pub(super) BTreeMap<NodeId, Agent>);

impl Agents {
    pub(super) fn capable<'a>(
        &'a self,
        capability: &'a str,
    ) -> impl Iterator<Item = (&'a NodeId, &'a Agent)> {
        self.0.iter().filter(move |(_, agent)| agent.capabilities.contains(capability))
    }

    /// The capable agents in good standing, without those in `except`.
    pub(super) fn prompt(&self, capability: &str, except: &BTreeSet<NodeId>) -> Vec<NodeId> {
        self.capable(capability)
            .filter(|(id, agent)| agent.is_prompt() && !except.contains(*id))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Where parts may go: to the capable agents in good standing other than `except`; if there
    /// are none, to any other capable agent; if there is none either, to `except`.
    pub(super) fn candidates(&self, capability: &str, except: Option<&NodeId>) -> Vec<NodeId> {
        let except: BTreeSet<NodeId> = except.into_iter().cloned().collect();
        let prompt = self.prompt(capability, &except);
        if !prompt.is_empty() {
            return prompt;
        }
        let all: Vec<NodeId> = self.capable(capability).map(|(id, _)| id.clone()).collect();
        let others: Vec<NodeId> = all.iter().filter(|id| !except.contains(*id)).cloned().collect();
        if others.is_empty() { all } else { others }
    }
}
