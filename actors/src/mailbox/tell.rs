//! Telling.

use super::{Local, Mailbox, TIMEOUT_MAX, Target, ask::SENDING_DEFAULT, ask::sending_options, layered};
use crate::{
    call::{Call, CallContext, Origin, Priority},
    session::Sending,
};
use futures_util::future::{BoxFuture, Either};
use std::{
    future::{IntoFuture, Ready, ready},
    time::Duration,
};
use swarm_protocols::{Accepts, Delivery, DeliveryError, Protocol, Request};

/// A message about to be told. Await it: that completes when the message is on its way, or, if it is to be
/// [acknowledged](Self::acknowledged), when the actor's mailbox has accepted it.
#[must_use = "nothing is told before it is awaited"]
pub struct Tell<'a, P: Protocol, R: Request> {
    mailbox: &'a Mailbox<P>,
    message: R,
    sending: Sending,
    acceptance: Acceptance,
}

/// By whom a told message has to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acceptance {
    /// By this process.
    Here,
    /// By the mailbox of the actor, wherever that is.
    There,
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
    pub(super) fn new(mailbox: &'a Mailbox<P>, message: R) -> Self {
        Self { mailbox, message, sending: SENDING_DEFAULT, acceptance: Acceptance::Here }
    }

    /// Waits until the actor's mailbox has accepted the message, which takes a round trip where it is on another
    /// node. That the message was handled nobody says: [ask](Mailbox::ask) for that.
    pub fn acknowledged(mut self) -> Self {
        self.acceptance = Acceptance::There;
        self
    }

    sending_options!();
}

/// The future of a [`Tell`], ready at once where nothing has to be waited for.
pub(super) type TellFuture<R> =
    Either<Ready<Result<(), TellError<R>>>, BoxFuture<'static, Result<(), TellError<R>>>>;

impl<P: Accepts<R>, R: Request> IntoFuture for Tell<'_, P, R> {
    type Output = Result<(), TellError<R>>;
    type IntoFuture = Either<Ready<Self::Output>, BoxFuture<'static, Self::Output>>;

    fn into_future(self) -> Self::IntoFuture {
        let Tell { mailbox, message, sending, acceptance } = self;
        mailbox.start_tell(message, sending, Origin::default(), acceptance)
    }
}

impl<P: Protocol> Mailbox<P> {
    /// Tells at once, so that messages arrive in the order in which they were told.
    pub(super) fn start_tell<R: Request>(
        &self,
        message: R,
        sending: Sending,
        origin: Origin,
        acceptance: Acceptance,
    ) -> TellFuture<R>
    where
        P: Accepts<R>,
    {
        match (&self.target, acceptance) {
            (Target::Local(local), _) => Either::Left(ready(tell_local(local, message, sending, origin))),
            (Target::Remote(remote), Acceptance::Here) => match remote.post(&message, sending) {
                Ok(None) => Either::Left(ready(Ok(()))),
                Ok(Some(posting)) => {
                    let posted = async move { posting.await.map_err(|cause| TellError::new(message, cause)) };
                    Either::Right(Box::pin(posted))
                }
                Err(cause) => Either::Left(ready(Err(TellError::new(message, cause)))),
            },
            (Target::Remote(remote), Acceptance::There) => {
                let told = remote.tell(&message, sending);
                let told = async move { told.await.map_err(|cause| TellError::new(message, cause)) };
                Either::Right(Box::pin(told))
            }
            (Target::Layered(layer), _) => layered::tell(layer, message, sending, origin, acceptance),
        }
    }
}

fn tell_local<P: Accepts<R>, R: Request>(
    local: &Local<P>,
    message: R,
    sending: Sending,
    origin: Origin,
) -> Result<(), TellError<R>> {
    let told = match local.admit::<R>() {
        Ok(permit) => {
            let context = CallContext::told(origin, sending.priority, [Some(permit), None], None);
            local.tell(Call::new(message, context))
        }
        Err(error) => Err((message, error)),
    };
    told.map_err(|(message, cause)| TellError { message: Some(message), cause })
}
