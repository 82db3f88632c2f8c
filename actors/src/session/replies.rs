//! The requests of a lane, or of all streams with one request each, that have no answer yet, and the answers on their
//! way back.

use super::{
    Addressee, DeadLetterOffice, Received,
    outbox::{Outbox, Taken, no_room},
    request_streams::RequestStreams,
    scratch::with_scratch,
};
use crate::{
    budget::{SHORT_BYTES_MAX, Share},
    call::{CallKey, CallState, Caller, Known, Permits},
    transport::SendHalf,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;
use std::{
    collections::HashMap,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use swarm_protocols::{
    Delivery, DeliveryError,
    wire::frame::{self, Answered, Frame, FrameReader, LANE_ANSWER_BYTES_MAX},
};

/// Numbers below this are found by position, where those before them came too. Callers that give the smallest free
/// number stay below, as no more requests than that may be in flight unless a node raises its limit.
const DENSE: u64 = 4096;

/// How many bytes of answers a [`Batch`] collects before they go to their stream.
const BATCH_BYTES_MAX: usize = 32 << 10;

/// How many answers a [`Batch`] collects: their actor may be on another thread than the stream, and both have to do.
const BATCH_ANSWERS_MAX: usize = 64;

/// How long a [`Batch`] may take to fill. One that takes longer is followed by one of half as many answers: so a slow
/// handler holds up those that were ready before it once, and not every time.
const BATCH_TIME_MAX: Duration = Duration::from_millis(1);

/// Why a request is not begun.
pub(super) enum Unfit {
    /// It has the number of another one that is not answered yet.
    Duplicate,
    /// Nobody takes answers any more.
    Closed,
}

/// What an answer is, beside its payload; or why there is none.
pub(crate) type Form = Result<Answer, DeliveryError>;

/// The kinds of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A handler's reply.
    Reply,
    /// A handler's error.
    Failed,
    /// The mailbox took a told message.
    Accepted,
}

/// The answers to the requests of one stream. Any thread may answer; locked for moments only.
pub(crate) struct Replies {
    caller: Arc<Caller>,
    bytes_max: u64,
    received: Received,
    dead_letters: Arc<DeadLetterOffice>,
    /// How many requests were cancelled that nobody watches: only where there are some their stages have to be looked at.
    cancelled: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    /// What goes out on a lane.
    outbox: Outbox,
    /// The streams, where every request has its own.
    streams: Option<RequestStreams>,
    unanswered: Unanswered,
    /// No more requests come.
    ended: bool,
    /// Nobody takes answers any more.
    closed: bool,
}

impl Replies {
    /// For a caller that takes answers of up to `bytes_max` bytes, of which long ones take room of `share`; they go on a
    /// lane, or on the `streams` of their requests.
    pub(super) fn new(
        caller: &Arc<Caller>,
        bytes_max: u64,
        streams: Option<RequestStreams>,
        received: &Received,
        dead_letters: &Arc<DeadLetterOffice>,
        share: &Arc<Share>,
    ) -> Arc<Self> {
        Arc::new(Self {
            caller: Arc::clone(caller),
            bytes_max,
            received: Arc::clone(received),
            dead_letters: Arc::clone(dead_letters),
            cancelled: AtomicUsize::new(0),
            state: Mutex::new(State {
                outbox: Outbox::of(share),
                streams,
                unanswered: Unanswered::default(),
                ended: false,
                closed: false,
            }),
        })
    }

    /// The longest answer that the caller takes, in bytes.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Counts a message that nobody wants an answer to, and that was not accepted.
    pub(crate) fn drop_post(&self, addressee: Option<&Addressee>, error: &DeliveryError) {
        self.received.dropped.fetch_add(1, Ordering::Relaxed);
        self.dead_letters.take(&self.caller.node, addressee, error);
        tracing::debug!(peer = %self.caller.node, %error, "a posted message was dropped");
    }

    /// Takes note of a request that is to be answered, on its `stream` if it has one.
    pub(super) fn begin(
        &self,
        correlation: u64,
        stream: Option<Box<dyn SendHalf>>,
    ) -> Result<CallKey, Unfit> {
        let mut state = self.state();
        if state.closed {
            return Err(Unfit::Closed);
        }
        let stream = match (&mut state.streams, stream) {
            (Some(streams), Some(stream)) => Some(streams.open(stream)),
            _ => None,
        };
        state.unanswered.insert(correlation, stream)
    }

    /// Completes when the peer does not want the answer on a stream any more; `None` where it has one.
    pub(super) fn stopped(&self, key: CallKey) -> Option<BoxFuture<'static, ()>> {
        let mut state = self.state();
        state.unanswered.find(key)?;
        state.streams.as_mut()?.stopped(key.stream?)
    }

    /// Does something with the streams of requests.
    pub(super) fn with_streams<T>(&self, act: impl FnOnce(&mut RequestStreams) -> T) -> Option<T> {
        self.state().streams.as_mut().map(act)
    }

    /// Lets those know who work on a request with a stream that nobody waits.
    pub(super) fn abandon(&self, key: CallKey) {
        if let Some(entry) = self.state().unanswered.find(key) {
            entry.cancel(&self.cancelled);
        }
    }

    /// Lets those know who work on a request that nobody waits; one that is not there has been answered already.
    pub(super) fn cancel(&self, correlation: u64) {
        let mut state = self.state();
        if let Some(entry) = state.unanswered.get(correlation) {
            entry.cancel(&self.cancelled);
        } else if state.outbox.drop_long(correlation) {
            frame::put_undelivered(correlation, &DeliveryError::Cancelled, state.outbox.frames());
            state.look();
        }
    }

    /// Whether a request was cancelled before anybody watched it.
    pub(crate) fn is_cancelled(&self, key: CallKey) -> bool {
        self.cancelled.load(Ordering::Acquire) > 0
            && self.state().unanswered.find(key).is_none_or(|entry| matches!(entry.stage, Stage::Cancelled))
    }

    /// Answers a request. Takes the `payload` where it is long, and is not to be copied.
    pub(crate) fn answer(&self, key: CallKey, form: Form, payload: &mut Vec<u8>) {
        let mut state = self.state();
        let watched = state.unanswered.remove(key, &self.cancelled);
        let State { streams, outbox, closed, .. } = &mut *state;
        match (streams, key.stream) {
            _ if *closed => {}
            (Some(streams), Some(stream)) => streams.answer(stream, key.correlation, form, payload),
            _ => put_long(key.correlation, form, payload, outbox),
        }
        state.look();
        drop(state);
        // Its permits are given back when the answer is on its way.
        drop(watched);
    }

    /// Answers a request that was not begun.
    pub(super) fn refuse(&self, correlation: u64, error: &DeliveryError) {
        frame::put_undelivered(correlation, error, self.state().outbox.frames());
    }

    /// Ends the answers behind the last one, as no more requests come.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.look();
    }

    /// Cancels all that is not answered, as nobody takes the answers, and gives back what those that wait take.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.outbox = Outbox::default();
        if let Some(streams) = &mut state.streams {
            streams.close();
        }
        state.unanswered.all().for_each(|entry| entry.cancel(&self.cancelled));
    }

    /// See [`Outbox::is_crowded`].
    pub(super) fn is_crowded(&self, limit: usize) -> bool {
        self.state().outbox.is_crowded(limit)
    }

    /// See [`Outbox::poll_eased`].
    pub(super) fn poll_eased(&self, limit: usize, cx: &mut Context<'_>) -> Poll<()> {
        self.state().outbox.poll_eased(limit, cx)
    }

    /// What is to be written next.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        let outbox = &mut self.state().outbox;
        outbox.poll_take(cx).map(|bytes| (bytes, outbox.detach()))
    }

    /// Gives the stream back when everything is written.
    pub(super) fn attach(&self, send: Box<dyn SendHalf>) {
        let mut state = self.state();
        // Nobody wants it where the answers are not taken any more.
        if !state.closed {
            state.outbox.attach(send);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is valid between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known for Replies {
    fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    fn watch(&self, key: CallKey) -> Arc<CallState> {
        match self.state().unanswered.find(key) {
            Some(entry) => entry.watch(&self.cancelled),
            // It was answered, so nobody can cancel it.
            None => Arc::default(),
        }
    }
}

impl State {
    fn look(&mut self) {
        if self.ended && self.unanswered.count == 0 {
            self.outbox.end();
        }
    }
}

/// Appends an answer on a lane, if there is room for it.
fn put_long(correlation: u64, form: Form, payload: &mut Vec<u8>, outbox: &mut Outbox) {
    match form {
        Ok(_) if !outbox.admits(payload.len()) => {
            let error = no_room(payload.len(), Delivery::Delivered);
            frame::put_undelivered(correlation, &error, outbox.frames());
        }
        // Others share the lane, whom a long answer must not make wait.
        Ok(answer) if payload.len() > LANE_ANSWER_BYTES_MAX => {
            payload.shrink_to_fit();
            outbox.push_long(correlation, answer == Answer::Failed, std::mem::take(payload).into());
        }
        form => put(correlation, form, payload, outbox.frames()),
    }
}

pub(super) fn put(correlation: u64, form: Form, payload: &[u8], frames: &mut Vec<u8>) {
    match form {
        Ok(Answer::Reply) => frame::put_outcome(correlation, false, payload, frames),
        Ok(Answer::Failed) => frame::put_outcome(correlation, true, payload, frames),
        Ok(Answer::Accepted) => frame::put_accepted(correlation, frames),
        Err(error) => frame::put_undelivered(correlation, &error, frames),
    }
}

/// The answers of a run of calls to one stream after the other: each stream is locked once for many of them.
#[derive(Default)]
pub(crate) struct Batch {
    replies: Option<Arc<Replies>>,
    frames: Vec<u8>,
    /// The requests, with where their frames end.
    answered: Vec<(CallKey, Permits, usize)>,
    /// How many answers it collects: more where handlers are fast, and one where they are slow.
    answers_max: usize,
    /// When the first of them was ready.
    since: Option<Instant>,
}

impl Batch {
    /// Answers a request. It keeps its `permits` until the answer is on its way and nobody watches it.
    pub(crate) fn answer(
        &mut self,
        replies: Arc<Replies>,
        key: CallKey,
        permits: Permits,
        form: Form,
        payload: &mut Vec<u8>,
    ) {
        if self.replies.as_ref().is_some_and(|former| !Arc::ptr_eq(former, &replies)) {
            self.send(false);
        }
        if payload.len() > SHORT_BYTES_MAX {
            replies.watch(key).keep(permits);
            replies.answer(key, form, payload);
            return;
        }
        put(key.correlation, form, payload, &mut self.frames);
        self.answered.push((key, permits, self.frames.len()));
        self.replies = Some(replies);
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.answered.len() >= self.answers_max {
            self.answers_max = answers_max_after(self.answers_max, since.elapsed());
            self.send(false);
        } else if self.frames.len() > BATCH_BYTES_MAX {
            self.send(false);
        }
    }

    /// Sends the answers on their way, as no others come at present.
    pub(crate) fn flush(&mut self) {
        self.send(true);
    }

    /// Sends the answers on their way: with those before them, or `at_once`.
    fn send(&mut self, at_once: bool) {
        let Some(replies) = self.replies.take() else { return };
        self.since = None;
        {
            let mut state = replies.state();
            for (key, permits, _) in &mut self.answered {
                if let Some(watched) = state.unanswered.remove(*key, &replies.cancelled) {
                    watched.keep(std::mem::take(permits));
                }
            }
            let State { outbox, streams, closed, .. } = &mut *state;
            if *closed {
                self.frames.clear();
            } else if let Some(streams) = streams {
                let mut begin = 0;
                for (key, _, end) in &self.answered {
                    let frame = &self.frames[std::mem::replace(&mut begin, *end)..*end];
                    if let Some(stream) = key.stream {
                        streams.send(stream, [Bytes::copy_from_slice(frame), Bytes::new()], None);
                    }
                }
                self.frames.clear();
            } else if outbox.admits(self.frames.len()) {
                outbox.append(&mut self.frames);
                match at_once {
                    true => outbox.write_now(),
                    false => outbox.wake(),
                }
            } else {
                put_without_room(std::mem::take(&mut self.frames), outbox.frames());
            }
            state.look();
        }
        self.answered.clear();
    }
}

/// Appends the answers in `batched`, but of those of handlers only that there is no room for them.
fn put_without_room(batched: Vec<u8>, frames: &mut Vec<u8>) {
    let mut reader = FrameReader::new(batched.len());
    reader.feed(batched.into());
    while let Ok(Some(frame)) = reader.next_frame() {
        let Ok(Frame::Answer { correlation, answer }) = Frame::decode(frame) else { continue };
        match answer {
            Answered::Reply(payload) | Answered::Failed(payload) => {
                frame::put_undelivered(correlation, &no_room(payload.len(), Delivery::Delivered), frames);
            }
            Answered::Undelivered(error) => frame::put_undelivered(correlation, &error, frames),
            Answered::Accepted => frame::put_accepted(correlation, frames),
        }
    }
}

/// How many answers the batch collects after one of so many that took so long.
fn answers_max_after(answers: usize, took: Duration) -> usize {
    let next = if took > BATCH_TIME_MAX { answers / 2 } else { 2 * answers };
    next.clamp(1, BATCH_ANSWERS_MAX)
}

/// Answers with what `encode` makes of what `answer` yields, which may be at once, for a caller that takes so many
/// bytes. Drops it when the request is cancelled; a panic of it, as of a layer, ends this request and nothing else.
pub(crate) fn serve<F, E>(replies: Arc<Replies>, key: CallKey, state: Arc<CallState>, answer: F, encode: E)
where
    F: Future + 'static,
    E: FnOnce(F::Output, u64, &mut Vec<u8>) -> Form + 'static,
{
    let mut serving = Box::pin(Serving { answer, encode: Some(encode), replies, key, state });
    // Polled here, so that actors get requests in the order in which they came.
    if futures_util::FutureExt::now_or_never(serving.as_mut()).is_none() {
        actix_rt::spawn(serving);
    }
}

pin_project! {
    struct Serving<F, E> {
        #[pin]
        answer: F,
        encode: Option<E>,
        replies: Arc<Replies>,
        key: CallKey,
        state: Arc<CallState>,
    }
}

impl<F: Future, E: FnOnce(F::Output, u64, &mut Vec<u8>) -> Form> Future for Serving<F, E> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.state.poll_cancelled(cx).is_ready() {
            this.replies.answer(*this.key, Err(DeliveryError::Cancelled), &mut Vec::new());
            return Poll::Ready(());
        }
        // It is dropped after a panic, so what it left half done is never looked at.
        match catch_unwind(AssertUnwindSafe(|| this.answer.poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(answer)) => with_scratch(|payload| {
                let encode = this.encode.take().expect("a future is not polled after it was ready");
                let form = encode(answer, this.replies.bytes_max, payload);
                this.replies.answer(*this.key, form, payload);
            }),
            Err(_) => this.replies.answer(*this.key, Err(DeliveryError::Panicked), &mut Vec::new()),
        }
        Poll::Ready(())
    }
}

/// The requests that have no answer yet, by their number.
#[derive(Default)]
struct Unanswered {
    dense: Vec<Option<Entry>>,
    sparse: HashMap<u64, Entry>,
    count: usize,
    serial: u32,
}

struct Entry {
    /// Which of the requests that had this number.
    serial: u32,
    stage: Stage,
}

enum Stage {
    /// Nobody asked whether it is cancelled.
    Unwatched,
    Cancelled,
    Watched(Arc<CallState>),
}

impl Unanswered {
    fn insert(&mut self, correlation: u64, stream: Option<u32>) -> Result<CallKey, Unfit> {
        let number = number(correlation, stream);
        self.serial = self.serial.wrapping_add(1);
        let entry = Entry { serial: self.serial, stage: Stage::Unwatched };
        // A number takes no more room than one request, whichever the peer chooses.
        if number < DENSE && position(number) == self.dense.len() {
            self.dense.push(self.sparse.remove(&number));
        }
        let before = match self.dense.get_mut(position(number)) {
            Some(dense) => dense.replace(entry),
            None => self.sparse.insert(number, entry),
        };
        self.count += usize::from(before.is_none());
        match before {
            Some(before) => {
                if let Stage::Watched(state) = before.stage {
                    state.cancel();
                }
                Err(Unfit::Duplicate)
            }
            None => Ok(CallKey { correlation, stream, serial: self.serial }),
        }
    }

    fn get(&mut self, number: u64) -> Option<&mut Entry> {
        match self.dense.get_mut(position(number)) {
            Some(dense) => dense.as_mut(),
            None => self.sparse.get_mut(&number),
        }
    }

    fn find(&mut self, key: CallKey) -> Option<&mut Entry> {
        self.get(number(key.correlation, key.stream)).filter(|entry| entry.serial == key.serial)
    }

    /// Takes a request off, with what it is watched with.
    fn remove(&mut self, key: CallKey, cancelled: &AtomicUsize) -> Option<Arc<CallState>> {
        self.find(key)?;
        let number = number(key.correlation, key.stream);
        let removed = match self.dense.get_mut(position(number)) {
            Some(dense) => dense.take(),
            None => self.sparse.remove(&number),
        };
        self.count -= 1;
        match removed?.stage {
            Stage::Watched(state) => Some(state),
            Stage::Unwatched => None,
            Stage::Cancelled => {
                cancelled.fetch_sub(1, Ordering::Release);
                None
            }
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.dense.iter_mut().flatten().chain(self.sparse.values_mut())
    }
}

/// That under which a request is found: the peer chooses that of those that share a stream.
fn number(correlation: u64, stream: Option<u32>) -> u64 {
    stream.map_or(correlation, u64::from)
}

fn position(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Entry {
    /// Cancels it, and counts it among the `cancelled` where nobody watches it.
    fn cancel(&mut self, cancelled: &AtomicUsize) {
        match &self.stage {
            Stage::Watched(state) => state.cancel(),
            Stage::Cancelled => {}
            Stage::Unwatched => {
                self.stage = Stage::Cancelled;
                cancelled.fetch_add(1, Ordering::Release);
            }
        }
    }

    fn watch(&mut self, cancelled: &AtomicUsize) -> Arc<CallState> {
        if let Stage::Watched(state) = &self.stage {
            return Arc::clone(state);
        }
        let state = Arc::<CallState>::default();
        if matches!(self.stage, Stage::Cancelled) {
            cancelled.fetch_sub(1, Ordering::Release);
            state.cancel();
        }
        self.stage = Stage::Watched(Arc::clone(&state));
        state
    }
}

#[cfg(test)]
mod tests;
