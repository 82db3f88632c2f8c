//! Asking agents for parts.

use super::{Coordinator, Ports};
use crate::{
    TIMEOUT_DEFAULT,
    content_store::Held,
    mailbox::{EncodedAsk, EncodedAskError, EncodedMailbox},
};
use actix::{Addr, Message};
use bytes::Bytes;
use futures_util::FutureExt;
use std::{
    cell::Cell, collections::BTreeMap, fmt, panic::AssertUnwindSafe, rc::Rc, sync::Arc, time::Duration,
};
use swarm_protocols::{
    Blob, Delivery, DeliveryError, NodeId, Request,
    content_store::{MissingContent, StoreContent, StoreError},
    coordinator::{
        Part,
        board::{Assignment, BoardConfig, Failure, NewTask},
    },
    wire::codec,
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
    /// Whether the request went to the agent; before that it is given what it lacks.
    begun: Rc<Cell<bool>>,
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
pub(super) struct AskEnded {
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
        let begun = Rc::new(Cell::new(false));
        let begins = Rc::clone(&begun);
        let work = actix_rt::spawn(async move {
            let asking = async {
                let Some(mailbox) = ports.mailbox(&task.task().protocol) else {
                    return not_begun("it exposes no such protocol any more", None);
                };
                let store = ports.content_store.as_ref().filter(|_| !inputs.is_empty());
                let (part, begun) = (task.part(&assignment), &*begins);
                let asking = Asking { task: &task, part, mailbox, inputs: &inputs, timeout, begun };
                asking.run(store).await.unwrap_or_else(|outcome| outcome)
            };
            // A panic in what a mailbox of this process leads through costs this attempt, and frees its slot.
            let outcome = AssertUnwindSafe(asking)
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Failure::Lost { cause: "asking it panicked".to_owned() }.into());
            coordinator.do_send(AskEnded { assignment, serial, outcome });
        });
        self.asked.insert(asked, Asked { serial, begun, work });
    }

    /// Takes an ask off the list; `None` if it is not wanted any more.
    pub(super) fn end(&mut self, answered: AskEnded) -> Option<(Assignment, Outcome)> {
        let AskEnded { assignment, serial, outcome } = answered;
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

    /// Cancels everything that an agent is asked, and says which of it was not begun.
    pub(super) fn forget_agent(&mut self, agent: &NodeId) -> Vec<Assignment> {
        let of_agent = self.asked.extract_if(.., |assignment, _| assignment.agent == *agent);
        of_agent.filter(|(_, asked)| !asked.begun.get()).map(|(assignment, _)| assignment).collect()
    }
}

/// What the board is told of an attempt that its agent was lost before.
pub(super) fn lost_before() -> Failure {
    Failure::NotBegun { cause: "it was lost before it was asked".to_owned(), again: Some(RECONNECTION) }
}

/// One attempt at a part.
struct Asking<'a> {
    task: &'a NewTask,
    part: &'a Part,
    mailbox: &'a EncodedMailbox,
    inputs: &'a [Held],
    timeout: Duration,
    begun: &'a Cell<bool>,
}

impl Asking<'_> {
    /// Gives the agent what it lacks, then asks. Where it answers with an error, whose meaning is not known here, it is
    /// asked again only if it had lost an input meanwhile.
    async fn run(&self, store: Option<&EncodedMailbox>) -> Result<Outcome, Outcome> {
        let mut failure = Failure::Lost { cause: "it was never asked".to_owned() };
        for round in 0..ROUNDS_MAX {
            if let Some(store) = store {
                let given = self.give(store).await?;
                if round > 0 && given == 0 {
                    break;
                }
            }
            let payload = Bytes::copy_from_slice(&self.part.payload);
            let ask = self.of_submitter(self.mailbox.ask(&self.part.request, self.part.version, payload));
            self.begun.set(true);
            match ask.await {
                Ok(reply) => return Ok(Outcome::Reply(Vec::from(reply).into())),
                Err(EncodedAskError::Delivery(error)) => return Err(undelivered(error, self.mailbox)),
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

    /// No coordinator is a deputy: whatever it asks for a task, it asks for who submitted it.
    fn of_submitter(&self, ask: EncodedAsk) -> EncodedAsk {
        let ask = ask.timeout(self.timeout);
        match self.task.submitter() {
            Some(submitter) => ask.on_behalf_of(submitter.clone()),
            None => ask,
        }
    }

    /// How many inputs the agent lacked.
    async fn give(&self, store: &EncodedMailbox) -> Result<usize, Outcome> {
        let hashes = self.inputs.iter().map(Held::hash).collect();
        let missing = self.ask_store(store, &MissingContent { hashes }).await?;
        let missing = missing.unwrap_or_else(|never| match never {});
        if missing.len() > self.inputs.len() {
            let cause = "its content store misses more than it was asked for".to_owned();
            return Err(Failure::Invalid { cause }.into());
        }
        for input in self.inputs.iter().filter(|input| missing.contains(&input.hash())) {
            let content = StoreContent { content: input.bytes().clone() };
            let stored = self.ask_store(store, &content).await?;
            stored.map_err(|error| {
                let StoreError::Full { bytes_max } = error;
                // What is in use now makes room later; what is larger than the whole store never fits.
                let fits = input.bytes().len() as u64 <= bytes_max;
                not_begun(error, fits.then_some(RECONNECTION))
            })?;
        }
        Ok(missing.len())
    }

    async fn ask_store<R: Request>(
        &self,
        store: &EncodedMailbox,
        request: &R,
    ) -> Result<Result<R::Reply, R::Error>, Outcome> {
        let payload = codec::encode(request).map_err(|error| not_begun(error, None))?;
        let invalid = |error: codec::DecodeError| -> Outcome {
            Failure::Invalid { cause: format!("its content store: {error}") }.into()
        };
        match self.of_submitter(store.ask(R::NAME, R::VERSION, payload.into())).await {
            Ok(reply) => codec::decode(&reply).map(Ok).map_err(invalid),
            Err(EncodedAskError::Handler(error)) => codec::decode(&error).map(Err).map_err(invalid),
            Err(EncodedAskError::Delivery(error)) => Err(of_store(error, store)),
        }
    }
}

fn not_begun(cause: impl fmt::Display, again: Option<Duration>) -> Outcome {
    Failure::NotBegun { cause: cause.to_string(), again }.into()
}

/// What it means that the content store of an agent did not answer: the part was not begun.
fn of_store(error: DeliveryError, store: &EncodedMailbox) -> Outcome {
    if store.is_draining() {
        return Outcome::Draining;
    }
    let again = (!is_for_good(&error)).then_some(RECONNECTION);
    not_begun(format_args!("its content store: {error}"), again)
}

/// What it means that a request brought no answer.
fn undelivered(error: DeliveryError, mailbox: &EncodedMailbox) -> Outcome {
    match error {
        _ if is_for_good(&error) => not_begun(error, None),
        DeliveryError::Draining if mailbox.is_draining() => Outcome::Draining,
        DeliveryError::Overloaded { retry_after } => not_begun(error, Some(retry_after)),
        DeliveryError::TimedOut { after, .. } => Failure::TimedOut { after }.into(),
        DeliveryError::Codec { reason, .. } => Failure::Invalid { cause: reason }.into(),
        // Another node that drains behind the agent is no drain of the agent.
        error if error.delivery() == Delivery::NotSent => not_begun(error, Some(RECONNECTION)),
        error => Failure::Lost { cause: error.to_string() }.into(),
    }
}

/// Whether an agent that refuses a part so would refuse it again.
fn is_for_good(error: &DeliveryError) -> bool {
    matches!(
        error,
        DeliveryError::NotExposed { .. }
            | DeliveryError::NotPermitted { .. }
            | DeliveryError::Incompatible { .. }
            | DeliveryError::TooLarge { .. }
    )
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
            |serial| AskEnded { assignment: assignment.clone(), serial, outcome: Outcome::Draining };
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
        let (mailbox, _probe) = crate::testing::Probe::<swarm_protocols::content_store::ContentStore>::new();
        let mailbox = EncodedMailbox::from(mailbox);
        let undelivered = |error| super::undelivered(error, &mailbox);
        let lost = |delivery| undelivered(DeliveryError::SessionLost { reason: "cut".into(), delivery });
        let again = |outcome: &Outcome| match outcome {
            Outcome::Failure(Failure::NotBegun { again, .. }) => Some(*again),
            _ => None,
        };
        assert_eq!(again(&lost(Delivery::NotSent)), Some(Some(RECONNECTION)));
        assert_eq!(again(&lost(Delivery::Unknown)), None);
        let retry_after = Duration::from_millis(7);
        assert_eq!(again(&undelivered(DeliveryError::Overloaded { retry_after })), Some(Some(retry_after)));
        for never in [
            DeliveryError::NotPermitted { reason: "role".into() },
            DeliveryError::NotExposed { what: "it".into() },
            DeliveryError::Incompatible { request: "do".into(), wanted: 2, offered: Some(1) },
            DeliveryError::TooLarge { bytes: 2, limit: 1 },
        ] {
            assert_eq!(again(&undelivered(never.clone())), Some(None), "{never}");
            assert_eq!(again(&of_store(never.clone(), &mailbox)), Some(None), "{never}");
        }
        // The agent itself does not drain: what it leads to does.
        assert_eq!(again(&undelivered(DeliveryError::Draining)), Some(Some(RECONNECTION)));
        assert!(matches!(undelivered(DeliveryError::Panicked), Outcome::Failure(Failure::Lost { .. })));
    }
}
