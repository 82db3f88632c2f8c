//! What clients share: whose turn it is, and who makes way for one on whose parts nobody works.

use super::dispatch::{Step, ranks_of};
use super::*;
use crate::coordinator::TaskPriority;

/// The clients that have tasks here.
#[derive(Debug, Default)]
pub(super) struct Shares {
    clients: BTreeMap<String, Share>,
    /// How many attempts began.
    begun: u64,
}

#[derive(Debug, Default)]
struct Share {
    tasks: usize,
    load: Load,
}

/// Who has less comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    /// How many attempts are in progress.
    slots: usize,
    /// The number of the last one.
    served: u64,
}

impl Shares {
    fn of(&mut self, client: &str) -> &mut Share {
        self.clients.get_mut(client).expect("a client that has a task is known")
    }

    pub(super) fn add(&mut self, client: &str) {
        self.clients.entry(client.to_owned()).or_default().tasks += 1;
    }

    /// One of its tasks is gone, on which nobody works any more.
    pub(super) fn remove(&mut self, client: &str) {
        let share = self.of(client);
        share.tasks -= 1;
        if share.tasks == 0 {
            self.clients.remove(client);
        }
    }

    /// An attempt begins; how many there were with it.
    pub(super) fn begin(&mut self, client: &str) -> u64 {
        self.begun += 1;
        let (served, load) = (self.begun, &mut self.of(client).load);
        *load = Load { slots: load.slots + 1, served };
        served
    }

    pub(super) fn end(&mut self, client: &str) {
        self.of(client).load.slots -= 1;
    }

    pub(super) fn assert_invariants<'a>(&'a self, tasks: impl Iterator<Item = &'a Task>) {
        let mut held = BTreeMap::<&str, (usize, usize)>::new();
        for task in tasks {
            let (tasks, slots) = held.entry(task.new.client()).or_default();
            (*tasks, *slots) = (*tasks + 1, *slots + slots_of(task));
        }
        let known =
            |(client, share): (&'a String, &Share)| (client.as_str(), (share.tasks, share.load.slots));
        assert!(self.clients.iter().map(known).eq(held), "what clients have is counted");
    }
}

fn slots_of(task: &Task) -> usize {
    task.parts.iter().map(|part| part.attempts.len()).sum()
}

/// When a task gets a slot: the more urgent first, then that of the client that has fewer slots, then that of the client
/// whose last turn is longer ago, then the one that was submitted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    urgency: Reverse<TaskPriority>,
    load: Load,
    pub(super) rank: Rank,
}

impl Board {
    pub(super) fn turn(&self, rank: Rank) -> Turn {
        let share = &self.shares.clients[self.tasks[&rank].new.client()];
        Turn { urgency: rank.urgency, load: share.load, rank }
    }

    /// The one of these tasks whose turn is the first; the more urgent come first. Looks at the tasks up to the first one of
    /// the client whose turn it is.
    pub(super) fn first(&self, ranks: impl Iterator<Item = Rank>) -> Option<Turn> {
        let least = self.shares.clients.values().map(|share| share.load).min()?;
        let mut first: Option<Turn> = None;
        for rank in ranks {
            if first.is_some_and(|first| first.load == least || first.urgency < rank.urgency) {
                break;
            }
            let turn = self.turn(rank);
            first = Some(first.map_or(turn, |first| first.min(turn)));
        }
        first
    }

    /// A slot for a client on whose parts nobody works, and the attempt that makes way for it: of a task that is not more
    /// urgent, of a client that has another one in progress, and not the last one at a part that nobody would do without it.
    /// One that waits at its agent makes way at once, one that the agent works on when its lease ran out; for what waits
    /// behind it also where it is the only one in progress of a client that has others to be done. A part that was worked on
    /// has twice as many leases each time that it made way: so a long one ends at last, and an endless one makes way again.
    ///
    /// It ends: what was late begins anew, and but for that no client is left with nothing in progress; one of whom nothing
    /// was has something then, and what waits behind comes before what is worked for.
    pub(super) fn next_to_make_way(&self) -> Option<(NodeId, Step)> {
        if self.shares.clients.len() < 2 {
            return None;
        }
        let queues: Vec<_> = self.agents.0.iter().map(|(id, agent)| (id, agent, agent.queue())).collect();
        let at_work = queues.iter().flat_map(|(_, _, (at_work, _))| at_work);
        let worked_for: BTreeSet<&str> = at_work.map(|held| self.client_of(held)).collect();
        if worked_for.len() == self.shares.clients.len() {
            return None;
        }
        let mut queues = queues.iter().filter(|(_, agent, _)| agent.standing.paused_until.is_none());
        queues.find_map(|&(id, agent, (ref at_work, ref ahead))| {
            // For one of whom nothing is in progress.
            let placed = self.first(ranks_of(agent));
            let unplaced = self.next_unplaced(id, agent);
            let first = placed.into_iter().chain(unplaced).min().filter(|turn| turn.load.slots == 0);
            if let Some(first) = first
                && let Some((held, was_begun)) =
                    self.least_entitled(id, agent, (at_work, ahead), first, false)
            {
                let is_placed = placed == Some(first);
                let step = if is_placed { Step::MakeWay(held, was_begun) } else { Step::Place(first.rank) };
                return Some((id.clone(), step));
            }
            // For one of whom something waits here, behind what others work for.
            let mut before = Vec::new();
            ahead.iter().find_map(|held| {
                if worked_for.contains(self.client_of(held)) {
                    before.push(*held);
                    return None;
                }
                let turn = self.turn(self.ranks[&held.task]);
                let (held, was_begun) = self.least_entitled(id, agent, (at_work, &before), turn, true)?;
                Some((id.clone(), Step::MakeWay(held, was_begun)))
            })
        })
    }

    /// Which of the attempts that an agent works on, and that wait there, makes way for `turn`, if one does, and whether
    /// the agent works on it: rather one that waits, and of the client of whom most is in progress.
    fn least_entitled(
        &self,
        id: &NodeId,
        agent: &Agent,
        (at_work, ahead): (&[Held], &[Held]),
        turn: Turn,
        is_next: bool,
    ) -> Option<(Held, bool)> {
        let is_late = |of: &Turn, held: &Held| {
            let part = &self.tasks[&of.rank].parts[held.part];
            agent.held[held].ran_out.checked_shr(part.made_way).is_some_and(|left| left > 0)
        };
        let may = |(waits, of, held): &(bool, Turn, Held)| {
            (of.load.slots > 1 || (is_next && !waits && self.has_more(of.rank)))
                && of.urgency >= turn.urgency
                && (*waits || is_late(of, held))
                && !self.ends_without(of.rank, held.part, id)
        };
        let held = at_work.iter().map(|held| (false, held)).chain(ahead.iter().map(|held| (true, held)));
        let turns = held.map(|(waits, held)| (waits, self.turn(self.ranks[&held.task]), *held));
        let most = turns.filter(may).max_by_key(|(waits, of, held)| (*waits, of.load.slots, *held));
        most.map(|(waits, _, held)| (held, !waits))
    }

    /// Whether the client of a task has more than one part that is not done.
    fn has_more(&self, rank: Rank) -> bool {
        let client = self.tasks[&rank].new.client();
        let own = self.tasks.values().filter(|task| task.new.client() == client);
        own.map(|task| task.left).sum::<usize>() > 1
    }

    fn client_of(&self, held: &Held) -> &str {
        self.tasks[&self.ranks[&held.task]].new.client()
    }

    /// Takes a part back from an agent; that spends no attempt.
    pub(super) fn make_way(&mut self, agent: NodeId, held: Held, was_begun: bool, now: Offset) {
        let Held { task, part, attempt } = held;
        let assignment = Assignment { agent, task, part, attempt };
        let Some(rank) = self.end_attempt(&assignment, now) else { return };
        let withdrawn = self.part_mut(rank, part);
        withdrawn.not_begun += 1;
        withdrawn.made_way += u32::from(was_begun);
        if let Some(agent) = self.agents.0.get_mut(&assignment.agent) {
            agent.owes |= was_begun;
        }
        self.commands.push_back(Command::Withdraw { assignment });
        let part_of = &self.tasks[&rank].parts[part];
        if part_of.state == State::InProgress && part_of.attempts.is_empty() {
            self.route(rank, &[part], now);
        }
    }
}
