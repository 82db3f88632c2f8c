//! What a node is started with, and its start.

use super::Node;
use crate::{
    arbiters::Arbiters,
    budget::Budget,
    identity::{EarlyData, Identity, KeyExchange},
    quic_bridge::LocalNode,
    transport::{CongestionControl, quic::QuicTransport},
};
use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};
use swarm_protocols::{
    session::Timing,
    wire::{
        codec::MESSAGE_BYTES_MAX,
        control::{CAPABILITIES_MAX, Limits},
    },
};

/// What a node is started with. Fill in what differs from [`NodeConfig::new`].
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Certificate, key and authority: they say who the node is and whom it believes.
    pub identity: Identity,
    /// Where it listens, and from where it dials. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// What kind of agent it is, for its peers to read: a free word.
    pub agent_type: String,
    /// What it can do, for its peers to read.
    pub capabilities: Vec<String>,
    /// What it accepts from each peer.
    pub limits: Limits,
    /// How much memory it takes for its peers, over all sessions: 768 MiB by default. A quarter is for the windows of
    /// the connections, [`kept_bytes`](Self::kept_bytes) for what its actors keep, the rest, at least nine times the
    /// longest message, for frames that are not complete, requests in progress and answers that wait. A peer may hold
    /// as much of the rest as is free; what it asks beyond answers
    /// [`Overloaded`](swarm_protocols::DeliveryError::Overloaded).
    pub memory_bytes: usize,
    /// How much of that its actors keep for peers, and bound themselves: the tasks and the content of a
    /// [coordinator](crate::coordinator::CoordinatorConfig::within), the content of an agent. None by default.
    pub kept_bytes: usize,
    /// How long its sessions wait.
    pub timing: Timing,
    /// Whether it makes do with a peer that knows no post-quantum key exchange.
    pub key_exchange: KeyExchange,
    /// Whether [idempotent](swarm_protocols::Request::IDEMPOTENT) requests may be asked in the first packet of a resumed
    /// connection: allowed by default. It saves a round trip; they are judged like any other, on both sides.
    pub early_data: EarlyData,
    /// How its connections find out how fast they may send.
    pub congestion: CongestionControl,
    /// On how many arbiters it runs, its own among them: 1 by default, each a thread. A session begins where the fewest are,
    /// and stays there with its handshake, packets, encryption and frames. All datagrams are received on the arbiter of the
    /// node, and actors live where they were started. It pays where one core is full and others are not; where none is, a
    /// request takes longer, as it has to change threads. The page `messages` in the guide of `actix_swarm` has figures.
    pub arbiters: NonZeroUsize,
    /// Whether its arbiters look for datagrams without end instead of sleeping until the system wakes them: off by
    /// default. A core for each is busy then as long as the node runs. Where it has that core for itself an ask takes a
    /// quarter of the time; on one that others want it makes everything slower.
    pub busy_poll: bool,
}

impl NodeConfig {
    /// A node that listens on `listen`, of no agent type, with default limits and timing.
    pub fn new(identity: Identity, listen: SocketAddr) -> Self {
        Self {
            identity,
            listen,
            agent_type: String::new(),
            capabilities: Vec::new(),
            limits: Limits::default(),
            memory_bytes: MEMORY_BYTES_DEFAULT,
            kept_bytes: 0,
            timing: Timing::default(),
            key_exchange: KeyExchange::default(),
            early_data: EarlyData::Allowed,
            congestion: CongestionControl::default(),
            arbiters: NonZeroUsize::MIN,
            busy_poll: false,
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address as given.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The agent type or the capabilities are longer or more than a hello can carry.
    #[error("at most {} capabilities of {} bytes each fit into a hello", CAPABILITIES_MAX.0, CAPABILITIES_MAX.1)]
    TooMuchToSay,
    /// Limits that let nothing in, or more than the codec can decode, or less memory than a few messages take.
    #[error(
        "limits of 1 to {MESSAGE_BYTES_MAX} bytes a message, at least 1 request, and memory for nine messages beside a quarter for windows and what actors keep are expected"
    )]
    UnusableLimits,
    /// Times of zero or over a day, or a silence no longer than the heartbeat.
    #[error("times of up to a day, and a silence longer than the heartbeat, are expected")]
    UnusableTiming,
    /// No thread could be started for it: see [`Node::start`] and [`NodeConfig::arbiters`].
    #[error("cannot start a thread for the node: {0}")]
    Thread(std::io::Error),
}

/// What a node takes for its peers where it is not told otherwise, in bytes.
pub(crate) const MEMORY_BYTES_DEFAULT: usize = 768 << 20;

/// The longest time that a session can be told to wait.
const TIMING_MAX: Duration = Duration::from_secs(86_400);

impl Node {
    /// Starts a node on the current arbiter.
    pub(super) async fn start_here(config: NodeConfig) -> Result<Self, StartError> {
        let NodeConfig {
            identity,
            listen,
            agent_type,
            capabilities,
            limits,
            memory_bytes,
            kept_bytes,
            timing,
            key_exchange,
            early_data,
            congestion,
            arbiters,
            busy_poll,
        } = config;
        let (count, bytes) = CAPABILITIES_MAX;
        if capabilities.len() > count
            || capabilities.iter().chain([&agent_type]).any(|text| text.len() > bytes)
        {
            return Err(StartError::TooMuchToSay);
        }
        let budget = Budget::new(memory_bytes, kept_bytes);
        if !(1..=MESSAGE_BYTES_MAX as u64).contains(&limits.message_bytes)
            || limits.in_flight == 0
            || !budget.suffices(limits.message_bytes)
        {
            return Err(StartError::UnusableLimits);
        }
        let Timing { handshake, heartbeat, silence, frame } = timing;
        if [handshake, heartbeat, frame].contains(&Duration::ZERO)
            || silence <= heartbeat
            || [handshake, silence, frame].iter().any(|time| *time > TIMING_MAX)
        {
            return Err(StartError::UnusableTiming);
        }
        let arbiters = Arbiters::start(arbiters).await.map_err(StartError::Thread)?;
        let (node, of_connections) = (identity.id().clone(), Arc::clone(&arbiters));
        let local = LocalNode { node, agent_type, capabilities, limits, timing, budget, arbiters };
        let at = |source| StartError::Listen { address: listen, source };
        let transport = QuicTransport::listen(
            identity,
            key_exchange,
            early_data,
            congestion,
            listen,
            &timing,
            of_connections,
        )
        .map_err(at)?;
        let transport = if busy_poll { transport.polled_busily() } else { transport };
        Ok(Self::of(local, Box::new(transport)))
    }
}
