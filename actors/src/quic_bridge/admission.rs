//! Who may have a session: judged by what this node knows of certificates when the session begins, and again
//! whenever that changes.

use super::{QuicBridge, SESSIONS_MAX, Socket};
use crate::{
    call::Caller,
    identity::{Identity, OutsideValidity, PeerIdentity, RevocationList},
    session::{JudgeSession, Opening, SessionKey, Side},
    transport::{Link, Refusal, Shown},
};
use actix::{Handler, Message};
use std::{sync::Arc, time::SystemTime};
use swarm_protocols::{NodeId, Role, session::CloseCode};
use tokio::sync::oneshot;

/// Why a node did not take another identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetIdentityError {
    /// It is that of another node, or of this one in another role, which its peers could not follow.
    #[error("this node is the {role} {node}, the identity is that of the {offered_role} {offered}")]
    OtherNode {
        /// This node.
        node: NodeId,
        /// Its role.
        role: Role,
        /// The node in the certificate.
        offered: NodeId,
        /// The role in it.
        offered_role: Role,
    },
    /// Its certificate does not hold now.
    #[error(transparent)]
    OutsideValidity(#[from] OutsideValidity),
    /// The node is one of the test kit and has no certificate.
    #[error("the node has no endpoint")]
    NoEndpoint,
    /// This node has stopped.
    #[error("the node has stopped")]
    NodeStopped,
}

/// A connection to an authenticated peer is there: begin a session on it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Attach {
    pub(crate) side: Side,
    pub(crate) link: Arc<dyn Link>,
    pub(crate) peer: Caller,
    /// The certificates that both sides have shown; `None` for a connection in memory.
    pub(crate) shown: Option<Shown>,
    /// The session that it is to take over from.
    pub(crate) follows: Option<SessionKey>,
    pub(crate) opened: Option<oneshot::Sender<Opening>>,
}

impl Attach {
    /// The peer is who its certificate says.
    pub(super) fn certified(
        side: Side,
        link: Arc<dyn Link>,
        shown: Shown,
        opened: Option<oneshot::Sender<Opening>>,
    ) -> Self {
        let PeerIdentity { id, role, .. } = &shown.peer.peer;
        let peer = Caller { node: id.clone(), role: *role };
        Self { side, link, peer, shown: Some(shown), follows: None, opened }
    }
}

impl Handler<Attach> for QuicBridge {
    type Result = ();

    fn handle(&mut self, attach: Attach, context: &mut Self::Context) {
        let Attach { side, link, peer, shown, follows, opened } = attach;
        if self.sessions.len() >= SESSIONS_MAX {
            return link.close(CloseCode::Refused, &format!("session limit reached ({SESSIONS_MAX})"));
        }
        // The handshake may have begun before the identity or the revocation list was replaced, and is no judge at
        // all where it has resumed a session.
        match self.judge(shown.as_ref()) {
            Ok(()) => self.start_session(Attach { side, link, peer, shown, follows, opened }, context),
            Err(reason) => {
                tracing::warn!(peer = %peer.node, reason, "a connection was refused");
                link.close(CloseCode::BadCertificate, &reason);
                if let Some(opened) = opened {
                    // The node that dialled may have lost interest.
                    let _left = opened.send(Err((Refusal::Certificate, reason)));
                }
            }
        }
    }
}

/// Use this identity from now on.
#[derive(Message)]
#[rtype(result = "Result<(), SetIdentityError>")]
pub(crate) struct SetIdentity(pub(crate) Identity);

impl Handler<SetIdentity> for QuicBridge {
    type Result = Result<(), SetIdentityError>;

    fn handle(&mut self, SetIdentity(identity): SetIdentity, context: &mut Self::Context) -> Self::Result {
        let Some(current) = self.socket.as_ref().map(Socket::identity) else {
            return Err(SetIdentityError::NoEndpoint);
        };
        if (current.id(), current.role()) != (identity.id(), identity.role()) {
            return Err(SetIdentityError::OtherNode {
                node: current.id().clone(),
                role: current.role(),
                offered: identity.id().clone(),
                offered_role: identity.role(),
            });
        }
        identity.as_peer().check(SystemTime::now())?;
        let identity = identity.with_revocation_list(current.revocation_list());
        tracing::info!(serial = %identity.as_peer().serial, "the identity was replaced");
        self.judge_by(identity);
        self.hand_over_all(context);
        Ok(())
    }
}

/// Refuse what is on this list from now on.
#[derive(Message)]
#[rtype(result = "Result<(), SetIdentityError>")]
pub(crate) struct SetRevocationList(pub(crate) RevocationList);

impl Handler<SetRevocationList> for QuicBridge {
    type Result = Result<(), SetIdentityError>;

    fn handle(&mut self, SetRevocationList(list): SetRevocationList, _: &mut Self::Context) -> Self::Result {
        let Some(current) = self.socket.as_ref().map(Socket::identity) else {
            return Err(SetIdentityError::NoEndpoint);
        };
        let identity = current.clone().with_revocation_list(&list);
        tracing::info!(revoked = identity.revocation_list().len(), "the revocation list was replaced");
        self.judge_by(identity);
        Ok(())
    }
}

impl QuicBridge {
    /// Judges what a peer has shown by what this node knows now. In memory nothing is shown.
    pub(super) fn judge(&self, shown: Option<&Shown>) -> Result<(), String> {
        match (shown, &self.socket) {
            (Some(shown), Some(socket)) => socket.identity().judge(&shown.peer, SystemTime::now()),
            _ => Ok(()),
        }
    }

    /// Shows and judges by `identity` in every handshake that begins from now on, and judges the peers of all
    /// sessions by it, those that are still in their handshake too.
    fn judge_by(&mut self, identity: Identity) {
        let Some(socket) = &mut self.socket else { return };
        socket.set_identity(identity.clone());
        for session in self.sessions.values() {
            session.address.do_send(JudgeSession(identity.clone()));
        }
    }
}
