//! The requests of one lane that are being handled.

use super::{lane::Outbox, routes::Serving};
use crate::call::CallState;
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};
use swarm_protocols::{Delivery, DeliveryError, wire::frame};

/// Numbers below this are found by position. Callers that give the smallest free number stay below,
/// as no more requests than that may be in flight unless a node raises its limit.
const DENSE: u64 = 4096;

/// A request has the number of another one that is not answered yet.
pub(super) struct Duplicate;

/// A request in progress. A panic, as of a `Serialize` that its answer has, ends it and nothing else.
pub(super) struct InProgress {
    correlation: u64,
    serving: Serving,
}

/// The answer to a request could not be encoded, because that panicked.
pub(super) struct Panicked {
    correlation: u64,
}

impl InProgress {
    pub(super) fn new(correlation: u64, serving: Serving) -> Self {
        Self { correlation, serving }
    }
}

impl Future for InProgress {
    /// The number of the request.
    type Output = Result<u64, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { correlation, serving } = &mut *self;
        // It is dropped after a panic, so what it left half done is never looked at.
        match catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked { correlation: *correlation })),
        }
    }
}

impl Panicked {
    /// Tells the caller.
    pub(super) fn put(self, outbox: &RefCell<Outbox>) {
        let reason = "encoding the answer panicked".to_owned();
        let error = DeliveryError::Codec { reason, delivery: Delivery::Delivered };
        frame::put_undelivered(self.correlation, &error, outbox.borrow_mut().frames());
    }
}

/// The requests, to be looked at until their answers are in the outbox.
pub(super) struct LaneCalls {
    outbox: Rc<RefCell<Outbox>>,
    /// Not looked at yet.
    fresh: VecDeque<InProgress>,
    /// Looked at once, while their actors had no time to answer. Most actors answer at once, so by
    /// the next look most of these are done, and never cost the book-keeping of `slow`.
    expected: VecDeque<InProgress>,
    slow: FuturesUnordered<InProgress>,
    states: States,
}

impl LaneCalls {
    pub(super) fn new(outbox: Rc<RefCell<Outbox>>) -> Self {
        let (fresh, expected) = (VecDeque::new(), VecDeque::new());
        Self { outbox, fresh, expected, slow: FuturesUnordered::new(), states: States::default() }
    }

    /// Takes a request that was handed to its actor.
    pub(super) fn push(
        &mut self,
        correlation: u64,
        state: Arc<CallState>,
        call: Serving,
    ) -> Result<(), Duplicate> {
        self.fresh.push_back(InProgress::new(correlation, call));
        self.states.insert(correlation, state)
    }

    /// Lets the actor know that nobody waits; a request that is not there has been answered already.
    pub(super) fn cancel(&self, correlation: u64) {
        if let Some(state) = self.states.get(correlation) {
            state.cancel();
        }
    }

    /// Puts answers into the outbox as they come. Completes when no more requests will come and none
    /// is unanswered.
    pub(super) async fn answer(&mut self, ended: bool) {
        let look = poll_fn(|cx| {
            self.look(cx);
            if ended && self.states.count == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        // tokio would have only 128 calls answered at a time; the limit here is that of the session.
        tokio::task::unconstrained(look).await;
    }

    fn look(&mut self, cx: &mut Context<'_>) {
        let Self { outbox, fresh, expected, slow, states } = self;
        let mut ended = |ended: Result<u64, Panicked>| match ended {
            Ok(correlation) => states.remove(correlation),
            Err(panicked) => {
                states.remove(panicked.correlation);
                panicked.put(outbox);
            }
        };
        for mut call in expected.drain(..) {
            match Pin::new(&mut call).poll(cx) {
                Poll::Ready(answered) => ended(answered),
                Poll::Pending => slow.push(call),
            }
        }
        for mut call in fresh.drain(..) {
            match Pin::new(&mut call).poll(cx) {
                Poll::Ready(answered) => ended(answered),
                Poll::Pending => expected.push_back(call),
            }
        }
        while let Poll::Ready(Some(answered)) = slow.poll_next_unpin(cx) {
            ended(answered);
        }
    }
}

impl Drop for LaneCalls {
    fn drop(&mut self) {
        self.states.all().for_each(|state| state.cancel());
    }
}

/// What is known of each request, by its number, which the peer chooses.
#[derive(Default)]
struct States {
    dense: Vec<Option<Arc<CallState>>>,
    sparse: HashMap<u64, Arc<CallState>>,
    count: usize,
}

impl States {
    fn insert(&mut self, correlation: u64, state: Arc<CallState>) -> Result<(), Duplicate> {
        let before = if correlation < DENSE {
            let position = correlation as usize;
            if self.dense.len() <= position {
                self.dense.resize(position + 1, None);
            }
            self.dense[position].replace(state)
        } else {
            self.sparse.insert(correlation, state)
        };
        self.count += 1;
        match before {
            Some(before) => {
                before.cancel();
                Err(Duplicate)
            }
            None => Ok(()),
        }
    }

    fn get(&self, correlation: u64) -> Option<&Arc<CallState>> {
        if correlation < DENSE {
            self.dense.get(correlation as usize)?.as_ref()
        } else {
            self.sparse.get(&correlation)
        }
    }

    fn remove(&mut self, correlation: u64) {
        let removed = if correlation < DENSE {
            self.dense.get_mut(correlation as usize).and_then(Option::take)
        } else {
            self.sparse.remove(&correlation)
        };
        self.count -= usize::from(removed.is_some());
    }

    fn all(&self) -> impl Iterator<Item = &Arc<CallState>> {
        self.dense.iter().flatten().chain(self.sparse.values())
    }
}
