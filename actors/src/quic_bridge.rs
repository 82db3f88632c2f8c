//! The bridge actor: one for each node. It owns the QUIC endpoint, knows the sessions and what is
//! exposed, and so maps streams of the network onto mailboxes.

mod admission;
mod connect;
mod handover;
mod names;
mod peers;
mod resolve;
mod socket;

pub(crate) use admission::{Attach, SetIdentity, SetRevocationList, Shown};
pub(crate) use connect::Dial;
use handover::Retired;
pub(crate) use handover::{Confirmed, HandOver, PeerDrains, until_look};
pub(crate) use names::{Names, Subscribe};
pub(crate) use peers::{Admit, Closed, Opened, PeerRoutes};
use peers::{Live, Seat};
pub(crate) use resolve::{Found, Resolve};
pub(crate) use socket::Socket;

use crate::{
    node::{NameEvent, NodeStatistics, PeerEvent, SessionStatistics},
    session::{
        ChangeRoutes, ConnectionSession, DrainSession, EndSession, ExposeError, Exposure, Routes,
        SessionParts, new_histogram,
    },
};
use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture, WrapFuture,
};
use hdrhistogram::Histogram;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};
use swarm_protocols::{
    MailboxName, NodeId,
    session::{CloseCode, Timing},
    wire::{
        codec::BINCODE_2,
        control::{Hello, Limits, RouteChange, WIRE_VERSIONS},
    },
};

/// The most sessions of a node.
const SESSIONS_MAX: usize = 4096;

/// What a bridge says of its node in every hello.
pub(crate) struct Local {
    pub(crate) node: NodeId,
    pub(crate) agent_type: String,
    pub(crate) capabilities: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
}

/// The actor.
pub(crate) struct QuicBridge {
    local: Local,
    incarnation: u64,
    socket: Option<Socket>,
    routes: Rc<Routes>,
    sessions: Vec<Addr<ConnectionSession>>,
    live: BTreeMap<Seat, Live>,
    /// Sessions that others have taken over from, until what they have in flight is answered.
    retired: Vec<Retired>,
    known: BTreeMap<NodeId, SocketAddr>,
    watchers: Vec<Recipient<PeerEvent>>,
    subscribers: Vec<Recipient<NameEvent>>,
    past: (u64, u64),
    latency: Histogram<u32>,
    draining: bool,
}

impl QuicBridge {
    pub(crate) fn new(local: Local, socket: Option<Socket>) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            local,
            incarnation: since.as_millis() as u64,
            socket,
            routes: Rc::default(),
            sessions: Vec::new(),
            live: BTreeMap::new(),
            retired: Vec::new(),
            known: BTreeMap::new(),
            watchers: Vec::new(),
            subscribers: Vec::new(),
            past: (0, 0),
            latency: new_histogram(),
            draining: false,
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            node: self.local.node.clone(),
            incarnation: self.incarnation,
            wire_versions: WIRE_VERSIONS,
            codecs: vec![BINCODE_2],
            agent_type: self.local.agent_type.clone(),
            capabilities: self.local.capabilities.clone(),
            limits: self.local.limits,
            routes: self.routes.all(),
        }
    }

    fn start_session(
        &mut self,
        Attach { side, link, peer, shown, follows, opened }: Attach,
        context: &mut Context<Self>,
    ) {
        let parts = SessionParts {
            side,
            link,
            local: self.hello(),
            peer,
            shown,
            follows,
            timing: self.local.timing,
            routes: Rc::clone(&self.routes),
            bridge: context.address(),
            opened,
        };
        self.sessions.push(ConnectionSession::new(parts).start());
    }

    fn announce(&mut self, event: &PeerEvent) {
        self.watchers.retain(Recipient::connected);
        self.watchers.iter().for_each(|watcher| watcher.do_send(event.clone()));
    }

    fn tell_routes(&self, change: &RouteChange) {
        for session in &self.sessions {
            session.do_send(ChangeRoutes(change.clone()));
        }
    }
}

impl Actor for QuicBridge {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(socket) = &self.socket {
            let accepting = connect::accept(
                socket.endpoint(),
                socket.listening(),
                context.address(),
                self.local.timing.handshake,
            );
            context.spawn(accepting.into_actor(self));
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if let Some(socket) = &self.socket {
            socket.endpoint().close(0_u8.into(), b"");
        }
    }
}

/// Expose a mailbox.
#[derive(Message)]
#[rtype(result = "Result<u64, ExposeError>")]
pub(crate) struct Expose(pub(crate) Exposure);

impl Handler<Expose> for QuicBridge {
    type Result = Result<u64, ExposeError>;

    fn handle(&mut self, Expose(exposure): Expose, _: &mut Self::Context) -> Self::Result {
        let node = self.local.node.clone();
        let (registration, change) = self.changing_names(&node, |bridge| bridge.routes.add(exposure))?;
        self.tell_routes(&change);
        Ok(registration)
    }
}

/// Take an exposed mailbox back.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Withdraw {
    pub(crate) name: MailboxName,
    pub(crate) registration: u64,
}

impl Handler<Withdraw> for QuicBridge {
    type Result = ();

    fn handle(&mut self, Withdraw { name, registration }: Withdraw, _: &mut Self::Context) {
        let node = self.local.node.clone();
        let removed = self.changing_names(&node, |bridge| bridge.routes.remove(&name, registration));
        if let Some(change) = removed {
            self.tell_routes(&change);
        }
    }
}

/// Tell of peers that come and go, those that are there first.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Watch(pub(crate) Recipient<PeerEvent>);

impl Handler<Watch> for QuicBridge {
    type Result = ();

    fn handle(&mut self, Watch(watcher): Watch, _: &mut Self::Context) {
        let open = self.live.values().filter_map(|live| live.open.as_ref());
        open.for_each(|open| watcher.do_send(PeerEvent::Up(open.peer.clone())));
        self.watchers.push(watcher);
    }
}

/// Count what went over all sessions.
#[derive(Message)]
#[rtype(result = "NodeStatistics")]
pub(crate) struct Statistics;

impl Handler<Statistics> for QuicBridge {
    type Result = actix::MessageResult<Statistics>;

    fn handle(&mut self, _: Statistics, _: &mut Self::Context) -> Self::Result {
        let (mut sent, mut received) = self.past;
        for open in self.live.values().filter_map(|live| live.open.as_ref()) {
            sent += open.outbound.sent();
            received += open.received.load(Ordering::Relaxed);
            open.outbound.take_latency(&mut self.latency);
        }
        let quantile = |q| match self.latency.is_empty() {
            true => None,
            false => Some(Duration::from_micros(self.latency.value_at_quantile(q))),
        };
        actix::MessageResult(NodeStatistics {
            sessions: self.live.values().filter(|live| live.open.is_some()).count(),
            sent,
            received,
            p50: quantile(0.5),
            p99: quantile(0.99),
        })
    }
}

/// Count what went over each session.
#[derive(Message)]
#[rtype(result = "Vec<SessionStatistics>")]
pub(crate) struct Sessions;

impl Handler<Sessions> for QuicBridge {
    type Result = Vec<SessionStatistics>;

    fn handle(&mut self, _: Sessions, _: &mut Self::Context) -> Self::Result {
        let open = self.live.values().filter_map(|live| live.open.as_ref());
        open.map(|open| {
            let round_trip = open.round_trip.load(Ordering::Relaxed);
            SessionStatistics {
                peer: open.peer.clone(),
                open_for: open.since.elapsed(),
                sent: open.outbound.sent(),
                received: open.received.load(Ordering::Relaxed),
                certificate: open.shown.as_ref().map(|shown| shown.peer.peer.clone()),
                round_trip: (round_trip > 0).then(|| Duration::from_micros(round_trip)),
            }
        })
        .collect()
    }
}

/// Take no new requests or sessions, wait at most this long for those in hand, end all sessions.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop {
    pub(crate) grace: Duration,
}

impl Handler<Stop> for QuicBridge {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Stop { grace }: Stop, context: &mut Self::Context) -> Self::Result {
        self.draining = true;
        let sessions = self.sessions.clone();
        let (bridge, endpoint) = (context.address(), self.socket.as_ref().map(Socket::endpoint));
        Box::pin(async move {
            let drained =
                futures_util::future::join_all(sessions.iter().map(|session| session.send(DrainSession)));
            // What is not done by then is cancelled with its session.
            let _in_time = tokio::time::timeout(grace, drained).await;
            for session in &sessions {
                session.do_send(EndSession(CloseCode::Done, String::new()));
            }
            bridge.do_send(End);
            if let Some(endpoint) = endpoint {
                let _in_time = tokio::time::timeout(Duration::from_secs(3), endpoint.wait_idle()).await;
            }
        })
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct End;

impl Handler<End> for QuicBridge {
    type Result = ();

    fn handle(&mut self, _: End, context: &mut Self::Context) {
        context.stop();
    }
}
