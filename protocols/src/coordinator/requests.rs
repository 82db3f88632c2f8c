//! What clients ask of a coordinator.

use super::{Priority, Progress, TaskError, TaskId, board::PARTS_MAX};
use crate::{
    ContentHash, NoError, NodeId, Protocol, Request, protocol,
    similar_windows::{
        FindError, PatternMatcher, SimilarWindows, StorePart, WindowQuery, WindowRule, check_search,
    },
    units::{Unit, UnitAnswer},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

protocol! {
    /// An actor that accepts tasks and gives parts of them to agents.
    pub Coordinator = "coordinator" {
        SubmitTask, TaskProgress, CoordinatorStatus, ListAgents, ListTasks, StorePart,
    }
}

/// Does a task; the reply is its result. A client that stops waiting cancels the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmitTask {
    /// Its name, chosen by the client.
    pub id: TaskId,
    /// How urgent it is.
    pub priority: Priority,
    /// The time it may take, queueing included; `None` for as long as the client waits.
    pub deadline: Option<Duration>,
    /// What is to be done.
    pub job: Job,
}

/// What a task is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Job {
    /// Find the windows of a pattern library that are most similar to each query.
    SimilarWindows {
        /// What a window is and which matches are wanted.
        rule: WindowRule,
        /// What to look for.
        queries: Vec<WindowQuery>,
        /// The parts of the library; the coordinator must have been given each with
        /// [`StorePart`], and holds it at least as long as the task lasts.
        library: Vec<ContentHash>,
    },
    /// Do pure work. The coordinator passes the answers on as they are.
    Units {
        /// What is to be done, all of one kind. The coordinator must have been given every input with
        /// [`StorePart`], and holds it at least as long as the task lasts.
        units: Vec<Unit>,
    },
}

impl Job {
    /// The word for it in topologies, task files and lists.
    pub fn kind(&self) -> &'static str {
        match self {
            Job::SimilarWindows { .. } => "similar-windows",
            Job::Units { units } => units.first().map_or("units", Unit::kind),
        }
    }

    /// What an agent must offer to work on it: the name of a protocol.
    pub fn capability(&self) -> &'static str {
        match self {
            Job::SimilarWindows { .. } => PatternMatcher::NAME,
            Job::Units { units } => units.first().map_or(PatternMatcher::NAME, Unit::capability),
        }
    }

    /// Whether the job makes sense and is no larger than a task may be: it comes from a client.
    /// Whether its content is there, and units make sense with it, is for the coordinator to find out.
    pub fn check(&self) -> Result<(), TaskError> {
        let invalid = |reason| TaskError::Invalid { reason };
        let (rule, queries, library) = match self {
            Job::SimilarWindows { rule, queries, library } => (rule, queries, library),
            Job::Units { units } => {
                let count = units.len();
                if count == 0 || count > PARTS_MAX {
                    return Err(invalid(format!("it has {count} units, 1 to {PARTS_MAX} are expected")));
                }
                if units.iter().any(|unit| unit.kind() != self.kind()) {
                    return Err(invalid("its units are of several kinds".to_owned()));
                }
                return Ok(());
            }
        };
        check_search(rule, queries).map_err(|error| match error {
            FindError::Invalid { reason } => invalid(reason),
            error => invalid(error.to_string()),
        })?;
        let count = library.len();
        if count == 0 || count > PARTS_MAX {
            return Err(invalid(format!("its library has {count} parts, 1 to {PARTS_MAX} are expected")));
        }
        Ok(())
    }
}

/// A finished task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// What came out.
    pub result: JobResult,
    /// The agents whose answers are in the result.
    pub agents: BTreeSet<NodeId>,
}

/// What came out of a [`Job`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum JobResult {
    /// Of [`Job::SimilarWindows`].
    SimilarWindows(SimilarWindows),
    /// Of [`Job::Units`]: an answer for each unit, in their order.
    Units(Vec<UnitAnswer>),
}

impl Request for SubmitTask {
    const NAME: &'static str = "submit-task";
    const VERSION: u16 = 1;
    type Reply = TaskReport;
    type Error = TaskError;
}

/// How far a task is; `None` where there is no such task, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskProgress {
    /// Its name.
    pub id: TaskId,
}

impl Request for TaskProgress {
    const NAME: &'static str = "task-progress";
    const VERSION: u16 = 1;
    type Reply = Option<Progress>;
    type Error = NoError;
}

/// What the coordinator sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorStatus;

/// The reply to [`CoordinatorStatus`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How long it has been running.
    pub uptime: Duration,
    /// The agents that are connected and can be given work.
    pub agents: BTreeSet<NodeId>,
    /// Tasks of which no part was given to an agent yet.
    pub queued: u32,
    /// Tasks that were begun.
    pub running: u32,
    /// Requests that the coordinator's node has sent.
    pub sent: u64,
    /// Requests that it has received.
    pub received: u64,
    /// The median time from asking an agent to its answer, the work included.
    pub p50: Option<Duration>,
    /// The 99th percentile of the same.
    pub p99: Option<Duration>,
}

impl Request for CoordinatorStatus {
    const NAME: &'static str = "coordinator-status";
    const VERSION: u16 = 1;
    type Reply = Status;
    type Error = NoError;
}

/// The agents that can be given work, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListAgents;

/// An agent as its coordinator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSummary {
    /// Its node.
    pub name: NodeId,
    /// What kind of agent it says it is.
    pub agent_type: String,
    /// What it can be given.
    pub capabilities: BTreeSet<String>,
    /// How many parts it works on at once.
    pub slots: u32,
    /// How many it has in hand.
    pub assigned: u32,
    /// How many parts it has answered since it connected.
    pub answered: u64,
    /// How long it has been connected.
    pub connected: Duration,
}

impl Request for ListAgents {
    const NAME: &'static str = "list-agents";
    const VERSION: u16 = 1;
    type Reply = Vec<AgentSummary>;
    type Error = NoError;
}

/// The tasks that are queued or running, the most urgent first, and after them the latest
/// [`ENDED_MAX`](super::board::ENDED_MAX) that have ended, the last to end first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListTasks;

/// A task as its coordinator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSummary {
    /// Its name.
    pub id: TaskId,
    /// The word for its job; see [`Job::kind`].
    pub kind: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What becomes of it.
    pub state: TaskState,
    /// How far it got.
    pub progress: Progress,
    /// The time since it was submitted; of one that has ended, the time until it did.
    pub age: Duration,
}

/// What becomes of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    /// No part of it was given to an agent yet.
    Queued,
    /// It was begun.
    Running,
    /// Every part is done.
    Done,
    /// Its client cancelled it or stopped waiting.
    Cancelled,
    /// It ended without a result.
    Failed {
        /// The sentence of its [`TaskError`].
        reason: String,
    },
}

impl Request for ListTasks {
    const NAME: &'static str = "list-tasks";
    const VERSION: u16 = 1;
    type Reply = Vec<TaskSummary>;
    type Error = NoError;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlation::{CorrelateGroups, PairMeasure};
    use crate::distance::{BandRule, Detail, MeasureDistance, Scaling};
    use crate::similar_windows::Day;

    #[test]
    fn a_job_that_no_agent_could_do_is_refused_with_its_reason() {
        let day = |days| Day::from_epoch_days(days).unwrap();
        let values = vec![1.0; 60].into();
        let query = WindowQuery { symbol: "SPY".parse().unwrap(), start: day(500), end: day(590), values };
        let part = ContentHash::of(b"part");
        let check = |queries: &[&WindowQuery], parts| {
            let queries = queries.iter().map(|query| (*query).clone()).collect();
            let library = vec![part; parts];
            Job::SimilarWindows { rule: WindowRule::DAILY, queries, library }.check()
        };
        let invalid = |reason: &str| Err(TaskError::Invalid { reason: reason.into() });
        assert_eq!(check(&[&query], PARTS_MAX), Ok(()));
        assert_eq!(check(&[], 1), invalid("0 queries, expected are 1 to 256"));
        assert_eq!(check(&[&query], 0), invalid("its library has 0 parts, 1 to 4096 are expected"));
        assert_eq!(
            check(&[&query], PARTS_MAX + 1),
            invalid("its library has 4097 parts, 1 to 4096 are expected")
        );
    }

    #[test]
    fn units_of_one_kind_are_a_job_named_after_it() {
        let [a, b] = [[1], [2]].map(|of| ContentHash::of(&of));
        let (scaling, detail) = (Scaling::Raw, Detail::Distance);
        let distance = Unit::Distance(MeasureDistance { a, b, band: BandRule::Full, scaling, detail });
        let measure = PairMeasure::Pearson;
        let correlate = Unit::Correlate(CorrelateGroups { groups: vec![a], measure, from: 0, until: 1 });
        let job = |units: &[&Unit]| Job::Units { units: units.iter().map(|unit| (*unit).clone()).collect() };
        let of_one = job(&[&distance, &distance]);
        assert_eq!(
            (of_one.check(), of_one.kind(), of_one.capability()),
            (Ok(()), "distance", "series-matcher")
        );
        assert_eq!((job(&[&correlate]).kind(), job(&[&correlate]).capability()), ("correlate", "correlator"));
        let invalid = |reason: &str| Err(TaskError::Invalid { reason: reason.into() });
        assert_eq!(job(&[]).check(), invalid("it has 0 units, 1 to 4096 are expected"));
        let many = job(&vec![&distance; PARTS_MAX + 1]).check();
        assert_eq!(many, invalid("it has 4097 units, 1 to 4096 are expected"));
        assert_eq!(job(&[&distance, &correlate]).check(), invalid("its units are of several kinds"));
    }
}
