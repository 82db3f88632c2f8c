//! Ten million points far from zero: what is carried from window to window must not wear off.

use super::rolling::{BLOCK_STARTS, ROLLED_ERROR, Rolling};
use crate::dtw;
use crate::znorm::z_normalize;
use crate::{Band, Search, compared};

const POINTS: usize = 10_000_000;
const OFFSET: f64 = 1e9;
const WINDOW: usize = 64;

/// A walk around [`OFFSET`] that is pulled back, with steps of up to 1/2, from a xorshift generator.
fn walk() -> Vec<f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut level = 0.0;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        level = 0.999 * level + (state >> 11) as f64 * (1.0 / (1_u64 << 53) as f64) - 0.5;
        OFFSET + level
    };
    std::iter::repeat_with(step).take(POINTS).collect()
}

/// Neumaier's compensated sum.
fn compensated(terms: impl Iterator<Item = f64>) -> f64 {
    let (sum, lost) = terms.fold((0.0_f64, 0.0_f64), |(sum, lost), term| {
        let next = sum + term;
        let larger_first = if sum.abs() >= term.abs() { (sum - next) + term } else { (term - next) + sum };
        (next, lost + larger_first)
    });
    sum + lost
}

/// The mean less the first value, and the deviation, in two compensated passes.
fn exact(window: &[f64]) -> (f64, f64) {
    // Differences of values this close are exact.
    let rise = |x: &f64| x - window[0];
    let mean = compensated(window.iter().map(rise)) / window.len() as f64;
    let squares = compensated(window.iter().map(|x| (rise(x) - mean) * (rise(x) - mean)));
    (mean, (squares / window.len() as f64).sqrt())
}

#[test]
fn means_and_deviations_do_not_drift_over_ten_million_points() {
    let series = walk();
    let starts = POINTS - WINDOW + 1;
    let mut rolling = Rolling::default();
    // The statistics of every window are computed; those of every 50th block and of the last are compared.
    let blocks = starts.div_ceil(BLOCK_STARTS);
    for number in 0..blocks {
        let first = number * BLOCK_STARTS;
        let block = first..(first + BLOCK_STARTS).min(starts);
        rolling.fill(&series, WINDOW, block.clone());
        if number % 50 != 0 && number + 1 != blocks {
            continue;
        }
        for (offset, start) in block.enumerate() {
            let rolled = rolling.get(offset);
            let (mean, deviation) = exact(&series[start..start + WINDOW]);
            let mean_error = (rolled.centre - series[start] + rolled.shift - mean).abs() / deviation;
            let deviation_error = (rolled.scale * deviation - 1.0).abs();
            assert!(mean_error <= ROLLED_ERROR, "mean at {start}: {mean_error:e} deviations");
            assert!(deviation_error <= ROLLED_ERROR, "deviation at {start}: {deviation_error:e} of itself");
        }
    }
}

#[test]
fn planted_windows_are_found_exactly_in_ten_million_points() {
    let mut series = walk();
    let query: Vec<f64> = (0..WINDOW).map(|i| (i as f64 / 5.0).sin() * (1.0 + i as f64 / 40.0)).collect();
    // In order of distance: the planted ones are distorted more and more, and each has another scale and level.
    let planted = [POINTS - WINDOW, 5_000_001, 0, 9_437_183];
    for (rank, &start) in planted.iter().enumerate() {
        let (scale, level) = (3.0 / (1.0 + rank as f64), OFFSET - 40.0 * rank as f64);
        for (i, x) in series[start..start + WINDOW].iter_mut().enumerate() {
            let distortion = rank as f64 * 0.02 * if i % 2 == 0 { 1.0 } else { -1.0 };
            *x = level + scale * (query[i] + distortion);
        }
    }
    let found = Search::new(&query, 3).unwrap().top(planted.len()).run(&series).unwrap().matches;
    assert_eq!(found.iter().map(|window| window.start).collect::<Vec<_>>(), planted);
    for window in found {
        let values = &series[window.start..window.start + WINDOW];
        let direct =
            dtw::distance_squared(&z_normalize(&query), &z_normalize(values), Band::Points(3)).unwrap();
        assert_eq!(window.distance_squared, compared(direct, WINDOW));
        assert!(direct < 0.5, "{direct} at {}", window.start);
    }
}
