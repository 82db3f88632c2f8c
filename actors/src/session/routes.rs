//! What a node exposes: names, their requests as routes, and who may call them.

use super::{Addressee, DeadLetterOffice, Replies, Sending};
use crate::{
    budget::Room,
    call::{CallKey, Caller, Origin, Priority},
    gate::Group,
    workers::HERE_BYTES_MAX,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use swarm_protocols::{
    DeliveryError, MailboxName, Role,
    wire::{
        control::{ROUTES_MAX, Route, RouteChange},
        frame::{Answered, Intent},
    },
};
use tokio::time::Instant;

/// Everything that is exposed. It is the bridge's; sessions see the [`Handlers`].
#[derive(Default)]
pub(crate) struct Routes {
    names: BTreeMap<MailboxName, Named>,
    handlers: Arc<Handlers>,
    next_route: u32,
    registrations: u64,
}

/// Who handles what is exposed. Sessions of any arbiter read it, the bridge alone changes it; locked for moments only.
#[derive(Default)]
pub(crate) struct Handlers {
    /// In the order of their numbers, of which none is given twice.
    entries: RwLock<Vec<(u32, Entry)>>,
    /// What was sent to none of them.
    pub(crate) dead_letters: Arc<DeadLetterOffice>,
}

struct Named {
    registration: u64,
    routes: Vec<Route>,
    mailbox: Arc<dyn Any + Send + Sync>,
}

struct Entry {
    addressee: Arc<Addressee>,
    permission: Arc<Permission>,
    idempotent: bool,
    handler: Arc<dyn Handle>,
}

/// How far the connection is over which a request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In its handshake: what comes is early data, which somebody may have recorded and send again.
    Handshake,
    /// It has an open session.
    Open,
}

/// Who may call what is exposed under a name. An empty list is nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Permission {
    /// The roles that may ask themselves.
    pub(crate) direct: Vec<Role>,
    /// The roles for which a coordinator may ask.
    pub(crate) through_coordinator: Vec<Role>,
}

impl Permission {
    fn check(&self, name: &MailboxName, caller: &Caller, intent: &Intent) -> Result<(), DeliveryError> {
        let asker = caller.role;
        let reason = match intent {
            Intent::Ask | Intent::Tell | Intent::Post if self.direct.contains(&asker) => return Ok(()),
            Intent::Ask | Intent::Tell | Intent::Post => {
                format!("{name} may not be called by the role {asker}")
            }
            Intent::AskFor(principal) => {
                let role = principal.role;
                if asker == Role::Coordinator && self.through_coordinator.contains(&role) {
                    return Ok(());
                }
                format!("{name} may not be called for the role {role} through the role {asker}")
            }
        };
        Err(DeliveryError::NotPermitted { reason })
    }
}

/// A mailbox about to be exposed.
pub(crate) struct Exposure {
    pub(crate) name: MailboxName,
    pub(crate) protocol: &'static str,
    pub(crate) requests: Vec<ExposedRequest>,
    pub(crate) permission: Permission,
    /// What [`Routes::mailbox`] gives back.
    pub(crate) mailbox: Arc<dyn Any + Send + Sync>,
}

/// A request that an exposed mailbox accepts.
pub(crate) struct ExposedRequest {
    pub(crate) name: &'static str,
    pub(crate) version: u16,
    /// Whether handling it twice is as good as handling it once.
    pub(crate) idempotent: bool,
    pub(crate) handler: Arc<dyn Handle>,
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
    /// The node exposes as much as a session can announce.
    #[error("a node can expose {ROUTES_MAX} requests at most")]
    TooMany,
    /// The node has stopped.
    #[error("the node has stopped")]
    NodeStopped,
}

impl Routes {
    /// Exposes a mailbox; returns the registration and what is to be told to the peers.
    pub(crate) fn add(&mut self, exposure: Exposure) -> Result<(u64, RouteChange), ExposeError> {
        let Exposure { name, protocol, requests, permission, mailbox } = exposure;
        if permission == Permission::default() {
            return Err(ExposeError::NobodyAllowed(name));
        }
        if self.names.contains_key(&name) {
            return Err(ExposeError::NameTaken(name));
        }
        let exposed: usize = self.names.values().map(|named| named.routes.len()).sum();
        if exposed + requests.len() > ROUTES_MAX {
            return Err(ExposeError::TooMany);
        }
        let (mut entries, permission) = (self.handlers.write(), Arc::new(permission));
        let mut routes = Vec::with_capacity(requests.len());
        for ExposedRequest { name: request, version, idempotent, handler } in requests {
            let id = self.next_route;
            self.next_route = id.checked_add(1).expect("fewer than 2^32 registrations in one process");
            let (mailbox, protocol) = (name.clone(), protocol.to_owned());
            let addressee = Arc::new(Addressee { mailbox: name.clone(), request });
            let entry = Entry { addressee, permission: Arc::clone(&permission), idempotent, handler };
            entries.push((id, entry));
            routes.push(Route { id, mailbox, protocol, request: request.to_owned(), version });
        }
        drop(entries);
        self.registrations += 1;
        let change = RouteChange { added: routes.clone(), removed: Vec::new() };
        self.names.insert(name, Named { registration: self.registrations, routes, mailbox });
        Ok((self.registrations, change))
    }

    /// Takes back what `registration` exposed under `name`; returns the routes of it.
    pub(crate) fn remove(&mut self, name: &MailboxName, registration: u64) -> Option<Vec<Route>> {
        if self.names.get(name)?.registration != registration {
            return None;
        }
        let removed = self.names.remove(name)?.routes;
        let is_removed = |(id, _): &mut (u32, Entry)| removed.iter().any(|route| route.id == *id);
        // A user's actor may end with its last mailbox, whatever that does: not while this is locked.
        let _dropped: Vec<_> = self.handlers.write().extract_if(.., is_removed).collect();
        Some(removed)
    }

    /// Those who handle it, for the sessions.
    pub(crate) fn handlers(&self) -> &Arc<Handlers> {
        &self.handlers
    }

    /// What is exposed of actors that have stopped: name and registration of each.
    pub(crate) fn stopped(&self) -> Vec<(MailboxName, u64)> {
        let entries = self.handlers.read();
        let mut stopped: Vec<&MailboxName> = entries
            .iter()
            .filter(|(_, entry)| !entry.handler.is_alive())
            .map(|(_, entry)| &entry.addressee.mailbox)
            .collect();
        stopped.dedup();
        let registration = |name| Some(self.names.get(name)?.registration);
        stopped.into_iter().filter_map(|name| Some((name.clone(), registration(name)?))).collect()
    }

    /// What a session announces in its hello.
    pub(crate) fn all(&self) -> Vec<Route> {
        self.names.values().flat_map(|named| named.routes.clone()).collect()
    }

    /// The mailbox that is exposed here under this name, and the name of its protocol.
    pub(crate) fn mailbox(&self, name: &MailboxName) -> Option<(Arc<dyn Any + Send + Sync>, String)> {
        let named = self.names.get(name)?;
        let protocol = named.routes.first().map(|route| route.protocol.clone()).unwrap_or_default();
        Some((Arc::clone(&named.mailbox), protocol))
    }
}

impl Handlers {
    fn read(&self) -> RwLockReadGuard<'_, Vec<(u32, Entry)>> {
        // What is locked is whole between any two statements that could panic.
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<(u32, Entry)>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names, requests, and who handles them.
    pub(crate) fn all(&self) -> Vec<(MailboxName, &'static str, Arc<dyn Handle>)> {
        let of = |(_, Entry { addressee, handler, .. }): &(u32, Entry)| {
            (addressee.mailbox.clone(), addressee.request, Arc::clone(handler))
        };
        self.read().iter().map(of).collect()
    }

    /// What a route stands for, where it is exposed.
    pub(super) fn addressee(&self, route: u32) -> Option<Arc<Addressee>> {
        let entries = self.read();
        let position = entries.binary_search_by_key(&route, |(id, _)| *id).ok()?;
        Some(Arc::clone(&entries[position].1.addressee))
    }

    /// Who handles the requests of `route`, if `caller` may call it, and may do so at this time.
    pub(super) fn handler(
        &self,
        route: u32,
        caller: &Caller,
        intent: &Intent,
        phase: Phase,
    ) -> Result<Arc<dyn Handle>, DeliveryError> {
        let entries = self.read();
        let Ok(position) = entries.binary_search_by_key(&route, |(id, _)| *id) else {
            return Err(DeliveryError::NotExposed { what: format!("the mailbox behind route {route}") });
        };
        let (_, Entry { addressee, permission, idempotent, handler }) = &entries[position];
        permission.check(&addressee.mailbox, caller, intent)?;
        if phase == Phase::Handshake && !idempotent {
            let what = format!("{} of {} in early data", addressee.request, addressee.mailbox);
            return Err(DeliveryError::NotExposed { what });
        }
        Ok(Arc::clone(handler))
    }
}

/// Handles encoded requests of one type.
pub(crate) trait Handle: Send + Sync {
    /// Whether there is an actor to handle them, as far as that is known here.
    fn is_alive(&self) -> bool;

    /// Hands the requests to the actor, in the order in which they come. Their answers go to their replies, at once or
    /// later.
    fn start(&self, arrivals: Arrivals);

    /// How many requests its actor has in progress, where the latest of them is of this type; else 0.
    fn in_progress(&self) -> usize;

    /// Like [`start`](Self::start), for one who asks in this process. Dropping the future cancels the request.
    fn ask(&self, payload: Bytes, sending: Sending, origin: Origin) -> BoxFuture<'static, Answered>;
}

/// Requests of one kind to one mailbox that came over a session one after the other. Those that are dropped unanswered
/// give their places back.
pub(crate) struct Arrivals {
    /// The mailbox is to accept them, and nothing more.
    pub(crate) told: bool,
    /// For whom they are, where nobody wants an answer and somebody may want to know that nobody took them.
    pub(crate) addressee: Option<Arc<Addressee>>,
    pub(crate) priority: Priority,
    /// The places that they take with the session.
    pub(crate) places: Group,
    /// Where their answers go.
    pub(crate) replies: Arc<Replies>,
    /// Those that nobody has begun. One that is not [short](Self::is_short) is alone.
    pub(crate) requests: VecDeque<Arrival>,
}

/// One of them.
pub(crate) struct Arrival {
    /// `None` where nobody wants an answer.
    pub(crate) key: Option<CallKey>,
    pub(crate) on_behalf_of: Option<Box<Caller>>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) payload: Bytes,
    /// What room the payload takes, where it is long.
    pub(crate) room: Option<Box<Room>>,
}

impl Arrivals {
    /// Whether they are decoded at once.
    pub(crate) fn is_short(&self) -> bool {
        self.requests.front().is_none_or(|first| first.payload.len() <= HERE_BYTES_MAX)
    }

    /// Answers those with `error` that come after the first `count`; where nobody wants an answer they are counted.
    pub(crate) fn refuse_after(&mut self, count: usize, error: &DeliveryError) {
        let refused = self.requests.split_off(count.min(self.requests.len()));
        self.places.leave(refused.len());
        for Arrival { key, .. } in refused {
            self.replies.refuse(key, self.addressee.as_deref(), error);
        }
    }
}
