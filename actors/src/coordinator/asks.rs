//! Asking agents for parts.

use super::{Coordinator, Ports};
use crate::{
    TIMEOUT_DEFAULT,
    content_store::Held,
    mailbox::{AskError, EncodedAskError, EncodedMailbox, Mailbox},
};
use actix::{Addr, Message};
use bytes::Bytes;
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use swarm_protocols::{
    Blob, Delivery, DeliveryError,
    content_store::{ContentStore as ContentStoreProtocol, MissingContent, StoreContent},
    coordinator::{
        Part,
        board::{Assignment, BoardConfig, Failure, NewTask},
    },
};
use tokio::task::JoinHandle;

/// How often an agent is given what it lacks for one attempt: what it has may be evicted by others meanwhile.
const ROUNDS_MAX: usize = 3;

/// When an agent is asked again whose session was lost before it was asked: what becomes of it is known by then.
const RECONNECTION: Duration = Duration::from_millis(100);

/// The longest time an agent gets for its answer, whatever the board allows.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What agents are being asked. Never more than the board has assigned.
#[derive(Debug)]
pub(super) struct Asks {
    asked: BTreeMap<Assignment, Asked>,
    /// Counts asks. A task that was cancelled can be submitted again and then have the same
    /// assignments: an answer under way for the earlier one must not be taken for the later one's.
    serial: u64,
    timeout: Duration,
}

/// An ask under way; dropping it cancels it at the agent.
#[derive(Debug)]
struct Asked {
    serial: u64,
    work: JoinHandle<()>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// An ask has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Answered {
    assignment: Assignment,
    serial: u64,
    outcome: Outcome,
}

/// What came of an ask.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// The encoded reply.
    Reply(Blob),
    /// The agent takes nothing new.
    Draining,
    Failure(Failure),
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Asks {
    /// The board decides when it has waited long enough for an agent; the timeout of an ask only
    /// frees the slot of one that never answers.
    pub(super) fn new(config: &BoardConfig) -> Self {
        let timeout = config.lease.saturating_mul(config.attempts_max.get());
        let timeout = timeout.clamp(TIMEOUT_DEFAULT, TIMEOUT_MAX);
        Self { asked: BTreeMap::new(), serial: 0, timeout }
    }

    /// Asks for a part of `task`, whose `inputs` these are, and sends what comes of it to `coordinator`.
    pub(super) fn begin(
        &mut self,
        assignment: Assignment,
        task: Arc<NewTask>,
        ports: Ports,
        inputs: Vec<Held>,
        coordinator: Addr<Coordinator>,
    ) {
        self.serial += 1;
        let (serial, timeout, asked) = (self.serial, self.timeout, assignment.clone());
        let work = actix_rt::spawn(async move {
            let outcome = match ports.mailbox(&task.task().protocol) {
                Some(mailbox) => {
                    let store = ports.content_store.as_ref().filter(|_| !inputs.is_empty());
                    let part = task.part(&assignment);
                    let asking = Asking { task: &task, part, mailbox, inputs: &inputs, timeout };
                    asking.run(store).await.unwrap_or_else(|outcome| outcome)
                }
                None => not_begun("it exposes no such protocol any more", None),
            };
            coordinator.do_send(Answered { assignment, serial, outcome });
        });
        self.asked.insert(asked, Asked { serial, work });
    }

    /// Takes an ask off the list; `None` if it is not wanted any more.
    pub(super) fn end(&mut self, answered: Answered) -> Option<(Assignment, Outcome)> {
        let Answered { assignment, serial, outcome } = answered;
        let asked = self.asked.get(&assignment)?;
        if asked.serial != serial {
            return None;
        }
        self.asked.remove(&assignment);
        Some((assignment, outcome))
    }

    /// Cancels an ask.
    pub(super) fn withdraw(&mut self, assignment: &Assignment) {
        self.asked.remove(assignment);
    }

    /// Cancels everything that an agent is asked.
    pub(super) fn forget_agent(&mut self, agent: &swarm_protocols::NodeId) {
        self.asked.retain(|assignment, _| assignment.agent != *agent);
    }
}

/// One attempt at a part.
struct Asking<'a> {
    task: &'a NewTask,
    part: &'a Part,
    mailbox: &'a EncodedMailbox,
    inputs: &'a [Held],
    timeout: Duration,
}

impl Asking<'_> {
    /// Gives the agent what it lacks, then asks. Where it answers with an error, whose meaning is not known here, it is
    /// asked again only if it had lost an input meanwhile.
    async fn run(&self, store: Option<&Mailbox<ContentStoreProtocol>>) -> Result<Outcome, Outcome> {
        let mut failure = Failure::Lost { cause: "it was never asked".to_owned() };
        for round in 0..ROUNDS_MAX {
            if let Some(store) = store {
                let given = self.give(store).await?;
                if round > 0 && given == 0 {
                    break;
                }
            }
            let payload = Bytes::copy_from_slice(&self.part.payload);
            let ask = self.mailbox.ask(&self.part.request, self.part.version, payload).timeout(self.timeout);
            let ask = match self.task.submitter() {
                Some(submitter) => ask.on_behalf_of(submitter.clone()),
                None => ask,
            };
            match ask.await {
                Ok(reply) => return Ok(Outcome::Reply(Vec::from(reply).into())),
                Err(EncodedAskError::Delivery(error)) => return Err(undelivered(error)),
                Err(EncodedAskError::Handler(error)) => {
                    failure = Failure::Handler { error: Vec::from(error).into() };
                }
            }
            if store.is_none() {
                break;
            }
        }
        Err(failure.into())
    }

    /// How many inputs the agent lacked.
    async fn give(&self, store: &Mailbox<ContentStoreProtocol>) -> Result<usize, Outcome> {
        let hashes = self.inputs.iter().map(Held::hash).collect();
        let missing = store.ask(MissingContent { hashes }).timeout(self.timeout).await;
        let missing = missing.map_err(|error| match error {
            AskError::Handler(never) => match never {},
            AskError::Delivery(error) => of_store(error),
        })?;
        for input in self.inputs.iter().filter(|input| missing.contains(&input.hash())) {
            let content = StoreContent { content: input.bytes().clone() };
            store.ask(content).timeout(self.timeout).await.map_err(|error| match error {
                AskError::Handler(error) => Failure::Invalid { cause: error.to_string() }.into(),
                AskError::Delivery(error) => of_store(error),
            })?;
        }
        Ok(missing.len())
    }
}

fn not_begun(cause: impl fmt::Display, again: Option<Duration>) -> Outcome {
    Failure::NotBegun { cause: cause.to_string(), again }.into()
}

/// What it means that the content store of an agent did not answer: the part was not begun.
fn of_store(error: DeliveryError) -> Outcome {
    match error {
        DeliveryError::Draining => Outcome::Draining,
        DeliveryError::TimedOut { after, .. } => Failure::TimedOut { after }.into(),
        DeliveryError::NotPermitted { .. } | DeliveryError::NotExposed { .. } => {
            not_begun(format_args!("its content store: {error}"), None)
        }
        error => not_begun(format_args!("its content store: {error}"), Some(RECONNECTION)),
    }
}

/// What it means that a request brought no answer.
fn undelivered(error: DeliveryError) -> Outcome {
    match error {
        DeliveryError::Draining => Outcome::Draining,
        DeliveryError::Overloaded { retry_after } => not_begun(error, Some(retry_after)),
        DeliveryError::NotExposed { .. }
        | DeliveryError::NotPermitted { .. }
        | DeliveryError::TooLarge { .. } => not_begun(error, None),
        DeliveryError::TimedOut { after, .. } => Failure::TimedOut { after }.into(),
        DeliveryError::Codec { reason, .. } => Failure::Invalid { cause: reason }.into(),
        error if error.delivery() == Delivery::NotSent => not_begun(error, Some(RECONNECTION)),
        error => Failure::Lost { cause: error.to_string() }.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::{CoordinatorConfig, tests::task};
    use actix::Actor;
    use std::num::NonZeroU32;

    #[actix::test]
    async fn the_answer_to_a_withdrawn_ask_is_not_that_to_the_same_assignment_made_again() {
        let config = CoordinatorConfig::default();
        let mut asks = Asks::new(&config.board);
        let coordinator = Coordinator::new(config, None).start();
        let task = Arc::new(NewTask::new(task(1, &[vec![]]), None).unwrap());
        let (agent, id) = ("x".parse().unwrap(), task.task().id);
        let assignment = Assignment { agent, task: id, part: 0, attempt: 1 };
        let begin = |asks: &mut Asks| {
            asks.begin(assignment.clone(), task.clone(), Ports::default(), vec![], coordinator.clone());
        };
        let answered =
            |serial| Answered { assignment: assignment.clone(), serial, outcome: Outcome::Draining };
        begin(&mut asks);
        asks.withdraw(&assignment);
        assert!(asks.end(answered(1)).is_none());
        begin(&mut asks);
        assert!(asks.end(answered(1)).is_none());
        assert_eq!(asks.end(answered(2)).map(|(of, _)| of), Some(assignment.clone()));
        assert!(asks.end(answered(2)).is_none());
    }

    #[test]
    fn an_agent_has_as_long_as_all_attempts_together_within_reason() {
        let of = |lease, attempts| {
            let attempts_max = NonZeroU32::new(attempts).unwrap();
            Asks::new(&BoardConfig { lease, attempts_max, ..BoardConfig::default() }).timeout
        };
        assert_eq!(of(Duration::from_secs(30), 5), Duration::from_secs(150));
        assert_eq!(of(Duration::from_secs(1), 1), TIMEOUT_DEFAULT);
        assert_eq!(of(Duration::MAX, u32::MAX), TIMEOUT_MAX);
    }

    #[test]
    fn what_was_certainly_not_begun_spends_no_attempt() {
        let lost = |delivery| undelivered(DeliveryError::SessionLost { reason: "cut".into(), delivery });
        let is_not_begun = |outcome: &Outcome| matches!(outcome, Outcome::Failure(Failure::NotBegun { .. }));
        assert!(is_not_begun(&lost(Delivery::NotSent)) && !is_not_begun(&lost(Delivery::Unknown)));
        let retry_after = Duration::from_millis(7);
        let overloaded = undelivered(DeliveryError::Overloaded { retry_after });
        assert!(
            matches!(overloaded, Outcome::Failure(Failure::NotBegun { again: Some(again), .. }) if again == retry_after)
        );
        for never in [
            DeliveryError::NotPermitted { reason: "role".into() },
            DeliveryError::NotExposed { what: "it".into() },
            DeliveryError::TooLarge { bytes: 2, limit: 1 },
        ] {
            let outcome = undelivered(never);
            assert!(
                matches!(outcome, Outcome::Failure(Failure::NotBegun { again: None, .. })),
                "{outcome:?}"
            );
        }
        assert_eq!(undelivered(DeliveryError::Draining), Outcome::Draining);
        assert!(matches!(undelivered(DeliveryError::Panicked), Outcome::Failure(Failure::Lost { .. })));
    }
}
