//! A search for the windows of a series that are most like a query, spread over a swarm.

use std::ops::Range;

use swarm_actors::task::Task;
use swarm_kernels::{Band, compared, dtw, z_normalize};
use swarm_protocols::ContentHash;
use swarm_protocols::part::Impossible;
use swarm_protocols::series_search::{Merge, Pieces, Question, SearchSeries, SearchedSeries, Settled, Step};

use super::spot_checks::{SpotChecks, agrees};
use super::{Groups, add, check_work};
use crate::swarm::jobs::Terms;
use crate::swarm::operator::{JobError, Operator};
use crate::swarm::progress::Progress;

/// What is looked for.
#[derive(Debug, Clone)]
pub(crate) struct SearchTerms {
    /// Half-width of the band in points.
    pub(crate) window: usize,
    /// How many matches, which start the length of the query apart at least.
    pub(crate) top: usize,
    /// Where no match may start.
    pub(crate) excluded: Option<Range<usize>>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Squared distance and start of each match, nearest first.
    pub(crate) matches: Vec<(f64, usize)>,
    /// What became of all windows; those of a block that was searched again count again.
    pub(crate) settled: Settled,
}

/// A search through a series, in requests that agents do.
pub(crate) struct SeriesSearch<'a> {
    series: &'a [f64],
    query: &'a [f64],
    terms: SearchTerms,
    cut: Pieces,
    groups: Groups,
    query_hash: ContentHash,
    pieces: Vec<ContentHash>,
}

impl<'a> SeriesSearch<'a> {
    /// Cuts a series, which is not shorter than the query, where no window is too much.
    pub(crate) fn of(series: &'a [f64], query: &'a [f64], terms: SearchTerms) -> Result<Self, JobError> {
        let cut = Pieces::of(series.len(), query.len(), terms.window);
        let mut groups = Groups::new();
        let query_hash = add(&mut groups, [query])?;
        let pieces = cut.pieces.iter().map(|rows| add(&mut groups, [&series[rows.clone()]]));
        let pieces = pieces.collect::<Result<Vec<_>, _>>()?;
        let search = Self { series, query, terms, cut, groups, query_hash, pieces };
        let blocks = 0..search.cut.blocks.len();
        let of_block = |block| search.request(&Question { block, top: 1, excluded: Vec::new() });
        check_work(&blocks.map(of_block).collect::<Vec<_>>(), &search.groups, "--window")?;
        Ok(search)
    }

    fn request(&self, question: &Question) -> SearchSeries {
        let row = |rows: usize| u32::try_from(rows).expect("a piece has fewer than 2^32 rows");
        let (block, first) = (&self.cut.blocks[question.block], self.first_row(question));
        SearchSeries {
            piece: self.pieces[block.piece],
            query: self.query_hash,
            from: row(block.starts.start - first),
            until: row(block.starts.end - first),
            window: row(self.terms.window.min(self.query.len())),
            top: u32::try_from(question.top).unwrap_or(u32::MAX),
            apart: row(self.query.len()),
            excluded: question.zones_from(first),
        }
    }

    /// The first row of the piece with the block that is asked.
    fn first_row(&self, question: &Question) -> usize {
        self.cut.pieces[self.cut.blocks[question.block].piece].start
    }

    /// Has agents search. The matches are those of a search on this machine.
    pub(crate) async fn run(self, operator: &Operator, progress: &mut Progress) -> Result<Found, JobError> {
        let Self { series, query, terms: SearchTerms { top, ref excluded, .. }, ref cut, .. } = self;
        let blocks = cut.blocks.iter().map(|block| block.starts.clone());
        let mut merge = Merge::new(blocks, top, query.len(), excluded.clone());
        let mut settled = Settled::default();
        loop {
            let questions = match merge.step() {
                Step::Done(matches) => return Ok(Found { matches, settled }),
                Step::Ask(questions) => questions,
            };
            let checks = SpotChecks::of(questions.len());
            let check = |request: &SearchSeries, answer: &SearchedSeries| {
                // Pieces under one hash are the same rows.
                let piece = self.pieces.iter().position(|piece| *piece == request.piece);
                let rows = piece.map_or(0..0, |at| cut.pieces[at].clone());
                are_right(&series[rows], query, request.window, answer, &checks)
            };
            let requests = questions.iter().map(|question| self.request(question));
            let task = Task::parts(requests).inputs(&self.groups).kind("search").check(check);
            let answers = operator.compute("search", task, Terms::default(), progress).await?.answers;
            for (question, answer) in questions.iter().zip(answers) {
                settled += answer.settled;
                let first = self.first_row(question);
                merge.answer(question, answer.matches.iter().map(|found| found.in_series(first)));
            }
        }
    }
}

/// Whether windows lie as far from the query as is claimed.
fn are_right(
    piece: &[f64],
    query: &[f64],
    window: u32,
    answer: &SearchedSeries,
    checks: &SpotChecks,
) -> Result<(), Impossible> {
    let (points, normalized) = (query.len(), z_normalize(query));
    let cells = points as u64 * (2 * u64::from(window) + 1).min(points as u64);
    checks.positions(answer.matches.len(), cells).into_iter().try_for_each(|at| {
        let found = answer.matches[at];
        let rows = z_normalize(&piece[found.start as usize..][..points]);
        let distance = dtw::distance_squared(&normalized, &rows, Band::Points(window as usize));
        let distance = compared(distance.map_err(Impossible::because)?, points);
        let what = format_args!("the squared distance of the window at row {} of its piece", found.start);
        agrees(found.distance_squared, distance, what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_kernels::Search;
    use swarm_protocols::series_search::WindowMatch;

    #[test]
    fn a6_windows_that_are_not_as_near_as_claimed_are_refused() {
        let piece: Vec<f64> = (0..900_u32).map(|i| f64::from(i * i % 131) + f64::from(i % 17)).collect();
        let query = piece[300..340].to_vec();
        let found = Search::new(&query, 4).unwrap().top(6).run(&piece).unwrap().matches;
        let as_match = |found: &swarm_kernels::search::Match| WindowMatch {
            start: found.start as u32,
            distance_squared: found.distance_squared,
        };
        let honest =
            SearchedSeries { matches: found.iter().map(as_match).collect(), settled: Settled::default() };
        let check = |answer: &SearchedSeries| are_right(&piece, &query, 4, answer, &SpotChecks::of(1));
        assert_eq!(check(&honest), Ok(()));
        for at in 1..6 {
            for distance_squared in [0.0, 0.99 * honest.matches[at].distance_squared] {
                let mut lie = honest.clone();
                lie.matches[at].distance_squared = distance_squared;
                let refused = check(&lie).unwrap_err().to_string();
                assert!(refused.contains("the squared distance of the window at row"), "{refused}");
            }
        }
    }
}
