//! Nearest-neighbour classification in units of work: blocks of test series against blocks of training series.

use crate::{
    ContentHash, Request,
    distance::BandRule,
    units::{Impossible, Lengths, UnitError, UnitRequest, runs, unit_count},
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The values of a block of series: 8 MiB of them. A longer series is a block of its own.
pub const BLOCK_VALUES: usize = 1 << 20;

/// Looks for the training series that is nearest to each test series, all of them z-normalised; the reply holds
/// one for each test series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "classify-series", reply = Vec<Neighbour>, error = UnitError)]
pub struct ClassifySeries {
    /// The group with the test series.
    pub test: ContentHash,
    /// The group with the training series.
    pub train: ContentHash,
    /// Where warping paths may go.
    pub band: BandRule,
}

/// The training series that is nearest to a test series, the first of equally near ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its position in its group, or among all training series once [`nearest`] has merged the answers.
    pub index: u32,
    /// The squared warping distance.
    pub distance_squared: f64,
}

impl UnitRequest for ClassifySeries {
    fn inputs(&self) -> Vec<ContentHash> {
        vec![self.train, self.test]
    }

    fn check(&self, inputs: &[Lengths<'_>]) -> Result<(), UnitError> {
        match inputs {
            [_, _] => self.band.check(),
            _ => Err(UnitError::invalid("two groups are expected")),
        }
    }

    fn answer_bytes_max(&self, inputs: &[Lengths<'_>]) -> usize {
        // A count, and an index of at most five bytes with a distance for each test series.
        16 + inputs[1].len() * 13
    }

    fn check_answer(&self, inputs: &[Lengths<'_>], answer: &Vec<Neighbour>) -> Result<(), Impossible> {
        let [train, test] = [inputs[0].len(), inputs[1].len()];
        Impossible::unless(
            answer.len() == test,
            format_args!("{} neighbours for {test} series", answer.len()),
        )?;
        let is_possible = |found: &Neighbour| {
            (found.index as usize) < train
                && found.distance_squared.is_finite()
                && found.distance_squared >= 0.0
        };
        Impossible::unless(answer.iter().all(is_possible), "a neighbour that is none")
    }
}

/// Which series make up the blocks of a classification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    /// Runs of training series.
    pub train: Vec<Range<usize>>,
    /// Runs of test series.
    pub test: Vec<Range<usize>>,
}

impl Blocks {
    /// Splits series of these lengths so that each pair of blocks is a unit of a good size. The split changes
    /// nothing of the answer.
    pub fn of(train: &[usize], test: &[usize], band: BandRule) -> Self {
        let longest = |lengths: &[usize]| lengths.iter().copied().max().unwrap_or(0) as u64;
        let pair = band.cells(longest(test), longest(train));
        let cells = pair.saturating_mul(train.len() as u64).saturating_mul(test.len() as u64);
        let train = runs(train, BLOCK_VALUES);
        let wanted = unit_count(cells).div_ceil(train.len().max(1) as u64);
        let values: usize = test.iter().sum();
        let share = values.div_ceil(usize::try_from(wanted).unwrap_or(usize::MAX).max(1));
        Self { train, test: runs(test, share.min(BLOCK_VALUES)) }
    }
}

/// The nearest of all training series to each test series of one block, by the answers for that block and every
/// block of training series: the first of equally near ones, as in a search through all of them.
pub fn nearest<'a>(
    answers: impl IntoIterator<Item = (&'a Range<usize>, &'a [Neighbour])>,
) -> Vec<(usize, f64)> {
    let mut best: Vec<(usize, f64)> = Vec::new();
    for (train, answer) in answers {
        for (at, found) in answer.iter().enumerate() {
            let found = (train.start + found.index as usize, found.distance_squared);
            match best.get_mut(at) {
                None => best.push(found),
                Some(best) if (found.1, found.0) < (best.1, best.0) => *best = found,
                Some(_) => {}
            }
        }
    }
    best
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "blocks are ranges")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn impossible_answers_are_recognised() {
        let [test, train] = [[1], [2]].map(|of| ContentHash::of(&of));
        let unit = ClassifySeries { test, train, band: BandRule::Full };
        let inputs: &[Lengths<'_>] = &[&[3, 4], &[5]];
        let check = |answer: &[(u32, f64)]| {
            let neighbour = |&(index, distance_squared)| Neighbour { index, distance_squared };
            unit.check_answer(inputs, &answer.iter().map(neighbour).collect()).is_ok()
        };
        assert!(check(&[(1, 0.0)]));
        for wrong in [&[][..], &[(0, 1.0), (0, 1.0)], &[(2, 1.0)], &[(0, -1.0)], &[(0, f64::NAN)]] {
            assert!(!check(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn blocks_hold_every_series_once_and_no_more_than_they_may() {
        let blocks = Blocks::of(&[100; 50], &[100; 900], BandRule::Full);
        assert_eq!(blocks.train, [0..50]);
        assert_eq!(blocks.test.len(), 65, "14 of 900 each: 450 million cells");
        let long = Blocks::of(&[BLOCK_VALUES / 2 + 1; 3], &[BLOCK_VALUES * 2, 5], BandRule::Points(0));
        assert_eq!((long.train, long.test), (vec![0..1, 1..2, 2..3], vec![0..1, 1..2]));
        assert_eq!(Blocks::of(&[5; 3], &[5; 4], BandRule::Full).test, [0..4], "too little to be split");
    }

    proptest! {
        #[test]
        fn the_nearest_of_blocks_are_the_nearest_of_all(
            distances in (1_usize..4, 1_usize..20).prop_flat_map(|(test, train)| {
                prop::collection::vec(prop::collection::vec(0_u8..4, train), test)
            }),
            share in 1_usize..8,
        ) {
            let train = distances[0].len();
            let blocks = runs(&vec![1; train], share);
            let answers: Vec<Vec<Neighbour>> = blocks.iter().map(|block| {
                distances.iter().map(|row| {
                    let row = &row[block.clone()];
                    let index = (0..row.len()).min_by_key(|&at| (row[at], at)).unwrap();
                    Neighbour { index: index as u32, distance_squared: f64::from(row[index]) }
                }).collect()
            }).collect();
            let found = nearest(blocks.iter().zip(answers.iter().map(Vec::as_slice)));
            for (row, found) in distances.iter().zip(found) {
                let index = (0..train).min_by_key(|&at| (row[at], at)).unwrap();
                prop_assert_eq!(found, (index, f64::from(row[index])));
            }
        }
    }
}
