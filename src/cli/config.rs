//! `swarm config check FILE`.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::error::{CliError, Exit};
use super::node::{Unusable, authority, identity};
use super::output::Output;
use crate::swarm::document::{ConfigError, Document, Fault, Form, read_text};
use crate::swarm::node_file::NodeFile;
use crate::swarm::node_options::{BadVariable, Overrides};
use crate::swarm::topology::Topology;

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check a topology or node file: what `swarm up` or `swarm node` would say before it starts
    Check {
        /// A file in TOML; one that has nodes is a topology
        file: PathBuf,
    },
}

/// What was found out about a file.
#[derive(Debug, Serialize)]
struct Checked {
    valid: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.valid { writeln!(f, "valid") } else { Ok(()) }
    }
}

impl Config {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let Config::Check { file } = self;
        match check(&file) {
            Ok(()) => output.print(&Checked { valid: true, errors: Vec::new() }),
            Err(Refused { sentence, errors }) => {
                // The sentence for people goes to stderr in either form.
                output.print(&Checked { valid: false, errors })?;
                Err(sentence)
            }
        }
    }
}

/// Why a file cannot be used.
struct Refused {
    sentence: CliError,
    errors: Vec<Fault>,
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Self {
        Self { sentence: CliError::from(&error), errors: error.into_faults() }
    }
}

impl From<Unusable> for Refused {
    fn from(Unusable { fault, exit }: Unusable) -> Self {
        Self { sentence: CliError::new(exit, &fault), errors: vec![fault] }
    }
}

impl From<BadVariable> for Refused {
    fn from(error: BadVariable) -> Self {
        Self { sentence: error.into(), errors: Vec::new() }
    }
}

impl From<&ConfigError> for CliError {
    fn from(error: &ConfigError) -> Self {
        let exit = match error {
            ConfigError::Unreadable { cause, .. } => Exit::of_io(cause, Exit::BadConfiguration),
            ConfigError::Invalid(_) => Exit::BadConfiguration,
        };
        Self::new(exit, error)
    }
}

impl From<BadVariable> for CliError {
    fn from(error: BadVariable) -> Self {
        Self::new(Exit::BadConfiguration, error)
    }
}

/// Checks a file as what its content says it is.
fn check(file: &Path) -> Result<(), Refused> {
    let text = read_text(file)?;
    let mut document = Document::new(file, &text);
    let sections = document.sections()?;
    // The number of cores decides about no fault.
    let cores = NonZeroUsize::MIN;
    match sections.form(&mut document)? {
        Form::Topology => drop(Topology::parse(&mut document, sections, cores)?),
        Form::Node => {
            // The environment goes before the file here as it would when the node starts.
            let overrides = Overrides::default().or_environment()?;
            let node = NodeFile::parse(&mut document, sections, overrides, cores)?;
            authority(file, &node, &identity(file, &node)?)?;
        }
    }
    Ok(())
}
