//! Frames: `length (varint) | kind (one byte) | body`, the length counting kind and body.

use super::{
    codec,
    control::{Control, Hello, Refuse, RouteChange, Welcome},
    varint,
};
use crate::{Caller, Delivery, DeliveryError, Role};
use bytes::{Buf, Bytes, BytesMut};
use std::{ops::Range, time::Duration};

/// The first byte of the dialler's first stream: control frames in both directions.
pub const STREAM_CONTROL: u8 = 0;
/// The first byte of a lane: pipelined requests one way, their answers the other way. The second
/// byte is the priority class.
pub const STREAM_LANE: u8 = 1;
/// The first byte of a stream that carries one request and its answer.
pub const STREAM_REQUEST: u8 = 2;
/// The same for one that the dialler may open before the handshake is complete, in early data.
pub const STREAM_EARLY: u8 = 3;

/// How many of those are served before the session is open; further ones wait for it.
pub const EARLY_STREAMS_MAX: usize = 16;
/// The longest payload of a request in early data, and of the answer to it, in bytes.
pub const EARLY_BYTES_MAX: usize = 16 << 10;

/// The longest frame on the control stream, in bytes.
pub const CONTROL_BYTES_MAX: usize = 1 << 20;
/// The longest payload of an answer on a lane, in bytes: a longer one is sent in [parts](Frame::Part).
pub const LANE_ANSWER_BYTES_MAX: usize = 32 << 10;
/// What a frame may be longer than the payload in it, in bytes.
pub const OVERHEAD_BYTES_MAX: usize = 128;

/// How much memory is reserved for a frame that has begun, in bytes.
const RESERVED_BYTES_MAX: usize = 16 << 10;

/// For how many times as many bytes as have come memory is reserved after that.
const GROWTH: usize = 4;

const HELLO: u8 = 0x01;
const WELCOME: u8 = 0x02;
const REFUSE: u8 = 0x03;
const ROUTES: u8 = 0x04;
const PING: u8 = 0x05;
const PONG: u8 = 0x06;
const DRAIN: u8 = 0x07;
const REQUEST: u8 = 0x10;
const TELL: u8 = 0x11;
const CANCEL: u8 = 0x12;
const DELEGATED: u8 = 0x15;
const POST: u8 = 0x16;
const REPLY: u8 = 0x20;
const FAILED: u8 = 0x21;
const UNDELIVERED: u8 = 0x22;
const ACCEPTED: u8 = 0x23;
const PART: u8 = 0x28;

/// The beginning of a request frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Chosen by the caller, unique among the unanswered requests of its stream. A post has 0.
    pub correlation: u64,
    /// The callee's number for mailbox and request.
    pub route: u32,
    /// The time the caller still waits, in milliseconds rounded up; 0 where it waits for ever.
    pub deadline_ms: u64,
    /// What is wanted of the callee, and for whom.
    pub intent: Intent,
}

/// What is wanted of the callee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// The handler's answer.
    Ask,
    /// The handler's answer, on behalf of a node that the caller serves. The callee decides whether it works for
    /// that node through this caller.
    AskFor(Caller),
    /// Only whether the mailbox accepts the message.
    Tell,
    /// Nothing: there is no answer.
    Post,
}

impl Intent {
    /// For whom the caller asks, where that is another node.
    pub fn principal(self) -> Option<Caller> {
        match self {
            Intent::AskFor(principal) => Some(principal),
            Intent::Ask | Intent::Tell | Intent::Post => None,
        }
    }
}

/// A frame of a lane or a request stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Caller to callee: handle this.
    Request {
        /// What, for how long, under which number.
        head: RequestHead,
        /// The encoded request.
        payload: Bytes,
    },
    /// Caller to callee: the answer is no longer wanted. The callee still sends one.
    Cancel {
        /// The number of the request.
        correlation: u64,
    },
    /// Callee to caller: what comes next of a long answer. Its last bytes are those of the answer itself.
    Part {
        /// The number of the request.
        correlation: u64,
        /// Some of the encoded reply or error.
        payload: Bytes,
    },
    /// Callee to caller: how the request ended.
    Answer {
        /// The number of the request.
        correlation: u64,
        /// How it ended.
        answer: Answered,
    },
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// The handler succeeded; its encoded reply.
    Reply(Bytes),
    /// The handler failed; its encoded error.
    Failed(Bytes),
    /// The mailbox took the told message.
    Accepted,
    /// The handler gave no answer.
    Undelivered(DeliveryError),
}

/// How bytes break the framing. It ends the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length over the limit of the stream.
    #[error("a frame of {bytes} bytes is over the limit of {limit}")]
    TooLong {
        /// The length as claimed.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
    /// A kind that is unknown or has no place on this stream.
    #[error("unexpected frame kind {0:#04x}")]
    UnexpectedKind(u8),
    /// A body that ends early or holds what its kind does not allow.
    #[error("malformed {0} frame")]
    Malformed(&'static str),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
}

/// Cuts a stream of chunks into frames. A frame that lies in one chunk is not copied.
#[derive(Debug)]
pub struct FrameReader {
    chunk: Bytes,
    partial: BytesMut,
    limit: usize,
}

impl FrameReader {
    /// A reader of frames of at most `limit` bytes (kind and body). Memory held is at most that
    /// plus one chunk.
    pub fn new(limit: usize) -> Self {
        Self { chunk: Bytes::new(), partial: BytesMut::new(), limit }
    }

    /// Adds what came next. The frames of the chunk before must have been taken.
    pub fn feed(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty());
        self.chunk = chunk;
    }

    /// The next complete frame, as kind and body; `None` until more is fed.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        if !self.partial.is_empty() {
            return self.complete_partial();
        }
        match self.frame_length(&self.chunk)? {
            Some((head, length)) if self.chunk.len() >= head + length => {
                self.chunk.advance(head);
                Ok(Some(self.chunk.split_to(length)))
            }
            begun => {
                // A longer frame gets its memory as its bytes come, whatever it claims.
                let bytes = begun.map_or(0, |(head, length)| (head + length).min(RESERVED_BYTES_MAX));
                self.partial.reserve(bytes);
                self.partial.extend_from_slice(&self.chunk);
                self.chunk.clear();
                Ok(None)
            }
        }
    }

    /// The next frame where it has come whole and in one piece, and is a plain request for an answer. `None` leaves it to
    /// [`next_frame`](Self::next_frame), which takes every frame but costs several times as much: this is inlined, as
    /// moving what it yields is most of the cost.
    #[inline(always)]
    pub fn next_ask(&mut self) -> Option<(RequestHead, Bytes)> {
        let ([correlation, route, deadline_ms], bytes) = self.plain(REQUEST)?;
        let route = u32::try_from(route).ok()?;
        let head = RequestHead { correlation, route, deadline_ms, intent: Intent::Ask };
        Some((head, self.split(bytes)))
    }

    /// The same for a handler's reply: its number and payload.
    #[inline(always)]
    pub fn next_reply(&mut self) -> Option<(u64, Bytes)> {
        let ([correlation], bytes) = self.plain(REPLY)?;
        Some((correlation, self.split(bytes)))
    }

    /// The numbers at the beginning of the next frame, if it is whole and of this kind, and where its payload is.
    #[inline(always)]
    fn plain<const NUMBERS: usize>(&self, kind: u8) -> Option<([u64; NUMBERS], Range<usize>)> {
        if !self.partial.is_empty() {
            return None;
        }
        let (length, head) = varint::get(&self.chunk)?;
        let end = head + usize::try_from(length).ok().filter(|length| *length <= self.limit)?;
        let (first, mut rest) = self.chunk.get(head..end)?.split_first()?;
        let mut numbers = [0; NUMBERS];
        for number in &mut numbers {
            let (value, width) = varint::get(rest)?;
            *number = value;
            rest = &rest[width..];
        }
        (*first == kind).then_some((numbers, end - rest.len()..end))
    }

    /// Takes what is there up to the end of these bytes.
    #[inline(always)]
    fn split(&mut self, bytes: Range<usize>) -> Bytes {
        let mut taken = self.chunk.split_to(bytes.end);
        taken.advance(bytes.start);
        taken
    }

    /// How many bytes of an unfinished frame are held.
    pub fn partial_bytes(&self) -> usize {
        self.partial.len()
    }

    /// Whether the frame that is not complete is a message that is not answered.
    pub fn begins_post(&self) -> bool {
        let begun = if self.partial.is_empty() { &self.chunk[..] } else { &self.partial[..] };
        varint::get(begun).is_some_and(|(_, head)| begun.get(head) == Some(&POST))
    }

    /// Takes back what was fed and is not part of a frame that was begun: for what stands before
    /// the first frame of a stream.
    pub fn take_chunk(&mut self) -> Bytes {
        std::mem::take(&mut self.chunk)
    }

    /// Says whether the stream may end here.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.partial.is_empty() && self.chunk.is_empty() { Ok(()) } else { Err(FrameError::Truncated) }
    }

    fn complete_partial(&mut self) -> Result<Option<Bytes>, FrameError> {
        while let (None, false) = (varint::get(&self.partial), self.chunk.is_empty()) {
            self.partial.extend_from_slice(&self.chunk.split_to(1));
        }
        let Some((head, length)) = self.frame_length(&self.partial)? else { return Ok(None) };
        let missing = head + length - self.partial.len();
        let come = missing.min(self.chunk.len());
        if self.partial.capacity() - self.partial.len() < come {
            // What is moved each time is little beside what will have come the next time.
            self.partial.reserve(missing.min(GROWTH * self.partial.len()).max(come));
        }
        self.partial.extend_from_slice(&self.chunk.split_to(come));
        if self.partial.len() < head + length {
            return Ok(None);
        }
        let mut frame = self.partial.split().freeze();
        frame.advance(head);
        Ok(Some(frame))
    }

    #[inline]
    fn frame_length(&self, bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
        let Some((length, head)) = varint::get(bytes) else { return Ok(None) };
        match usize::try_from(length) {
            Ok(length) if length <= self.limit => Ok(Some((head, length))),
            _ => Err(FrameError::TooLong { bytes: length, limit: self.limit }),
        }
    }
}

struct Body<'a> {
    bytes: &'a [u8],
    name: &'static str,
}

impl Body<'_> {
    #[inline]
    fn varint(&mut self) -> Result<u64, FrameError> {
        let (value, width) = varint::get(self.bytes).ok_or(FrameError::Malformed(self.name))?;
        self.bytes = &self.bytes[width..];
        Ok(value)
    }

    /// `role (one byte) | length of the id (one byte) | id`.
    fn caller(&mut self) -> Result<Caller, FrameError> {
        let malformed = || FrameError::Malformed(self.name);
        let [role, length] = *self.bytes.first_chunk().ok_or_else(malformed)?;
        let role = *Role::ALL.get(usize::from(role)).ok_or_else(malformed)?;
        let end = 2 + usize::from(length);
        let id = self.bytes.get(2..end).and_then(|id| std::str::from_utf8(id).ok());
        let node = id.and_then(|id| id.parse().ok()).ok_or_else(malformed)?;
        self.bytes = &self.bytes[end..];
        Ok(Caller { node, role })
    }

    fn end(&self) -> Result<(), FrameError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(FrameError::Malformed(self.name)) }
    }

    fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, FrameError> {
        codec::decode(self.bytes).map_err(|_| FrameError::Malformed(self.name))
    }
}

fn kind_and_body(frame: &[u8]) -> Result<(u8, &[u8]), FrameError> {
    frame.split_first().map(|(kind, body)| (*kind, body)).ok_or(FrameError::Malformed("empty"))
}

/// The last `count` bytes of a frame.
#[inline]
fn last(count: usize, mut frame: Bytes) -> Bytes {
    frame.advance(frame.len() - count);
    frame
}

impl Frame {
    /// Reads a frame of a lane or a request stream.
    #[inline]
    pub fn decode(frame: Bytes) -> Result<Self, FrameError> {
        let (kind, bytes) = kind_and_body(&frame)?;
        let mut body = Body { bytes, name: "lane" };
        if !matches!(
            kind,
            REQUEST | TELL | DELEGATED | POST | CANCEL | REPLY | FAILED | UNDELIVERED | ACCEPTED | PART
        ) {
            return Err(FrameError::UnexpectedKind(kind));
        }
        let correlation = body.varint()?;
        let answer = match kind {
            REQUEST | TELL | DELEGATED | POST => {
                body.name = "request";
                let route = u32::try_from(body.varint()?).map_err(|_| FrameError::Malformed("request"))?;
                let deadline_ms = body.varint()?;
                let intent = match kind {
                    TELL => Intent::Tell,
                    POST => Intent::Post,
                    DELEGATED => Intent::AskFor(body.caller()?),
                    _ => Intent::Ask,
                };
                let head = RequestHead { correlation, route, deadline_ms, intent };
                return Ok(Frame::Request { head, payload: last(body.bytes.len(), frame) });
            }
            CANCEL => {
                body.end()?;
                return Ok(Frame::Cancel { correlation });
            }
            PART => return Ok(Frame::Part { correlation, payload: last(body.bytes.len(), frame) }),
            REPLY => Answered::Reply(last(body.bytes.len(), frame)),
            FAILED => Answered::Failed(last(body.bytes.len(), frame)),
            ACCEPTED => {
                body.end()?;
                Answered::Accepted
            }
            _ => Answered::Undelivered(undelivered(body)?),
        };
        Ok(Frame::Answer { correlation, answer })
    }
}

/// What stands before the payload of a frame: put together here, and appended at once.
struct Head {
    bytes: [u8; Self::BYTES_MAX],
    length: usize,
}

impl Head {
    /// Room for four varints and a kind, and for each varint to be written as eight bytes.
    const BYTES_MAX: usize = 40;

    /// The beginning of a frame of this kind, with so many bytes behind the kind.
    #[inline]
    fn new(kind: u8, body_bytes: usize) -> Self {
        let mut head = Self { bytes: [0; Self::BYTES_MAX], length: 0 };
        head.varint(body_bytes as u64 + 1);
        head.bytes[head.length] = kind;
        head.length += 1;
        head
    }

    #[inline]
    fn varint(&mut self, value: u64) {
        let (bytes, width) = varint::shortest(value);
        self.bytes[self.length..self.length + 8].copy_from_slice(&bytes);
        self.length += width;
    }

    #[inline]
    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[..self.length]);
    }
}

/// Appends a request frame.
#[inline]
pub fn put_request(head: &RequestHead, payload: &[u8], out: &mut Vec<u8>) {
    put_request_head(head, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends a request frame without its payload, which has so many bytes and has to follow.
#[inline]
pub fn put_request_head(head: &RequestHead, payload_bytes: usize, out: &mut Vec<u8>) {
    let RequestHead { correlation, route, deadline_ms, intent } = head;
    let (kind, caller) = match intent {
        Intent::Ask => (REQUEST, None),
        Intent::Tell => (TELL, None),
        Intent::Post => (POST, None),
        Intent::AskFor(caller) => (DELEGATED, Some(caller)),
    };
    let numbers = [*correlation, u64::from(*route), *deadline_ms];
    let body_bytes = numbers.into_iter().map(varint::width).sum::<usize>()
        + caller.map_or(0, |caller| 2 + caller.node.as_str().len())
        + payload_bytes;
    let mut head = Head::new(kind, body_bytes);
    numbers.into_iter().for_each(|number| head.varint(number));
    head.append_to(out);
    if let Some(Caller { node, role }) = caller {
        // A node id is a DNS label, of at most 63 bytes.
        out.extend_from_slice(&[*role as u8, node.as_str().len() as u8]);
        out.extend_from_slice(node.as_str().as_bytes());
    }
}

/// Appends a cancel frame.
pub fn put_cancel(correlation: u64, out: &mut Vec<u8>) {
    put_numbered(CANCEL, correlation, &[], out);
}

/// Appends the answer that a mailbox took a told message.
pub fn put_accepted(correlation: u64, out: &mut Vec<u8>) {
    put_numbered(ACCEPTED, correlation, &[], out);
}

/// Appends the next bytes of a long answer.
pub fn put_part(correlation: u64, payload: &[u8], out: &mut Vec<u8>) {
    put_numbered(PART, correlation, payload, out);
}

/// Appends a handler's reply or, where `failed`, its error.
pub fn put_outcome(correlation: u64, failed: bool, payload: &[u8], out: &mut Vec<u8>) {
    put_numbered(if failed { FAILED } else { REPLY }, correlation, payload, out);
}

/// Appends the same without its payload, which has so many bytes and has to follow.
pub fn put_outcome_head(correlation: u64, failed: bool, payload_bytes: usize, out: &mut Vec<u8>) {
    put_numbered_head(if failed { FAILED } else { REPLY }, correlation, payload_bytes, out);
}

/// Appends the answer that the handler gave none.
pub fn put_undelivered(correlation: u64, error: &DeliveryError, out: &mut Vec<u8>) {
    let (code, number, text) = code_of(error);
    let mut body = Vec::with_capacity(16 + text.len());
    varint::put(code, &mut body);
    varint::put(number.min(varint::VARINT_MAX), &mut body);
    body.extend_from_slice(text.as_bytes());
    put_numbered(UNDELIVERED, correlation, &body, out);
}

#[inline]
fn put_numbered(kind: u8, correlation: u64, payload: &[u8], out: &mut Vec<u8>) {
    put_numbered_head(kind, correlation, payload.len(), out);
    out.extend_from_slice(payload);
}

#[inline]
fn put_numbered_head(kind: u8, correlation: u64, payload_bytes: usize, out: &mut Vec<u8>) {
    let mut head = Head::new(kind, varint::width(correlation) + payload_bytes);
    head.varint(correlation);
    head.append_to(out);
}

/// The version that was asked, and above it the one that is there, plus 1, or 0.
fn versions(wanted: u16, offered: Option<u16>) -> u64 {
    u64::from(wanted) | offered.map_or(0, |offered| u64::from(offered) + 1) << 16
}

fn code_of(error: &DeliveryError) -> (u64, u64, &str) {
    let millis = |duration: &Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match error {
        DeliveryError::NotExposed { what } => (1, 0, what),
        DeliveryError::NotPermitted { reason } => (2, 0, reason),
        DeliveryError::Overloaded { retry_after } => (3, millis(retry_after), ""),
        DeliveryError::TooLarge { limit, .. } => (4, *limit, ""),
        DeliveryError::Codec { reason, delivery: Delivery::NotSent } => (5, 0, reason),
        DeliveryError::Codec { reason, .. } => (6, 0, reason),
        DeliveryError::Draining => (7, 0, ""),
        DeliveryError::Stopped => (8, 0, ""),
        DeliveryError::Panicked => (9, 0, ""),
        DeliveryError::Cancelled => (10, 0, ""),
        DeliveryError::TimedOut { after, .. } => (11, millis(after), ""),
        DeliveryError::SessionLost { reason, .. } => (12, 0, reason),
        DeliveryError::Incompatible { request, wanted, offered } => {
            (13, versions(*wanted, *offered), request)
        }
    }
}

fn undelivered(mut body: Body<'_>) -> Result<DeliveryError, FrameError> {
    body.name = "undelivered";
    let (code, number) = (body.varint()?, body.varint()?);
    let text = std::str::from_utf8(body.bytes).map_err(|_| FrameError::Malformed("undelivered"))?;
    let text = crate::printable(text);
    Ok(match code {
        1 => DeliveryError::NotExposed { what: text },
        2 => DeliveryError::NotPermitted { reason: text },
        3 => DeliveryError::Overloaded { retry_after: Duration::from_millis(number) },
        4 => DeliveryError::TooLarge { bytes: number.saturating_add(1), limit: number },
        5 => DeliveryError::Codec { reason: text, delivery: Delivery::NotSent },
        6 => DeliveryError::Codec { reason: text, delivery: Delivery::Delivered },
        7 => DeliveryError::Draining,
        8 => DeliveryError::Stopped,
        9 => DeliveryError::Panicked,
        10 => DeliveryError::Cancelled,
        11 => DeliveryError::TimedOut { after: Duration::from_millis(number), delivery: Delivery::Unknown },
        12 => DeliveryError::SessionLost { reason: text, delivery: Delivery::Unknown },
        13 => {
            let offered = (number >> 16).checked_sub(1).and_then(|offered| u16::try_from(offered).ok());
            DeliveryError::Incompatible { request: text, wanted: number as u16, offered }
        }
        _ => return Err(FrameError::Malformed("undelivered")),
    })
}

impl Control {
    /// Appends the frame. Fails only where a text or a list in it is over the codec's limit.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), codec::EncodeError> {
        let mut body = Vec::new();
        let kind = match self {
            Control::Hello(hello) => codec::encode_into(hello, &mut body).map(|()| HELLO),
            Control::Welcome(welcome) => codec::encode_into(welcome, &mut body).map(|()| WELCOME),
            Control::Refuse(refuse) => codec::encode_into(refuse, &mut body).map(|()| REFUSE),
            Control::Routes(change) => codec::encode_into(change, &mut body).map(|()| ROUTES),
            Control::Ping(number) | Control::Pong(number) => {
                varint::put(number & varint::VARINT_MAX, &mut body);
                Ok(if matches!(self, Control::Ping(_)) { PING } else { PONG })
            }
            Control::Drain => Ok(DRAIN),
        }?;
        varint::put(body.len() as u64 + 1, out);
        out.push(kind);
        out.extend_from_slice(&body);
        Ok(())
    }

    /// Reads a frame of the control stream.
    pub fn decode(frame: Bytes) -> Result<Self, FrameError> {
        let (kind, bytes) = kind_and_body(&frame)?;
        let body = |name| Body { bytes, name };
        let number = |name| {
            let mut body = body(name);
            let number = body.varint()?;
            body.end().map(|()| number)
        };
        match kind {
            HELLO => body("hello").decode::<Hello>().map(Control::Hello),
            WELCOME => body("welcome").decode::<Welcome>().map(Control::Welcome),
            REFUSE => body("refuse").decode::<Refuse>().map(Control::Refuse),
            ROUTES => body("routes").decode::<RouteChange>().map(Control::Routes),
            PING => number("ping").map(Control::Ping),
            PONG => number("pong").map(Control::Pong),
            DRAIN => body("drain").end().map(|()| Control::Drain),
            kind => Err(FrameError::UnexpectedKind(kind)),
        }
    }
}

#[cfg(test)]
mod tests;
