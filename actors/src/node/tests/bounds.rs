//! How much a node holds for its peers, what it refuses beyond that, and that a refusal costs a call and no session.

use super::{
    hostile::{Stage, in_incarnation, request, staged},
    lenient::Server,
    refusals::Log,
    *,
};
use crate::TellError;
use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use quinn::{RecvStream, SendStream};
use std::{
    pin::pin,
    sync::Arc,
    task::{self, Poll, Wake},
    thread,
};
use swarm_protocols::{
    Blob,
    wire::{
        codec::{self, BINCODE_2},
        control::{Control, Hello, Route, RouteChange, Welcome},
        frame::{
            self, Answered, CONTROL_BYTES_MAX, Frame, FrameReader, STREAM_CONTROL, STREAM_LANE,
            STREAM_REQUEST,
        },
        varint,
    },
};

use uuid::Uuid;

/// A silence that no test takes.
const LONG: Duration = Duration::from_secs(60);

/// Carries bytes there, and so many back.
#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "carry", reply = Blob)]
struct Carry {
    there: Blob,
    back: u32,
}

protocol! { Carrying = "carrying" { Carry } }

fn carrier() -> Mailbox<Carrying> {
    Mailbox::start(Answering(|call: Call<Carry>| Ok(vec![7; call.request.back as usize].into())))
}

fn carry(there: usize, back: u32) -> Carry {
    Carry { there: vec![7; there].into(), back }
}

/// A stage whose node exposes a [`carrier`] too, and a node `a` that asks it; one of them has these limits.
async fn carried(
    of_the_callee: bool,
    message_bytes: u64,
    memory_bytes: usize,
    silence: Duration,
) -> (Stage, Node, Mailbox<Carrying>) {
    let configure = |config: &mut NodeConfig| {
        (config.limits.message_bytes, config.memory_bytes) = (message_bytes, memory_bytes);
    };
    let stage = staged(|config| {
        if of_the_callee {
            configure(config)
        }
    })
    .await;
    stage.node.expose("carrier", carrier()).allow(Role::Operator).register().await.unwrap().detach();
    let mut config = NodeConfig::new(stage.operator("a"), "127.0.0.1:0".parse().unwrap());
    if !of_the_callee {
        configure(&mut config);
    }
    let timing = Timing { heartbeat: silence / 4, silence, ..Timing::default() };
    let a = Node::start(NodeConfig { timing, ..config }).await.unwrap();
    a.connect("b".parse().unwrap(), stage.node.address().unwrap()).await.unwrap();
    let mailbox = a.resolve("b/carrier").await.unwrap();
    (stage, a, mailbox)
}

/// What comes next on a stream of answers.
async fn answer(recv: &mut RecvStream, reader: &mut FrameReader) -> (u64, Answered) {
    loop {
        if let Some(frame) = reader.next_frame().unwrap() {
            match Frame::decode(frame).unwrap() {
                Frame::Answer { correlation, answer } => return (correlation, answer),
                // Of a long answer, which counts when it is whole.
                Frame::Part { .. } => continue,
                other => panic!("{other:?}"),
            }
        }
        let chunk = tokio::time::timeout(Duration::from_secs(10), recv.read_chunk(usize::MAX, true));
        reader.feed(chunk.await.expect("no answer").unwrap().unwrap().bytes);
    }
}

fn reader() -> FrameReader {
    FrameReader::new(64 << 20)
}

#[actix::test]
async fn s3_many_requests_of_nearly_the_longest_size_at_once_all_succeed() {
    for message_bytes in [64 << 10, 1 << 20] {
        let (_stage, _a, carrier) = carried(true, message_bytes, 12 * message_bytes as usize, LONG).await;
        let asked = (0..30).map(|_| carrier.ask(carry(message_bytes as usize - 100, 1)).into_future());
        for answer in join_all(asked).await {
            assert_eq!(answer, Ok(vec![7].into()), "{message_bytes}");
        }
    }
}

#[actix::test]
async fn s3_a_request_beyond_the_longest_size_costs_that_request_and_no_session() {
    let stage = staged(|config| config.limits.message_bytes = 1 << 10).await;
    let (connection, _control, _recv, route) = stage.session("mallory").await;
    let payload = codec::encode(&Echo(vec![1; 2_000])).unwrap();
    let mut claim = vec![STREAM_REQUEST];
    varint::put(1 << 40, &mut claim);
    for bytes in [[&[STREAM_REQUEST], &request(0, route, &payload)[..]].concat(), claim] {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        let (_, answer) = answer(&mut recv, &mut reader()).await;
        let Answered::Undelivered(error) = answer else { panic!("{answer:?}") };
        assert!(matches!(error, DeliveryError::TooLarge { limit: 1024, .. }), "{error:?}");
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
    assert_eq!(connection.close_reason(), None);
}

#[actix::test]
async fn a7_unfinished_frames_beyond_the_share_of_a_peer_are_answered_overloaded() {
    let (stage, _a, carrier) = carried(true, 1 << 20, 12 << 20, LONG).await;
    // Nine MiB are for messages, of which one peer holds half whatever the number of its sessions.
    let mut begun = request(0, 0, &vec![0; 1_000_000]);
    begun.truncate(300_000);
    begun.insert(0, STREAM_REQUEST);
    let (mut held, mut refused) = (Vec::new(), 0);
    let mallory = stage.operator("mallory");
    for _ in 0..3 {
        let (connection, control, control_recv, _) = stage.session_as(&mallory).await;
        for _ in 0..8 {
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            // A stream that is refused is stopped while it is written.
            let _stopped = send.write_all(&begun).await;
            let mut reader = reader();
            let answered = tokio::time::timeout(Duration::from_millis(100), answer(&mut recv, &mut reader));
            if let Ok((_, answer)) = answered.await {
                let overloaded = Answered::Undelivered(DeliveryError::Overloaded {
                    retry_after: crate::gate::RETRY_AFTER,
                });
                assert_eq!(answer, overloaded);
                refused += 1;
            }
            held.push((send, recv));
        }
        assert_eq!(connection.close_reason(), None);
        held.push((control, control_recv));
    }
    assert!((6..=12).contains(&refused), "{refused} of 24 were refused");
    // Others find room.
    assert_eq!(carrier.ask(carry(1_000_000, 1_000_000)).await.map(|back| back.len()), Ok(1_000_000));
}

#[actix::test]
async fn a7_a_long_post_that_finds_no_room_comes_back_and_is_counted() {
    let stage =
        staged(|config| (config.limits.message_bytes, config.memory_bytes) = (1 << 20, 12 << 20)).await;
    let (mailbox, _probe) = Probe::<Carrying>::new();
    stage.node.expose("probe", mailbox).allow(Role::Operator).register().await.unwrap().detach();
    // The more connections there are, the less of a message is on its way unread.
    let _others = [stage.session("c").await, stage.session("d").await, stage.session("e").await];
    let a = Node::start(NodeConfig::new(stage.operator("a"), "127.0.0.1:0".parse().unwrap())).await.unwrap();
    a.connect("b".parse().unwrap(), stage.node.address().unwrap()).await.unwrap();
    let probe: Mailbox<Carrying> = a.resolve("b/probe").await.unwrap();
    // Nine MiB are for messages, of which one peer holds half; the probe keeps what it is sent.
    for _ in 0..4 {
        probe.tell(carry(1_040_000, 1)).await.unwrap();
    }
    let told = probe.tell(carry(1_040_000, 1)).await;
    let Err(TellError { message: Some(_), cause: DeliveryError::Overloaded { .. } }) = told else {
        panic!("{told:?}")
    };
    let sessions = stage.node.sessions().await;
    let of_a: Vec<_> = sessions.iter().filter(|session| session.peer.node.as_str() == "a").collect();
    assert_eq!((of_a[0].received, of_a[0].dropped), (5, 1));
}

#[actix::test]
async fn s2_lanes_that_come_before_the_welcome_leave_it_room() {
    let stage = staged(|_| {}).await;
    let hub = Server::new(&stage.operator("hub"), 0);
    let welcoming = async {
        let connection = hub.endpoint.accept().await.unwrap().await.unwrap();
        let (mut control, hello) = connection.accept_bi().await.unwrap();
        let (mut lane, answers) = connection.open_bi().await.unwrap();
        // All that may come on a connection at first.
        let mut begun = [&[STREAM_LANE, 1], &request(0, 0, &[0; 20_000])[..]].concat();
        begun.truncate(16 << 10);
        lane.write_all(&begun).await.unwrap();
        let welcome = Welcome {
            session: Uuid::nil(),
            wire_version: 1,
            codec: BINCODE_2,
            hello: in_incarnation("hub", 1),
        };
        let mut frame = Vec::new();
        Control::Welcome(welcome).encode(&mut frame).unwrap();
        control.write_all(&frame).await.unwrap();
        (connection, control, hello, lane, answers)
    };
    let connecting = stage.node.connect("hub".parse().unwrap(), hub.address());
    let (_held, connected) = tokio::join!(welcoming, connecting);
    assert_eq!(connected.unwrap().node.as_str(), "hub");
}

#[actix::test]
async fn a10_what_is_not_permitted_writes_twenty_lines_a_minute_whatever_the_sessions() {
    let (log, _listening) = Log::listen();
    let stage = staged(|_| {}).await;
    for id in ["x", "y", "z"] {
        let agent = stage.authority.issue(&id.parse().unwrap(), Role::Agent, stage.day).unwrap();
        let (connection, _control, _recv, route) = stage.session_as(&agent).await;
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let asked: Vec<_> = (0..15).flat_map(|number| request(number, route, &[0])).collect();
        send.write_all(&[&[STREAM_LANE, 1], &asked[..]].concat()).await.unwrap();
        let mut reader = reader();
        for _ in 0..15 {
            let (_, answer) = answer(&mut recv, &mut reader).await;
            assert!(
                matches!(answer, Answered::Undelivered(DeliveryError::NotPermitted { .. })),
                "{answer:?}"
            );
        }
    }
    assert_eq!(log.count("a request was refused"), 20);
}

#[actix::test]
async fn a10_a_peer_that_drains_or_breaks_the_protocol_again_and_again_writes_a_bounded_log() {
    let (log, _listening) = Log::listen();
    let stage = staged(|_| {}).await;
    let (_connection, mut control, mut recv, _) = stage.session("mallory").await;
    let mut flood = Vec::new();
    for id in 0..1_000 {
        Control::Drain.encode(&mut flood).unwrap();
        let named = |prefix: &str| Route {
            id,
            mailbox: format!("{prefix}{id}").parse().unwrap(),
            protocol: prefix.to_owned(),
            request: "echo".to_owned(),
            version: 1,
        };
        let change = RouteChange { added: vec![named("x")], removed: vec![id] };
        Control::Routes(change).encode(&mut flood).unwrap();
    }
    Control::Ping(77).encode(&mut flood).unwrap();
    control.write_all(&flood).await.unwrap();
    let mut reader = FrameReader::new(CONTROL_BYTES_MAX);
    let mut answered = false;
    while !answered {
        reader.feed(recv.read_chunk(usize::MAX, true).await.unwrap().unwrap().bytes);
        while let Some(frame) = reader.next_frame().unwrap() {
            answered |= Control::decode(frame).unwrap() == Control::Pong(77);
        }
    }
    // Asked of the bridge, after what the session has told it.
    stage.node.statistics().await.unwrap();
    assert_eq!(log.count("the peer drains"), 200);
    let before = log.count("\n");
    assert!(before < 210, "routes that come and go write nothing: {before} lines");
    for _ in 0..210 {
        let (connection, _control, _recv, _) = stage.session("mallory").await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&[STREAM_LANE, 1, 3, 0xff, 0xff, 0xff]).await.unwrap();
        connection.closed().await;
    }
    assert_eq!(log.count("the peer broke the protocol"), 20);
    // Of three lines or more for each session.
    assert!(log.count("\n") - before < 2 * 210, "{} lines", log.count("\n") - before);
}

/// Waits for an answer on a thread that belongs to no runtime.
fn outside_a_runtime<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let (mut future, waker) = (pin!(future), Arc::new(Unpark(thread::current())).into());
    loop {
        match future.as_mut().poll(&mut task::Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[actix::test]
async fn s2_a_long_answer_is_taken_outside_a_runtime_too() {
    let (_stage, _a, carrier) = carried(true, 1 << 20, 12 << 20, LONG).await;
    for back in [1, 300_000] {
        let (carrier, (answered, answer)) = (carrier.clone(), tokio::sync::oneshot::channel());
        thread::spawn(move || answered.send(outside_a_runtime(carrier.ask(carry(1, back)).into_future())));
        let answer = answer.await.expect("it panicked");
        assert_eq!(answer.map(|blob| blob.len()), Ok(back as usize));
    }
}

#[actix::test]
async fn s4_answers_that_nobody_takes_cost_neither_the_session_nor_each_other() {
    let (_stage, a, carrier) = carried(true, 64 << 20, 768 << 20, Duration::from_secs(6)).await;
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let mut ask = carrier.ask(carry(1, 2 << 20)).on_own_stream().into_future();
            // It is asked, and then left alone for longer than a peer may be silent.
            let first = (&mut ask).now_or_never();
            assert!(first.is_none());
            ask
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(7)).await;
    for answer in join_all(asked).await {
        assert_eq!(answer.map(|back| back.len()), Ok(2 << 20));
    }
    assert_eq!(a.statistics().await.unwrap().sessions, 1);
}

#[actix::test]
async fn a7_answers_that_nobody_takes_are_held_up_to_a_share() {
    let (_stage, _a, carrier) = carried(false, 1 << 20, 12 << 20, LONG).await;
    let begin = |number: usize| {
        let ask = carrier.ask(carry(1, 1_000_000));
        let mut ask = if number.is_multiple_of(2) { ask.on_own_stream() } else { ask }.into_future();
        let _begun = (&mut ask).now_or_never();
        ask
    };
    let mut asked: Vec<_> = (0..12).map(begin).collect();
    // Until those that have come leave no room for another one.
    until("the share is full", async || {
        asked.push(begin(asked.len()));
        carrier.ask(carry(1, 1_000_000)).await.is_err()
    })
    .await;
    let count = asked.len();
    let (mut came, mut refused) = (0, 0);
    for answer in join_all(asked).await {
        match answer {
            Ok(back) => came += back.len() / 1_000_000,
            Err(AskError::Delivery(
                DeliveryError::Codec { reason, .. } | DeliveryError::SessionLost { reason, .. },
            )) => {
                assert!(reason.starts_with("there is no room for an answer of"), "{reason}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(came >= 2 && came + refused == count, "{came} of {count} came, {refused} found no room");
    assert_eq!(carrier.ask(carry(1, 1_000_000)).await.map(|back| back.len()), Ok(1_000_000));
}

#[actix::test]
async fn s5_a_frame_that_comes_on_may_take_longer_than_a_pause_may_be() {
    let stage = staged(|config| config.timing.frame = Duration::from_millis(600)).await;
    let (connection, _control, _recv, route) = stage.session("slow").await;
    let payload = codec::encode(&Echo(vec![1; 50])).unwrap();
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&[STREAM_REQUEST]).await.unwrap();
    for piece in request(0, route, &payload).chunks(10) {
        tokio::time::sleep(Duration::from_millis(150)).await;
        send.write_all(piece).await.unwrap();
    }
    let (_, answer) = answer(&mut recv, &mut reader()).await;
    assert_eq!(answer, Answered::Reply(Bytes::from(payload)));
}

/// A lane of a stranger to a [`carrier`], and its route; what is dropped last keeps them.
async fn lane_to_carrier() -> (SendStream, RecvStream, u32, impl Sized) {
    let stage = staged(|_| {}).await;
    stage.node.expose("aside", carrier()).allow(Role::Operator).register().await.unwrap().detach();
    let (connection, control, control_recv, echo) = stage.session("mallory").await;
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(&[STREAM_LANE, 1]).await.unwrap();
    // The server has two requests, and was exposed before.
    (send, recv, echo + 2, (stage, connection, control, control_recv))
}

fn carrying(correlation: u64, route: u32, back: u32) -> Vec<u8> {
    request(correlation, route, &codec::encode(&carry(1, back)).unwrap())
}

#[actix::test]
async fn s2_a_short_answer_does_not_wait_until_a_long_one_before_it_is_taken() {
    let (mut send, mut recv, carrier, _stage) = lane_to_carrier().await;
    send.write_all(&carrying(0, carrier, 48 << 20)).await.unwrap();
    let (mut reader, mut parts) = (reader(), 0);
    loop {
        reader.feed(recv.read_chunk(usize::MAX, true).await.unwrap().unwrap().bytes);
        while let Some(frame) = reader.next_frame().unwrap() {
            match Frame::decode(frame).unwrap() {
                Frame::Part { .. } if parts == 0 => {
                    // The long one waits for its peer when this comes.
                    send.write_all(&carrying(1, carrier, 1)).await.unwrap();
                    parts = 1;
                }
                Frame::Part { .. } => parts += 1,
                Frame::Answer { correlation, .. } => {
                    assert!(correlation == 1 && parts < 1_000, "{correlation} after {parts} of 1536 parts");
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[actix::test]
async fn s2_a_long_answer_makes_no_other_wait_and_can_be_cancelled_on_its_way() {
    let (mut send, mut recv, carrier, _stage) = lane_to_carrier().await;
    let [long, other, short] =
        [(0, 8 << 20), (1, 8 << 20), (2, 1)].map(|(correlation, back)| carrying(correlation, carrier, back));
    send.write_all(&[long, other, short].concat()).await.unwrap();
    let (mut reader, mut parts, mut answered) = (reader(), [0, 0], Vec::new());
    while answered.len() < 3 {
        let chunk = recv.read_chunk(usize::MAX, true).await.unwrap().unwrap();
        reader.feed(chunk.bytes);
        while let Some(frame) = reader.next_frame().unwrap() {
            match Frame::decode(frame).unwrap() {
                Frame::Part { correlation, .. } => parts[correlation as usize] += 1,
                Frame::Answer { correlation, answer } => {
                    if correlation == 2 {
                        assert!(parts[0] + parts[1] < 16, "{parts:?} came first");
                        let mut cancel = Vec::new();
                        frame::put_cancel(1, &mut cancel);
                        send.write_all(&cancel).await.unwrap();
                    }
                    answered.push((correlation, matches!(answer, Answered::Reply(_))));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(answered, [(2, true), (1, false), (0, true)]);
    assert!(parts[0] == 256 && parts[1] < 256, "{parts:?}");
}

#[actix::test]
async fn s2_what_is_cancelled_is_cancelled_while_answers_wait() {
    let (mailbox, mut probe) = Probe::<Service>::new();
    let stage = staged(|config| config.timing.silence = LONG).await;
    let _registration = stage.node.expose("aside", mailbox).allow(Role::Operator).register().await.unwrap();
    let (connection, _control, _recv, probed) = stage.session("mallory").await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&[&[STREAM_LANE, 1], &request(5_000, probed, &[0])[..]].concat()).await.unwrap();
    let asked = probe.expect::<Echo>().await;
    // Routes are announced in the order of names: this is that of the server.
    let echo = probed - 2;
    let payload = codec::encode(&Echo(vec![1; 30_000])).unwrap();
    // Far more answers than may wait, of which none is taken.
    for correlation in 0..300 {
        send.write_all(&request(correlation, echo, &payload)).await.unwrap();
    }
    let mut cancels = Vec::new();
    frame::put_cancel(5_000, &mut cancels);
    frame::put_cancel(299, &mut cancels);
    send.write_all(&cancels).await.unwrap();
    let cancelled = tokio::time::timeout(Duration::from_secs(10), async {
        asked.cancellation().cancelled().await;
    });
    cancelled.await.expect("the cancel is not read");
    // Every request is answered once its answers are taken, that which waited and was cancelled too.
    let (mut reader, mut replies, mut others) = (reader(), 0, Vec::new());
    while replies + others.len() < 301 {
        match answer(&mut recv, &mut reader).await {
            (_, Answered::Reply(_)) => replies += 1,
            other => others.push(other),
        }
    }
    let cancelled = || Answered::Undelivered(DeliveryError::Cancelled);
    others.sort_by_key(|(correlation, _)| *correlation);
    assert_eq!(others, [(299, cancelled()), (5_000, cancelled())]);
}

/// Answers the pings of a node on a control stream, so that it believes its peer to be alive.
async fn stay_alive(mut send: SendStream, mut recv: RecvStream) {
    let mut reader = FrameReader::new(1 << 20);
    while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX, true).await {
        reader.feed(chunk.bytes);
        while let Some(frame) = reader.next_frame().unwrap() {
            if let Control::Ping(number) = Control::decode(frame).unwrap() {
                let mut pong = Vec::new();
                Control::Pong(number).encode(&mut pong).unwrap();
                send.write_all(&pong).await.unwrap();
            }
        }
    }
}

#[actix::test]
async fn a9_a_lane_that_the_peer_stops_loses_its_requests_at_once_and_is_followed_by_another() {
    let stage = staged(|_| {}).await;
    let route = |id, request: &str| Route {
        id,
        mailbox: "service".parse().unwrap(),
        protocol: "service".to_owned(),
        request: request.to_owned(),
        version: 1,
    };
    let connection = stage.connect_as(&stage.operator("callee")).await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let routes = vec![route(0, "echo"), route(1, "misbehave")];
    let mut opening = vec![STREAM_CONTROL];
    Control::Hello(Hello { routes, ..in_incarnation("callee", 1) }).encode(&mut opening).unwrap();
    send.write_all(&opening).await.unwrap();
    recv.read_chunk(usize::MAX, true).await.unwrap();
    actix_rt::spawn(stay_alive(send, recv));
    let service: Mailbox<Service> = resolve_soon(&stage.node, "callee/service").await;
    for stopped in [true, false] {
        let asked = [1, 2].map(|number| actix_rt::spawn(service.ask(Echo(vec![number])).into_future()));
        let (_unfinished, mut lane) = connection.accept_bi().await.unwrap();
        lane.read_chunk(usize::MAX, true).await.unwrap();
        if stopped {
            lane.stop(0_u8.into()).unwrap();
        } else {
            drop(_unfinished);
        }
        for asked in asked {
            let lost =
                tokio::time::timeout(Duration::from_secs(5), asked).await.expect("still waits").unwrap();
            let Err(AskError::Delivery(error)) = lost else { panic!("{lost:?}") };
            assert!(matches!(error, DeliveryError::SessionLost { .. }), "{error}");
            assert_eq!(error.delivery(), Delivery::Unknown);
        }
    }
    let asked = actix_rt::spawn(service.ask(Echo(vec![3])).into_future());
    let (mut answers, mut lane) = connection.accept_bi().await.unwrap();
    let asked_for = lane.read_chunk(usize::MAX, true).await.unwrap().unwrap().bytes;
    // Behind the two bytes of the lane.
    let mut reader = reader();
    reader.feed(asked_for.slice(2..));
    let frame = Frame::decode(reader.next_frame().unwrap().unwrap()).unwrap();
    let Frame::Request { head, .. } = frame else { panic!("{frame:?}") };
    let mut reply = Vec::new();
    frame::put_outcome(head.correlation, false, &[1, 3], &mut reply);
    answers.write_all(&reply).await.unwrap();
    assert_eq!(asked.await.unwrap(), Ok(vec![3]));
}

#[actix::test]
async fn s20_a_peer_that_has_drained_and_gone_is_gone() {
    let (service, _registration, _cut, [a, b]) = served(server()).await;
    b.stop(Duration::from_secs(1)).await;
    until_alone(&a).await;
    for own_stream in [false, true] {
        let ask = service.ask(Echo(vec![1]));
        let gone = if own_stream { ask.on_own_stream() } else { ask }.await;
        let Err(AskError::Delivery(error)) = gone else { panic!("{gone:?}") };
        assert!(matches!(error, DeliveryError::SessionLost { delivery: Delivery::NotSent, .. }), "{error:?}");
    }
}
