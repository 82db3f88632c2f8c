//! Where a part goes next that was tried before, and when it goes nowhere any more.

use super::tasks::Part;
use super::*;

/// What becomes of a part that is neither done nor waits for an agent.
enum Next {
    /// It goes to one of these.
    Ask(Vec<NodeId>),
    /// It waits for the attempts in progress.
    Await,
    /// It waits for a capable agent.
    Strand,
    /// Nobody is left who could do it.
    Fail,
}

/// An agent that a part may go to.
type Candidate<'a> = (&'a NodeId, &'a Agent);

impl Board {
    /// Lets parts go on that neither are done nor wait for an agent. Those that were never tried are spread evenly. Ends
    /// the task if one of them has failed for good.
    pub(super) fn route(&mut self, rank: Rank, parts: &[usize], now: Offset) {
        let task = &self.tasks[&rank];
        let (fresh, tried): (Vec<usize>, Vec<usize>) =
            parts.iter().copied().partition(|part| task.parts[*part].last_attempt == 0);
        self.place(rank, &fresh, &self.agents.best(task.submitted()));
        for part in tried {
            match self.next(rank, part, None) {
                Next::Ask(agents) => self.place(rank, &[part], &agents),
                Next::Await => self.part_mut(rank, part).state = State::InProgress,
                Next::Strand => self.place(rank, &[part], &[]),
                Next::Fail => return self.fail_part(rank, part, now),
            }
        }
    }

    /// Whether nobody would do a part any more where the only attempt at it, which this agent makes, is withdrawn.
    pub(super) fn ends_without(&self, rank: Rank, part: usize, agent: &NodeId) -> bool {
        self.tasks[&rank].parts[part].attempts.len() == 1
            && matches!(self.next(rank, part, Some(agent)), Next::Fail | Next::Strand)
    }

    /// What becomes of a part, where the attempt of `leaver` is withdrawn.
    fn next(&self, rank: Rank, part: usize, leaver: Option<&NodeId>) -> Next {
        let task = &self.tasks[&rank];
        let part = &task.parts[part];
        let begun = part.begun() as usize - usize::from(leaver.is_some());
        let attempts_max = self.config.attempts_max.get() as usize;
        let capable = self.agents.capable(task.submitted());
        let is_open = |(id, _): &Candidate<'_>| !part.is_held_by(id) || Some(*id) == leaver;
        let open: Vec<Candidate<'_>> = capable.filter(is_open).collect();
        let is_spent = |id: &NodeId| part.is_tried_by(id) || self.is_refused_in_vain(part, id);
        let untried: Vec<Candidate<'_>> = open.iter().copied().filter(|(id, _)| !is_spent(id)).collect();
        // A part that takes agents down is not given to all of them.
        let lost_with = part.tried.values().filter(|tried| tried.is_lost).count();
        let is_exhausted = lost_with >= attempts_max || (begun >= attempts_max && untried.is_empty());
        if !is_exhausted && untried.iter().any(|(_, agent)| agent.is_good()) {
            return Next::Ask(self.best(part, &untried));
        }
        if part.attempts.iter().any(|(_, holder)| Some(holder) != leaver) {
            return Next::Await;
        }
        let is_hopeless = |(id, _): &Candidate<'_>| self.is_hopeless(part, id);
        if is_exhausted || (!open.is_empty() && part.last_attempt >= 2 && open.iter().all(is_hopeless)) {
            return Next::Fail;
        }
        if open.is_empty() {
            return Next::Strand;
        }
        // An agent in good standing may try again as long as an attempt is left for each that has not.
        let may_repeat = begun + untried.len() < attempts_max;
        let is_ready = |of: &Candidate<'_>| may_repeat && of.1.is_good() && !is_hopeless(of);
        let ready: Vec<Candidate<'_>> = open.iter().copied().filter(is_ready).collect();
        let asked = [ready, untried, open].into_iter().find(|agents| !agents.is_empty());
        Next::Ask(self.best(part, &asked.unwrap_or_default()))
    }

    /// Of these agents those with which the part has the best prospects.
    fn best(&self, part: &Part, agents: &[Candidate<'_>]) -> Vec<NodeId> {
        let order = |(id, agent): &Candidate<'_>| {
            (self.is_hopeless(part, id), !agent.is_good(), part.tried(id).failures, agent.doubts())
        };
        let best = agents.iter().map(order).min();
        let best = agents.iter().filter(|agent| Some(order(agent)) == best);
        best.map(|(id, _)| (*id).clone()).collect()
    }

    /// Whether asking this agent for the part once more is idle.
    fn is_hopeless(&self, part: &Part, agent: &NodeId) -> bool {
        part.tried(agent).is_verdict || self.is_refused_in_vain(part, agent)
    }

    /// Whether an agent refused the part so often that another's verdict is not held up by it.
    fn is_refused_in_vain(&self, part: &Part, agent: &NodeId) -> bool {
        part.tried(agent).refusals >= self.config.attempts_max.get()
            && part.tried.values().any(|tried| tried.is_verdict)
    }

    /// Lets `parts` wait at `agents`, or nowhere if there are none.
    pub(super) fn place(&mut self, rank: Rank, parts: &[usize], agents: &[NodeId]) {
        let task = self.tasks.get_mut(&rank).expect("only parts of tasks on the board are placed");
        if parts.is_empty() {
            return;
        }
        if agents.is_empty() {
            parts.iter().for_each(|part| task.parts[*part].state = State::Unplaced);
            self.unplaced.entry(task.submitted().protocol.clone()).or_default().insert(rank);
            return;
        }
        let keys: Vec<ContentHash> = parts.iter().map(|part| task.parts[*part].key).collect();
        for (part, agent) in parts.iter().zip(self.placement.place(&keys, agents)) {
            let home = &agents[agent];
            task.parts[*part].state = State::Waiting(home.clone());
            let agent = self.agents.0.get_mut(home).expect("parts are placed on agents that are here");
            agent.waiting.insert((rank, *part));
        }
    }

    pub(super) fn part_mut(&mut self, rank: Rank, part: usize) -> &mut Part {
        &mut self.task_mut(rank).parts[part]
    }

    pub(super) fn task_mut(&mut self, rank: Rank) -> &mut Task {
        self.tasks.get_mut(&rank).expect("a rank that is found anywhere is that of a task on the board")
    }
}
