//! What a board shows of itself: its tasks and what its agents have in hand.

use super::*;
use crate::coordinator::TaskState;

/// The longest reason for a failure that is remembered, in characters.
const REASON_CHARS_MAX: usize = 300;

/// How a task ended.
pub(super) enum Ending<'a> {
    Done,
    Failed(&'a TaskError),
}

impl<T> Board<T> {
    /// Every task on the board, the most urgent first, and then the latest [`LISTED_MAX`] that have
    /// ended, the last to end first. Looks at every slot of every agent once.
    pub fn tasks(&self, now: Instant) -> Vec<TaskSummary> {
        let mut assigned: BTreeMap<TaskId, usize> = BTreeMap::new();
        let held = self.agents.0.values().flat_map(|agent| &agent.held);
        for (held, _) in held.filter(|(_, lease)| lease.is_current()) {
            *assigned.entry(held.task).or_default() += 1;
        }
        let live = self.tasks.iter().map(|(rank, task)| {
            let state = if task.started { TaskState::Running } else { TaskState::Queued };
            let progress = task.progress_with(assigned.get(&task.id).copied().unwrap_or_default());
            summary(*rank, task, state, progress, now)
        });
        live.chain(self.ended.iter().rev().cloned()).collect()
    }

    /// How many tasks are queued, and how many are running.
    pub fn load(&self) -> (usize, usize) {
        let running = self.tasks.values().filter(|task| task.started).count();
        (self.tasks.len() - running, running)
    }

    /// How many parts each agent has in hand, and how many it takes at once.
    pub fn slots(&self) -> impl Iterator<Item = (&NodeId, usize, NonZeroU32)> {
        self.agents.0.iter().map(|(id, agent)| (id, agent.held.len(), agent.slots))
    }

    /// Keeps a line about a task that ends.
    pub(super) fn remember(&mut self, rank: Rank, task: &Task<T>, ending: Ending<'_>, now: Instant) {
        let state = match ending {
            Ending::Done => TaskState::Done,
            Ending::Failed(TaskError::Cancelled) => TaskState::Cancelled,
            Ending::Failed(error) => {
                let reason = error.to_string().chars().take(REASON_CHARS_MAX).collect();
                TaskState::Failed { reason }
            }
        };
        if self.ended.len() == LISTED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(summary(rank, task, state, task.progress_with(0), now));
    }
}

fn summary<T>(rank: Rank, task: &Task<T>, state: TaskState, progress: Progress, now: Instant) -> TaskSummary {
    let Reverse(priority) = rank.urgency;
    let age = now.saturating_duration_since(task.submitted);
    TaskSummary { id: task.id, kind: task.kind.to_owned(), priority, state, progress, age }
}
