//! The caller's end of a lane: requests pipelined on one stream, their answers matched by number.

use crate::{
    budget::{Room, SHORT_BYTES_MAX, Share},
    transport::{Link, LinkError, RecvHalf, SendHalf, Stream},
};
use bytes::Bytes;
use hdrhistogram::Histogram;
use slab::Slab;
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use swarm_protocols::{
    Delivery, DeliveryError,
    session::CloseCode,
    wire::frame::{self, Answered, Frame, FrameReader, Intent, OVERHEAD_BYTES_MAX, RequestHead},
};
use tokio::{runtime::Handle, sync::Notify, time::Instant};

/// What an outbox keeps room for after it was emptied, in bytes.
const BATCH_BYTES_KEPT: usize = 64 << 10;

/// How much may wait for a peer that does not read before further requests are refused, in bytes.
const UNSENT_BYTES_MAX: usize = 16 << 20;

/// A route that no node gives: routes are numbered from 0 and at most 2048.
const ROUTE_OF_NOBODY: u32 = u32::MAX;

/// Bytes on their way to a stream, and the task that takes them there.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    writer: Option<Waker>,
    throttled: Option<Waker>,
    ended: bool,
    /// Whose room long answers take, where they are for a peer.
    share: Option<Arc<Share>>,
    /// What the long answers among the bytes take.
    room: Option<Room>,
    /// What those take that the writer has.
    in_writing: Option<Room>,
    long_bytes: usize,
}

impl Outbox {
    /// For answers to a peer.
    pub(crate) fn of(share: &Arc<Share>) -> Self {
        Self { share: Some(Arc::clone(share)), ..Self::default() }
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether an answer of so many bytes may wait here; if so it has to be appended.
    pub(crate) fn admits(&mut self, bytes: usize) -> bool {
        let Some(share) = self.share.as_ref().filter(|_| bytes > SHORT_BYTES_MAX) else { return true };
        let admitted = share.extend(&mut self.room, self.long_bytes + bytes);
        self.long_bytes += if admitted { bytes } else { 0 };
        admitted
    }

    /// Where to append frames; the writer learns of them.
    pub(crate) fn frames(&mut self) -> &mut Vec<u8> {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        &mut self.bytes
    }

    /// Lets the writer finish the stream once everything is out.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.frames();
    }

    /// Ready once at most `limit` bytes wait.
    pub(crate) fn poll_at_most(&mut self, limit: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.bytes.len() <= limit {
            return Poll::Ready(());
        }
        self.throttled = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Everything appended since the last time; `None` after the end.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.bytes.is_empty() {
            self.in_writing = None;
            if self.ended {
                return Poll::Ready(None);
            }
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(throttled) = self.throttled.take() {
            throttled.wake();
        }
        (self.in_writing, self.long_bytes) = (self.room.take(), 0);
        let next = Vec::with_capacity(self.bytes.len().min(BATCH_BYTES_KEPT));
        Poll::Ready(Some(std::mem::replace(&mut self.bytes, next).into()))
    }
}

/// Why a lane goes no further.
enum Fault {
    /// There is no room for an answer on it that is not complete.
    NoRoom(usize),
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

enum Slot {
    Waiting {
        waker: Option<Waker>,
        asked: Instant,
        deadline: Instant,
    },
    /// With the room that its answer takes until somebody does, where that is long.
    Ended(
        Result<Answered, DeliveryError>,
        #[expect(dead_code, reason = "it is given back when this is dropped")] Option<Box<Room>>,
    ),
    /// The caller left. The number stays taken until the callee's answer has come.
    Abandoned,
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
        let key = state.calls.insert(Slot::Waiting { waker: None, asked, deadline });
        let head = RequestHead { correlation: key as u64, route, deadline_ms: millis_up(timeout), intent };
        frame::put_request(&head, payload, state.outbox.frames());
        if state.armed.is_none_or(|armed| deadline < armed) {
            state.armed = Some(deadline);
            self.earlier_deadline.notify_one();
        }
        Ok(LaneCall { lane: Arc::clone(self), key, timeout, ended: false })
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
        if state.outbox.bytes.len() > UNSENT_BYTES_MAX || !self.places.take() {
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
        if state.lost.is_some() || (state.calls.is_empty() && !state.posted) {
            return None;
        }
        // It takes a place whether there is one or not.
        self.places.taken.fetch_add(1, Ordering::Relaxed);
        let key = state.calls.insert(Slot::Waiting { waker: None, asked, deadline: asked + timeout });
        let head = RequestHead {
            correlation: key as u64,
            route: ROUTE_OF_NOBODY,
            deadline_ms: 0,
            intent: Intent::Ask,
        };
        frame::put_request(&head, &[], state.outbox.frames());
        Some(LaneCall { lane: Arc::clone(self), key, timeout, ended: false })
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
            Fault::NoRoom(bytes) => self.begin_anew(&no_room_for(bytes)),
            Fault::Ended(error) => self.lose(&error.to_string()),
            Fault::Violation(reason) => {
                self.lose(&reason);
                self.link.close(CloseCode::ProtocolViolation, &reason);
            }
        }
    }

    async fn carry(&self) -> Fault {
        let Self { link, class, message_bytes_max, .. } = self;
        let limit = message_bytes_max + OVERHEAD_BYTES_MAX;
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
            fault = self.read(recv, limit) => fault,
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

    async fn read(&self, mut recv: Box<dyn RecvHalf>, limit: usize) -> Fault {
        let mut reader = FrameReader::new(limit);
        let (mut wakers, mut room) = (Vec::new(), None);
        loop {
            let chunk = match recv.read().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return LinkError::StreamAbandoned.into(),
                Err(error) => return error.into(),
            };
            reader.feed(chunk);
            let read = self.take_answers(&mut reader, &mut wakers);
            wakers.drain(..).for_each(Waker::wake);
            if let Err(reason) = read {
                return Fault::Violation(reason);
            }
            match reader.partial_bytes() {
                0..=SHORT_BYTES_MAX => room = None,
                partial if self.share.extend(&mut room, partial) => {}
                partial => return Fault::NoRoom(partial),
            }
        }
    }

    fn take_answers(&self, reader: &mut FrameReader, wakers: &mut Vec<Waker>) -> Result<(), String> {
        let now = Instant::now();
        let mut state = self.state();
        while let Some(frame) = reader.next_frame().map_err(|error| error.to_string())? {
            match Frame::decode(frame).map_err(|error| error.to_string())? {
                Frame::Answer { correlation, answer } => {
                    let slot = usize::try_from(correlation).ok().and_then(|key| state.calls.get_mut(key));
                    match slot {
                        Some(Slot::Waiting { waker, asked, .. }) => {
                            let took = now.saturating_duration_since(*asked);
                            wakers.extend(waker.take());
                            state.calls[correlation as usize] = self.ended(answer);
                            let latency = state.latency.get_or_insert_with(|| Box::new(new_histogram()));
                            latency.saturating_record(took.as_micros() as u64);
                        }
                        Some(Slot::Abandoned) => self.remove(&mut state, correlation as usize),
                        Some(Slot::Ended(Err(_), _)) => {
                            // It timed out and its caller has not looked yet: see `LaneCall::drop`.
                            state.calls[correlation as usize] = self.ended(answer);
                        }
                        _ => return Err(format!("an answer to request {correlation}, which was not asked")),
                    }
                }
                _ => return Err("a request where an answer was expected".to_owned()),
            }
        }
        Ok(())
    }

    fn ended(&self, answer: Answered) -> Slot {
        match &answer {
            Answered::Reply(bytes) | Answered::Failed(bytes) if bytes.len() > SHORT_BYTES_MAX => {
                match self.share.take(bytes.len()) {
                    Some(room) => Slot::Ended(Ok(answer), Some(Box::new(room))),
                    None => Slot::Ended(Err(no_room(bytes.len(), Delivery::Unknown)), None),
                }
            }
            _ => Slot::Ended(Ok(answer), None),
        }
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
            let Slot::Waiting { waker, asked, deadline } = slot else { continue };
            if *deadline > now {
                earliest = Some(earliest.map_or(*deadline, |other: Instant| other.min(*deadline)));
                continue;
            }
            wakers.extend(waker.take());
            let after = *deadline - *asked;
            *slot = Slot::Ended(Err(DeliveryError::TimedOut { after, delivery: Delivery::Unknown }), None);
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
            if let Slot::Ended(Err(error @ DeliveryError::TimedOut { .. }), _) = slot {
                *error = lost(reason);
            }
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

/// What becomes of an answer for which there is no room.
pub(crate) fn no_room(bytes: usize, delivery: Delivery) -> DeliveryError {
    DeliveryError::Codec { reason: no_room_for(bytes), delivery }
}

fn no_room_for(bytes: usize) -> String {
    format!("there is no room for an answer of {bytes} bytes, as others wait to be taken")
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

/// An unanswered request on a lane. Dropping it cancels the request.
pub(crate) struct LaneCall {
    lane: Arc<Lane>,
    key: usize,
    timeout: Duration,
    ended: bool,
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
                let timed_out = matches!(slot, Slot::Ended(Err(DeliveryError::TimedOut { .. }), _));
                let ended = std::mem::replace(slot, Slot::Abandoned);
                if !timed_out {
                    self.lane.remove(&mut state, self.key);
                }
                drop(state);
                self.ended = true;
                match ended {
                    Slot::Ended(answer, _) => Poll::Ready(answer),
                    Slot::Waiting { .. } | Slot::Abandoned => {
                        let after = self.timeout;
                        Poll::Ready(Err(DeliveryError::TimedOut { after, delivery: Delivery::Unknown }))
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
            // Timed out, and cancelled then: the callee's answer is still to come.
            Slot::Ended(Err(DeliveryError::TimedOut { .. }), _) => state.calls[self.key] = Slot::Abandoned,
            Slot::Ended(..) | Slot::Abandoned => self.lane.remove(&mut state, self.key),
        }
    }
}
