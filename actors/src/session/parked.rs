//! Requests of a lane that wait until the peer takes the answers before them.

use super::callee::Came;
use crate::budget::{Room, Share};
use bytes::Bytes;
use std::{collections::VecDeque, sync::Arc};
use swarm_protocols::wire::frame::{Intent, RequestHead};

/// How many bytes they may have together.
const PARKED_BYTES_MAX: usize = 16 << 20;

/// They take room of the peer, and are no more than it may have in flight.
pub(super) struct Parked {
    requests: VecDeque<Waiting>,
    count_max: usize,
    bytes: usize,
    room: Option<Room>,
    share: Arc<Share>,
    full: bool,
}

/// One of them.
pub(super) struct Waiting {
    pub(super) head: RequestHead,
    pub(super) payload: Bytes,
    pub(super) came: Came,
    /// It is answered when its turn comes: so what a peer cancels counts as long as its answers do.
    pub(super) cancelled: bool,
}

impl Parked {
    pub(super) fn new(share: &Arc<Share>, count_max: u32) -> Self {
        let (requests, share) = (VecDeque::new(), Arc::clone(share));
        Self { requests, count_max: count_max as usize, bytes: 0, room: None, share, full: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether nothing more should be read.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Keeps a request, and is full where that was the last for which there is room.
    pub(super) fn push(&mut self, head: RequestHead, payload: &[u8], came: Came) {
        self.bytes += payload.len();
        // A copy, as what came with it is not to be kept.
        let payload = Bytes::copy_from_slice(payload);
        self.requests.push_back(Waiting { head, payload, came, cancelled: false });
        let admitted = self.share.extend(&mut self.room, self.bytes);
        self.full = !admitted || self.bytes > PARKED_BYTES_MAX || self.requests.len() >= self.count_max;
    }

    /// The one that came first.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let first = self.requests.pop_front();
        if self.requests.is_empty() {
            (self.bytes, self.room, self.full) = (0, None, false);
        }
        first
    }

    /// Drops what a request asks that is not wanted any more; whether it was there.
    pub(super) fn cancel(&mut self, correlation: u64) -> bool {
        let of = |waiting: &&mut Waiting| {
            let Waiting { head, cancelled, .. } = waiting;
            head.correlation == correlation && head.intent != Intent::Post && !*cancelled
        };
        let Some(waiting) = self.requests.iter_mut().find(of) else { return false };
        (waiting.payload, waiting.cancelled) = (Bytes::new(), true);
        true
    }
}
