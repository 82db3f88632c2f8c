//! The section `[authority]` of a coordinator's file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::no_folder;
use crate::swarm::document::{Document, Place};
use crate::swarm::node_options::Listen;

/// How long the certificate of a newcomer holds where nothing else is said.
const DAYS_DEFAULT: i64 = 90;

/// The longest life of a certificate, in days: a hundred years.
const DAYS_MAX: i64 = 36_500;

/// The authority that a coordinator issues certificates from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthorityOptions {
    /// Its folder, as `swarm ca init` made it.
    pub(crate) folder: PathBuf,
    /// Where the file names it.
    pub(crate) folder_at: Place,
    /// Where machines with a join token get their first certificate; nowhere where nothing is said.
    pub(crate) enrol: Option<SocketAddr>,
    /// For how long that holds.
    pub(crate) lifetime: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { folder = \"ca\" }")]
pub(super) struct RawAuthority {
    folder: Spanned<PathBuf>,
    enrol: Option<Spanned<Listen>>,
    days: Option<Spanned<i64>>,
}

impl RawAuthority {
    /// The section of a coordinator that listens on `listen`.
    pub(super) fn options(self, listen: Option<SocketAddr>, document: &mut Document<'_>) -> AuthorityOptions {
        let RawAuthority { folder, enrol, days } = self;
        let path = document.resolve(folder.get_ref());
        if let Some(fault) = no_folder(&path, "`swarm ca init` makes an authority") {
            document.fault(folder.span(), fault);
        }
        if let Some(enrol) = &enrol {
            let Listen(address) = enrol.get_ref();
            if listen == Some(*address) && address.port() != 0 {
                let message = "newcomers need a port of their own, this one is `listen`";
                document.fault(enrol.span(), message);
            }
        }
        if let Some(days) = &days {
            if enrol.is_none() {
                document.fault(days.span(), "`days` is for newcomers, and there is no `enrol`");
            }
            if !(1..=DAYS_MAX).contains(days.get_ref()) {
                document.fault(days.span(), format_args!("1 to {DAYS_MAX} days are expected"));
            }
        }
        let days = days.map_or(DAYS_DEFAULT, Spanned::into_inner).clamp(1, DAYS_MAX).unsigned_abs();
        AuthorityOptions {
            folder: path,
            folder_at: document.place(&folder.span()),
            enrol: enrol.map(|enrol| enrol.into_inner().0),
            lifetime: Duration::from_secs(days * 24 * 60 * 60),
        }
    }
}
