//! A swarm on one machine as a file: its nodes, who connects to whom, and the jobs it does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use swarm_protocols::{NodeId, printable};
use toml::Spanned;
use toml::de::DeValue;

use super::document::{self, ConfigError, Document, Form, Sections, Title, read_text};
use super::jobs::{self, Kind};
use super::node_file::{AgentType, NodeRole, only_for_agents};
use super::node_options::{Listen, Workers};

/// A topology that exists can be started: names are unique, there is one coordinator to which every
/// agent connects, and every job has agents that can do it.
#[derive(Debug, Clone)]
pub(crate) struct Topology {
    pub(crate) name: Title,
    pub(crate) coordinator: Coordinator,
    pub(crate) agents: Vec<Agent>,
    pub(crate) jobs: Vec<Job>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Coordinator {
    pub(crate) name: NodeId,
    pub(crate) listen: SocketAddr,
}

/// An agent, connected to the coordinator of its topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) name: NodeId,
    pub(crate) listen: SocketAddr,
    pub(crate) agent_type: AgentType,
    /// Threads for computing; without a number the agents share the cores of the machine.
    pub(crate) workers: NonZeroUsize,
}

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) name: Title,
    pub(crate) kind: Kind,
    pub(crate) job: Arc<dyn jobs::Job>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [[nodes]] with `name` and `role`")]
struct RawNode {
    name: Spanned<NodeId>,
    role: Spanned<NodeRole>,
    listen: Option<Spanned<Listen>>,
    agent_type: Option<Spanned<AgentType>>,
    connect: Option<Spanned<Vec<Spanned<Peer>>>>,
    workers: Option<Spanned<Workers>>,
}

/// The name of a node to connect to. A node file says its address as well; here everything runs on one machine.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Peer(String);

impl<'de> Deserialize<'de> for Peer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Peer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of the coordinator alone, such as \"hub\"")
            }

            fn visit_str<E>(self, name: &str) -> Result<Peer, E> {
                Ok(Peer(name.to_owned()))
            }
        }

        deserializer.deserialize_str(Name)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

impl RawNode {
    /// Where it listens. Those that do not say it are reached from this machine, in the same way as `others`.
    fn listen(&self, others: Option<SocketAddr>) -> SocketAddr {
        let loopback = match others {
            Some(SocketAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
            Some(SocketAddr::V4(_)) | None => Ipv4Addr::LOCALHOST.into(),
        };
        self.listen.as_ref().map_or(SocketAddr::new(loopback, 0), |listen| listen.get_ref().0)
    }
}

/// What jobs of every kind say.
#[derive(Deserialize)]
struct JobHead {
    name: Spanned<Title>,
    kind: Spanned<Kind>,
}

impl Topology {
    /// Reads a topology for a machine with so many `cores`.
    pub(crate) fn read(file: &Path, cores: NonZeroUsize) -> Result<Self, ConfigError> {
        let text = read_text(file)?;
        let mut document = Document::new(file, &text);
        let sections = document.sections()?;
        sections.expect(Form::Topology, &mut document)?;
        Self::parse(&mut document, sections, cores)
    }

    pub(crate) fn parse(
        document: &mut Document<'_>,
        mut sections: Sections<'_>,
        cores: NonZeroUsize,
    ) -> Result<Self, ConfigError> {
        let name = sections.take("name", document);
        let nodes: Vec<RawNode> = sections.take_tables("nodes", document);
        let raw_jobs = sections.take_values("jobs", document);
        let heads: Vec<JobHead> =
            raw_jobs.iter().filter_map(|table| document::read(table.clone(), document)).collect();
        sections.finish("`name`, [[nodes]] and [[jobs]]", document);
        // What nodes say about one another can be judged when all of them are readable.
        document.so_far()?;

        document.find_duplicates(nodes.iter().map(|node| &node.name), "nodes");
        find_occupied(&nodes, document);
        document.find_duplicates(heads.iter().map(|job| &job.name), "jobs");
        let (coordinators, agents): (Vec<_>, Vec<_>) =
            nodes.into_iter().partition(|node| *node.role.get_ref() == NodeRole::Coordinator);
        let coordinator = only_coordinator(coordinators, document);
        let workers = shared_cores(cores, agents.len());
        let agents: Vec<Agent> = agents
            .into_iter()
            .filter_map(|node| agent(node, coordinator.as_ref(), workers, document))
            .collect();
        let jobs = heads.into_iter().zip(raw_jobs);
        let jobs: Vec<Job> = jobs.filter_map(|(head, raw)| job(head, raw, &agents, document)).collect();
        document.so_far()?;
        let (name, coordinator) = name.zip(coordinator).expect("a missing one is a fault");
        Ok(Self { name, coordinator, agents, jobs })
    }
}

/// Finds fault with nodes that want an address which a node before them has.
fn find_occupied(nodes: &[RawNode], document: &mut Document<'_>) {
    let mut ports: BTreeMap<u16, BTreeSet<IpAddr>> = BTreeMap::new();
    for listen in nodes.iter().filter_map(|node| node.listen.as_ref()) {
        let Listen(address) = *listen.get_ref();
        // Zero is a port of its own each time.
        if address.port() == 0 {
            continue;
        }
        let taken = ports.entry(address.port()).or_default();
        let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let occupied = if address.ip().is_unspecified() {
            !taken.is_empty()
        } else {
            everywhere.iter().any(|ip| taken.contains(ip))
        };
        if !taken.insert(address.ip()) || occupied {
            document.fault(listen.span(), format_args!("another node listens on {address} already"));
        }
    }
}

fn only_coordinator(coordinators: Vec<RawNode>, document: &mut Document<'_>) -> Option<Coordinator> {
    let mut coordinators = coordinators.into_iter();
    let Some(node) = coordinators.next() else {
        document.fault(0..0, "no node has the role coordinator, one is expected");
        return None;
    };
    for further in coordinators {
        document.fault(further.role.span(), "a second coordinator, one is expected");
    }
    let listen = node.listen(None);
    only_for_agents(
        [
            ("agent_type", node.agent_type.map(|value| value.span())),
            ("connect", node.connect.map(|value| value.span())),
            ("workers", node.workers.map(|value| value.span())),
        ],
        document,
    );
    Some(Coordinator { name: node.name.into_inner(), listen })
}

fn shared_cores(cores: NonZeroUsize, agents: usize) -> NonZeroUsize {
    NonZeroUsize::new(cores.get() / agents.max(1)).unwrap_or(NonZeroUsize::MIN)
}

fn agent(
    node: RawNode,
    coordinator: Option<&Coordinator>,
    workers: NonZeroUsize,
    document: &mut Document<'_>,
) -> Option<Agent> {
    let (name, at) = (node.name.get_ref(), node.name.span());
    let connect = node.connect.as_ref().map_or(&[][..], |connect| connect.get_ref());
    if connect.is_empty() {
        document.fault(at.clone(), format_args!("`connect` of {name} is missing: coordinators are expected"));
    }
    for peer in connect {
        if coordinator.is_some_and(|coordinator| coordinator.name.as_str() != peer.get_ref().0) {
            document.fault(peer.span(), format_args!("no coordinator is called {}", peer.get_ref()));
        }
    }
    document.find_duplicates(connect.iter(), "entries of `connect`");
    let listen = node.listen(coordinator.map(|coordinator| coordinator.listen));
    if let (Some(coordinator), Some(own)) = (coordinator, &node.listen)
        && !reaches(listen, coordinator.listen)
    {
        let there = coordinator.listen;
        document.fault(own.span(), format_args!("{name} cannot connect from {listen} to {there}"));
    }
    let Some(agent_type) = node.agent_type else {
        let expected = AgentType::PatternMatcher;
        document.fault(at, format_args!("`agent_type` of {name} is missing: {expected} is expected"));
        return None;
    };
    Some(Agent {
        name: node.name.into_inner(),
        listen,
        agent_type: agent_type.into_inner(),
        workers: node.workers.map_or(workers, |workers| workers.into_inner().0),
    })
}

/// Whether a socket at `from` can send to `to`: of IPv4 and IPv6 it has one, unless it is open to both.
fn reaches(from: SocketAddr, to: SocketAddr) -> bool {
    from.is_ipv4() == to.is_ipv4() || (from.is_ipv6() && from.ip().is_unspecified())
}

fn job(
    head: JobHead,
    table: Spanned<DeValue<'_>>,
    agents: &[Agent],
    document: &mut Document<'_>,
) -> Option<Job> {
    let kind = *head.kind.get_ref();
    let job = (kind.in_topology)(table, document);
    if !agents.iter().any(|agent| agent.agent_type == kind.agent_type) {
        let message = format_args!("the job {} needs an agent of the type {}", kind.word, kind.agent_type);
        document.fault(head.kind.span(), message);
    }
    Some(Job { name: head.name.into_inner(), kind, job: job? })
}

#[cfg(test)]
mod tests;
