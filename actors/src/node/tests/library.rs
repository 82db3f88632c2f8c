//! What a program needs of its node beside asking: connections that are kept, a thread of its own.

use super::*;
use crate::{ConnectionState, PeerAddress};

/// The identities of `a`, a coordinator, and `b`, an agent.
fn identities() -> [Identity; 2] {
    let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400)).unwrap();
    let authority = Authority::new("test", day).unwrap();
    [("a", Role::Coordinator), ("b", Role::Agent)]
        .map(|(id, role)| authority.issue(&id.parse().unwrap(), role, day).unwrap())
}

fn loopback(identity: &Identity) -> NodeConfig {
    NodeConfig::new(identity.clone(), "127.0.0.1:0".parse().unwrap())
}

#[actix::test]
async fn a_kept_connection_is_dialled_again_when_its_peer_comes_back() {
    let [a, b] = identities();
    let first = Node::start(loopback(&a)).await.unwrap();
    let address = first.address().unwrap();
    let node = Node::start(loopback(&b)).await.unwrap();
    let kept = node.keep_connected(a.id().clone(), address.into()).await;
    let before = kept.connected().await;
    assert_eq!(kept.attempted().await, Ok(before.clone()));

    first.stop(Duration::ZERO).await;
    let mut states = kept.states();
    let lost = states.wait_for(|state| matches!(state, ConnectionState::Lost { .. })).await.unwrap().clone();
    let ConnectionState::Lost { ended: Some(ended), .. } = lost else { panic!("{lost:?}") };
    assert!(!ended.is_empty());
    let second = Node::start(NodeConfig { listen: address, ..loopback(&a) }).await.unwrap();
    assert_ne!(kept.connected().await.session, before.session);

    drop(kept);
    second.stop(Duration::ZERO).await;
    // Nobody dials any more: the sender of the states goes with the task that dialled.
    while states.changed().await.is_ok() {}
}

#[cfg(unix)]
#[actix::test]
async fn a_node_that_polls_busily_lets_others_work_and_stops_with_it() {
    /// What this thread computes while it has nothing else to do.
    async fn computed() -> Duration {
        let now =
            || Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)).unwrap();
        let before = now();
        tokio::time::sleep(Duration::from_millis(200)).await;
        now() - before
    }
    let [a, b] = identities();
    let first = Node::start(NodeConfig { busy_poll: true, ..loopback(&a) }).await.unwrap();
    let second = Node::start(loopback(&b)).await.unwrap();
    second.connect(a.id().clone(), first.address().unwrap()).await.unwrap();
    assert_eq!(first.sessions().await.len(), 1);
    let busy = computed().await;
    first.stop(Duration::ZERO).await;
    let idle = computed().await;
    assert!(busy > 2 * idle, "{busy:?} while it polls, and {idle:?} when it has stopped");
}

#[actix::test]
async fn a_node_that_dials_where_nobody_listens_is_told_at_once() {
    let [a, b] = identities();
    let address = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let node = Node::start(loopback(&b)).await.unwrap();
    // A handshake has 5 s.
    let dialled = tokio::time::timeout(Duration::from_secs(2), node.connect(a.id().clone(), address));
    let error = dialled.await.expect("it waits").unwrap_err();
    let said =
        format!("a at {address} cannot be reached: nobody listens there; a node listens on a UDP port");
    assert_eq!(error.to_string(), said);
}

#[actix::test]
async fn a_connection_is_kept_before_there_is_anybody() {
    let [a, b] = identities();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let timing = Timing { handshake: Duration::from_millis(200), ..Timing::default() };
    let node = Node::start(NodeConfig { timing, ..loopback(&b) }).await.unwrap();
    let kept = node.keep_connected(a.id().clone(), address.into()).await;
    let error = kept.attempted().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("a at {address} did not answer within 200ms; a node listens on a UDP port")
    );
    let unknown: PeerAddress = "no-such-host.invalid:7400".parse().unwrap();
    let lost = node.keep_connected(a.id().clone(), unknown).await;
    let error = lost.attempted().await.unwrap_err().to_string();
    assert!(error.starts_with("a at no-such-host.invalid:7400 cannot be looked up: "), "{error}");
    drop(silent);
    let _late = Node::start(NodeConfig { listen: address, ..loopback(&a) }).await.unwrap();
    assert_eq!(kept.connected().await.node, *a.id());
}

#[test]
fn a_node_works_where_no_actix_system_runs() {
    let [a, b] = identities();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (a, b) = (Node::start(loopback(&a)).await.unwrap(), Node::start(loopback(&b)).await.unwrap());
        let service = b.run(server).await;
        b.expose("service", service).allow(Role::Coordinator).register().await.unwrap().detach();
        a.connect(b.id().clone(), b.address().unwrap()).await.unwrap();
        let service: Mailbox<Service> = a.resolve("b/service").await.unwrap();
        // From any thread of the runtime.
        let asked = tokio::spawn(async move { service.ask(Echo(vec![7])).await });
        assert_eq!(asked.await.unwrap(), Ok(vec![7]));
        a.stop(Duration::from_secs(5)).await;
        b.stop(Duration::from_secs(5)).await;
    });
}

#[actix::test]
async fn a_mailbox_follows_its_peer_to_the_next_incarnation() {
    let [a, b] = identities();
    let first = Node::start(loopback(&a)).await.unwrap();
    let address = first.address().unwrap();
    first.expose("service", server()).allow(Role::Agent).register().await.unwrap().detach();
    let node = Node::start(loopback(&b)).await.unwrap();
    let kept = node.keep_connected(a.id().clone(), address.into()).await;
    kept.connected().await;
    let following: Mailbox<Service> = node.resolve_following("a/service").await.unwrap();
    let lasting: Mailbox<Service> = node.resolve("a/service").await.unwrap();
    assert_eq!(following.ask(Echo(vec![1])).await, Ok(vec![1]));

    first.stop(Duration::ZERO).await;
    let mut states = kept.states();
    states.wait_for(|state| matches!(state, ConnectionState::Lost { .. })).await.unwrap();
    let lost = following.ask(Echo(vec![2])).await.unwrap_err();
    let AskError::Delivery(lost) = lost;
    assert_eq!(lost.delivery(), Delivery::NotSent, "{lost}");

    let second = Node::start(NodeConfig { listen: address, ..loopback(&a) }).await.unwrap();
    second.expose("service", server()).allow(Role::Agent).register().await.unwrap().detach();
    kept.connected().await;
    // It is told of the name in a frame and an event that take their time.
    until("it follows", async || following.ask(Echo(vec![3])).await == Ok(vec![3])).await;
    assert!(lasting.ask(Echo(vec![3])).await.is_err(), "one that does not follow stays lost");
}

protocol! { Small = "small" { Echo } }

/// Says when it is dropped, which is when nobody has a mailbox of it.
struct Needed(#[expect(dead_code, reason = "its drop is heard")] tokio::sync::oneshot::Sender<()>);

impl Actor for Needed {
    type Context = Context<Self>;
}

impl Handler<Call<Echo>> for Needed {
    type Result = Result<Vec<u8>, NoError>;

    fn handle(&mut self, call: Call<Echo>, _: &mut Self::Context) -> Self::Result {
        Ok(call.request.0)
    }
}

#[actix::test]
async fn a_mailbox_that_was_given_up_at_any_moment_is_followed_no_longer() {
    let (node, _other, _cut) = pair(memory("a", Role::Operator), memory("b", Role::Agent)).await;
    let mut polls = 0;
    loop {
        let (needed, dropped) = tokio::sync::oneshot::channel();
        let mailbox = Mailbox::<Small>::start(Needed(needed));
        let registration = node.expose("small", mailbox).allow(Role::Agent).register().await.unwrap();
        let mut resolving = Box::pin(node.resolve_following::<Small>("a/small"));
        let mut is_found = false;
        for _ in 0..polls {
            is_found = (&mut resolving).now_or_never().is_some();
            if is_found {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop((resolving, registration));
        let gone = tokio::time::timeout(Duration::from_secs(5), dropped).await;
        assert!(gone.is_ok(), "the follower is left after {polls} polls");
        if is_found {
            return;
        }
        polls += 1;
    }
}
