//! Requests in early data: asked by a node whose session is lost, before it has another one.

use super::{
    certificates::{revoking, start},
    hostile::{Stage, staged},
    newcomers::is_question,
    *,
};
use crate::identity::EarlyData;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::{net::UdpSocket, sync::mpsc};

#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "look", reply = Vec<u8>, idempotent)]
pub(super) struct Look(pub(super) Vec<u8>);

#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "change", reply = Vec<u8>)]
pub(super) struct Change(pub(super) Vec<u8>);

protocol! { pub(super) Kept = "kept" { Look, Change } }

/// What has reached the actor `b/kept`, which may hold its answers back.
#[derive(Clone, Default)]
pub(super) struct Reached {
    looks: Arc<AtomicUsize>,
    changes: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
    held: Arc<AtomicBool>,
}

impl Reached {
    pub(super) fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    pub(super) fn changes(&self) -> usize {
        self.changes.load(Ordering::Relaxed)
    }

    /// Whose callers wait no more.
    pub(super) fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Looks are not answered.
    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }
}

impl Actor for Reached {
    type Context = Context<Self>;
}

/// Counts a call that ends without an answer.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Handler<Call<Look>> for Reached {
    type Result = crate::Answer<Look>;

    fn handle(&mut self, call: Call<Look>, _: &mut Self::Context) -> Self::Result {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let (held, cancelled) = (self.held.load(Ordering::Relaxed), Counted(Arc::clone(&self.cancelled)));
        call.answer(async move |call| {
            if held {
                let _cancelled = cancelled;
                std::future::pending::<()>().await;
            } else {
                std::mem::forget(cancelled);
            }
            Ok(call.request.0)
        })
    }
}

impl Handler<Call<Change>> for Reached {
    type Result = Result<Vec<u8>, NoError>;

    fn handle(&mut self, call: Call<Change>, _: &mut Self::Context) -> Self::Result {
        self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(call.request.0)
    }
}

/// The routes of `b/kept` on a [`Stage`], behind the two of its service.
pub(super) const LOOK: u32 = 2;
pub(super) const CHANGE: u32 = 3;

/// A stage whose node also exposes `b/kept`.
pub(super) async fn kept(configure: impl FnOnce(&mut NodeConfig)) -> (Stage, Reached, Registration) {
    let stage = staged(configure).await;
    let reached = Reached::default();
    let registration = expose(&stage.node, &reached, Role::Operator).await;
    (stage, reached, registration)
}

pub(super) async fn expose(node: &Node, reached: &Reached, role: Role) -> Registration {
    let mailbox: Mailbox<Kept> = Mailbox::start(reached.clone());
    node.expose("kept", mailbox).allow(role).register().await.unwrap()
}

/// Carries datagrams between one client and a node, and can be told to carry none.
#[derive(Clone)]
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    /// What the client has sent.
    pub(super) sent: Arc<Mutex<Vec<Vec<u8>>>>,
    mute: Arc<AtomicBool>,
    /// The client's early data comes behind its handshake.
    late: Arc<AtomicBool>,
}

impl Relay {
    pub(super) async fn to(node: SocketAddr) -> Self {
        let bind = async || UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = (Arc::new(bind().await), Arc::new(bind().await));
        let relay = Self {
            address: near.local_addr().unwrap(),
            sent: Arc::default(),
            mute: Arc::default(),
            late: Arc::default(),
        };
        let (clients, mut client) = mpsc::unbounded_channel();
        let Self { sent, mute, late, .. } = relay.clone();
        actix_rt::spawn({
            let (near, far) = (Arc::clone(&near), Arc::clone(&far));
            async move {
                let (mut buffer, mut held) = (vec![0; 64 << 10], Vec::new());
                while let Ok((length, from)) = near.recv_from(&mut buffer).await {
                    if is_question(&buffer[..length]) {
                        continue;
                    }
                    let _same = clients.send(from);
                    sent.lock().unwrap().push(buffer[..length].to_vec());
                    let datagram = &mut buffer[..length];
                    // Short headers are of those who are through with the handshake.
                    let complete = datagram[0] & 0x80 == 0;
                    if late.load(Ordering::Relaxed) && !complete {
                        held.extend(take_early(datagram));
                    }
                    far.send_to(datagram, node).await.unwrap();
                    if complete {
                        for early in held.drain(..) {
                            far.send_to(&early, node).await.unwrap();
                        }
                    }
                }
            }
        });
        actix_rt::spawn(async move {
            let (mut buffer, mut to) = (vec![0; 64 << 10], None);
            while let Ok((length, _)) = far.recv_from(&mut buffer).await {
                while let Ok(latest) = client.try_recv() {
                    to = Some(latest);
                }
                if !mute.load(Ordering::Relaxed)
                    && let Some(to) = to
                {
                    near.send_to(&buffer[..length], to).await.unwrap();
                }
            }
        });
        relay
    }

    /// Nothing gets back to the client.
    pub(super) fn mute(&self, mute: bool) {
        self.mute.store(mute, Ordering::Relaxed);
    }
}

/// Takes the packets of early data out of a datagram, and leaves nothing in their place.
fn take_early(datagram: &mut [u8]) -> Vec<Vec<u8>> {
    let (mut early, mut at) = (Vec::new(), 0);
    while datagram.get(at).is_some_and(|first| first & 0x80 != 0) {
        // RFC 9000, section 17.2: version, both ids, in an initial packet a token, and the length of the rest.
        let kind = datagram[at] >> 4 & 3;
        let mut rest = bytes::Bytes::copy_from_slice(&datagram[at + 5..]);
        let before = rest.len();
        for _ in 0..2 {
            let id = rest.split_to(1)[0];
            rest = rest.split_off(id.into());
        }
        let mut varint = || {
            let (bytes, value) = (1 << (rest[0] >> 6), &rest);
            let read = value[1..bytes]
                .iter()
                .fold(u64::from(value[0] & 0x3f), |read, byte| read << 8 | u64::from(*byte));
            rest = rest.split_off(bytes);
            read as usize
        };
        if kind == 0 {
            assert_eq!(varint(), 0, "nobody has asked for a token");
        }
        let length = varint();
        let end = at + 5 + before - rest.len() + length;
        if kind == 1 {
            early.push(datagram[at..end].to_vec());
            datagram[at..end].fill(0);
        }
        at = end;
    }
    early
}

/// A node `a` that follows `b/kept`, has asked once, and has no session any more, but could resume one.
async fn lost(stage: &Stage, address: SocketAddr) -> (Node, Mailbox<Kept>) {
    let a = start(stage.operator("a")).await;
    lost_by(&a, stage, address).await
}

async fn lost_by(a: &Node, stage: &Stage, address: SocketAddr) -> (Node, Mailbox<Kept>) {
    a.connect(stage.node.id().clone(), address).await.unwrap();
    let kept = a.resolve_following("b/kept").await.unwrap();
    assert_eq!(kept.ask(Look(vec![0])).await, Ok(vec![0]));
    disconnect(a, stage).await;
    (a.clone(), kept)
}

async fn disconnect(a: &Node, stage: &Stage) {
    a.disconnect(stage.node.id()).await;
    until_alone(a).await;
    until_alone(&stage.node).await;
}

/// How many requests came in early data.
pub(super) async fn early(node: &Node) -> u64 {
    node.statistics().await.unwrap().received_early
}

#[actix::test]
async fn what_may_be_done_twice_is_answered_before_there_is_a_session() {
    let (stage, reached, _registration) = kept(|_| {}).await;
    let relay = Relay::to(stage.node.address().unwrap()).await;
    let (a, kept) = lost(&stage, relay.address).await;

    reached.hold(true);
    relay.mute(true);
    let asked = tokio::spawn({
        let kept = kept.clone();
        async move { kept.ask(Look(vec![1])).await }
    });
    // Nothing has got back to the one who asks, so that its handshake cannot be complete.
    until("it is reached", async || reached.looks() == 2).await;
    assert_eq!(early(&stage.node).await, 1);
    assert_eq!(a.statistics().await.unwrap().sessions, 0);
    relay.mute(false);
    until("it connects", async || a.statistics().await.unwrap().sessions == 1).await;
    assert!(!asked.is_finished());

    // Whoever leaves cancels it, also after the handshake.
    asked.abort();
    until("it is cancelled", async || reached.cancelled() == 1).await;
    reached.hold(false);

    for round in 2..5 {
        disconnect(&a, &stage).await;
        assert_eq!(kept.ask(Look(vec![round])).await, Ok(vec![round]));
        until("it connects", async || a.statistics().await.unwrap().sessions == 1).await;
        // It is told of the name in an event that takes its time.
        until("it follows", async || kept.ask(Change(vec![9])).await == Ok(vec![9])).await;
    }
    assert_eq!((early(&stage.node).await, reached.looks()), (4, 5));
    assert_eq!(stage.node.statistics().await.unwrap().received, 8);
}

#[actix::test]
async fn what_may_not_be_done_twice_ends_with_the_session_and_dials_nobody() {
    let (stage, reached, _registration) = kept(|_| {}).await;
    let (a, kept) = lost(&stage, stage.node.address().unwrap()).await;
    let Err(AskError::Delivery(DeliveryError::SessionLost { delivery, .. })) =
        kept.ask(Change(vec![1])).await
    else {
        panic!("it is not answered")
    };
    assert_eq!(delivery, Delivery::NotSent);
    let plain: Mailbox<Kept> = {
        a.connect(stage.node.id().clone(), stage.node.address().unwrap()).await.unwrap();
        a.resolve("b/kept").await.unwrap()
    };
    disconnect(&a, &stage).await;
    let lost = plain.ask(Look(vec![1])).await;
    assert!(matches!(lost, Err(AskError::Delivery(DeliveryError::SessionLost { .. }))), "{lost:?}");
    assert_eq!((reached.looks(), reached.changes(), early(&stage.node).await), (1, 0, 0));
    assert_eq!(a.statistics().await.unwrap().sessions, 0);
}

#[actix::test]
async fn what_does_not_fit_into_early_data_is_asked_in_the_session() {
    let (stage, reached, _registration) = kept(|_| {}).await;
    let (a, kept) = lost(&stage, stage.node.address().unwrap()).await;
    // The request is too long.
    let long = vec![7; 20_000];
    assert_eq!(kept.ask(Look(long.clone())).await, Ok(long));
    assert_eq!((early(&stage.node).await, reached.looks()), (0, 2));
    // There are too many of them, with one dial.
    disconnect(&a, &stage).await;
    let many = (0..40).map(async |number| assert_eq!(kept.ask(Look(vec![number])).await, Ok(vec![number])));
    futures_util::future::join_all(many).await;
    assert_eq!((early(&stage.node).await, reached.looks()), (16, 42));
    assert_eq!(a.statistics().await.unwrap().sessions, 1);
}

#[actix::test]
async fn where_early_data_is_refused_the_request_is_asked_in_the_session() {
    // The acceptor wants none, or does not know the ticket: it was started again, or has another identity.
    let (stage, reached, _registration) = kept(|config| config.early_data = EarlyData::Refused).await;
    let (_a, kept_there) = lost(&stage, stage.node.address().unwrap()).await;
    assert_eq!(kept_there.ask(Look(vec![1])).await, Ok(vec![1]));
    assert_eq!((early(&stage.node).await, reached.looks()), (0, 2));

    let (stage, reached, registration) = kept(|_| {}).await;
    let address = stage.node.address().unwrap();
    let (_a, kept_there) = lost(&stage, address).await;
    let identity = stage.authority.issue(stage.node.id(), Role::Agent, stage.day).unwrap();
    stage.node.set_identity(identity.clone()).await.unwrap();
    assert_eq!(kept_there.ask(Look(vec![1])).await, Ok(vec![1]), "another identity");
    assert_eq!((early(&stage.node).await, reached.looks()), (0, 2));

    registration.detach();
    stage.node.stop(Duration::ZERO).await;
    until("the next one listens", async || {
        let config = NodeConfig { listen: address, ..NodeConfig::new(identity.clone(), address) };
        let Ok(next) = Node::start(config).await else { return false };
        expose(&next, &reached, Role::Operator).await.detach();
        assert_eq!(kept_there.ask(Look(vec![2])).await, Ok(vec![2]), "it was started again");
        assert_eq!((early(&next).await, reached.looks()), (0, 3));
        true
    })
    .await;
}

#[actix::test]
async fn a_node_that_has_turned_early_data_off_sends_none() {
    let (stage, reached, _registration) = kept(|_| {}).await;
    let mut config = NodeConfig::new(stage.operator("a"), "127.0.0.1:0".parse().unwrap());
    config.early_data = EarlyData::Refused;
    let a = Node::start(config).await.unwrap();
    let (_, kept) = lost_by(&a, &stage, stage.node.address().unwrap()).await;
    assert_eq!(kept.ask(Look(vec![1])).await, Ok(vec![1]));
    assert_eq!((early(&stage.node).await, reached.looks()), (0, 2));
}

#[actix::test]
async fn an_early_request_that_comes_behind_the_handshake_is_served_in_the_session() {
    let (stage, reached, _registration) = kept(|_| {}).await;
    let relay = Relay::to(stage.node.address().unwrap()).await;
    // It comes behind the end of the handshake, and waits for the session like any other.
    let (_a, kept_there) = lost(&stage, relay.address).await;
    relay.late.store(true, Ordering::Relaxed);
    assert_eq!(kept_there.ask(Look(vec![1])).await, Ok(vec![1]));
    assert_eq!((early(&stage.node).await, reached.looks()), (0, 2));
}

#[actix::test]
async fn an_early_request_whose_connection_is_lost_is_asked_again() {
    let (stage, reached, _registration) = kept(|_| {}).await;
    let (a, kept) = lost(&stage, stage.node.address().unwrap()).await;
    reached.hold(true);
    let asked = tokio::spawn(async move { kept.ask(Look(vec![1])).await });
    until("it is reached", async || reached.looks() == 2).await;
    until("it connects", async || stage.node.statistics().await.unwrap().sessions == 1).await;
    reached.hold(false);
    stage.node.disconnect(a.id()).await;
    assert_eq!(asked.await.unwrap(), Ok(vec![1]));
    assert_eq!((early(&stage.node).await, reached.looks(), reached.cancelled()), (1, 3, 1));
}

#[actix::test]
async fn an_early_request_ends_at_its_deadline_and_with_the_dial() {
    let (stage, reached, registration) = kept(|_| {}).await;
    let relay = Relay::to(stage.node.address().unwrap()).await;
    let mut config = NodeConfig::new(stage.operator("a"), "127.0.0.1:0".parse().unwrap());
    config.timing.handshake = Duration::from_secs(2);
    let a = Node::start(config).await.unwrap();
    let (_, kept) = lost_by(&a, &stage, relay.address).await;
    relay.mute(true);
    let timeout = Duration::from_millis(200);
    let late = kept.ask(Look(vec![1])).timeout(timeout).await;
    let Err(AskError::Delivery(DeliveryError::TimedOut { after, delivery })) = late else {
        panic!("{late:?}")
    };
    assert!(after.as_millis().abs_diff(timeout.as_millis()) <= 1, "{after:?}");
    assert_eq!(delivery, Delivery::Unknown);
    assert_eq!(reached.looks(), 2);
    // The same dial still goes on, and fails.
    let lost = kept.ask(Look(vec![2])).await;
    let Err(AskError::Delivery(DeliveryError::SessionLost { reason, delivery })) = lost else {
        panic!("{lost:?}")
    };
    assert!(reason.contains("did not answer within 2s"), "{reason}");
    assert_eq!(delivery, Delivery::Unknown);
    drop(registration);
}

#[actix::test]
async fn a_node_sends_nothing_early_to_one_whose_certificate_does_not_hold_any_more() {
    let (stage, reached, _registration) = kept(|_| {}).await;
    // It has expired since: both sides would refuse the session.
    let now = SystemTime::now();
    let short = Validity::new(now - Duration::from_secs(60), now + Duration::from_secs(3)).unwrap();
    let shown = stage.authority.issue(&"b".parse().unwrap(), Role::Agent, short).unwrap();
    stage.node.set_identity(shown.clone()).await.unwrap();
    let (a, kept_there) = lost(&stage, stage.node.address().unwrap()).await;
    let over = shown.valid_until() + Duration::from_secs(1);
    tokio::time::sleep(over.duration_since(SystemTime::now()).unwrap_or_default()).await;
    let refused = kept_there.ask(Look(vec![1])).await;
    let Err(AskError::Delivery(DeliveryError::SessionLost { reason, delivery })) = refused else {
        panic!("{refused:?}")
    };
    assert!(reason.contains("expired"), "{reason}");
    assert_eq!((delivery, reached.looks()), (Delivery::NotSent, 1));

    // It was revoked since, which this side alone knows.
    let renewed = stage.authority.issue(&"b".parse().unwrap(), Role::Agent, stage.day).unwrap();
    stage.node.set_identity(renewed.clone()).await.unwrap();
    let (a, kept_there) = lost_by(&a, &stage, stage.node.address().unwrap()).await;
    a.set_revocation_list(revoking(&stage.authority, 1, [&renewed.as_peer().serial])).await.unwrap();
    let refused = kept_there.ask(Look(vec![1])).await;
    let Err(AskError::Delivery(DeliveryError::SessionLost { reason, delivery })) = refused else {
        panic!("{refused:?}")
    };
    assert!(reason.contains("revoked"), "{reason}");
    assert_eq!((delivery, reached.looks(), early(&stage.node).await), (Delivery::NotSent, 2, 0));
}

#[actix::test]
async fn a_node_that_was_never_dialled_is_not_dialled() {
    let (stage, _reached, _registration) = kept(|_| {}).await;
    let a = start(stage.operator("a")).await;
    let there = expose(&a, &Reached::default(), Role::Agent).await;
    a.connect(stage.node.id().clone(), stage.node.address().unwrap()).await.unwrap();
    let kept_there: Mailbox<Kept> = stage.node.resolve_following("a/kept").await.unwrap();
    disconnect(&a, &stage).await;
    let lost = kept_there.ask(Look(vec![1])).await;
    let Err(AskError::Delivery(DeliveryError::SessionLost { reason, .. })) = lost else { panic!("{lost:?}") };
    assert!(reason.contains("has never dialled it"), "{reason}");
    drop(there);
}
