//! Two nodes over a network with faults.

use super::*;
use crate::{Node, PeerEvent, ResolveError, Subscription};
use futures_util::future::join_all;
use swarm_protocols::{Role, session::Timing};
use tokio::time::Instant;

/// A caller, a callee that answers by itself, and the way between them.
struct Stage {
    service: Mailbox<Service>,
    partition: Partition,
    _callee: MockGuard,
    nodes: [Node; 2],
}

async fn stage(network: Network) -> Stage {
    tokio::time::pause();
    let (a, b) = (MemoryNode::new("a", Role::Operator), MemoryNode::new("b", Role::Agent));
    let (a, b, partition) = pair_over(a, b, network).await;
    let callee =
        MockActor::<Service>::new().on::<Echo>(|echo| Ok(echo.0.clone())).on::<Open>(|open| Ok(open.0));
    let (mailbox, guard) = callee.start();
    b.expose("service", mailbox).allow(Role::Operator).register().await.unwrap().detach();
    let service = resolve_soon(&a, "b/service").await;
    Stage { service, partition, _callee: guard, nodes: [a, b] }
}

fn jittery(seed: u64) -> Network {
    Network::new(seed, 5 * MS..45 * MS)
}

fn lossy(seed: u64) -> Network {
    Network { loss: 0.2, duplication: 0.1, ..jittery(seed) }
}

/// In an actix system, and a runtime, of its own.
fn run<T>(test: impl Future<Output = T>) -> T {
    actix::System::new().block_on(test)
}

/// When each of 40 requests, sent every three milliseconds, was answered: half of them on a stream of
/// their own, half on a lane.
async fn order(network: Network) -> Vec<(u128, u8)> {
    let Stage { service, _callee, .. } = stage(network).await;
    let (service, began) = (&service, Instant::now());
    let asks = (0..40_u8).map(async |number| {
        tokio::time::sleep_until(began + u32::from(number) * 3 * MS).await;
        let ask = service.ask(Echo(vec![number]));
        let answer = if number % 2 == 0 { ask.on_own_stream().await } else { ask.await };
        assert_eq!(answer, Ok(vec![number]));
        (began.elapsed().as_millis(), number)
    });
    let mut order = join_all(asks).await;
    order.sort_unstable();
    order
}

#[test]
fn a_seed_gives_the_same_events_again_and_another_seed_gives_others() {
    for network in [jittery, lossy] {
        let first = run(order(network(1)));
        for _ in 0..3 {
            assert_eq!(first, run(order(network(1))));
        }
        assert_ne!(first, run(order(network(2))));
    }
}

#[actix::test]
async fn streams_overtake_each_other_and_a_lane_keeps_its_order() {
    let (lane, own): (Vec<_>, Vec<_>) =
        order(lossy(3)).await.into_iter().partition(|(_, number)| number % 2 == 1);
    // The order of numbers; they are sorted by time.
    assert!(lane.is_sorted_by_key(|(_, number)| *number), "{lane:?}");
    assert!(!own.is_sorted_by_key(|(_, number)| *number), "{own:?}");
}

#[actix::test]
async fn a_request_takes_two_delays() {
    let Stage { service, _callee, .. } = stage(jittery(4)).await;
    for _ in 0..50 {
        let began = Instant::now();
        service.ask(Open(1)).await.unwrap();
        // Each of the two timers is up to a millisecond late.
        assert!((10 * MS..=92 * MS).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}

#[actix::test]
async fn requests_of_every_size_survive_the_loss_of_a_fifth() {
    let Stage { service, nodes, _callee, .. } = stage(lossy(5)).await;
    let asks = (0..200_usize).map(|number| {
        let (service, sent) = (service.clone(), vec![number as u8; (number % 20) * 1_000]);
        async move {
            let ask = service.ask(Echo(sent.clone()));
            let answer = if number % 2 == 0 { ask.on_own_stream().await } else { ask.await };
            assert_eq!(answer, Ok(sent));
        }
    });
    join_all(asks).await;
    let long: Vec<u8> = (0..2_000_000_u32).map(|at| at as u8).collect();
    assert_eq!(service.ask(Echo(long.clone())).await, Ok(long));
    assert_eq!(nodes[0].statistics().await.unwrap().sessions, 1);
}

#[actix::test]
async fn a_partition_shorter_than_the_silence_bound_loses_nothing() {
    let Stage { service, partition, nodes, _callee, .. } = stage(lossy(6)).await;
    let asks = (0..50_u8).map(|number| {
        let service = service.clone();
        actix_rt::spawn(async move {
            let ask = service.ask(Echo(vec![number]));
            if number % 2 == 0 { ask.on_own_stream().await } else { ask.await }
        })
    });
    // Some are under way when the network splits, some are sent into the split.
    let mut asks: Vec<_> = asks.collect();
    tokio::time::sleep(20 * MS).await;
    partition.split();
    let late = service.clone();
    asks.push(actix_rt::spawn(async move { late.ask(Echo(vec![50])).await }));
    let Timing { silence, heartbeat, .. } = Timing::default();
    tokio::time::sleep(silence - heartbeat - SECOND).await;
    assert!(!asks[50].is_finished());
    partition.heal();
    for (answer, number) in join_all(asks).await.into_iter().zip(0..) {
        assert_eq!(answer.unwrap(), Ok(vec![number]));
    }
    assert_eq!(nodes[0].statistics().await.unwrap().sessions, 1);
}

#[actix::test]
async fn s8_a_peer_that_does_not_answer_is_noticed_by_the_next_resolve_and_its_session_goes_on() {
    let Stage { service, partition, nodes: [a, _b], _callee, .. } = stage(jittery(6)).await;
    let Timing { handshake, heartbeat, .. } = Timing::default();
    let resolve = async || {
        let began = Instant::now();
        let found = a.resolve::<Service>("b/service").await;
        (found.map(drop), began.elapsed())
    };
    // Whoever was heard lately is not asked whether it is there.
    tokio::time::sleep(10 * heartbeat).await;
    assert_eq!(resolve().await, (Ok(()), Duration::ZERO));
    partition.split();
    tokio::time::sleep(heartbeat + SECOND).await;
    let (found, took) = resolve().await;
    assert!(matches!(found, Err(ResolveError::Silent { .. })), "{found:?}");
    assert!(took < handshake / 4 + 10 * MS, "{took:?}");
    partition.heal();
    assert_eq!(service.ask(Echo(vec![1])).await, Ok(vec![1]), "it was only slow");
    assert_eq!(resolve().await.0, Ok(()));
    assert_eq!(a.statistics().await.unwrap().sessions, 1);
}

#[actix::test]
async fn a_longer_partition_ends_both_sessions_and_a_new_one_can_be_had() {
    let Stage { service, mut partition, nodes: [a, b], _callee, .. } = stage(jittery(7)).await;
    let (mut seen_by_a, mut seen_by_b) = (watch(&a).await, watch(&b).await);
    partition.split();
    let lost = service.ask(Echo(vec![1])).await;
    let Err(AskError::Delivery(DeliveryError::SessionLost { reason, .. })) = lost else { panic!("{lost:?}") };
    assert!(reason.starts_with("nothing was heard for 10"), "{reason}");
    for seen in [&mut seen_by_a, &mut seen_by_b] {
        let Some(PeerEvent::Down { reason, .. }) = seen.next().await else { panic!("no end") };
        assert!(reason.starts_with("nothing was heard for 10"), "{reason}");
    }
    partition.heal();
    partition.reconnect().await;
    let service: Mailbox<Service> = resolve_soon(&a, "b/service").await;
    assert_eq!(service.ask(Echo(vec![2])).await, Ok(vec![2]));
}

#[actix::test]
async fn a_partition_of_one_direction_is_silence_on_one_side_only() {
    let Stage { service, partition, nodes: [a, b], _callee, .. } = stage(jittery(8)).await;
    let (mut seen_by_a, mut seen_by_b) = (watch(&a).await, watch(&b).await);
    partition.split_one_way(Direction::ToAcceptor);
    // It never arrives; but that the other side gave up does.
    let lost = service.ask(Echo(vec![1])).await;
    assert!(matches!(lost, Err(AskError::Delivery(DeliveryError::SessionLost { .. }))), "{lost:?}");
    let Some(PeerEvent::Down { reason: silence, .. }) = seen_by_b.next().await else { panic!("no end") };
    assert!(silence.starts_with("nothing was heard for 10"), "{silence}");
    let Some(PeerEvent::Down { reason: told, .. }) = seen_by_a.next().await else { panic!("no end") };
    assert_eq!(told, silence);
}

#[actix::test]
async fn a_partition_keeps_a_cancellation_back() {
    tokio::time::pause();
    let (a, b) = (MemoryNode::new("a", Role::Operator), MemoryNode::new("b", Role::Agent));
    let (a, b, partition) = pair_over(a, b, jittery(9)).await;
    let (mailbox, mut probe) = Probe::<Service>::new();
    b.expose("service", mailbox).allow(Role::Operator).register().await.unwrap().detach();
    let service: Mailbox<Service> = resolve_soon(&a, "b/service").await;
    for own_stream in [false, true] {
        let ask = service.ask(Open(1));
        let ask = if own_stream { ask.on_own_stream() } else { ask };
        let asked = tokio::select! {
            answer = ask.into_future() => panic!("{answer:?}"),
            asked = probe.expect::<Open>() => asked,
        };
        partition.split();
        tokio::time::timeout(5 * SECOND, asked.cancellation().cancelled()).await.unwrap_err();
        partition.heal();
        tokio::time::timeout(SECOND, asked.cancellation().cancelled()).await.unwrap();
    }
}

#[actix::test]
async fn a_cut_is_seen_on_both_sides_at_once() {
    let Stage { service, partition, nodes: [_a, b], _callee, .. } = stage(jittery(10)).await;
    let mut seen_by_b = watch(&b).await;
    partition.split();
    let began = Instant::now();
    partition.cut("the cable was pulled");
    let lost = service.ask(Echo(vec![1])).await;
    assert!(matches!(lost, Err(AskError::Delivery(DeliveryError::SessionLost { .. }))), "{lost:?}");
    let Some(PeerEvent::Down { reason, .. }) = seen_by_b.next().await else { panic!("no end") };
    assert_eq!((reason.as_str(), began.elapsed()), ("the cable was pulled", Duration::ZERO));
}

#[test]
fn a_name_that_is_never_announced_is_named() {
    let panic = catch_unwind(|| {
        run(async {
            tokio::time::pause();
            let (a, b) = (MemoryNode::new("a", Role::Operator), MemoryNode::new("b", Role::Agent));
            let (a, _b, _cut) = pair(a, b).await;
            drop(resolve_soon::<Service>(&a, "b/service").await);
        });
    });
    let panic = *panic.unwrap_err().downcast::<String>().unwrap();
    let expected = "b/service was expected to be announced, and was not within 5s";
    assert!(panic.ends_with(expected) && panic.contains("tests/bad_network.rs:"), "{panic}");
}

/// What `node` sees from now on; its peer is there already.
async fn watch(node: &Node) -> Subscription<PeerEvent> {
    let mut seen = node.watch();
    assert!(matches!(seen.next().await, Some(PeerEvent::Up(_))));
    seen
}
