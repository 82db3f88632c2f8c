//! What is kept under which name, and what makes room.

use super::{Decoded, counted};
use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    sync::Arc,
};
use swarm_protocols::{Blob, ContentHash, content_store::StoreError};

/// Why there is a list for an entry.
const LISTED: &str = "what nobody holds is on the list of its client";

#[derive(Debug)]
pub(super) struct Store {
    entries: BTreeMap<ContentHash, Entry>,
    /// What nobody holds, by the clients that uploaded it.
    idle: BTreeMap<String, Idle>,
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
    /// Who uploaded it.
    clients: Vec<String>,
    /// How often it is held.
    holds: usize,
    forms: BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>,
    /// What the content and its forms count.
    bytes: usize,
    last_use: u64,
}

/// Content of one client that nobody holds.
#[derive(Debug, Default)]
struct Idle {
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
        Self { entries: BTreeMap::new(), idle: BTreeMap::new(), uses: 0, bytes: 0, held: 0, bytes_max }
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
        if self.touch(&hash) {
            self.share(client, &hash);
            return Ok(());
        }
        let bytes = counted(&content);
        self.make_room(client, bytes)?;
        self.uses += 1;
        self.bytes += bytes;
        let (clients, last_use) = (vec![client.to_owned()], self.uses);
        self.idle.entry(client.to_owned()).or_default().add(last_use, hash, bytes);
        let entry = Entry { content, clients, holds: 0, forms: BTreeMap::new(), bytes, last_use };
        self.entries.insert(hash, entry);
        Ok(())
    }

    /// Counts a use of this content, if it is kept.
    pub(super) fn touch(&mut self, hash: &ContentHash) -> bool {
        let Some(entry) = self.entries.get_mut(hash) else { return false };
        self.uses += 1;
        for client in entry.clients.iter().filter(|_| entry.holds == 0) {
            let idle = self.idle.get_mut(client).expect(LISTED);
            idle.by_use.remove(&entry.last_use);
            idle.by_use.insert(self.uses, *hash);
        }
        entry.last_use = self.uses;
        true
    }

    /// Another client uploads it too: it counts for both, and is evicted when it would be for both.
    fn share(&mut self, client: &str, hash: &ContentHash) {
        let entry = self.entries.get_mut(hash).expect("it was touched");
        if entry.clients.iter().any(|of| of == client) {
            return;
        }
        entry.clients.push(client.to_owned());
        if entry.holds == 0 {
            let idle = self.idle.entry(client.to_owned()).or_default();
            idle.add(entry.last_use, *hash, entry.bytes);
        }
    }

    /// Uses content, which stays until it is [released](Self::release) as often.
    pub(super) fn hold(&mut self, hash: &ContentHash) -> Option<Blob> {
        if !self.touch(hash) {
            return None;
        }
        let entry = self.entries.get_mut(hash)?;
        entry.holds += 1;
        let content = entry.content.clone();
        if entry.holds == 1 {
            self.held += entry.bytes;
            let clients = entry.clients.clone();
            clients.iter().for_each(|client| self.remove_idle(client, hash));
        }
        Some(content)
    }

    pub(super) fn release(&mut self, hash: &ContentHash) {
        let entry = self.entries.get_mut(hash).expect("what is held is kept");
        entry.holds -= 1;
        self.held -= if entry.holds == 0 { entry.bytes } else { 0 };
        for client in entry.clients.iter().filter(|_| entry.holds == 0) {
            let idle = self.idle.entry(client.clone()).or_default();
            idle.add(entry.last_use, *hash, entry.bytes);
        }
    }

    pub(super) fn form<T: Decoded>(&self, hash: &ContentHash) -> Option<Arc<T>> {
        let form = self.entries.get(hash)?.forms.get(&TypeId::of::<T>())?;
        Arc::clone(form).downcast().ok()
    }

    /// Keeps a form of content that is held, if there is room, and returns the one to be used.
    pub(super) fn keep_form<T: Decoded>(&mut self, hash: &ContentHash, form: Arc<T>) -> Arc<T> {
        // Another thread may have decoded it meanwhile.
        if let Some(kept) = self.form(hash) {
            return kept;
        }
        let bytes = form.bytes();
        let client = self.entries[hash].clients[0].clone();
        if self.make_room(&client, bytes).is_ok()
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

    /// Makes room for so many bytes of a client, which count as its own. Evicts nothing where that would not suffice.
    fn make_room(&mut self, client: &str, bytes: usize) -> Result<(), StoreError> {
        let bytes_max = self.bytes_max as u64;
        let allowed = self.bytes_max.checked_sub(bytes).ok_or(StoreError::TooLong { bytes_max })?;
        if self.bytes <= allowed {
            return Ok(());
        }
        let mut left = self.bytes;
        // Whose content goes, and from how many of its clients each piece was taken.
        let (mut given_up, mut taken) = (Vec::new(), BTreeMap::<ContentHash, usize>::new());
        let of_client = |(of, idle): (&String, &'_ Idle)| idle.bytes + if of == client { bytes } else { 0 };
        let mut clients: Vec<_> =
            self.idle.iter().map(|idle| (of_client(idle), idle.0, idle.1.by_use.values())).collect();
        while left > allowed {
            let most = (0..clients.len()).max_by_key(|at| clients[*at].0);
            let most = most.ok_or(StoreError::Full { bytes_max })?;
            let (of_client, name, oldest) = &mut clients[most];
            match oldest.next() {
                None => drop(clients.swap_remove(most)),
                Some(hash) => {
                    let entry = &self.entries[hash];
                    *of_client -= entry.bytes;
                    if !entry.is_used() {
                        given_up.push((name.to_string(), *hash));
                        let taken = taken.entry(*hash).or_default();
                        *taken += 1;
                        left -= if *taken == entry.clients.len() { entry.bytes } else { 0 };
                    }
                }
            }
        }
        for (client, hash) in given_up {
            self.remove_idle(&client, &hash);
            let entry = self.entries.get_mut(&hash).expect(LISTED);
            entry.clients.retain(|of| *of != client);
            if entry.clients.is_empty() {
                self.entries.remove(&hash);
            }
        }
        self.bytes = left;
        Ok(())
    }

    /// Takes content off the list of what nobody holds of a client.
    fn remove_idle(&mut self, client: &str, hash: &ContentHash) {
        let Entry { last_use, bytes, .. } = &self.entries[hash];
        let idle = self.idle.get_mut(client).expect(LISTED);
        idle.by_use.remove(last_use);
        idle.bytes -= bytes;
        if idle.by_use.is_empty() {
            self.idle.remove(client);
        }
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
        assert_eq!(self.idle.values().map(|idle| idle.by_use.len()).sum::<usize>(), claims);
        assert_eq!(self.bytes - self.held, idle().map(|entry| entry.bytes).sum::<usize>());
        kept
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Idle {
    fn add(&mut self, last_use: u64, hash: ContentHash, bytes: usize) {
        self.by_use.insert(last_use, hash);
        self.bytes += bytes;
    }
}
