//! A renewed certificate: the session in which it is shown takes over from the one before, and nobody who asks or
//! watches notices. And who gets in where another process with the same identity is connected.

use super::{
    certificates::start,
    hostile::{Stage, closed, in_incarnation, stage},
    *,
};
use crate::identity::{EarlyData, KeyExchange, PeerIdentity};
use quinn::{RecvStream, SendStream};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};
use swarm_protocols::{
    session::CloseCode,
    wire::{
        codec::BINCODE_2,
        control::{Control, Hello, Welcome},
        frame::{FrameReader, STREAM_CONTROL},
    },
};

/// The certificate that `node` has seen of its only peer.
async fn seen_by(node: &Node) -> Option<PeerIdentity> {
    node.sessions().await.pop()?.certificate
}

impl Stage {
    fn issue(&self, id: &str, role: Role) -> Identity {
        self.authority.issue(&id.parse().unwrap(), role, self.day).unwrap()
    }

    /// Gives a node a renewed certificate, and waits until the peer has seen it in the session that is open.
    async fn renew(&self, node: &Node, role: Role, peer: &Node) {
        let renewed = self.issue(node.id().as_str(), role);
        node.set_identity(renewed.clone()).await.unwrap();
        until("the peer sees the certificate", async || {
            seen_by(peer).await.as_ref() == Some(renewed.as_peer())
        })
        .await;
    }
}

protocol! { pub(super) Ordered = "ordered" { Echo } }

/// Exposes an actor, and keeps the order in which numbers reach it.
async fn ordered(node: &Node, allowed: Role) -> (Rc<RefCell<Vec<u32>>>, Registration) {
    let order = Rc::new(RefCell::new(Vec::new()));
    let reached = Rc::clone(&order);
    let mailbox: Mailbox<Ordered> = Mailbox::start(Answering(move |call: Call<Echo>| {
        let number = call.request.0[..4].try_into().unwrap();
        reached.borrow_mut().push(u32::from_be_bytes(number));
        Ok(call.request.0)
    }));
    let registration = node.expose("ordered", mailbox).allow(allowed).register().await.unwrap();
    (order, registration)
}

/// Asks with one number after another, always many in flight, until it is told to stop.
fn load(mailbox: Mailbox<Ordered>, stop: Rc<Cell<bool>>) -> actix_rt::task::JoinHandle<u32> {
    actix_rt::spawn(async move {
        let mut in_flight = std::collections::VecDeque::new();
        let mut number = 0_u32;
        while !stop.get() {
            let payload = [&number.to_be_bytes()[..], &[7; 60]].concat();
            let mailbox = mailbox.clone();
            // Asked here and now: a call is on its lane before it is waited for.
            let asked = mailbox.ask(Echo(payload.clone())).into_future();
            in_flight.push_back(async move { assert_eq!(asked.await, Ok(payload)) });
            number += 1;
            if in_flight.len() == 64 {
                in_flight.pop_front().unwrap().await;
            }
        }
        for asked in in_flight {
            asked.await;
        }
        number
    })
}

#[actix::test]
async fn renewing_every_certificate_under_load_loses_no_request_and_keeps_their_order() {
    let stage = stage().await;
    let b = &stage.node;
    let a = start(stage.issue("a", Role::Operator)).await;
    let (at_b, _at_b) = ordered(b, Role::Operator).await;
    let (at_a, _at_a) = ordered(&a, Role::Agent).await;
    a.connect("b".parse().unwrap(), b.address().unwrap()).await.unwrap();
    let (mut seen_by_a, mut seen_by_b) = (a.watch(), b.watch());
    let stop = Rc::new(Cell::new(false));
    // Mailboxes that are resolved once, on both sides, before anything is renewed.
    let to_b = load(resolve_soon(&a, "b/ordered").await, Rc::clone(&stop));
    let to_a = load(resolve_soon(b, "a/ordered").await, Rc::clone(&stop));
    let on_own_streams = actix_rt::spawn({
        let (service, stop): (Mailbox<Service>, _) =
            (a.resolve("b/service").await.unwrap(), Rc::clone(&stop));
        async move {
            while !stop.get() {
                assert_eq!(service.ask(Echo(vec![1; 300])).on_own_stream().await, Ok(vec![1; 300]));
            }
        }
    });
    for _ in 0..10 {
        // The peer that was dialled shows its renewed certificate in the session that its peer opens next.
        let renewed = stage.issue("b", Role::Agent);
        b.set_identity(renewed.clone()).await.unwrap();
        stage.renew(&a, Role::Operator, b).await;
        until("a sees that of b", async || seen_by(&a).await.as_ref() == Some(renewed.as_peer())).await;
        let reached = at_b.borrow().len() + 200;
        until("the load goes on", async || at_b.borrow().len() > reached).await;
    }
    stop.set(true);
    for (asked, order) in [(to_b.await.unwrap(), at_b), (to_a.await.unwrap(), at_a)] {
        assert!(asked > 1_000, "{asked} requests are no load");
        assert_eq!(*order.borrow(), (0..asked).collect::<Vec<_>>());
    }
    on_own_streams.await.unwrap();
    // Both sides have always had one session, and nobody was told of another.
    for (node, events) in [(&a, &mut seen_by_a), (b, &mut seen_by_b)] {
        assert_eq!(node.statistics().await.unwrap().sessions, 1);
        assert!(matches!(events.next().now_or_never(), Some(Some(PeerEvent::Up(_)))));
        assert!(events.next().now_or_never().is_none());
    }
}

/// A stage whose node exposes a probe, and an operator that has found it.
async fn staged_probe() -> (Stage, Node, Mailbox<Service>, Probe<Service>) {
    let stage = stage().await;
    let (mailbox, probe) = Probe::<Service>::new();
    stage.node.expose("probe", mailbox).allow(Role::Operator).register().await.unwrap().detach();
    let a = start(stage.issue("a", Role::Operator)).await;
    a.connect("b".parse().unwrap(), stage.node.address().unwrap()).await.unwrap();
    let service = a.resolve("b/probe").await.unwrap();
    (stage, a, service, probe)
}

#[actix::test]
async fn what_is_in_flight_is_answered_on_the_session_before_and_then_that_ends() {
    let (stage, a, service, mut probe) = staged_probe().await;
    let before = service.ask(Echo(vec![1])).into_future();
    let held = probe.expect::<Echo>().await;
    let large = tokio::task::spawn_local({
        let service = service.clone();
        async move { service.ask(Echo(vec![3; 100_000])).await }
    });
    let large_held = probe.expect::<Echo>().await;
    stage.renew(&a, Role::Operator, &stage.node).await;

    // The lane goes on, and does not wait for an answer.
    let (after, ()) = tokio::join!(service.ask(Echo(vec![2])).into_future(), async {
        probe.expect::<Echo>().await.reply(Ok(vec![2]));
    });
    assert_eq!(after, Ok(vec![2]));
    assert_eq!(stage.node.retired().await, 1);
    held.reply(Ok(vec![1]));
    large_held.reply(Ok(vec![3]));
    assert_eq!(before.await, Ok(vec![1]));
    assert_eq!(large.await.unwrap(), Ok(vec![3]));
    for node in [&a, &stage.node] {
        until("the former session ends", async || node.retired().await == 0).await;
        assert_eq!(node.statistics().await.unwrap().sessions, 1);
    }
    assert_eq!(stage.node.statistics().await.unwrap().received, 3 + 1, "and one mark on the lane");
}

#[actix::test]
async fn sessions_that_are_not_over_yet_are_bounded_and_a_handover_is_tried_again() {
    let (stage, a, service, mut probe) = staged_probe().await;
    let mut held = Vec::new();
    for number in 0..4 {
        let asked = service.ask(Echo(vec![number])).into_future();
        held.push((asked, probe.expect::<Echo>().await));
        stage.renew(&a, Role::Operator, &stage.node).await;
    }
    assert_eq!(stage.node.retired().await, 4);
    let before = seen_by(&stage.node).await;
    let renewed = stage.issue("a", Role::Operator);
    a.set_identity(renewed.clone()).await.unwrap();
    // It is refused now, and the session there is goes on.
    let (answer, ()) = tokio::join!(service.ask(Echo(vec![9])).into_future(), async {
        probe.expect::<Echo>().await.reply(Ok(vec![9]));
    });
    assert_eq!(answer, Ok(vec![9]));
    assert_eq!(seen_by(&stage.node).await, before);
    for (number, (asked, call)) in (0..).zip(held) {
        call.reply(Ok(vec![number]));
        assert_eq!(asked.await, Ok(vec![number]));
    }
    until("it is tried again", async || seen_by(&stage.node).await.as_ref() == Some(renewed.as_peer())).await;
    until("the former sessions end", async || stage.node.retired().await == 0).await;
}

#[actix::test]
async fn a_renewed_certificate_of_the_node_that_was_dialled_is_looked_for_before_the_last_one_ends() {
    let stage = stage().await;
    let now = SystemTime::now();
    let short = Validity::new(now - Duration::from_secs(60), now + Duration::from_secs(12)).unwrap();
    let b = start(stage.authority.issue(&"short".parse().unwrap(), Role::Agent, short).unwrap()).await;
    let _registration = b.expose("service", server()).allow(Role::Operator).register().await.unwrap();
    let a = start(stage.issue("a", Role::Operator)).await;
    a.connect("short".parse().unwrap(), b.address().unwrap()).await.unwrap();
    let mut seen = a.watch();
    let service: Mailbox<Service> = a.resolve("short/service").await.unwrap();
    let from_now = Validity::new(now, stage.day.valid_until()).unwrap();
    let renewed = stage.authority.issue(&"short".parse().unwrap(), Role::Agent, from_now).unwrap();
    b.set_identity(renewed.clone()).await.unwrap();
    until("a sees the renewed one", async || seen_by(&a).await.as_ref() == Some(renewed.as_peer())).await;
    assert!(SystemTime::now() < short.valid_until());
    assert_eq!(service.ask(Echo(vec![1])).await, Ok(vec![1]));
    assert!(matches!(seen.next().now_or_never(), Some(Some(PeerEvent::Up(_)))));
    assert!(seen.next().now_or_never().is_none());
}

/// A session by hand: what a peer that is not ours sees.
struct ByHand {
    connection: quinn::Connection,
    send: SendStream,
    recv: RecvStream,
    reader: FrameReader,
}

impl ByHand {
    async fn open(stage: &Stage, identity: &Identity) -> Self {
        Self::open_as_incarnation(stage, identity, 1).await
    }

    async fn open_as_incarnation(stage: &Stage, identity: &Identity, incarnation: u64) -> Self {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config =
            identity.client_config(Some(stage.node.id()), KeyExchange::default(), EarlyData::default());
        let connection =
            endpoint.connect_with(config, stage.node.address().unwrap(), "b").unwrap().await.unwrap();
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&[STREAM_CONTROL]).await.unwrap();
        let mut by_hand = Self { connection, send, recv, reader: FrameReader::new(1 << 20) };
        by_hand.send(Control::Hello(in_incarnation(identity.id().as_str(), incarnation))).await;
        by_hand
    }

    /// The same, and it is welcome.
    async fn let_in(stage: &Stage, identity: &Identity, incarnation: u64) -> Self {
        let mut by_hand = Self::open_as_incarnation(stage, identity, incarnation).await;
        assert!(matches!(by_hand.next().await, Control::Welcome(_)));
        by_hand
    }

    /// Takes the session that a node opens, as `hello` says.
    async fn accept(endpoint: &quinn::Endpoint, hello: Hello) -> Self {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (send, mut recv) = connection.accept_bi().await.unwrap();
        recv.read_exact(&mut [0]).await.unwrap();
        let mut by_hand = Self { connection, send, recv, reader: FrameReader::new(1 << 20) };
        assert!(matches!(by_hand.next().await, Control::Hello(_)));
        let welcome = Welcome { session: uuid::Uuid::now_v7(), wire_version: 1, codec: BINCODE_2, hello };
        by_hand.send(Control::Welcome(welcome)).await;
        by_hand
    }

    async fn next(&mut self) -> Control {
        let next = async {
            loop {
                if let Some(frame) = self.reader.next_frame().unwrap() {
                    return Control::decode(frame).unwrap();
                }
                self.reader.feed(self.recv.read_chunk(usize::MAX, true).await.unwrap().unwrap().bytes);
            }
        };
        tokio::time::timeout(Duration::from_secs(10), next).await.expect("nothing comes")
    }

    async fn send(&mut self, control: Control) {
        let mut frame = Vec::new();
        control.encode(&mut frame).unwrap();
        self.send.write_all(&frame).await.unwrap();
    }

    /// Waits for a drain, and answers pings on the way.
    async fn drained(&mut self) {
        loop {
            match self.next().await {
                Control::Ping(number) => self.send(Control::Pong(number)).await,
                Control::Drain => return,
                Control::Routes(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[actix::test]
async fn a_peer_takes_over_with_a_renewed_certificate_and_the_same_incarnation() {
    let stage = stage().await;
    let mut old = ByHand::let_in(&stage, &stage.issue("mallory", Role::Agent), 1).await;
    let renewed = stage.issue("mallory", Role::Agent);
    let mut new = ByHand::let_in(&stage, &renewed, 1).await;
    // The node uses the new session when it knows that its peer does.
    assert_ne!(seen_by(&stage.node).await.as_ref(), Some(renewed.as_peer()));
    assert!(matches!(new.next().await, Control::Ping(1)));
    new.send(Control::Pong(1)).await;
    old.drained().await;
    assert_eq!(seen_by(&stage.node).await.as_ref(), Some(renewed.as_peer()));
    assert_eq!(stage.node.retired().await, 1, "until the peer is through as well");
    old.connection.close(0_u8.into(), b"");
    until("the former session ends", async || stage.node.retired().await == 0).await;
    assert_eq!(stage.node.statistics().await.unwrap().sessions, 1);
}

#[actix::test]
async fn a_session_that_is_not_used_takes_nothing_over() {
    let stage = stage().await;
    let mut old = ByHand::let_in(&stage, &stage.issue("mallory", Role::Agent), 1).await;
    let mut seen = stage.node.watch();
    let new = ByHand::let_in(&stage, &stage.issue("mallory", Role::Agent), 1).await;
    // A third one has to wait.
    let third = ByHand::open(&stage, &stage.issue("mallory", Role::Agent)).await;
    let (code, reason) = closed(&third.connection).await;
    assert_eq!(code, CloseCode::Refused);
    assert!(reason.starts_with("another session of mallory is about to take over"), "{reason}");
    new.connection.close(0_u8.into(), b"");
    // When the node has seen that, there is room again.
    until("a fourth one", async || {
        let mut fourth = ByHand::open(&stage, &stage.issue("mallory", Role::Agent)).await;
        let welcome = matches!(fourth.next().await, Control::Welcome(_));
        if welcome {
            old.send(Control::Drain).await;
            until("it takes over", async || stage.node.retired().await == 1).await;
        }
        welcome
    })
    .await;
    assert!(matches!(seen.next().now_or_never(), Some(Some(PeerEvent::Up(_)))));
}

#[actix::test]
async fn only_a_certificate_of_the_same_role_and_from_no_earlier_time_takes_over() {
    let stage = stage().await;
    let old = ByHand::let_in(&stage, &stage.issue("mallory", Role::Agent), 1).await;
    let now = SystemTime::now();
    let earlier = Validity::new(now - Duration::from_secs(3_600), now + Duration::from_secs(3_600)).unwrap();
    let id = "mallory".parse().unwrap();
    let earlier = stage.authority.issue(&id, Role::Agent, earlier).unwrap();
    for wrong in [earlier, stage.issue("mallory", Role::Coordinator)] {
        let second = ByHand::open(&stage, &wrong).await;
        let refused = (CloseCode::Refused, "mallory is connected already".to_owned());
        assert_eq!(closed(&second.connection).await, refused);
    }
    assert_eq!(old.connection.close_reason(), None);
}

#[actix::test]
async fn a_node_that_dials_takes_no_other_incarnation_role_or_earlier_certificate_for_its_peer() {
    let stage = stage().await;
    let config = |identity: &Identity| identity.server_config(KeyExchange::default(), EarlyData::default());
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let hub = quinn::Endpoint::server(config(&stage.issue("hub", Role::Coordinator)), anywhere).unwrap();
    let a = start(stage.issue("a", Role::Agent)).await;
    let connecting = a.connect("hub".parse().unwrap(), hub.local_addr().unwrap());
    let (peer, first) = tokio::join!(connecting, ByHand::accept(&hub, in_incarnation("hub", 1)));
    let session = peer.unwrap().session;
    let now = SystemTime::now();
    let earlier = Validity::new(now - Duration::from_secs(3_600), now + Duration::from_secs(3_600)).unwrap();
    let earlier = stage.authority.issue(&"hub".parse().unwrap(), Role::Coordinator, earlier).unwrap();
    for (shown, incarnation) in
        [(stage.issue("hub", Role::Coordinator), 2), (stage.issue("hub", Role::Agent), 1), (earlier, 1)]
    {
        hub.set_server_config(Some(config(&shown)));
        a.set_identity(stage.issue("a", Role::Agent)).await.unwrap();
        let second = ByHand::accept(&hub, in_incarnation("hub", incarnation)).await;
        let reason = "the session there is with hub goes on: this is another incarnation or role of it, or an earlier \
                      certificate";
        assert_eq!(closed(&second.connection).await, (CloseCode::Done, reason.to_owned()));
    }
    assert_eq!(first.connection.close_reason(), None);
    assert_eq!(a.sessions().await[0].peer.session, session);
}

#[actix::test]
async fn another_incarnation_with_an_earlier_certificate_takes_nothing_over() {
    let stage = stage().await;
    let from_now = Validity::new(SystemTime::now(), stage.day.valid_until()).unwrap();
    let later = stage.authority.issue(&"mallory".parse().unwrap(), Role::Agent, from_now).unwrap();
    let earlier = stage.issue("mallory", Role::Agent);
    let old = ByHand::let_in(&stage, &later, 1).await;
    let thief = ByHand::open_as_incarnation(&stage, &earlier, u64::MAX >> 8).await;
    let refused = (CloseCode::Refused, "mallory is connected already, with a later certificate".to_owned());
    assert_eq!(closed(&thief.connection).await, refused);
    assert_eq!(old.connection.close_reason(), None);
    let _restarted = ByHand::let_in(&stage, &later, 2).await;
    assert_eq!(closed(&old.connection).await.0, CloseCode::Superseded);
}

#[actix::test]
async fn s11_a_node_that_was_restarted_gets_in_whatever_its_clock_says_and_the_one_before_is_told() {
    let stage = stage().await;
    let identity = stage.issue("mallory", Role::Agent);
    let mut old = ByHand::let_in(&stage, &identity, 1_000).await;
    let mut seen = stage.node.watch();
    // It answers no ping any more. The next one was started by a clock that was set back, the last one by none.
    for incarnation in [999, 1_001] {
        let new = ByHand::let_in(&stage, &identity, incarnation).await;
        let reason = "another incarnation of mallory connected, and this one did not answer".to_owned();
        assert_eq!(closed(&old.connection).await, (CloseCode::Superseded, reason));
        old = new;
    }
    let mut events = Vec::new();
    for _ in 0..5 {
        events.push(matches!(seen.next().await, Some(PeerEvent::Up(_))));
    }
    assert_eq!(events, [true, false, true, false, true]);
}

#[actix::test]
async fn s12_of_two_processes_with_one_identity_the_one_that_answers_keeps_its_place() {
    let stage = stage().await;
    let (b, address) = (|| "b".parse::<NodeId>().unwrap(), stage.node.address().unwrap());
    let first = start(stage.issue("a", Role::Agent)).await;
    let session = first.connect(b(), address).await.unwrap().session;
    for _ in 0..3 {
        // As a supervisor would that starts it again and again.
        let second = start(stage.issue("a", Role::Agent)).await;
        let refused = second.connect(b(), address).await.unwrap_err().to_string();
        assert!(refused.contains("another process with its identity answers"), "{refused}");
        second.stop(Duration::ZERO).await;
    }
    assert_eq!(stage.node.sessions().await[0].peer.session, session);
    assert_eq!(first.statistics().await.unwrap().sessions, 1);
    first.stop(Duration::ZERO).await;
    let second = start(stage.issue("a", Role::Agent)).await;
    second.connect(b(), address).await.unwrap();
}

#[actix::test]
async fn s19_those_who_need_a_lost_peer_at_the_same_time_dial_it_once() {
    let stage = stage().await;
    let config =
        stage.issue("hub", Role::Coordinator).server_config(KeyExchange::default(), EarlyData::default());
    let hub = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let a = start(stage.issue("a", Role::Agent)).await;
    let connecting = a.connect("hub".parse().unwrap(), hub.local_addr().unwrap());
    let (peer, first) = tokio::join!(connecting, ByHand::accept(&hub, in_incarnation("hub", 1)));
    peer.unwrap();
    first.connection.close(0_u8.into(), b"");
    until("the session is lost", async || a.statistics().await.unwrap().sessions == 0).await;
    let resolving = futures_util::future::join_all((0..8).map(|_| a.resolve::<Service>("hub/service")));
    let (found, _second) = tokio::join!(resolving, ByHand::accept(&hub, in_incarnation("hub", 2)));
    assert!(found.iter().all(|found| matches!(found, Err(ResolveError::NotFound { .. }))), "{found:?}");
    assert!(hub.accept().now_or_never().is_none(), "it was dialled twice");
}

#[actix::test]
async fn the_former_session_ends_although_nothing_more_is_asked_on_its_lane() {
    let (stage, a, service, mut probe) = staged_probe().await;
    let asked = service.ask(Echo(vec![1])).into_future();
    let held = probe.expect::<Echo>().await;
    stage.renew(&a, Role::Operator, &stage.node).await;
    held.reply(Ok(vec![1]));
    assert_eq!(asked.await, Ok(vec![1]));
    for node in [&a, &stage.node] {
        until("the former session ends", async || node.retired().await == 0).await;
    }
}

#[actix::test]
async fn a_replacement_session_is_opened_where_the_one_before_is() {
    let stage = stage().await;
    let a = start(stage.issue("a", Role::Operator)).await;
    a.connect("b".parse().unwrap(), stage.node.address().unwrap()).await.unwrap();
    // Nobody answers there, and nobody has to: there is a session.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    a.connect("b".parse().unwrap(), silent.local_addr().unwrap()).await.unwrap();
    stage.renew(&a, Role::Operator, &stage.node).await;
}
