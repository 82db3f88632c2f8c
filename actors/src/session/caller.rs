//! The caller's side of a session: requests to another node, on lanes and on streams of their own.

use super::{
    calls::{BulkCalls, Numbered, PendingCall, Places, Sending},
    lane::{Lane, LaneEnd},
    own_streams::{Exchanges, OwnStreams, Pieces},
};
use crate::{
    budget::{SHORT_BYTES_MAX, Share},
    call::Priority,
    transport::Link,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hdrhistogram::Histogram;
use std::{
    collections::VecDeque,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use swarm_protocols::{
    Delivery, DeliveryError,
    wire::{
        control::Limits,
        frame::{self, Answered, Intent, OVERHEAD_BYTES_MAX, RequestHead},
    },
};

/// One lane for each [`Priority`].
const LANES: usize = 3;

/// The most requests in flight, whatever the peer would accept.
const IN_FLIGHT_MAX: u32 = 1 << 16;

/// The caller's side of one session.
pub(crate) struct Outbound {
    link: Arc<dyn Link>,
    lanes: [Arc<Lane>; LANES],
    own: Arc<OwnStreams>,
    limits: Limits,
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
        let lane = |priority| {
            let (link, places, share) = (Arc::clone(&link), Arc::clone(&places), Arc::clone(&share));
            Lane::new(link, LaneEnd::new(priority), places, share, message_bytes_max)
        };
        let exchanges = Exchanges::new(limits.message_bytes);
        Arc::new(Self {
            lanes: [lane(Priority::High), lane(Priority::Normal), lane(Priority::Low)],
            own: OwnStreams::new(Arc::clone(&link), exchanges, places, share, message_bytes_max),
            link,
            limits,
            lost: OnceLock::new(),
            draining: AtomicBool::new(false),
        })
    }

    /// Ends everything that is in flight.
    pub(crate) fn lose(&self, reason: &str) {
        // The first reason counts.
        let _first = self.lost.set(reason.to_owned());
        self.lanes.iter().for_each(|lane| lane.lose(reason));
        self.own.lose(reason);
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
        self.own.sent() + self.lanes.iter().map(|lane| lane.sent()).sum::<u64>()
    }

    /// Moves what is known of how long answers took, in microseconds, into `into`.
    pub(crate) fn take_latency(&self, into: &mut Histogram<u32>) {
        self.lanes.iter().for_each(|lane| lane.take_latency(into));
        self.own.take_latency(into);
    }

    /// Whether every request was answered, also those that were given up.
    pub(crate) fn is_idle(&self) -> bool {
        self.own.is_idle() && self.lanes.iter().all(|lane| lane.is_idle())
    }

    /// Whether the peer takes a request of so many bytes.
    #[inline]
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
}

/// A message on its way to a stream of its own.
pub(crate) type Posting = BoxFuture<'static, Result<(), DeliveryError>>;

/// A request to another node that has no answer yet. Dropping it cancels the request.
pub(crate) enum WireCall {
    Refused(Option<DeliveryError>),
    Lane(PendingCall<LaneEnd>),
    Own(PendingCall<Exchanges>),
}

impl Future for WireCall {
    type Output = Result<Answered, DeliveryError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Refused(error) => {
                Poll::Ready(Err(error.take().expect("a future is not polled after it is ready")))
            }
            Self::Lane(call) => Pin::new(call).poll(cx),
            Self::Own(call) => Pin::new(call).poll(cx),
        }
    }
}

/// Requests to another node of one who asks many. Dropping it cancels them.
#[derive(Default)]
pub(crate) struct WireBulk {
    /// On the lanes of the sessions that have carried them, the one that was used last being the last.
    lanes: Vec<BulkCalls<LaneEnd>>,
    ended: VecDeque<Numbered>,
}

impl WireBulk {
    /// The requests on this lane.
    fn on(&mut self, lane: &Arc<Lane>) -> &mut BulkCalls<LaneEnd> {
        let known = self.lanes.iter().rposition(|bulk| Arc::ptr_eq(&bulk.calls, lane));
        let index = known.unwrap_or_else(|| {
            self.lanes.push(BulkCalls::new(Arc::clone(lane)));
            self.lanes.len() - 1
        });
        &mut self.lanes[index]
    }

    /// The next one that has ended; `None` where there is none any more.
    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<Numbered>> {
        let Self { lanes, ended } = self;
        if ended.is_empty() {
            lanes.iter_mut().filter(|bulk| bulk.waiting() > 0).for_each(|bulk| bulk.take(ended, cx));
        }
        if let Some(numbered) = ended.pop_front() {
            return Poll::Ready(Some(numbered));
        }
        // The last one is likely to be used again.
        let last = lanes.pop();
        lanes.retain(|bulk| bulk.waiting() > 0);
        lanes.extend(last);
        if lanes.iter().any(|bulk| bulk.waiting() > 0) { Poll::Pending } else { Poll::Ready(None) }
    }
}

impl Way {
    /// Asks in bulk; `None` where the request needs a stream of its own.
    pub(crate) fn call_in_bulk(
        &self,
        bulk: &mut WireBulk,
        number: u64,
        route: u32,
        payload: &[u8],
        Sending { timeout, priority, own_stream }: Sending,
    ) -> Option<Result<(), DeliveryError>> {
        if own_stream || payload.len() > SHORT_BYTES_MAX {
            return None;
        }
        Some(self.with(|outbound| {
            outbound.admit(payload.len())?;
            Lane::call_in_bulk(bulk.on(&outbound.lanes[priority as usize]), number, route, payload, timeout)
        }))
    }

    /// Asks for what `route` stands for at the peer. Takes the `payload` where it is long, and is not to be copied.
    #[inline]
    pub(crate) fn call(
        &self,
        route: u32,
        payload: &mut Vec<u8>,
        sending: Sending,
        intent: Intent,
    ) -> WireCall {
        if payload.len() > SHORT_BYTES_MAX {
            return self.call_shared(route, &taken(payload), &Bytes::new(), sending, intent);
        }
        self.call_short(route, payload, sending, intent)
    }

    #[inline]
    fn call_short(&self, route: u32, payload: &[u8], sending: Sending, intent: Intent) -> WireCall {
        let Sending { timeout, priority, own_stream } = sending;
        let started = self.with(|outbound| {
            outbound.admit(payload.len())?;
            if own_stream {
                let request = own_stream_request(route, payload, timeout, intent);
                return outbound.own.call(request, sending).map(WireCall::Own);
            }
            outbound.lanes[priority as usize].call(route, payload, timeout, intent).map(WireCall::Lane)
        });
        started.unwrap_or_else(|error| WireCall::Refused(Some(error)))
    }

    /// The same for a payload that others share, `content` being the rest of it: what is long is not copied.
    pub(crate) fn call_shared(
        &self,
        route: u32,
        payload: &Bytes,
        content: &Bytes,
        sending: Sending,
        intent: Intent,
    ) -> WireCall {
        let bytes = payload.len() + content.len();
        if !sending.own_stream && bytes <= SHORT_BYTES_MAX {
            return match content.is_empty() {
                true => self.call_short(route, payload, sending, intent),
                false => self.call_short(route, &[&payload[..], content].concat(), sending, intent),
            };
        }
        let head = own_stream_head(route, bytes, sending.timeout, intent);
        let request = [head, payload.clone(), content.clone()];
        let started = self.with(|outbound| {
            outbound.admit(bytes)?;
            outbound.own.call(request, sending)
        });
        started.map_or_else(|error| WireCall::Refused(Some(error)), WireCall::Own)
    }

    /// Hands over a message that is not answered. On a lane that is done at once; a stream of its own has to be
    /// opened, and takes the bytes as the peer does.
    pub(crate) fn post(
        &self,
        route: u32,
        payload: &mut Vec<u8>,
        sending: Sending,
    ) -> Result<Option<Posting>, DeliveryError> {
        let Sending { timeout, priority, own_stream } = sending;
        self.with(|outbound| {
            outbound.admit(payload.len())?;
            if own_stream || payload.len() > SHORT_BYTES_MAX {
                let head = own_stream_head(route, payload.len(), timeout, Intent::Post);
                let message = [head, taken(payload), Bytes::new()];
                return Ok(Some(Box::pin(outbound.own.post()?.send(message, sending)) as Posting));
            }
            outbound.lanes[priority as usize].post(route, payload).map(|()| None)
        })
    }

    /// Whether its session has ended, and no other one took over.
    pub(crate) fn is_lost(&self) -> bool {
        self.with(Outbound::is_lost)
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

/// What is in a buffer, with no more than its own memory.
fn taken(buffer: &mut Vec<u8>) -> Bytes {
    buffer.shrink_to_fit();
    std::mem::take(buffer).into()
}

/// What goes over a stream of its own.
fn own_stream_request(route: u32, payload: &[u8], timeout: Duration, intent: Intent) -> Pieces {
    let mut bytes = Vec::with_capacity(payload.len() + OVERHEAD_BYTES_MAX);
    put_own_stream_head(route, payload.len(), timeout, intent, &mut bytes);
    bytes.extend_from_slice(payload);
    // So that it needs no more than its own memory to be shared.
    bytes.shrink_to_fit();
    [bytes.into(), Bytes::new(), Bytes::new()]
}

/// The same without the payload, which has so many bytes and has to follow.
fn own_stream_head(route: u32, payload_bytes: usize, timeout: Duration, intent: Intent) -> Bytes {
    let mut head = Vec::with_capacity(OVERHEAD_BYTES_MAX);
    put_own_stream_head(route, payload_bytes, timeout, intent, &mut head);
    head.into()
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
