//! The coordinator: what a task is called, how urgent it is, how far it got and why it failed.
//! The rule by which tasks become assignments to agents is [`board`].

pub mod board;
mod offer;
mod requests;
#[cfg(test)]
mod spec_vectors;

pub use offer::{InvalidSlots, Slots};
pub use requests::{
    AVOIDED_MAX, AgentSummary, CancelTask, Coordinator, CoordinatorStatus, INPUTS_MAX, ListAgents, ListTasks,
    PAYLOAD_BYTES_MAX, Part, PartAnswer, Status, SubmitTask, TaskProgress, TaskReport, TaskState,
    TaskSummary, WORD_BYTES_MAX, Waiting,
};

use crate::{Blob, ContentHash, NodeId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};
use uuid::Uuid;

/// The name of a task, chosen by its client: a key under which the task is done once.
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
pub struct TaskPriority(u8);

/// Why a number is no priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no priority: 0 to 10 is expected")]
pub struct InvalidTaskPriority(pub u8);

impl TaskPriority {
    /// The least urgent.
    pub const MIN: Self = Self(0);
    /// The most urgent.
    pub const MAX: Self = Self(10);
}

impl Default for TaskPriority {
    fn default() -> Self {
        Self(5)
    }
}

impl TryFrom<u8> for TaskPriority {
    type Error = InvalidTaskPriority;
    fn try_from(value: u8) -> Result<Self, InvalidTaskPriority> {
        if value <= Self::MAX.0 { Ok(Self(value)) } else { Err(InvalidTaskPriority(value)) }
    }
}

impl From<TaskPriority> for u8 {
    fn from(priority: TaskPriority) -> u8 {
        priority.0
    }
}

impl fmt::Display for TaskPriority {
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
    /// The coordinator holds as much as it may, or of this client as much as is left beside; nothing was queued.
    #[error("the coordinator holds at most {limit}, of one client as many as are left")]
    QueueFull {
        /// What it holds at most.
        limit: QueueLimit,
    },
    /// The task was done before, and its result is no longer held.
    #[error("task {task} has ended, and its result is no longer held")]
    Ended {
        /// The id that was submitted again.
        task: TaskId,
    },
    /// The deadline passed before every part was done.
    #[error("the task was not done by its deadline")]
    DeadlineExceeded,
    /// No agent that exposes the protocol was there for as long as the coordinator waits for one.
    #[error("no agent exposes the protocol {protocol:?}{}", Avoided(avoided))]
    NoCapableAgent {
        /// What the task needs.
        protocol: String,
        /// The agents that expose it, and that the task avoids.
        avoided: BTreeSet<NodeId>,
    },
    /// A part failed at every agent that could do it, or as often as a part may.
    #[error("part {part} failed after {attempts} attempts, the last at {agent}: {cause}")]
    PartFailed {
        /// The position of the part in the task, from 0.
        part: u32,
        /// How often an agent began it.
        attempts: u32,
        /// The agent that failed it last.
        agent: NodeId,
        /// What went wrong there.
        cause: String,
        /// The encoded error of the request, where that is what the agent answered: the coordinator does not open it.
        error: Option<Blob>,
    },
    /// Its client cancelled it or stopped waiting, or the coordinator stopped.
    #[error("the task was cancelled")]
    Cancelled,
    /// The coordinator does not have these inputs.
    #[error("{} inputs are missing, the first of them {}", hashes.len(), First(hashes))]
    MissingContent {
        /// What has to be uploaded before the task can be submitted again.
        hashes: Vec<ContentHash>,
    },
    /// The task itself makes no sense.
    #[error("the task is invalid: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
}

impl TaskError {
    /// `Ok` where a task whose `what`, as in "inputs", take so many bytes fits sooner or later: one client may have half of
    /// what the coordinator holds of all.
    pub fn unless_fits(what: &str, bytes: usize, held_max: usize) -> Result<(), Self> {
        let client_max = held_max / 2;
        if bytes <= client_max {
            return Ok(());
        }
        let reason = format!(
            "its {what} take {bytes} bytes at least, and no client may have more than {client_max}: the coordinator needs more \
             memory (memory_mib of its node)"
        );
        Err(Self::Invalid { reason })
    }
}

/// How much a coordinator may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum QueueLimit {
    /// So many tasks, queued or running.
    #[error("{0} tasks")]
    Tasks(u32),
    /// So many bytes of tasks and of answers to their parts.
    #[error("{0} bytes of tasks and answers")]
    Bytes(u64),
    /// So many bytes of content, of which the inputs of tasks stay.
    #[error("{0} bytes of inputs")]
    Inputs(u64),
}

/// The end of a sentence: whom a task avoids.
struct Avoided<'a>(&'a BTreeSet<NodeId>);

impl fmt::Display for Avoided<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, agent)| match at {
            0 => write!(f, " but those that the task avoids: {agent}"),
            _ => write!(f, ", {agent}"),
        })
    }
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
        assert_eq!(TaskPriority::try_from(10), Ok(TaskPriority::MAX));
        assert_eq!(TaskPriority::try_from(11), Err(InvalidTaskPriority(11)));
        assert_eq!(decode(&encode(&10_u8).unwrap()), Ok(TaskPriority::MAX));
        assert!(decode::<TaskPriority>(&encode(&11_u8).unwrap()).is_err());
        assert!(TaskPriority::MIN < TaskPriority::default() && TaskPriority::default() < TaskPriority::MAX);
    }

    #[test]
    fn the_sentence_about_missing_inputs_names_the_first() {
        let abc = ContentHash::of(b"abc");
        let sentence = TaskError::MissingContent { hashes: vec![abc, ContentHash::of(b"d")] }.to_string();
        assert_eq!(sentence, format!("2 inputs are missing, the first of them {abc}"));
    }

    #[test]
    fn the_sentence_about_a_lack_of_agents_names_those_that_are_avoided() {
        let sentence = |avoided: &[&str]| {
            let avoided = avoided.iter().map(|name| name.parse().unwrap()).collect();
            TaskError::NoCapableAgent { protocol: "adder".into(), avoided }.to_string()
        };
        assert_eq!(sentence(&[]), "no agent exposes the protocol \"adder\"");
        assert_eq!(
            sentence(&["a", "b"]),
            "no agent exposes the protocol \"adder\" but those that the task avoids: a, b"
        );
    }
}
