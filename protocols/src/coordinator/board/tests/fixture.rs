//! Short words for boards, tasks and commands. A command is a line: `a does 1.0#2` is the second attempt at the first part
//! of task 1.

use super::super::*;
use crate::{
    Blob, Caller, Role,
    coordinator::{Part, PartAnswer, SubmitTask, TaskPriority, TaskReport},
    wire::codec::{decode, encode},
};
use std::iter;
use uuid::Uuid;

pub(super) const LEASE: Duration = Duration::from_secs(30);
pub(super) const AGENT_WAIT: Duration = Duration::from_secs(60);
pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

pub(super) fn slots(at_once: u32, ahead: u32) -> Slots {
    Slots::new(NonZeroU32::new(at_once).unwrap(), ahead).unwrap()
}

pub(super) fn id(number: u128) -> TaskId {
    TaskId::from(Uuid::from_u128(number))
}

pub(super) fn config() -> BoardConfig {
    BoardConfig {
        queue_limit: NonZeroU32::new(6).unwrap(),
        attempts_max: NonZeroU32::new(3).unwrap(),
        lease: LEASE,
        agent_wait: AGENT_WAIT,
        ..BoardConfig::default()
    }
}

/// Some content that is drawn to `home` more than to the other of the agents `a` and `b`.
pub(super) fn drawn_to(home: &str, number: u32) -> ContentHash {
    let agents = [node("a"), node("b")];
    let hashes = (0..).map(|salt: u32| ContentHash::of(&[number.to_le_bytes(), salt.to_le_bytes()].concat()));
    let is_drawn = |hash: &ContentHash| agents[EvenShares.place(&[*hash], &agents)[0]] == node(home);
    hashes.into_iter().find(is_drawn).unwrap()
}

/// A task of parts that are drawn to these agents.
pub(super) fn task(number: u128, homes: &[&str]) -> SubmitTask {
    let part = |(at, home): (u32, &&str)| Part {
        request: "look".into(),
        version: 1,
        payload: vec![u8::try_from(at).unwrap()].into(),
        inputs: vec![drawn_to(home, at)],
    };
    SubmitTask {
        id: id(number),
        kind: "look".into(),
        priority: TaskPriority::default(),
        deadline: None,
        protocol: "looker".into(),
        parts: (0..).zip(homes).map(part).collect(),
        waiting: Waiting::ForHome,
        avoid: BTreeSet::new(),
    }
}

pub(super) fn new_task(task: SubmitTask) -> NewTask {
    new_task_of("operator", task)
}

fn new_task_of(client: &str, task: SubmitTask) -> NewTask {
    NewTask::new(task, Some(Caller { node: node(client), role: Role::Operator })).unwrap()
}

/// `a does 1.0#2` in the words of the board.
pub(super) fn given(agent: &str, task: u128, part: usize, attempt: u32) -> Assignment {
    Assignment { agent: node(agent), task: id(task), part, attempt }
}

pub(super) fn wrong() -> Failure {
    Failure::Handler { error: vec![7].into() }
}

pub(super) fn lost() -> Failure {
    Failure::Lost { cause: "its actor stopped".into() }
}

pub(super) fn busy() -> Failure {
    Failure::NotBegun { cause: "overloaded".into(), again: Some(Duration::ZERO) }
}

pub(super) fn denied() -> Failure {
    Failure::NotBegun { cause: "not permitted".into(), again: None }
}

fn shown(task: TaskId) -> u128 {
    Uuid::from(task).as_u128()
}

fn line(command: &Command) -> String {
    let given =
        |Assignment { task, part, attempt, .. }: &Assignment| format!("{}.{part}#{attempt}", shown(*task));
    let answers = |report: &TaskReport| {
        let answer = |PartAnswer { agent, reply }: &PartAnswer| format!(" {}@{agent}", reply[0]);
        report.answers.iter().map(answer).collect::<String>()
    };
    match command {
        Command::Accepted { task } => format!("{} accepted", shown(*task)),
        Command::Refused { task, error } => format!("{} refused: {error}", shown(*task)),
        Command::Joined { task } => format!("{} joined", shown(*task)),
        Command::Repeated { task, report } => format!("{} repeated:{}", shown(*task), answers(report)),
        Command::Assign { assignment, .. } => format!("{} does {}", assignment.agent, given(assignment)),
        Command::Withdraw { assignment } => format!("{} leaves {}", assignment.agent, given(assignment)),
        Command::Finished { task, report } => format!("{} done:{}", shown(*task), answers(report)),
        Command::Failed { task, error } => format!("{} failed: {error}", shown(*task)),
        Command::TurnedAway { task } => format!("{} turned away", shown(*task)),
    }
}

/// A board with a clock that stands still unless it is moved. When it goes, what happened is replayed from its encoding:
/// that must lead to the same commands and the same board.
pub(super) struct Bench {
    pub(super) board: Board,
    pub(super) now: Offset,
    config: BoardConfig,
    journal: Vec<(Vec<u8>, Offset)>,
    commands: Vec<Command>,
    /// How many of the commands were looked at.
    seen: usize,
}

impl Bench {
    /// With agents that have one slot each.
    pub(super) fn with_agents(agents: &[&str]) -> Self {
        Self::with_config(config(), agents)
    }

    pub(super) fn with_config(config: BoardConfig, agents: &[&str]) -> Self {
        let (now, board) = (Offset::default(), Board::new(config.clone()));
        let mut bench = Self { board, now, config, journal: Vec::new(), commands: Vec::new(), seen: 0 };
        agents.iter().for_each(|agent| bench.join(agent, 1));
        bench
    }

    pub(super) fn apply(&mut self, input: Input) {
        self.journal.push((encode(&input).unwrap(), self.now));
        self.board.apply(input, self.now);
        self.commands.extend(iter::from_fn(|| self.board.poll()));
    }

    /// What is to be done since the last look.
    pub(super) fn take_commands(&mut self) -> Vec<Command> {
        let new = self.commands[self.seen..].to_vec();
        self.seen = self.commands.len();
        new
    }

    /// The same in lines, without tasks that are accepted.
    pub(super) fn commands(&mut self) -> Vec<String> {
        let new = self.take_commands();
        new.iter().filter(|command| !matches!(command, Command::Accepted { .. })).map(line).collect()
    }

    pub(super) fn join(&mut self, agent: &str, at_once: u32) {
        self.join_with(agent, slots(at_once, 0));
    }

    pub(super) fn join_with(&mut self, agent: &str, slots: Slots) {
        let protocols = BTreeSet::from(["looker".into()]);
        self.apply(Input::AgentJoined { agent: node(agent), protocols, slots });
    }

    /// Whoever does `what` as the commands since the last time say.
    pub(super) fn asked(&mut self, what: &str) -> String {
        let commands = self.commands();
        let asked = commands.iter().find_map(|command| command.strip_suffix(&format!(" does {what}")));
        asked.unwrap_or_else(|| panic!("nobody does {what}: {commands:?}")).to_owned()
    }

    pub(super) fn lose(&mut self, agent: &str) {
        self.apply(Input::AgentLost { agent: node(agent) });
    }

    pub(super) fn drain(&mut self, agent: &str) {
        self.apply(Input::AgentDraining { agent: node(agent) });
    }

    pub(super) fn submit(&mut self, task: SubmitTask) {
        let number = shown(task.id);
        assert_eq!(self.outcome(task), format!("{number} accepted"));
    }

    /// A task of this client.
    pub(super) fn submit_of(&mut self, client: &str, task: SubmitTask) {
        self.apply(Input::Submitted(new_task_of(client, task)));
    }

    /// What its client is told of a task at once.
    pub(super) fn outcome(&mut self, task: SubmitTask) -> String {
        self.outcome_of("operator", task)
    }

    pub(super) fn outcome_of(&mut self, client: &str, task: SubmitTask) -> String {
        let before = self.commands.len();
        self.submit_of(client, task);
        line(&self.commands[before])
    }

    pub(super) fn cancel(&mut self, task: u128) {
        self.apply(Input::Cancelled { task: id(task) });
    }

    pub(super) fn answer(&mut self, assignment: Assignment, reply: u8) {
        self.answer_with(assignment, vec![reply].into());
    }

    pub(super) fn answer_with(&mut self, assignment: Assignment, reply: Blob) {
        self.apply(Input::Answered { assignment, reply });
    }

    pub(super) fn fail(&mut self, assignment: Assignment, failure: Failure) {
        self.apply(Input::Failed { assignment, failure });
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time).unwrap();
        self.apply(Input::Tick);
    }

    /// Ticks when the board wants it, until so much time is over.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now.after(time).unwrap();
        while let Some(next) = self.board.next_timeout().filter(|next| *next < end) {
            self.now = self.now.max(next);
            self.apply(Input::Tick);
        }
        self.pass(end.since(self.now));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut again = Board::new(self.config.clone());
        let mut commands = Vec::new();
        for (input, now) in &self.journal {
            again.apply(decode(input).unwrap(), *now);
            commands.extend(iter::from_fn(|| again.poll()));
        }
        assert!(commands == self.commands, "a replay gives other commands");
        assert_eq!(format!("{again:?}"), format!("{:?}", self.board), "a replay ends in another state");
    }
}
