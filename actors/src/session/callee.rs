//! Serving requests of another node: the callee's side of a session.

use super::{
    FAREWELL, Received,
    parked::{Parked, Waiting},
    replies::{Duplicate, Replies},
    routes::{Arrival, Routes},
};
use crate::{
    budget::{Room, SHORT_BYTES_MAX, Share},
    call::{Caller, Priority},
    gate::{Gate, Permit, RETRY_AFTER},
    log_limit::limited,
    transport::{self, Link, LinkError, RecvHalf, SendHalf, Stream},
};
use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};
use swarm_protocols::{
    DeliveryError,
    session::CloseCode,
    wire::{
        control::Limits,
        frame::{self, Frame, FrameError, FrameReader, Intent, OVERHEAD_BYTES_MAX, RequestHead},
    },
};
use tokio::{sync::watch, time::Instant};

/// The most lanes that a peer may have open at once.
const LANES_MAX: usize = 16;

/// How many answers may wait for a peer that does not take them before its requests wait too, in bytes.
const UNSENT_BYTES_MAX: usize = 4 << 20;

/// How much of a long answer is written at once: a peer that takes so much in time is waited for.
const PIECE_BYTES: usize = 64 << 10;

/// The callee's side of one session. Lives on the arbiter of the bridge.
pub(crate) struct Inbound {
    link: Arc<dyn Link>,
    caller: Arc<Caller>,
    routes: Rc<Routes>,
    limits: Limits,
    answer_bytes_max: u64,
    frame_timeout: Duration,
    in_flight: Arc<Gate>,
    received: Received,
    draining: Cell<bool>,
    closing: watch::Sender<bool>,
    streams: Arc<Gate>,
    lanes: Arc<Gate>,
    streams_allowed: Cell<u32>,
    /// What the node holds for this peer.
    share: Arc<Share>,
}

/// What an [`Inbound`] is made of.
pub(crate) struct InboundParts {
    pub(crate) link: Arc<dyn Link>,
    pub(crate) caller: Caller,
    pub(crate) routes: Rc<Routes>,
    /// What this node accepts.
    pub(crate) limits: Limits,
    /// The longest answer that the caller accepts, in bytes.
    pub(crate) answer_bytes_max: u64,
    pub(crate) frame_timeout: Duration,
    /// What the node may hold for the caller.
    pub(crate) share: Arc<Share>,
}

impl Inbound {
    pub(crate) fn new(parts: InboundParts) -> Rc<Self> {
        let InboundParts { link, caller, routes, limits, answer_bytes_max, frame_timeout, share } = parts;
        Rc::new(Self {
            link,
            caller: Arc::new(caller),
            routes,
            limits,
            answer_bytes_max,
            frame_timeout,
            in_flight: Gate::new(limits.in_flight as usize),
            received: Received::default(),
            draining: Cell::new(false),
            closing: watch::Sender::new(false),
            streams: Gate::new(usize::MAX),
            lanes: Gate::new(LANES_MAX),
            streams_allowed: Cell::new(transport::STREAMS_MIN),
            share,
        })
    }

    /// Counts the requests that come in.
    pub(crate) fn received(&self) -> Received {
        Arc::clone(&self.received)
    }

    /// Refuses new requests from now on; completes when the answers to those in progress have arrived.
    pub(crate) async fn drain(&self) {
        self.refuse();
        self.in_flight.empty().await;
        self.closing.send_replace(true);
        self.streams.empty().await;
    }

    /// Refuses new requests from now on.
    pub(crate) fn refuse(&self) {
        self.draining.set(true);
    }

    /// Serves streams until the connection ends, and says why it did.
    pub(crate) async fn run(self: Rc<Self>) -> LinkError {
        loop {
            let stream = match self.link.accept().await {
                Ok(stream) => stream,
                Err(error) => return error,
            };
            // Counted until it is done, also where serving it panics. QUIC bounds how many there are.
            let counted = self.streams.enter();
            self.allow_more_streams();
            actix_rt::spawn(Rc::clone(&self).serve_stream(stream, counted));
        }
    }

    fn allow_more_streams(&self) {
        if let Some(allowed) =
            transport::more_streams(self.streams.inside() as u32, self.streams_allowed.get())
        {
            self.streams_allowed.set(allowed);
            self.link.allow_streams(allowed);
        }
    }

    async fn serve_stream(self: Rc<Self>, stream: Stream, _counted: Option<Permit>) {
        match self.dispatch(stream).await {
            Err(Fault::Violation(reason)) => {
                limited!(warn, "the peer broke the protocol", peer = %self.caller.node, reason);
                self.link.close(CloseCode::ProtocolViolation, &reason);
            }
            Err(Fault::Refused(error)) => {
                tracing::debug!(peer = %self.caller.node, %error, "a lane is given up");
            }
            Ok(()) | Err(Fault::Gone) => {}
        }
    }

    async fn dispatch(&self, Stream { mut send, recv }: Stream) -> Result<(), Fault> {
        let limit = self.limits.message_bytes as usize + OVERHEAD_BYTES_MAX;
        let mut input = Input { recv, reader: FrameReader::new(limit), inbound: self, room: None };
        match input.head(1).await?.as_deref() {
            Some([frame::STREAM_LANE]) => {
                let Some(class) = input.head(1).await? else { return Ok(()) };
                let Some(_lane) = self.lanes.enter() else {
                    return Err(Fault::Violation(format!("more than {LANES_MAX} lanes")));
                };
                let priority = Priority::of_class(class[0]);
                send.set_priority(-(priority as i32));
                // Boxed, so that the many streams of one request each do not carry its size.
                Box::pin(self.serve_lane(send, input, priority)).await
            }
            Some([frame::STREAM_REQUEST]) => self.serve_request(send, input).await,
            Some(other) => Err(Fault::Violation(format!("a stream of unknown kind {other:?}"))),
            None => Ok(()),
        }
    }

    async fn serve_lane(
        &self,
        mut send: Box<dyn SendHalf>,
        mut input: Input<'_>,
        priority: Priority,
    ) -> Result<(), Fault> {
        let replies = Wanted(self.replies(true));
        let unwanted = send.stopped();
        tokio::select! {
            result = self.serve_requests(&mut input, &replies.0, priority) => result,
            _lost = write(send, &replies.0) => Ok(()),
            // The peer wants no answers, or the connection is lost: nobody waits for what is in progress.
            () = unwanted => Ok(()),
        }
    }

    fn replies(&self, in_pieces: bool) -> Arc<Replies> {
        let dead_letters = &self.routes.dead_letters;
        let (caller, received, share) = (&self.caller, &self.received, &self.share);
        Replies::new(caller, self.answer_bytes_max, in_pieces, received, dead_letters, share)
    }

    async fn serve_requests(
        &self,
        input: &mut Input<'_>,
        replies: &Arc<Replies>,
        priority: Priority,
    ) -> Result<(), Fault> {
        let (mut ended, mut closing) = (false, self.closing.subscribe());
        // Where the peer takes no answers its requests wait here, while what it cancels is read.
        let mut parked = Parked::new(&self.share, self.limits.in_flight);
        loop {
            let came = Came { at: Instant::now(), priority };
            while !replies.is_crowded(UNSENT_BYTES_MAX)
                && let Some(Waiting { head, payload, came, cancelled }) = parked.pop()
            {
                match cancelled {
                    true => replies.refuse(head.correlation, &DeliveryError::Cancelled),
                    false => self.start(head, payload, came, replies)?,
                }
            }
            let crowded = !parked.is_empty() || replies.is_crowded(UNSENT_BYTES_MAX);
            while !parked.is_full()
                && let Some(frame) = input.next_frame()?
            {
                match Frame::decode(frame)? {
                    Frame::Request { head, payload } if crowded => parked.push(head, &payload, came),
                    Frame::Request { head, payload } => self.start(head, payload, came, replies)?,
                    Frame::Cancel { correlation } if parked.cancel(correlation) => {}
                    Frame::Cancel { correlation } => replies.cancel(correlation),
                    Frame::Answer { .. } | Frame::Part { .. } => {
                        return Err(Fault::Violation("an answer to no request".to_owned()));
                    }
                }
            }
            if ended && parked.is_empty() {
                // The answers that are still to come end the stream behind them.
                replies.end();
                return std::future::pending().await;
            }
            tokio::select! {
                biased;
                chunk = input.read(), if !ended && !parked.is_full() => match chunk? {
                    Some(chunk) => input.reader.feed(chunk),
                    None => ended = true,
                },
                () = poll_fn(|cx| replies.poll_eased(UNSENT_BYTES_MAX, cx)), if crowded => {}
                _ = closing.wait_for(|closing| *closing), if !ended => ended = true,
            }
        }
    }

    /// Begins to handle a request. One that cannot be is answered at once, and counted where nobody wants an answer.
    fn start(
        &self,
        head: RequestHead,
        payload: Bytes,
        Came { at, priority }: Came,
        replies: &Arc<Replies>,
    ) -> Result<(), Fault> {
        self.received.requests.fetch_add(1, Ordering::Relaxed);
        let RequestHead { correlation, route, deadline_ms, intent } = head;
        let post = intent == Intent::Post;
        let addressee = if post { self.routes.addressee(route) } else { None };
        let admitted = self.admit(payload.len()).and_then(|permit| {
            let handler = self.routes.handler(route, &self.caller, &intent);
            Ok((permit, handler.inspect_err(|error| self.note(error))?))
        });
        let (permit, handler) = match admitted {
            Ok(admitted) => admitted,
            Err(error) if post => {
                replies.drop_post(addressee.as_deref(), &error);
                return Ok(());
            }
            Err(error) => {
                replies.refuse(correlation, &error);
                return Ok(());
            }
        };
        let twice =
            |Duplicate| Fault::Violation(format!("two requests with the number {correlation} at once"));
        let key = (!post).then(|| replies.begin(correlation).map_err(twice)).transpose()?;
        let told = intent == Intent::Tell;
        let deadline =
            (deadline_ms > 0 && !told && !post).then(|| at + Duration::from_millis(deadline_ms.min(1 << 40)));
        let on_behalf_of = intent.principal().map(Box::new);
        let replies = Arc::clone(replies);
        let arrival = Arrival {
            key,
            told,
            addressee: addressee.clone(),
            on_behalf_of,
            deadline,
            priority,
            permit,
            payload,
            replies: Arc::clone(&replies),
        };
        match (handler.start(arrival), key) {
            (Ok(()), _) => {}
            (Err(error), Some(key)) => replies.answer(key, Err(error), &mut Vec::new()),
            (Err(error), None) => replies.drop_post(addressee.as_deref(), &error),
        }
        Ok(())
    }

    /// A place for a request of so many bytes, with room for them.
    fn admit(&self, bytes: usize) -> Result<Permit, DeliveryError> {
        if self.draining.get() {
            return Err(DeliveryError::Draining);
        }
        let overloaded = DeliveryError::Overloaded { retry_after: RETRY_AFTER };
        let Some(permit) = self.in_flight.enter() else { return Err(overloaded) };
        if bytes <= SHORT_BYTES_MAX {
            return Ok(permit);
        }
        self.share.take(bytes).map(|room| permit.with(room)).ok_or(overloaded)
    }

    /// Writes down what the caller may not do, though not without end.
    fn note(&self, error: &DeliveryError) {
        if matches!(error, DeliveryError::NotPermitted { .. }) {
            let Caller { node, role } = &*self.caller;
            limited!(warn, "a request was refused", audit, %node, %role, %error);
        }
    }

    async fn serve_request(&self, mut send: Box<dyn SendHalf>, mut input: Input<'_>) -> Result<(), Fault> {
        // A request stream says nothing of its priority; its answer goes with those of normal lanes.
        let priority = Priority::Normal;
        send.set_priority(-(priority as i32));
        let replies = Wanted(self.replies(false));
        match input.only_frame().await {
            Ok(Some(frame)) => {
                let Frame::Request { head, payload } = Frame::decode(frame)? else {
                    return Err(Fault::Violation("a request stream without a request".to_owned()));
                };
                input.end();
                self.start(head, payload, Came { at: Instant::now(), priority }, &replies.0)?;
            }
            Ok(None) => return Ok(()),
            Err(Fault::Refused(error)) => {
                self.received.requests.fetch_add(1, Ordering::Relaxed);
                match input.reader.begins_post() {
                    true => replies.0.drop_post(None, &error),
                    false => replies.0.refuse(0, &error),
                }
                // What is left of the request is not wanted.
                drop(input);
            }
            Err(fault) => return Err(fault),
        }
        replies.0.end();
        let answer = match answered_in_a_turn(&replies.0).await {
            Some(answer) => answer,
            None => {
                let stopped = send.stopped();
                tokio::select! {
                    biased;
                    answer = poll_fn(|cx| replies.0.poll_take(cx)) => answer,
                    // Nobody waits for it.
                    () = stopped => return Ok(()),
                }
            }
        };
        self.answer_request(send, answer.unwrap_or_default()).await
    }

    /// Writes the answer on a request stream, if there is one, and gives up a peer that takes nothing of it in time.
    async fn answer_request(&self, mut send: Box<dyn SendHalf>, mut answer: Bytes) -> Result<(), Fault> {
        if answer.is_empty() {
            send.finish();
            return Ok(());
        }
        while !answer.is_empty() {
            let piece = answer.split_to(answer.len().min(PIECE_BYTES));
            let Ok(written) = tokio::time::timeout(self.frame_timeout, send.write(piece)).await else {
                return Ok(());
            };
            written?;
        }
        finish(send).await;
        Ok(())
    }
}

/// Answers that somebody takes, until this is dropped.
struct Wanted(Arc<Replies>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// When a request came, and with which priority.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came {
    at: Instant,
    priority: Priority,
}

/// Lets the actor run once, and yields what it answered if it did. Most have, and need no watch on the peer.
async fn answered_in_a_turn(replies: &Replies) -> Option<Option<Bytes>> {
    let mut waited = false;
    poll_fn(|cx| match replies.poll_take(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if waited => Poll::Ready(None),
        Poll::Pending => {
            waited = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

async fn write(mut send: Box<dyn SendHalf>, replies: &Replies) -> Result<(), LinkError> {
    while let Some(bytes) = poll_fn(|cx| replies.poll_take(cx)).await {
        send.write(bytes).await?;
    }
    finish(send).await;
    Ok(())
}

/// Ends the stream and waits until all of it has arrived, as closing the connection would cut it off.
pub(crate) async fn finish(mut send: Box<dyn SendHalf>) {
    send.finish();
    let _arrived = tokio::time::timeout(FAREWELL, send.stopped()).await;
}

/// Why a stream is served no longer.
enum Fault {
    /// The peer broke the rules of the wire. It costs it the connection.
    Violation(String),
    /// The request cannot be taken. It costs the caller that request, or the lane on which it came.
    Refused(DeliveryError),
    /// The peer abandoned the stream, or the connection is lost.
    Gone,
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        Self::Violation(error.to_string())
    }
}

impl From<LinkError> for Fault {
    fn from(_: LinkError) -> Self {
        Self::Gone
    }
}

/// The receiving half of a stream, cut into frames, with a bound on how long the peer may pause within one and how much
/// it may keep unfinished.
struct Input<'a> {
    recv: Box<dyn RecvHalf>,
    reader: FrameReader,
    inbound: &'a Inbound,
    /// What an unfinished frame takes, where it is long.
    room: Option<Room>,
}

impl Input<'_> {
    /// The first bytes of the stream, before its frames; `None` where it ends before them.
    async fn head(&mut self, length: usize) -> Result<Option<Bytes>, Fault> {
        let within = self.inbound.frame_timeout;
        let deadline = Instant::now() + within;
        let mut chunk = self.reader.take_chunk();
        while chunk.is_empty() {
            chunk = match tokio::time::timeout_at(deadline, self.recv.read()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    return Err(Fault::Violation(format!("a stream without a first byte for {within:?}")));
                }
            };
        }
        let head = chunk.copy_to_bytes(length);
        self.reader.feed(chunk);
        Ok(Some(head))
    }

    fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.reader.next_frame()? {
                // It takes room of its own where it is long.
                self.room = None;
                return Ok(Some(frame));
            }
            let Some(chunk) = self.recv.next_ready() else { return Ok(None) };
            self.reader.feed(chunk);
        }
    }

    /// The next chunk; `None` where the peer ended or reset the stream.
    async fn read(&mut self) -> Result<Option<Bytes>, Fault> {
        let partial = self.reader.partial_bytes();
        self.make_room(partial)?;
        let within = self.inbound.frame_timeout;
        let chunk = match partial {
            0 => self.recv.read().await,
            // However long the frame is, it may take its time as long as it comes on.
            _ => match tokio::time::timeout(within, self.recv.read()).await {
                Ok(chunk) => chunk,
                Err(_) => return Err(Fault::Violation(format!("a frame came no further for {within:?}"))),
            },
        };
        match chunk {
            Ok(Some(chunk)) => Ok(Some(chunk)),
            Ok(None) => Ok(self.reader.finish().map(|()| None)?),
            // What came before the reset counts, but for a frame that was begun.
            Err(LinkError::StreamAbandoned) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The one frame of a request stream.
    async fn only_frame(&mut self) -> Result<Option<Bytes>, Fault> {
        let limit = self.inbound.limits.message_bytes;
        loop {
            match self.next_frame() {
                Ok(Some(frame)) => return Ok(Some(frame)),
                Ok(None) => {}
                Err(FrameError::TooLong { bytes, .. }) => {
                    return Err(Fault::Refused(DeliveryError::TooLarge { bytes, limit }));
                }
                Err(error) => return Err(error.into()),
            }
            match self.read().await? {
                Some(chunk) => self.reader.feed(chunk),
                None => return Ok(None),
            }
        }
    }

    /// Drops it. Where the end of the stream has come already that is taken first: else the peer would
    /// be told that the rest is not wanted.
    fn end(mut self) {
        let _end_or_later = self.recv.read().now_or_never();
    }

    /// Room for so many bytes of an unfinished frame.
    fn make_room(&mut self, partial: usize) -> Result<(), Fault> {
        if partial <= SHORT_BYTES_MAX {
            self.room = None;
            return Ok(());
        }
        match self.inbound.share.extend(&mut self.room, partial) {
            true => Ok(()),
            false => Err(Fault::Refused(DeliveryError::Overloaded { retry_after: RETRY_AFTER })),
        }
    }
}
