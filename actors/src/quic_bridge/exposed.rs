//! What a node exposes: names, their requests as routes, and who may call them.

use super::{lane::Outbox, scratch::with_scratch};
use crate::{
    call::{Call, CallContext, CallState, Caller},
    gate::Permit,
    mailbox::{AskError, InFlight, Local, Mailbox, Target},
    node::ResolveError,
};
use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};
use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
};
use swarm_protocols::{
    Accepts, Delivery, DeliveryError, MailboxAddress, MailboxName, Protocol, Request, Role, Visitor,
    wire::{
        codec,
        control::{ROUTES_MAX, Route, RouteChange},
        frame::{self, RequestHead},
    },
};
use tokio::time::Instant;

/// Everything that is exposed. Lives on the arbiter of the bridge; sessions read it, the bridge
/// alone changes it.
#[derive(Default)]
pub(crate) struct Routes {
    names: RefCell<BTreeMap<MailboxName, Named>>,
    handlers: RefCell<Vec<Option<Entry>>>,
    registrations: Cell<u64>,
}

struct Named {
    registration: u64,
    routes: Vec<Route>,
    mailbox: Box<dyn Any>,
}

struct Entry {
    name: MailboxName,
    allowed: Arc<[Role]>,
    handler: Rc<dyn Handle>,
}

/// Why a mailbox was not exposed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExposeError {
    /// The name is no valid one.
    #[error(transparent)]
    InvalidName(#[from] swarm_protocols::InvalidName),
    /// Another mailbox has the name.
    #[error("the name {0} is taken")]
    NameTaken(MailboxName),
    /// Nobody may call it: name a role with `allow`.
    #[error("{0} allows no role, so nobody could call it")]
    NobodyAllowed(MailboxName),
    /// The mailbox is that of another node; only actors of this process can be exposed.
    #[error("{0} belongs to another node")]
    NotLocal(MailboxName),
    /// The node exposes as much as a session can announce.
    #[error("a node can expose {ROUTES_MAX} requests at most")]
    TooMany,
    /// The node has stopped.
    #[error("the node has stopped")]
    NodeStopped,
}

impl Routes {
    /// Exposes `mailbox`; returns the registration and what is to be told to the peers.
    pub(crate) fn add<P: Protocol>(
        &self,
        name: MailboxName,
        mailbox: &Mailbox<P>,
        allowed: Arc<[Role]>,
    ) -> Result<(u64, RouteChange), ExposeError> {
        let Target::Local(local) = &mailbox.target else { return Err(ExposeError::NotLocal(name)) };
        if allowed.is_empty() {
            return Err(ExposeError::NobodyAllowed(name));
        }
        let mut names = self.names.borrow_mut();
        if names.contains_key(&name) {
            return Err(ExposeError::NameTaken(name));
        }
        if names.values().map(|named| named.routes.len()).sum::<usize>() + P::REQUESTS > ROUTES_MAX {
            return Err(ExposeError::TooMany);
        }
        let mut handlers = self.handlers.borrow_mut();
        let mut collector =
            Collector { local, name: &name, allowed, handlers: &mut handlers, routes: Vec::new() };
        P::visit(&mut collector);
        let routes = collector.routes;
        let registration = self.registrations.get() + 1;
        self.registrations.set(registration);
        let change = RouteChange { added: routes.clone(), removed: Vec::new() };
        names.insert(name, Named { registration, routes, mailbox: Box::new(mailbox.clone()) });
        Ok((registration, change))
    }

    /// Takes back what `registration` exposed under `name`.
    pub(crate) fn remove(&self, name: &MailboxName, registration: u64) -> Option<RouteChange> {
        let mut names = self.names.borrow_mut();
        if names.get(name)?.registration != registration {
            return None;
        }
        let removed: Vec<u32> = names.remove(name)?.routes.iter().map(|route| route.id).collect();
        let mut handlers = self.handlers.borrow_mut();
        for id in &removed {
            handlers[*id as usize] = None;
        }
        Some(RouteChange { added: Vec::new(), removed })
    }

    /// What a session announces in its hello.
    pub(crate) fn all(&self) -> Vec<Route> {
        self.names.borrow().values().flat_map(|named| named.routes.clone()).collect()
    }

    /// The mailbox that is exposed here under the name in `address`.
    pub(crate) fn local<P: Protocol>(&self, address: MailboxAddress) -> Result<Mailbox<P>, ResolveError> {
        let names = self.names.borrow();
        let Some(named) = names.get(&address.name) else { return Err(ResolveError::NotFound { address }) };
        named.mailbox.downcast_ref::<Mailbox<P>>().cloned().ok_or_else(|| {
            let offered = named.routes.first().map(|route| route.protocol.clone()).unwrap_or_default();
            ResolveError::OtherProtocol { address, wanted: P::NAME, offered }
        })
    }

    /// Who handles the requests of `route`, if `role` may call it.
    pub(super) fn handler(&self, route: u32, role: Role) -> Result<Rc<dyn Handle>, DeliveryError> {
        let handlers = self.handlers.borrow();
        match handlers.get(route as usize) {
            Some(Some(entry)) if entry.allowed.contains(&role) => Ok(Rc::clone(&entry.handler)),
            Some(Some(entry)) => {
                let reason = format!("{} may not be called by the role {role}", entry.name);
                Err(DeliveryError::NotPermitted { reason })
            }
            _ => Err(DeliveryError::NotExposed { what: format!("the mailbox behind route {route}") }),
        }
    }
}

struct Collector<'a, P: Protocol> {
    local: &'a Arc<Local<P>>,
    name: &'a MailboxName,
    allowed: Arc<[Role]>,
    handlers: &'a mut Vec<Option<Entry>>,
    routes: Vec<Route>,
}

impl<P: Protocol> Visitor<P> for Collector<'_, P> {
    fn request<R: Request>(&mut self)
    where
        P: Accepts<R>,
    {
        let handler = Typed::<P, R> { local: Arc::clone(self.local), request: std::marker::PhantomData };
        // Ids are positions in a list that never shrinks, so none is given twice.
        let id = u32::try_from(self.handlers.len()).expect("fewer than 2^32 registrations in one process");
        self.handlers.push(Some(Entry {
            name: self.name.clone(),
            allowed: Arc::clone(&self.allowed),
            handler: Rc::new(handler),
        }));
        self.routes.push(Route {
            id,
            mailbox: self.name.clone(),
            protocol: P::NAME.to_owned(),
            request: R::NAME.to_owned(),
            version: R::VERSION,
        });
    }
}

/// Handles encoded requests of one type.
pub(crate) trait Handle {
    /// Decodes the request and hands it to the actor. What can be answered at once is; else the
    /// future puts the answer into `outbox` and yields the number of the request.
    ///
    /// The future looks for cancellation whenever it is polled, and after the first times asks to be
    /// polled for it: most are answered by then.
    fn start(
        &self,
        head: RequestHead,
        payload: Bytes,
        arrival: Arrival,
        outbox: &Rc<RefCell<Outbox>>,
    ) -> Option<(Serving, Arc<CallState>)>;
}

/// A request whose answer has not come yet.
pub(super) type Serving = LocalBoxFuture<'static, u64>;

/// What is known of a request besides what it says.
pub(crate) struct Arrival {
    pub(super) caller: Arc<Caller>,
    pub(super) deadline: Option<Instant>,
    /// The place that it takes with the session.
    pub(super) permit: Permit,
    /// The longest answer that the caller takes, in bytes.
    pub(super) answer_bytes_max: u64,
}

struct Typed<P: Protocol, R: Request> {
    local: Arc<Local<P>>,
    request: std::marker::PhantomData<fn() -> R>,
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
        let admitted = self.local.admit().and_then(|place| {
            let request = codec::decode::<R>(&payload).map_err(|error| {
                let reason = format!("{}: {error}", R::NAME);
                DeliveryError::Codec { reason, delivery: Delivery::NotSent }
            })?;
            Ok(Call::new(request, CallContext::new(Some(caller), deadline, [Some(place), Some(permit)])))
        });
        let answer = match admitted {
            Ok(call) if head.tell => match self.local.tell(call) {
                Ok(()) => Wire::<R>::Accepted,
                Err((_, error)) => Wire::Undelivered(error),
            },
            Ok(call) => {
                let (outbox, state) = (Rc::clone(outbox), call.state());
                let (in_flight, cancelled) = (self.local.ask(call), Arc::clone(&state));
                let mut serving: Serving = Box::pin(async move {
                    let answer = answer(in_flight, &cancelled).await;
                    answer.put(head.correlation, answer_bytes_max, outbox.borrow_mut().frames());
                    head.correlation
                });
                // Polled here, so that actors get requests in the order in which they came.
                let answered = serving.as_mut().now_or_never().is_some();
                return (!answered).then_some((serving, state));
            }
            Err(error) => Wire::Undelivered(error),
        };
        answer.put(head.correlation, answer_bytes_max, outbox.borrow_mut().frames());
        None
    }
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
            let reason = format!("the answer to {}: {fault}", R::NAME);
            let error = DeliveryError::Codec { reason, delivery: Delivery::Delivered };
            frame::put_undelivered(correlation, &error, out);
        });
    }
}
