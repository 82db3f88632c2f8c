//! `swarm ca enrol`: a first certificate over the network.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use swarm_actors::PeerAddress;
use swarm_actors::enrolment::{EnrolError, enrol};
use swarm_actors::identity::{
    Identity, IdentityPaths, JoinToken, OnExisting, PrivateKeyPem, SigningRequest, TokenRefusal,
    private_folder, write_identity, write_request,
};
use swarm_protocols::NodeId;
use swarm_protocols::certificates::EnrolmentRefusal;

use super::Issued;
use super::enrolment::read_token;
use crate::cli::error::{CliError, Exit};
use crate::cli::logging::{self, Verbosity};
use crate::cli::output::Output;
use crate::cli::system;

#[derive(Debug, Args)]
pub(crate) struct Enrol {
    /// The id of the node
    name: NodeId,
    /// Where a coordinator enrols newcomers: host and port
    #[arg(long, value_name = "ADDR")]
    connect: PeerAddress,
    /// The join token; - reads it from standard input, out of sight of other users of this machine
    #[arg(long)]
    token: String,
    /// The folder for the identity; it is made where there is none
    ///
    /// A key that is in it is used, and nothing that is in it is replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Enrol {
    pub(super) fn run(self, output: Output) -> Result<(), CliError> {
        let Self { name, connect, token, out } = self;
        logging::start(Verbosity::Warnings)?;
        let token = read_token(token)?;
        if token.id != name {
            let refusal = TokenRefusal::OtherName { token: token.id, request: name };
            return Err(CliError::new(Exit::NotPermitted, refusal));
        }
        let certificate = IdentityPaths::in_directory(&out).certificate;
        if certificate.exists() {
            let message = format_args!(
                "{} is there already, so this machine is enrolled: nothing was done",
                certificate.display()
            );
            return Err(CliError::new(Exit::Failed, message));
        }
        let (key, request) = key_in(&out, &name)?;
        let (identity, revoked) = system::block_on(ask(&connect, &token, &key, &request))?;
        write_identity(&out, &identity, &revoked, OnExisting::Replace)?;
        output.print(&Issued { directory: Some(out), ..Issued::new(identity.as_peer()) })
    }
}

/// The key in a folder, or a new one, which is in the folder then: it is there before it is certified, so that
/// whoever loses the answer can ask again.
fn key_in(folder: &Path, name: &NodeId) -> Result<(PrivateKeyPem, SigningRequest), CliError> {
    private_folder(folder)?;
    let path = IdentityPaths::in_directory(folder).key;
    match fs::read_to_string(&path) {
        Ok(key) => {
            let key = PrivateKeyPem::new(key);
            let request = SigningRequest::with_key(name, &key).map_err(|error| {
                CliError::new(Exit::BadConfiguration, format_args!("{}: {error}", path.display()))
            })?;
            Ok((key, request))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (key, request) =
                SigningRequest::new(name).map_err(|error| CliError::new(Exit::Failed, error))?;
            write_request(folder, &key, &request, OnExisting::Refuse)?;
            Ok((key, request))
        }
        Err(error) => {
            let message = format_args!("cannot read {}: {error}", path.display());
            Err(CliError::new(Exit::of_io(&error, Exit::BadConfiguration), message))
        }
    }
}

/// Asks at the addresses of a host, until somebody is there.
async fn ask(
    host: &PeerAddress,
    token: &JoinToken,
    key: &PrivateKeyPem,
    request: &SigningRequest,
) -> Result<(Identity, String), CliError> {
    let unknown = |cause| format!("{} cannot be looked up: {cause}", host.as_str());
    let addresses = host.look_up().await.map_err(|cause| CliError::new(Exit::Unavailable, unknown(cause)))?;
    let mut failure = None;
    for address in addresses {
        match enrol(address, token, key, request).await {
            Err(error @ EnrolError::Unreachable { .. }) => failure = Some(error),
            done => return done.map_err(CliError::from),
        }
    }
    Err(failure.expect("a host that was looked up has an address").into())
}

impl From<EnrolError> for CliError {
    fn from(error: EnrolError) -> Self {
        let exit = match &error {
            EnrolError::Unreachable { .. } | EnrolError::Refused(EnrolmentRefusal::Unavailable) => {
                Exit::Unavailable
            }
            EnrolError::NotTheCoordinator { .. }
            | EnrolError::Refused(EnrolmentRefusal::Token { .. } | EnrolmentRefusal::NameInUse(_)) => {
                Exit::NotPermitted
            }
            EnrolError::Refused(EnrolmentRefusal::Busy { .. }) => Exit::TryAgain,
            EnrolError::BadAnswer { .. } | EnrolError::Refused(EnrolmentRefusal::Malformed { .. }) => {
                Exit::BadInput
            }
        };
        Self::new(exit, error)
    }
}
