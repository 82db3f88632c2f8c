//! Two nodes that ask each other: over QUIC on loopback where sockets and certificates matter, in
//! memory and in virtual time where only the order of events does.

mod arbiters;
mod bounds;
mod brittle;
mod certificates;
mod delegation;
mod discovery;
mod early;
mod early_attacks;
mod handover;
mod held_up;
mod hostile;
mod in_hand;
mod lenient;
mod library;
mod newcomers;
mod pipelines;
mod posts;
mod refusals;
mod resumption;
mod versions;
mod ways;

use super::*;
use crate::{
    AskError, Call, Mailbox, Outcome, Priority,
    arbiters::Arbiters,
    budget::Budget,
    identity::{Authority, EarlyData, Validity},
    testing::{Asked, Cut, MemoryNode, Probe, pair, resolve_soon},
    transport::{Connection, DialError, EarlyAsks, ServeEarly},
};
use actix::{Actor, Context, Handler};
use futures_util::{FutureExt, future::BoxFuture, stream::LocalBoxStream};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    time::{Duration, SystemTime},
};
use swarm_protocols::{
    Delivery, DeliveryError, NoError, Request, protocol, session::Timing, wire::control::Limits,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "echo", reply = Vec<u8>)]
struct Echo(Vec<u8>);

#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "misbehave", error = Refusal)]
enum Misbehave {
    Fail,
    Panic,
    PanicLater,
    Stop,
    Never,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

protocol! { Service = "service" { Echo, Misbehave } }

struct Server;

impl Actor for Server {
    type Context = Context<Self>;
}

impl Handler<Call<Echo>> for Server {
    type Result = Result<Vec<u8>, NoError>;

    fn handle(&mut self, call: Call<Echo>, _: &mut Self::Context) -> Self::Result {
        Ok(call.request.0)
    }
}

impl Handler<Call<Misbehave>> for Server {
    type Result = crate::Answer<Misbehave>;

    fn handle(&mut self, call: Call<Misbehave>, context: &mut Self::Context) -> Self::Result {
        match call.request {
            Misbehave::Panic => panic!("as the test wants"),
            Misbehave::Stop => actix::ActorContext::stop(context),
            _ => {}
        }
        call.answer(async |call| match call.request {
            Misbehave::Fail => Err(Refusal("no".into())),
            Misbehave::Stop => Ok(()),
            Misbehave::PanicLater => panic!("as the test wants"),
            _ => std::future::pending().await,
        })
    }
}

fn server() -> Mailbox<Service> {
    Mailbox::start(Server)
}

/// An actor that answers with what a function makes of a request.
struct Answering<F>(F);

impl<F: Unpin + 'static> Actor for Answering<F> {
    type Context = Context<Self>;
}

impl<R: Request, F: FnMut(Call<R>) -> Outcome<R> + Unpin + 'static> Handler<Call<R>> for Answering<F> {
    type Result = Outcome<R>;

    fn handle(&mut self, call: Call<R>, _: &mut Self::Context) -> Self::Result {
        (self.0)(call)
    }
}

fn memory(id: &str, role: Role) -> MemoryNode {
    MemoryNode::new(id, role)
}

/// A caller and a callee in memory, the callee's mailbox being a probe.
async fn probed() -> (Mailbox<Service>, Probe<Service>, Registration, Cut, [Node; 2]) {
    let (mailbox, probe) = Probe::new();
    let (remote, registration, cut, nodes) = served(mailbox).await;
    (remote, probe, registration, cut, nodes)
}

/// What a caller `a` in memory finds of a mailbox that a callee `b` exposes to operators.
async fn served<P: Protocol>(mailbox: Mailbox<P>) -> (Mailbox<P>, Registration, Cut, [Node; 2]) {
    served_between(memory("a", Role::Operator), memory("b", Role::Agent), mailbox).await
}

async fn served_between<P: Protocol>(
    a: MemoryNode,
    b: MemoryNode,
    mailbox: Mailbox<P>,
) -> (Mailbox<P>, Registration, Cut, [Node; 2]) {
    let (a, b, cut) = pair(a, b).await;
    let registration = b.expose("service", mailbox).allow(Role::Operator).register().await.unwrap();
    (resolve_soon(&a, "b/service").await, registration, cut, [a, b])
}

/// Waits until something is the case.
pub(crate) async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let looked = async {
        while !look().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looked).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Waits until the peers of a node have gone.
async fn until_alone(node: &Node) {
    until("its sessions end", async || node.statistics().await.unwrap().sessions == 0).await;
}

/// A caller `a` and a callee `b` that exposes a [`Server`], over QUIC on loopback.
async fn over_quic() -> (Mailbox<Service>, Registration, [Node; 2]) {
    let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400)).unwrap();
    let authority = Authority::new("test", day).unwrap();
    let start = async |id: &str, role| {
        let identity = authority.issue(&id.parse().unwrap(), role, day).unwrap();
        Node::start(NodeConfig::new(identity, "127.0.0.1:0".parse().unwrap())).await.unwrap()
    };
    let (a, b) = (start("a", Role::Operator).await, start("b", Role::Agent).await);
    let registration = b.expose("service", server()).allow(Role::Operator).register().await.unwrap();
    let peer = a.connect("b".parse().unwrap(), b.address().unwrap()).await.unwrap();
    assert_eq!((peer.node.as_str(), peer.role), ("b", Role::Agent));
    (a.resolve("b/service").await.unwrap(), registration, [a, b])
}

#[actix::test]
async fn requests_of_every_size_come_back_over_quic() {
    let (service, _registration, nodes) = over_quic().await;
    for bytes in [0, 1, 63, 1_300, 16_300, 16_400, 1 << 20, 5 << 20] {
        let sent: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
        assert_eq!(service.ask(Echo(sent.clone())).await, Ok(sent.clone()), "{bytes} bytes");
        assert_eq!(service.ask(Echo(sent.clone())).on_own_stream().await, Ok(sent), "{bytes} bytes");
    }
    let statistics = nodes[0].statistics().await.unwrap();
    assert_eq!((statistics.sessions, statistics.sent, statistics.received), (1, 16, 0));
    assert!(statistics.p50.is_some() && statistics.p50 <= statistics.p99);
    let [session] = &nodes[0].sessions().await[..] else { panic!("one session was opened") };
    assert_eq!((session.peer.node.as_str(), session.sent, session.received), ("b", 16, 0));
    assert!(session.round_trip.is_some(), "the first ping goes out when the session opens");
}

#[actix::test]
async fn many_requests_in_flight_get_their_own_answers() {
    let (service, _registration, _nodes) = over_quic().await;
    let asks = (0..2_000_u32).map(async |i| {
        let ask = service.ask(Echo(i.to_le_bytes().to_vec()));
        let answer = match i % 4 {
            0 => ask.on_own_stream().await,
            1 => ask.priority(Priority::High).await,
            2 => ask.priority(Priority::Low).await,
            _ => ask.await,
        };
        assert_eq!(answer, Ok(i.to_le_bytes().to_vec()));
    });
    futures_util::future::join_all(asks).await;
}

#[actix::test]
async fn requests_flow_both_ways_whoever_dialled() {
    let (_, _registration, [a, b]) = over_quic().await;
    let _of_a = a.expose("service", server()).allow(Role::Agent).register().await.unwrap();
    let service: Mailbox<Service> = resolve_soon(&b, "a/service").await;
    assert_eq!(service.ask(Echo(vec![7])).await, Ok(vec![7]));
}

#[actix::test]
async fn errors_of_the_handler_and_of_delivery_stay_apart() {
    let (service, _registration, _nodes) = over_quic().await;
    assert_eq!(service.ask(Misbehave::Fail).await, Err(AskError::Handler(Refusal("no".into()))));
    assert_eq!(service.ask(Misbehave::PanicLater).await, Err(DeliveryError::Panicked.into()));
    assert_eq!(service.ask(Misbehave::Panic).await, Err(DeliveryError::Panicked.into()));
    // The actor died of it.
    assert_eq!(service.ask(Echo(vec![])).await, Err(DeliveryError::Stopped.into()));
}

#[actix::test]
async fn an_actor_that_stops_is_told_from_one_that_panics() {
    let service = server();
    assert_eq!(service.ask(Misbehave::Stop).await, Ok(()));
    assert_eq!(service.ask(Misbehave::Fail).await, Err(DeliveryError::Stopped.into()));
    let service = server();
    assert_eq!(service.ask(Misbehave::Panic).await, Err(DeliveryError::Panicked.into()));
}

#[actix::test]
async fn an_ask_ends_in_time_and_cancels_at_the_callee() {
    tokio::time::pause();
    let (service, mut probe, _registration, _cut, _nodes) = probed().await;
    let after = Duration::from_millis(50);
    for own_stream in [false, true] {
        let ask = service.ask(Echo(vec![1])).timeout(after);
        let ask = if own_stream { ask.on_own_stream() } else { ask };
        let (answer, asked) = tokio::join!(ask.into_future(), probe.expect::<Echo>());
        assert_eq!(answer, Err(DeliveryError::TimedOut { after, delivery: Delivery::Unknown }.into()));
        asked.cancellation().cancelled().await;
        assert!(!asked.reply(Ok(vec![])), "the asker was still waiting");
    }
}

#[actix::test]
async fn dropping_an_ask_cancels_it_at_the_callee() {
    tokio::time::pause();
    let (service, mut probe, _registration, _cut, _nodes) = probed().await;
    for own_stream in [false, true] {
        let ask = service.ask(Echo(vec![1]));
        let ask = if own_stream { ask.on_own_stream() } else { ask };
        let asked = tokio::select! {
            answer = ask.into_future() => panic!("{answer:?}"),
            asked = probe.expect::<Echo>() => asked,
        };
        asked.cancellation().cancelled().await;
    }
    // The numbers of the abandoned requests are free again, and the lane goes on.
    let (answer, ()) = tokio::join!(service.ask(Echo(vec![2])).into_future(), async {
        probe.expect::<Echo>().await.reply(Ok(vec![3]));
    });
    assert_eq!(answer, Ok(vec![3]));
}

#[actix::test]
async fn the_callee_sees_who_asks_and_until_when() {
    tokio::time::pause();
    let (service, mut probe, _registration, _cut, _nodes) = probed().await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(3);
    let ask = service.ask(Echo(vec![1])).timeout(Duration::from_secs(3));
    let (_, ()) = tokio::join!(ask.into_future(), async {
        let asked = probe.expect::<Echo>().await;
        // No virtual time passes on the way.
        assert_eq!(asked.deadline(), Some(deadline));
        let caller = asked.caller().unwrap();
        assert_eq!((caller.node.as_str(), caller.role), ("a", Role::Operator));
        asked.reply(Ok(vec![]));
    });
}

#[actix::test]
async fn a_told_message_is_accepted_before_it_is_handled() {
    tokio::time::pause();
    let (service, mut probe, _registration, _cut, _nodes) = probed().await;
    service.tell(Echo(vec![1])).acknowledged().await.unwrap();
    let told = probe.expect::<Echo>().await;
    assert!(told.is_told());
    assert_eq!(told.request(), &Echo(vec![1]));
    probe.expect_none(Duration::from_secs(1)).await;
}

#[actix::test]
async fn messages_arrive_in_the_order_in_which_they_were_sent() {
    tokio::time::pause();
    let (service, mut probe, _registration, _cut, _nodes) = probed().await;
    let asks = (0..200_u8).map(|i| service.ask(Echo(vec![i])).into_future());
    let (answers, ()) = tokio::join!(futures_util::future::join_all(asks), async {
        for i in 0..200_u8 {
            let asked: Asked<Echo> = probe.expect().await;
            assert_eq!(asked.request(), &Echo(vec![i]));
            asked.reply(Ok(vec![i]));
        }
    });
    assert!(answers.into_iter().zip(0..200_u8).all(|(answer, i)| answer == Ok(vec![i])));
}

#[actix::test]
async fn a_lost_session_ends_what_is_in_flight_and_what_comes_later() {
    tokio::time::pause();
    let (service, mut probe, _registration, cut, [a, _b]) = probed().await;
    let ask = service.ask(Echo(vec![1])).into_future();
    let own = service.ask(Echo(vec![2])).on_own_stream().into_future();
    let (answer, own_answer, asked) = tokio::join!(ask, own, async {
        let asked = [probe.expect::<Echo>().await, probe.expect::<Echo>().await];
        cut.cut("the cable was pulled");
        asked
    });
    for answer in [answer, own_answer] {
        let Err(AskError::Delivery(DeliveryError::SessionLost { reason, delivery })) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!((reason.as_str(), delivery), ("the cable was pulled", Delivery::Unknown));
    }
    for asked in &asked {
        asked.cancellation().cancelled().await;
    }
    let later = service.ask(Echo(vec![3])).await.unwrap_err();
    let AskError::Delivery(later) = later;
    assert_eq!(later.delivery(), Delivery::NotSent);
    assert!(matches!(a.resolve::<Service>("b/service").await, Err(ResolveError::NotConnected { .. })));
}

#[actix::test]
async fn a_full_mailbox_says_so_and_recovers() {
    tokio::time::pause();
    let limits = Limits { in_flight: 2, ..Limits::default() };
    let callee = MemoryNode { limits, ..memory("b", Role::Agent) };
    let (mailbox, mut probe) = Probe::<Service>::new();
    let (service, _registration, _cut, _nodes) =
        served_between(memory("a", Role::Operator), callee, mailbox).await;
    let (first, second) = (service.ask(Echo(vec![1])), service.ask(Echo(vec![2])));
    let (first, second, ()) = tokio::join!(first.into_future(), second.into_future(), async {
        let held = [probe.expect::<Echo>().await, probe.expect::<Echo>().await];
        let refused = service.ask(Echo(vec![3])).await;
        assert!(matches!(refused, Err(AskError::Delivery(DeliveryError::Overloaded { .. }))), "{refused:?}");
        let own = service.ask(Echo(vec![4])).on_own_stream().await;
        assert!(matches!(own, Err(AskError::Delivery(DeliveryError::Overloaded { .. }))), "{own:?}");
        assert!(held.into_iter().all(|asked| asked.reply(Ok(vec![]))));
    });
    assert_eq!((first, second), (Ok(vec![]), Ok(vec![])));
    let (answer, ()) = tokio::join!(service.ask(Echo(vec![5])).into_future(), async {
        probe.expect::<Echo>().await.reply(Ok(vec![5]));
    });
    assert_eq!(answer, Ok(vec![5]));
}

#[actix::test]
async fn only_what_was_allowed_may_be_called() {
    tokio::time::pause();
    let (a, b, _cut) = pair(memory("a", Role::Agent), memory("b", Role::Coordinator)).await;
    let (mailbox, mut probe) = Probe::<Service>::new();
    let nobody = b.expose("service", mailbox.clone()).register().await.unwrap_err();
    assert!(matches!(nobody, ExposeError::NobodyAllowed(_)));
    let _registration = b.expose("service", mailbox).allow(Role::Operator).register().await.unwrap();
    let service: Mailbox<Service> = resolve_soon(&a, "b/service").await;
    let refused = service.ask(Echo(vec![])).await;
    let reason = "service may not be called by the role agent".to_owned();
    assert_eq!(refused, Err(DeliveryError::NotPermitted { reason }.into()));
    assert!(service.tell(Echo(vec![])).acknowledged().await.is_err());
    probe.expect_none(Duration::from_secs(1)).await;
}

#[actix::test]
async fn a_name_is_exposed_once_and_until_its_registration_is_dropped() {
    tokio::time::pause();
    let (service, _probe, registration, _cut, [_a, b]) = probed().await;
    let again = b.expose("service", server()).allow(Role::Operator).register().await.unwrap_err();
    assert!(matches!(again, ExposeError::NameTaken(_)));
    drop(registration);
    let gone = service.ask(Echo(vec![])).await;
    assert!(matches!(gone, Err(AskError::Delivery(DeliveryError::NotExposed { .. }))), "{gone:?}");
    let bad = b.expose("Not A Name", server()).allow(Role::Operator).register().await.unwrap_err();
    assert!(matches!(bad, ExposeError::InvalidName(_)));
    b.expose("service", server()).allow(Role::Operator).register().await.unwrap().detach();
    assert_eq!(b.resolve::<Service>("b/service").await.unwrap().ask(Echo(vec![1])).await, Ok(vec![1]));
}

mod newer {
    use super::*;

    #[derive(Debug, Serialize, Deserialize, Request)]
    #[request(name = "echo", version = 2, reply = String)]
    pub(super) struct Echo(pub(super) String);

    protocol! { pub(super) Service = "service" { Echo } }
    protocol! { pub(super) Other = "other" { Echo } }
}

#[actix::test]
async fn another_version_or_protocol_is_an_error_when_the_name_is_resolved() {
    tokio::time::pause();
    let (_, _probe, _registration, _cut, [a, _b]) = probed().await;
    let error = a.resolve::<newer::Service>("b/service").await.unwrap_err();
    assert_eq!(error.to_string(), "b/service accepts `echo` version 1, not 2");
    let error = a.resolve::<newer::Other>("b/service").await.unwrap_err();
    assert_eq!(error.to_string(), "b/service speaks service, not other");
    let error = a.resolve::<Service>("b/servant").await.unwrap_err();
    assert_eq!(error.to_string(), "b exposes nothing named servant");
    let error = a.resolve::<Service>("c/service").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no session with c, so c/service cannot be found");
    assert!(matches!(a.resolve::<Service>("nonsense").await, Err(ResolveError::Address(_))));
}

#[actix::test]
async fn a_message_over_the_peers_limit_is_not_sent() {
    tokio::time::pause();
    let limits = Limits { message_bytes: 1000, ..Limits::default() };
    let callee = MemoryNode { limits, ..memory("b", Role::Agent) };
    let (service, _registration, _cut, _nodes) =
        served_between(memory("a", Role::Operator), callee, server()).await;
    assert_eq!(service.ask(Echo(vec![0; 990])).await, Ok(vec![0; 990]));
    let error = service.ask(Echo(vec![0; 1000])).await.unwrap_err();
    assert_eq!(error, DeliveryError::TooLarge { bytes: 1003, limit: 1000 }.into());
}

#[actix::test]
async fn stopping_finishes_what_is_in_hand_and_refuses_the_rest() {
    tokio::time::pause();
    let (service, mut probe, _registration, _cut, [_a, b]) = probed().await;
    let mut ask = std::pin::pin!(service.ask(Echo(vec![1])).into_future());
    let held = tokio::select! {
        answer = ask.as_mut() => panic!("{answer:?}"),
        held = probe.expect::<Echo>() => held,
    };
    let (answer, (), ()) = tokio::join!(ask, b.stop(Duration::from_secs(10)), async {
        let refused = async {
            loop {
                let late = service.ask(Echo(vec![2])).into_future();
                let early = tokio::select! {
                    late = late => break late,
                    early = probe.expect::<Echo>() => early,
                };
                early.reply(Ok(vec![]));
            }
        };
        assert_eq!(refused.await, Err(DeliveryError::Draining.into()));
        held.reply(Ok(vec![3]));
    });
    assert_eq!(answer, Ok(vec![3]));
    assert!(b.statistics().await.is_none());
}

#[actix::test]
async fn watchers_hear_of_every_peer_that_comes_and_goes() {
    tokio::time::pause();
    let (_, _probe, _registration, cut, [a, _b]) = probed().await;
    let mut seen = a.watch();
    let Some(PeerEvent::Up(peer)) = seen.next().await else { panic!("no peer") };
    assert_eq!((peer.node.as_str(), peer.role), ("b", Role::Agent));
    cut.cut("the cable was pulled");
    let down = PeerEvent::Down { node: peer.node, reason: "the cable was pulled".into() };
    assert_eq!(seen.next().await, Some(down));
}

#[actix::test]
async fn nobody_at_the_address_is_an_error_that_names_it() {
    let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400)).unwrap();
    let authority = Authority::new("test", day).unwrap();
    let identity = authority.issue(&"a".parse().unwrap(), Role::Operator, day).unwrap();
    let timing = Timing { handshake: Duration::from_millis(300), ..Timing::default() };
    let config = NodeConfig { timing, ..NodeConfig::new(identity, "127.0.0.1:0".parse().unwrap()) };
    let a = Node::start(config).await.unwrap();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let error = a.connect("b".parse().unwrap(), address).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("b at {address} did not answer within 300ms; a node listens on a UDP port")
    );
}

#[actix::test]
async fn an_answer_over_the_callers_limit_costs_one_request() {
    let limits = Limits { message_bytes: 1000, ..Limits::default() };
    let caller = MemoryNode { limits, ..memory("a", Role::Operator) };
    let (service, _registration, _cut, _nodes) =
        served_between(caller, memory("b", Role::Agent), server()).await;
    let error = service.ask(Echo(vec![0; 2000])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer to echo: its 2003 bytes are more than the 1000 that the caller takes"
    );
    assert_eq!(service.ask(Echo(vec![1])).await, Ok(vec![1]));
}

#[actix::test]
async fn an_ask_may_be_given_all_the_time_in_the_world() {
    let service = server();
    assert_eq!(service.ask(Echo(vec![1])).timeout(Duration::MAX).await, Ok(vec![1]));
}

#[actix::test]
async fn s16_what_an_actor_exposed_is_withdrawn_when_it_has_panicked() {
    let (service, _registration, [a, b]) = over_quic().await;
    assert_eq!(service.ask(Misbehave::Panic).await, Err(DeliveryError::Panicked.into()));
    until("it is withdrawn", async || a.names().await.is_empty() && b.names().await.is_empty()).await;
    assert!(matches!(a.resolve::<Service>("b/service").await, Err(ResolveError::NotFound { .. })));
    // The name is free for the next one, under another route.
    b.expose("service", server()).allow(Role::Operator).register().await.unwrap().detach();
    let again: Mailbox<Service> = resolve_soon(&a, "b/service").await;
    assert_eq!(again.ask(Echo(vec![1])).await, Ok(vec![1]));
    let gone = service.ask(Echo(vec![1])).await;
    assert!(matches!(gone, Err(AskError::Delivery(DeliveryError::NotExposed { .. }))), "{gone:?}");
}

#[actix::test]
async fn t6_a_registration_ends_with_its_actor_and_with_its_node() {
    let (service, registration, [_a, b]) = over_quic().await;
    assert_eq!(registration.ended().now_or_never(), None);
    let other = b.expose("other", server()).allow(Role::Operator).register().await.unwrap();
    assert_eq!(service.ask(Misbehave::Panic).await, Err(DeliveryError::Panicked.into()));
    let ended = tokio::time::timeout(Duration::from_secs(10), registration.ended());
    ended.await.expect("the registration of a dead actor goes on");
    assert_eq!(other.ended().now_or_never(), None);
    b.stop(Duration::ZERO).await;
    let ended = tokio::time::timeout(Duration::from_secs(10), other.ended());
    ended.await.expect("a registration with a dead node goes on");
}

/// A transport that accepts nobody any more, as one whose socket has failed.
struct Failed;

impl Transport for Failed {
    fn dial(
        &mut self,
        _: Option<&NodeId>,
        _: SocketAddr,
        _: Option<EarlyAsks>,
    ) -> BoxFuture<'static, Result<Connection, DialError>> {
        Box::pin(std::future::ready(Err(DialError::Unreachable("the socket has failed".to_owned()))))
    }

    fn accept(&mut self, _: Duration, _: ServeEarly) -> LocalBoxStream<'static, Connection> {
        Box::pin(futures_util::stream::empty())
    }

    fn address(&self) -> Option<SocketAddr> {
        None
    }
}

#[actix::test]
async fn s7_a_node_whose_endpoint_has_failed_stops_and_says_so() {
    let (log, _listening) = refusals::Log::listen();
    let local = LocalNode {
        node: "a".parse().unwrap(),
        agent_type: String::new(),
        capabilities: Vec::new(),
        limits: Limits::default(),
        timing: Timing::default(),
        budget: Budget::new(MEMORY_BYTES_DEFAULT, 0),
        arbiters: Arbiters::one(),
    };
    let node = Node::of(local, Box::new(Failed));
    log.says("a failed endpoint", "the endpoint has failed, and the node stops").await;
    assert_eq!(node.statistics().await, None);
}
