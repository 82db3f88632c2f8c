//! The caller's side of a session: requests to another node, on lanes and on streams of their own.

use super::{
    lane::{Lane, LaneCall, Places, new_histogram},
    outbox::no_room,
};
use crate::{
    budget::{Room, SHORT_BYTES_MAX, Share},
    call::Priority,
    gate::RETRY_AFTER,
    transport::{Link, LinkError, RecvHalf, SendHalf, Stream},
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use hdrhistogram::Histogram;
use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use swarm_protocols::{
    Delivery, DeliveryError,
    wire::{
        control::Limits,
        frame::{self, Answered, Frame, FrameReader, Intent, OVERHEAD_BYTES_MAX, RequestHead},
    },
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
    task::{JoinError, JoinHandle},
    time::{Instant, timeout_at},
};

/// One lane for each [`Priority`].
const LANES: usize = 3;

/// The most requests in flight, whatever the peer would accept.
const IN_FLIGHT_MAX: u32 = 1 << 16;

/// The caller's side of one session.
pub(crate) struct Outbound {
    link: Arc<dyn Link>,
    lanes: [Arc<Lane>; LANES],
    limits: Limits,
    message_bytes_max: usize,
    places: Arc<Places>,
    /// What this node may hold for the peer: answers that nobody has taken.
    share: Arc<Share>,
    /// How much more of long requests may be in progress at the peer, in KiB: two of the longest, or many shorter ones.
    sendable: Semaphore,
    runtime: Handle,
    own_streams: AtomicUsize,
    /// Made with the first answer.
    own_latency: Mutex<Option<Box<Histogram<u32>>>>,
    own_sent: AtomicU64,
    lost: OnceLock<String>,
    draining: AtomicBool,
}

impl Outbound {
    /// Over `link` to a peer that accepts `limits`; answers of up to `message_bytes_max` are taken, for which the peer
    /// has a `share` of the memory.
    pub(crate) fn new(
        link: Arc<dyn Link>,
        limits: Limits,
        message_bytes_max: usize,
        share: Arc<Share>,
    ) -> Arc<Self> {
        let places = Places::new(limits.in_flight.min(IN_FLIGHT_MAX) as usize);
        let lane = |class| {
            let (link, places, share) = (Arc::clone(&link), Arc::clone(&places), Arc::clone(&share));
            Lane::new(link, class, places, share, message_bytes_max)
        };
        Arc::new(Self {
            lanes: [lane(0), lane(1), lane(2)],
            link,
            limits,
            message_bytes_max,
            places,
            sendable: Semaphore::new(2 * kib(limits.message_bytes) as usize),
            share,
            runtime: Handle::current(),
            own_streams: AtomicUsize::new(0),
            own_latency: Mutex::default(),
            own_sent: AtomicU64::new(0),
            lost: OnceLock::new(),
            draining: AtomicBool::new(false),
        })
    }

    /// Ends everything that is in flight.
    pub(crate) fn lose(&self, reason: &str) {
        // The first reason counts.
        let _first = self.lost.set(reason.to_owned());
        self.lanes.iter().for_each(|lane| lane.lose(reason));
    }

    /// Whether the session is known to have ended: a lane may learn it before the session does.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.get().is_some() || self.lanes.iter().any(|lane| lane.is_lost())
    }

    /// Where the peer is; `None` in memory.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.link.remote()
    }

    /// Says how many bytes may wait on the connection in either direction.
    pub(crate) fn set_window(&self, bytes: u32) {
        self.link.set_window(bytes);
    }

    /// The peer takes no new requests.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// How many requests went out.
    pub(crate) fn sent(&self) -> u64 {
        self.own_sent.load(Ordering::Relaxed) + self.lanes.iter().map(|lane| lane.sent()).sum::<u64>()
    }

    /// Moves what is known of how long answers took, in microseconds, into `into`.
    pub(crate) fn take_latency(&self, into: &mut Histogram<u32>) {
        self.lanes.iter().for_each(|lane| lane.take_latency(into));
        if let Some(own) = &mut *self.own_latency.lock().unwrap_or_else(PoisonError::into_inner) {
            // Both have the same bounds and precision, see `new_histogram`.
            let _same_bounds = into.add(&**own);
            own.reset();
        }
    }

    /// Whether every request was answered, also those that were given up.
    pub(crate) fn is_idle(&self) -> bool {
        self.own_streams.load(Ordering::Relaxed) == 0 && self.lanes.iter().all(|lane| lane.is_idle())
    }

    /// Whether the peer takes a request of so many bytes.
    fn admit(&self, bytes: usize) -> Result<(), DeliveryError> {
        if self.draining.load(Ordering::Relaxed) {
            // It has drained and gone, or is about to.
            return Err(self.lost.get().map_or(DeliveryError::Draining, |reason| {
                DeliveryError::SessionLost { reason: reason.clone(), delivery: Delivery::NotSent }
            }));
        }
        let (bytes, limit) = (bytes as u64, self.limits.message_bytes);
        if bytes > limit {
            return Err(DeliveryError::TooLarge { bytes, limit });
        }
        Ok(())
    }

    /// Sends what goes over a stream of its own, and says whether the peer let all of it be written.
    async fn send(
        &self,
        request: Pieces,
        priority: Priority,
    ) -> Result<(Box<dyn SendHalf>, Box<dyn RecvHalf>, bool), DeliveryError> {
        let opened = self.link.open().await;
        let Stream { mut send, recv } = opened.map_err(|error| self.ended(error, Delivery::NotSent))?;
        send.set_priority(-(priority as i32));
        for piece in request.into_iter().filter(|piece| !piece.is_empty()) {
            match send.write(piece).await {
                Ok(()) => {}
                Err(LinkError::StreamAbandoned) => return Ok((send, recv, false)),
                Err(error) => return Err(self.ended(error, Delivery::Unknown)),
            }
        }
        send.finish();
        Ok((send, recv, true))
    }

    /// Waits until so many bytes more may be in progress at the peer: those that wait take none of its room.
    async fn sendable(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        match bytes {
            0..=SHORT_BYTES_MAX => None,
            bytes => self.sendable.acquire_many(kib(bytes as u64)).await.ok(),
        }
    }

    fn ended(&self, error: LinkError, delivery: Delivery) -> DeliveryError {
        let reason = self.lost.get().cloned().unwrap_or_else(|| error.to_string());
        DeliveryError::SessionLost { reason, delivery }
    }
}

/// The way to a peer: the session that its mailboxes use. It dies with that session, unless another one with the
/// same incarnation of the peer took over before. Locked for moments only, never across a wait.
pub(crate) struct Way(RwLock<Arc<Outbound>>);

impl Way {
    pub(crate) fn new(outbound: Arc<Outbound>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(outbound)))
    }

    /// Sends what is asked from now on over `next`, behind what was asked before.
    pub(crate) fn hand_over(&self, next: &Arc<Outbound>) {
        // Nothing panics while it is locked, and what is locked is always whole.
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (lane, former) in next.lanes.iter().zip(&current.lanes) {
            lane.follow(former);
        }
        *current = Arc::clone(next);
    }

    /// Does something with the session of the moment, which is not handed over meanwhile.
    fn with<T>(&self, act: impl FnOnce(&Outbound) -> T) -> T {
        act(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a place for a request with a stream of its own.
    fn own_stream(&self) -> Result<OwnStream, DeliveryError> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if !current.places.take() {
            return Err(DeliveryError::Overloaded { retry_after: RETRY_AFTER });
        }
        current.own_streams.fetch_add(1, Ordering::Relaxed);
        current.own_sent.fetch_add(1, Ordering::Relaxed);
        Ok(OwnStream(Arc::clone(&current)))
    }
}

/// What goes over a stream of its own, one piece after the other. Long ones are shared, not copied.
type Pieces = [Bytes; 3];

fn bytes_of(pieces: &Pieces) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// A message on its way to a stream of its own.
pub(crate) type Posting = BoxFuture<'static, Result<(), DeliveryError>>;

/// A request to another node that has no answer yet. Dropping it cancels the request.
pub(crate) enum WireCall {
    Refused(Option<DeliveryError>),
    Lane(LaneCall),
    Own(BoxFuture<'static, Result<Answered, DeliveryError>>),
}

impl Future for WireCall {
    type Output = Result<Answered, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Refused(error) => {
                Poll::Ready(Err(error.take().expect("a future is not polled after it is ready")))
            }
            Self::Lane(call) => Pin::new(call).poll(cx),
            Self::Own(call) => call.as_mut().poll(cx),
        }
    }
}

/// How a message is sent. An actor of this process is reached at once, whatever the priority.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    pub(crate) timeout: Duration,
    pub(crate) priority: Priority,
    /// On a stream of its own, whatever its length.
    pub(crate) own_stream: bool,
}

impl Way {
    /// Asks for what `route` stands for at the peer.
    pub(crate) fn call(
        self: &Arc<Self>,
        route: u32,
        payload: &[u8],
        sending: Sending,
        intent: Intent,
    ) -> WireCall {
        self.start(route, payload, sending, intent).unwrap_or_else(|error| WireCall::Refused(Some(error)))
    }

    /// The same for a payload that others share, `content` being the rest of it: what is long is not copied.
    pub(crate) fn call_shared(
        self: &Arc<Self>,
        route: u32,
        payload: &Bytes,
        content: &Bytes,
        sending: Sending,
        intent: Intent,
    ) -> WireCall {
        let Sending { timeout, priority, own_stream } = sending;
        let bytes = payload.len() + content.len();
        if !own_stream && bytes <= SHORT_BYTES_MAX {
            return match content.is_empty() {
                true => self.call(route, payload, sending, intent),
                false => self.call(route, &[&payload[..], content].concat(), sending, intent),
            };
        }
        if let Err(error) = self.with(|outbound| outbound.admit(bytes)) {
            return WireCall::Refused(Some(error));
        }
        let mut head = Vec::with_capacity(OVERHEAD_BYTES_MAX);
        put_own_stream_head(route, bytes, timeout, intent, &mut head);
        let request = [head.into(), payload.clone(), content.clone()];
        WireCall::Own(Box::pin(on_own_stream(Arc::clone(self), request, timeout, priority)))
    }

    fn start(
        self: &Arc<Self>,
        route: u32,
        payload: &[u8],
        sending: Sending,
        intent: Intent,
    ) -> Result<WireCall, DeliveryError> {
        let Sending { timeout, priority, own_stream } = sending;
        if own_stream || payload.len() > SHORT_BYTES_MAX {
            self.with(|outbound| outbound.admit(payload.len()))?;
            let request = own_stream_request(route, payload, timeout, intent);
            return Ok(WireCall::Own(Box::pin(on_own_stream(Arc::clone(self), request, timeout, priority))));
        }
        self.with(|outbound| {
            outbound.admit(payload.len())?;
            outbound.lanes[priority as usize].call(route, payload, timeout, intent).map(WireCall::Lane)
        })
    }

    /// Hands over a message that is not answered. On a lane that is done at once; a stream of its own has to be
    /// opened, and takes the bytes as the peer does.
    pub(crate) fn post(
        self: &Arc<Self>,
        route: u32,
        payload: &[u8],
        sending: Sending,
    ) -> Result<Option<Posting>, DeliveryError> {
        let Sending { timeout, priority, own_stream } = sending;
        if own_stream || payload.len() > SHORT_BYTES_MAX {
            self.with(|outbound| outbound.admit(payload.len()))?;
            let message = own_stream_request(route, payload, timeout, Intent::Post);
            return Ok(Some(Box::pin(post_on_own_stream(Arc::clone(self), message, timeout, priority))));
        }
        self.with(|outbound| {
            outbound.admit(payload.len())?;
            outbound.lanes[priority as usize].post(route, payload).map(|()| None)
        })
    }

    /// Whether the peer has said that it takes nothing new.
    pub(crate) fn is_draining(&self) -> bool {
        self.with(|outbound| outbound.draining.load(Ordering::Relaxed))
    }

    /// The longest request that the peer takes, in bytes.
    pub(crate) fn message_bytes_max(&self) -> u64 {
        self.with(|outbound| outbound.limits.message_bytes)
    }
}

/// What goes over a stream of its own.
fn own_stream_request(route: u32, payload: &[u8], timeout: Duration, intent: Intent) -> Pieces {
    let mut bytes = Vec::with_capacity(payload.len() + OVERHEAD_BYTES_MAX);
    put_own_stream_head(route, payload.len(), timeout, intent, &mut bytes);
    bytes.extend_from_slice(payload);
    [bytes.into(), Bytes::new(), Bytes::new()]
}

fn put_own_stream_head(
    route: u32,
    payload_bytes: usize,
    timeout: Duration,
    intent: Intent,
    out: &mut Vec<u8>,
) {
    out.push(frame::STREAM_REQUEST);
    let deadline_ms = if intent == Intent::Post { 0 } else { super::lane::millis_up(timeout) };
    frame::put_request_head(&RequestHead { correlation: 0, route, deadline_ms, intent }, payload_bytes, out);
}

/// What a peer sent that makes no sense where it came.
pub(crate) fn unfit(what: &str) -> DeliveryError {
    let reason = format!("the peer sent {what}");
    DeliveryError::Codec { reason, delivery: Delivery::Unknown }
}

async fn on_own_stream(
    way: Arc<Way>,
    request: Pieces,
    timeout: Duration,
    priority: Priority,
) -> Result<Answered, DeliveryError> {
    // With the session of the moment at which it is first waited for.
    let place = way.own_stream()?;
    let outbound = Arc::clone(&place.0);
    // A task of its own takes the answer as it comes: one that nobody waits for would else keep what the connection
    // may have unread from all other streams.
    let exchanging = Exchanging(place.0.runtime.spawn(async move {
        let asked = Instant::now();
        let timed_out = |delivery| move |_| DeliveryError::TimedOut { after: timeout, delivery };
        let sendable = timeout_at(asked + timeout, outbound.sendable(bytes_of(&request)));
        let _in_progress = sendable.await.map_err(timed_out(Delivery::NotSent))?;
        let answered = timeout_at(asked + timeout, exchange(&outbound, request, priority))
            .await
            .map_err(timed_out(Delivery::Unknown))?;
        let took = asked.elapsed().as_micros() as u64;
        let mut latency = outbound.own_latency.lock().unwrap_or_else(PoisonError::into_inner);
        latency.get_or_insert_with(|| Box::new(new_histogram())).saturating_record(took);
        answered
    }));
    let (answered, _room) = exchanging.await?;
    Ok(answered)
}

/// A request on a stream of its own and its answer, with the room that it takes. Dropping it cancels the request.
struct Exchanging(JoinHandle<Result<(Answered, Option<Room>), DeliveryError>>);

impl Future for Exchanging {
    type Output = Result<(Answered, Option<Room>), DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = |ended: Result<_, JoinError>| {
            ended.unwrap_or_else(|_| {
                let reason = "the node has stopped".to_owned();
                Err(DeliveryError::SessionLost { reason, delivery: Delivery::Unknown })
            })
        };
        Pin::new(&mut self.0).poll(cx).map(ended)
    }
}

impl Drop for Exchanging {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Bytes in KiB, rounded up, as many as a semaphore can count.
fn kib(bytes: u64) -> u32 {
    bytes.div_ceil(1 << 10).clamp(1, 1 << 28) as u32
}

async fn post_on_own_stream(
    way: Arc<Way>,
    message: Pieces,
    timeout: Duration,
    priority: Priority,
) -> Result<(), DeliveryError> {
    let place = way.own_stream()?;
    // A stream that is dropped before its end is a message that was not sent.
    let sent = async {
        // Until it is written. What the peer holds after that is for the peer to bound: it stops a message for which it
        // has no room before the end of it, and nothing tells when the others are handled.
        let _on_its_way = place.0.sendable(bytes_of(&message)).await;
        place.0.send(message, priority).await
    };
    let (_, _no_answer, is_whole) = tokio::time::timeout(timeout, sent)
        .await
        .map_err(|_| DeliveryError::TimedOut { after: timeout, delivery: Delivery::NotSent })??;
    // A peer that stops a message before its end has no room for it.
    is_whole.then_some(()).ok_or(DeliveryError::Overloaded { retry_after: RETRY_AFTER })
}

/// A place for a request with a stream of its own.
struct OwnStream(Arc<Outbound>);

impl Drop for OwnStream {
    fn drop(&mut self) {
        self.0.own_streams.fetch_sub(1, Ordering::Relaxed);
        self.0.places.give();
    }
}

async fn exchange(
    outbound: &Outbound,
    request: Pieces,
    priority: Priority,
) -> Result<(Answered, Option<Room>), DeliveryError> {
    // A peer that stops the request has read enough to answer.
    let (_sent, mut recv, _is_whole) = outbound.send(request, priority).await?;
    let mut reader = FrameReader::new(outbound.message_bytes_max + OVERHEAD_BYTES_MAX);
    let (mut room, mut come) = (None, 0);
    loop {
        let chunk: Option<Bytes> =
            recv.read().await.map_err(|error| outbound.ended(error, Delivery::Unknown))?;
        let chunk = chunk.ok_or_else(|| unfit("no answer"))?;
        come += chunk.len();
        if come > SHORT_BYTES_MAX && !outbound.share.extend(&mut room, come) {
            return Err(no_room(come, Delivery::Unknown));
        }
        reader.feed(chunk);
        if let Some(frame) = reader.next_frame().map_err(|error| unfit(&error.to_string()))? {
            // Taking the end of the stream, where it has come already, spares telling the peer that the
            // rest is not wanted.
            let _end_or_later = recv.read().now_or_never();
            return match Frame::decode(frame) {
                Ok(Frame::Answer { correlation: 0, answer }) => Ok((answer, room)),
                Ok(_) => Err(unfit("something else than an answer")),
                Err(error) => Err(unfit(&error.to_string())),
            };
        }
    }
}
