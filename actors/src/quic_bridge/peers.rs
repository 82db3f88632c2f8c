//! The peers of a node: who is let in, whose session is open, who has gone.

use super::{Attached, QuicBridge, Retired, SESSIONS_MAX};
use crate::{
    call::Caller,
    session::{Admission, Opened, Outbound, Received, SessionChange, SessionEvent, SessionKey, Side, Way},
    transport::Shown,
};
use actix::{Context, Handler, Message};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use swarm_protocols::{
    NodeId, Role,
    session::CloseCode,
    wire::control::{Hello, RefuseCause, Route, RouteChange},
};
use tokio::time::Instant;
use uuid::Uuid;

/// A peer with an open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub node: NodeId,
    /// Its role, from its certificate.
    pub role: Role,
    /// What kind of agent it says it is.
    pub agent_type: String,
    /// What it says it can do.
    pub capabilities: Vec<String>,
    /// The id of the session that was open when this was said; another one after every reconnection, and after
    /// another session took over.
    pub session: Uuid,
}

/// A peer came or went. Subscribe with [`Node::watch`](crate::Node::watch).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum PeerEvent {
    /// A session is open.
    Up(Peer),
    /// The session ended.
    Down {
        /// The peer.
        node: NodeId,
        /// Why it ended.
        reason: String,
    },
}

/// The most sessions at once under the id of one operator.
const OPERATOR_SESSIONS_MAX: u32 = 32;

/// A place for a session: the node, and which of its sessions. Coordinators and agents have the
/// first alone. An operator is a person who has several commands running under one certificate.
pub(super) type Slot = (NodeId, u32);

/// A session that was admitted; it is open as soon as `open` is there.
pub(super) struct Live {
    pub(super) side: Side,
    pub(super) incarnation: u64,
    pub(super) session: SessionKey,
    pub(super) open: Option<Open>,
    /// A further session is being dialled to take over.
    pub(super) handing_over: bool,
    /// A further session of the peer, which is about to take over.
    pub(super) successor: Option<Successor>,
}

impl Live {
    fn new(side: Side, incarnation: u64, session: SessionKey, open: Option<Open>) -> Self {
        Self { side, incarnation, session, open, handing_over: false, successor: None }
    }
}

/// A session that was admitted to take over from another one.
pub(super) struct Successor {
    pub(super) session: SessionKey,
    pub(super) open: Option<Box<Open>>,
}

pub(super) struct Open {
    pub(super) peer: Peer,
    /// The certificates that both sides have shown.
    pub(super) shown: Option<Shown>,
    pub(super) outbound: Arc<Outbound>,
    /// The way of the mailboxes, which outlives the session if another one takes over.
    pub(super) way: Arc<Way>,
    pub(super) received: Received,
    /// Of the last ping, in microseconds; zero before the first has come back.
    pub(super) round_trip: Arc<AtomicU64>,
    pub(super) since: Instant,
    pub(super) routes: BTreeMap<u32, Route>,
}

impl Handler<SessionEvent> for QuicBridge {
    type Result = ();

    fn handle(&mut self, SessionEvent { session, change }: SessionEvent, context: &mut Self::Context) {
        match change {
            SessionChange::Asked { incarnation } => {
                let answer = self.admit(session, incarnation);
                if let Some(attached) = self.sessions.get(&session) {
                    attached.address.do_send(Admission(answer));
                }
            }
            SessionChange::Opened(opened) => self.opened(session, *opened, context),
            SessionChange::PeerRoutes(change) => self.peer_routes(session, change),
            SessionChange::Confirmed => self.confirmed(session),
            SessionChange::PeerDrains => self.peer_drains(session),
            SessionChange::Closed { reason } => self.closed(session, &reason),
        }
    }
}

impl QuicBridge {
    /// Whether the peer may have this session.
    fn admit(&mut self, session: SessionKey, incarnation: u64) -> Result<Uuid, (RefuseCause, String)> {
        let Some(Attached { peer: Caller { node, role }, shown, .. }) = self.sessions.get(&session) else {
            return Err((RefuseCause::Unavailable, "the session has ended".to_owned()));
        };
        let (node, role, shown) = (node.clone(), *role, shown.clone());
        if self.draining {
            return Err((RefuseCause::Unavailable, format!("{} is stopping", self.local.node)));
        }
        // The session is about to learn that it has to end; until then nobody gets up for it.
        self.judge(shown.as_ref()).map_err(|reason| (RefuseCause::Unavailable, reason))?;
        if self.slot_to_follow(&node, incarnation, shown.as_ref(), session)?.is_some() {
            return Ok(Uuid::now_v7());
        }
        if self.live.len() >= SESSIONS_MAX {
            return Err((RefuseCause::Unavailable, format!("session limit reached ({SESSIONS_MAX})")));
        }
        if node == self.local.node {
            return Err((RefuseCause::AlreadyConnected, format!("{node} is this node")));
        }
        let slot = match role {
            Role::Operator => self.free_slot(&node)?,
            Role::Coordinator | Role::Agent => self.vacated_slot(node, incarnation, shown.as_ref())?,
        };
        self.live.insert(slot, Live::new(Side::Acceptor, incarnation, session, None));
        Ok(Uuid::now_v7())
    }

    /// A slot for one more session of an operator.
    fn free_slot(&self, node: &NodeId) -> Result<Slot, (RefuseCause, String)> {
        let mut slots = (0..OPERATOR_SESSIONS_MAX).map(|number| (node.clone(), number));
        slots.find(|slot| !self.live.contains_key(slot)).ok_or_else(|| {
            let reason = format!("session limit of {node} reached ({OPERATOR_SESSIONS_MAX})");
            (RefuseCause::Unavailable, reason)
        })
    }

    /// The slot of a node, from which an older incarnation of it has to get up, unless it has the later certificate:
    /// who got hold of one that was replaced does not drive out the node that it was replaced for.
    fn vacated_slot(
        &mut self,
        node: NodeId,
        incarnation: u64,
        shown: Option<&Shown>,
    ) -> Result<Slot, (RefuseCause, String)> {
        let slot = (node.clone(), 0);
        if let Some(live) = self.live.get(&slot) {
            if live.incarnation >= incarnation {
                return Err((RefuseCause::AlreadyConnected, format!("{node} is connected already")));
            }
            if live.has_later(shown) {
                let reason = format!("{node} is connected already, with a later certificate");
                return Err((RefuseCause::AlreadyConnected, reason));
            }
            let reason = format!("a newer incarnation of {node} connected");
            let holder = live.session;
            self.end_session(holder, CloseCode::Superseded, reason);
            self.forget(&slot, "a newer incarnation connected");
        }
        Ok(slot)
    }

    /// The open session with a node; one of them, where an operator has several.
    pub(super) fn open(&self, node: &NodeId) -> Option<&Open> {
        self.open_sessions(node).next()
    }

    pub(super) fn open_sessions(&self, node: &NodeId) -> impl Iterator<Item = &Open> {
        let slots = (node.clone(), 0)..=(node.clone(), OPERATOR_SESSIONS_MAX);
        self.live.range(slots).filter_map(|(_, live)| live.open.as_ref())
    }

    pub(super) fn slot_of(&self, session: SessionKey) -> Option<Slot> {
        self.live.iter().find(|(_, live)| live.session == session).map(|(slot, _)| slot.clone())
    }

    fn forget(&mut self, slot: &Slot, reason: &str) {
        let (node, _) = slot;
        let left = self.changing_names(node, |bridge| bridge.live.remove(slot));
        self.end_retired(slot);
        let Some(Live { open, successor, .. }) = left else { return };
        if let Some(Successor { session, .. }) = successor {
            self.end_session(session, CloseCode::Superseded, reason);
        }
        let Some(open) = open else { return };
        self.past.0 += open.outbound.sent();
        self.past.1 += open.received.load(Ordering::Relaxed);
        open.outbound.take_latency(&mut self.latency);
        tracing::info!(peer = %node, reason, "session ended");
        self.announce(&PeerEvent::Down { node: node.clone(), reason: reason.to_owned() });
    }
}

impl QuicBridge {
    fn opened(&mut self, session: SessionKey, opened: Opened, context: &mut Context<Self>) {
        let Some(attached) = self.sessions.get(&session) else { return };
        let (side, follows) = (attached.side, attached.follows);
        if side == Side::Dialler {
            // The last bits of the id are random.
            self.watch_renewal(session, opened.id.as_u128() as u32, context);
        }
        let incarnation = opened.hello.incarnation;
        let open = Open::new(attached, opened);
        let node = open.peer.node.clone();
        if self.draining {
            return self.end_session(session, CloseCode::Done, "this node is stopping");
        }
        let followed = follows.and_then(|former| self.slot_of(former));
        let before = self.slot_before(session);
        if let Some(live) = followed.as_ref().and_then(|slot| self.live.get(slot))
            && !live.may_be_followed(incarnation, open.shown.as_ref())
        {
            let reason = format!(
                "the session there is with {node} goes on: this is another incarnation or role of it, or an earlier certificate"
            );
            return self.end_session(session, CloseCode::Done, reason);
        }
        if let Some(slot) = followed.as_ref().or(before.as_ref())
            && let Err(reason) = self.check_routes(slot, &open)
        {
            return self.end_session(session, CloseCode::ProtocolViolation, reason);
        }
        if let Some(slot) = followed {
            return self.replace(&slot, session, open);
        }
        if let Some(next) = before.and_then(|slot| self.live.get_mut(&slot)?.successor.as_mut()) {
            next.open = Some(Box::new(open));
            return;
        }
        // One that was dialled from here has not been admitted, and has no slot yet.
        let slot = self.slot_of(session).unwrap_or_else(|| (node.clone(), 0));
        let other = self.live.get(&slot).filter(|live| live.session != session);
        if let Some(other) = other {
            // Two nodes dialled each other at once: both keep the session of the smaller id. Of two that
            // were dialled by the same side the one that was admitted last took over.
            let ours = self.local.node < node;
            if other.side == side || (side == Side::Dialler) != ours {
                return self.end_session(session, CloseCode::Done, "duplicate connection");
            }
            let other = other.session;
            self.end_session(other, CloseCode::Done, "duplicate connection");
            self.forget(&slot, "another session took over");
        }
        let Peer { role, session: id, .. } = &open.peer;
        tracing::info!(peer = %node, %role, session = %id, "session open");
        // A peer comes before what it exposes.
        self.announce(&PeerEvent::Up(open.peer.clone()));
        let live = Live::new(side, incarnation, session, Some(open));
        self.changing_names(&node, |bridge| bridge.live.insert(slot, live));
    }
}

impl Open {
    fn new(attached: &Attached, opened: Opened) -> Self {
        let Opened { id, hello, outbound, received, round_trip } = opened;
        let Caller { node, role } = attached.peer.clone();
        let Hello { agent_type, capabilities, routes, .. } = hello;
        let peer = Peer { node, role, agent_type, capabilities, session: id };
        let routes = routes.into_iter().map(|route| (route.id, route)).collect();
        let (way, since) = (Way::new(Arc::clone(&outbound)), Instant::now());
        let shown = attached.shown.clone();
        Self { peer, shown, outbound, way, received, round_trip, since, routes }
    }
}

impl QuicBridge {
    /// Checks that the session at `slot` and the one that is to take over from it mean the same by the same routes,
    /// as the mailboxes that were resolved keep them.
    fn check_routes(&self, slot: &Slot, next: &Open) -> Result<(), String> {
        let Some(Live { open: Some(open), .. }) = self.live.get(slot) else { return Ok(()) };
        let other = |(id, route): &(&u32, &Route)| next.routes.get(id).is_some_and(|next| next != *route);
        match open.routes.iter().find(other) {
            Some((id, _)) => Err(format!("route {id} was given to another request before")),
            None => Ok(()),
        }
    }
}

impl QuicBridge {
    fn closed(&mut self, session: SessionKey, reason: &str) {
        self.sessions.remove(&session);
        if let Some(slot) = self.slot_of(session) {
            // Where a further session is open, the peer is not lost.
            if !self.take_over(&slot) {
                let incarnation = self.live.get(&slot).map_or(0, |live| live.incarnation);
                let next = self.live.get_mut(&slot).and_then(|live| live.successor.take());
                self.forget(&slot, reason);
                if let Some(Successor { session, .. }) = next {
                    self.live.insert(slot, Live::new(Side::Acceptor, incarnation, session, None));
                }
                return;
            }
        }
        if let Some(live) = self.slot_before(session).and_then(|slot| self.live.get_mut(&slot)) {
            live.successor = None;
        }
        match self.retired.iter().position(|retired| retired.session == session) {
            Some(position) => {
                let Retired { outbound, received, .. } = self.retired.swap_remove(position);
                self.past.0 += outbound.sent();
                self.past.1 += received.load(Ordering::Relaxed);
                outbound.take_latency(&mut self.latency);
            }
            None => tracing::debug!(reason, "a session ended before it was open"),
        }
    }

    fn peer_routes(&mut self, session: SessionKey, change: RouteChange) {
        let apply = |open: &mut Open| {
            open.routes.extend(change.added.into_iter().map(|route| (route.id, route)));
            change.removed.iter().for_each(|id| drop(open.routes.remove(id)));
        };
        if let Some(slot) = self.slot_of(session) {
            self.changing_names(&slot.0, |bridge| {
                let open = bridge.live.get_mut(&slot).and_then(|live| live.open.as_mut());
                open.map(apply)
            });
        } else if let Some(slot) = self.slot_before(session) {
            let next = self.live.get_mut(&slot).and_then(|live| live.successor.as_mut());
            next.and_then(|next| next.open.as_deref_mut()).map(apply);
        }
    }
}
