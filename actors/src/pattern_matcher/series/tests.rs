//! Parts against the kernels on the whole, and what is refused.

use super::*;
use crate::{
    content_store::Contents,
    mailbox::{AskError, Mailbox},
    workers::Workers,
};
use std::{num::NonZeroUsize, time::Duration};
use swarm_kernels::NearestNeighbour;
use swarm_protocols::{
    ContentHash, DeliveryError,
    distance::path_of,
    part::PartError,
    series_group::SeriesGroup,
    series_matcher::SeriesMatcher,
    series_search::{Merge, Pieces, Step, Zone},
    similar_windows::{Day, SeriesPart},
};

fn matcher() -> (Mailbox<SeriesMatcher>, Contents) {
    let contents = Contents::new(1 << 24);
    let matcher = PatternMatcher::new(Workers::new(NonZeroUsize::MIN, 64), contents.clone());
    (matcher.series_mailbox(), contents)
}

/// A walk of few different steps, so that equal distances are common.
fn walk(length: usize, seed: u64) -> Vec<f64> {
    let (mut state, mut level) = (seed, 0.0);
    let step = || {
        // Linear congruential numbers (Knuth, MMIX): the same in every run.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        level += ((state >> 33) % 3) as f64 - 1.0;
        level
    };
    std::iter::repeat_with(step).take(length).collect()
}

fn store(contents: &Contents, series: &[&[f64]]) -> ContentHash {
    let series = series.iter().map(|values| values.to_vec().into()).collect();
    contents.insert(SeriesGroup::new(series).unwrap().encode()).unwrap()
}

#[actix::test]
async fn blocks_of_a_series_find_what_a_search_of_the_whole_finds_to_the_bit() {
    let (matcher, contents) = matcher();
    for (rows, points, window, top) in [(3_000, 20, 3, 40), (1_500, 6, 1, 300), (700, 64, 64, 5)] {
        let series = walk(rows, rows as u64);
        let query = series[50..50 + points].to_vec();
        let own = 51_usize.saturating_sub(points)..50 + points;
        let clear = |start: usize| !own.contains(&start);
        let whole = Search::new(&query, window).unwrap().top(top).starts(&clear).run(&series).unwrap();

        let query_hash = store(&contents, &[&query]);
        let windows = rows - points + 1;
        let borders: Vec<usize> = (0..windows).step_by(277).chain([windows]).collect();
        let blocks: Vec<_> = borders.windows(2).map(|pair| pair[0]..pair[1]).collect();
        let mut merge = Merge::new(blocks.iter().cloned(), top, points, Some(own.clone()));
        let found = loop {
            let questions = match merge.step() {
                Step::Done(found) => break found,
                Step::Ask(questions) => questions,
            };
            for question in questions {
                let starts = &blocks[question.block];
                // Each block's rows with some before, so that rows of the piece are not those of the block.
                let first = starts.start.saturating_sub(5);
                let piece = store(&contents, &[&series[first..starts.end + points - 1]]);
                let part = SearchSeries {
                    piece,
                    query: query_hash,
                    from: (starts.start - first) as u32,
                    until: (starts.end - first) as u32,
                    window: window as u32,
                    top: question.top as u32,
                    apart: points as u32,
                    excluded: question.zones_from(first),
                };
                let answer = matcher.ask(part).await.unwrap();
                merge.answer(&question, answer.matches.iter().map(|found| found.in_series(first)));
            }
        };
        let expected: Vec<_> =
            whole.matches.iter().map(|found| (found.distance_squared, found.start)).collect();
        assert_eq!(found, expected, "{rows} rows, {points} points");
    }
    assert!(Pieces::of(3_000, 20, 3).blocks.len() == 1, "the blocks here are smaller than those of a client");
}

#[actix::test]
async fn a_search_looks_at_the_windows_it_is_asked_for() {
    let (matcher, contents) = matcher();
    let series = walk(200, 3);
    let (piece, query) = (store(&contents, &[&series]), store(&contents, &[&series[90..100]]));
    let zone = Zone { from: 81, until: 100 };
    let part = SearchSeries {
        piece,
        query,
        from: 80,
        until: 110,
        window: 2,
        top: 9,
        apart: 10,
        excluded: vec![zone],
    };
    let found = matcher.ask(part.clone()).await.unwrap();
    let starts: Vec<u32> = found.matches.iter().map(|found| found.start).collect();
    assert!(!starts.is_empty() && starts.iter().all(|start| (80..110).contains(start)), "{starts:?}");
    assert!(starts.iter().all(|start| !(81..100).contains(start)), "{starts:?}");
    let Settled { kim, keogh_query, keogh_data, abandoned, computed } = found.settled;
    assert_eq!(kim + keogh_query + keogh_data + abandoned + computed, 30 - 19);
    let absurd = matcher.ask(SearchSeries { until: 192, ..part }).await;
    assert!(matches!(absurd, Err(AskError::Handler(PartError::Invalid { .. }))), "{absurd:?}");
}

#[actix::test]
async fn the_nearest_neighbours_are_those_of_the_kernel_in_any_band() {
    let (matcher, contents) = matcher();
    let series = |count: usize, seed: u64| -> Vec<Vec<f64>> {
        (0..count).map(|i| walk(20 + i % 4, seed + (i % 7) as u64)).collect()
    };
    let (train, test) = (series(15, 1), series(9, 50));
    let train_hash = store(&contents, &train.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let test_hash = store(&contents, &test.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for band in [BandRule::Full, BandRule::Points(2), BandRule::Percent(10.0)] {
        let part = ClassifySeries { test: test_hash, train: train_hash, band };
        let found = matcher.ask(part).await.unwrap();
        for (values, found) in test.iter().zip(found) {
            let of_one = |(index, other): (usize, &Vec<f64>)| {
                let band = match band {
                    BandRule::Full => Band::Full,
                    BandRule::Points(points) => Band::Points(points as usize),
                    BandRule::Percent(_) => Band::Points(values.len().max(other.len()).div_ceil(10)),
                };
                let nearest = NearestNeighbour::new(&[other], band).unwrap().classify(values).unwrap();
                (nearest.distance_squared, index)
            };
            let best = train.iter().enumerate().map(of_one).min_by(|a, b| a.partial_cmp(b).unwrap()).unwrap();
            assert_eq!((found.distance_squared, found.index as usize), best, "{band:?}");
        }
    }
}

#[actix::test]
async fn a_distance_is_that_of_the_kernel() {
    let (matcher, contents) = matcher();
    let (a, b) = (walk(40, 1), walk(55, 2));
    let (a_hash, b_hash) = (store(&contents, &[&a]), store(&contents, &[&b]));
    let part = MeasureDistance {
        a: a_hash,
        b: b_hash,
        band: BandRule::Percent(10.0),
        scaling: Scaling::ZNormalized,
        detail: Detail::Path,
    };
    let expected = dtw::align(&z_normalize(&a), &z_normalize(&b), Band::Points(6)).unwrap();
    let found = matcher.ask(part.clone()).await.unwrap();
    assert_eq!(found.distance_squared, expected.distance_squared);
    assert_eq!(path_of(&found.steps.unwrap()).collect::<Vec<_>>(), expected.path);
    let plain = MeasureDistance { scaling: Scaling::Raw, detail: Detail::Distance, ..part };
    let found = matcher.ask(plain).await.unwrap();
    assert_eq!(found.distance_squared, dtw::distance_squared(&a, &b, Band::Points(6)).unwrap());
    assert_eq!(found.steps, None);
}

#[actix::test]
async fn what_is_missing_or_of_another_kind_is_named() {
    let (matcher, contents) = matcher();
    let a = store(&contents, &[&[1.0, 2.0]]);
    let [b, c] = [[1], [2]].map(|of| ContentHash::of(&of));
    let measure = |a, b| {
        let (band, scaling, detail) = (BandRule::Full, Scaling::Raw, Detail::Distance);
        matcher.ask(MeasureDistance { a, b, band, scaling, detail })
    };
    let missing = |hashes: &[ContentHash]| {
        let mut hashes = hashes.to_vec();
        hashes.sort_unstable();
        PartError::MissingInputs { hashes }
    };
    assert_eq!(measure(a, b).await, Err(AskError::Handler(missing(&[b]))));
    assert_eq!(measure(c, b).await, Err(AskError::Handler(missing(&[c, b]))));

    let day = Day::from_epoch_days(3).unwrap();
    let library = SeriesPart::new("A".parse().unwrap(), vec![day], vec![1.0]).unwrap();
    let library = contents.insert(library.encode()).unwrap();
    let refused = measure(a, library).await;
    assert!(matches!(refused, Err(AskError::Handler(PartError::Invalid { .. }))), "{refused:?}");
    // A missing value is content, and no number to measure with.
    let gapped = store(&contents, &[&[1.0, f64::NAN]]);
    let refused = measure(a, gapped).await;
    assert!(matches!(refused, Err(AskError::Handler(PartError::Invalid { .. }))), "{refused:?}");
}

#[actix::test]
async fn what_takes_more_than_a_part_may_is_refused() {
    let contents = Contents::new(1 << 26);
    let matcher = PatternMatcher::new(Workers::new(NonZeroUsize::MIN, 1), contents.clone()).series_mailbox();
    let [long, short] = [200_000, 70_000].map(|points| store(&contents, &[&walk(points, 1)]));
    let many = store(&contents, &vec![&walk(1_000, 2)[..]; 200]);
    let is_refused = |asked: Result<(), AskError<PartError>>, cells: u64| {
        let reason = format!("the part needs {cells} cells of warping matrices; the limit is 34359738368");
        assert_eq!(asked, Err(AskError::Handler(PartError::Invalid { reason })));
    };
    let measure = |a, detail| {
        let (band, scaling) = (BandRule::Full, Scaling::Raw);
        matcher.ask(MeasureDistance { a, b: a, band, scaling, detail })
    };
    is_refused(measure(long, Detail::Distance).await.map(drop), 200_000 * 200_000);
    is_refused(measure(short, Detail::Path).await.map(drop), 8 * 70_000 * 70_000);
    let classify = ClassifySeries { test: long, train: many, band: BandRule::Full };
    is_refused(matcher.ask(classify).await.map(drop), 200 * (200_000 * 1_000 + 4 * 201_000 + 128));
    let (from, until, window, top, apart, excluded) = (0, 8, 70_000, 1, 1, Vec::new());
    let search = SearchSeries { piece: long, query: short, from, until, window, top, apart, excluded };
    is_refused(matcher.ask(search).await.map(drop), 8 * 70_000 * 70_000);
}

#[actix::test]
async fn t8_a_long_distance_stops_when_its_asker_leaves() {
    let contents = Contents::new(1 << 26);
    let workers = Workers::new(NonZeroUsize::MIN, 1);
    let matcher = PatternMatcher::new(workers, contents.clone()).series_mailbox();
    // As many cells as there may be: ten seconds and more, and the only worker is not free before they are given up.
    let a = store(&contents, &[&walk(185_000, 1)]);
    let small = store(&contents, &[&[1.0, 2.0]]);
    let measure = |a| {
        let (band, scaling, detail) = (BandRule::Full, Scaling::Raw, Detail::Distance);
        matcher.ask(MeasureDistance { a, b: a, band, scaling, detail })
    };
    let left = measure(a).timeout(Duration::from_millis(200)).await;
    assert!(matches!(left, Err(AskError::Delivery(DeliveryError::TimedOut { .. }))), "{left:?}");
    let next = measure(small).timeout(Duration::from_secs(3)).await;
    assert_eq!(next.map(|measured| measured.distance_squared), Ok(0.0));
}
