//! Connections: accepting them and dialling.

use super::{Attach, QuicBridge, Socket};
use crate::{
    identity::{PeerChain, explain, server_name},
    link::quic::{self, QuicLink},
    node::{ConnectError, Peer},
    session::Side,
    transport,
};
use actix::{ActorFutureExt, Addr, AsyncContext, Handler, Message, ResponseActFuture, WrapFuture};
use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc};
use swarm_protocols::{
    NodeId,
    session::{CloseCode, Timing},
};
use tokio::sync::oneshot;

/// The most connections that may be in their handshake at once; beyond it new ones are refused.
const HANDSHAKES_MAX: u32 = 256;

pub(super) async fn accept(endpoint: quinn::Endpoint, bridge: Addr<QuicBridge>, handshakes: Rc<Cell<u32>>) {
    while let Some(incoming) = endpoint.accept().await {
        if handshakes.get() >= HANDSHAKES_MAX {
            incoming.refuse();
            continue;
        }
        let (bridge, handshakes) = (bridge.clone(), Rc::clone(&handshakes));
        handshakes.set(handshakes.get() + 1);
        actix_rt::spawn(async move {
            let from = incoming.remote_address();
            match handshake(incoming).await {
                Ok((connection, shown)) => {
                    let link = Arc::new(QuicLink(connection));
                    bridge.do_send(Attach::certified(Side::Acceptor, link, shown, None));
                }
                Err(reason) => tracing::warn!(%from, reason, "a connection was refused"),
            }
            handshakes.set(handshakes.get() - 1);
        });
    }
}

async fn handshake(incoming: quinn::Incoming) -> Result<(quinn::Connection, PeerChain), String> {
    let connecting = incoming.accept().map_err(|error| error.to_string())?;
    let connection = tokio::time::timeout(Timing::default().handshake, connecting)
        .await
        .map_err(|_| "the TLS handshake took too long".to_owned())?
        .map_err(|error| explain(&error).map_or_else(|| error.to_string(), |failure| failure.to_string()))?;
    let shown = shown(&connection)?;
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
    pub(crate) peer: NodeId,
    pub(crate) address: SocketAddr,
}

impl Handler<Dial> for QuicBridge {
    type Result = ResponseActFuture<Self, Result<Peer, ConnectError>>;

    fn handle(&mut self, Dial { peer, address }: Dial, context: &mut Self::Context) -> Self::Result {
        self.known.insert(peer.clone(), address);
        if let Some(open) = self.open(&peer) {
            return Box::pin(actix::fut::ready(Ok(open.peer.clone())));
        }
        let Some(socket) = self.socket.clone() else {
            return Box::pin(actix::fut::ready(Err(ConnectError::Unreachable {
                peer,
                address,
                reason: "this node has no endpoint".to_owned(),
            })));
        };
        let (bridge, within) = (context.address(), self.local.timing.handshake);
        let target = peer.clone();
        let dialled = async move {
            let timed_out = ConnectError::TimedOut { peer: target.clone(), address, after: within };
            tokio::time::timeout(within, dial(socket, bridge, target, address))
                .await
                .unwrap_or(Err(timed_out))
        };
        Box::pin(dialled.into_actor(self).map(move |result, bridge, _| {
            result?;
            // Opened is handled before the answer of the session gets here.
            bridge.open(&peer).map(|open| open.peer.clone()).ok_or(ConnectError::Refused {
                peer,
                address,
                reason: "the session ended at once".to_owned(),
            })
        }))
    }
}

async fn dial(
    Socket { endpoint, identity, key_exchange }: Socket,
    bridge: Addr<QuicBridge>,
    peer: NodeId,
    address: SocketAddr,
) -> Result<(), ConnectError> {
    let unreachable = |reason: String| ConnectError::Unreachable { peer: peer.clone(), address, reason };
    let refused = |reason: String| ConnectError::Refused { peer: peer.clone(), address, reason };
    let mut config = identity.client_config(Some(&peer), key_exchange);
    config.transport_config(transport::parameters());
    let connecting = endpoint
        .connect_with(config, address, server_name(Some(&peer)))
        .map_err(|error| unreachable(error.to_string()))?;
    let connection = connecting.await.map_err(|error| match explain(&error) {
        Some(failure) => refused(failure.to_string()),
        None => unreachable(quic::lost(error).to_string()),
    })?;
    let shown = shown(&connection).map_err(refused)?;
    let (opened, open) = oneshot::channel();
    let link = Arc::new(QuicLink(connection.clone()));
    bridge.do_send(Attach::certified(Side::Dialler, link, shown, Some(opened)));
    match open.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => {
            // The acceptor judges the dialler's certificate after the dialler is through with its own
            // part: then the close of the connection says what was wrong.
            let tls = connection.close_reason().as_ref().and_then(explain).map(|failure| failure.to_string());
            Err(refused(tls.unwrap_or(reason)))
        }
        Err(_) => Err(unreachable("the node has stopped".to_owned())),
    }
}
