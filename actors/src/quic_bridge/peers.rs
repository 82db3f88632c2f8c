//! The peers of a node: who is let in, whose session is open, who has gone.

use super::{QuicBridge, Retired, SESSIONS_MAX, Shown};
use crate::{
    call::Caller,
    node::{Peer, PeerEvent},
    session::{ConnectionSession, EndSession, Outbound, Received, Side, Way},
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
    pub(super) side: Side,
    pub(super) incarnation: u64,
    pub(super) session: Addr<ConnectionSession>,
    pub(super) open: Option<Open>,
    /// A further session is being dialled to take over.
    pub(super) handing_over: bool,
    /// A further session of the peer, which is about to take over.
    pub(super) successor: Option<Successor>,
}

impl Live {
    fn new(side: Side, incarnation: u64, session: Addr<ConnectionSession>, open: Option<Open>) -> Self {
        Self { side, incarnation, session, open, handing_over: false, successor: None }
    }
}

/// A session that was admitted to take over from another one.
pub(super) struct Successor {
    pub(super) session: Addr<ConnectionSession>,
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

/// May this node have a session?
#[derive(Message)]
#[rtype(result = "Result<Uuid, (RefuseCause, String)>")]
pub(crate) struct Admit {
    pub(crate) peer: Caller,
    pub(crate) incarnation: u64,
    pub(crate) shown: Option<Shown>,
    pub(crate) session: Addr<ConnectionSession>,
}

impl Handler<Admit> for QuicBridge {
    type Result = Result<Uuid, (RefuseCause, String)>;

    fn handle(&mut self, admit: Admit, _: &mut Self::Context) -> Self::Result {
        let Admit { peer: Caller { node, role }, incarnation, shown, session } = admit;
        if self.draining {
            return Err((RefuseCause::Unavailable, format!("{} is stopping", self.local.node)));
        }
        // The session is about to learn that it has to end; until then nobody gets up for it.
        self.judge(shown.as_ref()).map_err(|reason| (RefuseCause::Unavailable, reason))?;
        if self.seat_to_follow(&node, incarnation, shown.as_ref(), &session)?.is_some() {
            return Ok(Uuid::now_v7());
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
            Role::Coordinator | Role::Agent => self.vacated_seat(node, incarnation, shown.as_ref())?,
        };
        self.live.insert(seat, Live::new(Side::Acceptor, incarnation, session, None));
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

    /// The seat of a node, from which an older incarnation of it has to get up, unless it has the later certificate:
    /// who got hold of one that was replaced does not drive out the node that it was replaced for.
    fn vacated_seat(
        &mut self,
        node: NodeId,
        incarnation: u64,
        shown: Option<&Shown>,
    ) -> Result<Seat, (RefuseCause, String)> {
        let seat = (node.clone(), 0);
        if let Some(live) = self.live.get(&seat) {
            if live.incarnation >= incarnation {
                return Err((RefuseCause::AlreadyConnected, format!("{node} is connected already")));
            }
            if live.has_later(shown) {
                let reason = format!("{node} is connected already, with a later certificate");
                return Err((RefuseCause::AlreadyConnected, reason));
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

    pub(super) fn seat_of(&self, session: &Addr<ConnectionSession>) -> Option<Seat> {
        self.live.iter().find(|(_, live)| live.session == *session).map(|(seat, _)| seat.clone())
    }

    fn forget(&mut self, seat: &Seat, reason: &str) {
        let (node, _) = seat;
        let left = self.changing_names(node, |bridge| bridge.live.remove(seat));
        self.end_retired(seat);
        let Some(Live { open, successor, .. }) = left else { return };
        if let Some(Successor { session, .. }) = successor {
            session.do_send(EndSession(CloseCode::Superseded, reason.to_owned()));
        }
        let Some(open) = open else { return };
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
    pub(crate) shown: Option<Shown>,
    /// The session that it is to take over from.
    pub(crate) follows: Option<Addr<ConnectionSession>>,
    pub(crate) hello: Box<Hello>,
    pub(crate) session: Addr<ConnectionSession>,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) received: Received,
    pub(crate) round_trip: Arc<AtomicU64>,
}

impl Handler<Opened> for QuicBridge {
    type Result = ();

    fn handle(&mut self, opened: Opened, _: &mut Self::Context) {
        let Opened { side, follows, .. } = &opened;
        let (side, session) = (*side, opened.session.clone());
        if self.draining {
            return session.do_send(EndSession(CloseCode::Done, "this node is stopping".to_owned()));
        }
        let followed = follows.as_ref().and_then(|former| self.seat_of(former));
        let before = self.seat_before(&session);
        let (node, incarnation) = (opened.peer.node.clone(), opened.hello.incarnation);
        let open = opened.into_open();
        if let Some(live) = followed.as_ref().and_then(|seat| self.live.get(seat))
            && !live.may_be_followed(incarnation, open.shown.as_ref())
        {
            let reason = format!(
                "the session there is with {node} goes on: this is another life or role of it, or an earlier certificate"
            );
            return session.do_send(EndSession(CloseCode::Done, reason));
        }
        if let Some(seat) = followed.as_ref().or(before.as_ref())
            && let Err(reason) = self.check_routes(seat, &open)
        {
            return session.do_send(EndSession(CloseCode::ProtocolViolation, reason));
        }
        if let Some(seat) = followed {
            return self.replace(&seat, session, open);
        }
        if let Some(next) = before.and_then(|seat| self.live.get_mut(&seat)?.successor.as_mut()) {
            next.open = Some(Box::new(open));
            return;
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
        let Peer { role, session: id, .. } = &open.peer;
        tracing::info!(peer = %node, %role, session = %id, "session open");
        // A peer comes before what it exposes.
        self.announce(&PeerEvent::Up(open.peer.clone()));
        let live = Live::new(side, incarnation, session, Some(open));
        self.changing_names(&node, |bridge| bridge.live.insert(seat, live));
    }
}

impl Opened {
    fn into_open(self) -> Open {
        let Opened { id, peer: Caller { node, role }, shown, hello, outbound, received, round_trip, .. } =
            self;
        let Hello { agent_type, capabilities, routes, .. } = *hello;
        let peer = Peer { node, role, agent_type, capabilities, session: id };
        let routes = routes.into_iter().map(|route| (route.id, route)).collect();
        let (way, since) = (Way::new(Arc::clone(&outbound)), Instant::now());
        Open { peer, shown, outbound, way, received, round_trip, since, routes }
    }
}

impl QuicBridge {
    /// Checks that the session at `seat` and the one that is to take over from it mean the same by the same routes,
    /// as the mailboxes that were resolved keep them.
    fn check_routes(&self, seat: &Seat, next: &Open) -> Result<(), String> {
        let Some(Live { open: Some(open), .. }) = self.live.get(seat) else { return Ok(()) };
        let other = |(id, route): &(&u32, &Route)| next.routes.get(id).is_some_and(|next| next != *route);
        match open.routes.iter().find(other) {
            Some((id, _)) => Err(format!("route {id} was given to another request before")),
            None => Ok(()),
        }
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
        if let Some(seat) = self.seat_of(&session) {
            // Where a further session is open, the peer is not lost.
            if !self.take_over(&seat) {
                let incarnation = self.live.get(&seat).map_or(0, |live| live.incarnation);
                let next = self.live.get_mut(&seat).and_then(|live| live.successor.take());
                self.forget(&seat, &reason);
                if let Some(Successor { session, .. }) = next {
                    self.live.insert(seat, Live::new(Side::Acceptor, incarnation, session, None));
                }
                return;
            }
        }
        if let Some(live) = self.seat_before(&session).and_then(|seat| self.live.get_mut(&seat)) {
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
        let apply = |open: &mut Open| {
            open.routes.extend(change.added.into_iter().map(|route| (route.id, route)));
            change.removed.iter().for_each(|id| drop(open.routes.remove(id)));
        };
        if let Some(seat) = self.seat_of(&session) {
            self.changing_names(&seat.0, |bridge| {
                let open = bridge.live.get_mut(&seat).and_then(|live| live.open.as_mut());
                open.map(apply)
            });
        } else if let Some(seat) = self.seat_before(&session) {
            let next = self.live.get_mut(&seat).and_then(|live| live.successor.as_mut());
            next.and_then(|next| next.open.as_deref_mut()).map(apply);
        }
    }
}
