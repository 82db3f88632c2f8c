//! One node as a file: what `swarm node` runs.

mod authority;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use swarm_actors::PeerAddress;
use swarm_actors::identity::IdentityPaths;
use swarm_protocols::similar_windows::PatternMatcher;
use swarm_protocols::{NodeId, Protocol, Role};
use toml::Spanned;

pub(crate) use authority::AuthorityOptions;
use authority::RawAuthority;

use super::document::{ConfigError, Document, Form, NODE_KEYS, Place, Sections, read_text};
use super::node_options::{Listen, LogFilter, Memory, Overrides, Reconnect, SaidBy, Workers};

/// A node that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeFile {
    pub(crate) name: NodeId,
    pub(crate) listen: SocketAddr,
    /// The files in PEM by which it proves who it is and judges who others are.
    pub(crate) identity: IdentityPaths,
    /// Where the file says so, or its beginning where it does not.
    pub(crate) identity_at: Place,
    /// What it logs; the life of the node where nobody says it.
    pub(crate) log: Option<LogFilter>,
    pub(crate) duty: Duty,
    pub(crate) memory: Memory,
    /// What a coordinator issues certificates from, if it does.
    pub(crate) authority: Option<AuthorityOptions>,
    /// What goes before the file.
    pub(crate) said_by: SaidBy,
}

/// What a node does in its swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Duty {
    Coordinator,
    Agent {
        agent_type: AgentType,
        /// Threads for computing; all cores of the machine without a number.
        workers: NonZeroUsize,
        /// The coordinators it connects to, at least one.
        connect: Vec<Peer>,
        /// How long it looks for them when it has lost all of them, before it ends.
        reconnect: Duration,
    },
}

impl Duty {
    /// The role of a node that does it.
    pub(crate) fn role(&self) -> Role {
        match self {
            Duty::Coordinator => Role::Coordinator,
            Duty::Agent { .. } => Role::Agent,
        }
    }
}

/// The roles of nodes that are started by a file. Operators are commands and programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum NodeRole {
    Coordinator,
    Agent,
}

/// A node to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { name = \"hub\", address = \"hub.example:7400\" }"
)]
pub(crate) struct Peer {
    pub(crate) name: NodeId,
    pub(crate) address: PeerAddress,
}

/// What an agent can do: the actors it exposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AgentType {
    PatternMatcher,
}

impl fmt::Display for AgentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AgentType::PatternMatcher => PatternMatcher::NAME,
        })
    }
}

/// What the file says, read key by key, so that all faults are found at once.
struct RawNode {
    name: Option<NodeId>,
    role: Option<Spanned<NodeRole>>,
    listen: Option<Listen>,
    identity: Option<Spanned<RawIdentity>>,
    log: Option<LogFilter>,
    memory_mib: Option<Memory>,
    agent_type: Option<Spanned<AgentType>>,
    workers: Option<Spanned<Workers>>,
    connect: Option<Spanned<Vec<Peer>>>,
    reconnect_seconds: Option<Spanned<Reconnect>>,
    authority: Option<Spanned<RawAuthority>>,
}

/// A folder with the usual names in it, or a table of files.
enum RawIdentity {
    Folder(PathBuf),
    Files(RawFiles),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFiles {
    certificate: Spanned<PathBuf>,
    key: Spanned<PathBuf>,
    authority: Spanned<PathBuf>,
    revoked: Option<Spanned<PathBuf>>,
}

impl<'de> Deserialize<'de> for RawIdentity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // One of two forms, told apart by hand: an untagged enum would lose the places of faults.
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = RawIdentity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a folder, or a table with `certificate`, `key` and `authority`")
            }

            fn visit_str<E>(self, folder: &str) -> Result<RawIdentity, E> {
                Ok(RawIdentity::Folder(folder.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, files: A) -> Result<RawIdentity, A::Error> {
                RawFiles::deserialize(MapAccessDeserializer::new(files)).map(RawIdentity::Files)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl RawNode {
    fn read(mut sections: Sections<'_>, document: &mut Document<'_>) -> Self {
        let raw = Self {
            name: sections.take("name", document),
            role: sections.take("role", document),
            listen: sections.take_optional("listen", document),
            identity: sections.take_optional("identity", document),
            log: sections.take_optional("log", document),
            memory_mib: sections.take_optional("memory_mib", document),
            agent_type: sections.take_optional("agent_type", document),
            workers: sections.take_optional("workers", document),
            connect: sections.take_optional("connect", document),
            reconnect_seconds: sections.take_optional("reconnect_seconds", document),
            authority: sections.take_optional("authority", document),
        };
        sections.finish(&NODE_KEYS.map(|key| format!("`{key}`")).join(", "), document);
        raw
    }
}

impl NodeFile {
    /// Reads the file of a node on a machine with so many `cores`.
    pub(crate) fn read(file: &Path, overrides: Overrides, cores: NonZeroUsize) -> Result<Self, ConfigError> {
        let text = read_text(file)?;
        let mut document = Document::new(file, &text);
        let sections = document.sections()?;
        sections.expect(Form::Node, &mut document)?;
        Self::parse(&mut document, sections, overrides, cores)
    }

    pub(crate) fn parse(
        document: &mut Document<'_>,
        sections: Sections<'_>,
        overrides: Overrides,
        cores: NonZeroUsize,
    ) -> Result<Self, ConfigError> {
        let raw = RawNode::read(sections, document);
        document.so_far()?;
        let node = node(raw, overrides, cores, document);
        document.so_far()?;
        Ok(node.expect("a node without faults"))
    }
}

fn node(
    raw: RawNode,
    overrides: Overrides,
    cores: NonZeroUsize,
    document: &mut Document<'_>,
) -> Option<NodeFile> {
    let RawNode {
        name,
        role,
        listen,
        identity,
        log,
        memory_mib,
        agent_type,
        workers,
        connect,
        reconnect_seconds,
        authority,
    } = raw;
    let (name, role) = Option::zip(name, role).expect("what must be there is, in a file without faults");
    let listen = overrides.listen.or(listen).map(|Listen(address)| address);
    if listen.is_none() {
        document.fault(0..0, "`listen` is missing, and neither --listen nor SWARM_LISTEN says it");
    }
    let (identity_at, identity) = match (overrides.identity, identity) {
        (Some(folder), _) => {
            if let Some(fault) = no_identity(&folder) {
                let by = overrides.said_by.identity.unwrap_or("--identity");
                document.fault(0..0, format_args!("{fault}; {by} names it"));
            }
            (Place::START, Some(IdentityPaths::in_directory(&folder)))
        }
        (None, Some(identity)) => {
            (document.place(&identity.span()), Some(identity_paths(identity, document)))
        }
        (None, None) => {
            document.fault(0..0, "`identity` is missing, and neither --identity nor SWARM_IDENTITY says it");
            (Place::START, None)
        }
    };
    let authority = authority.and_then(|authority| {
        if *role.get_ref() == NodeRole::Agent {
            document.fault(authority.span(), "`authority` belongs to coordinators, not to an agent");
            return None;
        }
        Some(authority.into_inner().options(listen, document))
    });
    let duty = match role.get_ref() {
        NodeRole::Coordinator => {
            only_for_agents(
                [
                    ("agent_type", agent_type.map(|value| value.span())),
                    ("workers", workers.map(|value| value.span())),
                    ("connect", connect.map(|value| value.span())),
                    ("reconnect_seconds", reconnect_seconds.map(|value| value.span())),
                ],
                document,
            );
            if let Some(flag) = overrides.said_by.for_agents {
                document.fault(role.span(), format_args!("{flag} is for agents, and this is a coordinator"));
            }
            Duty::Coordinator
        }
        NodeRole::Agent => {
            let workers = overrides.workers.or(workers.map(Spanned::into_inner));
            let workers = workers.map_or(cores, |Workers(workers)| workers);
            let reconnect = overrides.reconnect_seconds.or(reconnect_seconds.map(Spanned::into_inner));
            let Reconnect(reconnect) = reconnect.unwrap_or_default();
            if let Some(peers) = &connect {
                no_peer_is_itself(&name, listen, peers, document);
            }
            let (agent_type, connect) = agent(&role, agent_type, connect, document)?;
            Duty::Agent { agent_type, workers, connect, reconnect }
        }
    };
    let log = overrides.log.or(log);
    let said_by = overrides.said_by;
    let (listen, identity, memory) = (listen?, identity?, memory_mib.unwrap_or_default());
    Some(NodeFile { name, listen, identity, identity_at, log, duty, memory, authority, said_by })
}

fn identity_paths(identity: Spanned<RawIdentity>, document: &mut Document<'_>) -> IdentityPaths {
    let span = identity.span();
    match identity.into_inner() {
        RawIdentity::Folder(folder) => {
            let folder = document.resolve(&folder);
            if let Some(fault) = no_identity(&folder) {
                document.fault(span, fault);
            }
            IdentityPaths::in_directory(&folder)
        }
        RawIdentity::Files(RawFiles { certificate, key, authority, revoked }) => {
            let mut path = |path: Spanned<PathBuf>| existing_file(&path, document);
            IdentityPaths {
                certificate: path(certificate),
                key: path(key),
                authority: path(authority),
                revoked: revoked.map(path),
            }
        }
    }
}

/// Why a folder is no identity, where that can be seen from outside.
pub(crate) fn no_identity(folder: &Path) -> Option<String> {
    if folder.join("authority.key.pem").is_file() {
        let shown = folder.display();
        return Some(format!(
            "{shown} is an authority and no identity: `swarm ca issue` makes one with --out"
        ));
    }
    no_folder(folder, "`swarm ca enrol` or `swarm ca issue` makes it with --out")
}

/// Why there is no such folder, and what makes it.
fn no_folder(folder: &Path, made_by: &str) -> Option<String> {
    let shown = folder.display();
    match (folder.is_dir(), folder.exists()) {
        (true, _) => None,
        (false, true) => Some(format!("{shown} is not a directory")),
        (false, false) => Some(format!("there is no folder {shown}: {made_by}")),
    }
}

fn existing_file(path: &Spanned<PathBuf>, document: &mut Document<'_>) -> PathBuf {
    let resolved = document.resolve(path.get_ref());
    let shown = resolved.display();
    match (resolved.is_file(), resolved.is_dir()) {
        (true, _) => {}
        (false, true) => {
            document.fault(path.span(), format_args!("{shown} is a directory, a file is expected"))
        }
        (false, false) => document.fault(path.span(), format_args!("there is no file {shown}")),
    }
    resolved
}

/// Finds fault with keys of a coordinator that mean nothing to it, where they are.
pub(super) fn only_for_agents(
    keys: impl IntoIterator<Item = (&'static str, Option<Range<usize>>)>,
    document: &mut Document<'_>,
) {
    for (key, span) in keys {
        if let Some(span) = span {
            document.fault(span, format_args!("`{key}` belongs to agents, not to a coordinator"));
        }
    }
}

/// Finds fault with entries of `connect` that lead back to the agent.
fn no_peer_is_itself(
    name: &NodeId,
    listen: Option<SocketAddr>,
    peers: &Spanned<Vec<Peer>>,
    document: &mut Document<'_>,
) {
    for peer in peers.get_ref() {
        let address = peer.address.as_str();
        let leads_back = |(listen, peer): (SocketAddr, SocketAddr)| {
            let is_here = listen.ip() == peer.ip() || listen.ip().is_unspecified() && peer.ip().is_loopback();
            is_here && listen.port() == peer.port()
        };
        if listen.zip(address.parse().ok()).is_some_and(leads_back) {
            let message =
                format_args!("an agent connects to others, and {address} is where it listens itself");
            document.fault(peers.span(), message);
        } else if peer.name == *name {
            document.fault(peers.span(), format_args!("an agent connects to others, and {name} is itself"));
        }
    }
}

fn agent(
    role: &Spanned<NodeRole>,
    agent_type: Option<Spanned<AgentType>>,
    connect: Option<Spanned<Vec<Peer>>>,
    document: &mut Document<'_>,
) -> Option<(AgentType, Vec<Peer>)> {
    if let Some(peers) = &connect {
        let mut seen = BTreeSet::new();
        for peer in peers.get_ref().iter().filter(|peer| !seen.insert(&peer.name)) {
            document.fault(peers.span(), format_args!("two entries of `connect` are called {}", peer.name));
        }
    }
    let connect = connect.map(Spanned::into_inner).unwrap_or_default();
    if connect.is_empty() {
        let message = "`connect` is missing: an agent needs name and address of at least one coordinator";
        document.fault(role.span(), message);
    }
    let Some(agent_type) = agent_type else {
        let expected = AgentType::PatternMatcher;
        document.fault(role.span(), format_args!("`agent_type` is missing: {expected} is expected"));
        return None;
    };
    Some((agent_type.into_inner(), connect))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORES: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");

    fn parse(text: &str) -> Result<NodeFile, ConfigError> {
        parse_with(text, Overrides::default())
    }

    fn parse_with(text: &str, overrides: Overrides) -> Result<NodeFile, ConfigError> {
        // Paths are relative to the file: the files named below lie beside this manifest.
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("node.toml");
        let mut document = Document::new(&file, text);
        let sections = document.sections()?;
        NodeFile::parse(&mut document, sections, overrides, CORES)
    }

    fn faults(text: &str) -> Vec<String> {
        match parse(text) {
            Err(ConfigError::Invalid(faults)) => faults
                .iter()
                .map(|fault| format!("{}:{}: {}", fault.line, fault.column, fault.message))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    const AGENT: &str = r#"name = "agent-1"
role = "agent"
listen = "0.0.0.0:0"
agent_type = "pattern-matcher"
connect = [{ name = "hub", address = "10.0.0.1:7400" }]
[identity]
certificate = "Cargo.toml"
key = "Cargo.toml"
authority = "Cargo.toml"
"#;

    #[test]
    fn a_node_file_says_what_to_run_and_who_it_is() {
        let node = parse(AGENT).unwrap();
        assert!(node.identity.key.is_file() && node.identity.key.is_absolute());
        let Duty::Agent { workers, connect, .. } = node.duty else { panic!("an agent") };
        assert_eq!((workers, connect[0].name.as_str()), (CORES, "hub"));
        assert_eq!(connect[0].address.as_str(), "10.0.0.1:7400");
        let coordinator = AGENT
            .replace("\"agent\"", "\"coordinator\"")
            .replace("agent_type = \"pattern-matcher\"\n", "")
            .replace("connect = [{ name = \"hub\", address = \"10.0.0.1:7400\" }]\n", "");
        assert_eq!(parse(&coordinator).unwrap().duty, Duty::Coordinator);
    }

    #[test]
    fn a7_a_node_file_says_how_much_memory_the_node_takes() {
        let said = |line: &str| format!("{line}{AGENT}");
        assert_eq!(parse(AGENT).unwrap().memory.bytes(), 1_536 << 20);
        let small = parse(&said("memory_mib = 96\n")).unwrap().memory;
        assert_eq!((small.bytes(), small.kept_bytes(), small.message_bytes()), (96 << 20, 36 << 20, 4 << 20));
        assert_eq!(faults(&said("memory_mib = 8\n")), ["1:14: 8 MiB of memory, expected are 24 to 1048576"]);
    }

    #[test]
    fn a_coordinator_may_issue_from_an_authority() {
        let hub = "name = \"hub\"\nrole = \"coordinator\"\nlisten = \"0.0.0.0:7400\"\nidentity = \"src\"\n";
        assert_eq!(parse(hub).unwrap().authority, None);
        let section = format!("{hub}[authority]\nfolder = \"src\"\n");
        let options = parse(&section).unwrap().authority.unwrap();
        assert!(options.folder.is_absolute() && options.folder.ends_with("src"));
        assert_eq!((options.enrol, options.lifetime.as_secs()), (None, 90 * 86_400));
        let enrol = parse(&format!("{section}enrol = \"0.0.0.0:7401\"\ndays = 7\n")).unwrap();
        let options = enrol.authority.unwrap();
        assert_eq!(options.enrol, Some("0.0.0.0:7401".parse().unwrap()));
        assert_eq!(options.lifetime.as_secs(), 7 * 86_400);

        for (rest, fault) in [
            ("folder = \"none\"\n", "6:10: there is no folder "),
            ("folder = \"src\"\nenrol = \"here\"\n", "7:9: \"here\" is no address to listen on"),
            ("folder = \"src\"\nenrol = \"0.0.0.0:7400\"\n", "7:9: newcomers need a port of their own"),
            ("folder = \"src\"\ndays = 7\n", "7:8: `days` is for newcomers"),
            ("folder = \"src\"\nenrol = \"0.0.0.0:1\"\ndays = 0\n", "8:8: 1 to 36500 days are expected"),
            ("folder = \"src\"\nenroll = \"0.0.0.0:1\"\n", "7:1: unknown key `enroll`, expected one of"),
            ("enrol = \"0.0.0.0:1\"\n", "5:1: `folder` is missing"),
        ] {
            let found = faults(&format!("{hub}[authority]\n{rest}"));
            assert!(found[0].starts_with(fault), "{rest}: {found:?}");
        }
        let agent = faults(&AGENT.replace("[identity]", "authority = { folder = \"src\" }\n[identity]"));
        assert_eq!(agent, ["6:13: `authority` belongs to coordinators, not to an agent"]);
    }

    #[test]
    fn what_goes_before_the_file_replaces_what_it_says_or_leaves_out() {
        let folder = AGENT.split("[identity]").next().unwrap();
        let said =
            format!("{folder}identity = \"src\"\nlog = \"debug\"\nworkers = 3\nreconnect_seconds = 9\n");
        let node = parse(&said).unwrap();
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert_eq!(node.identity, IdentityPaths::in_directory(&beside));
        assert_eq!(node.log, Some("debug".parse().unwrap()));
        let Duty::Agent { workers, reconnect, .. } = node.duty else { panic!("an agent") };
        assert_eq!((workers.get(), reconnect), (3, Duration::from_secs(9)));

        let overrides = Overrides {
            listen: Some("127.0.0.1:7".parse().unwrap()),
            log: Some("warn".parse().unwrap()),
            workers: Some("5".parse().unwrap()),
            identity: Some("protocols".into()),
            reconnect_seconds: Some("0".parse().unwrap()),
            said_by: SaidBy::default(),
        };
        let silent = folder.replace("listen = \"0.0.0.0:0\"\n", "");
        for text in [said.as_str(), &silent] {
            let node = parse_with(text, overrides.clone()).unwrap();
            assert_eq!(node.listen.port(), 7);
            assert_eq!(node.identity, IdentityPaths::in_directory(Path::new("protocols")));
            assert_eq!(node.log, overrides.log);
            let Duty::Agent { workers, reconnect, .. } = node.duty else { panic!("an agent") };
            assert_eq!((workers.get(), reconnect), (5, Duration::ZERO));
        }
        let missing = faults(&silent);
        assert!(missing[0].starts_with("1:1: `listen` is missing"), "{missing:?}");
        assert!(missing[1].starts_with("1:1: `identity` is missing"), "{missing:?}");
        let wrong = faults(&format!("{folder}log = \"a=loud\"\n"));
        assert!(wrong[0].starts_with("6:7: \"a=loud\" is no filter"), "{wrong:?}");
        let neither = faults(&format!("{folder}identity = 3\n"));
        assert!(neither[0].contains("expected a folder, or a table"), "{neither:?}");
    }

    #[test]
    fn faults_of_a_node_file_have_places() {
        let of_agents = AGENT.replace("\"agent\"", "\"coordinator\"");
        assert_eq!(
            faults(&of_agents),
            [
                "4:14: `agent_type` belongs to agents, not to a coordinator",
                "5:11: `connect` belongs to agents, not to a coordinator",
            ]
        );
        let lonely = AGENT.replace("connect = [{ name = \"hub\", address = \"10.0.0.1:7400\" }]\n", "");
        assert_eq!(
            faults(&lonely),
            ["2:8: `connect` is missing: an agent needs name and address of at least one coordinator"]
        );
        let missing = faults(&AGENT.replacen("Cargo.toml", "none.pem", 1));
        assert!(missing[0].starts_with("7:15: there is no file ") && missing[0].ends_with("none.pem"));
        let misspelt = faults(&AGENT.replace("key =", "kye ="));
        assert!(
            misspelt[0].starts_with("8:1: unknown key `kye`, expected one of `certificate`"),
            "{misspelt:?}"
        );
        let unheard = faults(&AGENT.replace("0.0.0.0:0", "everywhere"));
        assert!(unheard[0].starts_with("3:10: \"everywhere\" is no address to listen on"), "{unheard:?}");
        let crowded = faults(&AGENT.replace("[identity]", "workers = 1025\n[identity]"));
        assert_eq!(crowded, ["6:11: 1025 threads, expected are 1 to 1024"]);
        let hub = "{ name = \"hub\", address = \"10.0.0.1:7400\" }";
        let twice = faults(&AGENT.replace(hub, &format!("{hub}, {hub}")));
        assert_eq!(twice, ["5:11: two entries of `connect` are called hub"]);
        for (listen, address) in [
            ("127.0.0.1:7400", "127.0.0.1:7400"),
            ("0.0.0.0:7400", "127.0.0.1:7400"),
            ("[::1]:7400", "[::1]:7400"),
        ] {
            let itself = faults(&AGENT.replace("0.0.0.0:0", listen).replace("10.0.0.1:7400", address));
            let said = format!("5:11: an agent connects to others, and {address} is where it listens itself");
            assert_eq!(itself, [said]);
        }
        let other_port = AGENT.replace("0.0.0.0:0", "0.0.0.0:7401").replace("10.0.0.1", "127.0.0.1");
        assert!(parse(&other_port).is_ok());
        let itself = faults(&AGENT.replace("\"hub\"", "\"agent-1\""));
        assert_eq!(itself, ["5:11: an agent connects to others, and agent-1 is itself"]);
        let name_alone = faults(&AGENT.replace(hub, "\"hub\""));
        let a_table = "expected a table such as { name = \"hub\", address = \"hub.example:7400\" }";
        assert_eq!(name_alone, [format!("5:12: {a_table}, found the text \"hub\"")]);
        let homeless = AGENT.split("[identity]").next().unwrap().to_owned() + "identity = \"agent-1\"\n";
        let homeless = faults(&homeless);
        assert!(
            homeless[0].starts_with("6:12: there is no folder ") && homeless[0].contains("swarm ca enrol")
        );
        let nowhere = faults(&AGENT.replace("10.0.0.1:7400", "10.0.0.1"));
        assert!(nowhere[0].contains("\"10.0.0.1\" is no address to connect to"), "{nowhere:?}");
        assert!(nowhere[0].starts_with("5:38: "), "{nowhere:?}");
    }
}
