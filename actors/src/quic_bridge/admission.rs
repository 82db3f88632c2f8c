//! Who may have a session: judged by what this node knows of certificates when the session begins, and again
//! whenever that changes.

use super::QuicBridge;
use crate::{
    identity::{Identity, OutsideValidity, RevocationList},
    log_limit::limited,
    session::{JudgeSession, Opening},
    transport::{Connection, Refusal, Shown},
};
use actix::{ActorContext, Context, Handler, Message, StreamHandler};
use std::time::SystemTime;
use swarm_protocols::{
    NodeId, Role,
    peers::{SessionKey, Side},
    session::CloseCode,
};
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
    pub(crate) connection: Connection,
    /// The session that it is to take over from.
    pub(crate) follows: Option<SessionKey>,
    pub(crate) opened: Option<oneshot::Sender<Opening>>,
}

/// A node dialled this one.
impl StreamHandler<Connection> for QuicBridge {
    fn handle(&mut self, connection: Connection, context: &mut Self::Context) {
        self.attach(Attach { side: Side::Acceptor, connection, follows: None, opened: None }, context);
    }

    /// A node that can no longer be dialled is none, and its process has to learn that.
    fn finished(&mut self, context: &mut Self::Context) {
        if !self.peers.is_stopping() {
            tracing::error!(node = %self.local.node, "the endpoint has failed, and the node stops");
        }
        context.stop();
    }
}

impl Handler<Attach> for QuicBridge {
    type Result = ();

    fn handle(&mut self, attach: Attach, context: &mut Self::Context) {
        self.attach(attach, context);
    }
}

impl QuicBridge {
    fn attach(&mut self, attach: Attach, context: &mut Context<Self>) {
        let Connection { link, peer, shown, .. } = &attach.connection;
        // The handshake may have begun before the identity or the revocation list was replaced, and is no judge at
        // all where it has resumed a session.
        match self.judge(shown.as_ref()) {
            Ok(()) => self.start_session(attach, context),
            Err(reason) => {
                link.close(CloseCode::BadCertificate, &reason);
                limited!(warn, "a connection was refused", audit, peer = %peer.node, reason);
                if let Some(opened) = attach.opened {
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
        let Some(current) = self.transport.identity() else { return Err(SetIdentityError::NoEndpoint) };
        if (current.id(), current.role()) != (identity.id(), identity.role()) {
            return Err(SetIdentityError::OtherNode {
                node: current.id().clone(),
                role: current.role(),
                offered: identity.id().clone(),
                offered_role: identity.role(),
            });
        }
        identity.as_peer().check(SystemTime::now())?;
        let offered = identity.revocation_list().clone();
        let identity = identity.with_revocation_list(current.revocation_list());
        if offered.issued_at().is_some() && offered != *identity.revocation_list() {
            tracing::warn!("the revocation list that was read is older than the one in force, which is kept");
        }
        if current.as_peer() != identity.as_peer() {
            tracing::info!(serial = %identity.as_peer().serial, "the identity was replaced");
        } else if current.revocation_list() != identity.revocation_list() {
            tell_of_list(&identity);
        }
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
        let Some(current) = self.transport.identity() else { return Err(SetIdentityError::NoEndpoint) };
        let identity = current.clone().with_revocation_list(&list);
        tell_of_list(&identity);
        self.judge_by(identity);
        Ok(())
    }
}

fn tell_of_list(identity: &Identity) {
    tracing::info!(revoked = identity.revocation_list().len(), "the revocation list was replaced");
}

/// Says so where the certificate of this node itself is on its list, as nobody else tells it.
pub(super) fn tell_of_own(identity: &Identity) {
    if let Err(revoked) = identity.revocation_list().check(identity.as_peer()) {
        tracing::error!(
            target: "audit",
            "the certificate of this node is on the revocation list, so that every peer with the list refuses it: \
             issue a new one and send SIGHUP, or stop the node ({revoked})"
        );
    }
}

impl QuicBridge {
    /// Judges what a peer has shown by what this node knows now. In memory nothing is shown.
    pub(super) fn judge(&self, shown: Option<&Shown>) -> Result<(), String> {
        match (shown, self.transport.identity()) {
            (Some(shown), Some(identity)) => identity.judge(&shown.peer, SystemTime::now()),
            _ => Ok(()),
        }
    }

    /// Shows and judges by `identity` in every handshake that begins from now on, and judges the peers of all
    /// sessions by it, those that are still in their handshake too.
    fn judge_by(&mut self, identity: Identity) {
        tell_of_own(&identity);
        self.transport.set_identity(identity.clone());
        for session in self.sessions.values() {
            session.address.do_send(JudgeSession(identity.clone()));
        }
    }
}
