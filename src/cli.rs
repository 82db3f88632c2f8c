//! The commands of `swarm`, one file each.
//!
//! To add a command: a file `cli/<command>.rs` with its arguments and a
//! `run(self, output: Output) -> Result<(), CliError>`, a variant of [`Command`], an arm in [`run`].
//! A command prints its result through [`Output`], so data alone reaches stdout, and every error
//! leaves as a [`CliError`], which knows the exit code.

mod agents;
mod bench;
mod ca;
mod cancel;
mod completions;
mod config;
mod correlate;
mod error;
mod foreground;
mod logging;
mod matching;
mod node;
mod number;
mod operator;
mod output;
mod signals;
mod status;
mod submit;
mod system;
mod tasks;
mod up;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use error::CliError;
use output::Output;

/// Actors that live on many machines, and the work they do, from the shell.
#[derive(Debug, Parser)]
#[command(
    name = "swarm",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 the job failed or its output cannot be written, 2 wrong usage, 65 bad or missing input data, 69 a peer cannot be reached or another process has the identity, \
                  70 a node no longer does what it is there for, 75 try again later, 77 not permitted, 78 bad configuration, 130 or 143 stopped by a signal"
)]
struct Cli {
    /// How results are printed on stdout
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare, classify and search time series by dynamic time warping
    #[command(subcommand)]
    Match(matching::Match),
    /// Compare all series of a table with each other: correlations, common subsequences, warping
    Correlate(correlate::Correlate),
    /// Start a whole swarm on this machine, do its jobs, stop it
    Up(up::Up),
    /// Run one node of a swarm
    Node(node::NodeCommand),
    /// Keep the certificate authority of a cluster
    ///
    /// An authority is a folder, its owner's alone: `authority.pem` for everyone, `authority.key.pem`, the
    /// register `register.txt`, and `revoked.pem`, the signed list of what was revoked, for every node. An
    /// identity is a folder with `node.pem`, `node.key.pem`, `authority.pem` and `revoked.pem`.
    #[command(subcommand)]
    Ca(ca::Ca),
    /// Show what a running coordinator sees of itself
    Status(status::StatusCommand),
    /// List the agents that a running coordinator can give work
    Agents(agents::Agents),
    /// List the tasks of a running coordinator, and those that have ended lately
    Tasks(tasks::Tasks),
    /// Cancel a task of a running coordinator, of any operator
    Cancel(cancel::Cancel),
    /// Hand a task to a running coordinator, wait for it, print its result
    Submit(submit::Submit),
    /// Check configuration files
    #[command(subcommand)]
    Config(config::Config),
    /// Measure this machine, each figure beside its floor in the same run
    #[command(subcommand)]
    Bench(bench::Bench),
    /// The other process of `bench messaging`
    #[command(hide = true)]
    BenchResponder,
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// Runs the command that the process was started with; wrong usage ends the process with exit 2.
pub(crate) fn run() -> Result<(), CliError> {
    let matches = number::negative_ones_are_values(Cli::command()).get_matches();
    let Cli { output, command } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match command {
        Command::Match(command) => command.run(output),
        Command::Correlate(command) => command.run(output),
        Command::Up(command) => command.run(output),
        Command::Node(command) => command.run(),
        Command::Ca(command) => command.run(output),
        Command::Status(command) => command.run(output),
        Command::Agents(command) => command.run(output),
        Command::Tasks(command) => command.run(output),
        Command::Cancel(command) => command.run(output),
        Command::Submit(command) => command.run(output),
        Command::Config(command) => command.run(output),
        Command::Bench(command) => command.run(output),
        Command::BenchResponder => bench::respond(),
        Command::Completions(command) => command.run(),
    }
}
