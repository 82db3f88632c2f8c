//! Content that nodes keep for each other under the name that its bytes give it.
//!
//! A coordinator keeps what clients upload for their tasks; an agent that exposes [`ContentStore`] is given the
//! inputs of a part before it is asked for the part. Nothing is sent to a node that holds it already.

use crate::{Blob, ContentHash, Request, protocol, wire::codec};
use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// The most names that one [`MissingContent`] asks for: looking for more of them at once would hold up its node.
pub const HASHES_MAX: usize = 4_096;

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

impl StoreContent {
    /// What is encoded before content of so many bytes, which follows as it is: so it can be sent without a copy.
    pub fn encoded_head(content_bytes: usize) -> Vec<u8> {
        let head = codec::encode(&content_bytes);
        head.expect("a number is far below the message limit")
    }
}

/// Which of these names are not kept, each once, in order. What is kept counts as used, and so is the last to be
/// evicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Request)]
#[request(name = "missing-content", reply = Vec<ContentHash>)]
pub struct MissingContent {
    /// The names, at most [`HASHES_MAX`]; a longer request is not decoded.
    #[serde(deserialize_with = "at_most_hashes_max")]
    pub hashes: Vec<ContentHash>,
}

fn at_most_hashes_max<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ContentHash>, D::Error> {
    let hashes = Vec::deserialize(deserializer)?;
    if hashes.len() > HASHES_MAX {
        return Err(D::Error::custom(format_args!("{} names; at most {HASHES_MAX} at once", hashes.len())));
    }
    Ok(hashes)
}

/// Why content is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StoreError {
    /// The store is full of content that is in use.
    #[error("the content store is full: its limit is {bytes_max} bytes")]
    Full {
        /// How many bytes it keeps at most.
        bytes_max: u64,
    },
    /// The content alone is over the limit of the store.
    #[error(
        "the content is too long for the content store, whose limit is {bytes_max} bytes: its node needs more memory \
         (memory_mib)"
    )]
    TooLong {
        /// How many bytes it keeps at most.
        bytes_max: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_crosses_the_wire_as_one_run_of_bytes() {
        let store = StoreContent { content: vec![0, 255, 7].into() };
        assert_eq!(codec::encode(&store).unwrap(), [3, 0, 255, 7]);
        assert_eq!(codec::decode(&[3, 0, 255, 7]), Ok(store));
    }

    #[test]
    fn a5_content_is_sent_from_where_it_is_kept() {
        for bytes in [0, 1, 250, 251, 70_000] {
            let content = Blob::from(vec![7; bytes]);
            let whole = codec::encode(&StoreContent { content: content.clone() }).unwrap();
            assert_eq!([&StoreContent::encoded_head(bytes)[..], &*content].concat(), whole, "{bytes} bytes");
            assert_eq!(bytes::Bytes::from(content.clone()).as_ptr(), content.as_ptr(), "it is not copied");
        }
    }

    #[test]
    fn more_names_than_are_looked_for_at_once_are_not_decoded() {
        let asked = |count| MissingContent { hashes: vec![ContentHash::of(b"a"); count] };
        let encoded = |count| codec::encode(&asked(count)).unwrap();
        assert_eq!(codec::decode(&encoded(HASHES_MAX)), Ok(asked(HASHES_MAX)));
        let error = codec::decode::<MissingContent>(&encoded(HASHES_MAX + 1)).unwrap_err();
        assert!(error.to_string().contains("4097 names; at most 4096 at once"), "{error}");
    }
}
