//! The connection session actor: one for each peer. It owns the control stream and runs the state machine
//! in [`swarm_protocols::session`]; everything that it decides is decided there.

mod callee;
mod caller;
mod calls;
mod control;
mod dead_letters;
mod early;
mod lane;
mod outbox;
mod own_streams;
mod owner;
mod parked;
mod replies;
mod request_streams;
mod routes;
mod scratch;
mod turn;

pub(crate) use callee::{Inbound, InboundParts};
pub(crate) use caller::{Outbound, Posting, Way, WireBulk, WireCall};
pub(crate) use calls::{Sending, new_histogram};
use control::{ControlError, ControlInput, control_frames, write_control};
pub(crate) use dead_letters::{Addressee, DeadLetterOffice};
pub use dead_letters::{DeadLetter, DeadLetters};
pub(crate) use early::{early_answer, early_ask};
use outbox::Outbox;
pub(crate) use outbox::is_no_room;
#[cfg(test)]
pub(crate) use outbox::no_room;
pub(crate) use own_streams::unfit;
pub(crate) use owner::{
    Admission, ChangeRoutes, CheckSession, DrainSession, EndSession, JudgeSession, Opened, ProbeSession,
    RetireSession, SessionChange, SessionEvent,
};
pub(crate) use replies::{Answer, Batch, Form, Replies, permits, serve};
pub use routes::ExposeError;
pub(crate) use routes::{
    Arrival, Arrivals, ExposedRequest, Exposure, Handle, Handlers, Permission, Phase, Routes,
};
pub(crate) use scratch::with_scratch;
pub(crate) use turn::{COUNTED_MAX, turn_of};

use crate::{
    arbiters::Place,
    budget::Share,
    call::{CONTROL_PRIORITY, Caller},
    log_limit::limited,
    transport::{Link, Refusal, Shown, Stream},
};
use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, ResponseFuture,
    SpawnHandle, StreamHandler, WrapFuture,
};
use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use swarm_protocols::{
    peers::{SessionKey, Side},
    session::{Action, CloseCode, Session, Timing},
    wire::{
        control::{Control, Hello, Limits, RefuseCause},
        frame::{CONTROL_BYTES_MAX, STREAM_CONTROL},
    },
};
use tokio::{sync::oneshot, time::Instant};
use uuid::Uuid;

/// The longest time an ask waits: a year.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 86_400);

/// How long the last frames before a close may take to arrive.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);

/// How often the expiry of the peer's certificate is looked at, at least.
const EXPIRY_LOOK: Duration = Duration::from_secs(60);

/// How often a session that another one took over from is looked at.
const RETIRED_LOOK: Duration = Duration::from_millis(50);

/// How often it is looked whether calls wait for a peer that is not heard, at most.
const CALLS_LOOK_MIN: Duration = Duration::from_millis(1);

/// How much may wait on the control stream for a peer that does not read it, in bytes.
const UNSENT_BYTES_MAX: usize = CONTROL_BYTES_MAX;

/// Whether a session opened, and for what it was refused.
pub(crate) type Opening = Result<(), (Refusal, String)>;

/// What a session is made of.
pub(crate) struct SessionParts {
    /// How its owner knows it.
    pub(crate) key: SessionKey,
    pub(crate) side: Side,
    pub(crate) link: Arc<dyn Link>,
    pub(crate) local: Hello,
    pub(crate) peer: Caller,
    /// The certificates that both sides have shown; `None` for a connection in memory.
    pub(crate) shown: Option<Shown>,
    pub(crate) timing: Timing,
    pub(crate) handlers: Arc<Handlers>,
    /// What the node may hold for the peer.
    pub(crate) share: Arc<Share>,
    /// Told what happens to it.
    pub(crate) owner: Recipient<SessionEvent>,
    /// Told when the session is open and its owner knows of it, or why it did not open.
    pub(crate) opened: Option<oneshot::Sender<Opening>>,
}

/// The actor.
pub(crate) struct ConnectionSession {
    key: SessionKey,
    rule: Session,
    side: Side,
    link: Arc<dyn Link>,
    limits: Limits,
    /// The pause between two pings.
    heartbeat: Duration,
    frame_timeout: Duration,
    peer: Caller,
    shown: Option<Shown>,
    handlers: Arc<Handlers>,
    share: Arc<Share>,
    owner: Recipient<SessionEvent>,
    opened: Option<oneshot::Sender<Opening>>,
    outbox: Rc<RefCell<Outbox>>,
    control_open: bool,
    timer: Option<SpawnHandle>,
    round_trip: Arc<AtomicU64>,
    outbound: Option<Arc<Outbound>>,
    inbound: Option<Rc<Inbound>>,
    /// What this side asked is answered, and the peer was told so.
    done_here: bool,
    peer_drains: bool,
    /// Strangers were told that nobody is at the peer's address while the peer was there: a firewall may say so.
    refuses_strangers: bool,
    /// Who waits to hear whether the peer still answers.
    checking: Vec<oneshot::Sender<bool>>,
    ended: Option<(CloseCode, String)>,
    _place: Place,
}

impl ConnectionSession {
    /// It lives where it has its `place`.
    pub(crate) fn new(parts: SessionParts, place: Place) -> Self {
        let SessionParts { key, side, link, local, peer, shown, timing, handlers, share, owner, opened } =
            parts;
        let limits = local.limits;
        let now = Instant::now().into_std();
        let rule = match side {
            Side::Dialler => Session::dial(local, peer.node.clone(), timing, now),
            Side::Acceptor => Session::accept(local, peer.node.clone(), timing, now),
        };
        Self {
            key,
            rule,
            side,
            link,
            limits,
            heartbeat: timing.heartbeat,
            frame_timeout: timing.frame,
            peer,
            shown,
            handlers,
            share,
            owner,
            opened,
            outbox: Rc::default(),
            control_open: false,
            timer: None,
            round_trip: Arc::default(),
            outbound: None,
            inbound: None,
            done_here: false,
            peer_drains: false,
            refuses_strangers: false,
            checking: Vec::new(),
            ended: None,
            _place: place,
        }
    }

    fn control_stream(&mut self, stream: Stream, context: &mut Context<Self>) {
        self.control_open = true;
        let Stream { mut send, recv } = stream;
        send.set_priority(CONTROL_PRIORITY);
        if self.side == Side::Dialler {
            let mut outbox = self.outbox.borrow_mut();
            outbox.frames().insert(0, STREAM_CONTROL);
        }
        context.add_stream(control_frames(recv, self.side == Side::Acceptor));
        let written = write_control(send, Rc::clone(&self.outbox)).into_actor(self);
        context.spawn(written.map(|(), session, context| session.hang_up(context)));
    }

    /// Does what the rule says, and arranges to be called when it next wants to be.
    fn advance(&mut self, context: &mut Context<Self>) {
        while let Some(action) = self.rule.poll() {
            self.perform(action, context);
        }
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        if let Some(next) = self.rule.next_timeout() {
            let wait = next.saturating_duration_since(Instant::now().into_std());
            self.timer = Some(context.run_later(wait, |session, context| {
                session.rule.handle_timeout(Instant::now().into_std());
                session.advance(context);
            }));
        }
    }

    fn perform(&mut self, action: Action, context: &mut Context<Self>) {
        match action {
            Action::Send(control) => self.send(&control),
            Action::Admit { incarnation, .. } => self.tell_owner(SessionChange::Asked { incarnation }),
            Action::Open { session, peer } => self.open(session, &peer, context),
            Action::Routes(change) => self.tell_owner(SessionChange::PeerRoutes(change)),
            Action::RoundTrip(time) => {
                tracing::trace!(peer = %self.peer.node, ?time, "heartbeat");
                let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                // Zero stands for none yet.
                let before = self.round_trip.swap(micros.max(1), Ordering::Relaxed);
                if before == 0 && self.side == Side::Acceptor {
                    self.tell_owner(SessionChange::Confirmed);
                }
            }
            Action::PeerDrains => {
                self.peer_drains = true;
                self.tell_owner(SessionChange::PeerDrains);
            }
            Action::Answered => self.probed(true, SessionChange::Answered),
            Action::Unanswered => {
                self.probed(false, SessionChange::Unanswered);
                self.end_if_vacant(context);
            }
            Action::Close(code, reason) => self.end(code, reason, context),
        }
    }

    fn send(&mut self, control: &Control) {
        let mut outbox = self.outbox.borrow_mut();
        let overfull = outbox.frames().len() > UNSENT_BYTES_MAX;
        if overfull {
            self.rule
                .close(CloseCode::ProtocolViolation, "the peer does not read its control stream".to_owned());
        } else if let Err(error) = control.encode(outbox.frames()) {
            self.rule.close(CloseCode::ProtocolViolation, error.to_string());
        }
    }

    fn probed(&mut self, answered: bool, change: SessionChange) {
        self.tell_owner(change);
        for waiting in self.checking.drain(..) {
            let _left = waiting.send(answered);
        }
    }

    /// Notes what a stranger is told of the peer's address while the peer is there.
    fn ask_as_stranger(&self, context: &mut Context<Self>) {
        let vacant = self.link.is_vacant().into_actor(self);
        context.spawn(vacant.map(|vacant, session, _| session.refuses_strangers = vacant));
    }

    /// Ends the session where the peer's process is gone: a stranger is told now that nobody is there, and was not before.
    /// One that is only held up is waited for until it is silent for too long.
    fn end_if_vacant(&self, context: &mut Context<Self>) {
        let vacant = self.link.is_vacant().into_actor(self);
        context.spawn(vacant.map(|vacant, session, context| {
            if vacant && !session.refuses_strangers {
                session.rule.close(CloseCode::Silent, "nothing listens at the peer's address".to_owned());
                session.advance(context);
            }
        }));
    }

    fn tell_owner(&self, change: SessionChange) {
        self.owner.do_send(SessionEvent { session: self.key, change });
    }

    fn open(&mut self, session: Uuid, peer: &Hello, context: &mut Context<Self>) {
        self.ask_as_stranger(context);
        let message_bytes_max = self.limits.message_bytes as usize;
        let share = Arc::clone(&self.share);
        let outbound = Outbound::new(Arc::clone(&self.link), peer.limits, message_bytes_max, share);
        let inbound = Inbound::new(InboundParts {
            phase: Phase::Open,
            link: Arc::clone(&self.link),
            caller: self.peer.clone(),
            handlers: Arc::clone(&self.handlers),
            limits: self.limits,
            answer_bytes_max: peer.limits.message_bytes,
            frame_timeout: self.frame_timeout,
            share: Arc::clone(&self.share),
            received: Received::default(),
        });
        // A task of its own, which costs the actor nothing at every stream; it ends with the connection.
        let serving = actix_rt::spawn(Rc::clone(&inbound).run()).into_actor(self);
        context.spawn(serving.map(|ended, session, context| {
            let reason = ended.map_or_else(|panicked| panicked.to_string(), |error| error.to_string());
            session.rule.close(CloseCode::Done, reason);
            session.advance(context);
        }));
        let dialled = self.opened.take();
        self.tell_owner(SessionChange::Opened(Box::new(Opened {
            id: session,
            hello: peer.clone(),
            outbound: Arc::clone(&outbound),
            received: inbound.received(),
            round_trip: Arc::clone(&self.round_trip),
            dialled,
        })));
        let (asked, served) = (Arc::clone(&outbound), Rc::clone(&inbound));
        context.run_interval((self.heartbeat / 4).max(CALLS_LOOK_MIN), move |session, context| {
            served.tidy();
            if !asked.is_idle() {
                session.rule.expect(Instant::now().into_std());
                session.advance(context);
            }
        });
        (self.outbound, self.inbound) = (Some(outbound), Some(inbound));
    }

    fn end(&mut self, code: CloseCode, reason: String, context: &mut Context<Self>) {
        if let Some(outbound) = &self.outbound {
            outbound.lose(&reason);
        }
        self.ended = Some((code, reason));
        self.outbox.borrow_mut().end();
        if let Some(inbound) = &self.inbound {
            inbound.refuse();
        }
        // A peer that is gone gets no last words, and one that may not be here gets no time to use.
        if !self.control_open || matches!(code, CloseCode::Silent | CloseCode::BadCertificate) {
            self.hang_up(context);
        } else {
            // A peer that does not read would put the end off for ever.
            context.run_later(FAREWELL, Self::hang_up);
        }
    }

    /// Ends the session when the peer's certificate expires. The wall clock decides, because it may be set or the
    /// machine may sleep.
    fn watch_expiry(&mut self, context: &mut Context<Self>) {
        let Some(shown) = &self.shown else { return };
        let now = SystemTime::now();
        let certificate = &shown.peer.peer;
        match certificate.check(now) {
            Err(expired) => self.refuse(expired.to_string(), context),
            Ok(()) => {
                let last = certificate.valid_until + Duration::from_secs(1);
                let left = last.duration_since(now).unwrap_or_default() + Duration::from_millis(1);
                context.run_later(left.min(EXPIRY_LOOK), Self::watch_expiry);
            }
        }
    }

    /// Ends the session because of the peer's certificate.
    fn refuse(&mut self, reason: String, context: &mut Context<Self>) {
        limited!(warn, "a session is ended", peer = %self.peer.node, reason);
        let ending = self.ended.is_some();
        self.rule.close(CloseCode::BadCertificate, reason);
        self.advance(context);
        if ending {
            // It had time for its last words, and now it has not.
            self.hang_up(context);
        }
    }

    fn hang_up(&mut self, context: &mut Context<Self>) {
        let (code, reason) =
            self.ended.get_or_insert((CloseCode::Done, "the control stream ended".to_owned()));
        self.link.close(*code, reason);
        context.stop();
    }
}

impl Actor for ConnectionSession {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (link, side) = (Arc::clone(&self.link), self.side);
        let stream = async move {
            match side {
                Side::Dialler => link.open().await,
                Side::Acceptor => link.accept().await,
            }
        };
        context.spawn(stream.into_actor(self).map(|stream, session, context| {
            match stream {
                Ok(stream) => session.control_stream(stream, context),
                Err(error) => session.rule.close(CloseCode::Done, error.to_string()),
            }
            session.advance(context);
        }));
        self.advance(context);
        self.watch_expiry(context);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let (code, reason) =
            self.ended.take().unwrap_or((CloseCode::Done, "the node has stopped".to_owned()));
        if let Some(outbound) = &self.outbound {
            outbound.lose(&reason);
        }
        self.link.close(CloseCode::Done, &reason);
        if let Some(opened) = self.opened.take() {
            let refusal = match self.rule.refused() {
                Some(RefuseCause::Unavailable) => (Refusal::Busy, reason.clone()),
                Some(_) => (Refusal::Session, reason.clone()),
                None if code == CloseCode::BadCertificate => (Refusal::Certificate, reason.clone()),
                // The acceptor judges the dialler's certificate after the dialler is through with its own part: then
                // the close of the connection says what was wrong.
                None => self.link.refusal().unwrap_or_else(|| (Refusal::Session, reason.clone())),
            };
            let _left = opened.send(Err(refusal));
        }
        self.tell_owner(SessionChange::Closed { reason });
    }
}

impl StreamHandler<ControlInput> for ConnectionSession {
    fn handle(&mut self, input: ControlInput, context: &mut Self::Context) {
        match input {
            Ok(control) => self.rule.handle(control, Instant::now().into_std()),
            Err(ControlError::Lost(reason)) => self.rule.close(CloseCode::Done, reason),
            Err(ControlError::Violation(reason)) => self.rule.close(CloseCode::ProtocolViolation, reason),
        }
        self.advance(context);
    }

    /// The peer sends nothing more, so it is about to close the connection, and to say why.
    fn finished(&mut self, context: &mut Self::Context) {
        context.run_later(2 * FAREWELL, |session, context| {
            session.rule.close(CloseCode::Done, "the peer ended the session".to_owned());
            session.advance(context);
        });
    }
}

impl Handler<Admission> for ConnectionSession {
    type Result = ();

    fn handle(&mut self, Admission(answer): Admission, context: &mut Self::Context) {
        match answer {
            Ok(id) => self.rule.admit(id, Instant::now().into_std()),
            Err((cause, reason)) => self.rule.refuse(cause, reason),
        }
        self.advance(context);
    }
}

impl Handler<ProbeSession> for ConnectionSession {
    type Result = ();

    fn handle(&mut self, _: ProbeSession, context: &mut Self::Context) {
        self.rule.probe(Instant::now().into_std());
        self.advance(context);
    }
}

impl Handler<CheckSession> for ConnectionSession {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, _: CheckSession, context: &mut Self::Context) -> Self::Result {
        let is_fresh = self.ended.is_none() && self.rule.check(Instant::now().into_std());
        if is_fresh || self.ended.is_some() {
            return Box::pin(std::future::ready(is_fresh));
        }
        let (waiting, answered) = oneshot::channel();
        self.checking.push(waiting);
        self.advance(context);
        Box::pin(async move { answered.await.unwrap_or(false) })
    }
}

impl Handler<ChangeRoutes> for ConnectionSession {
    type Result = ();

    fn handle(&mut self, ChangeRoutes(change): ChangeRoutes, context: &mut Self::Context) {
        self.rule.change_routes(change);
        self.advance(context);
    }
}

impl Handler<EndSession> for ConnectionSession {
    type Result = ();

    fn handle(&mut self, EndSession(code, reason): EndSession, context: &mut Self::Context) {
        self.rule.close(code, reason);
        self.advance(context);
    }
}

impl Handler<JudgeSession> for ConnectionSession {
    type Result = ();

    fn handle(&mut self, JudgeSession(identity): JudgeSession, context: &mut Self::Context) {
        let Some(shown) = &self.shown else { return };
        if let Err(reason) = identity.judge(&shown.peer, SystemTime::now()) {
            self.refuse(reason, context);
        }
    }
}

impl Handler<RetireSession> for ConnectionSession {
    type Result = ();

    fn handle(&mut self, _: RetireSession, context: &mut Self::Context) {
        self.end_when_answered(context);
    }
}

impl ConnectionSession {
    /// Nothing more is asked here, on either side. Who has all its answers says that it drains; when both have said
    /// so, nothing is in flight, and the side that dialled hangs up.
    fn end_when_answered(&mut self, context: &mut Context<Self>) {
        if self.ended.is_some() {
            return;
        }
        if !self.done_here && self.outbound.as_ref().is_none_or(|outbound| outbound.is_idle()) {
            self.done_here = true;
            self.rule.drain();
            self.advance(context);
        }
        if self.done_here && self.peer_drains && self.side == Side::Dialler {
            self.rule.close(CloseCode::Done, "another session took over".to_owned());
            return self.advance(context);
        }
        context.run_later(RETIRED_LOOK, Self::end_when_answered);
    }
}

impl Handler<DrainSession> for ConnectionSession {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: DrainSession, context: &mut Self::Context) -> Self::Result {
        self.rule.drain();
        self.advance(context);
        let inbound = self.inbound.clone();
        Box::pin(async move {
            if let Some(inbound) = inbound {
                inbound.drain().await;
            }
        })
    }
}

/// What a session has received; shared with the bridge.
pub(crate) type Received = Arc<Counts>;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// How many requests and messages.
    pub(crate) requests: AtomicU64,
    /// How many of them were posted and could not be accepted.
    pub(crate) dropped: AtomicU64,
}

#[cfg(test)]
mod tests;
