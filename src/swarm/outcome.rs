//! What `swarm up` prints: the nodes, the results of the jobs, the messages.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use swarm_protocols::coordinator::Status;
use swarm_protocols::{NodeId, Role};

use super::fleet::Fleet;
use super::jobs::Done;
use super::report::{BOLD, Colour, counted};
use super::topology::Job;
use crate::listing::{Left, Right, listing};

/// The keys of its JSON are those of the command line's contract.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    topology: String,
    nodes: Vec<NodeOutcome>,
    jobs: Vec<JobOutcome>,
    messages: Messages,
    #[serde(skip)]
    shown: Shown,
    #[serde(skip)]
    colour: Colour,
}

/// How much people are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// A few lines for each job, and what may be tried next.
    Summary,
    /// The same of a swarm that stays up.
    SummaryOfKept,
    /// The whole of every result, and each node.
    All,
}

#[derive(Debug, Serialize)]
struct NodeOutcome {
    name: NodeId,
    role: Role,
    pid: u32,
    /// None where the node ended before it was ready.
    address: Option<SocketAddr>,
}

#[derive(Debug, Serialize)]
struct JobOutcome {
    name: String,
    kind: &'static str,
    agents_used: usize,
    seconds: f64,
    /// There is no ledger yet.
    credits: Option<String>,
    result: Box<RawValue>,
    #[serde(skip)]
    summary: String,
    #[serde(skip)]
    report: String,
}

/// What the coordinator sent and received, and the time from its asks to their answers.
#[derive(Debug, Serialize)]
pub(crate) struct Messages {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    p50_us: Option<u128>,
    p99_us: Option<u128>,
}

impl From<&Status> for Messages {
    fn from(&Status { sent, received, p50, p99, .. }: &Status) -> Self {
        let micros = |time: Duration| time.as_micros();
        Self { sent, received, p50_us: p50.map(micros), p99_us: p99.map(micros) }
    }
}

impl Messages {
    /// The median and the 99th percentile in milliseconds, where there were answers.
    pub(crate) fn latency_ms(&self) -> Option<(f64, f64)> {
        let (p50, p99) = self.p50_us.zip(self.p99_us)?;
        Some((p50 as f64 / 1e3, p99 as f64 / 1e3))
    }
}

impl Outcome {
    pub(crate) fn new(
        topology: impl Display,
        fleet: &Fleet,
        jobs: Vec<(&Job, Done)>,
        status: &Status,
        shown: Shown,
        colour: Colour,
    ) -> Self {
        let nodes = fleet.processes().map(|process| {
            let (name, pid, address) = (process.name.clone(), process.pid(), process.address());
            NodeOutcome { name, role: process.role, pid, address }
        });
        let jobs = jobs.into_iter().map(|(job, Done { agents, time, json, summary, report })| JobOutcome {
            name: job.name.to_string(),
            kind: job.kind.word,
            agents_used: agents,
            seconds: time.as_secs_f64(),
            credits: None,
            result: json,
            summary,
            report,
        });
        Self {
            topology: topology.to_string(),
            nodes: nodes.collect(),
            jobs: jobs.collect(),
            messages: status.into(),
            shown,
            colour,
        }
    }

    /// What ran, and what came of it.
    fn summary(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let agents = self.nodes.iter().filter(|node| node.role == Role::Agent).count();
        let coordinators = self.nodes.iter().filter(|node| node.role == Role::Coordinator);
        let coordinators: Vec<&str> = coordinators.map(|node| node.name.as_str()).collect();
        writeln!(
            f,
            "The topology {} ran as {} processes of this machine: the coordinator {} and {}, which talked \
             over QUIC with certificates of an authority made for this run.\n",
            self.topology,
            self.nodes.len(),
            coordinators.join(", "),
            counted(agents, "agent")
        )?;
        for JobOutcome { name, kind, agents_used, seconds, summary, .. } in &self.jobs {
            let title = self.colour.paint(BOLD, format!("Job {name} ({kind})"));
            let agents = counted(*agents_used, "agent");
            writeln!(f, "{title}, done by {agents} in {seconds:.2} s\n{summary}")?;
        }
        let kill = if self.shown == Shown::SummaryOfKept {
            "Kill"
        } else {
            "With `--keep` the swarm stays up: kill"
        };
        writeln!(
            f,
            "Next: `--full` shows all of it, with the pids; `-o json` gives it to programs. {kill} an agent by its pid, then \
             ask with `swarm agents` and `swarm submit`. To write an actor of your own, run `cargo doc --open` and \
             read `guide`."
        )
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.shown != Shown::All {
            return self.summary(f);
        }
        for job in &self.jobs {
            writeln!(f, "{}\n", self.colour.paint(BOLD, format!("Job {} ({})", job.name, job.kind)))?;
            let agents = counted(job.agents_used, "agent");
            writeln!(f, "{}\nDone by {agents} in {:.2} s.\n", job.report, job.seconds)?;
        }
        let columns = [("node", Left), ("role", Left), ("pid", Right), ("address", Left)];
        let row = |NodeOutcome { name, role, pid, address }: &NodeOutcome| {
            let address = address.map_or_else(|| "was never ready".to_owned(), |address| address.to_string());
            [name.to_string(), role.to_string(), pid.to_string(), address]
        };
        f.write_str(&listing(self.colour, &columns, self.nodes.iter().map(row)))?;
        let Messages { sent, received, .. } = &self.messages;
        write!(f, "\nThe coordinator sent {sent} requests and received {received}")?;
        match self.messages.latency_ms() {
            Some((p50, p99)) => writeln!(
                f,
                "; an answer took {p50:.1} ms, 99 % of them at most {p99:.1} ms, the work included."
            ),
            None => writeln!(f, "."),
        }
    }
}
