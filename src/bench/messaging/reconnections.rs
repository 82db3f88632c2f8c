//! What it takes to come back to a node: the time from a request until its answer, where the request goes out in the
//! early data of the connection that is made for it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::json;
use swarm_actors::identity::{EarlyData, server_name};
use swarm_actors::{Mailbox, Node, PeerEvent};
use swarm_protocols::{Blob, NodeId};

use super::connections::{FIRST_REPLY_BYTES, start};
use super::echo::{Echo, Echoing};
use super::floor::{self, lost};
use super::payloads::Payloads;
use super::responder::Addresses;
use super::rounds::in_turns;
use super::{Bench, Cluster, MessagingError, new_histogram};
use crate::bench::Side;

const FIRST_REPLY: &str = "reconnect_0rtt_first_reply_us";

/// From asking to the answer.
pub(super) async fn measure_first_reply(bench: &mut Bench<'_>) -> Result<(), MessagingError> {
    if !bench.wants(FIRST_REPLY) {
        return Ok(());
    }
    let Bench { cluster, responder, time, .. } = bench;
    let addresses = responder.addresses;
    let rounds = in_turns(FIRST_REPLY, &[Side::Floor, Side::Swarm], *time, async |side, time| match side {
        Side::Swarm => swarm_replies(cluster, addresses, time).await,
        Side::Floor | Side::Callers => floor_replies(cluster, addresses, time).await,
    });
    let rounds = rounds.await?;
    let of = |latencies: &Histogram<u64>| Some(latencies.value_at_quantile(0.5) as f64 / 1e3);
    bench.print(FIRST_REPLY, "us", json!({}), &rounds, of)
}

async fn swarm_replies(
    cluster: &Cluster,
    addresses: Addresses,
    time: Duration,
) -> Result<Histogram<u64>, MessagingError> {
    let (payloads, peer) = (Payloads::new(FIRST_REPLY_BYTES), cluster.responder.id());
    let node = start(cluster.newcomer()?).await?;
    node.connect(peer.clone(), addresses.node).await.map_err(lost)?;
    let mailbox: Mailbox<Echoing> = node.resolve_following(&format!("{peer}/echo")).await.map_err(lost)?;
    let (began, mut latencies, mut in_sessions) = (Instant::now(), new_histogram(), Some(0));
    while latencies.is_empty() || began.elapsed() < time {
        leave(&node, peer).await?;
        let (number, payload) = payloads.make();
        let began = Instant::now();
        let answer = mailbox.ask(Echo(Blob::from(payload))).await.map_err(lost)?;
        let took = began.elapsed();
        payloads.check(number, &answer)?;
        node.connect(peer.clone(), addresses.node).await.map_err(lost)?;
        // What goes over a session is counted, and is not what is measured here.
        let sent = node.statistics().await.map(|statistics| statistics.sent);
        if sent == in_sessions {
            latencies.saturating_record(took.as_nanos() as u64);
        }
        in_sessions = sent;
    }
    node.stop(Duration::ZERO).await;
    Ok(latencies)
}

/// Ends the session, and waits until it has ended.
async fn leave(node: &Node, peer: &NodeId) -> Result<(), MessagingError> {
    let mut events = node.watch();
    node.disconnect(peer).await;
    while let Some(event) = events.next().await {
        if matches!(event, PeerEvent::Down { .. }) {
            return Ok(());
        }
    }
    Err(MessagingError::Wrong("the node has stopped"))
}

async fn floor_replies(
    cluster: &Cluster,
    addresses: Addresses,
    time: Duration,
) -> Result<Histogram<u64>, MessagingError> {
    let (payloads, peer) = (Payloads::new(FIRST_REPLY_BYTES), cluster.responder.id());
    let (endpoint, config) =
        (floor::endpoint()?, floor::dialling(&cluster.newcomer()?, peer, EarlyData::Allowed));
    let mut connection = floor::connect(&endpoint, config.clone(), peer, addresses.floor).await?;
    let (began, mut latencies) = (Instant::now(), new_histogram());
    while latencies.is_empty() || began.elapsed() < time {
        // A ticket comes before the answer to what is asked after the handshake.
        let (number, answer) = floor::ask(&connection, &payloads).await?;
        payloads.check(number, &answer)?;
        connection.close(0_u8.into(), b"");
        let began = Instant::now();
        let connecting =
            endpoint.connect_with(config.clone(), addresses.floor, server_name(Some(peer))).map_err(lost)?;
        let Ok((early, accepted)) = connecting.into_0rtt() else {
            return Err(MessagingError::Wrong("it allows no early data"));
        };
        let (number, answer) = floor::ask(&early, &payloads).await?;
        let took = began.elapsed();
        payloads.check(number, &answer)?;
        if !accepted.await {
            return Err(MessagingError::Wrong("it refuses early data"));
        }
        latencies.saturating_record(took.as_nanos() as u64);
        connection = early;
    }
    Ok(latencies)
}
