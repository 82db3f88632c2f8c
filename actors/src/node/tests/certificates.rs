//! Certificates that are revoked, replaced or expire while a node runs, over QUIC on loopback.

use super::{
    hostile::{Stage, closed, stage},
    *,
};
use crate::{
    identity::{IdentityPem, KeyExchange, PeerChain, RevocationList, Serial},
    quic_bridge::{Attach, SetRevocationList},
    session::{SessionChange, SessionEvent},
    transport::{Connection, Shown, quic::QuicLink},
};
use std::{cell::Cell, sync::Arc, time::Instant};
use swarm_protocols::{
    peers::{SessionKey, Side},
    session::CloseCode,
};

/// Revoking ends a session in less than this.
const AT_ONCE: Duration = Duration::from_secs(1);

pub(super) fn revoking<'a>(
    authority: &Authority,
    number: u64,
    serials: impl IntoIterator<Item = &'a Serial>,
) -> RevocationList {
    let now = SystemTime::now();
    let revoked = serials.into_iter().map(|serial| (serial.clone(), now));
    let pem = authority.revocation_list(number, revoked, now).unwrap();
    RevocationList::from_pem(&pem, authority.certificate_pem()).unwrap()
}

pub(super) async fn start(identity: Identity) -> Node {
    Node::start(NodeConfig::new(identity, "127.0.0.1:0".parse().unwrap())).await.unwrap()
}

/// Waits until the session with `peer` has ended, and gives the reason.
async fn down(seen: &mut Subscription<PeerEvent>, peer: &str) -> String {
    let ended = async {
        loop {
            match seen.next().await.expect("the node runs") {
                PeerEvent::Down { node, reason } if node.as_str() == peer => return reason,
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the session goes on")
}

impl Stage {
    pub(super) async fn revoke(&self, number: u64, identity: &Identity) {
        let list = revoking(&self.authority, number, [&identity.as_peer().serial]);
        self.node.set_revocation_list(list).await.unwrap();
    }

    /// A node that is connected with `b`, and its way to the service there.
    async fn served(&self, identity: Identity) -> (Node, Mailbox<Service>) {
        let node = start(identity).await;
        node.connect("b".parse().unwrap(), self.node.address().unwrap()).await.unwrap();
        let service = node.resolve("b/service").await.unwrap();
        (node, service)
    }
}

#[actix::test]
async fn revoking_a_node_ends_its_live_session_and_what_is_in_flight() {
    let stage = stage().await;
    let identity = stage.operator("a");
    let (a, service) = stage.served(identity.clone()).await;
    let (mut seen_by_a, mut seen_by_b) = (a.watch(), stage.node.watch());
    let (_good, other) = stage.served(stage.operator("good")).await;

    let asked = service.ask(Misbehave::Never).into_future();
    let began = Cell::new(Instant::now());
    let (answer, ()) = tokio::join!(asked, async {
        // The request is at work when the revocation comes.
        while stage.node.statistics().await.unwrap().received == 0 {}
        began.set(Instant::now());
        stage.revoke(1, &identity).await;
    });
    let Err(AskError::Delivery(DeliveryError::SessionLost { reason, .. })) = answer else {
        panic!("{answer:?}");
    };
    assert!(reason.contains("was revoked"), "{reason}");
    assert!(down(&mut seen_by_a, "b").await.contains("was revoked"));
    assert!(down(&mut seen_by_b, "a").await.contains("was revoked"));
    assert!(began.get().elapsed() < AT_ONCE, "{:?}", began.get().elapsed());
    assert_eq!(other.ask(Echo(vec![1])).await, Ok(vec![1]));
}

#[actix::test]
async fn a_revoked_peer_reads_the_code_for_bad_certificates() {
    let stage = stage().await;
    let identity = stage.operator("raw");
    let (open, _send, _recv, _) = stage.session_as(&identity).await;
    // One that never says hello is no less revoked.
    let silent = stage.connect_as(&identity).await;
    let began = Instant::now();
    stage.revoke(1, &identity).await;
    for connection in [open, silent] {
        let (code, reason) = closed(&connection).await;
        assert_eq!(code, CloseCode::BadCertificate, "{reason}");
        assert!(reason.contains(&identity.as_peer().serial.to_string()), "{reason}");
    }
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

#[actix::test]
async fn an_older_list_or_none_lets_nobody_in_again() {
    let stage = stage().await;
    let identity = stage.operator("a");
    stage.revoke(2, &identity).await;
    stage.node.set_revocation_list(revoking(&stage.authority, 1, [])).await.unwrap();
    let renewed = stage.authority.issue(stage.node.id(), Role::Agent, stage.day).unwrap();
    stage.node.set_identity(renewed).await.unwrap();
    let a = start(identity.clone()).await;
    let refused = a.connect("b".parse().unwrap(), stage.node.address().unwrap()).await;
    assert!(matches!(refused, Err(ConnectError::Refused { .. })), "{refused:?}");

    stage.node.set_revocation_list(revoking(&stage.authority, 3, [])).await.unwrap();
    a.connect("b".parse().unwrap(), stage.node.address().unwrap()).await.unwrap();
}

#[actix::test]
async fn a_node_dials_with_its_new_certificate() {
    let stage = stage().await;
    let old = stage.operator("a");
    let a = start(old.clone()).await;
    a.set_identity(stage.operator("a")).await.unwrap();
    stage.revoke(1, &old).await;
    a.connect("b".parse().unwrap(), stage.node.address().unwrap()).await.unwrap();
}

#[actix::test]
async fn one_authority_takes_over_from_another_while_nodes_run() {
    let stage = stage().await;
    let next = Authority::new("test", stage.day).unwrap();
    let both = [stage.authority.certificate_pem(), next.certificate_pem()].concat();
    let trusting = |authority: &str, identity: Identity| {
        Identity::from_pem(IdentityPem { authority: authority.to_owned(), ..identity.to_pem().clone() })
            .unwrap()
    };
    let of_next = |id: &str, role| next.issue(&id.parse().unwrap(), role, stage.day).unwrap();
    let (old_a, service) = stage.served(trusting(&both, stage.operator("a"))).await;
    let mut seen_by_a = old_a.watch();

    // First everyone trusts both, then everyone gets a certificate of the next one.
    let old_b = stage.authority.issue(stage.node.id(), Role::Agent, stage.day).unwrap();
    stage.node.set_identity(trusting(&both, old_b)).await.unwrap();
    stage.node.set_identity(trusting(&both, of_next("b", Role::Agent))).await.unwrap();
    assert_eq!(service.ask(Echo(vec![1])).await, Ok(vec![1]));
    let (_c, of_c) = stage.served(trusting(&both, of_next("c", Role::Operator))).await;

    // In the end the former authority is trusted no more, nor is what it issued.
    stage.node.set_identity(of_next("b", Role::Agent)).await.unwrap();
    let reason = down(&mut seen_by_a, "b").await;
    assert!(reason.contains("its authority is no longer that of the cluster"), "{reason}");
    assert_eq!(of_c.ask(Echo(vec![2])).await, Ok(vec![2]));
    let refused = old_a.connect("b".parse().unwrap(), stage.node.address().unwrap()).await;
    assert!(matches!(refused, Err(ConnectError::Refused { .. })), "{refused:?}");
}

#[actix::test]
async fn a_session_ends_when_the_certificate_of_its_peer_expires() {
    let stage = stage().await;
    let now = SystemTime::now();
    let short = Validity::new(now - Duration::from_secs(60), now + Duration::from_secs(2)).unwrap();
    let identity = stage.authority.issue(&"a".parse().unwrap(), Role::Operator, short).unwrap();
    let until = identity.valid_until();
    let (a, service) = stage.served(identity).await;
    let mut seen_by_a = a.watch();
    assert_eq!(service.ask(Echo(vec![1])).await, Ok(vec![1]));
    let reason = down(&mut seen_by_a, "b").await;
    assert!(reason.contains("the certificate expired at"), "{reason}");
    let late = SystemTime::now().duration_since(until + Duration::from_secs(1)).expect("not too early");
    assert!(late < Duration::from_secs(1), "{late:?}");
    assert!(service.ask(Echo(vec![1])).await.is_err());
}

#[actix::test]
async fn an_identity_is_replaced_by_one_of_the_same_node_only() {
    let stage = stage().await;
    let issue =
        |id: &str, role, validity| stage.authority.issue(&id.parse().unwrap(), role, validity).unwrap();
    for (id, role) in [("c", Role::Agent), ("b", Role::Coordinator)] {
        let error = stage.node.set_identity(issue(id, role, stage.day)).await.unwrap_err();
        assert!(matches!(error, SetIdentityError::OtherNode { .. }), "{error}");
    }
    let now = SystemTime::now();
    let past = Validity::new(now - Duration::from_secs(60), now - Duration::from_secs(30)).unwrap();
    let error = stage.node.set_identity(issue("b", Role::Agent, past)).await.unwrap_err();
    assert!(matches!(error, SetIdentityError::OutsideValidity(_)), "{error}");
    stage.node.stop(Duration::ZERO).await;
    let error = stage.node.set_identity(issue("b", Role::Agent, stage.day)).await.unwrap_err();
    assert_eq!(error, SetIdentityError::NodeStopped);
}

/// Two ends of a connection, of which `lenient` has accepted the one of `peer`.
async fn met(lenient: &Identity, peer: &Identity) -> [quinn::Connection; 2] {
    let any = "127.0.0.1:0".parse().unwrap();
    let listening =
        quinn::Endpoint::server(lenient.server_config(KeyExchange::default(), EarlyData::default()), any)
            .unwrap();
    let dialling = quinn::Endpoint::client(any).unwrap();
    let config = peer.client_config(None, KeyExchange::default(), EarlyData::default());
    let connecting = dialling.connect_with(config, listening.local_addr().unwrap(), "b").unwrap();
    let accepted = async { listening.accept().await.unwrap().await.unwrap() };
    let (connection, accepted) = tokio::join!(async { connecting.await.unwrap() }, accepted);
    [connection, accepted]
}

#[actix::test]
async fn a_connection_is_judged_by_what_the_node_knows_when_its_session_begins() {
    let stage = stage().await;
    let stranger = Authority::new("test", stage.day).unwrap();
    let foreign = stranger.issue(&"a".parse().unwrap(), Role::Operator, stage.day).unwrap();
    let both = [stage.authority.certificate_pem(), stranger.certificate_pem()].concat();
    let trusting = |identity: Identity| {
        Identity::from_pem(IdentityPem { authority: both.clone(), ..identity.to_pem().clone() }).unwrap()
    };
    let lenient = stage.authority.issue(&"b".parse().unwrap(), Role::Agent, stage.day).unwrap();
    let (lenient, revoked) = (trusting(lenient), stage.operator("a"));
    stage.revoke(1, &revoked).await;

    // The handshake lets them in, as one would that resumes a session or began before the revocation.
    for (peer, why) in [(revoked, "was revoked"), (trusting(foreign), "its authority is no longer")] {
        let [connection, accepted] = met(&lenient, &peer).await;
        let shown = PeerChain::of(&accepted).unwrap();
        let (opened, open) = tokio::sync::oneshot::channel();
        let attach = Attach {
            side: Side::Acceptor,
            connection: Connection::certified(
                Arc::new(QuicLink::new(accepted)),
                Shown { own: lenient.as_peer().serial.clone(), peer: shown },
                Arbiters::one().place(),
            ),
            follows: None,
            opened: Some(opened),
        };
        stage.node.bridge.send(attach).await.unwrap();
        let (refusal, refused) = open.await.unwrap().unwrap_err();
        assert_eq!(refusal, crate::Refusal::Certificate);
        assert!(refused.contains(why), "{refused}");
        let (code, reason) = closed(&connection).await;
        assert_eq!((code, reason), (CloseCode::BadCertificate, refused));
    }
}

#[actix::test]
async fn a_node_that_was_revoked_while_it_said_hello_drives_nobody_out() {
    let stage = stage().await;
    let [good, revoked, lenient] = ["a", "a", "b"]
        .map(|id| stage.authority.issue(&id.parse().unwrap(), Role::Agent, stage.day).unwrap());
    let a = start(good).await;
    a.connect("b".parse().unwrap(), stage.node.address().unwrap()).await.unwrap();
    let good = seen_of_a(&stage).await;
    let [connection, accepted] = met(&lenient, &revoked).await;
    let attach = Attach {
        side: Side::Acceptor,
        connection: Connection::certified(
            Arc::new(QuicLink::new(accepted.clone())),
            Shown { own: lenient.as_peer().serial.clone(), peer: PeerChain::of(&accepted).unwrap() },
            Arbiters::one().place(),
        ),
        follows: None,
        opened: None,
    };
    let list = revoking(&stage.authority, 1, [&revoked.as_peer().serial]);
    // Its wish for a place is on its way when the list comes: it is the second session of this node.
    let asked =
        SessionEvent { session: SessionKey(2), change: SessionChange::Asked { incarnation: u64::MAX } };
    stage.node.bridge.do_send(attach);
    stage.node.bridge.do_send(SetRevocationList(list));
    stage.node.bridge.do_send(asked);
    assert_eq!(seen_of_a(&stage).await, good);
    assert_eq!(closed(&connection).await.0, CloseCode::BadCertificate);
    assert_eq!(seen_of_a(&stage).await, good);
}

/// The id of the only session with `a`, and the certificate shown there.
async fn seen_of_a(stage: &Stage) -> Vec<(uuid::Uuid, Option<Serial>)> {
    let of = |session: crate::SessionStatistics| {
        (session.peer.session, session.certificate.map(|certificate| certificate.serial))
    };
    stage.node.sessions().await.into_iter().map(of).collect()
}
