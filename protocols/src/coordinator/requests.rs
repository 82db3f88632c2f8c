//! What clients ask of a coordinator.

use super::{Progress, TaskError, TaskId, TaskPriority, board::PARTS_MAX};
use crate::{
    Blob, ContentHash, NodeId, Request,
    content_store::{MissingContent, StoreContent},
    protocol,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

protocol! {
    /// An actor that accepts tasks and gives parts of them to agents.
    pub Coordinator = "coordinator" {
        SubmitTask, CancelTask, TaskProgress, CoordinatorStatus, ListAgents, ListTasks, StoreContent, MissingContent,
    }
}

/// The payloads of one task together, in bytes: the task is one message with some room for its rest.
pub const PAYLOAD_BYTES_MAX: usize = 48 << 20;

/// The most inputs that one part names.
pub const INPUTS_MAX: usize = 64;

/// The most agents that a task avoids.
pub const AVOIDED_MAX: usize = 256;

/// The longest kind, protocol or request that a task names, in bytes.
pub const WORD_BYTES_MAX: usize = 64;

/// Does a task; the reply is the answers to its parts. A client that asks for the same task under the same id joins it, and
/// gets the same answer. The task is cancelled once every client that asked has stopped waiting; one that tells it cancels
/// it with [`CancelTask`].
///
/// The coordinator never opens payloads, inputs or answers: it hands each part to an agent that exposes the protocol,
/// on behalf of whoever submitted the task. It must have been given all inputs before, with [`StoreContent`], and holds it at
/// least as long as the task lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Request)]
#[request(name = "submit-task", reply = TaskReport, error = TaskError)]
pub struct SubmitTask {
    /// Its name, chosen by the client.
    pub id: TaskId,
    /// A word for what it does, which lists show: 1 to [`WORD_BYTES_MAX`] printable ASCII characters without spaces.
    pub kind: String,
    /// How urgent it is.
    pub priority: TaskPriority,
    /// The time it may take, queueing included; `None` for as long as the client waits.
    pub deadline: Option<Duration>,
    /// The name of the protocol that an agent must expose to be given parts of it: a word like `kind`.
    pub protocol: String,
    /// What is to be done: 1 to [`PARTS_MAX`] requests that do not depend on each other.
    pub parts: Vec<Part>,
    /// What a part waits for while the agent it was placed on is busy.
    pub waiting: Waiting,
    /// Agents that are never given a part of it, because the client does not want their answers: at most
    /// [`AVOIDED_MAX`].
    pub avoid: BTreeSet<NodeId>,
}

/// A part of a task: an encoded request of the task's protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The name of the request: a word like [`SubmitTask::kind`].
    pub request: String,
    /// The version of the request.
    pub version: u16,
    /// The encoded request.
    pub payload: Blob,
    /// The content that the request refers to, at most [`INPUTS_MAX`]. The agent is given what it lacks of it before it
    /// is asked; where it has the first one, the part is best done.
    pub inputs: Vec<ContentHash>,
}

/// What a part waits for while the agent it was placed on has no free slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// For that agent: the work is short, and handing out the inputs takes long beside it.
    ForHome,
    /// For whoever is free first.
    ForAnyone,
}

/// A finished task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// The answers, in the order of the parts.
    pub answers: Vec<PartAnswer>,
}

/// What an agent answered to a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartAnswer {
    /// Who answered.
    pub agent: NodeId,
    /// The encoded reply of the request.
    pub reply: Blob,
}

impl SubmitTask {
    /// Whether the task makes sense and is no larger than one may be: it comes from a client. Whether its inputs are
    /// there is for the coordinator to find out, and whether its requests make sense for the agents.
    pub fn check(&self) -> Result<(), TaskError> {
        self.fault().map_or(Ok(()), |reason| Err(TaskError::Invalid { reason }))
    }

    /// What is wrong with it.
    fn fault(&self) -> Option<String> {
        let parts = self.parts.len();
        if parts == 0 || parts > PARTS_MAX {
            return Some(format!("it has {parts} parts, 1 to {PARTS_MAX} are expected"));
        }
        if self.avoid.len() > AVOIDED_MAX {
            return Some(format!(
                "it avoids {} agents, at most {AVOIDED_MAX} are expected",
                self.avoid.len()
            ));
        }
        let payload_bytes: usize = self.parts.iter().map(|part| part.payload.len()).sum();
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Some(format!(
                "its payloads have {payload_bytes} bytes, {PAYLOAD_BYTES_MAX} are the limit"
            ));
        }
        let of_task = word_fault("kind", &self.kind).or_else(|| word_fault("protocol", &self.protocol));
        of_task.or_else(|| self.parts.iter().enumerate().find_map(|(at, part)| part.fault(at)))
    }
}

impl Part {
    fn fault(&self, at: usize) -> Option<String> {
        let inputs = self.inputs.len();
        if inputs > INPUTS_MAX {
            return Some(format!("part {at} has {inputs} inputs, at most {INPUTS_MAX} are expected"));
        }
        word_fault("request", &self.request).map(|fault| format!("part {at}: {fault}"))
    }
}

fn word_fault(what: &str, word: &str) -> Option<String> {
    let is_word =
        (1..=WORD_BYTES_MAX).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic());
    if is_word {
        return None;
    }
    let shown: String = word.chars().take(80).collect();
    Some(format!("its {what} is {shown:?}, 1 to {WORD_BYTES_MAX} printable ASCII characters are expected"))
}

/// Ends a task, whoever submitted it, and withdraws what agents do of it. The reply is `false` where there is no such
/// task, or no longer; one that comes within 10 s after it is refused as cancelled, since a long task may be overtaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Request)]
#[request(name = "cancel-task", reply = bool)]
pub struct CancelTask {
    /// Its name.
    pub id: TaskId,
}

/// How far a task is; `None` where there is no such task, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Request)]
#[request(name = "task-progress", reply = Option<Progress>)]
pub struct TaskProgress {
    /// Its name.
    pub id: TaskId,
}

/// What the coordinator sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Request)]
#[request(name = "coordinator-status", reply = Status)]
pub struct CoordinatorStatus;

/// The reply to [`CoordinatorStatus`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How long it has been running.
    pub uptime: Duration,
    /// The agents that are connected and can be given work.
    pub agents: BTreeSet<NodeId>,
    /// Tasks of which no part was given to an agent yet.
    pub queued: u32,
    /// Tasks that were begun.
    pub running: u32,
    /// Requests that the coordinator's node has sent.
    pub sent: u64,
    /// Requests that it has received.
    pub received: u64,
    /// The median time from asking an agent to its answer, the work included.
    pub p50: Option<Duration>,
    /// The 99th percentile of the same.
    pub p99: Option<Duration>,
}

/// The agents that can be given work, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Request)]
#[request(name = "list-agents", reply = Vec<AgentSummary>)]
pub struct ListAgents;

/// An agent as its coordinator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSummary {
    /// Its node.
    pub name: NodeId,
    /// What kind of agent it says it is.
    pub agent_type: String,
    /// The names of the protocols that it exposes.
    pub protocols: BTreeSet<String>,
    /// How many parts it works on at once.
    pub slots: u32,
    /// How many it has in progress.
    pub assigned: u32,
    /// How many parts it has answered since it connected.
    pub answered: u64,
    /// How long it has been connected.
    pub connected: Duration,
}

/// The tasks that are queued or running, the most urgent first, and after them the latest
/// [`LISTED_MAX`](super::board::LISTED_MAX) that have ended, the last to end first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Request)]
#[request(name = "list-tasks", reply = Vec<TaskSummary>)]
pub struct ListTasks;

/// A task as its coordinator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSummary {
    /// Its name.
    pub id: TaskId,
    /// The word for what it does; see [`SubmitTask::kind`].
    pub kind: String,
    /// How urgent it is.
    pub priority: TaskPriority,
    /// What becomes of it.
    pub state: TaskState,
    /// How far it got.
    pub progress: Progress,
    /// The time since it was submitted; of one that has ended, the time until it did.
    pub age: Duration,
}

/// What becomes of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    /// No part of it was given to an agent yet.
    Queued,
    /// It was begun.
    Running,
    /// Every part is done.
    Done,
    /// Its client cancelled it or stopped waiting.
    Cancelled,
    /// It ended without a result.
    Failed {
        /// The sentence of its [`TaskError`].
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::{decode, encode};
    use uuid::Uuid;

    fn task() -> SubmitTask {
        let inputs = vec![ContentHash::of(b"series")];
        let part = Part { request: "add".into(), version: 1, payload: vec![1, 2].into(), inputs };
        SubmitTask {
            id: TaskId::from(Uuid::nil()),
            kind: "sum".into(),
            priority: TaskPriority::default(),
            deadline: None,
            protocol: "calculator".into(),
            parts: vec![part],
            waiting: Waiting::ForAnyone,
            avoid: BTreeSet::new(),
        }
    }

    /// What is said of a task with one thing changed.
    fn fault(change: impl FnOnce(&mut SubmitTask)) -> Option<String> {
        let mut task = task();
        change(&mut task);
        task.check().err().map(|error| match error {
            TaskError::Invalid { reason } => reason,
            other => panic!("refused as {other:?}"),
        })
    }

    #[test]
    fn a_task_travels_with_its_parts_unopened() {
        assert_eq!(decode(&encode(&task()).unwrap()), Ok(task()));
    }

    #[test]
    fn a_task_is_as_large_as_its_bounds_allow() {
        let limits = |task: &mut SubmitTask| {
            task.kind = "k".repeat(WORD_BYTES_MAX);
            task.parts[0].inputs = vec![ContentHash::of(b"series"); INPUTS_MAX];
            task.parts[0].payload = vec![0; PAYLOAD_BYTES_MAX / 2].into();
            task.parts.resize(2, task.parts[0].clone());
            task.avoid = (0..AVOIDED_MAX).map(|n| format!("agent-{n}").parse().unwrap()).collect();
        };
        assert_eq!(fault(limits), None);
        assert_eq!(fault(|task| task.parts.resize(PARTS_MAX, task.parts[0].clone())), None);
    }

    #[test]
    fn a_task_beyond_a_bound_is_refused_with_the_bound() {
        let of = |change: fn(&mut SubmitTask)| fault(change).expect("it is beyond a bound");
        assert_eq!(of(|task| task.parts.clear()), "it has 0 parts, 1 to 4096 are expected");
        assert_eq!(
            of(|task| task.parts.resize(PARTS_MAX + 1, task.parts[0].clone())),
            "it has 4097 parts, 1 to 4096 are expected"
        );
        assert_eq!(
            of(|task| task.avoid =
                (0..=AVOIDED_MAX).map(|n| format!("agent-{n}").parse().unwrap()).collect()),
            "it avoids 257 agents, at most 256 are expected"
        );
        assert_eq!(
            of(|task| task.parts[0].payload = vec![0; PAYLOAD_BYTES_MAX + 1].into()),
            "its payloads have 50331649 bytes, 50331648 are the limit"
        );
        assert_eq!(
            of(|task| task.parts[0].inputs = vec![ContentHash::of(b"series"); INPUTS_MAX + 1]),
            "part 0 has 65 inputs, at most 64 are expected"
        );
    }

    #[test]
    fn words_that_lists_show_move_no_cursor() {
        let wrong = |change: fn(&mut SubmitTask)| fault(change).expect("it is no word");
        let expected = "1 to 64 printable ASCII characters are expected";
        assert_eq!(wrong(|task| task.kind.clear()), format!("its kind is \"\", {expected}"));
        assert_eq!(
            wrong(|task| task.protocol = "a\u{202e}b".into()),
            format!("its protocol is \"a\\u{{202e}}b\", {expected}")
        );
        assert_eq!(
            wrong(|task| task.parts[0].request = "two words".into()),
            format!("part 0: its request is \"two words\", {expected}")
        );
        assert!(wrong(|task| task.kind = "k".repeat(WORD_BYTES_MAX + 1)).starts_with("its kind is"));
    }
}
