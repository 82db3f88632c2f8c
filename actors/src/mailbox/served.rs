//! Serving encoded requests: how what a peer asks gets to a mailbox of this process.

use super::{
    AskError, Mailbox, TIMEOUT_DEFAULT, TIMEOUT_MAX, Target,
    ask::{AskResult, undecodable},
    tell::Acceptance,
};
use crate::{
    call::{Call, CallContext, CallState, Origin, Priority},
    session::{
        Arrival, ExposedRequest, Handle, Outbox, PostedLater, Sending, Serving, no_room, with_scratch,
    },
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use pin_project_lite::pin_project;
use std::{
    cell::RefCell,
    fmt,
    future::Future,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{self, Context, Poll},
};
use swarm_protocols::{
    Accepts, Delivery, DeliveryError, Protocol, Request, Visitor,
    wire::{
        codec,
        frame::{self, Answered, Intent, RequestHead},
    },
};
use tokio::time::Instant;

/// What is longer than this is decoded on a thread of its own, in bytes: this much takes about a millisecond.
pub(super) const DECODED_HERE_BYTES_MAX: usize = 256 << 10;

/// The requests of a mailbox, each with its handler.
pub(crate) fn requests_of<P: Protocol>(mailbox: &Mailbox<P>) -> Vec<ExposedRequest> {
    let mut collector = Collector { mailbox, requests: Vec::with_capacity(P::REQUESTS) };
    P::visit(&mut collector);
    collector.requests
}

struct Collector<'a, P: Protocol> {
    mailbox: &'a Mailbox<P>,
    requests: Vec<ExposedRequest>,
}

impl<P: Protocol> Visitor<P> for Collector<'_, P> {
    fn request<R: Request>(&mut self)
    where
        P: Accepts<R>,
    {
        let accepted = match &self.mailbox.target {
            Target::Remote(remote) => remote.route::<R>().is_ok(),
            Target::Local(_) | Target::Layered(_) => true,
        };
        if accepted {
            self.requests.push(exposed_as::<P, R, R>(self.mailbox));
        }
    }
}

/// The request `R` of a mailbox, as peers ask it that know it as `W`, which is itself or an older version.
pub(crate) fn exposed_as<P, W, R>(mailbox: &Mailbox<P>) -> ExposedRequest
where
    P: Accepts<R>,
    W: Request,
    R: Request + From<W>,
    W::Reply: From<R::Reply>,
    W::Error: From<R::Error>,
{
    let handler = Typed::<P, W, R> { mailbox: mailbox.clone(), requests: PhantomData };
    ExposedRequest { name: W::NAME, version: W::VERSION, handler: Arc::new(handler) }
}

struct Typed<P: Protocol, W, R> {
    mailbox: Mailbox<P>,
    requests: PhantomData<fn() -> (W, R)>,
}

impl<P, W, R> Handle for Typed<P, W, R>
where
    P: Accepts<R>,
    W: Request,
    R: Request + From<W>,
    W::Reply: From<R::Reply>,
    W::Error: From<R::Error>,
{
    fn is_alive(&self) -> bool {
        match &self.mailbox.target {
            Target::Local(local) => local.is_alive::<R>(),
            Target::Remote(_) | Target::Layered(_) => true,
        }
    }

    fn in_progress(&self) -> usize {
        match &self.mailbox.target {
            Target::Local(local) => local.in_progress::<R>(),
            Target::Remote(_) | Target::Layered(_) => 0,
        }
    }

    fn start(
        &self,
        head: RequestHead,
        payload: Bytes,
        arrival: Arrival,
        outbox: &Rc<RefCell<Outbox>>,
    ) -> Option<(Serving, Arc<CallState>)> {
        let Arrival { caller, deadline, priority, permit, answer_bytes_max } = arrival;
        let RequestHead { correlation, intent, .. } = head;
        let told = intent == Intent::Tell;
        let on_behalf_of = intent.principal().map(Box::new);
        let origin = Origin { caller: Some(caller), on_behalf_of };
        let to = Reply { correlation, bytes_max: answer_bytes_max, outbox };
        let local = match &self.mailbox.target {
            Target::Local(local) if payload.len() <= DECODED_HERE_BYTES_MAX => local,
            _ => {
                // The places that the inner mailbox has are its own; this one is that of the session.
                let state = Arc::new(CallState::new([Some(permit), None]));
                let mailbox = self.mailbox.clone();
                if told {
                    let told = async move {
                        let request = decode_aside::<W, R>(payload).await?;
                        mailbox.pass_on(request, priority, origin, Acceptance::There).await
                    };
                    return to.serve(state, told.map(Wire::<W>::of_tell));
                }
                let asked = async move {
                    let request = decode_aside::<W, R>(payload).await?;
                    let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
                    let timeout = deadline.map_or(TIMEOUT_MAX, left);
                    let sending = Sending { timeout, priority, own_stream: false };
                    mailbox.start_ask(request, sending, origin).await
                };
                return to.serve(state, guarded::<R>(asked).map(Wire::<W>::of_ask::<R>));
            }
        };
        let admitted = local.admit::<R>().and_then(|place| {
            let (request, permits) = (decode::<W, R>(&payload)?, [Some(place), Some(permit)]);
            let context = match told {
                true => CallContext::told(origin, priority, permits),
                false => CallContext::asked(origin, deadline, priority, permits),
            };
            Ok(Call::new(request, context))
        });
        match admitted {
            Ok(call) if told => to.put(Wire::<W>::of_tell(local.tell(call).map_err(|(_, error)| error))),
            Ok(call) => to.serve(call.state(), local.ask(call).map(Wire::<W>::of_ask::<R>)),
            Err(error) => to.put(Wire::<W>::Undelivered(error)),
        }
    }

    fn post(&self, payload: Bytes, arrival: Arrival) -> Result<Option<PostedLater>, DeliveryError> {
        let Arrival { caller, priority, permit, .. } = arrival;
        let origin = Origin { caller: Some(caller), on_behalf_of: None };
        if let Target::Local(local) = &self.mailbox.target
            && payload.len() <= DECODED_HERE_BYTES_MAX
        {
            let place = local.admit::<R>()?;
            let context = CallContext::told(origin, priority, [Some(place), Some(permit)]);
            let told = local.tell(Call::new(decode::<W, R>(&payload)?, context));
            return told.map(|()| None).map_err(|(_, error)| error);
        }
        let mailbox = self.mailbox.clone();
        let mut told = Box::pin(async move {
            let message = decode_aside::<W, R>(payload).await?;
            mailbox.pass_on(message, priority, origin, Acceptance::Here).await
        });
        match told.as_mut().now_or_never() {
            Some(told) => told.map(|()| None),
            None => Ok(Some(Box::pin(async move {
                let told = told.await;
                drop(permit);
                told
            }))),
        }
    }

    fn ask(&self, payload: Bytes, sending: Sending, origin: Origin) -> BoxFuture<'static, Answered> {
        let mailbox = self.mailbox.clone();
        Box::pin(async move {
            let request = match decode_aside::<W, R>(payload).await {
                Ok(request) => request,
                Err(error) => return Answered::Undelivered(error),
            };
            let encoded = match mailbox.start_ask(request, sending, origin).await {
                Ok(reply) => codec::encode(&W::Reply::from(reply)).map(|bytes| Answered::Reply(bytes.into())),
                Err(AskError::Handler(error)) => {
                    codec::encode(&W::Error::from(error)).map(|bytes| Answered::Failed(bytes.into()))
                }
                Err(AskError::Delivery(error)) => return Answered::Undelivered(error),
            };
            encoded.unwrap_or_else(|error| Answered::Undelivered(unencodable::<W>(error)))
        })
    }
}

impl<P: Protocol> Mailbox<P> {
    /// Tells what a peer has told, as soon as it is polled.
    async fn pass_on<R: Request>(
        self,
        message: R,
        priority: Priority,
        origin: Origin,
        acceptance: Acceptance,
    ) -> Result<(), DeliveryError>
    where
        P: Accepts<R>,
    {
        let sending = Sending { timeout: TIMEOUT_DEFAULT, priority, own_stream: false };
        let told = async move { self.start_tell(message, sending, origin, acceptance).await };
        let told = AssertUnwindSafe(told).catch_unwind().await;
        told.map_err(|_panic| DeliveryError::Panicked)?.map_err(|error| error.cause)
    }
}

/// Lets a panic of a layer be an error of this call: on the arbiter of the bridge it would end the lane.
async fn guarded<R: Request>(asked: impl Future<Output = AskResult<R>>) -> AskResult<R> {
    let answer = AssertUnwindSafe(asked).catch_unwind().await;
    answer.unwrap_or_else(|_panic| Err(DeliveryError::Panicked.into()))
}

/// Decodes what is short at once, and what would hold up the arbiter on a thread for that.
async fn decode_aside<W: Request, R: From<W> + Send + 'static>(payload: Bytes) -> Result<R, DeliveryError> {
    if payload.len() <= DECODED_HERE_BYTES_MAX {
        return decode::<W, R>(&payload);
    }
    let decoded = tokio::task::spawn_blocking(move || decode::<W, R>(&payload)).await;
    decoded.unwrap_or_else(|_panic| {
        let reason = format!("{}: decoding it panicked", W::NAME);
        Err(DeliveryError::Codec { reason, delivery: Delivery::NotSent })
    })
}

fn decode<W: Request, R: From<W>>(payload: &[u8]) -> Result<R, DeliveryError> {
    convert(codec::decode::<W>(payload).map_err(undecodable::<W>)?)
}

/// Makes one version of the other; a panic in there is an error of this call.
fn convert<T, U: From<T>>(value: T) -> Result<U, DeliveryError> {
    catch_unwind(AssertUnwindSafe(|| U::from(value))).map_err(|_panic| DeliveryError::Panicked)
}

/// Where an answer goes.
struct Reply<'a> {
    correlation: u64,
    bytes_max: u64,
    outbox: &'a Rc<RefCell<Outbox>>,
}

impl Reply<'_> {
    /// Answers at once: nothing is left to be served.
    fn put<R: Request, T>(self, answer: Wire<R>) -> Option<T> {
        answer.put(self.correlation, self.bytes_max, &mut self.outbox.borrow_mut());
        None
    }

    /// Answers when `answer` is there, which may be at once.
    fn serve<R: Request>(
        self,
        state: Arc<CallState>,
        answer: impl Future<Output = Wire<R>> + 'static,
    ) -> Option<(Serving, Arc<CallState>)> {
        let Reply { correlation, bytes_max, outbox } = self;
        let cancelled = Arc::clone(&state);
        let outbox = Rc::clone(outbox);
        let mut serving: Serving =
            Box::pin(Answering { answer, cancelled, polls: 0, correlation, bytes_max, outbox });
        // Polled here, so that actors get requests in the order in which they came.
        let answered = serving.as_mut().now_or_never().is_some();
        (!answered).then_some((serving, state))
    }
}

pin_project! {
    /// Puts the answer to a request into the outbox, or that it was cancelled. Yields its number.
    struct Answering<F> {
        #[pin]
        answer: F,
        cancelled: Arc<CallState>,
        polls: u8,
        correlation: u64,
        bytes_max: u64,
        outbox: Rc<RefCell<Outbox>>,
    }
}

impl<R: Request, F: Future<Output = Wire<R>>> Future for Answering<F> {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        let this = self.project();
        // Most answers come by the third poll: only later ones are worth waking for a cancellation.
        let cancelled = match *this.polls {
            0 | 1 => this.cancelled.is_cancelled(),
            _ => this.cancelled.poll_cancelled(cx).is_ready(),
        };
        *this.polls = this.polls.saturating_add(1);
        let answer = match cancelled {
            true => Wire::Undelivered(DeliveryError::Cancelled),
            false => task::ready!(this.answer.poll(cx)),
        };
        answer.put(*this.correlation, *this.bytes_max, &mut this.outbox.borrow_mut());
        Poll::Ready(*this.correlation)
    }
}

fn unencodable<R: Request>(fault: impl fmt::Display) -> DeliveryError {
    let reason = format!("the answer to {}: {fault}", R::NAME);
    DeliveryError::Codec { reason, delivery: Delivery::Delivered }
}

enum Wire<R: Request> {
    Reply(R::Reply),
    Failed(R::Error),
    Accepted,
    Undelivered(DeliveryError),
}

impl<W: Request> Wire<W> {
    /// The outcome of an ask of `R`, as those read it that asked `W`.
    fn of_ask<R>(outcome: AskResult<R>) -> Self
    where
        R: Request,
        W::Reply: From<R::Reply>,
        W::Error: From<R::Error>,
    {
        match outcome {
            Ok(reply) => convert(reply).map_or_else(Self::Undelivered, Self::Reply),
            Err(AskError::Handler(error)) => convert(error).map_or_else(Self::Undelivered, Self::Failed),
            Err(AskError::Delivery(error)) => Self::Undelivered(error),
        }
    }

    fn of_tell(outcome: Result<(), DeliveryError>) -> Self {
        outcome.map_or_else(Self::Undelivered, |()| Self::Accepted)
    }

    fn put(self, correlation: u64, bytes_max: u64, outbox: &mut Outbox) {
        with_scratch(|payload| {
            let encoded = match &self {
                Wire::Reply(reply) => codec::encode_into(reply, payload).map(|()| false),
                Wire::Failed(error) => codec::encode_into(error, payload).map(|()| true),
                Wire::Accepted => return frame::put_accepted(correlation, outbox.frames()),
                Wire::Undelivered(error) => {
                    return frame::put_undelivered(correlation, error, outbox.frames());
                }
            };
            let fault = match encoded {
                Ok(failed) if payload.len() as u64 <= bytes_max => {
                    if outbox.admits(payload.len()) {
                        return frame::put_outcome(correlation, failed, payload, outbox.frames());
                    }
                    let error = no_room(payload.len(), Delivery::Delivered);
                    return frame::put_undelivered(correlation, &error, outbox.frames());
                }
                Ok(_) => {
                    format!("its {} bytes are more than the {bytes_max} that the caller takes", payload.len())
                }
                Err(error) => error.to_string(),
            };
            frame::put_undelivered(correlation, &unencodable::<W>(fault), outbox.frames());
        });
    }
}
