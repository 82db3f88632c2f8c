//! The newcomer's side of enrolment.

use crate::{
    identity::{
        Identity, IdentityPem, JoinToken, PeerIdentity, PrivateKeyPem, RefusedBy, RevocationList,
        SigningRequest, TlsFailure, authority_fingerprint, explain, newcomer_config, server_name,
    },
    transport::quic,
};
use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use swarm_protocols::{
    certificates::{ENROLLED_BYTES_MAX, Enrol, Enrolled, EnrolmentOutcome, EnrolmentRefusal},
    printable,
    wire::codec,
};
use tokio::time::timeout;

/// How long the coordinator has to open the connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long it has to answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// How long taking leave may take.
const LEAVE_MAX: Duration = Duration::from_millis(200);

/// Why a newcomer has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// Nobody answers there, or not in time, or the connection broke. Asking again with the same key is safe.
    #[error(
        "{address} cannot be reached: {reason}; a coordinator with `[authority] enrol` must be running there (a UDP port)"
    )]
    Unreachable {
        /// Where it was looked for.
        address: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// Who answers there is no coordinator of the authority that made the token: the token was not sent.
    #[error("{address} is no coordinator of the authority that made the join token: {failure}")]
    NotTheCoordinator {
        /// Where it was looked for.
        address: SocketAddr,
        /// What its certificate lacks.
        failure: TlsFailure,
    },
    /// The authority gives no certificate.
    #[error(transparent)]
    Refused(#[from] EnrolmentRefusal),
    /// What came back is not what was asked for.
    #[error("the answer of {address} cannot be used: {reason}")]
    BadAnswer {
        /// Who answered.
        address: SocketAddr,
        /// What is wrong with it.
        reason: String,
    },
}

/// Asks the coordinator that listens for newcomers at `address` for the certificate that `token` promises, for the
/// key of `request`. The second part of the answer is the revocation list as PEM, which the first one minds
/// already.
///
/// # Errors
/// When it cannot be reached, is not certified by the authority that made the token, refuses, or answers with
/// something else than an identity for this key, node and role.
pub async fn enrol(
    address: SocketAddr,
    token: &JoinToken,
    key: &PrivateKeyPem,
    request: &SigningRequest,
) -> Result<(Identity, String), EnrolError> {
    let unreachable = |reason: String| EnrolError::Unreachable { address, reason };
    let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let endpoint =
        quinn::Endpoint::client(SocketAddr::new(any, 0)).map_err(|error| unreachable(error.to_string()))?;
    let mut config = newcomer_config(&token.authority);
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0_u8.into())
        .max_concurrent_uni_streams(0_u8.into())
        .datagram_receive_buffer_size(None);
    config.transport_config(Arc::new(transport));
    let connecting = endpoint
        .connect_with(config, address, server_name(None))
        .map_err(|error| unreachable(error.to_string()))?;
    let connected = tokio::select! {
        connected = timeout(CONNECT_MAX, connecting) => connected,
        () = quic::nobody_listens(address) => return Err(unreachable(quic::NOBODY_LISTENS.to_owned())),
    };
    let connection = connected
        .map_err(|_| unreachable(format!("nobody answered within {CONNECT_MAX:?}")))?
        .map_err(|error| match explain(&error) {
        // Only what this side found out is known; anybody on the way may have written the other's refusal.
        Some(failure) if failure.by == RefusedBy::ThisNode => {
            EnrolError::NotTheCoordinator { address, failure }
        }
        Some(failure) => unreachable(failure.to_string()),
        None => unreachable(described(error)),
    })?;
    let asked = timeout(ANSWER_MAX, ask(&connection, token, request)).await;
    let answer = asked.map_err(|_| unreachable(format!("there was no answer within {ANSWER_MAX:?}")))?;
    let answer = answer.map_err(|error| {
        // How the connection ended says more than what could not be done on it.
        unreachable(connection.close_reason().map_or(error, described))
    })?;
    connection.close(0_u8.into(), b"");
    // The coordinator waits for the close.
    let _in_time = timeout(LEAVE_MAX, endpoint.wait_idle()).await;
    let bad = |reason: String| EnrolError::BadAnswer { address, reason };
    let outcome: EnrolmentOutcome = codec::decode(&answer).map_err(|error| bad(error.to_string()))?;
    let Enrolled { certificate, authority, revoked } = outcome?;
    let coordinator = PeerIdentity::of(&connection).map_err(|error| bad(error.to_string()))?;
    let pem = IdentityPem { certificate, key: key.clone(), authority };
    let identity = examine(pem, &revoked, token, &coordinator).map_err(bad)?;
    Ok((identity, revoked))
}

/// How a connection ended. Before the coordinator has proved itself, anybody may have written the reason.
fn described(error: quinn::ConnectionError) -> String {
    printable(&quic::describe(error))
}

async fn ask(
    connection: &quinn::Connection,
    token: &JoinToken,
    request: &SigningRequest,
) -> Result<Vec<u8>, String> {
    let enrol = Enrol { token: token.as_str().to_owned(), request: request.to_pem().to_owned() };
    let enrol = codec::encode(&enrol).map_err(|error| error.to_string())?;
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
    send.write_all(&enrol).await.map_err(|error| error.to_string())?;
    send.finish().map_err(|error| error.to_string())?;
    receive.read_to_end(ENROLLED_BYTES_MAX).await.map_err(|error| error.to_string())
}

/// Whether an answer is what the token promises.
fn examine(
    pem: IdentityPem,
    revoked: &str,
    token: &JoinToken,
    coordinator: &PeerIdentity,
) -> Result<Identity, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    if authority_fingerprint(&pem.authority).map_err(|error| said(&error))? != token.authority {
        return Err("the authority in it is not the one that made the join token".to_owned());
    }
    let list = RevocationList::from_pem(revoked, &pem.authority).map_err(|error| said(&error))?;
    let identity = Identity::from_pem(pem).map_err(|error| said(&error))?;
    if (identity.id(), identity.role()) != (&token.id, token.role) {
        let (id, role) = (identity.id(), identity.role());
        return Err(format!("the certificate is that of the {role} {id}"));
    }
    list.check(coordinator).map_err(|_| "the certificate of the coordinator was revoked".to_owned())?;
    list.check(identity.as_peer()).map_err(|error| said(&error))?;
    Ok(identity.with_revocation_list(&list))
}
