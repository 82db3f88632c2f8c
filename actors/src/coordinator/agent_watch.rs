//! [`AgentWatch`]: makes the agents among the peers of a node known to a coordinator.

use super::{
    AgentJoined, AgentLost, AgentMailboxes, CORRELATOR, Coordinator, PATTERN_MATCHER, SERIES_MATCHER,
};
use crate::{
    mailbox::Mailbox,
    node::{Node, Peer, PeerEvent},
};
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};
use swarm_protocols::{NodeId, Protocol, Role, coordinator::Offer};
use uuid::Uuid;

/// The name under which an agent exposes its pattern matcher.
pub const MATCHER_NAME: &str = "matcher";

/// The name under which an agent exposes what searches, classifies and measures.
pub const SERIES_MATCHER_NAME: &str = "series-matcher";

/// The name under which an agent exposes its correlator.
pub const CORRELATOR_NAME: &str = "correlator";

/// Watches the peers of a node, and tells a coordinator of the agents that come and go.
///
/// A peer is one of them if its role is agent and one of its capabilities is the [`Offer`] of a
/// [`PATTERN_MATCHER`], a [`SERIES_MATCHER`] or a [`CORRELATOR`]; a peer that names none but has such a word for its
/// agent type offers as many slots as one that does not say. One that offers several works on as many parts at once
/// as the greatest offer says, whatever they are. It exposes them as [`MATCHER_NAME`], [`SERIES_MATCHER_NAME`] and
/// [`CORRELATOR_NAME`], and does so before it connects: what is not exposed when the session opens is not looked
/// for again.
pub struct AgentWatch {
    node: Node,
    coordinator: Addr<Coordinator>,
    /// The sessions with agents, the coordinator told or not.
    sessions: BTreeMap<NodeId, Uuid>,
}

impl AgentWatch {
    /// Watches `node`, from its start on, for `coordinator`.
    pub fn new(node: Node, coordinator: Addr<Coordinator>) -> Self {
        Self { node, coordinator, sessions: BTreeMap::new() }
    }

    fn resolved(&mut self, peer: Peer, slots: NonZeroU32, mailboxes: AgentMailboxes) {
        // The session may have ended meanwhile, and another one may have begun.
        if self.sessions.get(&peer.node) != Some(&peer.session) || mailboxes.capabilities().is_empty() {
            return;
        }
        let Peer { node, agent_type, .. } = peer;
        self.coordinator.do_send(AgentJoined { node, agent_type, slots, mailboxes });
    }
}

/// Looks up what a peer offers.
async fn mailboxes_of(node: &Node, peer: &NodeId, offered: &BTreeSet<String>) -> AgentMailboxes {
    async fn mailbox<P: Protocol>(node: &Node, peer: &NodeId, name: &str) -> Option<Mailbox<P>> {
        let found = node.resolve(&format!("{peer}/{name}")).await;
        found.inspect_err(|error| tracing::warn!(%peer, %error, "an agent lacks what it offers")).ok()
    }
    let mut mailboxes = AgentMailboxes::default();
    if offered.contains(PATTERN_MATCHER) {
        mailboxes.matcher = mailbox(node, peer, MATCHER_NAME).await;
    }
    if offered.contains(SERIES_MATCHER) {
        mailboxes.series_matcher = mailbox(node, peer, SERIES_MATCHER_NAME).await;
    }
    if offered.contains(CORRELATOR) {
        mailboxes.correlator = mailbox(node, peer, CORRELATOR_NAME).await;
    }
    mailboxes
}

impl Actor for AgentWatch {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.node.watch(context.address().recipient());
    }
}

impl Handler<PeerEvent> for AgentWatch {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, context: &mut Self::Context) {
        match event {
            PeerEvent::Up(peer) => {
                let Some((offered, slots)) = offers_of(&peer) else { return };
                self.sessions.insert(peer.node.clone(), peer.session);
                let (node, id) = (self.node.clone(), peer.node.clone());
                let resolving = async move { mailboxes_of(&node, &id, &offered).await };
                let told = resolving
                    .into_actor(self)
                    .map(move |found, watch, _: &mut Context<Self>| watch.resolved(peer, slots, found));
                context.spawn(told);
            }
            PeerEvent::Down { node, .. } => {
                if self.sessions.remove(&node).is_some() {
                    self.coordinator.do_send(AgentLost { node });
                }
            }
        }
    }
}

/// What a peer offers to do for the coordinator, and on how many parts at once; `None` if it offers nothing.
fn offers_of(peer: &Peer) -> Option<(BTreeSet<String>, NonZeroU32)> {
    if peer.role != Role::Agent {
        return None;
    }
    let offers = |word: &String| {
        let offer = word.parse::<Offer>().ok();
        offer.filter(|offer| {
            [PATTERN_MATCHER, SERIES_MATCHER, CORRELATOR].contains(&offer.capability.as_str())
        })
    };
    let mut offered: Vec<Offer> = peer.capabilities.iter().filter_map(offers).collect();
    if offered.is_empty() {
        offered.extend(offers(&peer.agent_type));
    }
    let slots = offered.iter().map(|offer| offer.slots).max()?;
    Some((offered.into_iter().map(|offer| offer.capability).collect(), slots))
}
