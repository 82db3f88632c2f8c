//! A mailbox whose actor lives in this process.

use super::{AskError, Mailbox, ask::AskResult};
use crate::{
    call::{Call, CallState, Outcome},
    gate::{Gate, Group, Permit, RETRY_AFTER},
    session::{Arrivals, Form},
};
use actix::{
    Actor, Addr, Handler, Recipient,
    dev::{RecipientRequest, ToEnvelope},
};
use bytes::Bytes;
use pin_project_lite::pin_project;
use std::{
    any::Any,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};
use swarm_protocols::{Accepts, DeliveryError, Ports, Protocol, Request, ServedBy};
use tokio::sync::oneshot;

/// How many requests may be in flight to one local mailbox unless it says otherwise.
pub(super) const IN_FLIGHT_DEFAULT: usize = 4096;

/// The ports of the actor at an address; see [`Mailbox::local`].
pub struct ActorPorts<A: Actor> {
    address: Addr<A>,
    ports: Vec<Box<dyn Any + Send + Sync>>,
}

// What a user has to write is `Handler`: the sentence of the trait says so.
#[diagnostic::do_not_recommend]
impl<A, R> Ports<A, R> for ActorPorts<A>
where
    A: Actor + Handler<Call<R>>,
    A::Context: ToEnvelope<A, Call<R>>,
    R: Request,
{
    fn add(&mut self) {
        let port: Box<dyn Port<R>> = Box::new(self.address.clone().recipient());
        self.ports.push(Box::new(port));
    }
}

impl<P: Protocol> Mailbox<P> {
    /// The mailbox of the actor at `address`, which handles a [`Call`] of every request of the protocol.
    /// At most 4096 requests are in flight.
    ///
    /// An actor that lacks a handler does not compile:
    ///
    /// ```compile_fail
    /// # use actix::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # use swarm_actors::Mailbox;
    /// # use swarm_protocols::{Request, protocol};
    /// # #[derive(Serialize, Deserialize, Request)] #[request(name = "read", reply = f64)]
    /// # struct Read;
    /// # protocol! { Thermometer = "thermometer" { Read } }
    /// # struct Mute;
    /// # impl Actor for Mute { type Context = Context<Self>; }
    /// let mailbox: Mailbox<Thermometer> = Mailbox::local(Mute.start());
    /// ```
    pub fn local<A: Actor>(address: Addr<A>) -> Self
    where
        P: ServedBy<A, ActorPorts<A>>,
    {
        Self::local_with(address, IN_FLIGHT_DEFAULT)
    }

    /// Like [`local`](Self::local), with at most `in_flight_max` requests in flight; beyond it asks and
    /// tells answer [`Overloaded`](DeliveryError::Overloaded). A request is in flight until it is answered
    /// and nobody works on it any more, also where its asker has left.
    pub fn local_with<A: Actor>(address: Addr<A>, in_flight_max: usize) -> Self
    where
        P: ServedBy<A, ActorPorts<A>>,
    {
        let mut ports = ActorPorts { address, ports: Vec::with_capacity(P::REQUESTS) };
        P::add_all(&mut ports);
        Self::from_local(Local::new(ports.ports, in_flight_max))
    }
}

/// Where the calls of one request type go.
pub(crate) trait Port<R: Request>: Send + Sync {
    /// Hands the call over at once; the answer comes later.
    fn ask(&self, call: Call<R>) -> Pending<R>;
    /// Hands the call over at once; nobody waits for the answer.
    fn tell(&self, call: Call<R>) -> Result<(), (R, DeliveryError)>;
    /// Whether anybody takes calls, as far as that is known.
    fn is_alive(&self) -> bool {
        true
    }
    /// Who takes requests as they come, in the `version` in which peers ask them.
    fn inlet(&self, _version: &'static dyn WireVersion<R>) -> Option<Arc<dyn Inlet>> {
        None
    }
}

/// The way of requests that came over a session into the context of their actor.
pub(crate) trait Inlet: Send + Sync {
    /// Hands requests over as they came, with their `places` in the mailbox.
    fn push(&self, arrivals: Arrivals, places: Group);
}

/// A version of the request `R`, as it travels.
pub(crate) trait WireVersion<R: Request>: Send + Sync {
    fn decode(&self, payload: &Bytes) -> Result<R, DeliveryError>;
    /// Encodes what answers it, for a caller that takes up to `bytes_max` bytes.
    fn encode(&self, answer: AskResult<R>, bytes_max: u64, payload: &mut Vec<u8>) -> Form;
}

pin_project! {
    /// An answer that has not come yet.
    #[project = PendingProjection]
    pub(crate) enum Pending<R: Request> {
        Actor { #[pin] request: RecipientRequest<Call<R>> },
        Channel { receiver: oneshot::Receiver<Outcome<R>> },
        Refused { error: DeliveryError },
        /// It was answered, or dropped, before anybody waited.
        Ended { answer: Option<Outcome<R>> },
    }
}

impl<R: Request> Port<R> for Recipient<Call<R>> {
    fn is_alive(&self) -> bool {
        self.connected()
    }

    fn ask(&self, call: Call<R>) -> Pending<R> {
        Pending::Actor { request: self.send(call) }
    }

    fn tell(&self, call: Call<R>) -> Result<(), (R, DeliveryError)> {
        if !self.connected() {
            return Err((call.into_request(), DeliveryError::Stopped));
        }
        self.do_send(call);
        Ok(())
    }
}

/// The ports of a protocol, in its order, and how many requests are in progress behind them. The capacity
/// of the actor's own queue plays no part: it would reorder what it cannot take at once.
pub(crate) struct Local<P: Protocol> {
    ports: Vec<Box<dyn Any + Send + Sync>>,
    gate: Arc<Gate>,
    /// The index of the request that was let in last.
    latest: AtomicUsize,
    protocol: std::marker::PhantomData<fn() -> P>,
}

impl<P: Protocol> Local<P> {
    /// `ports[P::INDEX]` holds the `Box<dyn Port<R>>` of every `R` in the protocol.
    pub(crate) fn new(ports: Vec<Box<dyn Any + Send + Sync>>, in_flight_max: usize) -> Self {
        Self {
            ports,
            gate: Gate::new(in_flight_max),
            latest: AtomicUsize::new(0),
            protocol: std::marker::PhantomData,
        }
    }

    fn port<R: Request>(&self) -> &dyn Port<R>
    where
        P: Accepts<R>,
    {
        let port = self.ports[P::INDEX].downcast_ref::<Box<dyn Port<R>>>();
        port.expect("a port is stored at the index of its own request type").as_ref()
    }

    /// Whether its actor runs.
    pub(crate) fn is_alive<R: Request>(&self) -> bool
    where
        P: Accepts<R>,
    {
        self.port::<R>().is_alive()
    }

    /// A place for one more request, if there is one.
    pub(crate) fn admit<R: Request>(&self) -> Result<Permit, DeliveryError>
    where
        P: Accepts<R>,
    {
        self.latest.store(P::INDEX, Ordering::Relaxed);
        self.gate.enter().ok_or(DeliveryError::Overloaded { retry_after: RETRY_AFTER })
    }

    /// Places for so many more requests, as far as there are any.
    pub(super) fn admit_many<R: Request>(&self, count: usize) -> Group
    where
        P: Accepts<R>,
    {
        self.latest.store(P::INDEX, Ordering::Relaxed);
        self.gate.enter_many(count)
    }

    /// How many requests are in progress, where the latest of them is an `R`; else 0.
    pub(crate) fn in_progress<R: Request>(&self) -> usize
    where
        P: Accepts<R>,
    {
        if self.latest.load(Ordering::Relaxed) == P::INDEX { self.gate.inside() } else { 0 }
    }

    /// Begins to ask, with a permit of this mailbox in the `state` of the call. The actor has the call once the future
    /// was polled or [handed over](InFlight::hand_over).
    pub(crate) fn ask<R: Request>(&self, call: Call<R>, state: Arc<CallState>) -> InFlight<R>
    where
        P: Accepts<R>,
    {
        InFlight { pending: self.port::<R>().ask(call), state }
    }

    /// Who takes requests of this type as they come, where their actor decodes them itself.
    pub(crate) fn inlet<R: Request>(&self, version: &'static dyn WireVersion<R>) -> Option<Arc<dyn Inlet>>
    where
        P: Accepts<R>,
    {
        self.port::<R>().inlet(version)
    }

    /// Tells, with a permit of this mailbox in the call.
    pub(crate) fn tell<R: Request>(&self, call: Call<R>) -> Result<(), (R, DeliveryError)>
    where
        P: Accepts<R>,
    {
        self.port::<R>().tell(call)
    }
}

pin_project! {
    /// A call that a local actor works on.
    pub(crate) struct InFlight<R: Request> {
        #[pin]
        pub(super) pending: Pending<R>,
        pub(super) state: Arc<CallState>,
    }
}

impl<R: Request> InFlight<R> {
    /// Lets the actor have the call now, in the order in which calls were made.
    pub(super) fn hand_over(self: Pin<&mut Self>) {
        // What goes through an inbox is there already. A full queue of actix takes a call when it is polled.
        let mut pending = self.project().pending;
        if let PendingProjection::Actor { request } = pending.as_mut().project()
            && let Poll::Ready(answer) = request.poll(&mut Context::from_waker(Waker::noop()))
        {
            pending.set(Pending::Ended { answer: answer.ok() });
        }
    }
}

impl<R: Request> Future for InFlight<R> {
    type Output = AskResult<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match this.pending.project() {
            PendingProjection::Actor { request } => ready!(request.poll(cx)).ok(),
            PendingProjection::Channel { receiver } => ready!(Pin::new(receiver).poll(cx)).ok(),
            PendingProjection::Refused { error } => return Poll::Ready(Err(error.clone().into())),
            PendingProjection::Ended { answer } => answer.take(),
        };
        Poll::Ready(match answer {
            Some(answer) => answer.map_err(AskError::Handler),
            None => Err(this.state.fault().into()),
        })
    }
}
