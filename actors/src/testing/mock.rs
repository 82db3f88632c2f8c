//! An actor that follows a script.

use super::carry;
use crate::{
    call::{Call, Outcome},
    mailbox::{Local, Mailbox, Pending, Port},
};
use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use swarm_protocols::{Accepts, DeliveryError, Protocol, Request, Visitor};
use tokio::sync::oneshot;

/// How many faults are kept to be named; a test that fails a thousand times needs the first.
const FAULTS_MAX: usize = 8;

/// A stand-in for an actor that answers by a script, at once, without a test sitting by.
///
/// Where a test wants to look at each message and decide, or to be slow, a
/// [`Probe`](super::Probe) is the better tool. A mock is for an actor that asks several things of
/// another one, of which the test cares about the outcome.
///
/// - [`once`](Self::once) and [`times`](Self::times) **must** be met; [`on`](Self::on) may be met
///   any number of times, and never is all right too.
/// - A request goes to the first line of the script for its type that is not used up.
/// - Counted lines of different requests may be met in any order, unless the script is
///   [`in_order`](Self::in_order).
/// - A line that panics, by an assertion about its request for instance, is a fault of the test; its
///   asker sees [`Panicked`](DeliveryError::Panicked).
/// - A request or an answer that cannot travel between two nodes is a fault; its asker sees
///   [`Codec`](DeliveryError::Codec).
/// - A request that no line wants is a fault too; its asker sees [`Stopped`](DeliveryError::Stopped).
/// - Faults and unmet lines **panic where the [guard](MockGuard) is dropped**, which is in the test,
///   with the lines of the script that they are about.
///
/// It needs no actix system. A line runs in the task of the asker, must not block, and must not
/// ask the mock itself.
///
/// ```
/// use swarm_actors::testing::MockActor;
/// # use serde::{Deserialize, Serialize};
/// # use swarm_protocols::{Request, protocol};
/// # #[derive(Serialize, Deserialize, Request)] #[request(name = "price-of", reply = f64)]
/// # struct PriceOf(String);
/// # #[derive(Serialize, Deserialize, Request)] #[request(name = "close")]
/// # struct Close;
/// # protocol! { Quotes = "quotes" { PriceOf, Close } }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let (quotes, _verified) = MockActor::<Quotes>::new()
///     .on::<PriceOf>(|asked| Ok(if asked.0 == "SPY" { 396.33 } else { 0.0 }))
///     .once::<Close>(|_| Ok(()))
///     .start();
///
/// assert_eq!(quotes.ask(PriceOf("SPY".into())).await, Ok(396.33));
/// assert_eq!(quotes.ask(Close).await, Ok(()));
/// # });
/// ```
#[must_use = "a script does nothing before it is started"]
pub struct MockActor<P: Protocol> {
    script: Script,
    protocol: PhantomData<fn() -> P>,
}

#[derive(Default)]
struct Script {
    lines: Vec<Line>,
    in_order: bool,
    faults: Vec<String>,
    faults_unnamed: usize,
    ended: bool,
}

struct Line {
    request: &'static str,
    place: &'static Location<'static>,
    /// `None` for any number of times.
    wanted: Option<usize>,
    came: usize,
    /// The `Answers<R>` of its request type.
    answers: Box<dyn Any + Send>,
}

/// An answer and the line that gave it.
type Answered<R> = (&'static Location<'static>, Outcome<R>);

type Answers<R> = Box<dyn FnMut(&R) -> Outcome<R> + Send>;

impl<P: Protocol> MockActor<P> {
    /// A mock that expects nothing.
    #[expect(clippy::new_without_default, reason = "the beginning of a script, not a value")]
    pub fn new() -> Self {
        Self { script: Script::default(), protocol: PhantomData }
    }

    /// Answers every `R`, however many come.
    #[track_caller]
    pub fn on<R: Request>(self, answers: impl FnMut(&R) -> Outcome<R> + Send + 'static) -> Self
    where
        P: Accepts<R>,
    {
        self.line(None, Box::new(answers), Location::caller())
    }

    /// Expects one `R`.
    #[track_caller]
    pub fn once<R: Request>(self, answers: impl FnMut(&R) -> Outcome<R> + Send + 'static) -> Self
    where
        P: Accepts<R>,
    {
        self.line(Some(1), Box::new(answers), Location::caller())
    }

    /// Expects `count` of `R`.
    #[track_caller]
    pub fn times<R: Request>(
        self,
        count: usize,
        answers: impl FnMut(&R) -> Outcome<R> + Send + 'static,
    ) -> Self
    where
        P: Accepts<R>,
    {
        self.line(Some(count), Box::new(answers), Location::caller())
    }

    /// Expects the counted lines in the order in which they are written. Those of
    /// [`on`](Self::on) stay free.
    pub fn in_order(mut self) -> Self {
        self.script.in_order = true;
        self
    }

    /// The mailbox of the mock, and the guard that verifies the script when it is dropped: keep it
    /// until the test is over.
    pub fn start(self) -> (Mailbox<P>, MockGuard) {
        let script = Arc::new(Mutex::new(self.script));
        let mut ports = Ports { script: Arc::clone(&script), ports: Vec::new() };
        P::visit(&mut ports);
        // Nothing is ever in flight: the answer is there when the question has been put.
        let mailbox = Mailbox::from_local(Local::new(ports.ports, usize::MAX));
        (mailbox, MockGuard { script, protocol: P::NAME })
    }

    fn line<R: Request>(
        mut self,
        wanted: Option<usize>,
        answers: Answers<R>,
        place: &'static Location<'static>,
    ) -> Self {
        let answers = Box::new(answers);
        self.script.lines.push(Line { request: R::NAME, place, wanted, came: 0, answers });
        self
    }
}

impl Line {
    fn is_met(&self) -> bool {
        self.wanted.is_none_or(|wanted| self.came >= wanted)
    }

    fn is_used_up(&self) -> bool {
        self.wanted.is_some() && self.is_met()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, place, wanted, came, .. } = self;
        match wanted {
            Some(wanted) => write!(f, "{place}: {request} was expected {wanted} times, {came} came"),
            None => write!(f, "{place}: {request} was allowed, {came} came"),
        }
    }
}

impl Script {
    /// Answers by the script, with the place of the line; `None` where the handler panicked or the request was not
    /// expected. A request that cannot travel is an error, as it is between two nodes.
    fn answer<R: Request>(&mut self, mut call: Call<R>) -> Result<Option<Answered<R>>, (R, DeliveryError)> {
        if self.ended {
            return Ok(None);
        }
        let unmet = self.lines.iter().position(|line| !line.is_met());
        let barrier = unmet.filter(|_| self.in_order);
        let wants = |(at, line): &(usize, &mut Line)| {
            let in_turn = line.wanted.is_none() || barrier.is_none_or(|barrier| *at <= barrier);
            line.answers.is::<Answers<R>>() && !line.is_used_up() && in_turn
        };
        let Some((_, line)) = self.lines.iter_mut().enumerate().find(wants) else {
            let due = barrier.map(|line| format!(" before\n    {}", self.lines[line]));
            let lines = self.lines.iter().filter(|line| line.answers.is::<Answers<R>>());
            let known: String = lines.map(|line| format!("\n    {line}")).collect();
            self.fault(format!("{} was not expected, and came{}{known}", R::NAME, due.unwrap_or_default()));
            return Ok(None);
        };
        line.came += 1;
        let place = line.place;
        let Some(answers) = line.answers.downcast_mut::<Answers<R>>() else { return Ok(None) };
        match carry::request(&call.request) {
            Ok(request) => call.request = request,
            Err(error) => {
                self.fault(format!("{place}: a request came that cannot travel: {error}"));
                return Err((call.into_request(), error));
            }
        }
        // The call is dropped while a panic unwinds: so its asker learns of the panic.
        let handler = AssertUnwindSafe(move || {
            let call = call;
            answers(&call.request)
        });
        match catch_unwind(handler) {
            Ok(outcome) => Ok(Some((place, outcome))),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
                self.fault(format!("{place}: the line for {} panicked: {text}", R::NAME));
                Ok(None)
            }
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        } else {
            self.faults_unnamed += 1;
        }
    }

    /// Everything that is wrong.
    fn report(&self) -> Vec<String> {
        let mut report = self.faults.clone();
        if self.faults_unnamed > 0 {
            report.push(format!("and {} more", self.faults_unnamed));
        }
        report.extend(self.lines.iter().filter(|line| !line.is_met()).map(Line::to_string));
        report
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    // The panics of a line are caught while the lock is held.
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Verifies the script of a [`MockActor`] when it is dropped, after which the mock is an actor that
/// has stopped.
#[must_use = "the script is verified when this is dropped: keep it until the test is over"]
pub struct MockGuard {
    script: Arc<Mutex<Script>>,
    protocol: &'static str,
}

impl MockGuard {
    /// Whether every counted line has been met and nothing went wrong so far.
    pub fn is_met(&self) -> bool {
        lock(&self.script).report().is_empty()
    }
}

impl Drop for MockGuard {
    /// # Panics
    /// Where the script was not met, unless the test panics already.
    fn drop(&mut self) {
        let mut script = lock(&self.script);
        script.ended = true;
        let report = script.report();
        drop(script);
        if !report.is_empty() && !std::thread::panicking() {
            panic!(
                "the mock of {} was not used as its script says:\n  {}",
                self.protocol,
                report.join("\n  ")
            );
        }
    }
}

impl fmt::Debug for MockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MockGuard<{}>", self.protocol)
    }
}

struct Ports {
    script: Arc<Mutex<Script>>,
    ports: Vec<Box<dyn Any + Send + Sync>>,
}

impl<P: Protocol> Visitor<P> for Ports {
    fn request<R: Request>(&mut self)
    where
        P: Accepts<R>,
    {
        let port: Box<dyn Port<R>> = Box::new(MockPort(Arc::clone(&self.script)));
        self.ports.push(Box::new(port));
    }
}

struct MockPort(Arc<Mutex<Script>>);

impl<R: Request> Port<R> for MockPort {
    fn ask(&self, call: Call<R>) -> Pending<R> {
        let (sender, receiver) = oneshot::channel();
        let mut script = lock(&self.0);
        match script.answer(call) {
            Ok(Some((place, outcome))) => match carry::outcome::<R>(&outcome) {
                Ok(outcome) => {
                    let _received_below = sender.send(outcome);
                }
                Err(error) => {
                    script.fault(format!("{place}: cannot travel: {error}"));
                    return Pending::Refused { error };
                }
            },
            Ok(None) => {}
            Err((_, error)) => return Pending::Refused { error },
        }
        Pending::Channel { receiver }
    }

    fn tell(&self, call: Call<R>) -> Result<(), (R, DeliveryError)> {
        let mut script = lock(&self.0);
        if script.ended {
            return Err((call.into_request(), DeliveryError::Stopped));
        }
        // Nobody waits for the answer; a fault is kept for the guard.
        script.answer(call).map(|_unasked| ())
    }
}
