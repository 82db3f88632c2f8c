//! The endpoint of a node: how it is reached over QUIC, and reaches others.

use super::{NOBODY_LISTENS, QuicLink, describe, nobody_listens};
use crate::{
    arbiters::{Arbiters, Place},
    budget::WINDOW_MIN,
    identity::{EarlyData, Identity, KeyExchange, PeerChain, Serial, TlsReason, explain, server_name},
    log_limit::limited,
    transport::{
        CongestionControl, Connection, DialError, EarlyAsks, Refusal, ServeEarly, Shown, Transport, endpoint,
        named_in, parameters,
    },
};
use futures_util::{
    StreamExt,
    future::{AbortHandle, Abortable, Aborted, BoxFuture},
    stream::{self, FuturesUnordered, LocalBoxStream},
};
use quinn::{ConnectionError, ConnectionId, ConnectionIdGenerator, ZeroRttAccepted};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use swarm_protocols::{
    NodeId,
    peers::{HANDSHAKES_MAX, Handshakes},
    session::{CloseCode, Timing},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use uuid::Uuid;

/// Of how many peers the TLS sessions are kept, to be resumed when they are dialled again.
const PEERS_KEPT: usize = 256;

/// The endpoint of a node, with the identity that it has now.
///
/// The TLS sessions that can be resumed lie in the configurations, and these are made anew with every change of the
/// identity, its authorities or its revocation list: no session outlives what it was judged by.
pub(crate) struct QuicTransport {
    endpoint: quinn::Endpoint,
    address: SocketAddr,
    listening: watch::Sender<Listening>,
    identity: Identity,
    key_exchange: KeyExchange,
    early_data: EarlyData,
    parameters: Arc<quinn::TransportConfig>,
    /// How it dials a node, or whichever is there.
    dialling: BTreeMap<Option<NodeId>, DialConfig>,
    /// What runs the connections. The endpoint itself runs where it was made.
    arbiters: Arc<Arbiters>,
    _busy: Option<BusyPolling>,
}

/// Keeps the threads of a node from sleeping as long as this exists.
struct BusyPolling(Vec<JoinHandle<()>>);

impl Drop for BusyPolling {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// How a node is dialled, and which certificate it has shown to those who dialled it so: every ticket of the
/// configuration stands for that.
#[derive(Clone)]
struct DialConfig {
    config: quinn::ClientConfig,
    shown: Arc<Mutex<ShownSoFar>>,
}

#[derive(Default)]
enum ShownSoFar {
    #[default]
    Nothing,
    One(PeerChain),
    /// It is not known which ticket stands for which.
    Several,
}

impl ShownSoFar {
    fn add(&mut self, shown: &PeerChain) {
        *self = match self {
            Self::Nothing => Self::One(shown.clone()),
            Self::One(one) if one.peer == shown.peer => return,
            Self::One(_) | Self::Several => Self::Several,
        };
    }
}

impl DialConfig {
    fn shown(&self) -> MutexGuard<'_, ShownSoFar> {
        // Nothing panics while it is locked.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QuicTransport {
    /// Listens on an address, on the current arbiter, which is the first of these.
    pub(crate) fn listen(
        identity: Identity,
        key_exchange: KeyExchange,
        early_data: EarlyData,
        congestion: CongestionControl,
        address: SocketAddr,
        timing: &Timing,
        arbiters: Arc<Arbiters>,
    ) -> io::Result<Self> {
        let mut parameters = parameters(timing, congestion);
        // Little before the session is open: then the node divides what it has.
        parameters.receive_window(WINDOW_MIN.into()).send_window(WINDOW_MIN.into());
        let parameters = Arc::new(parameters);
        let listening = Listening::new(identity.clone(), key_exchange, early_data, &parameters);
        let mut config = quinn::EndpointConfig::new(identity.reset_key());
        config.cid_generator(|| Box::new(PlainIds));
        let endpoint = endpoint(config, Some(quinn::ServerConfig::clone(&listening.config)), address)?;
        let (address, listening) = (endpoint.local_addr()?, watch::Sender::new(listening));
        let dialling = BTreeMap::new();
        Ok(Self {
            endpoint,
            address,
            listening,
            identity,
            key_exchange,
            early_data,
            parameters,
            dialling,
            arbiters,
            _busy: None,
        })
    }

    /// The same, on threads that look for datagrams, and for each other, without end. A runtime looks whenever a task has
    /// yielded.
    pub(crate) fn polled_busily(self) -> Self {
        let busy = self.arbiters.on_each(|| async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        Self { _busy: Some(BusyPolling(busy)), ..self }
    }

    /// How to dial the node `expected`, or whichever is there: the same configuration every time, so that a
    /// session with it can be resumed.
    fn dialling(&mut self, expected: Option<&NodeId>) -> DialConfig {
        if let Some(dialling) = self.dialling.get(&expected.cloned())
            && !matches!(*dialling.shown(), ShownSoFar::Several)
        {
            return dialling.clone();
        }
        if self.dialling.len() >= PEERS_KEPT {
            // It costs full handshakes and nothing else.
            self.dialling.clear();
        }
        let mut config = self.identity.client_config(expected, self.key_exchange, self.early_data);
        config.transport_config(Arc::clone(&self.parameters));
        let dialling = DialConfig { config, shown: Arc::default() };
        self.dialling.insert(expected.cloned(), dialling.clone());
        dialling
    }

    /// Whether the node that is dialled so may be sent early data: it can only be read by who showed the certificate that
    /// a ticket stands for, which has to hold now.
    fn may_send_early(&self, expected: Option<&NodeId>, dialling: &DialConfig) -> bool {
        let shown = dialling.shown();
        let ShownSoFar::One(chain) = &*shown else { return false };
        expected == Some(&chain.peer.id) && self.identity.judge(chain, SystemTime::now()).is_ok()
    }
}

impl Transport for QuicTransport {
    fn dial(
        &mut self,
        expected: Option<&NodeId>,
        address: SocketAddr,
        early: Option<EarlyAsks>,
    ) -> BoxFuture<'static, Result<Connection, DialError>> {
        let dialling = self.dialling(expected);
        // A request that goes with the dial may wait for a node that is about to come back.
        let waits = early.as_ref().is_some_and(|asks| !asks.is_empty());
        let early = early.filter(|_| self.may_send_early(expected, &dialling));
        let own = self.identity.as_peer().serial.clone();
        let (config, place) = (dialling.config.clone(), self.arbiters.place());
        let connecting = {
            let _there = place.enter();
            self.endpoint.connect_with(config, address, server_name(expected))
        };
        let connecting = connecting.map(|connecting| Connecting::begin(connecting, early));
        Box::pin(async move {
            let unreachable = |reason| DialError::Unreachable(reason);
            let connecting = connecting.map_err(|error| unreachable(error.to_string()))?;
            let link = tokio::select! {
                connected = connecting.end() => connected.map_err(|error| match refused_for(&error) {
                    Some((refusal, reason)) => DialError::Refused(refusal, reason),
                    None => unreachable(describe(error)),
                })?,
                () = nobody_listens(address), if !waits => return Err(unreachable(NOBODY_LISTENS.to_owned())),
            };
            let connection = authenticated(link, own, place);
            let connection = connection.map_err(|reason| DialError::Refused(Refusal::Certificate, reason))?;
            if let Some(shown) = &connection.shown {
                dialling.shown().add(&shown.peer);
            }
            Ok(connection)
        })
    }

    fn accept(&mut self, within: Duration, early: ServeEarly) -> LocalBoxStream<'static, Connection> {
        let (connections, mut accepted) = mpsc::channel(HANDSHAKES_MAX);
        let early = (self.early_data == EarlyData::Allowed).then_some(early);
        let acceptor =
            Acceptor { listening: self.listening.subscribe(), arbiters: Arc::clone(&self.arbiters), early };
        actix_rt::spawn(accept(self.endpoint.clone(), acceptor, connections, within));
        Box::pin(stream::poll_fn(move |cx| accepted.poll_recv(cx)))
    }

    fn address(&self) -> Option<SocketAddr> {
        Some(self.address)
    }

    fn identity(&self) -> Option<&Identity> {
        Some(&self.identity)
    }

    fn set_identity(&mut self, identity: Identity) {
        let listening =
            Listening::new(identity.clone(), self.key_exchange, self.early_data, &self.parameters);
        self.listening.send_replace(listening);
        self.identity = identity;
        self.dialling.clear();
    }

    fn close(&self) {
        self.endpoint.close(0_u8.into(), b"");
    }

    fn closed(&self) -> BoxFuture<'static, ()> {
        // What closes its connections runs until they are closed.
        let (endpoint, arbiters) = (self.endpoint.clone(), Arc::clone(&self.arbiters));
        Box::pin(async move {
            endpoint.wait_idle().await;
            drop(arbiters);
        })
    }
}

/// Ids of connections that say nothing of their process. Those that quinn makes by default are known to one process
/// alone, so that the one after it would not answer its peers.
struct PlainIds;

impl ConnectionIdGenerator for PlainIds {
    fn generate_cid(&mut self) -> ConnectionId {
        // The half without the time: a counter that begins at random every millisecond, and random bits.
        ConnectionId::new(&Uuid::now_v7().into_bytes()[8..])
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// How a connection is accepted, and what is shown and judged by there.
#[derive(Clone)]
struct Listening {
    config: Arc<quinn::ServerConfig>,
    identity: Identity,
}

impl Listening {
    fn new(
        identity: Identity,
        key_exchange: KeyExchange,
        early_data: EarlyData,
        parameters: &Arc<quinn::TransportConfig>,
    ) -> Self {
        let mut config = identity.server_config(key_exchange, early_data);
        config.transport_config(Arc::clone(parameters));
        Self { config: Arc::new(config), identity }
    }
}

/// What an incoming connection is made with.
#[derive(Clone)]
struct Acceptor {
    listening: watch::Receiver<Listening>,
    arbiters: Arc<Arbiters>,
    early: Option<ServeEarly>,
}

async fn accept(
    endpoint: quinn::Endpoint,
    acceptor: Acceptor,
    connections: mpsc::Sender<Connection>,
    within: Duration,
) {
    let mut handshakes = Handshakes::default();
    let mut under_way = BTreeMap::<u64, AbortHandle>::new();
    let mut outcomes = FuturesUnordered::new();
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            Some((number, from, outcome)) = outcomes.next(), if !outcomes.is_empty() => {
                handshakes.ended(number);
                under_way.remove(&number);
                let reason = match outcome {
                    Ok(Ok(())) => continue,
                    Ok(Err(HandshakeError::Abandoned)) => {
                        tracing::debug!(%from, "this node stopped during a handshake");
                        continue;
                    }
                    Ok(Err(HandshakeError::Refused(reason))) => reason,
                    Err(Aborted) => "it gave way to another handshake".to_owned(),
                };
                limited!(warn, "a connection was refused", audit, %from, reason);
                continue;
            }
        };
        let Some(incoming) = incoming else { return };
        if handshakes.are_many() && !incoming.remote_address_validated() && incoming.may_retry() {
            // Costs an honest peer one round trip, and one with a forged address everything.
            let _too_late = incoming.retry();
            continue;
        }
        let from = incoming.remote_address();
        let (number, displaced) = handshakes.begin(from.ip());
        if let Some(displaced) = displaced.and_then(|displaced| under_way.remove(&displaced)) {
            displaced.abort();
        }
        let (connections, acceptor) = (connections.clone(), acceptor.clone());
        let (abort, aborted) = AbortHandle::new_pair();
        under_way.insert(number, abort);
        let shaken = acceptor.arbiters.place().run(move |place| {
            let shaken = async move {
                let connection =
                    tokio::time::timeout(within, handshake(incoming, acceptor, place)).await.map_err(
                        |_| HandshakeError::Refused("the TLS handshake took too long".to_owned()),
                    )??;
                // Where the node has stopped, dropping the connection ends it.
                let _stopped = connections.send(connection).await;
                Ok(())
            };
            Abortable::new(shaken, aborted)
        });
        outcomes.push(async move { (number, from, shaken.await.unwrap_or(Err(Aborted))) });
    }
}

/// Why an incoming connection became none.
enum HandshakeError {
    /// One side did not want it.
    Refused(String),
    /// This node stopped.
    Abandoned,
}

async fn handshake(
    incoming: quinn::Incoming,
    Acceptor { listening, early, .. }: Acceptor,
    place: Place,
) -> Result<Connection, HandshakeError> {
    let refused = |error: ConnectionError| match error {
        ConnectionError::LocallyClosed => HandshakeError::Abandoned,
        error => HandshakeError::Refused(
            explain(&error).map_or_else(|| error.to_string(), |failure| failure.to_string()),
        ),
    };
    let Listening { config, identity } = listening.borrow().clone();
    let own = identity.as_peer().serial.clone();
    let mut connecting = incoming.accept_with(config).map_err(refused)?;
    let Some(early) = early else {
        let connection = connecting.await.map_err(refused)?;
        return authenticated(Arc::new(QuicLink::new(connection)), own, place)
            .map_err(HandshakeError::Refused);
    };
    connecting.handshake_data().await.map_err(refused)?;
    let Ok((connection, complete)) = connecting.into_0rtt() else {
        unreachable!("an acceptor needs no ticket to answer early")
    };
    let link = Arc::new(QuicLink::new(connection));
    let _unfinished = Unfinished(&link);
    // It is known already who is there only where a session is resumed. A certificate that does not hold is answered when
    // the peer can read what it is refused for. What counts is what is known by now.
    if let Ok(peer) = PeerChain::of(link.connection())
        && listening.borrow().identity.judge(&peer, SystemTime::now()).is_ok()
    {
        early(Arc::clone(&link) as _, named_in(&peer.peer));
    }
    complete.await;
    link.check_connected().map_err(refused)?;
    link.completed();
    authenticated(Arc::clone(&link), own, place).map_err(HandshakeError::Refused)
}

/// A connection that ends, with everything that came early, unless its handshake is complete when this is dropped.
struct Unfinished<'a>(&'a QuicLink);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.0.is_complete() {
            self.0.connection().close(0_u8.into(), b"");
        }
    }
}

/// A connection to a peer that is being made.
enum Connecting {
    InFull(quinn::Connecting),
    /// It resumes a session that allows early data.
    Early(Arc<QuicLink>, ZeroRttAccepted, EarlyAsks),
}

impl Connecting {
    /// Sends the `early` requests that are there, before the first packet goes out.
    fn begin(connecting: quinn::Connecting, early: Option<EarlyAsks>) -> Self {
        let Some(mut asks) = early else { return Self::InFull(connecting) };
        match connecting.into_0rtt() {
            Ok((connection, accepted)) => {
                let link = Arc::new(QuicLink::new(connection));
                link.open_first();
                while let Ok(ask) = asks.try_recv() {
                    link.ask_early(ask);
                }
                Self::Early(link, accepted, asks)
            }
            Err(connecting) => Self::InFull(connecting),
        }
    }

    /// Waits until it is made, and sends further early requests before.
    async fn end(self) -> Result<Arc<QuicLink>, ConnectionError> {
        match self {
            Self::InFull(connecting) => Ok(Arc::new(QuicLink::new(connecting.await?))),
            Self::Early(link, accepted, asks) => {
                let _unfinished = Unfinished(&link);
                link.ask_until(accepted, asks).await;
                link.check_connected()?;
                link.completed();
                Ok(Arc::clone(&link))
            }
        }
    }
}

/// Reads what the peer has shown. The owner of the session judges it, by what this node knows at that moment.
fn authenticated(link: Arc<QuicLink>, own: Serial, place: Place) -> Result<Connection, String> {
    match PeerChain::of(link.connection()) {
        Ok(peer) => Ok(Connection::certified(link, Shown { own, peer }, place)),
        Err(error) => {
            let reason = error.to_string();
            link.connection().close((CloseCode::BadCertificate as u32).into(), reason.as_bytes());
            Err(reason)
        }
    }
}

/// What a connection was refused for, if it ended for that.
pub(super) fn refused_for(error: &ConnectionError) -> Option<(Refusal, String)> {
    if let Some(failure) = explain(error) {
        let refusal = match failure.reason {
            TlsReason::NoCommonProtocol | TlsReason::NoCommonKeyExchange | TlsReason::Other(_) => {
                Refusal::Session
            }
            _ => Refusal::Certificate,
        };
        return Some((refusal, failure.to_string()));
    }
    let ConnectionError::ApplicationClosed(close) = error else { return None };
    let refusal = match CloseCode::from_number(close.error_code.into_inner())? {
        CloseCode::BadCertificate => Refusal::Certificate,
        CloseCode::Refused => Refusal::Busy,
        _ => return None,
    };
    Some((refusal, describe(error.clone())))
}
