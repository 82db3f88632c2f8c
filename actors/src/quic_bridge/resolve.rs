//! From a name to what is exposed under it.

use super::{QuicBridge, Wanted};
use crate::session::{CheckSession, Way};
use actix::{ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture, fut::ready};
use std::{any::Any, net::SocketAddr, sync::Arc};
use swarm_protocols::{MailboxAddress, NodeId, wire::control::Route};

/// Find what is exposed under a name, here or by a connected peer.
#[derive(Message)]
#[rtype(result = "Found")]
pub(crate) struct Resolve {
    pub(crate) address: MailboxAddress,
    pub(crate) peer: Presence,
}

/// What has to be known of a peer for its routes to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// There is a session with it.
    Connected,
    /// It still answers on that session.
    Answering,
}

/// What is known of a name.
pub(crate) enum Found {
    /// A mailbox of this node, and the name of its protocol.
    Here(Arc<dyn Any + Send + Sync>, String),
    /// Routes of a peer: none where it exposes no such name.
    There(Arc<Way>, Vec<Route>),
    /// This node exposes no such name.
    Nothing,
    /// There is no session with the node; where it was the last time, if it was dialled before.
    NotConnected(Option<SocketAddr>),
    /// The node does not answer on its session; where it is dialled again, if it was dialled before.
    Silent(Option<SocketAddr>),
}

impl Handler<Resolve> for QuicBridge {
    type Result = ResponseActFuture<Self, Found>;

    fn handle(&mut self, Resolve { address, peer }: Resolve, _: &mut Self::Context) -> Self::Result {
        let found = self.found(&address);
        if peer == Presence::Connected || !matches!(found, Found::There(..)) {
            return Box::pin(ready(found));
        }
        let answers = self.answers(&address.node).into_actor(self);
        Box::pin(answers.map(move |answers, bridge, context| match answers {
            true => bridge.found(&address),
            // Another session may have taken its place meanwhile.
            false => bridge.found_again(&address, found, context),
        }))
    }
}

/// Find the routes of a peer, if there is a session with it.
#[derive(Message)]
#[rtype(result = "Option<(Arc<Way>, Vec<Route>)>")]
pub(crate) struct RoutesOf(pub(crate) NodeId);

impl Handler<RoutesOf> for QuicBridge {
    type Result = Option<(Arc<Way>, Vec<Route>)>;

    fn handle(&mut self, RoutesOf(peer): RoutesOf, _: &mut Self::Context) -> Self::Result {
        let open = self.open(&peer)?;
        Some((Arc::clone(&open.way), open.routes.values().cloned().collect()))
    }
}

impl QuicBridge {
    /// Whether a node answers on the session that is used with it.
    pub(super) fn answers(&self, node: &NodeId) -> impl Future<Output = bool> + 'static {
        let used = self.used_with(node).filter_map(|session| self.sessions.get(&session));
        let mut open = used.filter(|of| of.open.as_ref().is_some_and(|open| !open.outbound.is_lost()));
        let checked = open.next().map(|session| session.address.send(CheckSession));
        async move {
            match checked {
                Some(checked) => checked.await.unwrap_or(false),
                None => false,
            }
        }
    }

    /// What is found where `former` was, whose session does not answer.
    fn found_again(&mut self, address: &MailboxAddress, former: Found, context: &mut Context<Self>) -> Found {
        let found = self.found(address);
        if let (Found::There(way, _), Found::There(former, _)) = (&found, &former)
            && Arc::ptr_eq(way, former)
        {
            let place = self.known.get(&address.node).copied();
            if let Some(place) = place {
                self.dial_once(Wanted::Node(address.node.clone()), place, None, None, context);
            }
            return Found::Silent(place);
        }
        found
    }

    fn found(&self, address: &MailboxAddress) -> Found {
        if address.node == self.local.node {
            match self.routes.mailbox(&address.name) {
                Some((mailbox, protocol)) => Found::Here(mailbox, protocol),
                None => Found::Nothing,
            }
        } else if let Some(open) = self.open(&address.node) {
            let named = open.routes.values().filter(|route| route.mailbox == address.name);
            Found::There(Arc::clone(&open.way), named.cloned().collect())
        } else {
            Found::NotConnected(self.known.get(&address.node).copied())
        }
    }
}
