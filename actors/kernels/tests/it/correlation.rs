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
