//! The requests of a lane, or of all streams with one request each, that have no answer yet, and the answers on their
//! way back.

mod unanswered;

use self::unanswered::Unanswered;
pub(super) use self::unanswered::Unfit;
use super::{
    Addressee, DeadLetterOffice, Received,
    outbox::{Outbox, Taken, no_room},
    request_streams::RequestStreams,
    scratch::with_scratch,
};
use crate::{
    budget::{Room, SHORT_BYTES_MAX, Share},
    call::{CallKey, CallState, Caller, Known, Permits},
    gate::Group,
    transport::SendHalf,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;
use std::{
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

/// How many bytes of answers a [`Batch`] collects before they go to their stream.
const BATCH_BYTES_MAX: usize = 32 << 10;

/// How many answers a [`Batch`] collects: their actor may be on another thread than the stream, and both have to do.
const BATCH_ANSWERS_MAX: usize = 64;

/// How long a [`Batch`] may take to fill. One that takes longer is followed by one of half as many answers: so a slow
/// handler holds up those that were ready before it once, and not every time.
const BATCH_TIME_MAX: Duration = Duration::from_millis(1);

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
            && self.state().unanswered.find(key).is_none_or(|entry| entry.is_cancelled())
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

    /// Answers a request that no handler gets, or counts it where nobody wants an answer.
    pub(crate) fn refuse(&self, key: Option<CallKey>, addressee: Option<&Addressee>, error: &DeliveryError) {
        match key {
            Some(key) => self.answer(key, Err(error.clone()), &mut Vec::new()),
            None => self.drop_post(addressee, error),
        }
    }

    /// Answers a request that was cancelled before it was noted here.
    pub(super) fn cancelled_before(&self, correlation: u64) {
        frame::put_undelivered(correlation, &DeliveryError::Cancelled, self.state().outbox.frames());
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
        if self.ended && self.unanswered.is_empty() {
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
    /// The requests, with the room that they take and where their frames end.
    answered: Vec<(CallKey, Option<Box<Room>>, usize)>,
    /// Their places in the mailbox and with the session.
    places: [Option<Group>; 2],
    /// How many answers it collects: more where handlers are fast, and one where they are slow.
    answers_max: usize,
    /// When the first of them was ready.
    since: Option<Instant>,
}

impl Batch {
    /// Answers a request, whose places are two of these. It keeps them and its room until the answer is on its way and
    /// nobody watches it.
    pub(crate) fn answer(
        &mut self,
        replies: &Arc<Replies>,
        (key, room): (CallKey, Option<Box<Room>>),
        places: [&mut Group; 2],
        form: Form,
        payload: &mut Vec<u8>,
    ) {
        if self.replies.as_ref().is_some_and(|former| !Arc::ptr_eq(former, replies)) {
            self.send(false);
        }
        if payload.len() > SHORT_BYTES_MAX {
            replies.watch(key).keep(permits(places, room));
            replies.answer(key, form, payload);
            return;
        }
        put(key.correlation, form, payload, &mut self.frames);
        for (place, kept) in places.into_iter().zip(&mut self.places) {
            place.move_to(kept);
        }
        self.answered.push((key, room, self.frames.len()));
        if self.replies.is_none() {
            self.replies = Some(Arc::clone(replies));
        }
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
            for (key, room, _) in &mut self.answered {
                if let Some(watched) = state.unanswered.remove(*key, &replies.cancelled)
                    && let [Some(in_mailbox), Some(with_session)] = &mut self.places
                {
                    watched.keep(permits([in_mailbox, with_session], room.take()));
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
        self.places = [None, None];
    }
}

/// What a call keeps that is not answered at once: one of each of these places, and its room.
pub(crate) fn permits([in_mailbox, with_session]: [&mut Group; 2], room: Option<Box<Room>>) -> Permits {
    [Some(in_mailbox.take(None)), Some(with_session.take(room))]
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

#[cfg(test)]
mod tests;
