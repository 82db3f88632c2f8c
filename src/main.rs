//! The command line of actix-swarm: `swarm <command>`.

mod bench;
mod cli;
mod input;
mod listing;
mod plot;
mod stderr;
mod swarm;
#[cfg(test)]
#[path = "../actors/src/temp_folder.rs"]
mod temp_folder;

use std::process::ExitCode;
use std::time::Duration;

/// How long the last words of a process may take.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => {
            stderr::flush(LAST_WORDS_MAX);
            ExitCode::SUCCESS
        }
        Err(error) => {
            stderr::finish(&format!("swarm: {error}\n"), LAST_WORDS_MAX);
            error.exit().into()
        }
    }
}
