//! Who a node is and how it proves that: certificates of a cluster's authority, and mutual TLS over QUIC.
//!
//! There is no way to make a TLS configuration here that leaves out the certificate of either side. The one of
//! [enrolment](crate::enrolment), where the newcomer has none yet, cannot be had from outside of this crate.
//!
//! # The certificate of a node
//! - The only dNSName of the subject alternative name is the [`NodeId`]: one lower-case DNS label. Names of
//!   other kinds (IP address, URI, mail) are ignored.
//! - The subject's only `organizationalUnitName` is the [`Role`] as a word, as in `OU=agent`. It is an
//!   attribute of the subject and not a URI name, because every tool that issues certificates can set it and
//!   every tool shows it. No other attribute of the subject is read; in particular no common name.
//! - Key usage `digitalSignature`, extended key usages `serverAuth` and `clientAuth` (a node is both),
//!   basic constraints `CA:FALSE`.
//! - The serial number is 16 random octets, positive. `notBefore` lies [`CLOCK_SKEW`] in the past.
//! - It is signed by the authority itself, with ECDSA on P-256 and SHA-256. Chains with intermediate
//!   authorities and other keys that rustls takes are accepted when they come from elsewhere.
//!
//! The authority's own certificate names the cluster in `O` and sets itself apart from another authority of
//! the same cluster name by a random `serialNumber` attribute, so that a stranger's certificate is recognized
//! by its issuer and not by a signature that does not match.
//!
//! # The connection
//! TLS 1.3 only, with aws-lc-rs, ALPN [`ALPN`]. X25519MLKEM768 is preferred and X25519 is accepted, unless
//! [`KeyExchange::RequirePostQuantum`]. Certificates are judged in the handshake, so that a refusal reaches the
//! refused node as a TLS alert with a text; [`explain`] makes a [`TlsFailure`] of it on either side. A client
//! learns that the *server* refused only after `connect().await` has succeeded: as a close of the connection.
//!
//! Sessions are resumed: a node that connects again to one it knows is spared the signatures and the chains. A
//! resumed session restores the peer's certificate *without judging it*, so that an expired or revoked one would
//! still get in. Therefore [`PeerIdentity::check`] and [`RevocationList::check`] are to be called on every
//! connection before anything is dispatched, and configurations are to be made anew when authorities or revocation
//! lists change, which forgets all sessions. A [`Node`](crate::Node) does both, judges the chain and the name again
//! as well, and ends a session whose peer's certificate expires or is revoked; a caller who uses the
//! configurations alone has to see to a connection that outlives a certificate.
//!
//! [Early data](EarlyData) is for callers who do the same before they read or send any of it, and to whom it does not
//! matter whether what they read was recorded by others: a [`Node`](crate::Node) serves idempotent requests so.
//!
//! # An authority on disk
//! [`AuthorityFolder`] keeps an authority with a register of what it has issued: what `swarm ca` works on, and
//! what a coordinator can enrol nodes with.
//!
//! # Example
//! ```
//! use std::time::{Duration, SystemTime};
//! use swarm_actors::identity::{Authority, EarlyData, KeyExchange, Validity};
//! use swarm_protocols::Role;
//!
//! let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400))?;
//! let authority = Authority::new("orchard", day)?;
//! let coordinator = authority.issue(&"coordinator-1".parse()?, Role::Coordinator, day)?;
//! let agent = authority.issue(&"agent-1".parse()?, Role::Agent, day)?;
//!
//! let listening = coordinator.server_config(KeyExchange::default(), EarlyData::default());
//! let dialling = agent.client_config(Some(coordinator.id()), KeyExchange::default(), EarlyData::default());
//! # let _ = (listening, dialling);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{fmt, path::Path, sync::Arc, time::Duration, time::SystemTime};

use rustls::{
    CertificateError, InconsistentKeys, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{ParsedCertificate, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use swarm_protocols::{NodeId, Role};

mod authority;
mod authority_folder;
mod failure;
mod files;
mod known;
mod newcomer;
mod peer;
mod renewal_request;
mod request;
mod reset;
mod revocation;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod tls;
mod validity;

use known::Known;

pub use authority::{Authority, AuthorityError, IssuedCertificate};
pub use authority_folder::{
    AuthorityFolder, Certificate, FolderError, InvalidRegister, JoinToken, OnExisting, RENEWALS_MAX,
    Register, Standing, Token, TokenRefusal, TokenState, create_file, private_folder, write_identity,
    write_request,
};
pub use failure::{RefusedBy, TlsFailure, TlsReason, explain};
pub use files::{IdentityError, IdentityFault, IdentityPart, IdentityPaths, IdentityPem, PrivateKeyPem};
pub(crate) use newcomer::newcomer_config;
pub(crate) use peer::PeerChain;
pub use peer::{InvalidCertificate, InvalidSerial, PeerIdentity, Serial};
pub use renewal_request::{InvalidRenewal, RenewalRequest};
pub use request::{InvalidRequest, SigningRequest};
pub use revocation::{RevocationList, Revoked};
pub use tls::{ALPN, EarlyData, KeyExchange, server_name};
pub use validity::{CLOCK_SKEW, InvalidValidity, OutsideValidity, Validity, rfc3339};

/// What a node needs to prove who it is and to judge others: certificate, private key, authority.
///
/// An identity that exists is consistent: the key belongs to the certificate, the authority issued it for
/// servers and clients, and it names a node and a role. It may have expired; see [`Identity::valid_until`].
#[derive(Clone)]
pub struct Identity {
    pem: IdentityPem,
    certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    /// What was verified by these roots.
    known: Arc<Known>,
    revocations: Arc<RevocationList>,
    own: PeerIdentity,
}

impl Identity {
    /// Reads an identity from PEM texts.
    ///
    /// # Errors
    /// Names the text at fault and what is wrong with it.
    pub fn from_pem(pem: IdentityPem) -> Result<Self, IdentityError> {
        let authority = |fault| IdentityError::new(IdentityPart::Authority, fault);
        let roots = Arc::new(roots(&pem.authority).map_err(authority)?);
        let at_certificate = |fault| IdentityError::new(IdentityPart::Certificate, fault);
        let chain = files::certificates(&pem.certificate).map_err(at_certificate)?;
        let certified = Arc::new(certified_key(chain, &pem.key)?);
        let own = judge_own(&certified.cert, &roots).map_err(at_certificate)?;
        Ok(Self { pem, certified, roots, known: Arc::default(), revocations: Arc::default(), own })
    }

    /// The same identity, which refuses what is on this list. Of its former list and this one, the newer one
    /// of each authority holds.
    pub fn with_revocation_list(mut self, list: &RevocationList) -> Self {
        self.revocations = Arc::new(RevocationList::clone(&self.revocations).newest(list));
        self
    }

    /// What it refuses although it has not expired.
    pub fn revocation_list(&self) -> &RevocationList {
        &self.revocations
    }

    /// Reads an identity from its files.
    ///
    /// # Errors
    /// Names the file at fault and what is wrong with it.
    pub fn load(paths: &IdentityPaths) -> Result<Self, IdentityError> {
        let in_files = |error: IdentityError| error.in_files(paths);
        let identity = Self::from_pem(IdentityPem::read(paths)?).map_err(in_files)?;
        match paths.read_revoked()? {
            None => Ok(identity),
            Some(text) => {
                let list = RevocationList::from_pem(&text, &identity.pem.authority).map_err(in_files)?;
                Ok(identity.with_revocation_list(&list))
            }
        }
    }

    /// Reads an identity from a directory with the file names of [`IdentityPaths::in_directory`].
    ///
    /// # Errors
    /// Names the file at fault and what is wrong with it; all four have to be there.
    pub fn load_directory(directory: impl AsRef<Path>) -> Result<Self, IdentityError> {
        Self::load(&IdentityPaths::in_directory(directory.as_ref()))
    }

    /// The PEM texts of it, private key included.
    pub fn to_pem(&self) -> &IdentityPem {
        &self.pem
    }

    /// The id of the node.
    pub fn id(&self) -> &NodeId {
        &self.own.id
    }

    /// The role of the node.
    pub fn role(&self) -> Role {
        self.own.role
    }

    /// When the certificate expires. An expired one loads, so that its holder can say so and renew it.
    pub fn valid_until(&self) -> SystemTime {
        self.own.valid_until
    }

    /// Judges what a peer has shown in a handshake that is over as a handshake would now: the peer's certificate
    /// may have expired or been revoked since, or its authority may have been replaced.
    pub(crate) fn judge(&self, shown: &PeerChain, now: SystemTime) -> Result<(), String> {
        shown.peer.check(now).map_err(|error| error.to_string())?;
        self.revocations.check(&shown.peer).map_err(|error| error.to_string())?;
        let verify = || verify_chain(&shown.chain, &self.roots, unix_time(now));
        self.known.verify(&shown.chain, verify).map_err(|error| match error {
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => format!("its authority is no longer that of the cluster: {error}"),
            error => error.to_string(),
        })
    }

    /// What a peer sees of this node.
    pub fn as_peer(&self) -> &PeerIdentity {
        &self.own
    }
}

/// The SHA-256 digest of the only certificate in a PEM text, as [`Authority::fingerprint`] gives it.
pub(crate) fn authority_fingerprint(pem: &str) -> Result<String, IdentityError> {
    let at_authority = |fault| IdentityError::new(IdentityPart::Authority, fault);
    match files::certificates(pem).map_err(at_authority)?.as_slice() {
        [authority] => Ok(peer::fingerprint(authority)),
        _ => Err(at_authority(peer::malformed("there is more than one").into())),
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("own", &self.own).finish_non_exhaustive()
    }
}

fn roots(authority: &str) -> Result<RootCertStore, IdentityFault> {
    let mut roots = RootCertStore::empty();
    for certificate in files::certificates(authority)? {
        if !peer::is_authority(&certificate).map_err(IdentityFault::Certificate)? {
            return Err(IdentityFault::NotAnAuthority);
        }
        roots.add(certificate).map_err(IdentityFault::Unacceptable)?;
    }
    Ok(roots)
}

fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyPem,
) -> Result<CertifiedKey, IdentityError> {
    let at_key = |fault| IdentityError::new(IdentityPart::Key, fault);
    let key = PrivateKeyDer::from_pem_slice(key.as_str().as_bytes())
        .map_err(|error| at_key(IdentityFault::from(error)))?;
    CertifiedKey::from_der(chain, key, &tls::provider(KeyExchange::default())).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => at_key(IdentityFault::WrongKey),
        rustls::Error::InvalidCertificate(_) => {
            IdentityError::new(IdentityPart::Certificate, IdentityFault::Unacceptable(error))
        }
        error => at_key(IdentityFault::Unacceptable(error)),
    })
}

/// Judges a node's own certificate as its peers will. It is judged as of its first second, because an expired
/// one may be loaded.
fn judge_own(
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
) -> Result<PeerIdentity, IdentityFault> {
    let own = PeerIdentity::from_certificate(chain.first().ok_or(IdentityFault::NothingInIt)?)
        .map_err(IdentityFault::Certificate)?;
    verify_chain(chain, roots, unix_time(own.valid_from)).map_err(|error| match error {
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => IdentityFault::NotIssuedByAuthority,
        error => IdentityFault::Unacceptable(error),
    })?;
    Ok(own)
}

/// Judges a chain of certificates as the handshake does: once as that of a server, once as that of a client.
fn verify_chain(
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    at: UnixTime,
) -> Result<(), rustls::Error> {
    let none = rustls::Error::NoCertificatesPresented;
    let (end_entity, intermediates) = chain.split_first().ok_or(none)?;
    let provider = tls::provider(KeyExchange::default());
    let as_server = ParsedCertificate::try_from(end_entity).and_then(|certificate| {
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, at, algorithms)
    });
    as_server.and_then(|()| verify_client_chain(chain, roots, at))
}

fn verify_client_chain(
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    at: UnixTime,
) -> Result<(), rustls::Error> {
    let (end_entity, intermediates) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
    WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), tls::provider(KeyExchange::default()))
        .build()
        .expect("the authority file held at least one certificate, and no revocation list was given")
        .verify_client_cert(end_entity, intermediates, at)
        .map(|_| ())
}

fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO))
}
