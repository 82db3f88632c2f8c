//! How much memory a node takes for its peers: one bound for all of them, of which none can take what others need.

use crate::transport::RECEIVE_WINDOW;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};
use swarm_protocols::NodeId;

/// The longest payload of a request on a lane, in bytes, where a longer one would make the others wait: the 16384 of
/// `protocols/SPEC.md`. What is no longer is not counted in a [`Budget`] either: it is bounded by how many there may be.
pub(crate) const SHORT_BYTES_MAX: usize = 16 << 10;

/// The smallest window of a connection, and that of one whose session is not open yet, in bytes.
pub(crate) const WINDOW_MIN: u32 = 16 << 10;

/// The memory that a node takes for its peers, in bytes.
///
/// A quarter of it is for the windows of the connections: what has come and not been read, and what has been written
/// and not been taken. A part is for what the actors of the node keep, who bound it themselves. The rest is for messages:
/// frames that are not complete, requests in progress, answers that wait.
///
/// A peer may hold as much of that as is still free. So one alone gets half of it, two get a third each, and there is
/// always room for another one.
#[derive(Debug)]
pub(crate) struct Budget {
    windows: usize,
    messages: usize,
    held: AtomicUsize,
    shares: Mutex<HashMap<NodeId, Weak<Share>>>,
}

impl Budget {
    /// Of `bytes`, of which the actors of the node keep `kept`.
    pub(crate) fn new(bytes: usize, kept: usize) -> Arc<Self> {
        let windows = bytes / 4;
        Arc::new(Self {
            windows,
            messages: (bytes - windows).saturating_sub(kept),
            held: AtomicUsize::new(0),
            shares: Mutex::default(),
        })
    }

    /// The share of a peer, which all its sessions have together.
    pub(crate) fn share(self: &Arc<Self>, peer: &NodeId) -> Arc<Share> {
        // Nothing panics while it is locked.
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(peer).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share { budget: Arc::clone(self), held: AtomicUsize::new(0) });
        shares.insert(peer.clone(), Arc::downgrade(&share));
        share
    }

    /// Whether a peer that is alone finds room for several messages of this length, and one beside another for one.
    pub(crate) fn suffices(&self, message_bytes: u64) -> bool {
        self.messages as u64 / 9 >= message_bytes
    }

    /// How many bytes of each of so many connections may wait in either direction: a power of two.
    pub(crate) fn window(&self, connections: usize) -> u32 {
        let each = u32::try_from(self.windows / 2 / connections.max(1)).unwrap_or(u32::MAX);
        (1 << each.max(1).ilog2()).clamp(WINDOW_MIN, RECEIVE_WINDOW)
    }
}

/// What one peer holds of a [`Budget`].
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    held: AtomicUsize,
}

impl Share {
    /// Room for so many bytes, if the peer may hold them.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let mut room = Room { share: Arc::clone(self), bytes: 0 };
        room.grow_to(bytes).then_some(room)
    }

    /// Whether the peer holds more than half of what it may.
    pub(crate) fn is_scarce(&self) -> bool {
        let own = self.held.load(Ordering::Relaxed);
        let others = self.budget.held.load(Ordering::Relaxed).saturating_sub(own);
        own > self.budget.messages.saturating_sub(others) / 4
    }

    /// Makes `room` enough for so many bytes, if the peer may hold them.
    pub(crate) fn extend(self: &Arc<Self>, room: &mut Option<Room>, bytes: usize) -> bool {
        match room {
            Some(room) => room.grow_to(bytes),
            None => {
                *room = self.take(bytes);
                room.is_some()
            }
        }
    }
}

/// Room that is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    share: Arc<Share>,
    bytes: usize,
}

impl Room {
    fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let Share { budget, held } = &*self.share;
        let own = held.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        let all = budget.held.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        self.bytes += more;
        let admitted = all.saturating_add(own) <= budget.messages;
        if !admitted {
            self.give(more);
        }
        admitted
    }

    fn give(&mut self, bytes: usize) {
        self.share.held.fetch_sub(bytes, Ordering::Relaxed);
        self.share.budget.held.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn held(share: &Arc<Share>) -> Vec<Room> {
        std::iter::from_fn(|| share.take(MIB)).collect()
    }

    #[test]
    fn a7_a_peer_holds_as_much_as_is_free_whatever_its_sessions_and_another_one_finds_room() {
        let budget = Budget::new(128 * MIB, 0);
        let share = |id: &str| budget.share(&id.parse().unwrap());
        let (greedy, again) = (share("greedy"), share("greedy"));
        let (first, second) = (held(&greedy), held(&again));
        assert_eq!((first.len(), second.len()), (48, 0), "half of what is for messages");
        let (other, third) = (share("other"), share("third"));
        let others = (held(&other), held(&third));
        assert_eq!((others.0.len(), others.1.len()), (24, 12));
        drop((first, others));
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
        assert!(greedy.take(usize::MAX).is_none());
        assert_eq!(held(&greedy).len(), 48);
        drop((greedy, again, other));
        assert_eq!(budget.shares.lock().unwrap().len(), 3);
        let _fourth = share("fourth");
        assert_eq!(budget.shares.lock().unwrap().len(), 2, "those who have left are forgotten");
    }

    #[test]
    fn s2_room_is_scarce_for_a_peer_that_holds_half_of_what_it_may() {
        let share = Budget::new(128 * MIB, 0).share(&"peer".parse().unwrap());
        let mut rooms: Vec<Room> = held(&share);
        let scarce = |rooms: &Vec<Room>| (rooms.len(), share.is_scarce());
        rooms.truncate(25);
        assert_eq!(scarce(&rooms), (25, true));
        rooms.pop();
        assert_eq!(scarce(&rooms), (24, false));
    }

    #[test]
    fn a7_what_actors_keep_is_left_to_them_by_messages() {
        let budget = Budget::new(128 * MIB, 48 * MIB);
        let peer = budget.share(&"peer".parse().unwrap());
        assert_eq!(held(&peer).len(), 24);
        assert!(budget.suffices(5 << 20) && !budget.suffices(6 << 20));
        assert!(!Budget::new(MIB, usize::MAX).suffices(1));
    }

    #[test]
    fn a7_the_windows_of_all_connections_are_a_quarter_of_the_budget_together() {
        let budget = Budget::new(512 * MIB, 0);
        let windows = [0, 1, 4, 5, 100, 4096].map(|connections| budget.window(connections));
        assert_eq!(windows, [16 << 20, 16 << 20, 16 << 20, 8 << 20, 1 << 19, 16 << 10]);
        assert!(
            (1..=4096).all(|connections| 2 * connections * budget.window(connections) as usize <= 128 * MIB)
        );
    }
}
