//! The one place that knows how a value becomes bytes: bincode 2 in its standard configuration.
//!
//! [`decode`] may be given any bytes, for any type. What the bytes claim is held against what they
//! hold before anything is allocated or entered, so a message costs time in proportion to its bytes,
//! stack for [`DEPTH_MAX`] levels, and memory in proportion to its elements: at most as many as it has
//! bytes and [`ELEMENTS_FREE`], each as large as its type is in memory. A type whose elements are
//! large in memory and small on the wire, such as `Vec<Option<[u64; 32]>>`, multiplies accordingly.

mod bounded;
mod sharing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use bincode::config::{Configuration, LittleEndian, NoLimit, Varint};
use bounded::Fault;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
pub(crate) use sharing::shared;

/// The id of this codec in the handshake.
pub const BINCODE_2: u8 = 1;

/// The largest encoded message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// How many compound values of a message may lie within each other. Compound are options, newtypes,
/// tuples, structs, enums, sequences and maps; a `Box` is not, so a list that is declared as
/// `enum List { End, Link(Box<List>) }` may have 63 links and its end.
///
/// A stack of 2 MiB suffices for this many, without optimisation too, unless a recursive type holds
/// kilobytes inline.
pub const DEPTH_MAX: usize = 64;

/// A message may hold as many elements of sequences and entries of maps, over all of them, as it has
/// bytes, and this many more. Only elements that encode to no bytes can pass the bound honestly.
pub const ELEMENTS_FREE: usize = 1024;

/// bincode's own limit is not used: it counts a variable-length integer as its greatest length and so
/// refuses messages that are within [`MESSAGE_BYTES_MAX`].
type Layout = Configuration<LittleEndian, Varint, NoLimit>;

const LAYOUT: Layout = bincode::config::standard();

/// Why a value could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The encoding is longer than [`MESSAGE_BYTES_MAX`].
    #[error("the encoding exceeds {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
    /// The type has no encoding (a sequence of unknown length), or refuses to serialise this value.
    #[error("the value cannot be encoded: {reason}")]
    Unencodable {
        /// What the encoder said.
        reason: String,
    },
}

/// Why bytes are no encoding of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end early, name an unknown variant or hold what the type refuses, such as invalid text.
    #[error("not decodable as {}: {reason}", without_paths(wanted))]
    Malformed {
        /// The Rust type that was wanted.
        wanted: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// The value ends before the bytes do.
    #[error("{count} bytes follow the end of the {}", without_paths(wanted))]
    TrailingBytes {
        /// The Rust type that was wanted.
        wanted: &'static str,
        /// How many bytes are left.
        count: usize,
    },
    /// There are more than [`MESSAGE_BYTES_MAX`] bytes.
    #[error("{count} bytes are too many for a {}: the limit is {MESSAGE_BYTES_MAX}", without_paths(wanted))]
    TooLarge {
        /// The Rust type that was wanted.
        wanted: &'static str,
        /// How many bytes there are.
        count: usize,
    },
    /// Values lie within each other deeper than [`DEPTH_MAX`].
    #[error("a {} nested deeper than {DEPTH_MAX} levels", without_paths(wanted))]
    TooDeep {
        /// The Rust type that was wanted.
        wanted: &'static str,
    },
    /// Sequences and maps claim more elements than the bytes can hold; see [`ELEMENTS_FREE`].
    #[error("a {} that claims more elements than its bytes can hold", without_paths(wanted))]
    TooManyElements {
        /// The Rust type that was wanted.
        wanted: &'static str,
    },
}

/// The name of a type without the modules that it lies in, which are no business of a peer.
fn without_paths(type_name: &str) -> String {
    let mut short = String::new();
    for piece in type_name.split("::") {
        // What precedes a `::` is the name of a module, back to the last sign that is none of a name.
        let outside = |c: char| !c.is_alphanumeric() && c != '_';
        short.truncate(short.rfind(outside).map_or(0, |at| at + 1));
        short += piece;
    }
    short
}

/// Appends the encoding of `value` to `out`, which keeps its content on an error.
///
/// Encoding stops at [`MESSAGE_BYTES_MAX`]. The other bounds of [`decode`] are the receiver's: a
/// value nested deeper than [`DEPTH_MAX`], or with more zero-sized elements than [`ELEMENTS_FREE`]
/// allows, encodes and is then refused. Nothing protects the stack of a caller who encodes a value
/// of unbounded recursion.
pub fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let appender = Appender { out, room: MESSAGE_BYTES_MAX };
    bincode::serde::encode_into_writer(value, appender, LAYOUT).map_err(|error| {
        out.truncate(start);
        match error {
            bincode::error::EncodeError::UnexpectedEnd => EncodeError::TooLarge,
            other => EncodeError::Unencodable { reason: other.to_string() },
        }
    })
}

struct Appender<'a> {
    out: &'a mut Vec<u8>,
    room: usize,
}

impl bincode::enc::write::Writer for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.room = self.room.checked_sub(bytes.len()).ok_or(bincode::error::EncodeError::UnexpectedEnd)?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// The encoding of `value`; see [`encode_into`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// The value that `bytes` encode; they must hold it and nothing else.
///
/// Safe for bytes of any origin: the [module](self) says what bounds time, memory and stack.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let wanted = std::any::type_name::<T>();
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(DecodeError::TooLarge { wanted, count: bytes.len() });
    }
    match bounded::decode_front(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(DecodeError::TrailingBytes { wanted, count: rest.len() }),
        Err(Fault::TooDeep) => Err(DecodeError::TooDeep { wanted }),
        Err(Fault::TooManyElements) => Err(DecodeError::TooManyElements { wanted }),
        Err(fault @ Fault::Malformed(_)) => Err(DecodeError::Malformed { wanted, reason: fault.to_string() }),
    }
}

/// The same, where the bytes are held by reference: a [`Blob`](crate::Blob) of 4 KiB or more in it shares their memory.
pub fn decode_shared<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, DecodeError> {
    sharing::from(bytes, || decode(bytes))
}
