//! The streams of a connection while its handshake is not complete.
//!
//! What comes then is early data, which somebody may have recorded: it says nothing of whether the peer is there. So the
//! first stream of all, that of the session, is kept unread until the handshake is complete, and so is what is over the
//! bound.

use super::{Halves, QuicLink, lost};
use crate::transport::{EarlyAsk, EarlyAsks, Link, LinkError, Stream};
use futures_util::FutureExt;
use quinn::{ConnectionError, ZeroRttAccepted};
use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use swarm_protocols::wire::frame::EARLY_STREAMS_MAX;
use tokio::sync::watch;

/// The streams that are left for the session.
#[derive(Default)]
pub(super) struct EarlyPhase {
    /// The one that the dialler has opened.
    own: Mutex<Option<Halves>>,
    /// Those that have come to the acceptor.
    came: Mutex<VecDeque<Halves>>,
    /// How many were given out.
    early: AtomicUsize,
    complete: watch::Sender<bool>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is locked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EarlyPhase {
    pub(super) fn take_own(&self) -> Option<Halves> {
        locked(&self.own).take()
    }

    pub(super) fn take_came(&self) -> Option<Halves> {
        locked(&self.came).pop_front()
    }

    fn may_give(&self) -> bool {
        self.early.fetch_add(1, Ordering::Relaxed) < EARLY_STREAMS_MAX
    }
}

impl QuicLink {
    pub(super) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    /// Why there is no connection after what seemed to be its handshake, where there is none.
    pub(super) fn check_connected(&self) -> Result<(), ConnectionError> {
        match self.connection.close_reason() {
            // Only who is through with the handshake can close it so: that is the session's to notice.
            None | Some(ConnectionError::ApplicationClosed(_)) => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// The handshake is complete. Call it before the session begins.
    pub(super) fn completed(&self) {
        self.early.complete.send_replace(true);
    }

    pub(super) fn is_complete(&self) -> bool {
        *self.early.complete.borrow()
    }

    pub(super) async fn accept_in_handshake(&self) -> Result<Stream, LinkError> {
        let (mut complete, closed) = (self.early.complete.subscribe(), &self.closed);
        let over = || LinkError::Lost("the handshake is complete".to_owned());
        loop {
            let came = tokio::select! {
                biased;
                _ = complete.wait_for(|complete| *complete) => return Err(over()),
                came = self.connection.accept_bi() => came.map_err(|error| lost(error, closed))?,
            };
            let (_, recv) = &came;
            let (is_early, is_first) = (recv.is_0rtt(), recv.id().index() == 0);
            if is_early && !is_first && self.early.may_give() {
                return Ok(self.stream(came));
            }
            locked(&self.early.came).push_back(came);
            if !is_early {
                return Err(over());
            }
        }
    }

    /// Opens the stream of the session, before any early one.
    pub(super) fn open_first(&self) {
        *locked(&self.early.own) = self.connection.open_bi().now_or_never().and_then(Result::ok);
    }

    /// Sends an early request. Where that cannot be, dropping it says all.
    pub(super) fn ask_early(&self, EarlyAsk { request, priority, begun }: EarlyAsk) {
        if locked(&self.early.own).is_none() || !self.early.may_give() {
            return;
        }
        let Some(mut stream) = self.open_now() else { return };
        stream.send.set_priority(priority);
        let mut rest = [request];
        if stream.send.write_now(&mut rest).is_err() {
            return;
        }
        let [rest] = rest;
        if rest.is_empty() {
            stream.send.finish();
        }
        let _left = begun.send((stream, rest));
    }

    /// Sends early requests until the handshake is complete.
    pub(super) async fn ask_until(&self, accepted: ZeroRttAccepted, mut asks: EarlyAsks) {
        tokio::pin!(accepted);
        let accepted = loop {
            tokio::select! {
                biased;
                accepted = &mut accepted => break accepted,
                Some(ask) = asks.recv() => self.ask_early(ask),
            }
        };
        if !accepted {
            // It is no stream any more.
            self.early.take_own();
        }
    }
}
