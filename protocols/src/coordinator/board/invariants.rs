//! What must never be, checked after every input in debug builds.

use super::*;

impl Board {
    pub(super) fn assert_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        for (id, agent) in &self.agents.0 {
            self.assert_agent(id, agent);
        }
        assert!(self.next_move().is_none(), "a slot is free, but a part waits for anyone");
        for (rank, task) in &self.tasks {
            assert_eq!(self.ranks.get(&task.id()), Some(rank), "a task is found under its id");
            self.assert_parts(*rank, task);
        }
        assert_eq!(self.ranks.len(), self.tasks.len(), "an ended task is forgotten");
        assert!(self.tasks.len() <= self.config.queue_limit.get() as usize, "the board is bounded");
        assert_eq!(self.bytes, self.tasks.values().map(|task| task.bytes).sum(), "every byte is counted");
        assert!(self.bytes <= self.config.bytes_max, "the board is bounded in bytes");
        for (protocol, ranks) in &self.unplaced {
            assert!(!ranks.is_empty(), "nothing is kept for a protocol that no task needs");
            for rank in ranks {
                let task = &self.tasks[rank];
                assert!(
                    task.submitted().protocol == *protocol && !task.unplaced().is_empty(),
                    "every part of {rank:?} is placed"
                );
            }
        }
        self.shares.assert_invariants(self.tasks.values());
        self.ended.assert_invariants();
    }

    fn assert_agent(&self, id: &NodeId, agent: &Agent) {
        assert!(agent.held.len() <= agent.slots().all().get() as usize, "a slot of {id} is over-committed");
        assert!(agent.waiting.is_empty() || !agent.is_free(), "a slot of {id} is free, but parts wait");
        for (rank, part) in &agent.waiting {
            let task = &self.tasks[rank];
            assert!(
                agent.is_capable(id, task.submitted()),
                "a part waits for {id}, which would not be given it"
            );
            let state = &task.parts[*part].state;
            assert!(matches!(state, State::Waiting(home) if home == id), "{part} does not wait for {id}");
        }
        for held in agent.held.keys() {
            let part = &self.tasks[&self.ranks[&held.task]].parts[held.part];
            let attempt = (held.attempt, id.clone());
            assert!(part.attempts.contains(&attempt), "{held:?} is held, but not in progress");
            assert!(!matches!(part.state, State::Done(_)), "{held:?} is held, but its part is done");
        }
    }

    fn assert_parts(&self, rank: Rank, task: &Task) {
        let (mut left, mut in_progress) = (0, 0);
        for (index, part) in task.parts.iter().enumerate() {
            for (attempt, agent) in &part.attempts {
                let held = Held { task: task.id(), part: index, attempt: *attempt };
                assert!(
                    self.agents.0[agent].held.contains_key(&held),
                    "{held:?} is in progress, but not held"
                );
            }
            let is_known = match &part.state {
                State::Done(..) => continue,
                State::Unplaced => self.unplaced[&task.submitted().protocol].contains(&rank),
                State::Waiting(home) => self.agents.0[home].waiting.contains(&(rank, index)),
                State::InProgress => !part.attempts.is_empty(),
            };
            assert!(is_known, "part {index} of {} is lost", task.id());
            left += 1;
            in_progress += usize::from(!part.attempts.is_empty());
        }
        assert!(left == task.left && left > 0, "{} has {left} parts left", task.id());
        assert_eq!(in_progress, task.in_progress, "{} knows how many parts are in progress", task.id());
    }
}
