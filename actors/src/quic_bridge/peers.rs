//! The peers of a node: who is let in, whose session is open, who has gone.

use super::{Outbound, QuicBridge, SESSIONS_MAX};
use crate::{
    call::Caller,
    node::{Peer, PeerEvent},
    session::{ConnectionSession, EndSession, Received, Side},
};
use actix::{Addr, Handler, Message};
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

/// The most sessions at once under the id of one operator.
const OPERATOR_SESSIONS_MAX: u32 = 32;

/// A place for a session: the node, and which of its sessions. Coordinators and agents have the
/// first alone. An operator is a person who has several commands running under one certificate.
pub(super) type Seat = (NodeId, u32);

/// A session that was admitted; it is open as soon as `open` is there.
pub(super) struct Live {
    side: Side,
    incarnation: u64,
    session: Addr<ConnectionSession>,
    pub(super) open: Option<Open>,
}

pub(super) struct Open {
    pub(super) peer: Peer,
    pub(super) outbound: Arc<Outbound>,
    pub(super) received: Received,
    /// Of the last ping, in microseconds; zero before the first has come back.
    pub(super) round_trip: Arc<AtomicU64>,
    pub(super) since: Instant,
    pub(super) routes: BTreeMap<u32, Route>,
}

/// May this node have a session?
#[derive(Message)]
#[rtype(result = "Result<Uuid, (RefuseCause, String)>")]
pub(crate) struct Admit {
    pub(crate) peer: Caller,
    pub(crate) incarnation: u64,
    pub(crate) session: Addr<ConnectionSession>,
}

impl Handler<Admit> for QuicBridge {
    type Result = Result<Uuid, (RefuseCause, String)>;

    fn handle(&mut self, Admit { peer, incarnation, session }: Admit, _: &mut Self::Context) -> Self::Result {
        let Caller { node, role } = peer;
        if self.draining {
            return Err((RefuseCause::Unavailable, format!("{} is stopping", self.local.node)));
        }
        if self.live.len() >= SESSIONS_MAX {
            return Err((
                RefuseCause::Unavailable,
                format!("{SESSIONS_MAX} sessions are as many as there can be"),
            ));
        }
        if node == self.local.node {
            return Err((RefuseCause::AlreadyConnected, format!("{node} is this node")));
        }
        let seat = match role {
            Role::Operator => self.free_seat(&node)?,
            Role::Coordinator | Role::Agent => self.vacated_seat(node, incarnation)?,
        };
        self.live.insert(seat, Live { side: Side::Acceptor, incarnation, session, open: None });
        Ok(Uuid::now_v7())
    }
}

impl QuicBridge {
    /// A seat for one more session of an operator.
    fn free_seat(&self, node: &NodeId) -> Result<Seat, (RefuseCause, String)> {
        let mut seats = (0..OPERATOR_SESSIONS_MAX).map(|number| (node.clone(), number));
        seats.find(|seat| !self.live.contains_key(seat)).ok_or_else(|| {
            let reason = format!("{node} has {OPERATOR_SESSIONS_MAX} sessions, as many as it can have");
            (RefuseCause::Unavailable, reason)
        })
    }

    /// The seat of a node, from which an older incarnation of it has to get up.
    fn vacated_seat(&mut self, node: NodeId, incarnation: u64) -> Result<Seat, (RefuseCause, String)> {
        let seat = (node.clone(), 0);
        if let Some(live) = self.live.get(&seat) {
            if live.incarnation >= incarnation {
                return Err((RefuseCause::AlreadyConnected, format!("{node} is connected already")));
            }
            let reason = format!("a newer incarnation of {node} connected");
            live.session.do_send(EndSession(CloseCode::Superseded, reason));
            self.forget(&seat, "a newer incarnation connected");
        }
        Ok(seat)
    }

    /// The open session with a node; one of them, where an operator has several.
    pub(super) fn open(&self, node: &NodeId) -> Option<&Open> {
        self.open_sessions(node).next()
    }

    pub(super) fn open_sessions(&self, node: &NodeId) -> impl Iterator<Item = &Open> {
        let seats = (node.clone(), 0)..=(node.clone(), OPERATOR_SESSIONS_MAX);
        self.live.range(seats).filter_map(|(_, live)| live.open.as_ref())
    }

    fn seat_of(&self, session: &Addr<ConnectionSession>) -> Option<Seat> {
        self.live.iter().find(|(_, live)| live.session == *session).map(|(seat, _)| seat.clone())
    }

    fn forget(&mut self, seat: &Seat, reason: &str) {
        let (node, _) = seat;
        let left = self.changing_names(node, |bridge| bridge.live.remove(seat));
        let Some(Live { open: Some(open), .. }) = left else { return };
        self.past.0 += open.outbound.sent();
        self.past.1 += open.received.load(Ordering::Relaxed);
        open.outbound.take_latency(&mut self.latency);
        tracing::info!(peer = %node, reason, "session ended");
        self.announce(&PeerEvent::Down { node: node.clone(), reason: reason.to_owned() });
    }
}

/// A session is open.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Opened {
    pub(crate) id: Uuid,
    pub(crate) side: Side,
    pub(crate) peer: Caller,
    pub(crate) hello: Box<Hello>,
    pub(crate) session: Addr<ConnectionSession>,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) received: Received,
    pub(crate) round_trip: Arc<AtomicU64>,
}

impl Handler<Opened> for QuicBridge {
    type Result = ();

    fn handle(&mut self, opened: Opened, _: &mut Self::Context) {
        let Opened { id, side, peer: Caller { node, role }, hello, session, outbound, received, round_trip } =
            opened;
        if self.draining {
            return session.do_send(EndSession(CloseCode::Done, "this node is stopping".to_owned()));
        }
        // One that was dialled from here has not been admitted, and has no seat yet.
        let seat = self.seat_of(&session).unwrap_or_else(|| (node.clone(), 0));
        let other = self.live.get(&seat).filter(|live| live.session != session);
        if let Some(other) = other {
            // Two nodes dialled each other at once: both keep the session of the smaller id. Of two that
            // were dialled by the same side the one that was admitted last took over.
            let ours = self.local.node < node;
            if other.side == side || (side == Side::Dialler) != ours {
                return session
                    .do_send(EndSession(CloseCode::Done, "another session of both is open".to_owned()));
            }
            other.session.do_send(EndSession(CloseCode::Done, "another session of both is open".to_owned()));
            self.forget(&seat, "another session took over");
        }
        let peer = Peer {
            node: node.clone(),
            role,
            agent_type: hello.agent_type,
            capabilities: hello.capabilities,
            session: id,
        };
        tracing::info!(peer = %node, %role, session = %id, "session open");
        let routes = hello.routes.into_iter().map(|route| (route.id, route)).collect();
        let since = Instant::now();
        let open = Open { peer: peer.clone(), outbound, received, round_trip, since, routes };
        let live = Live { side, incarnation: hello.incarnation, session, open: Some(open) };
        // A peer comes before what it exposes.
        self.announce(&PeerEvent::Up(peer));
        self.changing_names(&node, |bridge| bridge.live.insert(seat, live));
    }
}

/// A session has ended, open or not.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Closed {
    pub(crate) session: Addr<ConnectionSession>,
    pub(crate) reason: String,
}

impl Handler<Closed> for QuicBridge {
    type Result = ();

    fn handle(&mut self, Closed { session, reason }: Closed, _: &mut Self::Context) {
        self.sessions.retain(|other| *other != session);
        match self.seat_of(&session) {
            Some(seat) => self.forget(&seat, &reason),
            None => tracing::debug!(reason, "a session ended before it was open"),
        }
    }
}

/// The routes of a peer changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PeerRoutes {
    pub(crate) session: Addr<ConnectionSession>,
    pub(crate) change: RouteChange,
}

impl Handler<PeerRoutes> for QuicBridge {
    type Result = ();

    fn handle(&mut self, PeerRoutes { session, change }: PeerRoutes, _: &mut Self::Context) {
        let Some(seat) = self.seat_of(&session) else { return };
        self.changing_names(&seat.0, |bridge| {
            let Some(Live { open: Some(open), .. }) = bridge.live.get_mut(&seat) else { return };
            open.routes.extend(change.added.into_iter().map(|route| (route.id, route)));
            change.removed.iter().for_each(|id| drop(open.routes.remove(id)));
        });
    }
}
