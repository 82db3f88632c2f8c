//! The way between two nodes: delays, and partitions with their history.

use super::network::{Datagram, Network};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{sync::watch, time::Instant};

/// A way through the network between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first node of a [`pair_over`](crate::testing::pair_over), which dials.
    ToAcceptor,
    /// From the second one.
    ToDialler,
}

/// How many partitions of a direction are remembered, for bytes that nobody has read since.
const SPLITS_MAX: usize = 1024;

/// The network between two nodes, which outlives their connections.
#[derive(Debug)]
pub(crate) struct Line {
    network: Network,
    began: Instant,
    /// When nothing arrived at the second node, and at the first; the last one may go on.
    splits: [watch::Sender<VecDeque<Split>>; 2],
    /// How many streams the first node, and the second, has opened.
    streams: [AtomicU64; 2],
}

#[derive(Debug, Clone, Copy)]
struct Split {
    from: Instant,
    healed: Option<Instant>,
}

impl Split {
    fn covers(&self, time: Instant) -> bool {
        self.from <= time && self.healed.is_none_or(|healed| time < healed)
    }
}

impl Line {
    pub(crate) fn new(network: Network) -> Arc<Self> {
        Arc::new(Self {
            network,
            began: Instant::now(),
            splits: Default::default(),
            streams: Default::default(),
        })
    }

    pub(crate) fn split(&self, direction: Direction) {
        self.splits[direction as usize].send_modify(|splits| {
            if splits.back().is_none_or(|last| last.healed.is_some()) {
                if splits.len() == SPLITS_MAX {
                    splits.pop_front();
                }
                splits.push_back(Split { from: Instant::now(), healed: None });
            }
        });
    }

    pub(crate) fn heal(&self, direction: Direction) {
        self.splits[direction as usize].send_modify(|splits| {
            if let Some(last) = splits.back_mut() {
                last.healed.get_or_insert_with(Instant::now);
            }
        });
    }

    /// The number of the next stream that `side` opens, on whichever connection.
    pub(crate) fn next_stream(&self, side: usize) -> u64 {
        2 * self.streams[side].fetch_add(1, Ordering::Relaxed) + side as u64
    }

    /// Whether datagrams differ from one another at all.
    pub(crate) fn is_perfect(&self) -> bool {
        self.network.is_perfect()
    }

    /// Waits until what is due at `due` has arrived. What a split keeps back is sent again when that
    /// is healed, and due `again`.
    pub(crate) async fn arrive(
        &self,
        direction: Direction,
        mut due: Instant,
        again: impl Fn(Instant) -> Instant,
    ) {
        let mut splits = self.splits[direction as usize].subscribe();
        loop {
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            let split = splits.borrow_and_update().iter().find(|split| split.covers(due)).copied();
            match split {
                None => return,
                Some(Split { healed: Some(healed), .. }) => due = again(healed),
                Some(Split { healed: None, .. }) => {
                    splits.changed().await.expect("the line holds the sender");
                }
            }
        }
    }

    /// Waits until a word without a datagram of its own, said at `said`, has crossed: an
    /// acknowledgement, a close, the opening of a stream. It takes the shortest delay, so that it
    /// holds up nothing that comes after it.
    pub(crate) async fn cross(&self, direction: Direction, said: Instant) {
        let crossed = |said| said + self.network.delay.start;
        self.arrive(direction, crossed(said), crossed).await;
    }

    /// When the datagram sent at `sent` is due.
    pub(crate) fn due(&self, stream: u64, side: usize, sent: Instant, number: u64) -> Instant {
        let to_acceptor = side == 0;
        sent + self.network.transit(Datagram { stream, to_acceptor, sent_ms: self.millis(sent), number })
    }

    /// A time in whole milliseconds, see [`Network`].
    pub(crate) fn millis(&self, time: Instant) -> u64 {
        (time - self.began).as_millis() as u64
    }
}
