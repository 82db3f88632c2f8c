//! What the actor does with the decisions of the board, in virtual time and without a socket.

mod agents;
mod failures;
mod fixture;
mod listing;
mod shares;

pub(super) use fixture::task;

use super::*;
use crate::{
    node::tests::until,
    workers::{BESIDE, HERE_BYTES_MAX},
};
use fixture::*;
use swarm_protocols::{
    content_store::StoreError,
    coordinator::{CoordinatorStatus, ListAgents, ListTasks, SubmitTask, TaskError, TaskReport},
};

#[actix::test]
async fn parts_are_spread_over_agents_and_answered_in_their_order() {
    let bench = Bench::new(config());
    let mut agents = [bench.join("x", 2).await, bench.join("y", 2).await];
    let task = bench.submit(1, 4);
    let mut asked = Vec::new();
    for agent in &mut agents {
        asked.push(agent.asked().await);
        asked.push(agent.asked().await);
    }
    assert_eq!(bench.progress(1).await, Some(Progress { done: 0, assigned: 4, total: 4 }));
    let mut numbers: Vec<usize> = asked.iter().map(|asked| asked.request().number).collect();
    for asked in asked.into_iter().rev() {
        let number = asked.request().number as u64;
        assert!(asked.reply(Ok(10 + number)));
    }
    let report = task.await.unwrap().unwrap();
    assert_eq!(answers(&report).iter().map(|(_, answer)| *answer).collect::<Vec<_>>(), [10, 11, 12, 13]);
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3], "each part once");
    assert_eq!(bench.progress(1).await, None);
}

#[actix::test]
async fn an_agent_is_given_what_it_lacks_before_it_is_asked() {
    let bench = Bench::new(config());
    let [a, b] = [bench.store(b"a").await, bench.store(b"b").await];
    let mut agent = bench.join("x", 1).await;
    let task = bench.submit_task(task(1, &[vec![a, b]]));
    let asked = agent.store.expect::<MissingContent>().await;
    assert_eq!(asked.request().hashes, [a, b]);
    asked.reply(Ok(vec![b]));
    let stored = agent.store.expect::<StoreContent>().await;
    assert_eq!(*stored.request().content, *b"b");
    stored.reply(Ok(b));
    agent.asked().await.reply(Ok(7));
    assert_eq!(answers(&task.await.unwrap().unwrap()), [("x", 7)]);
}

#[actix::test]
async fn a5_an_agent_is_given_an_input_once_however_many_parts_wait_for_it() {
    let bench = Bench::new(config());
    let a = bench.store(b"a").await;
    let mut agent = bench.join("x", 4).await;
    let task = bench.submit_task(task(1, &vec![vec![a]; 4]));
    for _ in 0..4 {
        agent.lacks(&[a]).await;
    }
    let stored = agent.store.expect::<StoreContent>().await;
    agent.store.expect_none(Duration::from_secs(1)).await;
    stored.reply(Ok(a));
    // Those that waited look again, and where it is lost meanwhile one of them gives it again.
    agent.lacks(&[a]).await;
    agent.lacks(&[]).await;
    agent.lacks(&[]).await;
    agent.store.expect::<StoreContent>().await.reply(Ok(a));
    for number in 0..4 {
        agent.asked().await.reply(Ok(number));
    }
    assert_eq!(task.await.unwrap().unwrap().answers.len(), 4);
    agent.store.expect_none(Duration::from_secs(1)).await;
}

#[actix::test]
async fn an_agent_whose_store_lost_an_input_is_given_it_again_within_the_attempt() {
    let bench = Bench::new(config());
    let a = bench.store(b"a").await;
    let mut agent = bench.join("x", 1).await;
    let task = bench.submit_task(task(1, &[vec![a]]));
    agent.lacks(&[]).await;
    agent.asked().await.reply(Err(Cannot("it is gone".into())));
    agent.lacks(&[a]).await;
    agent.store.expect::<StoreContent>().await.reply(Ok(a));
    agent.asked().await.reply(Ok(7));
    assert_eq!(answers(&task.await.unwrap().unwrap()), [("x", 7)]);
}

#[actix::test]
async fn a_client_that_leaves_cancels_its_task_at_the_agents() {
    let bench = Bench::new(config());
    let mut agent = bench.join("x", 2).await;
    let task = bench.submit(1, 3);
    let (first, second) = (agent.asked().await, agent.asked().await);
    task.abort();
    withdrawn(&first).await;
    withdrawn(&second).await;
    assert_eq!(bench.progress(1).await, None);
    // The slots are free, the name may be used again, and what came late is nobody's answer.
    let again = bench.submit(1, 1);
    let new = agent.asked().await;
    assert!(!first.reply(Ok(9)));
    new.reply(Ok(1));
    assert_eq!(answers(&again.await.unwrap().unwrap()), [("x", 1)]);
}

#[actix::test]
async fn a3_a_task_that_was_told_is_cancelled_by_its_name() {
    let bench = Bench::new(config());
    let mut agent = bench.join("x", 1).await;
    bench.mailbox.tell(task(1, &parts(1))).await.unwrap();
    let asked = agent.asked().await;
    assert_eq!(bench.mailbox.ask(CancelTask { id: id(1) }).await, Ok(true));
    withdrawn(&asked).await;
    assert_eq!(bench.mailbox.ask(CancelTask { id: id(1) }).await, Ok(false));
}

#[actix::test]
async fn a_task_that_is_submitted_again_is_done_once_and_answers_both_requests() {
    let bench = Bench::new(config());
    let mut agent = bench.join("x", 1).await;
    let first = bench.submit(1, 1);
    let asked = agent.asked().await;
    let (left, second) = (bench.submit(1, 1), bench.submit(1, 1));
    let other = bench.submit(1, 2).await.unwrap();
    assert!(matches!(other, Err(TaskError::Invalid { .. })), "{other:?}");
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    asked.reply(Ok(3));
    let report = first.await.unwrap().unwrap();
    assert_eq!(second.await.unwrap(), Ok(report.clone()));
    assert_eq!(bench.submit(1, 1).await.unwrap(), Ok(report));
    agent.worker.expect_none(LEASE).await;
}

#[actix::test]
async fn a7_a_result_that_is_asked_for_again_is_not_copied() {
    let bench = Bench::new(config());
    let mut agent = bench.join("x", 1).await;
    let first = bench.submit(1, 1);
    agent.asked().await.reply(Ok(3));
    let reply = |report: TaskReport| report.answers[0].reply.as_ptr();
    let first = first.await.unwrap().unwrap();
    let again = bench.submit(1, 1).await.unwrap().unwrap();
    assert_eq!(reply(again), reply(first));
}

#[actix::test]
async fn a_task_goes_on_until_every_request_for_it_has_left() {
    let bench = Bench::new(config());
    let mut agent = bench.join("x", 1).await;
    let first = bench.submit(1, 1);
    let asked = agent.asked().await;
    let second = bench.submit(1, 1);
    // Answered after the two were taken.
    assert!(bench.submit(1, 2).await.unwrap().is_err());
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert!(bench.progress(1).await.is_some());
    assert!(!asked.cancellation().is_cancelled());
    second.abort();
    withdrawn(&asked).await;
}

#[actix::test]
async fn s5_inputs_reach_an_agent_behind_a_slow_link() {
    let bench = Bench::new(config());
    let input = bench.store(&vec![7; 8 << 20]).await;
    let mut agent = bench.join("x", 1).await;
    let done = bench.submit_task(task(1, &[vec![input]]));
    agent.lacks(&[input]).await;
    let stored = agent.store.expect::<StoreContent>().await;
    // Longer than all attempts together have for an answer: 8 MiB at about 40 KiB a second.
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert!(stored.reply(Ok(input)));
    agent.asked().await.reply(Ok(1));
    assert_eq!(answers(&done.await.unwrap().unwrap()), [("x", 1)]);
}

#[actix::test]
async fn what_makes_no_sense_is_refused() {
    let bench = Bench::new(config());
    let [unknown, known] = [ContentHash::of(b"unknown"), bench.store(b"known").await];
    let missing = TaskError::MissingContent { hashes: vec![unknown] };
    let refused = bench.submit_task(task(1, &[vec![known, unknown], vec![unknown]])).await.unwrap();
    assert_eq!(refused, Err(missing));
    assert_eq!(bench.mailbox.ask(MissingContent { hashes: vec![known, unknown] }).await, Ok(vec![unknown]));
    let refused = bench.submit(1, 0).await.unwrap();
    assert!(matches!(refused, Err(TaskError::Invalid { .. })), "{refused:?}");
}

#[actix::test]
async fn the_inputs_of_a_task_stay_as_long_as_it_does() {
    let contents = Contents::new(4 * (256 + 1));
    let bench = Bench::new(CoordinatorConfig { contents, ..config() });
    let [a, b] = [bench.store(b"a").await, bench.store(b"b").await];
    let mut agent = bench.join("x", 1).await;
    let running = bench.submit_task(task(1, &[vec![a, b]]));
    agent.lacks(&[]).await;
    let asked = agent.asked().await;
    let full = bench.mailbox.ask(StoreContent { content: vec![1; 300].into() }).await;
    assert!(matches!(full, Err(crate::AskError::Handler(StoreError::Full { .. }))), "{full:?}");
    asked.reply(Ok(1));
    running.await.unwrap().unwrap();
    bench.store(&[3; 300]).await;
    let missing = TaskError::MissingContent { hashes: vec![a] };
    assert_eq!(bench.submit_task(task(2, &[vec![a], vec![b]])).await.unwrap(), Err(missing));
}

#[actix::test]
async fn a_deadline_ends_a_task_and_its_asks() {
    let bench = Bench::new(config());
    let mut agent = bench.join("x", 1).await;
    let (began, within) = (now(), Duration::from_secs(5));
    let task = bench.submit_task(SubmitTask { deadline: Some(within), ..task(1, &parts(1)) });
    let asked = agent.asked().await;
    assert_eq!(task.await.unwrap(), Err(TaskError::DeadlineExceeded));
    withdrawn(&asked).await;
    let took = now() - began;
    assert!(took >= within && took < within + Duration::from_millis(10), "it took {took:?}");
}

#[actix::test]
async fn s17_a_long_task_is_hashed_beside_the_arbiter() {
    let bench = Bench::new(config());
    for (number, bytes, beside) in [(1, HERE_BYTES_MAX, 0), (2, HERE_BYTES_MAX + 1, 1)] {
        let before = BESIDE.get();
        let mut task = task(number, &parts(1));
        task.parts[0].payload = vec![7; bytes].into();
        let submitted = bench.submit_task(task);
        until("it is on the board", async || bench.progress(number).await.is_some()).await;
        assert_eq!(BESIDE.get() - before, beside, "{bytes} bytes");
        submitted.abort();
    }
}

#[actix::test]
async fn a_cancel_that_overtakes_a_long_task_is_not_lost() {
    let bench = Bench::new(config());
    let mut long = task(1, &parts(1));
    long.parts[0].payload = vec![7; 16 << 20].into();
    let submitted = bench.submit_task(long);
    tokio::task::yield_now().await;
    assert_eq!(bench.mailbox.ask(CancelTask { id: id(1) }).await, Ok(false), "it is not on the board yet");
    assert_eq!(submitted.await.unwrap(), Err(TaskError::Cancelled));
}
