//! Who may have a session: judged by what this node knows of certificates when the session begins, and again
//! whenever that changes.

use super::{QuicBridge, SESSIONS_MAX, Socket};
use crate::{
    call::Caller,
    identity::{Identity, PeerChain, PeerIdentity, RevocationList, Serial},
    node::{Refusal, SetIdentityError},
    session::{ConnectionSession, JudgeSession, Opening, Side},
    transport::Link,
};
use actix::{Addr, Handler, Message};
use std::{sync::Arc, time::SystemTime};
use swarm_protocols::session::CloseCode;
use tokio::sync::oneshot;

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
    pub(crate) follows: Option<Addr<ConnectionSession>>,
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

/// What both sides of a connection have shown.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// The certificate of this node.
    pub(crate) own: Serial,
    /// Those of the peer.
    pub(crate) peer: PeerChain,
}

impl Handler<Attach> for QuicBridge {
    type Result = ();

    fn handle(&mut self, attach: Attach, context: &mut Self::Context) {
        let Attach { side, link, peer, shown, follows, opened } = attach;
        if self.sessions.len() >= SESSIONS_MAX {
            return link.close(CloseCode::Refused, "as many sessions as there can be");
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
        for session in &self.sessions {
            session.do_send(JudgeSession(identity.clone()));
        }
    }
}
