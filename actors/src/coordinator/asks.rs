//! Asking agents for parts.

use super::{Coordinator, Ports};
use crate::{
    TIMEOUT_DEFAULT,
    content_store::Held,
    mailbox::{EncodedAsk, EncodedAskError, EncodedMailbox},
    session::is_no_room,
};
use actix::{Addr, Message};
use bytes::Bytes;
use futures_util::FutureExt;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::AssertUnwindSafe,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};
use swarm_protocols::{
    Blob, ContentHash, Delivery, DeliveryError, NodeId, Request,
    content_store::{MissingContent, StoreContent, StoreError},
    coordinator::{
        Part,
        board::{Assignment, BoardConfig, Failure, NewTask},
    },
    wire::codec,
};
use tokio::{sync::Mutex, task::JoinHandle};

/// How often an agent is given what it lacks for one attempt: what it has may be evicted by others meanwhile.
const ROUNDS_MAX: usize = 3;

/// When an agent is asked again whose session was lost before it was asked: what becomes of it is known by then.
const RECONNECTION: Duration = Duration::from_millis(100);

/// How long a part is kept whose answer found no room: others are taken meanwhile.
const ROOM_PAUSE: Duration = Duration::from_secs(1);

/// The longest time an agent gets for its answer, whatever the board allows.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What an agent is sent may come to it this slowly, in bytes a second.
const SLOWEST: u64 = 64 << 10;

/// What agents are being asked. Never more than the board has assigned.
#[derive(Debug)]
pub(super) struct Asks {
    asked: BTreeMap<Assignment, Asked>,
    /// Counts asks. A task that was cancelled can be submitted again and then have the same
    /// assignments: an answer under way for the earlier one must not be taken for the later one's.
    serial: u64,
    timeout: Duration,
    uploads: Uploads,
}

/// The content that agents are being given: no agent is given the same content twice at once.
type Uploads = Rc<RefCell<BTreeMap<Upload, Weak<Turn>>>>;

/// Content on its way to an agent.
type Upload = (NodeId, ContentHash);

/// Whose attempt gives an agent some content; the others wait, and then look whether the agent has it.
#[derive(Debug)]
struct Turn {
    upload: Upload,
    uploads: Uploads,
    taken: Mutex<()>,
}

impl Turn {
    fn of(upload: Upload, uploads: &Uploads) -> Rc<Self> {
        let known = uploads.borrow().get(&upload).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turn = Self { upload, uploads: Rc::clone(uploads), taken: Mutex::default() };
            let turn = Rc::new(turn);
            uploads.borrow_mut().insert(turn.upload.clone(), Rc::downgrade(&turn));
            turn
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.uploads.borrow_mut().remove(&self.upload);
    }
}

/// An ask under way; dropping it cancels it at the agent.
#[derive(Debug)]
struct Asked {
    serial: u64,
    task: Arc<NewTask>,
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
    /// Its content store has no room now for an input that is not longer than all of it.
    Full(StoreError),
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
        Self { asked: BTreeMap::new(), serial: 0, timeout, uploads: Uploads::default() }
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
        let (serial, timeout, asked, of) = (self.serial, self.timeout, assignment.clone(), Arc::clone(&task));
        let begun = Rc::new(Cell::new(false));
        let (begins, uploads) = (Rc::clone(&begun), Rc::clone(&self.uploads));
        let work = actix_rt::spawn(async move {
            let asking = async {
                let Some(mailbox) = ports.mailbox(&task.task().protocol) else {
                    return not_begun("it exposes no such protocol any more", None);
                };
                let store = ports.content_store.as_ref().filter(|_| !inputs.is_empty());
                let (assignment, begun) = (&assignment, &*begins);
                let (inputs, uploads) = (&inputs, &uploads);
                let asking = Asking { task: &task, assignment, mailbox, inputs, timeout, begun, uploads };
                asking.run(store).await.unwrap_or_else(|outcome| outcome)
            };
            // A panic in what a mailbox of this process leads through costs this attempt, and frees its slot.
            let outcome = AssertUnwindSafe(asking)
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Failure::Lost { cause: "asking it panicked".to_owned() }.into());
            if let Outcome::Failure(Failure::NoRoom { .. }) = outcome {
                tokio::time::sleep(ROOM_PAUSE).await;
            }
            coordinator.do_send(AskEnded { assignment, serial, outcome });
        });
        self.asked.insert(asked, Asked { serial, task: of, begun, work });
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

    /// What it means that the content store of an agent is full: what the agent works on makes room later, and an agent
    /// that works on nothing spends an attempt.
    pub(super) fn full(&self, agent: &NodeId, error: &StoreError) -> Failure {
        let cause = error.to_string();
        let works = self.asked.iter().any(|(of, asked)| of.agent == *agent && asked.begun.get());
        match works {
            true => Failure::NotBegun { cause, again: Some(RECONNECTION) },
            false => Failure::Lost { cause },
        }
    }

    /// Cancels an ask.
    pub(super) fn withdraw(&mut self, assignment: &Assignment) {
        self.asked.remove(assignment);
    }

    /// Cancels what an agent is asked of other protocols than these, and says of each whether it was begun.
    pub(super) fn forget(&mut self, agent: &NodeId, exposed: &BTreeSet<String>) -> Vec<(Assignment, bool)> {
        let is_gone = |assignment: &Assignment, asked: &mut Asked| {
            assignment.agent == *agent && !exposed.contains(&asked.task.task().protocol)
        };
        let gone = self.asked.extract_if(.., is_gone);
        gone.map(|(assignment, asked)| (assignment, asked.begun.get())).collect()
    }
}

/// What the board is told of an attempt that its agent was lost before.
pub(super) fn lost_before() -> Failure {
    Failure::NotBegun { cause: "it was lost before it was asked".to_owned(), again: Some(RECONNECTION) }
}

/// What the board is told of an attempt whose agent exposes no longer what it was asked of.
pub(super) fn withdrawn(begun: bool) -> Failure {
    let cause = "it exposes no such protocol any more".to_owned();
    if begun { Failure::Lost { cause } } else { Failure::NotBegun { cause, again: Some(RECONNECTION) } }
}

/// One attempt at a part.
struct Asking<'a> {
    task: &'a NewTask,
    assignment: &'a Assignment,
    mailbox: &'a EncodedMailbox,
    inputs: &'a [Held],
    timeout: Duration,
    begun: &'a Cell<bool>,
    uploads: &'a Uploads,
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
            let Part { request, version, payload, .. } = self.task.part(self.assignment);
            let ask = self.mailbox.ask(request, *version, payload.clone().into());
            let ask = self.of_submitter(ask, payload.len());
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

    /// No coordinator is a deputy: whatever it asks for a task, it asks for who submitted it. The `bytes` that it sends
    /// get the time that they take over a slow link.
    fn of_submitter(&self, ask: EncodedAsk, bytes: usize) -> EncodedAsk {
        let ask = ask.timeout(self.timeout + Duration::from_secs(bytes as u64 / SLOWEST));
        match self.task.submitter() {
            Some(submitter) => ask.on_behalf_of(submitter.clone()),
            None => ask,
        }
    }

    /// How many inputs the agent lacked.
    async fn give(&self, store: &EncodedMailbox) -> Result<usize, Outcome> {
        let missing = self.missing(store, self.inputs.iter().map(Held::hash).collect()).await?;
        for input in self.inputs.iter().filter(|input| missing.contains(&input.hash())) {
            self.give_one(store, input).await?;
        }
        Ok(missing.len())
    }

    /// Which of these contents the agent lacks.
    async fn missing(
        &self,
        store: &EncodedMailbox,
        hashes: Vec<ContentHash>,
    ) -> Result<Vec<ContentHash>, Outcome> {
        let count = hashes.len();
        let payload = codec::encode(&MissingContent { hashes }).map_err(|error| not_begun(error, None))?;
        let missing = self.ask_store::<MissingContent>(store, payload, Bytes::new()).await?;
        let missing = missing.unwrap_or_else(|never| match never {});
        if missing.len() > count {
            let cause = "its content store misses more than it was asked for".to_owned();
            return Err(Failure::Invalid { cause }.into());
        }
        Ok(missing)
    }

    /// Gives the agent an input that it lacks. Where another attempt does so, waits for that, and looks again.
    async fn give_one(&self, store: &EncodedMailbox, input: &Held) -> Result<(), Outcome> {
        let turn = Turn::of((self.assignment.agent.clone(), input.hash()), self.uploads);
        let _taken = loop {
            if let Ok(taken) = turn.taken.try_lock() {
                break taken;
            }
            drop(turn.taken.lock().await);
            if self.missing(store, vec![input.hash()]).await?.is_empty() {
                return Ok(());
            }
        };
        // The content goes out from where it is kept.
        let head = StoreContent::encoded_head(input.bytes().len());
        let stored = self.ask_store::<StoreContent>(store, head, input.bytes().clone().into()).await?;
        match stored {
            Ok(_) => Ok(()),
            Err(error @ StoreError::TooLong { .. }) => Err(not_begun(error, None)),
            Err(error @ StoreError::Full { .. }) => {
                // What others gave it may make room meanwhile.
                tokio::time::sleep(RECONNECTION).await;
                Err(Outcome::Full(error))
            }
        }
    }

    async fn ask_store<R: Request>(
        &self,
        store: &EncodedMailbox,
        payload: Vec<u8>,
        content: Bytes,
    ) -> Result<Result<R::Reply, R::Error>, Outcome> {
        let invalid = |error: codec::DecodeError| -> Outcome {
            Failure::Invalid { cause: format!("its content store: {error}") }.into()
        };
        let bytes = payload.len() + content.len();
        let ask = store.ask(R::NAME, R::VERSION, payload.into()).with_content(content);
        match self.of_submitter(ask, bytes).await {
            Ok(reply) => codec::decode(&reply).map(Ok).map_err(invalid),
            Err(EncodedAskError::Handler(error)) => codec::decode(&error).map(Err).map_err(invalid),
            Err(EncodedAskError::Delivery(error)) => Err(of_store(error, store, self.begun.get())),
        }
    }
}

fn not_begun(cause: impl fmt::Display, again: Option<Duration>) -> Outcome {
    Failure::NotBegun { cause: cause.to_string(), again }.into()
}

/// What it means that the content store of an agent did not answer: an attempt is spent, unless it refused, or its session
/// ended before the part was `begun`.
fn of_store(error: DeliveryError, store: &EncodedMailbox, begun: bool) -> Outcome {
    if store.is_draining() {
        return Outcome::Draining;
    }
    let cause = format!("its content store: {error}");
    if matches!(error, DeliveryError::SessionLost { .. }) {
        return if begun { Failure::Lost { cause }.into() } else { not_begun(cause, Some(RECONNECTION)) };
    }
    match undelivered(error, store) {
        Outcome::Failure(Failure::NotBegun { again, .. }) => not_begun(cause, again),
        Outcome::Failure(Failure::NoRoom { .. }) => Failure::NoRoom { cause }.into(),
        _ => Failure::Lost { cause }.into(),
    }
}

/// What it means that a request brought no answer.
fn undelivered(error: DeliveryError, mailbox: &EncodedMailbox) -> Outcome {
    match error {
        _ if is_for_good(&error) => not_begun(error, None),
        DeliveryError::Draining if mailbox.is_draining() => Outcome::Draining,
        DeliveryError::Overloaded { retry_after } => not_begun(error, Some(retry_after)),
        DeliveryError::TimedOut { after, .. } => Failure::TimedOut { after }.into(),
        error if is_no_room(&error) => Failure::NoRoom { cause: error.to_string() }.into(),
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
    use crate::session::no_room;
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
            assert_eq!(again(&of_store(never.clone(), &mailbox, false)), Some(None), "{never}");
        }
        let cut = |delivery| DeliveryError::SessionLost { reason: "cut".into(), delivery };
        for delivery in [Delivery::NotSent, Delivery::Unknown] {
            assert_eq!(again(&of_store(cut(delivery), &mailbox, false)), Some(Some(RECONNECTION)));
            assert_eq!(
                again(&of_store(cut(delivery), &mailbox, true)),
                None,
                "it was asked for the part before"
            );
        }
        assert!(matches!(
            of_store(DeliveryError::Panicked, &mailbox, false),
            Outcome::Failure(Failure::Lost { .. })
        ));
        let spoilt = |reason: &str, delivery| {
            undelivered(DeliveryError::Codec { reason: reason.to_owned(), delivery })
        };
        for delivery in [Delivery::Unknown, Delivery::Delivered] {
            // Whoever has no room for the answer, the agent has done its part.
            let DeliveryError::Codec { reason, .. } = no_room(9, delivery) else { unreachable!() };
            assert!(matches!(spoilt(&reason, delivery), Outcome::Failure(Failure::NoRoom { .. })));
            assert!(matches!(spoilt("no answer", delivery), Outcome::Failure(Failure::Invalid { .. })));
        }
        // The agent itself does not drain: what it leads to does.
        assert_eq!(again(&undelivered(DeliveryError::Draining)), Some(Some(RECONNECTION)));
        assert!(matches!(undelivered(DeliveryError::Panicked), Outcome::Failure(Failure::Lost { .. })));
    }
}
