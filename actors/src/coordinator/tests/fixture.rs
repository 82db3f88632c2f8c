//! A coordinator with probes for agents, and tasks that mean nothing to it.

use super::super::*;
use crate::{
    EncodedMailbox,
    testing::{Asked, Probe},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, num::NonZeroU32};
use swarm_protocols::{
    Blob, Request,
    content_store::ContentStore as ContentStoreProtocol,
    coordinator::{Part, Slots, SubmitTask, TaskError, TaskPriority, TaskReport, Waiting},
    protocol,
    wire::codec,
};
use uuid::Uuid;

pub(super) const LEASE: Duration = Duration::from_secs(30);
pub(super) const AGENT_WAIT: Duration = Duration::from_secs(10);

/// Longer than any task here takes, in virtual time.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Does something with a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "do", reply = u64, error = Cannot)]
pub(super) struct Do {
    pub(super) number: usize,
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{0}")]
pub(super) struct Cannot(pub(super) String);

protocol! {
    /// An actor that does something.
    pub(super) Worker = "worker" { Do }
}

pub(super) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

pub(super) fn id(number: u128) -> TaskId {
    TaskId::from(Uuid::from_u128(number))
}

pub(super) fn config() -> CoordinatorConfig {
    let attempts_max = NonZeroU32::new(3).unwrap();
    let board = BoardConfig { lease: LEASE, agent_wait: AGENT_WAIT, attempts_max, ..BoardConfig::default() };
    CoordinatorConfig { board, ..CoordinatorConfig::default() }
}

/// A task with a part for each list of inputs; part `i` is about the number `i`.
pub(in super::super) fn task(number: u128, inputs: &[Vec<ContentHash>]) -> SubmitTask {
    let part = |(number, inputs): (usize, &Vec<ContentHash>)| Part {
        request: "do".into(),
        version: 1,
        payload: codec::encode(&Do { number }).unwrap().into(),
        inputs: inputs.clone(),
    };
    SubmitTask {
        id: id(number),
        kind: "doing".into(),
        priority: TaskPriority::default(),
        deadline: None,
        protocol: "worker".into(),
        parts: inputs.iter().enumerate().map(part).collect(),
        waiting: Waiting::ForAnyone,
        avoid: BTreeSet::new(),
    }
}

/// So many parts without inputs.
pub(super) fn parts(count: usize) -> Vec<Vec<ContentHash>> {
    vec![vec![]; count]
}

pub(super) type Submitting = tokio::task::JoinHandle<Result<TaskReport, TaskError>>;

/// The other end of what an agent exposes.
pub(super) struct Agent {
    pub(super) worker: Probe<Worker>,
    pub(super) store: Probe<ContentStoreProtocol>,
    pub(super) ports: Ports,
}

impl Agent {
    /// The next part that it is asked for.
    pub(super) async fn asked(&mut self) -> Asked<Do> {
        self.worker.expect_within::<Do>(2 * LEASE).await
    }

    /// Says which of the inputs of its next part it lacks.
    pub(super) async fn lacks(&mut self, hashes: &[ContentHash]) {
        self.store.expect::<MissingContent>().await.reply(Ok(hashes.to_vec()));
    }
}

pub(super) struct Bench {
    pub(super) address: Addr<Coordinator>,
    pub(super) mailbox: Mailbox<CoordinatorProtocol>,
}

impl Bench {
    /// In virtual time.
    pub(super) fn new(config: CoordinatorConfig) -> Self {
        tokio::time::pause();
        let (mailbox, address) = Coordinator::new(config, None).start_with_mailbox();
        Self { mailbox, address }
    }

    pub(super) async fn join(&self, agent: &str, slots: u32) -> Agent {
        let (mailbox, worker) = Probe::<Worker>::new();
        let (content_store, store) = Probe::<ContentStoreProtocol>::new();
        let mailboxes = vec![EncodedMailbox::from(mailbox)];
        let ports = Ports { mailboxes, content_store: Some(content_store.into()) };
        let slots = Slots::new(NonZeroU32::new(slots).unwrap(), 0).unwrap();
        let agent_type = "doing".to_owned();
        let joined = AgentJoined { node: node(agent), agent_type, slots, ports: ports.clone() };
        self.address.send(joined).await.unwrap();
        Agent { worker, store, ports }
    }

    /// An agent exposes something else from now on.
    pub(super) async fn change(&self, agent: &str, ports: Ports) {
        self.address.send(AgentChanged { node: node(agent), ports }).await.unwrap();
    }

    pub(super) async fn lose(&self, agent: &str) {
        self.address.send(AgentLost { node: node(agent) }).await.unwrap();
    }

    pub(super) async fn store(&self, content: &[u8]) -> ContentHash {
        self.mailbox.ask(StoreContent { content: content.to_vec().into() }).await.unwrap()
    }

    /// Waits in the background for a task of so many parts.
    pub(super) fn submit(&self, number: u128, count: usize) -> Submitting {
        self.submit_task(task(number, &parts(count)))
    }

    pub(super) fn submit_task(&self, task: SubmitTask) -> Submitting {
        let mailbox = self.mailbox.clone();
        actix_rt::spawn(async move {
            mailbox.ask(task).timeout(PATIENCE).await.map_err(|error| match error {
                crate::AskError::Handler(error) => error,
                crate::AskError::Delivery(error) => panic!("{error}"),
            })
        })
    }

    pub(super) async fn progress(&self, number: u128) -> Option<Progress> {
        self.mailbox.ask(TaskProgress { id: id(number) }).await.unwrap()
    }
}

/// The agent is told at once that its answer is not wanted any more.
pub(super) async fn withdrawn(asked: &Asked<Do>) {
    let at_once = Duration::from_millis(10);
    let cancellation = asked.cancellation();
    let told = tokio::time::timeout(at_once, cancellation.cancelled()).await;
    told.expect("the agent is not told to stop");
}

/// Who answered what, in the order of the parts.
pub(super) fn answers(report: &TaskReport) -> Vec<(&str, u64)> {
    let of = |reply: &Blob| codec::decode(reply).unwrap();
    report.answers.iter().map(|answer| (answer.agent.as_str(), of(&answer.reply))).collect()
}
