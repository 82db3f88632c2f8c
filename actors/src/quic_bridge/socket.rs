//! How a bridge reaches the network: its endpoint, and what it shows and believes there.

use crate::{
    identity::{Identity, KeyExchange},
    transport,
};
use std::{collections::BTreeMap, io, net::SocketAddr};
use swarm_protocols::NodeId;

/// Of how many peers the TLS sessions are kept, to be resumed when they are dialled again.
const PEERS_KEPT: usize = 256;

/// The endpoint of a node, with the identity that it has now.
///
/// The TLS sessions that can be resumed lie in the configurations, and these are made anew with every change of the
/// identity, its authorities or its revocation list: no session outlives what it was judged by.
pub(crate) struct Socket {
    endpoint: quinn::Endpoint,
    identity: Identity,
    key_exchange: KeyExchange,
    /// How it dials a node, or whichever is there.
    dialling: BTreeMap<Option<NodeId>, quinn::ClientConfig>,
}

impl Socket {
    /// Listens on an address.
    pub(crate) fn listen(
        identity: Identity,
        key_exchange: KeyExchange,
        address: SocketAddr,
    ) -> io::Result<Self> {
        let endpoint = quinn::Endpoint::server(listening(&identity, key_exchange), address)?;
        Ok(Self { endpoint, identity, key_exchange, dialling: BTreeMap::new() })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    pub(super) fn endpoint(&self) -> quinn::Endpoint {
        self.endpoint.clone()
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Shows and judges by another identity in every handshake that begins from now on, and forgets all sessions.
    pub(super) fn set_identity(&mut self, identity: Identity) {
        self.endpoint.set_server_config(Some(listening(&identity, self.key_exchange)));
        self.identity = identity;
        self.dialling.clear();
    }

    /// How to dial the node `expected`, or whichever is there: the same configuration every time, so that a
    /// session with it can be resumed.
    pub(super) fn dialling(&mut self, expected: Option<&NodeId>) -> quinn::ClientConfig {
        if let Some(config) = self.dialling.get(&expected.cloned()) {
            return config.clone();
        }
        if self.dialling.len() >= PEERS_KEPT {
            // It costs full handshakes and nothing else.
            self.dialling.clear();
        }
        let mut config = self.identity.client_config(expected, self.key_exchange);
        config.transport_config(transport::parameters());
        self.dialling.insert(expected.cloned(), config.clone());
        config
    }
}

fn listening(identity: &Identity, key_exchange: KeyExchange) -> quinn::ServerConfig {
    let mut config = identity.server_config(key_exchange);
    config.transport_config(transport::parameters());
    config
}
