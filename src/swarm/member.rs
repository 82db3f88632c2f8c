//! One node of a swarm in this process: its identity, its actors, its sessions.

use std::io;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use swarm_actors::certificate_authority::{AUTHORITY_NAME, CertificateAuthority};
use swarm_actors::coordinator::{
    AgentWatch, CORRELATOR, CORRELATOR_NAME, Coordinator, CoordinatorConfig, MATCHER_NAME, PATTERN_MATCHER,
    SERIES_MATCHER, SERIES_MATCHER_NAME,
};
use swarm_actors::correlator::Correlator;
use swarm_actors::enrolment::{EnrolmentError, EnrolmentListener};
use swarm_actors::identity::{AuthorityFolder, Identity, IdentityError, RevocationList};
use swarm_actors::pattern_matcher::PatternMatcher;
use swarm_actors::{
    ConnectError, ExposeError, Mailbox, Node, NodeConfig, Refusal, SetIdentityError, StartError, Workers,
};
use swarm_protocols::certificates::CertificateAuthority as AuthorityProtocol;
use swarm_protocols::coordinator::{Offer, SLOTS_MAX};
use swarm_protocols::session::Timing;
use swarm_protocols::{NodeId, Role};
use tokio::sync::watch;
use tokio::time::timeout;

use super::node_file::{AgentType, Part, Peer};
use super::reconnection::{CoordinatorWatch, Lost, connect_to};

/// The name under which a coordinator exposes its actor.
pub(crate) const COORDINATOR_NAME: &str = "coordinator";

/// How many bytes of series each actor of an agent keeps.
const STORE_BYTES_MAX: usize = 256 << 20;

/// What a node is started with.
pub(crate) struct Member {
    pub(crate) identity: Identity,
    pub(crate) listen: SocketAddr,
    pub(crate) part: Part,
    pub(crate) timing: Timing,
    /// What it issues certificates from, if it does.
    pub(crate) authority: Option<MemberAuthority>,
}

/// The authority of a coordinator that issues certificates.
pub(crate) struct MemberAuthority {
    pub(crate) folder: Arc<AuthorityFolder>,
    /// Where it listens for newcomers.
    pub(crate) enrol: Option<SocketAddr>,
    /// How long the certificates of newcomers hold.
    pub(crate) lifetime: Duration,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the address of {}, {}, cannot be looked up: {cause}", peer.name, peer.address.as_str())]
    Lookup { peer: Peer, cause: io::Error },
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{node} at {address} is an {role} by its certificate, a coordinator was expected")]
    NotACoordinator { node: NodeId, address: SocketAddr, role: Role },
    #[error(transparent)]
    Expose(#[from] ExposeError),
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
}

/// Why a node does not show another identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplaceError {
    #[error(transparent)]
    Node(#[from] SetIdentityError),
    #[error("newcomers are shown the former certificate: {0}")]
    Enrolment(#[from] IdentityError),
}

impl JoinError {
    /// Whether it was for a certificate, or for the role in it, that there is no session.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NotACoordinator { .. }
                | Self::Connect(ConnectError::Refused { refusal: Refusal::Certificate, .. })
        )
    }
}

/// A node that is part of its swarm.
pub(crate) struct Joined {
    node: Node,
    address: SocketAddr,
    lost: watch::Receiver<Option<Lost>>,
    authorities: Authorities,
    enrolment: Option<EnrolmentListener>,
}

/// Who renews the certificate of a node.
enum Authorities {
    /// The node itself, if it has an authority.
    Own(Option<Mailbox<AuthorityProtocol>>),
    /// Those of its coordinators that have one.
    Of(Vec<NodeId>),
}

impl Member {
    /// Starts the node; an agent has a session with every coordinator then.
    pub(crate) async fn join(self) -> Result<Joined, JoinError> {
        let Member { identity, listen, part, timing, authority } = self;
        let mut config = NodeConfig::new(identity.clone(), listen);
        config.timing = timing;
        if let Part::Agent { agent_type, workers, .. } = &part {
            config.agent_type = agent_type.to_string();
            let offer =
                |capability: &str| Offer { capability: capability.to_owned(), slots: slots(*workers) };
            let offered = [PATTERN_MATCHER, SERIES_MATCHER, CORRELATOR];
            config.capabilities = offered.map(|capability| offer(capability).to_string()).to_vec();
        }
        let node = Node::start(config).await?;
        let address = node.address().expect("a node that has started has a socket");
        // Before the first peer: it learns what is exposed from the hello.
        expose(&node, &part).await?;
        let (own, enrolment) = match authority {
            Some(authority) => issue(&node, &identity, authority).await?,
            None => (None, None),
        };

        let (losses, lost) = watch::channel(None);
        let mut authorities = Authorities::Own(own);
        if let Part::Agent { connect, reconnect, .. } = part {
            authorities = Authorities::Of(connect.iter().map(|peer| peer.name.clone()).collect());
            let watcher = CoordinatorWatch::new(node.clone(), &connect, reconnect, losses);
            node.watch(watcher.start().recipient());
            for peer in &connect {
                connect_to(&node, peer).await?;
            }
        }
        Ok(Joined { node, address, lost, authorities, enrolment })
    }
}

impl Joined {
    /// Where the node listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows and believes another identity from now on; sessions go on.
    pub(crate) async fn set_identity(&self, identity: Identity) -> Result<(), ReplaceError> {
        self.node.set_identity(identity.clone()).await?;
        match &self.enrolment {
            Some(listener) => Ok(listener.set_identity(&identity)?),
            None => Ok(()),
        }
    }

    /// Refuses what is on this list from now on, if it is newer than the one that holds.
    pub(crate) async fn set_revocation_list(&self, list: RevocationList) -> Result<(), SetIdentityError> {
        self.node.set_revocation_list(list).await
    }

    /// Where it listens for newcomers, if it does.
    pub(crate) fn enrols_at(&self) -> Option<SocketAddr> {
        self.enrolment.as_ref().map(EnrolmentListener::address)
    }

    /// Whether it issues certificates itself.
    pub(crate) fn is_authority(&self) -> bool {
        matches!(self.authorities, Authorities::Own(Some(_)))
    }

    /// An authority that can be asked now. The error says for each why it cannot.
    pub(crate) async fn authority(&self) -> Result<Mailbox<AuthorityProtocol>, String> {
        let coordinators = match &self.authorities {
            Authorities::Own(Some(own)) => return Ok(own.clone()),
            Authorities::Own(None) => return Err("this coordinator has no [authority]".to_owned()),
            Authorities::Of(coordinators) => coordinators,
        };
        let mut reasons = Vec::new();
        for coordinator in coordinators {
            match self.node.resolve(&format!("{coordinator}/{AUTHORITY_NAME}")).await {
                Ok(authority) => return Ok(authority),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(reasons.join("; "))
    }

    /// What is heard of its coordinators, if the node is an agent.
    pub(crate) fn losses(&self) -> Losses {
        Losses(self.lost.clone())
    }

    /// Stops within this time: what is in hand gets half of it to finish, then every session is closed.
    pub(crate) async fn stop(self, within: Duration) {
        // A node waits seconds for the farewell of a handshake that was never finished; the rest of
        // the time is enough for sessions.
        let _in_time = timeout(within, self.node.stop(within / 2)).await;
    }
}

/// Tells when an agent has no coordinator any more.
pub(crate) struct Losses(watch::Receiver<Option<Lost>>);

impl Losses {
    /// Completes when the last coordinator is lost for good.
    pub(crate) async fn next(&mut self) -> Lost {
        match self.0.wait_for(Option::is_some).await {
            Ok(lost) => lost.clone().expect("waited for"),
            // Nobody watches: it is a coordinator.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Exposes what a node does for others, as long as it runs.
async fn expose(node: &Node, part: &Part) -> Result<(), ExposeError> {
    match part {
        Part::Coordinator => {
            let coordinator = Coordinator::new(CoordinatorConfig::default(), Some(node.clone())).start();
            AgentWatch::new(node.clone(), coordinator.clone()).start();
            let mailbox = Coordinator::mailbox(coordinator);
            node.expose(COORDINATOR_NAME, mailbox).allow(Role::Operator).register().await?.detach();
        }
        Part::Agent { agent_type: AgentType::PatternMatcher, workers, connect, .. } => {
            // A full queue answers Busy, so it holds what every coordinator may ask for at once, of both actors
            // together.
            let queued = slots(*workers).get() as usize * connect.len();
            let workers = Workers::new(*workers, queued);
            let matcher = PatternMatcher::new(workers.clone(), STORE_BYTES_MAX).start();
            let mailbox = PatternMatcher::mailbox(matcher.clone());
            node.expose(MATCHER_NAME, mailbox).allow(Role::Coordinator).register().await?.detach();
            let mailbox = PatternMatcher::series_mailbox(matcher);
            node.expose(SERIES_MATCHER_NAME, mailbox).allow(Role::Coordinator).register().await?.detach();
            let correlator = Correlator::new(workers, STORE_BYTES_MAX).start();
            let mailbox = Correlator::mailbox(correlator);
            node.expose(CORRELATOR_NAME, mailbox).allow(Role::Coordinator).register().await?.detach();
        }
    }
    Ok(())
}

/// Issues certificates to nodes, and to newcomers where it listens for them.
async fn issue(
    node: &Node,
    identity: &Identity,
    MemberAuthority { folder, enrol, lifetime }: MemberAuthority,
) -> Result<(Option<Mailbox<AuthorityProtocol>>, Option<EnrolmentListener>), JoinError> {
    let authority = CertificateAuthority::new(Arc::clone(&folder), lifetime).start();
    let listener =
        enrol.map(|address| EnrolmentListener::start(address, identity, folder, authority.clone()));
    let mailbox = CertificateAuthority::mailbox(authority);
    let exposing = node.expose(AUTHORITY_NAME, mailbox.clone());
    exposing.allow(Role::Agent).allow(Role::Coordinator).register().await?.detach();
    Ok((Some(mailbox), listener.transpose()?))
}

/// How many parts a coordinator may give to an agent at once: one for each thread, and one that is
/// there when a thread gets free.
fn slots(workers: NonZeroUsize) -> NonZeroU32 {
    let slots = u32::try_from(workers.get()).unwrap_or(SLOTS_MAX).saturating_add(1).min(SLOTS_MAX);
    NonZeroU32::new(slots).expect("at least 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded() {
        for (workers, expected) in [(1, 2), (8, 9), (1_024, SLOTS_MAX)] {
            assert_eq!(slots(NonZeroUsize::new(workers).unwrap()).get(), expected);
        }
    }
}
