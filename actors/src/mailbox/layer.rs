//! Layers: mailboxes that lead to others, by a choice made anew for each attempt.

use super::Mailbox;
use crate::call::{Caller, Priority};
use std::{sync::Arc, time::Duration};
use swarm_protocols::{DeliveryError, Protocol};
use tokio::time::Instant;

/// Chooses where each attempt of a call goes: a circuit breaker, a load balancer, a limit, a retry. It never sees a
/// request's type, so it is written once for all protocols.
///
/// [`Mailbox::layered`] makes a mailbox of it, like any other: it can lie under another layer, be exposed to other
/// nodes, and be tested with [probes](crate::testing::Probe) behind it.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use swarm_actors::{Attempt, Choice, Layer, Mailbox};
/// use swarm_protocols::{DeliveryError, Protocol};
///
/// /// Asks one after the other.
/// struct RoundRobin<P: Protocol> { mailboxes: Vec<Mailbox<P>>, next: AtomicUsize }
///
/// impl<P: Protocol> Layer<P> for RoundRobin<P> {
///     fn choose(&self, _: &Attempt<'_>) -> Result<Choice<P>, DeliveryError> {
///         let next = self.next.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
///         Ok(Choice::new(self.mailboxes[next].clone()))
///     }
/// }
/// ```
///
/// What a layer costs: a call through it is boxed, and with each thing that a [`Choice`] is told of. A request that
/// may be sent again is encoded once. A mailbox without layers costs nothing.
pub trait Layer<P: Protocol>: Send + Sync + 'static {
    /// Chooses where `attempt` goes, or refuses it. It is called on the thread that asks and has to be quick.
    ///
    /// # Errors
    /// The caller gets the error as it is; what [is known](DeliveryError::delivery) by it of the request has to be
    /// right. [`Overloaded`](DeliveryError::Overloaded) fits most refusals: it says when to try again.
    fn choose(&self, attempt: &Attempt<'_>) -> Result<Choice<P>, DeliveryError>;
}

impl<P: Protocol, L: Layer<P> + ?Sized> Layer<P> for Arc<L> {
    fn choose(&self, attempt: &Attempt<'_>) -> Result<Choice<P>, DeliveryError> {
        (**self).choose(attempt)
    }
}

/// One attempt to have a call answered, as a [`Layer`] sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// The name of the request.
    pub request: &'static str,
    /// Whether [doing it twice](swarm_protocols::Request::IDEMPOTENT) is as good as doing it once.
    pub idempotent: bool,
    /// Whether it is told, so that its end is that of handing it over.
    pub told: bool,
    /// The attempt number, from 1.
    pub number: u32,
    /// The time.
    pub now: Instant,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// The priority with which it is asked.
    pub priority: Priority,
    /// Who asks, where that is another node and the mailbox is exposed to it.
    pub caller: Option<&'a Caller>,
    /// For whom the caller asks, where that is yet another node.
    pub on_behalf_of: Option<&'a Caller>,
    /// How the last attempt ended that did. Of hedged attempts the others are still in progress.
    pub previous: Option<&'a End>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How it ended.
    pub how: Ended,
    /// How long it took.
    pub took: Duration,
    /// When it ended.
    pub now: Instant,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The handler succeeded, or the mailbox accepted the told message.
    Answered,
    /// The handler answered with its own error.
    Failed,
    /// The handler gave no answer: timed out, overloaded, lost, and so on.
    Undelivered(DeliveryError),
    /// Nobody waits any more: the caller left, or another attempt was answered before.
    Cancelled,
}

pub(super) type OnEnd = Box<dyn FnOnce(&End) + Send>;
pub(super) type OnMiss = Box<dyn FnOnce(&End) -> Option<Duration> + Send>;

/// Where an attempt goes, and what becomes of it then.
pub struct Choice<P: Protocol> {
    pub(super) mailbox: Mailbox<P>,
    pub(super) within: Option<Duration>,
    pub(super) hedge_after: Option<Duration>,
    pub(super) ended: Option<OnEnd>,
    pub(super) again: Option<OnMiss>,
}

impl<P: Protocol> Choice<P> {
    /// The attempt goes to `mailbox`. It is the last one, and nobody is told how it ends.
    pub fn new(mailbox: Mailbox<P>) -> Self {
        Self { mailbox, within: None, hedge_after: None, ended: None, again: None }
    }

    /// Gives the attempt at most this long, and never longer than its caller waits.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.within = Some(timeout);
        self
    }

    /// Begins another attempt after this time if this one is still in progress; the first answer counts, and the
    /// others are cancelled. The layer is asked where the other one goes, and may refuse it without harm to this one.
    /// A told message is not hedged.
    ///
    /// The request is kept encoded from the start. It may be handled twice: hedge what is
    /// [idempotent](Attempt::idempotent).
    pub fn hedge_after(mut self, delay: Duration) -> Self {
        self.hedge_after = Some(delay);
        self
    }

    /// Tells `ended` how the attempt ended. It is called exactly once, whatever happens, also where the caller
    /// leaves or a handler panics. It is quick and does not panic.
    pub fn ended(mut self, ended: impl FnOnce(&End) + Send + 'static) -> Self {
        self.ended = Some(Box::new(ended));
        self
    }

    /// Lets `again` decide what follows an attempt without a reply: another one after the time that it returns, for
    /// which the layer chooses again, or nothing. It is asked at most once, after what [`ended`](Self::ended) was
    /// told, and not where the caller left or its time is over.
    ///
    /// The request is kept encoded from the start. Whether it may be repeated is for `again` to judge, by what is
    /// [known](DeliveryError::delivery) and by [`Attempt::idempotent`]. A told message is repeated only where
    /// nobody has it.
    pub fn again(mut self, again: impl FnOnce(&End) -> Option<Duration> + Send + 'static) -> Self {
        self.again = Some(Box::new(again));
        self
    }
}

#[cfg(test)]
mod tests;
