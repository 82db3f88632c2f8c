//! What a coordinator tells of itself, its agents and its tasks.

use super::{Coordinator, now};
use crate::call::{Answer, Call};
use actix::Handler;
use swarm_protocols::{
    NoError,
    coordinator::{AgentSummary, CoordinatorStatus, ListAgents, ListTasks, Status, TaskSummary},
};

impl Handler<Call<CoordinatorStatus>> for Coordinator {
    type Result = Answer<CoordinatorStatus>;

    fn handle(&mut self, call: Call<CoordinatorStatus>, _: &mut Self::Context) -> Self::Result {
        let agents = self.agents.keys().cloned().collect();
        let uptime = now().saturating_duration_since(self.started);
        let (queued, running) = self.board.load();
        let count = |tasks: usize| u32::try_from(tasks).expect("the limit of the board is a u32");
        let (queued, running) = (count(queued), count(running));
        let node = self.node.clone();
        call.answer(async move |_| {
            let statistics = match node {
                Some(node) => node.statistics().await,
                None => None,
            };
            let (sent, received, p50, p99) =
                statistics.map_or((0, 0, None, None), |of| (of.sent, of.received, of.p50, of.p99));
            Ok(Status { uptime, agents, queued, running, sent, received, p50, p99 })
        })
    }
}

impl Handler<Call<ListAgents>> for Coordinator {
    type Result = Result<Vec<AgentSummary>, NoError>;

    fn handle(&mut self, _: Call<ListAgents>, _: &mut Self::Context) -> Self::Result {
        let now = now();
        let summaries = self.board.slots().map(|(name, assigned, slots)| {
            let agent = &self.agents[name];
            AgentSummary {
                name: name.clone(),
                agent_type: agent.agent_type.clone(),
                protocols: agent.ports.protocols(),
                slots: slots.get(),
                assigned: u32::try_from(assigned).expect("no more are assigned than there are slots"),
                answered: agent.answered,
                connected: now.saturating_duration_since(agent.since),
            }
        });
        Ok(summaries.collect())
    }
}

impl Handler<Call<ListTasks>> for Coordinator {
    type Result = Result<Vec<TaskSummary>, NoError>;

    fn handle(&mut self, _: Call<ListTasks>, _: &mut Self::Context) -> Self::Result {
        Ok(self.board.tasks(self.now()))
    }
}
