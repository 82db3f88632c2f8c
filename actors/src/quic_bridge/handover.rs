//! A session takes over from another one with the same peer, because one of the two has a further certificate: what
//! is asked from then on goes over the new one, what is in flight on the old one is answered there, and watchers
//! hear nothing of it.
//!
//! The side that dialled the old session dials the new one. It uses it as soon as it is open. The other side uses it
//! as soon as it knows that: by the first answer to a ping on the new session, or by the drain of the old one.

use super::{
    QuicBridge, Shown,
    connect::{Target, dial},
    peers::{Live, Open, Seat, Successor},
};
use crate::{
    identity::PeerIdentity,
    node::{ConnectError, Wanted},
    session::{ConnectionSession, EndSession, Outbound, Received, RetireSession, Side},
};
use actix::{ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use swarm_protocols::{NodeId, session::CloseCode, wire::control::RefuseCause};

/// The most sessions with one peer that others took over from and that are not over yet.
const RETIRED_MAX: usize = 4;

/// The pause after a first failure to open a further session; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(64);

/// The longest pause between two looks at what time is left of a certificate.
const LOOK_MAX: Duration = Duration::from_secs(86_400);

/// The part of a certificate's time at whose end its node is looked at for a further one.
const LAST_PART: u32 = 4;

/// How often it is looked at in that part.
const LOOKS: u32 = 8;

/// A session that another one took over from.
pub(super) struct Retired {
    seat: Seat,
    pub(super) session: Addr<ConnectionSession>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) received: Received,
}

/// Open a further session with the peer of this one, if there is a reason to.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct HandOver {
    session: Addr<ConnectionSession>,
    failures: u32,
}

impl HandOver {
    pub(crate) fn new(session: Addr<ConnectionSession>) -> Self {
        Self { session, failures: 0 }
    }
}

impl Handler<HandOver> for QuicBridge {
    type Result = ();

    fn handle(&mut self, HandOver { session, failures }: HandOver, context: &mut Self::Context) {
        let (Some(seat), Some(socket)) = (self.seat_of(&session), &mut self.socket) else { return };
        let Some(Live { side: Side::Dialler, open: Some(open), handing_over, .. }) = self.live.get_mut(&seat)
        else {
            return;
        };
        let (Some(shown), Some(address)) = (&open.shown, open.outbound.remote()) else { return };
        let renewed = socket.identity().as_peer().serial != shown.own;
        if self.draining
            || *handing_over
            || !(renewed || is_about_to_end(&shown.peer.peer, SystemTime::now()))
        {
            return;
        }
        *handing_over = true;
        let target = Target {
            follows: Some((session.clone(), shown.clone())),
            ..Target::new(socket, Wanted::Node(seat.0.clone()), address)
        };
        let dialled = dial(target, context.address(), self.local.timing.handshake);
        context.spawn(dialled.into_actor(self).map(move |result, bridge, context| {
            bridge.handed_over(&seat, &session, failures, result, context);
        }));
    }
}

impl QuicBridge {
    /// Opens a further session with every peer that was dialled from here and has not seen the certificate that
    /// this node has now.
    pub(super) fn hand_over_all(&self, context: &mut Context<Self>) {
        for Live { session, .. } in self.live.values() {
            context.notify(HandOver::new(session.clone()));
        }
    }

    fn handed_over(
        &mut self,
        seat: &Seat,
        from: &Addr<ConnectionSession>,
        failures: u32,
        result: Result<NodeId, ConnectError>,
        context: &mut Context<Self>,
    ) {
        let Some(live) = self.live.get_mut(seat) else { return };
        live.handing_over = false;
        let session = live.session.clone();
        match result {
            // The certificate may have been replaced once more meanwhile.
            Ok(_) if session != *from => context.notify(HandOver::new(session)),
            // The peer has no further one: it is looked at again in time.
            Ok(_) => {}
            Err(error) => {
                let pause = PAUSE_MAX.min(PAUSE_MIN * (1 << failures.min(6)));
                tracing::info!(peer = %seat.0, %error, ?pause, "there is no session with the further certificate yet");
                context.notify_later(HandOver { session, failures: failures.saturating_add(1) }, pause);
            }
        }
    }

    /// The seat of the same life of a node, if what this connection has shown lets it take over from the session
    /// there.
    pub(super) fn seat_to_follow(
        &mut self,
        node: &NodeId,
        incarnation: u64,
        shown: Option<&Shown>,
        session: &Addr<ConnectionSession>,
    ) -> Result<Option<Seat>, (RefuseCause, String)> {
        let seats = (node.clone(), 0)..=(node.clone(), u32::MAX);
        let follows = |live: &Live| {
            live.side == Side::Acceptor
                && live.may_be_followed(incarnation, shown)
                && live.shown().zip(shown).is_some_and(|(before, now)| before.differs(now))
        };
        let Some((seat, live)) = self.live.range_mut(seats).find(|(_, live)| follows(live)) else {
            return Ok(None);
        };
        let retired = self.retired.iter().filter(|retired| retired.seat == *seat).count();
        if live.successor.is_some() || retired >= RETIRED_MAX {
            let reason =
                format!("another session of {node} is about to take over, or {RETIRED_MAX} are not over yet");
            return Err((RefuseCause::Unavailable, reason));
        }
        live.successor = Some(Successor { session: session.clone(), open: None });
        Ok(Some(seat.clone()))
    }

    /// The seat whose session is to be followed by this one.
    pub(super) fn seat_before(&self, session: &Addr<ConnectionSession>) -> Option<Seat> {
        let is_next = |live: &Live| live.successor.as_ref().is_some_and(|next| next.session == *session);
        self.live.iter().find(|(_, live)| is_next(live)).map(|(seat, _)| seat.clone())
    }

    /// Lets the session that waits for it take over, if it is open; whether it did.
    pub(super) fn take_over(&mut self, seat: &Seat) -> bool {
        let next =
            self.live.get_mut(seat).and_then(|live| live.successor.take_if(|next| next.open.is_some()));
        match next {
            Some(Successor { session, open: Some(open) }) => {
                self.replace(seat, session, *open);
                true
            }
            _ => false,
        }
    }

    /// Uses another session with a peer from now on.
    pub(super) fn replace(&mut self, seat: &Seat, session: Addr<ConnectionSession>, mut open: Open) {
        self.changing_names(&seat.0, |bridge| {
            let Some(live) = bridge.live.get_mut(seat) else { return };
            let Some(former) = &mut live.open else { return };
            former.way.hand_over(&open.outbound);
            open.way = Arc::clone(&former.way);
            tracing::info!(peer = %seat.0, session = %open.peer.session, "another session took over");
            let Open { outbound, received, .. } = std::mem::replace(former, open);
            let session = std::mem::replace(&mut live.session, session);
            session.do_send(RetireSession);
            bridge.retired.push(Retired { seat: seat.clone(), session, outbound, received });
        });
    }

    /// Ends the sessions that the one at `seat` took over from.
    pub(super) fn end_retired(&self, seat: &Seat) {
        for retired in self.retired.iter().filter(|retired| retired.seat == *seat) {
            let reason = "the session that took over has ended".to_owned();
            retired.session.do_send(EndSession(CloseCode::Done, reason));
        }
    }
}

impl Live {
    /// What was shown in the session that is open here.
    fn shown(&self) -> Option<&Shown> {
        self.open.as_ref()?.shown.as_ref()
    }

    /// Whether this is the same life of the peer, in the same role, with a certificate that is none from before: only
    /// then another session may take over, whichever side looks.
    pub(super) fn may_be_followed(&self, incarnation: u64, shown: Option<&Shown>) -> bool {
        let (Some(before), Some(now)) = (self.shown(), shown) else { return false };
        self.incarnation == incarnation
            && before.peer.peer.role == now.peer.peer.role
            && !before.is_later_than(now)
    }

    /// Whether the peer has shown a certificate here that was issued after this one.
    pub(super) fn has_later(&self, shown: Option<&Shown>) -> bool {
        self.shown().zip(shown).is_some_and(|(before, now)| before.is_later_than(now))
    }
}

impl Shown {
    /// Whether either side has shown another certificate here than there.
    pub(super) fn differs(&self, other: &Self) -> bool {
        self.own != other.own || self.peer.peer != other.peer.peer
    }

    fn is_later_than(&self, other: &Self) -> bool {
        self.peer.peer.valid_from > other.peer.peer.valid_from
    }
}

/// How much of the end of a certificate's time is the last part of it.
fn last_part(certificate: &PeerIdentity) -> Duration {
    let lifetime = certificate.valid_until.duration_since(certificate.valid_from).unwrap_or_default();
    lifetime / LAST_PART
}

fn is_about_to_end(certificate: &PeerIdentity, now: SystemTime) -> bool {
    now + last_part(certificate) >= certificate.valid_until
}

/// When to look whether the node that has shown this certificate has a further one: first when the last part of its
/// time begins.
///
/// Any number will do as `jitter`: by it those who look at the same certificate do so at different times.
pub(crate) fn until_look(certificate: &PeerIdentity, now: SystemTime, jitter: u32) -> Duration {
    let last = last_part(certificate);
    let left = certificate.valid_until.duration_since(now).unwrap_or_default();
    let pause = last / LOOKS;
    let wait = if left > last {
        left - last + pause.mul_f64(f64::from(jitter) / f64::from(u32::MAX))
    } else {
        pause
    };
    wait.clamp(PAUSE_MIN, LOOK_MAX)
}

/// The peer uses this session: it has answered on it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Confirmed(pub(crate) Addr<ConnectionSession>);

impl Handler<Confirmed> for QuicBridge {
    type Result = ();

    fn handle(&mut self, Confirmed(session): Confirmed, _: &mut Self::Context) {
        if let Some(seat) = self.seat_before(&session) {
            self.take_over(&seat);
        }
    }
}

/// The peer takes no new requests on this session: it stops, or uses another one.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PeerDrains(pub(crate) Addr<ConnectionSession>);

impl Handler<PeerDrains> for QuicBridge {
    type Result = ();

    fn handle(&mut self, PeerDrains(session): PeerDrains, _: &mut Self::Context) {
        let Some(seat) = self.seat_of(&session) else { return };
        if self.take_over(&seat) {
            return;
        }
        if let Some(Live { open: Some(open), .. }) = self.live.get(&seat) {
            tracing::info!(peer = %seat.0, "the peer drains");
            open.outbound.drain();
        }
    }
}

/// Count the sessions that others took over from and that are not over yet.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "usize")]
struct CountRetired;

#[cfg(test)]
impl Handler<CountRetired> for QuicBridge {
    type Result = usize;

    fn handle(&mut self, _: CountRetired, _: &mut Self::Context) -> usize {
        self.retired.len()
    }
}

#[cfg(test)]
impl crate::Node {
    pub(crate) async fn retired(&self) -> usize {
        self.bridge.send(CountRetired).await.unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Authority, Validity};
    use swarm_protocols::Role;

    #[test]
    fn a_certificate_is_looked_at_when_its_last_quarter_begins_and_eight_times_in_it() {
        let (from, day) = (SystemTime::now(), Duration::from_secs(86_400));
        let validity = Validity::new(from, from + 2 * day).unwrap();
        let identity = Authority::new("test", validity).unwrap();
        let identity = identity.issue(&"b".parse().unwrap(), Role::Agent, validity).unwrap();
        let (peer, last, pause) = (identity.as_peer(), day / 2, day / 16);
        let before = |left| until_look(peer, peer.valid_until - left, 0);
        assert_eq!(before(2 * day), day, "never longer than a day");
        assert_eq!(before(day), day - last);
        assert_eq!(until_look(peer, peer.valid_until - day, u32::MAX), day - last + pause);
        assert_eq!(before(last), pause);
        assert_eq!(before(Duration::ZERO), pause);
        assert!(is_about_to_end(peer, peer.valid_until - last));
        assert!(!is_about_to_end(peer, peer.valid_until - last - Duration::from_secs(1)));
    }
}
