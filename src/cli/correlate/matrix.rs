//! The matrix of all pairs, on the cores of this machine.

use std::num::NonZeroUsize;

use swarm_kernels::correlation::Pairs;
use swarm_kernels::{KernelError, Symmetric};

use crate::cli::foreground::{Watch, on_threads};

/// Parts do not depend on each other, so neither does the matrix on who computed what.
pub(super) fn of(pairs: &Pairs, threads: NonZeroUsize, watch: &Watch) -> Result<Symmetric<f64>, KernelError> {
    let partition = pairs.partition();
    watch.begin((0..partition.parts()).map(|part| partition.pairs_in(part)).sum());
    let parts = on_threads(partition.parts(), threads, |part| {
        let values = pairs.part(part, &|| watch.is_cancelled())?;
        watch.advance(partition.pairs_in(part));
        Ok(values)
    })?;
    Ok(partition.matrix(parts.iter().map(|(part, values)| (*part, values.as_slice()))))
}
