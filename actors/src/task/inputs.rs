//! The content that the parts of a task are computed on.

use std::collections::BTreeMap;
use swarm_protocols::{Blob, ContentHash, part::PartRequest};

/// Content under the names that its bytes give it, and beside each piece what is known of it: `I` is
/// [`PartRequest::Input`].
#[derive(Debug)]
pub struct Inputs<I: ?Sized>(BTreeMap<ContentHash, Input<I>>);

#[derive(Debug)]
struct Input<I: ?Sized> {
    content: Blob,
    known: Box<I>,
}

impl<I: ?Sized> Inputs<I> {
    /// No content.
    pub fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a piece of content, and returns its name.
    pub fn add(&mut self, content: Blob, known: impl Into<Box<I>>) -> ContentHash {
        let hash = ContentHash::of(&content);
        self.0.insert(hash, Input { content, known: known.into() });
        hash
    }

    pub(super) fn content(&self, hash: &ContentHash) -> Option<&Blob> {
        self.0.get(hash).map(|input| &input.content)
    }

    /// What is known of the inputs of a request, all of which are here.
    pub fn known<R: PartRequest<Input = I>>(&self, request: &R) -> Vec<&I> {
        let inputs = request.inputs();
        inputs.iter().filter_map(|hash| self.0.get(hash)).map(|input| &*input.known).collect()
    }
}

impl<I: ?Sized> Default for Inputs<I> {
    fn default() -> Self {
        Self::new()
    }
}
