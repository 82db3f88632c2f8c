//! Certificates for keys that the authority never sees: for a machine with a join token, and for a node that has
//! proved who it is.

use std::time::{Duration, SystemTime};

use swarm_protocols::{NodeId, Role};

use super::{AuthorityFolder, Certificate, FolderError, JoinToken, Token, TokenRefusal, TokenState, unused};
use crate::identity::{
    AuthorityError, CLOCK_SKEW, IdentityError, IdentityPart, InvalidValidity, IssuedCertificate,
    RenewalRequest, SigningRequest, Validity, roots, unix_time, verify_client_chain,
};

/// How many certificates of one node are issued in an hour before a renewal is refused: a reply may get lost,
/// but a node that asks on and on should not fill the register.
pub const RENEWALS_MAX: usize = 4;

const HOUR: Duration = Duration::from_secs(60 * 60);

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
    /// A machine that did not get the answer may ask again, for the same key, as long as the token has not
    /// expired: it is given the same certificate.
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
            let Token { id, role, expires, state, certified, .. } =
                known.ok_or(TokenRefusal::Unknown)?.clone();
            if state == TokenState::Withdrawn {
                return Err(TokenRefusal::Withdrawn.into());
            }
            let issued_for = certified.as_ref().filter(|(_, key)| *key == request.key_digest());
            if state == TokenState::Spent && issued_for.is_none() {
                return Err(TokenRefusal::Spent.into());
            }
            if now >= expires {
                return Err(TokenRefusal::Expired(expires).into());
            }
            if id != *request.id() {
                return Err(TokenRefusal::OtherName { token: id, request: request.id().clone() }.into());
            }
            if let Some((serial, _)) = issued_for {
                let issued = register.by_serial(serial).filter(|one| one.holds(now));
                let issued = issued.ok_or(TokenRefusal::Spent)?;
                return Ok(self.authority.sign_again(request, issued.role, validity_of(issued)?, serial)?);
            }
            unused(register, &id, Some(role))?;
            let issued = self.authority.sign_request(request, role, validity)?;
            register.issued(&issued.peer);
            register.spend(&digest, &issued.peer.serial, &request.key_digest());
            Ok(issued)
        })
    }

    /// Issues a renewed certificate for the key of one that holds: how a node renews its own certificate over a
    /// session. It is for the same node, in the same role, and holds from now on for as long as the former one
    /// did, but no longer than the authority.
    ///
    /// # Errors
    /// When the former certificate is not one of this authority that holds, is not due for renewal, or has been
    /// renewed too often.
    pub fn renew_for_holder(
        &self,
        request: &RenewalRequest,
        now: SystemTime,
    ) -> Result<IssuedCertificate, FolderError> {
        let holder = request.holder();
        let not_the_holder = || FolderError::NotTheHolder(holder.serial.clone());
        let at_authority = |fault| IdentityError::new(IdentityPart::Authority, fault);
        let roots = roots(self.authority.certificate_pem()).map_err(at_authority)?;
        verify_client_chain(request.chain(), &roots.into(), unix_time(now)).map_err(|_| not_the_holder())?;
        self.change(|register| {
            let held = register.by_serial(&holder.serial).ok_or_else(not_the_holder)?;
            if held.revoked_at.is_some() {
                return Err(FolderError::WasRevoked(holder.id.clone()));
            }
            if !held.holds(now) || (&held.id, held.role) != (&holder.id, holder.role) {
                return Err(not_the_holder());
            }
            if now < held.renewal_due() {
                return Err(FolderError::NotDue(held.renewal_due()));
            }
            let hour_ago = now.checked_sub(HOUR).unwrap_or(SystemTime::UNIX_EPOCH);
            if register.issued_since(&held.id, hour_ago) >= RENEWALS_MAX {
                return Err(FolderError::TooOften(held.id.clone()));
            }
            let validity = self.lasting(lifetime(held), now).map_err(AuthorityError::from)?;
            if validity.valid_until() <= held.valid_until {
                return Err(FolderError::AuthorityEnds(self.authority.valid_until()));
            }
            let issued = self.authority.sign_request(request.signing(), held.role, validity)?;
            register.issued(&issued.peer);
            Ok(issued)
        })
    }

    /// From now on for a lifetime, but no longer than the authority.
    ///
    /// # Errors
    /// When the authority has expired, or a certificate cannot hold these times.
    pub fn lasting(&self, lifetime: Duration, now: SystemTime) -> Result<Validity, InvalidValidity> {
        let asked = Validity::starting(now, lifetime)?;
        Validity::new(asked.valid_from(), asked.valid_until().min(self.authority.valid_until()))
    }
}

fn validity_of(certificate: &Certificate) -> Result<Validity, AuthorityError> {
    Ok(Validity::new(certificate.valid_from, certificate.valid_until)?)
}

/// For how long a certificate held from its issue on.
fn lifetime(certificate: &Certificate) -> Duration {
    let whole = certificate.valid_until.duration_since(certificate.valid_from).unwrap_or_default();
    // One that was made to hold for less than the skew gets that much again, which is as little.
    whole.checked_sub(CLOCK_SKEW).unwrap_or(whole)
}
