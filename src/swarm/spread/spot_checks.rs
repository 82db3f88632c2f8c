//! Computing values of answers again: an agent may lie.

use std::hash::{BuildHasher, RandomState};

use swarm_protocols::part::Impossible;

/// Cells of warping matrices that are computed again for all answers of a task together: about half a second.
const CELLS: u64 = 1 << 29;

/// The most values of one answer that are computed again.
const VALUES_MAX: usize = 32;

/// What another way of rounding may change in a value, relative to it where it is greater than 1.
const TOLERANCE: f64 = 1e-6;

/// How much of each answer is computed again.
pub(super) struct SpotChecks {
    cells: u64,
}

impl SpotChecks {
    /// For a task of so many answers.
    pub(super) fn of(answers: usize) -> Self {
        Self { cells: CELLS / answers.max(1) as u64 }
    }

    /// Which of `count` values of an answer, each of so many cells, are computed again: all where that is little work,
    /// else some that nobody can foresee. A value that is too much work is taken now and then, so that the work is bounded
    /// on average, and never where it alone is more than that of a task.
    pub(super) fn positions(&self, count: usize, cells: u64) -> Vec<usize> {
        // The keys of a hasher are random.
        let random = RandomState::new();
        let cells = cells.max(1);
        let affordable = usize::try_from(self.cells / cells).unwrap_or(usize::MAX);
        let is_lucky = cells <= CELLS && random.hash_one("chance") % cells < self.cells;
        let wanted = affordable.min(VALUES_MAX).max(usize::from(is_lucky));
        if wanted >= count {
            return (0..count).collect();
        }
        (0..wanted).map(|at| (random.hash_one(at) % count as u64) as usize).collect()
    }
}

/// Whether a value is what it is here, `what` being its name.
pub(super) fn agrees(claimed: f64, computed: f64, what: impl std::fmt::Display) -> Result<(), Impossible> {
    let is_same = (claimed - computed).abs() <= TOLERANCE * computed.abs().max(1.0);
    let is_right = is_same || claimed.is_nan() && computed.is_nan();
    Impossible::unless(is_right, format_args!("{claimed:?} for {what}, it is {computed:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a6_little_work_is_checked_in_full_and_much_of_it_now_and_then() {
        let checks = SpotChecks::of(64);
        assert_eq!(checks.positions(5, 1_000), [0, 1, 2, 3, 4]);
        let sampled = checks.positions(10_000, 1_000);
        assert!(sampled.len() == VALUES_MAX && sampled.iter().all(|at| *at < 10_000), "{sampled:?}");
        // One chance in eight: that none of 2000 is taken has a probability below 10^-100.
        let taken: usize = (0..2_000).map(|_| checks.positions(9, CELLS / 8).len()).sum();
        assert!((1..1_000).contains(&taken), "{taken} of 2000");
        assert!(checks.positions(9, CELLS + 1).is_empty());
        assert!(checks.positions(0, 1).is_empty());
    }
}
