//! A coordinator with probes for agents, and answers made up for them.

use super::super::*;
use crate::{
    Ask,
    testing::{Asked, Probe},
};
use swarm_protocols::{
    coordinator::{Job, JobResult, Priority, TaskError, TaskReport},
    similar_windows::{
        Day, FindSimilar, Hit, QueryMatches, SeriesPart, SimilarInPart, SimilarWindows, WindowQuery,
        WindowRule,
    },
};
use uuid::Uuid;

pub(super) const RULE: WindowRule =
    WindowRule { length: 8, following: 3, max_gap_days: 4, band: 2, top: 4, apart: 8 };
pub(super) const LEASE: Duration = Duration::from_secs(30);
pub(super) const AGENT_WAIT: Duration = Duration::from_secs(10);

/// Longer than any task here takes, in virtual time.
const PATIENCE: Duration = Duration::from_secs(3_600);

pub(super) fn day(days: i32) -> Day {
    Day::from_epoch_days(days).unwrap()
}

pub(super) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// Whose answers are in the result of a task, which is to have one.
pub(super) async fn done_by(task: Submitting) -> Vec<String> {
    let report = task.await.unwrap().unwrap();
    report.agents.iter().map(ToString::to_string).collect()
}

pub(super) fn id(number: u128) -> TaskId {
    TaskId::from(Uuid::from_u128(number))
}

/// A zigzag that is another one for every symbol, on consecutive days from 100 on.
pub(super) fn part(symbol: &str, bars: i32) -> SeriesPart {
    let step = symbol.bytes().map(i32::from).sum::<i32>() % 13 + 2;
    let closes = (0..bars).map(|bar| 100.0 + f64::from(bar * step % 17)).collect();
    SeriesPart::new(symbol.parse().unwrap(), (100..100 + bars).map(day).collect(), closes).unwrap()
}

pub(super) fn query() -> WindowQuery {
    part("Q", 200).last_window(&RULE).unwrap()
}

/// An answer that anyone could give: one window, at this squared distance.
pub(super) fn found(distance_squared: f64) -> SimilarInPart {
    let hit = Hit { start: 0, first: day(100), last: day(107), distance_squared, following_return: 0.25 };
    let queries = vec![QueryMatches { candidates: 1, matches: vec![hit] }];
    SimilarInPart { queries, following_returns: vec![0.25].into() }
}

pub(super) fn config() -> CoordinatorConfig {
    let mut config = CoordinatorConfig::default();
    config.board.lease = LEASE;
    config.board.agent_wait = AGENT_WAIT;
    config.board.attempts_max = NonZeroU32::new(3).unwrap();
    config
}

pub(super) type Submitting = tokio::task::JoinHandle<Result<TaskReport, TaskError>>;

pub(super) struct Bench {
    pub(super) address: Addr<Coordinator>,
    pub(super) mailbox: Mailbox<CoordinatorProtocol>,
}

impl Bench {
    /// In virtual time.
    pub(super) fn new(config: CoordinatorConfig) -> Self {
        tokio::time::pause();
        let address = Coordinator::new(config, None).start();
        Self { mailbox: Coordinator::mailbox(address.clone()), address }
    }

    pub(super) async fn join(&self, agent: &str, slots: u32) -> Probe<MatcherProtocol> {
        let (matcher, probe) = Probe::new();
        let mailboxes = AgentMailboxes { matcher: Some(matcher), ..AgentMailboxes::default() };
        let slots = NonZeroU32::new(slots).unwrap();
        let (node, agent_type) = (node(agent), "matching".to_owned());
        let joined = AgentJoined { node, agent_type, slots, mailboxes };
        self.address.send(joined).await.unwrap();
        probe
    }

    pub(super) async fn lose(&self, agent: &str) {
        self.address.send(AgentLost { node: node(agent) }).await.unwrap();
    }

    pub(super) fn store(&self, part: &SeriesPart) -> Ask<'_, CoordinatorProtocol, StorePart> {
        self.mailbox.ask(StorePart { part: part.encode() })
    }

    /// Stores a small part of each of these series.
    pub(super) async fn library(&self, symbols: &[&str]) -> Vec<ContentHash> {
        let mut library = Vec::new();
        for symbol in symbols {
            library.push(self.store(&part(symbol, 30)).await.unwrap());
        }
        library
    }

    /// Waits for the task in the background.
    pub(super) fn submit(&self, number: u128, library: &[ContentHash]) -> Submitting {
        self.submit_task(task(number, library))
    }

    pub(super) fn submit_task(&self, task: SubmitTask) -> Submitting {
        let mailbox = self.mailbox.clone();
        actix_rt::spawn(async move {
            mailbox.ask(task).timeout(PATIENCE).await.map_err(|error| match error {
                crate::AskError::Handler(error) => error,
                crate::AskError::Delivery(error) => panic!("{error}"),
            })
        })
    }

    pub(super) async fn progress(&self, number: u128) -> Option<Progress> {
        self.mailbox.ask(TaskProgress { id: id(number) }).await.unwrap()
    }

    pub(super) async fn agents(&self) -> BTreeSet<NodeId> {
        self.mailbox.ask(swarm_protocols::coordinator::CoordinatorStatus).await.unwrap().agents
    }
}

pub(super) fn task(number: u128, library: &[ContentHash]) -> SubmitTask {
    let job = Job::SimilarWindows { rule: RULE, queries: vec![query()], library: library.to_vec() };
    SubmitTask { id: id(number), priority: Priority::default(), deadline: None, job }
}

/// The next question to an agent, which must be about one of `library`: its position there.
pub(super) async fn asked(
    probe: &mut Probe<MatcherProtocol>,
    library: &[ContentHash],
) -> (usize, Asked<FindSimilar>) {
    let asked = probe.expect_within::<FindSimilar>(2 * LEASE).await;
    let FindSimilar { part, rule, queries } = asked.request();
    assert_eq!((rule, &queries[..]), (&RULE, &[query()][..]));
    (library.iter().position(|hash| hash == part).unwrap(), asked)
}

/// The agent is told at once that its answer is not wanted any more.
pub(super) async fn withdrawn(asked: &Asked<FindSimilar>) {
    let at_once = Duration::from_millis(10);
    let cancellation = asked.cancellation();
    let told = tokio::time::timeout(at_once, cancellation.cancelled()).await;
    told.expect("the agent is not told to stop");
}

pub(super) fn windows(report: &TaskReport) -> &SimilarWindows {
    match &report.result {
        JobResult::SimilarWindows(windows) => windows,
        JobResult::Units(_) => panic!("{report:?}"),
    }
}

/// The series and the distances of the matches.
pub(super) fn matches(report: &TaskReport) -> Vec<(&str, f64)> {
    let found = &windows(report).symbols[0].matches;
    found.iter().map(|found| (found.symbol.as_str(), found.distance)).collect()
}

pub(super) fn names(agents: &BTreeSet<NodeId>) -> Vec<&str> {
    agents.iter().map(NodeId::as_str).collect()
}
