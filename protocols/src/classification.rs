//! Nearest-neighbour classification in parts of a task: blocks of test series against blocks of training series.

use crate::{
    ContentHash, Request,
    distance::BandRule,
    part::{CELLS_MAX, CELLS_WANTED_MAX, Impossible, PartError, PartRequest, part_count},
    series_matcher::{Lengths, SeriesMatcher, SeriesRequest, runs},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::Range};

/// The values of a block of series: 8 MiB of them. A longer series is a block of its own.
pub const BLOCK_VALUES: usize = 1 << 20;

/// Looks for the training series that is nearest to each test series, all of them z-normalised; the reply holds
/// one for each test series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "classify-series", reply = Vec<Neighbour>, error = PartError)]
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

impl PartRequest for ClassifySeries {
    type Protocol = SeriesMatcher;
    type Input = [u32];

    fn inputs(&self) -> Vec<ContentHash> {
        vec![self.train, self.test]
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

impl SeriesRequest for ClassifySeries {
    fn cells(&self, inputs: &[Lengths<'_>]) -> u64 {
        let [train, test] = [0, 1].map(|input| counts(inputs[input].iter().map(|length| u64::from(*length))));
        sum(test.iter().map(|(test, count)| cells_with(self.band, *test, &train).saturating_mul(*count)))
    }

    fn check(&self, inputs: &[Lengths<'_>]) -> Result<(), PartError> {
        match inputs {
            [_, _] => self.band.check(),
            _ => Err(PartError::invalid("two groups are expected")),
        }
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
    /// Splits series of these lengths so that each pair of blocks is a part of a good size, and none is beyond
    /// [`CELLS_MAX`] but where two series alone are. The split changes nothing of the answer.
    pub fn of(train: &[usize], test: &[usize], band: BandRule) -> Self {
        let lengths = |series: &[usize]| counts(series.iter().map(|length| *length as u64));
        let tests = lengths(test);
        // The cells of a training series with the test series that it has most with.
        let most = |train: u64| tests.keys().map(|test| pair_cells(band, *test, train)).max().unwrap_or(0);
        let most: BTreeMap<u64, u64> = lengths(train).into_keys().map(|train| (train, most(train))).collect();
        let weights: Vec<_> = train.iter().map(|train| [*train as u64, most[&(*train as u64)]]).collect();
        let train_runs = runs(&weights, [BLOCK_VALUES as u64, CELLS_WANTED_MAX]);
        let blocks: Vec<_> = train_runs.iter().map(|run| lengths(&train[run.clone()])).collect();
        // Of a test series of each length: with all training series, and with the block that it has most with.
        let cells = |test: u64| {
            let cells = || blocks.iter().map(|block| cells_with(band, test, block));
            [sum(cells()), cells().max().unwrap_or(0)]
        };
        let cells: BTreeMap<u64, [u64; 2]> = tests.keys().map(|test| (*test, cells(*test))).collect();
        let all = sum(tests.iter().map(|(test, count)| cells[test][0].saturating_mul(*count)));
        let share = all.div_ceil(part_count(all).div_ceil(blocks.len().max(1) as u64));
        let weighted = |test: &usize| {
            let [all, most] = cells[&(*test as u64)];
            [*test as u64, all, most]
        };
        let weights: Vec<_> = test.iter().map(weighted).collect();
        Self { train: train_runs, test: runs(&weights, [BLOCK_VALUES as u64, share, CELLS_MAX]) }
    }
}

/// What a pair takes, in cells of a warping matrix: bounds of its distance take some for each point, and to come to it some
/// more.
fn pair_cells(band: BandRule, test: u64, train: u64) -> u64 {
    band.cells(test, train).saturating_add(4 * (test + train) + 128)
}

/// What a test series takes with so many training series of each length.
fn cells_with(band: BandRule, test: u64, train: &BTreeMap<u64, u64>) -> u64 {
    sum(train.iter().map(|(train, count)| pair_cells(band, test, *train).saturating_mul(*count)))
}

fn sum(cells: impl Iterator<Item = u64>) -> u64 {
    cells.fold(0, u64::saturating_add)
}

/// How many there are of each length.
fn counts(lengths: impl Iterator<Item = u64>) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    lengths.for_each(|length| *counts.entry(length).or_default() += 1);
    counts
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
        let part = ClassifySeries { test, train, band: BandRule::Full };
        let inputs: &[Lengths<'_>] = &[&[3, 4], &[5]];
        let check = |answer: &[(u32, f64)]| {
            let neighbour = |&(index, distance_squared)| Neighbour { index, distance_squared };
            part.check_answer(inputs, &answer.iter().map(neighbour).collect()).is_ok()
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
        let against_one = Blocks::of(&[1_000; 1_000], &[150_000], BandRule::Full);
        assert_eq!(against_one.train.len(), 72, "1.5e8 cells each, 14 of them are 2^31");
    }

    #[test]
    fn one_long_series_is_a_block_and_the_short_ones_are_together() {
        let mut test = vec![100; 900];
        test[450] = 100_000;
        let blocks = Blocks::of(&[100; 50], &test, BandRule::Full);
        // Half of the work is that of the long one.
        assert_eq!((blocks.train, blocks.test.len()), (vec![0..50], 35), "26 of the others each");
        assert!(blocks.test.contains(&(450..451)));
    }

    proptest! {
        #[test]
        fn no_pair_of_blocks_is_beyond_the_limit_where_no_two_series_are(
            train in prop::collection::vec(prop_oneof![1_u32..50, 1_u32..150_000], 1..60),
            test in prop::collection::vec(prop_oneof![1_u32..50, 1_u32..1_000_000], 1..60),
            band in prop_oneof![
                Just(BandRule::Full), (0_u64..2_000).prop_map(BandRule::Points), (0.0..100.0).prop_map(BandRule::Percent)
            ],
        ) {
            let lengths = |of: &[u32]| of.iter().map(|length| *length as usize).collect::<Vec<_>>();
            let Blocks { train: train_runs, test: test_runs } = Blocks::of(&lengths(&train), &lengths(&test), band);
            prop_assert_eq!(train_runs.iter().cloned().flatten().collect::<Vec<_>>(), (0..train.len()).collect::<Vec<_>>());
            prop_assert_eq!(test_runs.iter().cloned().flatten().collect::<Vec<_>>(), (0..test.len()).collect::<Vec<_>>());
            let pairs = test.iter().flat_map(|test| train.iter().map(move |train| (*test, *train)));
            let pair = pairs.map(|(test, train)| pair_cells(band, test.into(), train.into())).max().unwrap();
            let zeros = ContentHash::of(&[]);
            let part = ClassifySeries { test: zeros, train: zeros, band };
            for (test_run, train_run) in test_runs.iter().flat_map(|test| train_runs.iter().map(move |train| (test, train))) {
                let cells = part.cells(&[&train[train_run.clone()], &test[test_run.clone()]]);
                prop_assert!(cells <= pair.max(CELLS_MAX), "{:?} with {:?}: {}", test_run, train_run, cells);
            }
        }

        #[test]
        fn the_nearest_of_blocks_are_the_nearest_of_all(
            distances in (1_usize..4, 1_usize..20).prop_flat_map(|(test, train)| {
                prop::collection::vec(prop::collection::vec(0_u8..4, train), test)
            }),
            share in 1_u64..8,
        ) {
            let train = distances[0].len();
            let blocks = runs(&vec![[1]; train], [share]);
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
