//! What every command for a running swarm begins with: an identity, an address, a session.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use swarm_actors::identity::Identity;
use swarm_actors::task::SubmitError;
use swarm_actors::transport::{NOBODY_LISTENS, is_port_closed};
use swarm_actors::{AskError, ConnectError, PeerAddress, Refusal, Wanted};
use swarm_protocols::content_store::StoreError;
use swarm_protocols::coordinator::TaskError;
use swarm_protocols::session::Timing;
use swarm_protocols::{DeliveryError, Role};

use super::error::{CliError, Exit};
use super::logging::{self, Verbosity};
use super::signals::Signals;
use super::system;
use crate::swarm::node_file::no_identity;
use crate::swarm::node_options::{IDENTITY_VARIABLE, identity_said};
use crate::swarm::operator::{JobError, Operator};
use crate::swarm::run_folder::RunFolder;

/// How long a coordinator has to open a session: somebody is waiting.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// How long the system may take to say that nobody listens on a port of this machine.
const ICMP_MAX: Duration = Duration::from_secs(1);

/// How long taking leave may take.
const LEAVE_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Where the coordinator listens: host and port
    #[arg(long, value_name = "ADDR")]
    connect: PeerAddress,
    /// The folder with the identity of an operator; by default that in SWARM_IDENTITY, else the one that
    /// `swarm up --keep` left for ADDR
    #[arg(long, value_name = "DIR")]
    identity: Option<PathBuf>,
}

/// The same where the work can be done on this machine as well.
#[derive(Debug, Args)]
pub(crate) struct MaybeConnection {
    /// Have the agents of a swarm do it: host and port of their coordinator; the answer is the same
    #[arg(long, value_name = "ADDR")]
    connect: Option<PeerAddress>,
    /// The folder with the identity of an operator; by default that in SWARM_IDENTITY, else the one that
    /// `swarm up --keep` left for ADDR
    #[arg(long, value_name = "DIR", requires = "connect")]
    identity: Option<PathBuf>,
}

impl MaybeConnection {
    /// How the swarm is reached, if one is to do it.
    pub(super) fn given(&self) -> Option<Connection> {
        let connect = self.connect.clone()?;
        Some(Connection { connect, identity: self.identity.clone() })
    }
}

impl Connection {
    /// Does `work` in a session with the coordinator, unless a signal comes first, and ends the session.
    pub(super) fn run<T>(
        self,
        work: impl AsyncFnOnce(&Operator, SocketAddr) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        logging::start(Verbosity::Warnings)?;
        system::block_on(async {
            let mut signals = Signals::listen()?;
            let (operator, address) = tokio::select! {
                operator = self.open() => operator?,
                signal = signals.next() => return Err(signal.into()),
            };
            let outcome = tokio::select! {
                outcome = work(&operator, address) => outcome,
                signal = signals.next() => Err(signal.into()),
            };
            let leave = async { drop(tokio::time::timeout(LEAVE_MAX, operator.leave()).await) };
            signals.during_stop(leave).await;
            outcome
        })
    }

    async fn open(self) -> Result<(Operator, SocketAddr), CliError> {
        let host = self.connect.as_str();
        let addresses = self.connect.look_up().await.map_err(|cause| {
            CliError::new(Exit::Unavailable, format_args!("{host} cannot be looked up: {cause}"))
        })?;
        let identity = self.identity(&addresses).await?;
        let wanted = Wanted::Any(Role::Coordinator);
        let timing = Timing { handshake: HANDSHAKE_MAX, ..Timing::default() };
        let connected =
            PeerAddress::first_that_answers(&addresses, async |address| {
                match Operator::connect(identity.clone(), wanted.clone(), address, timing).await {
                    Err(JobError::Connect(error)) => Err(error),
                    connected => Ok((connected, address)),
                }
            });
        let (operator, address) = connected.await.map_err(JobError::from)?;
        Ok((operator?, address))
    }

    async fn identity(&self, addresses: &[SocketAddr]) -> Result<Identity, CliError> {
        let (named, by) = identity_said(self.identity.clone());
        let folder = match named {
            Some(folder) => folder,
            None => self.left_by_up(addresses).await?,
        };
        operator_identity(&folder).map_err(|error| error.said_by(by))
    }

    /// The folder that `swarm up --keep` has left for one of the addresses.
    async fn left_by_up(&self, addresses: &[SocketAddr]) -> Result<PathBuf, CliError> {
        for address in addresses {
            let found = RunFolder::find(*address);
            if let Some(folder) = found.map_err(|error| CliError::new(Exit::BadConfiguration, error))? {
                return Ok(folder);
            }
        }
        let mut closed = None;
        for address in addresses {
            if !is_port_closed(*address, ICMP_MAX).await {
                closed = None;
                break;
            }
            closed = Some(*address);
        }
        // An identity would be of no use.
        if let Some(address) = closed {
            let (peer, reason) = (Wanted::Any(Role::Coordinator), NOBODY_LISTENS.to_owned());
            return Err(JobError::Connect(ConnectError::Unreachable { peer, address, reason }).into());
        }
        let host = self.connect.as_str();
        let message = format_args!(
            "no identity for {host}: name a folder with --identity or {IDENTITY_VARIABLE}, \
             no `swarm up --keep` of this user has its coordinator there"
        );
        Err(CliError::new(Exit::BadConfiguration, message))
    }
}

/// Reads the identity of an operator. Another one is of no use here, and would end the session of the node
/// whose it is.
fn operator_identity(folder: &Path) -> Result<Identity, CliError> {
    if let Some(fault) = no_identity(folder) {
        return Err(CliError::new(Exit::BadConfiguration, fault));
    }
    let identity = Identity::load_directory(folder)?;
    if identity.role() != Role::Operator {
        let (id, role, folder) = (identity.id(), identity.role(), folder.display());
        let message = format_args!("the identity in {folder} is that of the {role} {id}, not of an operator");
        return Err(CliError::new(Exit::NotPermitted, message));
    }
    Ok(identity)
}

impl From<JobError> for CliError {
    fn from(error: JobError) -> Self {
        let exit = match &error {
            JobError::Connect(ConnectError::Refused { refusal: Refusal::Certificate, .. }) => {
                Exit::NotPermitted
            }
            JobError::Connect(ConnectError::Refused { refusal: Refusal::Busy, .. }) => Exit::TryAgain,
            JobError::Connect(_) | JobError::Resolve(_) => Exit::Unavailable,
            JobError::Start(_) => Exit::Failed,
            JobError::Question(AskError::Delivery(error)) | JobError::Task(SubmitError::Delivery(error)) => {
                undelivered(error)
            }
            // What is missing at last was evicted as often as it was given.
            JobError::Task(
                SubmitError::Task(TaskError::QueueFull { .. } | TaskError::MissingContent { .. })
                | SubmitError::Store(StoreError::Full { .. }),
            ) => Exit::TryAgain,
            JobError::Question(AskError::Handler(never)) => match *never {},
            JobError::TooMuch { .. } => Exit::Usage,
            JobError::Content(_) | JobError::Task(_) | JobError::Merge(_) => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

fn undelivered(error: &DeliveryError) -> Exit {
    match error {
        DeliveryError::NotPermitted { .. } => Exit::NotPermitted,
        DeliveryError::Overloaded { .. } => Exit::TryAgain,
        DeliveryError::Draining
        | DeliveryError::Stopped
        | DeliveryError::TimedOut { .. }
        | DeliveryError::SessionLost { .. } => Exit::Unavailable,
        _ => Exit::Failed,
    }
}
