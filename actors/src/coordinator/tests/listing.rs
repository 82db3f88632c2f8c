//! What a coordinator tells of its agents and tasks.

use super::fixture::*;
use super::*;
use swarm_protocols::coordinator::{AgentSummary, ListAgents, ListTasks, TaskState};

#[actix::test]
async fn agents_and_tasks_are_listed_with_what_they_do() {
    let bench = Bench::new(config());
    let library = bench.library(&["A", "B"]).await;
    let mut agent = bench.join("x", 1).await;
    tokio::time::advance(Duration::from_secs(7)).await;
    let task = bench.submit(1, &library);
    asked(&mut agent, &library).await.1.reply(Ok(found(1.0)));
    let (_, second) = asked(&mut agent, &library).await;

    let agents = bench.mailbox.ask(ListAgents).await.unwrap();
    let expected = AgentSummary {
        name: node("x"),
        agent_type: "matching".into(),
        capabilities: BTreeSet::from([PATTERN_MATCHER.to_owned()]),
        slots: 1,
        assigned: 1,
        answered: 1,
        connected: agents[0].connected,
    };
    assert_eq!(agents, [expected]);
    assert_eq!(agents[0].connected.as_secs(), 7);
    let tasks = bench.mailbox.ask(ListTasks).await.unwrap();
    assert_eq!((tasks[0].id, tasks[0].kind.as_str()), (id(1), "similar-windows"));
    assert_eq!((&tasks[0].state, tasks[0].progress.done), (&TaskState::Running, 1));
    let status = bench.mailbox.ask(CoordinatorStatus).await.unwrap();
    assert_eq!((status.queued, status.running, status.uptime.as_secs()), (0, 1, 7));

    second.reply(Ok(found(1.0)));
    task.await.unwrap().unwrap();
    bench.lose("x").await;
    assert_eq!(bench.mailbox.ask(ListAgents).await.unwrap(), []);
    assert_eq!(bench.mailbox.ask(ListTasks).await.unwrap()[0].state, TaskState::Done);
}
