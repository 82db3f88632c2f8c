//! A crate outside of the workspace, with an own protocol, agent and client, against the coordinator as it is shipped.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::ca::Cluster;
use crate::ops::{Hub, project};
use crate::processes::{eventually, signal_to};

/// Builds the crate beside the target folder of the workspace, and returns the program.
pub(crate) fn program() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../stranger");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--manifest-path", &project("tests/stranger/Cargo.toml")])
        .arg("--target-dir")
        .arg(&target)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    target.join("debug/stranger")
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
