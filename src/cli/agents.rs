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
use crate::swarm::report::{Colour, DIM};

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
    capabilities: BTreeSet<String>,
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
        let AgentSummary { name, agent_type, capabilities, slots, assigned, answered, connected } = summary;
        let connected_seconds = connected.as_secs_f64();
        Self { name, agent_type, capabilities, slots, assigned, answered, connected_seconds }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.agents.is_empty() {
            return writeln!(f, "no agent is connected");
        }
        let head =
            format!("{:<20}{:<18}{:>9}{:>10}{:>16}", "agent", "type", "in hand", "answered", "connected");
        writeln!(f, "{}", Colour::of_stdout().paint(DIM, head))?;
        for agent in &self.agents {
            let in_hand = format!("{}/{}", agent.assigned, agent.slots);
            let (name, agent_type, connected) =
                (agent.name.as_str(), printable(&agent.agent_type), elapsed(agent.connected_seconds));
            writeln!(f, "{name:<20}{agent_type:<18}{in_hand:>9}{:>10}{connected:>16}", agent.answered)?;
        }
        Ok(())
    }
}

/// The word of a peer, which might steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}
