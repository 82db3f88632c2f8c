//! Results on stdout, as text for people or as JSON.

use std::fmt;
use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::ser::Formatter;
use swarm_protocols::visible;

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
            Output::Json => write_json(result, stdout),
        })
    }

    /// The same from a future, which alone waits for the reader: the thread that polls it does not.
    pub(crate) async fn print_aside<R: Serialize + fmt::Display>(self, result: &R) -> Result<(), CliError> {
        let text = match self {
            Output::Text => result.to_string().into_bytes(),
            Output::Json => {
                let mut json = Vec::new();
                write_json(result, &mut json)
                    .expect("a result has string keys, and memory takes what is written");
                json
            }
        };
        let written = tokio::task::spawn_blocking(move || on_stdout(|stdout| stdout.write_all(&text))).await;
        written.map_err(|error| CliError::new(Exit::Failed, error))?
    }
}

/// Writes one line of JSON, in which what would steer a terminal or cannot be seen is written as an escape.
fn write_json(result: &impl Serialize, mut writer: impl Write) -> io::Result<()> {
    result.serialize(&mut serde_json::Serializer::with_formatter(&mut writer, Visible))?;
    writeln!(writer)
}

struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        let turns = |c: char| c > '~' && visible(c) != c;
        for piece in text.split_inclusive(turns) {
            let plain = piece.trim_end_matches(turns);
            writer.write_all(plain.as_bytes())?;
            for unit in piece[plain.len()..].encode_utf16() {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }

    /// JSON that was made before: beyond ASCII there is something in strings alone.
    fn write_raw_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, json: &str) -> io::Result<()> {
        self.write_string_fragment(writer, json)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_json_turns_no_direction_of_reading_and_says_the_same() {
        let said = "a\u{202e}b\u{2067}\u{200f}é\u{1b}\n\u{7f}\u{85}\u{9b}\u{2028}\u{e0041}";
        let mut line = Vec::new();
        write_json(&[said], &mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert_eq!(
            line,
            "[\"a\\u202eb\\u2067\\u200fé\\u001b\\n\\u007f\\u0085\\u009b\\u2028\\udb40\\udc41\"]\n"
        );
        assert_eq!(serde_json::from_str::<Vec<String>>(&line).unwrap(), [said]);
    }
}
