//! One request: what has become of it, and the future of the one who asked.

use super::{BulkAsker, Calls, Carrier};
use crate::budget::Room;
use bytes::BytesMut;
use slab::Slab;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use swarm_protocols::{DeliveryError, wire::frame::Answered};
use tokio::time::Instant;

/// An unanswered request. Dropping it cancels the request.
pub(crate) struct PendingCall<C: Carrier> {
    calls: Arc<Calls<C>>,
    key: usize,
    ended: bool,
}

impl<C: Carrier> PendingCall<C> {
    pub(in crate::session) fn new(calls: Arc<Calls<C>>, key: usize) -> Self {
        Self { calls, key, ended: false }
    }
}

impl<C: Carrier> Future for PendingCall<C> {
    type Output = Result<Answered, DeliveryError>;

    /// # Panics
    /// After it was ready: its number may be that of another request by then.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.ended, "an ask was polled after it was ready");
        let mut state = self.calls.state();
        match &mut state.slots[self.key] {
            Slot::Waiting { waiter, .. } => {
                match waiter {
                    Waiter::Task(waker) if waker.will_wake(cx.waker()) => {}
                    _ => *waiter = Waiter::Task(cx.waker().clone()),
                }
                Poll::Pending
            }
            _ => {
                let answer = self.calls.take_end(&mut state, self.key);
                drop(state);
                self.ended = true;
                Poll::Ready(answer)
            }
        }
    }
}

impl<C: Carrier> Drop for PendingCall<C> {
    fn drop(&mut self) {
        if !self.ended {
            self.calls.abandon(&mut self.calls.state(), self.key);
        }
    }
}

/// Who waits for the end of a request.
#[derive(Default)]
pub(in crate::session) enum Waiter {
    #[default]
    Nobody,
    Task(Waker),
    /// One who asks in bulk, and knows the request by its own number.
    Asker {
        asker: usize,
        number: u64,
    },
}

impl Waiter {
    /// Notes that request `key` has ended, and yields who is to be woken.
    pub(in crate::session) fn ended(&mut self, key: usize, bulk: &mut Slab<BulkAsker>) -> Option<Waker> {
        match std::mem::take(self) {
            Self::Nobody => None,
            Self::Task(waker) => Some(waker),
            Self::Asker { asker, number } => bulk.get_mut(asker)?.ended(key, number),
        }
    }
}

/// What has become of a request.
pub(in crate::session) enum Slot {
    Waiting {
        waiter: Waiter,
        asked: Instant,
        deadline: Instant,
        parts: Option<Box<Parts>>,
    },
    /// With the room that its answer takes until somebody does, where that is long.
    Ended(Result<Answered, DeliveryError>, Option<Box<Room>>),
    /// It has ended here. The number stays taken until the callee's answer has come.
    GivenUp(DeliveryError),
    /// The caller left. The number stays taken until the callee's answer has come.
    Abandoned,
}

impl Slot {
    /// Ends what was given up, as nothing more comes of it.
    pub(in crate::session) fn settle(&mut self) {
        if let Self::GivenUp(error) = self {
            *self = Self::Ended(Err(error.clone()), None);
        }
    }
}

/// What has come of a long answer, with the room that it takes.
#[derive(Default)]
pub(in crate::session) struct Parts {
    pub(in crate::session) bytes: BytesMut,
    pub(in crate::session) room: Option<Room>,
}
