//! QUIC: mutual TLS over UDP, with independent streams.

mod closed_port;
mod early;
mod endpoint;

pub(crate) use closed_port::nobody_listens;
pub use closed_port::{NOBODY_LISTENS, is_port_closed};
pub(crate) use endpoint::QuicTransport;

use super::{Link, LinkError, RecvHalf, Refusal, SendHalf, Stream};
use crate::identity::explain;
use bytes::Bytes;
use early::EarlyPhase;
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};
use quinn::{ConnectionError, ReadError, TransportErrorCode, VarInt, WriteError};
use std::{
    collections::VecDeque,
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};
use swarm_protocols::{printable, session::CloseCode};

/// How long a machine may take to say that a port is closed.
const CLOSED_MAX: Duration = Duration::from_millis(500);

/// A QUIC connection, and the reason for which it was closed on this side, if it was.
pub(crate) struct QuicLink {
    connection: quinn::Connection,
    closed: ClosedHere,
    early: EarlyPhase,
}

/// The two halves of a stream.
type Halves = (quinn::SendStream, quinn::RecvStream);

type ClosedHere = Arc<OnceLock<String>>;

impl QuicLink {
    pub(crate) fn new(connection: quinn::Connection) -> Self {
        Self { connection, closed: ClosedHere::default(), early: EarlyPhase::default() }
    }
}

impl Link for QuicLink {
    fn open(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        if let Some(control) = self.early.take_own() {
            return Box::pin(ready(Ok(self.stream(control))));
        }
        let open = self.connection.open_bi();
        Box::pin(async move {
            open.await.map(|halves| self.stream(halves)).map_err(|error| lost(error, &self.closed))
        })
    }

    fn open_now(&self) -> Option<Stream> {
        let opened = self.connection.open_bi().now_or_never()?;
        // Who waits for it learns what is wrong.
        opened.ok().map(|halves| self.stream(halves))
    }

    fn accept(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        if let Some(came) = self.early.take_came() {
            return Box::pin(ready(Ok(self.stream(came))));
        }
        let accept = self.connection.accept_bi();
        Box::pin(async move {
            accept.await.map(|halves| self.stream(halves)).map_err(|error| lost(error, &self.closed))
        })
    }

    fn accept_early(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        Box::pin(self.accept_in_handshake())
    }

    fn allow_streams(&self, count: u32) {
        self.connection.set_max_concurrent_bi_streams(count.into());
    }

    fn set_window(&self, bytes: u32) {
        self.connection.set_receive_window(bytes.into());
        self.connection.set_send_window(bytes.into());
    }

    fn close(&self, code: CloseCode, reason: &str) {
        // The first reason counts, also where the peer gave it: quinn would forget that.
        if self.connection.close_reason().is_some() {
            return;
        }
        let _first = self.closed.set(reason.to_owned());
        self.connection.close(VarInt::from_u32(code as u32), reason.as_bytes());
    }

    fn remote(&self) -> Option<SocketAddr> {
        Some(self.connection.remote_address())
    }

    fn is_vacant(&self) -> BoxFuture<'static, bool> {
        let peer = self.connection.remote_address();
        Box::pin(is_port_closed(peer, CLOSED_MAX))
    }

    fn refusal(&self) -> Option<(Refusal, String)> {
        endpoint::refused_for(&self.connection.close_reason()?)
    }
}

impl QuicLink {
    fn stream(&self, (send, recv): Halves) -> Stream {
        let closed = || Arc::clone(&self.closed);
        Stream {
            send: Box::new(QuicSend { stream: send, finished: false, closed: closed() }),
            recv: Box::new(QuicRecv {
                stream: recv,
                ready: VecDeque::new(),
                is_busy: false,
                closed: closed(),
            }),
        }
    }
}

/// What a connection error says, with the peer's own reason where it gave one.
fn lost(error: ConnectionError, closed_here: &ClosedHere) -> LinkError {
    match closed_here.get() {
        Some(reason) if matches!(error, ConnectionError::LocallyClosed) => LinkError::Lost(reason.clone()),
        _ => LinkError::Lost(describe(error)),
    }
}

/// What a connection error says, with the peer's own reason where it gave one.
pub(crate) fn describe(error: ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason);
            match CloseCode::from_number(close.error_code.into_inner()) {
                Some(CloseCode::Done) if reason.is_empty() => "the peer closed it".to_owned(),
                _ => format!("the peer closed it: {}", printable(&reason)),
            }
        }
        ConnectionError::TimedOut => "the peer stopped answering".to_owned(),
        ConnectionError::LocallyClosed => "it was closed here".to_owned(),
        ConnectionError::Reset => "the peer lost its state".to_owned(),
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            "it refuses new connections for now: it stops, or had too many attempts from here".to_owned()
        }
        // The acceptor judges the dialler's certificate when the dialler is through with its own part, so that a
        // refusal may come as the end of a connection.
        other => explain(&other).map_or_else(|| other.to_string(), |failure| failure.to_string()),
    }
}

struct QuicSend {
    stream: quinn::SendStream,
    finished: bool,
    closed: ClosedHere,
}

impl SendHalf for QuicSend {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(async move { self.stream.write_chunk(bytes).await.map_err(|error| self.failed(error)) })
    }

    fn write_now(&mut self, chunks: &mut [Bytes]) -> Result<(), LinkError> {
        let written = self.stream.write_chunks(chunks).now_or_never();
        written.transpose().map_err(|error| self.failed(error)).map(drop)
    }

    fn finish(&mut self) {
        // An error means that the peer stopped the stream, which is as good an end as this one.
        self.finished = true;
        let _stopped = self.stream.finish();
    }

    fn stopped(&mut self) -> BoxFuture<'static, ()> {
        let stopped = self.stream.stopped();
        Box::pin(async move {
            let _why = stopped.await;
        })
    }

    fn set_priority(&mut self, priority: i32) {
        // An error means that the stream is closed already, where its priority does not matter.
        let _closed = self.stream.set_priority(priority);
    }
}

impl QuicSend {
    fn failed(&self, error: WriteError) -> LinkError {
        match error {
            WriteError::ConnectionLost(error) => lost(error, &self.closed),
            _ => LinkError::StreamAbandoned,
        }
    }
}

impl Drop for QuicSend {
    /// quinn would finish the stream as if what was sent so far were all of it.
    fn drop(&mut self) {
        if !self.finished {
            let _closed = self.stream.reset(VarInt::from_u32(0));
        }
    }
}

/// How many pieces of a stream are taken at once, each of which came in a packet: a short one has come whole, and its
/// end with it.
const PIECES_MIN: usize = 2;

/// The same where more come.
const PIECES_MAX: usize = 16;

struct QuicRecv {
    stream: quinn::RecvStream,
    /// Those that came with the last one that was read.
    ready: VecDeque<Bytes>,
    /// More pieces came than are taken of a short stream.
    is_busy: bool,
    closed: ClosedHere,
}

impl QuicRecv {
    fn poll_pieces<const COUNT: usize>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, LinkError>> {
        let mut pieces = [const { Bytes::new() }; COUNT];
        // What has to be remembered between two polls is in the stream.
        let read = { pin!(self.stream.read_chunks(&mut pieces)).poll(cx) };
        read.map(|read| match read {
            Ok(count) => {
                let count = count.unwrap_or(0);
                self.is_busy |= count == COUNT;
                let mut pieces = pieces.into_iter().take(count);
                let first = pieces.next();
                self.ready.extend(pieces);
                Ok(first)
            }
            Err(ReadError::ConnectionLost(error)) => Err(lost(error, &self.closed)),
            Err(_) => Err(LinkError::StreamAbandoned),
        })
    }
}

impl RecvHalf for QuicRecv {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LinkError>> {
        match self.ready.pop_front() {
            Some(piece) => Poll::Ready(Ok(Some(piece))),
            None if self.is_busy => self.poll_pieces::<PIECES_MAX>(cx),
            None => self.poll_pieces::<PIECES_MIN>(cx),
        }
    }

    fn next_ready(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }
}
