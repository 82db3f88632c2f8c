//! Content addressing: what some bytes are called, wherever they lie.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The SHA-256 of some bytes: their name, wherever they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        #[cfg(test)]
        HASHED.set(HASHED.get() + 1);
        Self(Sha256::digest(bytes).into())
    }

    /// The hash of `pieces`, one after the other.
    pub(crate) fn of_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(pieces.into_iter().fold(Sha256::new(), |hash, piece| hash.chain_update(piece)).finalize().into())
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

#[cfg(test)]
thread_local!(static HASHED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });

/// How often this thread has hashed something.
#[cfg(test)]
pub(crate) fn hashed() -> usize {
    HASHED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-4, the example for the message "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(ContentHash::of(b"abc").to_string(), expected);
        let pieces = ContentHash::of_pieces([b"a".as_slice(), b"", b"bc"]);
        assert_eq!(pieces.to_string(), expected);
    }
}
