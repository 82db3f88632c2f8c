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

/// Requests sent and received, and the time from asking an agent to its answer.
#[derive(Debug, Serialize)]
struct Messages {
    sent: u64,
    received: u64,
    p50_us: Option<u128>,
    p99_us: Option<u128>,
}

impl StatusCommand {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let shown = self.connection.run(async |operator, address| {
            let Status { uptime, agents, queued, running, sent, received, p50, p99 } =
                operator.status().await?;
            Ok(Shown {
                coordinator: operator.coordinator_name.clone(),
                address,
                uptime_seconds: uptime.as_secs_f64(),
                agents: agents.len(),
                tasks: Tasks { queued, running },
                messages: Messages {
                    sent,
                    received,
                    p50_us: p50.map(|time| time.as_micros()),
                    p99_us: p99.map(|time| time.as_micros()),
                },
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
        match messages.p50_us.zip(messages.p99_us) {
            Some((p50, p99)) => {
                writeln!(f, ", answers after {:.1} ms, 99 % within {:.1} ms", ms(p50), ms(p99))
            }
            None => writeln!(f),
        }
    }
}

fn ms(micros: u128) -> f64 {
    micros as f64 / 1e3
}
