//! Standard error, written by a thread of its own.
//!
//! Whoever says something never waits for whoever reads it: a pipe that nobody empties holds up neither
//! signals nor the supervision of processes. What does not fit in the queue is left out, and counted.
//!
//! Not with `tracing-appender`: its queue is bounded in messages, not bytes, and tells nobody what it dropped; at the
//! end it waits a fixed time, and where the queue stays full it prints to stdout, which holds results.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// How many bytes may wait for the reader.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// The queue of this process, once there is something in it.
static QUEUE: OnceLock<Option<Queue>> = OnceLock::new();

/// Writes a text whole and in order, or, when too much is waiting, not at all.
pub(crate) fn write(text: &[u8]) {
    match QUEUE.get_or_init(start) {
        Some(queue) => queue.push(text),
        // There is no further thread. A closed stderr leaves nobody to tell.
        None => drop(io::stderr().write_all(text)),
    }
}

/// Gives the reader this long for what is waiting.
pub(crate) fn flush(within: Duration) {
    if let Some(Some(queue)) = QUEUE.get() {
        queue.wait_until_written(within);
    }
}

/// Says the last words of a process. Where nothing has been queued nobody handles signals either, so a
/// reader may take its time.
pub(crate) fn finish(text: &str, within: Duration) {
    match QUEUE.get() {
        Some(_) => write(text.as_bytes()),
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
    flush(within);
}

fn start() -> Option<Queue> {
    let write_on = || {
        let queue = QUEUE.wait().as_ref().expect("there is a queue where there is a thread");
        loop {
            let text = queue.take();
            // A closed stderr leaves nobody to tell; whoever waits is not to wait for it either.
            let _unheard = io::stderr().write_all(&text);
        }
    };
    thread::Builder::new().name("stderr".to_owned()).spawn(write_on).ok().map(|_| Queue::default())
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    left_out: u64,
    /// The thread has taken text and has not come back.
    being_written: bool,
}

impl Queue {
    fn push(&self, text: &[u8]) {
        let mut waiting = self.lock();
        if waiting.text.len() + text.len() > WAITING_BYTES_MAX {
            waiting.left_out += 1;
            return;
        }
        waiting.text.extend_from_slice(text);
        self.changed.notify_all();
    }

    /// Waits for text. Who calls has written what it took before.
    fn take(&self) -> Vec<u8> {
        let mut waiting = self.lock();
        waiting.being_written = false;
        self.changed.notify_all();
        let empty = |waiting: &mut Waiting| waiting.text.is_empty();
        waiting = self.changed.wait_while(waiting, empty).unwrap_or_else(PoisonError::into_inner);
        waiting.being_written = true;
        let mut text = std::mem::take(&mut waiting.text);
        let left_out = std::mem::take(&mut waiting.left_out);
        if left_out > 0 {
            text.extend_from_slice(
                format!("messages left out that nobody read in time: {left_out}\n").as_bytes(),
            );
        }
        text
    }

    fn wait_until_written(&self, within: Duration) {
        let unwritten = |waiting: &mut Waiting| waiting.being_written || !waiting.text.is_empty();
        let _in_time = self.changed.wait_timeout_while(self.lock(), within, unwritten);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that holds the lock can leave it half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_is_left_out_and_counted() {
        let queue = Queue::default();
        queue.push(b"first\n");
        queue.push(&vec![b'x'; WAITING_BYTES_MAX]);
        queue.push(b"second\n");
        let text = String::from_utf8(queue.take()).unwrap();
        assert_eq!(text, "first\nsecond\nmessages left out that nobody read in time: 1\n");
        queue.push(b"third\n");
        assert_eq!(queue.take(), b"third\n");
    }

    #[test]
    fn a_flush_ends_whether_there_is_a_reader_or_not() {
        let queue = Queue::default();
        queue.wait_until_written(Duration::MAX);
        queue.push(b"unread");
        queue.wait_until_written(Duration::ZERO);
    }
}
