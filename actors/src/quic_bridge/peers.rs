//! The peers of a node: what [`swarm_protocols::peers`] decides about their sessions is done here.

use super::QuicBridge;
use crate::{
    call::Caller,
    log_limit::limited,
    session::{
        Admission, ConnectionSession, EndSession, Opened, Outbound, ProbeSession, Received, RetireSession,
        SessionChange, SessionEvent, Way,
    },
    subscription::Event,
    transport::Shown,
};
use actix::{Addr, Context, Handler, Message, dev::ToEnvelope};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use swarm_protocols::{
    NodeId, Role,
    peers::{Command, SessionKey, Side},
    session::CloseCode,
    wire::control::{Hello, Route, RouteChange},
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

impl Event for PeerEvent {
    type Subject = NodeId;

    fn begins(&self) -> Option<&NodeId> {
        if let Self::Up(peer) = self { Some(&peer.node) } else { None }
    }

    fn ends(&self) -> Option<&NodeId> {
        if let Self::Down { node, .. } = self { Some(node) } else { None }
    }
}

/// A session, from the moment at which there is a connection for it until it has ended.
pub(super) struct Attached {
    pub(super) address: Addr<ConnectionSession>,
    pub(super) side: Side,
    pub(super) peer: Caller,
    /// The certificates that both sides have shown; `None` for a connection in memory.
    pub(super) shown: Option<Shown>,
    pub(super) open: Option<Open>,
    /// A session that is to replace it is being dialled.
    pub(super) handing_over: bool,
}

/// What there is of a session since it opened.
pub(super) struct Open {
    pub(super) peer: Peer,
    pub(super) outbound: Arc<Outbound>,
    /// The way of the mailboxes, which outlives the session if another one replaces it.
    pub(super) way: Arc<Way>,
    pub(super) received: Received,
    /// Of the last ping, in microseconds; zero before the first has come back.
    pub(super) round_trip: Arc<AtomicU64>,
    pub(super) since: Instant,
    pub(super) routes: BTreeMap<u32, Route>,
}

impl Open {
    fn new(Caller { node, role }: Caller, opened: Opened) -> Self {
        let Opened { id, hello, outbound, received, round_trip, .. } = opened;
        let Hello { agent_type, capabilities, routes, .. } = hello;
        let peer = Peer { node, role, agent_type, capabilities, session: id };
        let routes = routes.into_iter().map(|route| (route.id, route)).collect();
        let (way, since) = (Way::new(Arc::clone(&outbound)), Instant::now());
        Self { peer, outbound, way, received, round_trip, since, routes }
    }
}

impl Handler<SessionEvent> for QuicBridge {
    type Result = ();

    fn handle(&mut self, SessionEvent { session, change }: SessionEvent, context: &mut Self::Context) {
        match change {
            SessionChange::Asked { incarnation } => self.asked(session, incarnation),
            SessionChange::Opened(opened) => self.opened(session, *opened, context),
            SessionChange::PeerRoutes(change) => self.peer_routes(session, change),
            SessionChange::Confirmed => self.peers.confirmed(session),
            SessionChange::PeerDrains => self.peers.peer_drains(session),
            SessionChange::Answered => self.peers.answered(session),
            SessionChange::Unanswered => self.peers.unanswered(session),
            SessionChange::Closed { reason } => {
                self.peers.closed(session, &reason);
                self.obey();
                return self.forget(session, &reason);
            }
        }
        self.obey();
    }
}

impl QuicBridge {
    /// The open session with a node; one of them, where an operator has several.
    pub(super) fn open(&self, node: &NodeId) -> Option<&Open> {
        self.open_sessions(node).find(|open| !open.outbound.is_lost())
    }

    pub(super) fn open_sessions(&self, node: &NodeId) -> impl Iterator<Item = &Open> {
        self.used_with(node).filter_map(|session| self.sessions.get(&session)?.open.as_ref())
    }

    /// The sessions that are used with a node.
    pub(super) fn used_with(&self, node: &NodeId) -> impl Iterator<Item = SessionKey> {
        let all = (node.clone(), SessionKey(0))..=(node.clone(), SessionKey(u64::MAX));
        self.used.range(all).map(|(_, session)| *session)
    }

    /// Every session that is used.
    pub(super) fn used(&self) -> impl Iterator<Item = (&Attached, &Open)> {
        let attached = self.used.iter().filter_map(|(_, session)| self.sessions.get(session));
        attached.filter_map(|attached| Some((attached, attached.open.as_ref()?)))
    }

    fn asked(&mut self, session: SessionKey, incarnation: u64) {
        let Some(Attached { shown, .. }) = self.sessions.get(&session) else { return };
        match self.judge(shown.as_ref()) {
            Ok(()) => self.peers.asked(session, incarnation),
            // The session is about to learn that it has to end; until then it displaces nobody.
            Err(reason) => self.tell(session, EndSession(CloseCode::BadCertificate, reason)),
        }
    }

    fn opened(&mut self, session: SessionKey, mut opened: Opened, context: &mut Context<Self>) {
        let (id, incarnation, dialled) = (opened.id, opened.hello.incarnation, opened.dialled.take());
        let Some(attached) = self.sessions.get_mut(&session) else { return };
        opened.outbound.set_window(self.window);
        attached.open = Some(Open::new(attached.peer.clone(), opened));
        if attached.side == Side::Dialler {
            // The last bits of the id are random.
            self.watch_renewal(session, id.as_u128() as u32, context);
        }
        let former = self.peers.predecessor(session, incarnation);
        match former.map_or(Ok(()), |former| self.check_routes(former, session)) {
            Ok(()) => self.peers.opened(session, incarnation),
            Err(reason) => self.tell(session, EndSession(CloseCode::ProtocolViolation, reason)),
        }
        if let Some(dialled) = dialled {
            // The node that dialled may have lost interest.
            let _left = dialled.send(Ok(()));
        }
    }

    /// Checks that a session and the one that is to replace it mean the same by the same routes, as the mailboxes
    /// that were resolved keep them.
    fn check_routes(&self, former: SessionKey, next: SessionKey) -> Result<(), String> {
        let routes = |session| Some(&self.sessions.get(&session)?.open.as_ref()?.routes);
        let (Some(former), Some(next)) = (routes(former), routes(next)) else { return Ok(()) };
        let other = |(id, route): &(&u32, &Route)| next.get(id).is_some_and(|next| next != *route);
        match former.iter().find(other) {
            Some((id, _)) => Err(format!("route {id} was given to another request before")),
            None => Ok(()),
        }
    }

    fn peer_routes(&mut self, session: SessionKey, change: RouteChange) {
        let Some(Attached { peer, open: Some(open), .. }) = self.sessions.get_mut(&session) else { return };
        let is_used = self.used.contains(&(peer.node.clone(), session));
        if is_used {
            // First what comes: a name whose route is given anew does not go meanwhile.
            self.names.add(&peer.node, &change.added, &mut self.subscribers);
        }
        open.routes.extend(change.added.into_iter().map(|route| (route.id, route)));
        let removed: Vec<Route> =
            change.removed.iter().filter_map(|route| open.routes.remove(route)).collect();
        if is_used {
            self.names.remove(&peer.node, &removed, &mut self.subscribers);
        }
    }

    /// Does what the rule says.
    fn obey(&mut self) {
        while let Some(command) = self.peers.poll() {
            match command {
                Command::Admit(session) => self.tell(session, Admission(Ok(Uuid::now_v7()))),
                Command::Refuse { session, cause, reason } => {
                    if let Some(Attached { peer, .. }) = self.sessions.get(&session) {
                        limited!(warn, "a session was refused", audit, peer = %peer.node, reason);
                    }
                    self.tell(session, Admission(Err((cause, reason))));
                }
                Command::Probe(session) => self.tell(session, ProbeSession),
                Command::Up(session) => self.up(session),
                Command::Down { session, reason } => self.down(session, &reason),
                Command::Replace { former, next } => self.replace(former, next),
                Command::Drain(session) => self.drain(session),
                Command::End { session, code, reason } => self.tell(session, EndSession(code, reason)),
            }
        }
    }

    fn tell<M>(&self, session: SessionKey, message: M)
    where
        M: Message<Result = ()> + Send + 'static,
        ConnectionSession: Handler<M>,
        Context<ConnectionSession>: ToEnvelope<ConnectionSession, M>,
    {
        if let Some(attached) = self.sessions.get(&session) {
            attached.address.do_send(message);
        }
    }

    fn up(&mut self, session: SessionKey) {
        let Some(Attached { open: Some(open), .. }) = self.sessions.get(&session) else { return };
        let peer = open.peer.clone();
        let (node, role) = (peer.node.clone(), peer.role);
        limited!(info, "session open", peer = %node, %role, session = %peer.session);
        // A peer comes before what it exposes.
        self.watchers.tell(&PeerEvent::Up(peer));
        if self.used.insert((node.clone(), session)) {
            self.names.add(&node, open.routes.values(), &mut self.subscribers);
        }
    }

    fn down(&mut self, session: SessionKey, reason: &str) {
        let Some(Attached { peer: Caller { node, .. }, open, .. }) = self.sessions.get(&session) else {
            return;
        };
        let node = node.clone();
        if let Some(open) = open.as_ref().filter(|_| self.used.remove(&(node.clone(), session))) {
            self.names.remove(&node, open.routes.values(), &mut self.subscribers);
        }
        limited!(info, "session ended", peer = %node, reason);
        self.watchers.tell(&PeerEvent::Down { node, reason: reason.to_owned() });
    }

    /// Uses another session with a peer from now on.
    fn replace(&mut self, former: SessionKey, next: SessionKey) {
        let Some(Attached { peer, open: Some(open), .. }) = self.sessions.get(&former) else { return };
        let (node, way) = (peer.node.clone(), Arc::clone(&open.way));
        if let Some(Attached { open: Some(open), .. }) = self.sessions.get_mut(&next) {
            way.hand_over(&open.outbound);
            open.way = way;
            limited!(info, "another session took over", peer = %node, session = %open.peer.session);
            // First what comes: a name that both have does not go meanwhile.
            if self.used.insert((node.clone(), next)) {
                self.names.add(&node, open.routes.values(), &mut self.subscribers);
            }
            let former = (node.clone(), former);
            if let Some(Attached { open: Some(open), .. }) = self.sessions.get(&former.1)
                && self.used.remove(&former)
            {
                self.names.remove(&node, open.routes.values(), &mut self.subscribers);
            }
        }
        self.tell(former, RetireSession);
    }

    fn drain(&self, session: SessionKey) {
        if let Some(Attached { open: Some(open), .. }) = self.sessions.get(&session) {
            limited!(info, "the peer drains", peer = %open.peer.node);
            open.outbound.drain();
        }
    }

    /// Keeps nothing of a session that has ended but what went over it.
    fn forget(&mut self, session: SessionKey, reason: &str) {
        match self.sessions.remove(&session) {
            Some(Attached { open: Some(Open { outbound, received, .. }), .. }) => {
                self.past.0 += outbound.sent();
                self.past.1 += received.requests.load(Ordering::Relaxed);
                outbound.take_latency(&mut self.latency);
            }
            _ => tracing::debug!(reason, "a session ended before it was open"),
        }
        self.divide_windows();
    }
}
