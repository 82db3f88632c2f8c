use proptest::prelude::*;
use swarm_kernels::correlation::{RollingPearson, pearson, pearson_matrix, spearman, spearman_matrix};
use swarm_kernels::{KernelError, Series};

use crate::oracle;

/// The textbook formula, with the points at which neither is missing.
fn naive(a: &[f64], b: &[f64]) -> Option<f64> {
    let pairs: Vec<(f64, f64)> =
        a.iter().copied().zip(b.iter().copied()).filter(|(x, y)| !x.is_nan() && !y.is_nan()).collect();
    let n = pairs.len() as f64;
    let (mx, my) = (pairs.iter().map(|p| p.0).sum::<f64>() / n, pairs.iter().map(|p| p.1).sum::<f64>() / n);
    let [mut xx, mut yy, mut xy] = [0.0; 3];
    for (x, y) in pairs {
        xx += (x - mx) * (x - mx);
        yy += (y - my) * (y - my);
        xy += (x - mx) * (y - my);
    }
    let is_spread = xx.sqrt() > 1e-6 && yy.sqrt() > 1e-6;
    is_spread.then(|| xy / (xx.sqrt() * yy.sqrt()))
}

fn naive_ranks(values: &[f64]) -> Vec<f64> {
    let rank = |x: &f64| {
        let below = values.iter().filter(|y| *y < x).count() as f64;
        let equal = values.iter().filter(|y| *y == x).count() as f64;
        below + (equal + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

fn series() -> impl Strategy<Value = Vec<Vec<f64>>> {
    oracle::lengths().prop_flat_map(|length| prop::collection::vec(oracle::series_of(length), 2..11))
}

proptest! {
    #[test]
    fn correlations_agree_with_the_textbook(series in series(), gaps in prop::collection::vec(any::<u8>(), 11)) {
        let mut series = series;
        for (values, &gap) in series.iter_mut().zip(&gaps) {
            if gap % 3 == 0 {
                let place = usize::from(gap) % values.len();
                values[place] = f64::NAN;
            }
        }
        let all = pearson_matrix(&series).unwrap();
        for (i, a) in series.iter().enumerate() {
            for (j, b) in series.iter().enumerate() {
                let found = pearson(a, b).unwrap();
                if let Some(expected) = naive(a, b) {
                    prop_assert!((found - expected).abs() < 1e-7, "{found} {expected}");
                }
                prop_assert!(found.is_nan() && all.get(i, j).is_nan() || (found - all.get(i, j)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn rank_correlations_are_those_of_ranks(series in series()) {
        let ranks: Vec<Vec<f64>> = series.iter().map(|values| naive_ranks(values)).collect();
        let (found, expected) = (spearman_matrix(&series).unwrap(), pearson_matrix(&ranks).unwrap());
        for i in 0..series.len() {
            for j in 0..series.len() {
                let (found, expected) = (found.get(i, j), expected.get(i, j));
                prop_assert!(found.is_nan() && expected.is_nan() || found == expected);
                let alone = spearman(&series[i], &series[j]).unwrap();
                prop_assert!(found.is_nan() && alone.is_nan() || (found - alone).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_window_that_moves_agrees_with_one_that_does_not(
        a in oracle::series_of(200), b in oracle::series_of(200), window in 2_usize..60, spike in 0_usize..200,
    ) {
        let mut a = a;
        a[spike] = 1e6;
        let mut rolling = RollingPearson::new(2, window);
        for end in 1..=200 {
            rolling.push(&[a[end - 1], b[end - 1]]).unwrap();
            let start = end - end.min(window);
            prop_assert_eq!(rolling.points(), end - start);
            let (x, y) = (&a[start..end], &b[start..end]);
            let found = rolling.matrix().get(0, 1);
            if let Some(expected) = naive(x, y) {
                prop_assert!((found - expected).abs() < 1e-6, "{} {} at {}", found, expected, end);
            }
        }
    }
}

#[test]
fn a_window_that_moves_gives_the_correlation_of_faint_series_or_none() {
    let series = |step: usize| -> Vec<f64> { (0..40).map(|row| (row * step % 11) as f64).collect() };
    let (a, b) = (series(3), series(7));
    for exponent in -170..=0 {
        let faint: Vec<f64> = a.iter().map(|x| x * 10.0_f64.powi(exponent)).collect();
        let mut rolling = RollingPearson::new(2, 9);
        for (end, (x, y)) in faint.iter().zip(&b).enumerate().map(|(row, point)| (row + 1, point)) {
            rolling.push(&[*x, *y]).unwrap();
            if end >= 9 {
                let expected = pearson(&faint[end - 9..end], &b[end - 9..end]).unwrap();
                let found = rolling.correlation(0, 1);
                let is_right = (found - expected).abs() < 1e-9;
                assert!(is_right || found.is_nan() && exponent < -153, "{found} {expected} at 1e{exponent}");
            }
        }
    }
}

#[test]
fn extremes_are_computed_and_what_is_undefined_is_not_a_number() {
    for (a, b) in [([1.0, 1.0], [1.0, 2.0]), ([f64::NAN, 1.0], [1.0, 2.0]), ([0.1; 2], [0.1; 2])] {
        assert!(pearson(&a, &b).unwrap().is_nan());
        assert!(spearman(&a, &b).unwrap().is_nan());
        assert!(pearson_matrix(&[a, b]).unwrap().get(0, 1).is_nan());
    }
    assert!(pearson(&[-1e100, 1e100], &[1e-100, 2e-100]).unwrap() > 1.0 - 1e-12);
}

#[test]
fn bad_input_is_named() {
    assert_eq!(pearson(&[], &[]), Err(KernelError::Empty { series: Series::First }));
    assert_eq!(
        pearson(&[1.0, 2.0], &[1.0]),
        Err(KernelError::LengthDiffers { series: Series::Second, length: 1, expected: 2 })
    );
    assert_eq!(
        spearman_matrix(&[[1.0, 2.0], [0.0, f64::INFINITY]]),
        Err(KernelError::Infinite { series: Series::Member(1), index: 1 })
    );
}

/// Of the window by itself, in two passes with compensated sums over differences that are exact.
fn exactly(a: &[f64], b: &[f64]) -> f64 {
    let sum = |terms: &mut dyn Iterator<Item = f64>| {
        let (sum, lost) = terms.fold((0.0_f64, 0.0_f64), |(sum, lost), term| {
            let next = sum + term;
            let larger_first =
                if sum.abs() >= term.abs() { (sum - next) + term } else { (term - next) + sum };
            (next, lost + larger_first)
        });
        sum + lost
    };
    let centred = |values: &[f64]| -> Vec<f64> {
        let mean = sum(&mut values.iter().map(|x| x - values[0])) / values.len() as f64;
        values.iter().map(|x| (x - values[0]) - mean).collect()
    };
    let (a, b) = (centred(a), centred(b));
    let product = |a: &[f64], b: &[f64]| sum(&mut a.iter().zip(b).map(|(x, y)| x * y));
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

/// Noise that is the same in every run, from -1/2 to 1/2.
fn noise(seed: u64, length: usize) -> Vec<f64> {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    let mut random = StdRng::seed_from_u64(seed);
    (0..length).map(|_| random.random::<f64>() - 0.5).collect()
}

#[track_caller]
fn assert_rolling(a: &[f64], b: &[f64], window: usize, every: usize) {
    let mut rolling = RollingPearson::new(2, window);
    for end in 1..=a.len() {
        rolling.push(&[a[end - 1], b[end - 1]]).unwrap();
        if end >= window && (end - window).is_multiple_of(every) {
            let (found, span) = (rolling.correlation(0, 1), end - window..end);
            let expected = exactly(&a[span.clone()], &b[span]);
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected} at {end}");
        }
    }
}

#[test]
fn f5_a_rolling_correlation_stays_within_its_bound_when_values_become_small() {
    let window = 131_071;
    let shrinking = |seed, small: f64, from: usize| -> Vec<f64> {
        let scale = |row: usize| if row < from { 1.0 } else { small };
        noise(seed, 2 * window + 2).iter().enumerate().map(|(row, x)| x * scale(row)).collect()
    };
    for small in [1e-3, 1.1e-3, 0.03] {
        assert_rolling(&shrinking(1, small, window), &shrinking(2, small, window), window, 13_107);
        assert_rolling(&shrinking(3, small, window), &noise(4, 2 * window + 2), window, 13_107);
    }
}

#[test]
fn f5_it_does_so_through_drifts_spikes_decays_and_far_levels() {
    let rows = 6_000;
    let base = noise(5, rows);
    let other: Vec<f64> = noise(6, rows).iter().zip(&base).map(|(x, y)| x + y).collect();
    let shapes: [fn(usize, f64) -> f64; 7] = [
        |row, x| x + row as f64,
        |row, x| if row % 700 == 3 { 1e9 } else { x },
        |row, x| x * 0.9_f64.powi((row % 900) as i32),
        |_, x| 1e15 + x,
        |row, x| if row % 1_000 < 600 { 10.33 } else { x },
        |row, _| if row % 100 == 0 { 0.1 + 0.2 } else { 0.3 },
        |row, x| 1e-140 * x * if row % 50 == 0 { 1e9 } else { 1.0 },
    ];
    for shape in shapes {
        let a: Vec<f64> = base.iter().enumerate().map(|(row, &x)| shape(row, x)).collect();
        for window in [101, 1_000] {
            let is_constant = |window: &[f64]| window.iter().all(|x| *x == window[0]);
            if !a.windows(window).any(is_constant) {
                assert_rolling(&a, &other, window, 7);
            }
        }
    }
}

/// How often sums are taken afresh cannot be seen from outside; how long that takes can, and what it took was several
/// hundred times as long.
#[test]
fn f3_a_column_that_is_constant_costs_what_others_do() {
    let (rows, series, window) = (3_000, 30, 1_000);
    let noise = noise(7, rows * series);
    let time = |awkward: &dyn Fn(usize, f64) -> f64| {
        let started = std::time::Instant::now();
        let mut rolling = RollingPearson::new(series, window);
        for (row, point) in noise.chunks_exact(series).enumerate() {
            let mut point = point.to_vec();
            point[3] = awkward(row, point[3]);
            rolling.push(&point).unwrap();
        }
        (started.elapsed(), rolling.matrix())
    };
    let (plain, _) = time(&|_, x| x);
    let awkward: [&dyn Fn(usize, f64) -> f64; 4] =
        [&|_, _| 10.33, &|row, x| if row < 1_500 { x } else { 10.33 }, &|_, x| x * 1e-160, &|row, _| {
            1e15 + if row == 1_400 { 0.125 } else { 0.0 }
        }];
    for (number, awkward) in awkward.into_iter().enumerate() {
        let (took, matrix) = time(awkward);
        assert!(matrix.get(3, 4).is_nan() && !matrix.get(2, 4).is_nan(), "{number}");
        assert!(took < 20 * plain, "{number}: {took:?} beside {plain:?}");
    }
}

#[test]
fn f4_all_correlations_have_one_rule_of_what_is_constant() {
    let shape: Vec<f64> = (0..40).map(|row: usize| (row * 3 % 11) as f64).collect();
    let other: Vec<f64> = (0..40).map(|row: usize| (row * 7 % 11) as f64).collect();
    let all = |a: &[f64]| {
        let mut rolling = RollingPearson::new(2, a.len());
        a.iter().zip(&other).for_each(|(x, y)| rolling.push(&[*x, *y]).unwrap());
        let matrices = [pearson_matrix(&[a, &other]).unwrap(), spearman_matrix(&[a, &other]).unwrap()];
        let pearsons = [pearson(a, &other).unwrap(), rolling.correlation(0, 1), matrices[0].get(0, 1)];
        (pearsons, [spearman(a, &other).unwrap(), matrices[1].get(0, 1)])
    };
    let (expected, ranked) = all(&shape);
    for level in [1e15, -3e15] {
        let (found, ranks) = all(&shape.iter().map(|x| level + x * 0.5).collect::<Vec<_>>());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {expected:?}");
        assert_eq!(ranks, ranked);
    }
    for (unit, is_constant) in [(1e-150, false), (1e-153, false), (1e-156, true), (1e-300, true), (0.0, true)]
    {
        let (found, ranks) = all(&shape.iter().map(|x| x * unit).collect::<Vec<_>>());
        assert!(found.iter().chain(&ranks).all(|r| r.is_nan() == is_constant), "{unit}: {found:?} {ranks:?}");
    }
    let (found, ranks) = all(&[10.33; 40]);
    assert!(found.iter().chain(&ranks).all(|r| r.is_nan()), "{found:?} {ranks:?}");
}

#[test]
fn f12_gaps_change_no_correlation_and_cost_little() {
    let (rows, series) = (2_000, 60);
    let noise = noise(8, rows * series);
    // Ties among the ranks, and one point that outweighs all others of its series.
    let value = |row: usize, i: usize| match i % 3 {
        0 => noise[row * series + i],
        1 => (8.0 * noise[row * series + i]).round(),
        _ => noise[row * series + i] + if row == 11 { 1e7 } else { 0.0 },
    };
    let whole: Vec<Vec<f64>> = (0..series).map(|i| (0..rows).map(|row| value(row, i)).collect()).collect();
    let mut gapped = whole.clone();
    for (i, values) in gapped.iter_mut().enumerate() {
        values[i * 31 % rows] = f64::NAN;
        if i % 7 == 0 {
            values[11] = f64::NAN;
            values[5..9 + 100 * i / 7].fill(f64::NAN);
        }
    }
    let timed = |of: &[Vec<f64>]| {
        let started = std::time::Instant::now();
        (spearman_matrix(of).unwrap(), started.elapsed())
    };
    let (ranked, took) = timed(&gapped);
    let (_, without) = timed(&whole);
    assert!(took < 30 * without, "{took:?} beside {without:?}");
    let values = pearson_matrix(&gapped).unwrap();
    for (i, a) in gapped.iter().enumerate() {
        for (j, b) in gapped.iter().enumerate().skip(i) {
            assert!((ranked.get(i, j) - spearman(a, b).unwrap()).abs() < 1e-12, "ranks of {i} and {j}");
            assert!((values.get(i, j) - pearson(a, b).unwrap()).abs() < 1e-12, "{i} and {j}");
        }
    }
}
