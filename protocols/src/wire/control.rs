//! The bodies of the frames on the control stream.

use crate::{MailboxName, NodeId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The versions of the wire that this crate speaks, lowest and highest.
pub const WIRE_VERSIONS: (u16, u16) = (1, 1);

/// The ALPN protocol id of version 1.
pub const ALPN: &[u8] = b"actix-swarm/1";

/// The most capabilities a node may name, and the longest one in bytes.
pub const CAPABILITIES_MAX: (usize, usize) = (64, 128);

/// The most routes a node may announce on one session: as many as fit into a control frame whatever
/// their names.
pub const ROUTES_MAX: usize = 2048;

/// What a node says of itself at the beginning of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its id; must be the one in its certificate.
    pub node: NodeId,
    /// A number that no other process of the node has; it has no order.
    pub incarnation: u64,
    /// The lowest and the highest version of the wire that it speaks.
    pub wire_versions: (u16, u16),
    /// The codecs it speaks, preferred first.
    pub codecs: Vec<u8>,
    /// What kind of agent it is; a free word such as `pattern-matcher`, empty for none.
    pub agent_type: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// What it accepts.
    pub limits: Limits,
    /// The requests it takes.
    pub routes: Vec<Route>,
}

/// What a node accepts from its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The longest payload of a request or an answer, in bytes.
    pub message_bytes: u64,
    /// The most requests in flight on the session towards it.
    pub in_flight: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: crate::wire::codec::MESSAGE_BYTES_MAX as u64, in_flight: 4096 }
    }
}

/// One request that one mailbox takes, under the number that request frames carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The number; never given to another route in the same session.
    pub id: u32,
    /// The name of the mailbox.
    pub mailbox: MailboxName,
    /// The protocol of the mailbox.
    pub protocol: String,
    /// The name of the request.
    pub request: String,
    /// The version of the request.
    pub version: u16,
}

/// The acceptor's answer: the session exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The id of the session.
    pub session: Uuid,
    /// The version of the wire that both use.
    pub wire_version: u16,
    /// The codec that both use.
    pub codec: u8,
    /// What the acceptor says of itself.
    pub hello: Hello,
}

/// Why an acceptor takes no session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// The cause, to branch on.
    pub cause: RefuseCause,
    /// The same for people.
    pub reason: String,
}

/// The cause of a [`Refuse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefuseCause {
    /// The id in the hello is not the one in the certificate.
    WrongIdentity,
    /// No common version of the wire or no common codec.
    Incompatible,
    /// A session of the same id is open and answers, or is with the same process.
    AlreadyConnected,
    /// The hello breaks a rule of the specification.
    Malformed,
    /// The acceptor has as many sessions as it takes, or is about to stop.
    Unavailable,
}

/// A change of the routes announced in the hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteChange {
    /// Routes that can be used from now on.
    pub added: Vec<Route>,
    /// Ids that will be answered with "not exposed" from now on.
    pub removed: Vec<u32>,
}

/// A frame of the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// The dialler speaks first.
    Hello(Hello),
    /// The acceptor agrees.
    Welcome(Welcome),
    /// The acceptor does not agree.
    Refuse(Refuse),
    /// Routes came or went.
    Routes(RouteChange),
    /// Are you there?
    Ping(u64),
    /// I am: the number of the ping.
    Pong(u64),
    /// The sender takes no new requests, finishes those it has and then closes.
    Drain,
}
