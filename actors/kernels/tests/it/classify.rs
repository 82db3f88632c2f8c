use proptest::prelude::*;
use swarm_kernels::{Band, KernelError, NearestNeighbour, Series, compared, z_normalize};

use crate::oracle;

/// By the definition.
fn distance(a: &[f64], b: &[f64], band: Band) -> f64 {
    compared(oracle::distance_squared(&z_normalize(a), &z_normalize(b), band), a.len().max(b.len()))
}

/// The first nearest training series by the definition.
fn nearest(train: &[Vec<f64>], series: &[f64], band: Band) -> (usize, f64) {
    let distance = |other: &Vec<f64>| distance(series, other, band);
    let distances: Vec<f64> = train.iter().map(distance).collect();
    let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
    (distances.iter().position(|&distance| distance == least).unwrap(), least)
}

fn check(train: &[Vec<f64>], series: &[f64], band: Band) {
    let found = NearestNeighbour::new(train, band).unwrap().classify(series).unwrap();
    assert_eq!((found.index, found.distance_squared), nearest(train, series, band));
}

proptest! {
    #[test]
    fn the_first_nearest_wins_among_equal_lengths(
        (train, series) in oracle::lengths().prop_flat_map(|length| {
            (prop::collection::vec(oracle::series_of(length), 1..12), oracle::series_of(length))
        }),
        band in oracle::bands(),
    ) {
        check(&train, &series, band);
    }

    #[test]
    fn the_first_nearest_wins_among_unequal_lengths(
        train in prop::collection::vec(oracle::any_series(), 1..12), series in oracle::any_series(),
        band in oracle::bands(),
    ) {
        check(&train, &series, band);
    }

    #[test]
    fn of_twins_the_first_wins(train in prop::collection::vec(oracle::series_of(17), 1..8), band in oracle::bands()) {
        let twins = [train.clone(), train.clone()].concat();
        for series in &train {
            check(&twins, series, band);
        }
    }
}

proptest! {
    #[test]
    fn the_nearest_are_the_first_by_distance_and_then_by_index(
        train in prop::collection::vec(oracle::any_series(), 1..20), twins in 0_usize..10,
        series in oracle::any_series(), band in oracle::bands(), count in 0_usize..25,
    ) {
        let train: Vec<Vec<f64>> = train.iter().chain(train.iter().take(twins)).cloned().collect();
        let distance = |other: &Vec<f64>| distance(&series, other, band);
        let mut expected: Vec<(usize, f64)> = train.iter().map(distance).enumerate().collect();
        expected.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        expected.truncate(count);
        let found = NearestNeighbour::new(&train, band).unwrap().nearest(&series, count).unwrap();
        let found: Vec<(usize, f64)> = found.iter().map(|near| (near.index, near.distance_squared)).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn bad_input_is_named() {
    let refused = |train: &[Vec<f64>]| NearestNeighbour::new(train, Band::Full).err();
    assert_eq!(refused(&[]), Some(KernelError::NoTraining));
    assert_eq!(refused(&[vec![1.0], vec![]]), Some(KernelError::Empty { series: Series::Training(1) }));
    let ready = NearestNeighbour::new(&[[1.0, 2.0]], Band::Full).unwrap();
    assert_eq!(ready.classify(&[f64::NAN]), Err(KernelError::NotANumber { series: Series::Query, index: 0 }));
}

#[test]
fn f2_of_equally_near_series_in_other_units_the_first_wins() {
    let shape = [0.3, 1.7, 0.9, 2.4, 1.1, 0.2, 3.3];
    let scaled = |unit: f64, level: f64| shape.map(|x| unit * x + level);
    for band in [Band::Points(0), Band::Full] {
        for (unit, level) in [(3.0, 0.0), (0.7, 5.3), (10.1, -20.7), (1e-3, 0.1)] {
            let train = [[1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0], scaled(unit, level), shape, scaled(2.3, 0.6)];
            for series in [shape.map(|x| x * x), scaled(1.3, 0.7)] {
                let found = NearestNeighbour::new(&train, band).unwrap().nearest(&series, 4).unwrap();
                let copies: Vec<usize> =
                    found.iter().map(|near| near.index).filter(|&index| index > 0).collect();
                assert_eq!(copies, [1, 2, 3], "{unit} {level} {band:?}");
            }
        }
    }
}
