use proptest::prelude::*;
use swarm_kernels::search::run_all;
use swarm_kernels::{KernelError, Search, Series, Simd};

use crate::oracle;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn answers_are_those_of_the_searches_one_by_one(
        parts in prop::collection::vec((20_usize..600).prop_flat_map(oracle::series_of), 1..8),
        // Few lengths and bands, so that some searches share them.
        wishes in prop::collection::vec((0_usize..5, 0_usize..3, 0_usize..4, 0_usize..60, 0.0..1.0_f64), 0..12),
    ) {
        let series = parts.concat();
        let searches: Vec<Search> = wishes
            .iter()
            .map(|&(length, window, top, apart, place)| {
                let points = [1, 5, 6, 16, 40][length].min(series.len());
                let start = (place * (series.len() - points) as f64) as usize;
                let query: Vec<f64> = series[start..start + points].iter().rev().copied().collect();
                Search::new(&query, window).unwrap().top(top).apart(apart)
            })
            .collect();
        for simd in [Simd::Avx512, Simd::Avx2, Simd::Portable] {
            let searches: Vec<Search> = searches.iter().map(|search| search.clone().simd(simd)).collect();
            let alone: Vec<_> = searches.iter().map(|search| search.run(&series).unwrap()).collect();
            prop_assert_eq!(run_all(&searches, &series).unwrap(), alone);
        }
    }
}

#[test]
fn one_search_that_cannot_run_ends_all() {
    let search = |points: usize| Search::new(&vec![1.0; points], 1).unwrap();
    let error = run_all(&[search(3), search(6)], &[0.0; 5]).unwrap_err();
    assert_eq!(error, KernelError::QueryTooLong { query: 6, series: 5 });
    let error = run_all(&[search(3).cancel(&|| true), search(3)], &[0.0; 5]).unwrap_err();
    assert_eq!(error, KernelError::Cancelled);
    let error = run_all(&[], &[f64::NAN]).unwrap_err();
    assert_eq!(error, KernelError::NotANumber { series: Series::Searched, index: 0 });
}
