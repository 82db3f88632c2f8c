//! `swarm config check FILE`.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::error::{CliError, Exit};
use super::node::{authority, identity};
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
        // The environment goes before a node file here as it would when the node starts.
        let overrides = Overrides::default().or_environment()?;
        match check(&file, overrides) {
            Ok(None) => output.print(&Checked { valid: true, errors: Vec::new() }),
            Ok(Some(node)) => match identity(&file, &node).and_then(|identity| authority(&node, &identity)) {
                Ok(_) => output.print(&Checked { valid: true, errors: Vec::new() }),
                Err(error) => {
                    let fault = Fault::of_whole(&file, &error);
                    output.print(&Checked { valid: false, errors: vec![fault] })?;
                    Err(error)
                }
            },
            Err(error) => {
                // The sentence for people goes to stderr in either form.
                let sentence = CliError::from(&error);
                if let ConfigError::Invalid(errors) = error {
                    output.print(&Checked { valid: false, errors })?;
                }
                Err(sentence)
            }
        }
    }
}

impl From<&ConfigError> for CliError {
    fn from(error: &ConfigError) -> Self {
        Self::new(Exit::BadConfiguration, error)
    }
}

impl From<BadVariable> for CliError {
    fn from(error: BadVariable) -> Self {
        Self::new(Exit::BadConfiguration, error)
    }
}

/// Checks a file as what its content says it is. What a node file names is left to check.
fn check(file: &Path, overrides: Overrides) -> Result<Option<NodeFile>, ConfigError> {
    let text = read_text(file)?;
    let mut document = Document::new(file, &text);
    let sections = document.sections()?;
    // The number of cores decides about no fault.
    let cores = NonZeroUsize::MIN;
    match sections.form() {
        Some(Form::Topology) => Topology::parse(&mut document, sections, cores).map(|_| None),
        Some(Form::Node) => NodeFile::parse(&mut document, sections, overrides, cores).map(Some),
        None => {
            let message = "neither a topology, which has [[nodes]], nor a node file, which has `role`";
            match sections.first_tables() {
                Some((key, span)) => document.fault(span, format_args!("`{key}` is not known: {message}")),
                None => document.fault(0..0, message),
            }
            document.so_far().map(|()| None)
        }
    }
}
