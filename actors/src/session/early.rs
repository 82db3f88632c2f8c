//! The caller's end of a request in early data: one stream, one short frame each way.

use super::lane::millis_up;
use crate::{
    call::Priority,
    transport::{EarlyAsk, RecvHalf, Stream},
};
use bytes::Bytes;
use std::time::Duration;
use swarm_protocols::wire::frame::{
    self, Answered, EARLY_BYTES_MAX, Frame, FrameReader, Intent, OVERHEAD_BYTES_MAX, RequestHead,
};
use tokio::sync::oneshot;

/// What to ask in early data, and where that has begun.
pub(crate) fn early_ask(
    route: u32,
    payload: &[u8],
    timeout: Duration,
    priority: Priority,
) -> (EarlyAsk, oneshot::Receiver<(Stream, Bytes)>) {
    let mut request = Vec::with_capacity(payload.len() + OVERHEAD_BYTES_MAX);
    request.push(frame::STREAM_EARLY);
    let deadline_ms = millis_up(timeout);
    let head = RequestHead { correlation: 0, route, deadline_ms, intent: Intent::Ask };
    frame::put_request(&head, payload, &mut request);
    let (begun, asked) = oneshot::channel();
    (EarlyAsk { request: request.into(), priority: priority.of_stream(), begun }, asked)
}

/// Writes the rest of a request, and yields what the handler answered. Whatever else happens, the request can be asked
/// again: it is one that may be handled twice. Dropping the future cancels it.
pub(crate) async fn early_answer(Stream { mut send, mut recv }: Stream, rest: Bytes) -> Option<Answered> {
    if !rest.is_empty() {
        send.write(rest).await.ok()?;
        send.finish();
    }
    match answer(&mut *recv).await? {
        answered @ (Answered::Reply(_) | Answered::Failed(_)) => Some(answered),
        Answered::Undelivered(_) | Answered::Accepted => None,
    }
}

async fn answer(recv: &mut dyn RecvHalf) -> Option<Answered> {
    let mut reader = FrameReader::new(EARLY_BYTES_MAX + OVERHEAD_BYTES_MAX);
    loop {
        reader.feed(recv.read().await.ok()??);
        if let Some(frame) = reader.next_frame().ok()? {
            let Ok(Frame::Answer { correlation: 0, answer }) = Frame::decode(frame) else { return None };
            return Some(answer);
        }
    }
}
