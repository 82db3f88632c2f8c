//! Work that is not wanted any more stops in the middle of one distance.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use swarm_kernels::classify::{Neighbours, Width};
use swarm_kernels::correlation::{Measure, Pairs};
use swarm_kernels::{Band, KernelError, Search, dtw};

/// The question at which the work is told to stop. Checks that are made once for a pair or a window are fewer.
const STOP_AT: usize = 7;

type Question<'a> = &'a (dyn Fn() -> bool + Sync);

/// Work that is told to stop says so, and asks no further.
fn stops<T: std::fmt::Debug>(what: &str, work: impl FnOnce(Question<'_>) -> Result<T, KernelError>) {
    let asked = AtomicUsize::new(0);
    let outcome = work(&|| asked.fetch_add(1, Relaxed) + 1 >= STOP_AT);
    assert_eq!(outcome.map(drop), Err(KernelError::Cancelled), "{what}");
    assert_eq!(asked.load(Relaxed), STOP_AT, "{what}: nobody asks again");
}

fn wave(points: usize, step: f64) -> Vec<f64> {
    (0..points).map(|i| (i as f64 * step).sin() + (i as f64 * step * 7.3).cos()).collect()
}

#[test]
fn t8_one_distance_stops_in_the_middle() {
    let (a, b, short) = (wave(4_000, 0.01), wave(4_000, 0.013), wave(900, 0.02));
    for band in [Band::Full, Band::Points(8), Band::Points(900)] {
        for (case, a, b) in [("equal", &a, &b), ("other", &a, &short)] {
            stops(&format!("{band:?}, {case}"), |cancelled| {
                dtw::distance_squared_unless(cancelled, a, b, band)
            });
            stops(&format!("path, {band:?}, {case}"), |cancelled| dtw::align_unless(cancelled, a, b, band));
        }
    }
}

#[test]
fn t8_a_pair_a_neighbour_and_a_window_stop_in_the_middle() {
    let (a, b, short) = (wave(3_000, 0.01), wave(3_000, 0.013), wave(2_000, 0.02));
    stops("window", |cancelled| Search::new(&a, 3_000)?.cancel(cancelled).run(&b));
    for (case, train) in [("equal", &b), ("other", &short)] {
        let neighbours = Neighbours::new(&[train], Width::Full, 0).unwrap();
        stops(case, |cancelled| neighbours.nearest_unless(cancelled, &a));
    }
    let pairs = Pairs::new(Measure::Dtw(Band::Full), vec![a.clone(), b, short]).unwrap();
    stops("pair", |cancelled| pairs.values(0..6, cancelled));
}

#[test]
fn t8_work_that_is_wanted_gives_the_same_bits_when_it_can_be_stopped() {
    let (a, b) = (wave(1_000, 0.01), wave(700, 0.013));
    for band in [Band::Full, Band::Points(8), Band::Points(300)] {
        let distance = dtw::distance_squared_unless(&|| false, &a, &b, band);
        assert_eq!(distance, dtw::distance_squared(&a, &b, band));
        assert_eq!(dtw::align_unless(&|| false, &a, &b, band), dtw::align(&a, &b, band));
    }
}
