//! Dialling other nodes.

use super::{Attach, Peer, QuicBridge};
use crate::session::EndSession;
use crate::transport::{Connection, DialError, EarlyAsk, EarlyAsks, Refusal, Shown};
use actix::{ActorFutureExt, Addr, AsyncContext, Handler, Message, ResponseFuture, WrapFuture};
use futures_util::future::{BoxFuture, join_all};
use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};
use swarm_protocols::{
    NodeId, Role,
    peers::{SessionKey, Side},
    session::CloseCode,
    wire::frame::EARLY_STREAMS_MAX,
};
use tokio::sync::{mpsc, oneshot};

/// Who is looked for at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// One node and no other.
    Node(NodeId),
    /// Whichever node of this role is there: its id is learned from its certificate.
    Any(Role),
}

impl Wanted {
    /// The only node that will do, if there is one.
    pub(crate) fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Node(id) => Some(id),
            Self::Any(_) => None,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Node(id) => f.write_str(id.as_str()),
            Wanted::Any(Role::Coordinator) => f.write_str("a coordinator"),
            Wanted::Any(Role::Agent) => f.write_str("an agent"),
            Wanted::Any(Role::Operator) => f.write_str("an operator"),
        }
    }
}

/// Why a node could not be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The name of the host leads to no address.
    #[error("{peer} at {host} cannot be looked up: {reason}")]
    Lookup {
        /// The node that was wanted.
        peer: Wanted,
        /// Host and port as given.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// Nothing that speaks QUIC was found there.
    #[error("{peer} at {address} cannot be reached: {reason}")]
    Unreachable {
        /// The node that was wanted.
        peer: Wanted,
        /// Where it was looked for.
        address: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// There was no session in time.
    #[error("{peer} at {address} did not answer within {after:?}; a node listens on a UDP port")]
    TimedOut {
        /// The node that was wanted.
        peer: Wanted,
        /// Where it was looked for.
        address: SocketAddr,
        /// The time it was given.
        after: Duration,
    },
    /// One side did not want the session.
    #[error("no session with {peer} at {address}: {reason}")]
    Refused {
        /// The node that was wanted.
        peer: Wanted,
        /// Where it was looked for.
        address: SocketAddr,
        /// What it was refused for.
        refusal: Refusal,
        /// What was wrong.
        reason: String,
    },
    /// A node of another role is there.
    #[error("{wanted} was looked for at {address}, there is the {role} {node}")]
    OtherRole {
        /// Who was wanted.
        wanted: Wanted,
        /// Where it was looked for.
        address: SocketAddr,
        /// The node that is there.
        node: NodeId,
        /// Its role.
        role: Role,
    },
    /// Nobody has said where it is: this node was the one that was dialled.
    #[error("there is no session with {0}, and this node has never dialled it")]
    NeverDialled(NodeId),
    /// This node has stopped.
    #[error("the node has stopped")]
    NodeStopped,
}

/// Connect to a node.
#[derive(Message)]
#[rtype(result = "Result<Peer, ConnectError>")]
pub(crate) struct Dial {
    pub(crate) wanted: Wanted,
    pub(crate) address: SocketAddr,
}

/// A connection that is being made, and all who wait for it.
pub(super) struct Dialling {
    wanted: Wanted,
    address: SocketAddr,
    waiting: Vec<oneshot::Sender<Result<Peer, ConnectError>>>,
    /// Takes what is asked meanwhile.
    early: mpsc::Sender<EarlyAsk>,
}

impl Handler<Dial> for QuicBridge {
    type Result = ResponseFuture<Result<Peer, ConnectError>>;

    fn handle(&mut self, Dial { wanted, address }: Dial, context: &mut Self::Context) -> Self::Result {
        if self.peers.is_stopping() {
            return Box::pin(std::future::ready(Err(ConnectError::NodeStopped)));
        }
        if let Some(open) = wanted.node().and_then(|node| self.open(node)) {
            let peer = open.peer.clone();
            if open.outbound.remote().is_some() {
                self.known.insert(peer.node.clone(), address);
            }
            let (answers, bridge) = (self.answers(&peer.node), context.address());
            return Box::pin(async move {
                if answers.await {
                    return Ok(peer);
                }
                bridge.send(DialAgain { wanted, address }).await.unwrap_or(Err(ConnectError::NodeStopped))
            });
        }
        self.dial_and_wait(wanted, address, None, context)
    }
}

/// Connect to a node again with which there was a session before.
#[derive(Message)]
#[rtype(result = "Result<Peer, ConnectError>")]
pub(crate) struct Return {
    pub(crate) node: NodeId,
    /// What to ask in early data.
    pub(crate) early: Option<EarlyAsk>,
}

impl Handler<Return> for QuicBridge {
    type Result = ResponseFuture<Result<Peer, ConnectError>>;

    fn handle(&mut self, Return { node, early }: Return, context: &mut Self::Context) -> Self::Result {
        if self.peers.is_stopping() {
            return Box::pin(std::future::ready(Err(ConnectError::NodeStopped)));
        }
        if let Some(open) = self.open(&node) {
            return Box::pin(std::future::ready(Ok(open.peer.clone())));
        }
        match self.known.get(&node).copied() {
            Some(address) => self.dial_and_wait(Wanted::Node(node), address, early, context),
            None => Box::pin(std::future::ready(Err(ConnectError::NeverDialled(node)))),
        }
    }
}

/// Connect to a node that does not answer on the session that there is with it.
#[derive(Message)]
#[rtype(result = "Result<Peer, ConnectError>")]
struct DialAgain {
    wanted: Wanted,
    address: SocketAddr,
}

impl Handler<DialAgain> for QuicBridge {
    type Result = ResponseFuture<Result<Peer, ConnectError>>;

    fn handle(&mut self, again: DialAgain, context: &mut Self::Context) -> Self::Result {
        self.dial_and_wait(again.wanted, again.address, None, context)
    }
}

/// End the sessions with a node.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Disconnect(pub(crate) NodeId);

impl Handler<Disconnect> for QuicBridge {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Disconnect(node): Disconnect, _: &mut Self::Context) -> Self::Result {
        let used = self.used_with(&node).filter_map(|session| self.sessions.get(&session));
        let end = || EndSession(CloseCode::Done, "it was disconnected".to_owned());
        let ended = join_all(used.map(|session| session.address.send(end())));
        Box::pin(async move {
            // One that is gone has ended.
            let _gone = ended.await;
        })
    }
}

impl QuicBridge {
    fn dial_and_wait(
        &mut self,
        wanted: Wanted,
        address: SocketAddr,
        early: Option<EarlyAsk>,
        context: &mut actix::Context<Self>,
    ) -> ResponseFuture<Result<Peer, ConnectError>> {
        let (answer, answered) = oneshot::channel();
        self.dial_once(wanted, address, Some(answer), early, context);
        Box::pin(async move { answered.await.unwrap_or(Err(ConnectError::NodeStopped)) })
    }

    /// Dials, where nobody dials the same already.
    pub(super) fn dial_once(
        &mut self,
        wanted: Wanted,
        address: SocketAddr,
        waiting: Option<oneshot::Sender<Result<Peer, ConnectError>>>,
        early: Option<EarlyAsk>,
        context: &mut actix::Context<Self>,
    ) {
        let same = |other: &&mut Dialling| (&other.wanted, other.address) == (&wanted, address);
        let give = |to: &mpsc::Sender<_>| {
            // What is not taken waits for the session: beyond the bound, and after the handshake.
            early.map(|early| to.try_send(early));
        };
        match self.dialling.iter_mut().find(same) {
            Some(other) => {
                other.waiting.extend(waiting);
                give(&other.early);
            }
            None => {
                let (waiting, (early, streams)) =
                    (waiting.into_iter().collect(), mpsc::channel(EARLY_STREAMS_MAX));
                give(&early);
                self.dialling.push(Dialling { wanted: wanted.clone(), address, waiting, early });
                self.dial(wanted, address, streams, context);
            }
        }
    }

    fn dial(
        &mut self,
        wanted: Wanted,
        address: SocketAddr,
        early: EarlyAsks,
        context: &mut actix::Context<Self>,
    ) {
        let target = Target {
            connecting: self.transport.dial(wanted.node(), address, Some(early)),
            wanted: wanted.clone(),
            address,
            follows: None,
        };
        let dialled = dial(target, context.address(), self.local.timing.handshake);
        context.spawn(dialled.into_actor(self).map(move |result, bridge, _| {
            let place = match &result {
                Ok(Dialled { remote, .. }) => *remote,
                Err(_) => Some(address),
            };
            let node = result.as_ref().map(|dialled| &dialled.node).ok().or(wanted.node()).cloned();
            if let (Some(node), Some(place)) = (&node, place) {
                bridge.known.insert(node.clone(), place);
            }
            // Where there is no answer, another dial may have been quicker.
            let open = node.and_then(|node| Some(bridge.open(&node)?.peer.clone()));
            let peer = match (open, result) {
                (Some(peer), _) => Ok(peer),
                (None, Err(error)) => Err(error),
                (None, Ok(_)) => Err(ConnectError::Refused {
                    peer: wanted.clone(),
                    address,
                    refusal: Refusal::Session,
                    reason: "the session ended at once".to_owned(),
                }),
            };
            bridge.answer_dial(&wanted, address, &peer);
        }));
    }

    fn answer_dial(&mut self, wanted: &Wanted, address: SocketAddr, peer: &Result<Peer, ConnectError>) {
        let same = |dialling: &mut Dialling| (&dialling.wanted, dialling.address) == (wanted, address);
        for Dialling { waiting, .. } in self.dialling.extract_if(.., same) {
            for waiting in waiting {
                // Whoever waited may have left.
                let _left = waiting.send(peer.clone());
            }
        }
    }
}

/// Whom to dial, and how.
pub(super) struct Target {
    pub(super) connecting: BoxFuture<'static, Result<Connection, DialError>>,
    pub(super) wanted: Wanted,
    pub(super) address: SocketAddr,
    /// The session that the new one is to take over from, and what was shown there.
    pub(super) follows: Option<(SessionKey, Shown)>,
}

/// A node that was dialled.
pub(super) struct Dialled {
    node: NodeId,
    /// Where it is; `None` where that cannot be dialled again.
    remote: Option<SocketAddr>,
}

/// Opens a session within the time of a handshake, unless it were to follow another one and neither side has a
/// renewed certificate to show.
pub(super) async fn dial(
    target: Target,
    bridge: Addr<QuicBridge>,
    within: Duration,
) -> Result<Dialled, ConnectError> {
    let Target { wanted: peer, address, .. } = &target;
    let timed_out = ConnectError::TimedOut { peer: peer.clone(), address: *address, after: within };
    tokio::time::timeout(within, dial_at_leisure(target, bridge)).await.unwrap_or(Err(timed_out))
}

async fn dial_at_leisure(target: Target, bridge: Addr<QuicBridge>) -> Result<Dialled, ConnectError> {
    let Target { connecting, wanted, address, follows } = target;
    let unreachable = |reason| ConnectError::Unreachable { peer: wanted.clone(), address, reason };
    let refused = |refusal, reason| ConnectError::Refused { peer: wanted.clone(), address, refusal, reason };
    let connection = connecting.await.map_err(|error| match error {
        DialError::Unreachable(reason) => unreachable(reason),
        DialError::Refused(refusal, reason) => refused(refusal, reason),
    })?;
    let (link, node, role) =
        (Arc::clone(&connection.link), connection.peer.node.clone(), connection.peer.role);
    // A handshake that resumed a session has not looked at the name.
    if let Some(expected) = wanted.node().filter(|expected| **expected != node) {
        let reason = format!("the certificate is that of {node}, {expected} was expected");
        link.close(CloseCode::BadCertificate, &reason);
        return Err(refused(Refusal::Certificate, reason));
    }
    if let Wanted::Any(other) = wanted
        && other != role
    {
        link.close(CloseCode::Done, "another role is looked for");
        return Err(ConnectError::OtherRole { wanted, address, node, role });
    }
    let dialled = Dialled { node, remote: link.remote() };
    let same = |before: &Shown| connection.shown.as_ref().is_some_and(|now| !before.differs(now));
    if follows.as_ref().is_some_and(|(_, before)| same(before)) {
        link.close(CloseCode::Done, "there is no renewed certificate");
        return Ok(dialled);
    }
    let (opened, open) = oneshot::channel();
    let follows = follows.map(|(session, _)| session);
    bridge.do_send(Attach { side: Side::Dialler, connection, follows, opened: Some(opened) });
    match open.await {
        Ok(Ok(())) => Ok(dialled),
        Ok(Err((refusal, reason))) => Err(refused(refusal, reason)),
        Err(_) => Err(unreachable("the node has stopped".to_owned())),
    }
}
