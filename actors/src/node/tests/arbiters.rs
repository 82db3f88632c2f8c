//! A node on several arbiters: which of them a session lives on makes no difference to what is asked over it.

use super::{handover::Ordered, *};
use actix_rt::{Arbiter, ArbiterHandle};
use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, ThreadId},
    time::Instant,
};

struct Stage {
    authority: Authority,
    day: Validity,
    node: Node,
}

impl Stage {
    /// An agent `b` on so many arbiters.
    async fn of(arbiters: usize) -> Self {
        let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400)).unwrap();
        let authority = Authority::new("test", day).unwrap();
        let identity = authority.issue(&"b".parse().unwrap(), Role::Agent, day).unwrap();
        let arbiters = NonZeroUsize::new(arbiters).unwrap();
        let config = NodeConfig { arbiters, ..NodeConfig::new(identity, "127.0.0.1:0".parse().unwrap()) };
        Self { node: Node::start(config).await.unwrap(), authority, day }
    }

    fn identity(&self, id: &str, role: Role) -> Identity {
        self.authority.issue(&id.parse().unwrap(), role, self.day).unwrap()
    }

    /// An operator that is connected with it.
    async fn operator(&self, id: &str) -> Node {
        let operator = certificates::start(self.identity(id, Role::Operator)).await;
        operator.connect("b".parse().unwrap(), self.node.address().unwrap()).await.unwrap();
        operator
    }
}

/// Where a request was decoded, by its number.
static DECODED_ON: Mutex<Vec<(u32, ThreadId, ArbiterHandle)>> = Mutex::new(Vec::new());

/// Whether decoding goes on; until then it holds up its arbiter.
static GO_ON: AtomicBool = AtomicBool::new(false);

/// The number of the request that is held up.
const HELD_UP: u32 = u32::MAX;

fn noting_the_arbiter<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = u32::deserialize(deserializer)?;
    DECODED_ON.lock().unwrap().push((number, thread::current().id(), Arbiter::current()));
    let begun = Instant::now();
    while number == HELD_UP && !GO_ON.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(10));
    }
    Ok(number)
}

/// Where the requests of these numbers were decoded.
fn decoded_on(numbers: std::ops::Range<u32>) -> Vec<(ThreadId, ArbiterHandle)> {
    let decoded = DECODED_ON.lock().unwrap();
    let of_these = decoded.iter().filter(|(number, ..)| numbers.contains(number));
    of_these.map(|(_, thread, arbiter)| (*thread, arbiter.clone())).collect()
}

#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "note", reply = u32)]
struct Note(#[serde(deserialize_with = "noting_the_arbiter")] u32);

protocol! { Noting = "noting" { Note } }

/// A mailbox whose requests are decoded where their session is.
fn noting() -> Mailbox<Noting> {
    Mailbox::local(Answering(|call: Call<Note>| Ok(call.request.0)).start())
}

async fn exposed(node: &Node, to: Role) {
    node.expose("noting", noting()).allow(to).register().await.unwrap().detach();
}

#[actix::test]
async fn sessions_are_spread_evenly_and_asked_on_both_ways_and_no_thread_is_left_when_the_node_stops() {
    let stage = Stage::of(2).await;
    exposed(&stage.node, Role::Operator).await;
    let mut operators = Vec::new();
    for peer in 0..4_u32 {
        let id = format!("a{peer}");
        let operator = stage.operator(&id).await;
        exposed(&operator, Role::Agent).await;
        let there: Mailbox<Noting> = operator.resolve("b/noting").await.unwrap();
        let back: Mailbox<Noting> = resolve_soon(&stage.node, &format!("{id}/noting")).await;
        for number in 10 * peer..10 * peer + 5 {
            assert_eq!(there.ask(Note(number)).await, Ok(number));
            assert_eq!(there.ask(Note(number)).on_own_stream().await, Ok(number));
            assert_eq!(back.ask(Note(100 + number)).await, Ok(100 + number));
            there.tell(Note(number)).acknowledged().await.unwrap();
        }
        operators.push(operator);
    }
    let of_each: Vec<_> = (0..4).map(|peer| decoded_on(10 * peer..10 * peer + 5)).collect();
    for of_one in &of_each {
        assert_eq!(of_one.len(), 15);
        assert!(of_one.iter().all(|(thread, _)| *thread == of_one[0].0), "a session stays where it is");
    }
    let here = thread::current().id();
    let beside: Vec<_> = of_each.iter().filter(|of_one| of_one[0].0 != here).collect();
    assert_eq!(beside.len(), 2, "two sessions are on each arbiter");
    assert_eq!(beside[0][0].0, beside[1][0].0, "and there are two");

    // The place of a session that has ended is free.
    let [stays, goes] = [0, 1].map(|index| of_each[index][0].0);
    assert_ne!(stays, goes);
    operators[1].disconnect(stage.node.id()).await;
    until("it has gone", async || stage.node.statistics().await.unwrap().sessions == 3).await;
    until("the next one takes its place", async || {
        let next = stage.operator("next").await;
        let there: Mailbox<Noting> = next.resolve("b/noting").await.unwrap();
        DECODED_ON.lock().unwrap().retain(|(number, ..)| *number != 50);
        assert_eq!(there.ask(Note(50)).await, Ok(50));
        let is_there = decoded_on(50..51)[0].0 == goes;
        next.stop(Duration::ZERO).await;
        is_there
    })
    .await;

    let arbiter = beside[0][0].1.clone();
    assert!(arbiter.alive());
    stage.node.stop(Duration::from_secs(5)).await;
    until("its thread ends", async || !arbiter.alive()).await;
}

/// Holds up one of two arbiters.
#[actix::test]
async fn an_arbiter_beside_that_of_the_node_that_is_held_up_is_named_and_the_other_goes_on() {
    let (log, _listening) = refusals::Log::listen();
    let stage = Stage::of(2).await;
    exposed(&stage.node, Role::Operator).await;
    let (here, beside) = (stage.operator("here").await, stage.operator("beside").await);
    let held_up: Mailbox<Noting> = beside.resolve("b/noting").await.unwrap();
    let held_up = actix_rt::spawn(async move { held_up.ask(Note(HELD_UP)).await });
    let served: Mailbox<Noting> = here.resolve("b/noting").await.unwrap();
    until("it is named", async || {
        assert_eq!(served.ask(Note(200)).await, Ok(200));
        log.holds("beside=1") && log.holds("is held up")
    })
    .await;
    assert!(!held_up.is_finished());
    GO_ON.store(true, Ordering::Relaxed);
    assert_eq!(held_up.await.unwrap(), Ok(HELD_UP));
    log.says("a held up arbiter", "the arbiter of the node turns again").await;
}

#[actix::test]
async fn a_session_that_takes_over_on_another_arbiter_keeps_the_order_of_requests() {
    let stage = Stage::of(3).await;
    let next = Arc::new(AtomicU32::new(0));
    let expected = Arc::clone(&next);
    let mailbox: Mailbox<Ordered> = Mailbox::start(Answering(move |call: Call<Echo>| {
        let number = u32::from_be_bytes(call.request.0[..].try_into().unwrap());
        assert_eq!(number, expected.fetch_add(1, Ordering::Relaxed));
        Ok(call.request.0)
    }));
    stage.node.expose("ordered", mailbox).allow(Role::Operator).register().await.unwrap().detach();
    // One more, so that the places of the two sessions of `a` are taken in turns.
    let _other = stage.operator("other").await;
    let a = stage.operator("a").await;
    let ordered: Mailbox<Ordered> = a.resolve("b/ordered").await.unwrap();
    let session = async || stage.node.sessions().await.into_iter().map(|of| of.peer.session).max();
    let mut asked = 0_u32;
    for _ in 0..10 {
        let (before, mut in_flight) = (session().await, Vec::new());
        a.set_identity(stage.identity("a", Role::Operator)).await.unwrap();
        while session().await == before || in_flight.len() < 100 {
            in_flight.push(ordered.ask(Echo(asked.to_be_bytes().to_vec())).into_future());
            asked += 1;
        }
        for answer in futures_util::future::join_all(in_flight).await {
            answer.unwrap();
        }
    }
    assert_eq!(next.load(Ordering::Relaxed), asked);
}

#[actix::test]
async fn a_node_that_stops_answers_what_it_has_begun_on_every_arbiter() {
    let stage = Stage::of(2).await;
    let (mailbox, mut probe) = Probe::<Service>::new();
    stage.node.expose("service", mailbox).allow(Role::Operator).register().await.unwrap().detach();
    let mut asked = Vec::new();
    for id in ["a0", "a1", "a2", "a3"] {
        let operator = stage.operator(id).await;
        let service: Mailbox<Service> = operator.resolve("b/service").await.unwrap();
        asked.push((service.ask(Echo(id.into())).into_future(), service, operator));
    }
    let mut begun = Vec::new();
    for _ in &asked {
        begun.push(probe.expect::<Echo>().await);
    }
    let stopping = actix_rt::spawn({
        let node = stage.node.clone();
        async move { node.stop(Duration::from_secs(20)).await }
    });
    for (_, service, _) in &asked {
        until("it takes nothing new", async || {
            let refused = service.ask(Echo(vec![1])).await;
            matches!(refused, Err(AskError::Delivery(DeliveryError::Draining)))
        })
        .await;
    }
    assert!(!stopping.is_finished());
    for call in begun {
        let echo = call.request().0.clone();
        call.reply(Ok(echo));
    }
    for (asked, _, operator) in asked {
        assert_eq!(asked.await, Ok(operator.id().as_str().into()));
    }
    stopping.await.unwrap();
}
