//! What a coordinator takes of memory, whatever its peers do.

use std::collections::BTreeSet;
use std::fs;
use std::future::{IntoFuture as _, pending};
use std::net::SocketAddr;
use std::time::Duration;

use actix::{Actor, Context, Handler, System};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use serde::{Deserialize, Serialize};
use swarm_actors::identity::{EarlyData, Identity, KeyExchange};
use swarm_actors::{Answer, AskError, Call, Mailbox, Node, NodeConfig};
use swarm_protocols::content_store::StoreContent;
use swarm_protocols::coordinator::{
    Coordinator, ListAgents, ListTasks, Part, SubmitTask, TaskError, TaskId, TaskPriority, Waiting,
};
use swarm_protocols::wire::codec::{self, BINCODE_2};
use swarm_protocols::wire::control::{Control, Hello, Limits, WIRE_VERSIONS};
use swarm_protocols::wire::frame::{self, Intent, RequestHead, STREAM_CONTROL, STREAM_REQUEST};
use swarm_protocols::{Blob, DeliveryError, Protocol as _, Request, Role, protocol};
use tokio::time::timeout;
use uuid::Uuid;

use crate::node::Cluster;
use crate::processes::Running;

/// The memory of the coordinator: its longest message is a 24th.
const MEMORY_MIB: usize = 64;

const MESSAGE_BYTES: usize = (MEMORY_MIB << 20) / 24;

/// How much the process may grow for each byte of its memory: what is counted is messages as they came, and beside them
/// are buffers that grow by doubling, what is decoded of them, and what the allocator keeps.
const GROWTH_MAX: usize = 2;

/// Long enough for what a node takes, too short for what it leaves untaken.
const PATIENCE: Duration = Duration::from_secs(2);

/// More than any answer takes on a machine that is busy.
const MINUTE: Duration = Duration::from_secs(60);

/// The peak of the memory that a process had, in KiB.
fn peak(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// Answers with as many bytes as are asked for, or never.
#[derive(Debug, Serialize, Deserialize, Request)]
#[request(name = "fill", reply = Blob)]
struct Fill {
    bytes: Option<u32>,
}

protocol! { Filling = "filling" { Fill } }

struct Filler;

impl Actor for Filler {
    type Context = Context<Self>;
}

impl Handler<Call<Fill>> for Filler {
    type Result = Answer<Fill>;

    fn handle(&mut self, call: Call<Fill>, _: &mut Self::Context) -> Self::Result {
        call.answer(async |call| match call.request.bytes {
            Some(bytes) => Ok(vec![7; bytes as usize].into()),
            None => pending().await,
        })
    }
}

fn task(parts: Vec<Part>) -> SubmitTask {
    SubmitTask {
        id: TaskId::from(Uuid::now_v7()),
        kind: "abuse".into(),
        priority: TaskPriority::MAX,
        deadline: None,
        protocol: Filling::NAME.into(),
        parts,
        waiting: Waiting::ForHome,
        avoid: BTreeSet::new(),
    }
}

fn fill(bytes: Option<usize>) -> Part {
    let payload = codec::encode(&Fill { bytes: bytes.map(|bytes| bytes as u32) }).unwrap().into();
    Part { request: Fill::NAME.into(), version: Fill::VERSION, payload, inputs: vec![] }
}

/// The swarm that is abused.
struct Stage {
    cluster: Cluster,
    hub: Running,
    address: SocketAddr,
}

impl Stage {
    async fn node(&self, name: &str, role: Role, slots: &str) -> Node {
        let mut config = NodeConfig::new(self.cluster.identity(name, role), "127.0.0.1:0".parse().unwrap());
        config.capabilities = vec![slots.to_owned()];
        let node = Node::start(config).await.unwrap();
        if role == Role::Agent {
            let exposing = node.expose("filler", Mailbox::<Filling>::start(Filler));
            exposing.allow_through_coordinator(Role::Operator).register().await.unwrap().detach();
        }
        node.connect("hub".parse().unwrap(), self.address).await.unwrap();
        node
    }

    async fn coordinator(&self, name: &str) -> (Node, Mailbox<Coordinator>) {
        let node = self.node(name, Role::Operator, "").await;
        let mailbox = node.resolve("hub/coordinator").await.unwrap();
        (node, mailbox)
    }

    /// A connection of a peer that speaks for itself, before any stream.
    async fn connection(&self, identity: &Identity) -> Option<Connection> {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config = identity.client_config(
            Some(&"hub".parse().unwrap()),
            KeyExchange::default(),
            EarlyData::default(),
        );
        timeout(Duration::from_secs(5), endpoint.connect_with(config, self.address, "hub").unwrap())
            .await
            .ok()?
            .ok()
    }

    /// Opens a session on a connection, and does not wait for the welcome.
    async fn greet(&self, connection: &Connection, identity: &Identity) -> Option<Opened> {
        let hello = Hello {
            node: identity.id().clone(),
            incarnation: 1,
            wire_versions: WIRE_VERSIONS,
            codecs: vec![BINCODE_2],
            agent_type: String::new(),
            capabilities: vec![],
            limits: Limits::default(),
            routes: vec![],
        };
        let mut bytes = vec![STREAM_CONTROL];
        Control::Hello(hello).encode(&mut bytes).unwrap();
        let (mut control, mut welcome) = connection.open_bi().await.ok()?;
        control.write_all(&bytes).await.ok()?;
        let _welcome = timeout(Duration::from_secs(5), welcome.read_chunk(1, true)).await.ok()?.ok()?;
        Some((control, welcome))
    }
}

/// A stream, of which nothing more is read.
type Opened = (SendStream, RecvStream);

/// Writes the beginnings of so many streams, as much of each as is taken.
async fn begin_streams(connection: &Connection, count: usize, bytes: &[u8]) -> Vec<Opened> {
    let begun = (0..count).map(async |_| {
        let (mut send, recv) = timeout(PATIENCE, connection.open_bi()).await.ok()?.ok()?;
        let _untaken = timeout(PATIENCE, send.write_all(bytes)).await;
        Some((send, recv))
    });
    join_all(begun).await.into_iter().flatten().collect()
}

/// Tasks of many parts with many inputs, which no agent ever ends.
async fn a5_tasks(stage: &Stage) {
    // Each has as many long requests in progress as a node of this project allows itself.
    let clients = join_all((0..5).map(|_| stage.coordinator("tasks"))).await;
    let (_, coordinator) = &clients[0];
    let inputs = join_all((0..32_u8).map(async |n| {
        let stored = coordinator.ask(StoreContent { content: vec![n].into() }).await;
        stored.unwrap()
    }));
    let part = Part { inputs: inputs.await, ..fill(None) };
    let mut waiting = Vec::new();
    for (_, client) in clients.iter().chain(&clients) {
        let ask = client.ask(task(vec![part.clone(); 2_048])).timeout(MINUTE);
        let mut ask = ask.on_own_stream().into_future();
        assert!((&mut ask).now_or_never().is_none());
        waiting.push(ask);
        // Encoding them takes this side longer than it may be silent.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (mut full, mut busy) = (0, 0);
    loop {
        waiting.retain_mut(|ask| match ask.now_or_never() {
            None => true,
            Some(Err(AskError::Handler(TaskError::QueueFull { .. }))) => {
                full += 1;
                false
            }
            Some(Err(AskError::Delivery(DeliveryError::Overloaded { .. }))) => {
                busy += 1;
                false
            }
            Some(other) => panic!("{other:?}"),
        });
        let taken = coordinator.ask(ListTasks).await.unwrap().len();
        if taken == waiting.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("of 10 tasks {} were taken, {full} refused and {busy} declined", waiting.len());
    assert!(!waiting.is_empty() && full + busy > 0);
}

/// Frames that never end, in many sessions of one identity and on many streams of each.
async fn a7_unfinished_frames(stage: &Stage) -> Vec<(Connection, Vec<Opened>)> {
    let mallory = stage.cluster.identity("mallory", Role::Operator);
    let mut begun = vec![STREAM_REQUEST];
    let head = RequestHead { correlation: 0, route: 0, deadline_ms: 0, intent: Intent::Ask };
    frame::put_request(&head, &vec![0; MESSAGE_BYTES / 2], &mut begun);
    begun.truncate(begun.len() - 1);
    let sessions = (0..16).map(async |_| {
        let connection = stage.connection(&mallory).await?;
        let control = stage.greet(&connection, &mallory).await?;
        let mut streams = begin_streams(&connection, 16, &begun).await;
        streams.push(control);
        Some((connection, streams))
    });
    let sessions: Vec<_> = join_all(sessions).await.into_iter().flatten().collect();
    let streams: usize = sessions.iter().map(|(_, streams)| streams.len()).sum();
    assert!(sessions.len() >= 8 && streams > 64, "{} sessions with {streams} streams", sessions.len());
    sessions
}

/// Streams on connections that never say hello.
async fn a7_streams_before_hello(stage: &Stage) -> Vec<(Connection, Vec<Opened>)> {
    let silent = stage.cluster.identity("silent", Role::Operator);
    let connections = (0..24).map(async |_| {
        let connection = stage.connection(&silent).await?;
        let streams = begin_streams(&connection, 32, &[STREAM_REQUEST; 256 << 10]).await;
        Some((connection, streams))
    });
    let connections: Vec<_> = join_all(connections).await.into_iter().flatten().collect();
    let streams: usize = connections.iter().map(|(_, streams)| streams.len()).sum();
    assert!(
        connections.len() >= 8 && streams > 64,
        "{} connections with {streams} streams",
        connections.len()
    );
    connections
}

/// Long replies: of an agent that gives more than a task may have, then of the coordinator to one that takes none.
async fn a6_long_replies(stage: &Stage) {
    let (_node, coordinator) = stage.coordinator("replies").await;
    let long = MESSAGE_BYTES / 3 * 2;
    for parts in [vec![fill(Some(32 << 20)); 9], vec![fill(Some(long / 2)); 64]] {
        let done = coordinator.ask(task(parts)).timeout(MINUTE).await;
        assert!(matches!(done, Err(AskError::Handler(TaskError::PartFailed { .. }))), "{done:.300?}");
    }
    // S4: done once, and then asked for again and again by one who never polls.
    let done = task(vec![fill(Some(long / 4)); 3]);
    let answered = coordinator.ask(done.clone()).on_own_stream().await;
    assert_eq!(answered.unwrap().answers.len(), 3);
    let mut unpolled: Vec<_> = (0..40)
        .map(|n| {
            let ask = coordinator.ask(done.clone());
            if n % 2 == 0 { ask.on_own_stream().into_future() } else { ask.into_future() }
        })
        .collect();
    assert!(unpolled.iter_mut().all(|ask| ask.now_or_never().is_none()));
    tokio::time::sleep(PATIENCE).await;
    assert!(coordinator.ask(ListAgents).await.is_ok(), "what is not taken holds up the rest");
}

/// Tasks that are told: nobody waits for them.
async fn a3_tells(stage: &Stage) {
    let (_node, coordinator) = stage.coordinator("tells").await;
    let part = Part { payload: vec![7; 12 << 10].into(), ..fill(None) };
    let mut handed_over = 0;
    for _ in 0..1_100 {
        handed_over += usize::from(coordinator.tell(task(vec![part.clone(); 8])).await.is_ok());
    }
    assert!(handed_over > 100, "{handed_over} of 1100");
}

#[test]
fn a7_every_abuse_stays_within_the_memory_of_the_node() {
    let cluster = Cluster::new("memory");
    let rest = format!("listen = \"127.0.0.1:0\"\nmemory_mib = {MEMORY_MIB}\n");
    let file = cluster.node("hub", Role::Coordinator, &rest);
    let mut hub = Running::start(&["node", "--config", &file]);
    let address = hub.listens_on();
    let stage = Stage { cluster, hub, address };
    let before = peak(stage.hub.id());
    let grown = |what: &str| {
        let mib = (peak(stage.hub.id()) - before) >> 10;
        println!("{what}: grown by {mib} MiB of {MEMORY_MIB}");
        assert!(mib <= GROWTH_MAX * MEMORY_MIB, "{what}: grown by {mib} MiB");
    };
    System::new().block_on(async {
        let _agent = stage.node("agent", Role::Agent, "slots:16").await;
        let unfinished = a7_unfinished_frames(&stage).await;
        grown("unfinished frames");
        let silent = a7_streams_before_hello(&stage).await;
        grown("streams before hello");
        a5_tasks(&stage).await;
        grown("tasks of many parts");
        a6_long_replies(&stage).await;
        grown("long replies");
        a3_tells(&stage).await;
        grown("tells");
        drop((unfinished, silent));
        let (_node, coordinator) = stage.coordinator("last").await;
        assert!(coordinator.ask(ListAgents).await.is_ok());
        grown("all of it");
    });
}
