//! What clients share: whose turn it is, and who makes way for one of whom nothing is in progress.

use super::dispatch::{Step, ranks_of};
use super::*;
use crate::coordinator::TaskPriority;

/// How many parts of each client are in progress.
#[derive(Debug, Default)]
pub(super) struct Loads(Vec<(Option<NodeId>, usize)>);

impl Loads {
    pub(super) fn add(&mut self, client: Option<&NodeId>, parts: usize) {
        match self.0.iter_mut().find(|(of, _)| of.as_ref() == client) {
            Some((_, load)) => *load += parts,
            None => self.0.push((client.cloned(), parts)),
        }
    }

    fn of(&self, client: Option<&NodeId>) -> usize {
        self.0.iter().find(|(of, _)| of.as_ref() == client).map_or(0, |(_, load)| *load)
    }
}

/// When a task gets a slot: the more urgent first, then that of the client of whom less is in progress, then that of the
/// client whose last turn is longer ago, then the one that was submitted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    urgency: Reverse<TaskPriority>,
    load: usize,
    served: u64,
    pub(super) rank: Rank,
}

impl Board {
    pub(super) fn loads(&self) -> Loads {
        let mut loads = Loads::default();
        for task in self.tasks.values().filter(|task| task.in_progress > 0) {
            loads.add(task.new.client(), task.in_progress);
        }
        loads
    }

    pub(super) fn turn(&self, rank: Rank, loads: &Loads) -> Turn {
        let client = self.tasks[&rank].new.client();
        let served = client.and_then(|client| self.served.get(client)).copied().unwrap_or_default();
        Turn { urgency: rank.urgency, load: loads.of(client), served, rank }
    }

    /// The one of these tasks whose turn is the first.
    pub(super) fn first(&self, ranks: impl Iterator<Item = Rank>, loads: &Loads) -> Option<Turn> {
        ranks.map(|rank| self.turn(rank, loads)).min()
    }

    /// A slot for a client of whom nothing is in progress, where its task is the first that waits for an agent, or that is
    /// placed nowhere. What makes way is an attempt of the agent whose lease ran out, of a task that is not more urgent, and
    /// of the client of whom most is in progress.
    pub(super) fn next_to_make_way(&self, loads: &Loads) -> Option<(NodeId, Step)> {
        let late = |agent: &Agent| agent.held.values().any(|lease| lease.overdue);
        self.agents.0.iter().filter(|(_, agent)| late(agent)).find_map(|(id, agent)| {
            let placed = self.first(ranks_of(agent), loads);
            let unplaced = self.next_unplaced(id, agent, loads);
            let first = placed.into_iter().chain(unplaced).min().filter(|turn| turn.load == 0)?;
            let late = agent.held.iter().filter(|(_, lease)| lease.overdue);
            let turns = late.map(|(held, _)| (self.turn(self.ranks[&held.task], loads), *held));
            let may = |(turn, _): &(Turn, Held)| turn.load > 1 && turn.urgency >= first.urgency;
            let (_, held) = turns.filter(may).max_by_key(|(turn, held)| (turn.load, *held))?;
            let step = if placed == Some(first) { Step::MakeWay(held) } else { Step::Place(first.rank) };
            Some((id.clone(), step))
        })
    }

    /// Takes a part back from an agent; that spends no attempt.
    pub(super) fn make_way(&mut self, agent: NodeId, late: Held, now: Offset) {
        let Held { task, part, attempt } = late;
        let assignment = Assignment { agent, task, part, attempt };
        let Some(rank) = self.end_attempt(&assignment) else { return };
        self.commands.push_back(Command::Withdraw { assignment });
        self.part_mut(rank, part).not_begun += 1;
        if self.tasks[&rank].parts[part].state == State::InProgress
            && self.tasks[&rank].parts[part].attempts.is_empty()
        {
            self.route(rank, &[part], now);
        }
    }
}
