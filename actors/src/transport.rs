//! What a session needs of a connection, so that it runs over QUIC and in memory alike; and the transport
//! parameters of a node's connections, public so that a control which is measured beside a node can use the same.

mod parameters;
pub(crate) mod quic;

pub use parameters::{RECEIVE_WINDOW, STREAMS_MAX, STREAMS_MIN, more_streams, parameters};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use swarm_protocols::session::CloseCode;

/// A connection to one authenticated peer that carries many independent streams.
pub(crate) trait Link: Send + Sync {
    /// Opens a stream; waits while the peer allows no more.
    fn open(&self) -> BoxFuture<'_, Result<Stream, LinkError>>;
    /// The next stream that the peer opened.
    fn accept(&self) -> BoxFuture<'_, Result<Stream, LinkError>>;
    /// Says how many streams the peer may have open at once.
    fn allow_streams(&self, count: u32);
    /// Ends the connection and all its streams at once.
    fn close(&self, code: CloseCode, reason: &str);
    /// Where the peer is; `None` in memory.
    fn remote(&self) -> Option<SocketAddr> {
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
    /// Nothing more will be sent.
    fn finish(&mut self);
    /// Completes when the peer wants no more of the stream, or the connection ends.
    fn stopped(&mut self) -> BoxFuture<'static, ()>;
    /// Streams of a higher priority are sent first.
    fn set_priority(&mut self, priority: i32);
}

/// The receiving half. Dropped before its end, it tells the peer that the rest is not wanted.
pub(crate) trait RecvHalf: Send {
    /// What comes next; `None` at the end of the stream. May be dropped without losing bytes.
    fn read(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, LinkError>>;
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
