//! The table of refusals: each kind of certificate or role that is not good enough, shown by either side, in a
//! handshake in full or one that resumes a session; what both sides come to know, and that no handler did.

use super::{
    certificates::{revoking, start},
    hostile::closed,
    lenient::{Client, Server},
    *,
};
use crate::{
    Refusal as RefusedFor,
    identity::{
        IdentityPem, RevocationList,
        tests::{agent_params, for_purposes, forged, not_nodes, unchecked},
    },
};
use quinn::ConnectionError;
use rcgen::{ExtendedKeyUsagePurpose, IsCa};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use swarm_protocols::{session::CloseCode, wire::frame::Answered};

protocol! { Counted = "counted" { Echo } }

/// What this thread says in its log.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<String>>);

impl Log {
    pub(super) fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        crate::log_limit::forget();
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    pub(super) fn holds(&self, text: &str) -> bool {
        self.0.lock().unwrap().contains(text)
    }

    /// How often it holds `text`.
    pub(super) fn count(&self, text: &str) -> usize {
        self.0.lock().unwrap().matches(text).count()
    }

    /// Waits until it holds `text`, and forgets everything.
    pub(super) async fn says(&self, case: &str, text: &str) {
        let said = async {
            while !self.holds(text) {
                tokio::task::yield_now().await;
            }
        };
        let said = tokio::time::timeout(PATIENCE, said).await;
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        crate::log_limit::forget();
        said.unwrap_or_else(|_| panic!("{case}: {text:?} is not in the log: {all}"));
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("swarm_actors") || metadata.target() == "audit"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Written<'a>(&'a mut String);
        impl tracing::field::Visit for Written<'_> {
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                self.0.push_str(&format!("{field}={value} "));
            }
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
                self.0.push_str(&format!("{field}={value:?} "));
            }
        }
        let mut text = self.0.lock().unwrap();
        text.push_str(&format!("\n{} {} ", event.metadata().level(), event.metadata().target()));
        event.record(&mut Written(&mut text));
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(86_400);

/// A node `agent-1` or `b` that counts, of an authority with a past and a future.
struct World {
    authority: Authority,
    day: Validity,
    reached: Arc<AtomicUsize>,
    log: Log,
    _listening: tracing::subscriber::DefaultGuard,
}

impl World {
    fn new() -> Self {
        let now = SystemTime::now();
        let authority =
            Authority::new("test", Validity::new(now - 100 * DAY, now + 100 * DAY).unwrap()).unwrap();
        let (log, listening) = Log::listen();
        let day = Validity::starting(now, DAY).unwrap();
        Self { authority, day, reached: Arc::default(), log, _listening: listening }
    }

    fn issue(&self, id: &str, role: Role) -> Identity {
        self.authority.issue(&id.parse().unwrap(), role, self.day).unwrap()
    }

    fn revoked(&self, identity: &Identity) -> RevocationList {
        revoking(&self.authority, 1, [&identity.as_peer().serial])
    }

    /// A node whose actor counts what reaches it.
    async fn counting(&self, identity: Identity, allowed: Role) -> (Node, Registration) {
        let node = start(identity).await;
        let registration = self.expose(&node, allowed).await;
        (node, registration)
    }

    async fn expose(&self, node: &Node, allowed: Role) -> Registration {
        let reached = Arc::clone(&self.reached);
        let counter = Answering(move |call: Call<Echo>| {
            reached.fetch_add(1, Ordering::Relaxed);
            Ok(call.request.0)
        })
        .start();
        let mailbox: Mailbox<Counted> = Mailbox::local(counter);
        node.expose("counted", mailbox).allow(allowed).register().await.unwrap()
    }

    fn reached(&self) -> usize {
        self.reached.load(Ordering::Relaxed)
    }
}

/// A certificate that nobody accepts.
struct Wrong {
    case: String,
    shown: Identity,
    /// What the judge knows beside the authority.
    list: RevocationList,
    /// The TLS alert that says it, and words of what both sides are told.
    alert: u64,
    told: String,
}

fn wrong_certificates(world: &World) -> Vec<Wrong> {
    let authority = &world.authority;
    let of = |params: &rcgen::CertificateParams| unchecked(authority.sign(params).unwrap());
    let stranger = |cluster: &str| {
        let theirs = Authority::new(cluster, world.day).unwrap();
        let pem = theirs.issue(&"agent-1".parse().unwrap(), Role::Agent, world.day).unwrap().to_pem().clone();
        // It trusts the cluster, so that only the cluster's judgement of it is seen.
        unchecked(IdentityPem { authority: authority.certificate_pem().to_owned(), ..pem })
    };
    let now = SystemTime::now();
    let past = Validity::new(now - 2 * DAY, now - DAY).unwrap();
    let future = Validity::new(now + DAY, now + 2 * DAY).unwrap();
    let mut of_an_authority = agent_params(world.day);
    of_an_authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let revoked = world.issue("agent-1", Role::Agent);
    let list = world.revoked(&revoked);
    let unlisted = |(case, shown, alert, told): (&str, Identity, u64, &str)| {
        let (case, told) = (case.to_owned(), told.to_owned());
        Wrong { case, shown, list: RevocationList::default(), alert, told }
    };
    let not_nodes = not_nodes().into_iter().map(|(params, cause)| {
        let (case, told) = (cause.to_string(), cause.to_string());
        Wrong { case, shown: of(&params), list: RevocationList::default(), alert: 46, told }
    });
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let purposes = "not for both servers and clients";
    let mut all: Vec<Wrong> = [
        ("for servers only", of(&for_purposes(&[ServerAuth])), 43, purposes),
        ("for clients only", of(&for_purposes(&[ClientAuth])), 43, purposes),
        ("without a purpose", of(&for_purposes(&[])), 43, purposes),
        ("another authority", stranger("another swarm"), 48, "not issued by the authority of the cluster"),
        ("its namesake", stranger("test"), 48, "not issued by the authority of the cluster"),
        ("forged", unchecked(forged(authority, &agent_params(world.day))), 51, "a signature does not match"),
        ("expired", of(&agent_params(past)), 45, "has expired or is not valid yet"),
        ("not yet valid", of(&agent_params(future)), 45, "has expired or is not valid yet"),
        ("of an authority", of(&of_an_authority), 46, "CaUsedAsEndEntity"),
    ]
    .into_iter()
    .map(unlisted)
    .chain(not_nodes)
    .collect();
    let (case, told) = ("revoked".to_owned(), "the certificate was revoked".to_owned());
    all.push(Wrong { case, shown: revoked, list, alert: 44, told });
    all
}

/// What a connection was refused with, where TLS refused it.
fn alert(error: &ConnectionError) -> u64 {
    let code = match error {
        ConnectionError::ConnectionClosed(close) => close.error_code,
        ConnectionError::TransportError(error) => error.code,
        other => panic!("{other}"),
    };
    u64::from(code) - 0x100
}

fn refusal_of(case: &str, result: Result<Peer, ConnectError>) -> String {
    match result {
        Err(ConnectError::Refused { refusal: RefusedFor::Certificate, reason, .. }) => reason,
        other => panic!("{case}: {other:?}"),
    }
}

#[actix::test]
async fn the_table_of_wrong_certificates_shown_by_the_node_that_dials() {
    let world = World::new();
    for Wrong { case, shown, list, alert: number, told } in wrong_certificates(&world) {
        let judge = world.issue("b", Role::Agent).with_revocation_list(&list);
        let (b, _registration) = world.counting(judge, Role::Agent).await;
        let address = b.address().unwrap();

        // A node of ours waits until it is let in.
        let a = start(shown.clone()).await;
        let reason = refusal_of(&case, a.connect("b".parse().unwrap(), address).await);
        assert!(
            reason.starts_with("the peer refused this node: ") && reason.contains(&told),
            "{case}: {reason}"
        );
        world.log.says(&case, "this node refused the peer: ").await;

        // Another peer asks at once, as its part of the handshake is over.
        let client = Client::new(&shown).called("agent-1");
        let connection = client.connect(address).await.expect("it takes itself for connected");
        assert!(!client.push(&connection).await, "{case}");
        assert_eq!(alert(&connection.closed().await), number, "{case}");
        world.log.says(&case, &told).await;

        let seen = b.statistics().await.unwrap();
        assert_eq!((seen.sessions, seen.received), (0, 0), "{case}");
    }
    assert_eq!(world.reached(), 0);
    the_counter_counts(&world).await;
}

/// The control of the tables: what is let in reaches the actor.
async fn the_counter_counts(world: &World) {
    let (b, _registration) = world.counting(world.issue("b", Role::Agent), Role::Agent).await;
    let client = Client::new(&world.issue("agent-1", Role::Agent));
    let connection = client.connect(b.address().unwrap()).await.unwrap();
    let before = world.reached();
    assert!(client.push(&connection).await);
    assert_eq!(world.reached(), before + 1);
}

#[actix::test]
async fn the_table_of_wrong_certificates_shown_by_the_node_that_is_dialled() {
    let world = World::new();
    let unlisted = |case: &str, shown, alert, told: &str| {
        let (case, told) = (case.to_owned(), told.to_owned());
        Wrong { case, shown, list: RevocationList::default(), alert, told }
    };
    let more = [unlisted(
        "another node",
        world.issue("agent-2", Role::Agent),
        42,
        "another node than the expected one",
    )];
    for Wrong { case, shown, list, alert: number, told } in wrong_certificates(&world).into_iter().chain(more)
    {
        // It is the dialler that can be asked here.
        let judge = world.issue("a", Role::Operator).with_revocation_list(&list);
        let (a, _registration) = world.counting(judge, Role::Agent).await;
        for server in [Some(Server::new(&shown, 0)), None] {
            let dial = async |address| match number {
                42 => a.connect("agent-1".parse().unwrap(), address).await,
                _ => a.connect_any(Role::Agent, address).await,
            };
            let reason = if let Some(server) = server {
                let dialled = dial(server.address());
                let (result, (hello, ended)) = tokio::join!(dialled, server.refuse());
                assert_eq!((hello, alert(&ended)), (None, number), "{case}");
                refusal_of(&case, result)
            } else {
                let b = start(shown.clone()).await;
                let reason = refusal_of(&case, dial(b.address().unwrap()).await);
                world.log.says(&case, "the peer refused this node: ").await;
                reason
            };
            assert!(
                reason.starts_with("this node refused the peer: ") && reason.contains(&told),
                "{case}: {reason}"
            );
        }
        let seen = a.statistics().await.unwrap();
        assert_eq!((seen.sessions, seen.received), (0, 0), "{case}");
    }
    assert_eq!(world.reached(), 0);
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[actix::test]
async fn a_node_that_shows_no_certificate_is_refused() {
    let world = World::new();
    let (b, _registration) = world.counting(world.issue("b", Role::Agent), Role::Agent).await;
    let client = Client::with(&world.issue("agent-1", Role::Agent), |config| {
        config.client_auth_cert_resolver = Arc::new(NoCertificate);
    });
    let connection = client.connect(b.address().unwrap()).await.expect("it takes itself for connected");
    assert!(!client.push(&connection).await);
    assert_eq!(alert(&connection.closed().await), 116);
    world.log.says("none", "this node refused the peer: no certificate was shown").await;
    assert_eq!(world.reached(), 0);
}

/// What happens to a node after it has got a ticket, by which it would get in again.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Since {
    Nothing,
    Expired,
    Revoked,
    AuthorityDropped,
    RoleMayNotCall,
}

const SINCE: [Since; 5] =
    [Since::Nothing, Since::Expired, Since::Revoked, Since::AuthorityDropped, Since::RoleMayNotCall];

/// Until the last second of a certificate is over.
async fn expiry(identity: &Identity) {
    let over = identity.valid_until() + Duration::from_secs(1);
    let left = over.duration_since(SystemTime::now()).unwrap_or_default();
    tokio::time::sleep(left + Duration::from_millis(10)).await;
}

impl World {
    /// An identity that is about to expire where the case wants that.
    fn issue_for(&self, since: Since, id: &str, role: Role) -> Identity {
        let now = SystemTime::now();
        let validity = match since {
            Since::Expired => Validity::new(now - DAY, now + Duration::from_secs(2)).unwrap(),
            _ => self.day,
        };
        self.authority.issue(&id.parse().unwrap(), role, validity).unwrap()
    }

    /// Lets a node learn what has happened.
    async fn tell(&self, since: Since, node: &Node, role: Role, shown: &Identity) {
        match since {
            Since::Nothing | Since::RoleMayNotCall => {}
            Since::Expired => expiry(shown).await,
            Since::Revoked => node.set_revocation_list(self.revoked(shown)).await.unwrap(),
            Since::AuthorityDropped => {
                let next = Authority::new("test", self.day).unwrap();
                node.set_identity(next.issue(node.id(), role, self.day).unwrap()).await.unwrap();
            }
        }
    }
}

#[actix::test]
async fn the_table_of_what_has_happened_to_a_client_since_its_ticket() {
    let world = World::new();
    for since in SINCE {
        let case = format!("{since:?}");
        let (b, registration) = world.counting(world.issue("b", Role::Agent), Role::Agent).await;
        let address = b.address().unwrap();
        let shown = world.issue_for(since, "agent-1", Role::Agent);
        let client = Client::new(&shown);
        let first = client.connect(address).await.unwrap();
        assert!(client.push(&first).await, "{case}");
        first.close(0_u8.into(), b"");
        until_alone(&b).await;
        world.tell(since, &b, Role::Agent, &shown).await;
        let _other_registration = match since {
            Since::RoleMayNotCall => {
                drop(registration);
                Some(world.expose(&b, Role::Operator).await)
            }
            _ => None,
        };

        let before = world.reached();
        let connection = client.connect(address).await.unwrap();
        // A mailbox that is exposed again has another route.
        let answer = client.ask(&connection, u32::from(since == Since::RoleMayNotCall)).await;
        let full = client.full();
        match since {
            Since::Nothing => {
                // The control: a session is resumed and served.
                assert!(matches!(answer, Some(Answered::Reply(_))), "{case}: {answer:?}");
                assert_eq!((full, world.reached()), (1, before + 1), "{case}");
                continue;
            }
            // TLS has let it in without a look at its certificate, and the node does not.
            Since::Expired => {
                assert_eq!(full, 1, "{case}");
                let (code, reason) = closed(&connection).await;
                assert_eq!(code, CloseCode::BadCertificate, "{case}: {reason}");
                assert!(reason.contains("the certificate expired at"), "{case}: {reason}");
                world.log.says(&case, "WARN audit message=a connection was refused").await;
            }
            // Its session was forgotten, so that TLS refuses it.
            Since::Revoked | Since::AuthorityDropped => {
                assert_eq!(full, 2, "{case}");
                let number = if since == Since::Revoked { 44 } else { 48 };
                assert_eq!(alert(&connection.closed().await), number, "{case}");
                world.log.says(&case, "this node refused the peer: ").await;
            }
            // The session is open, and the request is answered with a refusal.
            Since::RoleMayNotCall => {
                let Some(Answered::Undelivered(DeliveryError::NotPermitted { reason })) = answer else {
                    panic!("{case}: {answer:?}");
                };
                assert_eq!(reason, "counted may not be called by the role agent");
                assert_eq!((full, connection.close_reason()), (1, None), "{case}");
                world.log.says(&case, "WARN audit").await;
            }
        }
        assert_eq!(world.reached(), before, "{case}");
    }
}

#[actix::test]
async fn the_table_of_what_has_happened_to_a_server_since_its_ticket() {
    let world = World::new();
    for since in SINCE {
        let case = format!("{since:?}");
        let (a, _registration) = world.counting(world.issue("a", Role::Operator), Role::Agent).await;
        let shown = world.issue_for(since, "agent-1", Role::Agent);
        let server = Server::new(&shown, 0);
        let dial = async || {
            let dialled = a.connect("agent-1".parse().unwrap(), server.address());
            tokio::join!(dialled, server.refuse())
        };
        let (_, (hello, _)) = dial().await;
        assert_eq!((hello, server.believer.full()), (Some(()), 1), "{case}");
        world.tell(since, &a, Role::Operator, &shown).await;

        let (result, (hello, ended)) = dial().await;
        let full = server.believer.full();
        match since {
            Since::Nothing | Since::RoleMayNotCall => assert_eq!((full, hello), (1, Some(())), "{case}"),
            Since::Expired => {
                assert_eq!((full, hello), (1, None), "{case}");
                let reason = refusal_of(&case, result);
                assert!(reason.contains("the certificate expired at"), "{case}: {reason}");
                let ConnectionError::ApplicationClosed(close) = ended else { panic!("{case}: {ended}") };
                assert_eq!(close.error_code.into_inner(), CloseCode::BadCertificate as u64, "{case}");
                world.log.says(&case, "a connection was refused").await;
            }
            Since::Revoked | Since::AuthorityDropped => {
                assert_eq!(hello, None, "{case}");
                let number = if since == Since::Revoked { 44 } else { 48 };
                assert_eq!(alert(&ended), number, "{case}");
                let reason = refusal_of(&case, result);
                assert!(reason.starts_with("this node refused the peer: "), "{case}: {reason}");
            }
        }
    }
    assert_eq!(world.reached(), 0);
}

#[actix::test]
async fn the_table_of_roles_and_requests() {
    let world = World::new();
    let (b, _registration) = world.counting(world.issue("b", Role::Agent), Role::Operator).await;
    for role in [Role::Coordinator, Role::Agent, Role::Operator] {
        let a = start(world.issue(&format!("a-{role}"), role)).await;
        a.connect("b".parse().unwrap(), b.address().unwrap()).await.unwrap();
        let counted: Mailbox<Counted> = a.resolve("b/counted").await.unwrap();
        let before = world.reached();
        let answer = counted.ask(Echo(vec![1])).await;
        if role == Role::Operator {
            assert_eq!((answer, world.reached()), (Ok(vec![1]), before + 1), "{role}");
            continue;
        }
        let Err(AskError::Delivery(DeliveryError::NotPermitted { reason })) = answer else {
            panic!("{role}: {answer:?}");
        };
        assert_eq!(reason, format!("counted may not be called by the role {role}"));
        assert_eq!(world.reached(), before, "{role}");
        world.log.says(role.as_str(), "WARN audit").await;
    }
}
