//! The floor: what a program does that speaks quinn itself and batches well. A frame is a length of four bytes and a
//! payload, pipelined on one stream or alone on a stream of its own. The server sends it back, unless it goes one way:
//! then the server counts it, and sends the count when the stream ends.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use quinn::{
    ClientConfig, Connecting, Connection, Endpoint, EndpointConfig, Incoming, RecvStream, SendStream,
};
use swarm_actors::identity::{EarlyData, Identity, KeyExchange, server_name};
use swarm_actors::transport::{self, CongestionControl};
use swarm_protocols::{NodeId, session::Timing};

use super::MessagingError;
use super::payloads::Payloads;

pub(super) const HEAD_BYTES: usize = size_of::<u32>();

/// Set in the length of a frame that goes one way.
const ONE_WAY: u32 = 1 << 31;

/// The longest payload that the floor takes.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// The frame that says how many frames came.
const COUNT_BYTES: usize = HEAD_BYTES + size_of::<u64>();

/// How many chunks are read at once: about what one wake-up brings.
const CHUNKS: usize = 64;

pub(super) fn lost(error: impl std::error::Error) -> MessagingError {
    MessagingError::Lost(error.to_string())
}

/// How to dial `peer` as `identity`. Only what is dialled with one and the same value resumes a TLS session.
pub(super) fn dialling(identity: &Identity, peer: &NodeId, early_data: EarlyData) -> ClientConfig {
    let mut config = identity.client_config(Some(peer), KeyExchange::default(), early_data);
    config.transport_config(transport::parameters(&Timing::default(), CongestionControl::default()).into());
    config
}

/// An endpoint to dial from.
pub(super) fn endpoint() -> Result<Endpoint, MessagingError> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    transport::endpoint(EndpointConfig::default(), None, loopback)
        .map_err(|error| MessagingError::Start(error.to_string()))
}

pub(super) async fn connect(
    endpoint: &Endpoint,
    config: ClientConfig,
    peer: &NodeId,
    address: SocketAddr,
) -> Result<Connection, MessagingError> {
    let connecting = endpoint.connect_with(config, address, server_name(Some(peer))).map_err(lost)?;
    connecting.await.map_err(lost)
}

/// Asks on a stream of its own. Returns the number of the request and the payload of the answer.
pub(super) async fn ask(
    connection: &Connection,
    payloads: &Payloads,
) -> Result<(u64, Vec<u8>), MessagingError> {
    let mut request = Vec::with_capacity(HEAD_BYTES + payloads.bytes());
    let number = put_request(payloads, &mut request);
    let length = request.len();
    let mut answer = exchange(connection, request, length).await?;
    answer.drain(..HEAD_BYTES.min(answer.len()));
    Ok((number, answer))
}

/// Sends one frame that goes one way on a stream of its own, and waits for the count.
pub(super) async fn note(connection: &Connection, payload: &[u8]) -> Result<(), MessagingError> {
    let request = one_way(payload);
    let answer = exchange(connection, request, COUNT_BYTES).await?;
    (counted(&answer)? == 1).then_some(()).ok_or(MessagingError::Wrong("it counts something else"))
}

/// Sends a stream's only bytes and returns those that come back, at most so many.
async fn exchange(
    connection: &Connection,
    request: Vec<u8>,
    answer_bytes_max: usize,
) -> Result<Vec<u8>, MessagingError> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(lost)?;
    send.write_chunk(request.into()).await.map_err(lost)?;
    send.finish().map_err(lost)?;
    recv.read_to_end(answer_bytes_max).await.map_err(lost)
}

/// Appends the next request and returns its number.
pub(super) fn put_request(payloads: &Payloads, out: &mut Vec<u8>) -> u64 {
    out.extend_from_slice(&(payloads.bytes() as u32).to_le_bytes());
    payloads.append(out)
}

/// A frame that goes one way.
pub(super) fn one_way(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD_BYTES + payload.len());
    frame.extend_from_slice(&(payload.len() as u32 | ONE_WAY).to_le_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Ends a stream of frames that went one way and returns how many came.
pub(super) async fn end_and_count(mut send: SendStream, mut recv: RecvStream) -> Result<u64, MessagingError> {
    send.finish().map_err(lost)?;
    counted(&recv.read_to_end(COUNT_BYTES).await.map_err(lost)?)
}

fn counted(answer: &[u8]) -> Result<u64, MessagingError> {
    let count = answer.get(HEAD_BYTES..).and_then(|count| count.try_into().ok());
    count.map(u64::from_le_bytes).ok_or(MessagingError::Wrong("it is no count"))
}

/// Cuts a stream into frames.
pub(super) struct Frames {
    recv: RecvStream,
    chunks: Vec<Bytes>,
    buffer: Vec<u8>,
}

pub(super) struct Frame<'a> {
    pub(super) payload: &'a [u8],
    one_way: bool,
}

impl Frames {
    pub(super) fn new(recv: RecvStream) -> Self {
        Self { recv, chunks: vec![Bytes::new(); CHUNKS], buffer: Vec::new() }
    }

    /// Waits for bytes and says how many came; none at the end of the stream. May be dropped without losing any.
    pub(super) async fn read(&mut self) -> Result<usize, MessagingError> {
        let read = self.recv.read_chunks(&mut self.chunks).await.map_err(lost)?;
        let held = self.buffer.len();
        self.chunks[..read.unwrap_or(0)].iter().for_each(|chunk| self.buffer.extend_from_slice(chunk));
        Ok(self.buffer.len() - held)
    }

    /// Hands over the frames that are complete.
    pub(super) fn take(
        &mut self,
        mut each: impl FnMut(Frame<'_>) -> Result<(), MessagingError>,
    ) -> Result<(), MessagingError> {
        let mut rest = self.buffer.as_slice();
        while let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
            let head = u32::from_le_bytes(*head);
            let (length, one_way) = ((head & !ONE_WAY) as usize, head & ONE_WAY != 0);
            if length > PAYLOAD_BYTES_MAX {
                return Err(MessagingError::Wrong("its frame is too long"));
            }
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            each(Frame { payload, one_way })?;
            rest = after;
        }
        let taken = self.buffer.len() - rest.len();
        self.buffer.drain(..taken);
        Ok(())
    }

    /// Waits for bytes and hands over the payloads that became complete.
    pub(super) async fn answers(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), MessagingError>,
    ) -> Result<(), MessagingError> {
        if self.read().await? == 0 {
            return Err(MessagingError::Wrong("the stream ended"));
        }
        self.take(|frame| each(frame.payload))
    }
}

/// Answers everyone who connects to `endpoint`.
pub(super) async fn serve(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        actix_rt::spawn(serve_connection(incoming));
    }
}

/// Allows streams by the same rule as a node.
async fn serve_connection(incoming: Incoming) {
    // Whether the handshake comes to its end shows when there are no streams.
    let Ok(Ok((connection, _complete))) = incoming.accept().map(Connecting::into_0rtt) else { return };
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

async fn send_back(mut send: SendStream, recv: RecvStream) -> Result<(), MessagingError> {
    let (mut frames, mut notes) = (Frames::new(recv), 0_u64);
    loop {
        let read = frames.read().await?;
        if read == 0 {
            break;
        }
        let mut answers = Vec::with_capacity(read);
        frames.take(|Frame { payload, one_way }| {
            if one_way {
                notes += 1;
                return Ok(());
            }
            answers.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            answers.extend_from_slice(payload);
            Ok(())
        })?;
        if !answers.is_empty() {
            send.write_chunk(answers.into()).await.map_err(lost)?;
        }
    }
    if notes > 0 {
        let mut count = (size_of::<u64>() as u32).to_le_bytes().to_vec();
        count.extend_from_slice(&notes.to_le_bytes());
        send.write_chunk(count.into()).await.map_err(lost)?;
    }
    send.finish().map_err(lost)
}
