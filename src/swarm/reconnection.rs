//! How an agent gets its coordinators, and gets them back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use swarm_actors::{Node, Peer as OpenPeer, PeerEvent, Wanted};
use swarm_protocols::{NodeId, Role};
use tokio::sync::watch;
use tokio::time::sleep;

use super::addresses::{first_that_answers, look_up};
use super::member::JoinError;
use super::node_file::Peer;

/// The pause before a lost coordinator is dialled for the first time.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The longest pause between two attempts; each is twice as long as the one before.
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// No coordinator is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the session with {coordinator} ended: {reason}")]
pub(crate) struct Lost {
    pub(crate) coordinator: NodeId,
    pub(crate) reason: String,
    /// Whether it was for a certificate that no other session was had.
    pub(crate) refused: bool,
}

/// Connects to a node at whichever of its addresses it answers.
pub(crate) async fn connect_to(node: &Node, peer: &Peer) -> Result<(), JoinError> {
    let unknown = |cause| JoinError::Lookup { peer: peer.clone(), cause };
    let addresses = look_up(&peer.address).await.map_err(unknown)?;
    let wanted = Wanted::Node(peer.name.clone());
    let connected = first_that_answers(&wanted, &addresses, async |address| {
        node.connect(peer.name.clone(), address).await.map(|peer| (peer, address))
    });
    match connected.await? {
        (OpenPeer { role: Role::Coordinator, .. }, _) => Ok(()),
        (OpenPeer { node, role, .. }, address) => Err(JoinError::NotACoordinator { node, address, role }),
    }
}

/// Dials the coordinators of an agent that were lost, and says when it has been without any for too long.
pub(crate) struct CoordinatorWatch {
    node: Node,
    coordinators: BTreeMap<NodeId, Coordinator>,
    /// How long the agent looks for them when it has none; with zero it does not.
    patience: Duration,
    /// Ends the patience.
    alone: Option<SpawnHandle>,
    losses: watch::Sender<Option<Lost>>,
}

struct Coordinator {
    peer: Peer,
    session: Session,
    /// Whether it is being dialled.
    dialling: bool,
    /// Why it was not reached the last time, where that was for a certificate.
    refusal: Rc<RefCell<Option<String>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    /// Open, or about to be opened.
    Expected,
    Lost,
}

impl CoordinatorWatch {
    /// Watches over the sessions with these coordinators, which are about to be opened.
    pub(crate) fn new(
        node: Node,
        coordinators: &[Peer],
        patience: Duration,
        losses: watch::Sender<Option<Lost>>,
    ) -> Self {
        let coordinators = coordinators.iter().map(|peer| {
            let coordinator = Coordinator {
                peer: peer.clone(),
                session: Session::Expected,
                dialling: false,
                refusal: Rc::default(),
            };
            (peer.name.clone(), coordinator)
        });
        Self { node, coordinators: coordinators.collect(), patience, alone: None, losses }
    }

    fn lost(&mut self, node: NodeId, reason: String, context: &mut Context<Self>) {
        if !self.patience.is_zero() {
            tracing::warn!("the session with {node} ended: {reason}; it is dialled again");
            self.dial(&node, context);
        }
        if self.coordinators.values().any(|coordinator| coordinator.session != Session::Lost) {
            return;
        }
        let lost = Lost { coordinator: node, reason, refused: false };
        if self.patience.is_zero() {
            self.losses.send_replace(Some(lost));
        } else if self.alone.is_none() {
            self.alone = Some(context.run_later(self.patience, |watch, _| {
                watch.losses.send_replace(Some(watch.lost_for_good(lost)));
            }));
        }
    }

    /// What is said of a loss when the patience is at its end: a refusal says more than silence.
    fn lost_for_good(&self, Lost { coordinator, reason, .. }: Lost) -> Lost {
        let refusal = self.coordinators.values().find_map(|coordinator| coordinator.refusal.borrow().clone());
        let refused = refusal.is_some();
        let since = match refusal {
            Some(refusal) => format!("then {refusal}"),
            None => format!("nothing was reached for {:?}", self.patience),
        };
        Lost { coordinator, reason: format!("{reason}; {since}"), refused }
    }

    fn dial(&mut self, name: &NodeId, context: &mut Context<Self>) {
        let Some(coordinator) = self.coordinators.get_mut(name) else { return };
        if coordinator.dialling {
            return;
        }
        coordinator.dialling = true;
        let dialled = dial_until_connected(
            self.node.clone(),
            coordinator.peer.clone(),
            Rc::clone(&coordinator.refusal),
        );
        let name = name.clone();
        context.spawn(dialled.into_actor(self).map(move |(), watch, context| {
            let Some(coordinator) = watch.coordinators.get_mut(&name) else { return };
            coordinator.dialling = false;
            // It may have been lost once more in this moment.
            if coordinator.session == Session::Lost {
                watch.dial(&name, context);
            }
        }));
    }
}

async fn dial_until_connected(node: Node, peer: Peer, refusal: Rc<RefCell<Option<String>>>) {
    for pause in pauses() {
        sleep(pause).await;
        match connect_to(&node, &peer).await {
            Ok(()) => {
                refusal.take();
                return;
            }
            Err(error) => {
                tracing::info!("{error}");
                refusal.replace(error.is_refusal().then(|| error.to_string()));
            }
        }
    }
}

/// Doubling up to a bound, without an end.
fn pauses() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(PAUSE_MIN), |pause| Some((*pause * 2).min(PAUSE_MAX)))
}

impl Actor for CoordinatorWatch {
    type Context = Context<Self>;
}

impl Handler<PeerEvent> for CoordinatorWatch {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, context: &mut Self::Context) {
        match event {
            PeerEvent::Up(peer) => {
                let Some(coordinator) = self.coordinators.get_mut(&peer.node) else { return };
                coordinator.session = Session::Expected;
                if let Some(alone) = self.alone.take() {
                    context.cancel_future(alone);
                }
            }
            PeerEvent::Down { node, reason } => {
                let Some(coordinator) = self.coordinators.get_mut(&node) else { return };
                coordinator.session = Session::Lost;
                self.lost(node, reason, context);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_actors::testing;

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn down(name: &str) -> PeerEvent {
        PeerEvent::Down { node: id(name), reason: "gone".into() }
    }

    fn up(name: &str) -> PeerEvent {
        let session = uuid::Uuid::now_v7();
        let (agent_type, capabilities) = (String::new(), Vec::new());
        PeerEvent::Up(OpenPeer { node: id(name), role: Role::Coordinator, agent_type, capabilities, session })
    }

    /// A node that reaches nobody, and what its watch says.
    async fn watching(patience: Duration) -> (actix::Addr<CoordinatorWatch>, watch::Receiver<Option<Lost>>) {
        let [a, b] = ["a", "b"].map(|name| testing::MemoryNode::new(name, Role::Agent));
        let (node, _other, _cut) = testing::pair(a, b).await;
        let (losses, lost) = watch::channel(None);
        let peer = |name| Peer { name: id(name), address: "127.0.0.1:1".parse().unwrap() };
        let peers = ["hub-1", "hub-2"].map(peer);
        (CoordinatorWatch::new(node, &peers, patience, losses).start(), lost)
    }

    #[test]
    fn an_agent_without_patience_is_lost_with_its_last_coordinator() {
        actix_rt::System::new().block_on(async {
            let (watch, lost) = watching(Duration::ZERO).await;
            for event in [up("hub-1"), down("hub-1"), up("hub-1"), down("hub-2"), down("operator")] {
                watch.send(event).await.unwrap();
                assert_eq!(*lost.borrow(), None);
            }
            watch.send(down("hub-1")).await.unwrap();
            let expected = Lost { coordinator: id("hub-1"), reason: "gone".into(), refused: false };
            assert_eq!(*lost.borrow(), Some(expected));
        });
    }

    #[test]
    fn patience_ends_when_there_was_no_coordinator_for_as_long() {
        actix_rt::System::new().block_on(async {
            tokio::time::pause();
            let (watch, mut lost) = watching(Duration::from_secs(60)).await;
            for event in [down("hub-1"), down("hub-2")] {
                watch.send(event).await.unwrap();
            }
            sleep(Duration::from_secs(59)).await;
            watch.send(up("hub-2")).await.unwrap();
            sleep(Duration::from_secs(600)).await;
            assert_eq!(*lost.borrow(), None);
            watch.send(down("hub-2")).await.unwrap();
            let since = tokio::time::Instant::now();
            let lost = lost.wait_for(Option::is_some).await.unwrap().clone().unwrap();
            assert_eq!(since.elapsed().as_secs(), 60);
            assert_eq!(lost.to_string(), "the session with hub-2 ended: gone; nothing was reached for 60s");
        });
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let millis: Vec<_> = pauses().take(8).map(|pause| pause.as_millis()).collect();
        assert_eq!(millis, [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    }
}
