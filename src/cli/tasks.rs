//! `swarm tasks`.

use std::fmt;

use clap::Args;
use serde::Serialize;
use swarm_protocols::coordinator::{Progress, TaskId, TaskPriority, TaskState, TaskSummary};

use super::error::CliError;
use super::operator::Connection;
use super::output::{Output, elapsed};
use crate::listing::{Left, Right, listing};
use crate::swarm::report::Colour;

#[derive(Debug, Args)]
pub(crate) struct Tasks {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown {
    tasks: Vec<Task>,
}

#[derive(Debug, Serialize)]
struct Task {
    id: TaskId,
    kind: String,
    priority: TaskPriority,
    state: &'static str,
    progress: Progress,
    /// Since it was submitted; of one that has ended, until it did.
    age_seconds: f64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Tasks {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let tasks = self.connection.run(async |operator, _| Ok(operator.tasks().await?))?;
        output.print(&Shown { tasks: tasks.into_iter().map(Task::from).collect() })
    }
}

impl From<TaskSummary> for Task {
    fn from(summary: TaskSummary) -> Self {
        let TaskSummary { id, kind, priority, state, progress, age } = summary;
        let (state, reason) = match state {
            TaskState::Queued => ("queued", None),
            TaskState::Running => ("running", None),
            TaskState::Done => ("done", None),
            TaskState::Cancelled => ("cancelled", None),
            TaskState::Failed { reason } => ("failed", Some(reason)),
        };
        Self { id, kind, priority, state, progress, age_seconds: age.as_secs_f64(), reason }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tasks.is_empty() {
            return writeln!(f, "no tasks");
        }
        let columns = [
            ("task", Left),
            ("kind", Left),
            ("priority", Right),
            ("parts", Right),
            ("time", Right),
            ("state", Left),
        ];
        let row = |task: &Task| {
            let Task { id, kind, priority, state, progress, age_seconds, reason } = task;
            let parts = format!("{}/{}", progress.done, progress.total);
            let state = reason.as_ref().map_or_else(|| (*state).to_owned(), |why| format!("{state}: {why}"));
            let priority = u8::from(*priority).to_string();
            [id.to_string(), kind.clone(), priority, parts, elapsed(*age_seconds), state]
        };
        f.write_str(&listing(Colour::of_stdout(), &columns, self.tasks.iter().map(row)))
    }
}
