//! What a peer sends on a stream, cut into frames.

use super::Inbound;
use crate::{
    budget::{Room, SHORT_BYTES_MAX},
    gate::RETRY_AFTER,
    transport::{LinkError, RecvHalf},
};
use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use std::rc::Rc;
use swarm_protocols::{
    DeliveryError,
    wire::frame::{self, FrameError, FrameReader},
};
use tokio::time::Instant;

/// Why a stream is served no longer.
pub(super) enum Fault {
    /// The peer broke the rules of the wire. It costs it the connection.
    Violation(String),
    /// The request cannot be taken. It costs the caller that request, or the lane on which it came.
    Refused(DeliveryError),
    /// The peer abandoned the stream, or the connection is lost.
    Gone,
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        Self::Violation(error.to_string())
    }
}

impl From<LinkError> for Fault {
    fn from(_: LinkError) -> Self {
        Self::Gone
    }
}

/// The receiving half of a stream, cut into frames, with a bound on how long the peer may pause within one and how much
/// it may keep unfinished.
pub(super) struct Input {
    pub(super) recv: Box<dyn RecvHalf>,
    /// The kind of the stream, where it is known.
    pub(super) kind: Option<u8>,
    pub(super) reader: FrameReader,
    pub(super) inbound: Rc<Inbound>,
    /// What an unfinished frame takes, where it is long.
    pub(super) room: Option<Room>,
}

impl Input {
    /// The request of a stream that carries one, if it has come whole.
    pub(super) fn request_now(&mut self) -> Result<Option<Bytes>, Fault> {
        // What is wrong with the stream is seen once more when it is read again.
        let Some(Ok(Some(mut chunk))) = self.recv.read().now_or_never() else { return Ok(None) };
        let Some(kind) = chunk.first().copied().filter(|kind| self.inbound.carries_request(*kind)) else {
            self.reader.feed(chunk);
            return Ok(None);
        };
        chunk.advance(1);
        self.kind = Some(kind);
        self.reader.feed(chunk);
        self.request()
    }

    /// What has come of the one frame of a request stream, if that is all of it.
    pub(super) fn request(&mut self) -> Result<Option<Bytes>, Fault> {
        let limit = self.inbound.limits.message_bytes;
        match self.next_frame() {
            Err(FrameError::TooLong { bytes, .. }) => {
                Err(Fault::Refused(DeliveryError::TooLarge { bytes, limit }))
            }
            frame => Ok(frame?),
        }
    }

    /// The first bytes of the stream, before its frames; `None` where it ends before them.
    pub(super) async fn head(&mut self, length: usize) -> Result<Option<Bytes>, Fault> {
        let within = self.inbound.frame_timeout;
        let deadline = Instant::now() + within;
        let mut chunk = self.reader.take_chunk();
        while chunk.is_empty() {
            chunk = match tokio::time::timeout_at(deadline, self.recv.read()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    return Err(Fault::Violation(format!("a stream without a first byte for {within:?}")));
                }
            };
        }
        let head = chunk.copy_to_bytes(length);
        self.reader.feed(chunk);
        Ok(Some(head))
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.reader.next_frame()? {
                // It takes room of its own where it is long.
                self.room = None;
                return Ok(Some(frame));
            }
            let Some(chunk) = self.recv.next_ready() else { return Ok(None) };
            self.reader.feed(chunk);
        }
    }

    /// The next chunk; `None` where the peer ended or reset the stream.
    pub(super) async fn read(&mut self) -> Result<Option<Bytes>, Fault> {
        let partial = self.reader.partial_bytes();
        self.make_room(partial)?;
        let within = self.inbound.frame_timeout;
        let chunk = match partial {
            // The next request of a lane may never come.
            0 if self.kind == Some(frame::STREAM_LANE) => self.recv.read().await,
            // However long the frame is, it may take its time as long as it comes on.
            _ => match tokio::time::timeout(within, self.recv.read()).await {
                Ok(chunk) => chunk,
                Err(_) => return Err(Fault::Violation(format!("a frame came no further for {within:?}"))),
            },
        };
        match chunk {
            Ok(Some(chunk)) => Ok(Some(chunk)),
            Ok(None) => Ok(self.reader.finish().map(|()| None)?),
            // What came before the reset counts, but for a frame that was begun.
            Err(LinkError::StreamAbandoned) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The one frame of a request stream.
    pub(super) async fn only_frame(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if let Some(frame) = self.request()? {
                return Ok(Some(frame));
            }
            match self.read().await? {
                Some(chunk) => self.reader.feed(chunk),
                None => return Ok(None),
            }
        }
    }

    /// Drops it. Where the end of the stream has come already that is taken first: else the peer would
    /// be told that the rest is not wanted.
    pub(super) fn end(mut self) {
        let _end_or_later = self.recv.read().now_or_never();
    }

    /// Room for so many bytes of an unfinished frame.
    pub(super) fn make_room(&mut self, partial: usize) -> Result<(), Fault> {
        if partial <= SHORT_BYTES_MAX {
            self.room = None;
            return Ok(());
        }
        match self.inbound.share.extend(&mut self.room, partial) {
            true => Ok(()),
            false => Err(Fault::Refused(DeliveryError::Overloaded { retry_after: RETRY_AFTER })),
        }
    }
}
