//! `swarm ca`: the certificate authority of a cluster, in a folder.

mod enrol;
mod enrolment;
mod show;
mod trust;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use serde::Serialize;
use swarm_actors::identity::{
    AuthorityError, AuthorityFolder, FolderError, Identity, IdentityError, IdentityFault, IdentityPaths,
    OnExisting, PeerIdentity, Validity, private_folder, rfc3339,
};
use swarm_protocols::{NodeId, Role};

use super::error::{CliError, Exit};
use super::number::within;
use super::output::Output;
use trust::Trust;

/// How long a node's certificate holds where nothing else is said.
const NODE_DAYS: u32 = 90;

/// The same of an authority.
const AUTHORITY_DAYS: u32 = 3_650;

/// The longest life of a certificate, in days: a hundred years.
const DAYS_MAX: u32 = 36_500;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Make an authority in a new folder; it never replaces another one
    Init(Init),
    /// Issue a certificate with a new key
    Issue(Issue),
    /// Issue a renewed certificate for a node, in its role and with a new key, before the former one expires
    ///
    /// The former certificate holds until it expires, so that sessions go on. Nodes whose coordinator has an
    /// `[authority]` renew theirs by themselves. Where there is none, `swarm ca token`, `request` and `sign` renew
    /// the certificate of a key that stays on its machine.
    Renew(Renew),
    /// Revoke every certificate of a node, and its unused join tokens
    ///
    /// A coordinator that issues from this folder, and its agents, take the new list by themselves. Every other
    /// node has to be given the new `revoked.pem` of the authority.
    Revoke(Revoke),
    /// List what was issued
    Show(show::Show),
    /// Make a one-time token with which a machine gets a certificate for a key of its own
    ///
    /// The token is printed once and kept nowhere: the authority remembers its digest.
    Token(enrolment::MakeToken),
    /// Make a key and a signing request, on the machine where the key is to stay
    ///
    /// The folder becomes the node's identity folder: put the signed certificate into it as `node.pem`, and
    /// `authority.pem` and `revoked.pem` of the authority.
    Request(enrolment::Request),
    /// Sign a request that comes with a join token, once
    Sign(enrolment::Sign),
    /// Get a certificate from a coordinator that enrols newcomers, with a key that is made here and stays here
    ///
    /// The join token holds the fingerprint of the authority, by which the coordinator is recognised: nothing is trusted
    /// on first use, and the token is sent to nobody else. The folder is then what a node file calls its identity. Where
    /// the answer was lost, the same command gets the same certificate until the token expires.
    Enrol(enrol::Enrol),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The folder to make
    dir: PathBuf,
    /// The name of the cluster
    #[arg(long, default_value = "swarm")]
    name: String,
    /// How long the authority's own certificate holds, in days
    #[arg(long, default_value_t = AUTHORITY_DAYS, value_parser = within(1..=DAYS_MAX))]
    days: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// The folder of the authority
    dir: PathBuf,
    /// The id of the node
    name: NodeId,
    /// What the node may be: coordinator, agent or operator
    #[arg(long)]
    role: Role,
    #[command(flatten)]
    term: Term,
    #[command(flatten)]
    trust: Trust,
    /// The folder for the identity; it is made where there is none
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the identity in the folder, and issue a second certificate for a name that has one
    #[arg(long)]
    force: bool,
}

/// How long a certificate is to hold.
#[derive(Debug, Args)]
struct Term {
    /// How long the certificate holds, in days
    #[arg(long, default_value_t = NODE_DAYS, value_parser = within(1..=DAYS_MAX))]
    days: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Renew {
    /// The folder of the authority
    dir: PathBuf,
    /// The id of the node
    name: NodeId,
    #[command(flatten)]
    term: Term,
    #[command(flatten)]
    trust: Trust,
    /// The folder for the identity; the one of the same node that is in it is replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace what is in the folder, even if it is no identity of the same node
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The folder of the authority
    dir: PathBuf,
    /// The id of the node
    name: NodeId,
}

impl Ca {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        match self {
            Ca::Init(command) => command.run(output),
            Ca::Issue(command) => command.run(output),
            Ca::Renew(command) => command.run(output),
            Ca::Revoke(command) => command.run(output),
            Ca::Show(command) => command.run(output),
            Ca::Token(command) => command.run(output),
            Ca::Request(command) => command.run(output),
            Ca::Sign(command) => command.run(output),
            Ca::Enrol(command) => command.run(output),
        }
    }
}

fn lasting(days: u32) -> Result<Validity, CliError> {
    Validity::starting(SystemTime::now(), DAY * days).map_err(|error| CliError::new(Exit::Usage, error))
}

fn on_existing(force: bool) -> OnExisting {
    if force { OnExisting::Replace } else { OnExisting::Refuse }
}

/// Refuses before anything is issued, so that no certificate is in the register that nobody has.
fn vacant(path: &Path, force: bool) -> Result<(), CliError> {
    if force || !path.exists() {
        return Ok(());
    }
    let message = format_args!("{} is there already: --force replaces it", path.display());
    Err(CliError::new(Exit::Failed, message))
}

/// Issues what goes into a folder, which has to be there before anything is in the register; a new one is taken away
/// again where nothing was issued.
fn into_folder<T>(out: &Path, issue: impl FnOnce() -> Result<T, FolderError>) -> Result<T, CliError> {
    let is_new = !out.exists();
    private_folder(out)?;
    issue().map_err(|error| {
        if is_new {
            let _still_empty = fs::remove_dir(out);
        }
        error.into()
    })
}

#[derive(Serialize)]
struct Made {
    directory: PathBuf,
    cluster: String,
    fingerprint: String,
    valid_until: String,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, cluster, fingerprint, valid_until } = self;
        writeln!(f, "{} is the authority of {cluster} until {valid_until}", directory.display())?;
        writeln!(f, "SHA-256 {fingerprint}")
    }
}

impl Init {
    fn run(self, output: Output) -> Result<(), CliError> {
        let Self { dir, name, days } = self;
        let folder = AuthorityFolder::init(&dir, &name, lasting(days)?).map_err(|error| match error {
            FolderError::Authority(error @ AuthorityError::ClusterName(_)) => {
                CliError::new(Exit::Usage, error)
            }
            error => error.into(),
        })?;
        let authority = folder.authority();
        output.print(&Made {
            fingerprint: authority.fingerprint(),
            valid_until: rfc3339(authority.valid_until()),
            cluster: name,
            directory: dir,
        })
    }
}

/// A certificate that was issued, and where it is.
#[derive(Serialize)]
struct Issued {
    name: NodeId,
    role: Role,
    serial: String,
    valid_from: String,
    valid_until: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<PathBuf>,
}

impl Issued {
    fn new(peer: &PeerIdentity) -> Self {
        Self {
            name: peer.id.clone(),
            role: peer.role,
            serial: peer.serial.to_string(),
            valid_from: rfc3339(peer.valid_from),
            valid_until: rfc3339(peer.valid_until),
            directory: None,
            certificate: None,
        }
    }
}

impl fmt::Display for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, role, serial, valid_until, directory, certificate, .. } = self;
        write!(f, "{name} is {role} until {valid_until}, serial {serial}")?;
        match directory.as_ref().or(certificate.as_ref()) {
            Some(place) => writeln!(f, ": {}", place.display())?,
            None => writeln!(f)?,
        }
        if certificate.is_some() {
            writeln!(
                f,
                "it goes into the identity folder as node.pem, with authority.pem and revoked.pem of the authority"
            )?;
        }
        Ok(())
    }
}

impl Issue {
    fn run(self, output: Output) -> Result<(), CliError> {
        let Self { dir, name, role, term, trust, out, force } = self;
        let paths = IdentityPaths::in_directory(&out);
        vacant(&paths.key, force)?;
        vacant(&paths.certificate, force)?;
        let folder = AuthorityFolder::open(&dir)?;
        let trusted = trust.read()?;
        let validity = lasting(term.days)?;
        let identity = into_folder(&out, || folder.issue(&name, role, validity, on_existing(force)))?;
        trusted.hand_out(&folder, &identity, out, on_existing(force), output)
    }
}

impl Renew {
    fn run(self, output: Output) -> Result<(), CliError> {
        let Self { dir, name, term, trust, out, force } = self;
        let folder = AuthorityFolder::open(&dir)?;
        let paths = IdentityPaths::in_directory(&out);
        if !force && (paths.certificate.exists() || paths.key.exists()) {
            // The list is written anew with the rest.
            let held = Identity::load(&IdentityPaths { revoked: None, ..paths })?;
            if *held.id() != name {
                let message = format_args!("{} is the identity of {}", out.display(), held.id());
                return Err(CliError::new(Exit::Failed, message));
            }
        }
        let trusted = trust.read()?;
        let validity = lasting(term.days)?;
        let identity = into_folder(&out, || folder.renew(&name, validity))?;
        trusted.hand_out(&folder, &identity, out, OnExisting::Replace, output)
    }
}

#[derive(Serialize)]
struct Revoked {
    name: NodeId,
    revoked: Vec<String>,
    list: PathBuf,
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revoked.as_slice() {
            [] => writeln!(f, "{} has no certificate that holds", self.name)?,
            serials => writeln!(f, "revoked of {}: {}", self.name, serials.join(", "))?,
        }
        writeln!(
            f,
            "A coordinator with this authority and its agents take the new list by themselves; \
             every other node needs {}",
            self.list.display()
        )
    }
}

impl Revoke {
    fn run(self, output: Output) -> Result<(), CliError> {
        let Self { dir, name } = self;
        let revoked = AuthorityFolder::open(&dir)?.revoke(&name, SystemTime::now())?;
        let revoked = revoked.iter().map(ToString::to_string).collect();
        output.print(&Revoked { name, revoked, list: dir.join("revoked.pem") })
    }
}

impl From<FolderError> for CliError {
    fn from(error: FolderError) -> Self {
        let exit = match &error {
            FolderError::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidData => {
                    Exit::BadConfiguration
                }
                _ => Exit::of_io(source, Exit::Failed),
            },
            FolderError::Exposed { .. } | FolderError::Token(_) | FolderError::NotTheHolder(_) => {
                Exit::NotPermitted
            }
            FolderError::Register { .. } | FolderError::NoAuthority { .. } => Exit::BadConfiguration,
            FolderError::Identity(error) => exit_of(error),
            FolderError::TooOften(_) => Exit::TryAgain,
            FolderError::NotDue(_)
            | FolderError::AuthorityEnds(_)
            | FolderError::AlreadyThere(_)
            | FolderError::Authority(_)
            | FolderError::NameInUse { .. }
            | FolderError::UnknownName(_)
            | FolderError::WasRevoked(_) => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<IdentityError> for CliError {
    fn from(error: IdentityError) -> Self {
        Self::new(exit_of(&error), error)
    }
}

fn exit_of(error: &IdentityError) -> Exit {
    match &error.fault {
        IdentityFault::Unreadable(source) => Exit::of_io(source, Exit::BadConfiguration),
        _ => Exit::BadConfiguration,
    }
}
