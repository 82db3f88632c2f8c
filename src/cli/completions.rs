//! `swarm completions`: a completion script made from the command line's own definition.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::error::CliError;
use super::output::on_stdout;

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell that is to complete `swarm`
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let mut script = Vec::new();
        // Into memory first: the generator panics when its writer fails.
        clap_complete::generate(self.shell, &mut Cli::command(), "swarm", &mut script);
        on_stdout(|stdout| stdout.write_all(&script))
    }
}
