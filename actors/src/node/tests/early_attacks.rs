//! Peers with a ticket and bad manners: what they get by early data, and that nothing else comes of it.

use super::{
    certificates::revoking,
    early::{CHANGE, LOOK, Relay, early, expose, kept},
    hostile::{Stage, closed, request},
    lenient::Client,
    *,
};
use crate::identity::Identity;
use quinn::{Connection, ConnectionError};
use std::net::SocketAddr;
use swarm_protocols::{
    Caller,
    session::CloseCode,
    wire::frame::{
        self, Answered, EARLY_BYTES_MAX, EARLY_STREAMS_MAX, Frame, FrameReader, Intent, RequestHead,
        STREAM_CONTROL, STREAM_EARLY, STREAM_LANE, STREAM_REQUEST,
    },
};
use tokio::net::UdpSocket;

/// A client that dares to send early data.
fn client(identity: &Identity) -> Client {
    Client::with(identity, |config| config.enable_early_data = true)
}

type Halves = (quinn::SendStream, quinn::RecvStream);

impl Client {
    /// A connection on which everything is early data for now, with the first stream of all, and whether that is taken.
    async fn early(&self, address: SocketAddr) -> (Connection, Halves, quinn::ZeroRttAccepted) {
        let connecting = self.connecting(address);
        let (connection, accepted) = connecting.into_0rtt().unwrap_or_else(|_| panic!("there is no ticket"));
        let control = connection.open_bi().await.unwrap();
        (connection, control, accepted)
    }
}

/// Opens a stream of this kind, and sends this.
async fn send(connection: &Connection, kind: u8, frame: &[u8]) -> quinn::RecvStream {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    // Whoever does not want all of it says so in an answer, or ends the connection.
    let _stopped = send.write_all(&[&[kind], frame].concat()).await;
    let _stopped = send.finish();
    recv
}

/// The answer that comes on a stream.
async fn answer(mut recv: quinn::RecvStream) -> Option<Answered> {
    let bytes = recv.read_to_end(1 << 20).await.ok()?;
    let mut reader = FrameReader::new(1 << 20);
    reader.feed(bytes.into());
    let Frame::Answer { answer, .. } = Frame::decode(reader.next_frame().unwrap()?).unwrap() else {
        panic!("no answer")
    };
    Some(answer)
}

async fn asked(connection: &Connection, route: u32, payload: &[u8]) -> Option<Answered> {
    answer(send(connection, STREAM_EARLY, &request(0, route, payload)).await).await
}

/// The encoded request or reply that holds these bytes.
fn bytes(payload: &[u8]) -> Vec<u8> {
    swarm_protocols::wire::codec::encode(&payload.to_vec()).unwrap()
}

fn replied(answer: &Option<Answered>) -> bool {
    matches!(answer, Some(Answered::Reply(_)))
}

/// A client that has been on the stage, and can come again.
async fn comes_again(stage: &Stage, id: &str) -> Client {
    let client = client(&stage.operator(id));
    stage.been_there(&client).await;
    client
}

/// The same, all of whose datagrams go through this relay.
async fn comes_again_over(relay: &Relay, stage: &Stage) -> Client {
    let client = client(&stage.operator("a"));
    let first = client.connect(relay.address).await.unwrap();
    assert!(client.push(&first).await);
    first.close(0_u8.into(), b"");
    until_alone(&stage.node).await;
    client
}

#[actix::test]
async fn only_what_may_be_done_twice_is_done_in_early_data() {
    let (stage, reached, _registration) = kept(|_| {}).await;
    let client = comes_again(&stage, "a").await;
    let (connection, _control, accepted) = client.early(stage.node.address().unwrap()).await;
    let [look, change, nowhere, long] = [
        (LOOK, bytes(&[1])),
        (CHANGE, bytes(&[2])),
        (99, bytes(&[3])),
        (LOOK, bytes(&vec![4; EARLY_BYTES_MAX + 200])),
    ]
    .map(|(route, payload)| {
        let connection = connection.clone();
        actix_rt::spawn(async move { asked(&connection, route, &payload).await })
    });
    assert!(accepted.await);
    assert!(replied(&look.await.unwrap()));
    let refused = change.await.unwrap();
    let Some(Answered::Undelivered(DeliveryError::NotExposed { what })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(what, "change of kept in early data");
    let refused = nowhere.await.unwrap();
    assert!(matches!(refused, Some(Answered::Undelivered(DeliveryError::NotExposed { .. }))), "{refused:?}");
    let refused = long.await.unwrap();
    assert!(matches!(refused, Some(Answered::Undelivered(DeliveryError::TooLarge { .. }))), "{refused:?}");
    assert_eq!((reached.looks(), reached.changes(), early(&stage.node).await), (1, 0, 4));
    assert_eq!(client.full(), 1);
    stage.serves_others().await;
}

#[actix::test]
async fn nothing_but_requests_with_an_answer_is_taken_early() {
    let (stage, reached, _registration) = kept(|_| {}).await;
    let framed = |intent: Intent| {
        let mut frame = Vec::new();
        let head = RequestHead { correlation: 0, route: LOOK, deadline_ms: 0, intent };
        frame::put_request(&head, &bytes(&[1]), &mut frame);
        frame
    };
    let principal = Caller { node: "x".parse().unwrap(), role: Role::Operator };
    let mut lane = vec![1];
    lane.extend(framed(Intent::Ask));
    for (case, kind, frame) in [
        ("a lane", STREAM_LANE, lane),
        ("a request stream", STREAM_REQUEST, framed(Intent::Ask)),
        ("a second control stream", STREAM_CONTROL, framed(Intent::Ask)),
        ("a told message", STREAM_EARLY, framed(Intent::Tell)),
        ("a post", STREAM_EARLY, framed(Intent::Post)),
        ("on behalf of another", STREAM_EARLY, framed(Intent::AskFor(principal))),
    ] {
        let client = comes_again(&stage, "a").await;
        let (connection, _control, accepted) = client.early(stage.node.address().unwrap()).await;
        assert_eq!(answer(send(&connection, kind, &frame).await).await, None, "{case}");
        // What it hears depends on how far its handshake is.
        match connection.closed().await {
            ConnectionError::ApplicationClosed(close) => {
                assert_eq!(close.error_code.into_inner(), CloseCode::ProtocolViolation as u64, "{case}");
            }
            ConnectionError::ConnectionClosed(close) => {
                assert_eq!(close.error_code, quinn::TransportErrorCode::APPLICATION_ERROR, "{case}");
            }
            other => panic!("{case}: {other}"),
        }
        let _whether = accepted.await;
        until_alone(&stage.node).await;
    }
    assert_eq!((reached.looks(), early(&stage.node).await), (0, 0));
    stage.serves_others().await;
}

#[actix::test]
async fn a_session_that_begins_in_early_data_begins_with_the_end_of_the_handshake() {
    let (stage, reached, _registration) = kept(|_| {}).await;
    let relay = Relay::to(stage.node.address().unwrap()).await;
    let client = comes_again_over(&relay, &stage).await;

    relay.mute(true);
    let (connection, mut control, accepted) = client.early(relay.address).await;
    control.0.write_all(&[&[STREAM_CONTROL], &super::hostile::hello("a")[..]].concat()).await.unwrap();
    let look = send(&connection, STREAM_EARLY, &request(0, LOOK, &bytes(&[1]))).await;
    until("it is reached", async || reached.looks() == 1).await;
    // Who was not heard twice has no place among the peers.
    assert_eq!(stage.node.statistics().await.unwrap().sessions, 0);
    relay.mute(false);
    assert!(accepted.await && replied(&answer(look).await));
    until("the session opens", async || stage.node.statistics().await.unwrap().sessions == 1).await;
}

#[actix::test]
async fn what_somebody_recorded_is_not_taken_up_a_second_time() {
    let (stage, reached, _registration) =
        kept(|config| config.timing.handshake = Duration::from_secs(1)).await;
    let node = stage.node.address().unwrap();
    let relay = Relay::to(node).await;
    let client = comes_again_over(&relay, &stage).await;

    relay.sent.lock().unwrap().clear();
    let (connection, _control, accepted) = client.early(relay.address).await;
    let look = asked(&connection, LOOK, &bytes(&[1])).await;
    assert!(replied(&look) && accepted.await);
    assert_eq!((reached.looks(), early(&stage.node).await), (1, 1));
    connection.close(0_u8.into(), b"");

    // Everything that it sent comes again, from elsewhere, until the node takes it for a new connection.
    let record = relay.sent.lock().unwrap().clone();
    let thief = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    until("the node answers", async || {
        for datagram in &record {
            thief.send_to(datagram, node).await.unwrap();
        }
        let mut answer = vec![0; 64 << 10];
        let heard = tokio::time::timeout(Duration::from_millis(50), thief.recv(&mut answer)).await;
        // A long header: part of a handshake, and not what the former connection left behind.
        matches!(heard, Ok(Ok(length)) if length > 0 && answer[0] & 0x80 != 0)
    })
    .await;
    stage.serves_others().await;
    assert_eq!((reached.looks(), early(&stage.node).await), (1, 1));
}

#[actix::test]
async fn one_that_never_ends_its_handshake_is_dropped_with_all_that_it_asked() {
    let (stage, reached, _registration) =
        kept(|config| config.timing.handshake = Duration::from_secs(1)).await;
    let relay = Relay::to(stage.node.address().unwrap()).await;
    let client = comes_again_over(&relay, &stage).await;

    reached.hold(true);
    relay.mute(true);
    let (connection, _control, _accepted) = client.early(relay.address).await;
    let mut streams = Vec::new();
    // Of these some are never whole, and more than are served wait for a session that never opens.
    for number in 0..2 * EARLY_STREAMS_MAX {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        let asked = [&[STREAM_EARLY][..], &request(0, LOOK, &bytes(&[1]))].concat();
        let whole = number % 2 == 0;
        send.write_all(&asked[..if whole { asked.len() } else { asked.len() - 1 }]).await.unwrap();
        streams.push((send, recv));
    }
    until("half of them are reached", async || reached.looks() == EARLY_STREAMS_MAX / 2).await;
    assert_eq!(early(&stage.node).await, EARLY_STREAMS_MAX as u64 / 2);
    assert_eq!(reached.cancelled(), 0);
    until("they are cancelled", async || reached.cancelled() == EARLY_STREAMS_MAX / 2).await;
    assert_eq!(reached.looks(), EARLY_STREAMS_MAX / 2);
    stage.serves_others().await;
}

#[actix::test]
async fn further_ones_than_are_served_wait_for_the_session() {
    let (stage, reached, _registration) = kept(|_| {}).await;
    let client = comes_again(&stage, "a").await;
    let (connection, mut control, accepted) = client.early(stage.node.address().unwrap()).await;
    let mut streams = Vec::new();
    for _ in 0..EARLY_STREAMS_MAX + 4 {
        streams.push(send(&connection, STREAM_EARLY, &request(0, LOOK, &bytes(&[1]))).await);
    }
    assert!(accepted.await);
    let late = streams.split_off(EARLY_STREAMS_MAX);
    for stream in streams {
        assert!(replied(&answer(stream).await));
    }
    assert_eq!(reached.looks(), EARLY_STREAMS_MAX);
    control.0.write_all(&[&[STREAM_CONTROL], &super::hostile::hello("a")[..]].concat()).await.unwrap();
    for stream in late {
        assert!(replied(&answer(stream).await));
    }
    assert_eq!(early(&stage.node).await, EARLY_STREAMS_MAX as u64);
    assert_eq!(stage.node.statistics().await.unwrap().sessions, 1);
}

/// What happens to a client after it has got a ticket.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Since {
    Nothing,
    Expired,
    Revoked,
    RoleMayNotCall,
}

#[actix::test]
async fn the_table_of_what_has_happened_to_a_client_since_its_ticket() {
    for since in [Since::Nothing, Since::Expired, Since::Revoked, Since::RoleMayNotCall] {
        let (stage, reached, registration) = kept(|_| {}).await;
        let mut registration = Some(registration);
        let now = SystemTime::now();
        let short = Validity::new(now - Duration::from_secs(60), now + Duration::from_secs(2)).unwrap();
        let validity = if since == Since::Expired { short } else { stage.day };
        let shown = stage.authority.issue(&"a".parse().unwrap(), Role::Operator, validity).unwrap();
        let client = client(&shown);
        stage.been_there(&client).await;
        let mut route = LOOK;
        match since {
            Since::Nothing => {}
            Since::Expired => {
                let over = shown.valid_until() + Duration::from_secs(1);
                tokio::time::sleep(over.duration_since(SystemTime::now()).unwrap_or_default()).await;
            }
            Since::Revoked => {
                let list = revoking(&stage.authority, 1, [&shown.as_peer().serial]);
                stage.node.set_revocation_list(list).await.unwrap();
            }
            Since::RoleMayNotCall => {
                drop(registration.take());
                registration = Some(expose(&stage.node, &reached, Role::Agent).await);
                // What is exposed again has other routes.
                route = LOOK + 2;
            }
        }
        let (connection, _control, accepted) = client.early(stage.node.address().unwrap()).await;
        let look = asked(&connection, route, &bytes(&[1])).await;
        let accepted = accepted.await;
        match since {
            Since::Nothing => assert!(accepted && replied(&look), "{since:?}: {look:?}"),
            Since::Expired => {
                assert_eq!(look, None);
                let (code, reason) = closed(&connection).await;
                assert_eq!(code, CloseCode::BadCertificate, "{reason}");
            }
            // The ticket was forgotten with the list before, and TLS judges.
            Since::Revoked => assert_eq!((look, accepted), (None, false)),
            Since::RoleMayNotCall => {
                let Some(Answered::Undelivered(DeliveryError::NotPermitted { .. })) = look else {
                    panic!("{look:?}")
                };
            }
        }
        let served = usize::from(since == Since::Nothing);
        assert_eq!(reached.looks(), served, "{since:?}");
        drop(registration);
    }
}
