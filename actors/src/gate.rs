//! A bound on how much is in progress at once, and the way to wait until nothing is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// What is suggested to those who find no room: about the time in which an actor that works gets through much of
/// its queue.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(10);

/// Lets so many in, with so many bytes together.
#[derive(Debug)]
pub(crate) struct Gate {
    inside: AtomicUsize,
    inside_max: usize,
    bytes: AtomicUsize,
    bytes_max: usize,
    empty: Notify,
}

impl Gate {
    pub(crate) fn new(inside_max: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            inside: AtomicUsize::new(0),
            inside_max,
            bytes: AtomicUsize::new(0),
            bytes_max,
            empty: Notify::new(),
        })
    }

    /// Lets something of `bytes` bytes in until its permit is dropped, if there is room.
    pub(crate) fn enter(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let inside = self.inside.fetch_add(1, Ordering::Relaxed);
        let permit = Permit { gate: Arc::clone(self), bytes };
        let others = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        (inside < self.inside_max && others.saturating_add(bytes) <= self.bytes_max).then_some(permit)
    }

    /// How many are inside.
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::Acquire)
    }

    /// Completes when nobody is inside.
    pub(crate) async fn empty(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.empty.notified());
            emptied.as_mut().enable();
            if self.inside() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// A place inside a [`Gate`].
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if self.gate.inside.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.gate.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_count_nor_bytes_go_beyond_their_bound() {
        let gate = Gate::new(2, 10);
        let first = gate.enter(6).unwrap();
        assert!(gate.enter(5).is_none());
        let second = gate.enter(4).unwrap();
        assert!(gate.enter(0).is_none());
        drop((first, second));
        assert!(gate.enter(10).is_some());
        assert_eq!((gate.inside(), gate.bytes.load(Ordering::Relaxed)), (0, 0));
    }

    #[tokio::test]
    async fn everyone_who_waits_learns_that_it_is_empty() {
        let gate = Gate::new(1, 1);
        let permit = gate.enter(0).unwrap();
        tokio::join!(gate.empty(), gate.empty(), async { drop(permit) });
        gate.empty().await;
    }
}
