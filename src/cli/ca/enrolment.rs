//! `swarm ca token`, `request` and `sign`: a certificate for a key that never leaves its machine.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use serde::Serialize;
use swarm_actors::identity::{
    AuthorityFolder, IdentityPaths, JoinToken, SigningRequest, TokenRefusal, create_file, rfc3339,
    write_request,
};
use swarm_protocols::{NodeId, Role};

use super::{Issued, Term, lasting, on_existing, vacant};
use crate::cli::error::{CliError, Exit};
use crate::cli::number::within;
use crate::cli::output::Output;

/// The longest signing request that is read, in bytes: that of a name of 63 has 500.
const REQUEST_BYTES_MAX: u64 = 64 << 10;

/// The longest token that is read, in bytes.
const TOKEN_BYTES_MAX: u64 = 4 << 10;

#[derive(Debug, Args)]
pub(crate) struct MakeToken {
    /// The folder of the authority
    dir: PathBuf,
    /// The id of the node that is to join
    name: NodeId,
    /// What the node may be: coordinator, agent or operator
    #[arg(long)]
    role: Role,
    /// How long the token is good, in seconds; at most 30 days
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600, value_parser = within(1..=2_592_000_u64))]
    expires: u64,
}

#[derive(Serialize)]
struct Token<'a> {
    token: &'a str,
    name: &'a NodeId,
    role: Role,
    expires: String,
    authority: &'a str,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing else, so that a shell can take it as it is.
        writeln!(f, "{}", self.token)
    }
}

impl MakeToken {
    pub(super) fn run(self, output: Output) -> Result<(), CliError> {
        let Self { dir, name, role, expires } = self;
        let expires = SystemTime::now() + Duration::from_secs(expires);
        let token = AuthorityFolder::open(&dir)?.join_token(&name, role, expires)?;
        output.print(&Token {
            token: token.as_str(),
            name: &token.id,
            role,
            expires: rfc3339(token.expires),
            authority: &token.authority,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Request {
    /// The id of the node
    name: NodeId,
    /// The folder for `node.key.pem` and `request.pem`; it is made where there is none
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the key that is in the folder
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Requested {
    name: NodeId,
    request: PathBuf,
    key: PathBuf,
}

impl fmt::Display for Requested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} is the request of {}, to be signed by the authority",
            self.request.display(),
            self.name
        )?;
        writeln!(f, "{} stays here", self.key.display())?;
        writeln!(
            f,
            "put beside it: what is signed as node.pem, and authority.pem and revoked.pem of the authority"
        )
    }
}

impl Request {
    pub(super) fn run(self, output: Output) -> Result<(), CliError> {
        let Self { name, out, force } = self;
        let key = IdentityPaths::in_directory(&out).key;
        vacant(&key, force)?;
        let (secret, request) =
            SigningRequest::new(&name).map_err(|error| CliError::new(Exit::Failed, error))?;
        let request = write_request(&out, &secret, &request, on_existing(force))?;
        output.print(&Requested { name, request, key })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The folder of the authority
    dir: PathBuf,
    /// The signing request; - is standard input
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// The join token; - reads it from standard input, out of sight of other users of this machine
    #[arg(long)]
    token: String,
    /// The file for the certificate
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    term: Term,
    /// Replace the file
    #[arg(long)]
    force: bool,
}

impl Sign {
    pub(super) fn run(self, output: Output) -> Result<(), CliError> {
        let Self { dir, request, token, out, term, force } = self;
        let from_stdin = |path: &Path| path.as_os_str() == "-";
        if from_stdin(&request) && token == "-" {
            return Err(CliError::new(Exit::Usage, "only one of request and token can be standard input"));
        }
        vacant(&out, force)?;
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
            return Err(CliError::new(Exit::Failed, format_args!("there is no folder {}", parent.display())));
        }
        let folder = AuthorityFolder::open(&dir)?;
        let token = read_token(token)?;
        let read = match from_stdin(&request) {
            true => text(io::stdin(), REQUEST_BYTES_MAX),
            false => fs::File::open(&request).and_then(|file| text(file, REQUEST_BYTES_MAX)),
        };
        let bad = |error: &dyn fmt::Display| {
            CliError::new(Exit::BadInput, format_args!("signing request {}: {error}", request.display()))
        };
        let asked =
            SigningRequest::from_pem(&read.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
        let issued = folder.enrol(&asked, &token, lasting(term.days)?, SystemTime::now())?;
        create_file(&out, &issued.pem, on_existing(force))?;
        output.print(&Issued { certificate: Some(out), ..Issued::new(&issued.peer) })
    }
}

/// A join token as an argument, or from standard input for `-`. A file is not read by its name.
pub(super) fn read_token(argument: String) -> Result<JoinToken, CliError> {
    let bad = |error: &dyn fmt::Display| CliError::new(Exit::BadInput, format_args!("the token: {error}"));
    let is_file = Path::new(&argument).is_file();
    let token = if argument == "-" { text(io::stdin(), TOKEN_BYTES_MAX) } else { Ok(argument) };
    token.map_err(|error| bad(&error))?.parse().map_err(|error: TokenRefusal| match is_file {
        true => bad(&format_args!("{error}; a file is given by `--token - < FILE`")),
        false => bad(&error),
    })
}

fn text(from: impl io::Read, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = from.take(bytes_max + 1).read_to_string(&mut text)? as u64;
    if read > bytes_max {
        let message = format!("it is longer than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}
