//! A task as a file in JSON: what `swarm submit` hands to a coordinator.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use swarm_protocols::coordinator::Priority;
use swarm_protocols::similar_windows::Symbol;

use super::topology::JobKind;
use crate::input::{self, InputError, Source};

/// The largest task file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A task that can be submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskFile {
    pub(crate) job: JobKind,
    pub(crate) priority: Priority,
    /// The time that it may take, queueing included.
    pub(crate) deadline: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTask {
    kind: RawKind,
    data: PathBuf,
    symbols: Symbols,
    #[serde(default)]
    priority: Priority,
    deadline_seconds: Option<Seconds>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawKind {
    SimilarWindows,
}

/// At least one symbol, each once.
#[derive(Deserialize)]
#[serde(try_from = "Vec<Symbol>")]
struct Symbols(Vec<Symbol>);

impl TryFrom<Vec<Symbol>> for Symbols {
    type Error = String;

    fn try_from(symbols: Vec<Symbol>) -> Result<Self, String> {
        if symbols.is_empty() {
            return Err("no symbols, at least one is expected".to_owned());
        }
        let mut seen = BTreeSet::new();
        match symbols.iter().find(|symbol| !seen.insert(*symbol)) {
            Some(twice) => Err(format!("{twice} is named twice")),
            None => Ok(Self(symbols)),
        }
    }
}

/// A time above zero.
#[derive(Deserialize)]
#[serde(try_from = "f64")]
struct Seconds(Duration);

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Self, String> {
        let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
        time.map(Self).ok_or_else(|| format!("{seconds} seconds, more than none are expected"))
    }
}

impl TaskFile {
    /// Reads a task file. The folder with its data is relative to the file.
    pub(crate) fn read(source: &Source) -> Result<Self, InputError> {
        Self::parse(source, &input::text(source, FILE_BYTES_MAX)?)
    }

    fn parse(source: &Source, text: &str) -> Result<Self, InputError> {
        let raw: RawTask = serde_json::from_str(text).map_err(|error| fault(source, text, &error))?;
        let RawTask { kind: RawKind::SimilarWindows, data, symbols, priority, deadline_seconds } = raw;
        let folder = match source {
            Source::File(file) => file.parent().unwrap_or(Path::new("")),
            Source::Stdin => Path::new(""),
        };
        let job = JobKind::SimilarWindows { data: folder.join(data), symbols: symbols.0 };
        Ok(Self { job, priority, deadline: deadline_seconds.map(|seconds| seconds.0) })
    }
}

/// The error with its place, which counts bytes in a line where ours count characters.
fn fault(source: &Source, text: &str, error: &serde_json::Error) -> InputError {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let before = line.get(..error.column().saturating_sub(1)).unwrap_or(line);
    InputError::at(source, error.line().max(1), before.chars().count() + 1, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TaskFile, String> {
        let source = Source::File("tasks/one.json".into());
        TaskFile::parse(&source, text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_task_names_its_data_beside_the_file() {
        let text = r#"{"kind": "similar-windows", "data": "../data", "symbols": ["SPY", "BRK.B"]}"#;
        let symbols = vec!["SPY".parse().unwrap(), "BRK.B".parse().unwrap()];
        let job = JobKind::SimilarWindows { data: "tasks/../data".into(), symbols };
        let plain = TaskFile { job, priority: Priority::default(), deadline: None };
        assert_eq!(parse(text), Ok(plain.clone()));
        let urgent = text.replace("}", r#", "priority": 10, "deadline_seconds": 1.5}"#);
        let deadline = Some(Duration::from_millis(1_500));
        assert_eq!(parse(&urgent), Ok(TaskFile { priority: Priority::MAX, deadline, ..plain }));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, expected) in [
            ("{", ":1:1: EOF"),
            ("{\"kind\": \"dance\"}", ":1:16: unknown variant `dance`"),
            ("{\n \"kynd\": 1}", ":2:7: unknown field `kynd`"),
            ("{\"kind\": \"similar-windows\",\n\"data\": \".\"}", ":2:12: missing field `symbols`"),
            ("{\"symbols\": [\"SPY\",\n \"spy\"]}", ":2:7: \"spy\" is no symbol"),
            ("{\"symbols\": []}", "no symbols, at least one"),
            ("{\"symbols\": [\"A\", \"A\"]}", "A is named twice"),
            ("{\"priority\": 11}", "11 is no priority"),
            ("{\"deadline_seconds\": 0}", "0 seconds, more than none"),
            ("{\"deadline_seconds\": -1}", "-1 seconds, more than none"),
            ("{\"kind\": \"similar-windows\", \"data\": \".\", \"symbols\": [\"A\"]} x", ":1:60: trailing"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("tasks/one.json:"), "{error}");
            assert!(error.contains(expected), "{error}\ndoes not say\n{expected}");
        }
    }
}
