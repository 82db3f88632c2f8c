//! What each client may have of the content that a coordinator keeps.

use super::*;
use crate::{AskError, EncodedAskError, EncodedMailbox};
use swarm_protocols::{Caller, ContentHash, Request, Role, coordinator::QueueLimit, wire::codec};

/// What a piece of content counts that is asked for here.
const PIECE: usize = 1_000;

fn room_for(pieces: usize) -> Bench {
    Bench::new(CoordinatorConfig { contents: Contents::new(pieces * PIECE), ..config() })
}

fn piece(of: u8) -> Vec<u8> {
    vec![of; PIECE - 256]
}

/// An operator of many.
struct Client {
    name: &'static str,
    coordinator: EncodedMailbox,
}

impl Client {
    fn of(bench: &Bench, name: &'static str) -> Self {
        Self { name, coordinator: bench.mailbox.clone().into() }
    }

    async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, R::Error> {
        let payload = codec::encode(&request).unwrap().into();
        let caller = Caller { node: node(self.name), role: Role::Operator };
        let asked = self.coordinator.ask(R::NAME, R::VERSION, payload).timeout(2 * LEASE);
        match asked.on_behalf_of(caller).await {
            Ok(reply) => Ok(codec::decode(&reply).unwrap()),
            Err(EncodedAskError::Handler(error)) => Err(codec::decode(&error).unwrap()),
            Err(EncodedAskError::Delivery(error)) => panic!("{error}"),
        }
    }

    async fn store(&self, pieces: impl IntoIterator<Item = u8>) -> Vec<ContentHash> {
        let mut names = Vec::new();
        for of in pieces {
            names.push(self.ask(StoreContent { content: piece(of).into() }).await.unwrap());
        }
        names
    }

    /// Waits in the background for a task of one part.
    fn submit(&self, number: u128, inputs: &[ContentHash]) -> Submitting {
        let client = Self { name: self.name, coordinator: self.coordinator.clone() };
        let task = task(number, &[inputs.to_vec()]);
        actix_rt::spawn(async move { client.ask(task).await })
    }

    /// The same, once it is on the board.
    async fn queue(&self, bench: &Bench, number: u128, inputs: &[ContentHash]) -> Submitting {
        let submitted = self.submit(number, inputs);
        let is_there = async || bench.progress(number).await.is_some();
        until("it is taken or refused", async || submitted.is_finished() || is_there().await).await;
        if !is_there().await {
            panic!("{:?}", submitted.await);
        }
        submitted
    }
}

fn full(pieces: usize) -> Result<TaskReport, TaskError> {
    Err(TaskError::QueueFull { limit: QueueLimit::Inputs((pieces * PIECE) as u64) })
}

#[actix::test]
async fn s17_the_tasks_of_a_client_hold_as_much_as_is_left_beside() {
    let bench = room_for(8);
    let [evil, desk] = ["evil", "desk"].map(|name| Client::of(&bench, name));
    let _busy = bench.join("x", 1).await;
    let held = evil.store(1..=4).await;
    let first = evil.queue(&bench, 1, &held).await;
    let more = evil.store([5]).await;
    assert_eq!(evil.submit(2, &more).await.unwrap(), full(8), "alone it has half");
    // What it holds already takes nothing more.
    let _second = evil.queue(&bench, 3, &held[..2]).await;
    let own = desk.store(11..=12).await;
    let of_desk = desk.queue(&bench, 4, &own).await;
    assert_eq!(desk.submit(5, &held[..1]).await.unwrap(), full(8), "what others hold counts for it too");
    first.abort();
    until("it has left", async || bench.progress(1).await.is_none()).await;
    // Two of the four are held by another task of its client.
    let more = desk.store([13]).await;
    desk.queue(&bench, 6, &more).await;
    assert_eq!(evil.submit(7, &held).await.unwrap(), full(8));
    of_desk.abort();
    until("it has left", async || bench.progress(4).await.is_none()).await;
    evil.queue(&bench, 8, &held[..3]).await;
}

#[actix::test]
async fn inputs_that_several_clients_name_are_held_once_in_all() {
    let bench = room_for(8);
    let clients = ["a", "b", "c", "d"].map(|name| Client::of(&bench, name));
    let _busy = bench.join("x", 1).await;
    let held = clients[0].store(1..=4).await;
    let mut tasks = Vec::new();
    for (client, number) in clients.iter().zip(1..) {
        tasks.push(client.queue(&bench, number, &held).await);
    }
}

#[actix::test]
async fn a_task_that_no_share_is_enough_for_is_refused_for_good() {
    let bench = room_for(8);
    let desk = Client::of(&bench, "desk");
    // Of nine pieces and more some have been pushed out by the others.
    for pieces in [5, 8, 9, 12, 40] {
        let inputs = desk.store(1..=pieces).await;
        let refused = desk.submit(u128::from(pieces), &inputs).await.unwrap();
        let Err(TaskError::Invalid { reason }) = refused else { panic!("{pieces} pieces: {refused:?}") };
        let said = "bytes at least, and no client may have more than 4000: the coordinator needs more memory (memory_mib";
        assert!(reason.contains(said), "{reason}");
    }
}

#[actix::test]
async fn a_task_that_is_known_takes_no_share_again() {
    let bench = room_for(8);
    let [first, second] = ["first", "second"].map(|name| Client::of(&bench, name));
    let mut agent = bench.join("x", 1).await;
    let held = first.store(1..=4).await;
    let submitted = first.queue(&bench, 1, &held).await;
    let beside = second.store(11..=12).await;
    let _beside = second.queue(&bench, 2, &beside).await;
    let again = first.submit(1, &held);
    agent.lacks(&[]).await;
    agent.asked().await.reply(Ok(7));
    let report = submitted.await.unwrap();
    assert_eq!(answers(report.as_ref().unwrap()), [("x", 7)]);
    assert_eq!(again.await.unwrap(), report);
    // The other one may now hold what would not be left beside it.
    let more = second.store(13..=14).await;
    let _more = second.queue(&bench, 3, &more).await;
    assert_eq!(first.submit(4, &first.store(1..=4).await).await.unwrap(), full(8));
    assert_eq!(first.submit(1, &held).await.unwrap(), report);
}

#[actix::test]
async fn s17_a_flood_of_uploads_does_not_push_out_what_another_client_uploads() {
    let bench = room_for(8);
    let [evil, desk] = ["evil", "desk"].map(|name| Client::of(&bench, name));
    let _busy = bench.join("x", 1).await;
    evil.store(100..=120).await;
    let mut own = desk.store([1]).await;
    evil.store(121..=140).await;
    own.extend(desk.store(2..=3).await);
    evil.store(141..=160).await;
    desk.queue(&bench, 1, &own).await;
}

#[actix::test]
async fn s17_content_that_two_clients_upload_is_pushed_out_by_neither() {
    let bench = room_for(8);
    let [evil, desk] = ["evil", "desk"].map(|name| Client::of(&bench, name));
    let _busy = bench.join("x", 1).await;
    evil.store(1..=2).await;
    let own = desk.store(1..=3).await;
    evil.store(3..=3).await;
    evil.store(100..=140).await;
    desk.queue(&bench, 1, &own).await;
}

#[actix::test]
async fn s17_what_others_have_used_or_left_behind_limits_nobody() {
    let bench = room_for(8);
    let busy = bench.join("x", 1).await;
    for (number, name) in (1..).zip(["a", "b", "c", "d"]) {
        let client = Client::of(&bench, name);
        let submitted =
            client.queue(&bench, number, &client.store([u8::try_from(number).unwrap(), 200]).await).await;
        bench.mailbox.ask(CancelTask { id: id(number) }).await.unwrap();
        submitted.await.unwrap().unwrap_err();
    }
    let desk = Client::of(&bench, "desk");
    let own = desk.store(10..=13).await;
    let submitted = desk.queue(&bench, 9, &own).await;
    bench.mailbox.ask(CancelTask { id: id(9) }).await.unwrap();
    submitted.await.unwrap().unwrap_err();
    // What is never used is waited for, and not for ever.
    for name in ["e", "f", "g", "h", "i", "j", "k", "l"] {
        Client::of(&bench, name).store([name.as_bytes()[0]]).await;
    }
    tokio::time::advance(Duration::from_secs(121)).await;
    let own = desk.store(20..=23).await;
    desk.queue(&bench, 10, &own).await;
    drop(busy);
}

#[actix::test]
async fn content_that_is_longer_than_the_whole_store_is_told_apart_from_a_full_one() {
    let bench = room_for(8);
    let _busy = bench.join("x", 1).await;
    let desk = Client::of(&bench, "desk");
    let _held = desk.queue(&bench, 1, &desk.store(1..=4).await).await;
    let store = async |bytes: usize| bench.mailbox.ask(StoreContent { content: vec![9; bytes].into() }).await;
    let bytes_max = 8 * PIECE as u64;
    let full = AskError::Handler(StoreError::Full { bytes_max });
    assert_eq!(store(5 * PIECE).await, Err(full));
    let too_long = AskError::Handler(StoreError::TooLong { bytes_max });
    assert_eq!(store(8 * PIECE).await, Err(too_long));
}
