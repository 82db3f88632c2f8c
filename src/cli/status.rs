//! `swarm status`.

use std::fmt;
use std::net::SocketAddr;

use clap::Args;
use serde::Serialize;
use swarm_protocols::NodeId;
use swarm_protocols::coordinator::Status;

use super::error::CliError;
use super::operator::Connection;
use super::output::{Output, elapsed};
use crate::swarm::outcome::Messages;

#[derive(Debug, Args)]
pub(crate) struct StatusCommand {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Serialize)]
struct Shown {
    coordinator: NodeId,
    address: SocketAddr,
    uptime_seconds: f64,
    agents: usize,
    tasks: Tasks,
    messages: Messages,
}

#[derive(Debug, Serialize)]
struct Tasks {
    queued: u32,
    running: u32,
}

impl StatusCommand {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let shown = self.connection.run(async |operator, address| {
            let status = operator.status().await?;
            let messages = Messages::from(&status);
            let Status { uptime, agents, queued, running, .. } = status;
            Ok(Shown {
                coordinator: operator.coordinator_name.clone(),
                address,
                uptime_seconds: uptime.as_secs_f64(),
                agents: agents.len(),
                tasks: Tasks { queued, running },
                messages,
            })
        })?;
        output.print(&shown)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { coordinator, address, uptime_seconds, agents, tasks, messages } = self;
        writeln!(f, "coordinator   {coordinator} at {address}")?;
        writeln!(f, "up for        {}", elapsed(*uptime_seconds))?;
        writeln!(f, "agents        {agents}")?;
        writeln!(f, "tasks         {} queued, {} running", tasks.queued, tasks.running)?;
        write!(f, "messages      {} sent, {} received", messages.sent, messages.received)?;
        match messages.latency_ms() {
            Some((p50, p99)) => writeln!(f, ", answers after {p50:.1} ms, 99 % within {p99:.1} ms"),
            None => writeln!(f),
        }
    }
}
