//! Where parts go: placing them, moving them, and filling free slots.

use super::agents::Lease;
use super::*;
use crate::content;

/// What an agent with a free slot does next.
enum Step {
    /// Placing the parts of a task over all its agents, this one among them.
    Place(Rank),
    /// Working on a part.
    Assign(Rank, usize),
}

impl<T> Board<T> {
    /// Ends every input: afterwards no slot is free for which something waits.
    pub(super) fn settle(&mut self, now: Instant) {
        self.relieve_silent_agents();
        loop {
            match self.next_step() {
                Some((_, Step::Place(rank))) => self.place_all(rank),
                Some((agent, Step::Assign(rank, part))) => self.assign(agent, rank, part, now),
                None => match self.next_move() {
                    Some((taker, home, (rank, part))) => {
                        self.take_back(&home, rank, &[part]);
                        self.place(rank, &[part], &[taker]);
                    }
                    None => break,
                },
            }
        }
        self.assert_invariants();
    }

    fn next_step(&self) -> Option<(NodeId, Step)> {
        self.agents.0.iter().find_map(|(id, agent)| {
            if !agent.has_free_slot() {
                return None;
            }
            let waiting = agent.waiting.first().copied();
            let step = match (self.next_unplaced(id, agent), waiting) {
                (Some(rank), None) => Step::Place(rank),
                (Some(rank), Some((first, _))) if rank < first => Step::Place(rank),
                (_, Some((rank, part))) => Step::Assign(rank, part),
                (None, None) => return None,
            };
            Some((id.clone(), step))
        })
    }

    /// An agent in good standing with a free slot for which nothing waits, and what it takes from another's home:
    /// of the most urgent task that has parts which wait for anyone, the last one at the agent with the most of
    /// them. A part that was tried before stays where it was put: the idle agent may be the one that failed.
    pub(super) fn next_move(&self) -> Option<(NodeId, NodeId, (Rank, usize))> {
        let is_idle = |agent: &Agent| agent.waiting.is_empty() && agent.has_free_slot() && agent.is_prompt();
        let mut idle = self.agents.0.iter().filter(|(_, agent)| is_idle(agent));
        idle.find_map(|(taker, agent)| {
            let moves = self.agents.0.iter().filter_map(|(home, other)| {
                let (rank, count, part) = self.movable(other, &agent.capabilities)?;
                Some((Reverse(rank), count, home, part))
            });
            let (Reverse(rank), _, home, part) = moves.max()?;
            Some((taker.clone(), home.clone(), (rank, part)))
        })
    }

    /// Of the most urgent task with parts at `home` that an agent of these capabilities may take: how many they
    /// are, and the last of them.
    fn movable(&self, home: &Agent, capabilities: &BTreeSet<String>) -> Option<(Rank, usize, usize)> {
        let is_movable = |(rank, part): &(Rank, usize)| {
            let task = &self.tasks[rank];
            task.waiting == Waiting::ForAnyone
                && capabilities.contains(&task.capability)
                && task.parts[*part].attempts == 0
        };
        let (rank, _) = home.waiting.iter().copied().find(is_movable)?;
        let parts = home.waiting.range((rank, 0)..=(rank, usize::MAX)).copied().filter(is_movable);
        parts.fold(None, |found, (_, part)| Some((rank, found.map_or(0, |(_, count, _)| count) + 1, part)))
    }

    /// The most urgent task with homeless parts that would be placed with `agent` among its agents.
    fn next_unplaced(&self, id: &NodeId, agent: &Agent) -> Option<Rank> {
        let capabilities = agent.capabilities.iter();
        let ranks = capabilities.filter_map(|capability| self.unplaced.get_key_value(capability));
        let takes =
            |capability: &str| agent.is_prompt() || self.agents.candidates(capability, None).contains(id);
        ranks
            .filter(|(capability, _)| takes(capability))
            .filter_map(|(_, ranks)| ranks.first().copied())
            .min()
    }

    fn place_all(&mut self, rank: Rank) {
        let task = &self.tasks[&rank];
        let (parts, nodes) = (task.unplaced(), self.agents.candidates(&task.capability, None));
        self.forget_unplaced(rank);
        self.place(rank, &parts, &nodes);
    }

    /// Lets `parts` wait at `nodes`, or without a home if there are no nodes.
    pub(super) fn place(&mut self, rank: Rank, parts: &[usize], nodes: &[NodeId]) {
        let task = self.tasks.get_mut(&rank).expect("only parts of tasks on the board are placed");
        let hashes: Vec<ContentHash> = parts.iter().map(|part| task.parts[*part].hash).collect();
        let Some(placement) = content::place(&hashes, nodes) else {
            for part in parts {
                task.parts[*part].state = State::Unplaced;
            }
            self.unplaced.entry(task.capability.clone()).or_default().insert(rank);
            return;
        };
        for (part, node) in parts.iter().zip(placement) {
            let home = &nodes[node];
            task.parts[*part].state = State::Waiting(home.clone());
            let agent = self.agents.0.get_mut(home).expect("parts are placed on agents that are here");
            agent.waiting.insert((rank, *part));
        }
    }

    fn assign(&mut self, id: NodeId, rank: Rank, part: usize, now: Instant) {
        let agent = self.agents.0.get_mut(&id).expect("the step is one of an agent that is here");
        let task = self.tasks.get_mut(&rank).expect("only parts of tasks on the board wait");
        agent.waiting.remove(&(rank, part));
        task.started = true;
        let (task, part_state) = (task.id, &mut task.parts[part]);
        part_state.attempts += 1;
        part_state.state = State::Assigned(id.clone());
        let (attempt, hash) = (part_state.attempts, part_state.hash);
        agent.held.insert(Held { task, part, attempt }, Lease::Current(now));
        let assignment = Assignment { agent: id, task, part, attempt };
        self.commands.push_back(Command::Assign { assignment, hash });
    }

    /// Moves the parts that wait for an agent which owes an answer to agents in good standing, if
    /// there are any: otherwise a part could wait for ever at an agent that hangs.
    fn relieve_silent_agents(&mut self) {
        let silent = |agent: &Agent| !agent.waiting.is_empty() && !agent.is_prompt();
        let silent: Vec<NodeId> =
            self.agents.0.iter().filter(|(_, agent)| silent(agent)).map(|(id, _)| id.clone()).collect();
        for id in silent {
            for (rank, parts) in by_task(self.agents.0[&id].waiting.iter().copied()) {
                let nodes = self.agents.prompt(&self.tasks[&rank].capability, &BTreeSet::new());
                if !nodes.is_empty() {
                    self.take_back(&id, rank, &parts);
                    self.place(rank, &parts, &nodes);
                }
            }
        }
    }

    /// Places the parts of started tasks that were never assigned anew, now that `newcomer` is here.
    pub(super) fn share_with(&mut self, newcomer: &NodeId) {
        let capabilities = &self.agents.0[newcomer].capabilities;
        let ranks: Vec<Rank> = self
            .tasks
            .iter()
            .filter(|(_, task)| capabilities.contains(&task.capability))
            .map(|(rank, _)| *rank)
            .collect();
        for rank in ranks {
            let task = &self.tasks[&rank];
            let waiting: Vec<(usize, NodeId)> = task
                .parts
                .iter()
                .enumerate()
                .filter_map(|(index, part)| match &part.state {
                    State::Waiting(home) if part.attempts == 0 => Some((index, home.clone())),
                    _ => None,
                })
                .collect();
            let nodes = self.agents.candidates(&task.capability, None);
            for (part, home) in &waiting {
                self.take_back(home, rank, &[*part]);
            }
            let parts: Vec<usize> = waiting.into_iter().map(|(part, _)| part).collect();
            self.place(rank, &parts, &nodes);
        }
    }

    fn take_back(&mut self, home: &NodeId, rank: Rank, parts: &[usize]) {
        let agent = self.agents.0.get_mut(home).expect("a part waits at an agent that is here");
        for part in parts {
            agent.waiting.remove(&(rank, *part));
        }
    }

    pub(super) fn forget_unplaced(&mut self, rank: Rank) {
        let capability = &self.tasks[&rank].capability;
        if let Some(ranks) = self.unplaced.get_mut(capability) {
            ranks.remove(&rank);
            if ranks.is_empty() {
                self.unplaced.remove(capability);
            }
        }
    }
}

/// Parts that are placed together are spread evenly, so those of one task are collected first.
pub(super) fn by_task(parts: impl IntoIterator<Item = (Rank, usize)>) -> BTreeMap<Rank, Vec<usize>> {
    let mut grouped: BTreeMap<Rank, Vec<usize>> = BTreeMap::new();
    for (rank, part) in parts {
        grouped.entry(rank).or_default().push(part);
    }
    grouped
}
