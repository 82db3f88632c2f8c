//! The floor: what a program does that speaks quinn itself and batches well. Frames are a length of
//! four bytes and a payload, pipelined on one stream or alone on a stream of their own; the server
//! sends every frame back and need not know which.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream};
use swarm_actors::identity::{Identity, KeyExchange, server_name};
use swarm_actors::transport;
use swarm_protocols::NodeId;

use super::MessagingError;
use super::workload::{Mode, Progress, Workload};

const LENGTH_BYTES: usize = size_of::<u32>();

/// The longest payload that the floor takes.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// How many chunks are read at once: about what one wake-up brings.
const CHUNKS: usize = 64;

/// Cuts a stream into frames.
#[derive(Default)]
struct Frames {
    buffer: Vec<u8>,
}

impl Frames {
    /// Hands the payloads that became complete with `chunks` to `take`.
    fn feed<'a, E>(
        &mut self,
        chunks: impl IntoIterator<Item = &'a Bytes>,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<TooLong>,
    {
        chunks.into_iter().for_each(|chunk| self.buffer.extend_from_slice(chunk));
        let mut rest = self.buffer.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() {
            let length = u32::from_le_bytes(*length) as usize;
            if length > PAYLOAD_BYTES_MAX {
                return Err(TooLong.into());
            }
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            take(payload)?;
            rest = after;
        }
        let taken = self.buffer.len() - rest.len();
        self.buffer.drain(..taken);
        Ok(())
    }
}

/// A frame over [`PAYLOAD_BYTES_MAX`].
struct TooLong;

impl From<TooLong> for MessagingError {
    fn from(_: TooLong) -> Self {
        MessagingError::Wrong("its frame is too long")
    }
}

fn lost(error: impl std::error::Error) -> MessagingError {
    MessagingError::Lost(error.to_string())
}

/// The asking side.
pub(super) struct FloorClient {
    connection: Connection,
}

impl FloorClient {
    pub(super) async fn connect(
        identity: &Identity,
        peer: &NodeId,
        address: SocketAddr,
    ) -> Result<Self, MessagingError> {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint =
            Endpoint::client(loopback).map_err(|error| MessagingError::Start(error.to_string()))?;
        let mut config = identity.client_config(Some(peer), KeyExchange::default());
        config.transport_config(transport::parameters());
        let connecting = endpoint.connect_with(config, address, server_name(Some(peer))).map_err(lost)?;
        Ok(Self { connection: connecting.await.map_err(lost)? })
    }

    pub(super) async fn ask(&self, workload: Workload, progress: Rc<Progress>) -> Result<(), MessagingError> {
        match workload.mode {
            Mode::Lane => self.pipelined(workload, &progress).await,
            Mode::Stream => {
                let one = async || {
                    while !progress.is_over() {
                        self.on_own_stream(workload, &progress).await?;
                    }
                    Ok(())
                };
                try_join_all((0..workload.in_flight).map(|_| one())).await.map(drop)
            }
        }
    }

    /// Answers come in the order of the requests. Every wake-up takes all that have come, and sends
    /// as many new requests in one write.
    async fn pipelined(&self, workload: Workload, progress: &Progress) -> Result<(), MessagingError> {
        let (mut send, mut recv) = self.connection.open_bi().await.map_err(lost)?;
        let (mut frames, mut chunks) = (Frames::default(), vec![Bytes::new(); CHUNKS]);
        let mut next = Vec::new();
        for _ in 0..workload.in_flight {
            put_request(workload, progress, &mut next);
        }
        let (mut waiting, mut oldest) = (workload.in_flight, 0);
        while waiting > 0 {
            if !next.is_empty() {
                let room = Vec::with_capacity(next.len());
                let bytes = std::mem::replace(&mut next, room);
                send.write_chunk(bytes.into()).await.map_err(lost)?;
            }
            let read = recv.read_chunks(&mut chunks).await.map_err(lost)?;
            let read = read.ok_or(MessagingError::Wrong("the stream ended"))?;
            frames.feed(&chunks[..read], |payload| {
                progress.answered(oldest, payload)?;
                oldest += 1;
                if progress.is_over() {
                    waiting -= 1;
                } else {
                    put_request(workload, progress, &mut next);
                }
                Ok::<_, MessagingError>(())
            })?;
        }
        send.finish().map_err(lost)
    }

    async fn on_own_stream(&self, workload: Workload, progress: &Progress) -> Result<(), MessagingError> {
        let (mut send, mut recv) = self.connection.open_bi().await.map_err(lost)?;
        let mut request = Vec::with_capacity(LENGTH_BYTES + workload.payload_bytes);
        let number = put_request(workload, progress, &mut request);
        let length = request.len();
        send.write_chunk(request.into()).await.map_err(lost)?;
        send.finish().map_err(lost)?;
        let answer = recv.read_to_end(length).await.map_err(lost)?;
        progress.answered(number, answer.get(LENGTH_BYTES..).unwrap_or_default())
    }
}

fn put_request(workload: Workload, progress: &Progress, out: &mut Vec<u8>) -> u64 {
    out.extend_from_slice(&(workload.payload_bytes as u32).to_le_bytes());
    progress.put_payload(out)
}

/// Answers everyone who connects to `endpoint`.
pub(super) async fn serve(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        actix_rt::spawn(serve_connection(incoming));
    }
}

/// Allows streams by the same rule as a node.
async fn serve_connection(incoming: Incoming) {
    let Ok(connection) = incoming.await else { return };
    let open = Rc::new(Cell::new(0));
    let mut allowed = transport::STREAMS_MIN;
    while let Ok((send, recv)) = connection.accept_bi().await {
        open.set(open.get() + 1);
        if let Some(more) = transport::more_streams(open.get(), allowed) {
            allowed = more;
            connection.set_max_concurrent_bi_streams(more.into());
        }
        let open = Rc::clone(&open);
        actix_rt::spawn(async move {
            // The client says what went wrong with its stream.
            let _ended = send_back(send, recv).await;
            open.set(open.get() - 1);
        });
    }
}

async fn send_back(mut send: SendStream, mut recv: RecvStream) -> Result<(), MessagingError> {
    let (mut frames, mut chunks) = (Frames::default(), vec![Bytes::new(); CHUNKS]);
    while let Some(read) = recv.read_chunks(&mut chunks).await.map_err(lost)? {
        let mut answers = Vec::with_capacity(chunks[..read].iter().map(Bytes::len).sum());
        frames.feed(&chunks[..read], |payload| {
            answers.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            answers.extend_from_slice(payload);
            Ok::<_, MessagingError>(())
        })?;
        if !answers.is_empty() {
            send.write_chunk(answers.into()).await.map_err(lost)?;
        }
    }
    send.finish().map_err(lost)
}
