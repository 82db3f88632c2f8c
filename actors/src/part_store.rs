//! A bounded store of parts under the names that their content gives them.

use std::{collections::BTreeMap, sync::Arc};
use swarm_protocols::{ContentHash, similar_windows::StoreError};

/// What every part counts beside its bytes, for the entries of the store: without it a flood of
/// one-bar parts would take many times the memory that the bound allows.
pub(crate) const ENTRY_BYTES: usize = 256;

/// Values of type `T`, each made of so many bytes, the least recently used of which make room for
/// new ones.
///
/// What is never: more bytes than the bound; a value evicted that someone outside still holds,
/// because that would free no memory.
#[derive(Debug)]
pub(crate) struct PartStore<T> {
    parts: BTreeMap<ContentHash, Entry<T>>,
    /// The parts by their last use.
    by_use: BTreeMap<u64, ContentHash>,
    /// Counts uses.
    uses: u64,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry<T> {
    value: Arc<T>,
    bytes: usize,
    last_use: u64,
}

impl<T> PartStore<T> {
    /// Holds up to `bytes_max` bytes, each part counted with [`ENTRY_BYTES`] more than it has.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { parts: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0, bytes_max }
    }

    /// Keeps `value`, which is made of the `bytes` that `hash` names. Where it is kept already,
    /// this counts as a use.
    pub(crate) fn insert(&mut self, hash: ContentHash, value: T, bytes: usize) -> Result<(), StoreError> {
        if self.get(&hash).is_some() {
            return Ok(());
        }
        let bytes = bytes.saturating_add(ENTRY_BYTES);
        self.make_room(bytes)?;
        self.uses += 1;
        self.bytes += bytes;
        self.by_use.insert(self.uses, hash);
        self.parts.insert(hash, Entry { value: Arc::new(value), bytes, last_use: self.uses });
        Ok(())
    }

    /// The value of this name, which counts as a use.
    pub(crate) fn get(&mut self, hash: &ContentHash) -> Option<Arc<T>> {
        let entry = self.parts.get_mut(hash)?;
        self.by_use.remove(&entry.last_use);
        self.uses += 1;
        entry.last_use = self.uses;
        self.by_use.insert(self.uses, *hash);
        Some(Arc::clone(&entry.value))
    }

    /// Evicts nothing where that would not suffice.
    fn make_room(&mut self, bytes: usize) -> Result<(), StoreError> {
        let full = StoreError::Full { bytes_max: self.bytes_max as u64 };
        let allowed = self.bytes_max.checked_sub(bytes).ok_or_else(|| full.clone())?;
        let mut left = self.bytes;
        let mut evicted = Vec::new();
        for (last_use, hash) in &self.by_use {
            if left <= allowed {
                break;
            }
            let entry = &self.parts[hash];
            if Arc::strong_count(&entry.value) == 1 {
                left -= entry.bytes;
                evicted.push((*last_use, *hash));
            }
        }
        if left > allowed {
            return Err(full);
        }
        self.bytes = left;
        for (last_use, hash) in evicted {
            self.by_use.remove(&last_use);
            self.parts.remove(&hash);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(of: u8) -> ContentHash {
        ContentHash::of(&[of])
    }

    /// Room for `count` parts of 100 bytes.
    fn room_for(count: usize) -> PartStore<u8> {
        PartStore::new(count * (100 + ENTRY_BYTES))
    }

    fn held(store: &PartStore<u8>) -> Vec<u8> {
        let mut held: Vec<u8> = store.parts.values().map(|entry| *entry.value).collect();
        held.sort_unstable();
        assert_eq!(store.bytes, held.len() * (100 + ENTRY_BYTES));
        assert_eq!(store.by_use.len(), held.len());
        held
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let mut store = room_for(3);
        (1..=3).for_each(|of| store.insert(hash(of), of, 100).unwrap());
        assert!(store.get(&hash(1)).is_some());
        store.insert(hash(2), 2, 100).unwrap();
        store.insert(hash(4), 4, 100).unwrap();
        assert_eq!(held(&store), [1, 2, 4], "3 was used least recently");
        store.insert(hash(5), 5, 100).unwrap();
        assert_eq!(held(&store), [2, 4, 5]);
    }

    #[test]
    fn what_someone_holds_stays_and_a_part_that_cannot_fit_evicts_nothing() {
        let mut store = room_for(2);
        (1..=2).for_each(|of| store.insert(hash(of), of, 100).unwrap());
        let one = store.get(&hash(1));
        store.insert(hash(3), 3, 100).unwrap();
        assert_eq!(held(&store), [1, 3]);
        let full = Err(StoreError::Full { bytes_max: 712 });
        assert_eq!(store.insert(hash(4), 4, 101 + ENTRY_BYTES), full, "1 is held");
        assert_eq!(store.insert(hash(4), 4, usize::MAX), full);
        assert_eq!(held(&store), [1, 3]);
        drop(one);
        store.insert(hash(4), 4, 200 + ENTRY_BYTES).unwrap();
        assert_eq!(store.bytes, 712);
        assert!(store.get(&hash(1)).is_none() && store.get(&hash(3)).is_none());
    }
}
