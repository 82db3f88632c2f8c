//! `swarm node`: one node of a swarm in this process.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use clap::Args;
use swarm_actors::enrolment::EnrolmentError;
use swarm_actors::identity::{AuthorityFolder, Identity, IdentityPaths};
use swarm_actors::{ConnectError, Refusal, StartError};
use swarm_protocols::NodeId;
use swarm_protocols::session::Timing;

use super::error::{CliError, Exit};
use super::logging::{self, Form, LogSwitch, Verbosity};
use super::output::on_stdout;
use super::signals::{Reloads, Signals};
use super::system;
use crate::swarm::document::Fault;
use crate::swarm::fleet::reachable;
use crate::swarm::member::{JoinError, Joined, Member, MemberAuthority};
use crate::swarm::node_file::{Duty, NodeFile};
use crate::swarm::node_options::{LogFilter, Memory, Overrides, SaidBy};
use crate::swarm::run_folder::RunFolder;
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
    #[command(flatten)]
    flags: Overrides,
    /// The node that a parent process runs here; it tells the rest on standard input
    #[arg(long, hide = true, requires = "supervised")]
    name: Option<NodeId>,
    /// Answer the parent on standard output, and stop when it closes standard input
    #[arg(long, hide = true, requires = "name")]
    supervised: bool,
    /// Log for people: the parent has a terminal
    #[arg(long, hide = true, requires = "supervised")]
    readable_logs: bool,
}

impl NodeCommand {
    pub(crate) fn run(self) -> Result<(), CliError> {
        match self.name.filter(|_| self.supervised) {
            Some(name) => run_supervised(&name, if self.readable_logs { Form::Readable } else { Form::Json }),
            None => run_file(self.config, self.flags),
        }
    }
}

/// The cores of this machine, for nodes that may compute on all of them.
pub(super) fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A node file with what goes before it, read again for every reload.
struct Configuration {
    file: PathBuf,
    flags: Overrides,
}

impl Configuration {
    /// The node, and what it logs.
    fn read(&self) -> Result<NodeFile, CliError> {
        let overrides = self.flags.clone().or_environment()?;
        NodeFile::read(&self.file, overrides, cores()).map_err(|error| CliError::from(&error))
    }
}

fn run_file(file: PathBuf, flags: Overrides) -> Result<(), CliError> {
    let configuration = Arc::new(Configuration { file, flags });
    let mut node = configuration.read()?;
    let logs = logging::start_with(node.log.take(), Verbosity::Life, Form::of_stderr());
    let identity = identity(&configuration.file, &node)?;
    let authority = authority(&configuration.file, &node, &identity)?;
    let NodeFile { name, listen, duty, memory, identity: paths, said_by, .. } = node;
    let role = identity.role();
    let (identity_now, timing) = (identity.clone(), Timing::default());
    let member = Member { identity: identity_now, listen, duty, memory, timing, authority };
    system::block_on(async {
        let ready = |joined: &Joined| {
            if let Some(address) = joined.enrols_at() {
                tracing::info!("newcomers with a join token are enrolled at {address}");
            }
            tracing::info!("the {role} {name} is ready, it listens on {}", joined.address());
            Ok(())
        };
        let mut reloads = Reloads::listen()?;
        // One after the other: both replace the identity.
        let tend = async |joined: &Joined| {
            let mut keeper = joined.certificate_keeper(paths, identity);
            loop {
                tokio::select! {
                    () = keeper.rest() => {
                        let shown = keeper.act().await.map(|renewed| joined.show_newcomers(&renewed));
                        if let Some(Err(error)) = shown {
                            tracing::error!("newcomers are shown the former certificate: {error}");
                        }
                    }
                    () = reloads.next() => match reload(Arc::clone(&configuration), &logs, joined).await {
                        Ok((paths, identity)) => {
                            keeper.replaced(paths, identity);
                            tracing::info!("certificates and log level were read again");
                        }
                        Err(error) => tracing::error!("not reloaded, what was there before stays: {error}"),
                    },
                }
            }
        };
        run_member(member, said_by, STOP_MAX, std::future::pending(), ready, tend).await
    })
}

/// Reads configuration and identity again, and lets the node go on with them; sessions stay. What else the
/// file says takes a restart.
async fn reload(
    configuration: Arc<Configuration>,
    logs: &LogSwitch,
    joined: &Joined,
) -> Result<(IdentityPaths, Identity), CliError> {
    let read = move || {
        let node = configuration.read()?;
        Ok::<_, CliError>((identity(&configuration.file, &node)?, node))
    };
    let read = tokio::task::spawn_blocking(read).await;
    let (identity, node) = read.map_err(|error| CliError::new(Exit::Failed, error))??;
    let set = joined.set_identity(&identity).await;
    set.map_err(|error| CliError::new(Exit::BadConfiguration, error))?;
    logs.set(node.log);
    Ok((node.identity, identity))
}

/// What a node file names and this machine cannot use.
pub(super) struct Unusable {
    pub(super) fault: Fault,
    pub(super) exit: Exit,
}

impl From<Unusable> for CliError {
    fn from(Unusable { fault, exit }: Unusable) -> Self {
        Self::new(exit, fault)
    }
}

/// The identity of the node that `file` describes, if it can be used now.
pub(super) fn identity(file: &Path, node: &NodeFile) -> Result<Identity, Unusable> {
    let at = |error: CliError| {
        let error = error.said_by(node.said_by.identity);
        Unusable { fault: node.identity_at.fault(file, &error), exit: error.exit() }
    };
    let unusable = |message: &dyn fmt::Display| at(CliError::new(Exit::BadConfiguration, message));
    let paths = &node.identity;
    let identity = Identity::load(paths).map_err(|error| at(error.into()))?;
    let (name, role) = (&node.name, node.duty.role());
    if (identity.id(), identity.role()) != (name, role) {
        let (certified, certified_role) = (identity.id(), identity.role());
        return Err(unusable(&format_args!(
            "this is the file of the {role} {name}, but {} is the certificate of the {certified_role} {certified}",
            paths.certificate.display()
        )));
    }
    // Nobody would talk with it, and it would not learn why.
    let checked = identity.as_peer().check(SystemTime::now());
    checked.map_err(|error| unusable(&format_args!("{}: {error}", paths.certificate.display())))?;
    Ok(identity)
}

/// The authority that a coordinator issues from, if it can be used and is the one that certified the coordinator.
pub(super) fn authority(
    file: &Path,
    node: &NodeFile,
    identity: &Identity,
) -> Result<Option<MemberAuthority>, Unusable> {
    let Some(options) = &node.authority else { return Ok(None) };
    let at = |error: CliError| Unusable { fault: options.folder_at.fault(file, &error), exit: error.exit() };
    let folder = AuthorityFolder::open(&options.folder).map_err(|error| at(error.into()))?;
    identity.issued_by(folder.authority()).map_err(|error| {
        let folder = options.folder.display();
        let message = format_args!("{folder} is not the authority of this coordinator: {error}");
        at(CliError::new(Exit::BadConfiguration, message))
    })?;
    let (enrol, lifetime) = (options.enrol, options.lifetime);
    Ok(Some(MemberAuthority { folder: Arc::new(folder), enrol, lifetime }))
}

fn run_supervised(name: &NodeId, form: Form) -> Result<(), CliError> {
    logging::start_with(LogFilter::of_environment()?, Verbosity::Warnings, form);
    // Nothing runs yet that a blocking read could hold up.
    let Some(assignment) = Assignment::read(io::stdin().lock())
        .map_err(|error| CliError::new(Exit::BadInput, format_args!("the assignment of {name}: {error}")))?
    else {
        return Ok(());
    };
    let identity = assignment.identity().map_err(|error| CliError::new(Exit::BadConfiguration, error))?;
    let Assignment { listen, duty, .. } = assignment;
    let left_by_parent = (duty == Duty::Coordinator).then_some(RunFolder::remove_abandoned);
    let memory = Memory::default();
    let member = Member { identity, listen, duty, memory, timing: TIMING, authority: None };
    let abandoned = end_of_stdin();
    let address = Cell::new(None);
    system::block_on(async {
        let ready = |joined: &Joined| {
            let ready = Ready { address: joined.address(), pid: std::process::id() };
            address.set(Some(ready.address));
            on_stdout(|stdout| ready.write(stdout))
        };
        // A sender that is gone is an end as well.
        let abandoned = async {
            drop(abandoned.await);
            // Nobody else can take the address as long as this node listens on it.
            if let Some((remove, address)) = left_by_parent.zip(address.get()) {
                let _removed = tokio::task::spawn_blocking(move || remove(reachable(address))).await;
            }
        };
        let (said_by, reload) = (SaidBy::default(), async |_: &_| std::future::pending().await);
        run_member(member, said_by, STOP_MAX_SUPERVISED, abandoned, ready, reload).await
    })
}

/// Runs a node until a signal, until it is `abandoned`, or until it has lost its swarm.
async fn run_member(
    member: Member,
    said_by: SaidBy,
    stop_max: Duration,
    abandoned: impl Future<Output = ()>,
    ready: impl FnOnce(&Joined) -> Result<(), CliError>,
    reload: impl AsyncFnOnce(&Joined) -> Infallible,
) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    let mut abandoned = std::pin::pin!(abandoned);
    let joined = tokio::select! {
        joined = member.join() => joined.map_err(|error| {
            let by = matches!(error, JoinError::Start(StartError::Listen { .. })).then_some(said_by.listen);
            CliError::from(error).said_by(by.flatten())
        })?,
        signal = signals.next() => return Err(signal.into()),
        () = &mut abandoned => return Ok(()),
    };
    ready(&joined)?;
    let outcome = tokio::select! {
        lost = joined.lost() => {
            Err(CliError::new(if lost.refused { Exit::NotPermitted } else { Exit::Unavailable }, lost))
        }
        broken = joined.broken() => Err(CliError::new(Exit::Broken, broken)),
        never = reload(&joined) => match never {},
        signal = signals.next() => Err(signal.into()),
        () = &mut abandoned => Ok(()),
    };
    signals.during_stop(joined.stop(stop_max)).await;
    outcome
}

impl From<JoinError> for CliError {
    fn from(error: JoinError) -> Self {
        let exit = match &error {
            JoinError::Start(StartError::Listen { source, .. })
            | JoinError::Enrolment(EnrolmentError::Listen { source, .. }) => match source.kind() {
                // Who has the port may leave it.
                io::ErrorKind::AddrInUse => Exit::TryAgain,
                _ => Exit::of_io(source, Exit::BadConfiguration),
            },
            JoinError::Enrolment(EnrolmentError::Identity(_)) => Exit::BadConfiguration,
            JoinError::Start(
                StartError::TooMuchToSay
                | StartError::UnusableLimits
                | StartError::UnusableTiming
                | StartError::Thread(_),
            )
            | JoinError::Expose(_) => Exit::Failed,
            JoinError::NotACoordinator { .. } => Exit::NotPermitted,
            JoinError::Connect(_) if error.is_refusal() => Exit::NotPermitted,
            JoinError::Connect(ConnectError::Refused { refusal: Refusal::Busy, .. }) => Exit::TryAgain,
            JoinError::Connect(_) => Exit::Unavailable,
        };
        Self::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::member::tests::{coordinator, end_node};
    use std::future::pending;

    #[actix::test]
    async fn t6_a_process_that_no_longer_does_what_it_is_for_ends_with_an_error() {
        let ready = |joined: &Joined| {
            end_node(joined);
            Ok(())
        };
        let reload = async |_: &Joined| pending().await;
        let run = run_member(coordinator(), SaidBy::default(), STOP_MAX, pending(), ready, reload);
        let ended = tokio::time::timeout(Duration::from_secs(20), run).await.expect("the process goes on");
        let error = ended.unwrap_err();
        let expected = (Exit::Broken, "the node has stopped by itself; start it again".to_owned());
        assert_eq!((error.exit(), error.to_string()), expected);
    }
}
