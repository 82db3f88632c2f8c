//! Requests of a session that wait for their answers: their numbers, deadlines and futures, whichever way they take.

mod bulk;
mod call;

pub(super) use bulk::BulkCalls;
pub(crate) use bulk::{BulkAsker, Numbered};
pub(crate) use call::PendingCall;
pub(super) use call::{Parts, Slot, Waiter};

use crate::{budget::Share, call::Priority, gate::RETRY_AFTER, transport::Link};
use hdrhistogram::Histogram;
use slab::Slab;
use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};
use swarm_protocols::{Delivery, DeliveryError, wire::frame::Answered};
use tokio::{runtime::Handle, sync::Notify, time::Instant};

/// How a message is sent. An actor of this process is reached at once, whatever the priority.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    pub(crate) timeout: Duration,
    pub(crate) priority: Priority,
    /// On a stream of its own, whatever its length.
    pub(crate) own_stream: bool,
}

/// How requests travel, and their answers.
pub(crate) trait Carrier: Send + 'static {
    /// Nobody wants the answer to request `key`. Says how far the request has come where nothing more is heard of it;
    /// else its number stays taken until the answer has come.
    fn cancel(&mut self, key: usize) -> Option<Delivery>;
    /// Nothing travels any more.
    fn end(&mut self);
    /// How far request `key` has come, to which no answer will come.
    fn lose(&mut self, _key: usize) -> Delivery {
        Delivery::Unknown
    }
    /// Whether all messages that are not answered are on their way.
    fn is_idle(&self) -> bool;
}

/// Requests in flight. Locked for moments only, never across a wait.
pub(crate) struct Calls<C> {
    pub(super) link: Arc<dyn Link>,
    pub(super) message_bytes_max: usize,
    /// Where it runs as soon as it is used.
    pub(super) runtime: Handle,
    pub(super) places: Arc<Places>,
    /// What this node may hold for the peer: answers that nobody has taken.
    pub(super) share: Arc<Share>,
    state: Mutex<State<C>>,
    earlier_deadline: Notify,
}

/// Up to so many in flight every request is timed, and beyond one in so many: noting a time costs as much as reading a frame.
const TIMED_ALL: usize = 64;
const TIMED_ONE_IN: u64 = 8;

/// How many requests may be in flight on one session, over all its lanes and streams: what the peer takes.
pub(crate) struct Places {
    taken: AtomicUsize,
    max: usize,
}

impl Places {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), max })
    }

    /// Takes a place, if there is one.
    fn take(&self) -> bool {
        let free = self.taken.fetch_add(1, Ordering::Relaxed) < self.max;
        if !free {
            self.give_many(1);
        }
        free
    }

    /// Takes a place whether there is one or not.
    pub(super) fn take_anyway(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives places back.
    pub(super) fn give_many(&self, count: usize) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }
}

pub(super) struct State<C> {
    pub(super) slots: Slab<Slot>,
    pub(super) carrier: C,
    pub(super) bulk: Slab<BulkAsker>,
    /// Whether its task runs.
    pub(super) running: bool,
    pub(super) armed: Option<Instant>,
    pub(super) lost: Option<String>,
    /// Answers that have come are still to be taken: nothing ends for another reason meanwhile.
    pub(super) taking: bool,
    /// A deadline has passed meanwhile.
    overdue: bool,
    /// Made with the first answer: it is 10 KiB long.
    latency: Option<Box<Histogram<u32>>>,
    answered: u64,
    sent: u64,
}

impl<C> State<C> {
    /// Adds how long an answered request took, of many one in [`TIMED_ONE_IN`].
    pub(super) fn took(&mut self, time: Duration) {
        self.answered += 1;
        if self.slots.len() > TIMED_ALL && !self.answered.is_multiple_of(TIMED_ONE_IN) {
            return;
        }
        let latency = self.latency.get_or_insert_with(|| Box::new(new_histogram()));
        latency.saturating_record(time.as_micros() as u64);
    }
}

impl<C: Carrier> Calls<C> {
    /// None as yet; each takes one of the `places`. It costs no task and no stream before the first one. Answers of up to
    /// `message_bytes_max` are taken.
    pub(super) fn new(
        link: Arc<dyn Link>,
        carrier: C,
        places: Arc<Places>,
        share: Arc<Share>,
        message_bytes_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            link,
            message_bytes_max,
            runtime: Handle::current(),
            places,
            share,
            state: Mutex::new(State {
                slots: Slab::new(),
                carrier,
                bulk: Slab::new(),
                running: false,
                armed: None,
                lost: None,
                taking: false,
                overdue: false,
                latency: None,
                answered: 0,
                sent: 0,
            }),
            earlier_deadline: Notify::new(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<C>> {
        // The state is valid between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for one more request or message.
    #[inline]
    pub(super) fn take_place(&self, state: &mut State<C>) -> Result<(), DeliveryError> {
        if let Some(reason) = &state.lost {
            let reason = reason.clone();
            return Err(DeliveryError::SessionLost { reason, delivery: Delivery::NotSent });
        }
        if !self.places.take() {
            return Err(DeliveryError::Overloaded { retry_after: RETRY_AFTER });
        }
        state.sent += 1;
        Ok(())
    }

    /// The number of a request that waits so long for its answer.
    #[inline]
    pub(super) fn insert(&self, state: &mut State<C>, timeout: Duration, waiter: Waiter) -> usize {
        let asked = Instant::now();
        let deadline = asked + timeout;
        let key = state.slots.insert(Slot::Waiting { waiter, asked, deadline, parts: None });
        if state.armed.is_none_or(|armed| deadline < armed) {
            state.armed = Some(deadline);
            self.earlier_deadline.notify_one();
        }
        key
    }

    /// Whether every request was answered, also those that were given up, and every message without an answer is on its
    /// way. Nobody may have taken the answer yet: that of a mark is taken when there is a request to wait for it.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state();
        state.carrier.is_idle() && state.slots.iter().all(|(_, slot)| matches!(slot, Slot::Ended(Ok(_), _)))
    }

    /// Adds how long the answered requests took, in microseconds, and forgets it.
    pub(crate) fn take_latency(&self, into: &mut Histogram<u32>) {
        if let Some(latency) = &mut self.state().latency {
            // Both have the same bounds and precision, see `new_histogram`.
            let _same_bounds = into.add(&**latency);
            latency.reset();
        }
    }

    /// Whether its session is known to have ended.
    pub(crate) fn is_lost(&self) -> bool {
        self.state().lost.is_some()
    }

    /// How many requests went out.
    pub(crate) fn sent(&self) -> u64 {
        self.state().sent
    }

    /// Takes how a request has ended.
    #[inline]
    fn take_end(&self, state: &mut State<C>, key: usize) -> Result<Answered, DeliveryError> {
        match std::mem::replace(&mut state.slots[key], Slot::Abandoned) {
            Slot::Ended(answer, _room) => {
                self.remove(state, key);
                answer
            }
            Slot::GivenUp(error) => Err(error),
            Slot::Waiting { .. } | Slot::Abandoned => unreachable!("its caller is here, and it ended"),
        }
    }

    /// Notes that nobody wants to know how a request ends.
    fn abandon(&self, state: &mut State<C>, key: usize) {
        match &state.slots[key] {
            Slot::Waiting { .. } => match state.carrier.cancel(key) {
                Some(_) => self.remove(state, key),
                None => state.slots[key] = Slot::Abandoned,
            },
            Slot::GivenUp(_) => state.slots[key] = Slot::Abandoned,
            Slot::Ended(..) | Slot::Abandoned => self.remove(state, key),
        }
    }

    /// Forgets an ended request.
    #[inline]
    pub(super) fn remove(&self, state: &mut State<C>, key: usize) {
        state.slots.remove(key);
        self.places.give_many(1);
    }

    /// Ends requests whose time is over. Sleeps until the earliest deadline, so that an ask costs no
    /// timer of its own.
    pub(super) async fn expire(&self) -> Infallible {
        loop {
            let armed = self.state().armed;
            let sleep = async {
                match armed {
                    Some(armed) => tokio::time::sleep_until(armed).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.end_expired(),
                () = self.earlier_deadline.notified() => {}
            }
        }
    }

    fn end_expired(&self) {
        let now = Instant::now();
        let mut state = self.state();
        if state.taking {
            (state.armed, state.overdue) = (None, true);
            return;
        }
        let State { slots, carrier, bulk, armed, .. } = &mut *state;
        let (mut earliest, mut wakers) = (None, Vec::new());
        for (key, slot) in slots {
            let Slot::Waiting { waiter, asked, deadline, .. } = slot else { continue };
            if *deadline > now {
                earliest = Some(earliest.map_or(*deadline, |other: Instant| other.min(*deadline)));
                continue;
            }
            wakers.extend(waiter.ended(key, bulk));
            let after = *deadline - *asked;
            *slot = match carrier.cancel(key) {
                Some(delivery) => Slot::Ended(Err(DeliveryError::TimedOut { after, delivery }), None),
                None => Slot::GivenUp(DeliveryError::TimedOut { after, delivery: Delivery::Unknown }),
            };
        }
        *armed = earliest;
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends every request, and refuses those to come.
    pub(crate) fn lose(&self, reason: &str) {
        let mut state = self.state();
        if state.lost.is_some() {
            return;
        }
        state.lost = Some(reason.to_owned());
        state.carrier.end();
        if !state.taking {
            end_all(state, reason);
        }
    }

    /// Notes that all answers that have come are taken, and ends what should have ended meanwhile.
    pub(super) fn taken(&self, mut state: MutexGuard<'_, State<C>>) {
        if !std::mem::take(&mut state.taking) {
            return;
        }
        if std::mem::take(&mut state.overdue) {
            state.armed = Some(Instant::now());
            self.earlier_deadline.notify_one();
        }
        if let Some(reason) = state.lost.clone() {
            end_all(state, &reason);
        }
    }
}

pub(super) fn end_all<C: Carrier>(mut state: MutexGuard<'_, State<C>>, reason: &str) {
    let mut wakers = Vec::new();
    let State { slots, carrier, bulk, .. } = &mut *state;
    for (key, slot) in slots {
        if let Slot::Waiting { waiter, .. } = slot {
            wakers.extend(waiter.ended(key, bulk));
            let (reason, delivery) = (reason.to_owned(), carrier.lose(key));
            let error = DeliveryError::SessionLost { reason, delivery };
            *slot = Slot::Ended(Err(error), None);
        }
    }
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

/// Microseconds up to a minute, to two digits.
pub(crate) fn new_histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, 60_000_000, 2).expect("the bounds are in order and two digits are allowed")
}
