//! Which place a session may have.

use super::{
    Beginning, Held, Known, OPERATOR_SESSIONS_MAX, Peers, Place, RETIRED_MAX, Refusal, SESSIONS_MAX,
    SessionKey, SessionLimit, Side, Slot,
};
use crate::{NodeId, Role, wire::control::RefuseCause};

impl Peers {
    /// Where a session that asks could go.
    pub(super) fn place_for(&self, session: SessionKey) -> Result<Place, Refusal> {
        use RefuseCause::{AlreadyConnected, Unavailable};
        let known = &self.sessions[&session];
        let Beginning { node, role, .. } = &known.beginning;
        if self.stopping {
            return Err((Unavailable, format!("{} is stopping", self.local)));
        }
        if let Some(slot) = self.slot_to_succeed_in(known)? {
            return Ok(Place::Successor(slot));
        }
        if self.slots.len() >= SESSIONS_MAX {
            return Err((Unavailable, SessionLimit::All.to_string()));
        }
        if *node == self.local {
            return Err((AlreadyConnected, format!("{node} is this node")));
        }
        if *role == Role::Operator {
            return Ok(Place::Holder(self.free_slot(node)?));
        }
        let slot = (node.clone(), 0);
        match self.slots.get(&slot) {
            None => Ok(Place::Holder(slot)),
            Some(held) => self.may_contend(known, held).map(|()| Place::Contender(slot)),
        }
    }

    /// Whether a session may have the slot if its holder does not answer.
    pub(super) fn may_contend(&self, known: &Known, held: &Held) -> Result<(), Refusal> {
        let (holder, node) = (&self.sessions[&held.holder], &known.beginning.node);
        let refused_as = |cause, why: &str| Err((cause, format!("{node} is connected already{why}")));
        let refused = |why| refused_as(RefuseCause::AlreadyConnected, why);
        if holder.incarnation == known.incarnation {
            return refused("");
        }
        if holder.is_later_than(known) {
            return refused(", with a later certificate");
        }
        if held.contender.is_some() {
            // Which is over in a moment: the one that waits may have been killed as well.
            let why = ", and another process with its identity waits for that to end";
            return refused_as(RefuseCause::Unavailable, why);
        }
        Ok(())
    }

    /// The slot in which a session, which has the same process at its other end, may replace the holder, because it
    /// shows a renewed certificate.
    fn slot_to_succeed_in(&self, known: &Known) -> Result<Option<Slot>, Refusal> {
        let node = &known.beginning.node;
        let slots = (node.clone(), 0)..=(node.clone(), OPERATOR_SESSIONS_MAX);
        let found = self.slots.range(slots).find(|(_, held)| {
            let holder = &self.sessions[&held.holder];
            holder.beginning.side == Side::Acceptor
                && holder.may_be_replaced_by(known, known.incarnation)
                && holder.differs_from(known)
        });
        match found {
            Some((_, held)) if held.successor.is_some() || held.retired.len() >= RETIRED_MAX => {
                let reason = format!(
                    "another session of {node} is about to take over, or {RETIRED_MAX} are not over yet"
                );
                Err((RefuseCause::Unavailable, reason))
            }
            found => Ok(found.map(|(slot, _)| slot.clone())),
        }
    }

    pub(super) fn free_slot(&self, node: &NodeId) -> Result<Slot, Refusal> {
        let mut slots = (0..OPERATOR_SESSIONS_MAX).map(|number| (node.clone(), number));
        slots.find(|slot| !self.slots.contains_key(slot)).ok_or_else(|| {
            let reason = format!("session limit of {node} reached ({OPERATOR_SESSIONS_MAX})");
            (RefuseCause::Unavailable, reason)
        })
    }
}

impl Known {
    /// Whether another session is with the same process in the same role, with a certificate that is not earlier: only
    /// then it may replace this one, whichever side looks.
    pub(super) fn may_be_replaced_by(&self, next: &Self, incarnation: u64) -> bool {
        self.open
            && self.beginning.credentials.is_some()
            && next.beginning.credentials.is_some()
            && self.incarnation == incarnation
            && self.beginning.role == next.beginning.role
            && !self.is_later_than(next)
    }

    /// Whether either side has shown another certificate there.
    fn differs_from(&self, other: &Self) -> bool {
        let shown = |known: &Self| {
            known.beginning.credentials.as_ref().map(|shown| (shown.own.clone(), shown.peer.clone()))
        };
        shown(self) != shown(other)
    }

    /// Whether the peer has shown a certificate here that was issued after the one there.
    fn is_later_than(&self, other: &Self) -> bool {
        let issued = |known: &Self| known.beginning.credentials.as_ref().map(|shown| shown.issued);
        issued(self).zip(issued(other)).is_some_and(|(here, there)| here > there)
    }
}
