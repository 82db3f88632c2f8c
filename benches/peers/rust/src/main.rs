//! Dynamic time warping by other Rust crates: lines of work, name and median milliseconds of the processor, separated by tabs.

use std::hint::black_box;

use cpu_time::ThreadTime;
use dtw_rs::Solution;

const POINTS: usize = 1000;

/// z-normalised random walks.
fn walks(count: usize) -> Vec<Vec<f64>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut walk = || -> Vec<f64> {
        let mut at = 0.0;
        let step = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            at += (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
            at
        };
        std::iter::repeat_with(step).take(POINTS).collect()
    };
    (0..count)
        .map(|_| {
            let values = walk();
            let mean = values.iter().sum::<f64>() / POINTS as f64;
            let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / POINTS as f64;
            values.iter().map(|x| (x - mean) / variance.sqrt()).collect()
        })
        .collect()
}

fn report(
    band_percent: usize,
    name: &str,
    series: &[Vec<f64>],
    distance: impl Fn(&[f64], &[f64]) -> f64,
) -> f64 {
    let mut times: Vec<f64> = series
        .windows(2)
        .map(|two| {
            let began = ThreadTime::now();
            black_box(distance(&two[0], &two[1]));
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("DTW n={POINTS} f64 band {band_percent} %\t{name}\t{}", times[times.len() / 2]);
    distance(&series[0], &series[1])
}

fn main() {
    let series = walks(100);
    for band_percent in [100, 10, 1] {
        let half_width = POINTS * band_percent / 100;
        let augurs = augurs_dtw::Dtw::euclidean().with_window(half_width);
        let root = report(band_percent, "augurs-dtw", &series, |a, b| augurs.distance(a, b));
        let sum = report(band_percent, "dtw_rs", &series, |a, b| {
            let cost = |x: &f64, y: &f64| (x - y) * (x - y);
            if half_width < POINTS {
                dtw_rs::sakoe_chiba_with_distance(a, b, half_width, cost).distance()
            } else {
                dtw_rs::dtw_with_distance(a, b, cost).distance()
            }
        });
        assert!(
            (root * root - sum).abs() <= 1e-6 * sum,
            "{} within {band_percent} %, not {sum}",
            root * root
        );
    }
}
