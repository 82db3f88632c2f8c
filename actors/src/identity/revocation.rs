//! Which certificates hold no longer, although they have not expired.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use super::{
    IdentityError, IdentityFault, IdentityPart, PeerIdentity, Serial, files,
    peer::{malformed, parse, system_time},
};

/// The certificates that the authorities of a cluster have revoked: X.509 revocation lists (RFC 5280, section 5)
/// whose signatures were checked when they were read.
///
/// One value judges in the handshake, before the first dispatch and in the middle of a session, so that the
/// three cannot come to different ends. A list holds until a newer one takes its place: `nextUpdate` is not
/// enforced, because a cluster whose operator is on holiday should not fall apart. An authority without a list
/// has revoked nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevocationList {
    /// The list of each authority, by its name as DER.
    lists: BTreeMap<Box<[u8]>, SignedList>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SignedList {
    number: u64,
    issued_at: SystemTime,
    serials: BTreeSet<Serial>,
}

/// A certificate was revoked by its authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate {0} was revoked")]
pub struct Revoked(pub Serial);

impl RevocationList {
    /// Reads every list in a PEM text, each signed by one of the authorities in another.
    ///
    /// # Errors
    /// When a list is damaged, is not complete in itself, or was not signed by an authority of the cluster.
    pub fn from_pem(revoked: &str, authority: &str) -> Result<Self, IdentityError> {
        let authorities = files::certificates(authority)
            .map_err(|fault| IdentityError::new(IdentityPart::Authority, fault))?;
        let at_list = |fault| IdentityError::new(IdentityPart::RevocationList, fault);
        let mut all = Self::default();
        let mut sections = 0;
        for section in CertificateRevocationListDer::pem_slice_iter(revoked.as_bytes()) {
            let section = section.map_err(|error| at_list(error.into()))?;
            let (issuer, list) = read(&section, &authorities).map_err(at_list)?;
            all.take(issuer, list);
            sections += 1;
        }
        if sections == 0 { Err(at_list(IdentityFault::NothingInIt)) } else { Ok(all) }
    }

    /// The lists of two PEM texts in one: of each authority the newer one. It is what to keep in a file when a
    /// node learns of a list.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem); a text without any list is none.
    pub fn newest_pem(held: &str, other: &str, authority: &str) -> Result<String, IdentityError> {
        let authorities = files::certificates(authority)
            .map_err(|fault| IdentityError::new(IdentityPart::Authority, fault))?;
        let at_list = |fault| IdentityError::new(IdentityPart::RevocationList, fault);
        let mut newest = BTreeMap::<_, (u64, &str)>::new();
        for section in sections(held).chain(sections(other)) {
            let der = CertificateRevocationListDer::from_pem_slice(section.as_bytes());
            let (issuer, list) =
                read(&der.map_err(|error| at_list(error.into()))?, &authorities).map_err(at_list)?;
            match newest.get(&issuer) {
                Some((number, _)) if *number >= list.number => {}
                _ => drop(newest.insert(issuer, (list.number, section))),
            }
        }
        Ok(newest.into_values().map(|(_, section)| format!("{section}\n")).collect())
    }

    /// Checks that a certificate was not revoked: to be called on every connection before anything is
    /// dispatched, beside [`PeerIdentity::check`].
    ///
    /// # Errors
    /// When its authority has revoked it.
    pub fn check(&self, peer: &PeerIdentity) -> Result<(), Revoked> {
        let list = self.lists.get(&peer.issuer);
        match list.is_some_and(|list| list.serials.contains(&peer.serial)) {
            true => Err(Revoked(peer.serial.clone())),
            false => Ok(()),
        }
    }

    /// How many certificates are revoked.
    pub fn len(&self) -> usize {
        self.lists.values().map(|list| list.serials.len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The highest number of the lists; `None` where there is no list.
    pub(super) fn number(&self) -> Option<u64> {
        self.lists.values().map(|list| list.number).max()
    }

    /// When the newest of the lists was signed; `None` where there is no list.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.lists.values().map(|list| list.issued_at).max()
    }

    /// The newer list of each authority, by their numbers: an old file does not let a revoked node in again.
    pub fn newest(mut self, other: &Self) -> Self {
        for (issuer, list) in &other.lists {
            self.take(issuer.clone(), list.clone());
        }
        self
    }

    fn take(&mut self, issuer: Box<[u8]>, list: SignedList) {
        match self.lists.get(&issuer) {
            Some(known) if known.number >= list.number => {}
            _ => drop(self.lists.insert(issuer, list)),
        }
    }
}

/// The PEM sections of a text that hold lists.
fn sections(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive("-----END X509 CRL-----")
        .filter_map(|piece| piece.find("-----BEGIN X509 CRL-----").map(|begin| &piece[begin..]))
}

fn read(
    section: &CertificateRevocationListDer<'_>,
    authorities: &[CertificateDer<'_>],
) -> Result<(Box<[u8]>, SignedList), IdentityFault> {
    let (rest, list) = CertificateRevocationList::from_der(section).map_err(malformed)?;
    if !rest.is_empty() {
        return Err(malformed("octets follow it").into());
    }
    // A delta list, or one for some certificates only, would be taken for the whole truth.
    if list.extensions().iter().any(|extension| extension.critical) {
        return Err(malformed("it is not a complete list of its authority").into());
    }
    let mut signed = false;
    for authority in authorities {
        let authority = parse(authority)?;
        let named = authority.subject().as_raw() == list.issuer().as_raw();
        signed |= named && list.verify_signature(authority.public_key()).is_ok();
    }
    if !signed {
        return Err(IdentityFault::NotIssuedByAuthority);
    }
    let number = list.crl_number().and_then(|number| u64::try_from(number).ok());
    let signed = SignedList {
        number: number.ok_or_else(|| malformed("it has no number that can be read"))?,
        issued_at: system_time(list.last_update())?,
        serials: list.iter_revoked_certificates().map(|one| Serial::new(one.raw_serial())).collect(),
    };
    Ok((list.issuer().as_raw().into(), signed))
}
