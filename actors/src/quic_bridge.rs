//! The bridge actor: one for each node. It owns the QUIC endpoint, knows the sessions and what is
//! exposed, and so maps streams of the network onto mailboxes.

mod admission;
mod calls;
mod connect;
mod exposed;
mod lane;
mod remote;
mod resolve;
mod scratch;
mod serve;

pub(crate) use admission::{Attach, SetIdentity, SetRevocationList};
pub(crate) use connect::Dial;
pub use exposed::ExposeError;
pub(crate) use exposed::Routes;
pub(crate) use lane::{Outbox, new_histogram};
pub(crate) use remote::{Outbound, Remote, RemoteCall};
pub(crate) use resolve::Resolve;
pub(crate) use serve::{Inbound, finish};

use crate::{
    call::Caller,
    identity::{Identity, KeyExchange, PeerChain},
    link::Link,
    mailbox::Mailbox,
    node::{NodeStatistics, Peer, PeerEvent},
    session::{ChangeRoutes, ConnectionSession, DrainSession, EndSession, Received, SessionParts, Side},
    transport,
};
use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture, WrapFuture,
};
use hdrhistogram::Histogram;
use std::{
    cell::Cell,
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};
use swarm_protocols::{
    MailboxName, NodeId, Protocol, Role,
    session::{CloseCode, Timing},
    wire::{
        codec::BINCODE_2,
        control::{Hello, Limits, RefuseCause, Route, RouteChange, WIRE_VERSIONS},
    },
};
use tokio::sync::oneshot;
use uuid::Uuid;

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

/// How a bridge reaches the network.
#[derive(Clone)]
pub(crate) struct Socket {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) identity: Identity,
    pub(crate) key_exchange: KeyExchange,
}

impl Socket {
    /// How a node listens with an identity.
    pub(crate) fn listening(identity: &Identity, key_exchange: KeyExchange) -> quinn::ServerConfig {
        let mut config = identity.server_config(key_exchange);
        config.transport_config(transport::parameters());
        config
    }
}

/// The actor.
pub(crate) struct QuicBridge {
    local: Local,
    incarnation: u64,
    socket: Option<Socket>,
    routes: Rc<Routes>,
    sessions: Vec<Addr<ConnectionSession>>,
    live: BTreeMap<NodeId, Live>,
    known: BTreeMap<NodeId, SocketAddr>,
    watchers: Vec<Recipient<PeerEvent>>,
    handshakes: Rc<Cell<u32>>,
    past: (u64, u64),
    latency: Histogram<u32>,
    draining: bool,
}

/// A session that was admitted; it is open as soon as `open` is there.
struct Live {
    incarnation: u64,
    session: Addr<ConnectionSession>,
    open: Option<Open>,
}

struct Open {
    peer: Peer,
    outbound: Arc<Outbound>,
    received: Received,
    routes: BTreeMap<u32, Route>,
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
            known: BTreeMap::new(),
            watchers: Vec::new(),
            handshakes: Rc::default(),
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
        side: Side,
        link: Arc<dyn Link>,
        (peer, shown): (Caller, Option<PeerChain>),
        opened: Option<oneshot::Sender<Result<(), String>>>,
        context: &mut Context<Self>,
    ) {
        let parts = SessionParts {
            side,
            link,
            local: self.hello(),
            peer,
            shown,
            timing: self.local.timing,
            routes: Rc::clone(&self.routes),
            bridge: context.address(),
            opened,
        };
        self.sessions.push(ConnectionSession::new(parts).start());
    }

    fn announce(&self, event: &PeerEvent) {
        for watcher in &self.watchers {
            // A watcher that has stopped is no error; it is forgotten with the next event.
            watcher.do_send(event.clone());
        }
    }

    fn tell_routes(&self, change: &RouteChange) {
        for session in &self.sessions {
            session.do_send(ChangeRoutes(change.clone()));
        }
    }

    fn open(&self, node: &NodeId) -> Option<&Open> {
        self.live.get(node)?.open.as_ref()
    }
}

impl Actor for QuicBridge {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // Sessions come and go in bursts; none of their events may be lost.
        context.set_mailbox_capacity(1024);
        if let Some(Socket { endpoint, .. }) = &self.socket {
            let accepting = connect::accept(endpoint.clone(), context.address(), Rc::clone(&self.handshakes));
            context.spawn(accepting.into_actor(self));
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if let Some(Socket { endpoint, .. }) = &self.socket {
            endpoint.close(0_u8.into(), b"");
        }
    }
}

/// May this node have a session?
#[derive(Message)]
#[rtype(result = "Result<Uuid, (RefuseCause, String)>")]
pub(crate) struct Admit {
    pub(crate) node: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) session: Addr<ConnectionSession>,
}

impl Handler<Admit> for QuicBridge {
    type Result = Result<Uuid, (RefuseCause, String)>;

    fn handle(&mut self, Admit { node, incarnation, session }: Admit, _: &mut Self::Context) -> Self::Result {
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
        if let Some(live) = self.live.get(&node) {
            if live.incarnation >= incarnation {
                return Err((RefuseCause::AlreadyConnected, format!("{node} is connected already")));
            }
            let reason = format!("a newer incarnation of {node} connected");
            live.session.do_send(EndSession(CloseCode::Superseded, reason));
            self.forget(&node, "a newer incarnation connected");
        }
        self.live.insert(node, Live { incarnation, session, open: None });
        Ok(Uuid::now_v7())
    }
}

impl QuicBridge {
    fn forget(&mut self, node: &NodeId, reason: &str) {
        let Some(Live { open: Some(open), .. }) = self.live.remove(node) else { return };
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
}

impl Handler<Opened> for QuicBridge {
    type Result = ();

    fn handle(&mut self, opened: Opened, _: &mut Self::Context) {
        let Opened { id, side, peer: Caller { node, role }, hello, session, outbound, received } = opened;
        let other = self.live.get(&node).filter(|live| live.session != session);
        if let Some(other) = other {
            // Two nodes dialled each other at once. Both keep the session of the smaller id.
            let ours = self.local.node < node;
            if (side == Side::Dialler) != ours {
                return session
                    .do_send(EndSession(CloseCode::Done, "another session of both is open".to_owned()));
            }
            other.session.do_send(EndSession(CloseCode::Done, "another session of both is open".to_owned()));
            self.forget(&node, "another session took over");
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
        let open = Open { peer: peer.clone(), outbound, received, routes };
        self.live.insert(node, Live { incarnation: hello.incarnation, session, open: Some(open) });
        self.announce(&PeerEvent::Up(peer));
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
        let node = self.live.iter().find(|(_, live)| live.session == session).map(|(node, _)| node.clone());
        match node {
            Some(node) => self.forget(&node, &reason),
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
        let live = self.live.values_mut().find(|live| live.session == session);
        let Some(Live { open: Some(open), .. }) = live else { return };
        open.routes.extend(change.added.into_iter().map(|route| (route.id, route)));
        change.removed.iter().for_each(|id| drop(open.routes.remove(id)));
    }
}

/// Expose a mailbox.
#[derive(Message)]
#[rtype(result = "Result<u64, ExposeError>")]
pub(crate) struct Expose<P: Protocol> {
    pub(crate) name: MailboxName,
    pub(crate) mailbox: Mailbox<P>,
    pub(crate) allowed: Arc<[Role]>,
}

impl<P: Protocol> Handler<Expose<P>> for QuicBridge {
    type Result = Result<u64, ExposeError>;

    fn handle(&mut self, expose: Expose<P>, _: &mut Self::Context) -> Self::Result {
        let (registration, change) = self.routes.add(expose.name, &expose.mailbox, expose.allowed)?;
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
        if let Some(change) = self.routes.remove(&name, registration) {
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
        self.watchers.retain(Recipient::connected);
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
        let (bridge, endpoint) =
            (context.address(), self.socket.as_ref().map(|socket| socket.endpoint.clone()));
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
