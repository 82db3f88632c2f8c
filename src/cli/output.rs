//! Results on stdout, as text for people or as JSON.

use std::fmt;
use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::error::{CliError, Exit};

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Text,
    Json,
}

impl Output {
    /// Prints a result: its `Display` is the text form, its `Serialize` the JSON form.
    pub(crate) fn print<R: Serialize + fmt::Display>(self, result: &R) -> Result<(), CliError> {
        on_stdout(|stdout| match self {
            Output::Text => write!(stdout, "{result}"),
            Output::Json => {
                serde_json::to_writer(&mut *stdout, result)?;
                writeln!(stdout)
            }
        })
    }

    /// The same from a future, which alone waits for the reader: the thread that polls it does not.
    pub(crate) async fn print_aside<R: Serialize + fmt::Display>(self, result: &R) -> Result<(), CliError> {
        let text = match self {
            Output::Text => result.to_string().into_bytes(),
            Output::Json => {
                let mut json = serde_json::to_vec(result).expect("a result has string keys");
                json.push(b'\n');
                json
            }
        };
        let written = tokio::task::spawn_blocking(move || on_stdout(|stdout| stdout.write_all(&text))).await;
        written.map_err(|error| CliError::new(Exit::Failed, error))?
    }
}

/// A time for people: two units of it are enough.
pub(crate) fn elapsed(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// Writes to stdout. A reader that has seen enough (`swarm … | head`) is no failure.
pub(crate) fn on_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    match write(&mut stdout).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::new(Exit::Failed, format_args!("cannot write to stdout: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
