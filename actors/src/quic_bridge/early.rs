//! Early data: what a peer asks before the handshake of a resumed connection is complete.

use super::QuicBridge;
use crate::{
    session::{Inbound, InboundParts, Phase},
    transport::ServeEarly,
};
use std::sync::Arc;
use swarm_protocols::wire::{
    control::Limits,
    frame::{EARLY_BYTES_MAX, EARLY_STREAMS_MAX},
};

impl QuicBridge {
    /// How early requests are served: by the rules for any other, and in narrow bounds. They say nothing of who is
    /// connected, so that nothing else is done for them.
    pub(super) fn serve_early(&self) -> ServeEarly {
        let (handlers, running) =
            (Arc::clone(self.routes.handlers()), self.running.as_ref().map(|running| running.subscribe()));
        let (budget, received) = (Arc::clone(&self.local.budget), Arc::clone(&self.early));
        let message_bytes = self.local.limits.message_bytes.min(EARLY_BYTES_MAX as u64);
        let in_flight = self.local.limits.in_flight.min(EARLY_STREAMS_MAX as u32);
        let frame_timeout = self.local.timing.frame;
        Arc::new(move |link, peer| {
            if running.as_ref().is_none_or(|running| running.has_changed().is_err()) {
                return;
            }
            let inbound = Inbound::new(InboundParts {
                phase: Phase::Handshake,
                link,
                share: budget.share(&peer.node),
                caller: peer,
                handlers: Arc::clone(&handlers),
                limits: Limits { message_bytes, in_flight },
                answer_bytes_max: EARLY_BYTES_MAX as u64,
                frame_timeout,
                received: Arc::clone(&received),
            });
            actix_rt::spawn(async move {
                let _complete_or_lost = inbound.run().await;
            });
        })
    }
}
