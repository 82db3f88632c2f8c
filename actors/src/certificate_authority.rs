//! [`CertificateAuthority`]: an actor that issues the certificates of a cluster on one of its coordinators.

#[cfg(test)]
pub(crate) mod tests;

use crate::{
    call::{Answer, Call, Caller},
    identity::{
        AuthorityFolder, FolderError, InvalidRenewal, JoinToken, PeerIdentity, RenewalRequest, SigningRequest,
    },
    log_limit::limited,
    mailbox::Mailbox,
    workers::{WorkError, Workers},
};
use actix::{Actor, Addr, Context, Handler, Message, ResponseFuture};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    net::SocketAddr,
    num::NonZeroUsize,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};
use swarm_protocols::{
    ContentHash, NodeId,
    certificates::{
        CertificateAuthority as AuthorityProtocol, Enrol, Enrolled, EnrolmentOutcome, EnrolmentRefusal,
        ListUnavailable, PEM_BYTES_MAX, RenewCertificate, RenewalRefusal, Renewed, RevocationList,
    },
    printable,
};

/// The name under which a coordinator exposes it.
pub const AUTHORITY_NAME: &str = "certificate-authority";

/// How many requests wait for the folder; beyond that the answer is that it is busy.
const QUEUED_MAX: usize = 64;

/// When somebody who was told so may ask again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Issues certificates from an authority's folder: renewed ones for nodes that hold one, first ones for newcomers
/// with a join token.
///
/// It speaks the protocol of the same name: [start](Self::start_with_mailbox) it. A node is given nothing but a
/// certificate of its own id and role, which come from the certificate of its session. A caller of the same
/// process is believed to be the node whose certificate it shows. One thread works on the folder, with a bounded
/// queue before it, in which no other node has more than one request; every issue and every refusal leaves a line with the target `audit` in the log.
pub struct CertificateAuthority {
    folder: Arc<AuthorityFolder>,
    lifetime: Duration,
    workers: Workers,
    /// The nodes whose requests are in progress.
    in_hand: Rc<RefCell<BTreeSet<NodeId>>>,
}

/// The right of a caller to have a request in progress. It ends when this is dropped.
struct Turn {
    caller: Option<NodeId>,
    in_hand: Rc<RefCell<BTreeSet<NodeId>>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(caller) = &self.caller {
            self.in_hand.borrow_mut().remove(caller);
        }
    }
}

impl CertificateAuthority {
    /// Issues from `folder`; to newcomers for `lifetime`, or as long as the authority holds.
    pub fn new(folder: Arc<AuthorityFolder>, lifetime: Duration) -> Self {
        let workers = Workers::new(NonZeroUsize::MIN, QUEUED_MAX);
        Self { folder, lifetime, workers, in_hand: Rc::default() }
    }

    /// Starts it on this thread: its mailbox, and its address.
    pub fn start_with_mailbox(self) -> (Mailbox<AuthorityProtocol>, Addr<Self>) {
        Mailbox::start_with_address(self)
    }

    /// Whether it is a caller's turn; a node that has a request in progress waits for that one.
    fn turn(&self, caller: Option<&Caller>) -> Option<Turn> {
        let caller = caller.map(|caller| caller.node.clone());
        let free = caller.clone().is_none_or(|caller| self.in_hand.borrow_mut().insert(caller));
        free.then(|| Turn { caller, in_hand: Rc::clone(&self.in_hand) })
    }

    /// Works on the folder; `None` where too much waits for it already.
    fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AuthorityFolder) -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + 'static {
        let (folder, workers) = (Arc::clone(&self.folder), self.workers.clone());
        async move {
            match workers.run(move || work(&folder)).await {
                Ok(done) => Some(done),
                Err(WorkError::Busy) => None,
                // Passed on, so that the caller is told what happened here.
                Err(WorkError::Panicked) => panic!("the work on the authority's folder panicked"),
            }
        }
    }
}

impl Actor for CertificateAuthority {
    type Context = Context<Self>;
}

impl Handler<Call<RenewCertificate>> for CertificateAuthority {
    type Result = Answer<RenewCertificate>;

    fn handle(&mut self, call: Call<RenewCertificate>, _: &mut Self::Context) -> Self::Result {
        let turn = self.turn(call.caller());
        let (caller, request) = (call.caller().cloned(), call.request.clone());
        let renewed = self.work(move |folder| {
            let renewed = renew(folder, &request, caller.as_ref(), SystemTime::now());
            if let Err(refusal) = &renewed {
                let by = caller.as_ref().map_or("this node", |caller| caller.node.as_str());
                limited!(warn, "a certificate was not renewed", audit, node = by, %refusal);
            }
            renewed
        });
        call.answer(async move |_| {
            let busy = Err(RenewalRefusal::Busy { retry_after: RETRY_AFTER });
            let Some(_turn) = turn else { return busy };
            renewed.await.unwrap_or(busy)
        })
    }
}

fn renew(
    folder: &AuthorityFolder,
    RenewCertificate { certificate, request }: &RenewCertificate,
    caller: Option<&Caller>,
    now: SystemTime,
) -> Result<Renewed, RenewalRefusal> {
    let request = RenewalRequest::from_pem(certificate, request).map_err(|error| {
        let reason = printable(&error.to_string());
        match error {
            InvalidRenewal::OtherNode { .. } | InvalidRenewal::OtherKey => {
                RenewalRefusal::NotPermitted { reason }
            }
            _ => RenewalRefusal::Malformed { reason },
        }
    })?;
    let PeerIdentity { id, role, serial, .. } = request.holder();
    if caller.is_some_and(|caller| (&caller.node, caller.role) != (id, *role)) {
        let reason = format!("the certificate is that of the {role} {id}");
        return Err(RenewalRefusal::NotPermitted { reason });
    }
    // First what may fail, then what stays in the register.
    let revoked = folder.revocation_list().map_err(|error| refusal(error, now))?;
    let issued = folder.renew_for_holder(&request, now).map_err(|error| refusal(error, now))?;
    let until = crate::identity::rfc3339(issued.peer.valid_until);
    tracing::info!(
        target: "audit", node = %id, %role, former = %serial, serial = %issued.peer.serial, until,
        "a certificate was renewed"
    );
    Ok(Renewed { certificate: issued.pem, revoked })
}

fn refusal(error: FolderError, now: SystemTime) -> RenewalRefusal {
    match error {
        FolderError::NotTheHolder(_) => RenewalRefusal::NotPermitted { reason: error.to_string() },
        FolderError::WasRevoked(_) => RenewalRefusal::Revoked,
        FolderError::NotDue(from) => {
            RenewalRefusal::NotDue { from: from.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() }
        }
        FolderError::AuthorityEnds(_) => RenewalRefusal::AuthorityEnds,
        FolderError::TooOften(_) => RenewalRefusal::Busy { retry_after: Duration::from_secs(60 * 60) },
        error => {
            let at = crate::identity::rfc3339(now);
            limited!(error, "the authority's folder cannot be used", %error, at);
            RenewalRefusal::Unavailable
        }
    }
}

impl Handler<Call<RevocationList>> for CertificateAuthority {
    type Result = Answer<RevocationList>;

    fn handle(&mut self, call: Call<RevocationList>, _: &mut Self::Context) -> Self::Result {
        let turn = self.turn(call.caller());
        let known = call.request.known;
        let list = self.work(AuthorityFolder::revocation_list);
        call.answer(async move |_| {
            let Some(_turn) = turn else { return Err(ListUnavailable) };
            match list.await {
                Some(Ok(list)) => Ok((known != Some(ContentHash::of(list.as_bytes()))).then_some(list)),
                Some(Err(error)) => {
                    limited!(error, "the authority's revocation list cannot be read", %error);
                    Err(ListUnavailable)
                }
                None => Err(ListUnavailable),
            }
        })
    }
}

/// A newcomer asks for its first certificate.
#[derive(Message)]
#[rtype(result = "EnrolmentOutcome")]
pub(crate) struct EnrolNewcomer {
    pub(crate) enrol: Enrol,
    /// Where it is, for the log.
    pub(crate) from: SocketAddr,
}

impl Handler<EnrolNewcomer> for CertificateAuthority {
    type Result = ResponseFuture<EnrolmentOutcome>;

    fn handle(
        &mut self,
        EnrolNewcomer { enrol, from }: EnrolNewcomer,
        _: &mut Self::Context,
    ) -> Self::Result {
        let lifetime = self.lifetime;
        let enrolled = self.work(move |folder| admit(folder, &enrol, lifetime, from, SystemTime::now()));
        Box::pin(
            async move { enrolled.await.unwrap_or(Err(EnrolmentRefusal::Busy { retry_after: RETRY_AFTER })) },
        )
    }
}

fn admit(
    folder: &AuthorityFolder,
    Enrol { token, request }: &Enrol,
    lifetime: Duration,
    from: SocketAddr,
    now: SystemTime,
) -> EnrolmentOutcome {
    let refused = |node: Option<&JoinToken>, refusal: EnrolmentRefusal| {
        // A name that is only claimed, by whoever holds something that looks like a token.
        let node = node.map_or("", |token| token.id.as_str());
        limited!(warn, "a newcomer was refused", audit, %from, node, %refusal);
        refusal
    };
    let token: JoinToken = token
        .parse()
        .map_err(|error| refused(None, EnrolmentRefusal::Token { reason: format!("{error}") }))?;
    let refused = |refusal| refused(Some(&token), refusal);
    if request.len() > PEM_BYTES_MAX {
        let reason = format!("a signing request of up to {PEM_BYTES_MAX} bytes is expected");
        return Err(refused(EnrolmentRefusal::Malformed { reason }));
    }
    let request = SigningRequest::from_pem(request)
        .map_err(|error| refused(EnrolmentRefusal::Malformed { reason: printable(&error.to_string()) }))?;
    let failed = |error| match error {
        FolderError::Token(refusal) => refused(EnrolmentRefusal::Token { reason: refusal.to_string() }),
        FolderError::NameInUse { id, .. } => refused(EnrolmentRefusal::NameInUse(id)),
        error => {
            limited!(error, "the authority's folder cannot be used", %error);
            refused(EnrolmentRefusal::Unavailable)
        }
    };
    // First what may fail, then what stays in the register.
    let revoked = folder.revocation_list().map_err(failed)?;
    let validity = folder.lasting(lifetime, now).map_err(|error| {
        limited!(error, "the authority cannot certify newcomers any more", %error);
        refused(EnrolmentRefusal::Unavailable)
    })?;
    let issued = folder.enrol(&request, &token, validity, now).map_err(failed)?;
    let PeerIdentity { id, role, serial, .. } = &issued.peer;
    tracing::info!(target: "audit", %from, node = %id, %role, %serial, "a newcomer was given a certificate");
    let authority = folder.authority().certificate_pem().to_owned();
    Ok(Enrolled { certificate: issued.pem, authority, revoked })
}
