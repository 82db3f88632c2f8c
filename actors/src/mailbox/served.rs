//! Serving encoded requests: how what a peer asks gets to a mailbox of this process.

use super::{AskError, InFlight, Local};
use crate::{
    call::{Call, CallContext, CallState, Caller, CancelOnDrop},
    gate::Permit,
    session::{Arrival, ExposedRequest, Handle, Outbox, Serving, with_scratch},
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use std::{
    cell::RefCell,
    fmt,
    future::{Future, poll_fn, ready},
    marker::PhantomData,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use swarm_protocols::{
    Accepts, Delivery, DeliveryError, Protocol, Request, Visitor,
    wire::{
        codec,
        frame::{self, Answered, Intent, RequestHead},
    },
};
use tokio::time::Instant;

/// The requests of a mailbox, each with its handler.
pub(crate) fn requests_of<P: Protocol>(local: &Arc<Local<P>>) -> Vec<ExposedRequest> {
    let mut collector = Collector { local, requests: Vec::with_capacity(P::REQUESTS) };
    P::visit(&mut collector);
    collector.requests
}

struct Collector<'a, P: Protocol> {
    local: &'a Arc<Local<P>>,
    requests: Vec<ExposedRequest>,
}

impl<P: Protocol> Visitor<P> for Collector<'_, P> {
    fn request<R: Request>(&mut self)
    where
        P: Accepts<R>,
    {
        let handler = Typed::<P, R> { local: Arc::clone(self.local), request: PhantomData };
        self.requests.push(ExposedRequest { name: R::NAME, version: R::VERSION, handler: Arc::new(handler) });
    }
}

struct Typed<P: Protocol, R: Request> {
    local: Arc<Local<P>>,
    request: PhantomData<fn() -> R>,
}

impl<P: Accepts<R>, R: Request> Handle for Typed<P, R> {
    fn start(
        &self,
        head: RequestHead,
        payload: Bytes,
        arrival: Arrival,
        outbox: &Rc<RefCell<Outbox>>,
    ) -> Option<(Serving, Arc<CallState>)> {
        let Arrival { caller, deadline, permit, answer_bytes_max } = arrival;
        let RequestHead { correlation, intent, .. } = head;
        let tell = intent == Intent::Tell;
        let context = |place| {
            CallContext::new(Some(caller), deadline, [Some(place), Some(permit)])
                .on_behalf_of(intent.principal())
        };
        let admitted = self.admit(&payload, context);
        let answer = match admitted {
            Ok(call) if tell => match self.local.tell(call) {
                Ok(()) => Wire::<R>::Accepted,
                Err((_, error)) => Wire::Undelivered(error),
            },
            Ok(call) => {
                let (outbox, state) = (Rc::clone(outbox), call.state());
                let (in_flight, cancelled) = (self.local.ask(call), Arc::clone(&state));
                let mut serving: Serving = Box::pin(async move {
                    let answer = answer(in_flight, &cancelled).await;
                    answer.put(correlation, answer_bytes_max, outbox.borrow_mut().frames());
                    correlation
                });
                // Polled here, so that actors get requests in the order in which they came.
                let answered = serving.as_mut().now_or_never().is_some();
                return (!answered).then_some((serving, state));
            }
            Err(error) => Wire::Undelivered(error),
        };
        answer.put(correlation, answer_bytes_max, outbox.borrow_mut().frames());
        None
    }

    fn ask(
        &self,
        payload: Bytes,
        timeout: Duration,
        on_behalf_of: Option<Caller>,
    ) -> BoxFuture<'static, Answered> {
        let deadline = Instant::now() + timeout;
        let context =
            |place| CallContext::new(None, Some(deadline), [Some(place), None]).on_behalf_of(on_behalf_of);
        let call = match self.admit(&payload, context) {
            Ok(call) => call,
            Err(error) => return Box::pin(ready(Answered::Undelivered(error))),
        };
        let cancel = CancelOnDrop::new(call.state());
        let in_flight = self.local.ask(call);
        Box::pin(async move {
            let Ok(answer) = tokio::time::timeout_at(deadline, in_flight.answer()).await else {
                return Answered::Undelivered(DeliveryError::TimedOut {
                    after: timeout,
                    delivery: Delivery::Unknown,
                });
            };
            cancel.disarm();
            let encoded = match answer {
                Ok(reply) => codec::encode(&reply).map(|bytes| Answered::Reply(bytes.into())),
                Err(AskError::Handler(error)) => {
                    codec::encode(&error).map(|bytes| Answered::Failed(bytes.into()))
                }
                Err(AskError::Delivery(error)) => return Answered::Undelivered(error),
            };
            encoded.unwrap_or_else(|error| Answered::Undelivered(unencodable::<R>(error)))
        })
    }
}

impl<P: Accepts<R>, R: Request> Typed<P, R> {
    /// Decodes a request for which there is a place.
    fn admit(
        &self,
        payload: &[u8],
        context: impl FnOnce(Permit) -> CallContext,
    ) -> Result<Call<R>, DeliveryError> {
        let place = self.local.admit()?;
        let request = codec::decode::<R>(payload).map_err(|error| {
            let reason = format!("{}: {error}", R::NAME);
            DeliveryError::Codec { reason, delivery: Delivery::NotSent }
        })?;
        Ok(Call::new(request, context(place)))
    }
}

fn unencodable<R: Request>(fault: impl fmt::Display) -> DeliveryError {
    let reason = format!("the answer to {}: {fault}", R::NAME);
    DeliveryError::Codec { reason, delivery: Delivery::Delivered }
}

async fn answer<R: Request>(in_flight: InFlight<R>, state: &CallState) -> Wire<R> {
    let mut answer = pin!(in_flight.answer());
    let mut polls = 0_u32;
    poll_fn(|cx| {
        let cancelled = if polls > 1 { state.poll_cancelled(cx).is_ready() } else { state.is_cancelled() };
        if cancelled {
            return Poll::Ready(Wire::Undelivered(DeliveryError::Cancelled));
        }
        polls = polls.saturating_add(1);
        answer.as_mut().poll(cx).map(|answer| match answer {
            Ok(reply) => Wire::Reply(reply),
            Err(AskError::Handler(error)) => Wire::Failed(error),
            Err(AskError::Delivery(error)) => Wire::Undelivered(error),
        })
    })
    .await
}

enum Wire<R: Request> {
    Reply(R::Reply),
    Failed(R::Error),
    Accepted,
    Undelivered(DeliveryError),
}

impl<R: Request> Wire<R> {
    fn put(self, correlation: u64, bytes_max: u64, out: &mut Vec<u8>) {
        with_scratch(|payload| {
            let encoded = match &self {
                Wire::Reply(reply) => codec::encode_into(reply, payload).map(|()| false),
                Wire::Failed(error) => codec::encode_into(error, payload).map(|()| true),
                Wire::Accepted => return frame::put_accepted(correlation, out),
                Wire::Undelivered(error) => return frame::put_undelivered(correlation, error, out),
            };
            let fault = match encoded {
                Ok(failed) if payload.len() as u64 <= bytes_max => {
                    return frame::put_outcome(correlation, failed, payload, out);
                }
                Ok(_) => {
                    format!("its {} bytes are more than the {bytes_max} that the caller takes", payload.len())
                }
                Err(error) => error.to_string(),
            };
            frame::put_undelivered(correlation, &unencodable::<R>(fault), out);
        });
    }
}
