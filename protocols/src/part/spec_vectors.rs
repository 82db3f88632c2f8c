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
    BTreeMap::from([
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
            "CorrelateGroups [z32] lcss 0..8",
            correlate(PairMeasure::Lcss { epsilon: 0.25, window: Some(3) }, 0, 8),
        ),
        ("CorrelateGroups [z32] dtw 4..5", correlate(PairMeasure::Dtw { window: None }, 4, 5)),
        ("MissingInputs [z32]", bytes(PartError::MissingInputs { hashes: vec![zeros] })),
        ("Invalid \"a\"", bytes(PartError::Invalid { reason: "a".into() })),
        ("Cancelled", bytes(PartError::Cancelled)),
    ])
}

#[test]
fn the_parts_in_the_specification_are_those_of_the_code() {
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
        format!("at most {} points", crate::series_search::QUERY_MAX),
        format!("how many matches, 1 to {}", crate::series_search::TOP_MAX),
        format!("none empty, at most {}", crate::series_search::ZONES_MAX),
        format!("1 to {INPUTS_MAX}, of {} values", crate::correlation::VALUES_MAX),
        format!("at most 2^{} cells", crate::distance::CELLS_MAX.ilog2()),
        format!("2^{} with a path", crate::distance::PATH_CELLS_MAX.ilog2()),
        format!("multiples of {}", crate::correlation::ROWS_STEP),
    ] {
        assert!(text.contains(&limit), "{limit:?} is not said");
    }
}
