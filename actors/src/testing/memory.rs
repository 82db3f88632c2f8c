//! Two nodes joined by a connection in memory.

use super::probe::WITHIN_DEFAULT;
use crate::{
    arbiters::Arbiters,
    budget::Budget,
    call::Caller,
    mailbox::Mailbox,
    node::{MEMORY_BYTES_DEFAULT, Node, ResolveError},
    quic_bridge::LocalNode,
    transport::memory::{Direction, LastWire, Line, Network, transports},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    panic::Location,
    sync::Arc,
    time::Duration,
};
use swarm_protocols::{NodeId, Protocol, Role, session::Timing, wire::control::Limits};
use uuid::Uuid;

/// One side of a [`pair`].
#[derive(Debug, Clone)]
pub struct MemoryNode {
    /// Its id.
    pub id: NodeId,
    /// Its role, as a certificate would say it.
    pub role: Role,
    /// What kind of agent it is.
    pub agent_type: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// What it accepts.
    pub limits: Limits,
    /// How long its sessions wait.
    pub timing: Timing,
}

impl MemoryNode {
    /// A node of no agent type, with default limits and timing.
    ///
    /// # Panics
    /// Where `id` is no node id.
    pub fn new(id: &str, role: Role) -> Self {
        let id = id.parse().unwrap_or_else(|error| panic!("{error}"));
        let (limits, timing) = (Limits::default(), Timing::default());
        Self { id, role, agent_type: String::new(), capabilities: Vec::new(), limits, timing }
    }
}

/// Starts two nodes on the current arbiter with an open session between them, dialled by the first,
/// and returns them with a way to cut the connection.
///
/// There is no socket and no encryption; everything else, from the handshake to the lanes, is what
/// runs over QUIC. Bytes arrive at once and in order.
///
/// # Panics
/// Where the session is refused, which two nodes of different ids do not do.
pub async fn pair(dialler: MemoryNode, acceptor: MemoryNode) -> (Node, Node, Cut) {
    let (a, b, partition) = pair_over(dialler, acceptor, Network::perfect()).await;
    (a, b, Cut(partition.last))
}

/// Starts two nodes like [`pair`], over a network that does to their datagrams what `network` says,
/// and returns them with a way to part them.
///
/// # Panics
/// Where there is no session: the handshake took too long over this network, the ids are the same,
/// or a probability of the network is none.
pub async fn pair_over(
    dialler: MemoryNode,
    acceptor: MemoryNode,
    network: Network,
) -> (Node, Node, Partition) {
    network.check();
    let callers = [&dialler, &acceptor].map(|node| Caller { node: node.id.clone(), role: node.role });
    let line = Line::new(network);
    let ([to_acceptor, to_dialler], last) = transports(&line, callers);
    let [a, b] = [(dialler, to_acceptor), (acceptor, to_dialler)].map(|(node, transport)| {
        let MemoryNode { id, agent_type, capabilities, limits, timing, role: _ } = node;
        let budget = Budget::new(MEMORY_BYTES_DEFAULT, 0);
        let local = LocalNode {
            node: id,
            agent_type,
            capabilities,
            limits,
            timing,
            budget,
            arbiters: Arbiters::one(),
        };
        Node::of(local, Box::new(transport))
    });
    let nodes = [a.clone(), b.clone()];
    let session = connect(&nodes).await;
    (a, b, Partition { nodes, line, last, session })
}

/// Finds the mailbox at `address` as soon as the peer has announced it: what a node exposes while a
/// session is open is told in a frame that takes its time.
///
/// # Panics
/// Where it is not announced within five seconds, or cannot be resolved for another reason.
#[track_caller]
pub fn resolve_soon<P: Protocol>(node: &Node, address: &str) -> impl Future<Output = Mailbox<P>> {
    let (place, node, address) = (Location::caller(), node.clone(), address.to_owned());
    async move {
        let found = async {
            loop {
                match node.resolve(&address).await {
                    // No event says that a name is there; a paused clock jumps to the next look.
                    Err(ResolveError::NotFound { .. }) => {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    found => return found.unwrap_or_else(|error| panic!("{place}: {error}")),
                }
            }
        };
        tokio::time::timeout(WITHIN_DEFAULT, found).await.unwrap_or_else(|_| {
            panic!("{place}: {address} was expected to be announced, and was not within {WITHIN_DEFAULT:?}")
        })
    }
}

/// Cuts a connection in memory, as a pulled cable and a timeout would.
#[derive(Debug)]
pub struct Cut(LastWire);

impl Cut {
    /// Cuts it; both sides see the reason.
    pub fn cut(self, reason: &str) {
        self.0.cut(reason);
    }
}

/// Parts the two nodes of a [`pair_over`], and lets them meet again.
///
/// While a direction is split nothing arrives in it: no bytes, no end of a stream, no cancellation,
/// no close. What was sent is not lost, as QUIC repeats it: once healed it arrives as if it had been
/// sent then, unless a session has given up. (QUIC itself may take up to one heartbeat longer to
/// find out that the way is free.) A side whose session ended meanwhile says so when the
/// network is healed.
#[derive(Debug)]
pub struct Partition {
    nodes: [Node; 2],
    line: Arc<Line>,
    last: LastWire,
    session: Uuid,
}

impl Partition {
    /// Nothing arrives on either side.
    pub fn split(&self) {
        self.split_one_way(Direction::ToAcceptor);
        self.split_one_way(Direction::ToDialler);
    }

    /// Nothing arrives in this direction.
    pub fn split_one_way(&self, direction: Direction) {
        self.line.split(direction);
    }

    /// Everything arrives again.
    pub fn heal(&self) {
        self.line.heal(Direction::ToAcceptor);
        self.line.heal(Direction::ToDialler);
    }

    /// Ends the connection; both sides see the reason at once.
    pub fn cut(&self, reason: &str) {
        self.last.cut(reason);
    }

    /// Dials again, over the same network, after the session has ended on both sides.
    ///
    /// # Panics
    /// Where there is no new session: the old one is still open on one side, or the network is split.
    pub async fn reconnect(&mut self) {
        let session = connect(&self.nodes).await;
        assert_ne!(session, self.session, "the session is still open");
        self.session = session;
    }
}

/// Lets the first node dial the second one, and returns the id of the session.
async fn connect([a, b]: &[Node; 2]) -> Uuid {
    // Whatever is dialled in memory, the other node is there.
    let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let peer = a.connect(b.id().clone(), anywhere).await;
    peer.unwrap_or_else(|error| panic!("{error}")).session
}
