//! What becomes of attempts: agents come and go, answer and fail.

use super::{dispatch::by_task, tasks::PartFailure, *};
use crate::{Blob, coordinator::PartAnswer, delivery::printable};
use std::{iter, mem};

/// The longest error of a handler that is kept for the client, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

impl Board {
    pub(super) fn join(&mut self, id: NodeId, protocols: BTreeSet<String>, slots: Slots, now: Offset) {
        self.remove_agent(&id, now);
        let standing = self.gone.take(&id, now);
        self.agents.0.insert(id.clone(), Agent::new(slots, standing));
        self.change(&id, protocols, now);
    }

    pub(super) fn change(&mut self, id: &NodeId, protocols: BTreeSet<String>, now: Offset) {
        let Some(agent) = self.agents.0.get_mut(id) else { return };
        let old = mem::replace(&mut agent.protocols, protocols);
        let shares = |task: &Task| {
            let submitted = task.submitted();
            task.started
                && submitted.waiting == Waiting::ForHome
                && !old.contains(&submitted.protocol)
                && agent.is_capable(id, submitted)
        };
        let ranks: Vec<Rank> =
            self.tasks.iter().filter(|(_, task)| shares(task)).map(|(rank, _)| *rank).collect();
        agent.unshared.extend(ranks);
        self.release_waiting(id, now);
    }

    pub(super) fn drain(&mut self, id: &NodeId, now: Offset) {
        let Some(agent) = self.agents.0.get_mut(id) else { return };
        agent.draining = true;
        self.release_waiting(id, now);
    }

    /// Moves the parts that wait for an agent which is not capable any more.
    fn release_waiting(&mut self, id: &NodeId, now: Offset) {
        let agent = &self.agents.0[id];
        let is_left = |(rank, _): &(Rank, usize)| !agent.is_capable(id, self.tasks[rank].submitted());
        let left: Vec<(Rank, usize)> = agent.waiting.iter().copied().filter(is_left).collect();
        left.iter().for_each(|(rank, part)| self.take_back(id, *rank, &[*part]));
        self.note_stranded_tasks(now);
        self.displace(left, now);
    }

    /// Places the parts of an agent that is gone over the others.
    pub(super) fn remove_agent(&mut self, id: &NodeId, now: Offset) {
        let Some(mut agent) = self.agents.0.remove(id) else { return };
        let mut displaced = mem::take(&mut agent.waiting);
        let held: Vec<Held> = agent.held.keys().copied().collect();
        self.gone.keep(id.clone(), agent, self.config.lease, now);
        for Held { task, part, attempt } in held {
            let rank = self.ranks[&task];
            self.end(rank, part, attempt);
            self.part_mut(rank, part).tried.entry(id.clone()).or_default().lose();
            self.note_failure(rank, part, id, "it was lost", None);
            if self.tasks[&rank].parts[part].state == State::InProgress {
                displaced.insert((rank, part));
            }
        }
        self.note_stranded_tasks(now);
        self.displace(displaced, now);
    }

    fn displace(&mut self, parts: impl IntoIterator<Item = (Rank, usize)>, now: Offset) {
        let displaced = by_task(parts);
        // A task that ends below looks for its parts at their homes: these have none.
        for (rank, parts) in &displaced {
            parts.iter().for_each(|part| self.part_mut(*rank, *part).state = State::InProgress);
        }
        for (rank, parts) in displaced {
            self.route(rank, &parts, now);
        }
    }

    /// Notes which tasks no agent could do now, and since when.
    pub(super) fn note_stranded_tasks(&mut self, now: Offset) {
        for task in self.tasks.values_mut() {
            let is_stranded = self.agents.capable(task.new.task()).next().is_none();
            task.stranded_since = is_stranded.then(|| task.stranded_since.unwrap_or(now));
        }
    }

    pub(super) fn answered(&mut self, assignment: &Assignment, reply: Blob, now: Offset) {
        let Some(rank) = self.end_attempt(assignment, now) else { return };
        while let Some(Excess { revoked, cause }) = self.excess(rank, &assignment.agent, reply.len()) {
            if revoked.is_empty() {
                return self.judge(rank, assignment, Failure::Invalid { cause }, now);
            }
            for (of, part) in revoked {
                self.revoke(of, part, &cause, now);
            }
            if !self.tasks.contains_key(&rank) {
                return;
            }
        }
        self.finish_part(rank, assignment, reply, now);
        self.finish_if_done(rank, now);
    }

    /// Which bound an answer of so many bytes by `agent` breaks, and which answers make way for it.
    fn excess(&self, rank: Rank, agent: &NodeId, bytes: usize) -> Option<Excess> {
        let (task, limit) = (&self.tasks[&rank], self.config.bytes_max);
        let over = (task.answer_bytes + bytes).saturating_sub(ANSWER_BYTES_MAX);
        if over > 0 {
            let cause = format!("with its answer those of the task have more than {ANSWER_BYTES_MAX} bytes");
            return Some(Excess { revoked: longest(iter::once((&rank, task)), agent, bytes, over), cause });
        }
        let over = (self.bytes + bytes).saturating_sub(limit);
        (over > 0).then(|| {
            let cause =
                format!("with its answer the coordinator would hold more than {limit} bytes of tasks");
            let mut by_client: BTreeMap<_, usize> = BTreeMap::from([(task.new.client(), bytes)]);
            for task in self.tasks.values() {
                *by_client.entry(task.new.client()).or_default() += task.answer_bytes;
            }
            let most = by_client.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(client, _)| client);
            let theirs = self.tasks.iter().filter(|(_, of)| Some(of.new.client()) == most);
            let bytes = if most == Some(task.new.client()) { bytes } else { 0 };
            Excess { revoked: longest(theirs, agent, bytes, over), cause }
        })
    }

    /// Drops the answer of a part, and holds that against the agent that gave it: the part goes on. It is no word of the
    /// agent that the part cannot be done.
    fn revoke(&mut self, rank: Rank, index: usize, cause: &str, now: Offset) {
        // Its task may have ended with one that was revoked before it.
        let Some(task) = self.tasks.get_mut(&rank) else { return };
        let part = &mut task.parts[index];
        let State::Done(PartAnswer { agent, reply }) = mem::replace(&mut part.state, State::InProgress)
        else {
            unreachable!("only answers are revoked");
        };
        let tried = part.tried.entry(agent.clone()).or_default();
        tried.failures += 1;
        tried.held_against = tried.failures;
        task.left += 1;
        task.answer_bytes -= reply.len();
        task.bytes -= reply.len();
        self.bytes -= reply.len();
        self.note_failure(rank, index, &agent, cause, None);
        self.pause(&agent, Duration::ZERO, now);
        self.route(rank, &[index], now);
    }

    /// Takes the answer of a part, withdraws the other attempts at it, and holds it against those who failed it.
    fn finish_part(&mut self, rank: Rank, assignment: &Assignment, reply: Blob, now: Offset) {
        let Assignment { ref agent, task, part, .. } = *assignment;
        self.forget_error(rank, part);
        self.count(rank, reply.len());
        self.task_mut(rank).left -= 1;
        self.task_mut(rank).answer_bytes += reply.len();
        let answer = PartAnswer { agent: agent.clone(), reply };
        if let State::Waiting(home) = mem::replace(&mut self.part_mut(rank, part).state, State::Done(answer))
        {
            self.take_back(&home, rank, &[part]);
        }
        for (attempt, other) in self.part_mut(rank, part).attempts.clone() {
            self.end(rank, part, attempt);
            let holder = self
                .agents
                .0
                .get_mut(&other)
                .expect("attempts in progress are those of agents that are here");
            let lease = holder.release(&Held { task, part, attempt }, now);
            if lease.is_some_and(|lease| lease.is_overdue()) {
                holder.standing.pause(self.config.lease, now);
            }
            let assignment = Assignment { agent: other, task, part, attempt };
            self.commands.push_back(Command::Withdraw { assignment });
        }
        // Kept, for the answer may be revoked.
        let tried = self.part_mut(rank, part).tried.iter_mut().filter(|(other, _)| *other != agent);
        let failed = tried.filter_map(|(other, tried)| {
            let before = mem::replace(&mut tried.held_against, tried.failures);
            (tried.failures > before).then(|| other.clone())
        });
        for other in failed.collect::<Vec<_>>() {
            self.pause(&other, Duration::ZERO, now);
        }
        self.agents.0.get_mut(agent).expect("it held the assignment").prove();
    }

    pub(super) fn failed(&mut self, assignment: &Assignment, failure: Failure, now: Offset) {
        let Assignment { ref agent, task, part, attempt } = *assignment;
        if let (Failure::Lost { .. }, Some(agent)) = (&failure, self.agents.0.get_mut(agent))
            && agent.held.contains_key(&Held { task, part, attempt })
        {
            agent.note_loss(self.config.lease, now);
        }
        if let Some(rank) = self.end_attempt(assignment, now) {
            self.judge(rank, assignment, failure, now);
        }
    }

    /// Notes how an attempt failed, and lets its part go on.
    fn judge(&mut self, rank: Rank, assignment: &Assignment, failure: Failure, now: Offset) {
        let (id, part) = (&assignment.agent, assignment.part);
        if let Failure::NotBegun { again, .. } = &failure {
            self.part_mut(rank, part).not_begun += 1;
            // A refusal for good says nothing of what else the agent would take now.
            if let Some(again) = again {
                self.pause(id, *again, now);
            }
        }
        if let Failure::TimedOut { .. } = &failure {
            self.pause(id, self.config.lease, now);
        }
        self.part_mut(rank, part).tried.entry(id.clone()).or_default().note(&failure);
        match failure {
            Failure::NotBegun { cause, .. }
            | Failure::Lost { cause }
            | Failure::Invalid { cause }
            | Failure::NoRoom { cause } => {
                self.note_failure(rank, part, id, &cause, None);
            }
            Failure::Handler { error } => {
                self.note_failure(rank, part, id, "it answered with an error", Some(error));
            }
            Failure::TimedOut { after } => {
                self.note_failure(rank, part, id, &format!("it did not answer within {after:?}"), None);
            }
        }
        if self.tasks[&rank].parts[part].state == State::InProgress {
            self.route(rank, &[part], now);
        }
    }

    fn end(&mut self, rank: Rank, part: usize, attempt: u32) {
        let task = self.tasks.get_mut(&rank).expect("an attempt is one at a part of a task on the board");
        task.end(part, attempt);
        self.shares.end(task.new.client());
    }

    fn pause(&mut self, agent: &NodeId, at_least: Duration, now: Offset) {
        let here = self.agents.0.get_mut(agent).map(|agent| &mut agent.standing);
        if let Some(standing) = here.or_else(|| self.gone.get_mut(agent)) {
            standing.pause(at_least, now);
        }
    }

    /// Frees the slot that `assignment` occupies. The rank of its task; `None` if the agent does not hold it.
    pub(super) fn end_attempt(&mut self, assignment: &Assignment, now: Offset) -> Option<Rank> {
        let Assignment { ref agent, task, part, attempt } = *assignment;
        self.agents.0.get_mut(agent)?.release(&Held { task, part, attempt }, now)?;
        let rank = self.ranks[&task];
        self.end(rank, part, attempt);
        Some(rank)
    }

    /// Keeps what is known of the last attempt that failed, in place of what was known of the one before.
    fn note_failure(&mut self, rank: Rank, part: usize, agent: &NodeId, cause: &str, error: Option<Blob>) {
        self.forget_error(rank, part);
        let room = self.config.bytes_max.saturating_sub(self.bytes).min(ERROR_BYTES_MAX);
        let error = error.filter(|error| error.len() <= room);
        self.count(rank, error.as_ref().map_or(0, |error| error.len()));
        let failure = PartFailure { agent: agent.clone(), cause: printable(cause), error };
        self.part_mut(rank, part).failure = Some(failure);
    }

    fn forget_error(&mut self, rank: Rank, part: usize) {
        let error = self.part_mut(rank, part).failure.take().and_then(|failure| failure.error);
        let bytes = error.map_or(0, |error| error.len());
        self.task_mut(rank).bytes -= bytes;
        self.bytes -= bytes;
    }

    fn count(&mut self, rank: Rank, bytes: usize) {
        self.task_mut(rank).bytes += bytes;
        self.bytes += bytes;
    }
}

/// An answer that breaks a bound.
struct Excess {
    /// The answers that make way for it; none where it is that one which has to.
    revoked: Vec<(Rank, usize)>,
    cause: String,
}

/// Which of the answers to these tasks make way for one of `agent` of so many bytes that is so much too long: those of the
/// agent that gave the most, the longest first, up to the new one where that is of the same agent.
fn longest<'a>(
    tasks: impl Iterator<Item = (&'a Rank, &'a Task)>,
    agent: &NodeId,
    bytes: usize,
    over: usize,
) -> Vec<(Rank, usize)> {
    let mut answers: Vec<(usize, &NodeId, Rank, usize)> = Vec::new();
    for (rank, task) in tasks {
        for (index, part) in task.parts.iter().enumerate() {
            if let State::Done(PartAnswer { agent, reply }) = &part.state {
                answers.push((reply.len(), agent, *rank, index));
            }
        }
    }
    let mut by_agent = BTreeMap::from([(agent, bytes)]);
    answers.iter().for_each(|(bytes, agent, ..)| *by_agent.entry(agent).or_default() += bytes);
    let most = by_agent.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(agent, _)| agent);
    answers.retain(|(length, of, ..)| Some(*of) == most && (*of != agent || *length > bytes));
    answers.sort_unstable_by_key(|(length, ..)| Reverse(*length));
    let mut left = over;
    let enough = answers.into_iter().take_while(|(length, ..)| {
        let wanted = left > 0;
        left = left.saturating_sub(*length);
        wanted
    });
    enough.map(|(_, _, rank, index)| (rank, index)).collect()
}
