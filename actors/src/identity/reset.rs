//! The key by which a node that was restarted tells its peers that it knows nothing of their connections.

use super::Identity;
use aws_lc_rs::hmac;
use quinn::crypto::HmacKey;
use sha2::{Digest, Sha256};
use std::sync::Arc;

impl Identity {
    /// The key of its stateless resets (RFC 9000, section 10.3). It follows from the private key, so that the process
    /// after this one has the same, and peers believe it. A node keeps the one it has begun with: where it was given an
    /// identity with another private key, the peers of the process before have to wait for their silence limit.
    pub(crate) fn reset_key(&self) -> Arc<dyn HmacKey> {
        let key =
            Sha256::new().chain_update("actix-swarm stateless reset").chain_update(self.pem.key.as_str());
        Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &key.finalize()))
    }
}
