//! Sessions of TLS that are resumed: that they are, that nothing is dispatched early unwanted, and that none is resumed
//! after this node has learnt something new about certificates. What a resumed connection is refused for is in
//! the table of [`refusals`](super::refusals).

use super::{
    certificates::{revoking, start},
    hostile::{Stage, closed, stage, staged},
    lenient::{Client, Server, refusal},
    *,
};
use crate::identity::EarlyData;
use rustls::{
    NamedGroup,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
        Tls13ClientSessionValue,
    },
    pki_types::ServerName,
};
use std::sync::Arc;
use swarm_protocols::session::CloseCode;

impl Stage {
    /// A client of this stage that has been there once, and waited until it could resume that session.
    pub(super) async fn been_there(&self, client: &Client) {
        let connection = client.connect(self.node.address().unwrap()).await.unwrap();
        // The ticket comes before the answer.
        assert!(client.push(&connection).await);
        connection.close(0_u8.into(), b"");
        until_alone(&self.node).await;
    }
}

#[actix::test]
async fn a_client_that_comes_again_resumes_its_session() {
    let stage = stage().await;
    let client = Client::new(&stage.operator("a"));
    for _ in 0..3 {
        stage.been_there(&client).await;
    }
    assert_eq!(client.full(), 1);
    assert_eq!(stage.node.statistics().await.unwrap().received, 3, "and is served");
}

#[actix::test]
async fn a_node_that_dials_again_resumes_its_session() {
    let stage = stage().await;
    let server = Server::new(&stage.operator("hub"), 0);
    let a = start(stage.operator("a")).await;
    for _ in 0..3 {
        let dialled = a.connect("hub".parse().unwrap(), server.address());
        let (refused, (hello, _)) = tokio::join!(dialled, server.refuse());
        assert!(refused.unwrap_err().to_string().contains("not today"));
        assert!(hello.is_some());
    }
    assert_eq!(server.believer.full(), 1);
}

#[actix::test]
async fn what_a_node_learns_about_certificates_ends_what_could_be_resumed_with_it() {
    let stage = stage().await;
    let client = Client::new(&stage.operator("a"));
    stage.been_there(&client).await;
    stage.node.set_revocation_list(revoking(&stage.authority, 1, [])).await.unwrap();
    stage.been_there(&client).await;
    assert_eq!(client.full(), 2, "after a revocation list");
    let renewed = stage.authority.issue(stage.node.id(), Role::Agent, stage.day).unwrap();
    stage.node.set_identity(renewed).await.unwrap();
    stage.been_there(&client).await;
    assert_eq!(client.full(), 3, "after another identity");
    stage.been_there(&client).await;
    assert_eq!(client.full(), 3, "the control");
}

#[actix::test]
async fn what_a_node_learns_about_certificates_ends_what_it_could_resume() {
    let stage = stage().await;
    let server = Server::new(&stage.operator("hub"), 0);
    let a = start(stage.operator("a")).await;
    let dial = async || {
        let dialled = a.connect("hub".parse().unwrap(), server.address());
        let (refused, _) = tokio::join!(dialled, server.refuse());
        assert!(refused.unwrap_err().to_string().contains("not today"));
        server.believer.full()
    };
    assert_eq!(dial().await, 1);
    a.set_revocation_list(revoking(&stage.authority, 1, [])).await.unwrap();
    assert_eq!(dial().await, 2, "after a revocation list");
    a.set_identity(stage.operator("a")).await.unwrap();
    assert_eq!(dial().await, 3, "after another identity");
    assert_eq!(dial().await, 3, "the control");
}

#[actix::test]
async fn a_session_with_whoever_was_there_is_not_resumed_as_one_with_the_node_that_is_expected() {
    let stage = stage().await;
    // The name under which sessions with any node are kept is the id of a node as well.
    let a = start(stage.operator("a")).await;
    let address = stage.node.address().unwrap();
    a.connect_any(Role::Agent, address).await.unwrap();
    for other in ["any-node", "c"] {
        let refused = a.connect(other.parse().unwrap(), address).await.unwrap_err();
        let ConnectError::Refused { refusal: crate::Refusal::Certificate, reason, .. } = &refused else {
            panic!("{refused}");
        };
        assert!(reason.contains("another node than the expected one"), "{reason}");
    }
}

/// Sessions in which the server has seemingly invited early data.
#[derive(Debug)]
struct Invited(ClientSessionMemoryCache);

impl ClientSessionStore for Invited {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(server)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, server: ServerName<'static>, mut session: Tls13ClientSessionValue) {
        assert_eq!(session.max_early_data_size(), 0, "the node invites nobody");
        session._private_set_max_early_data_size(u32::MAX);
        self.0.insert_tls13_ticket(server, session);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(server)
    }
}

#[actix::test]
async fn of_early_data_nothing_is_dispatched_where_it_is_turned_off() {
    let stage = staged(|config| config.early_data = EarlyData::Refused).await;
    let client = Client::with(&stage.operator("a"), |config| {
        config.resumption = Resumption::store(Arc::new(Invited(ClientSessionMemoryCache::new(8))));
        config.enable_early_data = true;
    });
    stage.been_there(&client).await;
    assert_eq!(stage.node.statistics().await.unwrap().received, 1);

    let connecting = client.connecting(stage.node.address().unwrap());
    let (connection, accepted) =
        connecting.into_0rtt().unwrap_or_else(|_| panic!("the client does not dare"));
    // A whole session in what may be the record of another one.
    assert!(!client.push(&connection).await);
    assert!(!accepted.await);
    assert_eq!(client.full(), 1, "the session itself was resumed");
    // quinn forgets the streams of the early data, and the node has not seen any.
    assert!(client.push(&connection).await);
    assert_eq!(stage.node.statistics().await.unwrap().received, 2, "once, and after the handshake");
}

#[actix::test]
async fn a_node_that_is_invited_to_send_early_data_begins_no_session_in_it() {
    let stage = stage().await;
    let server = Server::new(&stage.operator("hub"), u32::MAX);
    let a = start(stage.operator("a")).await;
    for resumed in [false, true] {
        let serve = async {
            let connecting = server.endpoint.accept().await.unwrap().accept().unwrap();
            let Ok((connection, confirmed)) = connecting.into_0rtt() else {
                panic!("half an RTT is always there")
            };
            let (mut send, control) = connection.accept_bi().await.unwrap();
            assert!(!control.is_0rtt(), "resumed: {resumed}");
            confirmed.await;
            send.write_all(&refusal()).await.unwrap();
            connection.closed().await;
        };
        let dialled = a.connect("hub".parse().unwrap(), server.address());
        let (refused, ()) = tokio::join!(dialled, serve);
        assert!(refused.is_err());
    }
    assert_eq!(server.believer.full(), 1);
}

#[actix::test]
async fn a_resumed_session_is_that_of_the_node_in_its_certificate() {
    let stage = stage().await;
    let client = Client::new(&stage.operator("a"));
    stage.been_there(&client).await;
    let client = client.called("b-side");
    let connection = client.connect(stage.node.address().unwrap()).await.unwrap();
    assert!(!client.push(&connection).await);
    let reason = "the certificate is that of a, the hello of b-side".to_owned();
    assert_eq!(closed(&connection).await, (CloseCode::Refused, reason));
    assert_eq!(client.full(), 1);
}
