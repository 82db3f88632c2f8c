//! The callee's end of requests with a stream each: the streams that wait for their answers, and those whose answers may
//! not have arrived yet.

use super::FAREWELL;
use crate::{
    budget::Room,
    gate::Gate,
    transport::{STREAMS_MAX, SendHalf},
};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use slab::Slab;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{runtime::Handle, time::timeout};

/// How much of a long answer is written at once: a peer that takes so much in time is waited for.
const PIECE_BYTES: usize = 64 << 10;

/// How many streams are looked at before the next one is let in: twice as many as a peer may have open, so that the
/// answers on at least half of them have arrived.
const ENDED_MAX: usize = 2 * STREAMS_MAX as usize;

/// The streams of a peer's requests.
pub(super) struct RequestStreams {
    /// Those that wait for an answer.
    open: Slab<Box<dyn SendHalf>>,
    /// Those that were answered, as closing the connection would cut off what has not arrived.
    ended: VecDeque<Box<dyn SendHalf>>,
    /// Who writes what a peer did not take at once.
    writers: Arc<Gate>,
    runtime: Handle,
    /// How long a peer may take for a piece.
    patience: Duration,
}

impl RequestStreams {
    /// Lets those enter `writers` who wait for a peer that takes no answers, at most `patience` for each piece.
    pub(super) fn new(writers: &Arc<Gate>, patience: Duration) -> Self {
        let (open, ended, writers) = (Slab::new(), VecDeque::new(), Arc::clone(writers));
        Self { open, ended, writers, runtime: Handle::current(), patience }
    }

    /// Keeps a stream until its request is answered, and gives it a number.
    pub(super) fn open(&mut self, send: Box<dyn SendHalf>) -> usize {
        self.open.insert(send)
    }

    /// How many wait for an answer.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Completes when the peer does not want the answer any more.
    pub(super) fn stopped(&mut self, number: usize) -> Option<BoxFuture<'static, ()>> {
        self.open.get_mut(number).map(|send| send.stopped())
    }

    /// Sends the answer, which takes `room` until it is written.
    pub(super) fn answer(&mut self, number: usize, mut frame: Bytes, room: Option<Room>) {
        let Some(mut send) = self.open.try_remove(number) else { return };
        match send.write_now(&mut frame) {
            Ok(()) if frame.is_empty() => {
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
        while self.ended.len() >= ENDED_MAX
            && let Some(mut oldest) = self.ended.pop_front()
            && !has_arrived(&mut oldest)
        {
            self.ended.push_back(oldest);
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
        self.open = Slab::new();
    }
}

fn has_arrived(send: &mut Box<dyn SendHalf>) -> bool {
    send.stopped().now_or_never().is_some()
}

/// Writes an answer, and gives up a peer that takes nothing of it in time.
async fn write(mut send: Box<dyn SendHalf>, mut frame: Bytes, patience: Duration) {
    while !frame.is_empty() {
        let piece = frame.split_to(frame.len().min(PIECE_BYTES));
        if !matches!(timeout(patience, send.write(piece)).await, Ok(Ok(()))) {
            return;
        }
    }
    super::callee::finish(send).await;
}
