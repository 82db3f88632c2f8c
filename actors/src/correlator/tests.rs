//! The actor against the kernel on the whole.

use super::*;
use crate::mailbox::AskError;
use std::num::NonZeroUsize;
use swarm_kernels::correlation::Partition;
use swarm_protocols::{
    correlation::{partners, row_blocks},
    part::PartError,
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
async fn rows_of_any_division_make_the_matrix_of_the_kernel_to_the_bit() {
    let (correlator, contents) = correlator();
    let mut all = series(21, 50);
    all[7] = vec![3.25; 50];
    let groups = vec![store(&contents, &all[..13]), store(&contents, &all[13..])];
    for measure in MEASURES {
        let whole = Pairs::new(measure_of(measure).unwrap(), all.clone()).unwrap();
        let expected: Vec<f64> =
            (0..whole.partition().parts()).flat_map(|part| whole.part(part, &|| false).unwrap()).collect();
        for division in [vec![0..16, 16..21], vec![0..4, 4..16, 16..20, 20..21], row_blocks(21, 50, measure)]
        {
            let mut found = Vec::new();
            for rows in division {
                let (groups, from, until) = (groups.clone(), rows.start, rows.end);
                let part = CorrelateGroups { groups, measure, from, until };
                found.extend_from_slice(&correlator.ask(part).await.unwrap());
            }
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&expected), "{measure:?}");
        }
    }
}

#[test]
fn the_rows_of_the_protocol_are_the_parts_of_the_kernel() {
    for order in 1..40_u32 {
        let partition = Partition::new(order as usize);
        let of_kernel: Vec<_> = (0..partition.parts()).flat_map(|part| partition.pairs(part)).collect();
        let row = |i| partners(order, i).map(move |j| (i as usize, j as usize));
        assert_eq!((0..order).flat_map(row).collect::<Vec<_>>(), of_kernel, "{order} series");
        let runs = order.div_ceil(ROWS_STEP) as usize;
        assert_eq!(partition.parts(), runs, "a part is a run of rows");
    }
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
    assert_eq!(ask(&[group, unknown], MEASURES[0], 3).await, Err(AskError::Handler(missing)));
    let gapped = store(&contents, &[vec![f64::NAN, 1.0, 2.0, 4.0], vec![1.0, 2.0, 3.0, 4.0]]);
    assert!(ask(&[gapped], PairMeasure::Pearson, 2).await.unwrap()[1] > 0.9, "over what is not missing");
    for (groups, measure, until) in
        [(group, MEASURES[0], 2), (group, MEASURES[0], 4), (gapped, MEASURES[4], 2)]
    {
        let refused = ask(&[groups], measure, until).await;
        assert!(matches!(refused, Err(AskError::Handler(PartError::Invalid { .. }))), "{refused:?}");
    }
    let uneven = store(&contents, &[vec![1.0, 2.0], vec![1.0]]);
    let refused = ask(&[uneven], PairMeasure::Pearson, 2).await;
    assert!(matches!(refused, Err(AskError::Handler(PartError::Invalid { .. }))), "{refused:?}");
}
