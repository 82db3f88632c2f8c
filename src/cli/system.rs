//! The actix system of a command.

use std::future::Future;

/// Runs `main` on an actix system in this thread, which serves its network and its actors too.
///
/// Work that still runs on worker threads afterwards is left alone: the process is about to end, and
/// nobody waits for the outcome.
pub(super) fn block_on<T>(main: impl Future<Output = T>) -> T {
    let system = actix_rt::System::new();
    let outcome = system.block_on(main);
    // Dropping the runtime would wait for those threads.
    std::mem::forget(system);
    outcome
}
