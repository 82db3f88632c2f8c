//! Asking an actor through its own context: requests wait in an inbox that the actor empties in runs, so that those of
//! another node are decoded, handled and answered without a message of actix for each.

use super::{
    AskError, Mailbox,
    local::{IN_FLIGHT_DEFAULT, InFlight, Inlet, Local, Pending, Port, WireVersion},
};
use crate::{
    budget::Room,
    call::{Answer, Call, CallContext, CallKey, Known, Origin, Outcome},
    gate::Group,
    session::{Arrival, Arrivals, Batch, COUNTED_MAX, Replies, permits, serve, turn_of},
};
use actix::{Actor, Addr, AsyncContext, Handler, dev::MessageResponse, fut::ActorFuture};
use futures_util::FutureExt;
use std::{
    any::Any,
    collections::VecDeque,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};
use swarm_protocols::{DeliveryError, Ports, Protocol, Request, ServedBy};
use tokio::{sync::oneshot, task::yield_now};

impl<P: Protocol> Mailbox<P> {
    /// Starts `actor` on this thread, with a mailbox that it empties itself; see [`within`](Self::within).
    ///
    /// # Panics
    /// Outside of an actix system.
    pub fn start<A>(actor: A) -> Self
    where
        A: Actor<Context = actix::Context<A>>,
        P: ServedBy<A, InboxPorts<A>>,
    {
        Self::start_with_address(actor).0
    }

    /// Like [`start`](Self::start), with the address, for messages that are not of the protocol.
    ///
    /// # Panics
    /// Outside of an actix system.
    pub fn start_with_address<A>(actor: A) -> (Self, Addr<A>)
    where
        A: Actor<Context = actix::Context<A>>,
        P: ServedBy<A, InboxPorts<A>>,
    {
        let mut mailbox = None;
        let address = A::create(|context| {
            mailbox = Some(Self::within(context));
            actor
        });
        (mailbox.expect("an actor is made before it is started"), address)
    }

    /// The mailbox of the actor whose context this is: what [`local`](Self::local) gives, faster. What a peer asks goes
    /// through no message of actix but waits in an inbox, from which the actor takes whole runs. At most 4096 requests
    /// are in flight.
    ///
    /// Requests keep their order; they are not ordered with messages that are sent to the address of the actor. The
    /// actor lives as long as the mailbox has clones. One that a [supervisor](actix::Supervisor) restarts takes nothing
    /// more from the inbox: reach it through its address.
    pub fn within<A>(context: &mut actix::Context<A>) -> Self
    where
        A: Actor<Context = actix::Context<A>>,
        P: ServedBy<A, InboxPorts<A>>,
    {
        Self::within_with(context, IN_FLIGHT_DEFAULT)
    }

    /// Like [`within`](Self::within), with at most `in_flight_max` requests in flight; see
    /// [`local_with`](Self::local_with).
    pub fn within_with<A>(context: &mut actix::Context<A>, in_flight_max: usize) -> Self
    where
        A: Actor<Context = actix::Context<A>>,
        P: ServedBy<A, InboxPorts<A>>,
    {
        let inbox = Arc::new(Inbox::<A>::default());
        context.spawn(Pump { inbox: Arc::clone(&inbox), items: VecDeque::new(), run: Run::default() });
        let mut ports = InboxPorts {
            handle: Arc::new(InboxHandle(inbox)),
            ports: Vec::with_capacity(P::REQUESTS),
            #[cfg(test)]
            address: std::env::var_os("SWARM_TEST_ADDRESSES").map(|_| context.address()),
        };
        P::add_all(&mut ports);
        Self::from_local(Local::new(ports.ports, in_flight_max))
    }
}

/// The ports of an actor with an inbox; see [`Mailbox::within`].
pub struct InboxPorts<A: Actor> {
    handle: Arc<InboxHandle<A>>,
    ports: Vec<Box<dyn Any + Send + Sync>>,
    /// Takes the requests in place of the inbox: every test holds for both.
    #[cfg(test)]
    address: Option<Addr<A>>,
}

// What a user has to write is `Handler`: the sentence of the trait says so.
#[diagnostic::do_not_recommend]
impl<A, R> Ports<A, R> for InboxPorts<A>
where
    A: Actor<Context = actix::Context<A>> + Handler<Call<R>>,
    R: Request,
{
    fn add(&mut self) {
        #[cfg(test)]
        if let Some(address) = &self.address {
            let port: Box<dyn Port<R>> = Box::new(address.clone().recipient());
            return self.ports.push(Box::new(port));
        }
        let port: Box<dyn Port<R>> = Box::new(InboxPort(Arc::clone(&self.handle)));
        self.ports.push(Box::new(port));
    }
}

/// What waits for an actor. The mailbox bounds how many there are.
struct Inbox<A> {
    waiting: Mutex<Waiting<A>>,
}

struct Waiting<A> {
    items: VecDeque<Item<A>>,
    pump: Option<Waker>,
    /// No more come, or nobody takes them any more.
    closed: bool,
}

enum Item<A> {
    /// They came over a session.
    Arrived { arrivals: Arrivals, places: Group, kind: Arc<dyn Arrived<A>> },
    /// It came from this process.
    Called(Box<dyn Called<A>>),
}

impl<A> Item<A> {
    /// How many requests have come together on a lane; `None` where one came by itself.
    fn run(&self) -> Option<usize> {
        match self {
            Self::Arrived { arrivals, .. } => Some(arrivals.requests.len()).filter(|count| *count > 1),
            Self::Called(_) => None,
        }
    }
}

impl<A> Default for Inbox<A> {
    fn default() -> Self {
        Self { waiting: Mutex::new(Waiting { items: VecDeque::new(), pump: None, closed: false }) }
    }
}

impl<A> Inbox<A> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<A>> {
        // The state is valid between any two statements that could panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one more, unless the actor has stopped.
    fn push<T>(&self, item: T, into: impl FnOnce(T) -> Item<A>) -> Result<(), T> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(item);
        }
        waiting.items.push_back(into(item));
        let pump = waiting.pump.take();
        drop(waiting);
        if let Some(pump) = pump {
            pump.wake();
        }
        Ok(())
    }
}

/// What the mailboxes of an actor share. Once the last is gone the actor need not wait for more.
struct InboxHandle<A>(Arc<Inbox<A>>);

impl<A> Drop for InboxHandle<A> {
    fn drop(&mut self) {
        let pump = {
            let mut waiting = self.0.waiting();
            waiting.closed = true;
            waiting.pump.take()
        };
        if let Some(pump) = pump {
            pump.wake();
        }
    }
}

struct InboxPort<A>(Arc<InboxHandle<A>>);

impl<A, R> Port<R> for InboxPort<A>
where
    A: Actor<Context: AsyncContext<A>> + Handler<Call<R>>,
    R: Request,
{
    fn is_alive(&self) -> bool {
        !self.0.0.waiting().closed
    }

    fn ask(&self, call: Call<R>) -> Pending<R> {
        let (answer, receiver) = oneshot::channel();
        let into = |call| Item::Called(Box::new(LocalCall { call, answer: Some(answer) }));
        match self.0.0.push(call, into) {
            Ok(()) => Pending::Channel { receiver },
            Err(_) => Pending::Refused { error: DeliveryError::Stopped },
        }
    }

    fn tell(&self, call: Call<R>) -> Result<(), (R, DeliveryError)> {
        let into = |call| Item::Called(Box::new(LocalCall { call, answer: None }));
        let pushed = self.0.0.push(call, into);
        pushed.map_err(|call| (call.into_request(), DeliveryError::Stopped))
    }

    fn inlet(&self, version: &'static dyn WireVersion<R>) -> Option<Arc<dyn Inlet>> {
        Some(Arc::new(InboxInlet { handle: Arc::clone(&self.0), kind: Arc::new(Kind { version }) }))
    }
}

struct InboxInlet<A> {
    handle: Arc<InboxHandle<A>>,
    kind: Arc<dyn Arrived<A>>,
}

impl<A: Actor> Inlet for InboxInlet<A> {
    fn push(&self, arrivals: Arrivals, places: Group) {
        let into = |(arrivals, places)| Item::Arrived { arrivals, places, kind: Arc::clone(&self.kind) };
        if let Err((mut arrivals, _)) = self.handle.0.push((arrivals, places), into) {
            arrivals.refuse_after(0, &DeliveryError::Stopped);
        }
    }
}

/// A call of this process, whatever it asks.
trait Called<A: Actor>: Send {
    fn run(self: Box<Self>, actor: &mut A, context: &mut A::Context);

    /// It will not be handled.
    fn refuse(self: Box<Self>, error: DeliveryError);
}

struct LocalCall<R: Request> {
    call: Call<R>,
    answer: Option<oneshot::Sender<Outcome<R>>>,
}

impl<A: Actor + Handler<Call<R>>, R: Request> Called<A> for LocalCall<R> {
    fn run(self: Box<Self>, actor: &mut A, context: &mut A::Context) {
        let Self { call, answer } = *self;
        if answer.as_ref().is_some_and(oneshot::Sender::is_closed) {
            return;
        }
        actor.handle(call, context).handle(context, answer);
    }

    fn refuse(self: Box<Self>, error: DeliveryError) {
        self.call.refuse(error);
    }
}

/// Requests of one type, in one version, that came over sessions.
trait Arrived<A: Actor>: Send + Sync {
    /// Lets the actor handle the first of `arrivals`, which take these `places` in the mailbox, one after the other: as
    /// many as `left` says, or until it waits for something. Says how many are left then.
    fn run(
        &self,
        arrivals: &mut Arrivals,
        places: &mut Group,
        left: usize,
        actor: &mut A,
        context: &mut A::Context,
        run: &mut Run,
    ) -> usize;
}

struct Kind<R: Request> {
    version: &'static dyn WireVersion<R>,
}

/// How much memory an actor keeps for answers to be encoded in, in bytes.
const ANSWER_BYTES_KEPT: usize = 4 << 10;

/// Why there is a current call after its handler has run.
const CURRENT: &str = "nothing but a panic takes the current call";

/// What a run of calls leaves behind.
#[derive(Default)]
struct Run {
    batch: Batch,
    /// An encoded answer, before it is part of the batch.
    payload: Vec<u8>,
    /// The request whose handler runs, which is none of the first arrivals any more, and the room that it takes.
    current: Option<(CallKey, Option<Box<Room>>)>,
}

impl<A, R> Arrived<A> for Kind<R>
where
    A: Actor<Context: AsyncContext<A>> + Handler<Call<R>>,
    R: Request,
{
    fn run(
        &self,
        arrivals: &mut Arrivals,
        places: &mut Group,
        mut left: usize,
        actor: &mut A,
        context: &mut A::Context,
        run: &mut Run,
    ) -> usize {
        while left > 0
            && !context.waiting()
            && let Some(arrival) = arrivals.requests.pop_front()
        {
            left -= 1;
            self.run_one(arrival, arrivals, places, actor, context, run);
        }
        left
    }
}

impl<R: Request> Kind<R> {
    fn run_one<A: Actor + Handler<Call<R>>>(
        &self,
        arrival: Arrival,
        arrivals: &mut Arrivals,
        places: &mut Group,
        actor: &mut A,
        context: &mut A::Context,
        run: &mut Run,
    ) {
        let version = self.version;
        let Arrival { key, on_behalf_of, deadline, payload, room } = arrival;
        let Arrivals { addressee, priority, places: of_session, replies, .. } = arrivals;
        let mut refuse = |room, error| match key {
            Some(key) => {
                let places = [&mut *places, &mut *of_session];
                run.batch.answer(replies, (key, room), places, Err(error), &mut Vec::new());
            }
            None => {
                replies.drop_post(addressee.as_deref(), &error);
                drop(permits([&mut *places, &mut *of_session], room));
            }
        };
        if key.is_some_and(|key| replies.is_cancelled(key)) {
            return refuse(room, DeliveryError::Cancelled);
        }
        let request = match version.decode(&payload) {
            Ok(request) => request,
            Err(error) => return refuse(room, error),
        };
        drop(payload);
        let Some(key) = key else {
            let origin = Origin { caller: Some(Arc::clone(replies.caller())), on_behalf_of };
            let permits = permits([places, of_session], room);
            let call = Call::new(request, CallContext::told(origin, *priority, permits, None));
            return actor.handle(call, context).handle(context, None);
        };
        let known: Arc<Replies> = Arc::clone(replies);
        let call = Call::new(request, CallContext::arrived(known, key, on_behalf_of, deadline, *priority));
        run.current = Some((key, room));
        let result = actor.handle(call, context);
        let (key, room) = run.current.take().expect(CURRENT);
        let encode = |answer, bytes_max, payload: &mut Vec<u8>| version.encode(answer, bytes_max, payload);
        match Response::<A, R>::of(result) {
            Response::Ready(outcome) => {
                let Run { batch, payload, .. } = run;
                let form = version.encode(outcome.map_err(AskError::Handler), replies.bytes_max(), payload);
                batch.answer(replies, (key, room), [places, of_session], form, payload);
                payload.clear();
                payload.shrink_to(ANSWER_BYTES_KEPT);
            }
            Response::Answer(answer) => {
                let state = replies.watch(key);
                state.keep(permits([places, of_session], room));
                let answer = answer.outcome().map(|outcome| outcome?.map_err(AskError::Handler));
                serve(Arc::clone(replies), key, state, answer, encode);
            }
            Response::Other(result) => {
                let state = replies.watch(key);
                let (answer, receiver) = oneshot::channel();
                // It is a user's code as well, and may panic.
                run.current = Some((key, room));
                result.handle(context, Some(answer));
                let (key, room) = run.current.take().expect(CURRENT);
                state.keep(permits([places, of_session], room));
                let pending = Pending::<R>::Channel { receiver };
                serve(Arc::clone(replies), key, Arc::clone(&state), InFlight { pending, state }, encode);
            }
        }
    }
}

/// What a handler returned.
enum Response<A: Actor + Handler<Call<R>>, R: Request> {
    Ready(Outcome<R>),
    Answer(Answer<R>),
    /// Whatever else actix takes for an outcome.
    Other(A::Result),
}

impl<A: Actor + Handler<Call<R>>, R: Request> Response<A, R> {
    fn of(result: A::Result) -> Self {
        let mut result = Some(result);
        if let Some(outcome) = taken(&mut result) {
            return Self::Ready(outcome);
        }
        match taken(&mut result) {
            Some(answer) => Self::Answer(answer),
            None => Self::Other(result.expect("it was taken as nothing else")),
        }
    }
}

/// What is there, if it is a `T`.
fn taken<T: 'static>(result: &mut dyn Any) -> Option<T> {
    result.downcast_mut::<Option<T>>()?.take()
}

/// Empties the inbox in the context of the actor.
struct Pump<A: Actor> {
    inbox: Arc<Inbox<A>>,
    items: VecDeque<Item<A>>,
    run: Run,
}

impl<A: Actor> ActorFuture<A> for Pump<A>
where
    A::Context: AsyncContext<A>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, context: &mut A::Context, cx: &mut Context<'_>) -> Poll<()> {
        let Self { inbox, items, run } = self.get_mut();
        let mut turn = None;
        loop {
            if items.is_empty() {
                let mut waiting = inbox.waiting();
                if waiting.items.is_empty() {
                    let closed = waiting.closed;
                    waiting.pump = (!closed).then(|| cx.waker().clone());
                    drop(waiting);
                    run.batch.flush();
                    return if closed { Poll::Ready(()) } else { Poll::Pending };
                }
                std::mem::swap(&mut waiting.items, items);
            }
            let left = turn.get_or_insert_with(|| {
                let runs = items.iter().take(COUNTED_MAX).map(|item| item.run());
                let (together, others) = runs.fold((0, 0), |(together, others), run| match run {
                    Some(count) => (together + count, others),
                    None => (together, others + 1),
                });
                turn_of(together, others)
            });
            if context.waiting() || *left == 0 {
                run.batch.flush();
                // It is polled again when the others of the thread have had their turn, or the actor has done what it
                // waits for, and dropped when that stops. This relies on tokio, which wakes who yields behind all others
                // also where the future is polled once and dropped.
                let _later = pin!(yield_now()).poll(cx);
                return Poll::Pending;
            }
            match items.front_mut() {
                Some(Item::Arrived { arrivals, places, kind }) => {
                    *left = kind.run(arrivals, places, *left, actor, context, run);
                    if arrivals.requests.is_empty() {
                        items.pop_front();
                    }
                }
                Some(Item::Called(_)) => {
                    if let Some(Item::Called(called)) = items.pop_front() {
                        called.run(actor, context);
                        *left -= 1;
                    }
                }
                None => unreachable!("there are some, see above"),
            }
        }
    }
}

impl<A: Actor> Drop for Pump<A> {
    /// The actor has stopped, or its handler panicked.
    fn drop(&mut self) {
        let Self { inbox, items, run } = self;
        if let Some(current) = run.current.take()
            && let Some(Item::Arrived { arrivals, places, .. }) = items.front_mut()
        {
            let places = [places, &mut arrivals.places];
            let panicked = Err(DeliveryError::Panicked);
            run.batch.answer(&arrivals.replies, current, places, panicked, &mut Vec::new());
        }
        // In the order in which they were asked.
        run.batch.flush();
        let mut waiting = {
            let mut waiting = inbox.waiting();
            waiting.closed = true;
            std::mem::take(&mut waiting.items)
        };
        for item in items.drain(..).chain(waiting.drain(..)) {
            match item {
                Item::Arrived { mut arrivals, .. } => arrivals.refuse_after(0, &DeliveryError::Stopped),
                Item::Called(called) => called.refuse(DeliveryError::Stopped),
            }
        }
    }
}
