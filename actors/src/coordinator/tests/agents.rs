//! Agents behind a session, found by what they expose.

use super::*;
use crate::{
    Registration,
    content_store::{CONTENT_STORE_NAME, ContentStore},
    node::{Peer, PeerEvent},
    testing::{Cut, MemoryNode, Probe, pair},
};
use std::collections::BTreeSet;
use swarm_protocols::Role;
use uuid::Uuid;

/// Longer than anything here takes, by the clock of the test.
const LONG: Duration = Duration::from_secs(5);

/// A coordinator and a node beside it, which has exposed nothing so far.
struct Joined {
    bench: Bench,
    watch: Addr<AgentWatch>,
    cut: Option<Cut>,
    peer: Node,
    _hub: Node,
}

async fn joined(other: MemoryNode) -> Joined {
    tokio::time::pause();
    let (hub, peer, cut) = pair(MemoryNode::new("hub", Role::Coordinator), other).await;
    let (mailbox, address) = Coordinator::new(config(), Some(hub.clone())).start_with_mailbox();
    let watch = AgentWatch::new(hub.clone(), address.clone()).start();
    let bench = Bench { mailbox, address };
    Joined { bench, watch, cut: Some(cut), peer, _hub: hub }
}

fn agent(id: &str) -> MemoryNode {
    MemoryNode { capabilities: vec!["gpu".into(), "slots:7".into()], ..MemoryNode::new(id, Role::Agent) }
}

impl Joined {
    /// Exposes a worker for coordinators themselves: those who submit here are in their process.
    async fn expose(&self) -> (Probe<Worker>, Registration) {
        let (mailbox, probe) = Probe::new();
        let exposing = self.peer.expose("some-name", mailbox).allow(Role::Coordinator);
        (probe, exposing.register().await.unwrap())
    }

    /// Waits until the coordinator knows these agents with what they can do.
    async fn until_agents_do(&self, expected: &[(&str, &[&str])]) {
        let begun = now();
        loop {
            let agents = self.bench.mailbox.ask(ListAgents).await.unwrap();
            let found: Vec<(&str, Vec<&str>)> = agents
                .iter()
                .map(|agent| (agent.name.as_str(), agent.protocols.iter().map(String::as_str).collect()))
                .collect();
            if found.iter().map(|(name, does)| (*name, &does[..])).eq(expected.iter().copied()) {
                return;
            }
            assert!(now() < begun + LONG, "{found:?}, {expected:?} are expected");
            // The clock moves only when nobody has anything left to do.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[actix::test]
async fn a11_an_agent_is_listed_also_before_it_exposes_what_it_can_do() {
    let swarm = joined(agent("worker-1")).await;
    swarm.until_agents_do(&[("worker-1", &[])]).await;
    let (mut worker, registration) = swarm.expose().await;
    swarm.until_agents_do(&[("worker-1", &["worker"])]).await;
    assert_eq!(swarm.bench.mailbox.ask(ListAgents).await.unwrap()[0].slots, 7);
    let task = swarm.bench.submit(1, 1);
    worker.expect::<Do>().await.reply(Ok(3));
    assert_eq!(answers(&task.await.unwrap().unwrap()), [("worker-1", 3)]);
    drop(registration);
    swarm.until_agents_do(&[("worker-1", &[])]).await;
    let _again = swarm.expose().await;
    swarm.until_agents_do(&[("worker-1", &["worker"])]).await;
}

#[actix::test]
async fn s17_an_agent_whose_mailboxes_come_and_go_is_looked_at_ten_times_a_second() {
    let swarm = joined(agent("worker-1")).await;
    swarm.until_agents_do(&[("worker-1", &[])]).await;
    let (mut exposed, mut did, mut changes) = (None, false, 0);
    for _ in 0..500 {
        exposed = if exposed.is_none() { Some(swarm.expose().await) } else { None };
        // The clock moves only when nobody has anything left to do.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let does = !swarm.bench.mailbox.ask(ListAgents).await.unwrap()[0].protocols.is_empty();
        changes += u32::from(does != did);
        did = does;
    }
    assert!(changes <= 11, "{changes}");
    let _worker = match exposed {
        None => swarm.expose().await,
        Some(exposed) => exposed,
    };
    swarm.until_agents_do(&[("worker-1", &["worker"])]).await;
}

#[actix::test]
async fn inputs_go_into_the_content_store_of_the_agent() {
    let swarm = joined(agent("worker-1")).await;
    let contents = Contents::new(1 << 20);
    let store = ContentStore::new(contents.clone()).mailbox();
    let exposing = swarm.peer.expose(CONTENT_STORE_NAME, store).allow(Role::Coordinator);
    let _store = exposing.register().await.unwrap();
    let (mut worker, _worker) = swarm.expose().await;
    swarm.until_agents_do(&[("worker-1", &["worker"])]).await;
    let a = swarm.bench.store(b"a").await;
    let task = swarm.bench.submit_task(task(1, &[vec![a]]));
    let asked = worker.expect::<Do>().await;
    assert!(contents.get(&a).is_some());
    asked.reply(Ok(1));
    task.await.unwrap().unwrap();
}

#[actix::test]
async fn a9_what_an_agent_works_on_and_exposes_no_longer_goes_to_another_at_once() {
    let swarm = joined(agent("worker-1")).await;
    let (mut worker, registration) = swarm.expose().await;
    swarm.until_agents_do(&[("worker-1", &["worker"])]).await;
    let (lost, other) = (swarm.bench.submit(1, 1), swarm.bench.join("worker-2", 1));
    let asked = worker.expect::<Do>().await;
    let mut other = other.await;
    // What it exposed last was looked at a while ago.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(registration);
    withdrawn(&asked).await;
    // Long before its lease is over.
    other.worker.expect_within::<Do>(Duration::from_secs(1)).await.reply(Ok(2));
    assert_eq!(answers(&lost.await.unwrap().unwrap()), [("worker-2", 2)]);
}

#[actix::test]
async fn a9_what_an_agent_exposes_no_longer_and_has_not_begun_spends_no_attempt() {
    let bench = Bench::new(config());
    let a = bench.store(b"a").await;
    let mut agent = bench.join("x", 1).await;
    let task = bench.submit_task(task(1, &[vec![a]]));
    // More often than there are attempts.
    for _ in 0..5 {
        let given = agent.store.expect_within::<MissingContent>(LEASE).await;
        bench.change("x", Ports::default()).await;
        assert!(given.cancellation().is_cancelled());
        bench.change("x", agent.ports.clone()).await;
    }
    agent.lacks(&[]).await;
    agent.asked().await.reply(Ok(7));
    assert_eq!(answers(&task.await.unwrap().unwrap()), [("x", 7)]);
}

#[actix::test]
async fn an_agent_whose_session_ends_is_no_agent() {
    let mut swarm = joined(agent("worker-1")).await;
    let _worker = swarm.expose().await;
    swarm.until_agents_do(&[("worker-1", &["worker"])]).await;
    swarm.cut.take().unwrap().cut("as the test wants");
    swarm.until_agents_do(&[]).await;
}

#[actix::test]
async fn a_session_that_ends_while_it_is_looked_at_brings_no_agent() {
    let swarm = joined(agent("worker-1")).await;
    let _worker = swarm.expose().await;
    swarm.until_agents_do(&[("worker-1", &["worker"])]).await;
    let peer = Peer {
        node: node("worker-1"),
        role: Role::Agent,
        agent_type: String::new(),
        capabilities: vec![],
        session: Uuid::nil(),
    };
    swarm.watch.do_send(PeerEvent::Down { node: node("worker-1"), reason: "as the test wants".into() });
    swarm.watch.do_send(PeerEvent::Up(peer));
    swarm.watch.do_send(PeerEvent::Down { node: node("worker-1"), reason: "as the test wants".into() });
    swarm.until_agents_do(&[]).await;
    // The clock moves only when nobody has anything left to do.
    tokio::time::sleep(Duration::from_secs(1)).await;
    swarm.until_agents_do(&[]).await;
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Panic;

impl Handler<Panic> for AgentWatch {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("as the test wants");
    }
}

#[actix::test]
async fn t6_a_coordinator_stops_when_who_watches_its_agents_has_panicked() {
    let swarm = joined(agent("worker-1")).await;
    swarm.watch.do_send(Panic);
    let stopped = async {
        while swarm.bench.address.connected() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), stopped)
        .await
        .expect("a coordinator without agents goes on");
}

#[actix::test]
async fn an_operator_gets_no_work_whatever_it_exposes() {
    let swarm = joined(MemoryNode { role: Role::Operator, ..agent("other") }).await;
    let _worker = swarm.expose().await;
    let none = TaskError::NoCapableAgent { protocol: "worker".into(), avoided: BTreeSet::new() };
    assert_eq!(swarm.bench.submit(1, 1).await.unwrap(), Err(none));
}

#[actix::test]
async fn t2_a_node_that_drains_waits_neither_for_what_no_agent_can_do_nor_for_what_is_told() {
    tokio::time::pause();
    let desk = MemoryNode::new("desk", Role::Operator);
    let (hub, desk, _cut) = pair(MemoryNode::new("hub", Role::Coordinator), desk).await;
    let (mailbox, address) = Coordinator::new(config(), Some(hub.clone())).start_with_mailbox();
    AgentWatch::new(hub.clone(), address).start();
    let exposing = hub.expose("coordinator", mailbox.clone()).allow(Role::Operator);
    exposing.register().await.unwrap().detach();
    let coordinator = loop {
        match desk.resolve::<CoordinatorProtocol>("hub/coordinator").await {
            Ok(coordinator) => break coordinator,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let asking = coordinator.ask(task(1, &parts(1))).timeout(2 * LEASE).into_future();
    let asked = actix_rt::spawn(asking);
    coordinator.tell(task(2, &parts(1))).await.unwrap();
    for number in [1, 2] {
        while mailbox.ask(TaskProgress { id: id(number) }).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    }
    let begun = now();
    hub.stop(LEASE).await;
    assert!(now() < begun + Duration::from_secs(1), "{:?}", now() - begun);
    // As it is with what comes during a drain: its client submits it again.
    assert_eq!(asked.await.unwrap(), Err(crate::AskError::Delivery(DeliveryError::Draining)));
}

#[actix::test]
async fn t2_what_is_in_progress_goes_on_in_a_drain_where_somebody_waits_for_it() {
    let bench = Bench::new(config());
    let mut agent = bench.join("x", 2).await;
    bench.mailbox.tell(task(1, &parts(1))).await.unwrap();
    let told = agent.asked().await;
    let waits = bench.submit(2, 1);
    let asked = agent.asked().await;
    bench.address.send(NodeDrains).await.unwrap();
    withdrawn(&told).await;
    bench.mailbox.tell(task(3, &parts(1))).await.unwrap();
    assert_eq!((bench.progress(1).await, bench.progress(3).await), (None, None));
    asked.reply(Ok(7));
    assert_eq!(answers(&waits.await.unwrap().unwrap()), [("x", 7)]);
}
