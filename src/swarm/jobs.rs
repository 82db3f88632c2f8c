//! The jobs of topologies and task files: each kind is a file beside this, and a line in [`KINDS`].

mod similar_windows;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use swarm_protocols::coordinator::TaskPriority;
use toml::Spanned;
use toml::de::DeValue;

use super::document::Document;
use super::node_file::AgentType;
use super::operator::{JobError, Operator};
use super::progress::Progress;
use crate::input::InputError;

/// Every kind of job.
const KINDS: [Kind; 1] = [similar_windows::KIND];

/// Reads a job in a topology; what is wrong with it is noted in the document.
type InTopology = fn(Spanned<DeValue<'_>>, &mut Document<'_>) -> Option<Arc<dyn Job>>;

/// Reads a job in a task file that lies in this folder.
type InTaskFile = fn(&str, &Path) -> Result<Arc<dyn Job>, TaskFault>;

/// A kind of job.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// The word for it in topologies, task files, lists and results.
    pub(crate) word: &'static str,
    /// The agents of a topology that do it.
    pub(crate) agent_type: AgentType,
    /// Reads the table `[[jobs]]` of a topology, with its keys `name` and `kind`.
    pub(crate) in_topology: InTopology,
    /// Reads a task file, with its keys `kind`, `priority` and `deadline_seconds`. Paths in it are relative to the folder.
    pub(crate) in_task_file: InTaskFile,
}

/// What is wrong with a task file.
pub(crate) enum TaskFault {
    Json(serde_json::Error),
    /// A value that begins at a byte of the file.
    At(usize, String),
}

impl From<serde_json::Error> for TaskFault {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

impl TaskFault {
    /// What is wrong with a `value` of `text`, which is a part of it.
    fn at(text: &str, value: &RawValue, error: impl fmt::Display) -> Self {
        Self::At(value.get().as_ptr().addr() - text.as_ptr().addr(), error.to_string())
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KindVisitor)
    }
}

/// Judges the word where it stands, so that the fault has its place.
struct KindVisitor;

impl de::Visitor<'_> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the word for a kind of job")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Kind, E> {
        KINDS.into_iter().find(|kind| kind.word == word).ok_or_else(|| {
            let known: Vec<&str> = KINDS.iter().map(|kind| kind.word).collect();
            let command = match word {
                "correlate" => "; `swarm correlate --connect` takes a table instead",
                "search" | "classify" | "distance" => "; `swarm match` with --connect takes files instead",
                _ => "",
            };
            E::custom(format_args!("unknown kind `{word}`, expected {}{command}", known.join(", ")))
        })
    }
}

/// A job that is described and not begun.
pub(crate) trait Job: fmt::Debug + Send + Sync {
    /// Reads what it needs; this blocks.
    fn load(&self) -> Result<Box<dyn Loaded>, InputError>;
}

/// A job with everything that it needs.
pub(crate) trait Loaded: Send {
    /// Has the agents of a swarm do it.
    fn run<'a>(
        self: Box<Self>,
        operator: &'a Operator,
        name: &'a str,
        terms: Terms,
        progress: &'a mut Progress,
    ) -> LocalBoxFuture<'a, Result<Done, JobError>>;
}

/// How a job stands among others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) priority: TaskPriority,
    /// The time that it may take, queueing included.
    pub(crate) deadline: Option<Duration>,
}

/// A job that was done.
#[derive(Debug)]
pub(crate) struct Done {
    /// How many agents did it.
    pub(crate) agents: usize,
    pub(crate) time: Duration,
    /// The result for programs.
    pub(crate) json: Box<RawValue>,
    /// The result for people, in a few lines.
    pub(crate) summary: String,
    /// All of it for people.
    pub(crate) report: String,
}
