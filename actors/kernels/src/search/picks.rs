//! The best windows that lie apart, chosen while better ones may still turn up.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::Match;

/// Collects computed windows and says which distance a further window must not exceed to matter.
///
/// The answer is greedy: go through all windows by `(distance, start)`, pick each that starts at least `apart`
/// rows from every earlier pick, stop at `top` picks. While the search is under way the distance of the last of
/// `top` picks among the windows known so far is **not** a safe bound: one new window may displace two picks and
/// let worse ones back in. Safe is the worst of any `2 top - 1` known windows that lie apart from each other:
///
/// Let `p` be the last pick of the final answer and `S` such a set. Each of the at most `top - 1` picks before `p`
/// lies closer than `apart` to at most two members of `S`, because three members span at least `2 apart` rows. So
/// some member of `S` lies apart from all of them. It was open to be picked when `p` was, hence `p` is no worse,
/// and no worse than the worst of `S`. Windows beyond `p` never influence the answer.
#[derive(Clone)]
pub(super) struct Picks {
    top: usize,
    apart: usize,
    /// Every window offered so far that may matter. Once there is a worst one, each lies closer than `apart` to one
    /// of the `2 top - 1` members: at most `(2 top - 1) (2 apart - 1)` windows, plus what is unsettled.
    pool: Vec<Match>,
    unsettled: usize,
    /// Windows that rank after this one cannot change the answer.
    worst: Match,
}

impl Picks {
    pub(super) fn new(top: usize, apart: usize) -> Self {
        let worst = Match { start: usize::MAX, distance_squared: f64::INFINITY };
        // Every start is offered once, so 1 row apart and 0 rows apart mean the same.
        Self { top, apart: apart.max(1), pool: Vec::new(), unsettled: 0, worst }
    }

    /// Windows farther than this cannot change the answer; equal ones can, by their start.
    pub(super) fn bound(&self) -> f64 {
        self.worst.distance_squared
    }

    /// Whether a window could change the answer, were it at this distance.
    pub(super) fn wants(&self, start: usize, distance_squared: f64) -> bool {
        better(&Match { start, distance_squared }, &self.worst).is_lt()
    }

    /// Takes a window that was not offered before. The bound may lag behind by an eighth of the pool, so that
    /// sorting costs little per window.
    pub(super) fn offer(&mut self, window: Match) {
        if better(&window, &self.worst).is_gt() {
            return;
        }
        self.pool.push(window);
        self.unsettled += 1;
        if self.unsettled * 8 >= self.pool.len() {
            self.settle();
        }
    }

    pub(super) fn finish(mut self) -> Vec<Match> {
        self.pool.sort_unstable_by(better);
        lying_apart(&self.pool, self.apart).take(self.top).collect()
    }

    /// What [`finish`](Self::finish) would return now.
    pub(super) fn best(&self) -> Vec<Match> {
        self.clone().finish()
    }

    fn settle(&mut self) {
        self.unsettled = 0;
        self.pool.sort_unstable_by(better);
        let enough = self.top.saturating_mul(2) - 1;
        let worst = lying_apart(&self.pool, self.apart).nth(enough - 1);
        if let Some(worst) = worst {
            self.worst = worst;
            self.pool.truncate(self.pool.partition_point(|window| better(window, &worst).is_le()));
        }
    }
}

fn better(a: &Match, b: &Match) -> Ordering {
    a.distance_squared.total_cmp(&b.distance_squared).then(a.start.cmp(&b.start))
}

/// Greedily, the windows of a sorted pool that start at least `apart` rows from each one taken before.
fn lying_apart(pool: &[Match], apart: usize) -> impl Iterator<Item = Match> {
    let mut taken = BTreeSet::new();
    pool.iter().copied().filter(move |window| {
        let too_close = window.start.saturating_sub(apart - 1)..=window.start.saturating_add(apart - 1);
        let free = taken.range(too_close).next().is_none();
        if free {
            taken.insert(window.start);
        }
        free
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn picks(windows: &[(usize, f64)], top: usize, apart: usize) -> Vec<usize> {
        let mut picks = Picks::new(top, apart);
        for &(start, distance_squared) in windows {
            picks.offer(Match { start, distance_squared });
        }
        picks.finish().iter().map(|window| window.start).collect()
    }

    #[test]
    fn a_late_window_displaces_two_picks_and_lets_a_worse_one_back_in() {
        let windows = [(0, 2.0), (10, 3.0), (20, 5.0), (40, 6.0), (5, 1.0)];
        assert_eq!(picks(&windows, 2, 10), [5, 20]);
        assert_eq!(picks(&windows[..4], 2, 10), [0, 10]);
    }

    #[test]
    fn equal_distances_go_by_start() {
        assert_eq!(picks(&[(7, 1.0), (3, 1.0), (5, 1.0)], 2, 0), [3, 5]);
    }

    #[test]
    fn the_bound_of_a_single_pick_is_its_distance() {
        let mut picks = Picks::new(1, 10);
        assert_eq!(picks.bound(), f64::INFINITY);
        picks.offer(Match { start: 4, distance_squared: 2.0 });
        assert_eq!(picks.bound(), 2.0);
    }

    #[test]
    fn equal_windows_do_not_pile_up() {
        let mut picks = Picks::new(2, 3);
        for start in 0..1000 {
            assert_eq!(picks.wants(start, 0.0), start < 7);
            picks.offer(Match { start, distance_squared: 0.0 });
        }
        assert_eq!(picks.pool.len(), 7);
    }

    proptest! {
        #[test]
        fn dropping_windows_beyond_the_bound_changes_nothing(
            distances in proptest::collection::vec(0_u8..30, 1..200), seed in any::<u64>(),
            top in 1_usize..6, apart in 0_usize..25,
        ) {
            use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
            let mut windows: Vec<_> = distances.iter().map(|&d| f64::from(d)).enumerate().collect();
            windows.shuffle(&mut StdRng::seed_from_u64(seed));
            let found = picks(&windows, top, apart);

            windows.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
            let mut expected: Vec<usize> = Vec::new();
            for (start, _) in windows {
                if expected.len() < top && expected.iter().all(|&other| other.abs_diff(start) >= apart) {
                    expected.push(start);
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
