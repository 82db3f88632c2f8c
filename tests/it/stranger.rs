//! A crate outside of the workspace, with an own protocol, agent and client, against the coordinator as it is shipped.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::ca::Cluster;
use crate::ops::{Hub, project};
use crate::processes::{eventually, signal_to};

/// Builds a crate beside the target folder of the workspace, and returns the folder of its program.
fn build(manifest: &str, with: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../stranger");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", with, "--manifest-path", manifest])
        .arg("--target-dir")
        .arg(&target)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    target.join("debug")
}

/// Builds the stranger's crate, and returns the program.
pub(crate) fn program() -> PathBuf {
    build(&project("tests/stranger/Cargo.toml"), "--locked").join("stranger")
}

/// An agent that is killed when the test is through with it.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn c10_a_crate_that_embeds_a_node_pulls_no_more_crates_than_that_needs() {
    let cargo = |arguments: &[&str], manifest: &str| {
        let cargo = Command::new(env!("CARGO"))
            .args(arguments)
            .args(["--quiet", "--locked", "--offline", "--manifest-path", &project(manifest)])
            .output()
            .unwrap();
        assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
        String::from_utf8(cargo.stdout).unwrap()
    };
    let tree = cargo(&["tree", "--edges", "normal", "--prefix", "none"], "tests/stranger/Cargo.toml");
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.len() <= 111, "{} crates: {crates:?}", crates.len());
    for not_needed in ["swarm-kernels", "memmap2", "clap", "ring"] {
        assert!(!crates.contains(not_needed), "{not_needed}");
    }
    // It is found by those who look for what it is.
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"], "Cargo.toml");
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "actix-swarm").unwrap();
    for field in ["keywords", "categories"] {
        assert!(!package[field].as_array().unwrap().is_empty(), "{field}");
    }
    assert!(
        packages.iter().all(|package| package["description"].is_string() && package["license"].is_string())
    );
}

#[test]
fn c4_a_program_as_the_guide_writes_it_says_a_sentence_and_ends_well_when_it_is_told_to() {
    let program = program();
    let failed = Command::new(&program).args(["agent", "nowhere", "hub", "127.0.0.1:1"]).output().unwrap();
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.starts_with("stranger: ") && !said.contains('{') && said.lines().count() == 1, "{said}");

    let cluster = Cluster::new("stranger-stops");
    let hub = Hub::start(&cluster);
    let identity = cluster.identity("counter-1", "agent");
    let agent =
        Command::new(&program).args(["agent", &identity, "hub", &hub.address]).stdout(Stdio::piped()).spawn();
    let mut agent = Agent(agent.unwrap());
    let mut line = String::new();
    BufReader::new(agent.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "counter-1 is ready\n");
    assert!(signal_to(agent.0.id(), "TERM"));
    assert!(agent.0.wait().unwrap().success());
}

#[test]
fn agents_and_tasks_of_a_strangers_kind_are_served_like_ours() {
    let program = program();
    let cluster = Cluster::new("stranger");
    let hub = Hub::start(&cluster);
    let start = |name: &str| {
        let identity = cluster.identity(name, "agent");
        let agent = Command::new(&program)
            .args(["agent", &identity, "hub", &hub.address])
            .stdout(Stdio::null())
            .spawn();
        Agent(agent.unwrap())
    };
    let count = |texts: &[&str]| {
        let files =
            texts.iter().enumerate().map(|(at, text)| cluster.folder.write(&format!("text-{at}"), text));
        let client = Command::new(&program)
            .args(["client", &hub.operator, "hub", &hub.address])
            .args(files)
            .output()
            .unwrap();
        assert!(client.status.success(), "{}", String::from_utf8_lossy(&client.stderr));
        String::from_utf8(client.stdout).unwrap()
    };
    let listed = |names: &[&str]| {
        eventually("the agents", || {
            let agents = hub.asked("agents");
            let found = agents.as_array().unwrap().iter().map(|agent| agent["name"].as_str().unwrap());
            found.eq(names.iter().copied()).then_some(())
        });
    };

    let first = start("counter-1");
    let _second = start("counter-2");
    listed(&["counter-1", "counter-2"]);
    let agent = &hub.asked("agents")[0];
    assert_eq!((&agent["agent_type"], &agent["protocols"]), (&json!("counting"), &json!(["word-counter"])));
    assert_eq!(agent["slots"], 2);
    let texts = ["one two three", "", "four", "five six"];
    assert_eq!(count(&texts), "3 0 1 2\n");
    let task = &hub.asked("tasks")[0];
    assert_eq!((&task["kind"], &task["state"]), (&json!("word-count"), &json!("done")));

    drop(first);
    assert_eq!(count(&texts), "3 0 1 2\n", "whoever is left");
    listed(&["counter-2"]);
}

#[test]
fn the_program_of_the_guide_can_be_copied_as_it_stands() {
    let page = std::fs::read_to_string(project("src/guide/writing_an_actor.md")).unwrap();
    let block = |kind: &str| page.split_once(&format!("```{kind}\n")).unwrap().1.split("```").next().unwrap();
    let cluster = Cluster::new("copied");
    let manifest = block("toml").replace("../actix-swarm", &project(""));
    cluster.folder.write("Cargo.toml", manifest + "\n[workspace]\n");
    std::fs::create_dir(cluster.path("src")).unwrap();
    cluster.folder.write("src/main.rs", block("rust,no_run"));
    // The versions that were fetched already.
    std::fs::copy(project("tests/stranger/Cargo.lock"), cluster.path("Cargo.lock")).unwrap();
    let program = build(&cluster.path("Cargo.toml"), "--offline").join("counter");

    for identity in block("sh").lines().filter(|line| line.starts_with("swarm ca issue")) {
        let words: Vec<&str> = identity.split(' ').collect();
        cluster.issue(words[4], words[6]);
    }
    let counter = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(&cluster.folder.0);
        command
    };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    drop(socket);
    let mut serving = Agent(counter(&["serve", &address]).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(serving.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "counter-1 serves\n");
    let asked = |prices: &[&str]| {
        let asked = counter(&[&["ask", &address], prices].concat()).output().unwrap();
        String::from_utf8([asked.stdout, asked.stderr].concat()).unwrap()
    };
    assert_eq!(asked(&["1", "3", "1", "3"]), "3 crossings\n");
    assert_eq!(asked(&[]), "counter: there are no prices\n");
    assert!(signal_to(serving.0.id(), "TERM"));
    assert!(serving.0.wait().unwrap().success());
}
