//! [`Mailbox`]: one handle for an actor in this process, on another node, or in a test.

mod ask;
mod encoded;
mod local;
mod remote;
mod served;

pub use crate::session::{Priority, TIMEOUT_MAX};
pub use ask::{Ask, AskError, AskFuture, Tell, TellError};
pub use encoded::{EncodedAsk, EncodedAskError, EncodedMailbox};
pub use local::ActorPorts;
pub(crate) use local::{InFlight, Local, Pending, Port};

pub(crate) use remote::{Remote, RemoteCall};
pub(crate) use served::requests_of;

use std::{fmt, sync::Arc, time::Duration};
use swarm_protocols::{Accepts, Protocol, Request};

/// How long an ask waits unless it says otherwise.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// A handle to an actor that accepts the requests of protocol `P`, wherever it runs.
///
/// It is cheap to clone and can be used from any thread. Whoever holds it needs to know the
/// protocol, not the actor: hand mailboxes to an actor when it is made, and it can be tested with
/// [probes](crate::testing::Probe) and moved to another machine.
///
/// A mailbox of a remote actor lives as long as the session with its node, and goes on with the session
/// that takes over from it when one of the two shows a further certificate. Once it is lost every ask answers [`SessionLost`](swarm_protocols::DeliveryError::SessionLost), and the name has to be
/// resolved again.
pub struct Mailbox<P: Protocol> {
    pub(crate) target: Target<P>,
}

pub(crate) enum Target<P: Protocol> {
    Local(Arc<Local<P>>),
    Remote(Arc<Remote<P>>),
}

impl<P: Protocol> Mailbox<P> {
    /// Asks the actor. Nothing happens before the result is awaited.
    pub fn ask<R: Request>(&self, request: R) -> Ask<'_, P, R>
    where
        P: Accepts<R>,
    {
        Ask::new(self, request)
    }

    /// Tells the actor, without wanting an answer: completes when its mailbox has accepted the
    /// message. Nothing happens before the result is awaited.
    pub fn tell<R: Request>(&self, request: R) -> Tell<'_, P, R>
    where
        P: Accepts<R>,
    {
        Tell::new(self, request)
    }

    pub(crate) fn from_local(local: Local<P>) -> Self {
        Self { target: Target::Local(Arc::new(local)) }
    }

    pub(crate) fn from_remote(remote: Remote<P>) -> Self {
        Self { target: Target::Remote(Arc::new(remote)) }
    }
}

impl<P: Protocol> Clone for Mailbox<P> {
    fn clone(&self) -> Self {
        let target = match &self.target {
            Target::Local(local) => Target::Local(Arc::clone(local)),
            Target::Remote(remote) => Target::Remote(Arc::clone(remote)),
        };
        Self { target }
    }
}

impl<P: Protocol> fmt::Debug for Mailbox<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Local(_) => write!(f, "Mailbox<{}>(local)", P::NAME),
            Target::Remote(remote) => write!(f, "Mailbox<{}>({})", P::NAME, remote.address()),
        }
    }
}
