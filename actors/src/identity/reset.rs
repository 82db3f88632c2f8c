//! The key by which a node that was restarted tells its peers that it knows nothing of their connections.

use super::Identity;
use quinn::crypto::{CryptoError, HmacKey};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// HMAC with SHA-256 (RFC 2104).
struct ResetKey([u8; 64]);

impl Identity {
    /// The key of its stateless resets (RFC 9000, section 10.3). It follows from the private key, so that the process
    /// after this one has the same, and peers believe it. A node keeps the one it has begun with: where it was given an
    /// identity with another private key, the peers of the process before have to wait for their silence limit.
    pub(crate) fn reset_key(&self) -> Arc<dyn HmacKey> {
        let mut key = [0; 64];
        let hash =
            Sha256::new().chain_update("actix-swarm stateless reset").chain_update(self.pem.key.as_str());
        key[..32].copy_from_slice(&hash.finalize());
        Arc::new(ResetKey(key))
    }
}

impl ResetKey {
    fn tag(&self, data: &[u8]) -> [u8; 32] {
        let padded = |pad: u8| Sha256::new().chain_update(self.0.map(|byte| byte ^ pad));
        let inner = padded(0x36).chain_update(data).finalize();
        padded(0x5c).chain_update(inner).finalize().into()
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&self.tag(data));
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        if self.tag(data) == signature { Ok(()) } else { Err(CryptoError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s8_the_tag_is_that_of_rfc_4231() {
        let mut key = [0; 64];
        key[..4].copy_from_slice(b"Jefe");
        let tag = ResetKey(key).tag(b"what do ya want for nothing?");
        assert_eq!(tag[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
    }
}
