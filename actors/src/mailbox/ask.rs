//! Asking.

use super::{
    Local, Mailbox, RemoteCall, TIMEOUT_DEFAULT, TIMEOUT_MAX, Target, anew::ask_anew, layered,
    local::InFlight, remote::unencodable,
};
use crate::{
    call::{Call, CallContext, CallState, Origin, Priority},
    session::Sending,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;
use std::{
    error::Error,
    future::{Future, IntoFuture, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use swarm_protocols::{
    Accepts, Delivery, DeliveryError, Protocol, Request,
    wire::codec::{self, MESSAGE_BYTES_MAX},
};
use tokio::time::{Instant, Sleep, sleep_until};

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

pub(super) const SENDING_DEFAULT: Sending =
    Sending { timeout: TIMEOUT_DEFAULT, priority: Priority::Normal, own_stream: false };

/// The options that everything has that can be sent.
macro_rules! sending_options {
    () => {
        /// Waits at most this long. The default is [`TIMEOUT_DEFAULT`](crate::TIMEOUT_DEFAULT), the longest one
        /// [`TIMEOUT_MAX`](crate::TIMEOUT_MAX). The callee of a request is told, and stops when the time is over.
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.sending.timeout = timeout.min(TIMEOUT_MAX);
            self
        }

        /// Goes out before or after others.
        pub fn priority(mut self, priority: Priority) -> Self {
            self.sending.priority = priority;
            self
        }

        /// Takes a QUIC stream of its own: a lost packet of another request then never delays this
        /// one. It costs two to four times the processor time of a request on a lane, the more the more are
        /// in flight, which pays for large messages; those over 16 KiB always do so.
        pub fn on_own_stream(mut self) -> Self {
            self.sending.own_stream = true;
            self
        }
    };
}
pub(super) use sending_options;

/// A request about to be asked. Await it.
#[must_use = "nothing is asked before it is awaited"]
pub struct Ask<'a, P: Protocol, R: Request> {
    mailbox: &'a Mailbox<P>,
    request: R,
    sending: Sending,
}

impl<'a, P: Accepts<R>, R: Request> Ask<'a, P, R> {
    pub(super) fn new(mailbox: &'a Mailbox<P>, request: R) -> Self {
        Self { mailbox, request, sending: SENDING_DEFAULT }
    }

    sending_options!();
}

impl<P: Accepts<R>, R: Request> IntoFuture for Ask<'_, P, R> {
    type Output = Result<R::Reply, AskError<R::Error>>;
    type IntoFuture = AskFuture<R>;

    fn into_future(self) -> AskFuture<R> {
        let Ask { mailbox, request, sending } = self;
        mailbox.start_ask(request, sending, Origin::default())
    }
}

impl<P: Protocol> Mailbox<P> {
    /// Asks at once, so that requests arrive in the order in which they were asked.
    pub(super) fn start_ask<R: Request>(&self, request: R, sending: Sending, origin: Origin) -> AskFuture<R>
    where
        P: Accepts<R>,
    {
        AskFuture(match &self.target {
            Target::Local(local) => ask_local(local, request, sending, origin),
            Target::Remote(remote) => match remote.anew::<R>() {
                None => Asked::Remote(remote.ask(&request, sending, origin)),
                Some((back, route)) => match codec::encode(&request) {
                    Ok(request) => {
                        Asked::Boxed(Box::pin(ask_anew(back, route, request.into(), sending, origin)))
                    }
                    Err(error) => {
                        return AskFuture::refused(unencodable::<R>(error, MESSAGE_BYTES_MAX as u64));
                    }
                },
            },
            Target::Layered(layer) => Asked::Boxed(layered::ask(layer, request, sending, origin)),
        })
    }

    /// The same for a request that is encoded already.
    pub(super) fn start_encoded<R: Request>(
        &self,
        request: &Bytes,
        sending: Sending,
        origin: Origin,
    ) -> AskFuture<R>
    where
        P: Accepts<R>,
    {
        if let Target::Remote(remote) = &self.target {
            return AskFuture(match remote.anew::<R>() {
                None => Asked::Remote(remote.ask_encoded(request, sending, origin)),
                Some((back, route)) => {
                    Asked::Boxed(Box::pin(ask_anew(back, route, request.clone(), sending, origin)))
                }
            });
        }
        match codec::decode_shared(request) {
            Ok(request) => self.start_ask(request, sending, origin),
            Err(error) => AskFuture::refused(undecodable::<R>(error)),
        }
    }
}

/// A request that its callee cannot decode.
pub(super) fn undecodable<R: Request>(error: impl std::fmt::Display) -> DeliveryError {
    let reason = format!("{}: {error}", R::NAME);
    DeliveryError::Codec { reason, delivery: Delivery::NotSent }
}

fn ask_local<P: Accepts<R>, R: Request>(
    local: &Local<P>,
    request: R,
    Sending { timeout, priority, .. }: Sending,
    origin: Origin,
) -> Asked<R> {
    let permit = match local.admit::<R>() {
        Ok(permit) => permit,
        Err(error) => return Asked::Boxed(Box::pin(ready(Err(error.into())))),
    };
    let deadline = Instant::now() + timeout;
    let state = Arc::new(CallState::new([Some(permit), None]));
    let context = CallContext::asked(origin, Some(deadline), priority, Arc::clone(&state));
    let in_flight = local.ask(Call::new(request, context), state);
    let mut asked =
        Box::pin(LocalAsk { in_flight, timer: None, waited: false, deadline, timeout, ended: false });
    asked.as_mut().project().in_flight.hand_over();
    Asked::Boxed(asked)
}

pin_project! {
    /// A request to an actor of this process. Dropping it cancels the request.
    struct LocalAsk<R: Request> {
        #[pin]
        in_flight: InFlight<R>,
        // Made where the answer is not there when everybody else on the thread has had a turn.
        #[pin]
        timer: Option<Sleep>,
        waited: bool,
        deadline: Instant,
        timeout: Duration,
        ended: bool,
    }

    impl<R: Request> PinnedDrop for LocalAsk<R> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if !*this.ended {
                this.in_flight.state.cancel();
            }
        }
    }
}

impl<R: Request> Future for LocalAsk<R> {
    type Output = AskResult<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(answer) = this.in_flight.as_mut().poll(cx) {
            *this.ended = true;
            return Poll::Ready(answer);
        }
        if !std::mem::replace(this.waited, true) {
            // A turn costs less than a timer, and most actors answer in theirs.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.timer.is_none() {
            this.timer.set(Some(sleep_until(*this.deadline)));
        }
        let timer = this.timer.as_mut().as_pin_mut();
        ready!(timer.expect("it was made above").poll(cx));
        *this.ended = true;
        this.in_flight.state.cancel();
        let error = DeliveryError::TimedOut { after: *this.timeout, delivery: Delivery::Unknown };
        Poll::Ready(Err(error.into()))
    }
}

/// The future of an [`Ask`]. Dropping it cancels the request at the callee.
#[must_use = "dropping it cancels the request"]
pub struct AskFuture<R: Request>(Asked<R>);

pub(super) type AskResult<R> = Result<<R as Request>::Reply, AskError<<R as Request>::Error>>;

enum Asked<R: Request> {
    Boxed(BoxFuture<'static, AskResult<R>>),
    Remote(RemoteCall<R>),
}

impl<R: Request> AskFuture<R> {
    pub(super) fn refused(error: DeliveryError) -> Self {
        Self(Asked::Boxed(Box::pin(ready(Err(error.into())))))
    }

    pub(super) fn remote(call: RemoteCall<R>) -> Self {
        Self(Asked::Remote(call))
    }
}

impl<R: Request> Future for AskFuture<R> {
    type Output = Result<R::Reply, AskError<R::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Asked::Boxed(future) => future.as_mut().poll(cx),
            Asked::Remote(call) => call.poll(cx),
        }
    }
}
