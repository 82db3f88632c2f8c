//! One request on a lane: what has become of it, and the future of the one who asked.

use super::Lane;
use crate::budget::Room;
use bytes::BytesMut;
use slab::Slab;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use swarm_protocols::{
    DeliveryError,
    wire::frame::{self, Answered},
};
use tokio::time::Instant;

/// An unanswered request on a lane. Dropping it cancels the request.
pub(crate) struct LaneCall {
    lane: Arc<Lane>,
    key: usize,
    ended: bool,
}

impl LaneCall {
    pub(super) fn new(lane: Arc<Lane>, key: usize) -> Self {
        Self { lane, key, ended: false }
    }
}

impl Future for LaneCall {
    type Output = Result<Answered, DeliveryError>;

    /// # Panics
    /// After it was ready: its number may be that of another request by then.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.ended, "an ask was polled after it was ready");
        let mut state = self.lane.state();
        match &mut state.calls[self.key] {
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
                    self.lane.remove(&mut state, self.key);
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

impl Drop for LaneCall {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.lane.state();
        match &state.calls[self.key] {
            Slot::Waiting { .. } => {
                state.calls[self.key] = Slot::Abandoned;
                let correlation = self.key as u64;
                frame::put_cancel(correlation, state.outbox.frames());
            }
            Slot::GivenUp(_) => state.calls[self.key] = Slot::Abandoned,
            Slot::Ended(..) | Slot::Abandoned => self.lane.remove(&mut state, self.key),
        }
    }
}

/// What has become of a request.
pub(super) enum Slot {
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
    pub(super) fn settle(&mut self) {
        if let Self::GivenUp(error) = self {
            *self = Self::Ended(Err(error.clone()), None);
        }
    }
}

/// What has come of a long answer, with the room that it takes.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) bytes: BytesMut,
    pub(super) room: Option<Room>,
}

/// The request of this number, which has no answer yet.
pub(super) fn slot(calls: &mut Slab<Slot>, correlation: u64) -> Result<&mut Slot, String> {
    let slot = usize::try_from(correlation).ok().and_then(|key| calls.get_mut(key));
    slot.filter(|slot| !matches!(slot, Slot::Ended(..)))
        .ok_or_else(|| format!("an answer to request {correlation}, which was not asked"))
}
