//! Connections: accepting them and dialling.

use super::{Attach, QuicBridge, Shown, Socket, socket::Listening};
use crate::{
    identity::{PeerChain, Serial, TlsReason, explain, server_name},
    node::{ConnectError, Peer, Refusal, Wanted},
    session::{ConnectionSession, Side},
    transport::quic::{self, QuicLink},
};
use actix::{ActorFutureExt, Addr, AsyncContext, Handler, Message, ResponseActFuture, WrapFuture};
use quinn::ConnectionError;
use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};
use swarm_protocols::{NodeId, session::CloseCode};
use tokio::sync::{oneshot, watch};

/// The most connections that may be in their handshake at once; beyond it new ones are refused.
const HANDSHAKES_MAX: u32 = 256;

pub(super) async fn accept(
    endpoint: quinn::Endpoint,
    listening: watch::Receiver<Listening>,
    bridge: Addr<QuicBridge>,
    within: Duration,
) {
    let handshakes = Rc::new(Cell::new(0_u32));
    while let Some(incoming) = endpoint.accept().await {
        if handshakes.get() >= HANDSHAKES_MAX {
            incoming.refuse();
            continue;
        }
        if handshakes.get() >= HANDSHAKES_MAX / 2
            && !incoming.remote_address_validated()
            && incoming.may_retry()
        {
            // Costs an honest peer one round trip, and one with a forged address everything.
            let _too_late = incoming.retry();
            continue;
        }
        let (bridge, handshakes) = (bridge.clone(), Rc::clone(&handshakes));
        let Listening { config, own } = listening.borrow().clone();
        handshakes.set(handshakes.get() + 1);
        actix_rt::spawn(async move {
            let from = incoming.remote_address();
            match handshake(incoming, config, within).await {
                Ok((connection, peer)) => {
                    let link = Arc::new(QuicLink::new(connection));
                    let shown = Shown { own, peer };
                    bridge.do_send(Attach::certified(Side::Acceptor, link, shown, None));
                }
                Err(Handshake::Refused(reason)) => tracing::warn!(%from, reason, "a connection was refused"),
                Err(Handshake::Abandoned) => tracing::debug!(%from, "this node stopped during a handshake"),
            }
            handshakes.set(handshakes.get() - 1);
        });
    }
}

/// Why an incoming connection became none.
enum Handshake {
    /// One side did not want it.
    Refused(String),
    /// This node stopped.
    Abandoned,
}

async fn handshake(
    incoming: quinn::Incoming,
    config: Arc<quinn::ServerConfig>,
    within: Duration,
) -> Result<(quinn::Connection, PeerChain), Handshake> {
    let refused = |error: quinn::ConnectionError| match error {
        quinn::ConnectionError::LocallyClosed => Handshake::Abandoned,
        error => Handshake::Refused(
            explain(&error).map_or_else(|| error.to_string(), |failure| failure.to_string()),
        ),
    };
    let connecting = incoming.accept_with(config).map_err(refused)?;
    let connection = tokio::time::timeout(within, connecting)
        .await
        .map_err(|_| Handshake::Refused("the TLS handshake took too long".to_owned()))?
        .map_err(refused)?;
    let shown = shown(&connection).map_err(Handshake::Refused)?;
    Ok((connection, shown))
}

/// Reads what the peer has shown. The bridge judges it, by what this node knows at that moment.
fn shown(connection: &quinn::Connection) -> Result<PeerChain, String> {
    PeerChain::of(connection).map_err(|error| {
        let reason = error.to_string();
        connection.close((CloseCode::BadCertificate as u32).into(), reason.as_bytes());
        reason
    })
}

/// Connect to a node.
#[derive(Message)]
#[rtype(result = "Result<Peer, ConnectError>")]
pub(crate) struct Dial {
    pub(crate) wanted: Wanted,
    pub(crate) address: SocketAddr,
}

impl Handler<Dial> for QuicBridge {
    type Result = ResponseActFuture<Self, Result<Peer, ConnectError>>;

    fn handle(&mut self, Dial { wanted, address }: Dial, context: &mut Self::Context) -> Self::Result {
        if self.draining {
            return Box::pin(actix::fut::ready(Err(ConnectError::NodeStopped)));
        }
        if let Wanted::Node(peer) = &wanted {
            self.known.insert(peer.clone(), address);
            if let Some(open) = self.open(peer) {
                return Box::pin(actix::fut::ready(Ok(open.peer.clone())));
            }
        }
        let Some(socket) = &mut self.socket else {
            return Box::pin(actix::fut::ready(Err(ConnectError::Unreachable {
                peer: wanted,
                address,
                reason: "this node has no endpoint".to_owned(),
            })));
        };
        let target = Target::new(socket, wanted.clone(), address);
        let dialled = dial(target, context.address(), self.local.timing.handshake);
        Box::pin(dialled.into_actor(self).map(move |result, bridge, _| {
            let node = result.as_ref().ok().or(wanted.node());
            // Opened is handled before the answer of the session gets here. Where there is no answer,
            // another dial may have been quicker.
            let open = node.and_then(|node| bridge.open(node)).map(|open| open.peer.clone());
            match (open, result) {
                (Some(peer), _) => {
                    bridge.known.insert(peer.node.clone(), address);
                    Ok(peer)
                }
                (None, Err(error)) => Err(error),
                (None, Ok(_)) => Err(ConnectError::Refused {
                    peer: wanted,
                    address,
                    refusal: Refusal::Session,
                    reason: "the session ended at once".to_owned(),
                }),
            }
        }))
    }
}

/// Whom to dial, and how.
pub(super) struct Target {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) config: quinn::ClientConfig,
    /// The certificate that is shown.
    pub(super) own: Serial,
    pub(super) wanted: Wanted,
    pub(super) address: SocketAddr,
    /// The session that the new one is to take over from, and what was shown there.
    pub(super) follows: Option<(Addr<ConnectionSession>, Shown)>,
}

impl Target {
    pub(super) fn new(socket: &mut Socket, wanted: Wanted, address: SocketAddr) -> Self {
        let (endpoint, config) = (socket.endpoint(), socket.dialling(wanted.node()));
        let own = socket.identity().as_peer().serial.clone();
        Self { endpoint, config, own, wanted, address, follows: None }
    }
}

/// Opens a session within the time of a handshake, unless it were to follow another one and neither side has a
/// further certificate to show.
pub(super) async fn dial(
    target: Target,
    bridge: Addr<QuicBridge>,
    within: Duration,
) -> Result<NodeId, ConnectError> {
    let Target { wanted: peer, address, .. } = &target;
    let timed_out = ConnectError::TimedOut { peer: peer.clone(), address: *address, after: within };
    tokio::time::timeout(within, dial_at_leisure(target, bridge)).await.unwrap_or(Err(timed_out))
}

async fn dial_at_leisure(target: Target, bridge: Addr<QuicBridge>) -> Result<NodeId, ConnectError> {
    let Target { endpoint, config, own, wanted, address, follows } = target;
    let unreachable = |reason: String| ConnectError::Unreachable { peer: wanted.clone(), address, reason };
    let refused =
        |(refusal, reason)| ConnectError::Refused { peer: wanted.clone(), address, refusal, reason };
    let connecting = endpoint
        .connect_with(config, address, server_name(wanted.node()))
        .map_err(|error| unreachable(error.to_string()))?;
    let connection = connecting.await.map_err(|error| match refused_for(&error) {
        Some(refusal) => refused(refusal),
        None => unreachable(quic::describe(error)),
    })?;
    let shown = shown(&connection).map_err(|reason| refused((Refusal::Certificate, reason)))?;
    let (node, role) = (shown.peer.id.clone(), shown.peer.role);
    // A handshake that resumed a session has not looked at the name.
    if let Some(expected) = wanted.node().filter(|expected| **expected != node) {
        let reason = format!("the certificate is that of {node}, {expected} was expected");
        connection.close((CloseCode::BadCertificate as u32).into(), reason.as_bytes());
        return Err(refused((Refusal::Certificate, reason)));
    }
    if matches!(wanted, Wanted::Any(wanted) if wanted != role) {
        connection.close((CloseCode::Done as u32).into(), b"another role is looked for");
        return Err(ConnectError::OtherRole { wanted, address, node, role });
    }
    let shown = Shown { own, peer: shown };
    if follows.as_ref().is_some_and(|(_, before)| !before.differs(&shown)) {
        connection.close((CloseCode::Done as u32).into(), b"there is no further certificate");
        return Ok(node);
    }
    let (opened, open) = oneshot::channel();
    let link = Arc::new(QuicLink::new(connection.clone()));
    let follows = follows.map(|(session, _)| session);
    bridge.do_send(Attach { follows, ..Attach::certified(Side::Dialler, link, shown, Some(opened)) });
    match open.await {
        Ok(Ok(())) => Ok(node),
        Ok(Err(ended)) => {
            // The acceptor judges the dialler's certificate after the dialler is through with its own
            // part: then the close of the connection says what was wrong.
            let refusal = connection.close_reason().as_ref().and_then(refused_for);
            Err(refused(refusal.unwrap_or(ended)))
        }
        Err(_) => Err(unreachable("the node has stopped".to_owned())),
    }
}

/// What a connection was refused for, if it ended for that.
fn refused_for(error: &ConnectionError) -> Option<(Refusal, String)> {
    if let Some(failure) = explain(error) {
        let refusal = match failure.reason {
            TlsReason::NoCommonProtocol | TlsReason::NoCommonKeyExchange | TlsReason::Other(_) => {
                Refusal::Session
            }
            _ => Refusal::Certificate,
        };
        return Some((refusal, failure.to_string()));
    }
    let bad_certificate = u64::from(CloseCode::BadCertificate as u32);
    match error {
        ConnectionError::ApplicationClosed(close) if close.error_code.into_inner() == bad_certificate => {
            Some((Refusal::Certificate, quic::describe(error.clone())))
        }
        _ => None,
    }
}
