//! What a node file may leave to the environment or to flags, which both go before it.

use std::env;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The folder with the identity, of nodes and of operators.
pub(crate) const IDENTITY_VARIABLE: &str = "SWARM_IDENTITY";

/// How long an agent looks for the coordinators that it has lost where nobody says it.
const RECONNECT_DEFAULT: Duration = Duration::from_secs(60);

/// The longest time that it may be told to, a week.
const RECONNECT_SECONDS_MAX: u64 = 7 * 24 * 3600;

/// Options from a place that goes before the node file: a flag before the variable `SWARM_` with the
/// same name, the variable before the file, the file before the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Overrides {
    /// Where to listen, instead of SWARM_LISTEN and what the file says
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<Listen>,
    /// What to log, such as debug, instead of SWARM_LOG and what the file says
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<LogFilter>,
    /// Threads of an agent, instead of SWARM_WORKERS and what the file says
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<Workers>,
    /// The folder with the identity, instead of SWARM_IDENTITY and what the file says
    #[arg(long, value_name = "DIR")]
    pub(crate) identity: Option<PathBuf>,
    /// How long an agent looks for lost coordinators, instead of SWARM_RECONNECT_SECONDS and what
    /// the file says
    #[arg(long, value_name = "SECONDS")]
    pub(crate) reconnect_seconds: Option<Reconnect>,
    #[arg(skip)]
    pub(crate) said_by: SaidBy,
}

/// Which flag or variable says what a machine may not have, for the error about it; `None` where the file says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SaidBy {
    pub(crate) listen: Option<&'static str>,
    pub(crate) identity: Option<&'static str>,
    /// The first flag that is for agents. A variable is for every node of its environment.
    pub(crate) for_agents: Option<&'static str>,
}

/// A variable whose value cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the variable {variable} is {value:?}: {cause}")]
pub(crate) struct BadVariable {
    variable: &'static str,
    value: String,
    cause: String,
}

impl Overrides {
    /// What the environment says where `self` says nothing.
    pub(crate) fn or_environment(self) -> Result<Self, BadVariable> {
        let Self { listen, log, workers, identity, reconnect_seconds, .. } = self;
        let (listen, listen_by) = said(listen, "--listen", "SWARM_LISTEN")?;
        let (identity, identity_by) = identity_said(identity);
        let for_agents = match (workers, reconnect_seconds) {
            (Some(_), _) => Some("--workers"),
            (None, Some(_)) => Some("--reconnect-seconds"),
            (None, None) => None,
        };
        let (workers, _) = said(workers, "--workers", "SWARM_WORKERS")?;
        let (reconnect_seconds, _) =
            said(reconnect_seconds, "--reconnect-seconds", "SWARM_RECONNECT_SECONDS")?;
        let log = log.map_or_else(LogFilter::of_environment, |flag| Ok(Some(flag)))?;
        let said_by = SaidBy { listen: listen_by, identity: identity_by, for_agents };
        Ok(Self { listen, log, workers, identity, reconnect_seconds, said_by })
    }
}

/// The folder with an identity that the flag `--identity` says, or else the environment, and which of the two it was.
pub(crate) fn identity_said(flag: Option<PathBuf>) -> (Option<PathBuf>, Option<&'static str>) {
    let of_environment = || env::var_os(IDENTITY_VARIABLE).filter(|folder| !folder.is_empty());
    match flag {
        Some(folder) => (Some(folder), Some("--identity")),
        None => match of_environment() {
            Some(folder) => (Some(folder.into()), Some(IDENTITY_VARIABLE)),
            None => (None, None),
        },
    }
}

/// What a flag says, or else a variable, and which of the two it was.
fn said<T: FromStr<Err: ToString>>(
    flag: Option<T>,
    flag_name: &'static str,
    variable_name: &'static str,
) -> Result<(Option<T>, Option<&'static str>), BadVariable> {
    let (value, name) = match flag {
        Some(value) => (Some(value), flag_name),
        None => (variable(variable_name)?, variable_name),
    };
    let by = value.is_some().then_some(name);
    Ok((value, by))
}

/// The value of a variable; an empty one says nothing.
fn variable<T: FromStr<Err: ToString>>(variable: &'static str) -> Result<Option<T>, BadVariable> {
    let Some(value) = env::var_os(variable).filter(|value| !value.is_empty()) else { return Ok(None) };
    let value = value.to_string_lossy().into_owned();
    match value.parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(cause) => Err(BadVariable { variable, value, cause: cause.to_string() }),
    }
}

/// An address to listen on, of this machine alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Listen(pub(crate) SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: SocketAddr = text.parse().map_err(|_| {
            format!("{text:?} is no address to listen on: an IP address and a port such as 127.0.0.1:0 are expected")
        })?;
        let of_many = match address.ip() {
            IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_multicast(),
        };
        if of_many {
            return Err(format!("{text} is no address to listen on: it is that of many machines"));
        }
        Ok(Self(address))
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What is logged: a level, or levels of parts of the program, as in `info,swarm_actors=debug`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct LogFilter(String);

impl LogFilter {
    pub(crate) fn filter(&self) -> EnvFilter {
        EnvFilter::try_new(&self.0).expect("checked when it was made")
    }

    /// What the environment wants to be logged.
    pub(crate) fn of_environment() -> Result<Option<Self>, BadVariable> {
        Ok(variable("SWARM_LOG")?.or(variable("RUST_LOG")?))
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // `EnvFilter` takes any word for a target, of which nothing is logged.
        if let Some(word) = text.split(',').find(|part| !is_directive(part)) {
            return Err(format!(
                "{text:?} is no filter for logs: {word:?} is neither a level (error, warn, info, debug, trace, off) \
                 nor TARGET=LEVEL"
            ));
        }
        match EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(format!("{text:?} is no filter for logs: {error}")),
        }
    }
}

/// Whether a part of a filter says a level, or is a target of ours, which is then logged at every level.
fn is_directive(part: &str) -> bool {
    let target = part.split("::").next().unwrap_or_default();
    let ours = ["audit", "swarm", "swarm_actors", "swarm_protocols", "actix_swarm"].contains(&target);
    let level = !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    level || ours || part.contains(['=', '[', ']', '}'])
}

impl TryFrom<String> for LogFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A number of threads for computing: 1 to 1,024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub(crate) struct Workers(pub(crate) NonZeroUsize);

impl TryFrom<i64> for Workers {
    type Error = String;

    fn try_from(threads: i64) -> Result<Self, String> {
        let number = usize::try_from(threads).ok().filter(|threads| *threads <= 1_024);
        let workers = number.and_then(NonZeroUsize::new).map(Self);
        workers.ok_or_else(|| format!("{threads} threads, expected are 1 to 1024"))
    }
}

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<i64>().map_err(|_| "a number of threads, 1 to 1024, is expected")?.try_into()
    }
}

/// How much memory a node takes for its peers, in MiB: 24 to 1,048,576.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub(crate) struct Memory(usize);

impl Memory {
    pub(crate) fn bytes(self) -> usize {
        self.0 << 20
    }

    /// What its actors keep: a coordinator tasks, answers and content, an agent content.
    pub(crate) fn kept_bytes(self) -> usize {
        self.bytes() / 8 * 3
    }

    /// The longest message for which there is room beside others.
    pub(crate) fn message_bytes(self) -> u64 {
        self.bytes() as u64 / 24
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self(1_536)
    }
}

impl TryFrom<i64> for Memory {
    type Error = String;

    fn try_from(mib: i64) -> Result<Self, String> {
        let memory = usize::try_from(mib).ok().filter(|mib| (24..=1 << 20).contains(mib)).map(Self);
        memory.ok_or_else(|| format!("{mib} MiB of memory, expected are 24 to 1048576"))
    }
}

/// How long an agent looks for coordinators that it has lost, in whole seconds; with none it ends at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub(crate) struct Reconnect(pub(crate) Duration);

impl Default for Reconnect {
    fn default() -> Self {
        Self(RECONNECT_DEFAULT)
    }
}

impl TryFrom<i64> for Reconnect {
    type Error = String;

    fn try_from(seconds: i64) -> Result<Self, String> {
        let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds <= RECONNECT_SECONDS_MAX);
        let time = seconds.map(|seconds| Self(Duration::from_secs(seconds)));
        time.ok_or_else(|| format!("0 to {RECONNECT_SECONDS_MAX} seconds are expected"))
    }
}

impl FromStr for Reconnect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<i64>().map_err(|_| "a whole number of seconds is expected")?.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked_wherever_they_come_from() {
        assert!("info,swarm_actors=debug".parse::<LogFilter>().is_ok());
        assert!("swarm_actors=loud".parse::<LogFilter>().unwrap_err().contains("is no filter for logs"));
        for good in [
            "info",
            "WARN",
            "off",
            "info,quinn=debug",
            "warn,audit",
            "swarm_actors::session",
            "[ask{node}]=info",
        ] {
            assert!(good.parse::<LogFilter>().is_ok(), "{good:?} was refused");
        }
        for bad in ["wran", "loud", "", "info,", "info,degub", "swarm_actor"] {
            let refused = bad.parse::<LogFilter>().unwrap_err();
            assert!(refused.contains("is neither a level"), "{refused}");
        }
        assert_eq!("0".parse::<Reconnect>(), Ok(Reconnect(Duration::ZERO)));
        for bad in ["-1", "604801", "soon", ""] {
            assert!(bad.parse::<Reconnect>().is_err(), "{bad:?} passed");
        }
        assert_eq!((Memory::try_from(24), Memory::try_from(1 << 20)), (Ok(Memory(24)), Ok(Memory(1 << 20))));
        for bad in [-1, 0, 23, (1 << 20) + 1] {
            assert!(Memory::try_from(bad).is_err(), "{bad} passed");
        }
        for bad in ["0", "1025", "many"] {
            assert!(bad.parse::<Workers>().is_err(), "{bad:?} passed");
        }
    }
}
