//! Configuration files: TOML in which every fault has a place and all faults are found at once.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use super::words::{TABLE, plain};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use swarm_protocols::{printable, visible};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// The largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How many faults are told of one by one.
const FAULTS_MAX: usize = 100;

/// What is wrong at one place of a configuration file. Line and column count from 1, the column in
/// characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl Fault {
    /// What is wrong with a file as a whole.
    pub(crate) fn of_whole(file: &Path, message: impl fmt::Display) -> Self {
        Place::START.fault(file, message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// Why a configuration file is not used: everything that was found wrong in it, in its order.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {file}: {cause}")]
    Unreadable { file: String, cause: io::Error },
    #[error("{}", lines(.0))]
    Invalid(Vec<Fault>),
}

impl ConfigError {
    /// What is wrong, one by one.
    pub(crate) fn into_faults(self) -> Vec<Fault> {
        match self {
            Self::Unreadable { file, cause } => {
                vec![Fault::of_whole(Path::new(&file), format_args!("cannot read: {cause}"))]
            }
            Self::Invalid(faults) => faults,
        }
    }
}

fn lines(faults: &[Fault]) -> String {
    match faults {
        [fault] => fault.to_string(),
        _ => {
            let mut text = "several faults".to_owned();
            for fault in faults {
                text.push('\n');
                text += &fault.to_string();
            }
            text
        }
    }
}

/// The text of a configuration file.
pub(crate) fn read_text(file: &Path) -> Result<String, ConfigError> {
    let mut text = Vec::new();
    let read = File::open(file).and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_end(&mut text));
    let cause = match read {
        Ok(bytes) if bytes as u64 <= FILE_BYTES_MAX => {
            let text = String::from_utf8(text).map_err(|error| not_utf8(file, &error))?;
            // A byte-order mark is no column.
            return Ok(text.trim_start_matches('\u{feff}').to_owned());
        }
        Ok(_) => io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 MiB is no configuration"),
        Err(cause) => cause,
    };
    Err(ConfigError::Unreadable { file: file.display().to_string(), cause })
}

fn not_utf8(file: &Path, error: &FromUtf8Error) -> ConfigError {
    let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
    let mut place = Place::START;
    place.pass(&valid);
    ConfigError::Invalid(vec![place.fault(file, "the text is not valid UTF-8, save it in that encoding")])
}

/// A configuration file and what was found wrong in it so far.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    file: &'t Path,
    text: &'t str,
    /// Byte offsets and messages.
    faults: Vec<(usize, String)>,
}

impl<'t> Document<'t> {
    pub(crate) fn new(file: &'t Path, text: &'t str) -> Self {
        Self { file, text, faults: Vec::new() }
    }

    /// A path of this file: paths are relative to the folder that holds it.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Notes that something is wrong at `span`.
    pub(crate) fn fault(&mut self, span: Range<usize>, message: impl fmt::Display) {
        self.faults.push((span.start, message.to_string()));
    }

    /// Finds fault with values that were there before.
    pub(crate) fn find_duplicates<'a, T: Ord + fmt::Display + 'a>(
        &mut self,
        values: impl Iterator<Item = &'a Spanned<T>>,
        of: &str,
    ) {
        let mut seen = BTreeSet::new();
        for value in values {
            if !seen.insert(value.get_ref()) {
                self.fault(value.span(), format_args!("two {of} are called {}", value.get_ref()));
            }
        }
    }

    /// What is wrong at `span`, for an error that is found once the file has been read.
    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        let mut place = Place::START;
        place.pass(self.text.get(..span.start).unwrap_or_default());
        place
    }

    fn toml_fault(&mut self, error: &toml::de::Error, fallback: Range<usize>) {
        // The parser puts what it expected on a line of its own.
        let message = printable(&plain(&error.message().replace('\n', ", "), TABLE));
        self.fault(error.span().unwrap_or(fallback), message);
    }

    /// The top-level keys of the file.
    pub(crate) fn sections(&mut self) -> Result<Sections<'t>, ConfigError> {
        if self.text.trim_ascii_start().starts_with('{') {
            self.fault(0..0, "expected TOML, found `{`: a task file in JSON is for `swarm submit`");
            self.so_far()?;
        }
        let (table, errors) = DeTable::parse_recoverable(self.text);
        errors.iter().for_each(|error| self.toml_fault(error, 0..0));
        self.so_far()?;
        Ok(Sections { table: table.into_inner() })
    }

    /// An error when something has been found wrong.
    pub(crate) fn so_far(&mut self) -> Result<(), ConfigError> {
        let mut faults = std::mem::take(&mut self.faults);
        if faults.is_empty() {
            return Ok(());
        }
        faults.sort_by_key(|(offset, _)| *offset);
        let more = faults.len().saturating_sub(FAULTS_MAX);
        if let Some((_, first_left_out)) = faults.get_mut(FAULTS_MAX) {
            *first_left_out = format!("and {more} more faults from here on");
            faults.truncate(FAULTS_MAX + 1);
        }
        let mut place = Place::START;
        let mut read = 0;
        let place_of = |(offset, message): (usize, String)| {
            // In their order, so that the text is read once.
            place.pass(self.text.get(read..offset).unwrap_or_default());
            read = offset;
            place.fault(self.file, message)
        };
        Err(ConfigError::Invalid(faults.into_iter().map(place_of).collect()))
    }
}

/// A place in a text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    line: usize,
    column: usize,
}

impl Place {
    /// The beginning of a file, which stands for the whole of it.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    /// A fault at this place of a file.
    pub(crate) fn fault(self, file: &Path, message: impl fmt::Display) -> Fault {
        let Self { line, column } = self;
        Fault { file: file.display().to_string(), line, column, message: message.to_string() }
    }

    fn pass(&mut self, text: &str) {
        match text.rfind('\n') {
            Some(newline) => {
                self.line += text.matches('\n').count();
                self.column = text[newline + 1..].chars().count() + 1;
            }
            None => self.column += text.chars().count(),
        }
    }
}

/// The top-level keys of a file, taken out one by one, so that a fault in one does not hide those
/// in the others.
pub(crate) struct Sections<'t> {
    table: DeTable<'t>,
}

/// What a configuration file describes, and which command runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Topology,
    Node,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Topology => "a topology, which `swarm up` runs",
            Form::Node => "a node file, which `swarm node --config` runs",
        })
    }
}

/// What a node file may say.
pub(super) const NODE_KEYS: [&str; 11] = [
    "name",
    "role",
    "listen",
    "identity",
    "log",
    "memory_mib",
    "agent_type",
    "workers",
    "connect",
    "reconnect_seconds",
    "authority",
];

impl<'t> Sections<'t> {
    /// What the file describes, as its keys say.
    pub(crate) fn form(&self, document: &mut Document<'_>) -> Result<Form, ConfigError> {
        let has_one_of = |keys: &[&str]| keys.iter().any(|key| self.table.contains_key(*key));
        if has_one_of(&["nodes", "jobs"]) {
            return Ok(Form::Topology);
        }
        if has_one_of(&["role", "identity"]) {
            return Ok(Form::Node);
        }
        let message = "neither a topology, which has [[nodes]], nor a node file, which has `role`";
        let unknown = self.table.keys().filter(|key| !NODE_KEYS.contains(&key.get_ref().as_ref()));
        match unknown.min_by_key(|key| key.span().start) {
            Some(key) => {
                let name = printable(key.get_ref());
                document.fault(key.span(), format_args!("`{name}` is not known: {message}"));
            }
            None => document.fault(0..0, message),
        }
        Err(document.so_far().expect_err("there is a fault"))
    }

    /// Refuses a file that describes something else, before its keys are found to be unknown one by one.
    pub(crate) fn expect(&self, expected: Form, document: &mut Document<'_>) -> Result<(), ConfigError> {
        let found = self.form(document)?;
        if found != expected {
            document.fault(0..0, format_args!("this is {found}; expected is {expected}"));
        }
        document.so_far()
    }

    /// The value of a key that must be there.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &str, document: &mut Document<'_>) -> Option<T> {
        if !self.table.contains_key(key) {
            document.fault(0..0, format_args!("`{key}` is missing"));
        }
        self.take_optional(key, document)
    }

    /// The value of a key that may be left out.
    pub(crate) fn take_optional<T: DeserializeOwned>(
        &mut self,
        key: &str,
        document: &mut Document<'_>,
    ) -> Option<T> {
        read(self.table.remove(key)?, document)
    }

    /// The tables of an array `[[key]]`, without those that are faulty.
    pub(crate) fn take_tables<T: DeserializeOwned>(
        &mut self,
        key: &str,
        document: &mut Document<'_>,
    ) -> Vec<T> {
        let tables = self.take_values(key, document);
        tables.into_iter().filter_map(|table| read(table, document)).collect()
    }

    /// The tables of an array `[[key]]` as they are.
    pub(crate) fn take_values(
        &mut self,
        key: &str,
        document: &mut Document<'_>,
    ) -> Vec<Spanned<DeValue<'t>>> {
        let Some(value) = self.table.remove(key) else { return Vec::new() };
        let span = value.span();
        match value.into_inner() {
            DeValue::Array(tables) => tables.into_iter().collect(),
            other => {
                let found = other.type_str();
                document.fault(
                    span,
                    format_args!("tables [[{key}]] are expected, found is a value of type {found}"),
                );
                Vec::new()
            }
        }
    }

    /// Finds fault with every key that nobody took.
    pub(crate) fn finish(self, expected: &str, document: &mut Document<'_>) {
        for key in self.table.keys() {
            document
                .fault(key.span(), format_args!("unknown key `{}`, expected are {expected}", key.get_ref()));
        }
    }
}

/// A value as a `T`, or a fault.
pub(crate) fn read<T: DeserializeOwned>(
    value: Spanned<DeValue<'_>>,
    document: &mut Document<'_>,
) -> Option<T> {
    let span = value.span();
    match T::deserialize(ValueDeserializer::from(value)) {
        Ok(value) => Some(value),
        Err(error) => {
            document.toml_fault(&error, span);
            None
        }
    }
}

/// A name for people: 1 to 63 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Title(String);

impl TryFrom<String> for Title {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let valid = (1..=63).contains(&text.chars().count()) && text.chars().all(|c| visible(c) == c);
        if valid { Ok(Self(text)) } else { Err("1 to 63 printable characters are expected".to_owned()) }
    }
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
