//! All nodes of a topology as processes of this machine.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use swarm_actors::identity::{Authority, AuthorityError, Identity, InvalidValidity, Validity};
use swarm_protocols::{NodeId, Role};
use tokio::time::timeout;

use super::node_file::{Duty, Peer};
use super::process::{End, Process};
use super::supervision::Assignment;
use super::topology::{Agent, Topology};

/// How long the last agents may take to get ready when others are.
const BEHIND_MAX: Duration = Duration::from_secs(10);

/// How long the certificates of a swarm hold that dies with its parent.
const LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// The processes of a swarm, and the authority that exists only as long as they do.
pub(crate) struct Fleet {
    authority: Authority,
    validity: Validity,
    coordinator: Option<Process>,
    agents: Vec<Process>,
}

/// Why a swarm does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FleetError {
    #[error("certificates cannot be issued: {0}")]
    Authority(#[from] AuthorityError),
    #[error("certificates cannot be issued: {0}")]
    Validity(#[from] InvalidValidity),
    #[error("the {role} {name} cannot be started: {cause}")]
    Spawn { role: Role, name: NodeId, cause: io::Error },
    #[error("the coordinator {name} did not start: {end}")]
    NotReady { name: NodeId, end: End },
    #[error("the coordinator {name} (pid {pid}) ended: {end}")]
    CoordinatorEnded { name: NodeId, pid: u32, end: End },
    #[error("no agent is left, all {count} have ended{}", because(.unable))]
    NoAgentLeft {
        count: usize,
        /// The first agent that ended because it cannot do what it was told.
        unable: Option<(NodeId, End)>,
    },
}

fn because(unable: &Option<(NodeId, End)>) -> String {
    unable.as_ref().map_or_else(String::new, |(agent, end)| {
        format!("; {agent}: {}", end.last_words.strip_prefix("swarm: ").unwrap_or(&end.last_words))
    })
}

impl Fleet {
    /// A fleet without processes yet.
    pub(crate) fn new() -> Result<Self, FleetError> {
        let validity = Validity::starting(SystemTime::now(), LIFETIME)?;
        let authority = Authority::new("swarm up", validity)?;
        Ok(Self { authority, validity, coordinator: None, agents: Vec::new() })
    }

    /// Starts the coordinator, waits until it listens, and starts the agents. They may be in any
    /// state then, [`agents_ready`](Self::agents_ready) waits for them.
    pub(crate) async fn start(&mut self, topology: &Topology) -> Result<SocketAddr, FleetError> {
        let name = &topology.coordinator.name;
        let identity = self.issue(name, Role::Coordinator)?;
        let assignment = Assignment::new(&identity, topology.coordinator.listen, Duty::Coordinator);
        let coordinator = spawn(name, Role::Coordinator, &assignment)?;
        let ready = self.coordinator.insert(coordinator).ready().await;
        let address = ready.map_err(|end| FleetError::NotReady { name: name.clone(), end })?;
        let address = reachable(address);
        for agent in &topology.agents {
            let Agent { name: agent, listen, agent_type, workers } = agent;
            let identity = self.issue(agent, Role::Agent)?;
            let connect = vec![Peer { name: name.clone(), address: address.into() }];
            let (agent_type, workers) = (*agent_type, *workers);
            // The swarm ends with its coordinator.
            let duty = Duty::Agent { agent_type, workers, connect, reconnect: Duration::ZERO };
            self.agents.push(spawn(agent, Role::Agent, &Assignment::new(&identity, *listen, duty))?);
        }
        Ok(address)
    }

    /// A new identity in this swarm.
    pub(crate) fn issue(&self, name: &NodeId, role: Role) -> Result<Identity, FleetError> {
        Ok(self.authority.issue(name, role, self.validity)?)
    }

    /// The signed list of what was revoked in this swarm: nothing.
    pub(crate) fn revocation_list(&self) -> Result<String, FleetError> {
        Ok(self.authority.revocation_list(1, [], self.validity.valid_from())?)
    }

    /// Waits until every agent is connected with the coordinator, or has ended. Once some of them are ready,
    /// those that are a good deal slower are not waited for.
    pub(crate) async fn agents_ready(&self) {
        let mut starting: FuturesUnordered<_> = self.agents.iter().map(Process::ready).collect();
        loop {
            let patience = if self.ready_agents().next().is_some() { BEHIND_MAX } else { Duration::MAX };
            match timeout(patience, starting.next()).await {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => break,
            }
        }
        for agent in self.agents.iter().filter(|agent| agent.is_running() && agent.address().is_none()) {
            let (name, pid) = (&agent.name, agent.pid());
            tracing::warn!(
                "the agent {name} (pid {pid}) is not ready {BEHIND_MAX:?} after the others, \
                 it is gone on without"
            );
        }
    }

    /// The agents that have connected, and whose processes run.
    pub(crate) fn ready_agents(&self) -> impl Iterator<Item = &NodeId> {
        let ready = |agent: &&Process| agent.is_running() && agent.address().is_some();
        self.agents.iter().filter(ready).map(|agent| &agent.name)
    }

    /// Every process that was started, the coordinator first.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.coordinator.iter().chain(&self.agents)
    }

    /// Does `work` unless the coordinator, which has been started, ends.
    pub(crate) async fn while_coordinated<T, E: From<FleetError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let coordinator = self.coordinator.as_ref().expect("it has been started");
        tokio::select! {
            // The work may fail because of the coordinator, which is then what there is to say.
            biased;
            end = coordinator.ended() => {
                let (name, pid) = (coordinator.name.clone(), coordinator.pid());
                Err(FleetError::CoordinatorEnded { name, pid, end }.into())
            }
            done = work => done,
        }
    }

    /// Does `work` unless every agent ends. A swarm that has none to begin with has none to lose.
    pub(crate) async fn while_manned<T, E: From<FleetError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            // The last agent may end right after the work is done.
            biased;
            done = work => done,
            lost = self.every_agent_ended(), if !self.agents.is_empty() => Err(lost.into()),
        }
    }

    /// Fails when there are agents and none of them runs.
    pub(crate) async fn manned(&self) -> Result<(), FleetError> {
        if self.agents.is_empty() || self.agents.iter().any(Process::is_running) {
            return Ok(());
        }
        Err(self.every_agent_ended().await)
    }

    async fn every_agent_ended(&self) -> FleetError {
        let ends = join_all(self.agents.iter().map(Process::ended)).await;
        let mut named = self.agents.iter().map(|agent| agent.name.clone()).zip(ends);
        let unable = named.find(|(_, end)| end.unable().is_some());
        FleetError::NoAgentLeft { count: self.agents.len(), unable }
    }

    /// Stops every process and waits for it, agents before their coordinator.
    pub(crate) async fn stop(self) {
        join_all(self.agents.into_iter().map(Process::stop)).await;
        if let Some(coordinator) = self.coordinator {
            coordinator.stop().await;
        }
    }
}

fn spawn(name: &NodeId, role: Role, assignment: &Assignment) -> Result<Process, FleetError> {
    Process::spawn(name.clone(), role, assignment).map_err(|cause| FleetError::Spawn {
        role,
        name: name.clone(),
        cause,
    })
}

/// Where a node of this machine is reached that listens on `address`, which may be all of its addresses.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
