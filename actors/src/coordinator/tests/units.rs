//! Units of work: handed to agents with their inputs, their answers passed on as they are.

use super::*;
use crate::testing::Asked;
use swarm_protocols::{
    coordinator::{Job, JobResult},
    correlation::{CorrelateGroups, PairMeasure},
    distance::{BandRule, Detail, MeasureDistance, MeasuredDistance, Scaling},
    series_group::SeriesGroup,
    units::{Unit, UnitAnswer, UnitError},
};

fn series(value: f64) -> SeriesGroup {
    SeriesGroup::of_one(vec![value, value + 1.0]).unwrap()
}

impl Bench {
    async fn join_units(&self, agent: &str, slots: u32) -> Probe<SeriesMatcher> {
        let (matcher, probe) = Probe::new();
        let mailboxes = AgentMailboxes { series_matcher: Some(matcher), ..AgentMailboxes::default() };
        let (node, agent_type) = (node(agent), "matching".to_owned());
        let slots = NonZeroU32::new(slots).unwrap();
        self.address.send(AgentJoined { node, agent_type, slots, mailboxes }).await.unwrap();
        probe
    }

    /// Stores a series for each number.
    async fn series(&self, values: &[f64]) -> Vec<ContentHash> {
        let mut hashes = Vec::new();
        for value in values {
            hashes.push(self.mailbox.ask(StorePart { part: series(*value).encode() }).await.unwrap());
        }
        hashes
    }

    fn measure(&self, number: u128, pairs: &[(ContentHash, ContentHash)]) -> Submitting {
        let units = pairs.iter().map(|(a, b)| Unit::Distance(unit(*a, *b))).collect();
        self.submit_task(SubmitTask { job: Job::Units { units }, ..task(number, &[]) })
    }
}

fn unit(a: ContentHash, b: ContentHash) -> MeasureDistance {
    MeasureDistance { a, b, band: BandRule::Full, scaling: Scaling::Raw, detail: Detail::Distance }
}

fn measured(distance_squared: f64) -> MeasuredDistance {
    MeasuredDistance { distance_squared, steps: None }
}

async fn asked(probe: &mut Probe<SeriesMatcher>) -> Asked<MeasureDistance> {
    probe.expect_within::<MeasureDistance>(2 * LEASE).await
}

fn distances(report: &swarm_protocols::coordinator::TaskReport) -> Vec<f64> {
    let JobResult::Units(answers) = &report.result else { panic!("{report:?}") };
    let distance = |answer: &UnitAnswer| match answer {
        UnitAnswer::Distance(measured) => measured.distance_squared,
        other => panic!("{other:?}"),
    };
    answers.iter().map(distance).collect()
}

#[actix::test]
async fn answers_come_in_the_order_of_their_units_whoever_gives_them() {
    let bench = Bench::new(config());
    let hashes = bench.series(&[1.0, 2.0, 3.0, 4.0]).await;
    let pairs: Vec<_> = hashes[1..].iter().map(|b| (hashes[0], *b)).collect();
    let mut probes = [bench.join_units("x", 2).await, bench.join_units("y", 1).await];
    let task = bench.measure(1, &pairs);
    let [x, y] = &mut probes;
    for asked in [asked(y).await, asked(x).await, asked(x).await] {
        let at = hashes.iter().position(|hash| *hash == asked.request().b).unwrap();
        asked.reply(Ok(measured(at as f64)));
    }
    let report = task.await.unwrap().unwrap();
    assert_eq!(distances(&report), [1.0, 2.0, 3.0]);
    assert_eq!(names(&report.agents), ["x", "y"]);
    let tasks = bench.mailbox.ask(ListTasks).await.unwrap();
    assert_eq!(tasks[0].kind, "distance");
}

#[actix::test]
async fn an_agent_is_given_what_it_misses_and_asked_again() {
    let bench = Bench::new(config());
    let hashes = bench.series(&[1.0, 2.0]).await;
    let mut agent = bench.join_units("x", 1).await;
    let task = bench.measure(1, &[(hashes[0], hashes[1])]);
    asked(&mut agent).await.reply(Err(UnitError::MissingParts { parts: hashes.clone() }));
    for value in [1.0, 2.0] {
        let stored = agent.expect::<StorePart>().await;
        assert_eq!(stored.request().part, series(value).encode());
        stored.reply(Ok(hashes[0]));
    }
    // Another one pushed it out of the store meanwhile.
    asked(&mut agent).await.reply(Err(UnitError::MissingParts { parts: vec![hashes[1]] }));
    agent.expect::<StorePart>().await.reply(Ok(hashes[1]));
    asked(&mut agent).await.reply(Ok(measured(0.5)));
    assert_eq!(distances(&task.await.unwrap().unwrap()), [0.5]);
}

#[actix::test]
async fn an_agent_that_always_misses_something_is_no_use() {
    let bench = Bench::new(config());
    let hashes = bench.series(&[1.0, 2.0]).await;
    let mut agent = bench.join_units("x", 1).await;
    let task = bench.measure(1, &[(hashes[0], hashes[1])]);
    for _ in 0..3 {
        for _ in 0..3 {
            asked(&mut agent).await.reply(Err(UnitError::MissingParts { parts: vec![hashes[1]] }));
            agent.expect::<StorePart>().await.reply(Ok(hashes[1]));
        }
    }
    let failed = task.await.unwrap().unwrap_err();
    let TaskError::PartFailed { part: 0, attempts: 3, cause } = failed else { panic!("{failed:?}") };
    assert!(cause.contains("loses what it is given"), "{cause}");
}

#[actix::test]
async fn an_impossible_answer_is_asked_for_elsewhere_and_an_invalid_unit_nowhere() {
    let bench = Bench::new(config());
    let hashes = bench.series(&[1.0, 2.0]).await;
    let mut liar = bench.join_units("x", 1).await;
    let task = bench.measure(1, &[(hashes[0], hashes[1])]);
    let lying = asked(&mut liar).await;
    let mut honest = bench.join_units("y", 1).await;
    lying.reply(Ok(measured(-1.0)));
    asked(&mut honest).await.reply(Ok(measured(2.0)));
    let report = task.await.unwrap().unwrap();
    assert_eq!((distances(&report), names(&report.agents)), (vec![2.0], vec!["y"]));

    bench.lose("x").await;
    let odd = bench.measure(2, &[(hashes[0], hashes[1])]);
    asked(&mut honest).await.reply(Err(UnitError::Invalid { reason: "too odd".into() }));
    let failed = odd.await.unwrap().unwrap_err();
    assert!(matches!(failed, TaskError::PartFailed { attempts: 1, .. }), "{failed:?}");
}

#[actix::test]
async fn a_lost_agent_changes_nothing_but_who_answered() {
    let bench = Bench::new(config());
    let hashes = bench.series(&[1.0, 2.0, 3.0]).await;
    let (mut x, mut y) = (bench.join_units("x", 1).await, bench.join_units("y", 1).await);
    let task = bench.measure(1, &[(hashes[0], hashes[1]), (hashes[0], hashes[2])]);
    let (of_x, of_y) = (asked(&mut x).await, asked(&mut y).await);
    let value = |asked: &Asked<MeasureDistance>| if asked.request().b == hashes[1] { 4.0 } else { 9.0 };
    let (of_x, answer) = (of_x, value(&of_y));
    bench.lose("x").await;
    of_y.reply(Ok(measured(answer)));
    assert!(!of_x.reply(Ok(measured(0.0))));
    let again = asked(&mut y).await;
    let answer = value(&again);
    again.reply(Ok(measured(answer)));
    let report = task.await.unwrap().unwrap();
    assert_eq!((distances(&report), names(&report.agents)), (vec![4.0, 9.0], vec!["y"]));
}

#[actix::test]
async fn a_client_that_leaves_cancels_units_at_the_agents() {
    let bench = Bench::new(config());
    let hashes = bench.series(&[1.0, 2.0]).await;
    let mut agent = bench.join_units("x", 1).await;
    let task = bench.measure(1, &[(hashes[0], hashes[1])]);
    let asked = asked(&mut agent).await;
    task.abort();
    let told = tokio::time::timeout(Duration::from_millis(10), asked.cancellation().cancelled()).await;
    told.expect("the agent is not told to stop");
    let tasks = bench.mailbox.ask(ListTasks).await.unwrap();
    assert_eq!(tasks[0].state, swarm_protocols::coordinator::TaskState::Cancelled);
}

#[actix::test]
async fn units_that_nobody_could_compute_are_refused() {
    let bench = Bench::new(config());
    let hashes = bench.series(&[1.0, 2.0]).await;
    let unknown = [[1], [2]].map(|of| ContentHash::of(&of));
    let missing = bench.measure(1, &[(hashes[0], unknown[0]), (unknown[1], unknown[0])]).await.unwrap();
    let Err(TaskError::MissingParts { mut parts }) = missing else { panic!("{missing:?}") };
    parts.sort_unstable();
    let mut expected = unknown.to_vec();
    expected.sort_unstable();
    assert_eq!(parts, expected, "each once");

    let two = SeriesGroup::new(vec![vec![1.0].into(), vec![2.0].into()]).unwrap();
    let two = bench.mailbox.ask(StorePart { part: two.encode() }).await.unwrap();
    let refused = bench.measure(1, &[(hashes[0], hashes[1]), (hashes[0], two)]).await.unwrap();
    let reason = "unit 1: no valid unit of work: two groups of one series each are expected".to_owned();
    assert_eq!(refused, Err(TaskError::Invalid { reason }));

    let library = bench.library(&["A"]).await;
    let refused = bench.measure(1, &[(hashes[0], library[0])]).await.unwrap();
    let reason = format!("{} is no group of series", library[0]);
    assert_eq!(refused, Err(TaskError::Invalid { reason }));
    let reason = format!("{} is no part of a pattern library", hashes[0]);
    assert_eq!(bench.submit(1, &hashes[..1]).await.unwrap(), Err(TaskError::Invalid { reason }));
}

#[actix::test]
async fn correlations_go_to_the_correlators_and_to_nobody_else() {
    let bench = Bench::new(config());
    let hashes = bench.series(&[1.0]).await;
    let unit = CorrelateGroups { groups: hashes.clone(), measure: PairMeasure::Pearson, from: 0, until: 1 };
    let job = Job::Units { units: vec![Unit::Correlate(unit.clone())] };
    let mut matcher = bench.join_units("x", 4).await;
    let (correlator, mut probe) = Probe::<CorrelatorProtocol>::new();
    let mailboxes = AgentMailboxes { correlator: Some(correlator), ..AgentMailboxes::default() };
    let (node, agent_type, slots) = (node("y"), "comparing".to_owned(), NonZeroU32::MIN);
    bench.address.send(AgentJoined { node, agent_type, slots, mailboxes }).await.unwrap();

    let task = bench.submit_task(SubmitTask { job: job.clone(), ..task(1, &[]) });
    let asked = probe.expect::<CorrelateGroups>().await;
    assert_eq!(*asked.request(), unit);
    asked.reply(Ok(vec![1.5].into()));
    // No correlation is 1.5, and there is no other correlator.
    let again = probe.expect_within::<CorrelateGroups>(LEASE).await;
    again.reply(Ok(vec![1.0].into()));
    let report = task.await.unwrap().unwrap();
    assert_eq!(report.result, JobResult::Units(vec![UnitAnswer::Correlate(vec![1.0].into())]));
    assert_eq!(names(&report.agents), ["y"]);
    matcher.expect_none(LEASE).await;

    bench.lose("y").await;
    let alone = bench.submit_task(SubmitTask { job, ..super::fixture::task(2, &[]) });
    let capability = CORRELATOR.to_owned();
    assert_eq!(alone.await.unwrap(), Err(TaskError::NoCapableAgent { capability }));
}
