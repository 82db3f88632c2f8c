use proptest::prelude::*;
use swarm_kernels::dtw::{
    align, distance_squared, distance_squared_f32, distance_squared_within, distance_squared_within_f32,
};
use swarm_kernels::{Band, KernelError, Series};

use crate::oracle;

proptest! {
    #[test]
    fn distances_agree_with_the_definition((a, b) in oracle::pairs(), band in oracle::bands()) {
        let expected = oracle::distance_squared(&a, &b, band);
        prop_assert_eq!(distance_squared(&a, &b, band), Ok(expected));
        prop_assert_eq!(distance_squared(&b, &a, band), Ok(expected), "symmetry");
        prop_assert_eq!(distance_squared(&a, &a, band), Ok(0.0), "identity");
    }

    #[test]
    fn a_wider_band_is_never_farther((a, b) in oracle::pairs(), half_width in 0_usize..40) {
        let narrow = distance_squared(&a, &b, Band::Points(half_width)).unwrap();
        let wider = distance_squared(&a, &b, Band::Points(half_width + 1)).unwrap();
        prop_assert!(wider <= narrow);
        prop_assert!(distance_squared(&a, &b, Band::Full).unwrap() <= wider);
    }

    #[test]
    fn a_bound_gives_up_only_beyond_it((a, b) in oracle::pairs(), band in oracle::bands(), share in 0.0..2.0_f64) {
        let exact = oracle::distance_squared(&a, &b, band);
        for bound in [exact, exact.next_up(), exact.next_down(), exact * share, f64::INFINITY, f64::NAN, -1.0] {
            let expected = (exact <= bound).then_some(exact);
            prop_assert_eq!(distance_squared_within(&a, &b, band, bound), Ok(expected), "bound {}", bound);
        }
    }

    #[test]
    fn single_precision_stays_within_its_stated_error((a, b) in oracle::pairs(), band in oracle::bands()) {
        let single = |values: &[f64]| -> Vec<f32> { values.iter().map(|&value| value as f32).collect() };
        let (a, b) = (single(&a), single(&b));
        let double = |values: &[f32]| -> Vec<f64> { values.iter().map(|&value| f64::from(value)).collect() };
        let exact = oracle::distance_squared(&double(&a), &double(&b), band);
        let found = distance_squared_f32(&a, &b, band).unwrap();
        let error = (a.len() + b.len() + 3) as f64 / 2_f64.powi(24);
        prop_assert!((f64::from(found) - exact).abs() <= error * exact);
        prop_assert_eq!(distance_squared_f32(&b, &a, band), Ok(found), "symmetry");
        prop_assert_eq!(distance_squared_within_f32(&a, &b, band, found), Ok(Some(found)));
        if found > 0.0 {
            prop_assert_eq!(distance_squared_within_f32(&a, &b, band, found.next_down()), Ok(None));
        }
    }

    #[test]
    fn paths_are_allowed_and_cost_the_distance((a, b) in oracle::pairs(), band in oracle::bands()) {
        let alignment = align(&a, &b, band).unwrap();
        prop_assert_eq!(alignment.distance_squared, oracle::distance_squared(&a, &b, band));
        let path = alignment.path;
        prop_assert_eq!(path[0], (0, 0));
        prop_assert_eq!(path[path.len() - 1], (a.len() - 1, b.len() - 1));
        for step in path.windows(2) {
            let advance = (step[1].0 - step[0].0, step[1].1 - step[0].1);
            prop_assert!([(0, 1), (1, 0), (1, 1)].contains(&advance));
        }
        let mut cost = 0.0;
        for (i, j) in path {
            prop_assert!(oracle::allowed(i, j, a.len(), b.len(), band));
            cost += (a[i] - b[j]).powi(2);
        }
        // The same additions in the same order.
        prop_assert_eq!(cost, alignment.distance_squared);
    }
}

#[test]
fn a_band_of_zero_is_the_euclidean_distance() {
    let (a, b) = ([1.0, 2.0, 3.0], [2.0, 3.0, 5.0]);
    assert_eq!(distance_squared(&a, &b, Band::Points(0)), Ok(6.0));
    assert_eq!(distance_squared(&a, &b, Band::Points(usize::MAX)), distance_squared(&a, &b, Band::Full));
}

#[test]
fn the_largest_magnitudes_do_not_overflow() {
    let distance = distance_squared(&[1e100; 50], &[-1e100; 70], Band::Full).unwrap();
    assert!(distance.is_finite());
}

#[test]
fn bad_input_is_named() {
    let refusals = |a: &[f64], b: &[f64]| {
        let error = distance_squared(a, b, Band::Full).unwrap_err();
        assert_eq!(distance_squared_within(a, b, Band::Full, 1.0), Err(error));
        assert_eq!(align(a, b, Band::Full), Err(error));
        error
    };
    assert_eq!(refusals(&[], &[1.0]), KernelError::Empty { series: Series::First });
    assert_eq!(refusals(&[1.0], &[]), KernelError::Empty { series: Series::Second });
    assert_eq!(
        refusals(&[1.0, f64::NAN], &[1.0]),
        KernelError::NotANumber { series: Series::First, index: 1 }
    );
    assert_eq!(
        refusals(&[1.0], &[f64::INFINITY]),
        KernelError::Infinite { series: Series::Second, index: 0 }
    );
    assert_eq!(
        refusals(&[1.0], &[0.0, 2e100]),
        KernelError::TooLarge { series: Series::Second, index: 1, value: 2e100, limit: 1e100 }
    );
    assert_eq!(
        distance_squared_f32(&[0.0], &[f32::MAX], Band::Full),
        Err(KernelError::TooLarge {
            series: Series::Second,
            index: 0,
            value: f32::MAX.into(),
            limit: 1e12_f32.into()
        })
    );
}
