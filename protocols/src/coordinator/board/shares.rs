//! What clients share: whose turn it is, and who makes way for one of whom nothing is in progress.

use super::dispatch::{Step, ranks_of};
use super::{agents::Lease, *};
use crate::coordinator::TaskPriority;

/// The clients that have tasks here.
#[derive(Debug, Default)]
pub(super) struct Shares {
    clients: BTreeMap<String, Share>,
    /// How many attempts began.
    begun: u64,
}

#[derive(Debug, Default)]
struct Share {
    tasks: usize,
    load: Load,
}

/// Who has less comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    /// How many attempts are in progress.
    slots: usize,
    /// The number of the last one.
    served: u64,
}

impl Shares {
    fn of(&mut self, client: &str) -> &mut Share {
        self.clients.get_mut(client).expect("a client that has a task is known")
    }

    pub(super) fn add(&mut self, client: &str) {
        self.clients.entry(client.to_owned()).or_default().tasks += 1;
    }

    pub(super) fn remove(&mut self, task: &Task) {
        let share = self.of(task.new.client());
        share.tasks -= 1;
        share.load.slots -= slots_of(task);
        if share.tasks == 0 {
            self.clients.remove(task.new.client());
        }
    }

    pub(super) fn begin(&mut self, client: &str) {
        self.begun += 1;
        let (served, load) = (self.begun, &mut self.of(client).load);
        *load = Load { slots: load.slots + 1, served };
    }

    pub(super) fn end(&mut self, client: &str) {
        self.of(client).load.slots -= 1;
    }

    pub(super) fn assert_invariants<'a>(&'a self, tasks: impl Iterator<Item = &'a Task>) {
        let mut held = BTreeMap::<&str, (usize, usize)>::new();
        for task in tasks {
            let (tasks, slots) = held.entry(task.new.client()).or_default();
            (*tasks, *slots) = (*tasks + 1, *slots + slots_of(task));
        }
        let known =
            |(client, share): (&'a String, &Share)| (client.as_str(), (share.tasks, share.load.slots));
        assert!(self.clients.iter().map(known).eq(held), "what clients have is counted");
    }
}

fn slots_of(task: &Task) -> usize {
    task.parts.iter().map(|part| part.attempts.len()).sum()
}

/// When a task gets a slot: the more urgent first, then that of the client that has fewer slots, then that of the client
/// whose last turn is longer ago, then the one that was submitted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    urgency: Reverse<TaskPriority>,
    load: Load,
    pub(super) rank: Rank,
}

impl Board {
    pub(super) fn turn(&self, rank: Rank) -> Turn {
        let share = &self.shares.clients[self.tasks[&rank].new.client()];
        Turn { urgency: rank.urgency, load: share.load, rank }
    }

    /// The one of these tasks whose turn is the first; the more urgent come first. Looks at the tasks up to the first one of
    /// the client whose turn it is.
    pub(super) fn first(&self, ranks: impl Iterator<Item = Rank>) -> Option<Turn> {
        let least = self.shares.clients.values().map(|share| share.load).min()?;
        let mut first: Option<Turn> = None;
        for rank in ranks {
            if first.is_some_and(|first| first.load == least || first.urgency < rank.urgency) {
                break;
            }
            let turn = self.turn(rank);
            first = Some(first.map_or(turn, |first| first.min(turn)));
        }
        first
    }

    /// A slot for a client of whom nothing is in progress, where its task is the first that waits for an agent, or that is
    /// placed nowhere. What makes way is an attempt of the agent whose lease ran out, of a task that is not more urgent, and
    /// of the client of whom most is in progress; but not the last one at a part that would fail without it. A part that made way
    /// has twice as many leases the next time: so a long one ends at last, and an endless one makes way again.
    pub(super) fn next_to_make_way(&self) -> Option<(NodeId, Step)> {
        let is_late = |agent: &Agent| {
            agent.standing.paused_until.is_none() && agent.held.values().any(Lease::is_overdue)
        };
        self.agents.0.iter().filter(|(_, agent)| is_late(agent)).find_map(|(id, agent)| {
            let placed = self.first(ranks_of(agent));
            let unplaced = self.next_unplaced(id, agent);
            let first = placed.into_iter().chain(unplaced).min().filter(|turn| turn.load.slots == 0)?;
            let late = agent.held.iter().filter(|(held, lease)| {
                let part = &self.tasks[&self.ranks[&held.task]].parts[held.part];
                lease.ran_out.checked_shr(part.made_way).is_some_and(|left| left > 0)
            });
            let turns = late.map(|(held, _)| (self.turn(self.ranks[&held.task]), *held));
            let may = |(turn, held): &(Turn, Held)| {
                turn.load.slots > 1
                    && turn.urgency >= first.urgency
                    && !self.fails_without(turn.rank, held.part, id)
            };
            let (_, held) = turns.filter(may).max_by_key(|(turn, held)| (turn.load.slots, *held))?;
            let step = if placed == Some(first) { Step::MakeWay(held) } else { Step::Place(first.rank) };
            Some((id.clone(), step))
        })
    }

    /// Takes a part back from an agent; that spends no attempt.
    pub(super) fn withdraw_late(&mut self, agent: NodeId, late: Held, now: Offset) {
        let Held { task, part, attempt } = late;
        if let Some(agent) = self.agents.0.get_mut(&agent) {
            agent.owes = true;
        }
        let assignment = Assignment { agent, task, part, attempt };
        let Some(rank) = self.end_attempt(&assignment) else { return };
        self.commands.push_back(Command::Withdraw { assignment });
        let withdrawn = self.part_mut(rank, part);
        withdrawn.not_begun += 1;
        withdrawn.made_way += 1;
        if self.tasks[&rank].parts[part].state == State::InProgress
            && self.tasks[&rank].parts[part].attempts.is_empty()
        {
            self.route(rank, &[part], now);
        }
    }
}
