//! `swarm ca show`: what an authority has issued, revoked and promised.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use serde::Serialize;
use swarm_actors::identity::{
    AuthorityFolder, Certificate, InvalidCertificate, Register, RevocationList, Standing, Token, TokenState,
    rfc3339,
};
use swarm_protocols::{NodeId, Role};

use crate::cli::error::{CliError, Exit};
use crate::cli::output::Output;
use crate::listing::{Left, listing};
use crate::swarm::report::Colour;

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The folder of the authority
    dir: PathBuf,
}

#[derive(Serialize)]
struct Shown {
    directory: PathBuf,
    cluster: String,
    fingerprint: String,
    valid_until: String,
    certificates: Vec<ShownCertificate>,
    tokens: Vec<ShownToken>,
    revocation_list: ShownList,
}

#[derive(Serialize)]
struct ShownCertificate {
    name: NodeId,
    role: Role,
    serial: String,
    valid_from: String,
    valid_until: String,
    revoked_at: Option<String>,
    state: &'static str,
}

/// A join token, without its secret, which the authority does not know.
#[derive(Serialize)]
struct ShownToken {
    name: NodeId,
    role: Role,
    expires: String,
    state: &'static str,
}

#[derive(Serialize)]
struct ShownList {
    revoked: usize,
    issued_at: Option<String>,
}

impl Show {
    pub(super) fn run(self, output: Output) -> Result<(), CliError> {
        let folder = AuthorityFolder::open(&self.dir)?;
        let now = SystemTime::now();
        let authority = folder.authority();
        let list = RevocationList::from_pem(&folder.revocation_list()?, authority.certificate_pem())?;
        let register = folder.register()?;
        let cluster = authority.cluster_name();
        output.print(&Shown {
            cluster: cluster
                .map_err(|error: InvalidCertificate| CliError::new(Exit::BadConfiguration, error))?,
            fingerprint: authority.fingerprint(),
            valid_until: rfc3339(authority.valid_until()),
            certificates: register
                .certificates()
                .iter()
                .map(|one| certificate(one, &register, now))
                .collect(),
            tokens: register.tokens().iter().map(|one| token(one, now)).collect(),
            revocation_list: ShownList { revoked: list.len(), issued_at: list.issued_at().map(rfc3339) },
            directory: self.dir,
        })
    }
}

fn certificate(one: &Certificate, register: &Register, now: SystemTime) -> ShownCertificate {
    let state = match one.standing(now) {
        Standing::Expiring if register.is_renewed(one) => "renewed",
        standing => standing.as_str(),
    };
    ShownCertificate {
        name: one.id.clone(),
        role: one.role,
        serial: one.serial.to_string(),
        valid_from: rfc3339(one.valid_from),
        valid_until: rfc3339(one.valid_until),
        revoked_at: one.revoked_at.map(rfc3339),
        state,
    }
}

fn token(one: &Token, now: SystemTime) -> ShownToken {
    let state = match one.state {
        TokenState::Open if now >= one.expires => "expired",
        TokenState::Open => "open",
        TokenState::Spent => "used",
        TokenState::Withdrawn => "withdrawn",
    };
    ShownToken { name: one.id.clone(), role: one.role, expires: rfc3339(one.expires), state }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, fingerprint, valid_until, certificates, tokens, .. } = self;
        writeln!(f, "authority of {cluster} until {valid_until}")?;
        writeln!(f, "SHA-256 {fingerprint}")?;
        let colour = Colour::of_stdout();
        if !certificates.is_empty() {
            let columns = ["NAME", "ROLE", "VALID UNTIL", "STATE", "SERIAL"].map(|head| (head, Left));
            let row = |one: &ShownCertificate| {
                let (name, role) = (one.name.to_string(), one.role.to_string());
                [name, role, one.valid_until.clone(), one.state.to_owned(), one.serial.clone()]
            };
            write!(f, "\n{}", listing(colour, &columns, certificates.iter().map(row)))?;
        }
        let expiring = certificates.iter().filter(|one| one.state == Standing::Expiring.as_str()).count();
        if expiring > 0 {
            writeln!(f, "to be renewed: {expiring}")?;
        }
        if !tokens.is_empty() {
            let columns = ["NAME", "ROLE", "EXPIRES", "JOIN TOKEN"].map(|head| (head, Left));
            let row = |one: &ShownToken| {
                [one.name.to_string(), one.role.to_string(), one.expires.clone(), one.state.to_owned()]
            };
            write!(f, "\n{}", listing(colour, &columns, tokens.iter().map(row)))?;
        }
        Ok(())
    }
}
