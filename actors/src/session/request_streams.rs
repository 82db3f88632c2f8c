//! The callee's end of requests with a stream each: the streams that wait for their answers, and those whose answers may
//! not have arrived yet.

use super::{
    FAREWELL,
    outbox::no_room,
    replies::{Answer, Form, put},
};
use crate::{
    budget::{Room, SHORT_BYTES_MAX, Share},
    gate::Gate,
    transport::{STREAMS_MAX, SendHalf},
};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use slab::Slab;
use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};
use swarm_protocols::{Delivery, wire::frame};
use tokio::{runtime::Handle, sync::oneshot, time::timeout};

/// How much of a long answer is written at once: a peer that takes so much in time is waited for.
const PIECE_BYTES: usize = 64 << 10;

/// How many answered streams are kept at most: twice as many as a peer may have open, so that the answers on at least
/// half of them have arrived.
const ENDED_MAX: usize = 2 * STREAMS_MAX as usize;

/// The streams of a peer's requests.
pub(super) struct RequestStreams {
    /// Those that wait for an answer.
    open: Slab<Open>,
    /// Those that were answered, as closing the connection would cut off what has not arrived.
    ended: VecDeque<Box<dyn SendHalf>>,
    /// Who writes what a peer did not take at once.
    writers: Arc<Gate>,
    runtime: Handle,
    /// How long a peer may take for a piece.
    patience: Duration,
    share: Arc<Share>,
}

struct Open {
    send: Box<dyn SendHalf>,
    /// Dropped with the answer, when nobody has to see to it any more whether somebody waits.
    watched: Option<oneshot::Sender<Infallible>>,
}

impl RequestStreams {
    /// Lets those enter `writers` who wait for a peer that takes no answers, at most `patience` for each piece. Long
    /// answers take room of the `share` until they are written.
    pub(super) fn new(writers: &Arc<Gate>, patience: Duration, share: &Arc<Share>) -> Self {
        let (open, ended, writers) = (Slab::new(), VecDeque::new(), Arc::clone(writers));
        Self { open, ended, writers, runtime: Handle::current(), patience, share: Arc::clone(share) }
    }

    /// Keeps a stream until its request is answered, and gives it a number.
    pub(super) fn open(&mut self, send: Box<dyn SendHalf>) -> u32 {
        let number = self.open.insert(Open { send, watched: None });
        u32::try_from(number).expect("no memory holds so many streams")
    }

    /// How many wait for an answer.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Completes when the peer does not want the answer any more, or has it.
    pub(super) fn stopped(&mut self, number: u32) -> Option<BoxFuture<'static, ()>> {
        let open = self.open.get_mut(number as usize)?;
        let (watched, answered) = oneshot::channel();
        open.watched = Some(watched);
        let stopped = open.send.stopped();
        Some(Box::pin(async move {
            tokio::select! {
                () = stopped => {}
                _ = answered => {}
            }
        }))
    }

    /// Sends the answer. Takes the `payload` where it is long, and is not to be copied.
    pub(super) fn answer(&mut self, number: u32, correlation: u64, form: Form, payload: &mut Vec<u8>) {
        let (mut head, mut body, mut room) = (Vec::new(), Bytes::new(), None);
        match form {
            Ok(answer) if payload.len() > SHORT_BYTES_MAX => {
                room = self.share.take(payload.len());
                if room.is_some() {
                    let failed = answer == Answer::Failed;
                    frame::put_outcome_head(correlation, failed, payload.len(), &mut head);
                    payload.shrink_to_fit();
                    body = std::mem::take(payload).into();
                } else {
                    let error = no_room(payload.len(), Delivery::Delivered);
                    frame::put_undelivered(correlation, &error, &mut head);
                }
            }
            form => put(correlation, form, payload, &mut head),
        }
        self.send(number, [head.into(), body], room);
    }

    /// Sends an answer that is encoded, and takes `room` until it is written.
    pub(super) fn send(&mut self, number: u32, mut frame: [Bytes; 2], room: Option<Room>) {
        let Some(Open { mut send, .. }) = self.open.try_remove(number as usize) else { return };
        match send.write_now(&mut frame) {
            Ok(()) if frame.iter().all(Bytes::is_empty) => {
                send.finish();
                self.end(send);
            }
            Ok(()) => {
                let (writer, patience) = (self.writers.enter(), self.patience);
                self.runtime.spawn(async move {
                    let _counted = (writer, room);
                    write(send, frame, patience).await;
                });
            }
            // Nobody waits for it.
            Err(_) => {}
        }
    }

    fn end(&mut self, send: Box<dyn SendHalf>) {
        // QUIC lets no peer have more than half as many that have not arrived.
        for _ in ENDED_MAX..=self.ended.len() {
            if let Some(mut oldest) = self.ended.pop_front()
                && !has_arrived(&mut oldest)
            {
                self.ended.push_back(oldest);
            }
        }
        self.ended.push_back(send);
    }

    /// Forgets the streams of which everything has arrived.
    pub(super) fn tidy(&mut self) {
        self.ended.retain_mut(|send| !has_arrived(send));
        self.ended.shrink_to_fit();
    }

    /// Completes when all answers that were written at once have arrived, or that has taken too long.
    pub(super) fn arrived(&mut self) -> impl Future<Output = ()> + use<> {
        let arrived = join_all(self.ended.drain(..).map(|mut send| send.stopped()));
        async move {
            let _in_time = timeout(FAREWELL, arrived).await;
        }
    }

    /// Drops the streams that wait, so that their peer learns that no answers come.
    pub(super) fn close(&mut self) {
        (self.open, self.ended) = (Slab::new(), VecDeque::new());
    }
}

fn has_arrived(send: &mut Box<dyn SendHalf>) -> bool {
    send.stopped().now_or_never().is_some()
}

/// Writes an answer, and gives up a peer that takes nothing of it in time.
async fn write(mut send: Box<dyn SendHalf>, frame: [Bytes; 2], patience: Duration) {
    for mut bytes in frame {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            if !matches!(timeout(patience, send.write(piece)).await, Ok(Ok(()))) {
                return;
            }
        }
    }
    super::callee::finish(send).await;
}

#[cfg(test)]
mod tests;
