//! From patterns to the bytes of a file.

use super::{
    ALIGNMENT, ATTRIBUTES_MAX, ENTRY_BYTES, HEADER_BYTES, HEADER_HASHED_BYTES, INDEX_HASH_AT, MAGIC,
    METADATA_HASH_AT, Metadata, PATTERNS_MAX, Pattern, TEXT_BYTES_MAX, VERSION, part_name,
};
use crate::ContentHash;

/// Why patterns cannot be written. Indices count from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// More than [`PATTERNS_MAX`].
    #[error("{count} patterns are more than {PATTERNS_MAX}")]
    TooManyPatterns {
        /// How many there are.
        count: usize,
    },
    /// A text longer than [`TEXT_BYTES_MAX`].
    #[error("pattern {pattern}: the {what} has {bytes} bytes, more than {TEXT_BYTES_MAX}")]
    TextTooLong {
        /// Index of the pattern.
        pattern: usize,
        /// Which text.
        what: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// More than [`ATTRIBUTES_MAX`].
    #[error("pattern {pattern} has {count} attributes, more than {ATTRIBUTES_MAX}")]
    TooManyAttributes {
        /// Index of the pattern.
        pattern: usize,
        /// How many it has.
        count: usize,
    },
    /// A pattern without values.
    #[error("pattern {pattern} has no values")]
    NoValues {
        /// Index of the pattern.
        pattern: usize,
    },
    /// A value that is NaN or infinite.
    #[error("pattern {pattern} has no number as its value {index}")]
    NotFinite {
        /// Index of the pattern.
        pattern: usize,
        /// Index of the first such value.
        index: usize,
    },
    /// It ends before it starts.
    #[error("pattern {pattern} ends at {end}, before its start {start}")]
    EndsBeforeStart {
        /// Index of the pattern.
        pattern: usize,
        /// Time of its first value.
        start: i64,
        /// Time of its last value.
        end: i64,
    },
}

/// The bytes of a file of these patterns.
///
/// # Errors
/// Names the first pattern that cannot be written, and why.
pub fn encode(patterns: &[Pattern]) -> Result<Vec<u8>, EncodeError> {
    if patterns.len() as u64 > PATTERNS_MAX {
        return Err(EncodeError::TooManyPatterns { count: patterns.len() });
    }
    let mut metadata = Vec::new();
    let mut metadata_ranges = Vec::with_capacity(patterns.len());
    let metadata_at = HEADER_BYTES + patterns.len() * ENTRY_BYTES;
    for (number, pattern) in patterns.iter().enumerate() {
        check(number, pattern)?;
        let from = metadata.len();
        write_metadata(&mut metadata, number, &pattern.metadata)?;
        metadata_ranges.push((metadata_at + from, metadata.len() - from));
    }
    let values_at = (metadata_at + metadata.len()).next_multiple_of(ALIGNMENT);

    let mut index = Vec::with_capacity(patterns.len() * ENTRY_BYTES);
    let mut at = values_at;
    for (pattern, (metadata_from, metadata_bytes)) in patterns.iter().zip(metadata_ranges) {
        at = at.next_multiple_of(ALIGNMENT);
        for number in [at, pattern.values.len(), metadata_from, metadata_bytes] {
            index.extend((number as u64).to_le_bytes());
        }
        index.extend(pattern.metadata.start.to_le_bytes());
        index.extend(pattern.metadata.end.to_le_bytes());
        index.extend(part_name(&pattern.values).as_bytes());
        at += 8 * pattern.values.len();
    }

    let mut file = Vec::with_capacity(at);
    file.extend(MAGIC);
    file.extend(VERSION.to_le_bytes());
    file.extend((HEADER_BYTES as u32).to_le_bytes());
    let sections = [HEADER_BYTES, index.len(), metadata_at, metadata.len(), values_at, at - values_at];
    for number in [at, patterns.len()].into_iter().chain(sections) {
        file.extend((number as u64).to_le_bytes());
    }
    debug_assert_eq!(file.len(), INDEX_HASH_AT);
    file.extend(ContentHash::of(&index).as_bytes());
    debug_assert_eq!(file.len(), METADATA_HASH_AT);
    file.extend(ContentHash::of(&metadata).as_bytes());
    file.resize(HEADER_HASHED_BYTES, 0);
    file.extend(ContentHash::of(&file).as_bytes());
    file.extend(index);
    file.extend(metadata);
    file.resize(values_at, 0);
    for pattern in patterns {
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        pattern.values.iter().for_each(|value| file.extend(value.to_le_bytes()));
    }
    debug_assert_eq!(file.len(), at);
    Ok(file)
}

fn check(pattern: usize, Pattern { metadata, values }: &Pattern) -> Result<(), EncodeError> {
    let &Metadata { start, end, .. } = metadata;
    if values.is_empty() {
        return Err(EncodeError::NoValues { pattern });
    }
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(EncodeError::NotFinite { pattern, index });
    }
    if end < start {
        return Err(EncodeError::EndsBeforeStart { pattern, start, end });
    }
    let count = metadata.attributes.len();
    if count > ATTRIBUTES_MAX {
        return Err(EncodeError::TooManyAttributes { pattern, count });
    }
    Ok(())
}

fn write_metadata(bytes: &mut Vec<u8>, pattern: usize, metadata: &Metadata) -> Result<(), EncodeError> {
    let write = |bytes: &mut Vec<u8>, what, text: &str| {
        let length = u16::try_from(text.len()).map_err(|_| EncodeError::TextTooLong {
            pattern,
            what,
            bytes: text.len(),
        })?;
        bytes.extend(length.to_le_bytes());
        bytes.extend(text.as_bytes());
        Ok(())
    };
    write(bytes, "name", &metadata.name)?;
    write(bytes, "label", &metadata.label)?;
    // `check` has seen that they are not more.
    bytes.extend((metadata.attributes.len() as u16).to_le_bytes());
    for (key, value) in &metadata.attributes {
        write(bytes, "key of an attribute", key)?;
        write(bytes, "value of an attribute", value)?;
    }
    Ok(())
}
