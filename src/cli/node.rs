//! `swarm node`: one node of a swarm in this process.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use swarm_actors::StartError;
use swarm_actors::identity::{Identity, IdentityPaths};
use swarm_protocols::session::Timing;
use swarm_protocols::{NodeId, Role};

use super::error::{CliError, Exit};
use super::logging::{self, Verbosity};
use super::output::on_stdout;
use super::signals::Signals;
use super::system;
use crate::swarm::member::{JoinError, Joined, Member};
use crate::swarm::node_file::{IdentityFiles, NodeFile, Part};
use crate::swarm::supervision::{Assignment, Ready, TIMING, end_of_stdin};

/// How long a node takes to stop at the most.
const STOP_MAX: Duration = Duration::from_secs(20);

/// The same under a parent, which wants no more answers.
const STOP_MAX_SUPERVISED: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct NodeCommand {
    /// A node file in TOML
    #[arg(long, value_name = "NODE.toml")]
    config: PathBuf,
    /// The node that a parent process runs here; it tells the rest on standard input
    #[arg(long, hide = true, requires = "supervised")]
    name: Option<NodeId>,
    /// Answer the parent on standard output, and stop when it closes standard input
    #[arg(long, hide = true, requires = "name")]
    supervised: bool,
}

impl NodeCommand {
    pub(crate) fn run(self) -> Result<(), CliError> {
        match self.name.filter(|_| self.supervised) {
            Some(name) => run_supervised(&name),
            None => run_file(&self.config),
        }
    }
}

/// The cores of this machine, for nodes that may compute on all of them.
pub(super) fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn run_file(file: &Path) -> Result<(), CliError> {
    logging::start(Verbosity::Life)?;
    let NodeFile { name, listen, identity, part } =
        NodeFile::read(file, cores()).map_err(|error| CliError::from(&error))?;
    let IdentityFiles { certificate, key, authority, revoked } = identity;
    let paths = IdentityPaths { certificate, key, authority, revoked };
    let identity = Identity::load(&paths).map_err(|error| CliError::new(Exit::BadConfiguration, error))?;
    let role = match part {
        Part::Coordinator => Role::Coordinator,
        Part::Agent { .. } => Role::Agent,
    };
    if (identity.id(), identity.role()) != (&name, role) {
        let (certified, certified_role) = (identity.id(), identity.role());
        let message = format!(
            "{} is the file of the {role} {name}, but {} is the certificate of the {certified_role} {certified}",
            file.display(),
            paths.certificate.display()
        );
        return Err(CliError::new(Exit::BadConfiguration, message));
    }
    let member = Member { identity, listen, part, timing: Timing::default() };
    system::block_on(async {
        let ready = |joined: &Joined| {
            tracing::info!("the {role} {name} is ready, it listens on {}", joined.address());
            Ok(())
        };
        run_member(member, STOP_MAX, std::future::pending(), ready).await
    })
}

fn run_supervised(name: &NodeId) -> Result<(), CliError> {
    logging::start(Verbosity::Warnings)?;
    // Nothing runs yet that a blocking read could hold up.
    let Some(assignment) = Assignment::read(io::stdin().lock())
        .map_err(|error| CliError::new(Exit::BadInput, format_args!("the assignment of {name}: {error}")))?
    else {
        return Ok(());
    };
    let identity = assignment.identity().map_err(|error| CliError::new(Exit::BadConfiguration, error))?;
    let Assignment { listen, part, .. } = assignment;
    let member = Member { identity, listen, part, timing: TIMING };
    let abandoned = end_of_stdin();
    system::block_on(async {
        let ready = |joined: &Joined| {
            let ready = Ready { address: joined.address(), pid: std::process::id() };
            on_stdout(|stdout| ready.write(stdout))
        };
        // A sender that is gone is an end as well.
        let abandoned = async { drop(abandoned.await) };
        run_member(member, STOP_MAX_SUPERVISED, abandoned, ready).await
    })
}

/// Runs a node until a signal, until it is `abandoned`, or until it has lost its swarm.
async fn run_member(
    member: Member,
    stop_max: Duration,
    abandoned: impl Future<Output = ()>,
    ready: impl FnOnce(&Joined) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    let mut abandoned = std::pin::pin!(abandoned);
    let mut joined = tokio::select! {
        joined = member.join() => joined?,
        signal = signals.next() => return Err(signal.into()),
        () = &mut abandoned => return Ok(()),
    };
    ready(&joined)?;
    let outcome = tokio::select! {
        lost = joined.lost() => Err(CliError::new(Exit::Unavailable, lost)),
        signal = signals.next() => Err(signal.into()),
        () = &mut abandoned => Ok(()),
    };
    signals.during_stop(joined.stop(stop_max)).await;
    outcome
}

impl From<JoinError> for CliError {
    fn from(error: JoinError) -> Self {
        let exit = match error {
            JoinError::Start(StartError::Listen { .. }) => Exit::BadConfiguration,
            JoinError::Start(StartError::TooMuchToSay | StartError::LimitOfZero) | JoinError::Expose(_) => {
                Exit::Failed
            }
            JoinError::Lookup { .. } | JoinError::Connect(_) => Exit::Unavailable,
        };
        Self::new(exit, error)
    }
}
