//! Work of one's own kind, spread over two agents of which one stops without a drain while it works.
//!
//!     cargo run --example own_task_kind
//!
//! The coordinator is the one that `swarm node` runs. It knows nothing of words: it hands each part of the task to an
//! agent that exposes the protocol, with the input that the part names. All nodes are in this process, and talk over
//! QUIC.

use actix::prelude::*;
use actix_swarm::{
    Answer, Call, ContentHash, Mailbox, Node, NodeConfig, Request, Role,
    content_store::{CONTENT_STORE_NAME, ContentStore, Contents},
    coordinator::{AgentWatch, Coordinator, CoordinatorConfig},
    identity::{Authority, Validity},
    protocol,
    protocols::{
        self,
        coordinator::ListAgents,
        part::{Impossible, PartError, PartRequest},
    },
    task::{Inputs, Task},
};
use serde::{Deserialize, Serialize};
use std::{
    error::Error,
    time::{Duration, SystemTime},
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

// What agents and clients know: usually a crate of its own, without actix.

/// Counts the words of a text.
#[derive(Debug, Clone, Serialize, Deserialize, Request)]
#[request(name = "count-words", reply = u64, error = PartError)]
struct CountWords {
    text: ContentHash,
}

protocol! { WordCounter = "word-counter" { CountWords } }

impl PartRequest for CountWords {
    type Protocol = WordCounter;
    /// The number of bytes of a text.
    type Input = u64;

    fn inputs(&self) -> Vec<ContentHash> {
        vec![self.text]
    }

    fn answer_bytes_max(&self, _: &[&u64]) -> usize {
        9
    }

    fn check_answer(&self, bytes: &[&u64], words: &u64) -> Result<(), Impossible> {
        Impossible::unless(words <= bytes[0], "more words than bytes")
    }
}

// The agent.

struct Counter {
    contents: Contents,
    /// Told of every part that is begun.
    begun: UnboundedSender<()>,
    /// How long a part takes.
    time: Duration,
}

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Call<CountWords>> for Counter {
    type Result = Answer<CountWords>;

    fn handle(&mut self, call: Call<CountWords>, _: &mut Self::Context) -> Self::Result {
        let (text, time) = (self.contents.get(&call.request.text), self.time);
        let _told = self.begun.send(());
        call.answer(async move |call| {
            tokio::time::sleep(time).await;
            let hashes = vec![call.request.text];
            let text = text.ok_or(PartError::MissingInputs { hashes })?;
            let text = std::str::from_utf8(text.bytes()).map_err(PartError::invalid)?;
            Ok(text.split_whitespace().count() as u64)
        })
    }
}

async fn expose_counter(
    node: &Node,
    begun: UnboundedSender<()>,
    time: Duration,
) -> Result<(), Box<dyn Error>> {
    let contents = Contents::new(64 << 20);
    let store = ContentStore::new(contents.clone()).mailbox();
    node.expose(CONTENT_STORE_NAME, store)
        .allow_through_coordinator(Role::Operator)
        .register()
        .await?
        .detach();
    let counter: Mailbox<WordCounter> = Mailbox::start(Counter { contents, begun, time });
    // It works for operators, through any coordinator of the cluster.
    let exposing = node.expose("word-counter", counter).allow_through_coordinator(Role::Operator);
    exposing.register().await?.detach();
    Ok(())
}

// The client.

async fn count(node: &Node, texts: &[&str]) -> Result<Vec<u64>, Box<dyn Error>> {
    let coordinator = node.resolve("hub/coordinator").await?;
    let mut inputs = Inputs::new();
    let name = |text: &&str| inputs.add(text.as_bytes().to_vec().into(), text.len() as u64);
    let requests: Vec<CountWords> = texts.iter().map(name).map(|text| CountWords { text }).collect();
    let done = Task::parts(requests).inputs(&inputs).kind("word-count").submit(&coordinator).await?;
    for agent in &done.agents {
        println!("{agent} answered");
    }
    Ok(done.answers)
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let day = Validity::starting(SystemTime::now(), Duration::from_secs(86_400))?;
    let authority = Authority::new("example", day)?;
    let start = async |name: &str, role: Role| {
        let identity = authority.issue(&name.parse()?, role, day)?;
        Ok::<Node, Box<dyn Error>>(Node::start(NodeConfig::new(identity, "127.0.0.1:0".parse()?)).await?)
    };

    let hub = start("hub", Role::Coordinator).await?;
    let coordinator = Coordinator::new(CoordinatorConfig::default(), Some(hub.clone()));
    let (mailbox, coordinator) = coordinator.start_with_mailbox();
    AgentWatch::new(hub.clone(), coordinator).start();
    hub.expose("coordinator", mailbox).allow(Role::Operator).register().await?.detach();
    let address = hub.address().ok_or("no socket")?;

    // One agent is so slow that it is stopped while it works.
    let (begun, mut parts_begun) = unbounded_channel();
    let (unheard, _) = unbounded_channel();
    let mut agents = Vec::new();
    for (name, begun, time) in
        [("slow", begun, Duration::from_secs(3_600)), ("quick", unheard, Duration::ZERO)]
    {
        let agent = start(name, Role::Agent).await?;
        expose_counter(&agent, begun, time).await?;
        agent.connect("hub".parse()?, address).await?;
        agents.push(agent);
    }
    let desk = start("desk", Role::Operator).await?;
    desk.connect("hub".parse()?, address).await?;
    let coordinator: Mailbox<protocols::coordinator::Coordinator> = desk.resolve("hub/coordinator").await?;
    while coordinator.ask(ListAgents).await?.len() < agents.len() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let slow = agents.remove(0);
    let killing = async {
        parts_begun.recv().await;
        slow.stop(Duration::ZERO).await;
        println!("slow was stopped with a part in progress");
    };
    let texts = ["to be or not to be", "that is the question", "whether", "tis nobler in the mind to suffer"];
    let (counted, ()) = tokio::join!(count(&desk, &texts), killing);
    let counted = counted?;
    println!("{counted:?} words");
    assert_eq!(counted, [6, 4, 1, 7]);
    Ok(())
}
