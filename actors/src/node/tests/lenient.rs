//! Peers that share no judgement with a node: they show what they are given, believe everyone, count how often they
//! were shown a certificate in a handshake, and do not wait to be let in.

use super::hostile::{hello, request};
use crate::identity::{ALPN, Identity, KeyExchange, server_name, tls};
use quinn::{
    Connection,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use swarm_protocols::wire::{
    control::{Control, Refuse, RefuseCause},
    frame::{Answered, Frame, FrameReader, STREAM_CONTROL, STREAM_LANE},
};

/// Believes every certificate, and counts them: a handshake that resumes a session shows none.
#[derive(Debug, Default)]
pub(super) struct Believer(AtomicUsize);

impl Believer {
    /// How many handshakes were in full.
    pub(super) fn full(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Every signature is good.
macro_rules! believes_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            unreachable!("QUIC is TLS 1.3")
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            tls::provider(KeyExchange::default()).signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(ServerCertVerified::assertion())
    }

    believes_signatures!();
}

impl ClientCertVerifier for Believer {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(ClientCertVerified::assertion())
    }

    believes_signatures!();
}

/// A client that may resume the sessions it had.
pub(super) struct Client {
    endpoint: quinn::Endpoint,
    config: quinn::ClientConfig,
    believer: Arc<Believer>,
    hello: Vec<u8>,
}

impl Client {
    pub(super) fn new(identity: &Identity) -> Self {
        Self::with(identity, |_| {})
    }

    /// With another store of sessions, or other manners.
    pub(super) fn with(identity: &Identity, change: impl FnOnce(&mut rustls::ClientConfig)) -> Self {
        let mut config = identity.tls_client(None, tls::provider(KeyExchange::default()));
        let believer = Arc::new(Believer::default());
        config.dangerous().set_certificate_verifier(Arc::clone(&believer) as Arc<dyn ServerCertVerifier>);
        config.resumption = Resumption::in_memory_sessions(8);
        change(&mut config);
        let config = QuicClientConfig::try_from(config).unwrap();
        Self {
            endpoint: quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap(),
            config: quinn::ClientConfig::new(Arc::new(config)),
            believer,
            hello: hello(identity.id().as_str()),
        }
    }

    /// Says hello in the name of another.
    pub(super) fn called(self, name: &str) -> Self {
        Self { hello: hello(name), ..self }
    }

    pub(super) fn connecting(&self, address: SocketAddr) -> quinn::Connecting {
        self.endpoint.connect_with(self.config.clone(), address, server_name(None)).unwrap()
    }

    pub(super) async fn connect(&self, address: SocketAddr) -> Result<Connection, quinn::ConnectionError> {
        self.connecting(address).await
    }

    /// How many of its handshakes were in full.
    pub(super) fn full(&self) -> usize {
        self.believer.full()
    }

    /// Says hello and asks at once, whether or not it is let in: the first route that the node has given. Whether
    /// it was served.
    pub(super) async fn push(&self, connection: &Connection) -> bool {
        matches!(self.ask(connection, 0).await, Some(Answered::Reply(_)))
    }

    /// The same with another route, and with the answer, if there was one.
    pub(super) async fn ask(&self, connection: &Connection, route: u32) -> Option<Answered> {
        let (mut control, _welcome) = connection.open_bi().await.ok()?;
        control.write_all(&[&[STREAM_CONTROL], &self.hello[..]].concat()).await.ok()?;
        let (mut lane, mut answer) = connection.open_bi().await.ok()?;
        let asked = [&[STREAM_LANE, 1][..], &request(1, route, &[1, 42])].concat();
        lane.write_all(&asked).await.ok()?;
        let mut reader = FrameReader::new(1 << 10);
        loop {
            if let Some(frame) = reader.next_frame().unwrap() {
                let Frame::Answer { answer, .. } = Frame::decode(frame).unwrap() else { panic!("no answer") };
                return Some(answer);
            }
            reader.feed(answer.read_chunk(usize::MAX, true).await.ok()??.bytes);
        }
    }
}

/// A server that lets its clients resume the sessions they had.
pub(super) struct Server {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) believer: Arc<Believer>,
}

impl Server {
    /// Shows this identity; where `early_data` is not 0, it invites its clients to send some.
    pub(super) fn new(identity: &Identity, early_data: u32) -> Self {
        let (believer, provider) = (Arc::new(Believer::default()), tls::provider(KeyExchange::default()));
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::clone(&believer) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(Arc::clone(&identity.tls_server(provider).cert_resolver));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.max_early_data_size = early_data;
        let config = QuicServerConfig::try_from(config).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(config));
        let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        Self { endpoint, believer }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    /// Answers the hello of one client with a refusal, and tells how the connection ended; `None` for the hello
    /// where there was none.
    pub(super) async fn refuse(&self) -> (Option<()>, quinn::ConnectionError) {
        let connection = match self.endpoint.accept().await.unwrap().await {
            Ok(connection) => connection,
            Err(error) => return (None, error),
        };
        let said = match connection.accept_bi().await {
            Ok((mut send, _hello)) => {
                send.write_all(&refusal()).await.unwrap();
                Some(())
            }
            Err(_) => None,
        };
        (said, connection.closed().await)
    }
}

/// A frame that refuses a session.
pub(super) fn refusal() -> Vec<u8> {
    let (refuse, mut frame) =
        (Refuse { cause: RefuseCause::Unavailable, reason: "not today".to_owned() }, Vec::new());
    Control::Refuse(refuse).encode(&mut frame).unwrap();
    frame
}
