//! The one-time token with which a new machine proves that it may have a certificate.

use std::{fmt, str::FromStr, time::SystemTime};

use sha2::{Digest, Sha256};
use swarm_protocols::{NodeId, Role};
use zeroize::Zeroizing;

use crate::identity::{
    AuthorityError,
    authority::random,
    peer::hex,
    validity::{parse_rfc3339, rfc3339},
};

/// What a token begins with: its kind and the version of its form.
const PREFIX: &str = "swarm-join-1";

/// The longest token that is looked at, in characters: that of a name of 63 is 242.
const CHARS_MAX: usize = 300;

/// A secret that is good for one certificate, for one node, in one role, of one authority, for a while.
///
/// As text it is `swarm-join-1.NAME.ROLE.EXPIRES.FINGERPRINT.SECRET`: whoever holds it can see what it is for
/// and which authority to expect, and can change none of that, because the authority knows the digest of the
/// whole text and nothing else. Not shown by `Debug`, and wiped from memory when it is dropped.
#[derive(Clone)]
pub struct JoinToken {
    text: Zeroizing<String>,
    /// The node that it lets in.
    pub id: NodeId,
    /// The role that the node gets.
    pub role: Role,
    /// When it is good no longer.
    pub expires: SystemTime,
    /// The SHA-256 digest of the authority's certificate, in hexadecimal digits.
    pub authority: String,
}

/// Why a token does not let a node in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// It is no token at all.
    #[error("this is no join token: `swarm ca token` prints one")]
    Malformed,
    /// Another authority made it.
    #[error("the join token is one of another authority")]
    OtherAuthority,
    /// The authority knows nothing of it: it was changed or made up.
    #[error("the authority did not make this join token")]
    Unknown,
    /// It is for another node.
    #[error("the join token is for {token}, the request for {request}")]
    OtherName {
        /// The node that it is for.
        token: NodeId,
        /// The node in the request.
        request: NodeId,
    },
    /// It came too late.
    #[error("the join token expired at {}", rfc3339(*.0))]
    Expired(SystemTime),
    /// It was used before.
    #[error("the join token was used before")]
    Spent,
    /// The node was revoked after it was made.
    #[error("the join token was taken back")]
    Withdrawn,
}

impl JoinToken {
    pub(super) fn new(
        id: &NodeId,
        role: Role,
        expires: SystemTime,
        authority: String,
    ) -> Result<Self, AuthorityError> {
        let secret = Zeroizing::new(random::<32>()?);
        let secret = Zeroizing::new(hex(&*secret));
        // Colons are not part of it, so that a shell and a double click take it whole.
        let expiry = rfc3339(expires).replace([':', '-'], "");
        let text = format!("{PREFIX}.{id}.{role}.{expiry}.{authority}.{}", secret.as_str());
        Ok(Self { text: Zeroizing::new(text), id: id.clone(), role, expires, authority })
    }

    /// The text of it, for the machine that is to join and nobody else.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the authority remembers of it. The secret in it is 256 random bits, so that a plain digest cannot
    /// be turned round.
    pub(super) fn digest(&self) -> String {
        hex(&Sha256::digest(self.text.as_bytes()))
    }
}

impl FromStr for JoinToken {
    type Err = TokenRefusal;

    fn from_str(text: &str) -> Result<Self, TokenRefusal> {
        let text = text.trim();
        if text.len() > CHARS_MAX {
            return Err(TokenRefusal::Malformed);
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [PREFIX, id, role, expires, authority, _secret] = parts.as_slice() else {
            return Err(TokenRefusal::Malformed);
        };
        Ok(Self {
            id: id.parse().map_err(|_| TokenRefusal::Malformed)?,
            role: role.parse().map_err(|_| TokenRefusal::Malformed)?,
            expires: expiry(expires).ok_or(TokenRefusal::Malformed)?,
            authority: (*authority).to_owned(),
            text: Zeroizing::new(text.to_owned()),
        })
    }
}

/// Reads `20261120T143100Z`.
fn expiry(text: &str) -> Option<SystemTime> {
    let part = |range| text.get(range);
    let [year, month, day] = [part(0..4)?, part(4..6)?, part(6..8)?];
    let [hour, minute, second] = [part(9..11)?, part(11..13)?, part(13..15)?];
    let time = parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))?;
    (rfc3339(time).replace([':', '-'], "") == text).then_some(time)
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("id", &self.id).field("role", &self.role).finish_non_exhaustive()
    }
}
