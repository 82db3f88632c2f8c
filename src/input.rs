//! Reading inputs: numbers, UCR rows and CSV columns, from files, gzip files and standard input.
//!
//! Everything is read line by line, so that a small gzip file cannot fill the memory: a line may have
//! 16 MiB, and what is kept of an input 512 MiB (a column of 67 million values), while the text around it
//! may be of any length. Every value is a finite number; a missing one is never skipped, and only a table may have any.

mod csv;
mod lines;
mod open;
mod rows;
mod table;
mod ucr;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use csv::column;
use lines::Lines;
pub(crate) use lines::quote;
pub(crate) use rows::{Row, Rows};
pub(crate) use table::{Gaps, Table, table};
pub(crate) use ucr::{LabelledSeries, ucr};

/// Where an input comes from: a file, or standard input for `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Stdin,
    File(PathBuf),
}

impl Source {
    /// Whether both name one file, through whatever links and relative paths.
    pub(crate) fn is_same_file(&self, other: &Source) -> bool {
        self == other || matches!((file_id(self.path()), file_id(other.path())), (Ok(a), Ok(b)) if a == b)
    }

    /// Whether both are one input that can be read once: standard input, or a pipe or terminal of whatever name.
    pub(crate) fn is_spent_by(&self, other: &Source) -> bool {
        let is_stream = || self.path().metadata().is_ok_and(|file| !file.is_file() && !file.is_dir());
        (self, other) == (&Source::Stdin, &Source::Stdin) || (self.is_same_file(other) && is_stream())
    }

    fn path(&self) -> &Path {
        match self {
            Source::Stdin => Path::new("/dev/stdin"),
            Source::File(path) => path,
        }
    }
}

/// What a file is, whatever it is called: hard links are equal too.
#[cfg(unix)]
fn file_id(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    path.metadata().map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn file_id(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize()
}

impl From<OsString> for Source {
    fn from(argument: OsString) -> Self {
        if argument == "-" { Source::Stdin } else { Source::File(argument.into()) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Stdin => f.write_str("standard input"),
            Source::File(path) => path.display().fmt(f),
        }
    }
}

/// Why an input cannot be used. Lines and columns count from 1, columns in characters.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("cannot read {input}: {cause}")]
    Unreadable { input: Source, cause: io::Error },
    #[error("{input}: {message}")]
    Whole { input: Source, message: String },
    #[error("{input}:{line}:{column}: {message}")]
    At { input: Source, line: usize, column: usize, message: String },
}

impl InputError {
    pub(crate) fn whole(input: &Source, message: impl Into<String>) -> Self {
        InputError::Whole { input: input.clone(), message: message.into() }
    }

    /// The same with more to say.
    fn and(self, more: impl fmt::Display) -> Self {
        let InputError::At { input, line, column, message } = self else { return self };
        InputError::At { input, line, column, message: format!("{message}{more}") }
    }

    pub(crate) fn at(input: &Source, line: usize, column: usize, message: impl Into<String>) -> Self {
        InputError::At { input: input.clone(), line, column, message: message.into() }
    }
}

/// Says what a person may not have meant, and goes on.
pub(crate) fn note(note: impl fmt::Display) {
    crate::swarm::progress::say(format_args!("swarm: note: {note}"));
}

/// The whole of an input that is a document.
pub(crate) fn text(input: &Source, bytes_max: u64) -> Result<String, InputError> {
    open::text(input, bytes_max)
}

/// Reads one number a line.
pub(crate) fn numbers(input: &Source) -> Result<Vec<f64>, InputError> {
    let mut lines = Lines::open(input)?;
    let mut values = Vec::new();
    while let Some(line) = lines.next()? {
        values.push(line.value(0, line.text)?);
        lines.keep(size_of::<f64>())?;
    }
    if values.is_empty() {
        return Err(InputError::whole(input, "is empty, expected one number a line"));
    }
    Ok(values)
}
