//! Asking a mailbox whose session is lost: what may be handled twice goes out with the dial, before there is another one.

use super::{Mailbox, RemoteCall, ask::AskResult};
use crate::{
    call::Origin,
    session::{Sending, early_answer, early_ask},
    transport::EarlyAsk,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use swarm_protocols::{Accepts, Delivery, DeliveryError, Protocol, Request, wire::frame::EARLY_BYTES_MAX};
use tokio::time::Instant;

/// Gets back to the node of a mailbox.
pub(crate) trait Back<P: Protocol>: Send + Sync {
    /// Dials at once, and asks `early` where that can be before there is a session; yields the mailbox as it is in that, or
    /// why there is none.
    fn back(&self, early: Option<EarlyAsk>) -> BoxFuture<'static, Result<Mailbox<P>, String>>;
}

/// Asks what the peer knew by the number `route`, in early data or in the next session.
pub(super) async fn ask_anew<P: Accepts<R>, R: Request>(
    back: Arc<dyn Back<P>>,
    route: u32,
    request: Bytes,
    sending: Sending,
    origin: Origin,
) -> AskResult<R> {
    let (deadline, sent) = (Instant::now() + sending.timeout, AtomicBool::new(false));
    let delivery = || if sent.load(Ordering::Relaxed) { Delivery::Unknown } else { Delivery::NotSent };
    let left = || deadline.saturating_duration_since(Instant::now());
    let asked = async {
        // A coordinator asks for others in sessions only.
        let fits = request.len() <= EARLY_BYTES_MAX && origin.on_behalf_of.is_none();
        let early = fits.then(|| early_ask(route, &request, sending.timeout, sending.priority));
        let (early, begun) = early.unzip();
        let mailbox = back.back(early);
        if let Some(begun) = begun
            && let Ok((stream, rest)) = begun.await
        {
            sent.store(true, Ordering::Relaxed);
            if let Some(answered) = early_answer(stream, rest).await
                && let Ok(answer) = RemoteCall::<R>::read(Ok(answered))
            {
                return answer;
            }
        }
        let lost = |reason| DeliveryError::SessionLost { reason, delivery: delivery() };
        let mailbox = mailbox.await.map_err(lost)?;
        mailbox.start_encoded(&request, Sending { timeout: left(), ..sending }, origin).await
    };
    let asked = tokio::time::timeout_at(deadline, asked).await;
    let over = DeliveryError::TimedOut { after: sending.timeout, delivery: delivery() };
    asked.unwrap_or_else(|_| Err(over.into()))
}
