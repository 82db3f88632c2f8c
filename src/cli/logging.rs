//! Logs on stderr, for people.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use super::error::{CliError, Exit};
use crate::stderr;
use crate::swarm::progress::CLEAR_LINE;
use crate::swarm::report::Colour;

/// The variable that says what is logged, such as `debug` or `swarm_actors=trace`.
const VARIABLE: &str = "SWARM_LOG";

/// How much a process tells where nobody asked for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Warnings, without the time: somebody is looking on.
    Warnings,
    /// The life of a node, with the time.
    Life,
}

/// Starts logging; once in a process.
pub(crate) fn start(verbosity: Verbosity) -> Result<(), CliError> {
    let (default, timed) = match verbosity {
        Verbosity::Warnings => ("warn", false),
        Verbosity::Life => ("info", true),
    };
    let (variable, wanted) = [VARIABLE, "RUST_LOG"]
        .into_iter()
        .find_map(|variable| Some((variable, std::env::var(variable).ok().filter(|text| !text.is_empty())?)))
        .unwrap_or((VARIABLE, default.to_owned()));
    let filter = EnvFilter::try_new(&wanted).map_err(|error| {
        CliError::new(Exit::BadConfiguration, format_args!("the variable {variable} is {wanted:?}: {error}"))
    })?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(Colour::of_stderr() == Colour::Ansi)
        // A complaint about a closed stderr would go there as well, and panic.
        .log_internal_errors(false)
        .with_writer(|| OverProgress);
    if timed {
        logs.init()
    } else {
        logs.without_time().init()
    }
    Ok(())
}

/// Writes to stderr, on a terminal in place of a progress line that may stand there.
struct OverProgress;

impl Write for OverProgress {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if io::stderr().is_terminal() {
            stderr::write(&[CLEAR_LINE.as_bytes(), text].concat());
        } else {
            stderr::write(text);
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
