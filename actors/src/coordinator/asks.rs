//! Asking agents for parts.

mod unit;

use super::{
    AgentMailboxes, Coordinator,
    submission::{PartAnswer, PartedSearch, Work},
};
use crate::{
    TIMEOUT_DEFAULT,
    mailbox::{AskError, Mailbox},
};
use actix::{Addr, Message};
use std::{collections::BTreeMap, fmt, time::Duration};
use swarm_protocols::{
    NodeId,
    coordinator::board::{Assignment, BoardConfig, Retry},
    similar_windows::{FindError, FindSimilar, PatternMatcher as MatcherProtocol, StorePart},
};
use tokio::task::JoinHandle;

/// How long a first failure is held back. The board tries again at once, at the same agent where
/// there is no other: without this a lost session would use up all attempts of a part before the
/// word of the lost agent comes. It doubles with every attempt.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Doubling ends here, at 6.4 seconds.
const DOUBLINGS_MAX: u32 = 6;

/// The longest time an agent gets for its answer, whatever the board allows.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest cause that is kept, in characters: much of it is the word of a peer.
const CAUSE_CHARS_MAX: usize = 300;

/// What agents are being asked. Never more than the board has assigned.
#[derive(Debug)]
pub(super) struct Asks {
    asked: BTreeMap<Assignment, Asked>,
    /// Counts asks. A task that was cancelled can be submitted again and then have the same
    /// assignments: an answer under way for the earlier one must not be taken for the later one's.
    serial: u64,
    timeout: Duration,
}

/// An ask under way; dropping it cancels it at the agent.
#[derive(Debug)]
struct Asked {
    serial: u64,
    work: JoinHandle<()>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// An ask has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Answered {
    assignment: Assignment,
    serial: u64,
    outcome: Outcome,
}

pub(super) type Outcome = Result<PartAnswer, Failure>;

/// Why an agent did not do its part, and what the board is to be told of it.
#[derive(Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) cause: String,
    pub(super) retry: Retry,
}

impl Failure {
    fn new(agent: &NodeId, cause: impl fmt::Display, retry: Retry) -> Self {
        Self { cause: format!("{agent}: {cause}").chars().take(CAUSE_CHARS_MAX).collect(), retry }
    }

    fn impossible(agent: &NodeId, why: impl fmt::Display) -> Self {
        Self::new(agent, format_args!("an impossible answer: {why}"), Retry::Elsewhere)
    }
}

impl Asks {
    /// The board decides when it has waited long enough for an agent; the timeout of an ask only
    /// frees the slot of one that never answers.
    pub(super) fn new(config: &BoardConfig) -> Self {
        let timeout = config.lease.saturating_mul(config.attempts_max.get());
        let timeout = timeout.clamp(TIMEOUT_DEFAULT, TIMEOUT_MAX);
        Self { asked: BTreeMap::new(), serial: 0, timeout }
    }

    /// Asks for a part of `work`, and sends what comes of it to `coordinator`. The agent has a mailbox for it.
    pub(super) fn begin(
        &mut self,
        assignment: Assignment,
        mailboxes: AgentMailboxes,
        work: Work,
        coordinator: Addr<Coordinator>,
    ) {
        self.serial += 1;
        let (serial, timeout, asked) = (self.serial, self.timeout, assignment.clone());
        let work = actix_rt::spawn(async move {
            let outcome = ask(&mailboxes, &work, &assignment, timeout).await;
            if matches!(outcome, Err(Failure { retry: Retry::Elsewhere, .. })) {
                let doublings = (assignment.attempt - 1).min(DOUBLINGS_MAX);
                tokio::time::sleep(BACK_OFF * (1 << doublings)).await;
            }
            coordinator.do_send(Answered { assignment, serial, outcome });
        });
        self.asked.insert(asked, Asked { serial, work });
    }

    /// Takes an ask off the list; `None` if it is not wanted any more.
    pub(super) fn end(&mut self, answered: Answered) -> Option<(Assignment, Outcome)> {
        let Answered { assignment, serial, outcome } = answered;
        let asked = self.asked.get(&assignment)?;
        if asked.serial != serial {
            return None;
        }
        self.asked.remove(&assignment);
        Some((assignment, outcome))
    }

    /// Cancels an ask.
    pub(super) fn withdraw(&mut self, assignment: &Assignment) {
        self.asked.remove(assignment);
    }

    /// Cancels everything that an agent is asked.
    pub(super) fn forget_agent(&mut self, agent: &NodeId) {
        self.asked.retain(|assignment, _| assignment.agent != *agent);
    }
}

async fn ask(mailboxes: &AgentMailboxes, work: &Work, assignment: &Assignment, timeout: Duration) -> Outcome {
    let agent = &assignment.agent;
    match work {
        Work::Search(search) => {
            let matcher = mailboxes.matcher.as_ref().ok_or_else(|| incapable(agent))?;
            find(matcher, search, assignment, timeout).await
        }
        Work::Units(units) => unit::ask(mailboxes, &units[assignment.part], agent, timeout).await,
    }
}

/// The board assigns by capability, so nobody sees this but whoever breaks that.
fn incapable(agent: &NodeId) -> Failure {
    Failure::new(agent, "it has no mailbox for such work", Retry::Elsewhere)
}

/// Asks for one part of a library, giving it to the agent first where that does not have it.
async fn find(
    matcher: &Mailbox<MatcherProtocol>,
    search: &PartedSearch,
    assignment: &Assignment,
    timeout: Duration,
) -> Outcome {
    let agent = &assignment.agent;
    let part = &search.parts[assignment.part];
    let find = || {
        let find = FindSimilar { part: part.hash, rule: search.rule, queries: search.queries.clone() };
        matcher.ask(find).timeout(timeout)
    };
    let found = match find().await {
        Err(AskError::Handler(FindError::MissingPart { .. })) => {
            let store = StorePart { part: part.part.encoded.clone() };
            let stored = matcher.ask(store).timeout(timeout).await;
            stored.map_err(|error| Failure::new(agent, error, Retry::Elsewhere))?;
            find().await
        }
        found => found,
    };
    let found = found.map_err(|error| match error {
        AskError::Handler(FindError::Invalid { .. }) => Failure::new(agent, error, Retry::Never),
        error => Failure::new(agent, error, Retry::Elsewhere),
    })?;
    match found.check(&search.rule, &search.queries) {
        Ok(()) => Ok(PartAnswer::Similar(found)),
        Err(why) => Err(Failure::impossible(agent, why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{coordinator::CoordinatorConfig, testing::Probe};
    use actix::Actor;
    use std::{num::NonZeroU32, sync::Arc};
    use swarm_protocols::{coordinator::TaskId, similar_windows::WindowRule};
    use uuid::Uuid;

    #[actix::test]
    async fn the_answer_to_a_withdrawn_ask_is_not_that_to_the_same_assignment_made_again() {
        let config = CoordinatorConfig::default();
        let mut asks = Asks::new(&config.board);
        let coordinator = Coordinator::new(config, None).start();
        let (matcher, _probe) = Probe::new();
        let mailboxes = AgentMailboxes { matcher: Some(matcher), ..AgentMailboxes::default() };
        let (agent, task) = ("x".parse().unwrap(), TaskId::from(Uuid::nil()));
        let assignment = Assignment { agent, task, part: 0, attempt: 1 };
        let search = PartedSearch { rule: WindowRule::DAILY, queries: vec![], parts: vec![] };
        let work = Work::Search(Arc::new(search));
        let begin = |asks: &mut Asks| {
            asks.begin(assignment.clone(), mailboxes.clone(), work.clone(), coordinator.clone());
        };
        let answered = |serial| {
            let outcome = Err(Failure { cause: String::new(), retry: Retry::Never });
            Answered { assignment: assignment.clone(), serial, outcome }
        };
        begin(&mut asks);
        asks.withdraw(&assignment);
        assert!(asks.end(answered(1)).is_none());
        begin(&mut asks);
        assert!(asks.end(answered(1)).is_none());
        assert_eq!(asks.end(answered(2)).map(|(of, _)| of), Some(assignment.clone()));
        assert!(asks.end(answered(2)).is_none());
    }

    #[test]
    fn an_agent_has_as_long_as_all_attempts_together_within_reason() {
        let of = |lease, attempts| {
            let attempts_max = NonZeroU32::new(attempts).unwrap();
            let board = BoardConfig { lease, attempts_max, ..CoordinatorConfig::default().board };
            Asks::new(&board).timeout
        };
        assert_eq!(of(Duration::from_secs(30), 5), Duration::from_secs(150));
        assert_eq!(of(Duration::from_secs(1), 1), TIMEOUT_DEFAULT);
        assert_eq!(of(Duration::MAX, u32::MAX), TIMEOUT_MAX);
    }
}
