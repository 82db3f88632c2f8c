//! `swarm submit`.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::error::{CliError, Exit};
use super::operator::Connection;
use super::output::Output;
use crate::input::Source;
use crate::swarm::jobs::Done;
use crate::swarm::progress::Progress;
use crate::swarm::report::counted;
use crate::swarm::task_file::TaskFile;

#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// A task in JSON, such as {"kind": "similar-windows", "data": "FOLDER", "symbols": ["SPY"]}, with a
    /// "priority" of 0 to 10 and "deadline_seconds" if wanted; FOLDER is relative to the file
    #[arg(value_name = "TASK.json")]
    task: OsString,
    #[command(flatten)]
    connection: Connection,
}

/// The result in JSON is that of the job alone, as in the outcome of `swarm up`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown {
    json: Box<RawValue>,
    #[serde(skip)]
    report: String,
    #[serde(skip)]
    agents: usize,
    #[serde(skip)]
    time: Duration,
}

impl Submit {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let source = Source::from(self.task);
        let TaskFile { kind, job, terms } = TaskFile::read(&source)?;
        let shown = self.connection.run(async |operator, _| {
            let mut progress = Progress::shown();
            let name = kind.word;
            progress.stage(format_args!("{name}: reading data"));
            let reading = tokio::task::spawn_blocking(move || job.load());
            let read = reading.await.map_err(|error| CliError::new(Exit::Failed, error))?;
            let input = read.map_err(|error| CliError::from(error).within(&source))?;
            let Done { agents, time, json, report, .. } =
                input.run(operator, name, terms, &mut progress).await?;
            Ok(Shown { json, report, agents, time })
        })?;
        output.print(&shown)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let agents = counted(self.agents, "agent");
        writeln!(f, "{}\nDone by {agents} in {:.2} s.", self.report, self.time.as_secs_f64())
    }
}
