//! `swarm cancel`.

use std::fmt;

use clap::Args;
use serde::Serialize;
use swarm_protocols::coordinator::TaskId;

use super::error::{CliError, Exit};
use super::operator::Connection;
use super::output::Output;

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Its id, as `swarm tasks` shows it
    #[arg(value_name = "TASK")]
    task: TaskId,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Serialize)]
struct Shown {
    task: TaskId,
    /// Whether it was queued or running.
    cancelled: bool,
}

impl Cancel {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let Self { task, connection } = self;
        let cancelled = connection.run(async |operator, _| Ok(operator.cancel(task).await?))?;
        if !cancelled {
            let message = format!("no task {task} is queued or running: `swarm tasks` lists those that are");
            return Err(CliError::new(Exit::Failed, message));
        }
        output.print(&Shown { task, cancelled })
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cancelled {}", self.task)
    }
}
