//! Holds the parts that the specification shows against the code.

use super::*;
use crate::{
    ContentHash,
    classification::{ClassifySeries, Neighbour},
    coordinator::INPUTS_MAX,
    correlation::{CorrelateGroups, PairMeasure},
    distance::{BandRule, Detail, MeasureDistance, MeasuredDistance, Scaling},
    series_group::SeriesGroup,
    series_search::{SearchSeries, SearchedSeries, Settled, WindowMatch, Zone},
    similar_windows::{
        Day, FindSimilar, Hit, QueryMatches, SeriesPart, SimilarInPart, WindowQuery, WindowRule,
    },
    wire::codec,
    wire::spec_vectors::{SPEC, block, hex},
};
use std::collections::BTreeMap;

/// Notations and encodings of what the specification shows.
fn values() -> BTreeMap<&'static str, Vec<u8>> {
    fn bytes<T: serde::Serialize>(value: T) -> Vec<u8> {
        codec::encode(&value).unwrap()
    }
    let zeros: ContentHash = codec::decode(&[0; 32]).unwrap();
    let search = SearchSeries {
        piece: zeros,
        query: zeros,
        from: 0,
        until: 300,
        window: 5,
        top: 10,
        apart: 64,
        excluded: vec![Zone { from: 7, until: 300 }],
    };
    let settled = Settled { kim: 1, keogh_query: 2, keogh_data: 3, abandoned: 4, computed: 5 };
    let matches = vec![WindowMatch { start: 7, distance_squared: 1.5 }];
    let distance = MeasureDistance {
        a: zeros,
        b: zeros,
        band: BandRule::Points(5),
        scaling: Scaling::ZNormalized,
        detail: Detail::Path,
    };
    let correlate =
        |measure, from, until| bytes(CorrelateGroups { groups: vec![zeros], measure, from, until });
    let group = SeriesGroup::new(vec![vec![1.5].into(), vec![-2.0, 0.0].into()]).unwrap();
    let day = |days| Day::from_epoch_days(days).unwrap();
    let symbol = || "A".parse().unwrap();
    let part = SeriesPart::new(symbol(), vec![day(1), day(300)], vec![1.5, 2.0]).unwrap();
    let rule = WindowRule { length: 2, following: 3, max_gap_days: 4, band: 1, top: 5, apart: 6 };
    let query = WindowQuery { symbol: symbol(), start: day(1), end: day(2), values: vec![1.0, 1.0].into() };
    let hit = Hit { start: 0, first: day(1), last: day(2), distance_squared: 0.0, following_return: 0.5 };
    let found = QueryMatches { candidates: 1, matches: vec![hit] };
    BTreeMap::from([
        ("SeriesPart A, day 1: 1.5, day 300: 2", part.encode().to_vec()),
        (
            "FindSimilar z32 2 3 4 1 5 6, A from day 1 to 2: 1, 1",
            bytes(FindSimilar { part: zeros, rule, queries: vec![query] }),
        ),
        (
            "SimilarInPart 1 candidate, hit 0, days 1 to 2, 0, 0.5",
            bytes(SimilarInPart { queries: vec![found], following_returns: vec![0.5].into() }),
        ),
        ("Group [[1.5], [-2, 0]]", group.encode().to_vec()),
        ("SearchSeries z32 z32 0..300", bytes(search)),
        ("SearchedSeries (7, 1.5)", bytes(SearchedSeries { matches, settled })),
        (
            "ClassifySeries z32 z32 10 %",
            bytes(ClassifySeries { test: zeros, train: zeros, band: BandRule::Percent(10.0) }),
        ),
        ("Neighbours [(300, 0)]", bytes(vec![Neighbour { index: 300, distance_squared: 0.0 }])),
        ("MeasureDistance z32 z32 path", bytes(distance)),
        (
            "MeasuredDistance 1.5, path",
            bytes(MeasuredDistance { distance_squared: 1.5, steps: Some(vec![0, 1, 2].into()) }),
        ),
        (
            "CorrelateGroups [z32] lcss 0..300",
            correlate(PairMeasure::Lcss { epsilon: 0.25, window: Some(3) }, 0, 300),
        ),
        ("CorrelateGroups [z32] dtw 4..5", correlate(PairMeasure::Dtw { window: None }, 4, 5)),
        ("MissingInputs [z32]", bytes(PartError::MissingInputs { hashes: vec![zeros] })),
        ("Invalid \"a\"", bytes(PartError::Invalid { reason: "a".into() })),
        ("Cancelled", bytes(PartError::Cancelled)),
    ])
}

#[test]
fn a11_the_parts_in_the_specification_are_those_of_the_code() {
    let mut values = values();
    let zeros = ["00"; 32].join(" ");
    for line in block(SPEC, "parts").lines() {
        let (name, bytes) = line.split_once(" = ").unwrap();
        let expected = values.remove(name).unwrap_or_else(|| panic!("{name} is unknown, or shown twice"));
        assert_eq!(hex(&bytes.replace("z32", &zeros)), expected, "{line}");
    }
    assert!(values.is_empty(), "{:?} are not shown", values.keys());
}

#[test]
fn the_limits_in_the_specification_are_those_of_the_code() {
    let text = &SPEC[SPEC.find("### Parts on series").unwrap()..];
    for limit in [
        format!(
            "1 to {}, none empty, {} values",
            crate::series_group::SERIES_MAX,
            crate::series_group::VALUES_MAX
        ),
        format!("1 to {}, ascending", crate::similar_windows::BARS_MAX),
        format!(
            "each from {:e} to {:e}",
            crate::similar_windows::CLOSE_RANGE.start(),
            crate::similar_windows::CLOSE_RANGE.end()
        ),
        format!("1 to {} bytes from A-Z", crate::similar_windows::SYMBOL_BYTES_MAX),
        format!("byte from 0x01 to {:#04x}", crate::similar_windows::SYMBOL_BYTES_MAX),
        format!("sequence<WindowQuery>  1 to {}", crate::similar_windows::QUERIES_MAX),
        format!("at most {} points", crate::series_search::QUERY_MAX),
        format!("how many matches, 1 to {}", crate::series_search::TOP_MAX),
        format!("none empty, at most {}", crate::series_search::ZONES_MAX),
        format!("1 to {INPUTS_MAX}, of {} values", crate::correlation::VALUES_MAX),
        format!("at most 2^{} cells", CELLS_MAX.ilog2()),
        format!("{} times", crate::distance::PATH_COST),
        format!("until - from at most {}", crate::correlation::PAIRS_MAX),
    ] {
        assert!(text.contains(&limit), "{limit:?} is not said");
    }
}
