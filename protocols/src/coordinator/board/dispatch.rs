//! Filling free slots.

use super::*;
use super::{agents::Lease, shares::Turn, tasks::Part};

/// What an agent does next.
pub(super) enum Step {
    /// Placing the parts of a task that are placed nowhere, with this agent among those they may go to.
    Place(Rank),
    /// Sharing in the parts of a task that started before it joined.
    Share(Rank),
    /// Working on a part that waits for it.
    Assign(Rank, usize),
    /// Taking a part from another's home.
    Take(NodeId, Rank, usize),
    /// Giving up a part, for another client; whether it was begun.
    MakeWay(Held, bool),
}

impl Board {
    /// Ends every input: afterwards no slot is free for which something waits.
    pub(super) fn settle(&mut self, now: Offset) {
        self.relieve_agents();
        let next = |board: &Self| {
            board.next_step().or_else(|| board.next_move()).or_else(|| board.next_to_make_way())
        };
        while let Some((agent, step)) = next(self) {
            match step {
                Step::Place(rank) => self.place_all(rank, now),
                Step::Share(rank) => self.share(&agent, rank),
                Step::Assign(rank, part) => self.assign(agent, rank, part, now),
                Step::Take(home, rank, part) => {
                    self.take_back(&home, rank, &[part]);
                    self.place(rank, &[part], &[agent]);
                }
                Step::MakeWay(held, was_begun) => self.make_way(agent, held, was_begun, now),
            }
        }
        self.assert_invariants();
    }

    fn next_step(&self) -> Option<(NodeId, Step)> {
        self.agents.0.iter().filter(|(_, agent)| agent.is_free()).find_map(|(id, agent)| {
            let waiting = self.first(ranks_of(agent));
            let assign = |turn: Turn| {
                let part = parts_of(agent, turn.rank).next();
                (turn, Step::Assign(turn.rank, part.expect("a task waits with its parts")))
            };
            let to_share = || self.first(agent.unshared.iter().copied());
            let own = waiting.map(assign);
            let own = own.or_else(|| to_share().map(|turn| (turn, Step::Share(turn.rank))));
            let step = match (self.next_unplaced(id, agent), own) {
                (Some(turn), Some((first, own))) if first <= turn => own,
                (Some(turn), _) => Step::Place(turn.rank),
                (None, own) => own?.1,
            };
            Some((id.clone(), step))
        })
    }

    /// The first task with parts that are placed nowhere and that this agent would be asked for.
    pub(super) fn next_unplaced(&self, id: &NodeId, agent: &Agent) -> Option<Turn> {
        let is_good = agent.is_good();
        let takes = |rank: &Rank| {
            let task = self.tasks[rank].submitted();
            agent.is_capable(id, task) && (is_good || !self.agents.has_good(task))
        };
        let queues = agent.protocols.iter().filter_map(|protocol| self.unplaced.get(protocol));
        queues.filter_map(|ranks| self.first(ranks.iter().copied().filter(takes))).min()
    }

    fn place_all(&mut self, rank: Rank, now: Offset) {
        let parts = self.tasks[&rank].unplaced();
        self.forget_unplaced(rank);
        self.route(rank, &parts, now);
    }

    /// Places the parts of a started task that were never assigned anew, now that `newcomer` is here.
    fn share(&mut self, newcomer: &NodeId, rank: Rank) {
        let agent = self.agents.0.get_mut(newcomer).expect("the step is one of an agent that is here");
        agent.unshared.remove(&rank);
        let task = &self.tasks[&rank];
        let waiting = task.parts.iter().enumerate().filter_map(|(index, part)| match &part.state {
            State::Waiting(home) if part.last_attempt == 0 => Some((index, home.clone())),
            _ => None,
        });
        let (parts, homes): (Vec<usize>, Vec<NodeId>) = waiting.unzip();
        let agents = self.agents.best(task.submitted());
        for (part, home) in parts.iter().zip(&homes) {
            self.take_back(home, rank, &[*part]);
        }
        self.place(rank, &parts, &agents);
    }

    fn assign(&mut self, id: NodeId, rank: Rank, part: usize, now: Offset) {
        let agent = self.agents.0.get_mut(&id).expect("the step is one of an agent that is here");
        let task = self.tasks.get_mut(&rank).expect("only parts of tasks on the board wait");
        agent.waiting.remove(&(rank, part));
        let place = self.shares.begin(task.new.client());
        let attempt = task.begin(part, id.clone());
        agent.held.insert(Held { task: task.id(), part, attempt }, Lease { place, since: now, ran_out: 0 });
        let assignment = Assignment { agent: id, task: task.id(), part, attempt };
        self.commands.push_back(Command::Assign { assignment, task: Arc::clone(&task.new) });
    }

    /// An agent in good standing with a free slot for which nothing waits, and what it takes from another's home: of the
    /// most urgent task that has parts which wait for anyone, the last one at the agent with the most of them. What it
    /// failed itself stays where it was put.
    pub(super) fn next_move(&self) -> Option<(NodeId, Step)> {
        let is_idle = |agent: &Agent| agent.waiting.is_empty() && agent.is_free() && agent.is_good();
        let mut idle = self.agents.0.iter().filter(|(_, agent)| is_idle(agent));
        idle.find_map(|(taker, agent)| {
            let moves = self.agents.0.iter().filter_map(|(home, other)| {
                let (turn, count, part) = self.movable(other, taker, agent)?;
                Some((Reverse(turn), count, home, part))
            });
            let (Reverse(turn), _, home, part) = moves.max()?;
            Some((taker.clone(), Step::Take(home.clone(), turn.rank, part)))
        })
    }

    /// Of the first task with parts at `home` that `taker` may take: how many they are, and the last of them.
    fn movable(&self, home: &Agent, taker: &NodeId, agent: &Agent) -> Option<(Turn, usize, usize)> {
        let movable = ranks_of(home).filter_map(|rank| {
            let task = &self.tasks[&rank];
            if task.submitted().waiting == Waiting::ForHome || !agent.is_capable(taker, task.submitted()) {
                return None;
            }
            let may_take = |part: &Part| part.is_open_to(taker) && part.tried(taker).refusals == 0;
            let parts = parts_of(home, rank).filter(|part| may_take(&task.parts[*part]));
            parts
                .fold(None, |found: Option<(usize, usize)>, part| {
                    Some((found.map_or(1, |(n, _)| n + 1), part))
                })
                .map(|(count, part)| (self.turn(rank), count, part))
        });
        movable.min_by_key(|(turn, ..)| *turn)
    }

    /// Moves the parts that wait for an agent which is not in good standing to others that are: otherwise a part could
    /// wait for ever at an agent that hangs.
    fn relieve_agents(&mut self) {
        let is_stuck = |agent: &Agent| !agent.waiting.is_empty() && !agent.is_good();
        let stuck: Vec<NodeId> =
            self.agents.0.iter().filter(|(_, agent)| is_stuck(agent)).map(|(id, _)| id.clone()).collect();
        for id in stuck {
            let ranks: Vec<Rank> = ranks_of(&self.agents.0[&id]).collect();
            ranks.into_iter().for_each(|rank| self.relieve(&id, rank));
        }
    }

    fn relieve(&mut self, id: &NodeId, rank: Rank) {
        let task = &self.tasks[&rank];
        let capable = self.agents.capable(task.submitted());
        let good: Vec<NodeId> =
            capable.filter(|(_, agent)| agent.is_good()).map(|(id, _)| id.clone()).collect();
        if good.is_empty() {
            return;
        }
        let (mut fresh, mut tried) = (Vec::new(), Vec::new());
        for index in parts_of(&self.agents.0[id], rank) {
            let part = &task.parts[index];
            if part.last_attempt == 0 {
                fresh.push(index);
                continue;
            }
            let takers: Vec<NodeId> = good.iter().filter(|agent| part.is_open_to(agent)).cloned().collect();
            if !takers.is_empty() {
                tried.push((index, takers));
            }
        }
        self.take_back(id, rank, &fresh);
        self.place(rank, &fresh, &good);
        for (part, takers) in tried {
            self.take_back(id, rank, &[part]);
            self.place(rank, &[part], &takers);
        }
    }

    pub(super) fn take_back(&mut self, home: &NodeId, rank: Rank, parts: &[usize]) {
        let agent = self.agents.0.get_mut(home).expect("a part waits at an agent that is here");
        for part in parts {
            agent.waiting.remove(&(rank, *part));
        }
    }

    pub(super) fn forget_unplaced(&mut self, rank: Rank) {
        let protocol = &self.tasks[&rank].submitted().protocol;
        if let Some(ranks) = self.unplaced.get_mut(protocol) {
            ranks.remove(&rank);
            if ranks.is_empty() {
                self.unplaced.remove(protocol);
            }
        }
    }
}

/// The tasks with parts that wait for an agent, the most urgent first. Costs nothing for the parts.
pub(super) fn ranks_of(agent: &Agent) -> impl Iterator<Item = Rank> {
    let first = agent.waiting.first().map(|(rank, _)| *rank);
    std::iter::successors(first, |rank| {
        let mut later = agent.waiting.range((*rank, usize::MAX)..);
        later.next().map(|(rank, _)| *rank)
    })
}

/// The parts of a task that wait for an agent.
fn parts_of(agent: &Agent, rank: Rank) -> impl Iterator<Item = usize> {
    agent.waiting.range((rank, 0)..=(rank, usize::MAX)).map(|(_, part)| *part)
}

/// Parts that are placed together are spread evenly, so those of one task are collected first.
pub(super) fn by_task(parts: impl IntoIterator<Item = (Rank, usize)>) -> BTreeMap<Rank, Vec<usize>> {
    let mut grouped: BTreeMap<Rank, Vec<usize>> = BTreeMap::new();
    for (rank, part) in parts {
        grouped.entry(rank).or_default().push(part);
    }
    grouped
}
