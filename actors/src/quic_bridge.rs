//! The bridge actor: one for each node. It owns the transport and the table of sessions, and knows what is exposed.
//! [`swarm_protocols::peers`] decides which session holds a peer's place.

mod admission;
mod connect;
mod early;
mod handover;
mod names;
mod peers;
mod resolve;
mod statistics;

pub use admission::SetIdentityError;
pub(crate) use admission::{Attach, SetIdentity, SetRevocationList};
use connect::Dialling;
pub use connect::{ConnectError, Wanted};
pub(crate) use connect::{Dial, Disconnect, Return};
use names::Names;
pub(crate) use names::{AllNames, Subscribe};
pub use names::{ExposedName, NameEvent};
use peers::Attached;
pub use peers::{Peer, PeerEvent};
pub(crate) use resolve::{Found, Presence, Resolve, RoutesOf};
pub use statistics::{NodeStatistics, SessionStatistics};
pub(crate) use statistics::{Sessions, ShowDeadLetters, Statistics};

use crate::{
    arbiters::Arbiters,
    budget::{Budget, WINDOW_MIN},
    log_limit::{self, limited},
    session::{
        ChangeRoutes, ConnectionSession, DrainSession, EndSession, ExposeError, Exposure, Received, Routes,
        SessionParts, new_histogram,
    },
    subscription::{Feed, Subscribers},
    transport::{Connection, Refusal, Shown, Transport},
    watchdog::Heart,
};
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, ResponseFuture};
use hdrhistogram::Histogram;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use swarm_protocols::{
    MailboxName, NodeId,
    peers::{Beginning, Peers, SessionKey, Side},
    session::{CloseCode, Timing},
    wire::{
        codec::BINCODE_2,
        control::{Hello, Limits, RouteChange, WIRE_VERSIONS},
        frame::CONTROL_BYTES_MAX,
    },
};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

/// How often a bridge looks at what is due.
const LOOK: Duration = Duration::from_secs(1);

/// How many bytes may come, at least, from a peer that was dialled and has not said WELCOME: that, and as much before.
const WELCOME_WINDOW: u32 = 2 * CONTROL_BYTES_MAX as u32;

/// What a bridge says of its node in every hello.
pub(crate) struct LocalNode {
    pub(crate) node: NodeId,
    pub(crate) agent_type: String,
    pub(crate) capabilities: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
    pub(crate) budget: Arc<Budget>,
    pub(crate) arbiters: Arc<Arbiters>,
}

/// The actor.
pub(crate) struct QuicBridge {
    local: LocalNode,
    incarnation: u64,
    transport: Box<dyn Transport>,
    routes: Routes,
    /// Which session holds a peer's place.
    peers: Peers,
    sessions: BTreeMap<SessionKey, Attached>,
    sessions_begun: u64,
    /// The open sessions that are used; others are about to take over, or have been replaced.
    used: BTreeSet<(NodeId, SessionKey)>,
    known: BTreeMap<NodeId, SocketAddr>,
    dialling: Vec<Dialling>,
    names: Names,
    /// Dropped when the node begins to stop.
    running: Option<watch::Sender<()>>,
    watchers: Subscribers<PeerEvent>,
    subscribers: Subscribers<NameEvent>,
    /// Dropped with what was exposed, which whoever holds the registration notices.
    exposed: BTreeMap<u64, watch::Sender<()>>,
    /// Who watches its arbiter, and those beside it, once something is exposed.
    hearts: Vec<Arc<Heart>>,
    /// How much may wait on each connection with an open session, in bytes.
    window: u32,
    past: (u64, u64),
    /// Counts the requests that came in early data.
    early: Received,
    latency: Histogram<u32>,
}

impl QuicBridge {
    pub(crate) fn new(local: LocalNode, transport: Box<dyn Transport>) -> Self {
        // The random half of it.
        let incarnation = Uuid::now_v7().as_u128() as u64;
        Self {
            peers: Peers::new(local.node.clone()),
            local,
            incarnation,
            transport,
            dialling: Vec::new(),
            routes: Routes::default(),
            sessions: BTreeMap::new(),
            sessions_begun: 0,
            used: BTreeSet::new(),
            known: BTreeMap::new(),
            names: Names::default(),
            running: Some(watch::channel(()).0),
            watchers: Subscribers::default(),
            subscribers: Subscribers::default(),
            exposed: BTreeMap::new(),
            hearts: Vec::new(),
            window: WINDOW_MIN,
            past: (0, 0),
            early: Received::default(),
            latency: new_histogram(),
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
        let Connection { link, peer, shown, place } = connection;
        self.sessions_begun += 1;
        let key = SessionKey(self.sessions_begun);
        let beginning = Beginning {
            node: peer.node.clone(),
            role: peer.role,
            side,
            credentials: shown.as_ref().map(Shown::credentials),
            replaces: follows,
        };
        if let Err(limit) = self.peers.begin(key, beginning) {
            limited!(warn, "a connection was refused", audit, peer = %peer.node, reason = %limit);
            link.close(CloseCode::Refused, &limit.to_string());
            if let Some(opened) = opened {
                // The node that dialled may have lost interest.
                let _left = opened.send(Err((Refusal::Busy, limit.to_string())));
            }
            return;
        }
        let parts = SessionParts {
            key,
            side,
            link,
            local: self.hello(),
            peer: peer.clone(),
            shown: shown.clone(),
            timing: self.local.timing,
            handlers: Arc::clone(self.routes.handlers()),
            share: self.local.budget.share(&peer.node),
            owner: context.address().recipient(),
            opened,
        };
        let link = Arc::clone(&parts.link);
        let address = place.start(move |place| ConnectionSession::new(parts, place));
        self.sessions.insert(key, Attached { address, side, peer, shown, open: None, handing_over: false });
        self.divide_windows();
        if side == Side::Dialler {
            // It has chosen the peer, whose lanes are not read before WELCOME and must not use up its room.
            link.set_window(self.window.max(WELCOME_WINDOW));
        }
    }

    /// Divides what may wait on connections among the open ones.
    fn divide_windows(&mut self) {
        let window = self.local.budget.window(self.sessions.len());
        if window != self.window {
            self.window = window;
            let open = self.sessions.values().filter_map(|session| session.open.as_ref());
            open.for_each(|open| open.outbound.set_window(window));
        }
    }

    /// Looks at what is due.
    fn look(&mut self, _: &mut Context<Self>) {
        if let Some(heart) = self.hearts.first() {
            heart.beat();
        }
        for (name, registration) in self.routes.stopped() {
            tracing::error!(%name, "an actor has stopped, and what it exposed is withdrawn");
            self.withdraw(&name, registration);
        }
        log_limit::summarise(Instant::now());
    }

    fn withdraw(&mut self, name: &MailboxName, registration: u64) {
        if let Some(removed) = self.routes.remove(name, registration) {
            self.names.remove(&self.local.node, &removed, &mut self.subscribers);
            self.exposed.remove(&registration);
            let removed = removed.iter().map(|route| route.id).collect();
            self.tell_routes(&RouteChange { added: Vec::new(), removed });
        }
    }

    fn tell_routes(&mut self, change: &RouteChange) {
        // A node in memory may run by another clock.
        if self.hearts.is_empty() && self.transport.address().is_some() {
            let watched = Heart::watch_all(&self.local.arbiters, LOOK);
            let watched = watched.inspect_err(|error| tracing::warn!(%error, "the arbiter is not watched"));
            self.hearts = watched.unwrap_or_default();
        }
        for heart in &self.hearts {
            heart.set_exposed(self.routes.handlers().all());
        }
        for session in self.sessions.values() {
            session.address.do_send(ChangeRoutes(change.clone()));
        }
    }
}

impl Actor for QuicBridge {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(identity) = self.transport.identity() {
            admission::tell_of_own(identity);
        }
        let early = self.serve_early();
        let accepted = self.transport.accept(self.local.timing.handshake, early);
        context.add_stream(accepted);
        context.run_interval(LOOK, Self::look);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.transport.close();
    }
}

/// Expose a mailbox.
#[derive(Message)]
#[rtype(result = "Result<(u64, watch::Receiver<()>), ExposeError>")]
pub(crate) struct Expose(pub(crate) Exposure);

impl Handler<Expose> for QuicBridge {
    type Result = Result<(u64, watch::Receiver<()>), ExposeError>;

    fn handle(&mut self, Expose(exposure): Expose, _: &mut Self::Context) -> Self::Result {
        let (registration, change) = self.routes.add(exposure)?;
        self.names.add(&self.local.node, &change.added, &mut self.subscribers);
        self.tell_routes(&change);
        let (exposed, ended) = watch::channel(());
        self.exposed.insert(registration, exposed);
        Ok((registration, ended))
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
        self.withdraw(&name, registration);
    }
}

/// Tell of peers that come and go, those that are there first.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Watch(pub(crate) Feed<PeerEvent>);

impl Handler<Watch> for QuicBridge {
    type Result = ();

    fn handle(&mut self, Watch(watcher): Watch, _: &mut Self::Context) {
        self.used().for_each(|(_, open)| watcher.tell(PeerEvent::Up(open.peer.clone())));
        self.watchers.add(watcher);
    }
}

/// Take no new requests or sessions, wait at most this long for those in progress, end all sessions.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop {
    pub(crate) grace: Duration,
}

impl Handler<Stop> for QuicBridge {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Stop { grace }: Stop, context: &mut Self::Context) -> Self::Result {
        self.peers.stop();
        self.running = None;
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

/// Give out what ends when the node begins to stop.
#[derive(Message)]
#[rtype(result = "Option<watch::Receiver<()>>")]
pub(crate) struct Running;

impl Handler<Running> for QuicBridge {
    type Result = Option<watch::Receiver<()>>;

    fn handle(&mut self, _: Running, _: &mut Self::Context) -> Self::Result {
        self.running.as_ref().map(watch::Sender::subscribe)
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
