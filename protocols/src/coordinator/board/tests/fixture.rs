//! Short words for boards, tasks and commands.

use super::super::*;
use uuid::Uuid;

pub(super) const LEASE: Duration = Duration::from_secs(30);
pub(super) const AGENT_WAIT: Duration = Duration::from_secs(60);

/// The start of virtual time: an `Instant` can be had from the clock only.
#[expect(clippy::disallowed_methods, reason = "one reading as the origin, from which tests count")]
fn origin() -> Instant {
    Instant::now()
}

pub(super) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

pub(super) fn id(number: u128) -> TaskId {
    TaskId::from(Uuid::from_u128(number))
}

fn config() -> BoardConfig {
    BoardConfig {
        queue_limit: NonZeroU32::new(3).unwrap(),
        lease: LEASE,
        attempts_max: NonZeroU32::new(3).unwrap(),
        agent_wait: AGENT_WAIT,
    }
}

/// Some content that is drawn to `home` more than to the other of the agents `a` and `b`.
pub(super) fn part_of(home: &str, number: u32) -> ContentHash {
    let other = if home == "a" { "b" } else { "a" };
    (0..)
        .map(|salt: u32| ContentHash::of(&[number.to_le_bytes(), salt.to_le_bytes()].concat()))
        .find(|hash| hash.weight(&node(home)) > hash.weight(&node(other)))
        .unwrap()
}

pub(super) fn task(number: u128, parts: &[ContentHash]) -> NewTask {
    let priority = TaskPriority::default();
    NewTask {
        id: id(number),
        kind: "look",
        priority,
        deadline: None,
        capability: "match".into(),
        parts: parts.to_vec(),
        waiting: Waiting::ForHome,
    }
}

pub(super) fn given(agent: &str, task: u128, part: usize, attempt: u32) -> Assignment {
    Assignment { agent: node(agent), task: id(task), part, attempt }
}

pub(super) fn assign(agent: &str, task: u128, part: usize, attempt: u32, hash: ContentHash) -> Command<u32> {
    Command::Assign { assignment: given(agent, task, part, attempt), hash }
}

pub(super) fn withdraw(agent: &str, task: u128, part: usize, attempt: u32) -> Command<u32> {
    Command::Withdraw { assignment: given(agent, task, part, attempt) }
}

pub(super) fn finished(task: u128, results: &[u32], agents: &[&str]) -> Command<u32> {
    let agents = agents.iter().map(|name| node(name)).collect();
    Command::Finished { task: id(task), results: results.to_vec(), agents }
}

pub(super) fn failed(task: u128, error: TaskError) -> Command<u32> {
    Command::Failed { task: id(task), error }
}

pub(super) fn part_failed(part: u32, attempts: u32, agent: &str, cause: &str) -> TaskError {
    TaskError::PartFailed { part, attempts, agent: node(agent), cause: cause.into(), error: None }
}

/// A board with a clock that stands still unless it is moved.
pub(super) struct Bench {
    pub(super) board: Board<u32>,
    pub(super) now: Instant,
}

impl Bench {
    /// With agents that have one slot each.
    pub(super) fn with_agents(agents: &[&str]) -> Self {
        let mut bench = Self { board: Board::new(config()), now: origin() };
        agents.iter().for_each(|agent| bench.join(agent, 1));
        bench
    }

    pub(super) fn join(&mut self, agent: &str, slots: u32) {
        let capabilities = BTreeSet::from(["match".to_owned()]);
        self.board.agent_joined(node(agent), capabilities, NonZeroU32::new(slots).unwrap(), self.now);
    }

    pub(super) fn lose(&mut self, agent: &str) {
        self.board.agent_lost(&node(agent), self.now);
    }

    pub(super) fn submit(&mut self, task: NewTask) {
        self.board.submit(task, self.now).unwrap();
    }

    pub(super) fn complete(&mut self, assignment: Assignment, result: u32) -> Completion {
        self.board.completed(&assignment, result, self.now)
    }

    pub(super) fn fail(&mut self, assignment: Assignment, retry: Retry) {
        self.board.failed(&assignment, "broken".into(), retry, self.now);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.board.handle_timeout(self.now);
    }

    pub(super) fn commands(&mut self) -> Vec<Command<u32>> {
        std::iter::from_fn(|| self.board.poll()).collect()
    }
}
