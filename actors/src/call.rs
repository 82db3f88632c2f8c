//! A request on its way through an actor: [`Call`] in, [`Answer`] out.

use crate::gate::{Permit, RETRY_AFTER};
use actix::{
    Actor, Message,
    dev::{MessageResponse, OneshotSender},
};
use futures_util::{future::LocalBoxFuture, task::AtomicWaker};
use std::{
    fmt,
    future::{Future, poll_fn},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use swarm_protocols::{DeliveryError, Request};
use tokio::{sync::Notify, time::Instant};

pub use swarm_protocols::Caller;

/// A request as its handler gets it: an actix message whose result is the request's reply or error.
///
/// A handler may return anything that actix accepts for that result: a plain `Result`, a
/// `ResponseFuture`, a `ResponseActFuture`, or an [`Answer`], which is the one that stops working
/// when the caller stops waiting.
pub struct Call<R: Request> {
    /// The request itself.
    pub request: R,
    context: CallContext,
}

/// How a handler answers a request: its reply or its error.
pub type Outcome<R> = Result<<R as Request>::Reply, <R as Request>::Error>;

impl<R: Request> Message for Call<R> {
    type Result = Outcome<R>;
}

impl<R: Request> Call<R> {
    pub(crate) fn new(request: R, context: CallContext) -> Self {
        Self { request, context }
    }

    /// Who asks; `None` for a caller in the same process.
    pub fn caller(&self) -> Option<&Caller> {
        match &self.context.watch {
            Watch::Arrived { known, .. } => Some(known.caller()),
            Watch::Made(_) | Watch::Told(..) => self.context.origin.caller.as_deref(),
        }
    }

    /// For whom the [`caller`](Self::caller) asks, where a coordinator passes on the request of another node. The
    /// mailbox was exposed to its role through coordinators.
    pub fn on_behalf_of(&self) -> Option<&Caller> {
        self.context.origin.on_behalf_of.as_deref()
    }

    /// When the caller stops waiting; `None` where it told and does not wait at all.
    pub fn deadline(&self) -> Option<Instant> {
        self.context.deadline
    }

    /// The priority with which it was asked. Of a request that came on a stream of its own only
    /// [`Normal`](Priority::Normal) is known.
    pub fn priority(&self) -> Priority {
        self.context.priority
    }

    /// A handle that says whether the caller still waits: to be polled by work on other threads.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation(self.context.watched())
    }

    /// Answers with what the future of `work` yields, and drops that future when the caller stops
    /// waiting.
    pub fn answer<F>(mut self, work: impl FnOnce(Self) -> F) -> Answer<R>
    where
        F: Future<Output = Outcome<R>> + 'static,
    {
        let (state, work) = (self.context.state(), work(self));
        Answer::new(state, async move { Some(work.await) })
    }

    /// The same, where `work` may find no room: when it yields `None` nothing was begun, and the caller is told
    /// [`Overloaded`](DeliveryError::Overloaded). A coordinator gives the part to another agent then, and spends no
    /// attempt.
    pub fn answer_or_decline<F>(self, work: impl FnOnce(Self) -> F) -> Answer<R>
    where
        F: Future<Output = Option<Outcome<R>>> + 'static,
    {
        let overloaded = DeliveryError::Overloaded { retry_after: RETRY_AFTER };
        self.answer_or_fail(|call| {
            let work = work(call);
            async move { work.await.ok_or(overloaded) }
        })
    }

    /// The same, where `work` says why nothing was begun, or nothing that anybody will see.
    pub(crate) fn answer_or_fail<F>(mut self, work: impl FnOnce(Self) -> F) -> Answer<R>
    where
        F: Future<Output = Result<Outcome<R>, DeliveryError>> + 'static,
    {
        let (state, work) = (self.context.state(), work(self));
        let failed = Arc::clone(&state);
        Answer::new(state, async move { work.await.map_err(|error| failed.fail(error)).ok() })
    }

    /// Whether nobody waits for the answer.
    pub(crate) fn is_told(&self) -> bool {
        self.context.told
    }

    /// Drops it, as nobody will handle it: an asker sees why, and so does who counts what was told in vain.
    pub(crate) fn refuse(mut self, error: DeliveryError) {
        match &mut self.context.watch {
            Watch::Told(_, unclaimed) => unclaimed.take().into_iter().for_each(|unclaimed| unclaimed(&error)),
            Watch::Made(_) | Watch::Arrived { .. } => self.fail(error),
        }
    }

    /// Notes why no answer comes, for an asker that sees that none does.
    pub(crate) fn fail(&mut self, error: DeliveryError) {
        self.context.state().fail(error);
    }

    pub(crate) fn into_request(self) -> R {
        self.request
    }

    pub(crate) fn into_parts(self) -> (R, CallContext) {
        (self.request, self.context)
    }
}

impl<R: Request + fmt::Debug> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("request", &self.request).field("caller", &self.caller()).finish()
    }
}

/// The order in which requests go out when the connection is the bottleneck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Before everything else but the session's own frames.
    High,
    /// The default.
    #[default]
    Normal,
    /// Whenever nothing else wants to go.
    Low,
}

impl Priority {
    /// That of its streams among those of a connection; see [`CONTROL_PRIORITY`].
    pub(crate) fn of_stream(self) -> i32 {
        1 - self as i32
    }

    /// That of a lane, by its number on the wire.
    pub(crate) fn of_class(class: u8) -> Self {
        match class {
            0 => Self::High,
            1 => Self::Normal,
            _ => Self::Low,
        }
    }
}

/// The priority of the stream with a session's own frames: before every [request](Priority::of_stream).
pub(crate) const CONTROL_PRIORITY: i32 = 2;

/// Who asks, and for whom.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    pub(crate) caller: Option<Arc<Caller>>,
    /// Boxed, as most have none.
    pub(crate) on_behalf_of: Option<Box<Caller>>,
}

/// What travels with a request.
pub(crate) struct CallContext {
    /// Without the caller where its session knows it.
    origin: Origin,
    pub(crate) deadline: Option<Instant>,
    pub(crate) priority: Priority,
    /// Nobody waits for the answer.
    pub(crate) told: bool,
    watch: Watch,
}

/// Where the state of a call is: most calls that come over a session are answered without ever having one.
enum Watch {
    Made(Arc<CallState>),
    /// Its session knows it, and holds its permits.
    Arrived {
        known: Arc<dyn Known>,
        key: CallKey,
        made: OnceLock<Arc<CallState>>,
    },
    /// It was told, so that nobody can cancel it.
    Told(Permits, Option<Unclaimed>),
}

/// What is to be done where no actor takes a message that was told.
pub(crate) type Unclaimed = Box<dyn FnOnce(&DeliveryError) + Send>;

/// The requests of a stream that have no answer yet.
pub(crate) trait Known: Send + Sync {
    /// Who asks.
    fn caller(&self) -> &Arc<Caller>;
    /// The state of a request, made when it is first asked for.
    fn watch(&self, key: CallKey) -> Arc<CallState>;
}

/// A request of a session: its number on the wire, the stream that it has for itself, if it has one, and which of those
/// it is that had this number or stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallKey {
    pub(crate) correlation: u64,
    pub(crate) stream: Option<u32>,
    pub(crate) serial: u32,
}

impl CallContext {
    /// That of a request whose `state` is there.
    pub(crate) fn asked(
        origin: Origin,
        deadline: Option<Instant>,
        priority: Priority,
        state: Arc<CallState>,
    ) -> Self {
        Self { origin, deadline, priority, told: false, watch: Watch::Made(state) }
    }

    /// That of a request that came over a session.
    pub(crate) fn arrived(
        known: Arc<dyn Known>,
        key: CallKey,
        on_behalf_of: Option<Box<Caller>>,
        deadline: Option<Instant>,
        priority: Priority,
    ) -> Self {
        let watch = Watch::Arrived { known, key, made: OnceLock::new() };
        Self { origin: Origin { caller: None, on_behalf_of }, deadline, priority, told: false, watch }
    }

    /// Who asks, and for whom.
    pub(crate) fn origin(&self) -> Origin {
        let mut origin = self.origin.clone();
        if let Watch::Arrived { known, .. } = &self.watch {
            origin.caller = Some(Arc::clone(known.caller()));
        }
        origin
    }

    /// That of a message that is not answered. Its permits are given back when nobody works on it any more.
    pub(crate) fn told(
        origin: Origin,
        priority: Priority,
        permits: Permits,
        unclaimed: Option<Unclaimed>,
    ) -> Self {
        Self { origin, deadline: None, priority, told: true, watch: Watch::Told(permits, unclaimed) }
    }

    /// The state of the call. For a message that was told it gets the permits.
    pub(crate) fn state(&mut self) -> Arc<CallState> {
        if let Watch::Told(permits, _) = &mut self.watch {
            self.watch = Watch::Made(Arc::new(CallState::new(std::mem::take(permits))));
        }
        self.watched()
    }

    /// What says whether the caller still waits.
    fn watched(&self) -> Arc<CallState> {
        match &self.watch {
            Watch::Made(state) => Arc::clone(state),
            Watch::Arrived { known, key, made } => Arc::clone(made.get_or_init(|| known.watch(*key))),
            Watch::Told(..) => Arc::default(),
        }
    }
}

impl Drop for CallContext {
    /// A handler that panics drops its call while its stack unwinds: this is how a panic is told
    /// from an actor that stopped.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Watch::Made(state) = &self.watch
        {
            state.fail(DeliveryError::Panicked);
        }
    }
}

/// The places that a call takes: with the mailbox and, where it came over one, with the session.
pub(crate) type Permits = [Option<Permit>; 2];

/// What the two ends of a call, and whoever works on it, share. It lives as long as the last of them,
/// so the call counts as in progress exactly as long as it costs something.
#[derive(Debug, Default)]
pub(crate) struct CallState {
    permits: OnceLock<Permits>,
    cancelled: AtomicBool,
    /// Why no answer comes. Boxed, as there is hardly ever one.
    fault: OnceLock<Box<DeliveryError>>,
    server: AtomicWaker,
    handlers: Notify,
}

impl CallState {
    pub(crate) fn new(permits: Permits) -> Self {
        Self { permits: permits.into(), ..Self::default() }
    }

    /// Keeps the permits of the call as long as it lives.
    pub(crate) fn keep(&self, permits: Permits) {
        let kept = self.permits.set(permits);
        debug_assert!(kept.is_ok(), "the permits of a call are given once");
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.server.wake();
        self.handlers.notify_waiters();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Notes why no answer comes, before whoever waits is let go. The first cause counts.
    pub(crate) fn fail(&self, error: DeliveryError) {
        let _first = self.fault.set(Box::new(error));
    }

    /// Why no answer came.
    pub(crate) fn fault(&self) -> DeliveryError {
        // Where nobody noted anything, the actor is gone and took the request with it.
        self.fault.get().map_or(DeliveryError::Stopped, |error| (**error).clone())
    }

    /// Like [`is_cancelled`](Self::is_cancelled), and wakes the one task that serves the call when
    /// it becomes so.
    pub(crate) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_cancelled() {
            return Poll::Ready(());
        }
        self.server.register(cx.waker());
        if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Says whether the caller of a [`Call`] still waits.
#[derive(Debug, Clone)]
pub struct Cancellation(Arc<CallState>);

impl Cancellation {
    /// Whether the caller stopped waiting. One atomic load.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Completes when the caller stops waiting.
    pub async fn cancelled(&self) {
        loop {
            let notified = self.0.handlers.notified();
            if self.0.is_cancelled() {
                return;
            }
            notified.await;
        }
    }
}

/// An answer that takes time. Made with [`Call::answer`] or [`Call::forward`].
pub struct Answer<R: Request> {
    state: Arc<CallState>,
    /// Yields nothing where no handler answers; the state says why then.
    work: LocalBoxFuture<'static, Option<Outcome<R>>>,
}

impl<R: Request> Answer<R> {
    pub(crate) fn new<F>(state: Arc<CallState>, work: F) -> Self
    where
        F: Future<Output = Option<Outcome<R>>> + 'static,
    {
        Self { state, work: Box::pin(work) }
    }

    /// What yields the outcome, or why there is none.
    pub(crate) async fn outcome(self) -> Result<Outcome<R>, DeliveryError> {
        self.work.await.ok_or_else(|| self.state.fault())
    }
}

impl<A: Actor, R: Request> MessageResponse<A, Call<R>> for Answer<R> {
    fn handle(self, _: &mut A::Context, reply: Option<OneshotSender<Outcome<R>>>) {
        let Answer { state, mut work } = self;
        actix_rt::spawn(async move {
            let Some(mut reply) = reply else {
                // The message was told: nobody waits, so nothing can stop the work early.
                let _unasked = work.await;
                drop(state);
                return;
            };
            // Dropped before `reply`, so that the asker knows of a panic when it sees that no reply comes.
            let guard = PanicGuard(state);
            let answer = poll_fn(|cx| {
                if reply.poll_closed(cx).is_ready() {
                    return Poll::Ready(None);
                }
                work.as_mut().poll(cx)
            })
            .await;
            drop(guard);
            if let Some(answer) = answer {
                // A caller that left in this very moment is no error.
                let _left = reply.send(answer);
            }
        });
    }
}

/// Notes a panic of the work that it was made for; see [`CallContext`].
struct PanicGuard(Arc<CallState>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(DeliveryError::Panicked);
        }
    }
}
