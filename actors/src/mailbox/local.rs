//! A mailbox whose actor lives in this process.

use super::{AskError, Mailbox};
use crate::{
    call::{Call, CallState, Outcome},
    gate::{Gate, Permit, RETRY_AFTER},
};
use actix::{
    Actor, Addr, Handler, Recipient,
    dev::{RecipientRequest, ToEnvelope},
};
use std::{any::Any, sync::Arc};
use swarm_protocols::{Accepts, DeliveryError, Protocol, Request};
use tokio::sync::oneshot;

/// How many requests may be in flight to one local mailbox unless it says otherwise.
const IN_FLIGHT_DEFAULT: usize = 4096;

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

    /// Allows at most `count` requests in flight; beyond it asks and tells answer
    /// [`Overloaded`](DeliveryError::Overloaded). The default is 4096. A request is in flight until it is
    /// answered and nobody works on it any more, also where its asker has left.
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

/// An answer that has not come yet.
pub(crate) enum Pending<R: Request> {
    Actor(RecipientRequest<Call<R>>),
    Channel(oneshot::Receiver<Outcome<R>>),
}

impl<R: Request> Port<R> for Recipient<Call<R>> {
    fn ask(&self, call: Call<R>) -> Pending<R> {
        Pending::Actor(self.send(call))
    }

    fn tell(&self, call: Call<R>) -> Result<(), (R, DeliveryError)> {
        if !self.connected() {
            return Err((call.into_request(), DeliveryError::Stopped));
        }
        self.do_send(call);
        Ok(())
    }
}

/// The ports of a protocol, in its order, and how many requests are in hand behind them. The capacity
/// of the actor's own queue plays no part: it would reorder what it cannot take at once.
pub(crate) struct Local<P: Protocol> {
    ports: Vec<Box<dyn Any + Send + Sync>>,
    gate: Arc<Gate>,
    protocol: std::marker::PhantomData<fn() -> P>,
}

impl<P: Protocol> Local<P> {
    /// `ports[P::INDEX]` holds the `Box<dyn Port<R>>` of every `R` in the protocol.
    pub(crate) fn new(ports: Vec<Box<dyn Any + Send + Sync>>, in_flight_max: usize) -> Self {
        Self { ports, gate: Gate::new(in_flight_max, usize::MAX), protocol: std::marker::PhantomData }
    }

    fn port<R: Request>(&self) -> &dyn Port<R>
    where
        P: Accepts<R>,
    {
        let port = self.ports[P::INDEX].downcast_ref::<Box<dyn Port<R>>>();
        port.expect("a port is stored at the index of its own request type").as_ref()
    }

    /// A place for one more request, if there is one.
    pub(crate) fn admit(&self) -> Result<Permit, DeliveryError> {
        self.gate.enter(0).ok_or(DeliveryError::Overloaded { retry_after: RETRY_AFTER })
    }

    /// Begins to ask, with a permit of this mailbox in the call. The actor has the call once the future
    /// was polled.
    pub(crate) fn ask<R: Request>(&self, call: Call<R>) -> InFlight<R>
    where
        P: Accepts<R>,
    {
        let state = call.state();
        InFlight { pending: self.port::<R>().ask(call), state }
    }

    /// Tells, with a permit of this mailbox in the call.
    pub(crate) fn tell<R: Request>(&self, call: Call<R>) -> Result<(), (R, DeliveryError)>
    where
        P: Accepts<R>,
    {
        self.port::<R>().tell(call)
    }
}

/// A call that a local actor works on.
pub(crate) struct InFlight<R: Request> {
    pending: Pending<R>,
    state: Arc<CallState>,
}

impl<R: Request> InFlight<R> {
    pub(crate) async fn answer(self) -> Result<R::Reply, AskError<R::Error>> {
        let InFlight { pending, state } = self;
        let answer = match pending {
            Pending::Actor(request) => request.await.ok(),
            Pending::Channel(receiver) => receiver.await.ok(),
        };
        match answer {
            Some(answer) => answer.map_err(AskError::Handler),
            // The actor is gone and took the question with it.
            None if state.panicked() => Err(DeliveryError::Panicked.into()),
            None => Err(DeliveryError::Stopped.into()),
        }
    }
}
