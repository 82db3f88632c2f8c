//! Certificates for keys that the authority never sees: for a machine with a join token, and for a node that has
//! proved who it is.

use std::time::SystemTime;

use swarm_protocols::{NodeId, Role};

use super::{AuthorityFolder, FolderError, JoinToken, Token, TokenRefusal, TokenState, unused};
use crate::identity::{IssuedCertificate, PeerIdentity, SigningRequest, Validity};

impl AuthorityFolder {
    /// Makes a join token for a node. It may be for one that has a certificate in the same role: then it is good
    /// for a renewal.
    ///
    /// # Errors
    /// When the node has a certificate in another role.
    pub fn join_token(&self, id: &NodeId, role: Role, expires: SystemTime) -> Result<JoinToken, FolderError> {
        self.change(|register| {
            unused(register, id, Some(role))?;
            let token = JoinToken::new(id, role, expires, self.authority.fingerprint())?;
            register.promise(&token.digest(), id, role, expires);
            Ok(token)
        })
    }

    /// Signs the request of a machine that has a join token, once.
    ///
    /// # Errors
    /// When the token is not good for that node, or not any more.
    pub fn enrol(
        &self,
        request: &SigningRequest,
        token: &JoinToken,
        validity: Validity,
        now: SystemTime,
    ) -> Result<IssuedCertificate, FolderError> {
        self.change(|register| {
            if token.authority != self.authority.fingerprint() {
                return Err(TokenRefusal::OtherAuthority.into());
            }
            let digest = token.digest();
            let known = register.tokens().iter().find(|one| one.digest == digest);
            // From here on the register speaks, and not what stands in the token.
            let Token { id, role, expires, state, .. } = known.ok_or(TokenRefusal::Unknown)?.clone();
            match state {
                TokenState::Spent => return Err(TokenRefusal::Spent.into()),
                TokenState::Withdrawn => return Err(TokenRefusal::Withdrawn.into()),
                TokenState::Open if now >= expires => return Err(TokenRefusal::Expired(expires).into()),
                TokenState::Open => {}
            }
            if id != *request.id() {
                return Err(TokenRefusal::OtherName { token: id, request: request.id().clone() }.into());
            }
            unused(register, &id, Some(role))?;
            let issued = self.authority.sign_request(request, role, validity)?;
            register.issued(&issued.peer);
            register.spend(&digest, &issued.peer.serial);
            Ok(issued)
        })
    }

    /// Signs a request for the node that `holder` has proved to be, in the same role: how a node renews its own
    /// certificate over a session.
    ///
    /// # Errors
    /// When the holder's certificate is not in the register, does not hold, or is for another node.
    pub fn renew_for_holder(
        &self,
        request: &SigningRequest,
        holder: &PeerIdentity,
        validity: Validity,
        now: SystemTime,
    ) -> Result<IssuedCertificate, FolderError> {
        self.change(|register| {
            let held = register.by_serial(&holder.serial);
            let held = held.filter(|one| {
                one.holds(now) && (&one.id, one.role) == (&holder.id, holder.role) && one.id == *request.id()
            });
            let held = held.ok_or_else(|| FolderError::NotTheHolder(holder.serial.clone()))?;
            let issued = self.authority.sign_request(request, held.role, validity)?;
            register.issued(&issued.peer);
            Ok(issued)
        })
    }
}
