//! Content addressing: what a part of a library is called, and where it lies.

use crate::NodeId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The SHA-256 of some bytes: their name, wherever they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// How strongly `node` is drawn to this content: the basis of rendezvous hashing (Thaler and
    /// Ravishankar 1998). The node with the highest weight is the natural holder, and when it is
    /// gone the next one is, while everything held elsewhere stays where it is.
    pub fn weight(&self, node: &NodeId) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(node.as_str());
        let digest: [u8; 32] = hash.finalize().into();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_le_bytes(first)
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
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-4, the example for the message "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(ContentHash::of(b"abc").to_string(), expected);
    }

    #[test]
    fn losing_a_node_moves_only_what_it_held() {
        let nodes: Vec<NodeId> = (0..5).map(|i| format!("agent-{i}").parse().unwrap()).collect();
        let holder = |hash: &ContentHash, nodes: &[NodeId]| {
            nodes.iter().max_by_key(|node| hash.weight(node)).cloned().unwrap()
        };
        let mut held = [0; 5];
        for i in 0..500_u32 {
            let hash = ContentHash::of(&i.to_le_bytes());
            let before = holder(&hash, &nodes);
            held[nodes.iter().position(|n| *n == before).unwrap()] += 1;
            let after = holder(&hash, &nodes[1..]);
            assert!(before == nodes[0] || before == after);
        }
        assert!(held.iter().all(|n| (60..=140).contains(n)), "unevenly spread: {held:?}");
    }
}
