//! A vector of numbers that crosses the wire as one run of bytes.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, ops::Deref};

/// Numbers that are carried as one byte string of little-endian IEEE 754 doubles, not element by
/// element: the cost of encoding and decoding is that of copying memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Floats(Vec<f64>);

impl From<Vec<f64>> for Floats {
    fn from(values: Vec<f64>) -> Self {
        Self(values)
    }
}

impl From<Floats> for Vec<f64> {
    fn from(values: Floats) -> Self {
        values.0
    }
}

impl Deref for Floats {
    type Target = [f64];
    fn deref(&self) -> &[f64] {
        &self.0
    }
}

impl Serialize for Floats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if cfg!(target_endian = "little") {
            serializer.serialize_bytes(bytemuck::cast_slice(&self.0))
        } else {
            let bytes: Vec<u8> = self.0.iter().flat_map(|value| value.to_le_bytes()).collect();
            serializer.serialize_bytes(&bytes)
        }
    }
}

impl<'de> Deserialize<'de> for Floats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(FloatsVisitor)
    }
}

struct FloatsVisitor;

impl de::Visitor<'_> for FloatsVisitor {
    type Value = Floats;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a byte string of little-endian doubles")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Floats, E> {
        let (doubles, rest) = bytes.as_chunks::<8>();
        if rest.is_empty() {
            Ok(Floats(doubles.iter().map(|double| f64::from_le_bytes(*double)).collect()))
        } else {
            Err(E::invalid_length(bytes.len(), &"a multiple of 8 bytes"))
        }
    }
}
