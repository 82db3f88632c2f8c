//! When an agent has lost its coordinators for good.

use std::time::Duration;

use futures_util::future::select_all;
use swarm_actors::{ConnectError, ConnectionState, Refusal};
use swarm_protocols::{NodeId, Role};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// No coordinator is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the session with {coordinator} ended: {reason}")]
pub(crate) struct Lost {
    pub(crate) coordinator: NodeId,
    pub(crate) reason: String,
    /// Whether it was for a certificate that no other session was had.
    pub(crate) refused: bool,
}

/// A coordinator of an agent, and how the connection with it stands.
pub(crate) struct Coordinator {
    pub(crate) name: NodeId,
    pub(crate) states: watch::Receiver<ConnectionState>,
}

impl Coordinator {
    fn is_lost(&self) -> bool {
        match &*self.states.borrow() {
            ConnectionState::Dialling => false,
            ConnectionState::Open(peer) => peer.role != Role::Coordinator,
            ConnectionState::Lost { .. } => true,
        }
    }

    fn ended(&self) -> Option<String> {
        match &*self.states.borrow() {
            ConnectionState::Lost { ended, .. } => ended.clone(),
            ConnectionState::Dialling | ConnectionState::Open(_) => None,
        }
    }

    /// Why it was not reached the last time, where that was for a certificate.
    fn refusal(&self) -> Option<String> {
        match &*self.states.borrow() {
            ConnectionState::Lost { failure: Some(failure), .. } if is_refusal(failure) => {
                Some(failure.to_string())
            }
            _ => None,
        }
    }
}

/// Whether it was for a certificate that there is no session.
pub(crate) fn is_refusal(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Refused { refusal: Refusal::Certificate, .. })
}

/// Completes when none of the coordinators, of which there is at least one, was there for as long as the `patience`;
/// with zero as soon as none is.
pub(crate) async fn all_lost(mut coordinators: Vec<Coordinator>, patience: Duration) -> Lost {
    let mut lost: Option<(Instant, Lost)> = None;
    let mut changed = 0;
    loop {
        if !coordinators.iter().all(Coordinator::is_lost) {
            lost = None;
        } else if lost.is_none() {
            let Coordinator { name, .. } = &coordinators[changed];
            let reason = coordinators[changed].ended().unwrap_or_else(|| "it was never open".to_owned());
            let now = Lost { coordinator: name.clone(), reason, refused: false };
            if patience.is_zero() {
                return now;
            }
            lost = Some((Instant::now() + patience, now));
        }
        let changes =
            select_all(coordinators.iter_mut().map(|coordinator| Box::pin(coordinator.states.changed())));
        let patience_ends = async {
            match &lost {
                Some((end, _)) => sleep_until(*end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (change, at, _) = changes => {
                changed = at;
                if change.is_err() {
                    // The node stops, which says more than this could.
                    return std::future::pending().await;
                }
            }
            () = patience_ends => break,
        }
    }
    let (_, Lost { coordinator, reason, .. }) = lost.expect("its end was waited for");
    let refusal = coordinators.iter().find_map(Coordinator::refusal);
    let refused = refusal.is_some();
    // A refusal says more than silence.
    let since = match refusal {
        Some(refusal) => format!("then {refusal}"),
        None => format!("nothing was reached for {patience:?}"),
    };
    Lost { coordinator, reason: format!("{reason}; {since}"), refused }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use swarm_actors::{Peer, Wanted};

    fn up(name: &str) -> ConnectionState {
        let (agent_type, capabilities) = (String::new(), Vec::new());
        let (node, role) = (name.parse().unwrap(), Role::Coordinator);
        ConnectionState::Open(Peer { node, role, agent_type, capabilities, session: uuid::Uuid::now_v7() })
    }

    fn down() -> ConnectionState {
        ConnectionState::Lost { ended: Some("gone".into()), failure: None }
    }

    type States = watch::Sender<ConnectionState>;

    fn two() -> ([States; 2], Vec<Coordinator>) {
        let [(a, of_a), (b, of_b)] = ["hub-1", "hub-2"].map(|name| watch::channel(up(name)));
        let coordinator = |name: &str, states| Coordinator { name: name.parse().unwrap(), states };
        ([a, b], vec![coordinator("hub-1", of_a), coordinator("hub-2", of_b)])
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_without_patience_is_lost_with_its_last_coordinator() {
        let ([first, second], coordinators) = two();
        let mut lost = Box::pin(all_lost(coordinators, Duration::ZERO));
        for (sender, state) in [(&first, down()), (&first, up("hub-1")), (&second, down())] {
            sender.send_replace(state);
            assert_eq!(lost.as_mut().now_or_never(), None);
        }
        first.send_replace(down());
        let expected = Lost { coordinator: "hub-1".parse().unwrap(), reason: "gone".into(), refused: false };
        assert_eq!(lost.await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_when_there_was_no_coordinator_for_as_long() {
        let ([first, second], coordinators) = two();
        let mut lost = Box::pin(all_lost(coordinators, Duration::from_secs(60)));
        assert_eq!(lost.as_mut().now_or_never(), None);
        first.send_replace(down());
        assert_eq!(lost.as_mut().now_or_never(), None);
        second.send_replace(down());
        assert!(tokio::time::timeout(Duration::from_secs(59), lost.as_mut()).await.is_err());
        second.send_replace(up("hub-2"));
        assert!(tokio::time::timeout(Duration::from_secs(600), lost.as_mut()).await.is_err());
        second.send_replace(down());
        let since = Instant::now();
        let text = lost.await.to_string();
        assert_eq!(since.elapsed().as_secs(), 60);
        assert_eq!(text, "the session with hub-2 ended: gone; nothing was reached for 60s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_certificate_says_more_than_silence() {
        let ([first, second], coordinators) = two();
        let lost = all_lost(coordinators, Duration::from_secs(1));
        first.send_replace(down());
        let refused = ConnectError::Refused {
            peer: Wanted::Any(Role::Coordinator),
            address: ([127, 0, 0, 1], 1).into(),
            refusal: Refusal::Certificate,
            reason: "it is revoked".into(),
        };
        second.send_replace(ConnectionState::Lost { ended: Some("gone".into()), failure: Some(refused) });
        let lost = lost.await;
        assert!(lost.refused && lost.reason.contains("it is revoked"), "{lost}");
    }
}
