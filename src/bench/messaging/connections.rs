//! What a connection costs: the time until its first request is answered, and the memory of the side that accepts it.
//! Every connection is that of another node, and so with a full handshake.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use serde_json::json;
use swarm_actors::identity::{EarlyData, Identity};
use swarm_actors::{Mailbox, Node, NodeConfig};
use swarm_protocols::{Blob, NodeId};

use super::child::Responder;
use super::echo::{Echo, Echoing};
use super::floor::{self, lost};
use super::payloads::Payloads;
use super::responder::Addresses;
use super::rounds::in_turns;
use super::{Bench, Cluster, MessagingError, new_histogram};
use crate::bench::Side;

const FIRST_REPLY: &str = "connect_first_reply_us";
pub(super) const FIRST_REPLY_BYTES: usize = 64;

const MEMORY: &str = "rss_bytes_per_connection";

/// So many connections lie idle for each second that a figure is measured, within these bounds.
const CONNECTIONS_PER_SECOND: f64 = 200.0;
const CONNECTIONS: (f64, f64) = (20.0, 200.0);

/// A node that only asks.
pub(super) async fn start(identity: Identity) -> Result<Node, MessagingError> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let started = Node::start(NodeConfig::new(identity, loopback)).await;
    started.map_err(|error| MessagingError::Start(error.to_string()))
}

/// Connects to the responder and finds its actor.
pub(super) async fn reach(
    node: &Node,
    peer: &NodeId,
    address: SocketAddr,
) -> Result<Mailbox<Echoing>, MessagingError> {
    node.connect(peer.clone(), address).await.map_err(lost)?;
    node.resolve(&format!("{peer}/echo")).await.map_err(lost)
}

/// From dialling to the first answer.
pub(super) async fn measure_first_reply(bench: &mut Bench<'_>) -> Result<(), MessagingError> {
    if !bench.wants(FIRST_REPLY) {
        return Ok(());
    }
    let Bench { cluster, responder, time, .. } = bench;
    let rounds = in_turns(FIRST_REPLY, &[Side::Floor, Side::Swarm], *time, async |side, time| {
        let (began, mut latencies) = (Instant::now(), new_histogram());
        while latencies.is_empty() || began.elapsed() < time {
            let first = match side {
                Side::Swarm => first_reply(cluster, responder.addresses).await?,
                Side::Floor | Side::Callers => floor_first_reply(cluster, responder.addresses).await?,
            };
            latencies.saturating_record(first.as_nanos() as u64);
        }
        Ok(latencies)
    });
    let rounds = rounds.await?;
    let of = |latencies: &Histogram<u64>| Some(latencies.value_at_quantile(0.5) as f64 / 1e3);
    bench.print(FIRST_REPLY, "us", json!({}), &rounds, of)
}

async fn first_reply(cluster: &Cluster, addresses: Addresses) -> Result<Duration, MessagingError> {
    let payloads = Payloads::new(FIRST_REPLY_BYTES);
    let node = start(cluster.newcomer()?).await?;
    let began = Instant::now();
    let mailbox = reach(&node, cluster.responder.id(), addresses.node).await?;
    let (number, payload) = payloads.make();
    let answer = mailbox.ask(Echo(Blob::from(payload))).await.map_err(lost)?;
    let took = began.elapsed();
    payloads.check(number, &answer)?;
    node.stop(Duration::ZERO).await;
    Ok(took)
}

async fn floor_first_reply(cluster: &Cluster, addresses: Addresses) -> Result<Duration, MessagingError> {
    let (payloads, peer) = (Payloads::new(FIRST_REPLY_BYTES), cluster.responder.id());
    let (endpoint, config) =
        (floor::endpoint()?, floor::dialling(&cluster.newcomer()?, peer, EarlyData::Refused));
    let began = Instant::now();
    let connection = floor::connect(&endpoint, config, peer, addresses.floor).await?;
    let (number, answer) = floor::ask(&connection, &payloads).await?;
    let took = began.elapsed();
    payloads.check(number, &answer)?;
    Ok(took)
}

/// Memory of a responder that nothing else was asked of, for each connection that lies idle there.
pub(super) async fn measure_memory(bench: &mut Bench<'_>) -> Result<(), MessagingError> {
    if !bench.wants(MEMORY) {
        return Ok(());
    }
    let (low, high) = CONNECTIONS;
    let count = (bench.time.as_secs_f64() * CONNECTIONS_PER_SECOND).clamp(low, high) as usize;
    let Bench { cluster, time, .. } = bench;
    let rounds = in_turns(MEMORY, &[Side::Floor, Side::Swarm], *time, async |side, _| {
        Responder::with(&cluster.responder, async |responder| match side {
            Side::Swarm => memory(cluster, responder, count).await,
            Side::Floor | Side::Callers => floor_memory(cluster, responder, count).await,
        })
        .await
    });
    let rounds = rounds.await?;
    let params = json!({ "connections": count });
    bench.print(MEMORY, "B", params, &rounds, |bytes: &Option<f64>| *bytes)
}

async fn memory(
    cluster: &Cluster,
    responder: &Responder,
    count: usize,
) -> Result<Option<f64>, MessagingError> {
    let connect = async || {
        let node = start(cluster.newcomer()?).await?;
        node.connect(cluster.responder.id().clone(), responder.addresses.node).await.map_err(lost)?;
        Ok::<Node, MessagingError>(node)
    };
    let mut nodes = vec![connect().await?];
    let before = responder.resident_bytes();
    for _ in 0..count {
        nodes.push(connect().await?);
    }
    let grown = grown(before, responder, count);
    join_all(nodes.iter().map(|node| node.stop(Duration::ZERO))).await;
    Ok(grown)
}

async fn floor_memory(
    cluster: &Cluster,
    responder: &Responder,
    count: usize,
) -> Result<Option<f64>, MessagingError> {
    let (endpoint, peer) = (floor::endpoint()?, cluster.responder.id());
    let connect = async || {
        let config = floor::dialling(&cluster.newcomer()?, peer, EarlyData::Refused);
        floor::connect(&endpoint, config, peer, responder.addresses.floor).await
    };
    let mut connections = vec![connect().await?];
    let before = responder.resident_bytes();
    for _ in 0..count {
        connections.push(connect().await?);
    }
    Ok(grown(before, responder, count))
}

/// By how much for each of `count` connections.
fn grown(before: Option<u64>, responder: &Responder, count: usize) -> Option<f64> {
    Some((responder.resident_bytes()? as f64 - before? as f64) / count as f64)
}
