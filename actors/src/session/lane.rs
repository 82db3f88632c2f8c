//! The caller's end of a lane: requests pipelined on one stream, their answers matched by number.

mod call;

pub(crate) use call::LaneCall;

use self::call::{Parts, Slot, slot};
use super::outbox::{Outbox, no_room};
use crate::{
    budget::{SHORT_BYTES_MAX, Share},
    transport::{Link, LinkError, RecvHalf, SendHalf, Stream},
};
use bytes::Bytes;
use hdrhistogram::Histogram;
use slab::Slab;
use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};
use swarm_protocols::{
    Delivery, DeliveryError,
    session::CloseCode,
    wire::frame::{
        self, Answered, Frame, FrameReader, Intent, LANE_ANSWER_BYTES_MAX, OVERHEAD_BYTES_MAX, RequestHead,
    },
};
use tokio::{runtime::Handle, sync::Notify, time::Instant};

/// How much may wait for a peer that does not read before further requests are refused, in bytes.
const UNSENT_BYTES_MAX: usize = 16 << 20;

/// A route that no node gives: routes are numbered from 0 on, one by one.
const ROUTE_OF_NOBODY: u32 = u32::MAX;

/// Why a lane goes no further.
enum Fault {
    /// Its stream, or the connection, ended.
    Ended(LinkError),
    /// The peer answered what makes no sense. It costs it the connection.
    Violation(String),
}

impl From<LinkError> for Fault {
    fn from(error: LinkError) -> Self {
        Self::Ended(error)
    }
}

/// Requests and answers on one lane. Locked for moments only, never across a wait.
pub(crate) struct Lane {
    link: Arc<dyn Link>,
    class: u8,
    message_bytes_max: usize,
    /// Where it runs as soon as it is used.
    runtime: Handle,
    places: Arc<Places>,
    /// What this node may hold for the peer: answers that nobody has taken.
    share: Arc<Share>,
    state: Mutex<State>,
    earlier_deadline: Notify,
}

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
    pub(crate) fn take(&self) -> bool {
        let free = self.taken.fetch_add(1, Ordering::Relaxed) < self.max;
        if !free {
            self.give();
        }
        free
    }

    /// Gives a place back.
    pub(crate) fn give(&self) {
        self.give_many(1);
    }

    fn give_many(&self, count: usize) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }
}

struct State {
    outbox: Outbox,
    calls: Slab<Slot>,
    /// Whether its stream is opened, or about to be.
    running: bool,
    armed: Option<Instant>,
    lost: Option<String>,
    /// Made with the first answer: it is 10 KiB long.
    latency: Option<Box<Histogram<u32>>>,
    sent: u64,
    /// How many messages without an answer wait in the outbox.
    posts: usize,
    /// There were such messages, of which nobody knows whether the peer has read them.
    posted: bool,
    /// The mark on the lane that this one follows.
    after: Option<LaneCall>,
}

impl Lane {
    /// A lane on which requests take `places`. It costs no task and no stream before the first one.
    pub(crate) fn new(
        link: Arc<dyn Link>,
        class: u8,
        places: Arc<Places>,
        share: Arc<Share>,
        message_bytes_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            link,
            class,
            message_bytes_max,
            runtime: Handle::current(),
            places,
            share,
            state: Mutex::new(State {
                outbox: Outbox::default(),
                calls: Slab::new(),
                running: false,
                armed: None,
                lost: None,
                latency: None,
                sent: 0,
                posts: 0,
                posted: false,
                after: None,
            }),
            earlier_deadline: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is valid between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request on the lane. Its `correlation` and `deadline_ms` are set here.
    pub(crate) fn call(
        self: &Arc<Self>,
        route: u32,
        payload: &[u8],
        timeout: Duration,
        intent: Intent,
    ) -> Result<LaneCall, DeliveryError> {
        let asked = Instant::now();
        let deadline = asked + timeout;
        let mut state = self.state();
        self.admit(&mut state)?;
        let key = state.calls.insert(Slot::Waiting { waker: None, asked, deadline, parts: None });
        let head = RequestHead { correlation: key as u64, route, deadline_ms: millis_up(timeout), intent };
        frame::put_request(&head, payload, state.outbox.frames());
        if state.armed.is_none_or(|armed| deadline < armed) {
            state.armed = Some(deadline);
            self.earlier_deadline.notify_one();
        }
        Ok(LaneCall::new(Arc::clone(self), key))
    }

    /// Puts a message on the lane that is not answered.
    pub(crate) fn post(self: &Arc<Self>, route: u32, payload: &[u8]) -> Result<(), DeliveryError> {
        let mut state = self.state();
        self.admit(&mut state)?;
        state.posts += 1;
        state.posted = true;
        let head = RequestHead { correlation: 0, route, deadline_ms: 0, intent: Intent::Post };
        frame::put_request(&head, payload, state.outbox.frames());
        Ok(())
    }

    /// Takes a place for one more request or message, and begins to carry them.
    fn admit(self: &Arc<Self>, state: &mut State) -> Result<(), DeliveryError> {
        if let Some(reason) = &state.lost {
            let reason = reason.clone();
            return Err(DeliveryError::SessionLost { reason, delivery: Delivery::NotSent });
        }
        if state.outbox.len() > UNSENT_BYTES_MAX || !self.places.take() {
            return Err(DeliveryError::Overloaded { retry_after: crate::gate::RETRY_AFTER });
        }
        if !state.running {
            state.running = true;
            self.runtime.spawn(Arc::clone(self).run());
        }
        state.sent += 1;
        Ok(())
    }

    /// Lets the requests on this lane go out no sooner than the peer has read those on `former`, a lane of another
    /// session: so they arrive in the order in which they were asked. To be called before the first of them.
    pub(crate) fn follow(&self, former: &Arc<Self>) {
        // One on which nothing was asked may itself have to wait for the lane before it.
        let after = former.mark().or_else(|| former.state().after.take());
        self.state().after = after;
    }

    /// A request that no handler takes: by the time at which it is answered, the peer has read all that went
    /// before it. `None` where all of that was answered already.
    fn mark(self: &Arc<Self>) -> Option<LaneCall> {
        let (asked, timeout) = (Instant::now(), super::TIMEOUT_MAX);
        let mut state = self.state();
        if !state.running || state.lost.is_some() || (state.calls.is_empty() && !state.posted) {
            return None;
        }
        // It takes a place whether there is one or not.
        self.places.taken.fetch_add(1, Ordering::Relaxed);
        let key =
            state.calls.insert(Slot::Waiting { waker: None, asked, deadline: asked + timeout, parts: None });
        let head = RequestHead {
            correlation: key as u64,
            route: ROUTE_OF_NOBODY,
            deadline_ms: 0,
            intent: Intent::Ask,
        };
        frame::put_request(&head, &[], state.outbox.frames());
        Some(LaneCall::new(Arc::clone(self), key))
    }

    /// Whether every request was answered, also those that were given up, and every message without an answer is on its
    /// way. Nobody may have taken the answer yet: that of a mark is taken when there is a request to wait for it.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state();
        state.posts == 0 && state.calls.iter().all(|(_, slot)| matches!(slot, Slot::Ended(Ok(_), _)))
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

    /// Takes an ended request off the lane.
    fn remove(&self, state: &mut State, key: usize) {
        state.calls.remove(key);
        self.places.give();
    }

    async fn run(self: Arc<Self>) {
        let fault = tokio::select! {
            fault = self.carry() => fault,
            never = self.expire() => match never {},
        };
        match fault {
            Fault::Ended(LinkError::StreamAbandoned) => self.begin_anew("the peer gave up the lane"),
            Fault::Ended(error) => self.lose(&error.to_string()),
            Fault::Violation(reason) => {
                self.lose(&reason);
                self.link.close(CloseCode::ProtocolViolation, &reason);
            }
        }
    }

    async fn carry(&self) -> Fault {
        let Self { link, class, .. } = self;
        let Some(first) = self.take().await else { return LinkError::StreamAbandoned.into() };
        let after = self.state().after.take();
        if let Some(mark) = after {
            // However it ends: the peer reads nothing more on the lane that was followed.
            let _read = mark.await;
        }
        let Stream { mut send, recv } = match link.open().await {
            Ok(stream) => stream,
            Err(error) => return error.into(),
        };
        send.set_priority(-i32::from(*class));
        let head = Bytes::copy_from_slice(&[frame::STREAM_LANE, *class]);
        let unwanted = send.stopped();
        tokio::select! {
            // An answer, or why the connection ended, comes before what follows from it.
            biased;
            fault = self.read(recv) => fault,
            error = self.write(send, [head, first]) => error.into(),
            () = unwanted => LinkError::StreamAbandoned.into(),
        }
    }

    async fn take(&self) -> Option<Bytes> {
        let take = |cx: &mut Context<'_>| {
            let mut state = self.state();
            let taken = state.outbox.poll_take(cx);
            if taken.is_ready() {
                self.places.give_many(std::mem::take(&mut state.posts));
            }
            taken
        };
        poll_fn(take).await
    }

    async fn write(&self, mut send: Box<dyn SendHalf>, first: [Bytes; 2]) -> LinkError {
        for bytes in first {
            if let Err(error) = send.write(bytes).await {
                return error;
            }
        }
        while let Some(bytes) = self.take().await {
            if let Err(error) = send.write(bytes).await {
                return error;
            }
        }
        LinkError::StreamAbandoned
    }

    async fn read(&self, mut recv: Box<dyn RecvHalf>) -> Fault {
        let mut reader = FrameReader::new(LANE_ANSWER_BYTES_MAX + OVERHEAD_BYTES_MAX);
        let mut wakers = Vec::new();
        loop {
            let chunk = match recv.read().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return LinkError::StreamAbandoned.into(),
                Err(error) => return error.into(),
            };
            reader.feed(chunk);
            let read = self.take_answers(&mut *recv, &mut reader, &mut wakers);
            wakers.drain(..).for_each(Waker::wake);
            if let Err(reason) = read {
                return Fault::Violation(reason);
            }
        }
    }

    fn take_answers(
        &self,
        recv: &mut dyn RecvHalf,
        reader: &mut FrameReader,
        wakers: &mut Vec<Waker>,
    ) -> Result<(), String> {
        let now = Instant::now();
        let mut state = self.state();
        loop {
            let Some(frame) = reader.next_frame().map_err(|error| error.to_string())? else {
                match recv.next_ready() {
                    Some(chunk) => reader.feed(chunk),
                    None => return Ok(()),
                }
                continue;
            };
            let State { calls, outbox, latency, .. } = &mut *state;
            let frame = Frame::decode(frame).map_err(|error| error.to_string())?;
            if let Frame::Part { payload, .. }
            | Frame::Answer { answer: Answered::Reply(payload) | Answered::Failed(payload), .. } = &frame
                && payload.len() > LANE_ANSWER_BYTES_MAX
            {
                return Err(format!("{} bytes of an answer at once on a lane", payload.len()));
            }
            match frame {
                Frame::Answer { correlation, answer } => match slot(calls, correlation)? {
                    Slot::Abandoned => self.remove(&mut state, correlation as usize),
                    Slot::Waiting { waker, asked, parts, .. } => {
                        let took = now.saturating_duration_since(*asked);
                        wakers.extend(waker.take());
                        calls[correlation as usize] = self.ended(answer, parts.take());
                        let latency = latency.get_or_insert_with(|| Box::new(new_histogram()));
                        latency.saturating_record(took.as_micros() as u64);
                    }
                    slot => slot.settle(),
                },
                Frame::Part { correlation, payload } => {
                    let slot = slot(calls, correlation)?;
                    // Of what nobody wants any more some may be on its way.
                    let Slot::Waiting { waker, parts, .. } = slot else { continue };
                    let parts = parts.get_or_insert_default();
                    let come = parts.bytes.len() + payload.len();
                    if come > self.message_bytes_max {
                        return Err(format!(
                            "an answer to request {correlation} of more than this node takes"
                        ));
                    }
                    if self.share.extend(&mut parts.room, come) {
                        parts.bytes.extend_from_slice(&payload);
                        continue;
                    }
                    wakers.extend(waker.take());
                    *slot = Slot::GivenUp(no_room(come, Delivery::Unknown));
                    frame::put_cancel(correlation, outbox.frames());
                }
                _ => return Err("a request where an answer was expected".to_owned()),
            }
        }
    }

    /// What is kept of an answer, of which parts may have come before.
    fn ended(&self, mut answer: Answered, parts: Option<Box<Parts>>) -> Slot {
        let (Answered::Reply(payload) | Answered::Failed(payload)) = &mut answer else {
            return Slot::Ended(Ok(answer), None);
        };
        let Parts { mut bytes, mut room } = parts.map_or_else(Parts::default, |parts| *parts);
        let length = bytes.len() + payload.len();
        if length > SHORT_BYTES_MAX && !self.share.extend(&mut room, length) {
            return Slot::Ended(Err(no_room(length, Delivery::Unknown)), None);
        }
        if !bytes.is_empty() {
            bytes.extend_from_slice(payload);
            *payload = bytes.freeze();
        }
        Slot::Ended(Ok(answer), room.map(Box::new))
    }

    /// Ends requests whose time is over. Sleeps until the earliest deadline, so that an ask costs no
    /// timer of its own.
    async fn expire(&self) -> std::convert::Infallible {
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
        let (mut earliest, mut wakers, mut cancelled) = (None, Vec::new(), Vec::new());
        for (key, slot) in &mut state.calls {
            let Slot::Waiting { waker, asked, deadline, .. } = slot else { continue };
            if *deadline > now {
                earliest = Some(earliest.map_or(*deadline, |other: Instant| other.min(*deadline)));
                continue;
            }
            wakers.extend(waker.take());
            let after = *deadline - *asked;
            *slot = Slot::GivenUp(DeliveryError::TimedOut { after, delivery: Delivery::Unknown });
            cancelled.push(key as u64);
        }
        for correlation in cancelled {
            frame::put_cancel(correlation, state.outbox.frames());
        }
        state.armed = earliest;
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
        state.outbox.end();
        end_all(state, reason);
    }

    /// Ends every request, as this lane goes no further. The next one opens another.
    fn begin_anew(&self, reason: &str) {
        let mut state = self.state();
        (state.running, state.armed, state.outbox) = (false, None, Outbox::default());
        state.posted = false;
        self.places.give_many(std::mem::take(&mut state.posts));
        // The answers to these will not come.
        let abandoned: Vec<usize> = state
            .calls
            .iter()
            .filter(|(_, slot)| matches!(slot, Slot::Abandoned))
            .map(|(key, _)| key)
            .collect();
        abandoned.into_iter().for_each(|key| self.remove(&mut state, key));
        for (_, slot) in &mut state.calls {
            slot.settle();
        }
        end_all(state, reason);
    }
}

fn end_all(mut state: MutexGuard<'_, State>, reason: &str) {
    let mut wakers = Vec::new();
    for (_, slot) in &mut state.calls {
        if let Slot::Waiting { waker, .. } = slot {
            wakers.extend(waker.take());
            *slot = Slot::Ended(Err(lost(reason)), None);
        }
    }
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

fn lost(reason: &str) -> DeliveryError {
    DeliveryError::SessionLost { reason: reason.to_owned(), delivery: Delivery::Unknown }
}

/// Microseconds up to a minute, to two digits.
pub(crate) fn new_histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, 60_000_000, 2).expect("the bounds are in order and two digits are allowed")
}

/// Milliseconds, rounded up: the callee never gives up before the caller does.
pub(super) fn millis_up(timeout: Duration) -> u64 {
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX).clamp(1, swarm_protocols::wire::varint::VARINT_MAX)
}
