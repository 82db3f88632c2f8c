//! What clients ask of a coordinator.

use super::{Priority, Progress, TaskError, TaskId};
use crate::{
    ContentHash, NoError, NodeId, Request, protocol,
    similar_windows::{SimilarWindows, StorePart, WindowQuery, WindowRule},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

protocol! {
    /// An actor that accepts tasks and gives parts of them to agents.
    pub Coordinator = "coordinator" { SubmitTask, TaskProgress, CoordinatorStatus, StorePart }
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
    /// The agents that are connected and can be given work.
    pub agents: BTreeSet<NodeId>,
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
