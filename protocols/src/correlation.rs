//! Correlation in parts of a task: the values of all pairs of some series, some rows of them at a time.

use crate::{
    ContentHash, Floats, Request,
    coordinator::INPUTS_MAX,
    part::{Impossible, PartError, PartRequest, part_count},
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
pub const GROUP_VALUES: usize = 1 << 21;

/// Rows come in runs of so many, the last run apart.
pub const ROWS_STEP: u32 = 4;

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

/// Compares some rows of all pairs of the series in some groups, one group after the other.
///
/// Row `i` is series `i` with itself and with those that follow it, the first one following the last, up to half
/// way round (see [`partners`]): so every pair occurs once and all rows are of like length. The reply holds the
/// values of the pairs in the order of [`partners`], row after row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "correlate-groups", reply = Floats, error = PartError)]
pub struct CorrelateGroups {
    /// The groups, one to [`INPUTS_MAX`].
    pub groups: Vec<ContentHash>,
    /// What is computed of each pair.
    pub measure: PairMeasure,
    /// The first row, a multiple of [`ROWS_STEP`].
    pub from: u32,
    /// The row after the last: a multiple of [`ROWS_STEP`], or the number of series.
    pub until: u32,
}

/// The series that row `i` of `order` has values for, itself the first.
pub fn partners(order: u32, i: u32) -> impl Iterator<Item = u32> {
    (0..partner_count(order, i))
        .map(move |ahead| ((u64::from(i) + u64::from(ahead)) % u64::from(order)) as u32)
}

/// Of an even number, those just half way round are the partners of the first half.
fn partner_count(order: u32, i: u32) -> u32 {
    if order.is_multiple_of(2) && i >= order / 2 { order / 2 } else { order / 2 + 1 }
}

impl CorrelateGroups {
    /// How many series and values there are.
    fn extent(inputs: &[Lengths<'_>]) -> (u64, u64) {
        let values = inputs.iter().copied().flatten().map(|length| u64::from(*length)).sum();
        (inputs.iter().map(|group| group.len() as u64).sum(), values)
    }

    /// How many pairs its rows have.
    fn pairs(&self, inputs: &[Lengths<'_>]) -> usize {
        let order = Self::order(inputs);
        (self.from..self.until).map(|row| partner_count(order, row) as usize).sum()
    }

    /// How many series there are.
    fn order(inputs: &[Lengths<'_>]) -> u32 {
        u32::try_from(Self::extent(inputs).0).expect("at most VALUES_MAX series")
    }
}

impl PartRequest for CorrelateGroups {
    type Protocol = Correlator;
    type Input = [u32];

    fn inputs(&self) -> Vec<ContentHash> {
        self.groups.clone()
    }

    fn answer_bytes_max(&self, inputs: &[Lengths<'_>]) -> usize {
        16 + 8 * self.pairs(inputs)
    }

    fn check_answer(&self, inputs: &[Lengths<'_>], answer: &Floats) -> Result<(), Impossible> {
        let pairs = self.pairs(inputs);
        Impossible::unless(answer.len() == pairs, format_args!("{} values for {pairs} pairs", answer.len()))?;
        let in_range = |value: &f64| match self.measure {
            PairMeasure::Pearson | PairMeasure::Spearman => value.is_nan() || (-1.0..=1.0).contains(value),
            PairMeasure::Lcss { .. } | PairMeasure::Dtw { .. } => (0.0..=1.0).contains(value),
        };
        Impossible::unless(answer.iter().all(in_range), "a value out of its range")?;
        // The first value of a row is that of a series with itself.
        let order = Self::order(inputs);
        let mut next = 0;
        let itself = (self.from..self.until).map(|row| {
            let value = answer[next];
            next += partner_count(order, row) as usize;
            value
        });
        let is_one = |value: f64| value.is_nan() || (value - 1.0).abs() <= 1e-9;
        Impossible::unless({ itself }.all(is_one), "a series that is not like itself")
    }
}

impl SeriesRequest for CorrelateGroups {
    fn check(&self, inputs: &[Lengths<'_>]) -> Result<(), PartError> {
        let (series, values) = Self::extent(inputs);
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
        let (from, until) = (u64::from(self.from), u64::from(self.until));
        let is_border = |row: u64| row.is_multiple_of(ROWS_STEP.into()) || row == series;
        if from >= until || until > series || !is_border(from) || !is_border(until) {
            return invalid(format!("rows {from} to {until} of {series} series"));
        }
        Ok(())
    }
}

/// The rows of each part for so many series of so many points.
pub fn row_blocks(series: u32, points: u32, measure: PairMeasure) -> Vec<Range<u32>> {
    let (order, points) = (u64::from(series), u64::from(points));
    let width = |window: Option<u64>| {
        window.map_or(points, |window| window.saturating_mul(2).saturating_add(1).min(points))
    };
    // In cells of a warping matrix: products are added, and bits matched, many at a time.
    let pair = match measure {
        PairMeasure::Pearson | PairMeasure::Spearman => points / 4,
        PairMeasure::Lcss { .. } => points * points / 32,
        PairMeasure::Dtw { window } => points * width(window),
    };
    let cells = (order * order / 2).saturating_mul(pair + 1);
    let share = order.div_ceil(part_count(cells).min(order.max(1)));
    let step = u32::try_from(share).unwrap_or(series).max(1).next_multiple_of(ROWS_STEP);
    (0..series).step_by(step as usize).map(|from| from..from.saturating_add(step).min(series)).collect()
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "blocks are ranges")]
mod tests {
    use super::*;

    fn part(measure: PairMeasure, rows: Range<u32>) -> CorrelateGroups {
        CorrelateGroups { groups: vec![ContentHash::of(&[1])], measure, from: rows.start, until: rows.end }
    }

    #[test]
    fn every_pair_is_in_one_row() {
        for order in 1..40_u32 {
            let mut seen = std::collections::BTreeSet::new();
            for i in 0..order {
                assert!(partners(order, i).all(|j| seen.insert((i.min(j), i.max(j)))), "{order}: {i}");
            }
            assert_eq!(seen.len() as u32, order * (order + 1) / 2);
        }
    }

    #[test]
    fn blocks_hold_every_row_once_and_are_valid_parts() {
        for (series, points) in [(1, 5), (2, 1_000), (120, 5_000), (123, 700), (5_000, 100)] {
            for measure in [PairMeasure::Pearson, PairMeasure::Dtw { window: Some(9) }] {
                let blocks = row_blocks(series, points, measure);
                let lengths = vec![points; series as usize];
                let mut next = 0;
                for rows in blocks {
                    assert_eq!(rows.start, next);
                    next = rows.end;
                    assert_eq!(part(measure, rows).check(&[&lengths]), Ok(()));
                }
                assert_eq!(next, series);
            }
        }
        assert_eq!(row_blocks(120, 5_000, PairMeasure::Dtw { window: None }).len(), 30, "four rows at least");
        assert_eq!(row_blocks(8, 50, PairMeasure::Spearman), [0..8]);
    }

    #[test]
    fn rows_that_are_none_are_refused() {
        let lengths: &[Lengths<'_>] = &[&[5; 6], &[5; 4]];
        let check = |rows| part(PairMeasure::Pearson, rows).check(lengths);
        assert!(check(0..10).is_ok() && check(4..8).is_ok() && check(8..10).is_ok());
        for wrong in [0..0, 4..4, 2..8, 0..9, 8..11, 8..12, 12..16] {
            assert!(check(wrong.clone()).is_err(), "{wrong:?}");
        }
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
            part(measure, 0..3).check_answer(lengths, &values.to_vec().into()).is_ok()
        };
        let dtw = PairMeasure::Dtw { window: None };
        assert!(check(PairMeasure::Pearson, &[1.0, -1.0, 1.0, f64::NAN, 1.0, 0.5]));
        assert!(check(dtw, &[1.0, 0.0, 1.0, 0.2, 1.0, 0.5]));
        assert!(!check(PairMeasure::Pearson, &[1.0, -1.0, 1.0, 1.5, 1.0, 0.5]));
        assert!(!check(dtw, &[1.0, 0.0, 1.0, f64::NAN, 1.0, 0.5]));
        assert!(!check(dtw, &[1.0, 0.0, 1.0, -0.5, 1.0, 0.5]) && !check(dtw, &[1.0; 5]));
        let pearson = PairMeasure::Pearson;
        assert!(!check(pearson, &[0.0; 6]) && !check(dtw, &[0.5; 6]), "a series is like itself");
    }
}
