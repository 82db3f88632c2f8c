//! Requests of one who asks many, and takes those that have ended together: none needs a future, nor a waker.

use super::{Calls, Carrier, Slot, Waiter};
use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Waker},
};
use swarm_protocols::{DeliveryError, wire::frame::Answered};

/// How a request ended, by the number that its asker gave it.
pub(crate) type Numbered = (u64, Result<Answered, DeliveryError>);

/// One who asks in bulk.
#[derive(Default)]
pub(crate) struct BulkAsker {
    /// The requests that have ended, with the asker's numbers.
    ended: Vec<(usize, u64)>,
    waker: Option<Waker>,
}

impl BulkAsker {
    pub(super) fn ended(&mut self, key: usize, number: u64) -> Option<Waker> {
        self.ended.push((key, number));
        self.waker.take()
    }
}

/// The requests of one asker. Dropping it cancels them.
pub(crate) struct BulkCalls<C: Carrier> {
    pub(in crate::session) calls: Arc<Calls<C>>,
    asker: usize,
    waiting: usize,
    /// Kept for its memory.
    keys: Vec<(usize, u64)>,
}

impl<C: Carrier> BulkCalls<C> {
    pub(in crate::session) fn new(calls: Arc<Calls<C>>) -> Self {
        let asker = calls.state().bulk.insert(BulkAsker::default());
        Self { calls, asker, waiting: 0, keys: Vec::new() }
    }

    /// How many requests there are whose end was not [taken](Self::take).
    pub(in crate::session) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Who waits for a request of this number, which is to be asked next.
    pub(in crate::session) fn waiter(&self, number: u64) -> Waiter {
        Waiter::Asker { asker: self.asker, number }
    }

    /// Counts a request that was asked.
    pub(in crate::session) fn asked(&mut self) {
        self.waiting += 1;
    }

    /// Takes what has ended. Where nothing has, whoever polls is woken when something does.
    pub(in crate::session) fn take(&mut self, into: &mut VecDeque<Numbered>, cx: &Context<'_>) {
        let mut state = self.calls.state();
        let asker = &mut state.bulk[self.asker];
        if asker.ended.is_empty() {
            asker.waker = Some(cx.waker().clone());
            return;
        }
        std::mem::swap(&mut asker.ended, &mut self.keys);
        self.waiting -= self.keys.len();
        for (key, number) in self.keys.drain(..) {
            into.push_back((number, self.calls.take_end(&mut state, key)));
        }
    }
}

impl<C: Carrier> Drop for BulkCalls<C> {
    fn drop(&mut self) {
        let mut state = self.calls.state();
        let mut keys: Vec<usize> =
            state.bulk.remove(self.asker).ended.into_iter().map(|(key, _)| key).collect();
        let waits = |slot: &Slot| match slot {
            Slot::Waiting { waiter: Waiter::Asker { asker, .. }, .. } => *asker == self.asker,
            _ => false,
        };
        keys.extend(state.slots.iter().filter(|(_, slot)| waits(slot)).map(|(key, _)| key));
        keys.into_iter().for_each(|key| self.calls.abandon(&mut state, key));
    }
}
