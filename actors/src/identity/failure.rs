//! Why two nodes did not come together, in words for either of them.

use std::fmt;

use quinn::ConnectionError;
use rustls::AlertDescription;
use swarm_protocols::printable;

/// QUIC's codes of the TLS alerts: this and the number of the alert (RFC 9001, section 4.8).
const CRYPTO_ERROR: u64 = 0x100;

/// Which side refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBy {
    /// This node: the reason is about the certificate or the offer of the peer.
    ThisNode,
    /// The peer: the reason is about the certificate or the offer of this node, and the text is the peer's.
    Peer,
}

/// Why a handshake failed. Both sides come to the same, for it is the TLS alert that says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsReason {
    /// The certificate was issued by another authority.
    UnknownAuthority,
    /// A signature, in the certificate or of the handshake, does not match: the certificate is forged, or shown
    /// by someone without its key.
    BadSignature,
    /// The certificate has expired or is not valid yet.
    OutsideValidity,
    /// The authority has revoked the certificate.
    Revoked,
    /// The certificate is that of another node than the expected one.
    WrongNode,
    /// The certificate is not for a server, or not for a client.
    WrongPurpose,
    /// The certificate does not name exactly one node and one role, cannot be read, or is that of an authority.
    NotANode,
    /// No certificate was shown.
    NoCertificate,
    /// The two have no application protocol in common.
    NoCommonProtocol,
    /// The two have no key exchange group (or, with nodes of another make, no cipher suite) in common.
    NoCommonKeyExchange,
    /// Something else, by the number of its TLS alert.
    Other(u8),
}

/// A handshake that failed, from the view of one side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TlsFailure {
    /// Which side refused.
    pub by: RefusedBy,
    /// Why.
    pub reason: TlsReason,
    /// The text of the refusing side, cut and without control characters. It is for people: what a peer writes
    /// proves nothing.
    pub detail: String,
}

/// Finds out whether a connection ended because of TLS, and why.
///
/// On a client a refusal by the server comes after `connect().await` has succeeded, as the error of whatever
/// awaits the connection next. What a peer gives as the reason is a hint for logs: until the handshake is over
/// anyone on the path can write it.
pub fn explain(error: &ConnectionError) -> Option<TlsFailure> {
    let (by, code, detail) = match error {
        ConnectionError::TransportError(error) => (RefusedBy::ThisNode, error.code, error.reason.clone()),
        ConnectionError::ConnectionClosed(close) => {
            (RefusedBy::Peer, close.error_code, String::from_utf8_lossy(&close.reason).into_owned())
        }
        _ => return None,
    };
    let alert = u8::try_from(u64::from(code).checked_sub(CRYPTO_ERROR)?).ok()?;
    let detail = printable(&detail);
    Some(TlsFailure { by, reason: TlsReason::from_alert(alert), detail })
}

impl TlsReason {
    fn from_alert(alert: u8) -> Self {
        match AlertDescription::from(alert) {
            AlertDescription::UnknownCA => Self::UnknownAuthority,
            AlertDescription::DecryptError => Self::BadSignature,
            AlertDescription::CertificateExpired => Self::OutsideValidity,
            AlertDescription::CertificateRevoked => Self::Revoked,
            AlertDescription::BadCertificate => Self::WrongNode,
            AlertDescription::UnsupportedCertificate => Self::WrongPurpose,
            AlertDescription::CertificateUnknown => Self::NotANode,
            AlertDescription::CertificateRequired => Self::NoCertificate,
            AlertDescription::NoApplicationProtocol => Self::NoCommonProtocol,
            AlertDescription::HandshakeFailure => Self::NoCommonKeyExchange,
            _ => Self::Other(alert),
        }
    }
}

impl fmt::Display for TlsReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAuthority => "the certificate was not issued by the authority of the cluster",
            Self::BadSignature => "a signature does not match the certificate or its authority",
            Self::OutsideValidity => "the certificate has expired or is not valid yet",
            Self::Revoked => "the certificate was revoked",
            Self::WrongNode => "the certificate is that of another node than the expected one",
            Self::WrongPurpose => "the certificate is not for both servers and clients",
            Self::NotANode => "the certificate is not that of a node",
            Self::NoCertificate => "no certificate was shown",
            Self::NoCommonProtocol => {
                "there is no application protocol in common: sessions and the enrolment of newcomers have ports of \
                 their own"
            }
            Self::NoCommonKeyExchange => "there is no key exchange group in common",
            Self::Other(alert) => return write!(f, "the TLS handshake failed with alert {alert}"),
        })
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            RefusedBy::ThisNode => "this node refused the peer",
            RefusedBy::Peer => "the peer refused this node",
        };
        write!(f, "{by}: {}", self.reason)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}
