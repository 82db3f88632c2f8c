//! [`Contents`]: the content that a node keeps, and [`ContentStore`], the actor by which others give it more.

mod store;
#[cfg(test)]
mod tests;

use crate::{
    call::{Answer, Call},
    mailbox::Mailbox,
    workers::beside,
};
use actix::{Actor, Context, Handler};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use store::Store;
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
/// The store is bounded, and content that nobody holds makes room for what comes: first what was held before, or uploaded
/// more than two minutes ago, the least recently used of it; then what waits for its first use, of whoever uploaded the most
/// of it. So who uploads more than others evicts its own. What is never: more bytes than the bound, decoded forms included;
/// content evicted that is [`Held`], because that would free no memory.
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
pub struct Held(Arc<Hold>);

#[derive(Debug)]
struct Hold {
    contents: Contents,
    hash: ContentHash,
    bytes: Blob,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.contents.lock().release(&self.hash);
    }
}

impl Contents {
    /// Keeps up to `bytes_max` bytes, each piece of content counted with 256 bytes more than it has.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Store::new(bytes_max))))
    }

    /// Keeps `bytes`; their name is returned. Where they are kept already, this counts as a use.
    pub fn insert(&self, bytes: Blob) -> Result<ContentHash, StoreError> {
        self.insert_of("", bytes)
    }

    /// Keeps `bytes` that this client uploads.
    fn insert_of(&self, client: &str, bytes: Blob) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&bytes);
        self.lock().insert(client, hash, bytes)?;
        Ok(hash)
    }

    /// Keeps the content of a call, hashing what is long beside the arbiter.
    pub(crate) fn store(&self, call: Call<StoreContent>) -> Answer<StoreContent> {
        let client =
            call.on_behalf_of().or(call.caller()).map_or("", |client| client.node.as_str()).to_owned();
        call.answer(|mut call| {
            let (contents, content) = (self.clone(), std::mem::take(&mut call.request.content));
            beside(content.len(), move || contents.insert_of(&client, content))
        })
    }

    /// The content of this name, which counts as a use.
    pub fn get(&self, hash: &ContentHash) -> Option<Held> {
        let bytes = self.lock().hold(hash)?;
        Some(Held(Arc::new(Hold { contents: self.clone(), hash: *hash, bytes })))
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
            hashes.iter().filter(|hash| !store.touch(hash)).copied().collect();
        missing.into_iter().collect()
    }

    /// How many bytes it keeps at most, and how many of them are held.
    pub(crate) fn bytes_max_and_held(&self) -> (usize, usize) {
        let store = self.lock();
        (store.bytes_max(), store.held_bytes())
    }

    /// Nothing in the store is left half done by a panic, so it can be used after one.
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The name of the content.
    pub fn hash(&self) -> ContentHash {
        self.0.hash
    }

    /// The content as it is.
    pub fn bytes(&self) -> &Blob {
        &self.0.bytes
    }

    /// What it counts in its store, without other forms of it.
    pub(crate) fn counted(&self) -> usize {
        counted(self.bytes())
    }

    /// The content in another form, which is kept beside it as long as there is room. This decodes what nobody has
    /// decoded so far, which is work for [workers](crate::Workers) where the content may be large.
    pub fn decoded<T: Decoded>(&self) -> Result<Arc<T>, T::Error> {
        let Hold { contents, hash, bytes } = &*self.0;
        if let Some(form) = contents.lock().form(hash) {
            return Ok(form);
        }
        let form = Arc::new(T::decode(bytes)?);
        Ok(contents.lock().keep_form(hash, form))
    }
}

/// What content counts in a store.
pub(crate) fn counted(content: &Blob) -> usize {
    content.len().saturating_add(ENTRY_BYTES)
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
