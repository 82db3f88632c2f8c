//! Two nodes joined by a connection in memory.

use crate::{
    call::Caller,
    link::{Link, LinkError, RecvHalf, SendHalf, Stream},
    node::Node,
    quic_bridge::{Attach, Local},
    session::Side,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};
use swarm_protocols::{
    NodeId, Role,
    session::{CloseCode, Timing},
    wire::control::Limits,
};
use tokio::sync::{mpsc, oneshot, watch};

/// One side of a [`pair`].
#[derive(Debug, Clone)]
pub struct MemoryNode {
    /// Its id.
    pub id: NodeId,
    /// Its role, as a certificate would say it.
    pub role: Role,
    /// What kind of agent it is.
    pub agent_type: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// What it accepts.
    pub limits: Limits,
    /// How long its sessions wait.
    pub timing: Timing,
}

impl MemoryNode {
    /// A node of no agent type, with default limits and timing.
    ///
    /// # Panics
    /// Where `id` is no node id.
    pub fn new(id: &str, role: Role) -> Self {
        let id = id.parse().unwrap_or_else(|error| panic!("{error}"));
        let (limits, timing) = (Limits::default(), Timing::default());
        Self { id, role, agent_type: String::new(), capabilities: Vec::new(), limits, timing }
    }
}

/// Starts two nodes on the current arbiter with an open session between them, dialled by the first,
/// and returns them with a way to cut the connection.
///
/// There is no socket and no encryption; everything else, from the handshake to the lanes, is what
/// runs over QUIC. Bytes arrive at once and in order.
///
/// # Panics
/// Where the session is refused, which two nodes of different ids do not do.
pub async fn pair(dialler: MemoryNode, acceptor: MemoryNode) -> (Node, Node, Cut) {
    let callers = [&dialler, &acceptor].map(|node| Caller { node: node.id.clone(), role: node.role });
    let [a, b] = [dialler, acceptor].map(|node| {
        let MemoryNode { id, agent_type, capabilities, limits, timing, role: _ } = node;
        Node::of(Local { node: id, agent_type, capabilities, limits, timing }, None, None)
    });
    let (a_link, b_link) = link_pair();
    let cut = Cut(a_link.closed.clone());
    let [a_caller, b_caller] = callers;
    let (opened, a_open) = oneshot::channel();
    let attach = |side, link, peer, opened| Attach { side, link, peer, shown: None, opened };
    let (accepted, b_open) = oneshot::channel();
    b.bridge.do_send(attach(Side::Acceptor, Arc::new(b_link), a_caller, Some(accepted)));
    a.bridge.do_send(attach(Side::Dialler, Arc::new(a_link), b_caller, Some(opened)));
    for open in [b_open, a_open] {
        let open = open.await.unwrap_or_else(|_| Err("the node has stopped".to_owned()));
        open.unwrap_or_else(|reason| panic!("no session: {reason}"));
    }
    (a, b, cut)
}

/// Cuts a connection in memory, as a pulled cable and a timeout would.
#[derive(Debug)]
pub struct Cut(Arc<watch::Sender<Option<String>>>);

impl Cut {
    /// Cuts it; both sides see the reason.
    pub fn cut(self, reason: &str) {
        self.0.send_replace(Some(reason.to_owned()));
    }
}

/// How many chunks, or opened streams, may wait for the other side.
const CAPACITY: usize = 64;

struct MemoryLink {
    streams: mpsc::Sender<Stream>,
    incoming: Mutex<Option<mpsc::Receiver<Stream>>>,
    closed: Arc<watch::Sender<Option<String>>>,
}

fn link_pair() -> (MemoryLink, MemoryLink) {
    let closed = Arc::new(watch::Sender::new(None));
    let ((a_send, b_recv), (b_send, a_recv)) = (mpsc::channel(CAPACITY), mpsc::channel(CAPACITY));
    let link = |streams, incoming| MemoryLink {
        streams,
        incoming: Mutex::new(Some(incoming)),
        closed: Arc::clone(&closed),
    };
    (link(a_send, a_recv), link(b_send, b_recv))
}

impl MemoryLink {
    async fn until_closed(closed: &watch::Sender<Option<String>>) -> LinkError {
        let mut closed = closed.subscribe();
        let reason = closed.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        LinkError::Lost(reason.unwrap_or_else(|| "the other side is gone".to_owned()))
    }

    fn half(&self) -> (MemorySend, MemoryRecv) {
        let (chunks, incoming) = mpsc::channel(CAPACITY);
        let (at_end, consumed) = watch::channel(false);
        let closed = Arc::clone(&self.closed);
        (
            MemorySend { chunks: Some(chunks), consumed, closed: Arc::clone(&closed), finished: false },
            MemoryRecv { incoming, at_end, closed },
        )
    }
}

impl Link for MemoryLink {
    fn open(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        Box::pin(async move {
            let ((to_send, to_recv), (from_send, from_recv)) = (self.half(), self.half());
            let theirs = Stream { send: Box::new(from_send), recv: Box::new(to_recv) };
            tokio::select! {
                biased;
                error = Self::until_closed(&self.closed) => Err(error),
                sent = self.streams.send(theirs) => match sent {
                    Ok(()) => Ok(Stream { send: Box::new(to_send), recv: Box::new(from_recv) }),
                    Err(_) => Err(LinkError::Lost("the other side is gone".to_owned())),
                },
            }
        })
    }

    fn accept(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        let slot = || self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(async move {
            // One task accepts at a time; the queue goes back when it has got a stream.
            let gone = || LinkError::Lost("the other side is gone".to_owned());
            let mut incoming = slot().take().ok_or_else(gone)?;
            let accepted = tokio::select! {
                biased;
                error = Self::until_closed(&self.closed) => Err(error),
                stream = incoming.recv() => stream.ok_or_else(gone),
            };
            *slot() = Some(incoming);
            accepted
        })
    }

    fn allow_streams(&self, _: u32) {}

    fn close(&self, _: CloseCode, reason: &str) {
        self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            closed.get_or_insert_with(|| reason.to_owned());
            first
        });
    }
}

/// What travels: a chunk, or the word that the sender gave up.
enum Chunk {
    Bytes(Bytes),
    Abandoned,
}

struct MemorySend {
    chunks: Option<mpsc::Sender<Chunk>>,
    consumed: watch::Receiver<bool>,
    closed: Arc<watch::Sender<Option<String>>>,
    finished: bool,
}

impl SendHalf for MemorySend {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(async move {
            let Some(chunks) = &self.chunks else { return Err(LinkError::StreamAbandoned) };
            tokio::select! {
                biased;
                error = MemoryLink::until_closed(&self.closed) => Err(error),
                sent = chunks.send(Chunk::Bytes(bytes)) => sent.map_err(|_| LinkError::StreamAbandoned),
            }
        })
    }

    fn finish(&mut self) {
        self.finished = true;
        self.chunks = None;
    }

    fn stopped(&mut self) -> BoxFuture<'static, ()> {
        let (mut consumed, closed) = (self.consumed.clone(), Arc::clone(&self.closed));
        Box::pin(async move {
            tokio::select! {
                // An error means that the receiver is gone, which ends the stream as well.
                _ = consumed.wait_for(|consumed| *consumed) => {}
                _ = MemoryLink::until_closed(&closed) => {}
            }
        })
    }

    fn set_priority(&mut self, _: i32) {}
}

impl Drop for MemorySend {
    fn drop(&mut self) {
        if let (Some(chunks), false) = (&self.chunks, self.finished) {
            // Where the queue is full the other side sees the end without this word, and finds that
            // a frame is missing.
            let _full = chunks.try_send(Chunk::Abandoned);
        }
    }
}

struct MemoryRecv {
    incoming: mpsc::Receiver<Chunk>,
    at_end: watch::Sender<bool>,
    closed: Arc<watch::Sender<Option<String>>>,
}

impl RecvHalf for MemoryRecv {
    fn read(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, LinkError>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                error = MemoryLink::until_closed(&self.closed) => Err(error),
                chunk = self.incoming.recv() => match chunk {
                    Some(Chunk::Bytes(bytes)) => Ok(Some(bytes)),
                    Some(Chunk::Abandoned) => Err(LinkError::StreamAbandoned),
                    None => {
                        self.at_end.send_replace(true);
                        Ok(None)
                    }
                },
            }
        })
    }
}
