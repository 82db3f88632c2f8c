use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use swarm_kernels::correlation::{
    LCSS_POINTS_MAX, Measure, Pairs, pearson_matrix, spearman, spearman_matrix,
};
use swarm_kernels::{Band, KernelError, Lcss, Series, Simd, Symmetric, dtw};

use crate::oracle;

fn matrix(measure: Measure, series: &[Vec<f64>]) -> Symmetric<f64> {
    let pairs = Pairs::new(measure, series.to_vec()).unwrap();
    let all = 0..pairs.order().pairs();
    let values = pairs.values(all.clone(), &|| false).unwrap();
    // They are the same in any runs.
    for step in [1, 3, 9, 20] {
        let runs = all.clone().step_by(step).map(|from| from..(from + step).min(all.end));
        let found: Vec<f64> = runs.flat_map(|run| pairs.values(run, &|| false).unwrap()).collect();
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&values), "{measure:?}, {step} at a time");
    }
    pairs.order().matrix(values)
}

fn gapped(mut series: Vec<Vec<f64>>, gaps: &[u8]) -> Vec<Vec<f64>> {
    for (values, &gap) in series.iter_mut().zip(gaps) {
        if gap % 3 == 0 {
            let place = usize::from(gap) % values.len();
            values[place] = f64::NAN;
        }
    }
    series
}

fn even_series() -> impl Strategy<Value = Vec<Vec<f64>>> {
    oracle::lengths().prop_flat_map(|length| prop::collection::vec(oracle::series_of(length), 1..14))
}

proptest! {
    #[test]
    fn correlations_are_those_of_the_whole_matrix(
        series in even_series(), gaps in prop::collection::vec(any::<u8>(), 14),
    ) {
        let series = gapped(series, &gaps);
        for (measure, whole) in [
            (Measure::Pearson, pearson_matrix(&series).unwrap()),
            (Measure::Spearman, spearman_matrix(&series).unwrap()),
        ] {
            let found = matrix(measure, &series);
            for i in 0..series.len() {
                for j in 0..series.len() {
                    let (found, expected) = (found.get(i, j), whole.get(i, j));
                    if i == j {
                        prop_assert!(found == 1.0 || found.is_nan() && expected.is_nan());
                    } else {
                        prop_assert_eq!(found.to_bits(), expected.to_bits(), "{} {}", i, j);
                    }
                }
            }
        }
    }

    #[test]
    fn similarities_are_those_of_the_pairs(
        series in prop_oneof![even_series(), prop::collection::vec(oracle::any_series(), 1..12)],
        band in oracle::bands(), window in 0_usize..9,
    ) {
        let lcss = Lcss::new(0.5).unwrap().window(window);
        let (shares, similarities) = (matrix(Measure::Lcss(lcss), &series), matrix(Measure::Dtw(band), &series));
        for (i, a) in series.iter().enumerate() {
            for (j, b) in series.iter().enumerate() {
                prop_assert_eq!(shares.get(i, j), lcss.similarity(a, b).unwrap());
                let distance = dtw::distance_squared(a, b, band).unwrap().sqrt();
                prop_assert_eq!(similarities.get(i, j), 1.0 / (1.0 + distance));
            }
        }
    }
}

#[test]
fn what_is_undefined_is_not_a_number() {
    let series = [vec![1.0, 2.0, f64::NAN], vec![f64::NAN, 1.0, 2.0], vec![4.0; 3], vec![3.0, 1.0, 2.0]];
    let found = matrix(Measure::Spearman, &series);
    // One common point, a constant series.
    assert!(found.get(0, 1).is_nan() && found.get(2, 2).is_nan() && found.get(2, 3).is_nan());
    assert_eq!(found.get(0, 3), spearman(&series[0], &series[3]).unwrap());
    assert_eq!(found.get(0, 0), 1.0);
}

#[test]
fn work_that_is_cancelled_ends() {
    let series: Vec<Vec<f64>> = (0..20).map(|i| (0..300).map(|j| f64::from(i * j % 17)).collect()).collect();
    for (measure, looks_min) in [
        (Measure::Pearson, 4),
        (Measure::Lcss(Lcss::new(0.1).unwrap()), 40),
        // With vector instructions within the matrix of a pair too.
        (Measure::Dtw(Band::Full), if Simd::active() == Simd::Portable { 4 } else { 100 }),
    ] {
        let pairs = Pairs::new(measure, series.clone()).unwrap();
        let asked = AtomicUsize::new(0);
        let patience = |looks| {
            asked.store(0, Ordering::Relaxed);
            pairs.values(0..44, &|| asked.fetch_add(1, Ordering::Relaxed) >= looks)
        };
        assert!(patience(usize::MAX).is_ok());
        assert!(asked.load(Ordering::Relaxed) >= looks_min, "{measure:?}");
        for looks in [0, looks_min - 1] {
            assert_eq!(patience(looks), Err(KernelError::Cancelled));
            assert_eq!(asked.load(Ordering::Relaxed), looks + 1);
        }
    }
}

#[test]
fn bad_input_is_named() {
    let lcss = Measure::Lcss(Lcss::new(0.1).unwrap());
    for measure in [lcss, Measure::Dtw(Band::Full)] {
        assert_eq!(
            Pairs::new(measure, vec![vec![1.0], vec![f64::NAN]]).unwrap_err(),
            KernelError::NotANumber { series: Series::Member(1), index: 0 }
        );
    }
    assert_eq!(
        Pairs::new(Measure::Pearson, vec![vec![1.0], vec![1.0, 2.0]]).unwrap_err(),
        KernelError::LengthDiffers { series: Series::Member(1), length: 2, expected: 1 }
    );
    let long = vec![0.0; LCSS_POINTS_MAX + 1];
    assert!(matches!(Pairs::new(lcss, vec![long]), Err(KernelError::TooLong { limit: LCSS_POINTS_MAX, .. })));
}

#[test]
fn long_series_have_the_bits_of_their_pairs_however_many_are_compared_at_a_time() {
    let series: Vec<Vec<f64>> =
        (1..10).map(|i| (0..4_200).map(|j| f64::from(i * j % 97) + f64::from(j % 13)).collect()).collect();
    for (band, run) in [(Band::Full, 0..5), (Band::Full, 2..3), (Band::Points(2_100), 1..3)] {
        let pairs = Pairs::new(Measure::Dtw(band), series.clone()).unwrap();
        let found = pairs.values(run.clone(), &|| false).unwrap();
        for ((i, j), found) in run.map(|position| pairs.order().pair(position)).zip(found) {
            let distance = dtw::distance_squared(&series[i], &series[j], band).unwrap().sqrt();
            assert_eq!(found.to_bits(), (1.0 / (1.0 + distance)).to_bits(), "{i} {j} {band:?}");
        }
    }
}
