//! The bridge actor: one for each node. It owns the QUIC endpoint, knows the sessions and what is
//! exposed, and so maps streams of the network onto mailboxes.

mod admission;
mod connect;
mod handover;
mod names;
mod peers;
mod resolve;
mod statistics;

pub use admission::SetIdentityError;
pub(crate) use admission::{Attach, SetIdentity, SetRevocationList};
pub(crate) use connect::Dial;
use connect::Dialling;
pub use connect::{ConnectError, Wanted};
use handover::Retired;
pub use names::{ExposedName, NameEvent};
pub(crate) use names::{Names, Subscribe};
use peers::{Live, Slot};
pub use peers::{Peer, PeerEvent};
pub(crate) use resolve::{Found, Resolve};
pub use statistics::{NodeStatistics, SessionStatistics};
pub(crate) use statistics::{Sessions, Statistics};

use crate::{
    call::Caller,
    session::{
        ChangeRoutes, ConnectionSession, DrainSession, EndSession, ExposeError, Exposure, Routes, SessionKey,
        SessionParts, Side, new_histogram,
    },
    transport::{Connection, Shown, Transport},
};
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture};
use hdrhistogram::Histogram;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
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
pub(crate) struct LocalNode {
    pub(crate) node: NodeId,
    pub(crate) agent_type: String,
    pub(crate) capabilities: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
}

/// A session, from the moment at which there is a connection for it.
struct Attached {
    address: Addr<ConnectionSession>,
    side: Side,
    peer: Caller,
    /// The certificates that both sides have shown; `None` for a connection in memory.
    shown: Option<Shown>,
    /// The session that it is to take over from.
    follows: Option<SessionKey>,
}

/// The actor.
pub(crate) struct QuicBridge {
    local: LocalNode,
    incarnation: u64,
    transport: Box<dyn Transport>,
    routes: Rc<Routes>,
    sessions: BTreeMap<SessionKey, Attached>,
    sessions_begun: SessionKey,
    live: BTreeMap<Slot, Live>,
    /// Sessions that others have taken over from, until what they have in flight is answered.
    retired: Vec<Retired>,
    known: BTreeMap<NodeId, SocketAddr>,
    dialling: Vec<Dialling>,
    watchers: Vec<Recipient<PeerEvent>>,
    subscribers: Vec<Recipient<NameEvent>>,
    past: (u64, u64),
    latency: Histogram<u32>,
    draining: bool,
}

impl QuicBridge {
    pub(crate) fn new(local: LocalNode, transport: Box<dyn Transport>) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            local,
            incarnation: since.as_millis() as u64,
            transport,
            dialling: Vec::new(),
            routes: Rc::default(),
            sessions: BTreeMap::new(),
            sessions_begun: 0,
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
        Attach { side, connection, follows, opened }: Attach,
        context: &mut Context<Self>,
    ) {
        let Connection { link, peer, shown } = connection;
        self.sessions_begun += 1;
        let key = self.sessions_begun;
        let parts = SessionParts {
            key,
            side,
            link,
            local: self.hello(),
            peer: peer.clone(),
            shown: shown.clone(),
            timing: self.local.timing,
            routes: Rc::clone(&self.routes),
            owner: context.address().recipient(),
            opened,
        };
        let address = ConnectionSession::new(parts).start();
        self.sessions.insert(key, Attached { address, side, peer, shown, follows });
    }

    fn end_session(&self, session: SessionKey, code: CloseCode, reason: impl Into<String>) {
        if let Some(attached) = self.sessions.get(&session) {
            attached.address.do_send(EndSession(code, reason.into()));
        }
    }

    fn announce(&mut self, event: &PeerEvent) {
        self.watchers.retain(Recipient::connected);
        self.watchers.iter().for_each(|watcher| watcher.do_send(event.clone()));
    }

    fn tell_routes(&self, change: &RouteChange) {
        for session in self.sessions.values() {
            session.address.do_send(ChangeRoutes(change.clone()));
        }
    }
}

impl Actor for QuicBridge {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let accepted = self.transport.accept(self.local.timing.handshake);
        context.add_stream(accepted);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.transport.close();
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
        let sessions: Vec<_> = self.sessions.values().map(|session| session.address.clone()).collect();
        let (bridge, closed) = (context.address(), self.transport.closed());
        Box::pin(async move {
            let drained =
                futures_util::future::join_all(sessions.iter().map(|session| session.send(DrainSession)));
            // What is not done by then is cancelled with its session.
            let _in_time = tokio::time::timeout(grace, drained).await;
            for session in &sessions {
                session.do_send(EndSession(CloseCode::Done, String::new()));
            }
            bridge.do_send(End);
            let _in_time = tokio::time::timeout(Duration::from_secs(3), closed).await;
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
