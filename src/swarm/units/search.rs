//! A search for the windows of a series that are most like a query, spread over a swarm.

use std::ops::Range;

use swarm_protocols::series_search::{Merge, Pieces, Question, SearchSeries, Settled, Step};
use swarm_protocols::units::{Unit, UnitAnswer};

use super::Contents;
use crate::swarm::job::{JobError, Operator};
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
    let mut contents = Contents::default();
    let query_hash = contents.add([query])?;
    let pieces = cut.pieces.iter().map(|rows| contents.add([&series[rows.clone()]]));
    let pieces = pieces.collect::<Result<Vec<_>, _>>()?;

    let row = |rows: usize| u32::try_from(rows).expect("a piece has fewer than 2^32 rows");
    let first_row = |question: &Question| cut.pieces[cut.blocks[question.block].piece].start;
    let unit = |question: &Question| {
        let (block, first) = (&cut.blocks[question.block], first_row(question));
        Unit::Search(SearchSeries {
            piece: pieces[block.piece],
            query: query_hash,
            from: row(block.starts.start - first),
            until: row(block.starts.end - first),
            window: row(window.min(query.len())),
            top: u32::try_from(question.top).unwrap_or(u32::MAX),
            apart: row(query.len()),
            excluded: question.zones_from(first),
        })
    };
    let mut merge =
        Merge::new(cut.blocks.iter().map(|block| block.starts.clone()), top, query.len(), excluded);
    let mut settled = Settled::default();
    loop {
        let questions = match merge.step() {
            Step::Done(matches) => return Ok(Found { matches, settled }),
            Step::Ask(questions) => questions,
        };
        let units: Vec<Unit> = questions.iter().map(unit).collect();
        let answers = operator.compute("search", &units, &contents, progress).await?;
        for (question, answer) in questions.iter().zip(answers) {
            let UnitAnswer::Search(answer) = answer else {
                unreachable!("answers were checked by their kind")
            };
            settled += answer.settled;
            let first = first_row(question);
            merge.answer(question, answer.matches.iter().map(|found| found.in_series(first)));
        }
    }
}
