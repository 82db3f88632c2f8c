//! Searching a long series in parts of a task.
//!
//! The series is cut into overlapping [pieces](Pieces) that agents keep, and the windows that start in each into
//! blocks; a block is asked for its best matches ([`SearchSeries`]), and [`Merge`] makes of the answers exactly
//! what a search through the whole series finds.

mod merge;
mod pieces;

pub use merge::{Merge, Question, Step};
pub use pieces::{Block, Pieces};

use crate::{
    ContentHash, Request,
    distance::BandRule,
    part::{Impossible, PartError, PartRequest},
    series_matcher::{Lengths, SeriesMatcher, SeriesRequest},
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The most matches that are looked for.
pub const TOP_MAX: u32 = 1 << 16;

/// The longest query.
pub const QUERY_MAX: usize = 1 << 20;

/// The most excluded zones: one for each match, one of the query itself.
pub const ZONES_MAX: usize = TOP_MAX as usize + 1;

/// Looks for the windows of a piece of a series that are most like a query: z-normalised, under a warping band.
///
/// The answer is greedy: of all windows in the order of distance and start, each that starts `apart` rows or more
/// from every one taken before, until there are `top`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Request)]
#[request(name = "search-series", reply = SearchedSeries, error = PartError)]
pub struct SearchSeries {
    /// The group with the piece, one series.
    pub piece: ContentHash,
    /// The group with the query, one series.
    pub query: ContentHash,
    /// The first start of a window, in rows of the piece.
    pub from: u32,
    /// Where no window starts any more.
    pub until: u32,
    /// Half-width of the band in points.
    pub window: u32,
    /// How many matches are wanted, 1 to [`TOP_MAX`].
    pub top: u32,
    /// Rows between the starts of two matches, at least 1.
    pub apart: u32,
    /// Where no window may start: ascending, apart from each other, none of them empty.
    pub excluded: Vec<Zone>,
}

/// A run of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// The first of them.
    pub from: u32,
    /// The row after the last of them.
    pub until: u32,
}

/// A window among the best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WindowMatch {
    /// The row of its first point, counted in the piece.
    pub start: u32,
    /// The squared warping distance to the query.
    pub distance_squared: f64,
}

/// How many windows each stage settled; together they are all that were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// By LB_Kim.
    pub kim: u64,
    /// By LB_Keogh of the query.
    pub keogh_query: u64,
    /// By LB_Keogh of the series.
    pub keogh_data: u64,
    /// In the middle of the distance.
    pub abandoned: u64,
    /// By the distance.
    pub computed: u64,
}

impl std::ops::AddAssign for Settled {
    fn add_assign(&mut self, other: Self) {
        let Self { kim, keogh_query, keogh_data, abandoned, computed } = other;
        for (sum, term) in [
            (&mut self.kim, kim),
            (&mut self.keogh_query, keogh_query),
            (&mut self.keogh_data, keogh_data),
            (&mut self.abandoned, abandoned),
            (&mut self.computed, computed),
        ] {
            // A peer may say anything.
            *sum = sum.saturating_add(term);
        }
    }
}

/// The answer to [`SearchSeries`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchedSeries {
    /// The best windows, nearest first, equally near ones by start.
    pub matches: Vec<WindowMatch>,
    /// What became of all.
    pub settled: Settled,
}

impl SearchSeries {
    /// The starts of its windows in the piece.
    pub fn starts(&self) -> Range<usize> {
        self.from as usize..self.until as usize
    }

    /// Whether a window may start at this row of the piece.
    pub fn admits(&self, start: usize) -> bool {
        let zone = self.excluded.partition_point(|zone| zone.until as usize <= start);
        self.excluded.get(zone).is_none_or(|zone| start < zone.from as usize)
    }

    /// The most matches there can be.
    fn matches_max(&self) -> usize {
        let starts = self.until.saturating_sub(self.from);
        self.top.min(starts.div_ceil(self.apart.max(1))) as usize
    }
}

impl PartRequest for SearchSeries {
    type Protocol = SeriesMatcher;
    type Input = [u32];

    fn inputs(&self) -> Vec<ContentHash> {
        vec![self.piece, self.query]
    }

    fn answer_bytes_max(&self, _: &[Lengths<'_>]) -> usize {
        // Six integers of at most nine bytes, then at most thirteen bytes for a match.
        64 + 13 * self.matches_max()
    }

    fn check_answer(&self, inputs: &[Lengths<'_>], answer: &SearchedSeries) -> Result<(), Impossible> {
        let matches = &answer.matches;
        // Two vectors of length sqrt(m) are at most 2 sqrt(m) apart; rounding may add a little.
        let points: u32 = inputs.iter().skip(1).copied().flatten().sum();
        let distances = 0.0..=4.0 * f64::from(points) * (1.0 + 1e-9);
        Impossible::unless(
            matches.len() <= self.matches_max(),
            format_args!("{} matches, {} are the most", matches.len(), self.matches_max()),
        )?;
        let in_place = |found: &WindowMatch| {
            let start = found.start as usize;
            distances.contains(&found.distance_squared)
                && self.starts().contains(&start)
                && self.admits(start)
        };
        Impossible::unless(matches.iter().all(in_place), "a match that is none")?;
        let ordered =
            matches.is_sorted_by(|a, b| (a.distance_squared, a.start) < (b.distance_squared, b.start));
        let mut starts: Vec<u32> = matches.iter().map(|found| found.start).collect();
        starts.sort_unstable();
        let apart = starts.windows(2).all(|pair| pair[1] - pair[0] >= self.apart);
        Impossible::unless(ordered && apart, "matches out of order or too close to each other")?;
        let Settled { kim, keogh_query, keogh_data, abandoned, computed } = answer.settled;
        let settled =
            [kim, keogh_query, keogh_data, abandoned, computed].into_iter().fold(0, u64::saturating_add);
        let windows = self.starts().filter(|start| self.admits(*start)).count() as u64;
        Impossible::unless(settled == windows, format_args!("{settled} windows settled of {windows}"))?;
        // With fewer matches than wanted there is no further window that lies apart from them.
        let is_near = |start: &usize| {
            let next = starts.partition_point(|other| (*other as usize) < *start);
            let mut around = starts[next.saturating_sub(1)..].iter().take(2);
            around.any(|other| start.abs_diff(*other as usize) < self.apart as usize)
        };
        let is_complete = matches.len() >= self.top as usize
            || self.starts().filter(|start| self.admits(*start)).all(|it| is_near(&it));
        Impossible::unless(is_complete, format_args!("{} matches, while there are more", matches.len()))
    }
}

impl SeriesRequest for SearchSeries {
    fn cells(&self, inputs: &[Lengths<'_>]) -> u64 {
        let [_, [points]] = inputs else { return 0 };
        let points = u64::from(*points);
        let window = BandRule::Points(self.window.into()).cells(points, points);
        u64::from(self.until.saturating_sub(self.from)).saturating_mul(window)
    }

    fn check(&self, inputs: &[Lengths<'_>]) -> Result<(), PartError> {
        let invalid = |reason: String| Err(PartError::Invalid { reason });
        let [[piece], [query]] = inputs else {
            return invalid("two groups of one series each are expected".to_owned());
        };
        if *query as usize > QUERY_MAX {
            return invalid(format!("the query has {query} points, {QUERY_MAX} are the limit"));
        }
        let windows = (piece + 1).saturating_sub(*query);
        if self.from >= self.until || self.until > windows {
            let (from, until) = (self.from, self.until);
            return invalid(format!("windows from {from} to {until}, there are {windows}"));
        }
        if self.top == 0 || self.top > TOP_MAX || self.apart == 0 {
            let Self { top, apart, .. } = self;
            return invalid(format!(
                "the best {top}, {apart} rows apart; 1 to {TOP_MAX}, 1 or more are expected"
            ));
        }
        if self.excluded.len() > ZONES_MAX {
            return invalid(format!("{} zones are excluded, {ZONES_MAX} are the limit", self.excluded.len()));
        }
        let ascending = self.excluded.is_sorted_by(|a, b| a.until < b.from);
        if !ascending || self.excluded.iter().any(|zone| zone.from >= zone.until) {
            return invalid("the excluded zones do not ascend".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search() -> SearchSeries {
        let [piece, query] = [[1], [2]].map(|of| ContentHash::of(&of));
        let excluded = vec![Zone { from: 3, until: 5 }, Zone { from: 9, until: 10 }];
        SearchSeries { piece, query, from: 2, until: 20, window: 3, top: 4, apart: 5, excluded }
    }

    #[test]
    fn a_search_that_makes_no_sense_is_refused() {
        let inputs: &[Lengths<'_>] = &[&[25], &[6]];
        assert_eq!(search().check(inputs), Ok(()));
        assert!(search().check(&[&[24], &[6]]).is_err(), "20 is no window of 24 rows");
        assert!(search().check(&[&[25, 1], &[6]]).is_err());
        assert!(search().check(&[&[5], &[6]]).is_err());
        let changed = |change: fn(&mut SearchSeries)| {
            let mut search = search();
            change(&mut search);
            search.check(inputs).is_err()
        };
        assert!(changed(|search| search.from = 20));
        assert!(changed(|search| search.top = 0) && changed(|search| search.top = TOP_MAX + 1));
        assert!(changed(|search| search.apart = 0));
        assert!(changed(|search| search.excluded[0].until = 9), "zones that touch are one");
        assert!(changed(|search| search.excluded[0].until = 3), "an empty zone");
        assert!(changed(|search| search.excluded.reverse()));
    }

    #[test]
    fn every_window_may_take_its_matrix() {
        assert_eq!(search().cells(&[&[25], &[600]]), 18 * 600 * 7);
        assert_eq!(search().cells(&[&[25], &[6]]), 18 * 6 * 6, "no more than the whole");
    }

    #[test]
    fn zones_are_where_no_window_starts() {
        let admitted: Vec<usize> = (0..12).filter(|start| search().admits(*start)).collect();
        assert_eq!(admitted, [0, 1, 2, 5, 6, 7, 8, 10, 11]);
    }

    #[test]
    fn a6_impossible_answers_are_recognised() {
        let check = |matches: &[(u32, f64)]| {
            let found = |&(start, distance_squared)| WindowMatch { start, distance_squared };
            let matches = matches.iter().map(found).collect();
            // Three starts are excluded.
            let settled = Settled { kim: 10, computed: 5, ..Settled::default() };
            let answer = SearchedSeries { matches, settled };
            search().check_answer(&[&[25], &[6]], &answer).is_ok()
        };
        assert!(
            check(&[(12, 0.5), (2, 0.5 + 1e-9), (7, 3.0), (19, 3.0)])
                && check(&[(11, 0.5), (16, 0.5), (5, 3.0)])
        );
        for wrong in [
            &[][..],
            &[(12, 0.5), (2, 0.6), (7, 3.0)],
            &[(12, 0.5), (2, 0.6), (7, 3.0), (19, 25.0)],
            &[(1, 0.0)],
            &[(20, 0.0)],
            &[(3, 0.0)],
            &[(2, -1.0)],
            &[(2, f64::INFINITY)],
            &[(2, 1.0), (8, 0.5)],
            &[(8, 1.0), (2, 1.0)],
            &[(2, 1.0), (6, 2.0)],
            &[(2, 1.0), (2, 2.0)],
        ] {
            assert!(!check(wrong), "{wrong:?}");
        }
    }
}
