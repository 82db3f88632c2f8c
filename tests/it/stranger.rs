//! A crate outside of the workspace, with an own protocol, agent and client, against the coordinator as it is shipped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::ca::Cluster;
use crate::ops::{Hub, project};
use crate::processes::eventually;

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
