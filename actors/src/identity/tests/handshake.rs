//! What both sides of a connection come to know, over real sockets. Every kind of wrong certificate is in the table
//! of refusals, with the tests of nodes.

use super::*;
use quinn::{
    Endpoint,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// What each side of one connection saw.
pub(super) struct Met {
    pub(super) client: Result<PeerIdentity, TlsFailure>,
    pub(super) server: Result<PeerIdentity, TlsFailure>,
    /// Whether the client took itself for connected, before it possibly learnt otherwise.
    pub(super) client_connected: bool,
}

/// Lets two endpoints meet. The server sends one octet to tell the client that it was let in; a client that
/// holds it closes the connection.
pub(super) async fn meet(server: quinn::ServerConfig, client: quinn::ClientConfig) -> Met {
    let server = Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
    let client_end = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.local_addr().unwrap();
    let failure = |error| explain(&error).unwrap_or_else(|| panic!("not a matter of TLS: {error}"));

    let serve = async {
        let connection = server.accept().await.unwrap().await.map_err(failure)?;
        connection.open_uni().await.map_err(failure)?.write_all(b"!").await.unwrap();
        let end = connection.closed().await;
        assert!(matches!(end, quinn::ConnectionError::ApplicationClosed(_)), "{end}");
        Ok(PeerIdentity::of(&connection).unwrap())
    };
    let dial = async {
        let connecting = client_end.connect_with(client, address, server_name(None)).unwrap();
        let connecting = connecting.into_0rtt().err().expect("there is no early data");
        let connection = match connecting.await {
            Ok(connection) => connection,
            Err(error) => return (Err(failure(error)), false),
        };
        let peer = match connection.accept_uni().await {
            Ok(_) => Ok(PeerIdentity::of(&connection).unwrap()),
            Err(error) => Err(failure(error)),
        };
        connection.close(0u32.into(), b"");
        (peer, true)
    };
    let both = async { tokio::join!(serve, dial) };
    let (server, (client, client_connected)) =
        tokio::time::timeout(PATIENCE, both).await.expect("both sides come to an end");
    Met { client, server, client_connected }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl Met {
    /// Checks that one side refused the other, and that both know the reason.
    fn refused(&self, case: &str, by: Side, reason: TlsReason, detail: &str) {
        let (refusing, refused) = match by {
            Side::Client => (&self.client, &self.server),
            Side::Server => (&self.server, &self.client),
        };
        for (seen, expected_by) in [(refusing, RefusedBy::ThisNode), (refused, RefusedBy::Peer)] {
            let failure = seen.as_ref().expect_err(case);
            assert_eq!((failure.by, failure.reason), (expected_by, reason), "{case}: {failure}");
            assert!(failure.detail.contains(detail), "{case}: {failure}");
        }
    }
}

fn certificate_of(authority: &Authority, params: &CertificateParams) -> Identity {
    unchecked(authority.sign(params).unwrap())
}

fn server(identity: &Identity) -> quinn::ServerConfig {
    identity.server_config(KeyExchange::default(), EarlyData::default())
}

fn client(identity: &Identity, expected: Option<&str>) -> quinn::ClientConfig {
    identity.client_config(expected.map(node).as_ref(), KeyExchange::default(), EarlyData::default())
}

#[tokio::test]
async fn two_nodes_of_a_cluster_know_each_other() {
    let authority = authority();
    let coordinator = authority.issue(&node("coordinator-1"), Role::Coordinator, today()).unwrap();
    let agent = authority.issue(&node("agent-1"), Role::Agent, today()).unwrap();
    // Twice with the same configurations: the second meeting resumes the first, and shows the same.
    let (listening, any) = (server(&coordinator), client(&agent, None));
    for dialling in [any.clone(), any, client(&agent, Some("coordinator-1"))] {
        let met = meet(listening.clone(), dialling).await;
        assert_eq!(met.client.as_ref(), Ok(coordinator.as_peer()));
        assert_eq!(met.server.as_ref(), Ok(agent.as_peer()));
        assert_eq!(met.client.unwrap().check(now()), Ok(()));
    }
}

#[tokio::test]
async fn a_server_of_another_name_than_the_expected_one_is_refused() {
    let authority = authority();
    let agent = authority.issue(&node("agent-1"), Role::Agent, today()).unwrap();
    let operator = authority.issue(&node("operator-1"), Role::Operator, today()).unwrap();
    for other in ["agent-2", "agent", "operator-1"] {
        let met = meet(server(&agent), client(&operator, Some(other))).await;
        met.refused(other, Side::Client, TlsReason::WrongNode, "agent-1");
    }

    // Names that an ordinary comparison takes for the expected one, and yet no node has.
    for names in [&["AGENT-1"][..], &["agent-1", "agent-2"]] {
        let mut params = agent_params(today());
        params.subject_alt_names = names.iter().map(|name| dns(name)).collect();
        let met =
            meet(server(&certificate_of(&authority, &params)), client(&operator, Some("agent-1"))).await;
        met.refused(names[0], Side::Client, TlsReason::NotANode, "dNSName");
    }
}

#[tokio::test]
async fn both_sides_must_name_the_protocol() {
    let authority = authority();
    let agent = authority.issue(&node("agent-1"), Role::Agent, today()).unwrap();
    for other in [vec![], vec![b"actix-swarm/2".to_vec()], vec![b"h3".to_vec()]] {
        let mut dialling = agent.tls_client(None, tls::provider(KeyExchange::default()));
        dialling.alpn_protocols.clone_from(&other);
        let dialling = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(dialling).unwrap()));
        let met = meet(server(&agent), dialling).await;
        met.refused("client", Side::Server, TlsReason::NoCommonProtocol, "");
        assert!(!met.client_connected);

        let mut listening = agent.tls_server(tls::provider(KeyExchange::default()));
        listening.alpn_protocols.clone_from(&other);
        let listening =
            quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(listening).unwrap()));
        let met = meet(listening, client(&agent, None)).await;
        met.refused("server", Side::Server, TlsReason::NoCommonProtocol, "");
    }
}

#[test]
fn a_text_of_a_peer_is_cut_and_stripped() {
    let close = quinn::ConnectionClose {
        error_code: quinn::TransportErrorCode::crypto(48),
        frame_type: None,
        reason: ["\u{1b}[31m\n".as_bytes(), &[0xff], &[b'x'; 1000]].concat().into(),
    };
    let failure = explain(&quinn::ConnectionError::ConnectionClosed(close)).unwrap();
    assert!(
        failure.detail.starts_with("\u{fffd}[31m\u{fffd}\u{fffd}xxx")
            && failure.detail.chars().count() == 300
    );
    assert!(failure.to_string().starts_with("the peer refused this node: the certificate was not issued by"));
    assert_eq!(explain(&quinn::ConnectionError::TimedOut), None);
    let other = quinn::ConnectionClose {
        error_code: quinn::TransportErrorCode::PROTOCOL_VIOLATION,
        frame_type: None,
        reason: "".into(),
    };
    assert_eq!(explain(&quinn::ConnectionError::ConnectionClosed(other)), None);
}
