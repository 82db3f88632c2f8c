//! A replacement session with the same peer, opened because one of the two has a renewed certificate. New requests go
//! over it, those in flight on the old session are answered there, and watchers hear nothing of it.
//!
//! The side that dialled the old session dials the new one, and uses it once it is open. The other side uses it after
//! the first answer to a ping on the new session, or the drain of the old one.

use super::{
    ConnectError, QuicBridge, Wanted,
    connect::{Dialled, Target, dial},
    peers::Attached,
};
use crate::identity::PeerIdentity;
use crate::log_limit::limited;
use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use std::time::{Duration, SystemTime};
use swarm_protocols::{
    NodeId,
    peers::{SessionKey, Side},
};

/// The pause after a first failure to open another session; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(64);

/// The longest pause between two looks at what time is left of a certificate.
const LOOK_MAX: Duration = Duration::from_secs(86_400);

/// The part of a certificate's time at whose end its node is looked at for a renewed one.
const LAST_PART: u32 = 4;

/// How often it is looked at in that part.
const LOOKS: u32 = 8;

/// Open a session with the peer of this one that replaces it, if there is a reason to.
#[derive(Message)]
#[rtype(result = "()")]
struct HandOver {
    session: SessionKey,
    failures: u32,
}

impl HandOver {
    fn new(session: SessionKey) -> Self {
        Self { session, failures: 0 }
    }
}

impl Handler<HandOver> for QuicBridge {
    type Result = ();

    fn handle(&mut self, HandOver { session, failures }: HandOver, context: &mut Self::Context) {
        let (Some(identity), true) = (self.transport.identity(), self.peers.is_holder(session)) else {
            return;
        };
        let Some(Attached {
            side: Side::Dialler,
            peer,
            shown: Some(shown),
            open: Some(open),
            handing_over,
            ..
        }) = self.sessions.get_mut(&session)
        else {
            return;
        };
        let Some(address) = open.outbound.remote() else { return };
        let renewed = identity.as_peer().serial != shown.own;
        if self.peers.is_stopping()
            || *handing_over
            || !(renewed || is_about_to_end(&shown.peer.peer, SystemTime::now()))
        {
            return;
        }
        *handing_over = true;
        let node = peer.node.clone();
        let target = Target {
            connecting: self.transport.dial(Some(&node), address, None),
            wanted: Wanted::Node(node.clone()),
            address,
            follows: Some((session, shown.clone())),
        };
        let dialled = dial(target, context.address(), self.local.timing.handshake);
        context.spawn(dialled.into_actor(self).map(move |result, bridge, context| {
            bridge.handed_over(&node, session, failures, result, context);
        }));
    }
}

impl QuicBridge {
    /// Opens another session with every peer that was dialled from here and has not seen the certificate that this
    /// node has now.
    pub(super) fn hand_over_all(&self, context: &mut Context<Self>) {
        for (_, session) in &self.used {
            context.notify(HandOver::new(*session));
        }
    }

    fn handed_over(
        &mut self,
        node: &NodeId,
        from: SessionKey,
        failures: u32,
        result: Result<Dialled, ConnectError>,
        context: &mut Context<Self>,
    ) {
        if let Some(attached) = self.sessions.get_mut(&from) {
            attached.handing_over = false;
        }
        let used = self.used_with(node).find(|used| *used == from).or_else(|| self.used_with(node).next());
        let Some(session) = used else { return };
        match result {
            // The certificate may have been replaced once more meanwhile.
            Ok(_) if session != from => context.notify(HandOver::new(session)),
            // The peer has no renewed one: it is looked at again in time.
            Ok(_) => {}
            Err(error) => {
                let pause = PAUSE_MAX.min(PAUSE_MIN * (1 << failures.min(6)));
                limited!(info, "there is no session with the renewed certificate yet", peer = %node, %error, ?pause);
                context.notify_later(HandOver { session, failures: failures.saturating_add(1) }, pause);
            }
        }
    }

    /// Looks from time to time whether the peer has a renewed certificate, once the one that it has shown is about
    /// to end. That is for the side that dialled.
    pub(super) fn watch_renewal(&self, session: SessionKey, jitter: u32, context: &mut Context<Self>) {
        let Some(shown) = self.sessions.get(&session).and_then(|attached| attached.shown.as_ref()) else {
            return;
        };
        let wait = until_look(&shown.peer.peer, SystemTime::now(), jitter);
        context.run_later(wait, move |bridge, context| {
            context.notify(HandOver::new(session));
            bridge.watch_renewal(session, jitter, context);
        });
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

/// When to look whether the node that has shown this certificate has a renewed one: first when the last part of its
/// time begins.
///
/// Any number will do as `jitter`: by it those who look at the same certificate do so at different times.
fn until_look(certificate: &PeerIdentity, now: SystemTime, jitter: u32) -> Duration {
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

/// Count the sessions that others took over from and that are not over yet.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "usize")]
struct CountRetired;

#[cfg(test)]
impl Handler<CountRetired> for QuicBridge {
    type Result = usize;

    fn handle(&mut self, _: CountRetired, _: &mut Self::Context) -> usize {
        self.peers.retired()
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
