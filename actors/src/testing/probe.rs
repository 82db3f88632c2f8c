//! A mailbox behind which a test sits.

use crate::{
    call::{Call, Caller, Cancellation, Outcome},
    mailbox::{Local, Mailbox, Pending, Port, RETRY_AFTER},
};
use std::{any::Any, collections::VecDeque, fmt, marker::PhantomData, time::Duration};
use swarm_protocols::{Accepts, DeliveryError, Protocol, Request, Visitor};
use tokio::sync::{mpsc, oneshot};

/// How long [`Probe::expect`] waits unless it says otherwise: longer than anything in a test takes,
/// shorter than a person's patience. Under a paused clock it costs no time.
const WITHIN_DEFAULT: Duration = Duration::from_secs(5);

/// How many messages wait for a test to look at them; beyond it the mailbox is overloaded.
const QUEUE: usize = 1024;

/// The other end of a [`Mailbox<P>`] whose messages go to a test instead of an actor.
///
/// See the [module](crate::testing) for an example.
pub struct Probe<P: Protocol> {
    incoming: mpsc::Receiver<Incoming>,
    skipped: VecDeque<Incoming>,
    protocol: PhantomData<fn() -> P>,
}

struct Incoming {
    request: &'static str,
    asked: Box<dyn Any + Send>,
}

impl<P: Protocol> Probe<P> {
    /// A mailbox, and the probe that gets what is sent to it.
    pub fn new() -> (Mailbox<P>, Self) {
        let (sender, incoming) = mpsc::channel(QUEUE);
        let mut ports = Ports { sender, ports: Vec::new() };
        P::visit(&mut ports);
        let mailbox = Mailbox::from_local(Local::new(ports.ports, QUEUE));
        (mailbox, Self { incoming, skipped: VecDeque::new(), protocol: PhantomData })
    }

    /// The next message, which must be an `R`.
    ///
    /// # Panics
    /// Where another message comes, or none within five seconds.
    pub async fn expect<R: Request>(&mut self) -> Asked<R>
    where
        P: Accepts<R>,
    {
        self.expect_within(WITHIN_DEFAULT).await
    }

    /// The next message, which must be an `R` and come within `bound`.
    ///
    /// # Panics
    /// Where it does not.
    #[track_caller]
    pub fn expect_within<R: Request>(&mut self, bound: Duration) -> impl Future<Output = Asked<R>>
    where
        P: Accepts<R>,
    {
        let place = std::panic::Location::caller();
        async move {
            let wanted = R::NAME;
            match self.next(bound).await {
                Ok(Incoming { asked, request }) => match asked.downcast() {
                    Ok(asked) => *asked,
                    Err(_) => panic!("{place}: {wanted} was expected, {request} came"),
                },
                Err(why) => panic!("{place}: {wanted} was expected, {why}"),
            }
        }
    }

    /// The next `R`; messages of other types stay for later.
    ///
    /// # Panics
    /// Where none comes within five seconds.
    pub async fn expect_among<R: Request>(&mut self) -> Asked<R>
    where
        P: Accepts<R>,
    {
        let mut others = VecDeque::new();
        let found = loop {
            match self.next(WITHIN_DEFAULT).await {
                Ok(Incoming { asked, request }) => match asked.downcast() {
                    Ok(asked) => break Ok(*asked),
                    Err(asked) => others.push_back(Incoming { asked, request }),
                },
                Err(why) => break Err(why),
            }
        };
        others.append(&mut self.skipped);
        self.skipped = others;
        found.unwrap_or_else(|why| panic!("{} was expected, {why}", R::NAME))
    }

    /// Waits for `bound` and finds that nothing came.
    ///
    /// # Panics
    /// Where something does.
    pub async fn expect_none(&mut self, bound: Duration) {
        if let Ok(Incoming { request, .. }) = self.next(bound).await {
            panic!("nothing was expected, {request} came");
        }
    }

    async fn next(&mut self, bound: Duration) -> Result<Incoming, String> {
        if let Some(skipped) = self.skipped.pop_front() {
            return Ok(skipped);
        }
        match tokio::time::timeout(bound, self.incoming.recv()).await {
            Ok(Some(incoming)) => Ok(incoming),
            Ok(None) => Err("and every mailbox of the probe is gone".to_owned()),
            Err(_) => Err(format!("nothing came within {bound:?}")),
        }
    }
}

struct Ports {
    sender: mpsc::Sender<Incoming>,
    ports: Vec<Box<dyn Any + Send + Sync>>,
}

impl<P: Protocol> Visitor<P> for Ports {
    fn request<R: Request>(&mut self)
    where
        P: Accepts<R>,
    {
        let port: Box<dyn Port<R>> = Box::new(self.sender.clone());
        self.ports.push(Box::new(port));
    }
}

impl<R: Request> Port<R> for mpsc::Sender<Incoming> {
    fn ask(&self, call: Call<R>) -> Pending<R> {
        let (answer, receiver) = oneshot::channel();
        let asked = Asked { call, answer: Some(answer) };
        // Where the probe is gone or full the answer is dropped, which the asker sees.
        let _kept = self.try_send(Incoming { request: R::NAME, asked: Box::new(asked) });
        Pending::Channel(receiver)
    }

    fn tell(&self, call: Call<R>) -> Result<(), (R, DeliveryError)> {
        let permit = match self.try_reserve() {
            Ok(permit) => permit,
            Err(mpsc::error::TrySendError::Full(())) => {
                return Err((call.into_request(), DeliveryError::Overloaded { retry_after: RETRY_AFTER }));
            }
            Err(mpsc::error::TrySendError::Closed(())) => {
                return Err((call.into_request(), DeliveryError::Stopped));
            }
        };
        permit.send(Incoming { request: R::NAME, asked: Box::new(Asked { call, answer: None }) });
        Ok(())
    }
}

/// A message that a probe got. Dropped unanswered, it looks to its asker as if the actor had stopped;
/// kept, as if the actor were slow.
pub struct Asked<R: Request> {
    call: Call<R>,
    answer: Option<oneshot::Sender<Outcome<R>>>,
}

impl<R: Request> Asked<R> {
    /// The message.
    pub fn request(&self) -> &R {
        &self.call.request
    }

    /// Who sent it; `None` for the test itself.
    pub fn caller(&self) -> Option<&Caller> {
        self.call.caller()
    }

    /// Whether it was told, so that no answer is wanted.
    pub fn is_told(&self) -> bool {
        self.answer.is_none()
    }

    /// Says whether the asker still waits.
    pub fn cancellation(&self) -> Cancellation {
        self.call.cancellation()
    }

    /// Answers it, as the handler of an actor would; says whether the asker still waited.
    pub fn reply(self, answer: Outcome<R>) -> bool {
        self.answer.is_some_and(|sender| sender.send(answer).is_ok())
    }
}

impl<R: Request + fmt::Debug> fmt::Debug for Asked<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}
