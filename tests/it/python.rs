//! A peer in Python, written from `protocols/SPEC.md` alone: `tests/python`. It runs where Python has the
//! packages of `tests/python/requirements.txt`.

use std::env;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::ca::Cluster;
use crate::processes::{Running, eventually};
use crate::{ops, stranger};

/// The interpreter; `python3` where nothing is said.
const PYTHON: &str = "ACTIX_SWARM_PYTHON";

/// Set where a test that cannot run is a failure, as it is for the gate.
const REQUIRED: &str = "ACTIX_SWARM_REQUIRE_PYTHON";

/// An interpreter that has the packages.
struct Python(String);

impl Python {
    /// `None`, with a message, where there is none.
    fn find() -> Option<Self> {
        let python = Python(env::var(PYTHON).unwrap_or_else(|_| "python3".to_owned()));
        let reason = match python.command(&["installed.py"]).output() {
            Ok(output) if output.status.success() => return Some(python),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        let hint = format!("install tests/python/requirements.txt, or set {PYTHON}");
        let message = format!("no peer in Python, {hint}: {}: {reason}", python.0);
        assert!(env::var_os(REQUIRED).is_none(), "{message}");
        // Not `eprintln!`, whose text the test runner hides when the test passes.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: {message}").unwrap();
        None
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
        // Nothing is written beside the sources.
        command.current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1").args(arguments);
        command
    }

    /// Runs a script to its end, which is to be a good one.
    fn run(&self, arguments: &[&str]) {
        let run = Running::spawn(self.command(arguments)).finish();
        assert_eq!(run.code, Some(0), "{arguments:?}\n{}\n{}", run.stdout, run.stderr);
    }
}

/// A coordinator, and the identities of those that come to it.
struct Hub {
    cluster: Cluster,
    running: Running,
    address: String,
}

impl Hub {
    fn new(test: &str) -> Self {
        let cluster = Cluster::new(test);
        for (name, role) in
            [("operator", "operator"), ("operator-2", "operator"), ("agent-1", "agent"), ("revoked", "agent")]
        {
            cluster.issue(name, role);
        }
        cluster.ca("revoke", &["revoked"]).json();
        let other = Cluster::new(&format!("{test}_foreign"));
        let foreign = cluster.path("foreign");
        other.ca("issue", &["agent-1", "--role", "agent", "--out", &foreign]).json();
        cluster.issue("hub", "coordinator");
        let file = cluster.node("hub", "role = \"coordinator\"");
        let mut running = Running::start(&["node", "--config", &file]);
        let address = running.listens_on().to_string();
        Self { cluster, running, address }
    }

    fn plays(&self, scenario: &str, python: &Python) {
        let (folder, pid) = (self.cluster.path(""), self.running.id().to_string());
        let place = ["--address", &self.address, "--folder", &folder, "--pid", &pid];
        python.run(&[&["scenarios.py", scenario][..], &place].concat());
    }
}

/// Plays a scenario with a coordinator of its own; `None` where there is no Python.
fn play(scenario: &str) -> Option<Hub> {
    let python = Python::find()?;
    let hub = Hub::new(&format!("python_{scenario}"));
    hub.plays(scenario, &python);
    Some(hub)
}

#[test]
fn the_vectors_of_the_text_hold_in_python() {
    if let Some(python) = Python::find() {
        python.run(&["-m", "unittest", "test_vectors"]);
    }
}

#[test]
fn an_operator_in_python_asks() {
    play("operator");
}

#[test]
fn an_agent_in_python_does_a_task() {
    let Some(mut hub) = play("agent") else { return };
    hub.running.says("it exposes no protocol of tasks, and is given no work until it does");
}

#[test]
fn a11_an_agent_in_python_of_an_own_task_kind_is_given_work_whose_answers_a_client_in_rust_merges() {
    let Some(python) = Python::find() else { return };
    let cluster = Cluster::new("python_word_counter");
    let hub = ops::Hub::start(&cluster);
    let identity = cluster.identity("counter", "agent");
    let agent = Running::spawn(python.command(&["word_counter.py", &identity, "hub", &hub.address]));
    let listed = || hub.asked("agents").as_array().unwrap().first().cloned();
    let listed = eventually("the agent", listed);
    assert_eq!(
        (&listed["name"], &listed["agent_type"], &listed["protocols"], &listed["slots"]),
        (&json!("counter"), &json!("counting"), &json!(["word-counter"]), &json!(4)),
    );

    let texts = ["one two three", "", "four", "five\u{a0}six"];
    let files = texts.iter().enumerate().map(|(at, text)| cluster.folder.write(&format!("text-{at}"), text));
    let client = Command::new(stranger::program())
        .args(["client", &hub.operator, "hub", &hub.address])
        .args(files)
        .output()
        .unwrap();
    assert!(client.status.success(), "{}", String::from_utf8_lossy(&client.stderr));
    assert_eq!(String::from_utf8_lossy(&client.stdout), "3 0 1 2\n");
    assert_eq!(hub.asked("agents")[0]["answered"], 4);

    agent.signal("TERM");
    let ended = agent.finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(hub.asked("agents"), json!([]));
}

#[test]
fn a11_the_rules_hold_against_a_peer_in_python() {
    play("rules");
}

#[test]
fn a_peer_in_python_that_falls_silent_is_given_up() {
    play("timeouts");
}

#[test]
fn a_coordinator_that_stops_tells_a_peer_in_python() {
    play("drain");
}

#[test]
fn nobody_in_python_gets_in_with_a_certificate_that_does_not_hold() {
    let Some(mut hub) = play("refused") else { return };
    // What the peer saw is asserted in Python; this is what the node saw, the last of it first.
    let heard = hub.running.says("\"peer\":\"agent-1\",\"reason\":\"the certificate expired");
    let (before, _) = heard.split_once("session open").unwrap();
    for (times, reason) in [
        (1, "this node refused the peer: no certificate was shown"),
        (1, "this node refused the peer: the certificate was not issued by the authority of the cluster"),
        (2, "this node refused the peer: the certificate has expired or is not valid yet"),
        (1, "this node refused the peer: the certificate was revoked"),
        (2, "this node refused the peer: the certificate is not for both servers and clients"),
        (4, "this node refused the peer: the certificate is not that of a node"),
        (2, "this node refused the peer: a signature does not match"),
        (1, "this node refused the peer: there is no application protocol in common"),
        (2, "the peer refused this node: the certificate is that of another node than the expected one"),
    ] {
        assert_eq!(before.matches(reason).count(), times, "{reason}: {before}");
    }
    let second =
        "\"peer\":\"agent-1\",\"reason\":\"agent-1 is connected already: another process with its identity";
    assert_eq!(heard.matches(second).count(), 2, "{heard}");
}
