use proptest::prelude::*;
use swarm_kernels::{KernelError, Lcss, Series};

use crate::oracle;

/// The definition, cell by cell.
fn matches(a: &[f64], b: &[f64], epsilon: f64, window: usize) -> usize {
    let mut longest = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            longest[i + 1][j + 1] = if (x - y).abs() <= epsilon && i.abs_diff(j) <= window {
                longest[i][j] + 1
            } else {
                longest[i][j + 1].max(longest[i + 1][j])
            };
        }
    }
    longest[a.len()][b.len()]
}

fn check(a: &[f64], b: &[f64], epsilon: f64, window: usize) {
    let lcss = Lcss::new(epsilon).unwrap();
    assert_eq!(lcss.matches(a, b), Ok(matches(a, b, epsilon, usize::MAX)));
    assert_eq!(lcss.matches(b, a), Ok(matches(a, b, epsilon, usize::MAX)), "symmetry");
    assert_eq!(lcss.window(window).matches(a, b), Ok(matches(a, b, epsilon, window)), "window {window}");
}

proptest! {
    #[test]
    fn matches_agree_with_the_definition(
        (a, b) in oracle::pairs(), epsilon in prop_oneof![Just(0.0), Just(1.0), 0.0..3.0_f64, Just(f64::INFINITY)],
        window in 0_usize..80,
    ) {
        check(&a, &b, epsilon, window);
        prop_assert_eq!(Lcss::new(epsilon).unwrap().similarity(&a, &a), Ok(1.0));
    }

    #[test]
    fn a_matrix_holds_the_pairs(series in prop::collection::vec(oracle::any_series(), 0..6), epsilon in 0.0..2.0_f64) {
        let lcss = Lcss::new(epsilon).unwrap().window(9);
        let all = lcss.all_pairs(&series).unwrap();
        prop_assert_eq!(all.order(), series.len());
        for (i, a) in series.iter().enumerate() {
            for (j, b) in series.iter().enumerate() {
                prop_assert_eq!(all.get(i, j), lcss.similarity(a, b).unwrap());
            }
        }
    }
}

#[test]
fn sets_of_every_number_of_words_agree() {
    let wave = |length: usize, step: usize| -> Vec<f64> {
        (0..length).map(|i| ((i * step) % 101) as f64 / 10.0).collect()
    };
    for length in [63, 64, 65, 128, 129, 255, 256, 257, 512, 513, 1000, 1001, 1024, 1025, 1100] {
        check(&wave(length, 7), &wave(length - 20, 13), 0.25, 70);
    }
}

#[test]
fn bad_input_is_named() {
    for epsilon in [-0.1, f64::NAN] {
        assert!(matches!(Lcss::new(epsilon), Err(KernelError::Epsilon { .. })));
    }
    let huge = Lcss::new(-1e300).unwrap_err().to_string();
    assert_eq!(huge, "-1e300 is no distance within which points match");
    let lcss = Lcss::new(0.1).unwrap();
    assert_eq!(lcss.matches(&[], &[1.0]), Err(KernelError::Empty { series: Series::First }));
    assert_eq!(
        lcss.all_pairs(&[[1.0], [f64::NAN]]),
        Err(KernelError::NotANumber { series: Series::Member(1), index: 0 })
    );
}
