//! How nodes get their certificates over the network: renewal in a session, enrolment of newcomers outside of one.
//!
//! Certificates, signing requests (PKCS #10, RFC 2986) and revocation lists (RFC 5280, section 5) travel as PEM
//! texts (RFC 7468), as the files that they become.

mod attempts;
mod renewal;

pub use attempts::{AT_ONCE_MAX, Attempts, FAILURES_MAX, SOURCES_MAX, WINDOW};
pub use renewal::{RENEWAL_LEAD, Renewal, Step, Term, renewal_due};

use crate::{ContentHash, NodeId, Request, printable, protocol};
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// The application protocol of enrolment (RFC 7301).
pub const ENROLMENT_ALPN: &[u8] = b"actix-swarm-enrol/1";

/// The longest [`Enrol`], in bytes as it is encoded.
pub const ENROL_BYTES_MAX: usize = 16 << 10;

/// The longest answer to an [`Enrol`], in bytes as it is encoded: it holds a revocation list.
pub const ENROLLED_BYTES_MAX: usize = 4 << 20;

/// The longest PEM text of a certificate or a signing request that is looked at, in bytes.
pub const PEM_BYTES_MAX: usize = 8 << 10;

protocol! {
    /// An actor that renews the certificates of nodes and knows which were revoked.
    pub CertificateAuthority = "certificate-authority" { RenewCertificate, RevocationList }
}

/// Issues a renewed certificate for the key of one that the caller holds: for the same node, in the same role,
/// for as long as that one held.
///
/// Both texts are needed: the certificate says which one is renewed, by its serial number, so that a revoked one
/// renews nothing although its node has another. The request is signed with the key of that certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Request)]
#[request(name = "renew-certificate", reply = Renewed, error = RenewalRefusal)]
pub struct RenewCertificate {
    /// The certificate that is to be renewed, alone.
    pub certificate: String,
    /// The signing request.
    pub request: String,
}

/// The reply to [`RenewCertificate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The certificate.
    pub certificate: String,
    /// The revocation list of the authority that issued it.
    pub revoked: String,
}

/// Why a certificate is not renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RenewalRefusal {
    /// The certificate or the request cannot be read, or the signature of the request does not match.
    #[error("{}", printable(reason))]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The certificate gives no right to what is asked for: it is that of another node or role than the caller's,
    /// of another key or node than the request's, of another authority, unknown to this one, or expired.
    #[error("{}", printable(reason))]
    NotPermitted {
        /// Which of these.
        reason: String,
    },
    /// The certificate was revoked.
    #[error("the certificate was revoked")]
    Revoked,
    /// It is too early.
    #[error("the certificate is renewed from {} seconds after 1970 on", .from.as_secs())]
    NotDue {
        /// When it is time, since 1970.
        from: Duration,
    },
    /// The authority's own certificate ends so soon that another one would hold no longer.
    #[error("the authority of the cluster expires, a certificate cannot outlive it")]
    AuthorityEnds,
    /// This node has been given certificates too often, or the authority has too much to do.
    #[error("the authority is busy, it may be asked again in {retry_after:?}")]
    Busy {
        /// When it makes sense to ask again.
        retry_after: Duration,
    },
    /// The authority's folder cannot be used. The coordinator's log says why.
    #[error("the authority cannot issue certificates at present")]
    Unavailable,
}

/// The signed list of what the authority has revoked, as PEM; `None` where it is the one that the caller has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Request)]
#[request(name = "revocation-list", reply = Option<String>, error = ListUnavailable)]
pub struct RevocationList {
    /// The hash of the text that the caller got the last time.
    pub known: Option<ContentHash>,
}

/// The list cannot be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the authority cannot give its revocation list at present")]
pub struct ListUnavailable;

/// What a newcomer asks for, as the only message on a connection of its own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// The join token.
    pub token: String,
    /// The signing request for the node that the token names.
    pub request: String,
}

impl fmt::Debug for Enrol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrol").field("request", &self.request).finish_non_exhaustive()
    }
}

/// The answer to [`Enrol`].
pub type EnrolmentOutcome = Result<Enrolled, EnrolmentRefusal>;

/// What a newcomer gets: with its key, everything that an identity has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The certificate.
    pub certificate: String,
    /// That of the authority.
    pub authority: String,
    /// The authority's revocation list.
    pub revoked: String,
}

/// Why a newcomer gets no certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EnrolmentRefusal {
    /// The message or the signing request cannot be read, or the request's signature does not match.
    #[error("{}", printable(reason))]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The token does not let this node in.
    #[error("{}", printable(reason))]
    Token {
        /// Why.
        reason: String,
    },
    /// The node has a certificate in another role.
    #[error("{0} has a certificate in another role")]
    NameInUse(NodeId),
    /// There is too much to do.
    #[error("the authority is busy, it may be asked again in {retry_after:?}")]
    Busy {
        /// When it makes sense to ask again.
        retry_after: Duration,
    },
    /// The authority's folder cannot be used. The coordinator's log says why.
    #[error("the authority cannot issue certificates at present")]
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_coordinator_writes_does_not_move_the_cursor() {
        let reason = || "\u{1b}[2Jgood".to_owned();
        for said in [
            EnrolmentRefusal::Malformed { reason: reason() }.to_string(),
            EnrolmentRefusal::Token { reason: reason() }.to_string(),
            RenewalRefusal::Malformed { reason: reason() }.to_string(),
            RenewalRefusal::NotPermitted { reason: reason() }.to_string(),
        ] {
            assert_eq!(said, "\u{fffd}[2Jgood");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let enrol = Enrol { token: "swarm-join-1.secret".into(), request: "CSR".into() };
        assert_eq!(format!("{enrol:?}"), "Enrol { request: \"CSR\", .. }");
    }
}
