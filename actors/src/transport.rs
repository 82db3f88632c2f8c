//! How nodes reach each other: a `Transport` dials and accepts, and yields a `Link` to a peer with what both sides
//! have shown. A session knows a link and nothing of what is below it, so a further transport is one file here.
//!
//! Public are what a node's configuration takes of it, and the transport parameters of its connections with the endpoint
//! below them, so that a control which is measured beside a node can use the same.

pub(crate) mod memory;
mod parameters;
pub(crate) mod quic;

pub use quic::{NOBODY_LISTENS, is_port_closed};

pub use parameters::{
    CongestionControl, RECEIVE_WINDOW, STREAMS_MAX, STREAMS_MIN, endpoint, more_streams, parameters,
};

use crate::{
    arbiters::Place,
    call::Caller,
    identity::{Identity, PeerChain, PeerIdentity, Serial},
};
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::LocalBoxStream};
use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use swarm_protocols::{NodeId, peers::Credentials, session::CloseCode};
use tokio::sync::{mpsc, oneshot};

/// A way to reach other nodes and to be reached by them. It authenticates both sides; who may have a session is not its
/// concern.
pub(crate) trait Transport {
    /// Connects to the node `expected` at `address`, or to whichever is there. Takes as long as it takes: whoever dials
    /// sets the limit. The peer that answers may be another one than the expected. Sends `early` requests where it can.
    fn dial(
        &mut self,
        expected: Option<&NodeId>,
        address: SocketAddr,
        early: Option<EarlyAsks>,
    ) -> BoxFuture<'static, Result<Connection, DialError>>;
    /// The connections of those who dial this node, each made `within` this time. Those whose handshake is not complete
    /// are shown to `early` before, where they may carry early data. Called once; ends when the transport is closed or has
    /// failed.
    fn accept(&mut self, within: Duration, early: ServeEarly) -> LocalBoxStream<'static, Connection>;
    /// Where this node can be dialled.
    fn address(&self) -> Option<SocketAddr>;
    /// What this node shows and judges by; `None` where nothing is shown.
    fn identity(&self) -> Option<&Identity> {
        None
    }
    /// Shows and judges by another identity in every handshake that begins from now on, and resumes nothing that began
    /// before.
    fn set_identity(&mut self, _identity: Identity) {}
    /// Ends all connections at once, and makes no others; nothing where their sessions close them all.
    fn close(&self) {}
    /// Completes when no connection is left.
    fn closed(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What is asked while a connection is being made.
pub(crate) struct EarlyAsk {
    /// All that goes over its stream.
    pub(crate) request: Bytes,
    pub(crate) priority: i32,
    /// Gets the stream when it carries early data, with what is still to be written; or is dropped, where there is no such
    /// stream, or the connection is made already.
    pub(crate) begun: oneshot::Sender<(Stream, Bytes)>,
}

/// What is asked while a connection is being made; that which is there already goes out with the first packet.
pub(crate) type EarlyAsks = mpsc::Receiver<EarlyAsk>;

/// Begins to serve, on the current arbiter, what comes [early](Link::accept_early) from a peer. It ends by itself.
pub(crate) type ServeEarly = Arc<dyn Fn(Arc<dyn Link>, Caller) + Send + Sync>;

/// A connection to a peer that has proven who it is.
pub(crate) struct Connection {
    pub(crate) link: Arc<dyn Link>,
    pub(crate) peer: Caller,
    /// The certificates that both sides have shown; `None` where nothing is shown.
    pub(crate) shown: Option<Shown>,
    /// Where it runs, and its session is to.
    pub(crate) place: Place,
}

impl Connection {
    /// The peer is who its certificate says.
    pub(crate) fn certified(link: Arc<dyn Link>, shown: Shown, place: Place) -> Self {
        Self { link, peer: named_in(&shown.peer.peer), shown: Some(shown), place }
    }
}

/// Who a certificate says the peer is.
pub(crate) fn named_in(PeerIdentity { id, role, .. }: &PeerIdentity) -> Caller {
    Caller { node: id.clone(), role: *role }
}

/// What both sides of a connection have shown.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// The certificate of this node.
    pub(crate) own: Serial,
    /// Those of the peer.
    pub(crate) peer: PeerChain,
}

impl Shown {
    /// Whether either side has shown another certificate here than there.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        self.own != other.own || self.peer.peer != other.peer.peer
    }

    /// The same, as far as it matters for who holds the peer's place.
    pub(crate) fn credentials(&self) -> Credentials {
        let PeerIdentity { serial, valid_from, .. } = &self.peer.peer;
        let own = self.own.as_bytes().to_vec();
        Credentials { own, peer: serial.as_bytes().to_vec(), issued: *valid_from }
    }
}

/// Why there is no connection.
pub(crate) enum DialError {
    /// Nothing that speaks this transport was found there.
    Unreachable(String),
    /// One side did not want it.
    Refused(Refusal, String),
}

/// A connection to one authenticated peer that carries many independent streams.
pub(crate) trait Link: Send + Sync {
    /// Opens a stream; waits while the peer allows no more.
    fn open(&self) -> BoxFuture<'_, Result<Stream, LinkError>>;
    /// Opens a stream, if that can be done without waiting.
    fn open_now(&self) -> Option<Stream>;
    /// The next stream that the peer opened.
    fn accept(&self) -> BoxFuture<'_, Result<Stream, LinkError>>;
    /// The next stream that the peer opened in early data, but for the first of all, which is the session's; an error as
    /// soon as the handshake is complete.
    fn accept_early(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        Box::pin(std::future::ready(Err(LinkError::Lost("there is no early data".to_owned()))))
    }
    /// Says how many streams the peer may have open at once.
    fn allow_streams(&self, count: u32);
    /// Sets how many bytes may wait on it in either direction, unread or not taken. Those that wait already stay, where
    /// they are more: no further ones come until they have been taken.
    fn set_window(&self, bytes: u32);
    /// Ends the connection and all its streams at once.
    fn close(&self, code: CloseCode, reason: &str);
    /// Where the peer can be dialled again; `None` in memory.
    fn remote(&self) -> Option<SocketAddr> {
        None
    }
    /// Whether a stranger is told that nothing is at the address of the peer. Not being heard is no proof of that.
    fn is_vacant(&self) -> BoxFuture<'static, bool> {
        Box::pin(std::future::ready(false))
    }
    /// What the peer refused the connection for, where it did so although it had been made already.
    fn refusal(&self) -> Option<(Refusal, String)> {
        None
    }
}

/// The two halves of a bidirectional stream.
pub(crate) struct Stream {
    pub(crate) send: Box<dyn SendHalf>,
    pub(crate) recv: Box<dyn RecvHalf>,
}

/// The sending half. Dropped before it is finished, it tells the peer that the rest never comes.
pub(crate) trait SendHalf: Send {
    /// Sends all of `bytes`, as soon as the peer can take them.
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), LinkError>>;
    /// Sends what can be sent of `chunks` without waiting, and leaves the rest there.
    fn write_now(&mut self, chunks: &mut [Bytes]) -> Result<(), LinkError>;
    /// Nothing more will be sent.
    fn finish(&mut self);
    /// Completes when the peer wants no more of the stream or has all of it, or the connection ends.
    fn stopped(&mut self) -> BoxFuture<'static, ()>;
    /// Streams of a higher priority are sent first; without one it is 0.
    fn set_priority(&mut self, priority: i32);
}

/// The receiving half. Dropped before its end, it tells the peer that the rest is not wanted.
pub(crate) trait RecvHalf: Send {
    /// What comes next; `None` at the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LinkError>>;

    /// What has come with it already.
    fn next_ready(&mut self) -> Option<Bytes> {
        None
    }
}

impl dyn RecvHalf + '_ {
    /// What comes next; `None` at the end of the stream. May be dropped without losing bytes.
    pub(crate) async fn read(&mut self) -> Result<Option<Bytes>, LinkError> {
        poll_fn(|cx| self.poll_read(cx)).await
    }
}

/// Why a stream or a connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    /// The connection ended.
    #[error("{0}")]
    Lost(String),
    /// The peer abandoned this stream.
    #[error("the peer abandoned the stream")]
    StreamAbandoned,
}

/// What a session was refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The certificate of one side, which the other does not accept.
    Certificate,
    /// The peer has no room at present, or is stopping: the same may succeed later.
    Busy,
    /// Anything else: no common version, another session.
    Session,
}
