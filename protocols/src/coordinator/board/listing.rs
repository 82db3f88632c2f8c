//! What a board shows of itself: its tasks and what its agents have in progress.

use super::*;
use crate::coordinator::TaskState;

impl Board {
    /// Every task on the board, the most urgent first, and then the latest [`LISTED_MAX`] that have ended, the last to
    /// end first.
    pub fn tasks(&self, now: Offset) -> Vec<TaskSummary> {
        let live = self.tasks.iter().map(|(rank, task)| {
            let state = if task.started { TaskState::Running } else { TaskState::Queued };
            task.summary(*rank, state, now)
        });
        live.chain(self.ended.latest().cloned()).collect()
    }

    /// How many tasks are queued, and how many are running.
    pub fn load(&self) -> (usize, usize) {
        let running = self.tasks.values().filter(|task| task.started).count();
        (self.tasks.len() - running, running)
    }

    /// How many parts each agent has in progress, and how many it takes.
    pub fn slots(&self) -> impl Iterator<Item = (&NodeId, usize, NonZeroU32)> {
        self.agents.0.iter().map(|(id, agent)| (id, agent.held.len(), agent.slots().all()))
    }
}

impl Task {
    pub(super) fn summary(&self, rank: Rank, state: TaskState, now: Offset) -> TaskSummary {
        let Reverse(priority) = rank.urgency;
        let (kind, progress) = (self.submitted().kind.clone(), self.progress());
        TaskSummary { id: self.id(), kind, priority, state, progress, age: now.since(self.submitted) }
    }
}
