//! What ends: results, failures, leases, agents and tasks.

use super::agents::Lease;
use super::dispatch::by_task;
use super::listing::Ending;
use super::*;

impl<T> Board<T> {
    /// Takes the result of a current assignment, and ends the task with the last one.
    pub(super) fn accept(&mut self, rank: Rank, assignment: &Assignment, result: T, now: Instant) {
        let task = self.tasks.get_mut(&rank).expect("a current assignment is one of a task on the board");
        task.parts[assignment.part].state = State::Done(assignment.agent.clone(), result);
        task.left -= 1;
        if task.left == 0 {
            let task = self.forget(rank);
            self.remember(rank, &task, Ending::Done, now);
            let id = task.id;
            let (results, agents) = task.into_results();
            self.commands.push_back(Command::Finished { task: id, results, agents });
        }
    }

    pub(super) fn is_last_attempt(&self, rank: Rank, part: usize) -> bool {
        self.tasks[&rank].parts[part].attempts >= self.config.attempts_max.get()
    }

    pub(super) fn fail_part(&mut self, rank: Rank, part: usize, agent: &NodeId, cause: String, now: Instant) {
        let attempts = self.tasks[&rank].parts[part].attempts;
        let part = u32::try_from(part).expect("a task has at most PARTS_MAX parts");
        self.fail(
            rank,
            TaskError::PartFailed { part, attempts, agent: agent.clone(), cause, error: None },
            now,
        );
    }

    /// Ends a task without a result: whoever works on it is told to stop, overdue agents too.
    pub(super) fn fail(&mut self, rank: Rank, error: TaskError, now: Instant) {
        let task = self.forget(rank);
        self.remember(rank, &task, Ending::Failed(&error), now);
        let task = task.id;
        for (id, agent) in &mut self.agents.0 {
            for Held { part, attempt, .. } in agent.withdraw(task) {
                let assignment = Assignment { agent: id.clone(), task, part, attempt };
                self.commands.push_back(Command::Withdraw { assignment });
            }
        }
        self.commands.push_back(Command::Failed { task, error });
    }

    /// Takes a task from the board and from every queue.
    fn forget(&mut self, rank: Rank) -> Task<T> {
        self.forget_unplaced(rank);
        let task = self.tasks.remove(&rank).expect("only tasks on the board end");
        self.ranks.remove(&task.id);
        for (index, part) in task.parts.iter().enumerate() {
            if let State::Waiting(home) = &part.state {
                let agent = self.agents.0.get_mut(home).expect("a part waits at an agent that is here");
                agent.waiting.remove(&(rank, index));
            }
        }
        task
    }

    /// Places the parts of an agent that is gone over the others.
    pub(super) fn remove_agent(&mut self, id: &NodeId, now: Instant) {
        let Some(agent) = self.agents.0.remove(id) else { return };
        let stranded: BTreeSet<&String> =
            agent.capabilities.iter().filter(|name| self.agents.capable(name).next().is_none()).collect();
        for task in self.tasks.values_mut().filter(|task| stranded.contains(&task.capability)) {
            task.stranded_since.get_or_insert(now);
        }
        let held = self.current(agent.held.iter().map(|(held, lease)| (*held, *lease)));
        // Ending a task below looks for its parts at their homes, this one among them no more.
        for (rank, part) in held.iter().chain(&agent.waiting) {
            if let Some(task) = self.tasks.get_mut(rank) {
                task.parts[*part].state = State::Unplaced;
            }
        }
        let mut displaced = agent.waiting;
        for (rank, part) in held {
            if !self.tasks.contains_key(&rank) {
                continue;
            }
            if self.is_last_attempt(rank, part) {
                self.fail_part(rank, part, id, format!("{id} was lost"), now);
            } else {
                displaced.insert((rank, part));
            }
        }
        for (rank, parts) in by_task(displaced) {
            if let Some(task) = self.tasks.get(&rank) {
                let nodes = self.agents.candidates(&task.capability, None);
                self.place(rank, &parts, &nodes);
            }
        }
    }

    /// The parts whose outcome hangs on these assignments.
    fn current(&self, held: impl IntoIterator<Item = (Held, Lease)>) -> Vec<(Rank, usize)> {
        let current = held.into_iter().filter(|(_, lease)| lease.is_current());
        current.map(|(held, _)| (self.ranks[&held.task], held.part)).collect()
    }

    /// When a task stops waiting for a capable agent; `None` if there is one.
    pub(super) fn gives_up_at(&self, task: &Task<T>) -> Option<Instant> {
        task.stranded_since.and_then(|since| since.checked_add(self.config.agent_wait))
    }

    pub(super) fn end_overdue_tasks(&mut self, now: Instant) {
        let mut ended = Vec::new();
        for (rank, task) in &self.tasks {
            if task.deadline.is_some_and(|deadline| deadline <= now) {
                ended.push((*rank, TaskError::DeadlineExceeded));
            } else if self.gives_up_at(task).is_some_and(|end| end <= now) {
                let protocol = task.capability.clone();
                ended.push((*rank, TaskError::NoCapableAgent { protocol, avoided: BTreeSet::new() }));
            }
        }
        for (rank, error) in ended {
            self.fail(rank, error, now);
        }
    }

    /// Gives the parts of expired leases to agents in good standing, those of the expired leases
    /// not among them; renews the leases where there is no such agent.
    pub(super) fn expire_leases(&mut self, now: Instant) {
        let lease = self.config.lease;
        let mut silent = BTreeSet::new();
        let mut expired: BTreeMap<Rank, Vec<(NodeId, Held)>> = BTreeMap::new();
        for (id, agent) in &self.agents.0 {
            for (held, _) in agent.expiries(lease).filter(|(_, end)| *end <= now) {
                silent.insert(id.clone());
                expired.entry(self.ranks[&held.task]).or_default().push((id.clone(), held));
            }
        }
        for (rank, assignments) in expired {
            let nodes = self.agents.prompt(&self.tasks[&rank].capability, &silent);
            let next = if nodes.is_empty() { Lease::Renewed(now) } else { Lease::Overdue };
            for (id, held) in &assignments {
                let agent = self.agents.0.get_mut(id).expect("the lease is one of an agent that is here");
                agent.held.insert(*held, next);
            }
            if nodes.is_empty() {
                continue;
            }
            let exhausted = assignments.iter().find(|(_, held)| self.is_last_attempt(rank, held.part));
            if let Some((id, held)) = exhausted {
                self.fail_part(rank, held.part, id, format!("{id} did not answer within {lease:?}"), now);
            } else {
                let parts: Vec<usize> = assignments.iter().map(|(_, held)| held.part).collect();
                self.place(rank, &parts, &nodes);
            }
        }
    }
}
