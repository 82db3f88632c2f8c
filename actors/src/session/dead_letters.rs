//! [`DeadLetter`]: a message that was told and that no actor took.

use crate::subscription::{Event, Feed, Subscribers};
use std::sync::{Mutex, MutexGuard, PoisonError};
use swarm_protocols::{DeliveryError, MailboxName, NodeId};

/// A message that a peer told without wanting an [acknowledgement](crate::Tell::acknowledged), and that no actor took:
/// its sender does not learn of that. Subscribe with [`Node::dead_letters`](crate::Node::dead_letters).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Who told it.
    pub from: NodeId,
    /// For which mailbox, and the name of the request; `None` where nothing is exposed any more where it was sent.
    pub to: Option<(MailboxName, String)>,
    /// Why nobody took it.
    pub reason: DeliveryError,
}

impl Event for DeadLetter {
    type Subject = ();

    fn begins(&self) -> Option<&()> {
        None
    }

    fn ends(&self) -> Option<&()> {
        None
    }
}

/// How many [dead letters](DeadLetter) a node has had since it started, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// The mailbox is not exposed, or does not accept the request.
    pub not_exposed: u64,
    /// The role of the sender may not call the mailbox.
    pub not_permitted: u64,
    /// The mailbox or the session had no room.
    pub overloaded: u64,
    /// The message is not of its type, or too long.
    pub undecodable: u64,
    /// This node was draining.
    pub draining: u64,
    /// The actor had stopped or panicked.
    pub stopped: u64,
    /// The mailbox leads to another node, and the message did not get there.
    pub not_passed_on: u64,
}

impl DeadLetters {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Self { not_exposed, not_permitted, overloaded, undecodable, draining, stopped, not_passed_on } =
            self;
        not_exposed + not_permitted + overloaded + undecodable + draining + stopped + not_passed_on
    }

    fn count(&mut self, reason: &DeliveryError) {
        *match reason {
            DeliveryError::NotExposed { .. } | DeliveryError::Incompatible { .. } => &mut self.not_exposed,
            DeliveryError::NotPermitted { .. } => &mut self.not_permitted,
            DeliveryError::Overloaded { .. } => &mut self.overloaded,
            DeliveryError::Codec { .. } | DeliveryError::TooLarge { .. } => &mut self.undecodable,
            DeliveryError::Draining => &mut self.draining,
            DeliveryError::Stopped | DeliveryError::Panicked => &mut self.stopped,
            DeliveryError::SessionLost { .. } | DeliveryError::TimedOut { .. } | DeliveryError::Cancelled => {
                &mut self.not_passed_on
            }
        } += 1;
    }
}

/// For whom a message is.
pub(crate) struct Addressee {
    pub(crate) mailbox: MailboxName,
    pub(crate) request: &'static str,
}

/// Counts dead letters and shows them to those who want to see them: from any thread, as actors are on several.
#[derive(Default)]
pub(crate) struct DeadLetterOffice(Mutex<Desk>);

#[derive(Default)]
struct Desk {
    counts: DeadLetters,
    subscribers: Subscribers<DeadLetter>,
}

impl DeadLetterOffice {
    /// Takes a dead letter, which is described where somebody wants to see it.
    pub(super) fn take(&self, from: &NodeId, to: Option<&Addressee>, reason: &DeliveryError) {
        let mut desk = self.desk();
        desk.counts.count(reason);
        if !desk.subscribers.is_empty() {
            let to = to.map(|Addressee { mailbox, request }| (mailbox.clone(), (*request).to_owned()));
            desk.subscribers.tell(&DeadLetter { from: from.clone(), to, reason: reason.clone() });
        }
    }

    pub(crate) fn counts(&self) -> DeadLetters {
        self.desk().counts
    }

    pub(crate) fn subscribe(&self, feed: Feed<DeadLetter>) {
        self.desk().subscribers.add(feed);
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // The counts are whole between any two statements that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
