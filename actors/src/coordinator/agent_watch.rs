//! [`AgentWatch`]: makes the agents among the peers of a node known to a coordinator.

use super::{AgentJoined, AgentLost, Coordinator, PATTERN_MATCHER};
use crate::{
    mailbox::Mailbox,
    node::{Node, Peer, PeerEvent, ResolveError},
};
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use std::collections::{BTreeMap, BTreeSet};
use swarm_protocols::{NodeId, Role, coordinator::Offer, similar_windows::PatternMatcher as MatcherProtocol};
use uuid::Uuid;

/// The name under which an agent exposes its pattern matcher.
pub const MATCHER_NAME: &str = "matcher";

/// Watches the peers of a node, and tells a coordinator of the agents that come and go.
///
/// A peer is one of them if its role is agent and one of its capabilities is the [`Offer`] of a
/// [`PATTERN_MATCHER`]; a peer that names none but has that word for its agent type offers as many
/// slots as one that does not say. It exposes its matcher as [`MATCHER_NAME`], and does so before
/// it connects: one that is not exposed when the session opens is not looked for again.
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

    fn resolved(&mut self, peer: Peer, offer: Offer, found: Result<Mailbox<MatcherProtocol>, ResolveError>) {
        // The session may have ended meanwhile, and another one may have begun.
        if self.sessions.get(&peer.node) != Some(&peer.session) {
            return;
        }
        match found {
            Ok(matcher) => {
                let Offer { capability, slots } = offer;
                let capabilities = BTreeSet::from([capability]);
                let Peer { node, agent_type, .. } = peer;
                self.coordinator.do_send(AgentJoined { node, agent_type, capabilities, slots, matcher });
            }
            Err(error) => tracing::warn!(peer = %peer.node, %error, "an agent cannot be given work"),
        }
    }
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
                let Some(offer) = offer_of(&peer) else { return };
                self.sessions.insert(peer.node.clone(), peer.session);
                let node = self.node.clone();
                let address = format!("{}/{MATCHER_NAME}", peer.node);
                let resolving = async move { node.resolve(&address).await };
                let told = resolving
                    .into_actor(self)
                    .map(move |found, watch, _: &mut Context<Self>| watch.resolved(peer, offer, found));
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

/// What a peer offers to do for the coordinator, if anything.
fn offer_of(peer: &Peer) -> Option<Offer> {
    if peer.role != Role::Agent {
        return None;
    }
    let words = peer.capabilities.iter().chain([&peer.agent_type]);
    words.filter_map(|word| word.parse::<Offer>().ok()).find(|offer| offer.capability == PATTERN_MATCHER)
}
