//! Serving requests of another node: the callee's side of a session.

mod gathered;
mod input;

pub(super) use self::gathered::Came;
use self::{
    gathered::{GATHERED_MAX, Gathered, To},
    input::{Fault, Input},
};
use super::{
    FAREWELL, Received,
    parked::{Parked, Waiting},
    replies::{Replies, Unfit},
    request_streams::RequestStreams,
    routes::{Arrival, Arrivals, Handlers, Phase},
};
use crate::{
    budget::{SHORT_BYTES_MAX, Share},
    call::{CallKey, Caller, Priority},
    gate::{Gate, RETRY_AFTER},
    log_limit::limited,
    transport::{self, Link, LinkError, SendHalf, Stream},
    workers::HERE_BYTES_MAX,
};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, poll_immediate},
};
use std::{
    cell::Cell,
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use swarm_protocols::{
    DeliveryError,
    session::CloseCode,
    wire::{
        control::Limits,
        frame::{self, Frame, FrameReader, Intent, OVERHEAD_BYTES_MAX, RequestHead},
    },
};
use tokio::{sync::watch, task::yield_now, time::Instant};

/// The most lanes that a peer may have open at once.
const LANES_MAX: usize = 16;

/// How many answers may wait for a peer that does not take them before its requests wait too, in bytes.
const UNSENT_BYTES_MAX: usize = 4 << 20;

/// The callee's side of one session. Lives on its arbiter.
pub(crate) struct Inbound {
    phase: Phase,
    link: Arc<dyn Link>,
    caller: Arc<Caller>,
    handlers: Arc<Handlers>,
    limits: Limits,
    answer_bytes_max: u64,
    frame_timeout: Duration,
    in_flight: Arc<Gate>,
    received: Received,
    draining: Cell<bool>,
    closing: watch::Sender<bool>,
    /// Those that have a task: lanes, and requests and answers that take long.
    streams: Arc<Gate>,
    lanes: Arc<Gate>,
    streams_allowed: Cell<u32>,
    /// The answers to requests with a stream each.
    replies: Arc<Replies>,
    /// What the node holds for this peer.
    share: Arc<Share>,
}

/// What an [`Inbound`] is made of.
pub(crate) struct InboundParts {
    /// What streams it serves: those of early data, or those of an open session.
    pub(crate) phase: Phase,
    pub(crate) link: Arc<dyn Link>,
    pub(crate) caller: Caller,
    pub(crate) handlers: Arc<Handlers>,
    /// What this node accepts.
    pub(crate) limits: Limits,
    /// The longest answer that the caller accepts, in bytes.
    pub(crate) answer_bytes_max: u64,
    pub(crate) frame_timeout: Duration,
    /// What the node may hold for the caller.
    pub(crate) share: Arc<Share>,
    /// Counts the requests that come in.
    pub(crate) received: Received,
}

impl Inbound {
    pub(crate) fn new(parts: InboundParts) -> Rc<Self> {
        let InboundParts { phase, link, caller, handlers, limits, .. } = parts;
        let InboundParts { answer_bytes_max, frame_timeout, share, received, .. } = parts;
        let (caller, streams) = (Arc::new(caller), Gate::new(usize::MAX));
        let request_streams = Some(RequestStreams::new(&streams, frame_timeout, &share));
        let dead_letters = &handlers.dead_letters;
        let replies =
            Replies::new(&caller, answer_bytes_max, request_streams, &received, dead_letters, &share);
        Rc::new(Self {
            phase,
            link,
            caller,
            handlers,
            limits,
            answer_bytes_max,
            frame_timeout,
            in_flight: Gate::new(limits.in_flight as usize),
            received,
            draining: Cell::new(false),
            closing: watch::Sender::new(false),
            streams,
            lanes: Gate::new(LANES_MAX),
            streams_allowed: Cell::new(transport::STREAMS_MIN),
            replies,
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
        if let Some(arrived) = self.replies.with_streams(RequestStreams::arrived) {
            arrived.await;
        }
    }

    /// Refuses new requests from now on.
    pub(crate) fn refuse(&self) {
        self.draining.set(true);
    }

    /// The next stream of its phase.
    fn accept(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        match self.phase {
            Phase::Handshake => self.link.accept_early(),
            Phase::Open => self.link.accept(),
        }
    }

    /// Whether a stream of this kind carries one request. An early one that is not read before the session is open is
    /// like any other.
    fn carries_request(&self, kind: u8) -> bool {
        kind == frame::STREAM_EARLY || kind == frame::STREAM_REQUEST && self.phase == Phase::Open
    }

    /// Serves the streams of its phase until that or the connection ends, and says why it did.
    pub(crate) async fn run(self: Rc<Self>) -> LinkError {
        // The answers to early requests go on when no more of those come.
        let _wanted = (self.phase == Phase::Open).then(|| Wanted(Arc::clone(&self.replies)));
        let (mut accepting, mut begun) = (self.accept(), Vec::new());
        loop {
            let accepted = if begun.is_empty() {
                accepting.as_mut().await
            } else if let Some(accepted) = poll_immediate(accepting.as_mut()).await {
                // QUIC bounds how many there are at once.
                accepted
            } else {
                self.allow_more_streams();
                // Most requests are answered then, and need no watch on their caller.
                yield_now().await;
                begun.drain(..).flatten().for_each(|key| self.watch(key));
                continue;
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    begun.drain(..).flatten().for_each(|key| self.watch(key));
                    return error;
                }
            };
            accepting = self.accept();
            begun.push(self.begin(stream));
        }
    }

    fn allow_more_streams(&self) {
        let open = self.streams.inside() + self.replies.with_streams(|streams| streams.len()).unwrap_or(0);
        if let Some(allowed) = transport::more_streams(open as u32, self.streams_allowed.get()) {
            self.streams_allowed.set(allowed);
            self.link.allow_streams(allowed);
        }
    }

    /// Forgets what is kept of requests whose answers have arrived.
    pub(super) fn tidy(&self) {
        self.replies.with_streams(RequestStreams::tidy);
    }

    /// Begins to serve a stream. One on which a request has come whole needs no task.
    fn begin(self: &Rc<Self>, Stream { send, recv }: Stream) -> Option<CallKey> {
        let reader = FrameReader::new(self.limits.message_bytes as usize + OVERHEAD_BYTES_MAX);
        let mut input = Input { recv, kind: None, reader, inbound: Rc::clone(self), room: None };
        let begun = match input.request_now() {
            Ok(Some(frame)) => self.begin_request(send, input, frame),
            Ok(None) => {
                // Counted until it is done, also where serving it panics. QUIC bounds how many there are.
                let counted = self.streams.enter();
                let inbound = Rc::clone(self);
                actix_rt::spawn(async move {
                    let _counted = counted;
                    if let Err(fault) = inbound.serve_stream(send, input).await {
                        inbound.give_up(fault);
                    }
                });
                return None;
            }
            Err(Fault::Refused(error)) => {
                self.refuse_request(send, input, error);
                return None;
            }
            Err(fault) => Err(fault),
        };
        begun.unwrap_or_else(|fault| {
            self.give_up(fault);
            None
        })
    }

    fn give_up(&self, fault: Fault) {
        match fault {
            Fault::Violation(reason) => {
                limited!(warn, "the peer broke the protocol", peer = %self.caller.node, reason);
                self.link.close(CloseCode::ProtocolViolation, &reason);
            }
            Fault::Refused(error) => {
                tracing::debug!(peer = %self.caller.node, %error, "a lane is given up");
            }
            Fault::Gone => {}
        }
    }

    /// Lets those know who work on a request with a stream when nobody waits for the answer any more.
    fn watch(&self, key: CallKey) {
        if let Some(stopped) = self.replies.stopped(key) {
            let replies = Arc::clone(&self.replies);
            actix_rt::spawn(stopped.map(move |()| replies.abandon(key)));
        }
    }

    /// What comes of `work`, or nothing where a drain is through with all requests before.
    async fn unless_closing<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            biased;
            done = work => Some(done),
            _ = closing.wait_for(|closing| *closing) => None,
        }
    }

    async fn serve_stream(&self, mut send: Box<dyn SendHalf>, mut input: Input) -> Result<(), Fault> {
        if input.kind.is_none() {
            let Some(head) = self.unless_closing(input.head(1)).await else { return Ok(()) };
            input.kind = head?.map(|head| head[0]);
        }
        match input.kind {
            Some(kind) if self.carries_request(kind) => self.serve_request(send, input).await,
            Some(frame::STREAM_LANE) if self.phase == Phase::Open => {
                let Some(class) = self.unless_closing(input.head(1)).await else { return Ok(()) };
                let Some(class) = class? else { return Ok(()) };
                let Some(_lane) = self.lanes.enter() else {
                    return Err(Fault::Violation(format!("more than {LANES_MAX} lanes")));
                };
                let priority = Priority::of_class(class[0]);
                send.set_priority(priority.of_stream());
                // Boxed, so that the many streams of one request each do not carry its size.
                Box::pin(self.serve_lane(send, input, priority)).await
            }
            Some(other) => Err(Fault::Violation(match self.phase {
                Phase::Handshake => format!("a stream of kind {other} in early data"),
                Phase::Open => format!("a stream of unknown kind {other}"),
            })),
            None => Ok(()),
        }
    }

    async fn serve_lane(
        &self,
        mut send: Box<dyn SendHalf>,
        mut input: Input,
        priority: Priority,
    ) -> Result<(), Fault> {
        let (dead_letters, received) = (&self.handlers.dead_letters, &self.received);
        let (caller, bytes_max) = (&self.caller, self.answer_bytes_max);
        let replies = Wanted(Replies::new(caller, bytes_max, None, received, dead_letters, &self.share));
        let unwanted = send.stopped();
        tokio::select! {
            result = self.serve_requests(&mut input, &replies.0, priority) => result,
            _lost = write(send, &replies.0) => Ok(()),
            // The peer wants no answers, or the connection is lost: nobody waits for what is in progress.
            () = unwanted => Ok(()),
        }
    }

    async fn serve_requests(
        &self,
        input: &mut Input,
        replies: &Arc<Replies>,
        priority: Priority,
    ) -> Result<(), Fault> {
        let (mut ended, mut closing) = (false, self.closing.subscribe());
        // Where the peer takes no answers its requests wait here, while what it cancels is read.
        let mut parked = Parked::new(&self.share, self.limits.in_flight);
        loop {
            let (came, mut gathered) = (Came { at: Instant::now(), priority }, Gathered::default());
            while !replies.is_crowded(UNSENT_BYTES_MAX)
                && let Some(Waiting { head, payload, came, cancelled }) = parked.pop()
            {
                match cancelled {
                    true => replies.cancelled_before(head.correlation),
                    false => drop(self.start(&mut gathered, head, payload, came, replies, None)?),
                }
            }
            // Whether the answers are taken shows only when all before have been begun.
            gathered.hand_over();
            let crowded = !parked.is_empty() || replies.is_crowded(UNSENT_BYTES_MAX);
            while !parked.is_full() {
                if !crowded && let Some((head, payload)) = input.reader.next_ask() {
                    self.start_ask(&mut gathered, head, payload, came, replies)?;
                    continue;
                }
                let Some(frame) = input.next_frame()? else { break };
                match Frame::decode(frame)? {
                    Frame::Request { head, payload } if crowded => parked.push(head, &payload, came),
                    Frame::Request { head, payload } => {
                        self.start(&mut gathered, head, payload, came, replies, None)?;
                    }
                    Frame::Cancel { correlation } if parked.cancel(correlation) => {}
                    Frame::Cancel { correlation } => replies.cancel(correlation),
                    Frame::Answer { .. } | Frame::Part { .. } => {
                        return Err(Fault::Violation("an answer to no request".to_owned()));
                    }
                }
            }
            gathered.hand_over();
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

    /// Begins to handle a plain ask of a lane; without a second look-up where the one before took the same route. The
    /// place of one that cannot begin goes back with the group.
    #[inline(always)]
    fn start_ask(
        &self,
        gathered: &mut Gathered,
        head: RequestHead,
        payload: Bytes,
        came: Came,
        replies: &Arc<Replies>,
    ) -> Result<(), Fault> {
        let RequestHead { correlation, route, deadline_ms, .. } = head;
        if let Some((To { route: last, told: false, post: false, alone: false, .. }, _, arrivals)) =
            &mut gathered.0
            && *last == route
            && payload.len() <= SHORT_BYTES_MAX
            && !self.draining.get()
            && arrivals.places.enter()
        {
            self.received.requests.fetch_add(1, Ordering::Relaxed);
            let key = replies.begin(correlation, None).map_err(|unfit| unfit.fault(correlation))?;
            let deadline = came.deadline(deadline_ms);
            arrivals.requests.push_back(Arrival {
                key: Some(key),
                on_behalf_of: None,
                deadline,
                payload,
                room: None,
            });
            if arrivals.requests.len() >= GATHERED_MAX {
                gathered.hand_over();
            }
            return Ok(());
        }
        self.start(gathered, head, payload, came, replies, None).map(drop)
    }

    /// Begins to handle a request, which may have a stream for its answer: it is gathered with others, for whom it is
    /// then to be [handed over](Gathered::hand_over). One that cannot be is answered at once, and counted where nobody
    /// wants an answer.
    fn start(
        &self,
        gathered: &mut Gathered,
        head: RequestHead,
        payload: Bytes,
        came: Came,
        replies: &Arc<Replies>,
        stream: Option<Box<dyn SendHalf>>,
    ) -> Result<Option<CallKey>, Fault> {
        self.received.requests.fetch_add(1, Ordering::Relaxed);
        let RequestHead { correlation, route, deadline_ms, intent } = head;
        let (told, post) = (intent == Intent::Tell, intent == Intent::Post);
        let key = match post {
            true => None,
            false => Some(replies.begin(correlation, stream).map_err(|unfit| unfit.fault(correlation))?),
        };
        let deadline = if told || post { None } else { came.deadline(deadline_ms) };
        // What is asked for others is judged one by one, and what is long is decoded elsewhere.
        let alone = matches!(intent, Intent::AskFor(_)) || payload.len() > HERE_BYTES_MAX;
        let to = To { route, told, post, priority: came.priority, alone };
        let arrival = Arrival { key, on_behalf_of: None, deadline, payload, room: None };
        if let Err(error) = self.gather(gathered, to, intent, arrival, replies) {
            let addressee = if post { self.handlers.addressee(route) } else { None };
            replies.refuse(key, addressee.as_deref(), &error);
        }
        Ok(key)
    }

    /// Adds a request to those that are handed over with it, where there is a place and room for it, and hands them over
    /// where it is alone or they are many.
    fn gather(
        &self,
        gathered: &mut Gathered,
        to: To,
        intent: Intent,
        mut arrival: Arrival,
        replies: &Arc<Replies>,
    ) -> Result<(), DeliveryError> {
        if self.draining.get() {
            return Err(DeliveryError::Draining);
        }
        let arrivals = match &mut gathered.0 {
            Some((last, _, arrivals)) if *last == to && !to.alone => arrivals,
            _ => {
                gathered.hand_over();
                let handler = self.handlers.handler(to.route, &self.caller, &intent, self.phase);
                let handler = handler.inspect_err(|error| self.note(error))?;
                let arrivals = Arrivals {
                    told: to.told,
                    addressee: if to.post { self.handlers.addressee(to.route) } else { None },
                    priority: to.priority,
                    places: self.in_flight.enter_many(0),
                    replies: Arc::clone(replies),
                    requests: VecDeque::with_capacity(if to.alone { 1 } else { GATHERED_MAX / 4 }),
                };
                &mut gathered.0.insert((to, handler, arrivals)).2
            }
        };
        let overloaded = DeliveryError::Overloaded { retry_after: RETRY_AFTER };
        if !arrivals.places.enter() {
            return Err(overloaded);
        }
        let bytes = arrival.payload.len();
        if bytes > SHORT_BYTES_MAX {
            let Some(room) = self.share.take(bytes) else {
                arrivals.places.leave(1);
                return Err(overloaded);
            };
            arrival.room = Some(Box::new(room));
        }
        arrival.on_behalf_of = intent.principal().map(Box::new);
        arrivals.requests.push_back(arrival);
        if to.alone || arrivals.requests.len() >= GATHERED_MAX {
            gathered.hand_over();
        }
        Ok(())
    }

    /// Writes down what the caller may not do, though not without end.
    fn note(&self, error: &DeliveryError) {
        if matches!(error, DeliveryError::NotPermitted { .. }) {
            let Caller { node, role } = &*self.caller;
            limited!(warn, "a request was refused", audit, %node, %role, %error);
        }
    }

    async fn serve_request(&self, send: Box<dyn SendHalf>, mut input: Input) -> Result<(), Fault> {
        // In a drain nobody waits for a request that is not there yet.
        let Some(frame) = self.unless_closing(input.only_frame()).await else { return Ok(()) };
        let begun = match frame {
            Ok(Some(frame)) => self.begin_request(send, input, frame)?,
            Ok(None) => None,
            Err(Fault::Refused(error)) => {
                self.refuse_request(send, input, error);
                None
            }
            Err(fault) => return Err(fault),
        };
        begun.into_iter().for_each(|key| self.watch(key));
        Ok(())
    }

    /// Begins to handle the request of a stream.
    fn begin_request(
        &self,
        mut send: Box<dyn SendHalf>,
        input: Input,
        frame: Bytes,
    ) -> Result<Option<CallKey>, Fault> {
        let Frame::Request { head, payload } = Frame::decode(frame)? else {
            return Err(Fault::Violation("a request stream without a request".to_owned()));
        };
        if self.phase == Phase::Handshake && head.intent != Intent::Ask {
            return Err(Fault::Violation("something else than a request in early data".to_owned()));
        }
        input.end();
        let stream = match head.intent {
            Intent::Post => {
                send.finish();
                None
            }
            _ => Some(send),
        };
        // A request stream says nothing of its priority.
        let came = Came { at: Instant::now(), priority: Priority::Normal };
        self.start(&mut Gathered::default(), head, payload, came, &self.replies, stream)
    }

    /// Answers a request of which the rest is not wanted.
    fn refuse_request(&self, mut send: Box<dyn SendHalf>, input: Input, error: DeliveryError) {
        self.received.requests.fetch_add(1, Ordering::Relaxed);
        if input.reader.begins_post() {
            send.finish();
            self.replies.refuse(None, None, &error);
        } else if let Ok(key) = self.replies.begin(0, Some(send)) {
            self.replies.refuse(Some(key), None, &error);
        }
    }
}

/// Answers that somebody takes, until this is dropped.
struct Wanted(Arc<Replies>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Unfit {
    /// What comes of it for the stream of a request of this number.
    #[cold]
    fn fault(self, correlation: u64) -> Fault {
        match self {
            Self::Duplicate => {
                Fault::Violation(format!("two requests with the number {correlation} at once"))
            }
            Self::Closed => Fault::Gone,
        }
    }
}

async fn write(send: Box<dyn SendHalf>, replies: &Replies) -> Result<(), LinkError> {
    replies.attach(send);
    while let (bytes, Some(mut send)) = poll_fn(|cx| replies.poll_take(cx)).await {
        let Some(bytes) = bytes else {
            finish(send).await;
            break;
        };
        send.write(bytes).await?;
        replies.attach(send);
    }
    Ok(())
}

/// Ends the stream and waits until all of it has arrived, as closing the connection would cut it off.
pub(crate) async fn finish(mut send: Box<dyn SendHalf>) {
    send.finish();
    let _arrived = tokio::time::timeout(FAREWELL, send.stopped()).await;
}
