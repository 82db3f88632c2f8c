//! Connecting to other nodes.

use super::{Node, Peer};
use crate::quic_bridge;
use std::{fmt, net::SocketAddr, time::Duration};
use swarm_protocols::{NodeId, Role};

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

/// What a session was refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The certificate of one side, which the other does not accept.
    Certificate,
    /// Anything else: no common version, another session, no room.
    Session,
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
    #[error("{peer} at {address} did not answer within {after:?}")]
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
    /// This node has stopped.
    #[error("the node has stopped")]
    NodeStopped,
}

impl Node {
    /// Connects to the node `peer` at `address`. Completes when the peer has accepted the session,
    /// which lets requests flow both ways. Where there is a session with it already, that one is
    /// returned.
    pub async fn connect(&self, peer: NodeId, address: SocketAddr) -> Result<Peer, ConnectError> {
        self.dial(Wanted::Node(peer), address).await
    }

    /// Connects to whatever node of the `role` is at `address`: for one who was told an address and
    /// trusts everyone whom the authority has given that role.
    pub async fn connect_any(&self, role: Role, address: SocketAddr) -> Result<Peer, ConnectError> {
        self.dial(Wanted::Any(role), address).await
    }

    pub(super) async fn dial(&self, wanted: Wanted, address: SocketAddr) -> Result<Peer, ConnectError> {
        let dial = quic_bridge::Dial { wanted, address };
        self.bridge.send(dial).await.unwrap_or(Err(ConnectError::NodeStopped))
    }
}
