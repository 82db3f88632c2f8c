//! The jobs of a topology: fed from files, done by a swarm.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use swarm_actors::identity::Identity;
use swarm_actors::{AskError, ConnectError, Mailbox, Node, NodeConfig, ResolveError, StartError, Wanted};
use swarm_protocols::coordinator::{
    AgentSummary, Coordinator, CoordinatorStatus, Job as Task, JobResult, ListAgents, ListTasks, Priority,
    Status, SubmitTask, TaskError, TaskId, TaskProgress, TaskReport, TaskSummary,
};
use swarm_protocols::series_group::InvalidGroup;
use swarm_protocols::session::Timing;
use swarm_protocols::similar_windows::{
    SimilarWindows, StoreError, StorePart, Symbol, WindowQuery, WindowRule,
};
use swarm_protocols::{Accepts, Blob, ContentHash, NoError, NodeId, Request};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::fleet::Fleet;
use super::member::COORDINATOR_NAME;
use super::prices;
use super::progress::Progress;
use super::topology::JobKind;
use crate::input::{InputError, Source};

/// The longest job.
const JOB_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long the coordinator may take to count in an agent that has a session with it.
const LISTED_MAX: Duration = Duration::from_secs(10);

/// The pause between two looks at how far a job is.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);

/// What a job works on.
pub(crate) struct Input {
    parts: Vec<(ContentHash, Blob)>,
    queries: Vec<WindowQuery>,
}

/// How a job stands among others.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms {
    pub(crate) priority: Priority,
    /// The time that it may take, queueing included.
    pub(crate) deadline: Option<Duration>,
}

/// A job that was done.
pub(crate) struct Done {
    pub(crate) agents: usize,
    pub(crate) time: Duration,
    pub(crate) result: SimilarWindows,
}

/// Why a job was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("the coordinator does not answer: {0}")]
    Question(AskError<NoError>),
    #[error("the coordinator does not take the series {symbol}: {cause}")]
    Upload { symbol: Symbol, cause: AskError<StoreError> },
    #[error("the coordinator does not take the data: {0}")]
    Store(AskError<StoreError>),
    #[error("the data cannot be handed out: {0}")]
    Content(#[from] InvalidGroup),
    #[error("{reason}")]
    TooMuch { reason: String },
    #[error("the task failed: {0}")]
    Task(#[from] AskError<TaskError>),
    #[error("the answer of the coordinator is impossible: {reason}")]
    Answer { reason: String },
}

impl Input {
    /// Reads what a job needs; this blocks.
    pub(crate) fn load(kind: &JobKind) -> Result<Self, InputError> {
        let JobKind::SimilarWindows { data, symbols } = kind;
        let mut input = Input { parts: Vec::new(), queries: Vec::new() };
        for symbol in symbols {
            input.add(data, symbol)?;
        }
        Ok(input)
    }

    fn add(&mut self, data: &Path, symbol: &Symbol) -> Result<(), InputError> {
        let part = prices::load(data, symbol)?;
        let query = part.last_window(&WindowRule::DAILY).ok_or_else(|| {
            let (bars, length) = (part.days().len(), WindowRule::DAILY.length);
            let folder = Source::File(data.to_owned());
            InputError::whole(&folder, format!("{symbol} has {bars} bars, a window has {length}"))
        })?;
        let encoded = part.encode();
        self.parts.push((ContentHash::of(&encoded), encoded));
        self.queries.push(query);
        Ok(())
    }
}

/// An operator with a session with the coordinator.
pub(crate) struct Operator {
    node: Node,
    pub(crate) coordinator_name: NodeId,
    coordinator: Mailbox<Coordinator>,
}

impl Operator {
    /// Connects to the coordinator that is `wanted` at `address`.
    pub(crate) async fn connect(
        identity: Identity,
        wanted: Wanted,
        address: SocketAddr,
        timing: Timing,
    ) -> Result<Self, JobError> {
        let mut config = NodeConfig::new(identity, local_address(address));
        config.timing = timing;
        let node = Node::start(config).await?;
        let connected = match wanted {
            Wanted::Node(peer) => node.connect(peer, address).await,
            Wanted::Any(role) => node.connect_any(role, address).await,
        };
        let coordinator_name = connected?.node;
        let coordinator = node.resolve(&format!("{coordinator_name}/{COORDINATOR_NAME}")).await?;
        Ok(Self { node, coordinator_name, coordinator })
    }

    /// What the coordinator sees.
    pub(crate) async fn status(&self) -> Result<Status, JobError> {
        self.ask(CoordinatorStatus).await
    }

    /// The agents that it can give work.
    pub(crate) async fn agents(&self) -> Result<Vec<AgentSummary>, JobError> {
        self.ask(ListAgents).await
    }

    /// Its tasks, and those that have ended lately.
    pub(crate) async fn tasks(&self) -> Result<Vec<TaskSummary>, JobError> {
        self.ask(ListTasks).await
    }

    async fn ask<R: Request<Error = NoError>>(&self, question: R) -> Result<R::Reply, JobError>
    where
        Coordinator: Accepts<R>,
    {
        self.coordinator.ask(question).await.map_err(JobError::Question)
    }

    /// Waits until the coordinator can give work to every agent of the fleet that is ready.
    pub(crate) async fn agents_listed(&self, fleet: &Fleet) -> Result<(), JobError> {
        fleet.agents_ready().await;
        let deadline = Instant::now() + LISTED_MAX;
        let mut pause = Duration::from_millis(2);
        loop {
            let listed = self.status().await?.agents;
            let Some(missing) = fleet.ready_agents().find(|agent| !listed.contains(*agent)) else {
                return Ok(());
            };
            if Instant::now() > deadline {
                tracing::warn!("the coordinator gives no work to {missing}, it goes on without");
                return Ok(());
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// Does a job.
    pub(crate) async fn run(
        &self,
        name: &str,
        input: Input,
        terms: Terms,
        progress: &mut Progress,
    ) -> Result<Done, JobError> {
        let Input { parts, queries } = input;
        let mut library = Vec::with_capacity(parts.len());
        for ((hash, part), query) in parts.into_iter().zip(&queries) {
            let stored = self.coordinator.ask(StorePart { part }).await;
            stored.map_err(|cause| JobError::Upload { symbol: query.symbol.clone(), cause })?;
            library.push(hash);
        }
        let job = Task::SimilarWindows { rule: WindowRule::DAILY, queries, library };
        let started = Instant::now();
        let TaskReport { result, agents } = self.submit(name, job, terms, progress).await?;
        let JobResult::SimilarWindows(result) = result else {
            return Err(JobError::Answer { reason: "an answer to another job".to_owned() });
        };
        Ok(Done { agents: agents.len(), time: started.elapsed(), result })
    }

    /// Submits a task whose content the coordinator has, and waits for it.
    pub(super) async fn submit(
        &self,
        name: &str,
        job: Task,
        terms: Terms,
        progress: &mut Progress,
    ) -> Result<TaskReport, JobError> {
        let id = TaskId::from(Uuid::now_v7());
        let Terms { priority, deadline } = terms;
        let task = SubmitTask { id, priority, deadline, job };
        let submitted = self.coordinator.ask(task).timeout(JOB_MAX).into_future();
        Ok(self.watched(name, id, submitted, progress).await?)
    }

    /// Gives the coordinator content to keep.
    pub(super) async fn store(&self, part: Blob) -> Result<(), JobError> {
        self.coordinator.ask(StorePart { part }).await.map(drop).map_err(JobError::Store)
    }

    /// Shows how far a task is until it is done.
    async fn watched<T>(
        &self,
        name: &str,
        id: TaskId,
        task: impl Future<Output = T>,
        progress: &mut Progress,
    ) -> T {
        let mut task = std::pin::pin!(task);
        loop {
            tokio::select! {
                biased;
                outcome = &mut task => return outcome,
                () = sleep(PROGRESS_PAUSE), if progress.is_shown() => {}
            }
            // Without an answer there is nothing to show; the task itself will say what is wrong.
            tokio::select! {
                biased;
                outcome = &mut task => return outcome,
                parts = self.coordinator.ask(TaskProgress { id }).into_future() => {
                    if let Ok(Some(parts)) = parts {
                        progress.parts(name, parts);
                    }
                }
            }
        }
    }

    /// Ends the session.
    pub(crate) async fn leave(self) {
        self.node.stop(Duration::ZERO).await;
    }
}

/// From where a node reaches `address`, which sees nothing of it but a port.
fn local_address(address: SocketAddr) -> SocketAddr {
    let ip = match (address.is_ipv4(), address.ip().is_loopback()) {
        (true, true) => Ipv4Addr::LOCALHOST.into(),
        (true, false) => Ipv4Addr::UNSPECIFIED.into(),
        (false, true) => Ipv6Addr::LOCALHOST.into(),
        (false, false) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, 0)
}
