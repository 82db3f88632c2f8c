//! [`Task`]: work that a client splits into typed requests and has the agents of a swarm do.

mod inputs;
#[cfg(test)]
mod tests;

pub use inputs::Inputs;

use crate::content_store::counted;
use crate::log_limit::limited;
use crate::mailbox::{AskError, Mailbox, Target};
use crate::node::jitter;
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    time::Duration,
};
use swarm_protocols::{
    Backoff, Blob, ContentHash, DeliveryError, NodeId, Protocol, Request,
    content_store::{HASHES_MAX, MissingContent, StoreContent, StoreError},
    coordinator::{
        AVOIDED_MAX, Coordinator, Part, PartAnswer, Progress, SubmitTask, TaskError, TaskId, TaskPriority,
        TaskProgress, TaskReport, Waiting,
    },
    part::{Impossible, PartRequest, Weight, waves},
    wire::codec,
};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// The longest time that a task without a deadline may take.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3600);

/// How often a coordinator is given what it says that it misses: clients with much content may push each other's
/// out of its store.
const UPLOADS_MAX: usize = 4;

/// How long a coordinator that is lost may stay away.
const OUTAGE_MAX: Duration = Duration::from_secs(60);

/// How often a coordinator may be lost over one task, which may be what takes it down.
const OUTAGES_MAX: usize = 16;

/// The longest pause before a lost coordinator is asked for the first time, and the longest one between two attempts.
const OUTAGE_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The pause between two looks at how far a task is.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);

/// Work for the agents of a swarm: requests that do not depend on each other, and are done in any order.
///
/// [`submit`](Self::submit) gives the coordinator the inputs that it lacks, submits the requests as the parts of a
/// task, or of several where they are more than one may hold, and decodes the answers. An answer that cannot be that
/// to its request, by [`PartRequest::check_answer`], comes from an agent that is broken or lies: it is named in the log
/// and in [`Done::liars`], and everything that it answered is asked of others.
///
/// Dropping the future of `submit` cancels the task.
///
/// A coordinator that is lost may come back: where the mailbox [follows](crate::Node::resolve_following) it and its
/// node is [kept connected](crate::Node::keep_connected), a task waits for it up to a minute, and is submitted again
/// under its id. So it is joined where it still runs, answered where it has ended, and done again by a coordinator that
/// was restarted, whose tasks were in its memory. Any other [layer](crate::Layer) is waited for likewise, as it may lead
/// elsewhere; a mailbox without one stays lost, and the task fails at once. A program that stops its own node drops the
/// future first, which would wait as well.
///
/// ```no_run
/// # use swarm_actors::{Mailbox, task::{Inputs, Task}};
/// # use swarm_protocols::{coordinator::Coordinator, series_group::SeriesGroup};
/// # use swarm_protocols::distance::{BandRule, Detail, MeasureDistance, Scaling};
/// # async fn measure(coordinator: Mailbox<Coordinator>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut inputs = Inputs::new();
/// let mut add = |values: Vec<f64>| {
///     let group = SeriesGroup::of_one(values)?;
///     Ok::<_, Box<dyn std::error::Error>>(inputs.add(group.encode(), group.lengths()))
/// };
/// let (a, b, c) = (add(vec![1.0, 2.0])?, add(vec![2.0, 1.0])?, add(vec![0.0, 0.5])?);
/// let (band, scaling, detail) = (BandRule::Full, Scaling::Raw, Detail::Distance);
/// let requests = [(a, b), (a, c), (b, c)].map(|(a, b)| MeasureDistance { a, b, band, scaling, detail });
///
/// let done = Task::parts(requests).inputs(&inputs).submit(&coordinator).await?;
/// for measured in done.answers {
///     println!("{}", measured.distance_squared.sqrt());
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is done before it is submitted"]
pub struct Task<'a, R: PartRequest> {
    requests: Vec<R>,
    inputs: Option<&'a Inputs<R::Input>>,
    kind: String,
    priority: TaskPriority,
    deadline: Option<Duration>,
    waiting: Waiting,
    watcher: Option<Box<dyn FnMut(TaskEvent) + 'a>>,
    checker: Option<Checker<'a, R>>,
}

/// Judges an answer by what the client knows.
type Checker<'a, R> = Box<dyn Fn(&R, &<R as Request>::Reply) -> Result<(), Impossible> + 'a>;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEvent {
    /// The coordinator is given content.
    Uploading {
        /// How many pieces it lacks.
        pieces: usize,
    },
    /// Agents work.
    Working {
        /// Which of the tasks that the work was cut into, from 1.
        task: usize,
        /// How many they are.
        tasks: usize,
        /// How far this one is.
        progress: Progress,
    },
}

/// What came of a [`Task`].
#[derive(Debug, Clone, PartialEq)]
pub struct Done<T> {
    /// The answers, in the order of the requests. They are possible; whether they are right is not known.
    pub answers: Vec<T>,
    /// Whose answers they are.
    pub agents: BTreeSet<NodeId>,
    /// The agents that gave impossible answers, and what was wrong with the first of them. None of theirs is in
    /// `answers`.
    pub liars: BTreeMap<NodeId, String>,
}

/// Why a [`Task`] was not done. `E` is the error of its requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError<E: Error + 'static> {
    /// An agent answered a part with the error of its request.
    #[error("part {part} failed on attempt {attempts} at {agent}: {error}")]
    Part {
        /// The position of the request, from 0.
        part: usize,
        /// How often it was tried.
        attempts: u32,
        /// Who answered that last.
        agent: NodeId,
        /// What the agent answered.
        #[source]
        error: E,
    },
    /// The coordinator refused the task, or it failed in another way.
    #[error(transparent)]
    Task(TaskError),
    /// No agent gives a possible answer to a part.
    #[error("part {part} has no possible answer, {agent} gave the last impossible one: {reason}")]
    Impossible {
        /// The position of the request, from 0.
        part: usize,
        /// Who gave the last one.
        agent: NodeId,
        /// What is wrong with it.
        reason: String,
    },
    /// A request names an input that was not given.
    #[error("the input {hash} was not given")]
    UnknownInput {
        /// Its name.
        hash: ContentHash,
    },
    /// The coordinator does not keep the inputs.
    #[error("the coordinator does not keep the inputs: {0}")]
    Store(#[from] StoreError),
    /// A request is too long for a message.
    #[error("a request cannot be encoded: {0}")]
    Encode(#[from] codec::EncodeError),
    /// The coordinator did not answer.
    #[error("the coordinator does not answer: {0}")]
    Delivery(#[from] DeliveryError),
    /// What the coordinator answered does not belong to the task.
    #[error("the answer of the coordinator is impossible: {reason}")]
    Coordinator {
        /// What is wrong with it.
        reason: String,
    },
}

impl<'a, R: PartRequest> Task<'a, R> {
    /// A task of these requests, in `Waiting::ForAnyone`, named after them.
    pub fn parts(requests: impl IntoIterator<Item = R>) -> Self {
        Self {
            requests: requests.into_iter().collect(),
            inputs: None,
            kind: R::NAME.to_owned(),
            priority: TaskPriority::default(),
            deadline: None,
            waiting: Waiting::ForAnyone,
            watcher: None,
            checker: None,
        }
    }

    /// The content that the requests name.
    pub fn inputs(self, inputs: &'a Inputs<R::Input>) -> Self {
        Self { inputs: Some(inputs), ..self }
    }

    /// The word for it in lists, in place of the name of the request.
    pub fn kind(self, kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), ..self }
    }

    /// How urgent it is.
    pub fn priority(self, priority: TaskPriority) -> Self {
        Self { priority, ..self }
    }

    /// The time that it may take, queueing included; as long as a day without it.
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// What a part waits for while the agent it was placed on is busy.
    pub fn waiting(self, waiting: Waiting) -> Self {
        Self { waiting, ..self }
    }

    /// Tells `watcher` how far it is, every 200 ms.
    pub fn watch(self, watcher: impl FnMut(TaskEvent) + 'a) -> Self {
        Self { watcher: Some(Box::new(watcher)), ..self }
    }

    /// Checks answers by what the client knows beyond [`PartRequest::check_answer`], which they have passed.
    pub fn check(self, checker: impl Fn(&R, &R::Reply) -> Result<(), Impossible> + 'a) -> Self {
        Self { checker: Some(Box::new(checker)), ..self }
    }

    /// Has the work done.
    pub async fn submit(
        self,
        coordinator: &Mailbox<Coordinator>,
    ) -> Result<Done<R::Reply>, SubmitError<R::Error>> {
        let Task { requests, inputs, kind, priority, deadline, waiting, watcher, checker } = self;
        let none = Inputs::new();
        let inputs = inputs.unwrap_or(&none);
        let hashes = requests.iter().flat_map(R::inputs);
        if let Some(hash) = { hashes }.find(|hash| inputs.content(hash).is_none()) {
            return Err(SubmitError::UnknownInput { hash });
        }
        let payloads = requests.iter().map(|request| codec::encode(request).map(Blob::from));
        let payloads = payloads.collect::<Result<Vec<Blob>, _>>()?;
        let until = deadline.and_then(|deadline| Instant::now().checked_add(deadline));
        let terms = Terms { kind, priority, until, waiting };
        let answers = requests.iter().map(|_| None).collect();
        let submission = Submission {
            coordinator,
            requests,
            payloads,
            inputs,
            terms,
            watcher,
            checker,
            answers,
            liars: BTreeMap::new(),
        };
        submission.run().await
    }
}

struct Terms {
    kind: String,
    priority: TaskPriority,
    until: Option<Instant>,
    waiting: Waiting,
}

/// A task under way.
struct Submission<'a, R: PartRequest> {
    coordinator: &'a Mailbox<Coordinator>,
    requests: Vec<R>,
    /// The encoded requests.
    payloads: Vec<Blob>,
    inputs: &'a Inputs<R::Input>,
    terms: Terms,
    watcher: Option<Box<dyn FnMut(TaskEvent) + 'a>>,
    checker: Option<Checker<'a, R>>,
    /// The answers so far, and whose they are.
    answers: Vec<Option<(NodeId, R::Reply)>>,
    liars: BTreeMap<NodeId, String>,
}

/// Whether a coordinator is lost.
fn is_lost(error: &DeliveryError) -> bool {
    use DeliveryError::{Draining, SessionLost, Stopped};
    matches!(error, SessionLost { .. } | Draining | Stopped)
}

impl<R: PartRequest> Submission<'_, R> {
    async fn run(mut self) -> Result<Done<R::Reply>, SubmitError<R::Error>> {
        // Each round finds a liar more, and a task avoids a bounded number of them.
        loop {
            let pending: Vec<usize> =
                (0..self.answers.len()).filter(|at| self.answers[*at].is_none()).collect();
            if pending.is_empty() {
                return Ok(self.done());
            }
            let known = self.liars.len();
            let waves = self.waves(&pending);
            let tasks = waves.len();
            for (at, wave) in waves.into_iter().enumerate() {
                if self.liars.len() > AVOIDED_MAX {
                    return Err(self.impossible());
                }
                let submitted = self.submit(&wave, (at + 1, tasks)).await;
                submitted.map_err(|error| self.in_time(error))?;
            }
            let liars = &self.liars;
            let is_lie = |(agent, _): &(NodeId, R::Reply)| liars.contains_key(agent);
            for answer in self.answers.iter_mut().filter(|answer| answer.as_ref().is_some_and(is_lie)) {
                *answer = None;
            }
            // Whoever is avoided was asked all the same.
            if self.liars.len() == known && self.answers.iter().any(Option::is_none) {
                return Err(self.impossible());
            }
        }
    }

    fn impossible(&mut self) -> SubmitError<R::Error> {
        let part = self.answers.iter().position(Option::is_none).unwrap_or(0);
        let (agent, reason) = self.liars.pop_last().expect("without a liar nothing is pending");
        SubmitError::Impossible { part, agent, reason }
    }

    fn done(self) -> Done<R::Reply> {
        let mut agents = BTreeSet::new();
        let answers = self.answers.into_iter().flatten().map(|(agent, answer)| {
            agents.insert(agent);
            answer
        });
        Done { answers: answers.collect(), agents, liars: self.liars }
    }

    /// Cuts the pending parts into tasks.
    fn waves(&self, pending: &[usize]) -> Vec<Vec<usize>> {
        let requests: Vec<R> = pending.iter().map(|at| self.requests[*at].clone()).collect();
        let content_bytes = |hash: &ContentHash| self.inputs.content(hash).map_or(0, counted);
        let weight = |at: usize| {
            let answer = requests[at].answer_bytes_max(&self.inputs.known(&requests[at]));
            Weight { request: self.payloads[pending[at]].len(), answer }
        };
        let waves = waves(&requests, content_bytes, weight);
        waves.into_iter().map(|wave| pending[wave].to_vec()).collect()
    }

    /// Submits the parts at these positions as one task, again when its coordinator was lost, and takes its answers.
    async fn submit(
        &mut self,
        positions: &[usize],
        number: (usize, usize),
    ) -> Result<(), SubmitError<R::Error>> {
        let new_id = || TaskId::from(Uuid::now_v7());
        let (mut id, mut again, mut outages) = (new_id(), false, 0..OUTAGES_MAX);
        loop {
            match self.submit_to(id, positions, number).await {
                Err(SubmitError::Delivery(error)) if self.may_return(&error) && outages.next().is_some() => {
                    self.returned(error).await?;
                    again = true;
                }
                // While its coordinator was away another client may have taken the id, which all could read.
                Err(SubmitError::Task(TaskError::Invalid { .. })) if again => (id, again) = (new_id(), false),
                ended => return ended,
            }
        }
    }

    /// Whether the coordinator is lost, and others may take its place behind the mailbox.
    fn may_return(&self, error: &DeliveryError) -> bool {
        is_lost(error) && matches!(self.coordinator.target, Target::Layered(_))
    }

    /// Waits until a coordinator that is lost answers again.
    async fn returned(&self, lost: DeliveryError) -> Result<(), DeliveryError> {
        let mut backoff = Backoff::new(OUTAGE_PAUSES.0, OUTAGE_PAUSES.1);
        let answers = async {
            loop {
                sleep(backoff.next(jitter())).await;
                if self.coordinator.ask(MissingContent { hashes: Vec::new() }).await.is_ok() {
                    return;
                }
            }
        };
        if timeout(OUTAGE_MAX.min(self.remaining()), answers).await.is_err() {
            return Err(lost);
        }
        tracing::warn!(%lost, kind = self.terms.kind, "the coordinator is back, the task is submitted again");
        Ok(())
    }

    /// Gives the coordinator what it lacks, and submits the task.
    async fn submit_to(
        &mut self,
        id: TaskId,
        positions: &[usize],
        number: (usize, usize),
    ) -> Result<(), SubmitError<R::Error>> {
        let hashes: BTreeSet<ContentHash> =
            positions.iter().flat_map(|at| self.requests[*at].inputs()).collect();
        let mut missing = self.missing(hashes.into_iter().collect()).await?;
        for round in 1.. {
            self.upload(missing).await?;
            match self.submit_once(id, positions, number).await {
                Err(AskError::Handler(TaskError::MissingContent { hashes })) if round < UPLOADS_MAX => {
                    missing = hashes;
                }
                Ok(TaskReport { answers }) => return self.take(positions, answers),
                Err(error) => return Err(self.failure(positions, error)),
            }
        }
        unreachable!("the last round returns")
    }

    /// Which of these the coordinator does not hold.
    async fn missing(&self, hashes: Vec<ContentHash>) -> Result<Vec<ContentHash>, DeliveryError> {
        let mut missing = Vec::new();
        for hashes in hashes.chunks(HASHES_MAX) {
            let asked = MissingContent { hashes: hashes.to_vec() };
            match self.coordinator.ask(asked).timeout(self.remaining()).await {
                Ok(hashes) => missing.extend(hashes),
                Err(AskError::Handler(never)) => match never {},
                Err(AskError::Delivery(error)) => return Err(error),
            }
        }
        Ok(missing)
    }

    async fn upload(&mut self, missing: Vec<ContentHash>) -> Result<(), SubmitError<R::Error>> {
        if !missing.is_empty() {
            self.tell(TaskEvent::Uploading { pieces: missing.len() });
        }
        for hash in &missing {
            let content = self.inputs.content(hash).ok_or_else(|| SubmitError::Coordinator {
                reason: format!("it misses {hash}, which no part needs"),
            })?;
            let store = StoreContent { content: content.clone() };
            self.coordinator.ask(store).timeout(self.remaining()).await.map_err(|error| match error {
                AskError::Handler(error) => SubmitError::Store(error),
                AskError::Delivery(error) => SubmitError::Delivery(error),
            })?;
        }
        Ok(())
    }

    async fn submit_once(
        &mut self,
        id: TaskId,
        positions: &[usize],
        number: (usize, usize),
    ) -> Result<TaskReport, AskError<TaskError>> {
        let part = |at: &usize| Part {
            request: R::NAME.to_owned(),
            version: R::VERSION,
            payload: self.payloads[*at].clone(),
            inputs: self.requests[*at].inputs(),
        };
        let task = SubmitTask {
            id,
            kind: self.terms.kind.clone(),
            priority: self.terms.priority,
            deadline: self.terms.until.map(|until| until.saturating_duration_since(Instant::now())),
            protocol: <R::Protocol as Protocol>::NAME.to_owned(),
            parts: positions.iter().map(part).collect(),
            waiting: self.terms.waiting,
            avoid: self.liars.keys().cloned().collect(),
        };
        let submitted = self.coordinator.ask(task).timeout(DEADLINE_MAX).into_future();
        self.watched(id, number, submitted).await
    }

    /// Tells how far a task is until it is done.
    async fn watched<T>(
        &mut self,
        id: TaskId,
        (task, tasks): (usize, usize),
        submitted: impl Future<Output = T>,
    ) -> T {
        let coordinator = self.coordinator;
        let mut submitted = std::pin::pin!(submitted);
        loop {
            tokio::select! {
                biased;
                outcome = &mut submitted => return outcome,
                () = sleep(PROGRESS_PAUSE), if self.watcher.is_some() => {}
            }
            // Without an answer there is nothing to tell; the task itself will say what is wrong.
            tokio::select! {
                biased;
                outcome = &mut submitted => return outcome,
                progress = coordinator.ask(TaskProgress { id }).into_future() => {
                    if let Ok(Some(progress)) = progress {
                        self.tell(TaskEvent::Working { task, tasks, progress });
                    }
                }
            }
        }
    }

    /// Takes the answers of a task, and finds out who lies.
    fn take(&mut self, positions: &[usize], answers: Vec<PartAnswer>) -> Result<(), SubmitError<R::Error>> {
        if answers.len() != positions.len() {
            let reason = format!("{} answers to {} parts", answers.len(), positions.len());
            return Err(SubmitError::Coordinator { reason });
        }
        for (at, PartAnswer { agent, reply }) in positions.iter().zip(answers) {
            match self.checked(*at, &reply) {
                Ok(answer) => self.answers[*at] = Some((agent, answer)),
                Err(reason) => {
                    limited!(warn, "an impossible answer", %agent, kind = self.terms.kind, reason);
                    self.liars.entry(agent).or_insert(reason);
                }
            }
        }
        Ok(())
    }

    fn checked(&self, at: usize, reply: &[u8]) -> Result<R::Reply, String> {
        let answer = codec::decode::<R::Reply>(reply).map_err(|error| error.to_string())?;
        let request = &self.requests[at];
        let possible = request.check_answer(&self.inputs.known(request), &answer);
        let checked = possible.and_then(|()| match &self.checker {
            Some(checker) => checker(request, &answer),
            None => Ok(()),
        });
        checked.map(|()| answer).map_err(|impossible| impossible.to_string())
    }

    fn failure(&self, positions: &[usize], error: AskError<TaskError>) -> SubmitError<R::Error> {
        let error = match error {
            AskError::Handler(error) => error,
            AskError::Delivery(error) => return SubmitError::Delivery(error),
        };
        match error {
            TaskError::PartFailed { part, attempts, agent, cause, error } => {
                let position = positions.get(part as usize).copied();
                let decoded = error.as_deref().and_then(|error| codec::decode::<R::Error>(error).ok());
                match position.zip(decoded) {
                    Some((part, error)) => SubmitError::Part { part, attempts, agent, error },
                    None => SubmitError::Task(TaskError::PartFailed { part, attempts, agent, cause, error }),
                }
            }
            // Who could answer does not answer what is possible.
            TaskError::NoCapableAgent { .. } if let Some((agent, reason)) = self.liars.last_key_value() => {
                let (part, agent, reason) = (positions[0], agent.clone(), reason.clone());
                SubmitError::Impossible { part, agent, reason }
            }
            error => SubmitError::Task(error),
        }
    }

    /// A coordinator that has not answered by the deadline of the task, or was away then, is not out of reach for that.
    fn in_time(&self, error: SubmitError<R::Error>) -> SubmitError<R::Error> {
        match error {
            SubmitError::Delivery(error)
                if self.remaining().is_zero()
                    && (is_lost(&error) || matches!(error, DeliveryError::TimedOut { .. })) =>
            {
                SubmitError::Task(TaskError::DeadlineExceeded)
            }
            error => error,
        }
    }

    fn remaining(&self) -> Duration {
        self.terms.until.map_or(DEADLINE_MAX, |until| until.saturating_duration_since(Instant::now()))
    }

    fn tell(&mut self, event: TaskEvent) {
        if let Some(watcher) = &mut self.watcher {
            watcher(event);
        }
    }
}
