//! The actor against a plain reading of its rule, and what happens at its limits.

use super::*;
use crate::{gate::RETRY_AFTER, mailbox::AskError};
use std::{
    num::NonZeroUsize,
    sync::mpsc,
    time::{Duration, Instant},
};
use swarm_protocols::{
    ContentHash, Delivery, DeliveryError,
    part::PartRequest as _,
    similar_windows::{Day, Hit},
};

const RULE: WindowRule = WindowRule { length: 8, following: 3, max_gap_days: 4, band: 2, top: 4, apart: 8 };

fn workers(threads: usize, queued: usize) -> Workers {
    Workers::new(NonZeroUsize::new(threads).unwrap(), queued)
}

fn matcher(workers: &Workers) -> (Mailbox<MatcherProtocol>, Contents) {
    let contents = Contents::new(1 << 20);
    (PatternMatcher::new(workers.clone(), contents.clone()).mailbox(), contents)
}

/// A walk of few different steps, so that equal distances are common, with an occasional gap.
pub(super) fn part(symbol: &str, bars: usize) -> SeriesPart {
    let mut state = symbol.bytes().fold(7_u64, |state, byte| state * 31 + u64::from(byte));
    // Linear congruential numbers (Knuth, MMIX): the same in every run.
    let mut below = move |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let (mut day, mut close) = (100, 500.0);
    let (mut days, mut closes) = (Vec::new(), Vec::new());
    for _ in 0..bars {
        day += if below(25) == 0 { 6 } else { 1 + below(3) as i32 };
        close = f64::max(close + below(3) as f64 - 1.0, 10.0);
        days.push(Day::from_epoch_days(day).unwrap());
        closes.push(close);
    }
    SeriesPart::new(symbol.parse().unwrap(), days, closes).unwrap()
}

fn store(contents: &Contents, part: &SeriesPart) -> ContentHash {
    contents.insert(part.encode()).unwrap()
}

fn find(part: ContentHash, of: &SeriesPart) -> FindSimilar {
    FindSimilar { part, rule: RULE, queries: vec![of.last_window(&RULE).unwrap()] }
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

/// The matches of one query as start and squared distance, and how many windows were compared.
fn plainly(part: &SeriesPart, query: &WindowQuery) -> (u32, Vec<(u32, f64)>) {
    let mut scored = Vec::new();
    for start in 0..(part.days().len() + 1).saturating_sub(RULE.span()) {
        let days = &part.days()[start..start + RULE.span()];
        if days.windows(2).all(|pair| pair[1].days_since(pair[0]) <= 4) && days[RULE.span() - 1] < query.start
        {
            let distance = distance_squared(&query.values, &part.closes()[start..start + 8]);
            scored.push((distance, start as u32));
        }
    }
    let candidates = scored.len() as u32;
    scored.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let mut best: Vec<(u32, f64)> = Vec::new();
    for (distance, start) in scored {
        if best.len() < 4 && best.iter().all(|(other, _)| other.abs_diff(start) >= 8) {
            best.push((start, distance));
        }
    }
    (candidates, best)
}

#[actix::test]
async fn answers_are_those_of_a_plain_search() {
    let (matcher, contents) = matcher(&workers(2, 8));
    let parts = [part("A", 400), part("B", 250), part("C", 90), part("D", 11)];
    let mut queries: Vec<WindowQuery> = parts.iter().map(|part| part.last_window(&RULE).unwrap()).collect();
    queries[2].start = Day::from_epoch_days(0).unwrap();
    for part in &parts {
        let hash = store(&contents, part);
        let find = FindSimilar { part: hash, rule: RULE, queries: queries.clone() };
        let found = matcher.ask(find.clone()).await.unwrap();
        assert_eq!(find.check_answer(&[part], &found), Ok(()));
        for (query, found) in queries.iter().zip(&found.queries) {
            let (candidates, best) = plainly(part, query);
            assert_eq!(found.candidates, candidates);
            let starts: Vec<u32> = found.matches.iter().map(|hit| hit.start).collect();
            assert_eq!(starts, best.iter().map(|(start, _)| *start).collect::<Vec<u32>>());
            for (Hit { first, distance_squared, .. }, (start, distance)) in found.matches.iter().zip(&best) {
                assert_eq!(*first, part.days()[*start as usize]);
                assert!((distance_squared - distance).abs() < 1e-9, "{distance_squared} is not {distance}");
            }
        }
    }
}

#[actix::test]
async fn a_search_says_which_part_is_missing_and_what_is_wrong_with_it() {
    let (matcher, contents) = matcher(&workers(1, 1));
    let part = part("A", 60);
    let hash = ContentHash::of(&part.encode());
    let missing = AskError::Handler(PartError::MissingInputs { hashes: vec![hash] });
    assert_eq!(matcher.ask(find(hash, &part)).await, Err(missing));
    store(&contents, &part);
    assert!(matcher.ask(find(hash, &part)).await.is_ok());
    let absurd = FindSimilar { rule: WindowRule { top: 0, ..RULE }, ..find(hash, &part) };
    let reason = "top is 0, expected is 1 to 100".to_owned();
    assert_eq!(matcher.ask(absurd).await, Err(AskError::Handler(PartError::Invalid { reason })));
    let junk = contents.insert(vec![1, 2, 3].into()).unwrap();
    let refused = matcher.ask(find(junk, &part)).await;
    let Err(AskError::Handler(PartError::Invalid { reason })) = refused else { panic!("{refused:?}") };
    assert!(reason.starts_with(&format!("the input {junk}: ")), "{reason}");
}

/// Occupies the only thread of `workers` until the sender is dropped.
async fn occupy(workers: &Workers) -> mpsc::Sender<()> {
    let (release, wait) = mpsc::channel();
    let (began, begin) = tokio::sync::oneshot::channel();
    let workers = workers.clone();
    actix_rt::spawn(async move {
        let work = workers.run(move || {
            began.send(()).unwrap();
            assert!(wait.recv().is_err());
        });
        work.await.unwrap();
    });
    begin.await.unwrap();
    release
}

#[actix::test]
async fn a2_searches_beyond_threads_and_queue_are_refused_and_the_arbiter_stays_free() {
    let workers = workers(1, 1);
    let (matcher, contents) = matcher(&workers);
    let part = part("A", 60);
    let hash = store(&contents, &part);
    let occupied = occupy(&workers).await;
    let mut queued = std::pin::pin!(async { matcher.ask(find(hash, &part)).await });
    assert!(futures_util::poll!(&mut queued).is_pending());
    // The actor has the first search before it answers the second.
    assert_eq!(
        matcher.ask(find(hash, &part)).await,
        Err(DeliveryError::Overloaded { retry_after: RETRY_AFTER }.into())
    );
    drop(occupied);
    assert!(queued.await.is_ok());
}

/// A search that takes as long as one may: every window is close to the query, so that no bound helps.
fn longest() -> (SeriesPart, FindSimilar) {
    let bars = 34_000;
    let days = (0..bars).map(|day| Day::from_epoch_days(day).unwrap()).collect();
    let closes = (0..bars).map(|bar| 500.0 + f64::from(bar * 7_919 % 101)).collect();
    let part = SeriesPart::new("LONG".parse().unwrap(), days, closes).unwrap();
    let rule = WindowRule { length: 1_000, following: 1, max_gap_days: 1, band: 999, top: 100, apart: 1 };
    let queries = vec![part.last_window(&rule).unwrap()];
    let find = FindSimilar { part: ContentHash::of(&part.encode()), rule, queries };
    (part, find)
}

#[actix::test]
async fn a_search_that_takes_more_than_a_part_may_is_refused() {
    let (matcher, contents) = matcher(&workers(1, 0));
    let (long, mut find) = longest();
    store(&contents, &long);
    find.queries.push(find.queries[0].clone());
    let reason = "the part needs 68000000000 cells of warping matrices; the limit is 34359738368".to_owned();
    assert_eq!(matcher.ask(find).await, Err(AskError::Handler(PartError::Invalid { reason })));
}

#[actix::test]
async fn a_caller_that_leaves_frees_the_worker() {
    let workers = workers(1, 0);
    let (matcher, contents) = matcher(&workers);
    let (long, find_long) = longest();
    let short = part("A", 60);
    store(&contents, &long);
    let hash = store(&contents, &short);
    let leaving = matcher.ask(find_long).timeout(Duration::from_millis(50)).await;
    let after = Duration::from_millis(50);
    let timed_out = DeliveryError::TimedOut { after, delivery: Delivery::Unknown };
    assert_eq!(leaving, Err(AskError::Delivery(timed_out)));
    // With no queue a search is done only if the kernel has stopped working on the other one.
    let patience = Instant::now() + Duration::from_secs(3);
    while matcher.ask(find(hash, &short)).await.is_err() {
        assert!(Instant::now() < patience, "the abandoned search still runs");
        tokio::task::yield_now().await;
    }
}
