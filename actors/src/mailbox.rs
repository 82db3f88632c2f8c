//! [`Mailbox`]: one handle for an actor in this process, on another node, or in a test.

mod anew;
mod ask;
mod encoded;
mod forward;
mod inbox;
mod layer;
mod layered;
mod local;
mod pipeline;
mod remote;
mod served;
mod tell;

pub use crate::session::TIMEOUT_MAX;
pub(crate) use anew::Back;
pub use ask::{Ask, AskError, AskFuture};
pub use encoded::{EncodedAsk, EncodedAskError, EncodedMailbox};
pub use inbox::InboxPorts;
pub use layer::{Attempt, Choice, End, Ended, Layer};
pub use local::ActorPorts;
pub(crate) use local::{Local, Pending, Port};
pub use pipeline::Pipeline;
pub use tell::{Tell, TellError};

pub(crate) use remote::{Other, Remote, RemoteCall};
pub(crate) use served::{exposed_as, requests_of};

use std::{fmt, sync::Arc, time::Duration};
use swarm_protocols::{Accepts, Protocol, Request};

/// How long an ask waits unless it says otherwise.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// A handle to an actor that accepts the requests of protocol `P`, wherever it runs.
///
/// It is cheap to clone and can be used from any thread. The caller needs to know the
/// protocol, not the actor: hand mailboxes to an actor when it is made, and it can be tested with
/// [probes](crate::testing::Probe) and moved to another machine.
///
/// A mailbox of a remote actor lives as long as the session with its node, and goes on with the replacement
/// session in which one of the two shows a renewed certificate. Once it is lost every ask answers
/// [`SessionLost`](swarm_protocols::DeliveryError::SessionLost), and the name has to be resolved again.
pub struct Mailbox<P: Protocol> {
    pub(crate) target: Target<P>,
}

pub(crate) enum Target<P: Protocol> {
    Local(Arc<Local<P>>),
    Remote(Arc<Remote<P>>),
    Layered(Arc<dyn Layer<P>>),
}

impl<P: Protocol> Mailbox<P> {
    /// A mailbox that leads where `layer` chooses.
    pub fn layered(layer: impl Layer<P>) -> Self {
        Self { target: Target::Layered(Arc::new(layer)) }
    }

    /// Asks the actor. Nothing happens before the result is awaited.
    pub fn ask<R: Request>(&self, request: R) -> Ask<'_, P, R>
    where
        P: Accepts<R>,
    {
        Ask::new(self, request)
    }

    /// Tells the actor, without wanting an answer, and without waiting: the message is in the mailbox of an actor of
    /// this process, or on its way to another node within the bounds of the session, or it comes back in the error.
    /// What is on its way may be lost with the session, and is dropped where the actor's mailbox is full; who has to
    /// know waits until it is [acknowledged](Tell::acknowledged). Nothing happens before the result is awaited.
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
            Target::Layered(layer) => Target::Layered(Arc::clone(layer)),
        };
        Self { target }
    }
}

impl<P: Protocol> fmt::Debug for Mailbox<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Local(_) => write!(f, "Mailbox<{}>(local)", P::NAME),
            Target::Remote(remote) => write!(f, "Mailbox<{}>({})", P::NAME, remote.address()),
            Target::Layered(_) => write!(f, "Mailbox<{}>(layered)", P::NAME),
        }
    }
}
