//! Agents that fail, hang or are lost.

use super::*;
use crate::testing::Probe;
use crate::{
    Mailbox,
    mailbox::{Attempt, Choice, Layer},
};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use swarm_protocols::{
    Delivery, DeliveryError,
    content_store::ContentStore,
    wire::{NO_ROOM, codec},
};

#[actix::test]
async fn the_part_of_a_lost_agent_goes_to_another() {
    let bench = Bench::new(config());
    let mut x = bench.join("x", 1).await;
    let task = bench.submit(1, 1);
    let lost = x.asked().await;
    let mut y = bench.join("y", 1).await;
    bench.lose("x").await;
    withdrawn(&lost).await;
    assert!(!lost.reply(Ok(0)));
    y.asked().await.reply(Ok(4));
    assert_eq!(answers(&task.await.unwrap().unwrap()), [("y", 4)]);
}

#[actix::test]
async fn the_error_of_a_handler_is_believed_when_another_agent_gives_one_too() {
    let bench = Bench::new(config());
    let mut x = bench.join("x", 1).await;
    let task = bench.submit(1, 1);
    let first = x.asked().await;
    let mut y = bench.join("y", 1).await;
    first.reply(Err(Cannot("x says no".into())));
    y.asked().await.reply(Err(Cannot("y says no".into())));
    let failed = task.await.unwrap().unwrap_err();
    let TaskError::PartFailed { part: 0, attempts: 2, agent, error, .. } = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(agent, node("y"));
    assert_eq!(codec::decode(&error.unwrap()), Ok(Cannot("y says no".into())));
}

#[actix::test]
async fn an_agent_that_cannot_keep_an_input_is_no_use_for_the_part() {
    let bench = Bench::new(config());
    let a = bench.store(b"a").await;
    let mut x = bench.join("x", 1).await;
    let task = bench.submit_task(task(1, &[vec![a]]));
    x.lacks(&[a]).await;
    let mut y = bench.join("y", 1).await;
    x.store.expect::<StoreContent>().await.reply(Err(StoreError::Full { bytes_max: 1 }));
    y.lacks(&[]).await;
    y.asked().await.reply(Ok(4));
    assert_eq!(answers(&task.await.unwrap().unwrap()), [("y", 4)]);
    x.worker.expect_none(LEASE).await;
}

#[actix::test]
async fn t2_an_agent_whose_store_is_always_full_ends_a_task_when_it_is_alone() {
    let bench = Bench::new(config());
    let a = bench.store(b"a").await;
    let mut x = bench.join("x", 1).await;
    let task = bench.submit_task(task(1, &[vec![a]]));
    for _ in 0..3 {
        x.lacks(&[a]).await;
        x.store.expect::<StoreContent>().await.reply(Err(StoreError::Full { bytes_max: 1 }));
    }
    let failed = task.await.unwrap().unwrap_err();
    assert!(matches!(failed, TaskError::PartFailed { attempts: 3, .. }), "{failed:?}");
}

#[actix::test]
async fn t2_a_store_that_is_full_with_what_its_agent_works_on_spends_no_attempt() {
    let bench = Bench::new(config());
    let [a, b] = [bench.store(b"a").await, bench.store(b"b").await];
    let mut x = bench.join("x", 2).await;
    let task = bench.submit_task(task(1, &[vec![a], vec![b]]));
    x.lacks(&[]).await;
    let working = x.asked().await;
    for _ in 0..5 {
        x.store.expect_within::<MissingContent>(LEASE).await.reply(Ok(vec![b]));
        x.store.expect::<StoreContent>().await.reply(Err(StoreError::Full { bytes_max: 1 }));
    }
    working.reply(Ok(1));
    x.store.expect_within::<MissingContent>(LEASE).await.reply(Ok(vec![]));
    x.asked().await.reply(Ok(2));
    assert_eq!(answers(&task.await.unwrap().unwrap()), [("x", 1), ("x", 2)]);
}

/// A content store over sessions that end while it is asked, so many of them.
struct Ending {
    store: Mailbox<ContentStore>,
    left: AtomicUsize,
}

impl Layer<ContentStore> for Ending {
    fn choose(&self, _: &Attempt<'_>) -> Result<Choice<ContentStore>, DeliveryError> {
        match self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => {
                let (reason, delivery) = ("cut".to_owned(), Delivery::Unknown);
                Err(DeliveryError::SessionLost { reason, delivery })
            }
            Err(_) => Ok(Choice::new(self.store.clone())),
        }
    }
}

#[actix::test]
async fn t4_an_agent_whose_session_ends_while_it_is_given_inputs_spends_no_attempt() {
    let bench = Bench::new(config());
    let a = bench.store(b"a").await;
    let mut x = bench.join("x", 1).await;
    let (store, mut probe) = Probe::<ContentStore>::new();
    let ending = Mailbox::layered(Ending { store, left: AtomicUsize::new(5) });
    let ports = Ports { content_store: Some(ending.into()), ..x.ports.clone() };
    bench.change("x", ports).await;
    let task = bench.submit_task(task(1, &[vec![a]]));
    probe.expect_within::<MissingContent>(LEASE).await.reply(Ok(vec![]));
    x.asked().await.reply(Ok(4));
    assert_eq!(answers(&task.await.unwrap().unwrap()), [("x", 4)]);
}

/// There is no room for what it answers.
struct Crowded;

impl Layer<Worker> for Crowded {
    fn choose(&self, _: &Attempt<'_>) -> Result<Choice<Worker>, DeliveryError> {
        Err(DeliveryError::Codec { reason: NO_ROOM.to_owned(), delivery: Delivery::Delivered })
    }
}

#[actix::test]
async fn a_part_whose_answers_never_find_room_is_not_done_for_ever() {
    let bench = Bench::new(config());
    let x = bench.join("x", 1).await;
    let crowded = Ports { mailboxes: vec![Mailbox::layered(Crowded).into()], ..x.ports.clone() };
    bench.change("x", crowded).await;
    let began = now();
    let failed = bench.submit(1, 1).await.unwrap().unwrap_err();
    let TaskError::PartFailed { attempts: 3, cause, .. } = failed else { panic!("{failed:?}") };
    assert!(cause.contains(NO_ROOM), "{cause}");
    assert_eq!((now() - began).as_secs(), 3, "others may be taken meanwhile");
}

#[actix::test]
async fn an_agent_that_joins_again_is_a_fresh_one() {
    let bench = Bench::new(config());
    let mut before = bench.join("x", 1).await;
    let task = bench.submit(1, 1);
    let old = before.asked().await;
    let mut after = bench.join("x", 1).await;
    withdrawn(&old).await;
    after.asked().await.reply(Ok(1));
    assert_eq!(answers(&task.await.unwrap().unwrap()), [("x", 1)]);
}
