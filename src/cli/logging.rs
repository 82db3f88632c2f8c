//! Logs on stderr: for people on a terminal, as a line of JSON each everywhere else.

use std::io::{self, IsTerminal, Write};

use swarm_protocols::{unstacked, visible};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::error::CliError;
use crate::stderr;
use crate::swarm::node_options::LogFilter;
use crate::swarm::progress::CLEAR_LINE;
use crate::swarm::report::Colour;

/// How much a process tells where nobody asked for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Warnings, without the time on a terminal: somebody is looking on.
    Warnings,
    /// The life of a node, with the time.
    Life,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A sentence.
    Readable,
    /// An object.
    Json,
}

impl Form {
    /// The form for what is on the other end of stderr.
    pub(crate) fn of_stderr() -> Self {
        if io::stderr().is_terminal() { Form::Readable } else { Form::Json }
    }
}

/// Changes what is logged while the process runs.
pub(crate) struct LogSwitch {
    filter: reload::Handle<EnvFilter, Registry>,
    verbosity: Verbosity,
}

impl LogSwitch {
    /// From now on `filter` is logged.
    pub(crate) fn set(&self, filter: Option<LogFilter>) {
        let filter = or_default(filter, self.verbosity);
        self.filter.reload(filter).expect("the logs live as long as the process");
    }
}

/// Starts logging as the environment wants it; once in a process.
pub(crate) fn start(verbosity: Verbosity) -> Result<(), CliError> {
    start_with(LogFilter::of_environment()?, verbosity, Form::of_stderr());
    Ok(())
}

/// Starts logging; once in a process.
pub(crate) fn start_with(filter: Option<LogFilter>, verbosity: Verbosity, form: Form) -> LogSwitch {
    let (filter, switch) = reload::Layer::new(or_default(filter, verbosity));
    let lines = fmt::layer()
        // A complaint about a closed stderr would go there as well, and panic.
        .log_internal_errors(false)
        .with_writer(|| OverProgress);
    let lines = match (form, verbosity) {
        (Form::Json, _) => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
        (Form::Readable, Verbosity::Life) => lines.with_target(false).with_ansi(has_colour()).boxed(),
        (Form::Readable, Verbosity::Warnings) => {
            lines.with_target(false).with_ansi(has_colour()).without_time().boxed()
        }
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    LogSwitch { filter: switch, verbosity }
}

fn or_default(filter: Option<LogFilter>, verbosity: Verbosity) -> EnvFilter {
    let default = match verbosity {
        Verbosity::Warnings => "warn",
        Verbosity::Life => "info",
    };
    filter.unwrap_or_else(|| default.parse().expect("a level is a filter")).filter()
}

fn has_colour() -> bool {
    Colour::of_stderr() == Colour::Ansi
}

/// Writes to stderr, on a terminal in place of a progress line that may stand there.
struct OverProgress;

impl Write for OverProgress {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let begin = if io::stderr().is_terminal() { CLEAR_LINE } else { "" };
        // The subscriber replaces control characters of peers and writes those of colours itself.
        let fit = |c: char| if c.is_control() { c } else { visible(c) };
        let line: String =
            begin.chars().chain(unstacked(String::from_utf8_lossy(text).chars().map(fit))).collect();
        stderr::write(line.as_bytes());
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
