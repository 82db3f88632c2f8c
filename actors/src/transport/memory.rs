//! Two nodes joined in memory, over a [`Line`].

mod line;
mod network;

pub use line::Direction;
pub(crate) use line::Line;
pub use network::Network;

use super::{
    Connection, DialError, EarlyAsks, Link, LinkError, RecvHalf, SendHalf, ServeEarly, Stream, Transport,
};
use crate::{arbiters::Arbiters, call::Caller};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{BoxFuture, ready},
    stream::{self, BoxStream, LocalBoxStream},
};
use network::DATAGRAM_BYTES;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use swarm_protocols::{NodeId, session::CloseCode};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::Instant,
};

/// How many datagrams of one stream may be under way: about the window that quinn gives a stream.
/// Also how many chunks, of any length, where nothing is cut into datagrams.
const WINDOW: usize = 1024;

/// How many opened streams may wait for the other side.
const OPENED: usize = 64;

/// The transport of one of two nodes, which reaches the other one whatever address is dialled.
pub(crate) struct MemoryTransport {
    /// 0 or 1.
    side: usize,
    line: Arc<Line>,
    /// This node, and the other one, as a certificate would say it.
    nodes: [Caller; 2],
    dialled: Arc<Mutex<Option<Arc<Wire>>>>,
    to_other: mpsc::Sender<Connection>,
    accepted: Option<mpsc::Receiver<Connection>>,
}

/// The connection that was made last between two nodes, to be cut.
#[derive(Debug, Clone)]
pub(crate) struct LastWire(Arc<Mutex<Option<Arc<Wire>>>>);

impl LastWire {
    /// Ends the connection, if there is one; both sides see the reason at once.
    pub(crate) fn cut(&self, reason: &str) {
        if let Some(wire) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            wire.cut(reason);
        }
    }
}

/// The transports of two nodes that are joined by a line.
pub(crate) fn transports(line: &Arc<Line>, nodes: [Caller; 2]) -> ([MemoryTransport; 2], LastWire) {
    let [a, b] = nodes;
    let ((to_a, from_b), (to_b, from_a)) = (mpsc::channel(OPENED), mpsc::channel(OPENED));
    let last = LastWire(Arc::default());
    let transport = |side, nodes, to_other, accepted| MemoryTransport {
        side,
        line: Arc::clone(line),
        nodes,
        dialled: Arc::clone(&last.0),
        to_other,
        accepted: Some(accepted),
    };
    let first = transport(0, [a.clone(), b.clone()], to_b, from_b);
    let second = transport(1, [b, a], to_a, from_a);
    ([first, second], last)
}

impl Transport for MemoryTransport {
    fn dial(
        &mut self,
        _: Option<&NodeId>,
        _: SocketAddr,
        _: Option<EarlyAsks>,
    ) -> BoxFuture<'static, Result<Connection, DialError>> {
        let (wire, mut links) = link_pair(&self.line);
        if self.side == 1 {
            links.reverse();
        }
        let [here, there] = links.map(|link| -> Arc<dyn Link> { Arc::new(link) });
        let [this, other] = self.nodes.clone();
        *self.dialled.lock().unwrap_or_else(PoisonError::into_inner) = Some(wire);
        let connection = |link, peer| Connection { link, peer, shown: None, place: Arbiters::one().place() };
        let dialled = match self.to_other.try_send(connection(there, this)) {
            Ok(()) => Ok(connection(here, other)),
            Err(_) => {
                Err(DialError::Unreachable("the other node has stopped, or accepts nothing".to_owned()))
            }
        };
        Box::pin(ready(dialled))
    }

    fn accept(&mut self, _: Duration, _: ServeEarly) -> LocalBoxStream<'static, Connection> {
        match self.accepted.take() {
            // That the other node has stopped is no failure of this one.
            Some(mut accepted) => {
                Box::pin(stream::poll_fn(move |cx| accepted.poll_recv(cx)).chain(stream::pending()))
            }
            None => Box::pin(stream::empty()),
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        None
    }
}

/// What the two ends of one connection share.
#[derive(Debug)]
pub(crate) struct Wire {
    line: Arc<Line>,
    /// Why the connection ended, as the first node and as the second know it.
    closed: [watch::Sender<Option<String>>; 2],
    /// When and why the first node, and the second, closed it.
    said: [watch::Sender<Option<(Instant, String)>>; 2],
}

impl Wire {
    pub(crate) fn cut(&self, reason: &str) {
        self.closed.iter().for_each(|closed| note(closed, reason.to_owned()));
    }

    fn close(&self, side: usize, reason: &str) {
        note(&self.closed[side], reason.to_owned());
        note(&self.said[side], (Instant::now(), reason.to_owned()));
    }

    /// Whether one end knows that it was closed.
    fn is_closed(&self, side: usize) -> bool {
        self.closed[side].borrow().is_some()
    }

    async fn until_closed(&self, side: usize) -> LinkError {
        let mut closed = self.closed[side].subscribe();
        let mut said = self.said[1 - side].subscribe();
        let here = async { closed.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone()) };
        let there = async {
            let (when, reason) = said.wait_for(Option::is_some).await.ok().and_then(|said| said.clone())?;
            self.line.cross(direction_to(side), when).await;
            Some(reason)
        };
        let reason = tokio::select! {
            biased;
            reason = here => reason,
            reason = there => reason,
        };
        LinkError::Lost(reason.expect("the connection holds the senders"))
    }
}

/// The first word counts.
fn note<T>(slot: &watch::Sender<Option<T>>, word: T) {
    slot.send_if_modified(|slot| {
        let first = slot.is_none();
        slot.get_or_insert(word);
        first
    });
}

fn direction_to(side: usize) -> Direction {
    if side == 0 { Direction::ToDialler } else { Direction::ToAcceptor }
}

/// One end of a connection, that of the first node of a line or of the second.
pub(crate) struct MemoryLink {
    side: usize,
    connection: Arc<Wire>,
    streams: mpsc::Sender<(Instant, Stream)>,
    incoming: Mutex<Option<mpsc::Receiver<(Instant, Stream)>>>,
}

pub(crate) fn link_pair(line: &Arc<Line>) -> (Arc<Wire>, [MemoryLink; 2]) {
    let connection =
        Arc::new(Wire { line: Arc::clone(line), closed: Default::default(), said: Default::default() });
    let ((a_send, b_recv), (b_send, a_recv)) = (mpsc::channel(OPENED), mpsc::channel(OPENED));
    let link = |side, streams, incoming| {
        let (connection, incoming) = (Arc::clone(&connection), Mutex::new(Some(incoming)));
        MemoryLink { side, connection, streams, incoming }
    };
    let links = [link(0, a_send, a_recv), link(1, b_send, b_recv)];
    (connection, links)
}

impl MemoryLink {
    /// The ends of a new stream: ours, and theirs.
    fn stream(&self) -> (Stream, Stream) {
        let stream = self.connection.line.next_stream(self.side);
        let (to_send, to_recv) = half(&self.connection, self.side, stream);
        let (from_send, from_recv) = half(&self.connection, 1 - self.side, stream);
        let ours = Stream { send: Box::new(to_send), recv: Box::new(from_recv) };
        (ours, Stream { send: Box::new(from_send), recv: Box::new(to_recv) })
    }
}

impl Link for MemoryLink {
    fn open(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        Box::pin(async move {
            let (ours, theirs) = self.stream();
            let sent = async {
                if self.streams.send((Instant::now(), theirs)).await.is_err() {
                    // Whoever would accept is gone, which this side learns from the close.
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                error = self.connection.until_closed(self.side) => Err(error),
                () = sent => Ok(ours),
            }
        })
    }

    fn open_now(&self) -> Option<Stream> {
        if self.connection.is_closed(self.side) {
            return None;
        }
        let place = self.streams.try_reserve().ok()?;
        let (ours, theirs) = self.stream();
        place.send((Instant::now(), theirs));
        Some(ours)
    }

    fn accept(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        let slot = || self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(async move {
            // One task accepts at a time; the queue goes back when it has got a stream.
            let Some(mut incoming) = slot().take() else {
                return Err(LinkError::Lost("another task accepts".to_owned()));
            };
            let stream = async {
                match incoming.recv().await {
                    Some((opened, stream)) => {
                        self.connection.line.cross(direction_to(self.side), opened).await;
                        stream
                    }
                    None => std::future::pending().await,
                }
            };
            let accepted = tokio::select! {
                biased;
                error = self.connection.until_closed(self.side) => Err(error),
                stream = stream => Ok(stream),
            };
            *slot() = Some(incoming);
            accepted
        })
    }

    fn allow_streams(&self, _: u32) {}

    fn set_window(&self, _: u32) {}

    fn close(&self, _: CloseCode, reason: &str) {
        self.connection.close(self.side, reason);
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        self.connection.close(self.side, "the other side is gone");
    }
}

/// The two ends of what `side` sends on a stream.
fn half(connection: &Arc<Wire>, side: usize, stream: u64) -> (MemorySend, MemoryRecv) {
    let (datagrams, incoming) = mpsc::unbounded_channel();
    let (at_end, consumed) = watch::channel(None);
    let send = MemorySend {
        side,
        connection: Arc::clone(connection),
        stream,
        datagrams: Some(datagrams),
        window: Arc::new(Semaphore::new(WINDOW)),
        consumed,
        sent: (0, 0),
    };
    let connection = Arc::clone(connection);
    let incoming = Incoming { side: 1 - side, connection, stream, datagrams: incoming, next: None, at_end };
    (send, MemoryRecv(incoming.chunks()))
}

/// What travels.
struct InFlight {
    what: Word,
    due: Instant,
    number: u64,
    /// Gives the sender room for another one. The end of a stream needs none, so the queue holds at
    /// most one more than the window.
    _room: Option<OwnedSemaphorePermit>,
}

enum Word {
    Bytes(Bytes),
    Finished,
    Abandoned,
}

struct MemorySend {
    side: usize,
    connection: Arc<Wire>,
    stream: u64,
    datagrams: Option<mpsc::UnboundedSender<InFlight>>,
    window: Arc<Semaphore>,
    consumed: watch::Receiver<Option<Instant>>,
    /// A millisecond, and how many bytes were sent in it.
    sent: (u64, usize),
}

impl MemorySend {
    async fn send_all(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let room = Arc::clone(&self.window).acquire_owned().await.ok();
            self.send_piece(&mut bytes, room);
        }
    }

    /// Sends what fits into a datagram.
    fn send_piece(&mut self, bytes: &mut Bytes, room: Option<OwnedSemaphorePermit>) {
        let now_ms = self.connection.line.millis(Instant::now());
        if self.sent.0 != now_ms {
            self.sent = (now_ms, 0);
        }
        let perfect = self.connection.line.is_perfect();
        let fits = if perfect { bytes.len() } else { DATAGRAM_BYTES - self.sent.1 % DATAGRAM_BYTES };
        let piece = bytes.split_to(fits.min(bytes.len()));
        let length = piece.len();
        self.send(Word::Bytes(piece), room);
        self.sent.1 += length;
    }

    fn send(&self, what: Word, room: Option<OwnedSemaphorePermit>) {
        let Some(datagrams) = &self.datagrams else { return };
        let number = (self.sent.1 / DATAGRAM_BYTES) as u64;
        let due = self.connection.line.due(self.stream, self.side, Instant::now(), number);
        // Where nobody reads any more this side is told so by `stopped`.
        let _unread = datagrams.send(InFlight { what, due, number, _room: room });
    }

    fn until_stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mut consumed, connection) = (self.consumed.clone(), Arc::clone(&self.connection));
        let side = self.side;
        async move {
            let said = consumed.wait_for(Option::is_some).await.ok().and_then(|said| *said);
            connection.line.cross(direction_to(side), said.unwrap_or_else(Instant::now)).await;
        }
    }
}

impl SendHalf for MemorySend {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(async move {
            if self.datagrams.is_none() {
                return Err(LinkError::StreamAbandoned);
            }
            let connection = Arc::clone(&self.connection);
            tokio::select! {
                biased;
                error = connection.until_closed(self.side) => Err(error),
                () = self.until_stopped() => Err(LinkError::StreamAbandoned),
                () = self.send_all(bytes) => Ok(()),
            }
        })
    }

    fn write_now(&mut self, chunks: &mut [Bytes]) -> Result<(), LinkError> {
        // Who writes the rest learns what is wrong.
        let is_open = self.datagrams.is_some() && !self.connection.is_closed(self.side);
        for chunk in chunks.iter_mut().filter(|_| is_open) {
            while !chunk.is_empty()
                && let Ok(room) = Arc::clone(&self.window).try_acquire_owned()
            {
                self.send_piece(chunk, Some(room));
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.send(Word::Finished, None);
        self.datagrams = None;
    }

    fn stopped(&mut self) -> BoxFuture<'static, ()> {
        let (stopped, connection, side) = (self.until_stopped(), Arc::clone(&self.connection), self.side);
        Box::pin(async move {
            tokio::select! {
                () = stopped => {}
                _ = connection.until_closed(side) => {}
            }
        })
    }

    fn set_priority(&mut self, _: i32) {}
}

impl Drop for MemorySend {
    fn drop(&mut self) {
        // Nothing is sent where the stream was finished.
        self.send(Word::Abandoned, None);
    }
}

/// The chunks of a stream, or why no more come.
struct MemoryRecv(BoxStream<'static, Result<Bytes, LinkError>>);

impl RecvHalf for MemoryRecv {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LinkError>> {
        self.0.poll_next_unpin(cx).map(Option::transpose)
    }
}

struct Incoming {
    side: usize,
    connection: Arc<Wire>,
    stream: u64,
    datagrams: mpsc::UnboundedReceiver<InFlight>,
    /// What is under way and not due.
    next: Option<InFlight>,
    at_end: watch::Sender<Option<Instant>>,
}

impl Incoming {
    fn chunks(self) -> BoxStream<'static, Result<Bytes, LinkError>> {
        let chunks = stream::try_unfold(self, async |mut incoming| {
            Ok(incoming.read().await?.map(|bytes| (bytes, incoming)))
        });
        chunks.fuse().boxed()
    }

    async fn next(&mut self) -> Option<Word> {
        if self.next.is_none() {
            self.next = Some(self.datagrams.recv().await?);
        }
        let InFlight { due, number, .. } = *self.next.as_ref()?;
        let line = &self.connection.line;
        let again = |healed| line.due(self.stream, 1 - self.side, healed, number);
        line.arrive(direction_to(self.side), due, again).await;
        self.next.take().map(|next| next.what)
    }

    async fn read(&mut self) -> Result<Option<Bytes>, LinkError> {
        let connection = Arc::clone(&self.connection);
        let word = tokio::select! {
            biased;
            error = connection.until_closed(self.side) => return Err(error),
            word = self.next() => word,
        };
        match word {
            Some(Word::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Word::Abandoned) => Err(LinkError::StreamAbandoned),
            // Nothing at all comes after the end has been read.
            Some(Word::Finished) | None => Ok(None),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        note(&self.at_end, Instant::now());
    }
}
