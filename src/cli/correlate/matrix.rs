//! The matrix of all pairs, on the cores of this machine.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use swarm_kernels::correlation::Pairs;
use swarm_kernels::{KernelError, Symmetric};

use crate::cli::foreground::Watch;

/// Each thread takes the next part until none is left. Parts do not depend on each other, so neither does the
/// matrix on who computed what.
pub(super) fn on_threads(
    pairs: &Pairs,
    threads: NonZeroUsize,
    watch: &Watch,
) -> Result<Symmetric<f64>, KernelError> {
    let partition = pairs.partition();
    watch.begin((0..partition.parts()).map(|part| partition.pairs_in(part)).sum());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= partition.parts() {
                return Ok(done);
            }
            done.push((part, pairs.part(part, &|| watch.is_cancelled())?));
            watch.advance(partition.pairs_in(part));
        }
    };
    let parts = thread::scope(|scope| {
        let threads = threads.get().min(partition.parts());
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut parts = Vec::new();
        for worker in workers {
            parts.extend(worker.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok::<_, KernelError>(parts)
    })?;
    Ok(partition.matrix(parts.iter().map(|(part, values)| (*part, values.as_slice()))))
}
