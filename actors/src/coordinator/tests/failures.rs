//! Agents that fail, lie, hang or are lost.

use super::*;
use swarm_protocols::similar_windows::{InvalidReply, SimilarInPart, merge};

/// Two agents with a part each, of which the one with part 0 is the first.
struct Two {
    bench: Bench,
    library: Vec<ContentHash>,
    task: Submitting,
    names: [&'static str; 2],
    probes: [Probe<MatcherProtocol>; 2],
    held: [crate::testing::Asked<FindSimilar>; 2],
}

async fn two() -> Two {
    let bench = Bench::new(config());
    let library = bench.library(&["A", "B"]).await;
    let (mut x, mut y) = (bench.join("x", 2).await, bench.join("y", 2).await);
    let task = bench.submit(1, &library);
    let (of_x, of_y) = (asked(&mut x, &library).await, asked(&mut y, &library).await);
    assert_eq!(of_x.0 + of_y.0, 1, "each has a part");
    match of_x.0 {
        0 => Two { bench, library, task, names: ["x", "y"], probes: [x, y], held: [of_x.1, of_y.1] },
        _ => Two { bench, library, task, names: ["y", "x"], probes: [y, x], held: [of_y.1, of_x.1] },
    }
}

#[actix::test]
async fn the_part_of_a_lost_agent_goes_to_another_with_the_same_result() {
    let Two { bench, library, task, names: [lost, heir], probes: [_, mut other], held: [a, b] } = two().await;
    bench.lose(lost).await;
    withdrawn(&a).await;
    let (part, again) = asked(&mut other, &library).await;
    assert_eq!(part, 0);
    assert!(!a.reply(Ok(found(0.0))));
    again.reply(Ok(found(4.0)));
    b.reply(Ok(found(1.0)));
    let report = task.await.unwrap().unwrap();
    let undisturbed = [("A", 4.0), ("B", 1.0)].map(|(symbol, at)| (symbol.parse().unwrap(), found(at)));
    assert_eq!(windows(&report), &merge(&RULE, &[query()], &undisturbed.into()).unwrap());
    assert_eq!(names(&report.agents), [heir]);
}

#[actix::test]
async fn a_late_answer_to_an_older_attempt_is_fenced_off() {
    let Two { bench, library, task, names: [_, prompt], probes: [_, mut other], held: [late, b] } =
        two().await;
    b.reply(Ok(found(1.0)));
    let began = now();
    let (part, second) = asked(&mut other, &library).await;
    assert_eq!(part, 0);
    assert!(now() - began >= LEASE - Duration::from_millis(1), "the lease had not run out");
    assert!(late.reply(Ok(found(0.25))), "the slot of the silent agent waits for it");
    // Lets the answer arrive: nothing comes of it.
    other.expect_none(Duration::from_secs(1)).await;
    assert_eq!(bench.progress(1).await, Some(Progress { done: 1, assigned: 1, total: 2 }));
    second.reply(Ok(found(4.0)));
    let report = task.await.unwrap().unwrap();
    assert_eq!(matches(&report), [("B", 1.0), ("A", 2.0)]);
    assert_eq!(names(&report.agents), [prompt]);
}

#[actix::test]
async fn an_impossible_answer_is_asked_for_elsewhere() {
    let Two { library, task, names: [_, honest], probes: [_, mut other], held: [lying, b], .. } = two().await;
    b.reply(Ok(found(1.0)));
    lying.reply(Ok(found(-1.0)));
    let (part, again) = asked(&mut other, &library).await;
    assert_eq!(part, 0);
    again.reply(Ok(found(4.0)));
    let report = task.await.unwrap().unwrap();
    assert_eq!(matches(&report), [("B", 1.0), ("A", 2.0)]);
    assert_eq!(names(&report.agents), [honest]);
}

#[actix::test]
async fn attempts_end_with_the_last_cause_and_do_not_follow_each_other_at_once() {
    let bench = Bench::new(config());
    let library = bench.library(&["A"]).await;
    let mut agent = bench.join("x", 1).await;
    let began = now();
    let task = bench.submit(1, &library);
    asked(&mut agent, &library).await.1.reply(Err(FindError::Busy));
    drop(asked(&mut agent, &library).await);
    let none = SimilarInPart { queries: vec![], following_returns: vec![].into() };
    asked(&mut agent, &library).await.1.reply(Ok(none));
    let why = InvalidReply::Queries { answered: 0, asked: 1 };
    let cause = format!("x: an impossible answer: {why}");
    assert_eq!(task.await.unwrap(), Err(TaskError::PartFailed { part: 0, attempts: 3, cause }));
    let took = now() - began;
    assert!(took >= Duration::from_millis(700) && took < Duration::from_secs(1), "100, 200, 400: {took:?}");
}

#[actix::test]
async fn a_search_that_fails_everywhere_is_not_tried_everywhere() {
    let Two { task, mut probes, held: [a, b], .. } = two().await;
    a.reply(Err(FindError::Invalid { reason: "too odd".into() }));
    let failed = task.await.unwrap().unwrap_err();
    let TaskError::PartFailed { part: 0, attempts: 1, cause } = failed else { panic!("{failed:?}") };
    assert!(cause.ends_with(": no valid search: too odd"), "{cause}");
    withdrawn(&b).await;
    for probe in &mut probes {
        probe.expect_none(LEASE).await;
    }
}

#[actix::test]
async fn an_agent_that_cannot_keep_a_part_is_no_use_for_it() {
    let Two { library, task, names: [_, heir], probes: [mut full, mut other], held: [a, b], .. } =
        two().await;
    b.reply(Ok(found(1.0)));
    a.reply(Err(FindError::MissingPart { part: library[0] }));
    full.expect::<StorePart>().await.reply(Err(StoreError::Full { bytes_max: 1 }));
    let (part, again) = asked(&mut other, &library).await;
    assert_eq!(part, 0);
    again.reply(Ok(found(4.0)));
    assert_eq!(done_by(task).await, [heir]);
}

#[actix::test]
async fn a_task_waits_for_an_agent_but_not_for_ever() {
    let bench = Bench::new(config());
    let library = bench.library(&["A"]).await;
    let began = now();
    let alone = bench.submit(1, &library);
    let capability = PATTERN_MATCHER.to_owned();
    assert_eq!(alone.await.unwrap(), Err(TaskError::NoCapableAgent { capability }));
    assert!(now() - began >= AGENT_WAIT);
    let patient = bench.submit(2, &library);
    tokio::time::advance(AGENT_WAIT / 2).await;
    let mut agent = bench.join("x", 1).await;
    asked(&mut agent, &library).await.1.reply(Ok(found(1.0)));
    assert_eq!(done_by(patient).await, ["x"]);
}

#[actix::test]
async fn an_agent_that_joins_again_is_a_fresh_one() {
    let bench = Bench::new(config());
    let library = bench.library(&["A"]).await;
    let mut before = bench.join("x", 1).await;
    let task = bench.submit(1, &library);
    let (_, old) = asked(&mut before, &library).await;
    let mut after = bench.join("x", 1).await;
    withdrawn(&old).await;
    asked(&mut after, &library).await.1.reply(Ok(found(1.0)));
    assert_eq!(done_by(task).await, ["x"]);
    assert_eq!(names(&bench.agents().await), ["x"]);
}
