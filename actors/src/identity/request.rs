//! A request for a certificate: how a node gets one for a key that never leaves its machine.

use std::fmt;

use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SubjectPublicKeyInfo,
};
use rustls::pki_types::{
    CertificateSigningRequestDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use sha2::{Digest, Sha256};
use swarm_protocols::NodeId;
use x509_parser::{
    certification_request::X509CertificationRequest, extensions::ParsedExtension, prelude::FromDer,
};
use zeroize::Zeroizing;

use super::{
    AuthorityError, IdentityError, IdentityPart, InvalidCertificate, PrivateKeyPem,
    authority::new_key,
    peer::{hex, malformed, only_node_id},
};

/// A PKCS #10 signing request (RFC 2986) that its maker has signed with the key that it is for.
///
/// It says which node it is for, by the only dNSName, and holds the public key: ECDSA on P-256. Whatever else
/// it asks for is ignored, the role above all.
#[derive(Clone)]
pub struct SigningRequest {
    id: NodeId,
    public_key: SubjectPublicKeyInfo,
    pem: String,
}

/// Why a text is no signing request.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRequest {
    /// It is not PEM.
    #[error("it is not PEM: {0}")]
    NotPem(pem::Error),
    /// There is none in it.
    #[error("there is no signing request in it")]
    NothingInIt,
    /// It cannot be read, or does not name exactly one node.
    #[error(transparent)]
    Content(#[from] InvalidCertificate),
    /// Its maker does not have the key that it is for, or it was changed.
    #[error("its signature does not match its key")]
    BadSignature,
    /// The key is of a kind that the authority does not certify.
    #[error("its key is not one for ECDSA on P-256")]
    UnsuitableKey,
}

impl SigningRequest {
    /// Makes a key and the request for its certificate.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(id: &NodeId) -> Result<(PrivateKeyPem, Self), AuthorityError> {
        let key = new_key()?;
        Ok((PrivateKeyPem::new(key.serialize_pem()), Self::of_key(id, &key)?))
    }

    /// Makes a request for another certificate of a key that is there already.
    ///
    /// # Errors
    /// When the key cannot be read, or is of another kind.
    pub fn with_key(id: &NodeId, key: &PrivateKeyPem) -> Result<Self, AuthorityError> {
        let der = PrivateKeyDer::from_pem_slice(key.as_str().as_bytes())
            .map(Zeroizing::new)
            .map_err(|error| IdentityError::new(IdentityPart::Key, error.into()))?;
        Self::of_key(id, &Zeroizing::new(KeyPair::try_from(&*der)?))
    }

    fn of_key(id: &NodeId, key: &KeyPair) -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::DnsName(id.as_str().try_into()?)];
        let pem = params.serialize_request(key)?.pem()?;
        let public_key = SubjectPublicKeyInfo::from_der(&key.subject_public_key_info())?;
        Ok(Self { id: id.clone(), public_key, pem })
    }

    /// Reads a request and checks its signature: who made it has the key.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn from_pem(text: &str) -> Result<Self, InvalidRequest> {
        let der =
            CertificateSigningRequestDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
                pem::Error::NoItemsFound => InvalidRequest::NothingInIt,
                error => InvalidRequest::NotPem(error),
            })?;
        let (rest, request) = X509CertificationRequest::from_der(&der).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(malformed("octets follow it").into());
        }
        let public_key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
            .ok()
            .filter(|key| key.algorithm() == &PKCS_ECDSA_P256_SHA256)
            .ok_or(InvalidRequest::UnsuitableKey)?;
        request.verify_signature().map_err(|_| InvalidRequest::BadSignature)?;
        let names = request.requested_extensions().into_iter().flatten().find_map(|extension| {
            if let ParsedExtension::SubjectAlternativeName(names) = extension { Some(names) } else { None }
        });
        let id = only_node_id(names.map_or(&[][..], |names| &names.general_names))?;
        Ok(Self { id, public_key, pem: text.to_owned() })
    }

    /// The node that it is for.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// The PEM text of it, for everyone.
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn public_key(&self) -> &SubjectPublicKeyInfo {
        &self.public_key
    }

    /// The SHA-256 digest of the key, by which a request is recognized that is made once more.
    pub(super) fn key_digest(&self) -> String {
        hex(&Sha256::digest(self.public_key.subject_public_key_info()))
    }
}

impl fmt::Debug for SigningRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningRequest").field("id", &self.id).finish_non_exhaustive()
    }
}
