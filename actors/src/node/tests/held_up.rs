//! An actor that blocks its arbiter is named.

use super::*;
use std::{thread, time::Instant};

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
