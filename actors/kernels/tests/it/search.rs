use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use swarm_kernels::search::{Found, Match, Pruned};
use swarm_kernels::{KernelError, Search, Series, Simd};

use crate::oracle;

fn total(found: &Found) -> u64 {
    let pruned = found.pruned;
    pruned.kim + pruned.keogh_query + pruned.keogh_data + pruned.abandoned + pruned.computed
}

/// The search equals the oracle to the last bit, for each `(top, apart)`, and accounts for every candidate.
fn check(
    series: &[f64],
    query: &[f64],
    window: usize,
    wishes: &[(usize, usize)],
    admitted: &(dyn Fn(usize) -> bool + Sync),
) {
    let ranked = oracle::ranked(series, query, window, admitted);
    for &(top, apart) in wishes {
        let search = Search::new(query, window).unwrap().top(top).apart(apart).starts(admitted);
        for simd in [Simd::Avx512, Simd::Avx2, Simd::Portable] {
            let found = search.clone().simd(simd).run(series).unwrap();
            assert_eq!(
                found.matches,
                oracle::picked(&ranked, top, apart),
                "{simd:?}, top {top}, apart {apart}"
            );
            assert_eq!(total(&found), if top > 0 { ranked.len() as u64 } else { 0 });
        }
    }
}

/// A stretch of every kind of series, one after the other.
fn patchwork() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((20_usize..120).prop_flat_map(oracle::series_of), 1..4)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn answers_are_those_of_the_exhaustive_search(
        series in patchwork(), query in oracle::any_series(), window in 0_usize..12,
        top in 0_usize..7, apart in 0_usize..60,
    ) {
        prop_assume!(query.len() <= series.len());
        check(&series, &query, window, &[(top, apart), (1, query.len())], &|_| true);
    }

    #[test]
    fn so_they_are_for_a_query_from_the_series_and_restricted_starts(
        series in patchwork(), place in 0.0..1.0_f64, length in 1_usize..20, window in 0_usize..5,
        top in 1_usize..5, stride in 1_usize..4,
    ) {
        let start = ((series.len() - length) as f64 * place) as usize;
        let query = &series[start..start + length];
        let admitted = move |other: usize| other.abs_diff(start) >= length && other.is_multiple_of(stride);
        check(&series, query, window, &[(top, length)], &admitted);
    }

    #[test]
    fn ties_go_to_the_smaller_start(
        pattern in prop::collection::vec((0_u8..4).prop_map(f64::from), 2..9), copies in 2_usize..12,
        top in 1_usize..8, apart in 0_usize..20, window in 0_usize..3,
    ) {
        check(&pattern.repeat(copies), &pattern, window, &[(top, apart)], &|_| true);
    }
}

fn random_walk(random: &mut StdRng, length: usize) -> Vec<f64> {
    let mut value = 0.0;
    (0..length)
        .map(|_| {
            value += random.random::<f64>() - 0.5;
            value
        })
        .collect()
}

#[test]
fn series_of_several_blocks_agree_too() {
    let mut random = StdRng::seed_from_u64(11);
    for (offset, scale) in [(0.0, 1.0), (1e6, 1.0), (1e6, 1e-3), (-7e8, 10.0)] {
        let mut series: Vec<f64> =
            random_walk(&mut random, 3500).iter().map(|v| offset + scale * v).collect();
        series[1500..1600].fill(offset);
        let query: Vec<f64> = random_walk(&mut random, 33);
        check(&series, &query, 3, &[(1, 33), (3, 33), (4, 5), (30, 33), (2, 1000)], &|_| true);
    }
}

#[test]
fn constant_windows_are_candidates_at_zero() {
    let mut series = vec![5.0; 40];
    series.extend([1.0, 2.0, 4.0, 8.0]);
    let found = Search::new(&[3.0; 10], 2).unwrap().top(2).run(&series).unwrap();
    let expected = [0, 10].map(|start| Match { start, distance_squared: 0.0 });
    assert_eq!(found.matches, expected);
}

#[test]
fn windows_after_enough_perfect_ones_are_not_computed() {
    let found = Search::new(&[3.0; 50], 5).unwrap().top(2).run(&[7.0; 9000]).unwrap();
    assert_eq!(found.matches.iter().map(|window| window.start).collect::<Vec<_>>(), [0, 50]);
    assert!(found.pruned.computed < 300);
}

#[test]
fn f3_windows_that_are_equally_far_from_a_constant_one_are_not_warped() {
    let mut random = StdRng::seed_from_u64(31);
    let (walk, query) = (random_walk(&mut random, 9_000), random_walk(&mut random, 64));
    let (flat, level) = (vec![10.33; 64], vec![0.1; 9_000]);
    // Stretches of one value between peaks that are farther from the query than they are.
    let mut peaks = level.clone();
    peaks.iter_mut().step_by(1_500).for_each(|x| *x = 0.1 + 2.0 * f64::EPSILON);
    for (case, series, query) in [
        ("a constant query", &walk, &flat),
        ("a constant series", &level, &query),
        ("constant stretches", &peaks, &query),
        ("both constant", &level, &flat),
        ("a constant query and stretches", &peaks, &flat),
    ] {
        for simd in [Simd::Avx512, Simd::Avx2, Simd::Portable] {
            let found = Search::new(query, 3).unwrap().top(2).simd(simd).run(series).unwrap();
            let Pruned { abandoned, computed, .. } = found.pruned;
            assert!(abandoned + computed < 600, "{case}, {simd:?}: {:?}", found.pruned);
            assert_eq!(total(&found), 8_937);
        }
        check(&series[..2_000], query, 3, &[(1, 64), (2, 64), (9, 5), (40, 64)], &|_| true);
    }
}

#[test]
fn fewer_matches_when_no_more_lie_apart() {
    let series = [1.0, 5.0, 2.0, 7.0, 3.0];
    let found = Search::new(&[1.0, 2.0, 0.0], 1).unwrap().top(usize::MAX).run(&series).unwrap();
    assert_eq!(found.matches.len(), 1);
    let all = Search::new(&[1.0, 2.0, 0.0], 1).unwrap().top(usize::MAX).apart(0).run(&series).unwrap();
    assert_eq!(all.matches.len(), 3);
    let none = Search::new(&[1.0, 2.0, 0.0], 1).unwrap().starts(&|_| false).run(&series).unwrap();
    assert_eq!(none.matches, []);
}

#[test]
fn a_cancelled_search_stops_where_it_is() {
    let series = random_walk(&mut StdRng::seed_from_u64(3), 5000);
    for patience in [0, 1, 20, 40] {
        let asked = AtomicU32::new(0);
        let cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= patience;
        let search = Search::new(&series[..50], 5).unwrap().top(9).cancel(&cancelled);
        assert_eq!(search.run(&series), Err(KernelError::Cancelled));
        assert_eq!(asked.load(Ordering::Relaxed), patience + 1);
    }
}

#[test]
fn bad_input_is_named() {
    let search = Search::new(&[1.0, 2.0, 3.0], 1).unwrap();
    assert_eq!(search.run(&[1.0, 2.0]), Err(KernelError::QueryTooLong { query: 3, series: 2 }));
    assert_eq!(search.run(&[]), Err(KernelError::Empty { series: Series::Searched }));
    assert_eq!(
        search.run(&[1.0, 2.0, 3.0, f64::NAN]),
        Err(KernelError::NotANumber { series: Series::Searched, index: 3 })
    );
    let refused = |query: &[f64]| Search::new(query, 1).err();
    assert_eq!(refused(&[]), Some(KernelError::Empty { series: Series::Query }));
    assert_eq!(refused(&[f64::INFINITY]), Some(KernelError::Infinite { series: Series::Query, index: 0 }));
}

/// Deviations whose squares are subnormal have few digits left, or none. To a constant query all other windows are
/// equally near but for rounding, so the least disagreement about a deviation shows.
#[test]
fn faint_series_agree_too() {
    let mut random = StdRng::seed_from_u64(5);
    for exponent in -165..=-150 {
        for _ in 0..8 {
            let faint = |_| f64::from(random.random_range(0..4_u8)) * 10.0_f64.powi(exponent);
            let series: Vec<f64> = (0..150).map(faint).collect();
            check(&series, &[1.0; 15], 3, &[(1, 15), (3, 15), (100, 0)], &|_| true);
        }
    }
}

/// The first `top` places, in their order.
fn starts(series: &[f64], query: &[f64], top: usize, simd: Simd) -> Vec<usize> {
    let found = Search::new(query, 3).unwrap().top(top).simd(simd).run(series).unwrap();
    found.matches.iter().map(|window| window.start).collect()
}

#[test]
fn f2_copies_in_other_units_and_at_other_levels_go_by_start() {
    let mut random = StdRng::seed_from_u64(21);
    for points in [8, 60, 128] {
        let (shape, query) = (random_walk(&mut random, points), random_walk(&mut random, points));
        let mut series = random_walk(&mut random, 4_000);
        let places = [5, 700, 1_500, 2_222, 3_800];
        for place in places {
            let (unit, level) = (random.random_range(0.01..100.0), random.random_range(-10.0..10.0));
            for (x, y) in series[place..place + points].iter_mut().zip(&shape) {
                *x = unit * y + level;
            }
        }
        for simd in [Simd::Avx512, Simd::Avx2, Simd::Portable] {
            assert_eq!(starts(&series, &shape, 5, simd), places, "{simd:?}, {points} points");
            // From another query they are all equally far.
            let all =
                Search::new(&query, 3).unwrap().top(usize::MAX).simd(simd).run(&series).unwrap().matches;
            let at = |place: usize| all.iter().find(|window| window.start == place);
            let distances: Vec<f64> =
                places.iter().filter_map(|&place| at(place)).map(|it| it.distance_squared).collect();
            assert!(distances.windows(2).all(|pair| pair[0] == pair[1]), "{distances:?}");
        }
    }
}

#[test]
fn f2_to_a_constant_query_and_from_constant_windows_all_are_equally_far() {
    let mut random = StdRng::seed_from_u64(22);
    for points in [3, 60, 500, 1_024] {
        let mut series: Vec<f64> = random_walk(&mut random, 9 * points).iter().map(|x| 40.0 + x).collect();
        for simd in [Simd::Avx512, Simd::Avx2, Simd::Portable] {
            let found = Search::new(&vec![10.33; points], 3).unwrap().top(9).simd(simd).run(&series).unwrap();
            let expected = |place| Match { start: place * points, distance_squared: points as f64 };
            assert_eq!(found.matches, (0..9).map(expected).collect::<Vec<_>>(), "{simd:?}");
        }
        series[2 * points..3 * points].fill(0.1);
        series[7 * points..8 * points].fill(7e9);
        for simd in [Simd::Avx512, Simd::Avx2, Simd::Portable] {
            assert_eq!(
                starts(&series, &vec![10.33; points], 3, simd),
                [2 * points, 7 * points, 0],
                "{simd:?}"
            );
        }
    }
}

#[test]
fn f4_windows_that_vary_in_their_last_bits_have_the_distance_of_their_shape() {
    let mut random = StdRng::seed_from_u64(23);
    let shape: Vec<f64> = (0..3_000).map(|_| f64::from(random.random_range(0..4_u8))).collect();
    // Steps of one unit in the last place.
    let faint: Vec<f64> = shape.iter().map(|x| 1e15 + x / 8.0).collect();
    for simd in [Simd::Avx512, Simd::Avx2, Simd::Portable] {
        let found = |series: &[f64]| {
            Search::new(&series[100..164], 3).unwrap().top(5).simd(simd).run(series).unwrap().matches
        };
        assert_eq!(found(&faint), found(&shape), "{simd:?}");
    }
}
