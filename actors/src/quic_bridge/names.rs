//! The receptionist: which names are exposed where, and telling of those that come and go.

use super::QuicBridge;
use crate::subscription::{Event, Feed};
use actix::{Handler, Message, MessageResult};
use std::collections::BTreeSet;
use swarm_protocols::{MailboxAddress, NodeId, wire::control::Route};

/// A mailbox that a node exposes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExposedName {
    /// Where it is, for [`Node::resolve`](crate::Node::resolve).
    pub address: MailboxAddress,
    /// The name of its protocol.
    pub protocol: String,
}

/// A mailbox came or went. Subscribe with [`Node::subscribe`](crate::Node::subscribe).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum NameEvent {
    /// It can be resolved.
    Exposed(ExposedName),
    /// It was taken back, or the session with its node has ended.
    Withdrawn(ExposedName),
}

impl Event for NameEvent {
    type Subject = ExposedName;

    fn begins(&self) -> Option<&ExposedName> {
        if let Self::Exposed(name) = self { Some(name) } else { None }
    }

    fn ends(&self) -> Option<&ExposedName> {
        if let Self::Withdrawn(name) = self { Some(name) } else { None }
    }
}

impl QuicBridge {
    /// Makes a change of what `node` exposes, and tells the subscribers what came and went by it.
    pub(super) fn changing_names<T>(&mut self, node: &NodeId, change: impl FnOnce(&mut Self) -> T) -> T {
        if self.subscribers.is_empty() {
            return change(self);
        }
        let before = self.names_of(node);
        let outcome = change(self);
        let after = self.names_of(node);
        for gone in before.difference(&after) {
            self.subscribers.tell(&NameEvent::Withdrawn(gone.clone()));
        }
        for come in after.difference(&before) {
            self.subscribers.tell(&NameEvent::Exposed(come.clone()));
        }
        outcome
    }

    fn names_of(&self, node: &NodeId) -> BTreeSet<ExposedName> {
        if *node == self.local.node {
            return self.routes.all().iter().map(|route| exposed(node, route)).collect();
        }
        let routes = self.open_sessions(node).flat_map(|open| open.routes.values());
        routes.map(|route| exposed(node, route)).collect()
    }

    fn all_names(&self) -> BTreeSet<ExposedName> {
        let used = self.used().map(|(_, open)| open);
        let theirs = used.flat_map(|open| open.routes.values().map(|route| exposed(&open.peer.node, route)));
        theirs.chain(self.names_of(&self.local.node)).collect()
    }
}

fn exposed(node: &NodeId, route: &Route) -> ExposedName {
    let address = MailboxAddress { node: node.clone(), name: route.mailbox.clone() };
    ExposedName { address, protocol: route.protocol.clone() }
}

/// Everything that is exposed here and by the peers.
#[derive(Message)]
#[rtype(result = "Vec<ExposedName>")]
pub(crate) struct Names;

impl Handler<Names> for QuicBridge {
    type Result = MessageResult<Names>;

    fn handle(&mut self, _: Names, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.all_names().into_iter().collect())
    }
}

/// Tell of names that come and go, those that are there first.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Subscribe(pub(crate) Feed<NameEvent>);

impl Handler<Subscribe> for QuicBridge {
    type Result = ();

    fn handle(&mut self, Subscribe(subscriber): Subscribe, _: &mut Self::Context) {
        self.all_names().into_iter().for_each(|name| subscriber.tell(NameEvent::Exposed(name)));
        self.subscribers.add(subscriber);
    }
}
