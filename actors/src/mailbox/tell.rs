//! Telling.

use super::{Local, Mailbox, TIMEOUT_MAX, Target, ask::SENDING_DEFAULT, ask::sending_options, layered};
use crate::{
    call::{Call, CallContext, Origin, Priority},
    session::Sending,
};
use futures_util::future::BoxFuture;
use std::{
    future::{IntoFuture, ready},
    time::Duration,
};
use swarm_protocols::{Accepts, Delivery, DeliveryError, Protocol, Request};

/// A message about to be told. Await it.
#[must_use = "nothing is told before it is awaited"]
pub struct Tell<'a, P: Protocol, R: Request> {
    mailbox: &'a Mailbox<P>,
    request: R,
    sending: Sending,
}

/// Why a mailbox did not accept a told message.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct TellError<R> {
    /// The message, where it is certain that nobody got it and it is still here.
    pub message: Option<R>,
    /// What went wrong.
    #[source]
    pub cause: DeliveryError,
}

impl<R> TellError<R> {
    /// With the message, where nobody got it.
    pub(super) fn new(message: R, cause: DeliveryError) -> Self {
        Self { message: (cause.delivery() == Delivery::NotSent).then_some(message), cause }
    }
}

impl<'a, P: Accepts<R>, R: Request> Tell<'a, P, R> {
    pub(super) fn new(mailbox: &'a Mailbox<P>, request: R) -> Self {
        Self { mailbox, request, sending: SENDING_DEFAULT }
    }

    sending_options!();
}

/// The future of a [`Tell`].
pub(super) type TellFuture<R> = BoxFuture<'static, Result<(), TellError<R>>>;

impl<P: Accepts<R>, R: Request> IntoFuture for Tell<'_, P, R> {
    type Output = Result<(), TellError<R>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Tell { mailbox, request, sending } = self;
        mailbox.start_tell(request, sending, Origin::default())
    }
}

impl<P: Protocol> Mailbox<P> {
    /// Tells at once, so that messages arrive in the order in which they were told.
    pub(super) fn start_tell<R: Request>(&self, request: R, sending: Sending, origin: Origin) -> TellFuture<R>
    where
        P: Accepts<R>,
    {
        match &self.target {
            Target::Local(local) => Box::pin(ready(tell_local(local, request, sending, origin))),
            Target::Remote(remote) => {
                let told = remote.tell(&request, sending);
                Box::pin(async move { told.await.map_err(|cause| TellError::new(request, cause)) })
            }
            Target::Layered(layer) => layered::tell(layer, request, sending, origin),
        }
    }
}

fn tell_local<P: Accepts<R>, R: Request>(
    local: &Local<P>,
    request: R,
    sending: Sending,
    origin: Origin,
) -> Result<(), TellError<R>> {
    let told = match local.admit() {
        Ok(permit) => {
            local.tell(Call::new(request, CallContext::told(origin, sending.priority, [Some(permit), None])))
        }
        Err(error) => Err((request, error)),
    };
    told.map_err(|(message, cause)| TellError { message: Some(message), cause })
}
