//! How to test what your actors do when the network is bad: two nodes in one process, and between
//! them losses, delays and partitions that come out alike every time.
//!
//! ```text
//! cargo run --example test_over_a_bad_network
//! cargo test --example test_over_a_bad_network
//! ```

use actix_swarm::{
    AskError, DeliveryError, Node, Request, Role, protocol,
    testing::{Direction, MemoryNode, MockActor, Network, pair_over},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Writes a line into a book, once for each number however often it is asked; the reply is the sum of all lines.
#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "write", reply = i64)]
struct Write {
    number: u64,
    cents: i64,
}

protocol! { Book = "book" { Write } }

/// How often a writer tries, a second apart, before it gives up.
const ATTEMPTS: usize = 60;

/// What is under test: asks again when the session was lost, as nobody can know then whether the line
/// was written.
async fn write(desk: &Node, number: u64) -> Option<i64> {
    for _ in 0..ATTEMPTS {
        if let Ok(book) = desk.resolve::<Book>("store/book").await {
            match book.ask(Write { number, cents: 25 }).await {
                Ok(sum) => return Some(sum),
                Err(AskError::Delivery(DeliveryError::SessionLost { .. })) => {}
                Err(_) => return None,
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    None
}

async fn every_line_is_written_once_over_a_network_that_breaks() {
    tokio::time::pause();
    let delay = Duration::from_millis(5)..Duration::from_millis(40);
    let network = Network { loss: 0.2, duplication: 0.05, ..Network::new(7, delay) };
    let (desk, store) = (MemoryNode::new("desk", Role::Operator), MemoryNode::new("store", Role::Agent));
    let (desk, store, mut partition) = pair_over(desk, store, network).await;

    let (mut lines, asked) = (BTreeMap::new(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&asked);
    let keeper = MockActor::<Book>::new().on::<Write>(move |write| {
        counted.fetch_add(1, Ordering::Relaxed);
        lines.insert(write.number, write.cents);
        Ok(lines.values().sum())
    });
    let (book, _verified) = keeper.start();
    let exposed = store.expose("book", book).allow(Role::Operator).register().await;
    exposed.expect("the name is free").detach();

    // A fifth of the datagrams is lost.
    for number in 1..=20 {
        assert_eq!(write(&desk, number).await, Some(25 * number as i64));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 20);

    // The answer to line 21 does not come back, then nothing goes through until both sides have
    // given up. Nobody at the desk knows that the line is written.
    partition.split_one_way(Direction::ToDialler);
    let network = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(asked.load(Ordering::Relaxed), 21);
        partition.split();
        tokio::time::sleep(Duration::from_secs(29)).await;
        partition.heal();
        partition.reconnect().await;
    };
    let (sum, ()) = tokio::join!(write(&desk, 21), network);
    // So it was asked for twice, and written once.
    assert_eq!((sum, asked.load(Ordering::Relaxed)), (Some(25 * 21), 22));
}

#[actix::main]
async fn main() {
    let began = std::time::Instant::now();
    every_line_is_written_once_over_a_network_that_breaks().await;
    println!("More than half a minute on a bad network took {:?}.", began.elapsed());
}

#[cfg(test)]
mod tests {
    #[actix::test]
    async fn every_line_is_written_once_over_a_network_that_breaks() {
        super::every_line_is_written_once_over_a_network_that_breaks().await;
    }
}
