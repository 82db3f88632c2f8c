//! How tasks end, and what is due at a time.

use super::*;
use crate::{
    coordinator::{SubmitTask, TaskState},
    delivery::printable,
};

impl Board {
    pub(super) fn finish_if_done(&mut self, rank: Rank, now: Offset) {
        if self.tasks[&rank].left > 0 {
            return;
        }
        let task = self.forget(rank);
        let summary = task.summary(rank, TaskState::Done, now);
        let (id, body) = (task.id(), task.new.body());
        let report = Arc::new(task.into_report());
        self.ended.remember(summary, body, Some(Ok(Arc::clone(&report))), now);
        self.commands.push_back(Command::Finished { task: id, report });
    }

    pub(super) fn fail_part(&mut self, rank: Rank, index: usize, now: Offset) {
        let part = self.part_mut(rank, index);
        let attempts = part.begun();
        let PartFailure { agent, cause, error } =
            part.failure.clone().expect("a part fails after an attempt that failed");
        let part = u32::try_from(index).expect("a task has at most PARTS_MAX parts");
        self.fail(rank, TaskError::PartFailed { part, attempts, agent, cause, error }, now);
    }

    /// Ends a task without a result: whoever works on it is told to stop.
    pub(super) fn fail(&mut self, rank: Rank, error: TaskError, now: Offset) {
        let (state, outcome) = match &error {
            TaskError::Cancelled => (TaskState::Cancelled, None),
            error => (TaskState::Failed { reason: printable(&error.to_string()) }, Some(Err(error.clone()))),
        };
        let task = self.withdraw_all(rank, now);
        let id = task.id();
        self.ended.remember(task.summary(rank, state, now), task.new.body(), outcome, now);
        self.commands.push_back(Command::Failed { task: id, error });
    }

    /// Ends a task that nobody who is here can do, as the board drains. Its id begins anew, like that of one that was
    /// cancelled.
    fn turn_away(&mut self, rank: Rank, now: Offset) {
        let task = self.withdraw_all(rank, now);
        let id = task.id();
        self.ended.remember(task.summary(rank, TaskState::Cancelled, now), task.new.body(), None, now);
        self.commands.push_back(Command::TurnedAway { task: id });
    }

    /// Takes a task from the board, and tells whoever works on it to stop.
    fn withdraw_all(&mut self, rank: Rank, now: Offset) -> Task {
        let id = self.tasks[&rank].id();
        let mut withdrawn = Vec::new();
        for (agent, of) in &self.agents.0 {
            withdrawn.extend(of.held.range(Held::all_of(id)).map(|(&Held { part, attempt, .. }, _)| {
                Assignment { agent: agent.clone(), task: id, part, attempt }
            }));
        }
        for assignment in withdrawn {
            self.end_attempt(&assignment, now);
            self.commands.push_back(Command::Withdraw { assignment });
        }
        self.forget(rank)
    }

    /// Takes a task on which nobody works from the board and from every queue.
    fn forget(&mut self, rank: Rank) -> Task {
        self.forget_unplaced(rank);
        let task = self.tasks.remove(&rank).expect("only tasks on the board end");
        self.ranks.remove(&task.id());
        for agent in self.agents.0.values_mut() {
            agent.unshared.remove(&rank);
        }
        self.bytes -= task.bytes;
        self.shares.remove(task.new.client());
        for (index, part) in task.parts.iter().enumerate() {
            if let State::Waiting(home) = &part.state {
                self.take_back(home, rank, &[index]);
            }
        }
        task
    }

    /// When a task stops waiting for a capable agent; `None` if there is one, or one that drains still works on it.
    pub(super) fn gives_up_at(&self, task: &Task) -> Option<Offset> {
        let since = task.stranded_since.filter(|_| task.in_progress == 0)?;
        // Nobody joins a board that drains.
        if self.is_draining { Some(since) } else { since.after(self.config.agent_wait) }
    }

    pub(super) fn end_overdue_tasks(&mut self, now: Offset) {
        let mut ended = Vec::new();
        for (rank, task) in &self.tasks {
            if task.deadline.is_some_and(|deadline| deadline <= now) {
                ended.push((*rank, Some(TaskError::DeadlineExceeded)));
            } else if self.gives_up_at(task).is_some_and(|end| end <= now) {
                let turns_away = self.is_draining;
                ended.push((*rank, (!turns_away).then(|| self.no_capable_agent(task.submitted()))));
            }
        }
        for (rank, error) in ended {
            match error {
                Some(error) => self.fail(rank, error, now),
                None => self.turn_away(rank, now),
            }
        }
    }

    fn no_capable_agent(&self, task: &SubmitTask) -> TaskError {
        let exposes = |agent: &&NodeId| {
            self.agents.0.get(*agent).is_some_and(|agent| agent.protocols.contains(&task.protocol))
        };
        let avoided = task.avoid.iter().filter(exposes).cloned().collect();
        TaskError::NoCapableAgent { protocol: task.protocol.clone(), avoided }
    }

    /// Lets further agents be asked for the parts whose every attempt is older than a lease.
    pub(super) fn expire_leases(&mut self, now: Offset) {
        let mut expired = BTreeSet::new();
        for agent in self.agents.0.values_mut() {
            for (held, of) in &mut agent.held {
                if of.since.after(self.config.lease).is_some_and(|end| end <= now) {
                    (of.since, of.ran_out) = (now, of.ran_out.saturating_add(1));
                    expired.insert((self.ranks[&held.task], held.part));
                }
            }
        }
        for (rank, part) in expired {
            // A task may have ended with another part of it.
            if self.tasks.get(&rank).is_some_and(|task| self.is_overdue(task, part)) {
                self.route(rank, &[part], now);
            }
        }
    }

    /// Whether a part waits for nothing but attempts whose leases ran out.
    fn is_overdue(&self, task: &Task, index: usize) -> bool {
        let part = &task.parts[index];
        let is_overdue = |(attempt, agent): &(u32, NodeId)| {
            let held = Held { task: task.id(), part: index, attempt: *attempt };
            self.agents.0[agent].held[&held].is_overdue()
        };
        part.state == State::InProgress && part.attempts.iter().all(is_overdue)
    }
}
