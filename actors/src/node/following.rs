//! Mailboxes that follow their peer to its next session or incarnation.

use super::{ConnectError, ExposedName, NameEvent, Node, ResolveError, hosting::Hold};
use crate::{
    log_limit::limited,
    mailbox::{Attempt, Back, Choice, Layer, Mailbox, Target},
    quic_bridge,
    transport::EarlyAsk,
};
use futures_util::future::BoxFuture;
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
    ///
    /// But an [idempotent](swarm_protocols::Request::IDEMPOTENT) request that is asked while there is no session dials a
    /// node that this one has dialled before. It goes out with the dial, [in early data](crate::NodeConfig::early_data),
    /// where that can be, and where no answer comes of that it is asked in the session, all within its time.
    pub async fn resolve_following<P: Protocol>(&self, address: &str) -> Result<Mailbox<P>, ResolveError> {
        let parsed: MailboxAddress = address.parse()?;
        let current = coming_back(self, &parsed, self.resolve(address).await?);
        let current = Arc::new(RwLock::new(current));
        let following = follow(self.clone(), parsed, Arc::clone(&current));
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

/// A mailbox that gets back to its node where the session is lost.
fn coming_back<P: Protocol>(node: &Node, address: &MailboxAddress, mailbox: Mailbox<P>) -> Mailbox<P> {
    match &mailbox.target {
        Target::Remote(remote) => {
            let back = Returning { node: node.clone(), address: address.clone() };
            Mailbox::from_remote(remote.coming_back(Arc::new(back)))
        }
        Target::Local(_) | Target::Layered(_) => mailbox,
    }
}

struct Returning {
    node: Node,
    address: MailboxAddress,
}

impl<P: Protocol> Back<P> for Returning {
    fn back(&self, early: Option<EarlyAsk>) -> BoxFuture<'static, Result<Mailbox<P>, String>> {
        let (node, address) = (self.node.clone(), self.address.clone());
        let dialled = node.bridge.send(quic_bridge::Return { node: address.node.clone(), early });
        Box::pin(async move {
            let dialled = dialled.await.unwrap_or(Err(ConnectError::NodeStopped));
            dialled.map_err(|error| error.to_string())?;
            node.resolve(&address.to_string()).await.map_err(|error| error.to_string())
        })
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
            Ok(mailbox) => {
                let mailbox = coming_back(&node, &address, mailbox);
                *current.write().unwrap_or_else(PoisonError::into_inner) = mailbox;
            }
            Err(error) => limited!(info, "a mailbox is not followed", %address, %error),
        }
    }
}
