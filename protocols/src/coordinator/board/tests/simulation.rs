//! Random events against a model that knows only the commands: whatever happens, the promises
//! hold, and with one agent that answers every task ends though all the others hang.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;

const AGENTS: usize = 4;
const CAPABILITIES: [&str; 2] = ["match", "search"];

#[derive(Debug, Clone)]
enum Event {
    Join {
        agent: usize,
        capabilities: usize,
        slots: u32,
    },
    Lose {
        agent: usize,
    },
    Submit {
        task: u128,
        priority: u8,
        deadline: Option<u64>,
        capability: usize,
        parts: u8,
        waiting: Waiting,
    },
    Complete(Index),
    Fail(Index, Retry),
    /// A report about an assignment of an agent that was lost.
    ReportLate(Index),
    Cancel {
        task: u128,
    },
    Pass {
        seconds: u64,
    },
    AwaitTimeout,
}

fn waiting() -> impl Strategy<Value = Waiting> {
    prop_oneof![Just(Waiting::ForHome), Just(Waiting::ForAnyone)]
}

fn event() -> impl Strategy<Value = Event> {
    let join = (0..AGENTS, 1..4_usize, 1..4_u32);
    let submit =
        (0..8_u128, 0..=10_u8, prop::option::weighted(0.2, 1..100_u64), 0..2_usize, 1..6_u8, waiting());
    let retry = prop_oneof![4 => Just(Retry::Elsewhere), 1 => Just(Retry::Never)];
    prop_oneof![
        3 => join.prop_map(|(agent, capabilities, slots)| Event::Join { agent, capabilities, slots }),
        1 => (0..AGENTS).prop_map(|agent| Event::Lose { agent }),
        5 => submit.prop_map(|(task, priority, deadline, capability, parts, waiting)| {
            Event::Submit { task, priority, deadline, capability, parts, waiting }
        }),
        6 => any::<Index>().prop_map(Event::Complete),
        2 => (any::<Index>(), retry).prop_map(|(pick, retry)| Event::Fail(pick, retry)),
        1 => any::<Index>().prop_map(Event::ReportLate),
        1 => (0..8_u128).prop_map(|task| Event::Cancel { task }),
        2 => (0..40_u64).prop_map(|seconds| Event::Pass { seconds }),
        2 => Just(Event::AwaitTimeout),
    ]
}

/// An assignment as the shell sees it.
#[derive(Debug, Clone)]
struct Asked {
    assignment: Assignment,
    since: Instant,
    /// Which submission of the id it belongs to.
    run: u32,
}

struct Job {
    run: u32,
    capability: String,
    /// For each part the last attempt and the accepted result with its agent.
    parts: Vec<(u32, Option<(u32, NodeId)>)>,
}

struct Model {
    bench: Bench,
    agents: BTreeMap<NodeId, (BTreeSet<String>, u32)>,
    jobs: BTreeMap<TaskId, Job>,
    asked: Vec<Asked>,
    /// Assignments of agents that were lost.
    lost: Vec<Asked>,
    runs: u32,
    /// Counts the results, so that each is told from the others.
    results: u32,
}

impl Model {
    fn new() -> Self {
        Self {
            bench: Bench::with_agents(&[]),
            agents: BTreeMap::new(),
            jobs: BTreeMap::new(),
            asked: Vec::new(),
            lost: Vec::new(),
            runs: 0,
            results: 0,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Join { agent, capabilities, slots } => {
                self.join(&format!("agent-{agent}"), capabilities, slots);
            }
            Event::Lose { agent } => {
                self.forget_agent(&node(&format!("agent-{agent}")));
                self.bench.lose(&format!("agent-{agent}"));
            }
            Event::Submit { task, priority, deadline, capability, parts, waiting } => {
                let priority = TaskPriority::try_from(priority).unwrap();
                let deadline = deadline.map(|seconds| self.bench.now + Duration::from_secs(seconds));
                let parts: Vec<_> = (0..parts).map(|part| ContentHash::of(&[part])).collect();
                let capability = CAPABILITIES[capability].to_owned();
                self.submit(NewTask {
                    id: id(task),
                    priority,
                    deadline,
                    capability,
                    waiting,
                    ..super::task(0, &parts)
                });
            }
            Event::Complete(pick) if !self.asked.is_empty() => {
                self.complete(pick.index(self.asked.len()));
            }
            Event::Fail(pick, retry) if !self.asked.is_empty() => {
                let asked = self.asked.remove(pick.index(self.asked.len()));
                self.bench.fail(asked.assignment, retry);
            }
            Event::ReportLate(pick) if !self.lost.is_empty() => {
                let late = self.lost.remove(pick.index(self.lost.len()));
                // Only another run of the same task could take the result for its own, which is
                // why nothing may be reported about a lost agent.
                if self.jobs.get(&late.assignment.task).is_none_or(|job| job.run == late.run) {
                    assert_eq!(self.bench.complete(late.assignment, u32::MAX), Completion::Fenced);
                }
            }
            Event::Complete(_) | Event::Fail(..) | Event::ReportLate(_) => {}
            Event::Cancel { task } => {
                let known = self.jobs.contains_key(&id(task));
                assert_eq!(self.bench.board.cancel(id(task), self.bench.now), known);
            }
            Event::Pass { seconds } => self.bench.pass(Duration::from_secs(seconds)),
            Event::AwaitTimeout => self.await_timeout(),
        }
        self.follow_commands();
    }

    fn join(&mut self, name: &str, capabilities: usize, slots: u32) {
        let offered = (0..2).filter(|bit| capabilities & (1 << bit) != 0);
        let offered: BTreeSet<String> = offered.map(|bit| CAPABILITIES[bit].to_owned()).collect();
        self.forget_agent(&node(name));
        self.agents.insert(node(name), (offered.clone(), slots));
        let slots = NonZeroU32::new(slots).unwrap();
        self.bench.board.agent_joined(node(name), offered, slots, self.bench.now);
    }

    fn forget_agent(&mut self, agent: &NodeId) {
        self.agents.remove(agent);
        self.lost.extend(self.asked.extract_if(.., |asked| asked.assignment.agent == *agent));
    }

    fn submit(&mut self, new: NewTask) {
        let (task, capability, parts) = (new.id, new.capability.clone(), new.parts.len());
        match self.bench.board.submit(new, self.bench.now) {
            Ok(()) => {
                self.runs += 1;
                let job = Job { run: self.runs, capability, parts: vec![(0, None); parts] };
                assert!(self.jobs.insert(task, job).is_none());
            }
            Err(TaskError::QueueFull { .. }) => assert_eq!(self.jobs.len(), 3),
            Err(TaskError::Duplicate { .. }) => {
                let held = self.asked.iter().any(|asked| asked.assignment.task == task);
                assert!(held || self.jobs.contains_key(&task));
            }
            Err(other) => panic!("refused: {other}"),
        }
    }

    fn complete(&mut self, position: usize) {
        let asked = self.asked.remove(position);
        self.results += 1;
        let Assignment { agent, task, part, attempt } = asked.assignment.clone();
        let completion = self.bench.complete(asked.assignment, self.results);
        let job = self.jobs.get_mut(&task).filter(|job| job.run == asked.run);
        match (completion, job) {
            (Completion::Accepted, Some(job)) => {
                assert_eq!(job.parts[part].0, attempt, "an old attempt was accepted");
                assert_eq!(job.parts[part].1, None, "a part was accepted twice");
                job.parts[part].1 = Some((self.results, agent));
            }
            (Completion::Accepted, None) => panic!("a result was accepted for a task that ended"),
            (Completion::Fenced, Some(job)) => {
                let expired = self.bench.now - asked.since >= LEASE;
                assert!(expired || job.parts[part].0 > attempt, "a current result was fenced off");
            }
            (Completion::Fenced, None) => {}
        }
    }

    fn await_timeout(&mut self) {
        if let Some(next) = self.bench.board.next_timeout() {
            self.bench.now = self.bench.now.max(next);
            self.bench.board.handle_timeout(self.bench.now);
            assert!(self.bench.board.next_timeout().is_none_or(|next| next > self.bench.now));
        }
    }

    fn follow_commands(&mut self) {
        for command in self.bench.commands() {
            match command {
                Command::Assign { assignment, hash } => self.assigned(assignment, hash),
                Command::Withdraw { assignment } => {
                    let position = self.asked.iter().position(|asked| asked.assignment == assignment);
                    self.asked.remove(position.expect("only what was asked is withdrawn"));
                }
                Command::Finished { task, results, agents } => {
                    let job = self.jobs.remove(&task).expect("a task ends once");
                    let accepted =
                        job.parts.into_iter().map(|(_, result)| result.expect("every part is done"));
                    assert_eq!((results, agents), accepted.unzip());
                }
                Command::Failed { task, .. } => {
                    self.jobs.remove(&task).expect("a task ends once");
                    assert!(self.asked.iter().all(|asked| asked.assignment.task != task));
                }
            }
        }
    }

    fn assigned(&mut self, assignment: Assignment, hash: ContentHash) {
        let (capabilities, slots) = &self.agents[&assignment.agent];
        let job = self.jobs.get_mut(&assignment.task).expect("only live tasks are worked on");
        let (last, result) = &mut job.parts[assignment.part];
        assert!(capabilities.contains(&job.capability));
        assert_eq!(hash, ContentHash::of(&[u8::try_from(assignment.part).unwrap()]));
        assert_eq!(*result, None, "a part that is done was assigned");
        assert_eq!(assignment.attempt, *last + 1);
        assert!(assignment.attempt <= 3);
        *last = assignment.attempt;
        let held = self.asked.iter().filter(|asked| asked.assignment.agent == assignment.agent).count();
        assert!(held < *slots as usize, "a slot was over-committed");
        self.asked.push(Asked { assignment, since: self.bench.now, run: job.run });
    }

    /// From here on one agent answers, and all the others hang.
    fn end_with_one_agent(&mut self) {
        self.join("steady", 3, 1);
        self.follow_commands();
        // At most 3 tasks of 5 parts with 3 attempts each, and a timeout for each attempt.
        for _ in 0..100 {
            let steady = self.asked.iter().position(|asked| asked.assignment.agent == node("steady"));
            match steady {
                Some(position) => self.complete(position),
                None => self.await_timeout(),
            }
            self.follow_commands();
        }
        assert_eq!(self.jobs.len(), 0, "a task neither finished nor failed");
        let board = &self.bench.board;
        assert!(board.tasks.is_empty() && board.ranks.is_empty() && board.unplaced.is_empty());
        assert!(board.agents.0.values().all(|agent| agent.waiting.is_empty()));
        assert_eq!(board.next_timeout(), None);
    }
}

proptest! {
    #[test]
    fn whatever_happens_every_task_ends_once_and_no_slot_is_over_committed(
        events in prop::collection::vec(event(), 1..80)
    ) {
        let mut model = Model::new();
        events.into_iter().for_each(|event| model.handle(event));
        model.end_with_one_agent();
    }
}
