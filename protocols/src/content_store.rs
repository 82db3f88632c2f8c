//! Content that nodes keep for each other under the name that its bytes give it.
//!
//! A coordinator keeps what clients upload for their tasks; an agent that exposes [`ContentStore`] is given the
//! inputs of a part before it is asked for the part. Nothing is sent to a node that holds it already.

use crate::{Blob, ContentHash, Request, protocol};
use serde::{Deserialize, Serialize};

protocol! {
    /// An actor that keeps content.
    pub ContentStore = "content-store" { StoreContent, MissingContent }
}

/// Keeps content; the reply is its name. Storing it again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Request)]
#[request(name = "store-content", reply = ContentHash, error = StoreError)]
pub struct StoreContent {
    /// Any bytes.
    pub content: Blob,
}

/// Which of these names are not kept, each once, in order. What is kept counts as used, and so is the last to be
/// evicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Request)]
#[request(name = "missing-content", reply = Vec<ContentHash>)]
pub struct MissingContent {
    /// The names.
    pub hashes: Vec<ContentHash>,
}

/// Why content is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StoreError {
    /// The store is full of content that is in use, or the content alone is over the limit.
    #[error("the content store is full: its limit is {bytes_max} bytes")]
    Full {
        /// How many bytes it keeps at most.
        bytes_max: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec;

    #[test]
    fn content_crosses_the_wire_as_one_run_of_bytes() {
        let store = StoreContent { content: vec![0, 255, 7].into() };
        assert_eq!(codec::encode(&store).unwrap(), [3, 0, 255, 7]);
        assert_eq!(codec::decode(&[3, 0, 255, 7]), Ok(store));
    }
}
