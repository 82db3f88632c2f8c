//! Asking in bulk.

use super::{
    AskFuture, Mailbox, RemoteCall, Target,
    ask::{AskResult, SENDING_DEFAULT, sending_options},
};
use crate::{
    call::{Origin, Priority},
    session::{Sending, TIMEOUT_MAX, WireBulk},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use swarm_protocols::{Accepts, Protocol, Request};

/// Requests of one type for a task that asks many: they are asked without being awaited one by one, and their answers
/// are taken as they come. On a connection that costs less than a future for each [`Ask`](crate::Ask), and keeps order,
/// bounds, deadlines and cancellation as they are. Made with [`Mailbox::pipeline`].
///
/// ```
/// # use actix::prelude::*;
/// # use serde::{Deserialize, Serialize};
/// # use swarm_actors::{Call, Mailbox};
/// # use swarm_protocols::{NoError, Request, protocol};
/// # #[derive(Serialize, Deserialize, Request)] #[request(name = "square", reply = u64)]
/// # struct Square(u64);
/// # protocol! { Squares = "squares" { Square } }
/// # struct Squarer;
/// # impl Actor for Squarer { type Context = Context<Self>; }
/// # impl Handler<Call<Square>> for Squarer {
/// #     type Result = Result<u64, NoError>;
/// #     fn handle(&mut self, call: Call<Square>, _: &mut Context<Self>) -> Self::Result {
/// #         Ok(call.request.0 * call.request.0)
/// #     }
/// # }
/// # #[actix::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let squares: Mailbox<Squares> = Mailbox::start(Squarer);
/// let mut pipeline = squares.pipeline::<Square>();
/// let (mut numbers, mut sum) = (0..1000, 0);
/// // A hundred in flight: one more for each that is answered.
/// for number in numbers.by_ref().take(100) {
///     pipeline.ask(Square(number));
/// }
/// while let Some((_, square)) = pipeline.next().await {
///     sum += square?;
///     if let Some(number) = numbers.next() {
///         pipeline.ask(Square(number));
///     }
/// }
/// assert_eq!(sum, 332_833_500);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it cancels its requests"]
pub struct Pipeline<P: Protocol, R: Request> {
    mailbox: Mailbox<P>,
    sending: Sending,
    asked: u64,
    /// Those on lanes.
    bulk: WireBulk,
    /// Those that take another way, and long answers.
    others: FuturesUnordered<Numbered<R>>,
}

impl<P: Protocol> Mailbox<P> {
    /// For a task that asks many requests of this type at once.
    pub fn pipeline<R: Request>(&self) -> Pipeline<P, R>
    where
        P: Accepts<R>,
    {
        Pipeline {
            mailbox: self.clone(),
            sending: SENDING_DEFAULT,
            asked: 0,
            bulk: WireBulk::default(),
            others: FuturesUnordered::new(),
        }
    }
}

impl<P: Accepts<R>, R: Request> Pipeline<P, R> {
    sending_options!();

    /// Asks now, and yields the number by which [`next`](Self::next) knows the answer: they count up from 0. How many
    /// are in flight is for the caller to bound: those beyond what the mailbox or the session takes are answered
    /// [`Overloaded`](swarm_protocols::DeliveryError::Overloaded).
    pub fn ask(&mut self, request: R) -> u64 {
        let number = self.asked;
        self.asked += 1;
        let ask = match &self.mailbox.target {
            Target::Remote(remote) => {
                match remote.ask_in_bulk(&mut self.bulk, number, &request, self.sending) {
                    Some(call) => AskFuture::remote(call),
                    None => return number,
                }
            }
            Target::Local(_) | Target::Layered(_) => {
                self.mailbox.start_ask(request, self.sending, Origin::default())
            }
        };
        self.others.push(Numbered { number, ask });
        number
    }

    /// The next answer that comes, in whatever order; `None` where nothing is in flight. May be dropped without losing
    /// one.
    pub async fn next(&mut self) -> Option<(u64, AskResult<R>)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Like [`next`](Self::next), for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(u64, AskResult<R>)>> {
        let on_lanes = loop {
            let (number, answered) = match self.bulk.poll_next(cx) {
                Poll::Ready(Some(numbered)) => numbered,
                polled => break polled.is_pending(),
            };
            match RemoteCall::read(answered) {
                Ok(result) => return Poll::Ready(Some((number, result))),
                Err(decoding) => self.others.push(Numbered { number, ask: AskFuture::remote(decoding) }),
            }
        };
        match ready!(self.others.poll_next_unpin(cx)) {
            None if on_lanes => Poll::Pending,
            answered => Poll::Ready(answered),
        }
    }
}

/// A request, and its number.
struct Numbered<R: Request> {
    number: u64,
    ask: AskFuture<R>,
}

impl<R: Request> Future for Numbered<R> {
    type Output = (u64, AskResult<R>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.ask).poll(cx));
        Poll::Ready((self.number, answer))
    }
}
