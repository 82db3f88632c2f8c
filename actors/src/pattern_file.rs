//! A file of patterns on disk, mapped into memory; its layout is [`swarm_protocols::pattern_file`].
//!
//! ```no_run
//! use swarm_actors::pattern_file::{Metadata, Pattern, PatternFile};
//! use swarm_kernels::Band;
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let metadata = Metadata { name: "SPY".into(), start: 20130102, end: 20130107, ..Metadata::default() };
//! PatternFile::write("flags.patterns".as_ref(), &[Pattern { metadata, values: vec![1.0, 3.0, 2.0, 4.0] }])?;
//!
//! let file = PatternFile::open("flags.patterns".as_ref())?;
//! let patterns = file.nearest_neighbour(Band::Points(1))?;
//! for nearest in patterns.nearest(&[10.0, 31.0, 22.0, 40.0], 5)? {
//!     println!("{} {}", file.entries()[nearest.index].metadata.name, nearest.distance_squared.sqrt());
//! }
//! # Ok(())
//! # }
//! ```

mod disk;

use std::{
    borrow::Cow,
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use swarm_kernels::{Band, KernelError, NearestNeighbour};
pub use swarm_protocols::pattern_file::{EncodeError, Entry, FormatError, Metadata, Pattern};
use swarm_protocols::{
    Blob,
    pattern_file::{Catalogue, encode},
    series_group::{InvalidGroup, SeriesGroup},
};

/// The longest file that is read instead of mapped.
pub const READ_BYTES_MAX: u64 = 1 << 30;

/// Why a file of patterns cannot be opened or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatternFileError {
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else than patterns, or was damaged.
    #[error("{} cannot be read: {source}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and where.
        source: FormatError,
    },
    /// A file that may be changed is read, not mapped, and it is too long for that.
    #[error(
        "{} has {bytes} bytes, too many to be read; take away the right to write it, so that it can be mapped",
        path.display()
    )]
    TooLargeToRead {
        /// Which file.
        path: PathBuf,
        /// How long it is.
        bytes: u64,
    },
    /// A pattern does not fit the format.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl PatternFileError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

/// Patterns in an open file.
///
/// A file that nobody may write, and that belongs to the user of this process or to root, is mapped: its values are used
/// where they lie, and memory holds what is in use. Any other file is read, up to [`READ_BYTES_MAX`], because a mapped
/// file that someone cuts off ends the process with SIGBUS, and one that someone changes changes its values after they
/// were checked. [`write`](Self::write) makes files that nobody may write, and replaces them whole, which leaves those
/// who have the old one open with the old one. What is left is an owner who takes back the right to write and then
/// changes the file in place: nobody should.
pub struct PatternFile {
    bytes: FileBytes,
    catalogue: Catalogue,
}

enum FileBytes {
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl FileBytes {
    fn all(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Read(bytes) => bytes,
        }
    }
}

impl PatternFile {
    /// Opens a file and checks every byte of it, so that nothing can go wrong later. Takes as long as reading and hashing
    /// it.
    ///
    /// # Errors
    /// When it cannot be read, or is not what [`write`](Self::write) made of some patterns.
    pub fn open(path: &Path) -> Result<Self, PatternFileError> {
        let io_error = |error| PatternFileError::io("open", path)(error);
        // Asked by name first: opening a pipe would wait for a writer.
        if !fs::metadata(path).map_err(io_error)?.is_file() {
            return Err(io_error(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")));
        }
        let mut file = File::open(path).map_err(io_error)?;
        let metadata = file.metadata().map_err(io_error)?;
        let bytes = if disk::is_settled(&metadata) {
            // SAFETY: the bytes of the map must not change while it lives. Nobody may write the file, its owner is the
            // user of this process or root, and this program only ever replaces such files by others under their name.
            FileBytes::Mapped(unsafe { Mmap::map(&file) }.map_err(io_error)?)
        } else {
            FileBytes::Read(read(&mut file, path, metadata.len())?)
        };
        let catalogue = Catalogue::read(bytes.all())
            .map_err(|source| PatternFileError::Format { path: path.to_owned(), source })?;
        Ok(Self { bytes, catalogue })
    }

    /// Writes a file of these patterns, in place of one that is there. It gets its name once all of it is on disk, and
    /// nobody has the right to change it.
    ///
    /// # Errors
    /// When a pattern does not fit the format, or the file cannot be written; then one that was there is still there.
    pub fn write(path: &Path, patterns: &[Pattern]) -> Result<(), PatternFileError> {
        let bytes = encode(patterns)?;
        disk::replace(path, &bytes).map_err(PatternFileError::io("write", path))
    }

    /// What is known of the patterns, in the order in which they were written.
    pub fn entries(&self) -> &[Entry] {
        self.catalogue.entries()
    }

    /// The values of the pattern at `index`.
    ///
    /// # Panics
    /// When there are not that many.
    pub fn values(&self, index: usize) -> Cow<'_, [f64]> {
        self.entries()[index].values(self.bytes.all())
    }

    /// The pattern at `index` as a part, to be stored with agents that do not hold it yet; its name is the
    /// [`part`](Entry::part) of its entry.
    ///
    /// # Errors
    /// When it is too long for a part, or a value is too large for one.
    ///
    /// # Panics
    /// When there are not that many.
    pub fn part(&self, index: usize) -> Result<Blob, InvalidGroup> {
        Ok(SeriesGroup::of_one(self.values(index).into_owned())?.encode())
    }

    /// Whether the file is mapped into memory, rather than read.
    pub fn is_mapped(&self) -> bool {
        matches!(self.bytes, FileBytes::Mapped(_))
    }

    /// Makes the patterns ready for being searched by z-normalised dynamic time warping, within a band that is the same
    /// for all; the answers are exact, and their indices those of [`entries`](Self::entries). Takes three times the
    /// memory of the values.
    ///
    /// # Errors
    /// When there is no pattern, or one has a value that is too large for a kernel.
    pub fn nearest_neighbour(&self, band: Band) -> Result<NearestNeighbour, KernelError> {
        let all: Vec<Cow<'_, [f64]>> = (0..self.entries().len()).map(|index| self.values(index)).collect();
        NearestNeighbour::new(&all, band)
    }
}

impl fmt::Debug for PatternFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatternFile")
            .field("patterns", &self.entries().len())
            .field("bytes", &self.bytes.all().len())
            .field("is_mapped", &self.is_mapped())
            .finish()
    }
}

fn read(file: &mut File, path: &Path, bytes: u64) -> Result<Vec<u8>, PatternFileError> {
    let mut contents = Vec::new();
    // It may grow meanwhile.
    file.take(READ_BYTES_MAX + 1).read_to_end(&mut contents).map_err(PatternFileError::io("read", path))?;
    if contents.len() as u64 > READ_BYTES_MAX {
        return Err(PatternFileError::TooLargeToRead { path: path.to_owned(), bytes });
    }
    Ok(contents)
}

// Rights of files are those of Unix.
#[cfg(test)]
#[cfg(unix)]
mod tests;
