//! Calls through a layer: attempts one after the other, and beside each other.

use super::{
    AskError, Mailbox, Target, TellError,
    ask::{AskFuture, AskResult},
    layer::{Attempt, Choice, End, Ended, Layer, OnEnd, OnMiss},
    remote::unencodable,
    tell::{Acceptance, TellFuture},
};
use crate::{call::Origin, session::Sending};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Either},
};
use std::{
    future::{poll_fn, ready},
    sync::Arc,
    task::Poll,
};
use swarm_protocols::{
    Accepts, Delivery, DeliveryError, Protocol, Request,
    wire::codec::{self, MESSAGE_BYTES_MAX},
};
use tokio::time::Instant;

/// Asks through `layer`. The first attempt begins at once, so that requests arrive in the order in which they were
/// asked.
pub(super) fn ask<P: Accepts<R>, R: Request>(
    layer: &Arc<dyn Layer<P>>,
    request: R,
    sending: Sending,
    origin: Origin,
) -> BoxFuture<'static, AskResult<R>> {
    let mut asking = Asking {
        course: Course::new(layer, sending, origin, false),
        request: Some(request),
        encoded: None,
        attempts: Vec::new(),
        hedge_at: None,
        again_at: None,
        missed: None,
    };
    match asking.begin() {
        Ok(()) => Box::pin(asking.run()),
        Err(error) => Box::pin(ready(Err(error.into()))),
    }
}

/// Tells through `layer`; the first attempt begins at once.
pub(super) fn tell<P: Accepts<R>, R: Request>(
    layer: &Arc<dyn Layer<P>>,
    message: R,
    sending: Sending,
    origin: Origin,
    acceptance: Acceptance,
) -> TellFuture<R> {
    let mut course = Course::new(layer, sending, origin, true);
    let begun = begin_tell(&mut course, message, acceptance);
    Either::Right(Box::pin(run_tell(course, begun, acceptance)))
}

/// What both ways have in common: the attempts of one call.
struct Course<P: Protocol> {
    layer: Arc<dyn Layer<P>>,
    sending: Sending,
    origin: Origin,
    told: bool,
    deadline: Instant,
    number: u32,
    previous: Option<End>,
}

impl<P: Protocol> Course<P> {
    fn new(layer: &Arc<dyn Layer<P>>, sending: Sending, origin: Origin, told: bool) -> Self {
        let deadline = Instant::now() + sending.timeout;
        Self { layer: Arc::clone(layer), sending, origin, told, deadline, number: 0, previous: None }
    }

    /// Has the next attempt chosen, with how it is to be sent.
    fn choose<R: Request>(&mut self, now: Instant) -> Result<(Choice<P>, Sending), DeliveryError> {
        self.number = self.number.saturating_add(1);
        let Origin { caller, on_behalf_of } = &self.origin;
        let choice = self.layer.choose(&Attempt {
            request: R::NAME,
            idempotent: R::IDEMPOTENT,
            told: self.told,
            number: self.number,
            now,
            deadline: self.deadline,
            priority: self.sending.priority,
            caller: caller.as_deref(),
            on_behalf_of: on_behalf_of.as_deref(),
            previous: self.previous.as_ref(),
        })?;
        let left = self.deadline.saturating_duration_since(now);
        let timeout = choice.within.map_or(left, |within| within.min(left));
        Ok((choice, Sending { timeout, ..self.sending }))
    }

    /// When to try again after an attempt that brought no reply, if at all.
    fn again(&mut self, end: End, again: Option<OnMiss>) -> Option<Instant> {
        let left = self.deadline.saturating_duration_since(end.now);
        let end = self.previous.insert(end);
        let after = again.filter(|_| !left.is_zero()).and_then(|again| again(end));
        after.filter(|after| *after < left).map(|after| end.now + after)
    }
}

/// Tells the layer how an attempt ended: once, however it does.
struct Watch {
    began: Instant,
    ended: Option<OnEnd>,
}

impl Watch {
    fn end(mut self, how: Ended) -> End {
        self.report(how)
    }

    fn report(&mut self, how: Ended) -> End {
        let now = Instant::now();
        let end = End { how, took: now.saturating_duration_since(self.began), now };
        if let Some(ended) = self.ended.take() {
            ended(&end);
        }
        end
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.ended.is_some() {
            self.report(Ended::Cancelled);
        }
    }
}

/// A request that is asked through a layer.
struct Asking<P: Protocol, R: Request> {
    course: Course<P>,
    /// Until the first attempt.
    request: Option<R>,
    /// Where the layer may ask for another attempt.
    encoded: Option<Bytes>,
    attempts: Vec<Running<R>>,
    hedge_at: Option<Instant>,
    again_at: Option<Instant>,
    /// The error to end with: the last of those that leave the most of what may have been done.
    missed: Option<AskError<R::Error>>,
}

/// An attempt in progress. What is asked is dropped before the layer is told.
struct Running<R: Request> {
    call: AskFuture<R>,
    watch: Watch,
    again: Option<OnMiss>,
}

impl<P: Accepts<R>, R: Request> Asking<P, R> {
    /// Begins the next attempt.
    fn begin(&mut self) -> Result<(), DeliveryError> {
        let now = Instant::now();
        (self.hedge_at, self.again_at) = (None, None);
        let (Choice { mailbox, hedge_after, ended, mut again, .. }, sending) =
            self.course.choose::<R>(now)?;
        let watch = Watch { began: now, ended };
        let call = match self.keep(again.is_some() || hedge_after.is_some()) {
            Ok(()) => {
                self.hedge_at = hedge_after.map(|after| now + after);
                self.call(&mailbox, sending)
            }
            Err(error) => {
                again = None;
                AskFuture::refused(error)
            }
        };
        self.attempts.push(Running { call, watch, again });
        Ok(())
    }

    /// Encodes the request where it may be sent more than once.
    fn keep(&mut self, repeats: bool) -> Result<(), DeliveryError> {
        if let (true, None, Some(request)) = (repeats, &self.encoded, &self.request) {
            let encoded = codec::encode(request);
            let encoded = encoded.map_err(|error| unencodable::<R>(error, MESSAGE_BYTES_MAX as u64))?;
            self.encoded = Some(encoded.into());
        }
        Ok(())
    }

    fn call(&mut self, mailbox: &Mailbox<P>, sending: Sending) -> AskFuture<R> {
        let origin = self.course.origin.clone();
        let here = !matches!(mailbox.target, Target::Remote(_));
        match (self.request.take(), &self.encoded) {
            (Some(request), None) => mailbox.start_ask(request, sending, origin),
            (Some(request), Some(_)) if here => mailbox.start_ask(request, sending, origin),
            (_, Some(encoded)) => mailbox.start_encoded(encoded, sending, origin),
            (None, None) => unreachable!("another attempt follows only where the request was kept"),
        }
    }

    async fn run(mut self) -> AskResult<R> {
        loop {
            if self.attempts.is_empty() && self.again_at.is_none() {
                let missed = self.missed.take();
                return Err(missed.expect("every attempt that ended without an answer has left its error"));
            }
            let next = [self.hedge_at, self.again_at].into_iter().flatten().min();
            let attempts = &mut self.attempts;
            let ended = poll_fn(|cx| {
                for (index, attempt) in attempts.iter_mut().enumerate() {
                    if let Poll::Ready(answer) = attempt.call.poll_unpin(cx) {
                        return Poll::Ready((index, answer));
                    }
                }
                Poll::Pending
            });
            let ended = match next {
                Some(at) => tokio::time::timeout_at(at, ended).await.ok(),
                None => Some(ended.await),
            };
            match ended {
                Some((index, answer)) => {
                    let attempt = self.attempts.swap_remove(index);
                    if let Some(answer) = self.ended(attempt, answer) {
                        return answer;
                    }
                }
                None => {
                    if let Err(error) = self.begin() {
                        self.miss(error.into());
                    }
                }
            }
        }
    }

    /// Ends an attempt; returns the answer of the call if this is it.
    fn ended(&mut self, attempt: Running<R>, answer: AskResult<R>) -> Option<AskResult<R>> {
        let Running { watch, again, .. } = attempt;
        let error = match answer {
            Ok(reply) => {
                watch.end(Ended::Answered);
                return Some(Ok(reply));
            }
            Err(error) => error,
        };
        let end = watch.end(match &error {
            AskError::Handler(_) => Ended::Failed,
            AskError::Delivery(error) => Ended::Undelivered(error.clone()),
        });
        let failed = end.how == Ended::Failed;
        let again_at = self.course.again(end, again);
        if failed && again_at.is_none() {
            return Some(Err(error));
        }
        self.again_at = [self.again_at, again_at].into_iter().flatten().min();
        if self.attempts.is_empty() {
            // Hedges are for an attempt that is in progress.
            self.hedge_at = None;
        }
        self.miss(error);
        None
    }

    /// Notes an error, unless one before it leaves open that more was done: who repeats a call by its error has to
    /// know of all of its attempts.
    fn miss(&mut self, error: AskError<R::Error>) {
        let done = |error: &AskError<R::Error>| match error {
            AskError::Handler(_) => Delivery::Delivered as u8,
            AskError::Delivery(error) => error.delivery() as u8,
        };
        if self.missed.as_ref().is_none_or(|missed| done(missed) <= done(&error)) {
            self.missed = Some(error);
        }
    }
}

/// A message on its way, with what its layer wants to know.
type Telling<R> = (TellFuture<R>, Watch, Option<OnMiss>);

fn begin_tell<P: Accepts<R>, R: Request>(
    course: &mut Course<P>,
    message: R,
    acceptance: Acceptance,
) -> Result<Telling<R>, TellError<R>> {
    let now = Instant::now();
    let (choice, sending) = match course.choose::<R>(now) {
        Ok(chosen) => chosen,
        Err(cause) => return Err(TellError::new(message, cause)),
    };
    let Choice { mailbox, ended, again, .. } = choice;
    let watch = Watch { began: now, ended };
    Ok((mailbox.start_tell(message, sending, course.origin.clone(), acceptance), watch, again))
}

async fn run_tell<P: Accepts<R>, R: Request>(
    mut course: Course<P>,
    mut begun: Result<Telling<R>, TellError<R>>,
    acceptance: Acceptance,
) -> Result<(), TellError<R>> {
    loop {
        let (told, watch, again) = begun?;
        let TellError { message, cause } = match told.await {
            Ok(()) => {
                watch.end(Ended::Answered);
                return Ok(());
            }
            Err(error) => error,
        };
        let end = watch.end(Ended::Undelivered(cause.clone()));
        let again_at = course.again(end, again.filter(|_| message.is_some()));
        begun = match (message, again_at) {
            (Some(message), Some(at)) => {
                tokio::time::sleep_until(at).await;
                begin_tell(&mut course, message, acceptance)
            }
            (message, _) => Err(TellError { message, cause }),
        };
    }
}
