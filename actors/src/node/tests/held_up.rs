//! What would hold up an arbiter is done beside it, and an actor that blocks it is named.

use super::*;
use crate::mailbox::EncodedMailbox;
use bytes::Bytes;
use std::{sync::Mutex, thread, time::Instant};
use swarm_protocols::{Blob, wire::codec};

protocol! { Blocking = "blocking" { Echo } }

#[actix::test]
async fn an_actor_that_blocks_the_arbiter_of_its_node_is_named_while_it_does() {
    let (log, _listening) = refusals::Log::listen();
    let (_service, _registration, [a, b]) = over_quic().await;
    let blocked = log.clone();
    let blocker = Answering(move |call: Call<Echo>| {
        let begun = Instant::now();
        while !blocked.holds("is held up") && begun.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(call.request.0)
    });
    let blocker = Mailbox::<Blocking>::local(blocker.start());
    let _blocker = b.expose("blocker", blocker).allow(Role::Operator).register().await.unwrap();
    let blocker: Mailbox<Blocking> = resolve_soon(&a, "b/blocker").await;
    assert_eq!(blocker.ask(Echo(vec![1])).await, Ok(vec![1]));
    assert!(log.holds("in_progress=blocker (1, the latest is echo)"));
    log.says("a held up arbiter", "the arbiter of the node turns again").await;
}

static DECODED_ON: Mutex<Vec<thread::ThreadId>> = Mutex::new(Vec::new());

/// Bytes that note on which thread they are decoded.
fn noting_the_thread<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
    DECODED_ON.lock().unwrap().push(thread::current().id());
    Blob::deserialize(deserializer)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Noted(#[serde(deserialize_with = "noting_the_thread")] Blob);

#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "give-back", reply = Noted)]
struct GiveBack(Noted);

protocol! { Notes = "notes" { GiveBack } }

#[actix::test]
async fn s17_large_messages_are_decoded_beside_the_arbiter_and_small_ones_on_it() {
    let (a, b, _cut) = pair(memory("a", Role::Operator), memory("b", Role::Agent)).await;
    let giver_back = || Answering(|call: Call<GiveBack>| Ok(call.request.0));
    let mailbox: Mailbox<Notes> = Mailbox::start(giver_back());
    b.expose("notes", mailbox).allow(Role::Operator).register().await.unwrap().detach();
    let notes: Mailbox<Notes> = resolve_soon(&a, "b/notes").await;
    for (bytes, on_the_arbiter) in [(1_000, 2), (1 << 20, 0)] {
        let message = || Noted(vec![7; bytes].into());
        assert_eq!(notes.ask(GiveBack(message())).await, Ok(message()));
        let threads = std::mem::take(&mut *DECODED_ON.lock().unwrap());
        let here = threads.iter().filter(|thread| **thread == thread::current().id()).count();
        assert_eq!((threads.len(), here), (2, on_the_arbiter), "{bytes} bytes, request and reply");
        // The same for one who asks in the process of the actor what is encoded already.
        let here = EncodedMailbox::from(Mailbox::<Notes>::local(giver_back().start()));
        let encoded: Bytes = codec::encode(&GiveBack(message())).unwrap().into();
        assert_eq!(here.ask("give-back", 1, encoded.clone()).await, Ok(encoded));
        let threads = std::mem::take(&mut *DECODED_ON.lock().unwrap());
        assert_eq!(threads == [thread::current().id()], on_the_arbiter > 0, "{bytes} bytes, encoded");
        // What is told arrives as well.
        notes.tell(GiveBack(message())).acknowledged().await.unwrap();
        DECODED_ON.lock().unwrap().clear();
    }
}
