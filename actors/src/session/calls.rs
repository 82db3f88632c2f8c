//! The requests of one lane that are being handled.

use super::routes::Serving;
use crate::call::CallState;
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

/// Numbers below this are found by position. Callers that give the smallest free number stay below,
/// as no more requests than that may be in flight unless a node raises its limit.
const DENSE: u64 = 4096;

/// A request has the number of another one that is not answered yet.
pub(super) struct Duplicate;

/// The requests, to be looked at until their answers are in the outbox.
#[derive(Default)]
pub(super) struct LaneCalls {
    /// Not looked at yet.
    fresh: VecDeque<Serving>,
    /// Looked at once, while their actors had no time to answer. Most actors answer at once, so by
    /// the next look most of these are done, and never cost the book-keeping of `slow`.
    expected: VecDeque<Serving>,
    slow: FuturesUnordered<Serving>,
    states: States,
}

impl LaneCalls {
    /// Takes a request that was handed to its actor.
    pub(super) fn push(
        &mut self,
        correlation: u64,
        state: Arc<CallState>,
        call: Serving,
    ) -> Result<(), Duplicate> {
        self.fresh.push_back(call);
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
        for mut call in self.expected.drain(..) {
            match call.as_mut().poll(cx) {
                Poll::Ready(correlation) => self.states.remove(correlation),
                Poll::Pending => self.slow.push(call),
            }
        }
        for mut call in self.fresh.drain(..) {
            match call.as_mut().poll(cx) {
                Poll::Ready(correlation) => self.states.remove(correlation),
                Poll::Pending => self.expected.push_back(call),
            }
        }
        while let Poll::Ready(Some(correlation)) = self.slow.poll_next_unpin(cx) {
            self.states.remove(correlation);
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
