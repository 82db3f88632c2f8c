//! Swarms in virtual time, from seeds. Agents drain, die, hang, answer late, wrong or not at all and come back, and as
//! long as one honest agent stays every task ends right. A client that is given a wrong answer submits the task again and
//! avoids who gave it. The node of some boards drains, and no agent joins any more: then a task may be turned away
//! instead, and none is said to have no capable agent.
//!
//! A seed makes one history; 250 of them are run, or as many as `SWARM_SEEDS` says. Every history is replayed from its
//! encoding as well.

mod nature;

use super::*;
use crate::coordinator::{PartAnswer, TaskReport};
use nature::{Dice, GARBAGE, NATURES, Nature, Outcome};

const SEEDS: u64 = 250;
const CLIENTS: [&str; 3] = ["ann", "ben", "cem"];
const PROTOCOLS: [&str; 2] = ["looker", "searcher"];

/// When agents stop coming and going.
const CALM: Offset = Offset(Duration::from_secs(900));

#[test]
fn as_long_as_one_honest_agent_stays_every_task_ends_right() {
    let seeds = std::env::var("SWARM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        // Named where a check fails.
        let history = std::panic::catch_unwind(|| Swarm::new(seed).run());
        assert!(history.is_ok(), "the history of seed {seed} goes wrong");
    }
}

#[derive(Debug)]
enum Event {
    Submit(SubmitTask),
    Cancel(TaskId),
    Join(NodeId),
    Change(NodeId),
    Drain(NodeId),
    Lose(NodeId),
    /// The node of the board drains.
    Stop,
    Report(Assignment, Outcome),
    /// A report about what was withdrawn or lost.
    Stale(Assignment),
}

struct Member {
    nature: Nature,
    /// It never leaves.
    is_steady: bool,
    protocols: BTreeSet<String>,
    slots: Slots,
    here: bool,
    draining: bool,
}

type Given = (Assignment, Option<(Duration, Outcome)>);

struct Swarm {
    dice: Dice,
    bench: Bench,
    events: BTreeMap<(Offset, u64), Event>,
    scheduled: u64,
    members: BTreeMap<NodeId, Member>,
    asked: BTreeSet<Assignment>,
    /// What agents were given, in order, and what will come of it where it has not begun.
    queues: BTreeMap<NodeId, Vec<Given>>,
    /// The tasks on the board, and the last attempt at each of their parts.
    live: BTreeMap<TaskId, (SubmitTask, Vec<u32>)>,
    /// Whom the board avoids in them.
    avoided: BTreeMap<TaskId, BTreeSet<NodeId>>,
    cancelled: BTreeSet<TaskId>,
    /// Every answer that was reported for a part.
    answers: BTreeSet<(TaskId, usize, NodeId, u8)>,
    next_id: u128,
    is_stopping: bool,
    /// The tasks whose clients still want an answer.
    unserved: BTreeSet<TaskId>,
}

impl Swarm {
    fn new(seed: u64) -> Self {
        let attempts_max = NonZeroU32::new(5).unwrap();
        let config = BoardConfig { queue_limit: NonZeroU32::new(40).unwrap(), attempts_max, ..config() };
        let mut swarm = Self {
            dice: Dice(seed),
            bench: Bench::with_config(config, &[]),
            events: BTreeMap::new(),
            scheduled: 0,
            members: BTreeMap::new(),
            asked: BTreeSet::new(),
            queues: BTreeMap::new(),
            live: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            answers: BTreeSet::new(),
            next_id: 1,
            is_stopping: false,
            unserved: BTreeSet::new(),
            avoided: BTreeMap::new(),
        };
        // With fewer bad agents than attempts the honest one is asked before the attempts are spent.
        for number in 0..=swarm.dice.below(5) {
            swarm.add_member(number);
        }
        for _ in 0..swarm.dice.below(8) + 1 {
            swarm.plan_task();
        }
        if swarm.dice.chance(20) {
            let stop = swarm.dice.seconds(0, 300);
            swarm.schedule(stop, Event::Stop);
        }
        swarm
    }

    fn add_member(&mut self, number: u64) {
        let is_steady = number == 0;
        let kinds = if is_steady { 2 } else { NATURES.len() };
        let exposed = if is_steady { 3 } else { 1 + self.dice.below(3) };
        let protocols = (0..2).filter(|bit| exposed & (1 << bit) != 0).map(|bit| PROTOCOLS[bit].to_owned());
        let member = Member {
            nature: NATURES[self.dice.index(kinds)],
            is_steady,
            protocols: protocols.collect(),
            slots: slots(1 + self.dice.below(3) as u32, self.dice.below(3) as u32),
            here: false,
            draining: false,
        };
        let id = node(&format!("agent-{}", self.dice.below(1_000) * 10 + number));
        let start = if is_steady { Duration::ZERO } else { self.dice.seconds(0, 20) };
        self.schedule(start, Event::Join(id.clone()));
        self.members.insert(id, member);
    }

    fn plan_task(&mut self) {
        let homes = vec!["a"; 1 + self.dice.index(6)];
        let mut task = task(self.next_id, &homes);
        self.next_id += 1;
        task.priority = u8::try_from(self.dice.below(11)).unwrap().try_into().unwrap();
        task.deadline = self.dice.chance(15).then(|| self.dice.seconds(1, 200));
        task.protocol = PROTOCOLS[self.dice.index(2)].to_owned();
        task.waiting = if self.dice.chance(50) { Waiting::ForHome } else { Waiting::ForAnyone };
        let start = self.dice.seconds(0, 300);
        if self.dice.chance(10) {
            let later = start + self.dice.seconds(0, 100);
            self.schedule(later, Event::Cancel(task.id));
        }
        if self.dice.chance(10) {
            let again = start + self.dice.seconds(0, 400);
            self.schedule(again, Event::Submit(task.clone()));
        }
        self.unserved.insert(task.id);
        self.schedule(start, Event::Submit(task));
    }

    fn schedule(&mut self, later: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.bench.now.after(later).unwrap(), self.scheduled), event);
    }

    fn run(mut self) {
        for _ in 0..50_000 {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let timeout = self.bench.board.next_timeout();
            let Some(now) = event.into_iter().chain(timeout).min() else { break };
            self.bench.now = self.bench.now.max(now);
            if event == Some(now) {
                let (_, event) = self.events.pop_first().unwrap();
                self.handle(event);
            } else {
                self.bench.apply(Input::Tick);
                assert!(self.bench.board.next_timeout().is_none_or(|next| next > now), "it spins");
            }
            self.follow_commands();
        }
        assert!(self.unserved.is_empty(), "tasks neither finished nor failed: {:?}", self.live);
        assert!(self.live.is_empty() && self.bench.board.tasks.is_empty());
        assert_eq!(self.bench.board.bytes, 0);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Submit(task) => self.submit(task),
            Event::Cancel(task) => {
                if self.live.contains_key(&task) {
                    self.cancelled.insert(task);
                }
                self.bench.apply(Input::Cancelled { task });
            }
            Event::Join(agent) => self.join(agent),
            Event::Change(agent) => self.change(&agent),
            Event::Drain(agent) => {
                self.members.get_mut(&agent).unwrap().draining = true;
                self.bench.apply(Input::AgentDraining { agent });
            }
            Event::Lose(agent) => self.lose(agent),
            Event::Stop => {
                self.is_stopping = true;
                self.bench.apply(Input::Draining);
                // So that there is somebody to turn away.
                if self.dice.chance(50) {
                    let here = self.members.iter().filter(|(_, member)| member.here);
                    let here: Vec<NodeId> = here.map(|(agent, _)| agent.clone()).collect();
                    here.into_iter().for_each(|agent| self.schedule(Duration::ZERO, Event::Lose(agent)));
                }
            }
            Event::Report(assignment, outcome) => self.report(assignment, outcome),
            Event::Stale(assignment) if !self.asked.contains(&assignment) => {
                self.bench.answer(assignment, GARBAGE);
            }
            Event::Stale(_) => {}
        }
    }

    fn submit(&mut self, task: SubmitTask) {
        let id = task.id;
        let client = CLIENTS[uuid::Uuid::from(id).as_u128() as usize % CLIENTS.len()];
        let said = self.bench.outcome_of(client, task.clone());
        if said.ends_with("refused: the task was cancelled") {
            self.unserved.remove(&id);
            return;
        }
        if said.ends_with("accepted") {
            let attempts = vec![0; task.parts.len()];
            // It may have been turned away at once.
            let (board, none) = (&self.bench.board, &task.avoid);
            let avoided = board.ranks.get(&id).map_or(none, |rank| &board.tasks[rank].submitted().avoid);
            self.avoided.insert(id, avoided.clone());
            assert!(self.live.insert(id, (task, attempts)).is_none(), "a task is accepted twice");
        } else if self.live.contains_key(&id) {
            assert!(said.ends_with("joined"), "{said}");
        } else {
            assert!(said.contains("repeated") || said.contains("refused"), "{said}");
        }
    }

    fn join(&mut self, agent: NodeId) {
        if self.is_stopping {
            return;
        }
        let member = self.members.get_mut(&agent).unwrap();
        (member.here, member.draining) = (true, false);
        let (protocols, slots) = (member.protocols.clone(), member.slots);
        let is_steady = member.is_steady;
        self.forget_all(&agent);
        self.bench.apply(Input::AgentJoined { agent: agent.clone(), protocols, slots });
        if is_steady || self.bench.now > CALM {
            return;
        }
        let [drain, leave, back] =
            [(1, 200), (1, 300), (1, 60)].map(|(from, to)| self.dice.seconds(from, to));
        match self.dice.below(5) {
            0 => self.schedule(drain, Event::Drain(agent.clone())),
            1 => self.schedule(drain, Event::Change(agent.clone())),
            _ => {}
        }
        if self.dice.chance(60) {
            self.schedule(leave, Event::Lose(agent.clone()));
            self.schedule(leave + back, Event::Join(agent));
        }
    }

    /// Turns what an agent exposes over.
    fn change(&mut self, agent: &NodeId) {
        let member = self.members.get_mut(agent).unwrap();
        let exposes = |name: &&str| !member.protocols.contains(*name);
        member.protocols =
            PROTOCOLS.iter().copied().filter(|name| exposes(name)).map(str::to_owned).collect();
        let protocols = member.protocols.clone();
        self.bench.apply(Input::AgentChanged { agent: agent.clone(), protocols });
    }

    fn lose(&mut self, agent: NodeId) {
        let member = self.members.get_mut(&agent).unwrap();
        member.here = false;
        let held: Vec<Assignment> = self.asked.iter().filter(|asked| asked.agent == agent).cloned().collect();
        for assignment in held {
            if self.dice.chance(30) {
                let not_begun =
                    Failure::NotBegun { cause: "session lost".into(), again: Some(Duration::ZERO) };
                self.report(assignment.clone(), Outcome::Failure(not_begun));
                // What is assigned because of that is lost with the agent too.
                self.follow_commands();
            }
            let later = self.dice.seconds(0, 60);
            self.schedule(later, Event::Stale(assignment));
        }
        self.forget_all(&agent);
        self.bench.apply(Input::AgentLost { agent });
    }

    fn report(&mut self, assignment: Assignment, outcome: Outcome) {
        // What was withdrawn or lost is not reported.
        if !self.asked.contains(&assignment) {
            return;
        }
        match outcome {
            Outcome::Answer(reply) => {
                self.forget(&assignment);
                let Assignment { agent, task, part, .. } = assignment.clone();
                self.answers.insert((task, part, agent, reply));
                self.bench.answer(assignment, reply);
            }
            Outcome::Failure(failure) => {
                self.forget(&assignment);
                self.bench.fail(assignment, failure);
            }
            Outcome::Crash => {
                let agent = assignment.agent;
                self.lose(agent.clone());
                let back = self.dice.seconds(0, 30);
                self.schedule(back, Event::Join(agent));
            }
        }
    }

    fn follow_commands(&mut self) {
        for command in self.bench.take_commands() {
            match command {
                Command::Accepted { .. }
                | Command::Refused { .. }
                | Command::Joined { .. }
                | Command::Repeated { .. } => {}
                Command::Assign { assignment, task } => self.assigned(assignment, &task),
                Command::Withdraw { assignment } => {
                    assert!(self.forget(&assignment), "{assignment:?} was not asked");
                    let later = self.dice.seconds(0, 60);
                    self.schedule(later, Event::Stale(assignment));
                }
                Command::Finished { task, report } => self.finished(task, &report),
                Command::Failed { task, error } => self.failed(task, &error),
                Command::TurnedAway { task } => self.turned_away(task),
            }
        }
    }

    fn assigned(&mut self, assignment: Assignment, new: &NewTask) {
        let Assignment { ref agent, task, part, attempt } = assignment;
        let member = &self.members[agent];
        let (submitted, attempts) = self.live.get_mut(&task).expect("only live tasks are worked on");
        // The client may have said before whom it avoids.
        let avoid = new.task().avoid.clone();
        assert!(avoid.is_superset(&submitted.avoid));
        assert_eq!(*new.task(), SubmitTask { avoid, ..submitted.clone() });
        assert!(member.protocols.contains(&submitted.protocol) && !new.task().avoid.contains(agent));
        assert!(!member.draining, "{agent} drains");
        assert_eq!(attempt, attempts[part] + 1);
        attempts[part] = attempt;
        let held = self.asked.iter().filter(|asked| asked.agent == *agent).count();
        assert!(held < member.slots.all().get() as usize, "a slot of {agent} is over-committed");
        assert!(
            !self.asked.iter().any(|asked| (&asked.agent, asked.task, asked.part) == (agent, task, part)),
            "{agent} does the part already"
        );
        let right = new.part(&assignment).payload[0];
        let nature = member.nature;
        let outcome = nature.outcome(right, &mut self.dice);
        let agent = agent.clone();
        self.asked.insert(assignment.clone());
        self.queues.entry(agent.clone()).or_default().push((assignment, Some(outcome)));
        self.begin(&agent);
    }

    /// Lets an agent begin what is at the front of its queue, as many at once as it works on.
    fn begin(&mut self, agent: &NodeId) {
        let at_once = self.members[agent].slots.at_once().get() as usize;
        let queue = self.queues.entry(agent.clone()).or_default();
        let begun = queue.iter_mut().take(at_once).filter_map(|(of, next)| Some((of.clone(), next.take()?)));
        for (assignment, (later, outcome)) in begun.collect::<Vec<_>>() {
            self.schedule(later, Event::Report(assignment, outcome));
        }
    }

    /// Nobody works on it, or waits for it, any more. Whether somebody did.
    fn forget(&mut self, assignment: &Assignment) -> bool {
        let agent = &assignment.agent;
        self.queues.entry(agent.clone()).or_default().retain(|(of, _)| of != assignment);
        self.begin(agent);
        self.asked.remove(assignment)
    }

    fn forget_all(&mut self, agent: &NodeId) {
        self.queues.remove(agent);
        self.asked.retain(|asked| asked.agent != *agent);
    }

    fn finished(&mut self, id: TaskId, report: &TaskReport) {
        let (task, _) = self.live.remove(&id).expect("a task ends once");
        assert!(self.asked.iter().all(|asked| asked.task != id), "what ended is withdrawn");
        let mut liars = task.avoid.clone();
        assert_eq!(report.answers.len(), task.parts.len());
        for (part, PartAnswer { agent, reply }) in report.answers.iter().enumerate() {
            assert!(self.answers.contains(&(id, part, agent.clone(), reply[0])), "an answer nobody gave");
            if reply[0] != task.parts[part].payload[0] {
                liars.insert(agent.clone());
            }
        }
        self.unserved.remove(&id);
        if liars == task.avoid {
            return;
        }
        let again = TaskId::from(uuid::Uuid::from_u128(1_000 + self.next_id));
        self.next_id += 1;
        self.unserved.insert(again);
        self.schedule(Duration::ZERO, Event::Submit(SubmitTask { id: again, avoid: liars, ..task }));
    }

    fn turned_away(&mut self, id: TaskId) {
        let (task, _) = self.live.remove(&id).expect("a task ends once");
        assert!(self.is_stopping, "{task:?} is turned away");
        assert!(self.asked.iter().all(|asked| asked.task != id), "what is in progress goes on");
        let avoided = &self.avoided[&id];
        let can = |(agent, member): (&NodeId, &Member)| {
            let may = member.here && !member.draining && !avoided.contains(agent);
            may && member.protocols.contains(&task.protocol)
        };
        assert!(!self.members.iter().any(can), "{task:?} could be done");
        self.unserved.remove(&id);
    }

    fn failed(&mut self, id: TaskId, error: &TaskError) {
        let (task, _) = self.live.remove(&id).expect("a task ends once");
        assert!(self.asked.iter().all(|asked| asked.task != id), "what ended is withdrawn");
        match error {
            TaskError::DeadlineExceeded => assert!(task.deadline.is_some()),
            TaskError::Cancelled => assert!(self.cancelled.remove(&id)),
            // The honest agent may have left, and does not come back.
            TaskError::PartFailed { .. } if self.is_stopping => {}
            other => panic!("task {task:?} failed: {other}"),
        }
        self.unserved.remove(&id);
    }
}
