//! Words, counted by agents of an own kind: `stranger agent IDENTITY HUB ADDRESS` and
//! `stranger client IDENTITY HUB ADDRESS FILE…`.

use actix::prelude::*;
use actix_swarm::{
    Call, ContentHash, Mailbox, Node, NodeConfig, Request, Role, StopSignals,
    content_store::{CONTENT_STORE_NAME, ContentStore, Contents},
    identity::Identity,
    protocol,
    protocols::part::{Impossible, PartError, PartRequest},
    task::{Inputs, Task},
};
use serde::{Deserialize, Serialize};
use std::{error::Error, path::Path, process::ExitCode, time::Duration};

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

struct Counter {
    contents: Contents,
}

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Call<CountWords>> for Counter {
    type Result = Result<u64, PartError>;

    fn handle(&mut self, call: Call<CountWords>, _: &mut Self::Context) -> Self::Result {
        let hash = call.request.text;
        let text = self.contents.get(&hash).ok_or(PartError::MissingInputs { hashes: vec![hash] })?;
        let text = std::str::from_utf8(text.bytes()).map_err(PartError::invalid)?;
        Ok(text.split_whitespace().count() as u64)
    }
}

async fn expose(node: &Node) -> Result<(), Box<dyn Error>> {
    let contents = Contents::new(64 << 20);
    let store = ContentStore::new(contents.clone()).mailbox();
    node.expose(CONTENT_STORE_NAME, store).allow_through_coordinator(Role::Operator).register().await?.detach();
    let counter: Mailbox<WordCounter> = Mailbox::start(Counter { contents });
    let exposing = node.expose("words", counter).allow_through_coordinator(Role::Operator);
    exposing.register().await?.detach();
    Ok(())
}

async fn client(node: Node, hub: &str, files: &[String]) -> Result<(), Box<dyn Error>> {
    let coordinator = node.resolve(&format!("{hub}/coordinator")).await?;
    let mut inputs = Inputs::new();
    let mut requests = Vec::new();
    for file in files {
        let text = std::fs::read(file)?;
        let bytes = text.len() as u64;
        requests.push(CountWords { text: inputs.add(text.into(), bytes) });
    }
    let done = Task::parts(requests).inputs(&inputs).kind("word-count").submit(&coordinator).await?;
    let counts: Vec<String> = done.answers.iter().map(u64::to_string).collect();
    println!("{}", counts.join(" "));
    Ok(())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [command, identity, hub, address, files @ ..] = &arguments[..] else {
        return Err("a command, a folder, a name and an address are expected".into());
    };
    let mut config = NodeConfig::new(Identity::load_directory(Path::new(identity))?, "127.0.0.1:0".parse()?);
    config.agent_type = "counting".to_owned();
    config.capabilities = vec!["slots:2".to_owned()];
    let node = Node::start(config).await?;
    if command == "agent" {
        expose(&node).await?;
    }
    node.connect(hub.parse()?, address.parse()?).await?;
    match command.as_str() {
        "agent" => {
            let mut signals = StopSignals::listen()?;
            println!("{} is ready", node.id());
            signals.next().await;
            node.stop(Duration::from_secs(5)).await;
            Ok(())
        }
        "client" => client(node, hub, files).await,
        other => Err(format!("{other} is neither agent nor client").into()),
    }
}

#[actix::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stranger: {error}");
            ExitCode::FAILURE
        }
    }
}
