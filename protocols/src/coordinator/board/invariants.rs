//! What must never be, checked after every input in debug builds.

use super::*;

impl<T> Board<T> {
    pub(super) fn assert_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        for (id, agent) in &self.agents.0 {
            self.assert_agent(id, agent);
        }
        assert!(self.next_move().is_none(), "a slot is free, but a part waits for anyone");
        for (rank, task) in &self.tasks {
            assert_eq!(self.ranks.get(&task.id), Some(rank), "a task is found under its id");
            self.assert_parts(*rank, task);
        }
        assert_eq!(self.ranks.len(), self.tasks.len(), "an ended task is forgotten");
        assert!(self.ended.len() <= LISTED_MAX, "what is remembered is bounded");
        assert!(self.tasks.len() <= self.config.queue_limit.get() as usize, "the board is bounded");
        for (capability, ranks) in &self.unplaced {
            assert!(!ranks.is_empty(), "nothing is kept for a capability that no task needs");
            for rank in ranks {
                let task = &self.tasks[rank];
                assert!(
                    task.capability == *capability && !task.unplaced().is_empty(),
                    "{rank:?} is not homeless"
                );
            }
        }
    }

    fn assert_agent(&self, id: &NodeId, agent: &Agent) {
        assert!(agent.held.len() <= agent.slots.get() as usize, "a slot of {id} is over-committed");
        assert!(agent.waiting.is_empty() || !agent.has_free_slot(), "a slot of {id} is free, but parts wait");
        for (rank, part) in &agent.waiting {
            let state = &self.tasks[rank].parts[*part].state;
            assert!(matches!(state, State::Waiting(home) if home == id), "{part} does not wait for {id}");
        }
        for (held, _) in agent.held.iter().filter(|(_, lease)| lease.is_current()) {
            let Held { task, part, attempt } = *held;
            let assignment = Assignment { agent: id.clone(), task, part, attempt };
            assert!(self.tasks[&self.ranks[&task]].is_current(&assignment), "{assignment:?} is not current");
        }
    }

    fn assert_parts(&self, rank: Rank, task: &Task<T>) {
        let mut left = 0;
        for (index, part) in task.parts.iter().enumerate() {
            let is_known = match &part.state {
                State::Done(..) => continue,
                State::Unplaced => self.unplaced.get(&task.capability).is_some_and(|r| r.contains(&rank)),
                State::Waiting(home) => self.agents.0[home].waiting.contains(&(rank, index)),
                State::Assigned(agent) => {
                    let held = Held { task: task.id, part: index, attempt: part.attempts };
                    self.agents.0[agent].held.get(&held).is_some_and(|lease| lease.is_current())
                }
            };
            assert!(is_known, "part {index} of {} is lost", task.id);
            assert!(part.attempts <= self.config.attempts_max.get(), "part {index} was tried too often");
            left += 1;
        }
        assert!(left == task.left && left > 0, "{} has {left} parts left", task.id);
    }
}
