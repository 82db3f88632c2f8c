//! Correlation in parts of a task: the values of all pairs of some series, some of them at a time.

use crate::{
    ContentHash, Floats, Request,
    coordinator::INPUTS_MAX,
    distance::BandRule,
    part::{CELLS_WANTED_MAX, Impossible, PartError, PartRequest, part_count},
    protocol,
    series_matcher::{Lengths, SeriesRequest},
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

protocol! {
    /// An actor that says how series go together.
    pub Correlator = "correlator" { CorrelateGroups }
}

/// The most values of all series together: 128 MiB of them.
pub const VALUES_MAX: u64 = 1 << 24;

/// The values of one group of them, which holds one series at least: 16 MiB.
pub const GROUP_VALUES: u64 = 1 << 21;

/// The most values that one part asks for: 8 MiB of them.
pub const PAIRS_MAX: u64 = 1 << 20;

/// What ranking a point takes, in cells of a warping matrix.
const RANKING_CELLS: u64 = 16;

/// What is computed of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum PairMeasure {
    /// Pearson's correlation over the points at which neither is missing (NaN); NaN where it is undefined.
    Pearson,
    /// Spearman's correlation: Pearson's of the ranks among those points.
    Spearman,
    /// The longest common subsequence as a share of the shorter series.
    Lcss {
        /// Points match that differ by no more than this, 0 or more.
        epsilon: f64,
        /// How far apart their places may be; any distance with `None`.
        window: Option<u64>,
    },
    /// `1 / (1 + d)` with the warping distance `d`.
    Dtw {
        /// Half-width of the band in points; no limit with `None`.
        window: Option<u64>,
    },
}

/// Compares some of all pairs of the series in some groups, one group after the other.
///
/// The pairs come in rows. Row `i` is series `i` with itself and with those that follow it, the first one following the
/// last, up to half way round (see [`pair_at`]): so every pair occurs once and all rows are of like length. The reply
/// holds the values of the pairs from one position to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "correlate-groups", reply = Floats, error = PartError)]
pub struct CorrelateGroups {
    /// The groups, one to [`INPUTS_MAX`].
    pub groups: Vec<ContentHash>,
    /// What is computed of each pair.
    pub measure: PairMeasure,
    /// The position of the first pair among those of all rows.
    pub from: u64,
    /// The position after that of the last pair, at most [`PAIRS_MAX`] further.
    pub until: u64,
}

/// How many pairs so many series have, each with itself among them.
pub fn pair_count(series: u32) -> u64 {
    u64::from(series) * (u64::from(series) + 1) / 2
}

/// The two series of the pair at a position below [`pair_count`]: the one of the row, and one that follows it.
pub fn pair_at(series: u32, position: u64) -> (u32, u32) {
    let (row, long) = (row_pairs(series), long_rows(series));
    let (i, ahead) = match position.checked_sub(long * row) {
        None => (position / row, position % row),
        Some(rest) => (long + rest / (row - 1), rest % (row - 1)),
    };
    (i as u32, ((i + ahead) % u64::from(series)) as u32)
}

/// The position of the pair of a series with itself, the first of its row.
fn row_start(series: u32, i: u32) -> u64 {
    u64::from(i) * row_pairs(series) - u64::from(i).saturating_sub(long_rows(series))
}

/// How many pairs the first row has.
fn row_pairs(series: u32) -> u64 {
    u64::from(series) / 2 + 1
}

/// How many rows have as many. Of an even number of series, those just half way round are the partners of the first
/// half, whose rows are longer by one pair.
fn long_rows(series: u32) -> u64 {
    u64::from(if series.is_multiple_of(2) { series / 2 } else { series })
}

impl PairMeasure {
    /// What a pair of series of so many points takes, none of which is missing, in cells of a warping matrix: products are
    /// added, and bits matched, many at a time. Work is cut by that, and [bounded](SeriesRequest::cells) by the worst.
    pub fn cells(self, a: u64, b: u64) -> u64 {
        match self {
            PairMeasure::Pearson | PairMeasure::Spearman => a.max(b) / 4 + 1,
            PairMeasure::Lcss { .. } => a.saturating_mul(b) / 32 + 1,
            PairMeasure::Dtw { window } => window.map_or(BandRule::Full, BandRule::Points).cells(a, b),
        }
    }

    fn correlates(self) -> bool {
        matches!(self, PairMeasure::Pearson | PairMeasure::Spearman)
    }
}

impl CorrelateGroups {
    /// The pairs that are asked for.
    pub fn pairs(&self, series: u32) -> impl Iterator<Item = (u32, u32)> {
        (self.from..self.until).map(move |position| pair_at(series, position))
    }

    /// The rows with pairs that are asked for, and how far the partners are ahead there; the request has been checked.
    fn rows(&self, series: u32) -> impl Iterator<Item = (u32, Range<u64>)> {
        let (from, until) = (self.from, self.until);
        (pair_at(series, from).0..=pair_at(series, until - 1).0).map(move |i| {
            let start = row_start(series, i);
            (i, from.max(start) - start..until.min(row_start(series, i + 1)) - start)
        })
    }

    /// Shows the lengths of the series of the pairs that cost anything, and how many pairs that follow one another in a row
    /// have the same: there may be millions of pairs. The request has been checked.
    fn show_alike(&self, lengths: &[u64], mut show: impl FnMut(u64, u64, u64)) {
        let mut alike_until = Vec::with_capacity(lengths.len());
        for alike in lengths.chunk_by(PartialEq::eq) {
            let end = alike_until.len() + alike.len();
            alike_until.resize(end, end as u64);
        }
        let order = lengths.len() as u64;
        for (i, ahead) in self.rows(order as u32) {
            // By LCSS and DTW a series with itself costs nothing.
            let mut at = ahead.start.max(u64::from(!self.measure.correlates()));
            while at < ahead.end {
                let j = (u64::from(i) + at) % order;
                let alike = (alike_until[j as usize] - j).min(ahead.end - at);
                show(lengths[i as usize], lengths[j as usize], alike);
                at += alike;
            }
        }
    }

    /// How many series there are; the request has been checked.
    fn order(inputs: &[Lengths<'_>]) -> u32 {
        let series: usize = inputs.iter().map(|group| group.len()).sum();
        u32::try_from(series).expect("at most VALUES_MAX series")
    }
}

impl PartRequest for CorrelateGroups {
    type Protocol = Correlator;
    type Input = [u32];

    fn inputs(&self) -> Vec<ContentHash> {
        self.groups.clone()
    }

    fn answer_bytes_max(&self, _: &[Lengths<'_>]) -> usize {
        let pairs = self.until.saturating_sub(self.from);
        usize::try_from(pairs.saturating_mul(8).saturating_add(16)).unwrap_or(usize::MAX)
    }

    fn check_answer(&self, inputs: &[Lengths<'_>], answer: &Floats) -> Result<(), Impossible> {
        let pairs = self.until.saturating_sub(self.from);
        Impossible::unless(
            answer.len() as u64 == pairs,
            format_args!("{} values for {pairs} pairs", answer.len()),
        )?;
        let in_range = |value: &f64| match self.measure {
            PairMeasure::Pearson | PairMeasure::Spearman => value.is_nan() || (-1.0..=1.0).contains(value),
            PairMeasure::Lcss { .. } | PairMeasure::Dtw { .. } => (0.0..=1.0).contains(value),
        };
        Impossible::unless(answer.iter().all(in_range), "a value out of its range")?;
        let pairs = self.pairs(Self::order(inputs));
        let itself = pairs.zip(answer.iter()).filter(|((i, j), _)| i == j).map(|(_, value)| *value);
        let is_one = |value: f64| value.is_nan() || (value - 1.0).abs() <= 1e-9;
        Impossible::unless({ itself }.all(is_one), "a series that is not like itself")
    }
}

impl SeriesRequest for CorrelateGroups {
    fn cells(&self, inputs: &[Lengths<'_>]) -> u64 {
        let lengths: Vec<u64> = inputs.iter().copied().flatten().map(|length| u64::from(*length)).collect();
        let pair_cells = |a: u64, b: u64| match self.measure {
            // Where points are missing each pair is ranked anew.
            PairMeasure::Spearman => a.max(b) * RANKING_CELLS,
            measure => measure.cells(a, b),
        };
        let mut cells = 0_u64;
        self.show_alike(&lengths, |a, b, pairs| {
            cells = cells.saturating_add(pair_cells(a, b).saturating_mul(pairs));
        });
        cells
    }

    fn check(&self, inputs: &[Lengths<'_>]) -> Result<(), PartError> {
        let values: u64 = inputs.iter().copied().flatten().map(|length| u64::from(*length)).sum();
        let invalid = |reason: String| Err(PartError::Invalid { reason });
        if inputs.is_empty() || inputs.len() > INPUTS_MAX || values > VALUES_MAX {
            let groups = inputs.len();
            return invalid(format!(
                "{groups} groups of {values} values, 1 to {INPUTS_MAX} of {VALUES_MAX} at most are expected"
            ));
        }
        if let PairMeasure::Lcss { epsilon, .. } = self.measure
            && (epsilon.is_nan() || epsilon < 0.0)
        {
            return invalid(format!("{epsilon:?} is no distance within which points match"));
        }
        let (Self { from, until, .. }, series) = (self, Self::order(inputs));
        let pairs = pair_count(series);
        if from >= until || *until > pairs || until - from > PAIRS_MAX {
            return invalid(format!(
                "pairs {from} to {until} of the {pairs} of {series} series, 1 to {PAIRS_MAX} are expected"
            ));
        }
        Ok(())
    }
}

/// The pairs of each part for so many series of so many points.
///
/// Parts end where that costs no speed while it makes none that is too long: correlations after four rows, of which
/// agents compute tiles of pairs, LCSS after a row, which it prepares tables for, DTW after eight pairs of a row,
/// which agents compare at a time.
pub fn pair_blocks(series: u32, points: u32, measure: PairMeasure) -> Vec<Range<u64>> {
    let (pairs, row, points) = (pair_count(series), row_pairs(series), u64::from(points));
    let cells = measure.cells(points, points);
    let count = part_count(pairs.saturating_mul(cells)).min(pairs).max(1);
    let rows = if measure.correlates() { 4 } else { 1 };
    let step = match measure {
        PairMeasure::Dtw { .. } if cells > CELLS_WANTED_MAX / 8 => 1,
        PairMeasure::Dtw { .. } => 8,
        _ => (CELLS_WANTED_MAX / cells).clamp(1, PAIRS_MAX / 2),
    };
    let share = pairs.div_ceil(count).next_multiple_of(step.min(u64::from(rows) * row)).min(PAIRS_MAX / 2);
    let (mut blocks, mut from, mut at, mut work) = (Vec::new(), 0, 0, 0);
    for i in (0..series).step_by(rows as usize) {
        let end = row_start(series, i.saturating_add(rows).min(series));
        // The first pair of a row is a series with itself: it costs nothing by LCSS and DTW, and little by others.
        let mut free = 1;
        while at < end {
            let piece = (end - at).min(step + free);
            if work > 0 && work + piece - free > share {
                blocks.push(from..at);
                (from, work) = (at, 0);
            }
            (at, work, free) = (at + piece, work + piece - free, 0);
        }
    }
    blocks.extend((from < at).then_some(from..at));
    blocks
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "blocks are ranges")]
mod tests {
    use super::*;
    use crate::part::CELLS_MAX;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn part(measure: PairMeasure, pairs: Range<u64>) -> CorrelateGroups {
        CorrelateGroups { groups: vec![ContentHash::of(&[1])], measure, from: pairs.start, until: pairs.end }
    }

    const MEASURES: [PairMeasure; 5] = [
        PairMeasure::Pearson,
        PairMeasure::Spearman,
        PairMeasure::Lcss { epsilon: 0.25, window: None },
        PairMeasure::Dtw { window: None },
        PairMeasure::Dtw { window: Some(9) },
    ];

    #[test]
    fn every_pair_has_one_position_and_rows_begin_with_a_series_and_itself() {
        for order in 1..40_u32 {
            let pairs: Vec<(u32, u32)> = (0..pair_count(order)).map(|at| pair_at(order, at)).collect();
            assert!(pairs.is_sorted_by_key(|(i, j)| (*i, (j + order - i) % order)), "{order}");
            let seen: BTreeSet<(u32, u32)> = pairs.iter().map(|(i, j)| (*i.min(j), *i.max(j))).collect();
            assert_eq!(seen.len() as u32, order * (order + 1) / 2);
            assert!((0..order).all(|i| pairs[row_start(order, i) as usize] == (i, i)), "{order}");
        }
    }

    proptest! {
        #[test]
        fn blocks_hold_every_pair_once_and_each_is_a_valid_part_that_no_agent_refuses(
            series in prop_oneof![1_u32..20, 1_u32..100], points in 1_u32..200_000, window in 0_u64..100_000,
        ) {
            let points = points.min((VALUES_MAX / u64::from(series)) as u32);
            for measure in MEASURES.into_iter().chain([PairMeasure::Dtw { window: Some(window) }]) {
                let lengths = vec![points; series as usize];
                let pair = measure.cells(points.into(), points.into());
                let blocks = pair_blocks(series, points, measure);
                prop_assert_eq!(blocks.first().map(|block| block.start), Some(0));
                prop_assert!(blocks.windows(2).all(|pair| pair[0].end == pair[1].start));
                prop_assert_eq!(blocks.last().map(|block| block.end), Some(pair_count(series)));
                for block in blocks {
                    let part = part(measure, block);
                    prop_assert_eq!(part.check(&[&lengths]), Ok(()));
                    prop_assert!(part.cells(&[&lengths]) <= pair.max(CELLS_MAX), "{:?}", part);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_work_of_a_part_is_that_of_its_pairs(
            lengths in prop::collection::vec((1_usize..6, 1_u32..2_000), 1..12), from in 0.0..1.0, until in 0.0..1.0,
        ) {
            let lengths: Vec<u32> =
                lengths.iter().flat_map(|(count, length)| std::iter::repeat_n(*length, *count)).collect();
            let order = lengths.len() as u32;
            let [from, until] = [from, until].map(|share: f64| (share * pair_count(order) as f64) as u64);
            let pairs = from.min(until)..from.max(until) + 1;
            for measure in MEASURES {
                let part = part(measure, pairs.clone());
                let (one, two) = lengths.split_at(lengths.len() / 2);
                let cells = part.pairs(order).map(|(i, j)| {
                    let [a, b] = [i, j].map(|of| u64::from(lengths[of as usize]));
                    match measure {
                        PairMeasure::Spearman => 16 * a.max(b),
                        PairMeasure::Pearson => measure.cells(a, b),
                        _ => if i == j { 0 } else { measure.cells(a, b) },
                    }
                });
                prop_assert_eq!(part.cells(&[one, two]), cells.sum::<u64>(), "{:?}", part);
            }
        }
    }

    #[test]
    fn the_work_of_a_part_is_known_without_looking_at_every_pair() {
        let part = part(PairMeasure::Pearson, 0..PAIRS_MAX);
        let (mut looks, mut seen) = (0, 0);
        part.show_alike(&[100; 2_000], |_, _, pairs| (looks, seen) = (looks + 1, seen + pairs));
        assert_eq!(seen, PAIRS_MAX);
        assert!(looks <= 2 * 1_048, "{looks} looks at 1,048 rows");
    }

    #[test]
    fn blocks_end_where_agents_lose_no_speed() {
        let of = |series, points, measure| pair_blocks(series, points, measure);
        let dtw = PairMeasure::Dtw { window: None };
        assert_eq!(of(8, 50, PairMeasure::Spearman), [0..36]);
        assert_eq!(
            of(8, 150_000, dtw).len(),
            28,
            "a pair each, the first one of a row with that of a series and itself"
        );
        let fine = of(120, 5_000, dtw);
        assert_eq!((fine[0].clone(), fine.len()), (0..17, 480), "eight pairs, twice");
        let rows = of(40, 2_000, PairMeasure::Lcss { epsilon: 0.25, window: None });
        assert!(rows.iter().all(|block| pair_at(40, block.start).0 == pair_at(40, block.start).1));
        let tiles = of(1_000, 1_000, PairMeasure::Pearson);
        assert!(tiles.len() > 4 && tiles.iter().all(|block| pair_at(1_000, block.start).0.is_multiple_of(4)));
    }

    #[test]
    fn pairs_that_are_none_or_too_many_are_refused() {
        let lengths: &[Lengths<'_>] = &[&[5; 6], &[5; 4]];
        let check = |pairs| part(PairMeasure::Pearson, pairs).check(lengths);
        assert!(check(0..55).is_ok() && check(7..8).is_ok() && check(54..55).is_ok());
        for wrong in [0..0, 4..4, 0..56, 55..56, 3..u64::MAX] {
            assert!(check(wrong.clone()).is_err(), "{wrong:?}");
        }
        let many = vec![5; 2_000];
        assert!(part(PairMeasure::Pearson, 7..7 + PAIRS_MAX).check(&[&many]).is_ok());
        assert!(part(PairMeasure::Pearson, 7..8 + PAIRS_MAX).check(&[&many]).is_err());
        let lcss = |epsilon| part(PairMeasure::Lcss { epsilon, window: None }, 0..10).check(lengths);
        assert!(lcss(0.0).is_ok() && lcss(f64::INFINITY).is_ok());
        assert!(lcss(-0.1).is_err() && lcss(f64::NAN).is_err());
        assert_eq!(lcss(-1e300), Err(PartError::invalid("-1e300 is no distance within which points match")));
        let long = vec![1 << 20; 17];
        assert!(part(PairMeasure::Pearson, 0..4).check(&[&long]).is_err());
    }

    #[test]
    fn a6_impossible_answers_are_recognised() {
        let lengths: &[Lengths<'_>] = &[&[5; 3]];
        let check = |measure, values: &[f64]| {
            part(measure, 0..6).check_answer(lengths, &values.to_vec().into()).is_ok()
        };
        let dtw = PairMeasure::Dtw { window: None };
        assert!(check(PairMeasure::Pearson, &[1.0, -1.0, 1.0, f64::NAN, 1.0, 0.5]));
        assert!(check(dtw, &[1.0, 0.0, 1.0, 0.2, 1.0, 0.5]));
        assert!(!check(PairMeasure::Pearson, &[1.0, -1.0, 1.0, 1.5, 1.0, 0.5]));
        assert!(!check(dtw, &[1.0, 0.0, 1.0, f64::NAN, 1.0, 0.5]));
        assert!(!check(dtw, &[1.0, 0.0, 1.0, -0.5, 1.0, 0.5]) && !check(dtw, &[1.0; 5]));
        let pearson = PairMeasure::Pearson;
        assert!(!check(pearson, &[0.0; 6]) && !check(dtw, &[0.5; 6]), "a series is like itself");
        let middle = part(dtw, 1..4);
        assert!(middle.check_answer(lengths, &vec![0.5, 1.0, 0.2].into()).is_ok());
        assert!(
            middle.check_answer(lengths, &vec![0.5, 0.5, 1.0].into()).is_err(),
            "nor in the middle of a part"
        );
    }
}
