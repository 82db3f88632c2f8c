//! What is exposed where.

use super::Node;
use crate::quic_bridge;
use actix::{Message, Recipient};
use swarm_protocols::MailboxAddress;

/// A mailbox that a node exposes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExposedName {
    /// Where it is, for [`Node::resolve`].
    pub address: MailboxAddress,
    /// The name of its protocol.
    pub protocol: String,
}

/// A mailbox came or went. Subscribe with [`Node::subscribe`].
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum NameEvent {
    /// It can be resolved.
    Exposed(ExposedName),
    /// It was taken back, or the session with its node has ended.
    Withdrawn(ExposedName),
}

impl Node {
    /// Everything that is exposed by this node and by the peers with which it has a session, by
    /// address; empty once the node has stopped. Whether this node may call it is the other's to say.
    pub async fn names(&self) -> Vec<ExposedName> {
        self.bridge.send(quic_bridge::Names).await.unwrap_or_default()
    }

    /// Tells `subscriber` of every mailbox that comes or goes, here and at the peers, and first of
    /// those that are there. A mailbox comes after [`PeerEvent::Up`](super::PeerEvent::Up) of its
    /// node and goes before [`PeerEvent::Down`](super::PeerEvent::Down).
    pub fn subscribe(&self, subscriber: Recipient<NameEvent>) {
        self.bridge.do_send(quic_bridge::Subscribe(subscriber));
    }
}
