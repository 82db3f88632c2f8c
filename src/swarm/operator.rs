//! An operator: a session with the coordinator of a swarm, and what is asked of it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use swarm_actors::identity::Identity;
use swarm_actors::task::{Done, SubmitError, Task, TaskEvent};
use swarm_actors::{
    AskError, ConnectError, KeptConnection, Mailbox, Node, NodeConfig, ResolveError, StartError, Wanted,
};
use swarm_protocols::coordinator::{
    AgentSummary, CancelTask, Coordinator, CoordinatorStatus, ListAgents, ListTasks, Status, TaskId,
    TaskSummary,
};
use swarm_protocols::part::{PartError, PartRequest};
use swarm_protocols::series_group::InvalidGroup;
use swarm_protocols::session::Timing;
use swarm_protocols::{Accepts, NoError, NodeId, Request};
use tokio::time::{Instant, sleep};

use super::fleet::Fleet;
use super::jobs::Terms;
use super::member::COORDINATOR_NAME;
use super::progress::Progress;

/// How long the coordinator may take to count in an agent that has a session with it.
const LISTED_MAX: Duration = Duration::from_secs(10);

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
    #[error("the data cannot be handed out: {0}")]
    Content(#[from] InvalidGroup),
    #[error("{reason}")]
    TooMuch { reason: String },
    #[error("the task failed: {0}")]
    Task(#[from] SubmitError<PartError>),
    #[error("the answers cannot be merged: {0}")]
    Merge(String),
}

/// An operator with a session with the coordinator.
pub(crate) struct Operator {
    node: Node,
    pub(crate) coordinator_name: NodeId,
    coordinator: Mailbox<Coordinator>,
    /// It is dialled again where it is lost.
    kept: KeptConnection,
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
        let exposed = format!("{coordinator_name}/{COORDINATOR_NAME}");
        let coordinator = node.resolve_following(&exposed).await?;
        let kept = node.keep_connected(coordinator_name.clone(), address.into()).await;
        Ok(Self { node, coordinator_name, coordinator, kept })
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

    /// Cancels a task; false where there is none of this id, or no longer.
    pub(crate) async fn cancel(&self, id: TaskId) -> Result<bool, JobError> {
        self.ask(CancelTask { id }).await
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

    /// Has agents do a task, and shows under `name` how far it is.
    pub(super) async fn compute<R: PartRequest<Error = PartError>>(
        &self,
        name: &str,
        task: Task<'_, R>,
        Terms { priority, deadline }: Terms,
        progress: &mut Progress,
    ) -> Result<Done<R::Reply>, JobError> {
        let task = task.priority(priority);
        let task = match deadline {
            Some(deadline) => task.deadline(deadline),
            None => task,
        };
        if !progress.is_shown() {
            return Ok(task.submit(&self.coordinator).await?);
        }
        let show = |event: TaskEvent| match event {
            TaskEvent::Uploading { .. } => progress.stage(format_args!("{name}: handing out its data")),
            TaskEvent::Working { tasks: 1, progress: parts, .. } => progress.parts(name, parts),
            TaskEvent::Working { task, tasks, progress: parts } => {
                progress.parts(format_args!("{name}, task {task} of {tasks}"), parts);
            }
        };
        Ok(task.watch(show).submit(&self.coordinator).await?)
    }

    /// Ends the session.
    pub(crate) async fn leave(self) {
        drop(self.kept);
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
