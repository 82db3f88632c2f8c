//! The control stream of a session: reading and writing its frames.

use super::{callee::finish, outbox::Outbox};
use crate::transport::{LinkError, RecvHalf, SendHalf};
use bytes::Bytes;
use futures_util::stream;
use std::{cell::RefCell, future::poll_fn, rc::Rc};
use swarm_protocols::wire::{
    control::Control,
    frame::{CONTROL_BYTES_MAX, FrameError, FrameReader, STREAM_CONTROL},
};

/// What came on the control stream: a frame, or why no more come.
pub(super) type ControlInput = Result<Control, ControlError>;

/// Why no more frames come.
pub(super) enum ControlError {
    /// The connection ended.
    Lost(String),
    /// The peer sent what is no control frame.
    Violation(String),
}

impl From<LinkError> for ControlError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Lost(reason) => Self::Lost(reason),
            LinkError::StreamAbandoned => Self::Violation("the control stream was abandoned".to_owned()),
        }
    }
}

impl From<FrameError> for ControlError {
    fn from(error: FrameError) -> Self {
        Self::Violation(error.to_string())
    }
}

/// The frames that come on the control stream; `head` says whether its first byte is still to come.
pub(super) fn control_frames(
    recv: Box<dyn RecvHalf>,
    head: bool,
) -> impl stream::Stream<Item = ControlInput> {
    let reader = FrameReader::new(CONTROL_BYTES_MAX);
    stream::unfold(Some((recv, reader, head)), |state| async move {
        let (mut recv, mut reader, mut head) = state?;
        match next_control(&mut *recv, &mut reader, &mut head).await {
            Ok(Some(control)) => Some((Ok(control), Some((recv, reader, head)))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

async fn next_control(
    recv: &mut dyn RecvHalf,
    reader: &mut FrameReader,
    head: &mut bool,
) -> Result<Option<Control>, ControlError> {
    loop {
        if let Some(frame) = reader.next_frame()? {
            return Ok(Some(Control::decode(frame)?));
        }
        let Some(mut chunk) = recv.read().await? else {
            return Ok(reader.finish().map(|()| None)?);
        };
        if *head && !chunk.is_empty() {
            let kind = chunk.split_to(1);
            if kind[0] != STREAM_CONTROL {
                let reason = format!("the first stream is of kind {} and not the control stream", kind[0]);
                return Err(ControlError::Violation(reason));
            }
            *head = false;
        }
        reader.feed(chunk);
    }
}

/// Writes what comes into the outbox, until that ends.
pub(super) async fn write_control(mut send: Box<dyn SendHalf>, outbox: Rc<RefCell<Outbox>>) {
    while let Some(bytes) = poll_fn(|cx| outbox.borrow_mut().poll_take(cx)).await {
        let bytes: Bytes = bytes;
        if send.write(bytes).await.is_err() {
            return;
        }
    }
    // The close that follows would overtake a refusal, so let that arrive first.
    finish(send).await;
}
