//! What went over the sessions of a node.

use super::{Peer, QuicBridge};
use crate::{
    identity::PeerIdentity,
    session::{DeadLetter, DeadLetters},
    subscription::Feed,
};
use actix::{Handler, Message, MessageResult};
use std::{sync::atomic::Ordering, time::Duration};

/// What went over all sessions of a node since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeStatistics {
    /// How many sessions are open.
    pub sessions: usize,
    /// Requests sent to peers over sessions.
    pub sent: u64,
    /// Requests received from peers.
    pub received: u64,
    /// How many of them came in early data.
    pub received_early: u64,
    /// Messages of peers that nobody took, by reason.
    pub dead_letters: DeadLetters,
    /// The median time from asking a peer to its answer, the work included; to two digits. Where more than 64 requests are
    /// in flight on a lane, or on streams of their own, one in eight is timed.
    pub p50: Option<Duration>,
    /// The 99th percentile of the same.
    pub p99: Option<Duration>,
}

/// What went over one session since it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatistics {
    /// The other side.
    pub peer: Peer,
    /// The certificate that the peer has shown in it; `None` for a session in memory.
    pub certificate: Option<PeerIdentity>,
    /// How long it has been open.
    pub open_for: Duration,
    /// Requests sent to the peer.
    pub sent: u64,
    /// Requests received from it.
    pub received: u64,
    /// Messages received from it that could not be accepted and for which it wanted
    /// [no acknowledgement](crate::Tell::acknowledged).
    pub dropped: u64,
    /// How long the last ping took to come back, if one has.
    pub round_trip: Option<Duration>,
}

/// Count what went over all sessions.
#[derive(Message)]
#[rtype(result = "NodeStatistics")]
pub(crate) struct Statistics;

impl Handler<Statistics> for QuicBridge {
    type Result = MessageResult<Statistics>;

    fn handle(&mut self, _: Statistics, _: &mut Self::Context) -> Self::Result {
        let (mut sent, mut received) = self.past;
        let received_early = self.early.requests.load(Ordering::Relaxed);
        received += received_early;
        for open in self.sessions.values().filter_map(|attached| attached.open.as_ref()) {
            sent += open.outbound.sent();
            received += open.received.requests.load(Ordering::Relaxed);
            open.outbound.take_latency(&mut self.latency);
        }
        let quantile = |q| match self.latency.is_empty() {
            true => None,
            false => Some(Duration::from_micros(self.latency.value_at_quantile(q))),
        };
        MessageResult(NodeStatistics {
            sessions: self.used.len(),
            sent,
            received,
            received_early,
            dead_letters: self.routes.handlers().dead_letters.counts(),
            p50: quantile(0.5),
            p99: quantile(0.99),
        })
    }
}

/// Show the dead letters of the node from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ShowDeadLetters(pub(crate) Feed<DeadLetter>);

impl Handler<ShowDeadLetters> for QuicBridge {
    type Result = ();

    fn handle(&mut self, ShowDeadLetters(feed): ShowDeadLetters, _: &mut Self::Context) {
        self.routes.handlers().dead_letters.subscribe(feed);
    }
}

/// Count what went over each session.
#[derive(Message)]
#[rtype(result = "Vec<SessionStatistics>")]
pub(crate) struct Sessions;

impl Handler<Sessions> for QuicBridge {
    type Result = Vec<SessionStatistics>;

    fn handle(&mut self, _: Sessions, _: &mut Self::Context) -> Self::Result {
        self.used()
            .map(|(attached, open)| {
                let round_trip = open.round_trip.load(Ordering::Relaxed);
                SessionStatistics {
                    peer: open.peer.clone(),
                    open_for: open.since.elapsed(),
                    sent: open.outbound.sent(),
                    received: open.received.requests.load(Ordering::Relaxed),
                    dropped: open.received.dropped.load(Ordering::Relaxed),
                    certificate: attached.shown.as_ref().map(|shown| shown.peer.peer.clone()),
                    round_trip: (round_trip > 0).then(|| Duration::from_micros(round_trip)),
                }
            })
            .collect()
    }
}
