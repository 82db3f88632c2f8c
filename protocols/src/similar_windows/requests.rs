//! The search of one part of the pattern library.

use super::{Day, SeriesPart, Symbol, WindowRule, Windows};
use crate::{
    ContentHash, Floats, Request,
    distance::BandRule,
    part::{Impossible, PartError, PartRequest},
    protocol,
};
use serde::{Deserialize, Serialize};

/// The most queries in one request.
pub const QUERIES_MAX: usize = 256;

protocol! {
    /// An actor that searches parts of a pattern library.
    pub PatternMatcher = "pattern-matcher" { FindSimilar }
}

/// Looks for the windows of one part that are most similar to each query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "find-similar", reply = SimilarInPart, error = PartError)]
pub struct FindSimilar {
    /// The part to search.
    pub part: ContentHash,
    /// What a window is and which matches are wanted.
    pub rule: WindowRule,
    /// What to look for.
    pub queries: Vec<WindowQuery>,
}

/// A window whose like is looked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowQuery {
    /// The series it is from.
    pub symbol: Symbol,
    /// The day of its first bar: candidates lie before it, together with what followed them.
    pub start: Day,
    /// The day of its last bar.
    pub end: Day,
    /// Its closes as they are; whoever compares normalises.
    pub values: Floats,
}

impl FindSimilar {
    /// Whether the request can be carried out on a part: it comes from a peer.
    pub fn check(&self) -> Result<(), PartError> {
        let Self { rule, queries, .. } = self;
        rule.check().map_err(PartError::invalid)?;
        let invalid = |reason| Err(PartError::Invalid { reason });
        if queries.is_empty() || queries.len() > QUERIES_MAX {
            return invalid(format!("{} queries, expected are 1 to {QUERIES_MAX}", queries.len()));
        }
        for WindowQuery { symbol, values, .. } in queries {
            if values.len() != usize::from(rule.length) {
                let (count, length) = (values.len(), rule.length);
                return invalid(format!("the query {symbol} has {count} values, expected are {length}"));
            }
            if let Some(value) = values.iter().find(|value| !super::CLOSE_RANGE.contains(value)) {
                return invalid(format!("a value of the query {symbol} is {value:?}"));
            }
        }
        Ok(())
    }

    /// What it takes at the worst, in cells of a warping matrix, of which a part has
    /// [`CELLS_MAX`](crate::part::CELLS_MAX) at most: the rule of the job `similar-windows` always stays within.
    pub fn cells(&self, part: &SeriesPart) -> u64 {
        let length = self.rule.length.into();
        let window = BandRule::Points(self.rule.band.into()).cells(length, length);
        (self.queries.len() * part.closes().len()) as u64 * window
    }
}

impl PartRequest for FindSimilar {
    type Protocol = PatternMatcher;

    /// The part itself: everything in an answer but the distances follows from it.
    type Input = SeriesPart;

    fn inputs(&self) -> Vec<ContentHash> {
        vec![self.part]
    }

    fn answer_bytes_max(&self, inputs: &[&SeriesPart]) -> usize {
        let bars: usize = inputs.iter().map(|part| part.closes().len()).sum();
        // Two counts a query, at most 32 bytes a match, eight a return.
        16 + self.queries.len() * (12 + 32 * usize::from(self.rule.top)) + 8 * bars
    }

    fn check_answer(&self, inputs: &[&SeriesPart], answer: &SimilarInPart) -> Result<(), Impossible> {
        answer.check(&self.rule, &self.queries).map_err(Impossible::because)?;
        let [part] = inputs else { return Err(Impossible::because("it is about one part")) };
        let windows = Windows::of(part, &self.rule);
        for (found, query) in answer.queries.iter().zip(&self.queries) {
            let symbol = &query.symbol;
            Impossible::unless(
                found.candidates as usize == windows.before(query.start),
                format_args!("{} candidates of {symbol}", found.candidates),
            )?;
            let is_window = |hit: &Hit| {
                windows.is_candidate(hit.start as usize, query.start)
                    && *hit == windows.hit(hit.start as usize, hit.distance_squared)
            };
            Impossible::unless(
                found.matches.iter().all(is_window),
                format_args!("a match of {symbol} that is no window of the part"),
            )?;
            // With fewer matches than wanted there is no further window that lies apart from them.
            let is_near = |start: &usize| {
                found.matches.iter().any(|hit| start.abs_diff(hit.start as usize) < self.rule.apart.into())
            };
            let candidates = &windows.starts()[..found.candidates as usize];
            Impossible::unless(
                found.matches.len() >= self.rule.top.into() || candidates.iter().all(is_near),
                format_args!("{} matches of {symbol}, while there are more", found.matches.len()),
            )?;
        }
        let returns = windows.reply(answer.queries.clone()).following_returns;
        Impossible::unless(*returns == *answer.following_returns, "returns that are not those of the part")
    }
}

/// The windows of one part that are most similar to each query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimilarInPart {
    /// One entry for each query, in the order of the request.
    pub queries: Vec<QueryMatches>,
    /// What followed the windows of the part in the order of time, as many as the query with the
    /// most candidates has. The candidates of a query are a prefix of the windows, so its number
    /// of candidates says which of these are its own.
    pub following_returns: Floats,
}

/// What was found for one query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryMatches {
    /// How many windows were compared.
    pub candidates: u32,
    /// The best of them, by distance, then by time.
    pub matches: Vec<Hit>,
}

/// A window of the part that is among the most similar ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The index of its first bar in the part.
    pub start: u32,
    /// The day of its first bar.
    pub first: Day,
    /// The day of its last bar.
    pub last: Day,
    /// The squared distance to the query.
    pub distance_squared: f64,
    /// The gain over the bars that followed, as a share of the window's last close.
    pub following_return: f64,
}

/// Why a reply cannot answer the request it was given for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReply {
    /// It answers more or fewer queries than were asked.
    #[error("{answered} queries answered, {asked} were asked")]
    Queries {
        /// How many it answers.
        answered: usize,
        /// How many were asked.
        asked: usize,
    },
    /// The returns are not those of as many windows as the largest number of candidates.
    #[error("{returns} following returns for {candidates} candidates")]
    Returns {
        /// How many there are.
        returns: usize,
        /// The largest number of candidates of a query.
        candidates: usize,
    },
    /// A distance or a return is no finite number.
    #[error("a distance or a return is no finite number")]
    NotFinite,
    /// There are candidates without a match, matches without a candidate, or too many matches.
    #[error("{matches} matches among {candidates} candidates of {symbol}, wanted are {top} at the most")]
    Matches {
        /// The series of the query.
        symbol: Symbol,
        /// How many matches there are.
        matches: usize,
        /// How many windows were compared.
        candidates: u32,
        /// How many matches were wanted.
        top: u16,
    },
    /// The matches are not in order, too close to one another, or not before the query.
    #[error("the matches of {symbol} break the rule of the search")]
    Rule {
        /// The series of the query.
        symbol: Symbol,
    },
}

impl SimilarInPart {
    /// Whether this can be the answer to `queries` under `rule`: it comes from a peer. What is not
    /// checked is whether the distances are right.
    pub fn check(&self, rule: &WindowRule, queries: &[WindowQuery]) -> Result<(), InvalidReply> {
        if self.queries.len() != queries.len() {
            return Err(InvalidReply::Queries { answered: self.queries.len(), asked: queries.len() });
        }
        let candidates = self.queries.iter().map(|query| query.candidates).max().unwrap_or(0) as usize;
        if self.following_returns.len() != candidates {
            return Err(InvalidReply::Returns { returns: self.following_returns.len(), candidates });
        }
        let hits = self.queries.iter().flat_map(|query| &query.matches);
        let numbers = hits.flat_map(|hit| [hit.distance_squared, hit.following_return]);
        if !numbers.chain(self.following_returns.iter().copied()).all(f64::is_finite) {
            return Err(InvalidReply::NotFinite);
        }
        self.queries.iter().zip(queries).try_for_each(|(found, query)| found.check(rule, query))
    }
}

impl QueryMatches {
    fn check(&self, rule: &WindowRule, query: &WindowQuery) -> Result<(), InvalidReply> {
        let (matches, candidates) = (self.matches.len(), self.candidates);
        let symbol = query.symbol.clone();
        let plausible = matches <= usize::from(rule.top).min(candidates as usize);
        if !plausible || (matches == 0) != (candidates == 0) {
            return Err(InvalidReply::Matches { symbol, matches, candidates, top: rule.top });
        }
        let ordered =
            self.matches.is_sorted_by(|a, b| (a.distance_squared, a.start) <= (b.distance_squared, b.start));
        let apart = self.matches.iter().enumerate().all(|(at, hit)| {
            self.matches[..at].iter().all(|better| better.start.abs_diff(hit.start) >= u32::from(rule.apart))
        });
        // Two vectors of length sqrt(m) are at most 2 sqrt(m) apart; rounding may add a little.
        let distances = 0.0..=4.0 * f64::from(rule.length) * (1.0 + 1e-9);
        let in_place = self.matches.iter().all(|hit| {
            distances.contains(&hit.distance_squared) && hit.first < hit.last && hit.last < query.start
        });
        if ordered && apart && in_place { Ok(()) } else { Err(InvalidReply::Rule { symbol }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{part::CELLS_MAX, similar_windows::BARS_MAX, wire::codec};

    fn day(days: i32) -> Day {
        Day::from_epoch_days(days).unwrap()
    }

    fn query(values: Vec<f64>) -> WindowQuery {
        WindowQuery { symbol: "SPY".parse().unwrap(), start: day(500), end: day(590), values: values.into() }
    }

    fn hit(start: u32, distance_squared: f64) -> Hit {
        let first = start as i32;
        Hit { start, first: day(first), last: day(first + 59), distance_squared, following_return: 0.01 }
    }

    fn reply(candidates: u32, matches: &[Hit]) -> SimilarInPart {
        let queries = vec![QueryMatches { candidates, matches: matches.to_vec() }];
        SimilarInPart { queries, following_returns: vec![0.02; candidates as usize].into() }
    }

    #[test]
    fn an_absurd_search_is_refused_with_its_reason() {
        let part = ContentHash::of(b"part");
        let search = |queries| FindSimilar { part, rule: WindowRule::DAILY, queries };
        let reason = |search: FindSimilar| match search.check() {
            Err(PartError::Invalid { reason }) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(search(vec![query(vec![1.0; 60])]).check(), Ok(()));
        assert_eq!(reason(search(vec![])), "0 queries, expected are 1 to 256");
        assert_eq!(
            reason(search(vec![query(vec![1.0; 59])])),
            "the query SPY has 59 values, expected are 60"
        );
        assert_eq!(reason(search(vec![query(vec![f64::NAN; 60])])), "a value of the query SPY is NaN");
        assert_eq!(reason(search(vec![query(vec![1e308; 60])])), "a value of the query SPY is 1e308");
        let rule = WindowRule { top: 0, ..WindowRule::DAILY };
        let absurd = FindSimilar { rule, ..search(vec![query(vec![1.0; 60])]) };
        assert_eq!(reason(absurd), "top is 0, expected is 1 to 100");
    }

    #[test]
    fn a_reply_that_breaks_the_rule_is_recognised() {
        let queries = [query(vec![1.0; 60])];
        let check = |reply: SimilarInPart| reply.check(&WindowRule::DAILY, &queries);
        let broken = Err(InvalidReply::Rule { symbol: "SPY".parse().unwrap() });
        assert_eq!(check(reply(9, &[hit(0, 1.0), hit(60, 2.0)])), Ok(()));
        assert_eq!(check(reply(0, &[])), Ok(()));
        assert_eq!(check(reply(9, &[hit(0, 1.0), hit(59, 2.0)])), broken, "too close");
        assert_eq!(check(reply(9, &[hit(0, 2.0), hit(60, 1.0)])), broken, "worse one first");
        assert_eq!(check(reply(9, &[hit(60, 1.0), hit(0, 1.0)])), broken, "later one first");
        assert_eq!(check(reply(9, &[hit(0, -1.0)])), broken, "negative");
        assert_eq!(check(reply(9, &[hit(0, 241.0)])), broken, "farther than two windows can be");
        assert_eq!(check(reply(9, &[hit(441, 1.0)])), broken, "reaches into the query");
        assert_eq!(check(reply(9, &[hit(0, f64::NAN)])), Err(InvalidReply::NotFinite));
        assert!(matches!(check(reply(9, &[])), Err(InvalidReply::Matches { .. })));
        assert!(matches!(check(reply(0, &[hit(0, 1.0)])), Err(InvalidReply::Matches { .. })));
        let many: Vec<Hit> = (0..6).map(|i| hit(i * 60, f64::from(i))).collect();
        assert!(matches!(check(reply(9, &many)), Err(InvalidReply::Matches { .. })));
        let short = SimilarInPart { following_returns: vec![0.0].into(), ..reply(9, &[hit(0, 1.0)]) };
        assert_eq!(check(short), Err(InvalidReply::Returns { returns: 1, candidates: 9 }));
        let none = SimilarInPart { queries: vec![], following_returns: vec![].into() };
        assert_eq!(check(none), Err(InvalidReply::Queries { answered: 0, asked: 1 }));
    }

    #[test]
    fn the_job_is_within_the_work_of_a_part_and_the_worst_rule_is_not() {
        let days = (0..BARS_MAX as i32).map(day).collect();
        let part = SeriesPart::new("A".parse().unwrap(), days, vec![1.0; BARS_MAX]).unwrap();
        let cells = |rule, values: usize| {
            let queries = vec![query(vec![1.0; values]); QUERIES_MAX];
            FindSimilar { part: ContentHash::of(b"part"), rule, queries }.cells(&part)
        };
        assert!(cells(WindowRule::DAILY, 60) < CELLS_MAX);
        let worst = WindowRule { length: 1_000, band: 999, ..WindowRule::DAILY };
        assert_eq!(cells(worst, 1_000), 256 * 65_536 * 1_000 * 1_000);
    }

    #[test]
    fn requests_and_replies_survive_the_wire() {
        let search = FindSimilar {
            part: ContentHash::of(b"part"),
            rule: WindowRule::DAILY,
            queries: vec![query(vec![1.5; 60])],
        };
        assert_eq!(codec::decode(&codec::encode(&search).unwrap()), Ok(search));
        let found = reply(3, &[hit(0, 1.0)]);
        assert_eq!(codec::decode(&codec::encode(&found).unwrap()), Ok(found));
    }
}
