//! Asking for a unit of work.

use super::{Failure, Outcome, incapable};
use crate::{
    coordinator::{
        AgentMailboxes,
        submission::{PartAnswer, PartedUnit},
    },
    mailbox::{AskError, Mailbox},
};
use std::time::Duration;
use swarm_protocols::{
    Accepts, NodeId,
    coordinator::board::Retry,
    similar_windows::StorePart,
    units::{Unit, UnitAnswer, UnitError, UnitRequest},
};

/// How often an agent is given what it misses. It says what it has not at once, but what it has may be evicted
/// by others meanwhile.
const ROUNDS_MAX: usize = 3;

/// Asks for one unit, giving its inputs to the agent first where that does not have them.
pub(super) async fn ask(
    mailboxes: &AgentMailboxes,
    parted: &PartedUnit,
    agent: &NodeId,
    timeout: Duration,
) -> Outcome {
    let matcher = || mailboxes.series_matcher.as_ref().ok_or_else(|| incapable(agent));
    let correlator = || mailboxes.correlator.as_ref().ok_or_else(|| incapable(agent));
    let asking = Asking { parted, agent, timeout };
    let answer = match &parted.unit {
        Unit::Search(unit) => UnitAnswer::Search(asking.ask(matcher()?, unit).await?),
        Unit::Classify(unit) => UnitAnswer::Classify(asking.ask(matcher()?, unit).await?),
        Unit::Distance(unit) => UnitAnswer::Distance(asking.ask(matcher()?, unit).await?),
        Unit::Correlate(unit) => UnitAnswer::Correlate(asking.ask(correlator()?, unit).await?),
    };
    let lengths = parted.lengths().map_err(|error| Failure::new(agent, error, Retry::Never))?;
    match parted.unit.check_answer(&lengths, &answer) {
        Ok(()) => Ok(PartAnswer::Unit(answer)),
        Err(why) => Err(Failure::impossible(agent, why)),
    }
}

struct Asking<'a> {
    parted: &'a PartedUnit,
    agent: &'a NodeId,
    timeout: Duration,
}

impl Asking<'_> {
    async fn ask<P, R>(&self, mailbox: &Mailbox<P>, unit: &R) -> Result<R::Reply, Failure>
    where
        R: UnitRequest,
        P: Accepts<R> + Accepts<StorePart>,
    {
        let failure = |error, retry| Failure::new(self.agent, error, retry);
        for _ in 0..ROUNDS_MAX {
            match mailbox.ask(unit.clone()).timeout(self.timeout).await {
                Ok(answer) => return Ok(answer),
                Err(AskError::Handler(UnitError::MissingParts { parts })) => {
                    let inputs = self.parted.inputs.iter().filter(|(hash, _)| parts.contains(hash));
                    for (_, part) in inputs {
                        let store = StorePart { part: part.encoded.clone() };
                        let stored = mailbox.ask(store).timeout(self.timeout).await;
                        stored.map_err(|error| Failure::new(self.agent, error, Retry::Elsewhere))?;
                    }
                }
                Err(error @ AskError::Handler(UnitError::Invalid { .. })) => {
                    return Err(failure(error, Retry::Never));
                }
                Err(error) => return Err(failure(error, Retry::Elsewhere)),
            }
        }
        let cause = "it loses what it is given before it is asked for it";
        Err(Failure::new(self.agent, cause, Retry::Elsewhere))
    }
}
