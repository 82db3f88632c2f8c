//! Requests of a stream that came one after the other, and are handed over together.

use crate::{
    call::Priority,
    session::{Arrivals, Handle},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How many requests are handed over together: their actor may be on another thread, and both have to do.
pub(super) const GATHERED_MAX: usize = 64;

/// What requests have in common that are handed over together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct To {
    pub(super) route: u32,
    pub(super) told: bool,
    pub(super) post: bool,
    pub(super) priority: Priority,
    /// Nothing else is handed over with it.
    pub(super) alone: bool,
}

/// Requests that came one after the other and are handed over together, as this ends at the latest.
#[derive(Default)]
pub(super) struct Gathered(pub(super) Option<(To, Arc<dyn Handle>, Arrivals)>);

impl Gathered {
    /// Lets the mailbox have them.
    pub(super) fn hand_over(&mut self) {
        if let Some((_, handler, arrivals)) = self.0.take()
            && !arrivals.requests.is_empty()
        {
            handler.start(arrivals);
        }
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// When a request came, and with which priority.
#[derive(Debug, Clone, Copy)]
pub(in crate::session) struct Came {
    pub(super) at: Instant,
    pub(super) priority: Priority,
}

impl Came {
    /// When the caller of a request stops waiting, where it does.
    pub(super) fn deadline(self, deadline_ms: u64) -> Option<Instant> {
        (deadline_ms > 0).then(|| self.at + Duration::from_millis(deadline_ms.min(1 << 40)))
    }
}
