use proptest::prelude::*;
use swarm_kernels::search::{Leaders, Match, Monitor};
use swarm_kernels::{KernelError, Search, Series};

use crate::oracle;

/// Every window of the series, by start.
fn all_windows(series: &[f64], query: &[f64], window: usize) -> Vec<Match> {
    if series.len() < query.len() {
        return Vec::new();
    }
    let search = Search::new(query, window).unwrap().top(series.len()).apart(0);
    let mut windows = search.run_with_missing(series).unwrap().matches;
    windows.sort_by_key(|window| window.start);
    windows
}

fn with_gaps(series: &[f64], gaps: &[usize]) -> Vec<f64> {
    let value = |(row, &x): (usize, &f64)| if gaps.contains(&row) { f64::NAN } else { x };
    series.iter().enumerate().map(value).collect()
}

/// Long enough that rows are dropped several times, and of kinds that make rolled statistics hard.
fn long_series() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((20_usize..400).prop_flat_map(oracle::series_of), 1..16)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_monitor_reports_the_windows_within_its_distance_one_by_one(
        series in long_series(), query in oracle::any_series(), window in 0_usize..12, share in 0.0..1.0_f64,
        gaps in prop::collection::vec(0_usize..3000, 0..4),
    ) {
        let series = with_gaps(&series, &gaps);
        let windows = all_windows(&series, &query, window);
        let mut distances: Vec<f64> = windows.iter().map(|window| window.distance_squared).collect();
        distances.sort_by(f64::total_cmp);
        // One of the distances, so that the limit is met exactly.
        let max = distances.get((share * distances.len() as f64) as usize).copied().unwrap_or(1.0);

        let mut monitor = Monitor::new(&query, window, max).unwrap();
        let mut expected = windows.iter().filter(|window| window.distance_squared <= max).peekable();
        for (row, &point) in series.iter().enumerate() {
            let found = if point.is_nan() {
                monitor.push_missing();
                None
            } else {
                monitor.push(point).unwrap()
            };
            let due = expected.next_if(|window| window.start + query.len() == row + 1).copied();
            prop_assert_eq!(found, due, "at row {}", row);
        }
        prop_assert_eq!(expected.next(), None);
    }

    #[test]
    fn leaders_are_those_of_a_search_of_what_has_arrived(
        series in long_series(), query in oracle::any_series(), window in 0_usize..12, top in 0_usize..5,
        apart in 0_usize..60, chunks in prop::collection::vec(1_usize..400, 1..30),
    ) {
        let search = Search::new(&query, window).unwrap().top(top).apart(apart);
        let mut leaders = Leaders::new(&query, window, top, apart).unwrap();
        let mut arrived = 0;
        for rows in chunks.into_iter().cycle() {
            if arrived == series.len() {
                break;
            }
            let chunk = &series[arrived..series.len().min(arrived + rows)];
            leaders.extend(chunk).unwrap();
            arrived += chunk.len();
            let expected = match search.run(&series[..arrived]) {
                Ok(found) => found.matches,
                Err(error) => {
                    prop_assert_eq!(error, KernelError::QueryTooLong { query: query.len(), series: arrived });
                    Vec::new()
                }
            };
            prop_assert_eq!(leaders.matches(), expected);
        }
    }

    #[test]
    fn a_window_is_reported_when_it_becomes_one_of_the_leaders(
        series in prop::collection::vec((-4_i8..4).prop_map(f64::from), 10..120), points in 1_usize..10,
        window in 0_usize..4, top in 1_usize..4, apart in 0_usize..20,
    ) {
        let query = &series[..points];
        let mut leaders = Leaders::new(query, window, top, apart).unwrap();
        for (row, &point) in series.iter().enumerate() {
            let reported = leaders.push(point).unwrap();
            let of_row = |window: &Match| window.start + points == row + 1;
            prop_assert_eq!(reported, leaders.matches().into_iter().find(of_row));
        }
    }
}

#[test]
fn a_refused_point_is_named_by_its_row_and_leaves_the_stream_as_it_was() {
    let series: Vec<f64> = (0..3000).map(|i| (f64::from(i) / 7.0).sin()).collect();
    let mut monitor = Monitor::new(&series[..40], 2, 1e-9).unwrap();
    let mut starts = Vec::new();
    monitor.extend(&series[..2500], |window| starts.push(window.start)).unwrap();
    let error = monitor.extend(&[f64::NAN], |_| ()).unwrap_err();
    assert_eq!(error, KernelError::NotANumber { series: Series::Searched, index: 2500 });
    let mut copy = monitor.clone();
    for monitor in [&mut monitor, &mut copy] {
        let mut starts = starts.clone();
        monitor.extend(&series[2500..], |window| starts.push(window.start)).unwrap();
        let expected = all_windows(&series, &series[..40], 2);
        let expected: Vec<usize> = expected
            .iter()
            .filter(|window| window.distance_squared <= 1e-9)
            .map(|window| window.start)
            .collect();
        assert_eq!(starts, expected);
    }
    assert!(starts.contains(&0));
    assert!(matches!(Leaders::new(&[], 0, 1, 1), Err(KernelError::Empty { series: Series::Query })));
}

#[test]
fn no_window_is_within_a_distance_that_is_none() {
    for max in [f64::NAN, -1.0] {
        let mut monitor = Monitor::new(&[1.0, 2.0], 0, max).unwrap();
        monitor.extend(&[1.0, 2.0, 1.0, 2.0], |window| panic!("{window:?}")).unwrap();
    }
}
