//! [`Node`]: a member of a swarm, which exposes mailboxes and finds those of others.

mod address;
mod config;
mod following;
mod hosting;
mod keeping;
mod signals;

pub use crate::{
    quic_bridge::{
        ConnectError, ExposedName, NameEvent, NodeStatistics, Peer, PeerEvent, SessionStatistics,
        SetIdentityError, Wanted,
    },
    transport::Refusal,
};
pub use address::{InvalidPeerAddress, PeerAddress};
pub(crate) use config::MEMORY_BYTES_DEFAULT;
pub use config::{NodeConfig, StartError};
pub(crate) use keeping::jitter;
pub use keeping::{ConnectionState, KeptConnection};
pub use signals::{StopSignal, StopSignals};

use crate::{
    identity::{Identity, RevocationList},
    mailbox::{EncodedMailbox, Mailbox, Other, Remote, exposed_as, requests_of},
    quic_bridge::{self, Found, LocalNode, Presence, QuicBridge},
    session::{DeadLetter, ExposeError, ExposedRequest, Exposure, Permission, Way},
    subscription::{Subscription, subscription},
    transport::Transport,
};
use actix::{Actor, Addr};
use actix_rt::{Arbiter, ArbiterHandle, System};
use hosting::Host;
use std::{any::Any, collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use swarm_protocols::{
    Accepts, InvalidAddress, InvalidName, MailboxAddress, MailboxName, NodeId, Protocol, Request, Role,
    acceptance, is_older, wire::control::Route,
};
use tokio::sync::watch;

/// Why a name did not lead to a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The text is no address.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// There is no session with the node.
    #[error("there is no session with {}, so {address} cannot be found", address.node)]
    NotConnected {
        /// What was looked for.
        address: MailboxAddress,
        /// Where the node was the last time, if it was dialled before.
        dial: Option<SocketAddr>,
    },
    /// There was a session once, and a new one could not be had.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The node does not answer on the session that there is with it; that ends by itself unless it answers again. Where
    /// it was dialled before it is dialled again: resolving once more finds it as soon as it is there.
    #[error("{} does not answer, so {address} cannot be found now", address.node)]
    Silent {
        /// What was looked for.
        address: MailboxAddress,
    },
    /// The node exposes no such name.
    #[error("{} exposes nothing named {}", address.node, address.name)]
    NotFound {
        /// What was looked for.
        address: MailboxAddress,
    },
    /// The actor there speaks another protocol.
    #[error("{address} speaks {}, not {wanted}", swarm_protocols::printable(offered))]
    OtherProtocol {
        /// What was looked for.
        address: MailboxAddress,
        /// The protocol it should have.
        wanted: &'static str,
        /// The one it has.
        offered: String,
    },
    /// The actor is one of this node, and its mailbox has another Rust type for the protocol of that name.
    #[error(
        "{address} is a mailbox of this process for another Rust type of the same protocol: use that type"
    )]
    OtherType {
        /// What was looked for.
        address: MailboxAddress,
    },
    /// It accepts no request of the protocol in our version; one of them is named.
    #[error("{address} {}", acceptance(request, *wanted, *offered))]
    Incompatible {
        /// What was looked for.
        address: MailboxAddress,
        /// The request.
        request: &'static str,
        /// Our version of it.
        wanted: u16,
        /// The highest version there; `None` where it is not accepted at all.
        offered: Option<u16>,
    },
    /// This node has stopped.
    #[error("the node has stopped")]
    NodeStopped,
}

/// A member of a swarm. A handle: cheap to clone, usable from any thread.
///
/// The node lives on the actix arbiter that started it, or on a thread of its own where there is none, and runs until
/// [`stop`](Self::stop) or the end of that arbiter, whichever comes first; dropping every handle does not end it. Actors
/// that are asked often do best on the same arbiter; work that takes long belongs on [workers](crate::Workers). Its
/// sessions can be spread over [more](NodeConfig::arbiters).
#[derive(Debug, Clone)]
pub struct Node {
    id: NodeId,
    address: Option<SocketAddr>,
    pub(crate) bridge: Addr<QuicBridge>,
    arbiter: ArbiterHandle,
    /// Its own thread, if it has one.
    host: Option<Host>,
}

impl Node {
    /// Starts a node: on the current arbiter where an actix system runs, else on a thread of its own, so that it
    /// works under `#[tokio::main]` and inside axum. There, start actors with [`run`](Self::run).
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        match System::try_current() {
            Some(_) => Self::start_here(config).await,
            None => hosting::start(config).await,
        }
    }

    pub(crate) fn of(local: LocalNode, transport: Box<dyn Transport>) -> Self {
        let (id, address) = (local.node.clone(), transport.address());
        let bridge = QuicBridge::new(local, transport).start();
        Self { id, address, bridge, arbiter: Arbiter::current(), host: None }
    }

    /// Its id.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Where it listens; `None` for a node of the test kit, which has no socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Begins to expose `mailbox` to other nodes under `name`: say who may call it with
    /// [`allow`](Exposing::allow) or [`allow_through_coordinator`](Exposing::allow_through_coordinator), then [`register`](Exposing::register).
    ///
    /// Peers learn of it at once; those that connect later learn of it when they do.
    pub fn expose<P: Protocol>(&self, name: &str, mailbox: Mailbox<P>) -> Exposing<'_, P> {
        let (older, permission) = (Vec::new(), Permission::default());
        Exposing { node: self, name: name.parse(), mailbox, older, permission }
    }

    /// Finds the mailbox at `node/name`: one of this node, or of a node with which there is a
    /// session, whoever opened it. A node that was connected to before and is lost is dialled again. One that was not heard
    /// for longer than a heartbeat (2 s by default) has a quarter of the time of a handshake (1.25 s) to answer a
    /// ping, and as much again for the one that is dialled in its place.
    ///
    /// `P` is what this side wants to ask, which may be a part of what the actor accepts. A request that it does not
    /// accept in our version answers [`Incompatible`](swarm_protocols::DeliveryError::Incompatible) when it is
    /// asked; only where that holds for all of them the mailbox is not found.
    pub async fn resolve<P: Protocol>(&self, address: &str) -> Result<Mailbox<P>, ResolveError> {
        let (address, found) = self.find(address, Presence::Answering).await?;
        match found {
            Exposed::Here(mailbox, offered) => match mailbox.downcast_ref::<Mailbox<P>>() {
                Some(mailbox) => Ok(mailbox.clone()),
                None if offered == P::NAME => Err(ResolveError::OtherType { address }),
                None => Err(ResolveError::OtherProtocol { address, wanted: P::NAME, offered }),
            },
            Exposed::There(way, mut routes) => {
                let other = routes.first().map(|route| route.protocol.clone()).unwrap_or_default();
                routes.retain(|route| route.protocol == P::NAME);
                if routes.is_empty() {
                    return Err(ResolveError::OtherProtocol { address, wanted: P::NAME, offered: other });
                }
                let matched = Remote::matched(way, address.clone(), &routes);
                let incompatible = |(request, wanted, Other(offered))| ResolveError::Incompatible {
                    address,
                    request,
                    wanted,
                    offered,
                };
                Ok(Mailbox::from_remote(matched.map_err(incompatible)?))
            }
        }
    }

    /// Finds the mailbox at `node/name` of a peer, whatever its protocol: see [`EncodedMailbox`]. A mailbox of this
    /// node is [made](EncodedMailbox::from) from its own handle. It is found as long as there is a session with the peer,
    /// whether that answers or not.
    pub async fn resolve_encoded(&self, address: &str) -> Result<EncodedMailbox, ResolveError> {
        let (address, found) = self.find(address, Presence::Connected).await?;
        match found {
            Exposed::There(way, routes) => {
                let protocol = routes.first().map(|route| route.protocol.clone()).unwrap_or_default();
                Ok(EncodedMailbox::of_routes(&protocol, &way, routes))
            }
            Exposed::Here(..) => Err(ResolveError::NotFound { address }),
        }
    }

    /// What a peer exposes, by name, whatever its protocol; nothing where there is no session with it. Costs what there
    /// is of this peer.
    pub(crate) async fn offered_by(&self, peer: &NodeId) -> Vec<(MailboxName, EncodedMailbox)> {
        let offered = self.bridge.send(quic_bridge::RoutesOf(peer.clone())).await;
        let Ok(Some((way, routes))) = offered else { return Vec::new() };
        let mut named: BTreeMap<MailboxName, Vec<Route>> = BTreeMap::new();
        for route in routes {
            named.entry(route.mailbox.clone()).or_default().push(route);
        }
        { named.into_iter() }
            .map(|(name, routes)| {
                let protocol = routes.first().map(|route| route.protocol.clone()).unwrap_or_default();
                (name, EncodedMailbox::of_routes(&protocol, &way, routes))
            })
            .collect()
    }

    /// Finds what is exposed at an address, dialling the node where it is lost.
    async fn find(&self, address: &str, peer: Presence) -> Result<(MailboxAddress, Exposed), ResolveError> {
        let address: MailboxAddress = address.parse()?;
        let mut found = self.look_up(&address, peer).await?;
        if let Found::NotConnected(Some(dial)) = found {
            self.connect(address.node.clone(), dial).await?;
            found = self.look_up(&address, peer).await?;
        } else if let Found::Silent(Some(_)) = found {
            // Whoever is there by now may have taken its place.
            found = self.look_up(&address, peer).await?;
        }
        match found {
            Found::Here(mailbox, protocol) => Ok((address, Exposed::Here(mailbox, protocol))),
            Found::There(way, routes) if !routes.is_empty() => Ok((address, Exposed::There(way, routes))),
            Found::There(..) | Found::Nothing => Err(ResolveError::NotFound { address }),
            Found::NotConnected(dial) => Err(ResolveError::NotConnected { address, dial }),
            Found::Silent(_) => Err(ResolveError::Silent { address }),
        }
    }

    async fn look_up(&self, address: &MailboxAddress, peer: Presence) -> Result<Found, ResolveError> {
        let resolve = quic_bridge::Resolve { address: address.clone(), peer };
        self.bridge.send(resolve).await.map_err(|_| ResolveError::NodeStopped)
    }

    /// Replaces the identity, without a restart: a renewed certificate, other authorities, a newer revocation
    /// list. Handshakes that begin from now on show the new certificate and judge by it. Sessions go on as long
    /// as what the *peer* has shown still holds: one whose peer is revoked now, or whose authority is among the
    /// authorities no more, ends at once.
    ///
    /// With every peer that this node has dialled it opens a replacement session, in which the new certificate is
    /// shown, and which takes over: requests in flight are answered on the former session, new ones go over the
    /// new one and arrive behind them, mailboxes and watchers notice nothing. Where that fails it is tried again.
    /// A peer that has dialled this node does so itself, when the last quarter of the old certificate's time has
    /// begun.
    ///
    /// A revocation list is never replaced by an older one, nor by none.
    pub async fn set_identity(&self, identity: Identity) -> Result<(), SetIdentityError> {
        let set = self.bridge.send(quic_bridge::SetIdentity(identity)).await;
        set.unwrap_or(Err(SetIdentityError::NodeStopped))
    }

    /// Replaces the revocation list, unless it is older than the one that holds: sessions with revoked peers
    /// end at once, with [`CloseCode::BadCertificate`](swarm_protocols::session::CloseCode), and what they had
    /// in flight fails.
    pub async fn set_revocation_list(&self, list: RevocationList) -> Result<(), SetIdentityError> {
        let set = self.bridge.send(quic_bridge::SetRevocationList(list)).await;
        set.unwrap_or(Err(SetIdentityError::NodeStopped))
    }

    /// Connects to the node `peer` at `address`. Completes when the peer has accepted the session,
    /// which lets requests flow both ways. Where there is a session with it already, that one is
    /// returned. It has 5 s by default ([`Timing::handshake`](swarm_protocols::session::Timing::handshake)); where nobody
    /// listens at a port of this machine, that is an error at once, and where another machine says so, a second later.
    pub async fn connect(&self, peer: NodeId, address: SocketAddr) -> Result<Peer, ConnectError> {
        self.dial(Wanted::Node(peer), address).await
    }

    /// Connects to whatever node of the `role` is at `address`: for one who was told an address and
    /// trusts everyone whom the authority has given that role.
    pub async fn connect_any(&self, role: Role, address: SocketAddr) -> Result<Peer, ConnectError> {
        self.dial(Wanted::Any(role), address).await
    }

    async fn dial(&self, wanted: Wanted, address: SocketAddr) -> Result<Peer, ConnectError> {
        let dial = quic_bridge::Dial { wanted, address };
        self.bridge.send(dial).await.unwrap_or(Err(ConnectError::NodeStopped))
    }

    /// Ends the session with `peer`, if there is one: what is in flight on it is lost. It may come again.
    pub async fn disconnect(&self, peer: &NodeId) {
        // A node that has stopped has no sessions.
        let _stopped = self.bridge.send(quic_bridge::Disconnect(peer.clone())).await;
    }

    /// Everything that is exposed by this node and by the peers with which it has a session, by
    /// address; empty once the node has stopped. Whether this node may call it is the other's to say.
    pub async fn names(&self) -> Vec<ExposedName> {
        self.bridge.send(quic_bridge::AllNames).await.unwrap_or_default()
    }

    /// Every mailbox that comes or goes from now on, here and at the peers, and first those that are there. A mailbox
    /// comes after [`PeerEvent::Up`] of its node and goes before [`PeerEvent::Down`].
    pub fn subscribe(&self) -> Subscription<NameEvent> {
        let (feed, subscription) = subscription();
        self.bridge.do_send(quic_bridge::Subscribe(feed));
        subscription
    }

    /// Every session that opens or ends from now on, and first those that are open.
    pub fn watch(&self) -> Subscription<PeerEvent> {
        let (feed, subscription) = subscription();
        self.bridge.do_send(quic_bridge::Watch(feed));
        subscription
    }

    /// The messages of peers that nobody takes, from now on: who told them, for which mailbox, and why not. They are
    /// counted in [`statistics`](Self::statistics) as well.
    pub fn dead_letters(&self) -> Subscription<DeadLetter> {
        let (feed, subscription) = subscription();
        self.bridge.do_send(quic_bridge::ShowDeadLetters(feed));
        subscription
    }

    /// What went over its sessions; `None` once the node has stopped.
    pub async fn statistics(&self) -> Option<NodeStatistics> {
        self.bridge.send(quic_bridge::Statistics).await.ok()
    }

    /// What went over each open session; nothing once the node has stopped.
    pub async fn sessions(&self) -> Vec<SessionStatistics> {
        self.bridge.send(quic_bridge::Sessions).await.unwrap_or_default()
    }

    /// Drains and stops: no new requests or sessions are taken, those in progress get up to `grace` to
    /// finish, then every session is closed and what is left is cancelled.
    pub async fn stop(&self, grace: Duration) {
        // A node that has stopped already is what was wanted.
        let _stopped = self.bridge.send(quic_bridge::Stop { grace }).await;
        if let Some(host) = &self.host {
            host.stop();
        }
    }
}

/// What is exposed under a name.
enum Exposed {
    Here(Arc<dyn Any + Send + Sync>, String),
    There(Arc<Way>, Vec<Route>),
}

/// A mailbox about to be exposed; see [`Node::expose`].
#[must_use = "nothing is exposed before it is registered"]
pub struct Exposing<'a, P: Protocol> {
    node: &'a Node,
    name: Result<MailboxName, InvalidName>,
    mailbox: Mailbox<P>,
    older: Vec<ExposedRequest>,
    permission: Permission,
}

impl<P: Protocol> Exposing<'_, P> {
    /// Nodes of this role may call it. Without this nobody may.
    pub fn allow(mut self, role: Role) -> Self {
        self.permission.direct.push(role);
        self
    }

    /// Coordinators may pass on requests of nodes of this role: the actor works for them, and learns from
    /// [`Call::on_behalf_of`](crate::Call::on_behalf_of) who they are. Without this no coordinator may, whatever it
    /// may ask for itself.
    pub fn allow_through_coordinator(mut self, role: Role) -> Self {
        self.permission.through_coordinator.push(role);
        self
    }

    /// Accepts the request `New` in an older version as well, whose reply and error are made of the new ones: so
    /// servers can be upgraded before their clients. It is one request more that the node announces. The page `versions`
    /// in the guide of `actix_swarm` shows such an upgrade.
    ///
    /// Two types of which one is no older version of the other do not compile.
    pub fn also_accepts<Old, New>(mut self) -> Self
    where
        P: Accepts<New>,
        Old: Request,
        New: Request + From<Old>,
        Old::Reply: From<New::Reply>,
        Old::Error: From<New::Error>,
    {
        const { assert!(is_older::<Old, New>(), "an older version has the same name and a lower version") };
        self.older.push(exposed_as::<P, Old, New>(&self.mailbox));
        self
    }

    /// Exposes it until the registration is dropped.
    pub async fn register(self) -> Result<Registration, ExposeError> {
        let Exposing { node, name, mailbox, older, permission } = self;
        let (name, protocol) = (name?, P::NAME);
        let mut requests = requests_of(&mailbox);
        requests.extend(older);
        let exposure =
            Exposure { name: name.clone(), protocol, requests, permission, mailbox: Arc::new(mailbox) };
        let expose = quic_bridge::Expose(exposure);
        let exposed = node.bridge.send(expose).await.unwrap_or(Err(ExposeError::NodeStopped));
        let (registration, ended) = exposed?;
        let registered = Registered { bridge: node.bridge.clone(), name, registration };
        Ok(Registration { registered: Some(registered), ended })
    }
}

/// Keeps a mailbox exposed. Dropping it takes the mailbox back; requests in progress are still answered.
#[derive(Debug)]
#[must_use = "dropping it takes the mailbox back at once: keep it in a variable with a name, or `detach` it"]
pub struct Registration {
    registered: Option<Registered>,
    ended: watch::Receiver<()>,
}

#[derive(Debug)]
struct Registered {
    bridge: Addr<QuicBridge>,
    name: MailboxName,
    registration: u64,
}

impl Registration {
    /// Keeps the mailbox exposed as long as the node runs.
    pub fn detach(mut self) {
        self.registered = None;
    }

    /// Completes when the mailbox is exposed no more: within a second after its actor has stopped or panicked, and
    /// when the node has stopped. A process that is there for one actor ends then, so that whoever supervises it starts
    /// it again.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(registered) = self.registered.take() {
            let Registered { bridge, name, registration } = registered;
            bridge.do_send(quic_bridge::Withdraw { name, registration });
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
