//! Peers with a good certificate and bad manners: each loses its connection in bounded time, with a
//! reason, and the others are served on.

use super::*;
use crate::identity::{EarlyData, KeyExchange};
use bytes::Bytes;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use swarm_protocols::{
    session::CloseCode,
    wire::{
        codec::BINCODE_2,
        control::{Control, Hello, WIRE_VERSIONS},
        frame::{
            self, Answered, Frame, FrameReader, Intent, RequestHead, STREAM_CONTROL, STREAM_LANE,
            STREAM_REQUEST,
        },
        varint,
    },
};

const SOON: Duration = Duration::from_millis(400);

/// A node `b` that exposes a [`Server`], and what strangers to its code need to meet it.
pub(super) struct Stage {
    pub(super) authority: Authority,
    pub(super) day: Validity,
    pub(super) node: Node,
    _registration: Registration,
}

pub(super) async fn stage() -> Stage {
    staged(|config| config.timing.frame = SOON).await
}

/// A stage whose node is configured so. It waits long for peers that are silent, as those of a test may be.
pub(super) async fn staged(configure: impl FnOnce(&mut NodeConfig)) -> Stage {
    let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400)).unwrap();
    let authority = Authority::new("test", day).unwrap();
    let identity = authority.issue(&"b".parse().unwrap(), Role::Agent, day).unwrap();
    let mut config = NodeConfig::new(identity, "127.0.0.1:0".parse().unwrap());
    config.timing.silence = Duration::from_secs(60);
    configure(&mut config);
    let node = Node::start(config).await.unwrap();
    let registration = node.expose("service", server()).allow(Role::Operator).register().await.unwrap();
    Stage { authority, day, node, _registration: registration }
}

impl Stage {
    /// A connection of a node called `id`, before any stream.
    async fn connect(&self, id: &str) -> Connection {
        self.connect_as(&self.operator(id)).await
    }

    pub(super) fn operator(&self, id: &str) -> Identity {
        self.authority.issue(&id.parse().unwrap(), Role::Operator, self.day).unwrap()
    }

    pub(super) async fn connect_as(&self, identity: &Identity) -> Connection {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config =
            identity.client_config(Some(self.node.id()), KeyExchange::default(), EarlyData::default());
        let connecting = endpoint.connect_with(config, self.node.address().unwrap(), "b").unwrap();
        connecting.await.unwrap()
    }

    /// A connection with an open session, its control stream, and the route of `echo`.
    pub(super) async fn session(&self, id: &str) -> (Connection, SendStream, RecvStream, u32) {
        self.session_as(&self.operator(id)).await
    }

    pub(super) async fn session_as(&self, identity: &Identity) -> (Connection, SendStream, RecvStream, u32) {
        let connection = self.connect_as(identity).await;
        let (send, mut recv) = greet(&connection, identity.id().as_str()).await;
        let mut reader = FrameReader::new(1 << 20);
        let welcome = loop {
            reader.feed(recv.read_chunk(usize::MAX, true).await.unwrap().unwrap().bytes);
            if let Some(frame) = reader.next_frame().unwrap() {
                break Control::decode(frame).unwrap();
            }
        };
        let Control::Welcome(welcome) = welcome else { panic!("{welcome:?}") };
        let route = welcome.hello.routes.iter().find(|route| route.request == "echo").unwrap();
        (connection, send, recv, route.id)
    }

    /// Whatever happened: a well-behaved node is served.
    pub(super) async fn serves_others(&self) {
        let good = Node::start(NodeConfig::new(self.operator("good"), "127.0.0.1:0".parse().unwrap()))
            .await
            .unwrap();
        good.connect("b".parse().unwrap(), self.node.address().unwrap()).await.unwrap();
        let service: Mailbox<Service> = good.resolve("b/service").await.unwrap();
        assert_eq!(service.ask(Echo(vec![1])).await, Ok(vec![1]));
        good.stop(Duration::ZERO).await;
    }
}

/// Opens the control stream, and says hello in the name of `id`.
async fn greet(connection: &Connection, id: &str) -> (SendStream, RecvStream) {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(&[&[STREAM_CONTROL], &hello(id)[..]].concat()).await.unwrap();
    (send, recv)
}

pub(super) fn hello(id: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Control::Hello(in_incarnation(id, 1)).encode(&mut bytes).unwrap();
    bytes
}

/// What a node says of itself in one of its incarnations.
pub(super) fn in_incarnation(id: &str, incarnation: u64) -> Hello {
    Hello {
        node: id.parse().unwrap(),
        incarnation,
        wire_versions: WIRE_VERSIONS,
        codecs: vec![BINCODE_2],
        agent_type: String::new(),
        capabilities: vec![],
        limits: Limits::default(),
        routes: vec![],
    }
}

pub(super) fn request(correlation: u64, route: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let head = RequestHead { correlation, route, deadline_ms: 0, intent: Intent::Ask };
    frame::put_request(&head, payload, &mut bytes);
    bytes
}

pub(super) async fn closed(connection: &Connection) -> (CloseCode, String) {
    let error = tokio::time::timeout(Duration::from_secs(10), connection.closed()).await.expect("stays open");
    let ConnectionError::ApplicationClosed(close) = error else { panic!("{error}") };
    let code = CloseCode::from_number(close.error_code.into_inner()).unwrap();
    (code, String::from_utf8(close.reason.to_vec()).unwrap())
}

#[actix::test]
async fn a_control_stream_of_garbage_ends_the_connection() {
    let stage = stage().await;
    let mut oversized = vec![STREAM_CONTROL];
    varint::put(1 << 40, &mut oversized);
    let mut ping_first = vec![STREAM_CONTROL];
    Control::Ping(1).encode(&mut ping_first).unwrap();
    let mut request_first = vec![STREAM_CONTROL];
    request_first.extend(request(0, 0, b""));
    let cases = [
        (vec![9, 1, 2, 3], "the first stream is of kind 9 and not the control stream"),
        (oversized, "a frame of 1099511627776 bytes is over the limit of 1048576"),
        (ping_first, "a ping came while awaiting the hello"),
        (request_first, "unexpected frame kind 0x10"),
        (vec![STREAM_CONTROL, 3, 1, 0xff, 0xff], "malformed hello frame"),
        (vec![STREAM_CONTROL, 0], "malformed empty frame"),
    ];
    for (bytes, reason) in cases {
        let connection = stage.connect("mallory").await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        assert_eq!(closed(&connection).await, (CloseCode::ProtocolViolation, reason.to_owned()));
    }
    stage.serves_others().await;
}

#[actix::test]
async fn a_peer_that_says_nothing_or_half_a_hello_is_not_waited_for() {
    let stage = staged(|config| config.timing.handshake = 4 * SOON).await;
    let silent = stage.connect("mallory").await;
    let half = stage.connect("mallory").await;
    let (mut send, _recv) = half.open_bi().await.unwrap();
    send.write_all(&[STREAM_CONTROL]).await.unwrap();
    send.write_all(&hello("mallory")[..7]).await.unwrap();
    stage.serves_others().await;
    for connection in [silent, half] {
        let (code, reason) = closed(&connection).await;
        assert_eq!(code, CloseCode::HandshakeTimeout);
        assert_eq!(reason, "the handshake took over 1.6s, awaiting the hello");
    }
}

#[actix::test]
async fn a_hello_in_the_name_of_another_is_refused() {
    let stage = stage().await;
    let connection = stage.connect("mallory").await;
    let _control = greet(&connection, "alice").await;
    let reason = "the certificate is that of mallory, the hello of alice".to_owned();
    assert_eq!(closed(&connection).await, (CloseCode::Refused, reason));
}

#[actix::test]
async fn a_second_session_of_the_same_incarnation_is_refused() {
    let stage = stage().await;
    let mallory = stage.authority.issue(&"mallory".parse().unwrap(), Role::Agent, stage.day).unwrap();
    let (first, _send, _recv, _) = stage.session_as(&mallory).await;
    let second = stage.connect_as(&mallory).await;
    let _control = greet(&second, "mallory").await;
    assert_eq!(closed(&second).await, (CloseCode::Refused, "mallory is connected already".to_owned()));
    assert_eq!(first.close_reason(), None);
}

#[actix::test]
async fn an_operator_has_many_sessions_but_not_any_number() {
    let stage = stage().await;
    let (mut sessions, alice) = (Vec::new(), stage.operator("alice"));
    for _ in 0..32 {
        sessions.push(stage.session_as(&alice).await);
    }
    let one_more = stage.connect_as(&alice).await;
    let _control = greet(&one_more, "alice").await;
    let reason = "session limit of alice reached (32)".to_owned();
    assert_eq!(closed(&one_more).await, (CloseCode::Refused, reason));
    assert!(sessions.iter().all(|(connection, ..)| connection.close_reason().is_none()));
    assert_eq!(stage.node.statistics().await.unwrap().sessions, 32);
    drop(sessions.pop());
    until("one ends", async || stage.node.statistics().await.unwrap().sessions < 32).await;
    stage.session_as(&alice).await;
}

#[actix::test]
async fn a_stream_that_breaks_the_rules_ends_the_connection() {
    let stage = stage().await;
    let lane = |bytes: &[u8]| [&[STREAM_LANE, 1], bytes].concat();
    let mut oversized = vec![STREAM_LANE, 1];
    varint::put(1 << 40, &mut oversized);
    let mut answer = Vec::new();
    frame::put_accepted(3, &mut answer);
    // Two requests under one number, to a handler that does not answer the first.
    let never = |route| [request(5, route + 1, &[4]), request(5, route + 1, &[4])].concat();
    let (connection, _send, _recv, route) = stage.session("mallory").await;
    connection.close(0_u8.into(), b"");
    let limit = (64 << 20) + 128;
    let cases = [
        (vec![7], "a stream of unknown kind 7".to_owned()),
        (oversized, format!("a frame of 1099511627776 bytes is over the limit of {limit}")),
        (lane(&answer), "an answer to no request".to_owned()),
        (lane(&[2, 0x24, 0]), "unexpected frame kind 0x24".to_owned()),
        (lane(&[1, 0x10]), "malformed lane frame".to_owned()),
        (lane(&never(route)), "two requests with the number 5 at once".to_owned()),
        ([&[STREAM_REQUEST][..], &answer].concat(), "a request stream without a request".to_owned()),
        (lane(&request(1, route, b"abc")[..4]), "a frame came no further for 400ms".to_owned()),
        (vec![STREAM_LANE], "a stream without a first byte for 400ms".to_owned()),
        (vec![STREAM_REQUEST], "a frame came no further for 400ms".to_owned()),
    ];
    for (bytes, reason) in cases {
        let (connection, _control, _recv, _) = stage.session_again("mallory").await;
        let (mut send, _answers) = connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        assert_eq!(closed(&connection).await, (CloseCode::ProtocolViolation, reason));
    }
    stage.serves_others().await;
}

impl Stage {
    /// A session of a node whose last one may not have been taken down yet.
    async fn session_again(&self, id: &str) -> (Connection, SendStream, RecvStream, u32) {
        until_alone(&self.node).await;
        self.session(id).await
    }
}

#[actix::test]
async fn t2_a_drain_waits_for_no_request_that_is_not_there_yet() {
    let stage = staged(|_| {}).await;
    let (connection, _control, _recv, route) = stage.session("mallory").await;
    let whole = [&[STREAM_REQUEST][..], &request(0, route, b"abc")].concat();
    let mut open = Vec::new();
    for begun in [&[STREAM_LANE][..], &whole[..1], &whole[..2], &whole[..whole.len() - 1]] {
        let mut stream = connection.open_bi().await.unwrap();
        stream.0.write_all(begun).await.unwrap();
        open.push(stream);
    }
    // One that comes after them is answered, so they have come.
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&whole).await.unwrap();
    send.finish().unwrap();
    recv.read_to_end(1 << 10).await.unwrap();
    let grace = Duration::from_secs(60);
    tokio::time::timeout(grace / 6, stage.node.stop(grace)).await.unwrap();
}

#[actix::test]
async fn a_request_that_cannot_be_served_is_answered_and_costs_nothing_else() {
    let stage = stage().await;
    let (connection, _control, _recv, route) = stage.session("mallory").await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let long = vec![0xff; 9];
    let bytes = [
        vec![STREAM_LANE, 1],
        request(1, 999, b""),
        request(2, route, &long),
        request(3, route, &[1, 42, 0]),
        request(4, route, &[1, 42]),
    ];
    send.write_all(&bytes.concat()).await.unwrap();
    let (mut reader, mut answers) = (FrameReader::new(1 << 20), Vec::new());
    while answers.len() < 4 {
        reader.feed(recv.read_chunk(usize::MAX, true).await.unwrap().unwrap().bytes);
        while let Some(frame) = reader.next_frame().unwrap() {
            let Frame::Answer { correlation, answer } = Frame::decode(frame).unwrap() else { panic!() };
            answers.push((correlation, answer));
        }
    }
    answers.sort_by_key(|(correlation, _)| *correlation);
    let delivery = |answer: &Answered| match answer {
        Answered::Undelivered(error) => error.delivery(),
        other => panic!("{other:?}"),
    };
    for (_, answer) in &answers[..3] {
        assert_eq!(delivery(answer), Delivery::NotSent, "{answer:?}");
    }
    assert_eq!(answers[3], (4, Answered::Reply(Bytes::from_static(&[1, 42]))));
}

#[actix::test]
async fn a_peer_that_reads_no_answers_is_read_no_further() {
    let stage = staged(|config| config.timing.silence = Duration::from_secs(300)).await;
    let (connection, _control, _recv, route) = stage.session("mallory").await;
    let (mut send, _unread) = connection.open_bi().await.unwrap();
    send.write_all(&[STREAM_LANE, 1]).await.unwrap();
    let payload = swarm_protocols::wire::codec::encode(&Echo(vec![1; 60_000])).unwrap();
    let (mut sent, mut correlation) = (0_usize, 0);
    // The node stops reading once its answers pile up; until then it takes megabytes at once.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_secs(2), send.write_all(&request(correlation, route, &payload)))
            .await
    {
        written.unwrap();
        sent += payload.len();
        correlation += 1;
        assert!(sent < 64 << 20, "{sent} bytes were taken from a peer that reads nothing");
    }
    stage.serves_others().await;
}

#[actix::test]
async fn bytes_that_are_no_quic_are_ignored() {
    let stage = stage().await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [0, 1, 20, 1200] {
        socket.send_to(&vec![0xa5; length], stage.node.address().unwrap()).unwrap();
    }
    stage.serves_others().await;
}

#[actix::test]
async fn a_peer_that_reads_no_refusal_is_not_waited_for() {
    let stage = stage().await;
    let identity = stage.authority.issue(&"mallory".parse().unwrap(), Role::Operator, stage.day).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut config =
        identity.client_config(Some(stage.node.id()), KeyExchange::default(), EarlyData::default());
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(0_u8.into()).keep_alive_interval(Some(SOON));
    config.transport_config(transport.into());
    let connecting = endpoint.connect_with(config, stage.node.address().unwrap(), "b").unwrap();
    let connection = connecting.await.unwrap();
    let _control = greet(&connection, "alice").await;
    assert_eq!(closed(&connection).await.0, CloseCode::Refused);
}

#[actix::test]
async fn a_peer_that_ends_its_lane_and_leaves_is_worked_for_no_longer() {
    let (mailbox, mut probe) = Probe::<Service>::new();
    let stage = stage().await;
    let _registration = stage.node.expose("probe", mailbox).allow(Role::Operator).register().await.unwrap();
    for leaves in [true, false] {
        let (connection, _control, _recv, route) = stage.session_again("mallory").await;
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        // Routes are announced in the order of names, so this is that of the probe.
        let bytes = [vec![STREAM_LANE, 1], request(1, route, &[0])].concat();
        send.write_all(&bytes).await.unwrap();
        send.finish().unwrap();
        let asked = probe.expect::<Echo>().await;
        if leaves {
            connection.close(0_u8.into(), b"");
        } else {
            recv.stop(0_u8.into()).unwrap();
        }
        let cancelled = tokio::time::timeout(Duration::from_secs(10), async {
            asked.cancellation().cancelled().await;
        });
        cancelled.await.expect("still worked for");
        connection.close(0_u8.into(), b"");
    }
}

#[actix::test]
async fn more_lanes_than_allowed_end_the_connection() {
    let stage = stage().await;
    let (connection, _control, _recv, route) = stage.session("mallory").await;
    let mut lanes = Vec::new();
    for _ in 0..17 {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&[&[STREAM_LANE, 1][..], &request(1, route, &[0])].concat()).await.unwrap();
        lanes.push((send, recv));
    }
    assert_eq!(closed(&connection).await, (CloseCode::ProtocolViolation, "more than 16 lanes".to_owned()));
}
