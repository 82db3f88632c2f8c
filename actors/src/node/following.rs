//! Mailboxes that follow their peer to its next session or incarnation.

use super::{ExposedName, NameEvent, Node, ResolveError, hosting::Hold};
use crate::log_limit::limited;
use crate::mailbox::{Attempt, Choice, Layer, Mailbox};
use std::sync::{Arc, PoisonError, RwLock};
use swarm_protocols::{DeliveryError, MailboxAddress, Protocol};

impl Node {
    /// Finds the mailbox at `node/name` like [`resolve`](Self::resolve), and follows it: whenever the name is exposed
    /// again, by the next session with its node, by the next incarnation of it or by another registration, requests
    /// go there from then on.
    ///
    /// What was in flight when a session ended is not repeated, as only the caller knows whether it may be: it ends
    /// with [`SessionLost`](DeliveryError::SessionLost), and so does what is asked before there is a session again,
    /// not sent then. Who dials again is another matter: see [`keep_connected`](Self::keep_connected).
    pub async fn resolve_following<P: Protocol>(&self, address: &str) -> Result<Mailbox<P>, ResolveError> {
        let current = Arc::new(RwLock::new(self.resolve(address).await?));
        let following = follow(self.clone(), address.parse()?, Arc::clone(&current));
        let follower = self.while_held(|| following).await;
        Ok(Mailbox::layered(Latest { current, _follower: follower }))
    }
}

/// Leads to the mailbox of the moment, which is followed as long as somebody has this.
struct Latest<P: Protocol> {
    /// Locked for moments only, never across a wait.
    current: Arc<RwLock<Mailbox<P>>>,
    _follower: Hold,
}

impl<P: Protocol> Layer<P> for Latest<P> {
    fn choose(&self, _: &Attempt<'_>) -> Result<Choice<P>, DeliveryError> {
        // Nothing panics while it is locked.
        Ok(Choice::new(self.current.read().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

/// Resolves a name again whenever it is exposed.
async fn follow<P: Protocol>(node: Node, address: MailboxAddress, current: Arc<RwLock<Mailbox<P>>>) {
    let mut names = node.subscribe();
    while let Some(event) = names.next().await {
        let NameEvent::Exposed(ExposedName { address: exposed, protocol }) = event else { continue };
        if exposed != address || protocol != P::NAME {
            continue;
        }
        match node.resolve::<P>(&address.to_string()).await {
            Ok(mailbox) => *current.write().unwrap_or_else(PoisonError::into_inner) = mailbox,
            Err(error) => limited!(info, "a mailbox is not followed", %address, %error),
        }
    }
}
