//! Agents behind a session, found by their hello, with real matchers.

use super::*;
use crate::{
    Registration, Workers,
    correlator::Correlator,
    node::{Peer, PeerEvent},
    pattern_matcher::PatternMatcher,
    testing::{Cut, MemoryNode, pair},
};
use swarm_protocols::{
    Role,
    coordinator::{Job, JobResult, Offer, SLOTS_DEFAULT},
    correlation::{CorrelateGroups, PairMeasure},
    series_group::SeriesGroup,
    similar_windows::{self, SimilarInPart, Symbol},
    units::{Unit, UnitAnswer},
};
use uuid::Uuid;

/// More turns of the arbiter than anything here takes.
const TURNS_MAX: usize = 100_000;

fn real_matcher() -> Mailbox<MatcherProtocol> {
    let workers = Workers::new(NonZeroUsize::new(2).unwrap(), 64);
    PatternMatcher::mailbox(PatternMatcher::new(workers, 1 << 20).start())
}

fn agent(id: &str) -> MemoryNode {
    let offer = Offer { capability: PATTERN_MATCHER.into(), slots: SLOTS_DEFAULT };
    MemoryNode { capabilities: vec![offer.to_string()], ..MemoryNode::new(id, Role::Agent) }
}

/// A coordinator and a node beside it, which exposes a matcher before it is watched.
struct Joined {
    bench: Bench,
    watch: Addr<AgentWatch>,
    cut: Option<Cut>,
    _nodes: [Node; 2],
    _registration: Registration,
}

async fn joined(other: MemoryNode) -> Joined {
    tokio::time::pause();
    let hub = MemoryNode::new("hub", Role::Coordinator);
    let (hub, peer, cut) = pair(hub, other).await;
    let exposing = peer.expose(MATCHER_NAME, real_matcher()).allow(Role::Coordinator);
    let registration = exposing.register().await.unwrap();
    let address = format!("{}/{MATCHER_NAME}", peer.id());
    for turn in 0.. {
        assert!(turn < TURNS_MAX, "the matcher is never announced");
        if hub.resolve::<MatcherProtocol>(&address).await.is_ok() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let address = Coordinator::new(config(), Some(hub.clone())).start();
    let watch = AgentWatch::new(hub.clone(), address.clone()).start();
    let bench = Bench { mailbox: Coordinator::mailbox(address.clone()), address };
    Joined { bench, watch, cut: Some(cut), _nodes: [hub, peer], _registration: registration }
}

impl Joined {
    async fn until_agents_are(&self, expected: &[&str]) {
        for turn in 0.. {
            let agents = self.bench.agents().await;
            if names(&agents) == expected {
                return;
            }
            assert!(turn < TURNS_MAX, "{agents:?}, {expected:?} are expected");
            tokio::task::yield_now().await;
        }
    }
}

/// What a matcher in this process and one merge make of it.
async fn at_home(symbols: &[&str], task: &SubmitTask) -> similar_windows::SimilarWindows {
    let Job::SimilarWindows { rule, queries, .. } = &task.job else { panic!("{task:?}") };
    let matcher = real_matcher();
    let mut parts = BTreeMap::<Symbol, SimilarInPart>::new();
    for symbol in symbols {
        let hash = matcher.ask(StorePart { part: part(symbol, 150).encode() }).await.unwrap();
        let find = FindSimilar { part: hash, rule: *rule, queries: queries.clone() };
        parts.insert(symbol.parse().unwrap(), matcher.ask(find).await.unwrap());
    }
    similar_windows::merge(rule, queries, &parts).unwrap()
}

#[actix::test]
async fn a_task_runs_on_the_matcher_of_another_node() {
    let swarm = joined(agent("worker")).await;
    let bench = &swarm.bench;
    let symbols = ["A", "B", "C", "D", "E", "F"];
    let mut library = Vec::new();
    for symbol in symbols {
        library.push(bench.store(&part(symbol, 150)).await.unwrap());
    }
    for number in 1..=2 {
        let task = task(number, &library);
        let expected = at_home(&symbols, &task).await;
        let report = bench.submit_task(task).await.unwrap().unwrap();
        assert_eq!(windows(&report), &expected);
        assert_eq!(expected.symbols[0].matches.len(), 4, "the result is worth comparing");
        assert_eq!(names(&report.agents), ["worker"]);
        let status = bench.mailbox.ask(CoordinatorStatus).await.unwrap();
        assert_eq!(names(&status.agents), ["worker"]);
        // The first task asks, stores and asks again for every part; the second asks.
        assert_eq!((status.sent, status.received), (if number == 1 { 18 } else { 24 }, 0));
        assert!(status.p50.is_some() && status.p50 <= status.p99);
    }
}

#[actix::test]
async fn an_agent_whose_session_ends_is_no_agent() {
    let mut swarm = joined(agent("worker")).await;
    swarm.until_agents_are(&["worker"]).await;
    swarm.cut.take().unwrap().cut("as the test wants");
    swarm.until_agents_are(&[]).await;
}

#[actix::test]
async fn a_session_that_ends_while_its_matcher_is_looked_up_brings_no_agent() {
    let swarm = joined(agent("worker")).await;
    swarm.until_agents_are(&["worker"]).await;
    let peer = Peer {
        node: node("worker"),
        role: Role::Agent,
        agent_type: PATTERN_MATCHER.into(),
        capabilities: vec![],
        session: Uuid::nil(),
    };
    swarm.watch.do_send(PeerEvent::Up(peer));
    swarm.watch.do_send(PeerEvent::Down { node: node("worker"), reason: "as the test wants".into() });
    swarm.until_agents_are(&[]).await;
    // The clock moves only when nobody has anything left to do.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(names(&swarm.bench.agents().await), [] as [&str; 0]);
}

async fn outcome_with(other: MemoryNode) -> Result<BTreeSet<NodeId>, TaskError> {
    let swarm = joined(other).await;
    let library = swarm.bench.library(&["A"]).await;
    swarm.bench.submit(1, &library).await.unwrap().map(|report| report.agents)
}

#[actix::test]
async fn an_operator_gets_no_work_whatever_it_offers() {
    let outcome = outcome_with(MemoryNode { role: Role::Operator, ..agent("other") }).await;
    assert_eq!(outcome, Err(TaskError::NoCapableAgent { capability: PATTERN_MATCHER.into() }));
}

#[actix::test]
async fn an_agent_that_offers_something_else_gets_no_work() {
    let other = MemoryNode { capabilities: vec!["correlator:4".into()], ..agent("other") };
    let outcome = outcome_with(MemoryNode { agent_type: "correlator".into(), ..other }).await;
    assert_eq!(outcome, Err(TaskError::NoCapableAgent { capability: PATTERN_MATCHER.into() }));
}

#[actix::test]
async fn the_type_of_an_agent_says_enough() {
    let other = MemoryNode { capabilities: vec![], ..agent("other") };
    let outcome = outcome_with(MemoryNode { agent_type: PATTERN_MATCHER.into(), ..other }).await;
    assert_eq!(names(&outcome.unwrap()), ["other"]);
}

#[actix::test]
async fn an_agent_with_both_actors_is_asked_for_both_in_as_many_slots_as_it_offers() {
    let other = MemoryNode {
        capabilities: vec!["correlator:7".into(), "pattern-matcher:3".into(), "dancer:9".into()],
        ..agent("worker")
    };
    tokio::time::pause();
    let (hub, peer, _cut) = pair(MemoryNode::new("hub", Role::Coordinator), other).await;
    let workers = Workers::new(NonZeroUsize::MIN, 64);
    let correlator = Correlator::mailbox(Correlator::new(workers, 1 << 20).start());
    let _registrations = [
        peer.expose(MATCHER_NAME, real_matcher()).allow(Role::Coordinator).register().await.unwrap(),
        peer.expose(CORRELATOR_NAME, correlator).allow(Role::Coordinator).register().await.unwrap(),
    ];
    for turn in 0.. {
        assert!(turn < TURNS_MAX, "the correlator is never announced");
        if hub.resolve::<CorrelatorProtocol>("worker/correlator").await.is_ok() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let address = Coordinator::new(config(), Some(hub.clone())).start();
    let _watch = AgentWatch::new(hub, address.clone()).start();
    let bench = Bench { mailbox: Coordinator::mailbox(address.clone()), address };
    let group = SeriesGroup::new(vec![vec![1.0, 2.0].into(), vec![2.0, 1.0].into()]).unwrap();
    let group = bench.mailbox.ask(StorePart { part: group.encode() }).await.unwrap();
    let measure = PairMeasure::Lcss { epsilon: 0.0, window: None };
    let unit = CorrelateGroups { groups: vec![group], measure, from: 0, until: 2 };
    let job = Job::Units { units: vec![Unit::Correlate(unit)] };
    let report = bench.submit_task(SubmitTask { job, ..task(1, &[]) }).await.unwrap().unwrap();
    assert_eq!(report.result, JobResult::Units(vec![UnitAnswer::Correlate(vec![1.0, 0.5, 1.0].into())]));
    let library = bench.library(&["A"]).await;
    assert_eq!(done_by(bench.submit(2, &library)).await, ["worker"]);
    let agents = bench.mailbox.ask(ListAgents).await.unwrap();
    assert_eq!(agents[0].slots, 7);
    assert_eq!(agents[0].capabilities, [CORRELATOR, PATTERN_MATCHER].map(str::to_owned).into());
}
