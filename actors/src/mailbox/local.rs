//! A mailbox whose actor lives in this process.

use super::{AskError, Mailbox};
use crate::call::{Call, CallState, Outcome};
use actix::{
    Actor, Addr, Handler, Recipient,
    dev::{RecipientRequest, ToEnvelope},
    prelude::SendError,
};
use std::{
    any::Any,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use swarm_protocols::{Accepts, DeliveryError, Protocol, Request};
use tokio::sync::oneshot;

/// How many requests may be in flight to one local mailbox unless it says otherwise.
const IN_FLIGHT_DEFAULT: usize = 4096;

/// What an overloaded mailbox suggests; about the time in which one that works gets through much
/// of its queue.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(10);

/// A mailbox being put together; see [`Mailbox::local`].
pub struct LocalMailbox<P: Protocol, A: Actor> {
    address: Addr<A>,
    ports: Vec<Option<Box<dyn Any + Send + Sync>>>,
    in_flight_max: usize,
    protocol: std::marker::PhantomData<fn() -> P>,
}

/// A request of the protocol that was not named when its mailbox was built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the mailbox does not say who handles {request:?}")]
pub struct UnhandledRequest {
    /// The name of the request.
    pub request: &'static str,
}

impl<P: Protocol, A: Actor> LocalMailbox<P, A> {
    pub(crate) fn new(address: Addr<A>) -> Self {
        let ports = (0..P::REQUESTS).map(|_| None).collect();
        Self { address, ports, in_flight_max: IN_FLIGHT_DEFAULT, protocol: std::marker::PhantomData }
    }

    /// The actor handles `R`.
    pub fn handles<R: Request>(mut self) -> Self
    where
        P: Accepts<R>,
        A: Handler<Call<R>>,
        A::Context: ToEnvelope<A, Call<R>>,
    {
        let port: Box<dyn Port<R>> = Box::new(self.address.clone().recipient());
        self.ports[P::INDEX] = Some(Box::new(port));
        self
    }

    /// Allows at most `count` requests in flight; beyond it asks answer
    /// [`Overloaded`](DeliveryError::Overloaded). The default is 4096.
    pub fn in_flight_max(mut self, count: usize) -> Self {
        self.in_flight_max = count;
        self
    }

    /// The mailbox, if every request of the protocol has been named.
    pub fn build(self) -> Result<Mailbox<P>, UnhandledRequest> {
        let mut names = Names(Vec::new());
        P::visit(&mut names);
        let mut ports = Vec::with_capacity(self.ports.len());
        for (port, request) in self.ports.into_iter().zip(names.0) {
            ports.push(port.ok_or(UnhandledRequest { request })?);
        }
        Ok(Mailbox::from_local(Local::new(ports, self.in_flight_max)))
    }
}

struct Names(Vec<&'static str>);

impl<P: Protocol> swarm_protocols::Visitor<P> for Names {
    fn request<R: Request>(&mut self)
    where
        P: Accepts<R>,
    {
        self.0.push(R::NAME);
    }
}

/// Where the calls of one request type go.
pub(crate) trait Port<R: Request>: Send + Sync {
    /// Hands the call over at once; the answer comes later.
    fn ask(&self, call: Call<R>) -> Pending<R>;
    /// Hands the call over at once; nobody waits for the answer.
    fn tell(&self, call: Call<R>) -> Result<(), (R, DeliveryError)>;
}

/// The actor is gone and took the question with it.
struct NoAnswer;

/// An answer that has not come yet.
pub(crate) enum Pending<R: Request> {
    Actor(Pin<Box<RecipientRequest<Call<R>>>>),
    Channel(oneshot::Receiver<Outcome<R>>),
}

impl<R: Request> Pending<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome<R>, NoAnswer>> {
        match self {
            Pending::Actor(request) => request.as_mut().poll(cx).map_err(|_| NoAnswer),
            Pending::Channel(receiver) => Pin::new(receiver).poll(cx).map_err(|_| NoAnswer),
        }
    }
}

impl<R: Request> Port<R> for Recipient<Call<R>> {
    fn ask(&self, call: Call<R>) -> Pending<R> {
        Pending::Actor(Box::pin(self.send(call)))
    }

    fn tell(&self, call: Call<R>) -> Result<(), (R, DeliveryError)> {
        self.try_send(call).map_err(|error| match error {
            SendError::Full(call) => {
                (call.into_request(), DeliveryError::Overloaded { retry_after: RETRY_AFTER })
            }
            SendError::Closed(call) => (call.into_request(), DeliveryError::Stopped),
        })
    }
}

/// The ports of a protocol, in its order, and how many requests are in flight through them.
pub(crate) struct Local<P: Protocol> {
    ports: Vec<Box<dyn Any + Send + Sync>>,
    in_flight: AtomicUsize,
    in_flight_max: usize,
    protocol: std::marker::PhantomData<fn() -> P>,
}

impl<P: Protocol> Local<P> {
    /// `ports[P::INDEX]` holds the `Box<dyn Port<R>>` of every `R` in the protocol.
    pub(crate) fn new(ports: Vec<Box<dyn Any + Send + Sync>>, in_flight_max: usize) -> Self {
        Self { ports, in_flight: AtomicUsize::new(0), in_flight_max, protocol: std::marker::PhantomData }
    }

    fn port<R: Request>(&self) -> &dyn Port<R>
    where
        P: Accepts<R>,
    {
        let port = self.ports[P::INDEX].downcast_ref::<Box<dyn Port<R>>>();
        port.expect("a port is stored at the index of its own request type").as_ref()
    }

    /// Hands `call` over unless too many are in flight.
    pub(crate) fn ask<R: Request>(self: &Arc<Self>, call: Call<R>, state: Arc<CallState>) -> InFlight<P, R>
    where
        P: Accepts<R>,
    {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= self.in_flight_max {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return InFlight(None);
        }
        let pending = self.port::<R>().ask(call);
        InFlight(Some(Admitted { pending, state, local: Arc::clone(self) }))
    }

    pub(crate) fn tell<R: Request>(&self, call: Call<R>) -> Result<(), (R, DeliveryError)>
    where
        P: Accepts<R>,
    {
        self.port::<R>().tell(call)
    }
}

/// A call that a local actor works on, or that was not admitted.
pub(crate) struct InFlight<P: Protocol, R: Request>(Option<Admitted<P, R>>);

struct Admitted<P: Protocol, R: Request> {
    pending: Pending<R>,
    state: Arc<CallState>,
    local: Arc<Local<P>>,
}

impl<P: Protocol, R: Request> Drop for Admitted<P, R> {
    fn drop(&mut self) {
        self.local.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<P: Protocol, R: Request> Future for InFlight<P, R> {
    type Output = Result<R::Reply, AskError<R::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(admitted) = &mut self.0 else {
            return Poll::Ready(Err(DeliveryError::Overloaded { retry_after: RETRY_AFTER }.into()));
        };
        admitted.pending.poll(cx).map(|answer| match answer {
            Ok(answer) => answer.map_err(AskError::Handler),
            Err(NoAnswer) if admitted.state.panicked() => Err(DeliveryError::Panicked.into()),
            Err(NoAnswer) => Err(DeliveryError::Stopped.into()),
        })
    }
}
