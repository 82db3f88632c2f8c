//! The one place that knows how a value becomes bytes: bincode 2 in its standard configuration.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::{Serialize, de::DeserializeOwned};

/// The id of this codec in the handshake.
pub const BINCODE_2: u8 = 1;

/// The largest encoded message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MESSAGE_BYTES_MAX>> =
    bincode::config::standard().with_limit::<MESSAGE_BYTES_MAX>();

/// Why a value could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value cannot be encoded: {reason}")]
pub struct EncodeError {
    /// What the encoder said.
    pub reason: String,
}

/// Why bytes are no encoding of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end early, name an unknown variant, hold invalid text or claim too great a length.
    #[error("not decodable as {wanted}: {reason}")]
    Malformed {
        /// The Rust type that was wanted.
        wanted: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// The value ends before the bytes do.
    #[error("{count} bytes follow the end of the {wanted}")]
    TrailingBytes {
        /// The Rust type that was wanted.
        wanted: &'static str,
        /// How many bytes are left.
        count: usize,
    },
}

/// Appends the encoding of `value` to `out`; on an error `out` is as long as before.
pub fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    bincode::serde::encode_into_writer(value, Appender(out), CONFIG).map_err(|error| {
        out.truncate(start);
        EncodeError { reason: error.to_string() }
    })
}

struct Appender<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// The encoding of `value`.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// The value that `bytes` encode; they must hold it and nothing else.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let wanted = std::any::type_name::<T>();
    let (value, used) = bincode::serde::borrow_decode_from_slice(bytes, CONFIG)
        .map_err(|error| DecodeError::Malformed { wanted, reason: error.to_string() })?;
    match bytes.len() - used {
        0 => Ok(value),
        count => Err(DecodeError::TrailingBytes { wanted, count }),
    }
}
