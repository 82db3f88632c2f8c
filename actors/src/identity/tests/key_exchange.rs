//! Which key exchange two nodes come to, and that they do it anew every time.

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    HandshakeKind, NamedGroup,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs::kx_group},
    quic,
};

use super::{handshake::meet, *};

fn only(group: &'static dyn SupportedKxGroup) -> Arc<CryptoProvider> {
    let ours = tls::provider(KeyExchange::default());
    Arc::new(CryptoProvider { kx_groups: vec![group], ..(*ours).clone() })
}

fn listening(identity: &Identity, provider: Arc<CryptoProvider>) -> quinn::ServerConfig {
    let config = QuicServerConfig::try_from(identity.tls_server(provider)).unwrap();
    quinn::ServerConfig::with_crypto(Arc::new(config))
}

fn dialling(identity: &Identity, provider: Arc<CryptoProvider>) -> quinn::ClientConfig {
    let config = QuicClientConfig::try_from(identity.tls_client(None, provider)).unwrap();
    quinn::ClientConfig::new(Arc::new(config))
}

fn agent() -> Identity {
    authority().issue(&node("agent-1"), Role::Agent, today()).unwrap()
}

/// Lets two configurations shake hands by TLS alone: quinn tells neither the group nor whether it was in full.
fn shake_hands(server: Arc<rustls::ServerConfig>, client: Arc<rustls::ClientConfig>) -> quic::Connection {
    let version = quic::Version::V1;
    let name = "any-node".try_into().unwrap();
    let mut server = quic::Connection::from(quic::ServerConnection::new(server, version, vec![]).unwrap());
    let mut client =
        quic::Connection::from(quic::ClientConnection::new(client, version, name, vec![]).unwrap());
    while pass(&mut client, &mut server) | pass(&mut server, &mut client) {}
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(
        server.negotiated_key_exchange_group().map(|group| group.name()),
        client.negotiated_key_exchange_group().map(|group| group.name())
    );
    client
}

/// Hands what one side has to say to the other, and says whether there was anything.
fn pass(from: &mut quic::Connection, to: &mut quic::Connection) -> bool {
    let mut any = false;
    loop {
        let mut flight = Vec::new();
        let keys_changed = from.write_hs(&mut flight).is_some();
        if flight.is_empty() && !keys_changed {
            return any;
        }
        any = true;
        to.read_hs(&flight).unwrap();
    }
}

#[test]
fn a_session_is_resumed_with_the_same_configurations_and_no_others() {
    let agent = agent();
    let ours = || tls::provider(KeyExchange::default());
    let server = || Arc::new(agent.tls_server(ours()));
    let client = |expected: Option<&str>| Arc::new(agent.tls_client(expected.map(node).as_ref(), ours()));
    let kind = |server: &Arc<_>, client: &Arc<_>| {
        let connection = shake_hands(Arc::clone(server), Arc::clone(client));
        // Neither a key exchange is spared nor anything said before it.
        assert_eq!(
            connection.negotiated_key_exchange_group().map(|group| group.name()),
            Some(NamedGroup::X25519MLKEM768)
        );
        connection.handshake_kind().unwrap()
    };
    let (one_server, one_client) = (server(), client(Some("agent-1")));
    assert_eq!(kind(&one_server, &one_client), HandshakeKind::Full);
    assert_eq!(kind(&one_server, &one_client), HandshakeKind::Resumed);
    assert_eq!(kind(&one_server, &one_client), HandshakeKind::Resumed, "with the ticket of the second one");
    // What either side makes anew has forgotten everything.
    assert_eq!(kind(&server(), &one_client), HandshakeKind::Full);
    assert_eq!(kind(&one_server, &client(Some("agent-1"))), HandshakeKind::Full);
    assert_eq!(kind(&one_server, &client(None)), HandshakeKind::Full);
}

#[test]
fn a_server_forgets_sessions_rather_than_to_keep_any_number() {
    let agent = agent();
    let server = Arc::new(agent.tls_server(tls::provider(KeyExchange::default())));
    let client = || Arc::new(agent.tls_client(None, tls::provider(KeyExchange::default())));
    let first = client();
    shake_hands(Arc::clone(&server), Arc::clone(&first));
    for number in 0..tls::SESSIONS_KEPT as u32 {
        assert!(server.session_storage.put(number.to_be_bytes().into(), vec![0]));
    }
    let kind = shake_hands(Arc::clone(&server), first).handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Full));
}

#[test]
fn a_server_takes_no_early_data_and_a_client_sends_none() {
    let agent = agent();
    assert_eq!(agent.tls_server(tls::provider(KeyExchange::default())).max_early_data_size, 0);
    assert!(!agent.tls_client(None, tls::provider(KeyExchange::default())).enable_early_data);
}

#[test]
fn two_of_our_nodes_always_choose_the_post_quantum_exchange() {
    use KeyExchange::{PreferPostQuantum, RequirePostQuantum};
    let agent = agent();
    for server in [PreferPostQuantum, RequirePostQuantum] {
        for client in [PreferPostQuantum, RequirePostQuantum] {
            let connection = shake_hands(
                Arc::new(agent.tls_server(tls::provider(server))),
                Arc::new(agent.tls_client(None, tls::provider(client))),
            );
            let chosen = connection.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(chosen, NamedGroup::X25519MLKEM768);
        }
    }
}

#[tokio::test]
async fn a_node_offers_the_post_quantum_exchange_and_accepts_the_plain_one() {
    let agent = agent();
    let ours = || tls::provider(KeyExchange::PreferPostQuantum);
    for theirs in [kx_group::X25519MLKEM768, kx_group::X25519] {
        let met = meet(listening(&agent, only(theirs)), dialling(&agent, ours())).await;
        assert_eq!(met.client.as_ref(), Ok(agent.as_peer()));
        assert_eq!(met.server.as_ref(), Ok(agent.as_peer()));
        let met = meet(listening(&agent, ours()), dialling(&agent, only(theirs))).await;
        assert_eq!(met.client.as_ref(), Ok(agent.as_peer()));
        assert_eq!(met.server.as_ref(), Ok(agent.as_peer()));
    }
}

#[tokio::test]
async fn a_node_that_requires_the_post_quantum_exchange_gets_no_other() {
    let agent = agent();
    let strict = || tls::provider(KeyExchange::RequirePostQuantum);
    let plain = || only(kx_group::X25519);
    for (server, client) in [(plain(), strict()), (strict(), plain())] {
        let met = meet(listening(&agent, server), dialling(&agent, client)).await;
        let (server, client) = (met.server.unwrap_err(), met.client.unwrap_err());
        assert_eq!((server.by, server.reason), (RefusedBy::ThisNode, TlsReason::NoCommonKeyExchange));
        assert_eq!((client.by, client.reason), (RefusedBy::Peer, TlsReason::NoCommonKeyExchange));
        assert!(server.detail.contains("NoKxGroupsInCommon"), "{server}");
        assert_eq!(client.detail, server.detail);
        assert!(!met.client_connected);
    }
}
