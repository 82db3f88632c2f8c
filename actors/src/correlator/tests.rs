//! The actor against the kernel on the whole.

use super::*;
use crate::mailbox::AskError;
use std::{num::NonZeroUsize, time::Duration};
use swarm_kernels::correlation::PairOrder;
use swarm_protocols::{
    DeliveryError,
    correlation::{pair_at, pair_blocks, pair_count},
    part::{CELLS_MAX, PartError},
    series_group::SeriesGroup,
};

fn correlator() -> (Mailbox<CorrelatorProtocol>, Contents) {
    let (workers, contents) = (Workers::new(NonZeroUsize::new(2).unwrap(), 64), Contents::new(1 << 24));
    (Correlator::new(workers, contents.clone()).mailbox(), contents)
}

fn store(contents: &Contents, series: &[Vec<f64>]) -> ContentHash {
    let series = series.iter().map(|values| values.clone().into()).collect();
    contents.insert(SeriesGroup::new(series).unwrap().encode()).unwrap()
}

/// Series that have little to do with each other.
fn series(count: usize, points: usize) -> Vec<Vec<f64>> {
    let value = |i: usize, j: usize| (((i + 3) * (j * j + 7) % 101) as f64 / 9.0).sin();
    (0..count).map(|i| (0..points).map(|j| value(i, j)).collect()).collect()
}

const MEASURES: [PairMeasure; 6] = [
    PairMeasure::Pearson,
    PairMeasure::Spearman,
    PairMeasure::Lcss { epsilon: 0.25, window: None },
    PairMeasure::Lcss { epsilon: 0.25, window: Some(3) },
    PairMeasure::Dtw { window: None },
    PairMeasure::Dtw { window: Some(4) },
];

#[actix::test]
async fn pairs_in_any_division_make_the_matrix_of_the_kernel_to_the_bit() {
    let (correlator, contents) = correlator();
    let mut all = series(21, 50);
    all[7] = vec![3.25; 50];
    let groups = vec![store(&contents, &all[..13]), store(&contents, &all[13..])];
    for measure in MEASURES {
        let whole = Pairs::new(measure_of(measure).unwrap(), all.clone()).unwrap();
        let expected = whole.values(0..231, &|| false).unwrap();
        let ones = (0..231).map(|at| at..at + 1).collect();
        for division in
            [vec![0..44, 44..231], vec![0..5, 5..11, 11..150, 150..231], ones, pair_blocks(21, 50, measure)]
        {
            let mut found = Vec::new();
            for pairs in division {
                let (groups, from, until) = (groups.clone(), pairs.start, pairs.end);
                let part = CorrelateGroups { groups, measure, from, until };
                found.extend_from_slice(&correlator.ask(part).await.unwrap());
            }
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&expected), "{measure:?}");
        }
    }
}

#[test]
fn the_pairs_of_the_protocol_are_those_of_the_kernel() {
    for series in 1..40_u32 {
        let order = PairOrder::new(series as usize);
        assert_eq!(order.pairs() as u64, pair_count(series));
        for position in 0..order.pairs() {
            let (i, j) = pair_at(series, position as u64);
            assert_eq!((i as usize, j as usize), order.pair(position), "{position} of {series} series");
        }
    }
}

#[actix::test]
async fn what_takes_more_than_a_part_may_is_refused() {
    let (workers, contents) = (Workers::new(NonZeroUsize::MIN, 64), Contents::new(1 << 26));
    let correlator = Correlator::new(workers, contents.clone()).mailbox();
    let group = store(&contents, &series(8, 70_000));
    let ask = |until| {
        let (groups, measure) = (vec![group], PairMeasure::Dtw { window: None });
        correlator
            .ask(CorrelateGroups { groups, measure, from: 0, until })
            .timeout(Duration::from_millis(500))
    };
    // 4.9e9 cells each, the first pair has none: seven are within the limit, and the asker leaves.
    assert!(matches!(ask(8).await, Err(AskError::Delivery(DeliveryError::TimedOut { .. }))));
    let reason = format!("the part needs 39200000000 cells of warping matrices; the limit is {CELLS_MAX}");
    assert_eq!(ask(10).await, Err(AskError::Handler(PartError::Invalid { reason })));
}

#[actix::test]
async fn what_is_missing_or_makes_no_sense_is_said() {
    let (correlator, contents) = correlator();
    let unknown = ContentHash::of(&[1]);
    let ask = |groups: &[ContentHash], measure, until| {
        correlator.ask(CorrelateGroups { groups: groups.to_vec(), measure, from: 0, until })
    };
    let group = store(&contents, &series(3, 9));
    let missing = PartError::MissingInputs { hashes: vec![unknown] };
    assert_eq!(ask(&[group, unknown], MEASURES[0], 6).await, Err(AskError::Handler(missing)));
    let gapped = store(&contents, &[vec![f64::NAN, 1.0, 2.0, 4.0], vec![1.0, 2.0, 3.0, 4.0]]);
    assert!(ask(&[gapped], PairMeasure::Pearson, 3).await.unwrap()[1] > 0.9, "over what is not missing");
    for (groups, measure, until) in
        [(group, MEASURES[0], 0), (group, MEASURES[0], 7), (gapped, MEASURES[4], 3)]
    {
        let refused = ask(&[groups], measure, until).await;
        assert!(matches!(refused, Err(AskError::Handler(PartError::Invalid { .. }))), "{refused:?}");
    }
    let uneven = store(&contents, &[vec![1.0, 2.0], vec![1.0]]);
    let refused = ask(&[uneven], PairMeasure::Pearson, 3).await;
    assert!(matches!(refused, Err(AskError::Handler(PartError::Invalid { .. }))), "{refused:?}");
}
