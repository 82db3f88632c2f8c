//! A swarm on one machine as a file: its nodes, who connects to whom, and the jobs it does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use swarm_protocols::similar_windows::{InvalidSymbol, Symbol};
use swarm_protocols::{NodeId, Role};
use toml::Spanned;

use super::document::{ConfigError, Document, Sections, Title, read_text};
use super::node_file::{AgentType, NO_OPERATOR, listen_address, only_for_agents};
use super::node_options::Workers;

/// A topology that exists can be started: names are unique, there is one coordinator to which every
/// agent connects, and every job has agents that can do it.
#[derive(Debug, Clone, PartialEq, Eq)]
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) name: Title,
    pub(crate) kind: JobKind,
}

/// What a job does, and on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobKind {
    /// Looks for the windows of price history most similar to the last one of each symbol.
    SimilarWindows {
        /// The folder with the daily bars.
        data: PathBuf,
        /// At least one, each once.
        symbols: Vec<Symbol>,
    },
}

impl JobKind {
    /// The word for it in topologies and results.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            JobKind::SimilarWindows { .. } => "similar-windows",
        }
    }

    /// The agents that do it.
    fn agent_type(&self) -> AgentType {
        match self {
            JobKind::SimilarWindows { .. } => AgentType::PatternMatcher,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    name: Spanned<NodeId>,
    role: Spanned<Role>,
    listen: Option<Spanned<Listen>>,
    agent_type: Option<Spanned<AgentType>>,
    connect: Option<Spanned<Vec<Spanned<String>>>>,
    workers: Option<Spanned<Workers>>,
}

#[derive(Deserialize)]
struct Listen(#[serde(deserialize_with = "listen_address")] SocketAddr);

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJob {
    name: Spanned<Title>,
    kind: Spanned<RawKind>,
    data: Spanned<PathBuf>,
    symbols: Spanned<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawKind {
    SimilarWindows,
}

impl Topology {
    /// Reads a topology for a machine with so many `cores`.
    pub(crate) fn read(file: &Path, cores: NonZeroUsize) -> Result<Self, ConfigError> {
        let text = read_text(file)?;
        let mut document = Document::new(file, &text);
        let sections = document.sections()?;
        Self::parse(&mut document, sections, cores)
    }

    pub(crate) fn parse(
        document: &mut Document<'_>,
        mut sections: Sections<'_>,
        cores: NonZeroUsize,
    ) -> Result<Self, ConfigError> {
        let name = sections.take("name", document);
        let nodes: Vec<RawNode> = sections.take_tables("nodes", document);
        let raw_jobs: Vec<RawJob> = sections.take_tables("jobs", document);
        sections.finish("`name`, [[nodes]] and [[jobs]]", document);
        // What nodes say about one another can be judged when all of them are readable.
        document.so_far()?;

        find_duplicates(nodes.iter().map(|node| &node.name), "nodes", document);
        find_occupied(&nodes, document);
        find_duplicates(raw_jobs.iter().map(|job| &job.name), "jobs", document);
        let (coordinators, agents): (Vec<_>, Vec<_>) = nodes
            .into_iter()
            .filter(|node| is_startable(node, document))
            .partition(|node| *node.role.get_ref() == Role::Coordinator);
        let coordinator = only_coordinator(coordinators, document);
        let workers = shared_cores(cores, agents.len());
        let agents: Vec<Agent> = agents
            .into_iter()
            .filter_map(|node| agent(node, coordinator.as_ref(), workers, document))
            .collect();
        let jobs: Vec<Job> = raw_jobs.into_iter().filter_map(|raw| job(raw, &agents, document)).collect();
        document.so_far()?;
        let (name, coordinator) = name.zip(coordinator).expect("a missing one is a fault");
        Ok(Self { name, coordinator, agents, jobs })
    }
}

fn find_duplicates<'a, T: Ord + std::fmt::Display + 'a>(
    names: impl Iterator<Item = &'a Spanned<T>>,
    of: &str,
    document: &mut Document<'_>,
) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.get_ref()) {
            document.fault(name.span(), format_args!("two {of} are called {}", name.get_ref()));
        }
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

fn is_startable(node: &RawNode, document: &mut Document<'_>) -> bool {
    let startable = *node.role.get_ref() != Role::Operator;
    if !startable {
        document.fault(node.role.span(), NO_OPERATOR);
    }
    startable
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
        if coordinator.is_some_and(|coordinator| coordinator.name.as_str() != peer.get_ref()) {
            document.fault(peer.span(), format_args!("no coordinator is called {}", peer.get_ref()));
        }
    }
    find_duplicates(connect.iter(), "entries of `connect`", document);
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

fn job(raw: RawJob, agents: &[Agent], document: &mut Document<'_>) -> Option<Job> {
    let data = document.resolve(raw.data.get_ref());
    if !data.is_dir() {
        document.fault(raw.data.span(), format_args!("{} is no folder", data.display()));
    }
    if raw.symbols.get_ref().is_empty() {
        document.fault(raw.symbols.span(), "no symbols, at least one is expected");
    }
    find_duplicates(raw.symbols.get_ref().iter(), "symbols", document);
    let symbols = raw.symbols.into_inner().into_iter().filter_map(|symbol| {
        let parsed = symbol.get_ref().parse();
        parsed.map_err(|error: InvalidSymbol| document.fault(symbol.span(), error)).ok()
    });
    let symbols = symbols.collect();
    let kind_span = raw.kind.span();
    let kind = match raw.kind.into_inner() {
        RawKind::SimilarWindows => JobKind::SimilarWindows { data, symbols },
    };
    let needed = kind.agent_type();
    if !agents.iter().any(|agent| agent.agent_type == needed) {
        document
            .fault(kind_span, format_args!("the job {} needs an agent of the type {needed}", kind.as_str()));
    }
    Some(Job { name: raw.name.into_inner(), kind })
}

#[cfg(test)]
mod tests;
