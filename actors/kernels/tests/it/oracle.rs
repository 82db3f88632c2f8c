//! The definitions, computed the slow way, and inputs to try them on.

use proptest::prelude::*;
use swarm_kernels::search::Match;
use swarm_kernels::{Band, compared, z_normalize};

pub(crate) fn distance_squared(a: &[f64], b: &[f64], band: Band) -> f64 {
    let (n, m) = (a.len(), b.len());
    let mut cost = vec![vec![f64::INFINITY; m + 1]; n + 1];
    cost[0][0] = 0.0;
    for i in 1..=n {
        for j in 1..=m {
            if allowed(i - 1, j - 1, n, m, band) {
                let earlier = cost[i - 1][j].min(cost[i][j - 1]).min(cost[i - 1][j - 1]);
                cost[i][j] = earlier + (a[i - 1] - b[j - 1]).powi(2);
            }
        }
    }
    cost[n][m]
}

pub(crate) fn allowed(i: usize, j: usize, n: usize, m: usize, band: Band) -> bool {
    let Band::Points(r) = band else { return true };
    let [i, j, n, m, r] = [i, j, n, m, r].map(|value| value as i64);
    -((n - m).max(0) + r) <= j - i && j - i <= (m - n).max(0) + r
}

/// All windows that `admitted` lets through, the nearest first.
pub(crate) fn ranked(
    series: &[f64],
    query: &[f64],
    window: usize,
    admitted: &dyn Fn(usize) -> bool,
) -> Vec<Match> {
    let query = z_normalize(query);
    let distance = |values: &[f64]| {
        compared(distance_squared(&query, &z_normalize(values), Band::Points(window)), query.len())
    };
    let mut windows: Vec<Match> = (0..=series.len() - query.len())
        .filter(|&start| admitted(start))
        .map(|start| Match { start, distance_squared: distance(&series[start..start + query.len()]) })
        .collect();
    windows.sort_by(|a, b| a.distance_squared.total_cmp(&b.distance_squared).then(a.start.cmp(&b.start)));
    windows
}

/// Greedily, the first `top` windows that lie apart.
pub(crate) fn picked(ranked: &[Match], top: usize, apart: usize) -> Vec<Match> {
    let mut picked: Vec<Match> = Vec::new();
    for window in ranked {
        if picked.len() < top && picked.iter().all(|other| other.start.abs_diff(window.start) >= apart) {
            picked.push(*window);
        }
    }
    picked
}

pub(crate) fn bands() -> impl Strategy<Value = Band> {
    prop_oneof![
        Just(Band::Full),
        Just(Band::Points(0)),
        Just(Band::Points(5)),
        (0_usize..40).prop_map(Band::Points),
    ]
}

/// Lengths around the sizes at which chunked code changes its path.
pub(crate) fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![prop::sample::select(vec![1, 2, 3, 5, 6, 7, 15, 16, 17, 31, 32, 33, 65]), 1_usize..50]
}

/// Noise, walks, constants, coarse values with many ties, and large offsets.
pub(crate) fn series_of(length: usize) -> impl Strategy<Value = Vec<f64>> {
    let noise = || prop::collection::vec(-3.0..3.0_f64, length);
    let walk = |steps: Vec<f64>| -> Vec<f64> {
        steps
            .iter()
            .scan(0.0, |total, step| {
                *total += step;
                Some(*total)
            })
            .collect()
    };
    prop_oneof![
        3 => noise(),
        3 => noise().prop_map(walk),
        1 => (-3.0..3.0_f64).prop_map(move |value| vec![value; length]),
        2 => prop::collection::vec((0_u8..3).prop_map(f64::from), length),
        1 => noise().prop_map(|values| values.iter().map(|v| 1e6 + v).collect()),
    ]
}

pub(crate) fn any_series() -> impl Strategy<Value = Vec<f64>> {
    lengths().prop_flat_map(series_of)
}

/// Half of the pairs have equal lengths.
pub(crate) fn pairs() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    prop_oneof![
        (any_series(), any_series()),
        lengths().prop_flat_map(|length| (series_of(length), series_of(length))),
    ]
}
