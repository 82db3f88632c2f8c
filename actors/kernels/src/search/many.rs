//! Several queries over one series at once.

use super::{Found, Pass, Search};
use crate::input::{KernelError, Series, check};

/// Runs several searches over one series; the answers are those of [`Search::run`] one by one, in the same order.
///
/// Queries of one length share the statistics of the windows, and those with the same band the envelope of the series.
/// Blocks of the series are taken through all of them while they are in the cache. What can be saved is what the
/// searches have in common, not their distances: a search that is pruned well gains most. In a million points of a random
/// walk 16 queries of 128 points took two thirds of the time one by one, those of 512 points seven eighths, and nothing is
/// gained for a single one. The searches' own checks are asked as if they ran alone, and one that is cancelled ends all.
///
/// ```
/// use swarm_kernels::{Search, search};
/// let series: Vec<f64> = (0..500).map(|i| (f64::from(i) / 9.0).sin() + f64::from(i) / 1e3).collect();
/// let searches = [Search::new(&series[100..150], 5)?, Search::new(&series[300..330], 3)?.top(2)];
/// let found = search::run_all(&searches, &series)?;
/// assert_eq!((found[0].matches[0].start, found[1].matches[0].start), (100, 300));
/// # Ok::<(), swarm_kernels::KernelError>(())
/// ```
pub fn run_all(searches: &[Search<'_>], series: &[f64]) -> Result<Vec<Found>, KernelError> {
    check(Series::Searched, series)?;
    if let Some(search) = searches.iter().find(|search| search.query.len() > series.len()) {
        return Err(KernelError::QueryTooLong { query: search.query.len(), series: series.len() });
    }
    // Those that share a pass are neighbours in this order.
    let shape = |search: &Search<'_>| (search.query.len(), search.half_width, search.simd);
    let mut order: Vec<usize> = (0..searches.len()).filter(|&index| searches[index].top > 0).collect();
    order.sort_by_key(|&index| shape(&searches[index]));
    let mut found = vec![Found::default(); searches.len()];
    for members in order.chunk_by(|&a, &b| shape(&searches[a]) == shape(&searches[b])) {
        let mut passes: Vec<Pass<'_>> =
            members.iter().map(|&member| Pass::new(&searches[member], series)).collect();
        Pass::run(&mut passes)?;
        for (&member, pass) in members.iter().zip(passes) {
            found[member] = pass.found();
        }
    }
    Ok(found)
}
