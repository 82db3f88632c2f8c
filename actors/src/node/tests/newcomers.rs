//! Nodes that connect while others keep the node busy with connections that lead to nothing.

use super::{
    hostile::{hello, stage},
    *,
};
use crate::{
    identity::{KeyExchange, server_name},
    node::Refusal as Refused,
};
use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
};
use swarm_protocols::wire::frame::STREAM_CONTROL;
use tokio::{net::UdpSocket, sync::watch};

/// A client at `from` that follows a Retry and hears nothing else: between it and the node lies this relay.
async fn begin_and_stay_silent(
    client: &quinn::Endpoint,
    config: quinn::ClientConfig,
    from: IpAddr,
    to: SocketAddr,
) {
    let relay = UdpSocket::bind((from, 0)).await.unwrap();
    let connecting = client.connect_with(config, relay.local_addr().unwrap(), server_name(None)).unwrap();
    let pass_on = async {
        let (mut datagram, home) = (vec![0; 64 << 10], client.local_addr().unwrap());
        loop {
            let (length, source) = relay.recv_from(&mut datagram).await.unwrap();
            // A Retry has a long header of type 3 (RFC 9000, section 17.2.5).
            let retry = datagram[0] & 0xf0 == 0xf0;
            let target = if source == home { to } else { home };
            if source == home || retry {
                relay.send_to(&datagram[..length], target).await.unwrap();
            }
        }
    };
    tokio::select! {
        () = pass_on => {}
        _never = connecting => {}
    }
}

#[actix::test]
async fn a4_nobody_is_refused_while_one_address_fills_the_handshakes_and_stays_silent() {
    let stage = stage().await;
    let to = stage.node.address().unwrap();
    let (silent, other): (IpAddr, IpAddr) = ([127, 0, 0, 2].into(), [127, 0, 0, 1].into());
    let client = quinn::Endpoint::client((silent, 0).into()).unwrap();
    let config = stage.operator("mallory").client_config(None, KeyExchange::default(), EarlyData::default());
    let mut refused = Vec::new();
    for round in 0..16 {
        for _ in 0..20 {
            let (client, config) = (client.clone(), config.clone());
            actix_rt::spawn(async move { begin_and_stay_silent(&client, config, silent, to).await });
        }
        // Half of the honest ones are behind the same address.
        let from = if round % 2 == 0 { other } else { silent };
        let identity = stage.operator(&format!("good-{round}"));
        let good = Node::start(NodeConfig::new(identity, (from, 0).into())).await.unwrap();
        if let Err(error) = good.connect("b".parse().unwrap(), to).await {
            refused.push(error);
        }
        good.stop(Duration::ZERO).await;
    }
    assert_eq!(refused, []);
}

#[actix::test]
async fn a7_one_certificate_holds_few_connections_that_say_nothing() {
    let stage = stage().await;
    let mallory = stage.operator("mallory");
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(stage.connect_as(&mallory).await);
    }
    for connection in &held[16..] {
        let (code, reason) = super::hostile::closed(connection).await;
        assert_eq!(code, swarm_protocols::session::CloseCode::Refused);
        assert_eq!(reason, "mallory has 16 sessions in their handshake or about to end");
    }
    assert!(held[..16].iter().all(|connection| connection.close_reason().is_none()));
    stage.session_as(&stage.operator("good")).await;
}

#[actix::test]
async fn a10_an_operator_with_too_many_sessions_is_told_to_try_again_later() {
    let stage = stage().await;
    let (mut sessions, alice) = (Vec::new(), stage.operator("alice"));
    for _ in 0..32 {
        sessions.push(stage.session_as(&alice).await);
    }
    let refused = async |identity: Identity| {
        let node = Node::start(NodeConfig::new(identity, "127.0.0.1:0".parse().unwrap())).await.unwrap();
        match node.connect("b".parse().unwrap(), stage.node.address().unwrap()).await {
            Err(ConnectError::Refused { refusal, reason, .. }) => (refusal, reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(alice).await, (Refused::Busy, "session limit of alice reached (32)".to_owned()));
    // So is one whose connections that say nothing are too many.
    let (mut silent, bob) = (Vec::new(), stage.operator("bob"));
    for _ in 0..16 {
        let connection = stage.connect_as(&bob).await;
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&[&[STREAM_CONTROL], &hello("bob")[..7]].concat()).await.unwrap();
        silent.push((connection, send, recv));
    }
    let (refusal, reason) = refused(bob).await;
    assert_eq!(refusal, Refused::Busy);
    assert!(reason.contains("bob has 16 sessions in their handshake or about to end"), "{reason}");
}

/// Whether a datagram only asks whether a port is open.
pub(super) fn is_question(datagram: &[u8]) -> bool {
    datagram == [0]
}

/// Passes datagrams between whoever sends first and the node at the address of the moment.
async fn relay(socket: UdpSocket, target: watch::Receiver<SocketAddr>) {
    let (mut datagram, mut client) = (vec![0; 64 << 10], None);
    loop {
        let (length, source) = socket.recv_from(&mut datagram).await.unwrap();
        if is_question(&datagram[..length]) {
            continue;
        }
        let client = *client.get_or_insert(source);
        let target = *target.borrow();
        let to = match source {
            _ if source == client => target,
            _ if source == target => client,
            _ => continue,
        };
        socket.send_to(&datagram[..length], to).await.unwrap();
    }
}

#[actix::test]
async fn s8_a_peer_that_was_killed_and_restarted_at_its_address_is_noticed_by_the_next_call() {
    let stage = stage().await;
    let identity = stage.authority.issue(&"c".parse().unwrap(), Role::Agent, stage.day).unwrap();
    let start = async || {
        let config = NodeConfig::new(identity.clone(), "127.0.0.1:0".parse().unwrap());
        let node = Node::start(config).await.unwrap();
        node.expose("service", server()).allow(Role::Operator).register().await.unwrap().detach();
        node
    };
    let (killed, restarted) = (start().await, start().await);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, target) = (socket.local_addr().unwrap(), watch::Sender::new(killed.address().unwrap()));
    actix_rt::spawn(relay(socket, target.subscribe()));
    let a = Node::start(NodeConfig::new(stage.operator("a"), "127.0.0.1:0".parse().unwrap())).await.unwrap();
    a.connect("c".parse().unwrap(), address).await.unwrap();
    let service: Mailbox<Service> = a.resolve("c/service").await.unwrap();
    assert_eq!(service.ask(Echo(vec![1; 100])).await, Ok(vec![1; 100]));
    target.send_replace(restarted.address().unwrap());
    // Nothing more is heard of the one that was killed. A second is far from the ten of a silent peer.
    let asked = tokio::time::timeout(Duration::from_secs(1), service.ask(Echo(vec![2; 100])).into_future());
    let lost = asked.await.expect("it is not noticed");
    assert!(matches!(lost, Err(AskError::Delivery(DeliveryError::SessionLost { .. }))), "{lost:?}");
    let service: Mailbox<Service> = resolve_soon(&a, "c/service").await;
    assert_eq!(service.ask(Echo(vec![3])).await, Ok(vec![3]));
}

#[actix::test]
async fn s8_another_process_at_the_address_of_one_that_is_gone_is_found_by_the_next_resolve() {
    let stage = stage().await;
    let start = async || {
        // With a key of its own, so that nothing in what it answers tells of the former one.
        let identity = stage.authority.issue(&"c".parse().unwrap(), Role::Agent, stage.day).unwrap();
        let node = Node::start(NodeConfig::new(identity, "127.0.0.1:0".parse().unwrap())).await.unwrap();
        node.expose("service", server()).allow(Role::Operator).register().await.unwrap().detach();
        node
    };
    let (gone, next) = (start().await, start().await);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, target) = (socket.local_addr().unwrap(), watch::Sender::new(gone.address().unwrap()));
    actix_rt::spawn(relay(socket, target.subscribe()));
    let mut config = NodeConfig::new(stage.operator("a"), "127.0.0.1:0".parse().unwrap());
    // Nothing else notices it in the time of this test.
    config.timing.silence = Duration::from_secs(60);
    let a = Node::start(config).await.unwrap();
    a.connect("c".parse().unwrap(), address).await.unwrap();
    let former: Mailbox<Service> = resolve_soon(&a, "c/service").await;
    target.send_replace(next.address().unwrap());
    until("the next one is found", async || {
        // It is the one that is gone until that has been silent for a while.
        let found: Mailbox<Service> = a.resolve("c/service").await.unwrap();
        found.ask(Echo(vec![1])).timeout(Duration::from_millis(100)).await == Ok(vec![1])
    })
    .await;
    let lost = former.ask(Echo(vec![1])).await;
    assert!(matches!(lost, Err(AskError::Delivery(DeliveryError::SessionLost { .. }))), "{lost:?}");
}

/// A node that has asked another one behind a relay, which sends elsewhere when it is told so.
struct Relayed {
    service: Mailbox<Service>,
    target: watch::Sender<SocketAddr>,
    relay: actix_rt::task::JoinHandle<()>,
    _asker: Node,
    _stage: super::hostile::Stage,
}

async fn relayed(silence: Duration) -> Relayed {
    let stage = stage().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, target) = (socket.local_addr().unwrap(), watch::Sender::new(stage.node.address().unwrap()));
    let relay = actix_rt::spawn(relay(socket, target.subscribe()));
    let mut config = NodeConfig::new(stage.operator("a"), "127.0.0.1:0".parse().unwrap());
    config.timing.silence = silence;
    let asker = Node::start(config).await.unwrap();
    asker.connect("b".parse().unwrap(), address).await.unwrap();
    let service: Mailbox<Service> = asker.resolve("b/service").await.unwrap();
    assert_eq!(service.ask(Echo(vec![1])).await, Ok(vec![1]));
    Relayed { service, target, relay, _asker: asker, _stage: stage }
}

/// Why the session ended over which something is asked.
async fn lost(service: &Mailbox<Service>) -> String {
    let asked = tokio::time::timeout(Duration::from_secs(10), service.ask(Echo(vec![2])).into_future());
    match asked.await.expect("it is not noticed") {
        Err(AskError::Delivery(DeliveryError::SessionLost { reason, .. })) => reason,
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn s8_a_peer_that_was_killed_for_good_is_noticed_by_a_call_that_waits_for_it() {
    let Relayed { service, relay, .. } = &relayed(Duration::from_secs(60)).await;
    relay.abort();
    assert_eq!(lost(service).await, "nothing listens at the peer's address");
}

#[actix::test]
async fn s8_a_peer_that_is_held_up_is_waited_for_until_it_was_silent_for_too_long() {
    let Relayed { service, target, .. } = &relayed(Duration::from_secs(5)).await;
    // Its socket is open, and nobody looks at what comes there.
    let held_up = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    target.send_replace(held_up.local_addr().unwrap());
    let reason = lost(service).await;
    assert!(reason.starts_with("nothing was heard for 5"), "{reason}");
}

/// A firewall between the node to which `inner` is connected, the only one that it lets in, and whoever dials `outer`. It
/// loses everything while it is told to.
async fn firewall(outer: UdpSocket, inner: UdpSocket, loses: watch::Receiver<bool>) {
    let (mut out, mut back, mut client) = (vec![0; 64 << 10], vec![0; 64 << 10], None);
    loop {
        tokio::select! {
            Ok((length, source)) = outer.recv_from(&mut out) => {
                if is_question(&out[..length]) || *loses.borrow() {
                    continue;
                }
                client = Some(source);
                inner.send(&out[..length]).await.unwrap();
            }
            Ok(length) = inner.recv(&mut back) => {
                if let Some(client) = client && !*loses.borrow() {
                    outer.send_to(&back[..length], client).await.unwrap();
                }
            }
        }
    }
}

#[actix::test]
async fn a_peer_behind_what_refuses_strangers_is_waited_for() {
    let stage = stage().await;
    let mut config = NodeConfig::new(stage.operator("a"), "127.0.0.1:0".parse().unwrap());
    // A ping has a quarter of the handshake.
    let (heartbeat, silence) = (Duration::from_millis(500), Duration::from_secs(60));
    config.timing = Timing { handshake: 2 * heartbeat, heartbeat, silence, ..config.timing };
    let a = Node::start(config).await.unwrap();
    let outer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let inner = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    inner.connect(a.address().unwrap()).await.unwrap();
    let (address, loses) = (outer.local_addr().unwrap(), watch::Sender::new(false));
    actix_rt::spawn(firewall(outer, inner, loses.subscribe()));
    stage.node.connect("a".parse().unwrap(), address).await.unwrap();
    let service: Mailbox<Service> = resolve_soon(&a, "b/service").await;
    assert_eq!(service.ask(Echo(vec![1])).await, Ok(vec![1]));

    loses.send_replace(true);
    let mut asked = pin!(service.ask(Echo(vec![2])).into_future());
    let ended = tokio::time::timeout(Duration::from_secs(2), &mut asked).await;
    assert!(ended.is_err(), "the session ended although the peer is there: {ended:?}");
    loses.send_replace(false);
    assert_eq!(asked.await, Ok(vec![2]));
}
