//! Messages that are told and not acknowledged.

use super::*;
use crate::{DeadLetter, DeadLetters, TellError};
use actix::{ActorContext, ActorFutureExt, AsyncContext, WrapFuture};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use swarm_protocols::wire::control::Limits;
use tokio::sync::oneshot;

async fn dropped_by(node: &Node) -> u64 {
    node.sessions().await.iter().map(|session| session.dropped).sum()
}

#[actix::test]
async fn a_post_does_not_wait_and_arrives_in_the_order_of_the_lane() {
    tokio::time::pause();
    let (service, mut probe, _registration, _cut, [a, b]) = probed().await;
    for number in 0..10_u8 {
        let told = service.tell(Echo(vec![number])).into_future();
        assert!(told.now_or_never().is_some_and(|told| told.is_ok()), "nothing is waited for");
    }
    let ask = service.ask(Echo(vec![10])).into_future();
    for number in 0..10_u8 {
        let told = probe.expect::<Echo>().await;
        assert!(told.is_told());
        assert_eq!(told.request(), &Echo(vec![number]));
        assert_eq!(told.caller().map(|caller| caller.node.as_str()), Some("a"));
    }
    probe.expect::<Echo>().await.reply(Ok(vec![]));
    assert_eq!(ask.await, Ok(vec![]));
    assert_eq!((a.statistics().await.unwrap().sent, dropped_by(&b).await), (11, 0));
}

#[actix::test]
async fn a_large_post_takes_a_stream_of_its_own() {
    tokio::time::pause();
    let (service, mut probe, _registration, _cut, _nodes) = probed().await;
    for message in [Echo(vec![7; 100_000]), Echo(vec![8])] {
        service.tell(message.clone()).on_own_stream().await.unwrap();
        let told = probe.expect::<Echo>().await;
        assert!(told.is_told());
        assert_eq!(told.request(), &message);
    }
}

#[actix::test]
async fn posts_are_bounded_here_and_come_back_when_there_is_no_room() {
    tokio::time::pause();
    let limits = Limits { in_flight: 4, ..Limits::default() };
    let callee = MemoryNode { limits, ..memory("b", Role::Agent) };
    let (mailbox, mut probe) = Probe::<Service>::new();
    let (service, _registration, _cut, _nodes) =
        served_between(memory("a", Role::Operator), callee, mailbox).await;
    // Nothing is read meanwhile: this test is all that runs.
    for number in 0..4_u8 {
        service.tell(Echo(vec![number])).await.unwrap();
    }
    let refused = service.tell(Echo(vec![4])).await;
    let Err(TellError { message: Some(message), cause: DeliveryError::Overloaded { .. } }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(message, Echo(vec![4]));
    let first = probe.expect::<Echo>().await;
    service.tell(message).await.expect("there is room again when they are out");
    drop(first);
}

#[actix::test]
async fn what_the_callee_cannot_accept_is_counted_there_and_ends_nothing() {
    tokio::time::pause();
    let (mailbox, mut probe) = Probe::<Service>::new();
    let (a, b) = (memory("a", Role::Agent), memory("b", Role::Coordinator));
    let (service, _registration, _cut, [a, b]) = served_between(a, b, mailbox).await;
    service.tell(Echo(vec![1])).await.unwrap();
    service.tell(Echo(vec![2; 100_000])).await.unwrap();
    assert!(service.ask(Echo(vec![])).await.is_err(), "an agent may not");
    probe.expect_none(Duration::from_secs(1)).await;
    assert_eq!(dropped_by(&b).await, 2);
    assert_eq!(a.sessions().await.len(), 1);
}

#[actix::test]
async fn dead_letters_are_counted_by_reason_and_shown_to_those_who_subscribe() {
    tokio::time::pause();
    let (a, b, _cut) = pair(memory("a", Role::Operator), memory("b", Role::Agent)).await;
    let mut letters = b.dead_letters();
    let full = Mailbox::<Service>::local_with(Server.start(), 0);
    let _full = b.expose("full", full).allow(Role::Operator).register().await.unwrap();
    let _mortal = b.expose("mortal", server()).allow(Role::Operator).register().await.unwrap();
    let _closed = b.expose("closed", server()).allow(Role::Coordinator).register().await.unwrap();
    let mortal: Mailbox<Service> = resolve_soon(&a, "b/mortal").await;
    assert_eq!(mortal.ask(Misbehave::Stop).await, Ok(()));
    let mut slow = b.dead_letters();
    for (name, message, reason) in [
        ("full", Echo(vec![1]), "overloaded"),
        ("closed", Echo(vec![1]), "not permitted: closed may not"),
        // Long enough to be decoded beside the arbiter.
        ("mortal", Echo(vec![1; 300_000]), "the actor stopped"),
        ("mortal", Echo(vec![1]), "the actor stopped"),
    ] {
        let mailbox: Mailbox<Service> = a.resolve(&format!("b/{name}")).await.unwrap();
        mailbox.tell(message).await.unwrap();
        let DeadLetter { from, to, reason: said } = letters.next().await.unwrap();
        assert_eq!(from.as_str(), "a");
        assert_eq!(to, Some((name.parse().unwrap(), "echo".to_owned())));
        assert!(said.to_string().starts_with(reason), "{said}");
    }
    let expected = DeadLetters { overloaded: 1, not_permitted: 1, stopped: 2, ..DeadLetters::default() };
    assert_eq!(b.statistics().await.unwrap().dead_letters, expected);

    let closed: Mailbox<Service> = a.resolve("b/closed").await.unwrap();
    for _ in 0..1_100 {
        while closed.tell(Echo(vec![])).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
    while b.statistics().await.unwrap().dead_letters.total() < 1_104 {}
    assert_eq!(slow.missed(), 1_104 - 1_024);
    assert!(matches!(slow.next().await, Some(DeadLetter { reason: DeliveryError::Overloaded { .. }, .. })));
}

/// Takes one message, and stops without the others once it may.
struct Halting {
    handled: Arc<AtomicUsize>,
    may_stop: Option<oneshot::Receiver<()>>,
}

impl Actor for Halting {
    type Context = Context<Self>;
}

impl Handler<Call<Echo>> for Halting {
    type Result = Result<Vec<u8>, NoError>;

    fn handle(&mut self, call: Call<Echo>, context: &mut Self::Context) -> Self::Result {
        self.handled.fetch_add(1, Ordering::Relaxed);
        if let Some(may_stop) = self.may_stop.take() {
            context.wait(may_stop.into_actor(self).map(|_, _, context| context.stop()));
        }
        Ok(call.request.0)
    }
}

protocol! { Echoes = "echoes" { Echo } }

#[actix::test]
async fn what_is_left_behind_an_actor_that_stops_is_a_dead_letter_however_long_it_is() {
    let (a, b, _cut) = pair(memory("a", Role::Operator), memory("b", Role::Agent)).await;
    let (stop, may_stop) = oneshot::channel();
    let handled = Arc::<AtomicUsize>::default();
    let halting = Halting { handled: Arc::clone(&handled), may_stop: Some(may_stop) };
    let halting: Mailbox<Echoes> = Mailbox::start(halting);
    let _halting = b.expose("halting", halting).allow(Role::Operator).register().await.unwrap();
    let _server = b.expose("server", server()).allow(Role::Operator).register().await.unwrap();
    let halting: Mailbox<Echoes> = resolve_soon(&a, "b/halting").await;
    let server: Mailbox<Service> = resolve_soon(&a, "b/server").await;
    halting.tell(Echo(vec![1])).await.unwrap();
    // From then on it takes nothing more.
    until("it has one", async || handled.load(Ordering::Relaxed) == 1).await;
    for bytes in [2, 300_000, 300_001, 3, 300_002] {
        halting.tell(Echo(vec![1; bytes])).await.unwrap();
    }
    // They have come by then: some wait for the actor, and some may be decoded when it has stopped.
    server.ask(Echo(vec![1])).await.unwrap();
    stop.send(()).unwrap();
    until("all are counted", async || b.statistics().await.unwrap().dead_letters.stopped == 5).await;
    assert_eq!((handled.load(Ordering::Relaxed), dropped_by(&b).await), (1, 5));
}

#[actix::test]
async fn a_post_over_a_lost_session_comes_back() {
    tokio::time::pause();
    let (service, _probe, _registration, cut, [a, _b]) = probed().await;
    cut.cut("as the test wants");
    while !a.sessions().await.is_empty() {}
    let Err(TellError { message, cause }) = service.tell(Echo(vec![1])).await else {
        panic!("it was accepted")
    };
    assert_eq!((message, cause.delivery()), (Some(Echo(vec![1])), Delivery::NotSent));
}
