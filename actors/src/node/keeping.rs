//! Connections that are kept: dialled again whenever they are lost.

use super::{ConnectError, Node, Peer, PeerAddress, PeerEvent, Wanted, hosting::Hold};
use crate::log_limit::limited;
use futures_util::FutureExt;
use std::time::Duration;
use swarm_protocols::{Backoff, NodeId};
use tokio::{sync::watch, time::sleep};
use uuid::Uuid;

/// The longest pause before a lost peer is dialled for the first time.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The longest pause between two attempts; each is twice as long as the one before.
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// How a kept connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// It is dialled for the first time.
    Dialling,
    /// There is a session.
    Open(Peer),
    /// There is none, since this happened; it is dialled again.
    Lost {
        /// Why the session ended; `None` where there has been none.
        ended: Option<String>,
        /// Why the latest attempt failed, where one was made since.
        failure: Option<ConnectError>,
    },
}

/// A connection that its node dials again whenever it is lost, until this is dropped. Made by
/// [`Node::keep_connected`].
#[derive(Debug)]
#[must_use = "dropping it ends the dialling"]
pub struct KeptConnection {
    peer: NodeId,
    address: PeerAddress,
    states: watch::Receiver<ConnectionState>,
    _keeper: Hold,
}

impl KeptConnection {
    /// The node that is kept.
    pub fn peer(&self) -> &NodeId {
        &self.peer
    }

    /// Where it is looked for.
    pub fn address(&self) -> &PeerAddress {
        &self.address
    }

    /// How it stands.
    pub fn state(&self) -> ConnectionState {
        self.states.borrow().clone()
    }

    /// How it stands, now and later. States that nobody looked at in time are left out: the latest counts.
    pub fn states(&self) -> watch::Receiver<ConnectionState> {
        self.states.clone()
    }

    /// Waits until there is a session. Never completes once the node has stopped.
    pub async fn connected(&self) -> Peer {
        let open = |state: &ConnectionState| match state {
            ConnectionState::Open(peer) => Some(peer.clone()),
            ConnectionState::Dialling | ConnectionState::Lost { .. } => None,
        };
        self.until(open).await
    }

    /// Waits for the first attempt, and says how it ended. Never completes once the node has stopped.
    pub async fn attempted(&self) -> Result<Peer, ConnectError> {
        let attempted = |state: &ConnectionState| match state {
            ConnectionState::Open(peer) => Some(Ok(peer.clone())),
            ConnectionState::Lost { failure: Some(failure), .. } => Some(Err(failure.clone())),
            ConnectionState::Dialling | ConnectionState::Lost { failure: None, .. } => None,
        };
        self.until(attempted).await
    }

    async fn until<T>(&self, find: impl Fn(&ConnectionState) -> Option<T>) -> T {
        let mut states = self.states();
        loop {
            if let Some(found) = find(&states.borrow_and_update()) {
                return found;
            }
            if states.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Node {
    /// Keeps a session with `peer`: dials it now, and again whenever the session is lost or an attempt fails. The
    /// pauses double from 250 ms to 8 s, with jitter, so that many nodes that lost a peer together do not come back
    /// together. It goes on for every failure, a refused certificate too, as a new one may come.
    ///
    /// A mailbox of a lost session stays lost: resolve it again once there is another one, or
    /// [follow](Self::resolve_following) its peer.
    ///
    /// # Panics
    /// Where the node had a thread of its own and has stopped.
    pub async fn keep_connected(&self, peer: NodeId, address: PeerAddress) -> KeptConnection {
        let (sender, states) = watch::channel(ConnectionState::Dialling);
        let (node, wanted, at) = (self.clone(), peer.clone(), address.clone());
        let keeper = self.while_held(move || keep(node, wanted, at, sender)).await;
        KeptConnection { peer, address, states, _keeper: keeper }
    }
}

async fn keep(node: Node, peer: NodeId, address: PeerAddress, states: watch::Sender<ConnectionState>) {
    let mut events = node.watch();
    let mut seen = Err("it ended as soon as it was open".to_owned());
    let mut ended = None;
    while let Some(open) = dial(&node, &peer, &address, &states, ended).await {
        states.send_replace(ConnectionState::Open(open));
        // The bridge tells of a session before it answers who dialled, so what is not open by now has ended already.
        while let Some(Some(event)) = events.next().now_or_never() {
            seen = of_peer(&peer, event).unwrap_or(seen);
        }
        if seen.is_ok() {
            seen = loop {
                let Some(event) = events.next().await else { return };
                if let Some(seen) = of_peer(&peer, event) {
                    break seen;
                }
            };
        }
        // Where there is no reason, another session has taken its place.
        ended = seen.clone().err();
        if let Some(reason) = &ended {
            limited!(warn, "the session with a peer ended, it is dialled again", %peer, reason);
        }
    }
}

/// What an event says of a peer, if it is about it: that there is a session, or why that has ended.
fn of_peer(peer: &NodeId, event: PeerEvent) -> Option<Result<(), String>> {
    match event {
        PeerEvent::Up(up) => (up.node == *peer).then_some(Ok(())),
        PeerEvent::Down { node, reason } => (node == *peer).then_some(Err(reason)),
    }
}

/// Dials until there is a session; `None` once the node has stopped.
async fn dial(
    node: &Node,
    peer: &NodeId,
    address: &PeerAddress,
    states: &watch::Sender<ConnectionState>,
    ended: Option<String>,
) -> Option<Peer> {
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    if ended.is_some() {
        states.send_replace(ConnectionState::Lost { ended: ended.clone(), failure: None });
        sleep(backoff.next(jitter())).await;
    }
    loop {
        match node.connect_to(Wanted::Node(peer.clone()), address).await {
            Ok(open) => return Some(open),
            Err(ConnectError::NodeStopped) => return None,
            Err(error) => {
                limited!(info, "there is no session with a peer yet", %error);
                states.send_replace(ConnectionState::Lost { ended: ended.clone(), failure: Some(error) });
            }
        }
        sleep(backoff.next(jitter())).await;
    }
}

pub(crate) fn jitter() -> u32 {
    // The last bits of such an id are random.
    Uuid::now_v7().as_u128() as u32
}
