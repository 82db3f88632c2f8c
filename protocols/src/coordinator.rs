//! The coordinator: what a task is called, how urgent it is, how far it got and why it failed.
//! The rule by which tasks become assignments to agents is [`board`].

pub mod board;
mod offer;
mod requests;

pub use offer::{InvalidOffer, Offer, SLOTS_DEFAULT, SLOTS_MAX};
pub use requests::{
    AgentSummary, Coordinator, CoordinatorStatus, Job, JobResult, ListAgents, ListTasks, Status, SubmitTask,
    TaskProgress, TaskReport, TaskState, TaskSummary,
};

use crate::ContentHash;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// The name of a task, chosen by its client. While a task lives, submitting its id again is refused as a
/// duplicate; once it has ended the id is forgotten with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(Uuid);

impl From<Uuid> for TaskId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl From<TaskId> for Uuid {
    fn from(id: TaskId) -> Self {
        id.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no id of a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no task id: a UUID is expected")]
pub struct InvalidTaskId {
    /// The text as given, cut off after 80 characters.
    pub text: String,
}

impl FromStr for TaskId {
    type Err = InvalidTaskId;
    fn from_str(text: &str) -> Result<Self, InvalidTaskId> {
        Uuid::parse_str(text).map(Self).map_err(|_| InvalidTaskId { text: text.chars().take(80).collect() })
    }
}

/// How urgent a task is: 0 to 10, 10 being the most urgent. A client that says nothing gets 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

/// Why a number is no priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no priority: 0 to 10 is expected")]
pub struct InvalidPriority(pub u8);

impl Priority {
    /// The least urgent.
    pub const MIN: Self = Self(0);
    /// The most urgent.
    pub const MAX: Self = Self(10);
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

impl TryFrom<u8> for Priority {
    type Error = InvalidPriority;
    fn try_from(value: u8) -> Result<Self, InvalidPriority> {
        if value <= Self::MAX.0 { Ok(Self(value)) } else { Err(InvalidPriority(value)) }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> u8 {
        priority.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a task got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Parts with an accepted result.
    pub done: u32,
    /// Parts that an agent works on now.
    pub assigned: u32,
    /// All parts of the task.
    pub total: u32,
}

/// Why a task was refused, or ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TaskError {
    /// The coordinator holds as many tasks as it may; nothing was queued.
    #[error("the coordinator already holds {limit} tasks, which is its limit")]
    QueueFull {
        /// The number of tasks that may be queued or running.
        limit: u32,
    },
    /// The task is here already, or an agent still works on an earlier run of it.
    #[error("task {task} is being worked on already")]
    Duplicate {
        /// The id that was submitted again.
        task: TaskId,
    },
    /// The deadline passed before every part was done.
    #[error("the task was not done by its deadline")]
    DeadlineExceeded,
    /// No agent with the capability was there for as long as the coordinator waits for one.
    #[error("no agent offers the capability {capability:?}")]
    NoCapableAgent {
        /// What the task needs.
        capability: String,
    },
    /// A part failed for good, or as often as a part may.
    #[error("part {part} failed on attempt {attempts}: {cause}")]
    PartFailed {
        /// The position of the part in the task, from 0.
        part: u32,
        /// How often it was assigned.
        attempts: u32,
        /// What went wrong the last time.
        cause: String,
    },
    /// Its client cancelled it or stopped waiting, or the coordinator stopped.
    #[error("the task was cancelled")]
    Cancelled,
    /// The coordinator does not have the content of these parts.
    #[error("the content of {} parts is missing, the first of them {}", parts.len(), First(parts))]
    MissingParts {
        /// What has to be uploaded before the task can be submitted again.
        parts: Vec<ContentHash>,
    },
    /// The task itself makes no sense.
    #[error("the task is invalid: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
}

/// The sentence comes from the wire as well, where the list may be empty.
struct First<'a>(&'a [ContentHash]);

impl fmt::Display for First<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.first() {
            Some(hash) => hash.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::{decode, encode};

    #[test]
    fn a_task_id_is_a_uuid_in_text_and_on_the_wire() {
        let text = "018f4e1c-7a5b-7c3d-9e2f-0123456789ab";
        let id: TaskId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(decode(&encode(&id).unwrap()), Ok(id));
        assert_eq!("task-1".parse::<TaskId>(), Err(InvalidTaskId { text: "task-1".into() }));
    }

    #[test]
    fn a_priority_is_0_to_10_in_code_and_on_the_wire() {
        assert_eq!(Priority::try_from(10), Ok(Priority::MAX));
        assert_eq!(Priority::try_from(11), Err(InvalidPriority(11)));
        assert_eq!(decode(&encode(&10_u8).unwrap()), Ok(Priority::MAX));
        assert!(decode::<Priority>(&encode(&11_u8).unwrap()).is_err());
        assert!(Priority::MIN < Priority::default() && Priority::default() < Priority::MAX);
    }

    #[test]
    fn the_sentence_about_missing_parts_names_the_first() {
        let abc = ContentHash::of(b"abc");
        let sentence = TaskError::MissingParts { parts: vec![abc, ContentHash::of(b"d")] }.to_string();
        assert_eq!(sentence, format!("the content of 2 parts is missing, the first of them {abc}"));
    }
}
