//! The caller's end of requests with a stream each.
//!
//! What is short is written at once, where the peer takes it; a task sends the rest. One task of the session gives streams
//! to the requests that wait for one, and reads the answers as they come: one that nobody waits for would else keep what
//! the connection may have unread from all other streams.

use super::{
    calls::{Calls, Carrier, PendingCall, Sending, Slot, State, Waiter},
    outbox::no_room,
};
use crate::{
    budget::{Room, SHORT_BYTES_MAX, Share},
    call::Priority,
    gate::{Gate, RETRY_AFTER},
    transport::{LinkError, RecvHalf, Stream},
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
};
use swarm_protocols::{
    Delivery, DeliveryError,
    wire::frame::{Answered, Frame, FrameReader, OVERHEAD_BYTES_MAX},
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
};

/// What goes over a stream of its own, one piece after the other. Long ones are shared, not copied.
pub(super) type Pieces = [Bytes; 3];

/// How much is read of one answer before others have their turn, in bytes.
const TURN_BYTES: usize = 256 << 10;

/// How many requests get a stream before others have their turn.
const TURN_STREAMS: usize = 64;

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
    /// The requests that wait for a stream, in the order in which they get one: those who leave are found at once.
    queue: BTreeMap<u64, usize>,
    /// How many requests have waited.
    queued_so_far: u64,
    queued: Arc<Notify>,
    /// The messages without an answer that wait for a stream.
    waiting_posts: Arc<Gate>,
    /// How many messages without an answer are being sent.
    posts: usize,
}

enum Exchange {
    /// At this place of the queue.
    Queued(u64, Outgoing),
    /// A task waits until the peer has room for it, or writes it.
    Sending {
        task: AbortHandle,
        begun: bool,
    },
    Reading(Reading),
}

/// A request that has no stream yet.
struct Outgoing {
    request: Pieces,
    priority: Priority,
    in_progress: Option<OwnedSemaphorePermit>,
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
            Some(Exchange::Queued(place, _)) => {
                self.queue.remove(&place);
                Some(Delivery::NotSent)
            }
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
            queue: BTreeMap::new(),
            queued_so_far: 0,
            queued: Arc::default(),
            waiting_posts: Gate::new(usize::MAX),
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

    /// Takes request `key`, which is in the queue.
    fn take_queued(&mut self, key: usize) -> Outgoing {
        match self.streams[key].take() {
            Some(Exchange::Queued(place, outgoing)) => {
                self.queue.remove(&place);
                outgoing
            }
            _ => unreachable!("a request that leaves the exchanges leaves the queue"),
        }
    }

    /// Whether the task that asks is the one that sends request `key`: that may have another number meanwhile.
    fn is_sent_here(&self, key: usize) -> bool {
        let exchange = self.streams.get(key).and_then(Option::as_ref);
        matches!(exchange, Some(Exchange::Sending { task, .. }) if task.id() == tokio::task::id())
    }
}

impl OwnStreams {
    /// Sends a request.
    pub(crate) fn call(
        self: &Arc<Self>,
        request: Pieces,
        Sending { timeout, priority, .. }: Sending,
    ) -> Result<PendingCall<Exchanges>, DeliveryError> {
        let mut state = self.state();
        self.take_place(&mut state)?;
        let key = self.insert(&mut state, timeout, Waiter::Nobody);
        if !state.running {
            state.running = true;
            let (ready, queued) = (Arc::clone(&state.carrier.ready), Arc::clone(&state.carrier.queued));
            self.runtime.spawn(Arc::clone(self).run(ready, queued));
        }
        let outgoing = Outgoing { request, priority, in_progress: None };
        if bytes_of(&outgoing.request) <= SHORT_BYTES_MAX {
            let _nobody_waits_yet = self.start(&mut state, key, outgoing);
        } else {
            // It looks for itself among the exchanges when this state is left.
            let task = self.runtime.spawn(Arc::clone(self).start_later(key, outgoing)).abort_handle();
            state.carrier.put(key, Exchange::Sending { task, begun: false });
        }
        Ok(PendingCall::new(Arc::clone(self), key))
    }

    /// Sends the request as soon as it has a stream, and yields who waits for its answer, if that has come.
    fn start(
        self: &Arc<Self>,
        state: &mut State<Exchanges>,
        key: usize,
        outgoing: Outgoing,
    ) -> Option<Waker> {
        // Nobody gets a stream before those who wait for one.
        let carrier = &mut state.carrier;
        let is_next = carrier.queue.is_empty() && carrier.waiting_posts.inside() == 0;
        if let Some(stream) = is_next.then(|| self.link.open_now()).flatten() {
            return self.send(state, key, stream, outgoing);
        }
        let place = carrier.queued_so_far;
        carrier.queued_so_far += 1;
        carrier.put(key, Exchange::Queued(place, outgoing));
        carrier.queue.insert(place, key);
        carrier.queued.notify_one();
        None
    }

    /// Starts a long request when the peer has room for it.
    async fn start_later(self: Arc<Self>, key: usize, mut outgoing: Outgoing) {
        outgoing.in_progress = self.sendable(bytes_of(&outgoing.request)).await;
        let mut state = self.state();
        if !state.carrier.is_sent_here(key) {
            return;
        }
        let waker = self.start(&mut state, key, outgoing);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Sends the request, and yields who waits for its answer, if that has come.
    fn send(
        self: &Arc<Self>,
        state: &mut State<Exchanges>,
        key: usize,
        mut stream: Stream,
        Outgoing { mut request, priority, in_progress }: Outgoing,
    ) -> Option<Waker> {
        prioritise(&mut stream, priority);
        match stream.send.write_now(&mut request) {
            Ok(()) if bytes_of(&request) > 0 => {
                let sending = Arc::clone(self).send_rest(key, stream, request, in_progress);
                let task = self.runtime.spawn(sending).abort_handle();
                state.carrier.put(key, Exchange::Sending { task, begun: true });
                return None;
            }
            Ok(()) => stream.send.finish(),
            // The peer has read enough to answer.
            Err(LinkError::StreamAbandoned) => {}
            Err(error) => {
                let error = lost(state, error, Delivery::Unknown);
                return self.end(state, key, Err(error));
            }
        }
        self.receive(state, key, stream.recv, in_progress)
    }

    /// Sends what the peer did not take at once.
    async fn send_rest(
        self: Arc<Self>,
        key: usize,
        stream: Stream,
        request: Pieces,
        in_progress: Option<OwnedSemaphorePermit>,
    ) {
        let written = self.write(stream, request).await;
        let mut state = self.state();
        if !state.carrier.is_sent_here(key) {
            return;
        }
        let waker = match written {
            Ok((recv, _is_whole)) => self.receive(&mut state, key, recv, in_progress),
            Err(error) => self.end(&mut state, key, Err(error)),
        };
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Gives streams to those that wait for one, as the peer allows them.
    async fn open_for_queued(self: &Arc<Self>, queued: &Notify) -> Infallible {
        let (mut opened, mut woken) = (None, Vec::new());
        loop {
            while self.state().carrier.queue.is_empty() {
                queued.notified().await;
            }
            if opened.is_none() {
                opened = Some(self.link.open().await);
            }
            self.start_queued(&mut opened, &mut woken);
            woken.drain(..).for_each(Waker::wake);
            tokio::task::yield_now().await;
        }
    }

    /// Gives the `opened` stream to the first of those that wait, if they have not left, and further ones to the next.
    fn start_queued(
        self: &Arc<Self>,
        opened: &mut Option<Result<Stream, LinkError>>,
        woken: &mut Vec<Waker>,
    ) {
        let mut state = self.state();
        for _ in 0..TURN_STREAMS {
            let Some((_, &key)) = state.carrier.queue.first_key_value() else { return };
            let Some(stream) = opened.take().or_else(|| self.link.open_now().map(Ok)) else { return };
            let outgoing = state.carrier.take_queued(key);
            woken.extend(match stream {
                Ok(stream) => self.send(&mut state, key, stream, outgoing),
                Err(error) => {
                    let error = lost(&state, error, Delivery::NotSent);
                    self.end(&mut state, key, Err(error))
                }
            });
        }
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
        let sendable = Arc::clone(&self.state().carrier.sendable);
        sendable.acquire_many_owned(kib(bytes as u64)).await.ok()
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

    async fn run(self: Arc<Self>, ready: Arc<Ready>, queued: Arc<Notify>) {
        tokio::select! {
            biased;
            () = self.read(&ready) => {}
            never = self.open_for_queued(&queued) => match never {},
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
        if let Some(exchange) = state.carrier.streams.get_mut(key) {
            *exchange = None;
        }
        let State { slots, bulk, .. } = state;
        let Some(Slot::Waiting { waiter, asked, .. }) = slots.get_mut(key) else { return None };
        let (waker, took) = (waiter.ended(key, bulk), asked.elapsed());
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
            let bytes = bytes_of(&message);
            let _on_its_way = if bytes > SHORT_BYTES_MAX { streams.sendable(bytes).await } else { None };
            let waiting = streams.state().carrier.waiting_posts.enter();
            let opened = streams.link.open().await;
            drop(waiting);
            let mut stream = opened.map_err(|error| lost(&streams.state(), error, Delivery::NotSent))?;
            prioritise(&mut stream, priority);
            streams.write(stream, message).await
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
