//! Tasks that have ended: what a client is told that submits one again, and the list of the latest.

use super::{ENDED_MAX, LISTED_MAX, NewTask, Offset};
use crate::{
    ContentHash,
    coordinator::{TaskError, TaskId, TaskReport, TaskState, TaskSummary},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// What is known of a task that is submitted.
pub(super) enum Known {
    /// Nothing; or it was cancelled, and begins anew.
    New,
    /// It is on the board.
    Running,
    /// It was done.
    Done(Arc<TaskReport>),
    /// It cannot be done, or not again.
    Refused(TaskError),
}

/// How long a cancel is kept for a task that may be on its way, and how many at most.
const AHEAD_HELD: Duration = Duration::from_secs(10);
const AHEAD_MAX: usize = 1_000;

/// What an answer or a name takes beside its bytes.
const ENTRY_BYTES: usize = 96;

pub(super) type Outcome = Result<Arc<TaskReport>, TaskError>;

/// The tasks that have ended, bounded by [`ENDED_MAX`]; their outcomes, bounded by time and bytes.
#[derive(Debug)]
pub(super) struct Ended {
    held: Duration,
    bytes_max: usize,
    tasks: BTreeMap<TaskId, EndedTask>,
    /// Every task, the first to end first.
    order: VecDeque<TaskId>,
    /// Those whose outcome is held, with the time it is dropped, the first to end first.
    outcomes: VecDeque<(Option<Offset>, TaskId)>,
    /// Of all outcomes that are held.
    bytes: usize,
    /// What was cancelled before it came: a long task is decoded and checked while a cancel overtakes it.
    ahead: VecDeque<(Option<Offset>, TaskId)>,
}

#[derive(Debug)]
struct EndedTask {
    summary: TaskSummary,
    body: ContentHash,
    /// `None` once it is dropped.
    outcome: Option<Outcome>,
}

impl Ended {
    pub(super) fn new(held: Duration, bytes_max: usize) -> Self {
        let (tasks, order, outcomes, ahead) = Default::default();
        Self { held, bytes_max, tasks, order, outcomes, bytes: 0, ahead }
    }

    /// Whether a task was cancelled before it came: once, then its id begins anew.
    pub(super) fn take_cancel(&mut self, id: TaskId) -> bool {
        let at = self.ahead.iter().position(|(_, cancelled)| *cancelled == id);
        at.and_then(|at| self.ahead.remove(at)).is_some()
    }

    /// Whether a task of this id has ended, but for one that was cancelled, whose id begins anew.
    pub(super) fn remembers(&self, id: TaskId) -> bool {
        self.tasks.get(&id).is_some_and(|task| task.summary.state != TaskState::Cancelled)
    }

    pub(super) fn known(&self, new: &NewTask) -> Known {
        let id = new.task().id;
        match self.tasks.get(&id) {
            None => Known::New,
            Some(task) if task.summary.state == TaskState::Cancelled => Known::New,
            Some(task) if task.body != new.body() => Known::Refused(other_body(id)),
            Some(task) => match &task.outcome {
                Some(Ok(report)) => Known::Done(Arc::clone(report)),
                Some(Err(error)) => Known::Refused(error.clone()),
                None => Known::Refused(TaskError::Ended { task: id }),
            },
        }
    }

    /// Keeps a task that ends; one that was cancelled has no outcome.
    pub(super) fn remember(
        &mut self,
        summary: TaskSummary,
        body: ContentHash,
        outcome: Option<Outcome>,
        now: Offset,
    ) {
        let id = summary.id;
        self.forget(id);
        if self.order.len() == ENDED_MAX {
            self.forget_oldest();
        }
        self.order.push_back(id);
        self.bytes += outcome.as_ref().map_or(0, bytes_of);
        if outcome.is_some() {
            self.outcomes.push_back((now.after(self.held), id));
        }
        self.tasks.insert(id, EndedTask { summary, body, outcome });
        while self.bytes > self.bytes_max {
            self.drop_oldest();
        }
    }

    /// Keeps a cancel of a task that may come.
    pub(super) fn cancel(&mut self, id: TaskId, now: Offset) {
        if self.tasks.contains_key(&id) || self.ahead.iter().any(|(_, cancelled)| *cancelled == id) {
            return;
        }
        self.ahead.truncate(AHEAD_MAX - 1);
        self.ahead.push_front((now.after(AHEAD_HELD), id));
    }

    /// Drops the outcomes and the cancels that were held long enough.
    pub(super) fn drop_results(&mut self, now: Offset) {
        let is_over = |(until, _): &(Option<Offset>, TaskId)| until.is_some_and(|until| until <= now);
        while self.ahead.back().is_some_and(is_over) {
            self.ahead.pop_back();
        }
        while self.outcomes.front().is_some_and(is_over) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((_, id)) = self.outcomes.pop_front() else { return };
        let task = self.tasks.get_mut(&id).expect("an outcome is that of a task which is known");
        self.bytes -= task.outcome.take().as_ref().map_or(0, bytes_of);
    }

    /// Its outcome, if it is held, is the oldest too.
    fn forget_oldest(&mut self) {
        let Some(id) = self.order.pop_front() else { return };
        if self.outcomes.front().is_some_and(|(_, oldest)| *oldest == id) {
            self.drop_oldest();
        }
        self.tasks.remove(&id);
    }

    /// Forgets an id, as when a task that was cancelled is submitted again. Looks at every id where it is known.
    pub(super) fn forget(&mut self, id: TaskId) {
        let Some(task) = self.tasks.remove(&id) else { return };
        self.bytes -= task.outcome.as_ref().map_or(0, bytes_of);
        self.order.retain(|other| *other != id);
        self.outcomes.retain(|(_, other)| *other != id);
    }

    /// The latest [`LISTED_MAX`], the last to end first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &TaskSummary> {
        self.order.iter().rev().take(LISTED_MAX).map(|id| &self.tasks[id].summary)
    }

    pub(super) fn assert_invariants(&self) {
        assert!(self.order.len() <= ENDED_MAX, "what is remembered is bounded");
        assert_eq!(self.order.len(), self.tasks.len(), "every task that ended has its turn");
        let held = self.tasks.values().filter_map(|task| task.outcome.as_ref());
        let (count, bytes) =
            held.fold((0, 0), |(count, bytes), outcome| (count + 1, bytes + bytes_of(outcome)));
        assert_eq!((count, bytes), (self.outcomes.len(), self.bytes), "what is held is counted");
        assert!(
            self.tasks.values().all(|task| task.summary.progress.assigned == 0),
            "nobody works on what ended"
        );
        assert!(bytes <= self.bytes_max && self.ahead.len() <= AHEAD_MAX, "what is held is bounded");
    }
}

/// The error for an id under which something else was submitted before.
pub(super) fn other_body(task: TaskId) -> TaskError {
    let reason = format!("{task} is the id of another task, or of another client's: choose a new one");
    TaskError::Invalid { reason }
}

fn bytes_of(outcome: &Outcome) -> usize {
    match outcome {
        Ok(report) => report
            .answers
            .iter()
            .map(|answer| ENTRY_BYTES + answer.reply.len() + answer.agent.as_str().len())
            .sum(),
        Err(TaskError::PartFailed { error: Some(error), .. }) => error.len(),
        Err(TaskError::NoCapableAgent { avoided, .. }) => {
            avoided.iter().map(|agent| ENTRY_BYTES + agent.as_str().len()).sum()
        }
        Err(_) => 0,
    }
}
