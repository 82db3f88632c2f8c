//! The whole rule against a plain reading of it: one search over all series at once.

use super::*;
use crate::{ContentHash, part::PartRequest as _};
use std::collections::BTreeMap;

const RULE: WindowRule = WindowRule { length: 8, following: 3, max_gap_days: 4, band: 2, top: 4, apart: 8 };

/// Linear congruential numbers (Knuth, MMIX): the series are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Series of few different steps, so that equal windows and equal distances are common, with an
/// occasional gap, in which one series is a copy of another.
fn library(seed: u64) -> BTreeMap<Symbol, SeriesPart> {
    let mut numbers = Numbers(seed);
    let mut library: BTreeMap<Symbol, SeriesPart> = BTreeMap::new();
    for name in ["A", "B", "C", "D"] {
        let (mut day, mut close, mut days, mut closes) = (100, 50.0, Vec::new(), Vec::new());
        for _ in 0..60 + numbers.below(60) {
            day += if numbers.below(25) == 0 { 6 } else { 1 + numbers.below(3) as i32 };
            close = f64::max(close + numbers.below(3) as f64 - 1.0, 10.0);
            days.push(Day::from_epoch_days(day).unwrap());
            closes.push(close);
        }
        let part = SeriesPart::new(name.parse().unwrap(), days, closes).unwrap();
        library.insert(part.symbol().clone(), part);
    }
    let copied = &library[&"A".parse::<Symbol>().unwrap()];
    let copy =
        SeriesPart::new("E".parse().unwrap(), copied.days().to_vec(), copied.closes().to_vec()).unwrap();
    library.insert(copy.symbol().clone(), copy);
    library
}

fn normalised(values: &[f64]) -> Vec<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    values.iter().map(|value| if deviation == 0.0 { 0.0 } else { (value - mean) / deviation }).collect()
}

/// Squared banded warping distance, the whole matrix.
fn distance_squared(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (normalised(a), normalised(b));
    let mut cost = vec![vec![f64::INFINITY; b.len() + 1]; a.len() + 1];
    cost[0][0] = 0.0;
    for i in 1..=a.len() {
        for j in (1..=b.len()).filter(|j| i.abs_diff(*j) <= usize::from(RULE.band)) {
            let before = cost[i - 1][j - 1].min(cost[i - 1][j]).min(cost[i][j - 1]);
            cost[i][j] = before + (a[i - 1] - b[j - 1]).powi(2);
        }
    }
    cost[a.len()][b.len()]
}

/// What one actor does with one part.
fn search(part: &SeriesPart, queries: &[WindowQuery]) -> SimilarInPart {
    let windows = Windows::of(part, &RULE);
    let found = queries.iter().map(|query| {
        let candidates = &windows.starts()[..windows.before(query.start)];
        let mut scored: Vec<(f64, usize)> = candidates
            .iter()
            .map(|start| (distance_squared(&query.values, &part.closes()[*start..start + 8]), *start))
            .collect();
        scored.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let mut matches: Vec<Hit> = Vec::new();
        for (distance, start) in scored {
            let apart = matches.iter().all(|hit| hit.start.abs_diff(start as u32) >= 8);
            if apart && matches.len() < 4 {
                matches.push(windows.hit(start, distance));
            }
        }
        QueryMatches { candidates: candidates.len() as u32, matches }
    });
    windows.reply(found.collect())
}

/// The rule as its description reads, over all series at once: the number of candidates, what
/// followed them, and the matches as symbol, index of the first bar and squared distance.
fn plain(
    library: &BTreeMap<Symbol, SeriesPart>,
    query: &WindowQuery,
) -> (u64, Vec<f64>, Vec<(Symbol, usize, f64)>) {
    let (mut returns, mut found) = (Vec::new(), Vec::new());
    for (symbol, part) in library {
        for start in 0..(part.days().len() + 1).saturating_sub(11) {
            let days = &part.days()[start..start + 11];
            if days.windows(2).any(|pair| pair[1].days_since(pair[0]) > 4) || days[10] >= query.start {
                continue;
            }
            let closes = &part.closes()[start..start + 11];
            returns.push(closes[10] / closes[7] - 1.0);
            found.push((distance_squared(&query.values, &closes[..8]), symbol, days[0], start));
        }
    }
    found.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let mut best: Vec<(Symbol, usize, f64)> = Vec::new();
    for (distance, symbol, _, start) in found {
        if best.len() < 4 && best.iter().all(|(other, at, _)| other != symbol || at.abs_diff(start) >= 8) {
            best.push((symbol.clone(), start, distance));
        }
    }
    (returns.len() as u64, returns, best)
}

#[test]
fn merged_parts_are_the_search_of_the_whole_library() {
    for seed in 0..40 {
        let library = library(seed);
        let queries: Vec<WindowQuery> =
            library.values().map(|part| part.last_window(&RULE).unwrap()).collect();
        let parts = library.iter().map(|(symbol, part)| (symbol.clone(), search(part, &queries))).collect();
        let merged = merge(&RULE, &queries, &parts).unwrap();
        assert_eq!(merged.symbols.len(), queries.len());
        for (query, got) in queries.iter().zip(&merged.symbols) {
            let (candidates, returns, best) = plain(&library, query);
            let expected: Vec<Match> = best
                .into_iter()
                .map(|(symbol, start, distance)| {
                    let (days, closes) = (library[&symbol].days(), library[&symbol].closes());
                    Match {
                        start: days[start],
                        end: days[start + 7],
                        distance: distance.sqrt(),
                        following_return: closes[start + 10] / closes[start + 7] - 1.0,
                        symbol,
                    }
                })
                .collect();
            assert_eq!((got.candidates, &got.matches), (candidates, &expected), "seed {seed}");
            assert_eq!(got.unconditional, Distribution::of(returns), "seed {seed}");
            let followed = expected.iter().map(|found| found.following_return).collect();
            assert_eq!(got.following, Distribution::of(followed), "seed {seed}");
        }
    }
}

#[test]
fn a_query_before_all_history_has_no_candidates_and_no_statistics() {
    let library = library(1);
    let mut query = library.values().next().unwrap().last_window(&RULE).unwrap();
    query.start = Day::from_epoch_days(0).unwrap();
    let queries = [query];
    let parts = library.iter().map(|(symbol, part)| (symbol.clone(), search(part, &queries))).collect();
    let merged = merge(&RULE, &queries, &parts).unwrap();
    let got = &merged.symbols[0];
    assert_eq!((got.candidates, got.matches.len()), (0, 0));
    assert_eq!((got.following, got.unconditional), (None, None));
}

#[test]
fn a_wrong_reply_is_blamed_on_its_part() {
    let library = library(2);
    let queries: Vec<WindowQuery> = library.values().map(|part| part.last_window(&RULE).unwrap()).collect();
    let mut parts: BTreeMap<Symbol, SimilarInPart> =
        library.iter().map(|(symbol, part)| (symbol.clone(), search(part, &queries))).collect();
    let wrong: Symbol = "C".parse().unwrap();
    parts.get_mut(&wrong).unwrap().queries.pop();
    let error = merge(&RULE, &queries, &parts).unwrap_err();
    assert_eq!(error, MergeError { symbol: wrong, reason: InvalidReply::Queries { answered: 4, asked: 5 } });
}

#[test]
fn a6_what_an_agent_claims_of_a_part_is_held_against_the_part() {
    let library = library(3);
    let part = &library[&"A".parse::<Symbol>().unwrap()];
    let find = FindSimilar {
        part: ContentHash::of(&part.encode()),
        rule: RULE,
        queries: vec![part.last_window(&RULE).unwrap()],
    };
    let honest = search(part, &find.queries);
    assert_eq!(find.check_answer(&[part], &honest), Ok(()));
    let lies: [fn(&mut SimilarInPart); 6] = [
        |reply| {
            reply.queries[0].candidates += 1;
            reply.following_returns = [&reply.following_returns[..], &[0.0]].concat().into();
        },
        |reply| reply.following_returns = vec![99.0; reply.following_returns.len()].into(),
        |reply| reply.queries[0].matches[0].following_return = 99.0,
        |reply| reply.queries[0].matches.truncate(1),
        |reply| reply.queries[0].matches.last_mut().unwrap().distance_squared = 1e300,
        |reply| reply.queries[0].matches[0].first = Day::from_epoch_days(0).unwrap(),
    ];
    for lie in lies {
        let mut reply = honest.clone();
        lie(&mut reply);
        assert!(find.check_answer(&[part], &reply).is_err(), "{reply:?}");
    }
}
