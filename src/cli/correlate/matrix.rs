//! The matrix of all pairs, on the cores of this machine.

use std::num::NonZeroUsize;
use std::ops::Range;

use swarm_kernels::correlation::Pairs;
use swarm_kernels::{KernelError, Symmetric};

use crate::cli::foreground::{Watch, on_threads};

/// Pairs do not depend on each other, so neither does the matrix on who computed what.
pub(super) fn of(
    pairs: &Pairs,
    blocks: &[Range<u64>],
    threads: NonZeroUsize,
    watch: &Watch,
) -> Result<Symmetric<f64>, KernelError> {
    watch.begin(pairs.order().pairs());
    let mut parts = on_threads(blocks.len(), threads, |at| {
        let block = blocks[at].start as usize..blocks[at].end as usize;
        let values = pairs.values(block.clone(), &|| watch.is_cancelled())?;
        watch.advance(block.len());
        Ok(values)
    })?;
    parts.sort_unstable_by_key(|(at, _)| *at);
    Ok(pairs.order().matrix(parts.into_iter().flat_map(|(_, values)| values)))
}
