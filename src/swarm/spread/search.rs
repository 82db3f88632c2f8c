//! A search for the windows of a series that are most like a query, spread over a swarm.

use std::ops::Range;

use swarm_actors::task::Task;
use swarm_kernels::{Band, compared, dtw, z_normalize};
use swarm_protocols::part::Impossible;
use swarm_protocols::series_search::{Merge, Pieces, Question, SearchSeries, SearchedSeries, Settled, Step};

use super::spot_checks::{SpotChecks, agrees};
use super::{Groups, add};
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

/// Searches `series`, which is not shorter than the query. The matches are those of a search on this machine.
pub(crate) async fn search(
    operator: &Operator,
    series: &[f64],
    query: &[f64],
    terms: SearchTerms,
    progress: &mut Progress,
) -> Result<Found, JobError> {
    let SearchTerms { window, top, excluded } = terms;
    let cut = Pieces::of(series.len(), query.len(), window);
    let mut groups = Groups::new();
    let query_hash = add(&mut groups, [query])?;
    let pieces = cut.pieces.iter().map(|rows| add(&mut groups, [&series[rows.clone()]]));
    let pieces = pieces.collect::<Result<Vec<_>, _>>()?;

    let row = |rows: usize| u32::try_from(rows).expect("a piece has fewer than 2^32 rows");
    let first_row = |question: &Question| cut.pieces[cut.blocks[question.block].piece].start;
    let request = |question: &Question| {
        let (block, first) = (&cut.blocks[question.block], first_row(question));
        SearchSeries {
            piece: pieces[block.piece],
            query: query_hash,
            from: row(block.starts.start - first),
            until: row(block.starts.end - first),
            window: row(window.min(query.len())),
            top: u32::try_from(question.top).unwrap_or(u32::MAX),
            apart: row(query.len()),
            excluded: question.zones_from(first),
        }
    };
    let mut merge =
        Merge::new(cut.blocks.iter().map(|block| block.starts.clone()), top, query.len(), excluded);
    let mut settled = Settled::default();
    loop {
        let questions = match merge.step() {
            Step::Done(matches) => return Ok(Found { matches, settled }),
            Step::Ask(questions) => questions,
        };
        let checks = SpotChecks::of(questions.len());
        let check = |request: &SearchSeries, answer: &SearchedSeries| {
            // Pieces under one hash are the same rows.
            let piece = pieces.iter().position(|piece| *piece == request.piece);
            let rows = piece.map_or(0..0, |at| cut.pieces[at].clone());
            are_right(&series[rows], query, request.window, answer, &checks)
        };
        let task = Task::parts(questions.iter().map(request)).inputs(&groups).kind("search").check(check);
        let answers = operator.compute("search", task, Terms::default(), progress).await?.answers;
        for (question, answer) in questions.iter().zip(answers) {
            settled += answer.settled;
            let first = first_row(question);
            merge.answer(question, answer.matches.iter().map(|found| found.in_series(first)));
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
