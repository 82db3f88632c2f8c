//! Identities that trust several authorities: how one takes over from another without a restart.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use swarm_actors::identity::{
    AuthorityFolder, Identity, IdentityPem, OnExisting, RevocationList, write_identity,
};

use super::Issued;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Output;

/// Which authorities a node is to believe beside its own.
#[derive(Debug, Args)]
pub(super) struct Trust {
    /// Another authority that the node is to believe, as a folder with its `authority.pem` and `revoked.pem`
    ///
    /// So one authority takes over from another: renew every identity with the next authority trusted, issue
    /// every identity anew from that one with the former one trusted, and once all nodes have these, renew them
    /// without the former.
    #[arg(long, value_name = "DIR")]
    trust: Vec<PathBuf>,
}

/// The public texts of those authorities.
pub(super) struct Trusted {
    authorities: String,
    revoked: String,
}

impl Trust {
    /// Reads them, before anything is issued.
    pub(super) fn read(&self) -> Result<Trusted, CliError> {
        let mut all = Trusted { authorities: String::new(), revoked: String::new() };
        for folder in &self.trust {
            let read = |name| {
                let file = folder.join(name);
                fs::read_to_string(&file).map_err(|error| unusable(&file, &error))
            };
            let (authority, revoked) = (read("authority.pem")?, read("revoked.pem")?);
            let checked = RevocationList::from_pem(&revoked, &authority);
            checked.map_err(|error| CliError::from(error).within(folder.display()))?;
            append(&mut all.authorities, &authority);
            append(&mut all.revoked, &revoked);
        }
        Ok(all)
    }
}

impl Trusted {
    /// Writes what was issued, and prints it.
    pub(super) fn hand_out(
        self,
        folder: &AuthorityFolder,
        identity: &Identity,
        out: PathBuf,
        on_existing: OnExisting,
        output: Output,
    ) -> Result<(), CliError> {
        let written = || {
            let mut pem: IdentityPem = identity.to_pem().clone();
            append(&mut pem.authority, &self.authorities);
            let mut revoked = folder.revocation_list()?;
            append(&mut revoked, &self.revoked);
            let identity = Identity::from_pem(pem)?;
            write_identity(&out, &identity, &revoked, on_existing)?;
            Ok(identity)
        };
        let identity = written().map_err(|error: CliError| {
            let (name, serial) = (identity.id(), &identity.as_peer().serial);
            error.and(format_args!(
                "the certificate {serial} of {name} is in the register but was not written: make room for it and run the \
                 command again with --force"
            ))
        })?;
        output.print(&Issued { directory: Some(out), ..Issued::new(identity.as_peer()) })
    }
}

/// PEM sections begin on a line of their own.
fn append(text: &mut String, more: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(more);
}

fn unusable(file: &Path, error: &io::Error) -> CliError {
    let exit = Exit::of_io(error, Exit::BadConfiguration);
    CliError::new(exit, format_args!("cannot read {}: {error}", file.display()))
}
