//! The receptionist: which names are exposed where, and telling of those that come and go.

use super::QuicBridge;
use crate::subscription::{Event, Feed, Subscribers};
use actix::{Handler, Message, MessageResult};
use std::collections::{BTreeMap, btree_map::Entry};
use swarm_protocols::{MailboxAddress, MailboxName, NodeId, wire::control::Route};

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

/// Which names are exposed: for each node its mailboxes with their protocols, and how many routes offer each of them.
/// What a change costs is in proportion to the routes that it is about, however many there are beside them.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<NodeId, BTreeMap<(MailboxName, String), usize>>);

impl Names {
    /// `node` offers these routes as well; `told` hears of each name that comes by it.
    pub(super) fn add<'a>(
        &mut self,
        node: &NodeId,
        routes: impl IntoIterator<Item = &'a Route>,
        told: &mut Subscribers<NameEvent>,
    ) {
        let mut routes = routes.into_iter().peekable();
        if routes.peek().is_none() {
            return;
        }
        let names = self.0.entry(node.clone()).or_default();
        for Route { mailbox, protocol, .. } in routes {
            let offered = names.entry((mailbox.clone(), protocol.clone())).or_default();
            *offered += 1;
            if *offered == 1 && !told.is_empty() {
                told.tell(&NameEvent::Exposed(exposed(node, mailbox, protocol)));
            }
        }
    }

    /// `node` no longer offers these routes, which it offered; `told` hears of each name that goes by it.
    pub(super) fn remove<'a>(
        &mut self,
        node: &NodeId,
        routes: impl IntoIterator<Item = &'a Route>,
        told: &mut Subscribers<NameEvent>,
    ) {
        let Some(names) = self.0.get_mut(node) else { return };
        for Route { mailbox, protocol, .. } in routes {
            let Entry::Occupied(mut offered) = names.entry((mailbox.clone(), protocol.clone())) else {
                continue;
            };
            *offered.get_mut() -= 1;
            if *offered.get() == 0 {
                offered.remove();
                if !told.is_empty() {
                    told.tell(&NameEvent::Withdrawn(exposed(node, mailbox, protocol)));
                }
            }
        }
        if names.is_empty() {
            self.0.remove(node);
        }
    }

    /// By address.
    fn all(&self) -> impl Iterator<Item = ExposedName> {
        let of_node = |(node, names): (&'_ NodeId, _)| {
            let names: &BTreeMap<(MailboxName, String), usize> = names;
            let node = node.clone();
            names.keys().map(move |(mailbox, protocol)| exposed(&node, mailbox, protocol))
        };
        self.0.iter().flat_map(of_node)
    }
}

fn exposed(node: &NodeId, mailbox: &MailboxName, protocol: &str) -> ExposedName {
    let address = MailboxAddress { node: node.clone(), name: mailbox.clone() };
    ExposedName { address, protocol: protocol.to_owned() }
}

/// Everything that is exposed here and by the peers.
#[derive(Message)]
#[rtype(result = "Vec<ExposedName>")]
pub(crate) struct AllNames;

impl Handler<AllNames> for QuicBridge {
    type Result = MessageResult<AllNames>;

    fn handle(&mut self, _: AllNames, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.names.all().collect())
    }
}

/// Tell of names that come and go, those that are there first.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Subscribe(pub(crate) Feed<NameEvent>);

impl Handler<Subscribe> for QuicBridge {
    type Result = ();

    fn handle(&mut self, Subscribe(subscriber): Subscribe, _: &mut Self::Context) {
        self.names.all().for_each(|name| subscriber.tell(NameEvent::Exposed(name)));
        self.subscribers.add(subscriber);
    }
}
