//! What a node exposes: names, their requests as routes, and who may call them.

use super::lane::Outbox;
use crate::{
    call::{CallState, Caller},
    gate::Permit,
};
use bytes::Bytes;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use swarm_protocols::{
    DeliveryError, MailboxName, Role,
    wire::{
        control::{ROUTES_MAX, Route, RouteChange},
        frame::{Answered, Intent, RequestHead},
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
    mailbox: Arc<dyn Any + Send + Sync>,
}

struct Entry {
    name: MailboxName,
    permission: Arc<Permission>,
    handler: Arc<dyn Handle>,
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
            Intent::Ask | Intent::Tell if self.direct.contains(&asker) => return Ok(()),
            Intent::Ask | Intent::Tell => format!("{name} may not be called by the role {asker}"),
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
    /// Exposes a mailbox; returns the registration and what is to be told to the peers.
    pub(crate) fn add(&self, exposure: Exposure) -> Result<(u64, RouteChange), ExposeError> {
        let Exposure { name, protocol, requests, permission, mailbox } = exposure;
        if permission == Permission::default() {
            return Err(ExposeError::NobodyAllowed(name));
        }
        let mut names = self.names.borrow_mut();
        if names.contains_key(&name) {
            return Err(ExposeError::NameTaken(name));
        }
        if names.values().map(|named| named.routes.len()).sum::<usize>() + requests.len() > ROUTES_MAX {
            return Err(ExposeError::TooMany);
        }
        let (mut handlers, permission) = (self.handlers.borrow_mut(), Arc::new(permission));
        let mut routes = Vec::with_capacity(requests.len());
        for ExposedRequest { name: request, version, handler } in requests {
            // Ids are positions in a list that never shrinks, so none is given twice.
            let id = u32::try_from(handlers.len()).expect("fewer than 2^32 registrations in one process");
            let (mailbox, protocol) = (name.clone(), protocol.to_owned());
            handlers.push(Some(Entry { name: name.clone(), permission: Arc::clone(&permission), handler }));
            routes.push(Route { id, mailbox, protocol, request: request.to_owned(), version });
        }
        let registration = self.registrations.get() + 1;
        self.registrations.set(registration);
        let change = RouteChange { added: routes.clone(), removed: Vec::new() };
        names.insert(name, Named { registration, routes, mailbox });
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

    /// The mailbox that is exposed here under this name, and the name of its protocol.
    pub(crate) fn mailbox(&self, name: &MailboxName) -> Option<(Arc<dyn Any + Send + Sync>, String)> {
        let names = self.names.borrow();
        let named = names.get(name)?;
        let protocol = named.routes.first().map(|route| route.protocol.clone()).unwrap_or_default();
        Some((Arc::clone(&named.mailbox), protocol))
    }

    /// Who handles the requests of `route`, if `caller` may call it.
    pub(super) fn handler(
        &self,
        route: u32,
        caller: &Caller,
        intent: &Intent,
    ) -> Result<Arc<dyn Handle>, DeliveryError> {
        let handlers = self.handlers.borrow();
        let Some(Some(Entry { name, permission, handler })) = handlers.get(route as usize) else {
            return Err(DeliveryError::NotExposed { what: format!("the mailbox behind route {route}") });
        };
        permission.check(name, caller, intent)?;
        Ok(Arc::clone(handler))
    }
}

/// Handles encoded requests of one type.
pub(crate) trait Handle: Send + Sync {
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

    /// The same for one who asks in this process. Dropping the future cancels the request.
    fn ask(
        &self,
        payload: Bytes,
        timeout: Duration,
        on_behalf_of: Option<Caller>,
    ) -> BoxFuture<'static, Answered>;
}

/// A request whose answer has not come yet.
pub(crate) type Serving = LocalBoxFuture<'static, u64>;

/// What is known of a request besides what it says.
pub(crate) struct Arrival {
    pub(crate) caller: Arc<Caller>,
    pub(crate) deadline: Option<Instant>,
    /// The place that it takes with the session.
    pub(crate) permit: Permit,
    /// The longest answer that the caller takes, in bytes.
    pub(crate) answer_bytes_max: u64,
}
