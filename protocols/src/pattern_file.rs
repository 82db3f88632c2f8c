//! A file of patterns with what is known of them: the layout, and what a reader checks before it believes any of it.
//!
//! All numbers are little-endian. Nothing is left to the writer: from the same patterns come the same bytes, every byte
//! is checked, and all but those of the values are parsed once, when a file is opened.
//!
//! | bytes | section | content |
//! |---|---|---|
//! | 0..192 | header | see below |
//! | 192.. | index | 80 bytes a pattern: offset of its values (`u64`), how many (`u64`), offset (`u64`) and length (`u64`) of its metadata, start and end (`i64`), name of its values as a part (32 bytes) |
//! | after that | metadata | a pattern after the other: name, label, number of attributes (`u16`), keys and values by ascending key; a text is its length in bytes (`u16`) and UTF-8 |
//! | from the next multiple of 64 | values | `f64`, finite; every pattern's begin at a multiple of 64, bytes between are 0; the file ends with the last value |
//!
//! | header bytes | content |
//! |---|---|
//! | 0..8 | `SWARMPAT` |
//! | 8..12 | version (`u32`), 1 |
//! | 12..16 | length of the header (`u32`), 192 |
//! | 16..24 | length of the file (`u64`) |
//! | 24..32 | number of patterns (`u64`) |
//! | 32..80 | offset and length (`u64`) of index, metadata and values |
//! | 80..144 | SHA-256 of index and of metadata |
//! | 144..160 | 0 |
//! | 160..192 | SHA-256 of bytes 0..160 |
//!
//! The name of a pattern's values is the [`ContentHash`] of the [`SeriesGroup`] of that one series: agents hold parts
//! under it, so what they hold already is not sent to them again.

mod decode;
mod encode;

pub use decode::{Catalogue, Entry, FormatError, Section};
pub use encode::{EncodeError, encode};

use crate::{ContentHash, series_group::SeriesGroup};
use std::collections::BTreeMap;

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// The longest name, label, key or value of an attribute, in bytes.
pub const TEXT_BYTES_MAX: usize = u16::MAX as usize;
/// Most attributes of a pattern.
pub const ATTRIBUTES_MAX: usize = u16::MAX as usize;
/// Most patterns of a file.
pub const PATTERNS_MAX: u64 = 1 << 24;

const MAGIC: [u8; 8] = *b"SWARMPAT";
const HEADER_BYTES: usize = 192;
/// What the hash of the header covers.
const HEADER_HASHED_BYTES: usize = 160;
const INDEX_HASH_AT: usize = 80;
const METADATA_HASH_AT: usize = 112;
const ENTRY_BYTES: usize = 80;
/// Where values may begin: a cache line, which is also the largest vector register.
const ALIGNMENT: usize = 64;

/// What is known of a pattern beside its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// What it is a stretch of, for instance a symbol.
    pub name: String,
    /// The time of its first value, in a unit of the writer's choice.
    pub start: i64,
    /// The time of its last value, not before the first.
    pub end: i64,
    /// What it is an example of; may be empty.
    pub label: String,
    /// Whatever else is known.
    pub attributes: BTreeMap<String, String>,
}

/// A pattern to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// What is known of it.
    pub metadata: Metadata,
    /// Its values, at least one, all finite.
    pub values: Vec<f64>,
}

fn part_name(values: &[f64]) -> ContentHash {
    if cfg!(target_endian = "little") {
        SeriesGroup::name_of_one(bytemuck::cast_slice(values))
    } else {
        SeriesGroup::name_of_one(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    }
}

#[cfg(test)]
mod tests;
