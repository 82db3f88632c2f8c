//! What nodes are answered, over sessions in memory.

use super::*;
use crate::{
    AskError, Node,
    identity::{Identity, OnExisting, RevocationList as List, Validity},
    temp_folder::TempFolder,
    testing::{self, MemoryNode},
};
use actix::Actor;
use std::fs;
use swarm_protocols::Role;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority's folder of one test's own, removed at its end.
pub(crate) struct Place {
    path: TempFolder,
    pub(crate) folder: Arc<AuthorityFolder>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let path = TempFolder::new();
        let century = Validity::starting(SystemTime::now(), DAY * 36_500).unwrap();
        let folder = Arc::new(AuthorityFolder::init(&path.join("ca"), "orchard", century).unwrap());
        Self { path, folder }
    }

    /// An identity that is due for renewal.
    pub(crate) fn due(&self, id: &str, role: Role) -> Identity {
        let now = SystemTime::now();
        let due = Validity::new(now - DAY, now + DAY / 24).unwrap();
        self.folder.issue(&id.parse().unwrap(), role, due, OnExisting::Replace).unwrap()
    }

    pub(crate) fn actor(&self) -> Addr<CertificateAuthority> {
        CertificateAuthority::new(Arc::clone(&self.folder), 90 * DAY).start()
    }

    fn issued(&self) -> usize {
        self.folder.register().unwrap().certificates().len()
    }
}

fn asking(identity: &Identity) -> RenewCertificate {
    let request = SigningRequest::with_key(identity.id(), &identity.to_pem().key).unwrap();
    RenewCertificate {
        certificate: identity.to_pem().certificate.clone(),
        request: request.to_pem().to_owned(),
    }
}

/// An authority on `hub`, as the agent `agent-1` reaches it, with the two nodes.
async fn reached(actor: Addr<CertificateAuthority>) -> (Mailbox<AuthorityProtocol>, (Node, Node)) {
    let [hub, agent] =
        [("hub", Role::Coordinator), ("agent-1", Role::Agent)].map(|(id, role)| MemoryNode::new(id, role));
    let (hub, agent, _cut) = testing::pair(hub, agent).await;
    let mailbox = Mailbox::<AuthorityProtocol>::local(actor);
    hub.expose(AUTHORITY_NAME, mailbox).allow(Role::Agent).register().await.unwrap().detach();
    let mailbox = agent.resolve("hub/certificate-authority").await.unwrap();
    (mailbox, (hub, agent))
}

#[actix::test]
async fn a_node_is_given_a_certificate_of_its_own_id_and_role_and_no_other() {
    let place = Place::new();
    let (authority, _nodes) = reached(place.actor()).await;
    let own = place.due("agent-1", Role::Agent);
    let renewed = authority.ask(asking(&own)).await.unwrap();
    let peer = PeerIdentity::from_certificate(&certificate(&renewed.certificate)).unwrap();
    assert_eq!((peer.id.as_str(), peer.role), ("agent-1", Role::Agent));
    assert!(List::from_pem(&renewed.revoked, place.folder.authority().certificate_pem()).is_ok());

    let issued = place.issued();
    for other in [place.due("agent-2", Role::Agent), place.due("agent-1", Role::Coordinator)] {
        let refused = authority.ask(asking(&other)).await.unwrap_err();
        assert!(matches!(&refused, AskError::Handler(RenewalRefusal::NotPermitted { .. })), "{refused}");
    }
    assert_eq!(place.issued(), issued + 2, "those that the test issued");
}

fn certificate(pem: &str) -> rustls::pki_types::CertificateDer<'static> {
    rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap()
}

#[actix::test]
async fn a_refusal_says_what_the_matter_is() {
    let place = Place::new();
    let authority = Mailbox::<AuthorityProtocol>::local(place.actor());
    let refused = async |request| match authority.ask(request).await {
        Err(AskError::Handler(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let due = place.due("a", Role::Agent);
    let garbage = RenewCertificate { request: "garbage".into(), ..asking(&due) };
    assert!(matches!(refused(garbage).await, RenewalRefusal::Malformed { .. }));
    let unlisted = place.folder.authority();
    let today = Validity::starting(SystemTime::now(), DAY).unwrap();
    let unlisted = unlisted.issue(&"a".parse().unwrap(), Role::Agent, today).unwrap();
    assert!(matches!(refused(asking(&unlisted)).await, RenewalRefusal::NotPermitted { .. }));
    let early = place.folder.issue(&"b".parse().unwrap(), Role::Agent, today, OnExisting::Refuse).unwrap();
    let RenewalRefusal::NotDue { from } = refused(asking(&early)).await else { panic!("it is not due") };
    assert!(SystemTime::UNIX_EPOCH + from > SystemTime::now() + DAY / 2);
    for _ in 0..crate::identity::RENEWALS_MAX {
        authority.ask(asking(&due)).await.unwrap();
    }
    assert!(matches!(refused(asking(&due)).await, RenewalRefusal::Busy { .. }));
    place.folder.revoke(&"a".parse().unwrap(), SystemTime::now()).unwrap();
    assert_eq!(refused(asking(&due)).await, RenewalRefusal::Revoked);
    fs::write(place.path.join("ca/register.txt"), "damaged").unwrap();
    assert_eq!(refused(asking(&early)).await, RenewalRefusal::Unavailable);
}

#[actix::test]
async fn the_revocation_list_is_sent_to_those_who_do_not_have_it() {
    let place = Place::new();
    let (authority, _nodes) = reached(place.actor()).await;
    let first = authority.ask(RevocationList { known: None }).await.unwrap().unwrap();
    let known = Some(ContentHash::of(first.as_bytes()));
    assert_eq!(authority.ask(RevocationList { known }).await, Ok(None));
    let gone = place.due("gone", Role::Agent);
    place.folder.revoke(gone.id(), SystemTime::now()).unwrap();
    let second = authority.ask(RevocationList { known }).await.unwrap().unwrap();
    let list = List::from_pem(&second, place.folder.authority().certificate_pem()).unwrap();
    assert!(list.check(gone.as_peer()).is_err());
    fs::write(place.path.join("ca/revoked.pem"), "damaged").unwrap();
    assert_eq!(authority.ask(RevocationList { known }).await, Err(AskError::Handler(ListUnavailable)));
}

#[actix::test]
async fn what_waits_for_the_folder_is_bounded() {
    let place = Place::new();
    let actor = CertificateAuthority::new(Arc::clone(&place.folder), DAY);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let working = actor.work(move |_| held.recv().is_err());
    let mut waiting: Vec<_> = (0..QUEUED_MAX).map(|_| Box::pin(actor.work(|_| false))).collect();
    let mut working = Box::pin(working);
    // Each takes its place when it is polled for the first time.
    assert!(futures_util::poll!(&mut working).is_pending());
    for one in &mut waiting {
        assert!(futures_util::poll!(one).is_pending());
    }
    let mailbox = Mailbox::<AuthorityProtocol>::local(actor.start());
    let busy = mailbox.ask(RevocationList { known: None }).await;
    assert_eq!(busy, Err(AskError::Handler(ListUnavailable)));
    let busy = mailbox.ask(asking(&place.due("a", Role::Agent))).await;
    assert!(matches!(busy, Err(AskError::Handler(RenewalRefusal::Busy { .. }))), "{busy:?}");
    drop(release);
    assert_eq!(working.await, Some(true));
    drop(waiting);
    mailbox.ask(RevocationList { known: None }).await.unwrap();
}

#[actix::test]
async fn a_node_has_one_request_in_hand_and_does_not_crowd_out_others() {
    let place = Place::new();
    let actor = CertificateAuthority::new(Arc::clone(&place.folder), DAY);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let mut working = Box::pin(actor.work(move |_| held.recv().is_err()));
    assert!(futures_util::poll!(&mut working).is_pending());
    let actor = actor.start();
    let local = Mailbox::<AuthorityProtocol>::local(actor.clone());
    let (authority, _nodes) = reached(actor).await;
    let list = || RevocationList { known: None };
    // Both travel on one lane, so the second comes after the first.
    let mut first = Box::pin(authority.ask(list()).into_future());
    assert!(futures_util::poll!(&mut first).is_pending());
    let refused = authority.ask(list()).await;
    assert_eq!(refused, Err(AskError::Handler(ListUnavailable)));
    drop(release);
    assert_eq!(working.await, Some(true));
    local.ask(list()).await.unwrap();
    first.await.unwrap();
    authority.ask(list()).await.unwrap();
}
