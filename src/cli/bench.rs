//! `swarm bench`: figures of this machine, each beside the control it is compared with.

use std::fmt;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::error::{CliError, Exit};
use super::output::{Output, on_stdout};
use crate::bench::messaging::{self, MessagingError, responder};
use crate::bench::{Compared, Side};

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Asking an actor in another process on loopback, beside raw QUIC streams
    Messaging(Messaging),
}

#[derive(Debug, Args)]
pub(crate) struct Messaging {
    /// How long each figure is measured, for each of the two sides
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// Measure those cases only whose name, as in `lane-64-256`, holds this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

impl Bench {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let Bench::Messaging(Messaging { seconds, only }) = self;
        if let Output::Text = output {
            on_stdout(|stdout| {
                writeln!(stdout, "{:<46} {:>12} {:>12} {:>6}", "", "swarm", "floor", "ratio")
            })?;
        }
        let mut report = |compared: &Compared| print(compared, output).map_err(|error| error.to_string());
        messaging::run(seconds, &only, &mut report).map_err(CliError::from)
    }
}

/// The other process of `swarm bench messaging`, told what it needs through its stdin.
pub(super) fn respond() -> Result<(), CliError> {
    responder::run().map_err(CliError::from)
}

impl From<MessagingError> for CliError {
    fn from(error: MessagingError) -> Self {
        let exit = match error {
            MessagingError::Lost(_) => Exit::Unavailable,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

fn seconds(argument: &str) -> Result<Duration, String> {
    match argument.parse() {
        Ok(seconds) if (0.05..=60.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected a number from 0.05 to 60".to_owned()),
    }
}

fn print(compared: &Compared, output: Output) -> Result<(), CliError> {
    match output {
        Output::Text => output.print(&Row(compared)),
        Output::Json => {
            for side in [Side::Swarm, Side::Floor] {
                let Compared { bench, metric, unit, ref params, .. } = *compared;
                output.print(&Line { bench, metric, side, value: compared.value(side), unit, params })?;
            }
            Ok(())
        }
    }
}

/// One figure of one side, as the contract of the command line has it.
#[derive(Serialize)]
struct Line<'a> {
    bench: &'static str,
    metric: &'static str,
    side: Side,
    value: f64,
    unit: &'static str,
    params: &'a serde_json::Value,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} {}", self.metric, self.value, self.unit)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Row<'a>(&'a Compared);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compared { metric, params, swarm, floor, .. } = self.0;
        let mut name = (*metric).to_owned();
        for (key, value) in params.as_object().into_iter().flatten() {
            name += &match value {
                serde_json::Value::String(word) => format!(" {word}"),
                number => format!(" {key}={number}"),
            };
        }
        let name = name.replace("payload_bytes", "bytes");
        writeln!(f, "{name:<46} {swarm:>12.1} {floor:>12.1} {:>6.2}", swarm / floor)
    }
}
