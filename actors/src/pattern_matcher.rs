//! [`PatternMatcher`]: an actor that holds series and finds what is alike in them.

mod series;
#[cfg(test)]
mod tests;

pub use series::{settled_of, width_of};

use crate::{
    call::{Answer, Call},
    content_store::Contents,
    mailbox::Mailbox,
    parts::{self, Cancelled, part_error},
    workers::Workers,
};
use actix::{Actor, Context, Handler};
use std::sync::Arc;
use swarm_kernels::Search;
use swarm_protocols::{
    part::{PartError, TooMuchWork},
    series_matcher::SeriesMatcher,
    similar_windows::{
        FindSimilar, PatternMatcher as MatcherProtocol, QueryMatches, SeriesPart, SimilarInPart, WindowQuery,
        WindowRule, Windows,
    },
};

/// Finds what is alike in series that its node keeps: windows, nearest neighbours, distances.
///
/// It speaks two protocols: that of the same name ([`mailbox`](Self::mailbox)), and [`SeriesMatcher`]
/// ([`series_mailbox`](Self::series_mailbox)). A request names its inputs by their content; one of which the node has
/// no content is answered with [`PartError::MissingInputs`], and can be repeated once that is stored. Searches run on
/// workers, one thread for each request, and stop some milliseconds after nobody waits for them any more, in the middle of
/// a distance too.
pub struct PatternMatcher {
    workers: Workers,
    contents: Contents,
}

impl PatternMatcher {
    /// Searches in `contents`, on `workers`.
    ///
    /// Requests beyond the threads and the queue of `workers` are answered with
    /// [`Overloaded`](swarm_protocols::DeliveryError::Overloaded), so the queue should hold what coordinators may ask
    /// at once.
    pub fn new(workers: Workers, contents: Contents) -> Self {
        Self { workers, contents }
    }

    /// Starts it on this thread, with a mailbox for similar windows.
    pub fn mailbox(self) -> Mailbox<MatcherProtocol> {
        Mailbox::start(self)
    }

    /// Starts it on this thread, with a mailbox for searches of long series, classifications and distances.
    pub fn series_mailbox(self) -> Mailbox<SeriesMatcher> {
        Mailbox::start(self)
    }
}

impl Actor for PatternMatcher {
    type Context = Context<Self>;
}

impl Handler<Call<FindSimilar>> for PatternMatcher {
    type Result = Answer<FindSimilar>;

    fn handle(&mut self, call: Call<FindSimilar>, _: &mut Self::Context) -> Self::Result {
        parts::answer(&self.contents, &self.workers, call, |find, inputs: &[Arc<SeriesPart>], cancelled| {
            find.check()?;
            let [part] = inputs else { return Err(PartError::invalid("it is about one part")) };
            TooMuchWork::unless_within(find.cells(part)).map_err(PartError::invalid)?;
            search(part, &find.rule, &find.queries, cancelled)
        })
    }
}

/// Searches `part` for one query after the other; rule and queries have been checked.
fn search(
    part: &SeriesPart,
    rule: &WindowRule,
    queries: &[WindowQuery],
    cancelled: Cancelled<'_>,
) -> Result<SimilarInPart, PartError> {
    let windows = Windows::of(part, rule);
    let found: Result<Vec<QueryMatches>, PartError> =
        queries.iter().map(|query| search_one(part, &windows, rule, query, cancelled)).collect();
    Ok(windows.reply(found?))
}

fn search_one(
    part: &SeriesPart,
    windows: &Windows<'_>,
    rule: &WindowRule,
    query: &WindowQuery,
    cancelled: Cancelled<'_>,
) -> Result<QueryMatches, PartError> {
    let candidates = u32::try_from(windows.before(query.start)).expect("a part has fewer than 2^32 bars");
    if candidates == 0 {
        // Such a part may be shorter than the query, which the kernel would refuse.
        return Ok(QueryMatches { candidates, matches: Vec::new() });
    }
    let admitted = |start| windows.is_candidate(start, query.start);
    let found = Search::new(&query.values, usize::from(rule.band))
        .map(|search| search.top(rule.top.into()).apart(rule.apart.into()))
        .and_then(|search| search.starts(&admitted).cancel(cancelled).run(part.closes()))
        .map_err(part_error)?;
    let hits = found.matches.iter().map(|found| windows.hit(found.start, found.distance_squared));
    Ok(QueryMatches { candidates, matches: hits.collect() })
}
