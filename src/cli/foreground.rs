//! Work of a command in this process: how far it is, on a terminal, and an end at once on a signal.

use std::io;
use std::iter;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::{CliError, Exit};
use super::output::elapsed;
use super::signals::Signals;
use crate::swarm::progress::Progress;

/// Work that is shorter shows nothing.
const SILENT_AT_FIRST: Duration = Duration::from_millis(500);

const BETWEEN_LINES: Duration = Duration::from_millis(200);

/// What the work tells of itself, and whether it should stop.
#[derive(Debug, Default)]
pub(super) struct Watch {
    cancelled: AtomicBool,
    begun: AtomicBool,
    done: AtomicUsize,
    total: AtomicUsize,
}

impl Watch {
    /// Whether nobody waits for the outcome any more.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// A stage of so many steps begins, of 0 where nobody counts them. Until the first one the input is read.
    pub(super) fn begin(&self, steps: usize) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(steps, Ordering::Relaxed);
        self.begun.store(true, Ordering::Relaxed);
    }

    /// So many steps more are done.
    pub(super) fn advance(&self, steps: usize) {
        self.done.fetch_add(steps, Ordering::Relaxed);
    }
}

/// Does `work`, called `name`, on a thread of its own until it is done or a signal comes.
///
/// A signal ends the command at once, whatever the work is at: it is told to stop, and not waited for.
pub(super) fn run<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce(&Watch) -> Result<T, CliError> + Send + 'static,
) -> Result<T, CliError> {
    let failed =
        |what| move |error: io::Error| CliError::new(Exit::Failed, format_args!("cannot {what}: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("watch for signals"))?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let watch = Arc::new(Watch::default());
        let (send, mut outcome) = oneshot::channel();
        let watched = Arc::clone(&watch);
        let worker = thread::Builder::new()
            .name(name.to_owned())
            // Who does not listen any more has no use for the outcome.
            .spawn(move || drop(send.send(work(&watched))))
            .map_err(failed("start a thread"))?;
        let mut progress = Progress::on_terminal();
        let started = Instant::now();
        loop {
            tokio::select! {
                outcome = &mut outcome => {
                    progress.clear();
                    return outcome.unwrap_or_else(|_| match worker.join() {
                        Err(panic) => resume_unwind(panic),
                        Ok(()) => unreachable!("a worker that ends has sent its outcome"),
                    });
                }
                signal = signals.next() => {
                    watch.cancelled.store(true, Ordering::Relaxed);
                    return Err(signal.into());
                }
                () = tokio::time::sleep(BETWEEN_LINES) => {
                    if started.elapsed() >= SILENT_AT_FIRST {
                        progress.stage(watch.so_far(name, started.elapsed()));
                    }
                }
            }
        }
    })
}

/// Does `work` for each index below `count`, on so many threads: each takes the next one until none is left, or its work
/// fails. Says what came of which index, in no order.
pub(super) fn on_threads<T: Send, E: Send>(
    count: usize,
    threads: NonZeroUsize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<(usize, T)>, E> {
    let next = AtomicUsize::new(0);
    let take = || {
        let indices = iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        indices.take_while(|index| *index < count).map(|index| Ok((index, work(index)?))).collect()
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.get().min(count)).map(|_| scope.spawn(take)).collect();
        let mut done = Vec::new();
        for worker in workers {
            let taken: Result<Vec<_>, E> = worker.join().unwrap_or_else(|panic| resume_unwind(panic));
            done.extend(taken?);
        }
        Ok(done)
    })
}

impl Watch {
    fn so_far(&self, name: &str, time: Duration) -> String {
        let name = if self.begun.load(Ordering::Relaxed) { name } else { "reading" };
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        let time = elapsed(time.as_secs_f64());
        // What is done of a stage that has just begun may belong to the one before.
        match (done.min(total) * 100).checked_div(total) {
            Some(percent) => format!("{name}: {percent} %, {time}"),
            None => format!("{name}: {time}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f13_no_work_is_told_of_while_the_input_is_read() {
        let (watch, time) = (Watch::default(), Duration::from_secs(2));
        let mut said = vec![watch.so_far("correlating", time)];
        for steps in [0, 4] {
            watch.begin(steps);
            watch.advance(1);
            said.push(watch.so_far("correlating", time));
        }
        assert_eq!(said, ["reading: 2.0 s", "correlating: 2.0 s", "correlating: 25 %, 2.0 s"]);
    }
}
