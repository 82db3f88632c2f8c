//! What a session and its owner say to each other.

use super::{Opening, Outbound, Received};
use crate::identity::Identity;
use actix::Message;
use std::sync::{Arc, atomic::AtomicU64};
use swarm_protocols::{
    peers::SessionKey,
    session::CloseCode,
    wire::control::{Hello, RefuseCause, RouteChange},
};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Tells the owner what happened to a session.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SessionEvent {
    pub(crate) session: SessionKey,
    pub(crate) change: SessionChange,
}

/// What happened to a session.
pub(crate) enum SessionChange {
    /// The peer wants it, in this incarnation: the owner answers with an [`Admission`].
    Asked { incarnation: u64 },
    /// It is open.
    Opened(Box<Opened>),
    /// The routes of the peer changed.
    PeerRoutes(RouteChange),
    /// The peer uses it: it has answered on it for the first time.
    Confirmed,
    /// The peer takes no new requests on it: it stops, or uses another one.
    PeerDrains,
    /// The peer has answered a probe.
    Answered,
    /// The peer has not answered a probe in time.
    Unanswered,
    /// It has ended, open or not. Nothing comes after it.
    Closed { reason: String },
}

/// A session that is open.
pub(crate) struct Opened {
    pub(crate) id: Uuid,
    /// What the peer says of itself.
    pub(crate) hello: Hello,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) received: Received,
    /// Of the last ping, in microseconds; zero before the first has come back.
    pub(crate) round_trip: Arc<AtomicU64>,
    /// To be told when the owner knows of it.
    pub(crate) dialled: Option<oneshot::Sender<Opening>>,
}

/// The owner's answer to the peer's wish: the id of the session, or why there is none.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Admission(pub(crate) Result<Uuid, (RefuseCause, String)>);

/// Own routes came or went.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ChangeRoutes(pub(crate) RouteChange);

/// Ends the session.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct EndSession(pub(crate) CloseCode, pub(crate) String);

/// The node judges certificates by this identity from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct JudgeSession(pub(crate) Identity);

/// Another session has taken over: end this one as soon as what it has in flight is answered.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RetireSession;

/// Takes no new requests, and answers once those in progress are answered.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct DrainSession;

/// Says whether the peer still answers: at once where it was heard lately.
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct CheckSession;

/// Find out whether the peer still answers: [`SessionChange::Answered`] or [`SessionChange::Unanswered`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ProbeSession;
