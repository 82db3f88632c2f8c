//! The coordinator's side of enrolment.

use crate::{
    certificate_authority::{CertificateAuthority, EnrolNewcomer},
    identity::{AuthorityFolder, Identity, IdentityError},
    log_limit::limited,
    transport::quic,
};
use actix::Addr;
use futures_util::{
    StreamExt,
    future::{AbortHandle, abortable},
    stream::FuturesUnordered,
};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use swarm_protocols::{
    certificates::{Attempts, ENROL_BYTES_MAX, Enrol, EnrolmentOutcome, EnrolmentRefusal},
    peers::Handshakes,
    printable,
    wire::codec,
};
use tokio::{sync::watch, time::timeout_at};

/// How many newcomers are served at once. Beyond that the oldest of the busiest address gives way, see
/// [`Handshakes`].
pub const CONNECTIONS_MAX: usize = 16;

/// How long a newcomer may take over everything: handshake, request, and taking its answer.
pub const TIME_MAX: Duration = Duration::from_secs(10);

/// The code of the close when all was said.
const DONE: u32 = 0;

/// Lets machines with a join token get their first certificate. Dropping it closes the port.
#[derive(Debug)]
pub struct EnrolmentListener {
    endpoint: quinn::Endpoint,
    folder: Arc<AuthorityFolder>,
    address: SocketAddr,
    serving: watch::Receiver<()>,
}

/// Why newcomers cannot be let in.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// The address cannot be listened on.
    #[error("cannot listen for newcomers on {address}: {source}")]
    Listen {
        /// The address as given.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Newcomers would not believe this coordinator.
    #[error("newcomers would refuse this coordinator: {0}")]
    Identity(#[from] IdentityError),
}

impl EnrolmentListener {
    /// Listens on `listen`, as the coordinator with this identity, and hands what newcomers ask to `authority`,
    /// which issues from `folder`. It is served on the current arbiter.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the authority of the folder did not issue the identity.
    pub fn start(
        listen: SocketAddr,
        identity: &Identity,
        folder: Arc<AuthorityFolder>,
        authority: Addr<CertificateAuthority>,
    ) -> Result<Self, EnrolmentError> {
        let config = configuration(identity, &folder)?;
        let at = |source| EnrolmentError::Listen { address: listen, source };
        let endpoint = quinn::Endpoint::server(config, listen).map_err(at)?;
        Self::on(endpoint, folder, authority).map_err(at)
    }

    pub(super) fn on(
        endpoint: quinn::Endpoint,
        folder: Arc<AuthorityFolder>,
        authority: Addr<CertificateAuthority>,
    ) -> io::Result<Self> {
        let address = endpoint.local_addr()?;
        let (served, serving) = watch::channel(());
        let serves = serve(endpoint.clone(), authority);
        actix_rt::spawn(async move {
            serves.await;
            // Where the listener is gone, that is why.
            if !served.is_closed() {
                tracing::error!(%address, "the socket for newcomers has failed, and none is let in any more");
            }
        });
        Ok(Self { endpoint, folder, address, serving })
    }

    /// Completes when no newcomer is let in any more, as the socket has failed.
    pub async fn failed(&self) {
        let mut serving = self.serving.clone();
        while serving.changed().await.is_ok() {}
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows another certificate of the coordinator from now on.
    ///
    /// # Errors
    /// When the authority of the folder did not issue it; the former one stays.
    pub fn set_identity(&self, identity: &Identity) -> Result<(), IdentityError> {
        self.endpoint.set_server_config(Some(configuration(identity, &self.folder)?));
        Ok(())
    }
}

impl Drop for EnrolmentListener {
    fn drop(&mut self) {
        self.endpoint.close(DONE.into(), b"the coordinator stops");
    }
}

fn configuration(
    identity: &Identity,
    folder: &AuthorityFolder,
) -> Result<quinn::ServerConfig, IdentityError> {
    let mut config = identity.enrolment_config(folder.authority())?;
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(1_u8.into())
        .max_concurrent_uni_streams(0_u8.into())
        .stream_receive_window((2 * ENROL_BYTES_MAX as u32).into())
        .receive_window((2 * ENROL_BYTES_MAX as u32).into())
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(TIME_MAX.try_into().expect("a few seconds are a QUIC timeout")));
    config.transport_config(Arc::new(transport));
    config.max_incoming(2 * CONNECTIONS_MAX);
    Ok(config)
}

/// Serves newcomers until the endpoint is closed.
async fn serve(endpoint: quinn::Endpoint, authority: Addr<CertificateAuthority>) {
    let mut attempts = Attempts::default();
    let mut connections = Handshakes::at_most(CONNECTIONS_MAX);
    let mut under_way = BTreeMap::<u64, AbortHandle>::new();
    let mut serving = FuturesUnordered::new();
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            Some((number, source, outcome)) = serving.next(), if !serving.is_empty() => {
                connections.ended(number);
                under_way.remove(&number);
                attempts.ended(source);
                // One that gave way is no failure of its address: it may have been as honest as others there.
                if outcome == Ok(Outcome::Failed) {
                    attempts.failed(source, Instant::now());
                }
                continue;
            }
        };
        let Some(incoming) = incoming else { return };
        // Whoever is to be counted shows first that it is where it says.
        if !incoming.remote_address_validated() && incoming.may_retry() {
            let _validated_next = incoming.retry();
            continue;
        }
        let from = incoming.remote_address();
        if !attempts.begin(from.ip(), Instant::now()) {
            // No line in the log: there could be any number of them. Each failure that led to this has one.
            incoming.refuse();
            continue;
        }
        let (number, displaced) = connections.begin(from.ip());
        if let Some(displaced) = displaced.and_then(|displaced| under_way.remove(&displaced)) {
            displaced.abort();
        }
        let (served, abort) = abortable(serve_one(incoming, from, authority.clone()));
        under_way.insert(number, abort);
        serving.push(async move { (number, from.ip(), served.await) });
    }
}

/// Whether a newcomer counts among the failures of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Fine,
    Failed,
}

async fn serve_one(
    incoming: quinn::Incoming,
    from: SocketAddr,
    authority: Addr<CertificateAuthority>,
) -> Outcome {
    let deadline = tokio::time::Instant::now() + TIME_MAX;
    let asked = timeout_at(deadline, request(incoming)).await;
    let (connection, send, request) = match asked.unwrap_or_else(|_| Err("it took too long".to_owned())) {
        Ok(asked) => asked,
        Err(reason) => {
            limited!(warn, "a newcomer got no certificate", audit, %from, reason);
            return Outcome::Failed;
        }
    };
    let outcome: EnrolmentOutcome = match request {
        // What is decided stays so, whether or not it is heard: the newcomer may ask again for the same key.
        Ok(enrol) => match timeout_at(deadline, authority.send(EnrolNewcomer { enrol, from })).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(EnrolmentRefusal::Unavailable),
        },
        Err(reason) => {
            limited!(warn, "a newcomer was refused", audit, %from, reason);
            Err(EnrolmentRefusal::Malformed { reason })
        }
    };
    if timeout_at(deadline, deliver(&outcome, send, &connection)).await != Ok(Some(())) {
        limited!(info, "a newcomer did not say that it has its answer", %from);
    }
    match outcome {
        Err(
            EnrolmentRefusal::Malformed { .. }
            | EnrolmentRefusal::Token { .. }
            | EnrolmentRefusal::NameInUse(_),
        ) => Outcome::Failed,
        Ok(_) | Err(EnrolmentRefusal::Busy { .. } | EnrolmentRefusal::Unavailable) => Outcome::Fine,
    }
}

/// A connection, the way back on its stream, and what was asked on it, or why that cannot be read.
type Asked = (CloseOnDrop, quinn::SendStream, Result<Enrol, String>);

/// Takes the request of a newcomer. The error says how it failed to ask.
async fn request(incoming: quinn::Incoming) -> Result<Asked, String> {
    let connection = incoming.accept().map_err(quic::describe)?.await.map_err(quic::describe)?;
    let connection = CloseOnDrop(connection);
    let (send, mut receive) = connection.0.accept_bi().await.map_err(quic::describe)?;
    let request = match receive.read_to_end(ENROL_BYTES_MAX).await {
        Ok(request) => codec::decode(&request)
            .map_err(|error| format!("its request cannot be read: {}", printable(&error.to_string()))),
        Err(quinn::ReadToEndError::TooLong) => {
            Err(format!("its request is longer than {ENROL_BYTES_MAX} bytes"))
        }
        Err(quinn::ReadToEndError::Read(error)) => return Err(error.to_string()),
    };
    Ok((connection, send, request))
}

/// Sends an answer, and waits until the newcomer closes the connection; `None` where it left before.
async fn deliver(
    outcome: &EnrolmentOutcome,
    mut send: quinn::SendStream,
    CloseOnDrop(connection): &CloseOnDrop,
) -> Option<()> {
    // Only a revocation list beyond every bound could not be.
    let answer = codec::encode(outcome).ok()?;
    send.write_all(&answer).await.ok()?;
    send.finish().ok()?;
    connection.closed().await;
    Some(())
}

/// Ends a connection on every way out, so that none lingers until it is idle.
struct CloseOnDrop(quinn::Connection);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(DONE.into(), b"");
    }
}
