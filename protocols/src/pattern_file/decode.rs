//! From the bytes of a file to what is in it, believing nothing.

use super::{
    ALIGNMENT, ENTRY_BYTES, HEADER_BYTES, HEADER_HASHED_BYTES, INDEX_HASH_AT, MAGIC, METADATA_HASH_AT,
    Metadata, PATTERNS_MAX, VERSION,
};
use crate::{ContentHash, series_group::SeriesGroup};
use std::{borrow::Cow, collections::BTreeMap, fmt, ops::Range};

/// A part of the file that has a checksum of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The first 192 bytes.
    Header,
    /// The entries of the patterns.
    Index,
    /// Names, labels and attributes.
    Metadata,
    /// The values of the pattern with this index.
    Values(usize),
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the header"),
            Self::Index => f.write_str("the index"),
            Self::Metadata => f.write_str("the metadata"),
            Self::Values(pattern) => write!(f, "the values of pattern {pattern}"),
        }
    }
}

/// Why bytes are no file of patterns. Offsets count from the first byte of the file, patterns from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Fewer bytes than a header has.
    #[error("it has {bytes} bytes, fewer than the {HEADER_BYTES} of a header")]
    TooShort {
        /// How many there are.
        bytes: usize,
    },
    /// Something else begins otherwise.
    #[error("it does not begin with SWARMPAT, so it is no file of patterns")]
    NotPatterns,
    /// Written by a later release.
    #[error("it has version {version} of the format; this program reads {VERSION}")]
    Version {
        /// The version in the file.
        version: u32,
    },
    /// The file was cut off, or something was added to it.
    #[error("its header speaks of {expected} bytes, but it has {bytes}")]
    Length {
        /// Length by the header.
        expected: u64,
        /// Length of the file.
        bytes: usize,
    },
    /// Bytes differ from those that were written.
    #[error("the checksum of {section} at byte {offset} is wrong")]
    Checksum {
        /// What was changed.
        section: Section,
        /// Where it begins.
        offset: usize,
    },
    /// The checksums hold, but the content is not what a writer makes.
    #[error("at byte {offset} is not {expected}")]
    Unexpected {
        /// Where it is.
        offset: usize,
        /// What should be there.
        expected: &'static str,
    },
}

/// A pattern of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is known of it.
    pub metadata: Metadata,
    /// What agents call its values as a part: a [`SeriesGroup`] of one.
    pub part: ContentHash,
    /// Where in the file its values are.
    pub(super) values: Range<usize>,
}

impl Entry {
    /// How many values it has.
    pub fn len(&self) -> usize {
        self.values.len() / 8
    }

    /// Never: every pattern has a value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Its values in the bytes of the file that it was read from: the bytes themselves where these are aligned and the
    /// machine is little-endian.
    ///
    /// # Panics
    /// When the bytes are fewer than those that it was read from.
    pub fn values<'b>(&self, file: &'b [u8]) -> Cow<'b, [f64]> {
        let bytes = &file[self.values.clone()];
        match bytemuck::try_cast_slice(bytes) {
            Ok(values) if cfg!(target_endian = "little") => Cow::Borrowed(values),
            _ => {
                let (doubles, _) = bytes.as_chunks::<8>();
                Cow::Owned(doubles.iter().map(|double| f64::from_le_bytes(*double)).collect())
            }
        }
    }
}

/// What is in a file of patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    entries: Vec<Entry>,
}

impl Catalogue {
    /// Reads and checks the bytes of a file: every one of them, the values included.
    ///
    /// # Errors
    /// Says what is wrong, and where.
    pub fn read(file: &[u8]) -> Result<Self, FormatError> {
        let header = Header::read(file)?;
        let mut reader = Reader { file, at: header.metadata.start, end: header.metadata.end };
        // Where the next values begin, if the writer left no byte out.
        let mut values_end = header.metadata.end;
        let mut entries = Vec::with_capacity(header.index.len() / ENTRY_BYTES);
        for at in header.index.clone().step_by(ENTRY_BYTES) {
            let unexpected =
                |field: usize, expected| FormatError::Unexpected { offset: at + 8 * field, expected };
            let field = |field: usize| number(file, at + 8 * field);
            let values_at = values_end.next_multiple_of(ALIGNMENT);
            if field(0) != values_at as u64 {
                return Err(unexpected(0, "the offset that follows the values before"));
            }
            let bytes = usize::try_from(field(1)).ok().and_then(|points| points.checked_mul(8));
            let end = bytes.filter(|&bytes| bytes > 0).and_then(|bytes| values_at.checked_add(bytes));
            let Some(end) = end.filter(|&end| end <= file.len()) else {
                return Err(unexpected(1, "a number of values that fits into the file"));
            };
            check_zeros(file, values_end..values_at)?;
            if field(2) != reader.at as u64 {
                return Err(unexpected(2, "the offset that follows the metadata before"));
            }
            let metadata_at = reader.at;
            let (start, end_time) = (field(4).cast_signed(), field(5).cast_signed());
            if end_time < start {
                return Err(unexpected(5, "an end that is not before the start"));
            }
            let metadata = reader.metadata(start, end_time)?;
            if field(3) != (reader.at - metadata_at) as u64 {
                return Err(unexpected(3, "the length of the pattern's metadata"));
            }
            let part = SeriesGroup::name_of_one(&file[values_at..end]);
            if part.as_bytes()[..] != file[at + 48..at + ENTRY_BYTES] {
                return Err(FormatError::Checksum {
                    section: Section::Values(entries.len()),
                    offset: values_at,
                });
            }
            let (doubles, _) = file[values_at..end].as_chunks::<8>();
            if let Some(index) = doubles.iter().position(|double| !f64::from_le_bytes(*double).is_finite()) {
                return Err(FormatError::Unexpected {
                    offset: values_at + 8 * index,
                    expected: "a finite number",
                });
            }
            entries.push(Entry { metadata, part, values: values_at..end });
            values_end = end;
        }
        if reader.at != header.metadata.end {
            return Err(FormatError::Unexpected { offset: reader.at, expected: "the end of the metadata" });
        }
        if entries.is_empty() {
            let values_at = values_end.next_multiple_of(ALIGNMENT);
            check_zeros(file, values_end..values_at.min(file.len()))?;
            values_end = values_at;
        }
        if values_end != file.len() {
            return Err(FormatError::Unexpected { offset: values_end, expected: "the end of the file" });
        }
        Ok(Self { entries })
    }

    /// The patterns, in the order in which they were written.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// The sections, which follow each other and end within the file.
struct Header {
    index: Range<usize>,
    metadata: Range<usize>,
}

impl Header {
    fn read(file: &[u8]) -> Result<Self, FormatError> {
        if file.len() >= MAGIC.len() && file[..MAGIC.len()] != MAGIC {
            return Err(FormatError::NotPatterns);
        }
        if file.len() < HEADER_BYTES {
            return Err(FormatError::TooShort { bytes: file.len() });
        }
        let unexpected = |offset, expected| Err(FormatError::Unexpected { offset, expected });
        // The version first: a later one may have its checksum elsewhere.
        let [version, header_bytes] = [8, 12].map(|at| number(file, at) as u32);
        if version != VERSION {
            return Err(FormatError::Version { version });
        }
        check_hash(file, 0..HEADER_HASHED_BYTES, HEADER_HASHED_BYTES, Section::Header)?;
        if header_bytes as usize != HEADER_BYTES {
            return unexpected(12, "192, the length of the header");
        }
        if number(file, 16) != file.len() as u64 {
            return Err(FormatError::Length { expected: number(file, 16), bytes: file.len() });
        }
        let count = number(file, 24);
        if count > PATTERNS_MAX {
            return unexpected(24, "a number of patterns up to 2^24");
        }
        let index = HEADER_BYTES..HEADER_BYTES + count as usize * ENTRY_BYTES;
        let sections = [32, 40, 48, 56, 64, 72].map(|at| number(file, at));
        // All within the file, so that no sum overflows.
        if let Some(beyond) = sections.iter().position(|&number| number > file.len() as u64) {
            return unexpected(32 + 8 * beyond, "an offset or a length within the file");
        }
        let metadata_end = index.end + sections[3] as usize;
        let values_at = metadata_end.next_multiple_of(ALIGNMENT);
        let expected = [
            index.start as u64,
            index.len() as u64,
            index.end as u64,
            sections[3],
            values_at as u64,
            (file.len() as u64).saturating_sub(values_at as u64),
        ];
        if let Some(other) = sections.iter().zip(expected).position(|(&number, expected)| number != expected)
        {
            return unexpected(32 + 8 * other, "where or how long the section must be after those before it");
        }
        if file[144..HEADER_HASHED_BYTES] != [0; 16] {
            return unexpected(144, "16 bytes of 0");
        }
        if index.end > file.len() || metadata_end > file.len() {
            return unexpected(24, "a number of patterns that fit into the file");
        }
        let metadata = index.end..metadata_end;
        check_hash(file, index.clone(), INDEX_HASH_AT, Section::Index)?;
        check_hash(file, metadata.clone(), METADATA_HASH_AT, Section::Metadata)?;
        Ok(Self { index, metadata })
    }
}

/// Reads one pattern's metadata after the other.
struct Reader<'f> {
    file: &'f [u8],
    at: usize,
    end: usize,
}

impl Reader<'_> {
    fn metadata(&mut self, start: i64, end: i64) -> Result<Metadata, FormatError> {
        let (name, label) = (self.text()?, self.text()?);
        let mut attributes = BTreeMap::new();
        for _ in 0..self.count()? {
            let offset = self.at;
            let key = self.text()?;
            if attributes.last_key_value().is_some_and(|(before, _)| *before >= key) {
                return Err(FormatError::Unexpected {
                    offset,
                    expected: "a key that comes after the one before",
                });
            }
            attributes.insert(key, self.text()?);
        }
        Ok(Metadata { name, start, end, label, attributes })
    }

    fn text(&mut self) -> Result<String, FormatError> {
        let bytes = self.count()?;
        let offset = self.at;
        String::from_utf8(self.take(bytes)?.to_vec())
            .map_err(|_| FormatError::Unexpected { offset, expected: "text in UTF-8" })
    }

    fn count(&mut self) -> Result<usize, FormatError> {
        let bytes = self.take(2)?;
        Ok(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    }

    fn take(&mut self, bytes: usize) -> Result<&[u8], FormatError> {
        let taken = self.file[..self.end].get(self.at..self.at + bytes);
        let expected = "something of that length within the metadata";
        let taken = taken.ok_or(FormatError::Unexpected { offset: self.at, expected })?;
        self.at += bytes;
        Ok(taken)
    }
}

/// The `u64` at an offset that is within the header or the index.
fn number(file: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&file[at..at + 8]);
    u64::from_le_bytes(bytes)
}

fn check_hash(
    file: &[u8],
    hashed: Range<usize>,
    hash_at: usize,
    section: Section,
) -> Result<(), FormatError> {
    let offset = hashed.start;
    if ContentHash::of(&file[hashed]).as_bytes()[..] == file[hash_at..hash_at + 32] {
        Ok(())
    } else {
        Err(FormatError::Checksum { section, offset })
    }
}

fn check_zeros(file: &[u8], padding: Range<usize>) -> Result<(), FormatError> {
    match file[padding.clone()].iter().position(|&byte| byte != 0) {
        Some(index) => {
            Err(FormatError::Unexpected { offset: padding.start + index, expected: "a 0 of the padding" })
        }
        None => Ok(()),
    }
}
