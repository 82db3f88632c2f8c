//! The caller's end of a lane: requests pipelined on one stream, their answers matched by number.

use super::{
    calls::{BulkCalls, Calls, Carrier, Parts, PendingCall, Slot, State, Waiter, end_all},
    outbox::{Outbox, Taken, no_room},
    turn::turn_of,
};
use crate::{
    budget::SHORT_BYTES_MAX,
    call::Priority,
    transport::{LinkError, RecvHalf, SendHalf, Stream},
};
use bytes::Bytes;
use futures_util::FutureExt;
use slab::Slab;
use std::{
    future::poll_fn,
    sync::Arc,
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
use tokio::{task::yield_now, time::Instant};

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

/// What comes on a lane.
struct Answers {
    recv: Box<dyn RecvHalf>,
    reader: FrameReader,
    /// Those to be woken; kept for its memory.
    wakers: Vec<Waker>,
}

/// How far the answers that have come are read.
enum Turn {
    AllRead,
    /// Those who wait for the ones that are read go on before the rest.
    Over,
}

impl From<LinkError> for Fault {
    fn from(error: LinkError) -> Self {
        Self::Ended(error)
    }
}

/// Requests and answers on one lane.
pub(crate) type Lane = Calls<LaneEnd>;

/// What goes out on a lane.
pub(crate) struct LaneEnd {
    priority: Priority,
    outbox: Outbox,
    /// How many messages without an answer wait in the outbox.
    posts: usize,
    /// There were such messages, of which nobody knows whether the peer has read them.
    posted: bool,
    /// The mark on the lane that this one follows.
    after: Option<PendingCall<LaneEnd>>,
}

impl LaneEnd {
    pub(super) fn new(priority: Priority) -> Self {
        Self { priority, outbox: Outbox::default(), posts: 0, posted: false, after: None }
    }
}

impl Carrier for LaneEnd {
    fn cancel(&mut self, key: usize) -> Option<Delivery> {
        frame::put_cancel(key as u64, self.outbox.frames());
        None
    }

    fn end(&mut self) {
        self.outbox.end();
    }

    fn is_idle(&self) -> bool {
        self.posts == 0
    }
}

impl Lane {
    /// Puts a request on the lane. Its `correlation` and `deadline_ms` are set here.
    #[inline]
    pub(crate) fn call(
        self: &Arc<Self>,
        route: u32,
        payload: &[u8],
        timeout: Duration,
        intent: Intent,
    ) -> Result<PendingCall<LaneEnd>, DeliveryError> {
        let key = self.put(route, payload, timeout, intent, Waiter::Nobody)?;
        Ok(PendingCall::new(Arc::clone(self), key))
    }

    /// The same for one who asks in bulk, which gives the request a number.
    pub(crate) fn call_in_bulk(
        bulk: &mut BulkCalls<LaneEnd>,
        number: u64,
        route: u32,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<(), DeliveryError> {
        bulk.calls.put(route, payload, timeout, Intent::Ask, bulk.waiter(number))?;
        bulk.asked();
        Ok(())
    }

    #[inline]
    fn put(
        self: &Arc<Self>,
        route: u32,
        payload: &[u8],
        timeout: Duration,
        intent: Intent,
        waiter: Waiter,
    ) -> Result<usize, DeliveryError> {
        let mut state = self.state();
        self.admit(&mut state)?;
        let key = self.insert(&mut state, timeout, waiter);
        let head = RequestHead { correlation: key as u64, route, deadline_ms: millis_up(timeout), intent };
        let is_alone = state.slots.len() == 1 && state.carrier.posts == 0;
        let outbox = &mut state.carrier.outbox;
        frame::put_request(&head, payload, outbox.frames_to_write());
        match is_alone {
            true => outbox.write_now(),
            // Many go out together.
            false => outbox.wake(),
        }
        Ok(key)
    }

    /// Puts a message on the lane that is not answered.
    pub(crate) fn post(self: &Arc<Self>, route: u32, payload: &[u8]) -> Result<(), DeliveryError> {
        let mut state = self.state();
        self.admit(&mut state)?;
        state.carrier.posts += 1;
        state.carrier.posted = true;
        let head = RequestHead { correlation: 0, route, deadline_ms: 0, intent: Intent::Post };
        frame::put_request(&head, payload, state.carrier.outbox.frames());
        Ok(())
    }

    /// Takes a place for one more request or message, and begins to carry them.
    fn admit(self: &Arc<Self>, state: &mut State<LaneEnd>) -> Result<(), DeliveryError> {
        if state.lost.is_none() && state.carrier.outbox.len() > UNSENT_BYTES_MAX {
            return Err(DeliveryError::Overloaded { retry_after: crate::gate::RETRY_AFTER });
        }
        self.take_place(state)?;
        if !state.running {
            state.running = true;
            self.runtime.spawn(Arc::clone(self).run());
        }
        Ok(())
    }

    /// Lets the requests on this lane go out no sooner than the peer has read those on `former`, a lane of another
    /// session: so they arrive in the order in which they were asked. To be called before the first of them.
    pub(crate) fn follow(&self, former: &Arc<Self>) {
        // One on which nothing was asked may itself have to wait for the lane before it.
        let after = former.mark().or_else(|| former.state().carrier.after.take());
        self.state().carrier.after = after;
    }

    /// A request that no handler takes: by the time at which it is answered, the peer has read all that went
    /// before it. `None` where all of that was answered already.
    fn mark(self: &Arc<Self>) -> Option<PendingCall<LaneEnd>> {
        let (asked, timeout) = (Instant::now(), super::TIMEOUT_MAX);
        let mut state = self.state();
        if !state.running || state.lost.is_some() || (state.slots.is_empty() && !state.carrier.posted) {
            return None;
        }
        self.places.take_anyway();
        let (waiter, deadline) = (Waiter::Nobody, asked + timeout);
        let key = state.slots.insert(Slot::Waiting { waiter, asked, deadline, parts: None });
        let head = RequestHead {
            correlation: key as u64,
            route: ROUTE_OF_NOBODY,
            deadline_ms: 0,
            intent: Intent::Ask,
        };
        frame::put_request(&head, &[], state.carrier.outbox.frames());
        Some(PendingCall::new(Arc::clone(self), key))
    }

    async fn run(self: Arc<Self>) {
        let fault = tokio::select! {
            fault = self.carry() => fault,
            never = self.expire() => match never {},
        };
        self.taken(self.state());
        let _stream = self.state().carrier.outbox.detach();
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
        let (Some(first), _) = self.take().await else { return LinkError::StreamAbandoned.into() };
        let (priority, after) = {
            let carrier = &mut self.state().carrier;
            (carrier.priority, carrier.after.take())
        };
        if let Some(mark) = after {
            // However it ends: the peer reads nothing more on the lane that was followed.
            let _read = mark.await;
        }
        let Stream { mut send, recv } = match self.link.open().await {
            Ok(stream) => stream,
            Err(error) => return error.into(),
        };
        send.set_priority(priority.of_stream());
        let head = Bytes::copy_from_slice(&[frame::STREAM_LANE, priority as u8]);
        let unwanted = send.stopped();
        let reader = FrameReader::new(LANE_ANSWER_BYTES_MAX + OVERHEAD_BYTES_MAX);
        let mut answers = Answers { recv, reader, wakers: Vec::new() };
        let fault = tokio::select! {
            // An answer, or why the connection ended, comes before what follows from it.
            biased;
            fault = self.read(&mut answers) => fault,
            error = self.write(send, [head, first]) => error.into(),
            () = unwanted => LinkError::StreamAbandoned.into(),
        };
        // So does one for which there was no turn yet.
        let read = if matches!(fault, Fault::Violation(_)) { Ok(()) } else { self.take_rest(&mut answers) };
        read.map_or_else(Fault::Violation, |()| fault)
    }

    /// What is to be written next.
    async fn take(&self) -> Taken {
        let take = |cx: &mut Context<'_>| {
            let LaneEnd { outbox, posts, .. } = &mut self.state().carrier;
            outbox.poll_take(cx).map(|bytes| {
                self.places.give_many(std::mem::take(posts));
                (bytes, outbox.detach())
            })
        };
        poll_fn(take).await
    }

    async fn write(&self, mut send: Box<dyn SendHalf>, first: [Bytes; 2]) -> LinkError {
        for bytes in first {
            if let Err(error) = send.write(bytes).await {
                return error;
            }
        }
        self.state().carrier.outbox.attach(send);
        while let (Some(bytes), Some(mut send)) = self.take().await {
            if let Err(error) = send.write(bytes).await {
                return error;
            }
            self.state().carrier.outbox.attach(send);
        }
        LinkError::StreamAbandoned
    }

    async fn read(&self, answers: &mut Answers) -> Fault {
        loop {
            match answers.recv.read().await {
                Ok(Some(chunk)) => answers.reader.feed(chunk),
                Ok(None) => return LinkError::StreamAbandoned.into(),
                Err(error) => return error.into(),
            }
            loop {
                match self.take_turn(answers) {
                    Ok(Turn::Over) => yield_now().await,
                    Ok(Turn::AllRead) => break,
                    Err(reason) => return Fault::Violation(reason),
                }
            }
        }
    }

    /// Takes what has come, as nothing more will.
    fn take_rest(&self, answers: &mut Answers) -> Result<(), String> {
        loop {
            if let Turn::Over = self.take_turn(answers)? {
                continue;
            }
            match answers.recv.read().now_or_never() {
                Some(Ok(Some(chunk))) => answers.reader.feed(chunk),
                _ => return Ok(()),
            }
        }
    }

    /// Takes what has come, or the share of a turn, and wakes who waits for it.
    fn take_turn(&self, answers: &mut Answers) -> Result<Turn, String> {
        let Answers { recv, reader, wakers } = answers;
        let turn = self.take_answers(&mut **recv, reader, wakers);
        wakers.drain(..).for_each(Waker::wake);
        turn
    }

    fn take_answers(
        &self,
        recv: &mut dyn RecvHalf,
        reader: &mut FrameReader,
        wakers: &mut Vec<Waker>,
    ) -> Result<Turn, String> {
        let now = Instant::now();
        let mut state = self.state();
        let mut left = turn_of(state.slots.len(), 0);
        while left > 0 {
            if let Some((correlation, payload)) = reader.next_reply() {
                left -= 1;
                check_length(&payload)?;
                self.take_answer(&mut state, correlation, Answered::Reply(payload), now, wakers)?;
                continue;
            }
            let Some(frame) = reader.next_frame().map_err(|error| error.to_string())? else {
                match recv.next_ready() {
                    Some(chunk) => reader.feed(chunk),
                    None => {
                        self.taken(state);
                        return Ok(Turn::AllRead);
                    }
                }
                continue;
            };
            left -= 1;
            match Frame::decode(frame).map_err(|error| error.to_string())? {
                Frame::Answer { correlation, answer } => {
                    if let Answered::Reply(payload) | Answered::Failed(payload) = &answer {
                        check_length(payload)?;
                    }
                    self.take_answer(&mut state, correlation, answer, now, wakers)?;
                }
                Frame::Part { correlation, payload } => {
                    check_length(&payload)?;
                    self.take_part(&mut state, correlation, &payload, wakers)?;
                }
                _ => return Err("a request where an answer was expected".to_owned()),
            }
        }
        state.taking = true;
        Ok(Turn::Over)
    }

    #[inline(always)]
    fn take_answer(
        &self,
        state: &mut State<LaneEnd>,
        correlation: u64,
        answer: Answered,
        now: Instant,
        wakers: &mut Vec<Waker>,
    ) -> Result<(), String> {
        let State { slots, bulk, .. } = state;
        match slot(slots, correlation)? {
            Slot::Abandoned => self.remove(state, correlation as usize),
            Slot::Waiting { waiter, asked, parts, .. } => {
                let took = now.saturating_duration_since(*asked);
                wakers.extend(waiter.ended(correlation as usize, bulk));
                let parts = parts.take();
                slots[correlation as usize] = self.ended(answer, parts);
                state.took(took);
            }
            slot => slot.settle(),
        }
        Ok(())
    }

    fn take_part(
        &self,
        state: &mut State<LaneEnd>,
        correlation: u64,
        payload: &[u8],
        wakers: &mut Vec<Waker>,
    ) -> Result<(), String> {
        let State { slots, carrier, bulk, .. } = state;
        let slot = slot(slots, correlation)?;
        // Of what nobody wants any more some may be on its way.
        let Slot::Waiting { waiter, parts, .. } = slot else { return Ok(()) };
        let parts = parts.get_or_insert_default();
        let come = parts.bytes.len() + payload.len();
        if come > self.message_bytes_max {
            return Err(format!("an answer to request {correlation} of more than this node takes"));
        }
        if self.share.extend(&mut parts.room, come) {
            parts.bytes.extend_from_slice(payload);
            return Ok(());
        }
        wakers.extend(waiter.ended(correlation as usize, bulk));
        *slot = Slot::GivenUp(no_room(come, Delivery::Unknown));
        frame::put_cancel(correlation, carrier.outbox.frames());
        Ok(())
    }

    /// What is kept of an answer, of which parts may have come before.
    #[inline(always)]
    fn ended(&self, mut answer: Answered, parts: Option<Box<Parts>>) -> Slot {
        let (Answered::Reply(payload) | Answered::Failed(payload)) = &mut answer else {
            return Slot::Ended(Ok(answer), None);
        };
        if parts.is_none() && payload.len() <= SHORT_BYTES_MAX {
            return Slot::Ended(Ok(answer), None);
        }
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

    /// Ends every request, as this lane goes no further. The next one opens another.
    fn begin_anew(&self, reason: &str) {
        let mut state = self.state();
        (state.running, state.armed, state.carrier.outbox) = (false, None, Outbox::default());
        state.carrier.posted = false;
        self.places.give_many(std::mem::take(&mut state.carrier.posts));
        // The answers to these will not come.
        let abandoned: Vec<usize> = state
            .slots
            .iter()
            .filter(|(_, slot)| matches!(slot, Slot::Abandoned))
            .map(|(key, _)| key)
            .collect();
        abandoned.into_iter().for_each(|key| self.remove(&mut state, key));
        for (_, slot) in &mut state.slots {
            slot.settle();
        }
        end_all(state, reason);
    }
}

/// Whether so much may come of an answer at once.
#[inline(always)]
fn check_length(payload: &[u8]) -> Result<(), String> {
    match payload.len() {
        ..=LANE_ANSWER_BYTES_MAX => Ok(()),
        bytes => Err(format!("{bytes} bytes of an answer at once on a lane")),
    }
}

/// The request of this number, which has no answer yet.
#[inline(always)]
fn slot(slots: &mut Slab<Slot>, correlation: u64) -> Result<&mut Slot, String> {
    let slot = usize::try_from(correlation).ok().and_then(|key| slots.get_mut(key));
    slot.filter(|slot| !matches!(slot, Slot::Ended(..)))
        .ok_or_else(|| format!("an answer to request {correlation}, which was not asked"))
}

/// Milliseconds, rounded up: the callee never gives up before the caller does.
pub(super) fn millis_up(timeout: Duration) -> u64 {
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX).clamp(1, swarm_protocols::wire::varint::VARINT_MAX)
}
