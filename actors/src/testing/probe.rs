//! A mailbox behind which a test sits.

use super::{asked::Asked, carry};
use crate::{
    call::Call,
    gate::RETRY_AFTER,
    mailbox::{Local, Mailbox, Pending, Port},
};
use std::{any::Any, collections::VecDeque, marker::PhantomData, panic::Location, time::Duration};
use swarm_protocols::{Accepts, DeliveryError, Protocol, Request, Visitor};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

/// How long [`Probe::expect`] waits unless it says otherwise: longer than anything in a test takes,
/// shorter than a person's patience. Under a paused clock it costs no time.
pub(super) const WITHIN_DEFAULT: Duration = Duration::from_secs(5);

/// How many messages wait for a test to look at them; beyond it the mailbox is overloaded. Also how
/// many are put aside in search of another one.
const QUEUE: usize = 1024;

/// The other end of a [`Mailbox<P>`] whose messages go to a test instead of an actor.
///
/// Every wait is bounded, by five seconds unless it says otherwise, and what was expected and does
/// not come ends in a panic that names the line of the test, what was expected, and what came. See
/// the [module](crate::testing) for an example, and [`Asked`] for the answers. A message that cannot travel
/// between two nodes is a panic too, and its asker sees [`Codec`](DeliveryError::Codec).
///
/// It needs a tokio runtime with a clock, and no actix system.
pub struct Probe<P: Protocol> {
    incoming: mpsc::Receiver<Incoming>,
    skipped: VecDeque<Incoming>,
    protocol: PhantomData<fn() -> P>,
}

struct Incoming {
    request: &'static str,
    /// The `Asked<R>`, or why the request cannot travel.
    asked: Result<Box<dyn Any + Send>, String>,
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
    #[track_caller]
    pub fn expect<R: Request>(&mut self) -> impl Future<Output = Asked<R>>
    where
        P: Accepts<R>,
    {
        self.expect_within(WITHIN_DEFAULT)
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
        let place = Location::caller();
        async move {
            let wanted = R::NAME;
            match self.next(Instant::now() + bound, place).await {
                Ok((request, asked)) => match asked.downcast() {
                    Ok(asked) => *asked,
                    Err(_) => panic!("{place}: {wanted} was expected, {request} came"),
                },
                Err(ended) => panic!("{place}: {wanted} was expected, {}", ended.within(bound)),
            }
        }
    }

    /// The next `R`; messages of other types stay for later.
    ///
    /// # Panics
    /// Where none comes within five seconds.
    #[track_caller]
    pub fn expect_among<R: Request>(&mut self) -> impl Future<Output = Asked<R>>
    where
        P: Accepts<R>,
    {
        self.search(Location::caller(), "", |_: &R| true)
    }

    /// The next `R` that is `wanted`; other messages stay for later, in their order. For requests that
    /// come in an order that no one knows.
    ///
    /// # Panics
    /// Where none comes within five seconds.
    #[track_caller]
    pub fn expect_where<R: Request>(
        &mut self,
        wanted: impl FnMut(&R) -> bool,
    ) -> impl Future<Output = Asked<R>>
    where
        P: Accepts<R>,
    {
        self.search(Location::caller(), " for which the condition holds", wanted)
    }

    /// Waits for `bound` and finds that nothing came.
    ///
    /// # Panics
    /// Where something does.
    #[track_caller]
    pub fn expect_none(&mut self, bound: Duration) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            if let Ok((request, _)) = self.next(Instant::now() + bound, place).await {
                panic!("{place}: nothing was expected, {request} came");
            }
        }
    }

    async fn search<R: Request>(
        &mut self,
        place: &'static Location<'static>,
        condition: &str,
        mut wanted: impl FnMut(&R) -> bool,
    ) -> Asked<R>
    where
        P: Accepts<R>,
    {
        let (deadline, mut others) = (Instant::now() + WITHIN_DEFAULT, VecDeque::new());
        let found = loop {
            if others.len() == QUEUE {
                break Err(Ended::TooMany);
            }
            match self.next(deadline, place).await {
                Ok((request, asked)) => match asked.downcast::<Asked<R>>() {
                    Ok(asked) if wanted(asked.request()) => break Ok(*asked),
                    Ok(asked) => others.push_back(Incoming { request, asked: Ok(asked) }),
                    Err(asked) => others.push_back(Incoming { request, asked: Ok(asked) }),
                },
                Err(ended) => break Err(ended),
            }
        };
        let came = names(&others);
        others.append(&mut self.skipped);
        self.skipped = others;
        found.unwrap_or_else(|ended| {
            let ended = ended.within(WITHIN_DEFAULT);
            panic!("{place}: {}{condition} was expected, {ended}; what came: {came}", R::NAME)
        })
    }

    /// The next message by its name, with its `Asked<R>`.
    async fn next(
        &mut self,
        deadline: Instant,
        place: &'static Location<'static>,
    ) -> Result<(&'static str, Box<dyn Any + Send>), Ended> {
        let Incoming { request, asked } = match self.skipped.pop_front() {
            Some(skipped) => skipped,
            None => match tokio::time::timeout_at(deadline, self.incoming.recv()).await {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return Err(Ended::Gone),
                Err(_) => return Err(Ended::Late),
            },
        };
        match asked {
            Ok(asked) => Ok((request, asked)),
            Err(reason) => panic!("{place}: a request came that cannot travel: {reason}"),
        }
    }
}

/// Why a probe waits no longer.
enum Ended {
    Gone,
    Late,
    TooMany,
}

impl Ended {
    fn within(self, bound: Duration) -> String {
        match self {
            Self::Gone => "and every mailbox of the probe is gone".to_owned(),
            Self::Late => format!("nothing came within {bound:?}"),
            Self::TooMany => format!("{QUEUE} other messages came"),
        }
    }
}

/// The messages by name, in their order, each run of one name once.
fn names(messages: &VecDeque<Incoming>) -> String {
    let mut runs: Vec<(&str, usize)> = Vec::new();
    for Incoming { request, .. } in messages {
        match runs.last_mut() {
            Some((name, count)) if name == request => *count += 1,
            _ => runs.push((request, 1)),
        }
    }
    let runs: Vec<String> = runs
        .iter()
        .take(8)
        .map(|(name, count)| if *count == 1 { (*name).to_owned() } else { format!("{count} {name}") })
        .collect();
    if runs.is_empty() { "nothing else".to_owned() } else { runs.join(", ") }
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
    fn ask(&self, mut call: Call<R>) -> Pending<R> {
        let (answer, receiver) = oneshot::channel();
        let (asked, pending): (Result<Box<dyn Any + Send>, _>, _) = match carry::request(&call.request) {
            Ok(request) => {
                call.request = request;
                (Ok(Box::new(Asked::new(call, Some(answer)))), Pending::Channel { receiver })
            }
            Err(error) => (Err(error.to_string()), Pending::Refused { error }),
        };
        // Where the probe is gone or full the answer is dropped, which the asker sees.
        let _kept = self.try_send(Incoming { request: R::NAME, asked });
        pending
    }

    fn tell(&self, mut call: Call<R>) -> Result<(), (R, DeliveryError)> {
        let permit = match self.try_reserve() {
            Ok(permit) => permit,
            Err(mpsc::error::TrySendError::Full(())) => {
                return Err((call.into_request(), DeliveryError::Overloaded { retry_after: RETRY_AFTER }));
            }
            Err(mpsc::error::TrySendError::Closed(())) => {
                return Err((call.into_request(), DeliveryError::Stopped));
            }
        };
        match carry::request(&call.request) {
            Ok(request) => {
                call.request = request;
                permit.send(Incoming { request: R::NAME, asked: Ok(Box::new(Asked::new(call, None))) });
                Ok(())
            }
            Err(error) => {
                permit.send(Incoming { request: R::NAME, asked: Err(error.to_string()) });
                Err((call.into_request(), error))
            }
        }
    }
}
