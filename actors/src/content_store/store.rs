//! What is kept under which name, and what makes room.

use super::{Decoded, counted};
use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    sync::Arc,
    time::Duration,
};
use swarm_protocols::{Blob, ContentHash, content_store::StoreError};
use tokio::time::Instant;

/// How long content that was uploaded is waited for by whoever is to use it. Afterwards, as after its first use, it is kept
/// while there is room.
const FRESH: Duration = Duration::from_secs(120);

/// Why there is a list for an entry.
const LISTED: &str = "what is fresh is on the lists of its clients";

#[derive(Debug)]
pub(super) struct Store {
    entries: BTreeMap<ContentHash, Entry>,
    /// What nobody holds any more, by its last use.
    spent: BTreeMap<u64, ContentHash>,
    /// What nobody has held yet, by the clients that uploaded it.
    fresh: BTreeMap<String, Fresh>,
    /// Counts uses.
    uses: u64,
    bytes: usize,
    /// How many of them are held.
    held: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    content: Blob,
    /// Who uploaded it, while it is fresh.
    clients: Vec<String>,
    /// When it was uploaded last.
    uploaded: Instant,
    /// How often it is held.
    holds: usize,
    forms: BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>,
    /// What the content and its forms count.
    bytes: usize,
    last_use: u64,
}

/// Content that one client has uploaded and that nobody has held yet.
#[derive(Debug, Default)]
struct Fresh {
    by_use: BTreeMap<u64, ContentHash>,
    bytes: usize,
}

impl Entry {
    /// A form may be in use longer than the content is held.
    fn is_used(&self) -> bool {
        self.forms.values().any(|form| Arc::strong_count(form) > 1)
    }
}

impl Store {
    pub(super) fn new(bytes_max: usize) -> Self {
        let (spent, fresh) = (BTreeMap::new(), BTreeMap::new());
        Self { entries: BTreeMap::new(), spent, fresh, uses: 0, bytes: 0, held: 0, bytes_max }
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// What is held, but for content that is not itself held while a form of it is in use.
    pub(super) fn held_bytes(&self) -> usize {
        self.held
    }

    pub(super) fn insert(
        &mut self,
        client: &str,
        hash: ContentHash,
        content: Blob,
    ) -> Result<(), StoreError> {
        let uploaded = Instant::now();
        if !self.touch(&hash) {
            let bytes = counted(&content);
            self.make_room(client, bytes)?;
            self.bytes += bytes;
            self.uses += 1;
            let (last_use, forms) = (self.uses, BTreeMap::new());
            let entry = Entry { content, clients: Vec::new(), uploaded, holds: 0, forms, bytes, last_use };
            self.entries.insert(hash, entry);
        }
        let entry = self.entries.get_mut(&hash).expect("it is kept by now");
        entry.uploaded = uploaded;
        if entry.holds == 0 && entry.clients.iter().all(|of| of != client) {
            entry.clients.push(client.to_owned());
            self.spent.remove(&entry.last_use);
            let fresh = self.fresh.entry(client.to_owned()).or_default();
            fresh.by_use.insert(entry.last_use, hash);
            fresh.bytes += entry.bytes;
        }
        Ok(())
    }

    /// Counts a use of this content, if it is kept.
    pub(super) fn touch(&mut self, hash: &ContentHash) -> bool {
        let Some(entry) = self.entries.get_mut(hash) else { return false };
        self.uses += 1;
        for client in &entry.clients {
            let fresh = self.fresh.get_mut(client).expect(LISTED);
            fresh.by_use.remove(&entry.last_use);
            fresh.by_use.insert(self.uses, *hash);
        }
        if self.spent.remove(&entry.last_use).is_some() {
            self.spent.insert(self.uses, *hash);
        }
        entry.last_use = self.uses;
        true
    }

    /// Uses content, which stays until it is [released](Self::release) as often.
    pub(super) fn hold(&mut self, hash: &ContentHash) -> Option<Blob> {
        if !self.touch(hash) {
            return None;
        }
        self.give_up(hash, |_| true);
        let entry = self.entries.get_mut(hash)?;
        self.spent.remove(&entry.last_use);
        self.held += if entry.holds == 0 { entry.bytes } else { 0 };
        entry.holds += 1;
        Some(entry.content.clone())
    }

    pub(super) fn release(&mut self, hash: &ContentHash) {
        let entry = self.entries.get_mut(hash).expect("what is held is kept");
        entry.holds -= 1;
        if entry.holds == 0 {
            self.held -= entry.bytes;
            self.spent.insert(entry.last_use, *hash);
        }
    }

    pub(super) fn form<T: Decoded>(&self, hash: &ContentHash) -> Option<Arc<T>> {
        let form = self.entries.get(hash)?.forms.get(&TypeId::of::<T>())?;
        Arc::clone(form).downcast().ok()
    }

    /// Keeps a form of content that is held, if there is room beside what is fresh, and returns the one to be used.
    pub(super) fn keep_form<T: Decoded>(&mut self, hash: &ContentHash, form: Arc<T>) -> Arc<T> {
        // Another thread may have decoded it meanwhile.
        if let Some(kept) = self.form(hash) {
            return kept;
        }
        let bytes = form.bytes();
        if self.drop_spent(bytes)
            && let Some(entry) = self.entries.get_mut(hash)
        {
            entry.bytes += bytes;
            self.bytes += bytes;
            self.held += bytes;
            let kept: Arc<dyn Any + Send + Sync> = form.clone();
            entry.forms.insert(TypeId::of::<T>(), kept);
        }
        form
    }

    /// Makes room for so many bytes by what is spent, where that suffices; else drops nothing.
    fn drop_spent(&mut self, bytes: usize) -> bool {
        let Some(allowed) = self.bytes_max.checked_sub(bytes) else { return false };
        let (mut left, mut evicted) = (self.bytes, Vec::new());
        for hash in self.spent.values() {
            if left <= allowed {
                break;
            }
            let entry = &self.entries[hash];
            if !entry.is_used() {
                left -= entry.bytes;
                evicted.push(*hash);
            }
        }
        if left <= allowed {
            evicted.iter().for_each(|hash| self.evict(hash));
        }
        left <= allowed
    }

    /// Makes room for so many bytes of a client: by what is spent, what was used longest ago first, and then by what is
    /// fresh of the client that has the most, with these bytes. Evicts nothing where that would not suffice.
    fn make_room(&mut self, client: &str, bytes: usize) -> Result<(), StoreError> {
        let bytes_max = self.bytes_max as u64;
        let allowed = self.bytes_max.checked_sub(bytes).ok_or(StoreError::TooLong { bytes_max })?;
        if self.drop_spent(bytes) {
            return Ok(());
        }
        self.age();
        if self.drop_spent(bytes) {
            return Ok(());
        }
        // All of that goes, and does not suffice.
        let is_free = |hash: &&ContentHash| !self.entries[*hash].is_used();
        let spent: Vec<ContentHash> = self.spent.values().filter(is_free).copied().collect();
        let mut left = self.bytes - spent.iter().map(|hash| self.entries[hash].bytes).sum::<usize>();
        // Whose content goes, and from how many of its clients each piece was taken.
        let (mut given_up, mut taken) = (Vec::new(), BTreeMap::<ContentHash, usize>::new());
        let own = |of: &String| if of == client { bytes } else { 0 };
        let clients = self.fresh.iter().map(|(of, fresh)| (fresh.bytes + own(of), of, fresh.by_use.values()));
        let mut clients: Vec<_> = clients.collect();
        while left > allowed {
            let most = (0..clients.len()).max_by_key(|at| clients[*at].0);
            let most = most.ok_or(StoreError::Full { bytes_max })?;
            let (of_client, name, oldest) = &mut clients[most];
            let Some(hash) = oldest.next() else {
                drop(clients.swap_remove(most));
                continue;
            };
            let entry = &self.entries[hash];
            *of_client -= entry.bytes;
            if entry.is_used() {
                continue;
            }
            given_up.push(((*name).clone(), *hash));
            let taken = taken.entry(*hash).or_default();
            *taken += 1;
            left -= if *taken == entry.clients.len() { entry.bytes } else { 0 };
        }
        for (client, hash) in given_up {
            self.give_up(&hash, |of| *of == client);
            if self.entries[&hash].clients.is_empty() {
                self.evict(&hash);
            }
        }
        spent.iter().for_each(|hash| self.evict(hash));
        Ok(())
    }

    /// Lets what was uploaded long ago count as spent.
    fn age(&mut self) {
        let now = Instant::now();
        let fresh = self.fresh.values().flat_map(|fresh| fresh.by_use.values());
        let old = fresh.filter(|hash| now.duration_since(self.entries[*hash].uploaded) > FRESH);
        for hash in old.copied().collect::<Vec<_>>() {
            self.give_up(&hash, |_| true);
            self.spent.insert(self.entries[&hash].last_use, hash);
        }
    }

    /// Takes content off the lists of what is fresh of these clients.
    fn give_up(&mut self, hash: &ContentHash, of: impl Fn(&String) -> bool) {
        let Some(entry) = self.entries.get_mut(hash) else { return };
        for client in entry.clients.extract_if(.., |client| of(client)) {
            let fresh = self.fresh.get_mut(&client).expect(LISTED);
            fresh.by_use.remove(&entry.last_use);
            fresh.bytes -= entry.bytes;
            if fresh.by_use.is_empty() {
                self.fresh.remove(&client);
            }
        }
    }

    /// Drops content that nobody holds and that is on no list of a client.
    fn evict(&mut self, hash: &ContentHash) {
        let Some(entry) = self.entries.remove(hash) else { return };
        self.spent.remove(&entry.last_use);
        self.bytes -= entry.bytes;
    }

    /// The first bytes of what is kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> Vec<u8> {
        let mut kept: Vec<u8> = self.entries.values().map(|entry| entry.content[0]).collect();
        kept.sort_unstable();
        assert_eq!(self.bytes, self.entries.values().map(|entry| entry.bytes).sum::<usize>());
        assert!(self.bytes <= self.bytes_max);
        let idle = || self.entries.values().filter(|entry| entry.holds == 0);
        let claims = idle().map(|entry| entry.clients.len()).sum::<usize>();
        assert_eq!(self.fresh.values().map(|fresh| fresh.by_use.len()).sum::<usize>(), claims);
        assert_eq!(self.spent.len(), idle().filter(|entry| entry.clients.is_empty()).count());
        assert_eq!(self.bytes - self.held, idle().map(|entry| entry.bytes).sum::<usize>());
        kept
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
