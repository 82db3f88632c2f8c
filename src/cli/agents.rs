//! `swarm agents`.

use std::collections::BTreeSet;
use std::fmt;

use clap::Args;
use serde::Serialize;
use swarm_protocols::NodeId;
use swarm_protocols::coordinator::AgentSummary;

use super::error::CliError;
use super::operator::Connection;
use super::output::{Output, elapsed};
use crate::listing::{Left, Right, listing};
use crate::swarm::report::Colour;

/// How long the list of what an agent does may get, in characters.
const DOES_MAX: usize = 200;

#[derive(Debug, Args)]
pub(crate) struct Agents {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown {
    agents: Vec<Agent>,
}

#[derive(Debug, Serialize)]
struct Agent {
    name: NodeId,
    agent_type: String,
    /// What it can do: the names of the protocols that it exposes.
    protocols: BTreeSet<String>,
    slots: u32,
    assigned: u32,
    answered: u64,
    connected_seconds: f64,
}

impl Agents {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let agents = self.connection.run(async |operator, _| Ok(operator.agents().await?))?;
        output.print(&Shown { agents: agents.into_iter().map(Agent::from).collect() })
    }
}

impl From<AgentSummary> for Agent {
    fn from(summary: AgentSummary) -> Self {
        let AgentSummary { name, agent_type, protocols, slots, assigned, answered, connected } = summary;
        let connected_seconds = connected.as_secs_f64();
        Self { name, agent_type, protocols, slots, assigned, answered, connected_seconds }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.agents.is_empty() {
            return writeln!(f, "no agent is connected");
        }
        let columns = [
            ("agent", Left),
            ("type", Left),
            ("in work", Right),
            ("answered", Right),
            ("connected", Right),
            ("does", Left),
        ];
        let row = |agent: &Agent| {
            let in_work = format!("{}/{}", agent.assigned, agent.slots);
            let connected = elapsed(agent.connected_seconds);
            let Agent { name, agent_type, protocols, answered, .. } = agent;
            let does = some_of(protocols);
            [name.to_string(), agent_type.clone(), in_work, answered.to_string(), connected, does]
        };
        f.write_str(&listing(Colour::of_stdout(), &columns, self.agents.iter().map(row)))
    }
}

/// The first names that fit in a line, and how many there are more.
fn some_of(names: &BTreeSet<String>) -> String {
    let mut text = names.first().map_or("nothing", String::as_str).to_owned();
    for (shown, name) in names.iter().enumerate().skip(1) {
        if text.chars().count() + name.chars().count() > DOES_MAX {
            return format!("{text} and {} more", names.len() - shown);
        }
        text = format!("{text}, {name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_an_agent_that_exposes_very_much_is_one_line() {
        let named = |count| some_of(&(0..count).map(|i| format!("protocol-{i:04}")).collect());
        assert_eq!(named(0), "nothing");
        assert_eq!(named(2), "protocol-0000, protocol-0001");
        assert!(named(2_000).starts_with("protocol-0000, protocol-0001, "));
        assert!(named(2_000).ends_with(", protocol-0012 and 1987 more"), "{}", named(2_000));
    }
}
