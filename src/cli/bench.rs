//! `swarm bench`: figures of this machine, each beside the control it is compared with.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::error::{CliError, Exit};
use super::output::{Output, on_stdout};
use crate::bench::kernels::{self, KernelsError};
use crate::bench::messaging::{self, MessagingError, responder};
use crate::bench::{Compared, Side};

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Asking an actor in another process on loopback, beside raw QUIC streams
    ///
    /// Asks in closed loops (with the processor time and the allocations of one, at both ends) and at a steady rate,
    /// tells, large messages, first replies of new connections and of those that come back, the memory of idle
    /// connections, and an actor of the same thread beside bare actix. Small asks on lanes stand beside a second
    /// control, `callers`: raw QUIC with a future for each request.
    Messaging(Messaging),
    /// Distances, searches and correlations, beside their plain scalar forms
    ///
    /// One thread. SWARM_SIMD=avx2 or portable measures what processors without AVX-512, or without either, get.
    Kernels(Kernels),
}

#[derive(Debug, Args)]
pub(crate) struct Messaging {
    /// How long each figure is measured, for each of its sides
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// Measure those cases only whose name, as in `lane-64-256` or `bulk_gbit_per_second-65536`, holds this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

#[derive(Debug, Args)]
pub(crate) struct Kernels {
    /// How long each figure is measured, for each of the two sides; at least once
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    seconds: Duration,
    /// Measure those cases only whose name, as in `dtw_ms-100-f64`, holds this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// The folder with `search_bench_reference.json` and its series; without it no search is measured
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Bench {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let mut measured = false;
        let mut report = |compared: &Compared| {
            let is_first = !std::mem::replace(&mut measured, true);
            if let (Output::Text, true) = (output, is_first) {
                let head = |stdout: &mut dyn io::Write| {
                    writeln!(stdout, "{:<58} {:>12} {:>12} {:>6}", "", "swarm", "floor", "ratio")
                };
                on_stdout(head).map_err(|error| error.to_string())?;
            }
            print(compared, output).map_err(|error| error.to_string())
        };
        let only = match self {
            Bench::Messaging(Messaging { seconds, only }) => {
                messaging::run(seconds, &only, &mut report)?;
                only
            }
            Bench::Kernels(Kernels { seconds, only, data }) => {
                if data.is_none() {
                    eprintln!("swarm: no search is measured: --data names no folder");
                }
                kernels::run(seconds, &only, data.as_deref(), &mut report)?;
                only
            }
        };
        if !measured {
            return Err(CliError::new(Exit::Usage, format_args!("no case has a name with {only:?} in it")));
        }
        Ok(())
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

impl From<KernelsError> for CliError {
    fn from(error: KernelsError) -> Self {
        match error {
            KernelsError::Data(error) => error.into(),
            KernelsError::Kernel(error) => error.into(),
            _ => Self::new(Exit::Failed, error),
        }
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
        Output::Text => output.print(&Rows(compared)),
        Output::Json => {
            let Compared { bench, metric, unit, ref params, swarm, ref controls } = *compared;
            for (side, value) in std::iter::once((Side::Swarm, swarm)).chain(controls.iter().copied()) {
                output.print(&Line { bench, metric, side, value, unit, params })?;
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

/// Four digits at least, and as many decimals as that takes.
fn figure(value: f64) -> String {
    let decimals = (0..5).find(|&decimals| value * 10_f64.powi(decimals) >= 1000.0).unwrap_or(5);
    format!("{value:.*}", decimals as usize)
}

/// One figure beside each of its controls.
#[derive(Serialize)]
#[serde(transparent)]
struct Rows<'a>(&'a Compared);

impl fmt::Display for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compared { metric, params, swarm, controls, .. } = self.0;
        let mut name = (*metric).to_owned();
        for (key, value) in params.as_object().into_iter().flatten() {
            name += &match value {
                serde_json::Value::String(word) => format!(" {word}"),
                number => format!(" {key}={number}"),
            };
        }
        let name = name.replace("payload_bytes", "bytes");
        for (side, control) in controls {
            let name = match side {
                Side::Callers => format!("{name} (callers)"),
                _ => name.clone(),
            };
            let (of_swarm, of_control) = (figure(*swarm), figure(*control));
            writeln!(f, "{name:<58} {of_swarm:>12} {of_control:>12} {:>6.3}", swarm / control)?;
        }
        Ok(())
    }
}
