//! How a bridge reaches the network: its endpoint, and what it shows and believes there.

use crate::{
    identity::{Identity, KeyExchange, Serial},
    transport,
};
use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};
use swarm_protocols::NodeId;
use tokio::sync::watch;

/// Of how many peers the TLS sessions are kept, to be resumed when they are dialled again.
const PEERS_KEPT: usize = 256;

/// The endpoint of a node, with the identity that it has now.
///
/// The TLS sessions that can be resumed lie in the configurations, and these are made anew with every change of the
/// identity, its authorities or its revocation list: no session outlives what it was judged by.
pub(crate) struct Socket {
    endpoint: quinn::Endpoint,
    listening: watch::Sender<Listening>,
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
        let listening = Listening::new(&identity, key_exchange);
        let endpoint = quinn::Endpoint::server(quinn::ServerConfig::clone(&listening.config), address)?;
        let listening = watch::Sender::new(listening);
        Ok(Self { endpoint, listening, identity, key_exchange, dialling: BTreeMap::new() })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    pub(super) fn endpoint(&self) -> quinn::Endpoint {
        self.endpoint.clone()
    }

    /// How it accepts a connection at the moment.
    pub(super) fn listening(&self) -> watch::Receiver<Listening> {
        self.listening.subscribe()
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Shows and judges by another identity in every handshake that begins from now on, and forgets all sessions.
    pub(super) fn set_identity(&mut self, identity: Identity) {
        self.listening.send_replace(Listening::new(&identity, self.key_exchange));
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

/// How a connection is accepted, and which certificate is shown there.
#[derive(Clone)]
pub(super) struct Listening {
    pub(super) config: Arc<quinn::ServerConfig>,
    pub(super) own: Serial,
}

impl Listening {
    fn new(identity: &Identity, key_exchange: KeyExchange) -> Self {
        let mut config = identity.server_config(key_exchange);
        config.transport_config(transport::parameters());
        Self { config: Arc::new(config), own: identity.as_peer().serial.clone() }
    }
}
