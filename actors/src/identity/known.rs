//! Certificates that were judged before.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

/// How many certificates are remembered.
const KNOWN_MAX: usize = 1024;

/// The digests of certificates that were verified by the authorities of one identity, each signed by such an authority
/// itself, and for both ends of a connection: nothing can change about that but the time, and whether it was revoked.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<BTreeSet<[u8; 32]>>);

impl Known {
    /// Verifies a chain, unless that was done before.
    pub(super) fn verify<E>(
        &self,
        chain: &[CertificateDer<'static>],
        verify: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        if let [certificate] = chain
            && self.digests().contains::<[u8; 32]>(&Sha256::digest(certificate).into())
        {
            return Ok(());
        }
        verify()?;
        if let Some((certificate, intermediates)) = chain.split_first() {
            self.note(certificate, intermediates);
        }
        Ok(())
    }

    /// Takes note of a chain that was verified.
    pub(super) fn note(&self, certificate: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) {
        // An authority between the two has a time of its own.
        if !intermediates.is_empty() {
            return;
        }
        let mut known = self.digests();
        if known.len() >= KNOWN_MAX {
            // It costs verifications and nothing else.
            known.clear();
        }
        known.insert(Sha256::digest(certificate).into());
    }

    fn digests(&self) -> MutexGuard<'_, BTreeSet<[u8; 32]>> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(octet: u8) -> CertificateDer<'static> {
        vec![octet].into()
    }

    #[test]
    fn what_was_verified_is_not_verified_again_and_what_was_not_is() {
        let known = Known::default();
        assert_eq!(known.verify(&[certificate(1)], || Err("no")), Err("no"));
        assert_eq!(known.verify(&[certificate(1)], || Ok::<(), &str>(())), Ok(()));
        assert_eq!(known.verify(&[certificate(1)], || Err("no")), Ok(()));
        assert_eq!(known.verify(&[certificate(2)], || Err("no")), Err("no"));
        let chain = [certificate(1), certificate(3)];
        assert_eq!(known.verify(&chain, || Ok::<(), &str>(())), Ok(()));
        assert_eq!(known.verify(&chain, || Err("no")), Err("no"), "the second one may have expired");
        assert_eq!(known.verify(&[], || Err("no")), Err("no"));
    }

    #[test]
    fn no_more_than_the_bound_are_remembered() {
        let known = Known::default();
        for number in 0..=KNOWN_MAX {
            let certificate = number.to_be_bytes().to_vec().into();
            assert_eq!(known.verify(&[certificate], || Ok::<(), &str>(())), Ok(()));
        }
        assert_eq!(known.0.lock().unwrap().len(), 1);
    }
}
