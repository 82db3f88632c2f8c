//! [`Contents`]: the content that a node keeps, and [`ContentStore`], the actor by which others give it more.

#[cfg(test)]
mod tests;

use crate::{
    call::{Answer, Call},
    mailbox::Mailbox,
    workers::beside,
};
use actix::{Actor, Context, Handler};
use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use swarm_protocols::{
    Blob, ContentHash, NoError,
    content_store::{ContentStore as ContentStoreProtocol, MissingContent, StoreContent, StoreError},
};

/// The name under which a node exposes its [`ContentStore`].
pub const CONTENT_STORE_NAME: &str = "content-store";

/// What every piece of content counts beside its bytes, for the entries of the store: without it a flood of short
/// pieces would take many times the memory that the bound allows.
const ENTRY_BYTES: usize = 256;

/// A form of content that computations can use at once, made of its bytes.
pub trait Decoded: Sized + Send + Sync + 'static {
    /// Why bytes are not of this form.
    type Error: std::error::Error;
    /// Makes it of bytes, which come from a peer: they are to be checked.
    fn decode(bytes: &[u8]) -> Result<Self, Self::Error>;
    /// The memory that it takes, in bytes.
    fn bytes(&self) -> usize;
}

/// The content that a node keeps, under the names that its bytes give it. A handle: clones share one store, and it
/// may be used from any thread.
///
/// The store is bounded: the least recently used content makes room for what comes. What is never: more bytes than
/// the bound, decoded forms included; content evicted that is [`Held`], because that would free no memory.
///
/// ```
/// use swarm_actors::content_store::Contents;
///
/// let contents = Contents::new(1 << 20);
/// let hash = contents.insert(b"to be or not to be".to_vec().into())?;
/// assert_eq!(contents.get(&hash).map(|held| held.bytes().len()), Some(18));
/// # Ok::<(), swarm_protocols::content_store::StoreError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Contents(Arc<Mutex<Store>>);

/// Content that stays in its store as long as this exists.
#[derive(Debug, Clone)]
pub struct Held {
    contents: Contents,
    content: Arc<Content>,
}

#[derive(Debug)]
struct Content {
    hash: ContentHash,
    bytes: Blob,
}

impl Contents {
    /// Keeps up to `bytes_max` bytes, each piece of content counted with 256 bytes more than it has.
    pub fn new(bytes_max: usize) -> Self {
        let store = Store { entries: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0, bytes_max };
        Self(Arc::new(Mutex::new(store)))
    }

    /// Keeps `bytes`; their name is returned. Where they are kept already, this counts as a use.
    pub fn insert(&self, bytes: Blob) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&bytes);
        self.lock().insert(hash, bytes)?;
        Ok(hash)
    }

    /// Keeps the content of a call, hashing what is long beside the arbiter.
    pub(crate) fn store(&self, call: Call<StoreContent>) -> Answer<StoreContent> {
        call.answer(|mut call| {
            let (contents, content) = (self.clone(), std::mem::take(&mut call.request.content));
            beside(content.len(), move || contents.insert(content))
        })
    }

    /// The content of this name, which counts as a use.
    pub fn get(&self, hash: &ContentHash) -> Option<Held> {
        let content = self.lock().get(hash)?;
        Some(Held { contents: self.clone(), content })
    }

    /// The content of all these names, in their order; otherwise the names that are missing, each once.
    pub fn all(
        &self,
        hashes: impl IntoIterator<Item = ContentHash>,
    ) -> Result<Vec<Held>, BTreeSet<ContentHash>> {
        let (mut held, mut missing) = (Vec::new(), BTreeSet::new());
        for hash in hashes {
            match self.get(&hash) {
                Some(content) => held.push(content),
                None => drop(missing.insert(hash)),
            }
        }
        if missing.is_empty() { Ok(held) } else { Err(missing) }
    }

    /// The names of which nothing is kept, each once and in order; what is kept counts as used.
    pub fn missing(&self, hashes: &[ContentHash]) -> Vec<ContentHash> {
        let mut store = self.lock();
        let missing: BTreeSet<ContentHash> =
            hashes.iter().filter(|hash| store.get(hash).is_none()).copied().collect();
        missing.into_iter().collect()
    }

    /// Nothing in the store is left half done by a panic, so it can be used after one.
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The name of the content.
    pub fn hash(&self) -> ContentHash {
        self.content.hash
    }

    /// The content as it is.
    pub fn bytes(&self) -> &Blob {
        &self.content.bytes
    }

    /// The content in another form, which is kept beside it as long as there is room. This decodes what nobody has
    /// decoded so far, which is work for [workers](crate::Workers) where the content may be large.
    pub fn decoded<T: Decoded>(&self) -> Result<Arc<T>, T::Error> {
        if let Some(form) = self.contents.lock().form(&self.content.hash) {
            return Ok(form);
        }
        let form = Arc::new(T::decode(&self.content.bytes)?);
        Ok(self.contents.lock().keep_form(&self.content.hash, form))
    }
}

#[derive(Debug)]
struct Store {
    entries: BTreeMap<ContentHash, Entry>,
    /// The entries by their last use.
    by_use: BTreeMap<u64, ContentHash>,
    /// Counts uses.
    uses: u64,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    content: Arc<Content>,
    forms: BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>,
    /// What the content and its forms count.
    bytes: usize,
    last_use: u64,
}

impl Entry {
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.content) > 1 || self.forms.values().any(|form| Arc::strong_count(form) > 1)
    }
}

impl Store {
    fn insert(&mut self, hash: ContentHash, bytes: Blob) -> Result<(), StoreError> {
        if self.get(&hash).is_some() {
            return Ok(());
        }
        let counted = bytes.len().saturating_add(ENTRY_BYTES);
        self.make_room(counted)?;
        self.uses += 1;
        self.bytes += counted;
        self.by_use.insert(self.uses, hash);
        let content = Arc::new(Content { hash, bytes });
        let entry = Entry { content, forms: BTreeMap::new(), bytes: counted, last_use: self.uses };
        self.entries.insert(hash, entry);
        Ok(())
    }

    fn get(&mut self, hash: &ContentHash) -> Option<Arc<Content>> {
        let entry = self.entries.get_mut(hash)?;
        self.by_use.remove(&entry.last_use);
        self.uses += 1;
        entry.last_use = self.uses;
        self.by_use.insert(self.uses, *hash);
        Some(Arc::clone(&entry.content))
    }

    fn form<T: Decoded>(&self, hash: &ContentHash) -> Option<Arc<T>> {
        let form = self.entries.get(hash)?.forms.get(&TypeId::of::<T>())?;
        Arc::clone(form).downcast().ok()
    }

    /// Keeps a form of content that is held, if there is room, and returns the one to be used.
    fn keep_form<T: Decoded>(&mut self, hash: &ContentHash, form: Arc<T>) -> Arc<T> {
        // Another thread may have decoded it meanwhile.
        if let Some(kept) = self.form(hash) {
            return kept;
        }
        let counted = form.bytes();
        if self.make_room(counted).is_ok()
            && let Some(entry) = self.entries.get_mut(hash)
        {
            entry.bytes += counted;
            self.bytes += counted;
            let kept: Arc<dyn Any + Send + Sync> = form.clone();
            entry.forms.insert(TypeId::of::<T>(), kept);
        }
        form
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
            let entry = &self.entries[hash];
            if !entry.is_held() {
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
            self.entries.remove(&hash);
        }
        Ok(())
    }
}

/// Lets other nodes put content into the [`Contents`] of this one.
///
/// It speaks the protocol of the same name: get its [`mailbox`](Self::mailbox), and expose it as
/// [`CONTENT_STORE_NAME`], so that coordinators give the node the inputs of its parts.
pub struct ContentStore {
    contents: Contents,
}

impl ContentStore {
    /// Stores into `contents`.
    pub fn new(contents: Contents) -> Self {
        Self { contents }
    }

    /// Starts it on this thread, with a mailbox.
    pub fn mailbox(self) -> Mailbox<ContentStoreProtocol> {
        Mailbox::start(self)
    }
}

impl Actor for ContentStore {
    type Context = Context<Self>;
}

impl Handler<Call<StoreContent>> for ContentStore {
    type Result = Answer<StoreContent>;

    fn handle(&mut self, call: Call<StoreContent>, _: &mut Self::Context) -> Self::Result {
        self.contents.store(call)
    }
}

impl Handler<Call<MissingContent>> for ContentStore {
    type Result = Result<Vec<ContentHash>, NoError>;

    fn handle(&mut self, call: Call<MissingContent>, _: &mut Self::Context) -> Self::Result {
        Ok(self.contents.missing(&call.request.hashes))
    }
}
