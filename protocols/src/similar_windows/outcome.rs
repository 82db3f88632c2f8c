//! The outcome of a search over the whole library, merged from its parts.

use super::{Day, Hit, InvalidReply, SimilarInPart, Symbol, WindowQuery, WindowRule};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What history followed the windows most similar to each query. Its JSON is that of the job
/// `similar-windows`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimilarWindows {
    /// One entry for each query, in their order.
    pub symbols: Vec<SimilarToQuery>,
}

/// The windows most similar to one query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimilarToQuery {
    /// The series of the query.
    pub symbol: Symbol,
    /// The query's first and last day.
    pub query: Span,
    /// How many windows were compared.
    pub candidates: u64,
    /// The best of them: by distance, then by symbol, then by time.
    pub matches: Vec<Match>,
    /// What followed the matches; nothing where there is none.
    pub following: Option<Distribution>,
    /// What followed all candidates: what `following` is to be judged by.
    pub unconditional: Option<Distribution>,
}

/// The first and the last day of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The day of the first bar.
    pub start: Day,
    /// The day of the last bar.
    pub end: Day,
}

/// A window among the most similar ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// The series it is from.
    pub symbol: Symbol,
    /// The day of its first bar.
    pub start: Day,
    /// The day of its last bar.
    pub end: Day,
    /// The distance to the query, not squared.
    pub distance: f64,
    /// The gain over the bars that followed, as a share of the window's last close.
    pub following_return: f64,
}

/// What a set of returns looks like, as shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// The arithmetic mean.
    pub mean: f64,
    /// The middle one.
    pub median: f64,
    /// One in twenty is below it.
    pub p05: f64,
    /// One in twenty is above it.
    pub p95: f64,
    /// The share of returns above zero.
    pub share_up: f64,
}

impl Distribution {
    /// The distribution of finite `returns`; `None` when there are none.
    pub fn of(mut returns: Vec<f64>) -> Option<Self> {
        if returns.is_empty() {
            return None;
        }
        let count = returns.len() as f64;
        let mean = returns.iter().sum::<f64>() / count;
        let share_up = returns.iter().filter(|value| **value > 0.0).count() as f64 / count;
        returns.sort_unstable_by(f64::total_cmp);
        let quantile = |share| quantile(&returns, share);
        Some(Self { mean, median: quantile(0.5), p05: quantile(0.05), p95: quantile(0.95), share_up })
    }
}

/// Interpolates linearly between order statistics: definition 7 of Hyndman and Fan (1996), the
/// default of R and NumPy. `sorted` holds at least one value.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = (sorted.len() - 1) as f64 * share;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

/// Why the replies of the parts do not merge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the reply for the part {symbol}: {reason}")]
pub struct MergeError {
    /// The series of the part whose reply is wrong.
    pub symbol: Symbol,
    /// What is wrong with it.
    pub reason: InvalidReply,
}

/// Merges what was found in every part of the library, which is a whole series each, into what is
/// found in the library. The result does not depend on who answered for a part, nor when: parts
/// are taken in the order of their symbols.
pub fn merge(
    rule: &WindowRule,
    queries: &[WindowQuery],
    parts: &BTreeMap<Symbol, SimilarInPart>,
) -> Result<SimilarWindows, MergeError> {
    for (symbol, part) in parts {
        part.check(rule, queries).map_err(|reason| MergeError { symbol: symbol.clone(), reason })?;
    }
    let symbols = queries.iter().enumerate().map(|(at, query)| merge_one(rule, query, at, parts)).collect();
    Ok(SimilarWindows { symbols })
}

/// Merges the answers to the query at position `at`, which are there: the parts have been checked.
fn merge_one(
    rule: &WindowRule,
    query: &WindowQuery,
    at: usize,
    parts: &BTreeMap<Symbol, SimilarInPart>,
) -> SimilarToQuery {
    let mut hits: Vec<(&Symbol, &Hit)> = Vec::new();
    let mut returns = Vec::new();
    for (symbol, part) in parts {
        let found = &part.queries[at];
        hits.extend(found.matches.iter().map(|hit| (symbol, hit)));
        returns.extend_from_slice(&part.following_returns[..found.candidates as usize]);
    }
    hits.sort_by(|(symbol_a, a), (symbol_b, b)| {
        let by_distance = a.distance_squared.total_cmp(&b.distance_squared);
        by_distance.then_with(|| symbol_a.cmp(symbol_b)).then_with(|| a.first.cmp(&b.first))
    });
    let matches: Vec<Match> = hits
        .into_iter()
        .take(usize::from(rule.top))
        .map(|(symbol, hit)| Match {
            symbol: symbol.clone(),
            start: hit.first,
            end: hit.last,
            distance: hit.distance_squared.sqrt(),
            following_return: hit.following_return,
        })
        .collect();
    SimilarToQuery {
        symbol: query.symbol.clone(),
        query: Span { start: query.start, end: query.end },
        candidates: returns.len() as u64,
        following: Distribution::of(matches.iter().map(|found| found.following_return).collect()),
        matches,
        unconditional: Distribution::of(returns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_order_statistics() {
        // R: quantile(c(3, 1, 4, 1, 5), c(.05, .5, .95), type = 7)
        let of = Distribution::of(vec![3.0, 1.0, 4.0, 1.0, 5.0]).unwrap();
        assert_eq!((of.mean, of.p05, of.median, of.share_up), (2.8, 1.0, 3.0, 1.0));
        assert!((of.p95 - 4.8).abs() < 1e-12);
        let of = Distribution::of(vec![-0.1, 0.0, 0.2, 0.3]).unwrap();
        assert!((of.median - 0.1).abs() < 1e-15 && (of.p05 + 0.085).abs() < 1e-15);
        assert_eq!(of.share_up, 0.5, "nothing gained is not up");
    }

    #[test]
    fn a_single_return_is_its_own_distribution_and_no_return_has_none() {
        let expected = Distribution { mean: -0.5, median: -0.5, p05: -0.5, p95: -0.5, share_up: 0.0 };
        assert_eq!(Distribution::of(vec![-0.5]), Some(expected));
        assert_eq!(Distribution::of(vec![]), None);
    }
}
