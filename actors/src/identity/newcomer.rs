//! The connection of a newcomer, which has no certificate yet: the coordinator shows its own, and the newcomer
//! knows the authority by the fingerprint in its join token.
//!
//! This is the only connection on which one side shows no certificate. It has an ALPN id of its own, so that
//! neither a node nor a newcomer can be led to the other's port, and carries nothing but one enrolment.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    CertificateError, RootCertStore,
    client::{
        Resumption,
        danger::{ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{NoServerSessionStorage, ParsedCertificate},
    sign::{CertifiedKey, SingleCertAndKey},
};
use swarm_protocols::{Role, certificates::ENROLMENT_ALPN};

use super::{
    Authority, Identity, IdentityError, IdentityPart, KeyExchange, PeerIdentity,
    files::certificates,
    peer::fingerprint,
    tls::{provider, tls13_signatures},
};

const TLS13: &str = "aws-lc-rs has cipher suites and key exchange groups for TLS 1.3";
const INITIAL_SUITE: &str = "aws-lc-rs has TLS13_AES_128_GCM_SHA256, which QUIC begins with";

impl Identity {
    /// Checks that the certificate was issued by this authority, and not by another one that is trusted as well.
    ///
    /// # Errors
    /// When it was not.
    pub fn issued_by(&self, authority: &Authority) -> Result<(), IdentityError> {
        let mut pem = self.pem.clone();
        pem.authority = authority.certificate_pem().to_owned();
        Identity::from_pem(pem).map(drop)
    }

    /// How this coordinator accepts newcomers to the cluster of `authority`: it shows its certificate and that of
    /// the authority, which they do not have yet. The transport parameters are left to the caller.
    ///
    /// # Errors
    /// When that authority did not issue the certificate.
    pub(crate) fn enrolment_config(
        &self,
        authority: &Authority,
    ) -> Result<quinn::ServerConfig, IdentityError> {
        let at_authority = |fault| IdentityError::new(IdentityPart::Authority, fault);
        self.issued_by(authority)?;
        let mut chain = self.certified.cert.clone();
        chain.extend(certificates(authority.certificate_pem()).map_err(at_authority)?);
        let certified = CertifiedKey::new(chain, Arc::clone(&self.certified.key));
        let mut config = rustls::ServerConfig::builder_with_provider(provider(KeyExchange::default()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect(TLS13)
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![ENROLMENT_ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        let config = QuicServerConfig::try_from(config).expect(INITIAL_SUITE);
        Ok(quinn::ServerConfig::with_crypto(Arc::new(config)))
    }
}

/// How a newcomer connects to any coordinator of the authority with this fingerprint.
pub(crate) fn newcomer_config(authority: &str) -> quinn::ClientConfig {
    let provider = provider(KeyExchange::default());
    let judge = CoordinatorJudge {
        authority: authority.to_owned(),
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect(TLS13)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(judge))
        .with_no_client_auth();
    config.alpn_protocols = vec![ENROLMENT_ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    let config = QuicClientConfig::try_from(config).expect(INITIAL_SUITE);
    quinn::ClientConfig::new(Arc::new(config))
}

/// Judges the certificate of a server: the authority must be among what it shows, and have certified it as a
/// coordinator.
#[derive(Debug)]
struct CoordinatorJudge {
    authority: String,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for CoordinatorJudge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        shown: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = shown.iter().find(|one| fingerprint(one) == self.authority);
        let authority = authority.ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], now, self.algorithms.all)?;
        match PeerIdentity::from_certificate(end_entity) {
            Ok(PeerIdentity { role: Role::Coordinator, .. }) => Ok(ServerCertVerified::assertion()),
            // An agent must not get at tokens.
            _ => Err(CertificateError::NotValidForName.into()),
        }
    }

    tls13_signatures!();
}
