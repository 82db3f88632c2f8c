//! What the actor does with the decisions of the board, in virtual time and without a socket.

mod agents;
mod failures;
mod fixture;
mod listing;
mod units;

use super::*;
use crate::{AskError, testing::Probe};
use fixture::*;
use swarm_protocols::{
    coordinator::{CoordinatorStatus, ListAgents, ListTasks, Priority, TaskError},
    similar_windows::{FindError, FindSimilar},
};

#[actix::test]
async fn parts_are_spread_over_agents_and_their_answers_merged() {
    let bench = Bench::new(config());
    let library = bench.library(&["A", "B", "C", "D"]).await;
    let mut probes = [bench.join("x", 2).await, bench.join("y", 2).await];
    let task = bench.submit(1, &library);
    let mut held = Vec::new();
    for probe in &mut probes {
        held.push(asked(probe, &library).await);
        held.push(asked(probe, &library).await);
    }
    assert_eq!(bench.progress(1).await, Some(Progress { done: 0, assigned: 4, total: 4 }));
    held.sort_by_key(|(part, _)| *part);
    assert!(held.iter().map(|(part, _)| *part).eq(0..4), "each part once");
    for (part, asked) in held {
        assert!(asked.reply(Ok(found([16.0, 1.0, 9.0, 4.0][part]))));
    }
    let report = task.await.unwrap().unwrap();
    assert_eq!(matches(&report), [("B", 1.0), ("D", 2.0), ("C", 3.0), ("A", 4.0)]);
    assert_eq!(names(&report.agents), ["x", "y"]);
    assert_eq!(bench.progress(1).await, None);
}

#[actix::test]
async fn an_agent_is_asked_no_more_than_it_has_slots() {
    let bench = Bench::new(config());
    let library = bench.library(&["A", "B", "C"]).await;
    let mut agent = bench.join("x", 2).await;
    let task = bench.submit(1, &library);
    let (first, second) = (asked(&mut agent, &library).await, asked(&mut agent, &library).await);
    agent.expect_none(LEASE / 2).await;
    first.1.reply(Ok(found(1.0)));
    let third = asked(&mut agent, &library).await;
    second.1.reply(Ok(found(1.0)));
    third.1.reply(Ok(found(1.0)));
    assert_eq!(names(&task.await.unwrap().unwrap().agents), ["x"]);
}

#[actix::test]
async fn an_agent_without_a_part_is_given_it_and_asked_again() {
    let bench = Bench::new(config());
    let library = bench.library(&["A"]).await;
    let mut agent = bench.join("x", 1).await;
    let task = bench.submit(1, &library);
    let (_, asked) = asked(&mut agent, &library).await;
    asked.reply(Err(FindError::MissingPart { part: library[0] }));
    let stored = agent.expect::<StorePart>().await;
    assert_eq!(stored.request().part, part("A", 30).encode());
    stored.reply(Ok(library[0]));
    let (_, asked) = fixture::asked(&mut agent, &library).await;
    asked.reply(Ok(found(4.0)));
    assert_eq!(matches(&task.await.unwrap().unwrap()), [("A", 2.0)]);
}

#[actix::test]
async fn a_client_that_leaves_cancels_its_task_at_the_agents() {
    let bench = Bench::new(config());
    let library = bench.library(&["A", "B", "C"]).await;
    let mut agent = bench.join("x", 2).await;
    let task = bench.submit(1, &library);
    let (first, second) = (asked(&mut agent, &library).await, asked(&mut agent, &library).await);
    task.abort();
    for (_, asked) in [&first, &second] {
        withdrawn(asked).await;
    }
    assert_eq!(bench.progress(1).await, None);
    // The slots are free, the name may be used again, and what came late is nobody's answer.
    let again = bench.submit(1, &library);
    let (_, new) = asked(&mut agent, &library).await;
    assert!(!first.1.reply(Ok(found(9.0))));
    new.reply(Ok(found(1.0)));
    for _ in 0..2 {
        asked(&mut agent, &library).await.1.reply(Ok(found(1.0)));
    }
    let report = again.await.unwrap().unwrap();
    assert_eq!(matches(&report), [("A", 1.0), ("B", 1.0), ("C", 1.0)]);
}

#[actix::test]
async fn the_end_of_one_client_leaves_the_task_of_another_alone() {
    let bench = Bench::new(config());
    let library = bench.library(&["A"]).await;
    let mut agent = bench.join("x", 1).await;
    let first = bench.submit(1, &library);
    let (_, asked) = asked(&mut agent, &library).await;
    let second = bench.submit(1, &library);
    assert_eq!(second.await.unwrap(), Err(TaskError::Duplicate { task: id(1) }));
    asked.reply(Ok(found(1.0)));
    assert_eq!(done_by(first).await, ["x"]);
}

#[actix::test]
async fn what_makes_no_sense_is_refused() {
    let bench = Bench::new(config());
    let library = bench.library(&["A", "B"]).await;
    let unknown = ContentHash::of(b"unknown");
    let missing = TaskError::MissingParts { parts: vec![unknown] };
    assert_eq!(bench.submit(1, &[library[0], unknown, library[1]]).await.unwrap(), Err(missing));
    let again = bench.store(&part("A", 31)).await.unwrap();
    let reason = "two parts of its library are of the series A".to_owned();
    assert_eq!(bench.submit(1, &[library[0], again]).await.unwrap(), Err(TaskError::Invalid { reason }));
    let reason = "its library has 0 parts, 1 to 4096 are expected".to_owned();
    assert_eq!(bench.submit(1, &[]).await.unwrap(), Err(TaskError::Invalid { reason }));
    let stored = bench.mailbox.ask(StorePart { part: vec![1, 2].into() }).await;
    assert!(matches!(stored, Err(AskError::Handler(StoreError::Malformed { .. }))), "{stored:?}");
}

#[actix::test]
async fn tasks_beyond_the_limit_are_refused() {
    let mut config = config();
    config.board.queue_limit = NonZeroU32::MIN;
    let bench = Bench::new(config);
    let library = bench.library(&["A"]).await;
    let mut agent = bench.join("x", 1).await;
    let first = bench.submit(1, &library);
    let (_, asked) = asked(&mut agent, &library).await;
    assert_eq!(bench.submit(2, &library).await.unwrap(), Err(TaskError::QueueFull { limit: 1 }));
    asked.reply(Ok(found(1.0)));
    assert_eq!(done_by(first).await, ["x"]);
}

#[actix::test]
async fn the_parts_of_a_task_stay_as_long_as_it_does() {
    let (a, b, c) = (part("A", 30), part("B", 30), part("C", 30));
    let store_bytes_max = 2 * (a.encode().len() + 256);
    let bench = Bench::new(CoordinatorConfig { store_bytes_max, ..config() });
    let library = [bench.store(&a).await.unwrap(), bench.store(&b).await.unwrap()];
    let mut agent = bench.join("x", 2).await;
    let task = bench.submit(1, &library);
    let (first, second) = (asked(&mut agent, &library).await, asked(&mut agent, &library).await);
    let full = StoreError::Full { bytes_max: store_bytes_max as u64 };
    assert_eq!(bench.store(&c).await, Err(AskError::Handler(full)));
    first.1.reply(Ok(found(1.0)));
    second.1.reply(Ok(found(1.0)));
    task.await.unwrap().unwrap();
    assert!(bench.store(&c).await.is_ok());
    let missing = TaskError::MissingParts { parts: vec![library[0]] };
    assert_eq!(bench.submit(2, &library).await.unwrap(), Err(missing), "A was used least recently");
}

#[actix::test]
async fn a_deadline_ends_a_task_and_its_asks() {
    let bench = Bench::new(config());
    let library = bench.library(&["A"]).await;
    let mut agent = bench.join("x", 1).await;
    let began = now();
    let within = Duration::from_secs(5);
    let task = bench.submit_task(SubmitTask { deadline: Some(within), ..task(1, &library) });
    let (_, asked) = asked(&mut agent, &library).await;
    assert_eq!(task.await.unwrap(), Err(TaskError::DeadlineExceeded));
    withdrawn(&asked).await;
    let took = now() - began;
    assert!(took >= within && took < within + Duration::from_millis(10), "it took {took:?}");
}

#[actix::test]
async fn an_urgent_task_goes_first() {
    let bench = Bench::new(config());
    let library = bench.library(&["A", "B"]).await;
    let mut agent = bench.join("x", 1).await;
    let usual = bench.submit(1, &library[..1]);
    let (_, first) = asked(&mut agent, &library).await;
    let later = bench.submit(2, &library[..1]);
    let urgent = bench.submit_task(SubmitTask { priority: Priority::MAX, ..task(3, &library[1..]) });
    agent.expect_none(Duration::from_secs(1)).await;
    first.reply(Ok(found(1.0)));
    for (expected, task) in [(1, urgent), (0, later)] {
        let (part, next) = asked(&mut agent, &library).await;
        assert_eq!(part, expected);
        next.reply(Ok(found(1.0)));
        task.await.unwrap().unwrap();
    }
    usual.await.unwrap().unwrap();
}
