//! What a node shows to have its certificate renewed.

use swarm_protocols::{NodeId, certificates::PEM_BYTES_MAX};

use super::{
    IdentityFault, InvalidRequest, PeerChain, PeerIdentity, SigningRequest,
    files::certificates,
    peer::{malformed, public_key},
};
use rcgen::PublicKeyData;
use rustls::pki_types::CertificateDer;

/// A certificate and a signing request that was signed with its key, for the same node: who made it holds that
/// certificate. Whether the certificate is worth anything is for its authority to say.
#[derive(Debug, Clone)]
pub struct RenewalRequest {
    held: PeerChain,
    request: SigningRequest,
}

/// Why two texts do not ask for a renewal.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRenewal {
    /// One of them is longer than any certificate or request.
    #[error("a certificate and a signing request of up to {PEM_BYTES_MAX} bytes each are expected")]
    TooLong,
    /// The certificate cannot be read, or is not that of a node.
    #[error("the certificate: {0}")]
    Certificate(IdentityFault),
    /// The request cannot be read, or its signature does not match.
    #[error("the signing request: {0}")]
    Request(#[from] InvalidRequest),
    /// The request is for another node.
    #[error("the certificate is that of {held}, the signing request for {asked}")]
    OtherNode {
        /// The node in the certificate.
        held: NodeId,
        /// The node in the request.
        asked: NodeId,
    },
    /// The request was signed with another key.
    #[error("the signing request is not signed with the key of the certificate")]
    OtherKey,
}

impl RenewalRequest {
    /// Reads a certificate and a request, and checks that one key belongs to both.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn from_pem(certificate: &str, request: &str) -> Result<Self, InvalidRenewal> {
        if certificate.len() > PEM_BYTES_MAX || request.len() > PEM_BYTES_MAX {
            return Err(InvalidRenewal::TooLong);
        }
        let chain = certificates(certificate).map_err(InvalidRenewal::Certificate)?;
        let [held] = chain.as_slice() else {
            let several = malformed("there is more than one");
            return Err(InvalidRenewal::Certificate(several.into()));
        };
        let read = |error| InvalidRenewal::Certificate(IdentityFault::Certificate(error));
        let peer = PeerIdentity::from_certificate(held).map_err(read)?;
        let key = public_key(held).map_err(read)?;
        let request = SigningRequest::from_pem(request)?;
        if peer.id != *request.id() {
            return Err(InvalidRenewal::OtherNode { held: peer.id, asked: request.id().clone() });
        }
        if key != request.public_key().subject_public_key_info() {
            return Err(InvalidRenewal::OtherKey);
        }
        Ok(Self { held: PeerChain { chain, peer }, request })
    }

    /// What the certificate says.
    pub fn holder(&self) -> &PeerIdentity {
        &self.held.peer
    }

    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.held.chain
    }

    pub(super) fn signing(&self) -> &SigningRequest {
        &self.request
    }
}
