//! What a coordinator tells of its agents and tasks.

use super::fixture::*;
use super::*;
use std::collections::BTreeSet;
use swarm_protocols::coordinator::{AgentSummary, TaskState};

#[actix::test]
async fn agents_and_tasks_are_listed_with_what_they_do() {
    let bench = Bench::new(config());
    let mut agent = bench.join("x", 1).await;
    tokio::time::advance(Duration::from_secs(7)).await;
    let task = bench.submit(1, 2);
    agent.asked().await.reply(Ok(1));
    let second = agent.asked().await;

    let agents = bench.mailbox.ask(ListAgents).await.unwrap();
    let expected = AgentSummary {
        name: node("x"),
        agent_type: "doing".into(),
        protocols: BTreeSet::from(["worker".to_owned()]),
        slots: 1,
        assigned: 1,
        answered: 1,
        connected: agents[0].connected,
    };
    assert_eq!(agents, [expected]);
    assert_eq!(agents[0].connected.as_secs(), 7);
    let tasks = bench.mailbox.ask(ListTasks).await.unwrap();
    assert_eq!((tasks[0].id, tasks[0].kind.as_str()), (id(1), "doing"));
    assert_eq!((&tasks[0].state, tasks[0].progress.done), (&TaskState::Running, 1));
    let status = bench.mailbox.ask(CoordinatorStatus).await.unwrap();
    assert_eq!((status.queued, status.running, status.uptime.as_secs()), (0, 1, 7));

    second.reply(Ok(1));
    task.await.unwrap().unwrap();
    bench.lose("x").await;
    assert_eq!(bench.mailbox.ask(ListAgents).await.unwrap(), []);
    assert_eq!(bench.mailbox.ask(ListTasks).await.unwrap()[0].state, TaskState::Done);
}
