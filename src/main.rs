//! The command line of actix-swarm: `swarm <command>`.

mod bench;
mod cli;
mod input;
mod swarm;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr leaves nobody to tell; the exit code still says it.
            let _ = writeln!(std::io::stderr(), "swarm: {error}");
            error.exit().into()
        }
    }
}
