//! The actix system of a command.

use std::future::Future;
use std::io;

use super::error::{CliError, Exit};

/// How many files a system opens before it can report that it cannot: it panics instead. A few more than
/// it takes are asked for, since what runs on it opens some as well.
#[cfg(unix)]
const FILES: usize = 16;

/// Runs `main` on an actix system in this thread, which serves its network and its actors too.
///
/// Work that still runs on worker threads afterwards is left alone: the process is about to end, and
/// nobody waits for the outcome.
pub(super) fn block_on<T>(main: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    files_can_be_opened().map_err(|error| {
        CliError::new(Exit::Failed, format_args!("cannot open enough files, see `ulimit -n`: {error}"))
    })?;
    let system = actix_rt::System::new();
    let outcome = system.block_on(main);
    // Dropping the runtime would wait for those threads.
    std::mem::forget(system);
    outcome
}

#[cfg(unix)]
fn files_can_be_opened() -> io::Result<()> {
    use std::os::fd::AsFd;
    let stdin = io::stdin();
    (0..FILES).map(|_| stdin.as_fd().try_clone_to_owned()).collect::<io::Result<Vec<_>>>().map(drop)
}

#[cfg(not(unix))]
fn files_can_be_opened() -> io::Result<()> {
    Ok(())
}
