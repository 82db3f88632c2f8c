//! The rule of a connection session: handshake, heartbeat, routes, drain, end.
//!
//! Sans-IO: the actor around it feeds the frames of the control stream and the time, and does what
//! [`Session::poll`] says. Nothing here reads a clock or sends a byte.
//!
//! ```text
//! dialler   AwaitingWelcome ──welcome──▶ Open ──drain/end──▶ Closed
//! acceptor  AwaitingHello ──hello──▶ AwaitingAdmission ──admit──▶ Open ──▶ Closed
//! ```

use crate::{
    NodeId,
    wire::control::{
        CAPABILITIES_MAX, Control, Hello, ROUTES_MAX, Refuse, RefuseCause, Route, RouteChange, WIRE_VERSIONS,
        Welcome,
    },
};
use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};
use uuid::Uuid;

/// How long a session waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The longest handshake.
    pub handshake: Duration,
    /// The pause between two pings.
    pub heartbeat: Duration,
    /// The longest silence of a peer before it counts as lost; more than one heartbeat.
    pub silence: Duration,
    /// The longest time between the first byte of a frame of a request and its last one.
    pub frame: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            heartbeat: Duration::from_secs(2),
            silence: Duration::from_secs(10),
            frame: Duration::from_secs(30),
        }
    }
}

/// Why a session ended. The numbers are the application error codes of QUIC's CONNECTION_CLOSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseCode {
    /// Both sides were done.
    Done = 0,
    /// The peer broke a rule of the wire.
    ProtocolViolation = 1,
    /// The handshake took too long.
    HandshakeTimeout = 2,
    /// The peer was silent for too long.
    Silent = 3,
    /// The acceptor refused the session, or the dialler was refused.
    Refused = 4,
    /// Another incarnation of the same node took over, and this one had not answered.
    Superseded = 5,
    /// The peer's certificate does not allow a session.
    BadCertificate = 6,
}

impl CloseCode {
    /// The code with this number.
    pub fn from_number(number: u64) -> Option<Self> {
        [
            Self::Done,
            Self::ProtocolViolation,
            Self::HandshakeTimeout,
            Self::Silent,
            Self::Refused,
            Self::Superseded,
            Self::BadCertificate,
        ]
        .into_iter()
        .find(|code| *code as u64 == number)
    }
}

/// What the actor around it has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this frame on the control stream.
    Send(Control),
    /// A valid hello came: decide with [`Session::admit`] or [`Session::refuse`].
    Admit {
        /// The node that wants a session.
        node: NodeId,
        /// Its incarnation.
        incarnation: u64,
    },
    /// The session is open: requests may go both ways.
    Open {
        /// Its id.
        session: Uuid,
        /// What the peer said of itself.
        peer: Box<Hello>,
    },
    /// The peer's routes changed.
    Routes(RouteChange),
    /// A ping came back after this long.
    RoundTrip(Duration),
    /// The peer has answered a [probe](Session::probe).
    Answered,
    /// The peer has not answered a [probe](Session::probe) in time.
    Unanswered,
    /// The peer takes no new requests.
    PeerDrains,
    /// Close the connection with this code and reason, after what was to be sent before it. It is
    /// the last action.
    Close(CloseCode, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    AwaitingHello,
    AwaitingAdmission,
    AwaitingWelcome,
    Open,
    Closed,
}

/// One session with one peer.
///
/// Nothing is dispatched, and no route of the peer is believed, before the state is open.
#[derive(Debug)]
pub struct Session {
    local: Hello,
    peer_id: NodeId,
    timing: Timing,
    state: State,
    peer: Option<Box<Hello>>,
    peer_routes: BTreeSet<u32>,
    highest_route: Option<u32>,
    heard: Instant,
    deadline: Instant,
    ping: Option<(u64, Instant)>,
    pings: u64,
    /// The first ping whose answer, or one to a later ping, shows that the peer lives, and until when.
    probe: Option<(u64, Instant)>,
    deferred: Vec<RouteChange>,
    refused: Option<RefuseCause>,
    actions: VecDeque<Action>,
}

impl Session {
    /// The dialler's side; `peer` is the id in the certificate of the node that was reached.
    pub fn dial(local: Hello, peer: NodeId, timing: Timing, now: Instant) -> Self {
        let hello = Action::Send(Control::Hello(local.clone()));
        let mut session = Self::new(local, peer, timing, State::AwaitingWelcome, now);
        session.actions.push_back(hello);
        session
    }

    /// The acceptor's side; `peer` is the id in the certificate of the node that dialled.
    pub fn accept(local: Hello, peer: NodeId, timing: Timing, now: Instant) -> Self {
        Self::new(local, peer, timing, State::AwaitingHello, now)
    }

    fn new(local: Hello, peer_id: NodeId, timing: Timing, state: State, now: Instant) -> Self {
        debug_assert!(timing.silence > timing.heartbeat);
        Self {
            local,
            peer_id,
            timing,
            state,
            peer: None,
            peer_routes: BTreeSet::new(),
            highest_route: None,
            heard: now,
            deadline: now + timing.handshake,
            ping: None,
            pings: 0,
            probe: None,
            deferred: Vec::new(),
            refused: None,
            actions: VecDeque::new(),
        }
    }

    /// What to do next; `None` until something happens.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` once the session is closed.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Open => Some(self.due()),
            _ => Some(self.deadline),
        }
    }

    /// What is to be looked at next in an open session: the next ping, the peer's silence, or a probe.
    fn due(&self) -> Instant {
        let due = self.deadline.min(self.heard + self.timing.silence);
        self.probe.map_or(due, |(_, until)| due.min(until))
    }

    /// Takes a frame of the control stream.
    pub fn handle(&mut self, control: Control, now: Instant) {
        self.heard = now;
        match (self.state, control) {
            (State::Closed, _) => {}
            (State::AwaitingHello, Control::Hello(hello)) => self.hello(hello),
            (State::AwaitingWelcome, Control::Welcome(welcome)) => self.welcome(welcome, now),
            (State::AwaitingWelcome, Control::Refuse(refuse)) => {
                self.refused = Some(refuse.cause);
                self.close(CloseCode::Refused, crate::printable(&refuse.reason));
            }
            (State::Open, Control::Routes(change)) => self.routes(change),
            (State::Open, Control::Ping(number)) => {
                self.actions.push_back(Action::Send(Control::Pong(number)));
            }
            (State::Open, Control::Pong(number)) => self.pong(number, now),
            (State::Open, Control::Drain) => self.actions.push_back(Action::PeerDrains),
            (state, control) => {
                let name = control.name();
                self.close(CloseCode::ProtocolViolation, format!("{name} came while {}", state.name()));
            }
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Closed => {}
            State::Open => {
                let silence = now.saturating_duration_since(self.heard);
                if now.saturating_duration_since(self.due()) >= self.timing.heartbeat {
                    // This side slept: what the peer sent meanwhile has not been looked at yet.
                    self.heard = now;
                    if self.probe.take().is_some() {
                        self.probe(now);
                    } else {
                        self.send_ping(now);
                    }
                } else if silence >= self.timing.silence {
                    self.close(CloseCode::Silent, format!("nothing was heard for {silence:.1?}"));
                } else {
                    if self.probe.take_if(|(_, until)| now >= *until).is_some() {
                        self.actions.push_back(Action::Unanswered);
                    }
                    if now >= self.deadline {
                        self.send_ping(now);
                    }
                }
            }
            state if now >= self.deadline => {
                let reason = format!("the handshake took over {:?}, {}", self.timing.handshake, state.name());
                self.close(CloseCode::HandshakeTimeout, reason);
            }
            _ => {}
        }
    }

    /// The actor admits the peer that [`Action::Admit`] named, under a fresh session id.
    pub fn admit(&mut self, session: Uuid, now: Instant) {
        let (State::AwaitingAdmission, Some(peer)) = (self.state, self.peer.clone()) else { return };
        let Some((wire_version, codec)) = agree(&self.local, &peer) else { return };
        let welcome = Welcome { session, wire_version, codec, hello: self.local.clone() };
        self.actions.push_back(Action::Send(Control::Welcome(welcome)));
        self.open(session, peer, now);
    }

    /// Finds out whether the peer still answers: [`Action::Answered`] or, after a quarter of the time of a handshake,
    /// [`Action::Unanswered`]. A session that is just opening was asked for a moment ago, which is an answer.
    pub fn probe(&mut self, now: Instant) {
        match self.state {
            State::Closed => {}
            State::Open if self.probe.is_some() => {}
            State::Open => {
                self.send_ping(now);
                self.probe = Some((self.pings, now + self.timing.handshake / 4));
            }
            _ => self.actions.push_back(Action::Answered),
        }
    }

    /// Whether the peer was heard in the last heartbeat; else it is [probed](Self::probe), as a peer that lives is heard
    /// that often.
    pub fn check(&mut self, now: Instant) -> bool {
        let is_fresh = now.saturating_duration_since(self.heard) <= self.timing.heartbeat;
        if !is_fresh {
            self.probe(now);
        }
        is_fresh
    }

    /// Something is asked of the peer: it is [probed](Self::probe) where nothing was heard of it for half a heartbeat.
    pub fn expect(&mut self, now: Instant) {
        if now.saturating_duration_since(self.heard) > self.timing.heartbeat / 2 {
            self.probe(now);
        }
    }

    /// What the peer refused the session for, if it did.
    pub fn refused(&self) -> Option<RefuseCause> {
        self.refused
    }

    /// The actor does not admit it.
    pub fn refuse(&mut self, cause: RefuseCause, reason: String) {
        if matches!(self.state, State::AwaitingHello | State::AwaitingAdmission) {
            let refuse = Refuse { cause, reason: reason.clone() };
            self.actions.push_back(Action::Send(Control::Refuse(refuse)));
            self.close(CloseCode::Refused, reason);
        }
    }

    /// Announces own routes that came or went: in what this side says of itself where it has not
    /// said that yet, else in a frame of their own as soon as the session is open.
    pub fn change_routes(&mut self, change: RouteChange) {
        match self.state {
            State::Closed => {}
            State::AwaitingHello | State::AwaitingAdmission => {
                self.local.routes.retain(|route| !change.removed.contains(&route.id));
                self.local.routes.extend(change.added);
            }
            State::AwaitingWelcome => self.deferred.push(change),
            State::Open => self.actions.push_back(Action::Send(Control::Routes(change))),
        }
    }

    /// Tells the peer that no new requests are taken.
    pub fn drain(&mut self) {
        if self.state == State::Open {
            self.actions.push_back(Action::Send(Control::Drain));
        }
    }

    /// Ends the session, in any state; later calls do nothing.
    pub fn close(&mut self, code: CloseCode, reason: String) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.actions.push_back(Action::Close(code, reason));
        }
    }

    fn hello(&mut self, hello: Hello) {
        if hello.node != self.peer_id {
            let reason = format!("the certificate is that of {}, the hello of {}", self.peer_id, hello.node);
            return self.refuse(RefuseCause::WrongIdentity, reason);
        }
        if let Err(reason) = check(&hello) {
            return self.refuse(RefuseCause::Malformed, reason);
        }
        if agree(&self.local, &hello).is_none() {
            let (low, high) = self.local.wire_versions;
            let reason =
                format!("wire versions {low} to {high} and codecs {:?} are spoken here", self.local.codecs);
            return self.refuse(RefuseCause::Incompatible, reason);
        }
        self.state = State::AwaitingAdmission;
        self.actions.push_back(Action::Admit { node: hello.node.clone(), incarnation: hello.incarnation });
        self.peer = Some(Box::new(hello));
    }

    fn welcome(&mut self, welcome: Welcome, now: Instant) {
        let Welcome { session, wire_version, codec, hello } = welcome;
        let fault = if hello.node != self.peer_id {
            Some(format!("the certificate is that of {}, the welcome of {}", self.peer_id, hello.node))
        } else if agree(&hello, &self.local) != Some((wire_version, codec)) {
            Some(format!("the welcome chose wire version {wire_version} and codec {codec}"))
        } else {
            check(&hello).err()
        };
        match fault {
            Some(reason) => self.close(CloseCode::ProtocolViolation, reason),
            None => self.open(session, Box::new(hello), now),
        }
    }

    fn open(&mut self, session: Uuid, peer: Box<Hello>, now: Instant) {
        self.state = State::Open;
        self.peer_routes = peer.routes.iter().map(|route| route.id).collect();
        self.highest_route = self.peer_routes.last().copied();
        self.actions.push_back(Action::Open { session, peer });
        let deferred = std::mem::take(&mut self.deferred);
        self.actions.extend(deferred.into_iter().map(|change| Action::Send(Control::Routes(change))));
        self.send_ping(now);
    }

    fn send_ping(&mut self, now: Instant) {
        self.pings += 1;
        self.ping = Some((self.pings, now));
        self.deadline = now + self.timing.heartbeat;
        self.actions.push_back(Action::Send(Control::Ping(self.pings)));
    }

    fn pong(&mut self, number: u64, now: Instant) {
        if self.probe.take_if(|(ping, _)| number >= *ping && number <= self.pings).is_some() {
            self.actions.push_back(Action::Answered);
        }
        match self.ping {
            Some((sent, at)) if sent == number => {
                self.ping = None;
                self.actions.push_back(Action::RoundTrip(now.saturating_duration_since(at)));
            }
            _ if number <= self.pings => {}
            _ => self.close(CloseCode::ProtocolViolation, format!("pong {number} answers no ping")),
        }
    }

    fn routes(&mut self, change: RouteChange) {
        let mut fault = check_routes(&change.added).err();
        for route in &change.added {
            if self.highest_route >= Some(route.id) {
                fault = Some(format!("route {} was given before", route.id));
            }
            self.peer_routes.insert(route.id);
        }
        self.highest_route = self.highest_route.max(change.added.iter().map(|route| route.id).max());
        for id in &change.removed {
            if !self.peer_routes.remove(id) {
                fault = Some(format!("route {id} is removed and was not there"));
            }
        }
        if self.peer_routes.len() > ROUTES_MAX {
            fault = Some(format!("more than {ROUTES_MAX} routes"));
        }
        match fault {
            Some(reason) => self.close(CloseCode::ProtocolViolation, reason),
            None => self.actions.push_back(Action::Routes(change)),
        }
    }
}

/// The highest common version of the wire, and the first of the acceptor's codecs that the dialler
/// speaks too.
fn agree(acceptor: &Hello, dialler: &Hello) -> Option<(u16, u8)> {
    let low = acceptor.wire_versions.0.max(dialler.wire_versions.0).max(WIRE_VERSIONS.0);
    let high = acceptor.wire_versions.1.min(dialler.wire_versions.1).min(WIRE_VERSIONS.1);
    let codec = acceptor.codecs.iter().copied().find(|codec| dialler.codecs.contains(codec));
    if low <= high { codec.map(|codec| (high, codec)) } else { None }
}

fn check(hello: &Hello) -> Result<(), String> {
    let (count, bytes) = CAPABILITIES_MAX;
    if hello.capabilities.len() > count {
        return Err(format!("{} capabilities, at most {count} are allowed", hello.capabilities.len()));
    }
    if hello.capabilities.iter().chain([&hello.agent_type]).any(|text| text.len() > bytes) {
        return Err(format!("a capability or agent type of over {bytes} bytes"));
    }
    if hello.limits.in_flight == 0 || hello.limits.message_bytes == 0 {
        return Err("a limit of zero".to_owned());
    }
    check_routes(&hello.routes)
}

fn check_routes(routes: &[Route]) -> Result<(), String> {
    if routes.len() > ROUTES_MAX {
        return Err(format!("more than {ROUTES_MAX} routes"));
    }
    let long = |text: &str| text.len() > CAPABILITIES_MAX.1;
    if routes.iter().any(|route| long(&route.protocol) || long(&route.request)) {
        return Err("a protocol or request name that is too long".to_owned());
    }
    let ids: BTreeSet<u32> = routes.iter().map(|route| route.id).collect();
    if ids.len() < routes.len() { Err("two routes with one id".to_owned()) } else { Ok(()) }
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::AwaitingHello => "awaiting the hello",
            State::AwaitingAdmission => "deciding about the session",
            State::AwaitingWelcome => "awaiting the welcome",
            State::Open => "the session was open",
            State::Closed => "the session was closed",
        }
    }
}

impl Control {
    fn name(&self) -> &'static str {
        match self {
            Control::Hello(_) => "a hello",
            Control::Welcome(_) => "a welcome",
            Control::Refuse(_) => "a refusal",
            Control::Routes(_) => "a route change",
            Control::Ping(_) => "a ping",
            Control::Pong(_) => "a pong",
            Control::Drain => "a drain",
        }
    }
}

#[cfg(test)]
mod tests;
