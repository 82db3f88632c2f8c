//! Handing a call on.

use super::{AskError, Mailbox, TIMEOUT_MAX, tell::Acceptance};
use crate::{
    call::{Answer, Call},
    session::Sending,
};
use std::sync::Arc;
use swarm_protocols::{Accepts, Request};
use tokio::time::Instant;

impl<R: Request> Call<R> {
    /// Hands the call on to `mailbox`, with the time that is left, its priority, and for whom it was asked; the
    /// handler returns what this returns. The asker gets the answer from there, and its delivery error where there
    /// is none: what is then known of the request is what is known of the one handed on. When the asker stops
    /// waiting the other call is cancelled too.
    ///
    /// An actor of this process sees the caller of this call; a mailbox of another node sees this node. A message
    /// that was told is told there.
    pub fn forward<P: Accepts<R>>(self, mailbox: &Mailbox<P>) -> Answer<R> {
        let (request, mut context) = self.into_parts();
        let (state, origin, priority) = (context.state(), context.origin(), context.priority);
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let timeout = context.deadline.map_or(TIMEOUT_MAX, left);
        let sending = Sending { timeout, priority, own_stream: false };
        if context.told {
            let told = mailbox.start_tell(request, sending, origin, Acceptance::Here);
            return Answer::new(state, async move {
                if let Err(error) = told.await {
                    tracing::debug!(request = R::NAME, %error, "a told message was not handed on");
                }
                None
            });
        }
        let asked = mailbox.start_ask(request, sending, origin);
        let noted = Arc::clone(&state);
        Answer::new(state, async move {
            match asked.await {
                Ok(reply) => Some(Ok(reply)),
                Err(AskError::Handler(error)) => Some(Err(error)),
                Err(AskError::Delivery(error)) => {
                    noted.fail(error);
                    None
                }
            }
        })
    }
}
