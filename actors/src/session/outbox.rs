//! Bytes that wait to be written on a stream.

use crate::{
    budget::{Room, Share},
    transport::SendHalf,
};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use swarm_protocols::{
    Delivery, DeliveryError,
    wire::{
        NO_ROOM,
        frame::{self, LANE_ANSWER_BYTES_MAX},
    },
};

/// What an outbox keeps room for after it was emptied, in bytes. As much may wait without being counted.
const BATCH_BYTES_KEPT: usize = 64 << 10;

/// How many long answers may wait before requests that come wait for them.
const LONG_FREE: usize = 8;

/// What a writer gets: bytes, or none after the end, and the stream, if it is open.
pub(crate) type Taken = (Option<Bytes>, Option<Box<dyn SendHalf>>);

/// Bytes on their way to a stream, and the task that takes them there.
#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// The stream, while the writer has nothing to write.
    send: Option<Box<dyn SendHalf>>,
    /// What the stream did not take at once. It goes before all other bytes.
    unsent: Bytes,
    writer: Option<Waker>,
    throttled: Option<Waker>,
    ended: bool,
    /// Whose room what waits takes, where it is for a peer.
    share: Option<Arc<Share>>,
    room: Option<Room>,
    /// What the writer has.
    in_writing: Option<Room>,
    /// How many bytes may wait in the room that was taken.
    admitted: usize,
    /// Long answers, of which a piece goes after everything else each time: none makes the others wait.
    long: VecDeque<Long>,
    long_bytes: usize,
}

/// What is left of a long answer.
#[derive(Debug)]
struct Long {
    correlation: u64,
    failed: bool,
    payload: Bytes,
}

impl Outbox {
    /// For answers to a peer.
    pub(crate) fn of(share: &Arc<Share>) -> Self {
        Self { share: Some(Arc::clone(share)), ..Self::default() }
    }

    /// How many bytes of whole frames wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.unsent.len()
    }

    /// Whether so much waits that nothing more should be asked for: more than `limit` bytes. A few long answers do not
    /// count, so that nobody waits for them who asks for something short, unless their peer holds much.
    pub(crate) fn is_crowded(&self, limit: usize) -> bool {
        let scarce = || self.share.as_ref().is_some_and(|share| share.is_scarce());
        let long_bytes = match self.long.len() {
            0 => 0,
            1..=LONG_FREE if !scarce() => 0,
            _ => self.long_bytes,
        };
        self.len() + long_bytes > limit
    }

    /// Whether so many bytes more may wait here.
    pub(crate) fn admits(&mut self, bytes: usize) -> bool {
        let bytes = self.len().saturating_add(self.long_bytes).saturating_add(bytes);
        if bytes <= self.admitted.max(BATCH_BYTES_KEPT) {
            return true;
        }
        let Some(share) = &self.share else { return true };
        // In steps, as this is asked for many short answers.
        let wanted = bytes.next_multiple_of(BATCH_BYTES_KEPT);
        let admitted = share.extend(&mut self.room, wanted);
        self.admitted = if admitted { wanted } else { self.admitted };
        admitted
    }

    /// Appends an answer that is sent in pieces.
    pub(crate) fn push_long(&mut self, correlation: u64, failed: bool, payload: Bytes) {
        self.long_bytes += payload.len();
        self.long.push_back(Long { correlation, failed, payload });
        self.frames();
    }

    /// Drops what is left of a long answer; whether there was something.
    pub(crate) fn drop_long(&mut self, correlation: u64) -> bool {
        let Some(position) = self.long.iter().position(|long| long.correlation == correlation) else {
            return false;
        };
        let dropped = self.long.remove(position).map_or(0, |long| long.payload.len());
        self.long_bytes -= dropped;
        true
    }

    /// Appends frames, or takes them as they are where nothing else waits; they are empty afterwards. The writer is
    /// still to be [woken](Self::wake).
    pub(crate) fn append(&mut self, frames: &mut Vec<u8>) {
        if self.bytes.is_empty() && self.bytes.capacity() <= BATCH_BYTES_KEPT {
            std::mem::swap(&mut self.bytes, frames);
        } else {
            self.bytes.append(frames);
        }
    }

    /// Where to append frames; the writer learns of them.
    pub(crate) fn frames(&mut self) -> &mut Vec<u8> {
        self.wake();
        &mut self.bytes
    }

    /// Where to append frames, before the writer is [woken](Self::wake) or what waits is
    /// [written at once](Self::write_now).
    pub(crate) fn frames_to_write(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Lets the writer go on.
    pub(crate) fn wake(&mut self) {
        self.writer.take().into_iter().for_each(Waker::wake);
    }

    /// Lets what is appended be written at once from now on: the writer has nothing to write.
    pub(crate) fn attach(&mut self, send: Box<dyn SendHalf>) {
        self.send = Some(send);
    }

    /// The stream, for the writer.
    pub(crate) fn detach(&mut self) -> Option<Box<dyn SendHalf>> {
        self.send.take()
    }

    /// Writes what waits, without the writer, where that has nothing before it. The writer gets what is left.
    pub(crate) fn write_now(&mut self) {
        if self.send.is_none() || !self.unsent.is_empty() || !self.long.is_empty() {
            return self.wake();
        }
        self.unsent = self.take_bytes();
        let unsent = std::slice::from_mut(&mut self.unsent);
        // The writer learns what is wrong with the stream.
        let is_open = self.send.as_mut().is_some_and(|send| send.write_now(unsent).is_ok());
        if !is_open || !self.unsent.is_empty() {
            return self.wake();
        }
        (self.room, self.admitted) = (None, 0);
        self.throttled.take().into_iter().for_each(Waker::wake);
    }

    /// Lets the writer finish the stream once everything is out.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.frames();
    }

    /// Ready once it is not [crowded](Self::is_crowded) any more.
    pub(crate) fn poll_eased(&mut self, limit: usize, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_crowded(limit) {
            return Poll::Ready(());
        }
        self.throttled = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Everything appended since the last time, and a piece of a long answer; `None` after the end.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(mut long) = self.long.pop_front() {
            let piece = long.payload.split_to(long.payload.len().min(LANE_ANSWER_BYTES_MAX));
            self.long_bytes -= piece.len();
            if long.payload.is_empty() {
                frame::put_outcome(long.correlation, long.failed, &piece, &mut self.bytes);
            } else {
                frame::put_part(long.correlation, &piece, &mut self.bytes);
                self.long.push_back(long);
            }
        }
        if self.len() == 0 {
            self.in_writing = None;
            if self.ended {
                return Poll::Ready(None);
            }
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(throttled) = self.throttled.take() {
            throttled.wake();
        }
        if self.long.is_empty() {
            (self.in_writing, self.admitted) = (self.room.take(), 0);
        }
        if !self.unsent.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.unsent)));
        }
        Poll::Ready(Some(self.take_bytes()))
    }

    /// Leaves room for as much as there was, so that it need not grow again.
    fn take_bytes(&mut self) -> Bytes {
        let next = if self.ended { 0 } else { self.bytes.len().min(BATCH_BYTES_KEPT) };
        std::mem::replace(&mut self.bytes, Vec::with_capacity(next)).into()
    }
}

/// Whether an answer found no room: that is no fault of whoever gave it.
pub(crate) fn is_no_room(error: &DeliveryError) -> bool {
    matches!(error, DeliveryError::Codec { reason, .. } if reason.starts_with(NO_ROOM))
}

/// What becomes of an answer for which there is no room.
pub(crate) fn no_room(bytes: usize, delivery: Delivery) -> DeliveryError {
    let reason = format!("{NO_ROOM} of {bytes} bytes, as others wait to be taken");
    DeliveryError::Codec { reason, delivery }
}
