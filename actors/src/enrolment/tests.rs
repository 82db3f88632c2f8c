//! Newcomers and those who only look like some, over QUIC on loopback.

use super::*;
use crate::{
    certificate_authority::tests::Place,
    identity::{
        Authority, EarlyData, Identity, IdentityPem, JoinToken, KeyExchange, PrivateKeyPem, SigningRequest,
        TlsReason, Validity, newcomer_config, server_name,
    },
};
use futures_util::FutureExt;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};
use swarm_protocols::{
    NodeId, Role,
    certificates::{AT_ONCE_MAX, ENROL_BYTES_MAX, Enrol, EnrolmentOutcome, EnrolmentRefusal, FAILURES_MAX},
    wire::codec,
};

const DAY: Duration = Duration::from_secs(86_400);

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn token(place: &Place, name: &str) -> JoinToken {
    place.folder.join_token(&id(name), Role::Agent, SystemTime::now() + DAY).unwrap()
}

fn listen_as(place: &Place, identity: &Identity) -> Result<EnrolmentListener, EnrolmentError> {
    let anywhere = "127.0.0.1:0".parse().unwrap();
    EnrolmentListener::start(anywhere, identity, Arc::clone(&place.folder), place.actor())
}

fn listen(place: &Place) -> EnrolmentListener {
    listen_as(place, &place.due("hub", Role::Coordinator)).unwrap()
}

/// A machine with a key of its own.
struct Newcomer(PrivateKeyPem, SigningRequest);

impl Newcomer {
    fn new(name: &str) -> Self {
        let (key, request) = SigningRequest::new(&id(name)).unwrap();
        Self(key, request)
    }

    async fn enrol(&self, address: SocketAddr, token: &JoinToken) -> Result<Identity, EnrolError> {
        enrol(address, token, &self.0, &self.1).await.map(|(identity, _)| identity)
    }
}

fn refusal(enrolled: Result<Identity, EnrolError>) -> String {
    match enrolled {
        Err(EnrolError::Refused(EnrolmentRefusal::Token { reason })) => reason,
        other => panic!("{other:?}"),
    }
}

/// A connection as that of a newcomer, for what no newcomer would send.
async fn connection(address: SocketAddr, place: &Place) -> Result<quinn::Connection, quinn::ConnectionError> {
    connection_from("127.0.0.1", address, place).await
}

async fn connection_from(
    source: &str,
    address: SocketAddr,
    place: &Place,
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let endpoint = quinn::Endpoint::client(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
    let config = newcomer_config(&place.folder.authority().fingerprint());
    endpoint.connect_with(config, address, server_name(None)).unwrap().await
}

/// Sends this as the request, and gives the answer.
async fn answer_to(request: &[u8], address: SocketAddr, place: &Place) -> EnrolmentOutcome {
    let connection = connection(address, place).await.unwrap();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    // The coordinator may have had enough before the end.
    let _stopped = send.write_all(request).await;
    let _stopped = send.finish();
    codec::decode(&receive.read_to_end(1 << 20).await.unwrap()).unwrap()
}

#[actix::test]
async fn a_newcomer_is_given_an_identity_for_its_own_key() {
    let place = Place::new();
    let listener = listen(&place);
    let (newcomer, token) = (Newcomer::new("agent-1"), token(&place, "agent-1"));
    let gone = place.due("gone", Role::Agent);
    place.folder.revoke(gone.id(), SystemTime::now()).unwrap();
    let identity = newcomer.enrol(listener.address(), &token).await.unwrap();
    assert_eq!((identity.id(), identity.role()), (&id("agent-1"), Role::Agent));
    assert_eq!(identity.to_pem().key.as_str(), newcomer.0.as_str());
    assert!(identity.revocation_list().check(gone.as_peer()).is_err(), "it knows who was revoked");
    let days = identity.valid_until().duration_since(SystemTime::now()).unwrap().as_secs() / 86_400;
    assert_eq!(days, 89);

    // The answer may have been lost.
    let again = newcomer.enrol(listener.address(), &token).await.unwrap();
    assert_eq!(again.as_peer(), identity.as_peer());
    let thief = Newcomer::new("agent-1").enrol(listener.address(), &token).await;
    assert_eq!(refusal(thief), "the join token was used before");
}

/// A socket that has failed.
#[derive(Debug)]
struct FailedSocket;

impl quinn::AsyncUdpSocket for FailedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn quinn::UdpPoller>> {
        #[derive(Debug)]
        struct Never;

        impl quinn::UdpPoller for Never {
            fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Pending
            }
        }

        Box::pin(Never)
    }

    fn try_send(&self, _: &quinn::udp::Transmit<'_>) -> io::Result<()> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [io::IoSliceMut<'_>],
        _: &mut [quinn::udp::RecvMeta],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], 7401).into())
    }
}

#[actix::test]
async fn s7_a_listener_whose_socket_has_failed_says_so() {
    let place = Place::new();
    let good = listen(&place);
    assert_eq!(good.failed().now_or_never(), None);
    let (config, socket) = (quinn::EndpointConfig::default(), Arc::new(FailedSocket));
    let runtime = quinn::default_runtime().unwrap();
    let endpoint = quinn::Endpoint::new_with_abstract_socket(config, None, socket, runtime).unwrap();
    let failed = EnrolmentListener::on(endpoint, Arc::clone(&place.folder), place.actor()).unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(10), failed.failed());
    heard.await.expect("nobody hears that no newcomer is let in");
}

#[actix::test]
async fn of_newcomers_with_one_token_one_is_let_in() {
    let place = Place::new();
    let listener = listen(&place);
    let token = token(&place, "agent-1");
    let newcomers: Vec<_> = (0..6).map(|_| Newcomer::new("agent-1")).collect();
    let enrolled = newcomers.iter().map(|newcomer| newcomer.enrol(listener.address(), &token));
    let enrolled = futures_util::future::join_all(enrolled).await;
    assert_eq!(enrolled.iter().filter(|one| one.is_ok()).count(), 1);
    for refused in enrolled.into_iter().filter(Result::is_err) {
        assert_eq!(refusal(refused), "the join token was used before");
    }
}

#[actix::test]
async fn a_token_that_is_not_good_says_why() {
    let place = Place::new();
    let listener = listen(&place);
    let refused = async |name: &str, token: &JoinToken| {
        refusal(Newcomer::new(name).enrol(listener.address(), token).await)
    };
    let good = token(&place, "a");
    assert!(refused("b", &good).await.contains("the join token is for a, the request for b"));
    let made_up: JoinToken = format!("{}0", good.as_str()).parse().unwrap();
    assert!(refused("a", &made_up).await.contains("did not make this join token"));
    let late = SystemTime::now() - Duration::from_secs(60);
    let late = place.folder.join_token(&id("a"), Role::Agent, late).unwrap();
    assert!(refused("a", &late).await.contains("expired"));
    place.folder.revoke(&id("a"), SystemTime::now()).unwrap();
    assert!(refused("a", &good).await.contains("taken back"));
}

#[actix::test]
async fn a_token_is_sent_to_nobody_but_a_coordinator_of_its_authority() {
    let place = Place::new();
    let token = token(&place, "agent-1");
    let newcomer = Newcomer::new("agent-1");
    let failure = async |listener: &EnrolmentListener| match newcomer.enrol(listener.address(), &token).await
    {
        Err(EnrolError::NotTheCoordinator { failure, .. }) => failure.reason,
        other => panic!("{other:?}"),
    };
    // Another authority altogether.
    let foreign = Place::new();
    assert_eq!(failure(&listen(&foreign)).await, TlsReason::UnknownAuthority);
    // An agent of the right one.
    let agent = listen_as(&place, &place.due("agent-9", Role::Agent)).unwrap();
    assert_eq!(failure(&agent).await, TlsReason::WrongNode);
    // Another authority, which shows the certificate of the right one beside its own.
    let hub = foreign.due("hub", Role::Coordinator);
    let forger = Identity::from_pem(IdentityPem {
        certificate: format!("{}{}", hub.to_pem().certificate, place.folder.authority().certificate_pem()),
        ..hub.to_pem().clone()
    });
    assert_eq!(failure(&listen_as(&foreign, &forger.unwrap()).unwrap()).await, TlsReason::UnknownAuthority);
    // One that expired.
    let past = Validity::new(SystemTime::now() - 2 * DAY, SystemTime::now() - DAY).unwrap();
    let expired = place.folder.authority().issue(&id("hub"), Role::Coordinator, past).unwrap();
    assert_eq!(failure(&listen_as(&place, &expired).unwrap()).await, TlsReason::OutsideValidity);
    // The token is as good as before.
    newcomer.enrol(listen(&place).address(), &token).await.unwrap();
}

#[actix::test]
async fn a_revoked_coordinator_is_recognized_by_the_list_in_its_answer() {
    let place = Place::new();
    let listener = listen(&place);
    let token = token(&place, "agent-1");
    place.folder.revoke(&id("hub"), SystemTime::now()).unwrap();
    let refused = Newcomer::new("agent-1").enrol(listener.address(), &token).await;
    let Err(EnrolError::BadAnswer { reason, .. }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("coordinator was revoked"), "{reason}");
}

#[actix::test]
async fn a_coordinator_of_another_authority_does_not_listen() {
    let (place, other) = (Place::new(), Place::new());
    let refused = listen_as(&place, &other.due("hub", Role::Coordinator));
    assert!(matches!(refused, Err(EnrolmentError::Identity(_))), "{refused:?}");
    let listener = listen(&place);
    assert!(listener.set_identity(&other.due("hub", Role::Coordinator)).is_err());
    let renewed = place.due("hub", Role::Coordinator);
    listener.set_identity(&renewed).unwrap();
    let connection = connection(listener.address(), &place).await.unwrap();
    assert_eq!(crate::identity::PeerIdentity::of(&connection).unwrap(), *renewed.as_peer());
}

#[actix::test]
async fn what_is_no_request_is_refused_and_the_next_newcomer_served() {
    let place = Place::new();
    let listener = listen(&place);
    let malformed = |outcome: EnrolmentOutcome| match outcome {
        Err(EnrolmentRefusal::Malformed { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let token = token(&place, "a");
    let enrol = |request: &str| {
        codec::encode(&Enrol { token: token.as_str().to_owned(), request: request.to_owned() }).unwrap()
    };
    let long = vec![b'x'; ENROL_BYTES_MAX + 1];
    for (request, part) in [
        (&b"\xff\xff\xff garbage"[..], "cannot be read"),
        (b"", "cannot be read"),
        (&enrol("no request"), "no signing request"),
        (&enrol(&"x".repeat(9_000)), "up to 8192 bytes"),
        (&long, "longer than 16384 bytes"),
    ] {
        let reason = malformed(answer_to(request, listener.address(), &place).await);
        assert!(reason.contains(part), "{reason}");
    }
    // No stream but the first, and no unidirectional one.
    let connection = connection(listener.address(), &place).await.unwrap();
    let _first = connection.open_bi().await.unwrap();
    assert!(futures_util::poll!(Box::pin(connection.open_bi())).is_pending());
    assert!(futures_util::poll!(Box::pin(connection.open_uni())).is_pending());
    Newcomer::new("a").enrol(listener.address(), &token).await.unwrap();
}

#[actix::test]
async fn neither_side_of_the_swarm_is_reached_through_the_port() {
    let place = Place::new();
    let listener = listen(&place);
    let hub = place.due("hub", Role::Coordinator);
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = hub.client_config(None, KeyExchange::default(), EarlyData::default());
    let refused = endpoint.connect_with(config, listener.address(), server_name(None)).unwrap().await;
    let failure = crate::identity::explain(&refused.unwrap_err()).unwrap();
    assert_eq!(failure.reason, TlsReason::NoCommonProtocol);
}

#[actix::test]
async fn a_port_that_enrols_nobody_says_nothing_of_the_authority() {
    let place = Place::new();
    let config =
        place.due("hub", Role::Coordinator).server_config(KeyExchange::default(), EarlyData::default());
    let node = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let (newcomer, token) = (Newcomer::new("a"), token(&place, "a"));
    let asked = newcomer.enrol(node.local_addr().unwrap(), &token);
    let (refused, _) = tokio::join!(asked, async { node.accept().await.unwrap().await });
    let Err(EnrolError::Unreachable { reason, .. }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("no application protocol in common"), "{reason}");
}

#[actix::test]
async fn an_address_that_fails_too_often_is_refused_for_a_while() {
    let place = Place::new();
    let listener = listen(&place);
    for _ in 0..FAILURES_MAX {
        answer_to(b"garbage", listener.address(), &place).await.unwrap_err();
    }
    let token = token(&place, "a");
    let held_up = loop {
        // The last failure counts as soon as its connection has ended on the other side.
        match Newcomer::new("b").enrol(listener.address(), &token).await {
            Err(EnrolError::Refused(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(held_up, Err(EnrolError::Unreachable { .. })), "{held_up:?}");
}

/// Takes places from several addresses, as many as one may have from each, and asks for nothing.
#[cfg(target_os = "linux")]
async fn slow_newcomers(
    sources: &[&str],
    address: SocketAddr,
    place: &Place,
) -> Vec<(quinn::Connection, quinn::SendStream)> {
    let mut slow = Vec::new();
    for source in sources {
        for _ in 0..AT_ONCE_MAX {
            let connection = connection_from(source, address, place).await.unwrap();
            let (mut send, _) = connection.open_bi().await.unwrap();
            send.write_all(b"s").await.unwrap();
            slow.push((connection, send));
        }
    }
    slow
}

// Elsewhere a machine has one loopback address only.
#[cfg(target_os = "linux")]
#[actix::test]
async fn one_address_cannot_take_every_place() {
    let place = Place::new();
    let listener = listen(&place);
    let _slow = slow_newcomers(&["127.0.0.2"], listener.address(), &place).await;
    assert!(connection_from("127.0.0.2", listener.address(), &place).await.is_err());
    Newcomer::new("a").enrol(listener.address(), &token(&place, "a")).await.unwrap();
}

#[cfg(target_os = "linux")]
#[actix::test]
async fn a4_slow_newcomers_of_two_addresses_lose_a_place_to_that_of_a_third_and_the_others_their_time() {
    let place = Place::new();
    let listener = listen(&place);
    let address = listener.address();
    let slow = slow_newcomers(&["127.0.0.2", "127.0.0.3"], address, &place).await;
    assert_eq!(slow.len(), CONNECTIONS_MAX);
    Newcomer::new("a").enrol(address, &token(&place, "a")).await.unwrap();
    for (connection, ..) in &slow {
        connection.closed().await;
    }
}

#[test]
fn an_authority_that_is_none_is_not_believed() {
    let day = Validity::starting(SystemTime::now(), DAY).unwrap();
    let (one, other) = (Authority::new("one", day).unwrap(), Authority::new("other", day).unwrap());
    let both = format!("{}{}", one.certificate_pem(), other.certificate_pem());
    assert!(crate::identity::authority_fingerprint(&both).is_err());
    assert_eq!(crate::identity::authority_fingerprint(one.certificate_pem()).unwrap(), one.fingerprint());
}
