//! One request: what has become of it, and the future of the one who asked.

use super::{Calls, Carrier};
use crate::budget::Room;
use bytes::BytesMut;
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
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.ended, "an ask was polled after it was ready");
        let mut state = self.calls.state();
        match &mut state.slots[self.key] {
            Slot::Waiting { waker, .. } => {
                match waker {
                    Some(waker) if waker.will_wake(cx.waker()) => {}
                    _ => *waker = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            slot => {
                let ended = std::mem::replace(slot, Slot::Abandoned);
                if !matches!(ended, Slot::GivenUp(_)) {
                    self.calls.remove(&mut state, self.key);
                }
                drop(state);
                self.ended = true;
                match ended {
                    Slot::Ended(answer, _) => Poll::Ready(answer),
                    Slot::GivenUp(error) => Poll::Ready(Err(error)),
                    Slot::Waiting { .. } | Slot::Abandoned => {
                        unreachable!("its caller is here, and it ended")
                    }
                }
            }
        }
    }
}

impl<C: Carrier> Drop for PendingCall<C> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.calls.state();
        match &state.slots[self.key] {
            Slot::Waiting { .. } => match state.carrier.cancel(self.key) {
                Some(_) => self.calls.remove(&mut state, self.key),
                None => state.slots[self.key] = Slot::Abandoned,
            },
            Slot::GivenUp(_) => state.slots[self.key] = Slot::Abandoned,
            Slot::Ended(..) | Slot::Abandoned => self.calls.remove(&mut state, self.key),
        }
    }
}

/// What has become of a request.
pub(in crate::session) enum Slot {
    Waiting {
        waker: Option<Waker>,
        asked: Instant,
        deadline: Instant,
        parts: Option<Box<Parts>>,
    },
    /// With the room that its answer takes until somebody does, where that is long.
    Ended(
        Result<Answered, DeliveryError>,
        #[expect(dead_code, reason = "it is given back when this is dropped")] Option<Box<Room>>,
    ),
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
