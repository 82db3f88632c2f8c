//! One node of a swarm in this process: its identity, its actors, its sessions.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use futures_util::StreamExt;
use futures_util::future::select_all;
use futures_util::stream::FuturesUnordered;
use swarm_actors::certificate_authority::{AUTHORITY_NAME, CertificateAuthority};
use swarm_actors::certificate_keeper::{AuthoritySource, CertificateKeeper};
use swarm_actors::content_store::{CONTENT_STORE_NAME, ContentStore, Contents};
use swarm_actors::coordinator::{AgentWatch, Coordinator, CoordinatorConfig};
use swarm_actors::correlator::Correlator;
use swarm_actors::enrolment::{EnrolmentError, EnrolmentListener};
use swarm_actors::identity::{AuthorityFolder, Identity, IdentityError, IdentityPaths};
use swarm_actors::pattern_matcher::PatternMatcher;
use swarm_actors::{
    ConnectError, ExposeError, KeptConnection, Mailbox, Node, NodeConfig, Peer as OpenPeer, PeerAddress,
    Refusal, Registration, SetIdentityError, StartError, Workers,
};
use swarm_protocols::certificates::CertificateAuthority as AuthorityProtocol;
use swarm_protocols::coordinator::Slots;
use swarm_protocols::session::Timing;
use swarm_protocols::{NodeId, Protocol, Role};
use tokio::sync::watch;
use tokio::time::timeout;

use super::node_file::{AgentType, Duty, Peer};
use super::node_options::Memory;
use super::reconnection::{Coordinator as AgentCoordinator, Lost, all_lost, is_refusal};

/// The name under which a coordinator exposes its actor.
pub(crate) const COORDINATOR_NAME: &str = "coordinator";

/// The name under which an agent exposes its pattern matcher.
const MATCHER_NAME: &str = "matcher";

/// The name under which an agent exposes what searches, classifies and measures.
const SERIES_MATCHER_NAME: &str = "series-matcher";

/// The name under which an agent exposes its correlator.
const CORRELATOR_NAME: &str = "correlator";

/// What a node is started with.
pub(crate) struct Member {
    pub(crate) identity: Identity,
    pub(crate) listen: SocketAddr,
    pub(crate) duty: Duty,
    pub(crate) memory: Memory,
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
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{node} at {address} is an {role} by its certificate, a coordinator was expected")]
    NotACoordinator { node: NodeId, address: PeerAddress, role: Role },
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
        match self {
            Self::NotACoordinator { .. } => true,
            Self::Connect(error) => is_refusal(error),
            Self::Start(_) | Self::Expose(_) | Self::Enrolment(_) => false,
        }
    }
}

/// Why a node no longer does what it is there for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the actor behind {0} has stopped; start this node again")]
    Actor(&'static str),
    #[error("the node has stopped by itself; start it again")]
    Node,
    #[error("the socket for newcomers has failed; start this node again")]
    Enrolment,
}

/// A node that is part of its swarm.
pub(crate) struct Joined {
    node: Node,
    address: SocketAddr,
    lost: watch::Receiver<Option<Lost>>,
    authorities: AuthoritySource,
    enrolment: Option<EnrolmentListener>,
    /// What it is there for, by name.
    exposed: Vec<(&'static str, Registration)>,
    /// They are dialled again as long as this is here.
    _kept: Vec<KeptConnection>,
}

impl Member {
    /// Starts the node; an agent has a session with every coordinator then.
    pub(crate) async fn join(self) -> Result<Joined, JoinError> {
        let Member { identity, listen, duty, memory, timing, authority } = self;
        let mut config = NodeConfig::new(identity.clone(), listen);
        config.timing = timing;
        (config.memory_bytes, config.kept_bytes) = (memory.bytes(), memory.kept_bytes());
        config.limits.message_bytes = config.limits.message_bytes.min(memory.message_bytes());
        if let Duty::Agent { agent_type, workers, .. } = &duty {
            config.agent_type = agent_type.to_string();
            config.capabilities = vec![slots(*workers).to_string()];
        }
        let node = Node::start(config).await?;
        let address = node.address().expect("a node that has started has a socket");
        // Before the first peer: it learns what is exposed from the hello.
        let mut exposed = expose(&node, &duty, memory).await?;
        let (own, enrolment) = match authority {
            Some(authority) => issue(&node, &identity, authority, &mut exposed).await?,
            None => (None, None),
        };

        let (losses, lost) = watch::channel(None);
        let mut authorities = own.map_or_else(
            || AuthoritySource::Nobody("this coordinator has no [authority]".to_owned()),
            AuthoritySource::Own,
        );
        let mut kept = Vec::new();
        if let Duty::Agent { connect, reconnect, .. } = duty {
            authorities =
                AuthoritySource::Coordinators(connect.iter().map(|peer| peer.name.clone()).collect());
            for Peer { name, address } in connect {
                kept.push(node.keep_connected(name, address).await);
            }
            boot(&kept, reconnect).await?;
            let states =
                |kept: &KeptConnection| AgentCoordinator { name: kept.peer().clone(), states: kept.states() };
            let coordinators = kept.iter().map(states).collect();
            actix_rt::spawn(async move {
                losses.send_replace(Some(all_lost(coordinators, reconnect).await));
            });
        }
        Ok(Joined { node, address, lost, authorities, enrolment, exposed, _kept: kept })
    }
}

impl Joined {
    /// Where the node listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows and believes another identity from now on; sessions go on.
    pub(crate) async fn set_identity(&self, identity: &Identity) -> Result<(), ReplaceError> {
        self.node.set_identity(identity.clone()).await?;
        Ok(self.show_newcomers(identity)?)
    }

    /// Shows newcomers another identity, which the node shows already.
    pub(crate) fn show_newcomers(&self, identity: &Identity) -> Result<(), IdentityError> {
        self.enrolment.as_ref().map_or(Ok(()), |listener| listener.set_identity(identity))
    }

    /// Where it listens for newcomers, if it does.
    pub(crate) fn enrols_at(&self) -> Option<SocketAddr> {
        self.enrolment.as_ref().map(EnrolmentListener::address)
    }

    /// What keeps its certificate fresh, which is in these files.
    pub(crate) fn certificate_keeper(&self, paths: IdentityPaths, identity: Identity) -> CertificateKeeper {
        CertificateKeeper::new(self.node.clone(), self.authorities.clone(), paths, identity)
    }

    /// Completes when an agent has lost its last coordinator for good.
    pub(crate) async fn lost(&self) -> Lost {
        match self.lost.clone().wait_for(Option::is_some).await {
            Ok(lost) => lost.clone().expect("waited for"),
            // Nobody watches: it is a coordinator.
            Err(_) => std::future::pending().await,
        }
    }

    /// Completes when it no longer does what it is there for, which only another process can mend.
    pub(crate) async fn broken(&self) -> Broken {
        let ended = self.exposed.iter().map(async |(name, registration)| {
            registration.ended().await;
            *name
        });
        let enrolment_failed = async {
            match &self.enrolment {
                Some(listener) => listener.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (name, ..) = select_all(ended.map(Box::pin)) => match self.node.statistics().await {
                Some(_) => Broken::Actor(name),
                None => Broken::Node,
            },
            () = enrolment_failed => Broken::Enrolment,
        }
    }

    /// Stops within this time: what is in progress gets half of it to finish, then every session is closed.
    pub(crate) async fn stop(self, within: Duration) {
        // A node waits seconds for the farewell of a handshake that was never finished; the rest of
        // the time is enough for sessions.
        let _in_time = timeout(within, self.node.stop(within / 2)).await;
    }
}

/// Waits until one coordinator is there. A machine that has just started may have no names yet, a coordinator may be
/// started after its agents or be starting again, and an agent that was started again may find its place taken by those
/// that were killed before: what may pass is tried again for as long as for a coordinator that is lost.
async fn boot(kept: &[KeptConnection], reconnect: Duration) -> Result<(), JoinError> {
    if reconnect.is_zero() {
        return first_coordinator(kept).await;
    }
    let first = first_coordinator(kept).await;
    let Err(JoinError::Connect(
        error @ (ConnectError::Lookup { .. }
        | ConnectError::Unreachable { .. }
        | ConnectError::TimedOut { .. }
        | ConnectError::Refused { refusal: Refusal::Busy, .. }),
    )) = &first
    else {
        return first;
    };
    tracing::warn!("{error}; it is tried again for {reconnect:?}");
    let connected: FuturesUnordered<_> = kept.iter().map(KeptConnection::connected).collect();
    let _in_vain = timeout(reconnect, connected.into_future()).await;
    first_coordinator(kept).await
}

/// Waits until one coordinator is there, as one suffices at run time too. The error is that of the first one where
/// somebody was, else that of the last.
async fn first_coordinator(kept: &[KeptConnection]) -> Result<(), JoinError> {
    let attempted = async |kept: &KeptConnection| (kept.attempted().await, kept.address().clone());
    let mut attempts: FuturesUnordered<_> = kept.iter().map(attempted).collect();
    let mut failure: Option<JoinError> = None;
    while let Some((attempt, address)) = attempts.next().await {
        let error = match attempt {
            Ok(OpenPeer { role: Role::Coordinator, .. }) => return Ok(()),
            Ok(OpenPeer { node, role, .. }) => JoinError::NotACoordinator { node, address, role },
            Err(error) => JoinError::Connect(error),
        };
        if !failure.as_ref().is_some_and(JoinError::is_refusal) {
            failure = Some(error);
        }
    }
    // An agent without coordinators is refused with its file.
    failure.map_or(Ok(()), Err)
}

/// Exposes what a node does for others, as long as it runs.
async fn expose(
    node: &Node,
    duty: &Duty,
    memory: Memory,
) -> Result<Vec<(&'static str, Registration)>, ExposeError> {
    Ok(match duty {
        Duty::Coordinator => {
            let config = CoordinatorConfig::within(memory.kept_bytes());
            let coordinator = Coordinator::new(config, Some(node.clone()));
            let (mailbox, coordinator) = coordinator.start_with_mailbox();
            AgentWatch::new(node.clone(), coordinator).start();
            let exposing = node.expose(COORDINATOR_NAME, mailbox).allow(Role::Operator);
            vec![(COORDINATOR_NAME, exposing.register().await?)]
        }
        Duty::Agent { agent_type: AgentType::PatternMatcher, workers, connect, .. } => {
            // A full queue declines, so it holds what every coordinator may ask for at once, of both actors
            // together.
            let queued = slots(*workers).all().get() as usize * connect.len();
            let workers = Workers::new(*workers, queued);
            let contents = Contents::new(memory.kept_bytes());
            let matcher = || PatternMatcher::new(workers.clone(), contents.clone());
            let correlator = Correlator::new(workers.clone(), contents.clone()).mailbox();
            vec![
                for_operators(node, CONTENT_STORE_NAME, ContentStore::new(contents.clone()).mailbox())
                    .await?,
                for_operators(node, MATCHER_NAME, matcher().mailbox()).await?,
                for_operators(node, SERIES_MATCHER_NAME, matcher().series_mailbox()).await?,
                for_operators(node, CORRELATOR_NAME, correlator).await?,
            ]
        }
    })
}

/// Works for operators whose tasks a coordinator accepted, and for nobody else.
async fn for_operators<P: Protocol>(
    node: &Node,
    name: &'static str,
    mailbox: Mailbox<P>,
) -> Result<(&'static str, Registration), ExposeError> {
    let exposing = node.expose(name, mailbox).allow_through_coordinator(Role::Operator);
    Ok((name, exposing.register().await?))
}

/// Issues certificates to nodes, and to newcomers where it listens for them.
async fn issue(
    node: &Node,
    identity: &Identity,
    MemberAuthority { folder, enrol, lifetime }: MemberAuthority,
    exposed: &mut Vec<(&'static str, Registration)>,
) -> Result<(Option<Mailbox<AuthorityProtocol>>, Option<EnrolmentListener>), JoinError> {
    let authority = CertificateAuthority::new(Arc::clone(&folder), lifetime);
    let (mailbox, authority) = authority.start_with_mailbox();
    let listener =
        enrol.map(|address| EnrolmentListener::start(address, identity, folder, authority.clone()));
    let exposing = node.expose(AUTHORITY_NAME, mailbox.clone());
    let exposing = exposing.allow(Role::Agent).allow(Role::Coordinator);
    exposed.push((AUTHORITY_NAME, exposing.register().await?));
    Ok((Some(mailbox), listener.transpose()?))
}

/// What a coordinator may give to an agent at once: a part for each thread, and one that is there when a thread gets free.
fn slots(workers: NonZeroUsize) -> Slots {
    const AHEAD: u32 = 1;
    let threads = NonZeroU32::try_from(workers).unwrap_or(NonZeroU32::MAX);
    let most = NonZeroU32::new(Slots::MAX - AHEAD).expect("room for one ahead leaves others");
    Slots::new(threads.min(most), AHEAD).expect("no more than the most")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use actix::{Context, Handler};
    use futures_util::FutureExt;
    use serde::{Deserialize, Serialize};
    use std::time::SystemTime;
    use swarm_actors::identity::{Authority, Validity};
    use swarm_actors::{Call, Outcome};
    use swarm_protocols::{Request, protocol};

    #[test]
    fn slots_are_bounded() {
        for (workers, expected) in [(1, "slots:1+1"), (8, "slots:8+1"), (usize::MAX, "slots:1023+1")] {
            assert_eq!(slots(NonZeroUsize::new(workers).unwrap()).to_string(), expected);
        }
    }

    #[derive(Serialize, Deserialize, Request)]
    #[request(name = "panic")]
    struct Panic;

    protocol! { Fragile = "fragile" { Panic } }

    struct Faulty;

    impl Actor for Faulty {
        type Context = Context<Self>;
    }

    impl Handler<Call<Panic>> for Faulty {
        type Result = Outcome<Panic>;

        fn handle(&mut self, _: Call<Panic>, _: &mut Self::Context) -> Self::Result {
            panic!("as the test wants")
        }
    }

    /// A coordinator that nobody knows.
    pub(crate) fn coordinator() -> Member {
        let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400)).unwrap();
        let authority = Authority::new("test", day).unwrap();
        let identity = authority.issue(&"hub".parse().unwrap(), Role::Coordinator, day).unwrap();
        let (listen, timing) = ("127.0.0.1:0".parse().unwrap(), Timing::default());
        let memory = Memory::default();
        Member { identity, listen, duty: Duty::Coordinator, memory, timing, authority: None }
    }

    /// Lets its node end as one does whose socket has failed.
    pub(crate) fn end_node(joined: &Joined) {
        let node = joined.node.clone();
        actix_rt::spawn(async move { node.stop(Duration::ZERO).await });
    }

    #[actix::test]
    async fn t6_a_member_whose_actor_has_panicked_or_whose_node_has_stopped_is_broken() {
        let mut joined = coordinator().join().await.unwrap();
        let broken = async |joined: &Joined| {
            timeout(Duration::from_secs(10), joined.broken()).await.expect("it goes on")
        };
        let faulty = Mailbox::<Fragile>::local(Faulty.start());
        let exposing = joined.node.expose("faulty", faulty.clone()).allow(Role::Operator);
        joined.exposed.push(("faulty", exposing.register().await.unwrap()));
        assert_eq!(joined.broken().now_or_never(), None);
        assert!(faulty.ask(Panic).await.is_err());
        assert_eq!(broken(&joined).await, Broken::Actor("faulty"));

        joined.exposed.pop();
        assert_eq!(joined.broken().now_or_never(), None);
        end_node(&joined);
        assert_eq!(broken(&joined).await, Broken::Node);
    }
}
