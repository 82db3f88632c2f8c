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
        let group = self.enter_many(1);
        (group.count == 1).then_some(Permit { _room: None, _of: group })
    }

    /// Lets up to `count` in, as far as there are places.
    pub(crate) fn enter_many(self: &Arc<Self>, count: usize) -> Group {
        let inside = self.inside.fetch_add(count, Ordering::Relaxed);
        let mut group = Group { gate: Arc::clone(self), count };
        group.leave(count.saturating_sub(self.inside_max.saturating_sub(inside)));
        group
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

/// Those who came together inside of a [`Gate`], each with a place there.
#[derive(Debug)]
pub(crate) struct Group {
    gate: Arc<Gate>,
    count: usize,
}

impl Group {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Lets one more in, if there is a place.
    pub(crate) fn enter(&mut self) -> bool {
        let inside = self.gate.inside.fetch_add(1, Ordering::Relaxed);
        self.count += 1;
        let free = inside < self.gate.inside_max;
        if !free {
            self.leave(1);
        }
        free
    }

    /// Lets so many out.
    pub(crate) fn leave(&mut self, count: usize) {
        self.count -= count;
        if count > 0 && self.gate.inside.fetch_sub(count, Ordering::AcqRel) == count {
            self.gate.empty.notify_waiters();
        }
    }

    /// Moves one to others inside of the same gate.
    pub(crate) fn move_to(&mut self, others: &mut Option<Self>) {
        let others = others.get_or_insert_with(|| Self { gate: Arc::clone(&self.gate), count: 0 });
        debug_assert!(Arc::ptr_eq(&self.gate, &others.gate), "they are inside of one gate");
        self.count -= 1;
        others.count += 1;
    }

    /// Takes one out, with what room it takes.
    pub(crate) fn take(&mut self, room: Option<Box<Room>>) -> Permit {
        self.count -= 1;
        Permit { _room: room, _of: Self { gate: Arc::clone(&self.gate), count: 1 } }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.leave(self.count);
    }
}

/// A place inside a [`Gate`].
#[derive(Debug)]
pub(crate) struct Permit {
    /// Given back before the place. Boxed, as few have one.
    _room: Option<Box<Room>>,
    _of: Group,
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

    #[test]
    fn many_get_in_as_far_as_there_are_places_and_each_counts_until_it_is_given_back() {
        let gate = Gate::new(3);
        let mut group = gate.enter_many(2);
        assert!(group.enter() && !group.enter());
        assert_eq!((group.count(), gate.enter_many(5).count()), (3, 0));
        let permit = group.take(None);
        let mut others = None;
        group.move_to(&mut others);
        group.leave(1);
        assert_eq!((group.count(), gate.inside(), gate.enter_many(5).count()), (0, 2, 1));
        drop((permit, others));
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
