//! [`PatternMatcher`]: an actor that holds series and finds what is alike in them.

#[cfg(test)]
mod tests;
mod units;

use crate::{
    call::{Answer, Call},
    groups,
    mailbox::Mailbox,
    part_store::PartStore,
    workers::{WorkError, Workers},
};
use actix::{Actor, Addr, Context, Handler};
use std::sync::Arc;
use swarm_kernels::{KernelError, Search};
use swarm_protocols::{
    ContentHash, Part,
    similar_windows::{
        FindError, FindSimilar, PatternMatcher as MatcherProtocol, QueryMatches, SeriesPart, SimilarInPart,
        StoreError, StorePart, WindowQuery, WindowRule, Windows,
    },
    units::SeriesMatcher,
};

/// Holds parts of pattern libraries and other series in memory, and finds what is alike in them: windows, nearest
/// neighbours, distances.
///
/// It speaks two protocols: that of the same name ([`mailbox`](Self::mailbox)), and [`SeriesMatcher`]
/// ([`series_mailbox`](Self::series_mailbox)). Parts are kept
/// under the names of their content up to a bound; the least recently used make room for new ones,
/// and whoever asks for one that is gone is told so and stores it again. Searches run on workers,
/// one thread for each request, and stop soon after nobody waits for them any more; but a single distance is
/// computed to its end.
pub struct PatternMatcher {
    workers: Workers,
    parts: PartStore<Part>,
}

impl PatternMatcher {
    /// Searches on `workers`, and keeps up to `store_bytes_max` bytes of encoded parts, each
    /// counted with 256 bytes more than it has. The memory they take is at most 4/3 of that.
    ///
    /// Searches beyond the threads and the queue of `workers` are answered with
    /// [`FindError::Busy`], so the queue should hold what coordinators may ask at once.
    pub fn new(workers: Workers, store_bytes_max: usize) -> Self {
        Self { workers, parts: PartStore::new(store_bytes_max) }
    }

    /// The mailbox of a started one.
    pub fn mailbox(address: Addr<Self>) -> Mailbox<MatcherProtocol> {
        Mailbox::local(address)
    }

    /// The mailbox of a started one for [units of work](swarm_protocols::units): searches of long series,
    /// classifications and distances.
    pub fn series_mailbox(address: Addr<Self>) -> Mailbox<SeriesMatcher> {
        Mailbox::local(address)
    }
}

impl Actor for PatternMatcher {
    type Context = Context<Self>;
}

impl Handler<Call<StorePart>> for PatternMatcher {
    type Result = Result<ContentHash, StoreError>;

    fn handle(&mut self, call: Call<StorePart>, _: &mut Self::Context) -> Self::Result {
        groups::store(&mut self.parts, &call.request.part)
    }
}

impl Handler<Call<FindSimilar>> for PatternMatcher {
    type Result = Answer<FindSimilar>;

    fn handle(&mut self, call: Call<FindSimilar>, _: &mut Self::Context) -> Self::Result {
        let part = call.request.check().and_then(|()| {
            let part = call.request.part;
            let held = self.parts.get(&part).ok_or(FindError::MissingPart { part })?;
            match *held {
                Part::Series(_) => Ok(held),
                Part::Group(_) => {
                    Err(FindError::Invalid { reason: format!("{part} is no part of a pattern library") })
                }
            }
        });
        let workers = self.workers.clone();
        call.answer(async move |call| search_on(&workers, part?, call).await)
    }
}

async fn search_on(
    workers: &Workers,
    part: Arc<Part>,
    call: Call<FindSimilar>,
) -> Result<SimilarInPart, FindError> {
    let cancellation = call.cancellation();
    let found = workers.run(move || {
        let FindSimilar { rule, queries, part: _ } = &call.request;
        match &*part {
            Part::Series(part) => search(part, rule, queries, &|| cancellation.is_cancelled()),
            Part::Group(_) => unreachable!("refused before"),
        }
    });
    match found.await {
        Ok(found) => found,
        Err(WorkError::Busy) => Err(FindError::Busy),
        // Passed on, so that the caller is told what happened here.
        Err(WorkError::Panicked) => panic!("the search panicked"),
    }
}

/// Searches `part` for one query after the other; rule and queries have been checked.
fn search(
    part: &SeriesPart,
    rule: &WindowRule,
    queries: &[WindowQuery],
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<SimilarInPart, FindError> {
    let windows = Windows::of(part, rule);
    let found: Result<Vec<QueryMatches>, FindError> =
        queries.iter().map(|query| search_one(part, &windows, rule, query, cancelled)).collect();
    Ok(windows.reply(found?))
}

fn search_one(
    part: &SeriesPart,
    windows: &Windows<'_>,
    rule: &WindowRule,
    query: &WindowQuery,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<QueryMatches, FindError> {
    let candidates = u32::try_from(windows.before(query.start)).expect("a part has fewer than 2^32 bars");
    if candidates == 0 {
        // Such a part may be shorter than the query, which the kernel would refuse.
        return Ok(QueryMatches { candidates, matches: Vec::new() });
    }
    let admitted = |start| windows.is_candidate(start, query.start);
    let found = Search::new(&query.values, usize::from(rule.band))
        .map(|search| search.top(rule.top.into()).apart(rule.apart.into()))
        .and_then(|search| search.starts(&admitted).cancel(cancelled).run(part.closes()))
        .map_err(|error| match error {
            KernelError::Cancelled => FindError::Cancelled,
            error => FindError::Invalid { reason: error.to_string() },
        })?;
    let hits = found.matches.iter().map(|found| windows.hit(found.start, found.distance_squared));
    Ok(QueryMatches { candidates, matches: hits.collect() })
}
