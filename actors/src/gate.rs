//! A bound on how much is in progress at once, and the way to wait until nothing is.

use crate::budget::Room;
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

/// Lets so many in.
#[derive(Debug)]
pub(crate) struct Gate {
    inside: AtomicUsize,
    inside_max: usize,
    empty: Notify,
}

impl Gate {
    pub(crate) fn new(inside_max: usize) -> Arc<Self> {
        Arc::new(Self { inside: AtomicUsize::new(0), inside_max, empty: Notify::new() })
    }

    /// Lets something in until its permit is dropped, if there is a place.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Permit> {
        let inside = self.inside.fetch_add(1, Ordering::Relaxed);
        let permit = Permit { gate: Arc::clone(self), room: None };
        (inside < self.inside_max).then_some(permit)
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
    /// Boxed, as few have one.
    room: Option<Box<Room>>,
}

impl Permit {
    /// Keeps room as long as the place.
    pub(crate) fn with(mut self, room: Room) -> Self {
        self.room = Some(Box::new(room));
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.room = None;
        if self.gate.inside.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.gate.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_get_in_than_there_are_places() {
        let gate = Gate::new(2);
        let places = (gate.enter().unwrap(), gate.enter().unwrap());
        assert!(gate.enter().is_none());
        drop(places);
        assert!(gate.enter().is_some());
        assert_eq!(gate.inside(), 0);
    }

    #[tokio::test]
    async fn everyone_who_waits_learns_that_it_is_empty() {
        let gate = Gate::new(1);
        let permit = gate.enter().unwrap();
        tokio::join!(gate.empty(), gate.empty(), async { drop(permit) });
        gate.empty().await;
    }
}
