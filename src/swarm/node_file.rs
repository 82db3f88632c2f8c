//! One node as a file: what `swarm node` runs.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use swarm_protocols::similar_windows::PatternMatcher;
use swarm_protocols::{NodeId, Protocol, Role};
use toml::Spanned;

use super::document::{ConfigError, Document, Sections, read_text};

/// A node that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeFile {
    pub(crate) name: NodeId,
    pub(crate) listen: SocketAddr,
    pub(crate) identity: IdentityFiles,
    pub(crate) part: Part,
}

/// What a node does in its swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    Coordinator,
    Agent {
        agent_type: AgentType,
        /// Threads for computing; all cores of the machine without a number.
        workers: NonZeroUsize,
        /// The coordinators it connects to, at least one.
        connect: Vec<Peer>,
    },
}

/// The files in PEM by which a node proves who it is and judges who others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdentityFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) authority: PathBuf,
    /// The list of revoked certificates.
    pub(crate) revoked: Option<PathBuf>,
}

/// A node to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// A number of threads for computing: 1 to 1,024.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Workers(pub(super) NonZeroUsize);

impl TryFrom<i64> for Workers {
    type Error = String;

    fn try_from(threads: i64) -> Result<Self, String> {
        let number = usize::try_from(threads).ok().filter(|threads| *threads <= 1_024);
        let workers = number.and_then(NonZeroUsize::new).map(Self);
        workers.ok_or_else(|| format!("{threads} threads, expected are 1 to 1024"))
    }
}

/// `host:port`, the host an IP address or a name that is looked up when it is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct PeerAddress(String);

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl PeerAddress {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PeerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = text.rsplit_once(':').is_some_and(|(host, port)| {
            let label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
            !host.is_empty() && host.bytes().all(label) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        let numeric = text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0);
        if named || numeric {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is no address to connect to: host and port such as 10.0.0.1:7400 are expected"
            ))
        }
    }
}

impl TryFrom<String> for PeerAddress {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Reads an address to listen on, with a message that shows one.
pub(super) fn listen_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format_args!(
            "{text:?} is no address to listen on: an IP address and a port such as 127.0.0.1:0 are expected"
        ))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    name: NodeId,
    role: Spanned<Role>,
    #[serde(deserialize_with = "listen_address")]
    listen: SocketAddr,
    identity: RawIdentity,
    agent_type: Option<Spanned<AgentType>>,
    workers: Option<Spanned<Workers>>,
    connect: Option<Spanned<Vec<Peer>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIdentity {
    certificate: Spanned<PathBuf>,
    key: Spanned<PathBuf>,
    authority: Spanned<PathBuf>,
    revoked: Option<Spanned<PathBuf>>,
}

impl NodeFile {
    /// Reads the file of a node on a machine with so many `cores`.
    pub(crate) fn read(file: &Path, cores: NonZeroUsize) -> Result<Self, ConfigError> {
        let text = read_text(file)?;
        let mut document = Document::new(file, &text);
        let sections = document.sections()?;
        Self::parse(&mut document, sections, cores)
    }

    pub(crate) fn parse(
        document: &mut Document<'_>,
        sections: Sections<'_>,
        cores: NonZeroUsize,
    ) -> Result<Self, ConfigError> {
        let raw: Option<RawNode> = sections.take_all(document);
        let node = raw.and_then(|raw| {
            let mut path = |path: Spanned<PathBuf>| existing_file(&path, document);
            let RawIdentity { certificate, key, authority, revoked } = raw.identity;
            let identity = IdentityFiles {
                certificate: path(certificate),
                key: path(key),
                authority: path(authority),
                revoked: revoked.map(path),
            };
            let part = match raw.role.get_ref() {
                Role::Coordinator => {
                    only_for_agents(
                        [
                            ("agent_type", raw.agent_type.map(|value| value.span())),
                            ("workers", raw.workers.map(|value| value.span())),
                            ("connect", raw.connect.map(|value| value.span())),
                        ],
                        document,
                    );
                    Part::Coordinator
                }
                Role::Agent => agent(&raw.role, raw.agent_type, raw.workers, raw.connect, cores, document)?,
                Role::Operator => {
                    document.fault(raw.role.span(), NO_OPERATOR);
                    return None;
                }
            };
            Some(Self { name: raw.name, listen: raw.listen, identity, part })
        });
        document.so_far()?;
        Ok(node.expect("a node without faults"))
    }
}

fn existing_file(path: &Spanned<PathBuf>, document: &mut Document<'_>) -> PathBuf {
    let resolved = document.resolve(path.get_ref());
    if !resolved.is_file() {
        document.fault(path.span(), format_args!("there is no file {}", resolved.display()));
    }
    resolved
}

pub(super) const NO_OPERATOR: &str = "an operator is no node to start, expected is coordinator or agent";

/// Finds fault with keys of a coordinator that mean nothing to it, where they are.
pub(super) fn only_for_agents(keys: [(&str, Option<Range<usize>>); 3], document: &mut Document<'_>) {
    for (key, span) in keys {
        if let Some(span) = span {
            document.fault(span, format_args!("`{key}` belongs to agents, not to a coordinator"));
        }
    }
}

fn agent(
    role: &Spanned<Role>,
    agent_type: Option<Spanned<AgentType>>,
    workers: Option<Spanned<Workers>>,
    connect: Option<Spanned<Vec<Peer>>>,
    cores: NonZeroUsize,
    document: &mut Document<'_>,
) -> Option<Part> {
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
    let workers = workers.map_or(cores, |workers| workers.into_inner().0);
    Some(Part::Agent { agent_type: agent_type.into_inner(), workers, connect })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORES: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");

    fn parse(text: &str) -> Result<NodeFile, ConfigError> {
        // Paths are relative to the file: the files named below lie beside this manifest.
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("node.toml");
        let mut document = Document::new(&file, text);
        let sections = document.sections()?;
        NodeFile::parse(&mut document, sections, CORES)
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
        let Part::Agent { workers, connect, .. } = node.part else { panic!("an agent") };
        assert_eq!((workers, connect[0].name.as_str()), (CORES, "hub"));
        assert_eq!(connect[0].address.as_str(), "10.0.0.1:7400");
        let coordinator = AGENT
            .replace("\"agent\"", "\"coordinator\"")
            .replace("agent_type = \"pattern-matcher\"\n", "")
            .replace("connect = [{ name = \"hub\", address = \"10.0.0.1:7400\" }]\n", "");
        assert_eq!(parse(&coordinator).unwrap().part, Part::Coordinator);
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
            misspelt[0].starts_with("8:1: unknown field `kye`, expected one of `certificate`"),
            "{misspelt:?}"
        );
        let unheard = faults(&AGENT.replace("0.0.0.0:0", "everywhere"));
        assert!(unheard[0].starts_with("3:10: \"everywhere\" is no address to listen on"), "{unheard:?}");
        let crowded = faults(&AGENT.replace("[identity]", "workers = 1025\n[identity]"));
        assert_eq!(crowded, ["6:11: 1025 threads, expected are 1 to 1024"]);
        let nowhere = faults(&AGENT.replace("10.0.0.1:7400", "10.0.0.1"));
        assert!(nowhere[0].contains("\"10.0.0.1\" is no address to connect to"), "{nowhere:?}");
        assert!(nowhere[0].starts_with("5:38: "), "{nowhere:?}");
    }

    #[test]
    fn an_address_is_host_and_port() {
        for good in ["10.0.0.1:7400", "[::1]:7400", "hub.swarm.svc:7400"] {
            assert_eq!(good.parse::<PeerAddress>().unwrap().as_str(), good);
        }
        for bad in ["", "hub", ":7400", "hub:0", "hub:70000", "::1:7400", "a b:1", "[::1]", "hub:"] {
            assert!(bad.parse::<PeerAddress>().is_err(), "{bad:?} passed");
        }
    }
}
