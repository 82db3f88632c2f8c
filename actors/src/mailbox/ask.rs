//! Asking and telling.

use super::{Mailbox, RemoteCall, TIMEOUT_DEFAULT, TIMEOUT_MAX, Target};
use crate::{
    call::{Call, CallContext, CancelOnDrop},
    session::{Priority, Sending},
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, MaybeDone, maybe_done},
};
use std::{
    error::Error,
    future::{Future, IntoFuture, ready},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use swarm_protocols::{Accepts, Delivery, DeliveryError, Protocol, Request, wire::frame::Intent};
use tokio::time::Instant;

/// Why an ask brought no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError<E: Error + 'static> {
    /// The handler answered with its own error.
    #[error("{0}")]
    Handler(#[source] E),
    /// The handler gave no answer.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

/// A request about to be asked. Await it.
#[must_use = "nothing is asked before it is awaited"]
pub struct Ask<'a, P: Protocol, R: Request> {
    mailbox: &'a Mailbox<P>,
    request: R,
    timeout: Duration,
    priority: Priority,
    own_stream: bool,
}

impl<'a, P: Accepts<R>, R: Request> Ask<'a, P, R> {
    pub(crate) fn new(mailbox: &'a Mailbox<P>, request: R) -> Self {
        Self { mailbox, request, timeout: TIMEOUT_DEFAULT, priority: Priority::default(), own_stream: false }
    }

    /// Waits at most this long; the callee is told, and stops when the time is over. The default is
    /// [`TIMEOUT_DEFAULT`], the longest one [`TIMEOUT_MAX`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(TIMEOUT_MAX);
        self
    }

    /// Goes out before or after others.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Takes a QUIC stream of its own: a lost packet of another request then never delays this
    /// one. It costs about twice the processor time of a request on a lane, which pays for large
    /// messages; requests over 16 KiB always do so.
    pub fn on_own_stream(mut self) -> Self {
        self.own_stream = true;
        self
    }
}

impl<P: Accepts<R>, R: Request> IntoFuture for Ask<'_, P, R> {
    type Output = Result<R::Reply, AskError<R::Error>>;
    type IntoFuture = AskFuture<R>;

    fn into_future(self) -> AskFuture<R> {
        let Ask { mailbox, request, timeout, priority, own_stream } = self;
        AskFuture(match &mailbox.target {
            Target::Local(local) => match local.admit() {
                Ok(permit) => {
                    let deadline = Instant::now() + timeout;
                    let context = CallContext::new(None, Some(deadline), [Some(permit), None]);
                    let cancel = CancelOnDrop::new(context.state());
                    let mut answer = Box::pin(maybe_done(local.ask(Call::new(request, context)).answer()));
                    // Polled here, so that the actor gets requests in the order in which they were asked.
                    let _answered = answer.as_mut().now_or_never();
                    Asked::Local(Box::pin(local_ask(answer, cancel, timeout)))
                }
                Err(error) => Asked::Local(Box::pin(ready(Err(error.into())))),
            },
            Target::Remote(remote) => {
                let sending = Sending { timeout, priority, own_stream, intent: Intent::Ask };
                Asked::Remote(remote.ask(&request, sending))
            }
        })
    }
}

async fn local_ask<T, E: Error + 'static>(
    mut answer: Pin<Box<MaybeDone<impl Future<Output = Result<T, AskError<E>>>>>>,
    cancel: CancelOnDrop,
    timeout: Duration,
) -> Result<T, AskError<E>> {
    match tokio::time::timeout(timeout, answer.as_mut()).await {
        Ok(()) => {
            cancel.disarm();
            answer.as_mut().take_output().expect("it is done and was not taken")
        }
        Err(_) => Err(DeliveryError::TimedOut { after: timeout, delivery: Delivery::Unknown }.into()),
    }
}

/// The future of an [`Ask`]. Dropping it cancels the request at the callee.
#[must_use = "dropping it cancels the request"]
pub struct AskFuture<R: Request>(Asked<R>);

type AskResult<R> = Result<<R as Request>::Reply, AskError<<R as Request>::Error>>;

enum Asked<R: Request> {
    Local(BoxFuture<'static, AskResult<R>>),
    Remote(RemoteCall<R>),
}

impl<R: Request> Future for AskFuture<R> {
    type Output = Result<R::Reply, AskError<R::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Asked::Local(future) => future.as_mut().poll(cx),
            Asked::Remote(call) => call.poll(cx),
        }
    }
}

/// A message about to be told. Await it.
#[must_use = "nothing is told before it is awaited"]
pub struct Tell<'a, P: Protocol, R: Request> {
    mailbox: &'a Mailbox<P>,
    request: R,
    timeout: Duration,
}

/// Why a mailbox did not accept a told message.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct TellError<R> {
    /// The message, where it is certain that nobody got it and it is still here.
    pub message: Option<R>,
    /// What went wrong.
    #[source]
    pub cause: DeliveryError,
}

impl<'a, P: Accepts<R>, R: Request> Tell<'a, P, R> {
    pub(crate) fn new(mailbox: &'a Mailbox<P>, request: R) -> Self {
        Self { mailbox, request, timeout: TIMEOUT_DEFAULT }
    }

    /// Waits at most this long for the mailbox to accept.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(TIMEOUT_MAX);
        self
    }
}

impl<'a, P: Accepts<R>, R: Request + Sync> IntoFuture for Tell<'a, P, R> {
    type Output = Result<(), TellError<R>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Tell { mailbox, request, timeout } = self;
        match &mailbox.target {
            Target::Local(local) => {
                let told = match local.admit() {
                    Ok(permit) => {
                        local.tell(Call::new(request, CallContext::new(None, None, [Some(permit), None])))
                    }
                    Err(error) => Err((request, error)),
                };
                let told = told.map_err(|(message, cause)| TellError { message: Some(message), cause });
                Box::pin(ready(told))
            }
            Target::Remote(remote) => Box::pin(async move {
                let (priority, own_stream) = (Priority::Normal, false);
                let sending = Sending { timeout, priority, own_stream, intent: Intent::Tell };
                remote.tell(&request, sending).await.map_err(|cause| {
                    let message = (cause.delivery() == Delivery::NotSent).then_some(request);
                    TellError { message, cause }
                })
            }),
        }
    }
}
