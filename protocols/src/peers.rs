//! The place of a peer: which of the sessions with a node is used, and which are refused or ended.
//!
//! Sans-IO: the owner of the sessions gives each a [`SessionKey`], tells what happens to it, and does what
//! [`Peers::poll`] says. Nothing here reads a clock.
//!
//! A node has one **slot** for each other node, and a session that is used holds it. A person at several terminals is
//! one node with several processes, so an operator has up to [`OPERATOR_SESSIONS_MAX`] slots.
//!
//! - A process is known by its **incarnation**, a number that it draws when it starts. Incarnations are equal or not:
//!   none is greater than another, because the clock or the counter of a peer that was restarted proves nothing.
//! - **Another incarnation** gets the slot if the session that holds it does not answer a probe. While that answers,
//!   its process lives, and the other one is refused: of two processes with one identity the first keeps its place,
//!   however often the second is restarted.
//! - The **same incarnation** with a renewed certificate replaces its own session, and nothing that is asked is lost.
//! - **Both dial at once**: both nodes keep the session that the smaller id dialled.
//! - A certificate never displaces one that was issued after it.

mod admission;
mod handshakes;

pub use handshakes::{HANDSHAKES_MAX, Handshakes, source_of};

use crate::{NodeId, Role, session::CloseCode, wire::control::RefuseCause};
use std::{
    collections::{BTreeMap, VecDeque},
    time::SystemTime,
};

/// The most sessions of a node, those in their handshake included.
pub const SESSIONS_MAX: usize = 4096;

/// The most sessions that one node has dialled and that have no slot: in their handshake, or told to end.
pub const HANDSHAKES_OF_NODE_MAX: usize = 16;

/// The most sessions at once under the id of one operator.
pub const OPERATOR_SESSIONS_MAX: u32 = 32;

/// The most sessions of one slot that others replaced and that are not over yet.
pub const RETIRED_MAX: usize = 4;

/// The number by which the owner of the sessions knows one of them. It is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// Which side opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This one.
    Dialler,
    /// The peer.
    Acceptor,
}

/// What both sides of a connection have shown, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The serial number of this node's certificate.
    pub own: Vec<u8>,
    /// The serial number of the peer's certificate.
    pub peer: Vec<u8>,
    /// Since when the peer's certificate holds.
    pub issued: SystemTime,
}

/// A connection on which a session begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// The peer, as it has proven.
    pub node: NodeId,
    /// Its role.
    pub role: Role,
    /// Which side opened the connection.
    pub side: Side,
    /// What both have shown; `None` where nothing is shown.
    pub credentials: Option<Credentials>,
    /// The session that it was dialled to replace.
    pub replaces: Option<SessionKey>,
}

/// What the owner has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Admit the session that asked.
    Admit(SessionKey),
    /// Refuse the session that asked.
    Refuse {
        /// The session.
        session: SessionKey,
        /// Why, to branch on.
        cause: RefuseCause,
        /// The same for people.
        reason: String,
    },
    /// Find out whether the peer still answers on this session: [`Peers::answered`] or [`Peers::unanswered`].
    Probe(SessionKey),
    /// Use this session for what is asked of its peer, and tell the watchers that the peer is there.
    Up(SessionKey),
    /// The peer has gone, together with the session that was used.
    Down {
        /// The session.
        session: SessionKey,
        /// Why.
        reason: String,
    },
    /// Use another session with the same process from now on. The former one ends when what is in flight is answered.
    Replace {
        /// The session that was used.
        former: SessionKey,
        /// The one that is used now.
        next: SessionKey,
    },
    /// Ask nothing more on this session: the peer stops.
    Drain(SessionKey),
    /// End this session.
    End {
        /// The session.
        session: SessionKey,
        /// The code to close with.
        code: CloseCode,
        /// The same for people.
        reason: String,
    },
}

/// Which place a session has.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// None yet: it is in its handshake.
    Handshake,
    /// It holds the slot.
    Holder(Slot),
    /// It waits until the peer uses it, to replace the holder.
    Successor(Slot),
    /// It waits until the holder has failed a probe or answered it.
    Contender(Slot),
    /// Another session replaced it.
    Retired(Slot),
    /// It was told to end.
    Ended,
}

/// A place for a session: the node, and which of its sessions. All but operators have the first alone.
type Slot = (NodeId, u32);

#[derive(Debug)]
struct Known {
    beginning: Beginning,
    incarnation: u64,
    open: bool,
    place: Place,
}

#[derive(Debug)]
struct Held {
    holder: SessionKey,
    successor: Option<SessionKey>,
    contender: Option<SessionKey>,
    retired: Vec<SessionKey>,
}

impl Held {
    fn by(holder: SessionKey) -> Self {
        Self { holder, successor: None, contender: None, retired: Vec::new() }
    }
}

/// The sessions of one node.
#[derive(Debug)]
pub struct Peers {
    local: NodeId,
    stopping: bool,
    sessions: BTreeMap<SessionKey, Known>,
    slots: BTreeMap<Slot, Held>,
    commands: VecDeque<Command>,
}

/// The session limit is reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionLimit {
    /// Of all others together.
    #[error("session limit reached ({SESSIONS_MAX})")]
    All,
    /// Of this one, in their handshake or about to end.
    #[error("{0} has {HANDSHAKES_OF_NODE_MAX} sessions in their handshake or about to end")]
    OfNode(NodeId),
}

type Refusal = (RefuseCause, String);

impl Peers {
    /// The sessions of the node `local`, of which there are none.
    pub fn new(local: NodeId) -> Self {
        Self {
            local,
            stopping: false,
            sessions: BTreeMap::new(),
            slots: BTreeMap::new(),
            commands: VecDeque::new(),
        }
    }

    /// What to do next; `None` until something happens.
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Takes no new sessions from now on.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// A session begins on a connection.
    ///
    /// # Errors
    /// Where there are [`SESSIONS_MAX`] already, or [`HANDSHAKES_OF_NODE_MAX`] of that node without a slot.
    pub fn begin(&mut self, session: SessionKey, beginning: Beginning) -> Result<(), SessionLimit> {
        if self.sessions.len() >= SESSIONS_MAX {
            return Err(SessionLimit::All);
        }
        let without_slot = |known: &&Known| {
            let Beginning { node, side, .. } = &known.beginning;
            *side == Side::Acceptor
                && *node == beginning.node
                && matches!(known.place, Place::Handshake | Place::Ended)
        };
        if beginning.side == Side::Acceptor
            && self.sessions.values().filter(without_slot).count() >= HANDSHAKES_OF_NODE_MAX
        {
            return Err(SessionLimit::OfNode(beginning.node));
        }
        let known = Known { beginning, incarnation: 0, open: false, place: Place::Handshake };
        self.sessions.insert(session, known);
        Ok(())
    }

    /// The peer asks for this session, which it has dialled: it is admitted, refused, or has to wait for a probe.
    pub fn asked(&mut self, session: SessionKey, incarnation: u64) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        if known.place != Place::Handshake {
            return;
        }
        known.incarnation = incarnation;
        match self.place_for(session) {
            Ok(place) => self.place(session, place),
            Err((cause, reason)) => self.refuse(session, cause, reason),
        }
    }

    /// A session is open. Where the peer was dialled this is the first that is known of its incarnation.
    pub fn opened(&mut self, session: SessionKey, incarnation: u64) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        if self.stopping {
            return self.end(session, CloseCode::Done, "this node is stopping");
        }
        (known.incarnation, known.open) = (incarnation, true);
        match known.place.clone() {
            Place::Handshake => self.dialled(session),
            Place::Holder(_) => self.commands.push_back(Command::Up(session)),
            Place::Successor(_) | Place::Contender(_) | Place::Retired(_) | Place::Ended => {}
        }
    }

    /// The peer uses this session: it has answered on it for the first time.
    pub fn confirmed(&mut self, session: SessionKey) {
        if let Some(Place::Successor(slot)) = self.place_of(session).cloned() {
            self.replace_holder(&slot);
        }
    }

    /// The peer takes no new requests on this session: it stops, or uses another one.
    pub fn peer_drains(&mut self, session: SessionKey) {
        let Some(Place::Holder(slot)) = self.place_of(session).cloned() else { return };
        if !self.replace_holder(&slot) {
            self.commands.push_back(Command::Drain(session));
        }
    }

    /// The peer has answered a probe on this session: its process lives, and no other one gets its slot.
    pub fn answered(&mut self, session: SessionKey) {
        let Some(Place::Holder(slot)) = self.place_of(session).cloned() else { return };
        let Some(contender) = self.held(&slot).and_then(|held| held.contender.take()) else { return };
        let node = &slot.0;
        let reason = format!("{node} is connected already: another process with its identity answers");
        if self.is_open(contender) {
            self.end(contender, CloseCode::Done, reason);
        } else {
            self.refuse(contender, RefuseCause::AlreadyConnected, reason);
        }
    }

    /// The peer has not answered a probe on this session in time.
    pub fn unanswered(&mut self, session: SessionKey) {
        let Some(Place::Holder(slot)) = self.place_of(session).cloned() else { return };
        // Whoever wanted the slot may have left.
        let Some(contender) = self.held(&slot).and_then(|held| held.contender.take()) else { return };
        let reason = format!("another incarnation of {} connected, and this one did not answer", slot.0);
        self.end(session, CloseCode::Superseded, reason);
        self.vacate(&slot, "another incarnation connected, and this one did not answer");
        self.take(slot, contender);
    }

    /// A session has ended, open or not.
    pub fn closed(&mut self, session: SessionKey, reason: &str) {
        let Some(place) = self.place_of(session).cloned() else { return };
        match place {
            // Where the peer uses another session, it is not lost.
            Place::Holder(slot) if !self.replace_holder(&slot) => self.holder_closed(slot, reason),
            Place::Successor(slot) => {
                self.held(&slot).and_then(|held| held.successor.take());
            }
            Place::Contender(slot) => {
                self.held(&slot).and_then(|held| held.contender.take());
            }
            Place::Handshake | Place::Holder(_) | Place::Retired(_) | Place::Ended => {}
        }
        let left = self.sessions.remove(&session);
        if let Some(Known { place: Place::Retired(slot), .. }) = left
            && let Some(held) = self.held(&slot)
        {
            held.retired.retain(|retired| *retired != session);
        }
    }

    /// Which session this one, of this incarnation, replaces when it opens or when the peer uses it.
    pub fn predecessor(&self, session: SessionKey, incarnation: u64) -> Option<SessionKey> {
        let known = self.sessions.get(&session)?;
        match &known.place {
            Place::Successor(slot) => self.slots.get(slot).map(|held| held.holder),
            Place::Handshake => {
                let former = known.beginning.replaces.filter(|former| self.is_holder(*former))?;
                self.sessions[&former].may_be_replaced_by(known, incarnation).then_some(former)
            }
            _ => None,
        }
    }

    /// Whether this session is the one that is used with its peer.
    pub fn is_holder(&self, session: SessionKey) -> bool {
        matches!(self.place_of(session), Some(Place::Holder(_)))
    }

    /// Whether no new sessions are taken any more.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// How many sessions others replaced that are not over yet.
    pub fn retired(&self) -> usize {
        self.slots.values().map(|held| held.retired.len()).sum()
    }

    fn place_of(&self, session: SessionKey) -> Option<&Place> {
        self.sessions.get(&session).map(|known| &known.place)
    }

    fn held(&mut self, slot: &Slot) -> Option<&mut Held> {
        self.slots.get_mut(slot)
    }

    fn is_open(&self, session: SessionKey) -> bool {
        self.sessions.get(&session).is_some_and(|known| known.open)
    }

    fn place(&mut self, session: SessionKey, place: Place) {
        match &place {
            Place::Holder(slot) => {
                let slot = slot.clone();
                return self.take(slot, session);
            }
            Place::Successor(slot) => {
                if let Some(held) = self.slots.get_mut(slot) {
                    held.successor = Some(session);
                }
                self.commands.push_back(Command::Admit(session));
            }
            Place::Contender(slot) => {
                if let Some(held) = self.slots.get_mut(slot) {
                    held.contender = Some(session);
                    self.commands.push_back(Command::Probe(held.holder));
                }
            }
            Place::Handshake | Place::Retired(_) | Place::Ended => {}
        }
        self.set_place(session, place);
    }

    fn set_place(&mut self, session: SessionKey, place: Place) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.place = place;
        }
    }

    /// Gives a slot that nobody holds to a session: one that asked for it, or one that is open.
    fn take(&mut self, slot: Slot, session: SessionKey) {
        self.slots.insert(slot.clone(), Held::by(session));
        self.set_place(session, Place::Holder(slot));
        let open = self.is_open(session);
        self.commands.push_back(if open { Command::Up(session) } else { Command::Admit(session) });
    }

    fn refuse(&mut self, session: SessionKey, cause: RefuseCause, reason: String) {
        self.set_place(session, Place::Ended);
        self.commands.push_back(Command::Refuse { session, cause, reason });
    }

    fn end(&mut self, session: SessionKey, code: CloseCode, reason: impl Into<String>) {
        self.commands.push_back(Command::End { session, code, reason: reason.into() });
        match self.place_of(session) {
            // It keeps the slot until it has ended or somebody else takes that.
            Some(Place::Holder(_)) | None => {}
            Some(_) => self.leave(session),
        }
    }

    /// Takes a session that is to end out of the slot in which it waits.
    fn leave(&mut self, session: SessionKey) {
        let place = self.place_of(session).cloned();
        if let Some(Place::Successor(slot) | Place::Contender(slot)) = &place
            && let Some(held) = self.slots.get_mut(slot)
        {
            held.successor.take_if(|successor| *successor == session);
            held.contender.take_if(|contender| *contender == session);
        }
        self.set_place(session, Place::Ended);
    }

    /// Finds the slot of a session that was dialled from here and that the peer has admitted.
    fn dialled(&mut self, session: SessionKey) {
        let known = &self.sessions[&session];
        let (node, slot) = (&known.beginning.node, (known.beginning.node.clone(), 0));
        if let Some(former) = self.predecessor(session, known.incarnation) {
            return self.replace(former, session);
        }
        if known.beginning.replaces.is_some_and(|former| self.is_holder(former)) {
            let reason = format!(
                "the session there is with {node} goes on: this is another incarnation or role of it, or an \
                 earlier certificate"
            );
            return self.end(session, CloseCode::Done, reason);
        }
        if known.beginning.role == Role::Operator {
            return match self.free_slot(node) {
                Ok(slot) => self.take(slot, session),
                Err((_, reason)) => self.end(session, CloseCode::Done, reason),
            };
        }
        let Some(held) = self.slots.get(&slot) else { return self.take(slot, session) };
        let holder = &self.sessions[&held.holder];
        if holder.incarnation != known.incarnation {
            return match self.may_contend(known, held) {
                Ok(()) => self.place(session, Place::Contender(slot)),
                Err((_, reason)) => self.end(session, CloseCode::Done, reason),
            };
        }
        // Both dialled at once: both keep what the smaller id dialled. Of two that were dialled from here the peer
        // has admitted the second because the first has ended there.
        let ours = self.local < *node;
        let other = held.holder;
        if holder.beginning.side == Side::Acceptor && !ours {
            return self.end(session, CloseCode::Done, "duplicate connection");
        }
        self.end(other, CloseCode::Done, "duplicate connection");
        self.vacate(&slot, "another session took over");
        self.take(slot, session);
    }

    /// Lets the session that waits for it replace the holder of a slot, if it is open; whether it did.
    fn replace_holder(&mut self, slot: &Slot) -> bool {
        let Some(Held { holder, successor: Some(next), .. }) = self.slots.get(slot) else { return false };
        let (former, next) = (*holder, *next);
        if !self.is_open(next) {
            return false;
        }
        self.replace(former, next);
        true
    }

    fn replace(&mut self, former: SessionKey, next: SessionKey) {
        let Some(Place::Holder(slot)) = self.place_of(former).cloned() else { return };
        if let Some(held) = self.slots.get_mut(&slot) {
            held.holder = next;
            held.successor.take_if(|successor| *successor == next);
            held.retired.push(former);
        }
        self.set_place(former, Place::Retired(slot.clone()));
        self.set_place(next, Place::Holder(slot));
        self.commands.push_back(Command::Replace { former, next });
        // The peer uses the next one, so its process lives.
        self.answered(next);
    }

    fn holder_closed(&mut self, slot: Slot, reason: &str) {
        let held = self.held(&slot);
        let (successor, contender) =
            held.map(|held| (held.successor.take(), held.contender.take())).unwrap_or_default();
        self.vacate(&slot, reason);
        if let Some(successor) = successor {
            // It was admitted, and is about to open.
            self.slots.insert(slot.clone(), Held::by(successor));
            self.set_place(successor, Place::Holder(slot.clone()));
            if let Some(contender) = contender {
                self.place(contender, Place::Contender(slot));
            }
        } else if let Some(contender) = contender {
            self.take(slot, contender);
        }
    }

    /// Empties a slot, and ends what waits there or is retired.
    fn vacate(&mut self, slot: &Slot, reason: &str) {
        let Some(Held { holder, successor, contender, retired }) = self.slots.remove(slot) else { return };
        if self.is_open(holder) {
            self.commands.push_back(Command::Down { session: holder, reason: reason.to_owned() });
        }
        self.set_place(holder, Place::Ended);
        for session in retired {
            self.end(session, CloseCode::Done, "the session that took over has ended");
        }
        for session in [successor, contender].into_iter().flatten() {
            self.end(session, CloseCode::Superseded, reason);
        }
    }
}

#[cfg(test)]
mod tests;
