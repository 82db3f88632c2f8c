//! Mailboxes that follow their peer to its next session or incarnation.

use super::{ExposedName, NameEvent, Node, ResolveError};
use crate::mailbox::{Attempt, Choice, Layer, Mailbox};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use std::sync::{Arc, PoisonError, RwLock, Weak};
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
        let follower = Follower::<P> {
            node: self.clone(),
            address: address.parse()?,
            current: Arc::downgrade(&current),
        };
        self.run(|| follower.start()).await;
        Ok(Mailbox::layered(Latest(current)))
    }
}

/// Leads to the mailbox of the moment. Locked for moments only, never across a wait.
struct Latest<P: Protocol>(Arc<RwLock<Mailbox<P>>>);

impl<P: Protocol> Layer<P> for Latest<P> {
    fn choose(&self, _: &Attempt<'_>) -> Result<Choice<P>, DeliveryError> {
        // Nothing panics while it is locked.
        Ok(Choice::new(self.0.read().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

/// Resolves a name again whenever it is exposed, as long as somebody has the mailbox.
struct Follower<P: Protocol> {
    node: Node,
    address: MailboxAddress,
    current: Weak<RwLock<Mailbox<P>>>,
}

impl<P: Protocol> Actor for Follower<P> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.node.subscribe(context.address().recipient());
    }
}

impl<P: Protocol> Handler<NameEvent> for Follower<P> {
    type Result = ();

    fn handle(&mut self, event: NameEvent, context: &mut Self::Context) {
        if self.current.strong_count() == 0 {
            return context.stop();
        }
        let NameEvent::Exposed(ExposedName { address, protocol }) = event else { return };
        if address != self.address || protocol != P::NAME {
            return;
        }
        let (node, name) = (self.node.clone(), self.address.to_string());
        let resolved = async move { node.resolve::<P>(&name).await }.into_actor(self);
        context.spawn(resolved.map(|resolved, follower, _| match (resolved, follower.current.upgrade()) {
            (Ok(mailbox), Some(current)) => {
                *current.write().unwrap_or_else(PoisonError::into_inner) = mailbox;
            }
            (Err(error), _) => {
                tracing::info!(address = %follower.address, %error, "a mailbox is not followed")
            }
            (Ok(_), None) => {}
        }));
    }
}
