//! TLS configurations of a node, and how it judges the certificate of a peer in the handshake.

use std::{fmt, sync::Arc};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    CertificateError, DistinguishedName, OtherError, RootCertStore,
    client::{
        Resumption,
        danger::{ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms,
        aws_lc_rs::{self, kx_group},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, ServerSessionMemoryCache, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::SingleCertAndKey,
};
use swarm_protocols::NodeId;

use super::{Identity, InvalidCertificate, PeerIdentity, RevocationList, known::Known};

/// The application protocol that both sides must name (RFC 7301).
pub const ALPN: &[u8] = b"actix-swarm/1";

/// How many sessions a server remembers for peers that come again; the oldest is forgotten first.
pub(super) const SESSIONS_KEPT: usize = 1024;

/// How many tickets a client keeps of one server: as many as rustls does at the least.
const TICKETS_KEPT: usize = 8;

/// Which key exchange a node agrees to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyExchange {
    /// X25519MLKEM768 with every peer that has it, X25519 with others.
    #[default]
    PreferPostQuantum,
    /// X25519MLKEM768 or no connection: what is recorded today stays unread by a quantum computer.
    RequirePostQuantum,
}

/// Whether anything may go over a resumed connection before its handshake is complete. It may be recorded and sent again
/// by others, so it takes an acceptor that serves nothing but what may be done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyData {
    /// Nothing is accepted, and nothing sent.
    #[default]
    Refused,
    /// An acceptor invites its peers to send some, and a dialler may.
    Allowed,
}

/// The name to hand to quinn's `connect`: it is never sent, and what the client expects is in its configuration.
pub fn server_name(expected: Option<&NodeId>) -> &str {
    expected.map_or("any-node", NodeId::as_str)
}

impl Identity {
    /// How this node accepts connections. The transport parameters are those of quinn and left to the caller.
    ///
    /// Peers may resume the sessions that were begun with this value or a clone of it, and no others: with a new
    /// value everything is forgotten.
    pub fn server_config(&self, key_exchange: KeyExchange, early_data: EarlyData) -> quinn::ServerConfig {
        let mut config = self.tls_server(provider(key_exchange));
        config.max_early_data_size = match early_data {
            EarlyData::Refused => 0,
            // The only other value that QUIC knows; it bounds it by its windows.
            EarlyData::Allowed => u32::MAX,
        };
        let config = QuicServerConfig::try_from(config);
        quinn::ServerConfig::with_crypto(Arc::new(config.expect(INITIAL_SUITE)))
    }

    /// How this node connects to the node `expected`, or to any node of the cluster when it is `None`: then the
    /// caller must look at the [`PeerIdentity`] that it got, its role in particular, for every node of the
    /// cluster may be there. The transport parameters are those of quinn and left to the caller.
    ///
    /// It resumes the sessions that were begun with this value or a clone of it, and no others: those of another
    /// identity, authority, revocation list or expected node are never taken up.
    pub fn client_config(
        &self,
        expected: Option<&NodeId>,
        key_exchange: KeyExchange,
        early_data: EarlyData,
    ) -> quinn::ClientConfig {
        let mut config = self.tls_client(expected, provider(key_exchange));
        config.enable_early_data = early_data == EarlyData::Allowed;
        let config = QuicClientConfig::try_from(config);
        quinn::ClientConfig::new(Arc::new(config.expect(INITIAL_SUITE)))
    }

    pub(crate) fn tls_server(&self, provider: Arc<CryptoProvider>) -> rustls::ServerConfig {
        let algorithms = provider.signature_verification_algorithms;
        let chain =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&provider))
                .build()
                .expect("an identity has an authority, and no revocation list was given");
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect(TLS13)
            .with_client_cert_verifier(Arc::new(ClientJudge {
                chain,
                algorithms,
                revocations: Arc::clone(&self.revocations),
                known: Arc::clone(&self.known),
            }))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.certified))));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Kept here and not in the ticket: what is kept here can be forgotten, and is taken up once, so that early data
        // which somebody recorded is not taken up again. A node has one session with another, so one ticket is enough.
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_KEPT);
        config.send_tls13_tickets = 1;
        config
    }

    pub(crate) fn tls_client(
        &self,
        expected: Option<&NodeId>,
        provider: Arc<CryptoProvider>,
    ) -> rustls::ClientConfig {
        let judge = ServerJudge {
            roots: Arc::clone(&self.roots),
            expected: expected.map(|id| {
                ServerName::try_from(id.as_str().to_owned()).expect("a node id is a DNS label, so a DNS name")
            }),
            algorithms: provider.signature_verification_algorithms,
            revocations: Arc::clone(&self.revocations),
            known: Arc::clone(&self.known),
        };
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect(TLS13)
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.certified))));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // The store is of this configuration alone, and so of one expected name and one view of who is trusted.
        config.resumption = Resumption::in_memory_sessions(TICKETS_KEPT);
        // A server has one certificate only, and the id of a node is nothing to send in the clear.
        config.enable_sni = false;
        config
    }
}

const TLS13: &str = "aws-lc-rs has cipher suites and key exchange groups for TLS 1.3";
const INITIAL_SUITE: &str = "aws-lc-rs has TLS13_AES_128_GCM_SHA256, which QUIC begins with";

/// The algorithms of a node. It is made here and never taken from the process-wide default, which any other
/// library in the process may have set.
pub(crate) fn provider(key_exchange: KeyExchange) -> Arc<CryptoProvider> {
    let kx_groups = match key_exchange {
        KeyExchange::PreferPostQuantum => vec![kx_group::X25519MLKEM768, kx_group::X25519],
        KeyExchange::RequirePostQuantum => vec![kx_group::X25519MLKEM768],
    };
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

/// What every judge of a peer's certificate does alike, by its field `algorithms`: signatures are those of TLS 1.3.
macro_rules! tls13_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Err(rustls::PeerIncompatible::Tls13RequiredForQuic.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

pub(crate) use tls13_signatures;

/// Judges the certificate of a server: chain, dates and purpose, then the name, then id and role, then revocation.
#[derive(Debug)]
struct ServerJudge {
    roots: Arc<RootCertStore>,
    expected: Option<ServerName<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    revocations: Arc<RevocationList>,
    known: Arc<Known>,
}

impl ServerCertVerifier for ServerJudge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity).map_err(unreadable_apart)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)
            .map_err(unreadable_apart)?;
        if let Some(expected) = &self.expected {
            verify_server_name(&certificate, expected)?;
        }
        names_a_node(end_entity, &self.revocations)?;
        self.known.note(end_entity, intermediates);
        Ok(ServerCertVerified::assertion())
    }

    tls13_signatures!();
}

/// Judges the certificate of a client: chain, dates and purpose, then id and role, then revocation.
#[derive(Debug)]
struct ClientJudge {
    chain: Arc<dyn ClientCertVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
    revocations: Arc<RevocationList>,
    known: Arc<Known>,
}

impl ClientCertVerifier for ClientJudge {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified =
            self.chain.verify_client_cert(end_entity, intermediates, now).map_err(unreadable_apart)?;
        names_a_node(end_entity, &self.revocations)?;
        self.known.note(end_entity, intermediates);
        Ok(verified)
    }

    tls13_signatures!();
}

/// Refuses a certificate that does not name one node and one role, or is not for both ends of a connection: it is
/// signed by the authority, and yet no identity. The alert is `certificate_unknown`, "some other issue" (RFC 8446, section 6.2). Refuses one that
/// its authority has revoked, too. webpki could read revocation lists itself; but then the handshake and a
/// session that is under way would be judged by different code.
fn names_a_node(certificate: &CertificateDer<'_>, revocations: &RevocationList) -> Result<(), rustls::Error> {
    let peer = PeerIdentity::from_certificate(certificate).map_err(not_a_node)?;
    revocations.check(&peer).map_err(|_| CertificateError::Revoked.into())
}

/// rustls answers an unreadable certificate and one for another name with the same alert, `bad_certificate`.
/// The first is moved to `certificate_unknown`, so that the alert alone tells a node that it was not the one
/// expected.
fn unreadable_apart(error: rustls::Error) -> rustls::Error {
    match error {
        rustls::Error::InvalidCertificate(
            cause @ (CertificateError::BadEncoding | CertificateError::UnhandledCriticalExtension),
        ) => not_a_node(InvalidCertificate::Malformed(cause.to_string())),
        error => error,
    }
}

fn not_a_node(cause: InvalidCertificate) -> rustls::Error {
    if cause == InvalidCertificate::Purpose {
        return CertificateError::InvalidPurpose.into();
    }
    CertificateError::Other(OtherError(Arc::new(InWords(cause)))).into()
}

/// rustls writes such a cause with `Debug` into the text that the peer gets; here that is its sentence.
#[derive(thiserror::Error)]
#[error("{0}")]
struct InWords(InvalidCertificate);

impl fmt::Debug for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
