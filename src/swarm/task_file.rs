//! A task as a file in JSON: what `swarm submit` hands to a coordinator.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use swarm_protocols::coordinator::TaskPriority;
use swarm_protocols::printable;

use super::jobs::{Job, Kind, TaskFault, Terms};
use super::words::plain;
use crate::input::{self, InputError, Source, quote};

/// The largest task file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A task that can be submitted.
#[derive(Debug, Clone)]
pub(crate) struct TaskFile {
    pub(crate) kind: Kind,
    pub(crate) job: Arc<dyn Job>,
    pub(crate) terms: Terms,
}

/// What tasks of every kind say.
#[derive(Deserialize)]
struct Head {
    kind: Kind,
    #[serde(default)]
    priority: Priority,
    deadline_seconds: Option<Seconds>,
}

/// A priority that may be any number before it is judged.
#[derive(Default, Deserialize)]
#[serde(try_from = "i64")]
struct Priority(TaskPriority);

impl TryFrom<i64> for Priority {
    type Error = String;

    fn try_from(value: i64) -> Result<Self, String> {
        let priority = u8::try_from(value).ok().and_then(|value| TaskPriority::try_from(value).ok());
        priority.map(Self).ok_or_else(|| format!("{value} is no priority: 0 to 10 is expected"))
    }
}

/// A time above zero.
#[derive(Deserialize)]
#[serde(try_from = "serde_json::Number")]
struct Seconds(Duration);

impl TryFrom<serde_json::Number> for Seconds {
    type Error = String;

    fn try_from(seconds: serde_json::Number) -> Result<Self, String> {
        let time = match seconds.as_u64() {
            Some(whole) => Some(Duration::from_secs(whole)),
            None => seconds.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        };
        time.filter(|time| !time.is_zero())
            .map(Self)
            .ok_or_else(|| format!("{seconds} seconds, expected are more than 0 and less than 2^64"))
    }
}

impl TaskFile {
    /// Reads a task file. The folder with its data is relative to the file.
    pub(crate) fn read(source: &Source) -> Result<Self, InputError> {
        Self::parse(source, &input::text(source, FILE_BYTES_MAX)?)
    }

    fn parse(source: &Source, text: &str) -> Result<Self, InputError> {
        refuse_other_values(source, text)?;
        let at = |error: serde_json::Error| fault(source, text, &error);
        let Head { kind, priority, deadline_seconds } = serde_json::from_str(text).map_err(at)?;
        let folder = match source {
            Source::File(file) => file.parent().unwrap_or(Path::new("")),
            Source::Stdin => Path::new(""),
        };
        let job = (kind.in_task_file)(text, folder).map_err(|fault| match fault {
            TaskFault::Json(error) => at(error),
            TaskFault::At(start, message) => at_byte(source, text, start, printable(&message)),
        })?;
        let deadline = deadline_seconds.map(|seconds| seconds.0);
        Ok(Self { kind, job, terms: Terms { priority: priority.0, deadline } })
    }
}

/// A list would be read as a task whose keys are left out, and nothing at all as one that ends too early.
fn refuse_other_values(source: &Source, text: &str) -> Result<(), InputError> {
    const EXPECTED: &str =
        r#"expected a task, such as {"kind": "similar-windows", "data": "FOLDER", "symbols": ["SPY"]}"#;
    let rest = text.trim_ascii_start();
    let Some(first) = rest.chars().next() else {
        return Err(InputError::whole(source, format!("is empty, {EXPECTED}")));
    };
    if first == '{' {
        return Ok(());
    }
    let found = if first == '[' { "a list".to_owned() } else { quote(&first.to_string()) };
    Err(at_byte(source, text, text.len() - rest.len(), format!("{EXPECTED}, found {found}")))
}

/// An error of what begins at a byte.
fn at_byte(source: &Source, text: &str, start: usize, message: String) -> InputError {
    let before = &text[..start];
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    InputError::at(source, before.matches('\n').count() + 1, column, message)
}

/// The error with its place, which counts bytes in a line where ours count characters.
fn fault(source: &Source, text: &str, error: &serde_json::Error) -> InputError {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let before = line.get(..error.column().saturating_sub(1)).unwrap_or(line);
    InputError::at(
        source,
        error.line().max(1),
        before.chars().count() + 1,
        printable(&plain(message, "an object")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TaskFile, String> {
        let source = Source::File("tests/one.json".into());
        TaskFile::parse(&source, text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_task_names_its_data_beside_the_file() {
        let text =
            r#"{"kind": "similar-windows", "data": "../examples/data/us_equity", "symbols": ["SPY", "QQQ"]}"#;
        let plain = parse(text).unwrap();
        assert_eq!((plain.kind.word, plain.terms), ("similar-windows", Terms::default()));
        let described = "SimilarWindows { data: \"tests/../examples/data/us_equity\", symbols: [Symbol(\"SPY\"), Symbol(\"QQQ\")] }";
        assert_eq!(format!("{:?}", plain.job), described);
        let urgent = text.replace("}", r#", "priority": 10, "deadline_seconds": 1.5}"#);
        let deadline = Some(Duration::from_millis(1_500));
        assert_eq!(parse(&urgent).unwrap().terms, Terms { priority: TaskPriority::MAX, deadline });
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, expected) in [
            ("{", ":1:1: the file ends too early"),
            ("{\"kind\": \"\\u001b[2J\"}", "unknown kind `\u{fffd}[2J`"),
            ("{\"kind\": \"dance\"}", ":1:16: unknown kind `dance`, expected similar-windows"),
            ("{\n \"kynd\": 1}", ":2:11: `kind` is missing"),
            (
                "{\"kind\": \"similar-windows\", \"data\": \".\", \"symbols\": [\"A\"],\n \"x\": 1}",
                ":2:4: unknown key `x`",
            ),
            ("{\"kind\": \"similar-windows\",\n\"data\": \".\"}", ":2:12: `symbols` is missing"),
            (
                "{\"kind\": \"similar-windows\", \"data\": \".\", \"symbols\": [\"SPY\",\n \"spy\"]}",
                ":2:7: \"spy\" is no symbol",
            ),
            ("{\"kind\": \"similar-windows\", \"data\": \".\", \"symbols\": []}", "no symbols, at least one"),
            (
                "{\"kind\": \"similar-windows\", \"data\": \".\", \"symbols\": [\"A\", \"A\"]}",
                "two symbols are called A",
            ),
            (
                "{\"kind\": \"similar-windows\",\n\"data\": \"none\", \"symbols\": [\"SPY\"]}",
                ":2:9: tests/none: there is no such folder",
            ),
            (
                "{\"kind\": \"similar-windows\", \"data\": \"../examples/data/us_equity\",\n\"symbols\": [\"SPY\", \"NO\"]}",
                ":2:20: tests/../examples/data/us_equity: holds no bars of NO: there is no no_daily.csv.gz",
            ),
            (
                "{\"kind\": \"correlate\"}",
                "expected similar-windows; `swarm correlate --connect` takes a table",
            ),
            ("{\"priority\": 11}", "11 is no priority"),
            ("{\"priority\": -1}", "-1 is no priority: 0 to 10 is expected"),
            ("{\"priority\": 1.5}", "expected a whole number, found the number 1.5"),
            ("{\"priority\": \"1\"}", "expected a whole number, found the text \"1\""),
            ("{\"deadline_seconds\": \"5\"}", "expected a number, found the text \"5\""),
            ("{\"deadline_seconds\": 1e400}", "the number is too large"),
            ("{\"kind\": null}", "expected the word for a kind of job, found null"),
            ("{kind: 1}", ":1:2: expected a key in double quotes"),
            (
                "{\"kind\": \"similar-windows\", \"data\": 5, \"symbols\": [\"A\"]}",
                "expected a path in quotes, found the number 5",
            ),
            (
                "{\"kind\": \"similar-windows\", \"data\": \".\", \"symbols\": \"A\"}",
                "expected a list, found the text \"A\"",
            ),
            (
                "{\"kind\": \"similar-windows\", \"data\": {}, \"symbols\": [null]}",
                "expected a path in quotes, found an object",
            ),
            ("{\"deadline_seconds\": 0}", ":1:23: 0 seconds, expected are more than 0"),
            ("{\"deadline_seconds\": -1}", "-1 seconds, expected are more than 0"),
            (
                "{\"deadline_seconds\": 1e308}",
                ":1:27: 1e+308 seconds, expected are more than 0 and less than 2^64",
            ),
            (
                "{\"kind\": \"similar-windows\", \"data\": \".\", \"symbols\": [\"A\"]} x",
                ":1:60: expected the end of the file",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("tests/one.json:"), "{error}");
            assert!(error.contains(expected), "{error}\ndoes not say\n{expected}");
        }
    }

    #[test]
    fn f14_what_is_no_task_at_all_is_named_with_what_is_expected() {
        for (text, expected) in [
            ("[]", ":1:1: expected a task, such as {\"kind\": "),
            ("\n  [\"similar-windows\", 3, 1.5]", ":2:3: expected a task"),
            ("[]", "\"symbols\": [\"SPY\"]}, found a list"),
            ("5", "found \"5\""),
            ("kind = 1", "found \"k\""),
            ("", "tests/one.json: is empty, expected a task"),
            (" \r\n\t", "is empty"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}\ndoes not say\n{expected}");
        }
    }
}
