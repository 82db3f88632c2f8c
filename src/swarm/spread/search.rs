//! A search for the windows of a series that are most like a query, spread over a swarm.

use std::ops::Range;

use swarm_actors::task::Task;
use swarm_protocols::series_search::{Merge, Pieces, Question, SearchSeries, Settled, Step};

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
        let task = Task::parts(questions.iter().map(request)).inputs(&groups).kind("search");
        let answers = operator.compute("search", task, Terms::default(), progress).await?.answers;
        for (question, answer) in questions.iter().zip(answers) {
            settled += answer.settled;
            let first = first_row(question);
            merge.answer(question, answer.matches.iter().map(|found| found.in_series(first)));
        }
    }
}
