//! A swarm on one machine as a file: its nodes, who connects to whom, and the jobs it does.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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
    #[serde(default = "loopback", deserialize_with = "listen_address")]
    listen: SocketAddr,
    agent_type: Option<Spanned<AgentType>>,
    connect: Option<Spanned<Vec<Spanned<String>>>>,
    workers: Option<Spanned<Workers>>,
}

fn loopback() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
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
    only_for_agents(
        [
            ("agent_type", node.agent_type.map(|value| value.span())),
            ("connect", node.connect.map(|value| value.span())),
            ("workers", node.workers.map(|value| value.span())),
        ],
        document,
    );
    Some(Coordinator { name: node.name.into_inner(), listen: node.listen })
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
    let Some(agent_type) = node.agent_type else {
        let expected = AgentType::PatternMatcher;
        document.fault(at, format_args!("`agent_type` of {name} is missing: {expected} is expected"));
        return None;
    };
    Some(Agent {
        name: node.name.into_inner(),
        listen: node.listen,
        agent_type: agent_type.into_inner(),
        workers: node.workers.map_or(workers, |workers| workers.into_inner().0),
    })
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
mod tests {
    use super::*;

    const CORES: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");

    fn parse(text: &str) -> Result<Topology, ConfigError> {
        let mut document = Document::new(Path::new("swarm.toml"), text);
        let sections = document.sections()?;
        Topology::parse(&mut document, sections, CORES)
    }

    /// The faults of a topology as `line:column: message`.
    fn faults(text: &str) -> Vec<String> {
        match parse(text) {
            Err(ConfigError::Invalid(faults)) => faults
                .iter()
                .map(|fault| fault.to_string().strip_prefix("swarm.toml:").unwrap().to_owned())
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    const VALID: &str = r#"name = "star"
[[nodes]]
name = "hub"
role = "coordinator"
listen = "0.0.0.0:7400"
[[nodes]]
name = "agent-1"
role = "agent"
agent_type = "pattern-matcher"
connect = ["hub"]
[[nodes]]
name = "agent-2"
role = "agent"
agent_type = "pattern-matcher"
connect = ["hub"]
workers = 3
[[jobs]]
name = "daily"
kind = "similar-windows"
data = "."
symbols = ["SPY", "AAPL"]
"#;

    #[test]
    fn a_topology_says_what_is_to_be_started() {
        let topology = parse(VALID).unwrap();
        assert_eq!(topology.name.to_string(), "star");
        assert_eq!(topology.coordinator.name.as_str(), "hub");
        assert_eq!(topology.coordinator.listen.to_string(), "0.0.0.0:7400");
        let agents: Vec<_> = topology.agents.iter().map(|a| (a.name.as_str(), a.workers.get())).collect();
        assert_eq!(agents, [("agent-1", 4), ("agent-2", 3)], "eight cores shared by two agents");
        assert!(topology.agents.iter().all(|agent| agent.listen.to_string() == "127.0.0.1:0"));
        let JobKind::SimilarWindows { data, symbols } = &topology.jobs[0].kind;
        assert_eq!(data, Path::new("."));
        assert_eq!(symbols.iter().map(Symbol::as_str).collect::<Vec<_>>(), ["SPY", "AAPL"]);
    }

    #[test]
    fn the_example_is_valid_and_finds_its_data() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/topologies/star.toml");
        let topology = Topology::read(&file, CORES).unwrap();
        assert_eq!((topology.agents.len(), topology.jobs.len()), (4, 1));
    }

    #[test]
    fn faults_are_found_in_every_section_at_once() {
        let text = VALID
            .replace("\"star\"", "7")
            .replace("\"agent-1\"", "\"Agent 1\"")
            .replace("workers = 3", "wokers = 3")
            + "[[links]]\n";
        let found = faults(&text);
        for (fault, expected) in found.iter().zip([
            "1:8: invalid type: integer `7`, expected a string",
            "7:8: \"Agent 1\" is no valid name: 63 or fewer",
            "16:1: unknown field `wokers`, expected one of `name`, `role`, `listen`",
            "22:3: unknown key `links`, expected are `name`, [[nodes]] and [[jobs]]",
        ]) {
            assert!(fault.starts_with(expected), "{fault}\nis not\n{expected}");
        }
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn what_nodes_and_jobs_say_about_one_another_is_checked() {
        let text = VALID
            .replace("\"agent-2\"", "\"agent-1\"")
            .replacen("[\"hub\"]", "[\"hob\"]", 1)
            .replace("agent_type = \"pattern-matcher\"\nconnect = [\"hub\"]\nworkers", "workers")
            .replace("data = \".\"", "data = \"nowhere\"")
            .replace("\"AAPL\"", "\"SPY\", \"../A\"");
        assert_eq!(
            faults(&text),
            [
                "10:12: no coordinator is called hob",
                "12:8: two nodes are called agent-1",
                "12:8: `connect` of agent-1 is missing: coordinators are expected",
                "12:8: `agent_type` of agent-1 is missing: pattern-matcher is expected",
                "18:8: nowhere is no folder",
                "19:19: two symbols are called SPY",
                "19:26: \"../A\" is no symbol: 24 or fewer capital letters, digits, dots and hyphens are expected, \
                 with a letter or a digit at the beginning",
            ]
        );
    }

    #[test]
    fn there_is_one_coordinator_and_a_job_has_its_agents() {
        assert_eq!(
            faults(&VALID.replace("role = \"coordinator\"", "role = \"operator\"")),
            [
                "1:1: no node has the role coordinator, one is expected",
                "4:8: an operator is no node to start, expected is coordinator or agent",
            ]
        );
        let two = VALID.replace("role = \"agent\"", "role = \"coordinator\"");
        assert_eq!(
            faults(&two),
            [
                "8:8: a second coordinator, one is expected",
                "13:8: a second coordinator, one is expected",
                "19:8: the job similar-windows needs an agent of the type pattern-matcher",
            ]
        );
        let idle = VALID.replace("listen = \"0.0.0.0:7400\"", "workers = 2");
        assert_eq!(faults(&idle), ["5:11: `workers` belongs to agents, not to a coordinator"]);
    }

    #[test]
    fn broken_toml_has_a_place() {
        assert_eq!(faults("name = \"star\n"), ["1:13: invalid basic string, expected `\"`"]);
        assert_eq!(faults(""), ["1:1: `name` is missing"]);
        assert_eq!(
            faults("name = \"a\"\nnodes = 3"),
            ["2:9: tables [[nodes]] are expected, found is a value of type integer"]
        );
        assert_eq!(faults("a = \nb = \n").len(), 2);
    }
}
