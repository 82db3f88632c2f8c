//! From a name to what is exposed under it.

use super::QuicBridge;
use crate::session::Way;
use actix::{Handler, Message, MessageResult};
use std::{any::Any, net::SocketAddr, sync::Arc};
use swarm_protocols::{MailboxAddress, wire::control::Route};

/// Find what is exposed under a name, here or by a connected peer.
#[derive(Message)]
#[rtype(result = "Found")]
pub(crate) struct Resolve {
    pub(crate) address: MailboxAddress,
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
}

impl Handler<Resolve> for QuicBridge {
    type Result = MessageResult<Resolve>;

    fn handle(&mut self, Resolve { address }: Resolve, _: &mut Self::Context) -> Self::Result {
        MessageResult(if address.node == self.local.node {
            match self.routes.mailbox(&address.name) {
                Some((mailbox, protocol)) => Found::Here(mailbox, protocol),
                None => Found::Nothing,
            }
        } else if let Some(open) = self.open(&address.node) {
            let named = open.routes.values().filter(|route| route.mailbox == address.name);
            Found::There(Arc::clone(&open.way), named.cloned().collect())
        } else {
            Found::NotConnected(self.known.get(&address.node).copied())
        })
    }
}
