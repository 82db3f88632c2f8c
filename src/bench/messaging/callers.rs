//! The second control of small requests on a lane: raw quinn with one future and one slot for each request. It batches
//! as the floor does, and wakes who awaits an answer.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures_util::future::try_join_all;
use quinn::{Connection, SendStream};

use super::MessagingError;
use super::closed_loop::Progress;
use super::floor::{Frames, lost, put_request};

/// As many closed loops as requests are to be in flight, on one stream.
pub(super) async fn ask(connection: &Connection, progress: &Progress<'_>) -> Result<(), MessagingError> {
    let (send, recv) = connection.open_bi().await.map_err(lost)?;
    let line = Line::default();
    let callers = try_join_all((0..progress.in_flight).map(|_| line.call(progress)));
    tokio::select! {
        // What one of them makes ready, the next one finds when it is polled.
        biased;
        failed = line.receive(Frames::new(recv)) => failed,
        called = callers => called.map(drop),
        failed = line.send(send) => failed,
    }
}

/// One stream that many share.
#[derive(Default)]
struct Line {
    next: RefCell<Vec<u8>>,
    /// In the order of their requests, which is that of the answers.
    waiting: RefCell<VecDeque<Rc<Slot>>>,
}

/// Where one caller waits.
#[derive(Default)]
struct Slot {
    answer: RefCell<Vec<u8>>,
    answered: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Line {
    async fn call(&self, progress: &Progress<'_>) -> Result<(), MessagingError> {
        let slot = Rc::new(Slot::default());
        while !progress.is_over() {
            let number = put_request(&progress.payloads, &mut self.next.borrow_mut());
            self.waiting.borrow_mut().push_back(Rc::clone(&slot));
            slot.filled().await;
            progress.answered(number, &slot.answer.borrow())?;
        }
        Ok(())
    }

    /// Ends with an error only.
    async fn send(&self, mut send: SendStream) -> Result<(), MessagingError> {
        loop {
            // Needs no waker: callers are polled just before.
            let bytes = poll_fn(|_| {
                let mut next = self.next.borrow_mut();
                if next.is_empty() {
                    return Poll::Pending;
                }
                let room = Vec::with_capacity(next.len());
                Poll::Ready(std::mem::replace(&mut *next, room))
            });
            send.write_chunk(bytes.await.into()).await.map_err(lost)?;
        }
    }

    /// Ends with an error only.
    async fn receive(&self, mut frames: Frames) -> Result<(), MessagingError> {
        loop {
            frames
                .answers(|answer| {
                    let slot = self.waiting.borrow_mut().pop_front();
                    slot.ok_or(MessagingError::Wrong("nobody waits for it"))?.fill(answer);
                    Ok(())
                })
                .await?;
        }
    }
}

impl Slot {
    fn fill(&self, answer: &[u8]) {
        let mut held = self.answer.borrow_mut();
        held.clear();
        held.extend_from_slice(answer);
        self.answered.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn filled(&self) {
        poll_fn(|cx| {
            if self.answered.take() {
                return Poll::Ready(());
            }
            self.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
