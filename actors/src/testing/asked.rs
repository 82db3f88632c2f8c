//! A message in the hands of a test.

use super::carry;
use crate::call::{Call, Caller, Cancellation, Outcome};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};
use swarm_protocols::Request;
use tokio::sync::oneshot;

/// A message that a [probe](super::Probe) got, and how the test answers for the actor that it
/// stands in for:
///
/// | the test | what the asker sees |
/// |---|---|
/// | [`reply`](Self::reply) | the reply, or the error of the handler |
/// | [`fail`](Self::fail) | the error of the handler |
/// | keeps it | an actor that is slow |
/// | [`hold`](Self::hold) | an actor that never answers |
/// | [`panic`](Self::panic) | [`Panicked`](swarm_protocols::DeliveryError::Panicked) |
/// | [`stop`](Self::stop), or drops it | [`Stopped`](swarm_protocols::DeliveryError::Stopped) |
///
/// An [overloaded](swarm_protocols::DeliveryError::Overloaded) actor is one of a node with low
/// [limits](super::MemoryNode::limits) whose messages are kept.
pub struct Asked<R: Request> {
    call: Call<R>,
    answer: Option<oneshot::Sender<Outcome<R>>>,
}

impl<R: Request> Asked<R> {
    pub(super) fn new(call: Call<R>, answer: Option<oneshot::Sender<Outcome<R>>>) -> Self {
        Self { call, answer }
    }

    /// The message.
    pub fn request(&self) -> &R {
        &self.call.request
    }

    /// Who sent it; `None` for the test itself.
    pub fn caller(&self) -> Option<&Caller> {
        self.call.caller()
    }

    /// For whom the sender asks, where that is another node.
    pub fn on_behalf_of(&self) -> Option<&Caller> {
        self.call.on_behalf_of()
    }

    /// Until when the asker waits; `None` where it told.
    pub fn deadline(&self) -> Option<tokio::time::Instant> {
        self.call.deadline()
    }

    /// Whether it was told, so that no answer is wanted.
    pub fn is_told(&self) -> bool {
        self.answer.is_none()
    }

    /// Says whether the asker still waits.
    pub fn cancellation(&self) -> Cancellation {
        self.call.cancellation()
    }

    /// Answers it, as the handler of an actor would; says whether the asker still waited.
    ///
    /// # Panics
    /// Where the answer cannot travel between two nodes.
    #[track_caller]
    pub fn reply(self, answer: Outcome<R>) -> bool {
        let answer = match carry::outcome::<R>(&answer) {
            Ok(answer) => answer,
            Err(error) => panic!("cannot travel: {error}"),
        };
        self.answer.is_some_and(|sender| sender.send(answer).is_ok())
    }

    /// Answers it with an error of the handler; says whether the asker still waited.
    ///
    /// # Panics
    /// Where the error cannot travel between two nodes.
    #[track_caller]
    pub fn fail(self, error: R::Error) -> bool {
        self.reply(Err(error))
    }

    /// Never answers: completes when the asker stops waiting. To hold several messages, or one for a
    /// while, keep the values; they are slow actors as long as they live.
    ///
    /// A message that was told has no asker: it is let go at once.
    pub async fn hold(self) {
        if !self.is_told() {
            self.cancellation().cancelled().await;
        }
    }

    /// Ends as a handler that panics does. The panic is a real one, which unwinds and is caught
    /// here; it prints nothing.
    pub fn panic(self) {
        let Self { call, answer } = self;
        let handler = AssertUnwindSafe(move || {
            let _handled = call;
            resume_unwind(Box::new("as the test wants"));
        });
        let _caught = catch_unwind(handler);
        // Only now does the asker see that no answer comes, and finds why.
        drop(answer);
    }

    /// Ends as an actor that stops before it has answered.
    pub fn stop(self) {}
}

impl<R: Request + fmt::Debug> fmt::Debug for Asked<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}
