//! Serving encoded requests: how what a peer asks gets to a mailbox of this process.

use super::{
    AskError, Mailbox, TIMEOUT_DEFAULT, TIMEOUT_MAX, Target,
    ask::{AskResult, undecodable},
    local::{Inlet, WireVersion},
    tell::Acceptance,
};
use crate::{
    call::{Call, CallContext, CallState, Known, Origin, Permits, Priority, Unclaimed},
    gate::{Permit, RETRY_AFTER},
    session::{Answer, Arrival, Arrivals, ExposedRequest, Form, Handle, Sending, serve},
    workers::beside,
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use std::{
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use swarm_protocols::{
    Accepts, Delivery, DeliveryError, Protocol, Request, Visitor,
    wire::{codec, frame::Answered},
};
use tokio::time::Instant;

/// A version of the request `R`: itself or an older one.
pub(crate) trait Older<R: Request>:
    Request<Reply: From<R::Reply>, Error: From<R::Error>> + Into<R>
{
}

impl<W, R> Older<R> for W
where
    W: Request<Reply: From<R::Reply>, Error: From<R::Error>> + Into<R>,
    R: Request,
{
}

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
    W: Older<R>,
    R: Request,
{
    let inlet = match &mailbox.target {
        Target::Local(local) => local.inlet::<R>(&As::<W>(PhantomData)),
        Target::Remote(_) | Target::Layered(_) => None,
    };
    let handler = Typed::<P, W, R> { mailbox: mailbox.clone(), inlet, requests: PhantomData };
    // Both declarations have a say: the handler is that of `R`.
    let idempotent = W::IDEMPOTENT && R::IDEMPOTENT;
    ExposedRequest { name: W::NAME, version: W::VERSION, idempotent, handler: Arc::new(handler) }
}

struct Typed<P: Protocol, W, R> {
    mailbox: Mailbox<P>,
    inlet: Option<Arc<dyn Inlet>>,
    requests: PhantomData<fn() -> (W, R)>,
}

/// A request as those know it who ask `W`, which is itself or an older version.
struct As<W>(PhantomData<fn() -> W>);

impl<W, R> WireVersion<R> for As<W>
where
    W: Older<R>,
    R: Request,
{
    fn decode(&self, payload: &Bytes) -> Result<R, DeliveryError> {
        decode::<W, R>(payload)
    }

    fn encode(&self, answer: AskResult<R>, bytes_max: u64, payload: &mut Vec<u8>) -> Form {
        let form = match answer {
            Ok(reply) => encode::<W, W::Reply>(convert(reply)?, payload).map(|()| Answer::Reply),
            Err(AskError::Handler(error)) => {
                encode::<W, W::Error>(convert(error)?, payload).map(|()| Answer::Failed)
            }
            Err(AskError::Delivery(error)) => Err(error),
        };
        match payload.len() {
            length if length as u64 <= bytes_max => form,
            length => Err(unencodable::<W>(format!(
                "its {length} bytes are more than the {bytes_max} that the caller takes"
            ))),
        }
    }
}

impl<P, W, R> Handle for Typed<P, W, R>
where
    P: Accepts<R>,
    W: Older<R>,
    R: Request,
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

    fn start(&self, mut arrivals: Arrivals) {
        // Those that other mailboxes lead to have places of their own.
        let places = match &self.mailbox.target {
            Target::Local(local) => Some(local.admit_many::<R>(arrivals.requests.len())),
            Target::Remote(_) | Target::Layered(_) => None,
        };
        if let Some(places) = &places {
            arrivals.refuse_after(places.count(), &DeliveryError::Overloaded { retry_after: RETRY_AFTER });
        }
        if arrivals.requests.is_empty() {
            return;
        }
        match (&self.inlet, places) {
            // A told message is accepted when it is in the mailbox: that does not wait for the actor's turn.
            (Some(inlet), Some(places)) if arrivals.is_short() && !arrivals.told => {
                inlet.push(arrivals, places)
            }
            (_, mut places) => {
                while let Some(arrival) = arrivals.requests.pop_front() {
                    self.start_one(arrival, &mut arrivals, places.as_mut().map(|places| places.take(None)));
                }
            }
        }
    }

    fn ask(&self, payload: Bytes, sending: Sending, origin: Origin) -> BoxFuture<'static, Answered> {
        let mailbox = self.mailbox.clone();
        Box::pin(async move {
            let request = match decode_aside::<W, R>(payload).await {
                Ok(request) => request,
                Err(error) => return Answered::Undelivered(error),
            };
            let (answer, mut payload) = (mailbox.start_ask(request, sending, origin).await, Vec::new());
            match Self::VERSION.encode(answer, u64::MAX, &mut payload) {
                Ok(Answer::Failed) => Answered::Failed(payload.into()),
                Ok(Answer::Reply | Answer::Accepted) => Answered::Reply(payload.into()),
                Err(error) => Answered::Undelivered(error),
            }
        })
    }
}

impl<P, W, R> Typed<P, W, R>
where
    P: Accepts<R>,
    W: Older<R>,
    R: Request,
{
    const VERSION: &'static dyn WireVersion<R> = &As::<W>(PhantomData);

    /// Hands over the one that was the first of `arrivals`.
    fn start_one(&self, arrival: Arrival, arrivals: &mut Arrivals, place: Option<Permit>) {
        let Arrival { key, on_behalf_of, deadline, payload, room } = arrival;
        let Arrivals { told, addressee, priority, places, replies, .. } = arrivals;
        let (mailbox, priority, replies) = (self.mailbox.clone(), *priority, Arc::clone(replies));
        let origin = Origin { caller: Some(Arc::clone(replies.caller())), on_behalf_of };
        let permits = [place, Some(places.take(room))];
        match key {
            Some(key) if !*told => {
                let state = replies.watch(key);
                state.keep(permits);
                let asked = ask::<P, W, R>(mailbox, payload, origin, deadline, priority, Arc::clone(&state));
                serve(replies, key, state, asked, |answer, bytes_max, payload| {
                    Self::VERSION.encode(answer, bytes_max, payload)
                });
            }
            Some(key) => {
                let told =
                    tell::<P, W, R>(mailbox, payload, origin, priority, permits, Acceptance::There, None);
                let state = replies.watch(key);
                serve(replies, key, state, told, |told, _, _| told.map(|()| Answer::Accepted));
            }
            None => {
                let (addressee, of, to) = (addressee.clone(), Arc::clone(&replies), addressee.clone());
                // Nobody else would learn that it is left behind in the inbox of an actor that stops.
                let unclaimed: Option<Unclaimed> = self.inlet.is_some().then(|| -> Unclaimed {
                    Box::new(move |error: &DeliveryError| of.drop_post(to.as_deref(), error))
                });
                let told =
                    tell::<P, W, R>(mailbox, payload, origin, priority, permits, Acceptance::Here, unclaimed);
                let mut posted = Box::pin(async move {
                    let told = AssertUnwindSafe(told).catch_unwind().await;
                    if let Err(error) = told.unwrap_or(Err(DeliveryError::Panicked)) {
                        replies.drop_post(addressee.as_deref(), &error);
                    }
                });
                // Polled here, so that messages get to their actor in the order in which they came.
                if posted.as_mut().now_or_never().is_none() {
                    actix_rt::spawn(posted);
                }
            }
        }
    }
}

/// Asks what a peer asks.
async fn ask<P: Accepts<R>, W: Older<R>, R: Request>(
    mailbox: Mailbox<P>,
    payload: Bytes,
    origin: Origin,
    deadline: Option<Instant>,
    priority: Priority,
    state: Arc<CallState>,
) -> AskResult<R> {
    let request = decode_aside::<W, R>(payload).await?;
    if let Target::Local(local) = &mailbox.target {
        let context = CallContext::asked(origin, deadline, priority, Arc::clone(&state));
        return local.ask(Call::new(request, context), state).await;
    }
    let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
    let timeout = deadline.map_or(TIMEOUT_MAX, left);
    mailbox.start_ask(request, Sending { timeout, priority, own_stream: false }, origin).await
}

/// Tells what a peer has told. The `permits` are kept until it is handled here, or told elsewhere.
async fn tell<P: Accepts<R>, W: Older<R>, R: Request>(
    mailbox: Mailbox<P>,
    payload: Bytes,
    origin: Origin,
    priority: Priority,
    permits: Permits,
    acceptance: Acceptance,
    unclaimed: Option<Unclaimed>,
) -> Result<(), DeliveryError> {
    let message = decode_aside::<W, R>(payload).await?;
    if let Target::Local(local) = &mailbox.target {
        let context = CallContext::told(origin, priority, permits, unclaimed);
        return local.tell(Call::new(message, context)).map_err(|(_, error)| error);
    }
    let sending = Sending { timeout: TIMEOUT_DEFAULT, priority, own_stream: false };
    let told = mailbox.start_tell(message, sending, origin, acceptance).await;
    drop(permits);
    told.map_err(|error| error.cause)
}

/// Decodes what is short at once, and what would hold up the arbiter on a thread for that.
fn decode_aside<W: Older<R>, R: Request>(payload: Bytes) -> impl Future<Output = Result<R, DeliveryError>> {
    beside(payload.len(), move || decode::<W, R>(&payload))
}

/// Decodes a request; a panic in there is an error of this request.
fn decode<W: Older<R>, R: Request>(payload: &Bytes) -> Result<R, DeliveryError> {
    match catch_unwind(AssertUnwindSafe(|| codec::decode_shared::<W>(payload))) {
        Ok(decoded) => convert(decoded.map_err(undecodable::<W>)?),
        Err(_panic) => Err(undecodable::<W>("decoding it panicked")),
    }
}

/// Makes one version of the other; a panic in there is an error of this call.
fn convert<T: Into<U>, U>(value: T) -> Result<U, DeliveryError> {
    catch_unwind(AssertUnwindSafe(|| value.into())).map_err(|_panic| DeliveryError::Panicked)
}

/// Encodes an answer; a panic in there is an error of this call.
fn encode<W: Request, T: serde::Serialize>(answer: T, payload: &mut Vec<u8>) -> Result<(), DeliveryError> {
    match catch_unwind(AssertUnwindSafe(|| codec::encode_into(&answer, payload))) {
        Ok(encoded) => encoded.map_err(unencodable::<W>),
        Err(_panic) => Err(unencodable::<W>("encoding it panicked")),
    }
}

fn unencodable<R: Request>(fault: impl fmt::Display) -> DeliveryError {
    let reason = format!("the answer to {}: {fault}", R::NAME);
    DeliveryError::Codec { reason, delivery: Delivery::Delivered }
}
