//! Agents: how a coordinator reaches them, and [`AgentWatch`], which makes those among the peers of a node known to it.

use super::{
    Coordinator,
    asks::{lost_before, withdrawn},
    now,
};
use crate::{
    content_store::CONTENT_STORE_NAME,
    log_limit::limited,
    mailbox::EncodedMailbox,
    node::{NameEvent, Node, Peer, PeerEvent},
};
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::{Duration, Instant},
};
use swarm_protocols::{
    NodeId, Protocol, Role,
    content_store::ContentStore as ContentStoreProtocol,
    coordinator::{Slots, board::Input},
};
use uuid::Uuid;

/// How an agent is reached: the mailboxes that it exposes.
#[derive(Debug, Clone, Default)]
pub struct Ports {
    /// What it can do: a mailbox for each protocol.
    pub mailboxes: Vec<EncodedMailbox>,
    /// Where it is given the inputs of parts; without one it is asked without.
    pub content_store: Option<EncodedMailbox>,
}

impl Ports {
    /// The names of the protocols of which it can be asked.
    pub fn protocols(&self) -> BTreeSet<String> {
        self.mailboxes.iter().map(|mailbox| mailbox.protocol().to_owned()).collect()
    }

    pub(super) fn mailbox(&self, protocol: &str) -> Option<&EncodedMailbox> {
        self.mailboxes.iter().find(|mailbox| mailbox.protocol() == protocol)
    }
}

/// An agent that can be given work.
pub(super) struct ConnectedAgent {
    pub(super) ports: Ports,
    pub(super) agent_type: String,
    pub(super) since: Instant,
    /// How many parts it has answered.
    pub(super) answered: u64,
}

/// An agent can be given work. If one of this id is known, that one is lost.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct AgentJoined {
    /// Its node.
    pub node: NodeId,
    /// What kind of agent it says it is.
    pub agent_type: String,
    /// How many parts it works on at once, and how many more it takes.
    pub slots: Slots,
    /// How it is asked, and so what it can do.
    pub ports: Ports,
}

impl Handler<AgentJoined> for Coordinator {
    type Result = ();

    fn handle(&mut self, joined: AgentJoined, context: &mut Self::Context) {
        let AgentJoined { node, agent_type, slots, ports } = joined;
        self.forget_asks(&node, context);
        let protocols = ports.protocols();
        self.agents.insert(node.clone(), ConnectedAgent { ports, agent_type, since: now(), answered: 0 });
        self.apply(Input::AgentJoined { agent: node, protocols, slots }, context);
    }
}

/// What an agent exposes has changed. What it has in progress of a protocol that it exposes no longer is lost. An unknown
/// one is ignored.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct AgentChanged {
    /// Its node.
    pub node: NodeId,
    /// How it is asked from now on.
    pub ports: Ports,
}

impl Handler<AgentChanged> for Coordinator {
    type Result = ();

    fn handle(&mut self, AgentChanged { node, ports }: AgentChanged, context: &mut Self::Context) {
        let protocols = ports.protocols();
        if let Some(agent) = self.agents.get_mut(&node) {
            agent.ports = ports;
        }
        let gone = self.asks.forget(&node, &protocols);
        self.apply(Input::AgentChanged { agent: node, protocols }, context);
        for (assignment, begun) in gone {
            self.apply(Input::Failed { assignment, failure: withdrawn(begun) }, context);
        }
    }
}

/// An agent is gone, and with it what it worked on. An unknown one is ignored.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct AgentLost {
    /// Its node.
    pub node: NodeId,
}

impl Handler<AgentLost> for Coordinator {
    type Result = ();

    fn handle(&mut self, AgentLost { node }: AgentLost, context: &mut Self::Context) {
        self.forget_asks(&node, context);
        self.agents.remove(&node);
        self.apply(Input::AgentLost { agent: node }, context);
    }
}

impl Coordinator {
    /// Cancels what an agent is asked that is lost. What was not begun by it spends no attempt.
    fn forget_asks(&mut self, agent: &NodeId, context: &mut Context<Self>) {
        for (assignment, begun) in self.asks.forget(agent, &BTreeSet::new()) {
            // What was begun ends with the agent.
            if !begun {
                self.apply(Input::Failed { assignment, failure: lost_before() }, context);
            }
        }
    }
}

/// The node of the coordinator drains, and no agent comes any more. What no agent that is here can do is answered
/// [`Draining`](swarm_protocols::DeliveryError::Draining), so that its client submits it again elsewhere, and tasks that
/// nobody waits for are cancelled.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct NodeDrains;

impl Handler<NodeDrains> for Coordinator {
    type Result = ();

    fn handle(&mut self, _: NodeDrains, context: &mut Self::Context) {
        self.is_draining = true;
        self.apply(Input::Draining, context);
        self.cancel_left(context);
    }
}

/// Watches the peers of a node, and tells a coordinator of the agents that come, change and go, and when the node drains.
///
/// Every peer whose role is agent is one of them. What it can do is what it exposes, by the names of the protocols; how
/// many parts it works on at once is in its capabilities, as [`Slots`].
pub struct AgentWatch {
    node: Node,
    coordinator: Addr<Coordinator>,
    sessions: BTreeMap<NodeId, Session>,
}

/// A session with an agent.
struct Session {
    peer: Peer,
    slots: Slots,
    look: Look,
    /// Whether the coordinator knows of the agent.
    is_known: bool,
    /// It was said that the agent exposes nothing.
    is_warned: bool,
}

/// Whether somebody looks what an agent exposes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Idle,
    /// Or in the pause after it.
    InProgress,
    /// The same, and what is exposed has changed meanwhile.
    Outdated,
}

impl AgentWatch {
    /// Watches `node`, from its start on, for `coordinator`.
    pub fn new(node: Node, coordinator: Addr<Coordinator>) -> Self {
        Self { node, coordinator, sessions: BTreeMap::new() }
    }

    /// Looks what an agent exposes, once at a time and not at once again.
    fn look(&mut self, agent: &NodeId, context: &mut Context<Self>) {
        let Some(session) = self.sessions.get_mut(agent) else { return };
        if session.look != Look::Idle {
            session.look = Look::Outdated;
            return;
        }
        session.look = Look::InProgress;
        let (node, agent, id) = (self.node.clone(), agent.clone(), session.peer.session);
        let of = agent.clone();
        let looking = async move { ports_of(&node, &of).await };
        let told = looking.into_actor(self).map(move |ports, watch, context| {
            match watch.looked(&agent, id, ports) {
                // What it had exposed before is told after it came.
                true => watch.paused(&agent, id, context),
                false => drop(context.run_later(LOOK_PAUSE, move |watch, context| {
                    watch.paused(&agent, id, context);
                })),
            }
        });
        context.spawn(told);
    }

    /// The session of this id, which may have ended meanwhile, and another one may have begun.
    fn session(&mut self, agent: &NodeId, id: Uuid) -> Option<&mut Session> {
        self.sessions.get_mut(agent).filter(|session| session.peer.session == id)
    }

    /// The pause after a look is over.
    fn paused(&mut self, agent: &NodeId, id: Uuid, context: &mut Context<Self>) {
        let Some(session) = self.session(agent, id) else { return };
        if mem::replace(&mut session.look, Look::Idle) == Look::Outdated {
            self.look(agent, context);
        }
    }

    /// Tells the coordinator what an agent exposes, and says whether that was the first look.
    fn looked(&mut self, agent: &NodeId, id: Uuid, ports: Ports) -> bool {
        let Some(session) = self.session(agent, id) else { return false };
        let (node, is_first) = (agent.clone(), !session.is_known);
        if ports.mailboxes.is_empty() && session.look != Look::Outdated && !session.is_warned {
            session.is_warned = true;
            limited!(warn, "it exposes no protocol of tasks, and is given no work until it does", agent = %node);
        }
        if session.is_known {
            self.coordinator.do_send(AgentChanged { node, ports });
        } else {
            session.is_known = true;
            let (agent_type, slots) = (session.peer.agent_type.clone(), session.slots);
            self.coordinator.do_send(AgentJoined { node, agent_type, slots, ports });
        }
        is_first
    }
}

/// How long an agent is not looked at again, whatever it changes: what changes meanwhile is one look.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Finds what a peer exposes, the first mailbox of each protocol.
async fn ports_of(node: &Node, peer: &NodeId) -> Ports {
    let (mut ports, mut protocols) = (Ports::default(), BTreeSet::new());
    for (name, mailbox) in node.offered_by(peer).await {
        if mailbox.protocol() == ContentStoreProtocol::NAME {
            if name.as_str() == CONTENT_STORE_NAME {
                ports.content_store = Some(mailbox);
            }
        } else if protocols.insert(mailbox.protocol().to_owned()) {
            ports.mailboxes.push(mailbox);
        }
    }
    ports
}

impl Actor for AgentWatch {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.add_message_stream(self.node.watch());
        context.add_message_stream(self.node.subscribe());
        let node = self.node.clone();
        let drains = async move { node.drains().await }.into_actor(self);
        context.spawn(drains.map(|(), watch, _| watch.coordinator.do_send(NodeDrains)));
    }
}

/// Without it no agent is known, and one that panicked says nothing.
impl Drop for AgentWatch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.coordinator.do_send(Unwatched);
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Unwatched;

impl Handler<Unwatched> for Coordinator {
    type Result = ();

    fn handle(&mut self, _: Unwatched, context: &mut Self::Context) {
        tracing::error!("who watches the agents has panicked, and the coordinator stops");
        context.stop();
    }
}

impl Handler<PeerEvent> for AgentWatch {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, context: &mut Self::Context) {
        match event {
            PeerEvent::Up(peer) if peer.role == Role::Agent => {
                let offered = Slots::offered(peer.capabilities.iter().map(String::as_str));
                let slots = offered.unwrap_or_else(|error| {
                    limited!(warn, "the default number of slots is taken", agent = %peer.node, %error);
                    Slots::default()
                });
                let agent = peer.node.clone();
                let session = Session { peer, slots, look: Look::Idle, is_known: false, is_warned: false };
                self.sessions.insert(agent.clone(), session);
                self.look(&agent, context);
            }
            PeerEvent::Up(_) => {}
            PeerEvent::Down { node, .. } => {
                if self.sessions.remove(&node).is_some_and(|session| session.is_known) {
                    self.coordinator.do_send(AgentLost { node });
                }
            }
        }
    }
}

impl Handler<NameEvent> for AgentWatch {
    type Result = ();

    fn handle(&mut self, event: NameEvent, context: &mut Self::Context) {
        let (NameEvent::Exposed(name) | NameEvent::Withdrawn(name)) = event;
        self.look(&name.address.node, context);
    }
}
