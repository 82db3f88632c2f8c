//! A peer in Python, written from `protocols/SPEC.md` alone: `tests/python`. It runs where Python has the
//! packages of `tests/python/requirements.txt`.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ca::Cluster;
use crate::processes::Running;

/// The interpreter; `python3` where nothing is said.
const PYTHON: &str = "ACTIX_SWARM_PYTHON";

/// Set where a test that cannot run is a failure, as it is for the gate.
const REQUIRED: &str = "ACTIX_SWARM_REQUIRE_PYTHON";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python")
}

/// Runs Python with `arguments` to its end, or says that it cannot and gives `false`.
fn python(arguments: &[&str]) -> bool {
    let interpreter = env::var(PYTHON).unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&interpreter).args(["-c", "import aioquic, cryptography"]).output();
    let missing = match found {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(reason) = missing {
        let hint = "install tests/python/requirements.txt";
        let message =
            format!("the peer in Python cannot run, {hint} for {interpreter} or set {PYTHON}: {reason}");
        assert!(env::var_os(REQUIRED).is_none(), "{message}");
        // Not `eprintln!`, whose text the test runner hides when the test passes.
        writeln!(std::io::stderr(), "SKIPPED: {message}").unwrap();
        return false;
    }
    let mut command = Command::new(interpreter);
    // Nothing is written beside the sources.
    command.current_dir(folder()).env("PYTHONDONTWRITEBYTECODE", "1").args(arguments);
    let run = Running::spawn(command).finish();
    assert_eq!(run.code, Some(0), "{arguments:?}\n{}\n{}", run.stdout, run.stderr);
    true
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

    fn plays(&self, scenario: &str) -> bool {
        let (folder, pid) = (self.cluster.path(""), self.running.id().to_string());
        let place = ["--address", &self.address, "--folder", &folder, "--pid", &pid];
        python(&[&["scenarios.py", scenario][..], &place].concat())
    }
}

#[test]
fn the_vectors_of_the_text_hold_in_python() {
    python(&["-m", "unittest", "test_vectors"]);
}

#[test]
fn an_operator_in_python_asks() {
    Hub::new("python_operator").plays("operator");
}

#[test]
fn an_agent_in_python_does_a_task() {
    Hub::new("python_agent").plays("agent");
}

#[test]
fn the_rules_hold_against_a_peer_in_python() {
    Hub::new("python_rules").plays("rules");
}

#[test]
fn a_peer_in_python_that_falls_silent_is_given_up() {
    Hub::new("python_timeouts").plays("timeouts");
}

#[test]
fn a_coordinator_that_stops_tells_a_peer_in_python() {
    Hub::new("python_drain").plays("drain");
}

#[test]
fn nobody_in_python_gets_in_with_a_certificate_that_does_not_hold() {
    let mut hub = Hub::new("python_refused");
    if !hub.plays("refused") {
        return;
    }
    // What the peer saw is asserted in Python; this is what the node saw, the last of it first.
    let heard = hub.running.says("session ended peer=agent-1 reason=\"the certificate expired");
    let (before, _) = heard.split_once("session open").unwrap();
    for (times, reason) in [
        (1, "this node refused the peer: no certificate was shown"),
        (1, "this node refused the peer: the certificate was not issued by the authority of the cluster"),
        (2, "this node refused the peer: the certificate has expired or is not valid yet"),
        (1, "this node refused the peer: the certificate was revoked"),
        (1, "this node refused the peer: the certificate is not for both servers and clients"),
        (4, "this node refused the peer: the certificate is not that of a node"),
        (2, "this node refused the peer: a signature does not match"),
        (1, "error 120"),
        (2, "the peer refused this node: the certificate is that of another node than the expected one"),
    ] {
        assert_eq!(before.matches(reason).count(), times, "{reason}: {before}");
    }
    let superseded = "session ended peer=agent-1 reason=\"a newer incarnation connected\"";
    assert_eq!(heard.matches(superseded).count(), 1, "{heard}");
}
