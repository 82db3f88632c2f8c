//! The caller's end of requests with a stream each.
//!
//! What is short is written at once, where the peer takes it; a task sends the rest. One task of the session reads the
//! answers as they come: one that nobody waits for would else keep what the connection may have unread from all other
//! streams.

use super::{
    calls::{Calls, Carrier, PendingCall, Sending, Slot, State},
    outbox::no_room,
};
use crate::{
    budget::{Room, SHORT_BYTES_MAX, Share},
    call::Priority,
    gate::{Gate, Permit, RETRY_AFTER},
    transport::{LinkError, RecvHalf, Stream},
};
use bytes::Bytes;
use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
};
use swarm_protocols::{
    Delivery, DeliveryError,
    wire::frame::{Answered, Frame, FrameReader, OVERHEAD_BYTES_MAX},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
};

/// What goes over a stream of its own, one piece after the other. Long ones are shared, not copied.
pub(super) type Pieces = [Bytes; 3];

/// How much is read of one answer before others have their turn, in bytes.
const TURN_BYTES: usize = 256 << 10;

fn bytes_of(pieces: &Pieces) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// Requests with a stream each.
pub(crate) type OwnStreams = Calls<Exchanges>;

/// The streams, by the numbers of their requests.
pub(crate) struct Exchanges {
    streams: Vec<Option<Exchange>>,
    /// They say that there is something to read, and stay when their request has ended.
    wakers: Vec<Waker>,
    ready: Arc<Ready>,
    /// How much more of long requests may be in progress at the peer, in KiB: two of the longest, or many shorter ones.
    sendable: Arc<Semaphore>,
    /// Those who wait for a stream.
    queue: Arc<Gate>,
    /// How many messages without an answer are being sent.
    posts: usize,
}

enum Exchange {
    Sending { task: AbortHandle, begun: bool },
    Reading(Reading),
}

struct Reading {
    recv: Box<dyn RecvHalf>,
    reader: FrameReader,
    come: usize,
    /// What has come of a long answer takes it.
    room: Option<Room>,
    #[expect(dead_code, reason = "it is given back when this is dropped")]
    in_progress: Option<OwnedSemaphorePermit>,
}

/// How an exchange ended, with the room that its answer takes.
type Ended = Result<(Answered, Option<Room>), DeliveryError>;

impl Carrier for Exchanges {
    fn cancel(&mut self, key: usize) -> Option<Delivery> {
        match self.streams.get_mut(key).and_then(Option::take) {
            Some(Exchange::Sending { task, begun }) => {
                task.abort();
                Some(if begun { Delivery::Unknown } else { Delivery::NotSent })
            }
            // Dropping it tells the peer.
            Some(Exchange::Reading(_)) | None => Some(Delivery::Unknown),
        }
    }

    fn end(&mut self) {
        self.ready.change(|ready| ready.ended = true);
    }

    fn lose(&mut self, key: usize) -> Delivery {
        self.cancel(key).unwrap_or(Delivery::Unknown)
    }

    fn is_idle(&self) -> bool {
        self.posts == 0
    }
}

impl Exchanges {
    /// None as yet, to a peer that takes requests of up to so many bytes.
    pub(super) fn new(request_bytes_max: u64) -> Self {
        Self {
            streams: Vec::new(),
            wakers: Vec::new(),
            ready: Arc::default(),
            sendable: Arc::new(Semaphore::new(2 * kib(request_bytes_max) as usize)),
            queue: Gate::new(usize::MAX),
            posts: 0,
        }
    }

    fn put(&mut self, key: usize, exchange: Exchange) {
        while self.streams.len() <= key {
            let readable = Readable { key: self.wakers.len(), ready: Arc::clone(&self.ready) };
            self.wakers.push(Arc::new(readable).into());
            self.streams.push(None);
        }
        self.streams[key] = Some(exchange);
    }

    /// Whether the task that asks is the one that sends request `key`: that may have another number meanwhile.
    fn is_sent_here(&mut self, key: usize) -> Option<&mut bool> {
        match self.streams.get_mut(key)? {
            Some(Exchange::Sending { task, begun }) if task.id() == tokio::task::id() => Some(begun),
            _ => None,
        }
    }
}

impl OwnStreams {
    /// Sends a request.
    pub(crate) fn call(
        self: &Arc<Self>,
        mut request: Pieces,
        Sending { timeout, priority, .. }: Sending,
    ) -> Result<PendingCall<Exchanges>, DeliveryError> {
        let mut state = self.state();
        self.take_place(&mut state)?;
        let key = self.insert(&mut state, timeout);
        if !state.running {
            state.running = true;
            self.runtime.spawn(Arc::clone(self).run(Arc::clone(&state.carrier.ready)));
        }
        // Nobody gets a stream before those who wait for one.
        let is_next = state.carrier.queue.inside() == 0;
        let is_short = bytes_of(&request) <= SHORT_BYTES_MAX;
        let stream = if is_short && is_next { self.link.open_now() } else { None };
        let left = match stream.map(|stream| write_now(stream, &mut request, priority)).transpose() {
            Ok(Some(Written::All(recv))) => {
                let _nobody_waits_yet = self.receive(&mut state, key, recv, None);
                return Ok(PendingCall::new(Arc::clone(self), key));
            }
            Ok(Some(Written::Some(stream))) => Some(stream),
            Ok(None) => None,
            Err(error) => {
                state.slots[key] = Slot::Ended(Err(lost(&state, error, Delivery::Unknown)), None);
                return Ok(PendingCall::new(Arc::clone(self), key));
            }
        };
        let begun = left.is_some();
        let queued = if is_short && !begun { state.carrier.queue.enter() } else { None };
        // It looks for itself among the exchanges when this state is left.
        let sending = Arc::clone(self).send(key, left, queued, request, priority);
        let task = self.runtime.spawn(sending).abort_handle();
        state.carrier.put(key, Exchange::Sending { task, begun });
        Ok(PendingCall::new(Arc::clone(self), key))
    }

    /// A place for a message that is not answered.
    pub(crate) fn post(self: &Arc<Self>) -> Result<Post, DeliveryError> {
        let mut state = self.state();
        self.take_place(&mut state)?;
        state.carrier.posts += 1;
        drop(state);
        Ok(Post(Arc::clone(self)))
    }

    /// Waits until so many bytes more may be in progress at the peer: those that wait take none of its room.
    async fn sendable(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes <= SHORT_BYTES_MAX {
            return None;
        }
        let sendable = Arc::clone(&self.state().carrier.sendable);
        sendable.acquire_many_owned(kib(bytes as u64)).await.ok()
    }

    /// Sends the request of this number, unless it is cancelled before it has a stream.
    async fn send(
        self: Arc<Self>,
        key: usize,
        stream: Option<Stream>,
        queued: Option<Permit>,
        request: Pieces,
        priority: Priority,
    ) {
        let in_progress = self.sendable(bytes_of(&request)).await;
        let opened = match stream {
            Some(stream) => Ok(stream),
            None => self.open(queued, priority).await,
        };
        let written = match opened {
            Ok(stream) => {
                match self.state().carrier.is_sent_here(key) {
                    Some(begun) => *begun = true,
                    None => return,
                }
                self.write(stream, request).await
            }
            Err(error) => Err(error),
        };
        let mut state = self.state();
        if state.carrier.is_sent_here(key).is_none() {
            return;
        }
        let waker = match written {
            Ok((recv, _is_whole)) => self.receive(&mut state, key, recv, in_progress),
            Err(error) => self.end(&mut state, key, Err(error)),
        };
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Waits for a stream, before those that come later.
    async fn open(&self, queued: Option<Permit>, priority: Priority) -> Result<Stream, DeliveryError> {
        let _queued = queued.or_else(|| self.state().carrier.queue.enter());
        let opened = self.link.open().await;
        let mut stream = opened.map_err(|error| lost(&self.state(), error, Delivery::NotSent))?;
        prioritise(&mut stream, priority);
        Ok(stream)
    }

    /// Writes what goes over a stream, and says whether the peer let all of it be written: one that stops a request has
    /// read enough to answer.
    async fn write(
        &self,
        Stream { mut send, recv }: Stream,
        pieces: Pieces,
    ) -> Result<(Box<dyn RecvHalf>, bool), DeliveryError> {
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            match send.write(piece).await {
                Ok(()) => {}
                Err(LinkError::StreamAbandoned) => return Ok((recv, false)),
                Err(error) => return Err(lost(&self.state(), error, Delivery::Unknown)),
            }
        }
        send.finish();
        Ok((recv, true))
    }

    /// Waits for the answer to a request, of which nothing has come.
    fn receive(
        &self,
        state: &mut State<Exchanges>,
        key: usize,
        recv: Box<dyn RecvHalf>,
        in_progress: Option<OwnedSemaphorePermit>,
    ) -> Option<Waker> {
        let reader = FrameReader::new(self.message_bytes_max + OVERHEAD_BYTES_MAX);
        let reading = Reading { recv, reader, come: 0, room: None, in_progress };
        state.carrier.put(key, Exchange::Reading(reading));
        self.advance(state, key)
    }

    async fn run(self: Arc<Self>, ready: Arc<Ready>) {
        tokio::select! {
            () = self.read(&ready) => {}
            never = self.expire() => match never {},
        }
    }

    /// Reads what comes until the session ends.
    async fn read(&self, ready: &Ready) {
        let (mut keys, mut woken) = (Vec::new(), Vec::new());
        while poll_fn(|cx| ready.poll_take(&mut keys, cx)).await {
            let mut state = self.state();
            for key in keys.drain(..) {
                woken.extend(self.advance(&mut state, key));
            }
            drop(state);
            woken.drain(..).for_each(Waker::wake);
        }
    }

    /// Reads what has come of an answer, and yields who waits for it, if that is all of it.
    fn advance(&self, state: &mut State<Exchanges>, key: usize) -> Option<Waker> {
        let Exchanges { streams, wakers, .. } = &mut state.carrier;
        let Some(Exchange::Reading(reading)) = streams.get_mut(key)? else { return None };
        let polled = reading.poll(&self.share, &mut Context::from_waker(&wakers[key]));
        let Poll::Ready(ended) = polled else { return None };
        let ended = ended.unwrap_or_else(|error| Err(lost(state, error, Delivery::Unknown)));
        self.end(state, key, ended)
    }

    /// Keeps how a request ended, and yields who waits for it.
    fn end(&self, state: &mut State<Exchanges>, key: usize, ended: Ended) -> Option<Waker> {
        state.carrier.streams[key] = None;
        let Some(Slot::Waiting { waker, asked, .. }) = state.slots.get_mut(key) else { return None };
        let (waker, took) = (waker.take(), asked.elapsed());
        if ended.is_ok() {
            state.took(took);
        }
        state.slots[key] = match ended {
            Ok((answer, room)) => Slot::Ended(Ok(answer), room.map(Box::new)),
            Err(error) => Slot::Ended(Err(error), None),
        };
        waker
    }
}

impl Reading {
    fn poll(&mut self, share: &Arc<Share>, cx: &mut Context<'_>) -> Poll<Result<Ended, LinkError>> {
        let turn_ends = self.come + TURN_BYTES;
        while let Some(chunk) = ready!(self.recv.poll_read(cx))? {
            self.come += chunk.len();
            if self.come > SHORT_BYTES_MAX && !share.extend(&mut self.room, self.come) {
                return Poll::Ready(Ok(Err(no_room(self.come, Delivery::Unknown))));
            }
            self.reader.feed(chunk);
            let answer = match self.reader.next_frame().and_then(|frame| frame.map(Frame::decode).transpose())
            {
                Ok(None) if self.come < turn_ends => continue,
                Ok(None) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(Some(Frame::Answer { correlation: 0, answer })) => Ok((answer, self.room.take())),
                Ok(Some(_)) => Err(unfit("something else than an answer")),
                Err(error) => Err(unfit(&error.to_string())),
            };
            // Taking the end of the stream, where it has come already, spares telling the peer that the rest is not
            // wanted.
            let _end_or_later = self.recv.poll_read(cx);
            return Poll::Ready(Ok(answer));
        }
        Poll::Ready(Ok(Err(unfit("no answer"))))
    }
}

fn lost(state: &State<Exchanges>, error: LinkError, delivery: Delivery) -> DeliveryError {
    let reason = state.lost.clone().unwrap_or_else(|| error.to_string());
    DeliveryError::SessionLost { reason, delivery }
}

/// What a peer sent that makes no sense where it came.
pub(crate) fn unfit(what: &str) -> DeliveryError {
    let reason = format!("the peer sent {what}");
    DeliveryError::Codec { reason, delivery: Delivery::Unknown }
}

enum Written {
    All(Box<dyn RecvHalf>),
    Some(Stream),
}

/// Writes what the peer takes at once, and leaves the rest.
fn write_now(mut stream: Stream, pieces: &mut Pieces, priority: Priority) -> Result<Written, LinkError> {
    prioritise(&mut stream, priority);
    match stream.send.write_now(pieces) {
        Ok(()) if pieces.iter().any(|piece| !piece.is_empty()) => return Ok(Written::Some(stream)),
        Ok(()) => stream.send.finish(),
        // It has read enough to answer.
        Err(LinkError::StreamAbandoned) => {}
        Err(error) => return Err(error),
    }
    Ok(Written::All(stream.recv))
}

fn prioritise(stream: &mut Stream, priority: Priority) {
    // Most have that of a new stream.
    if priority != Priority::Normal {
        stream.send.set_priority(priority.of_stream());
    }
}

/// Bytes in KiB, rounded up, as many as a semaphore can count.
fn kib(bytes: u64) -> u32 {
    bytes.div_ceil(1 << 10).clamp(1, 1 << 28) as u32
}

/// A place for a message without an answer.
pub(crate) struct Post(Arc<OwnStreams>);

impl Post {
    /// Sends the message, as the peer takes it.
    pub(crate) async fn send(
        self,
        message: Pieces,
        Sending { timeout, priority, .. }: Sending,
    ) -> Result<(), DeliveryError> {
        let Self(streams) = &self;
        let sent = async {
            // Until it is written. What the peer holds after that is for the peer to bound: it stops a message for
            // which it has no room before the end of it, and nothing tells when the others are handled.
            let _on_its_way = streams.sendable(bytes_of(&message)).await;
            streams.write(streams.open(None, priority).await?, message).await
        };
        // A stream that is dropped before its end is a message that was not sent.
        let (_no_answer, is_whole) = tokio::time::timeout(timeout, sent)
            .await
            .map_err(|_| DeliveryError::TimedOut { after: timeout, delivery: Delivery::NotSent })??;
        // A peer that stops a message before its end has no room for it.
        is_whole.then_some(()).ok_or(DeliveryError::Overloaded { retry_after: RETRY_AFTER })
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.0.state().carrier.posts -= 1;
        self.0.places.give_many(1);
    }
}

/// Which streams have something to read: what `FuturesUnordered` knows, without an allocation for each request.
#[derive(Default)]
struct Ready(Mutex<ReadyState>);

#[derive(Default)]
struct ReadyState {
    keys: Vec<usize>,
    reader: Option<Waker>,
    ended: bool,
}

impl Ready {
    fn state(&self) -> MutexGuard<'_, ReadyState> {
        // The state is valid between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the reader see a change.
    fn change(&self, change: impl FnOnce(&mut ReadyState)) {
        let mut state = self.state();
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Takes the numbers of those that have; `false` after the end.
    fn poll_take(&self, keys: &mut Vec<usize>, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state();
        if state.ended || !state.keys.is_empty() {
            std::mem::swap(&mut state.keys, keys);
            return Poll::Ready(!state.ended);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Wakes the task that reads for one stream.
struct Readable {
    key: usize,
    ready: Arc<Ready>,
}

impl Wake for Readable {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.change(|ready| ready.keys.push(self.key));
    }
}

#[cfg(test)]
mod tests;
