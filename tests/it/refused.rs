//! Certificates that a coordinator refuses: what the refused process says and exits with, and what becomes of its
//! work.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use swarm_actors::identity::{Authority, PrivateKeyPem, Validity};
use swarm_protocols::Role;

use crate::ca::Cluster;
use crate::ops::{Hub, SYMBOLS, similar_windows};
use crate::processes::{Running, eventually};
use crate::swarm;

impl Cluster {
    /// Revokes a name, and brings the list to the coordinator, which has not read it yet.
    fn revoke(&self, name: &str) {
        let revoked = swarm(&["ca", "revoke", &self.path("ca"), name]);
        assert_eq!(revoked.code, Some(0), "{}", revoked.stderr);
        fs::copy(self.path("ca/revoked.pem"), self.path("hub/revoked.pem")).unwrap();
    }

    /// Issues a certificate that holds for a few seconds only, in place of the one that is there.
    fn shorten(&self, name: &str, role: Role, lifetime: Duration) {
        let read = |file: &str| fs::read_to_string(self.path(file)).unwrap();
        let key = PrivateKeyPem::new(read("ca/authority.key.pem"));
        let authority = Authority::from_pem(&read("ca/authority.pem"), &key).unwrap();
        let validity = Validity::starting(SystemTime::now(), lifetime).unwrap();
        let pem = authority.issue(&name.parse().unwrap(), role, validity).unwrap().to_pem().clone();
        self.folder.write(&format!("{name}/node.pem"), &pem.certificate);
        self.folder.write(&format!("{name}/node.key.pem"), pem.key.as_str());
    }
}

impl Hub {
    /// Lets it read its files again.
    fn reload(&mut self) {
        self.node.signal("HUP");
        self.node.says("certificates and log level were read again");
    }
}

const REFUSED: &str = "the peer refused this node: ";

#[test]
fn a_node_whose_certificate_is_refused_says_by_whom_and_exits_with_77() {
    let cluster = Cluster::new("refused_node");
    let mut hub = Hub::start(&cluster);
    let at = format!("no session with hub at {}: ", hub.address);
    let address = hub.address.clone();
    let file = |name: &str| cluster.agent_called(name, "hub", &address, "reconnect_seconds = 1");
    let node = |file: &str| swarm(&["node", "--config", file]);

    let foreign = file("foreign");
    let elsewhere = Cluster::new("refused_elsewhere").identity("foreign", "agent");
    for part in ["node.pem", "node.key.pem"] {
        fs::copy(format!("{elsewhere}/{part}"), cluster.path(&format!("foreign/{part}"))).unwrap();
    }
    // It believes both authorities, so that it is the coordinator that refuses.
    let both = ["foreign/authority.pem", "ca/authority.pem"].map(|file| {
        let theirs =
            if file.starts_with("ca") { cluster.path(file) } else { format!("{elsewhere}/authority.pem") };
        fs::read_to_string(theirs).unwrap()
    });
    cluster.folder.write("foreign/authority.pem", both.concat());
    node(&foreign).fails(77, &[&at, REFUSED, "not issued by the authority of the cluster"]);

    let revoked = file("revoked");
    cluster.revoke("revoked");
    hub.reload();
    node(&revoked).fails(77, &[&at, REFUSED, "the certificate was revoked"]);

    // Where another node than a coordinator is, the agent does the refusing.
    let good = file("good");
    let mut agent = Running::start(&["node", "--config", &good]);
    let address = agent.listens_on().to_string();
    let misled = cluster.agent_called("misled", "good", &address, "reconnect_seconds = 1");
    node(&misled).fails(77, &["good at ", &address, "is an agent by its certificate"]);
    // And a name that is not in the certificate is refused before the role.
    let mistaken = cluster.agent_called("mistaken", "other", &hub.address, "reconnect_seconds = 1");
    let mistaken = node(&mistaken);
    mistaken.fails(77, &["this node refused the peer: the certificate is that of another node"]);

    // A coordinator that is not there is another matter.
    hub.node.signal("TERM");
    hub.node.finish();
    agent.finish().fails(69, &["the session with hub ended", "nothing was reached for 1s"]);
}

#[test]
fn an_agent_whose_certificate_expires_while_it_runs_exits_with_77() {
    let cluster = Cluster::new("refused_expired");
    let hub = Hub::start(&cluster);
    let file = cluster.agent_called("agent-1", "hub", &hub.address, "reconnect_seconds = 1");
    cluster.shorten("agent-1", Role::Agent, Duration::from_secs(10));
    let mut agent = Running::start(&["node", "--config", &file]);
    agent.says("the agent agent-1 is ready");
    // It resumes its TLS session, so that its certificate is judged after the handshake.
    let again = "; then no session with hub at ";
    agent
        .finish()
        .fails(77, &["the session with hub ended", again, "the peer closed it: the certificate expired"]);
}

#[test]
fn an_operator_whose_certificate_is_refused_is_told_so() {
    let cluster = Cluster::new("refused_operator");
    let mut hub = Hub::start(&cluster);
    let task = similar_windows(&cluster.folder, &["SPY"], "");
    cluster.revoke("desk");
    hub.reload();
    let at = format!("no session with a coordinator at {}: ", hub.address);
    for command in [&["status"][..], &["agents"], &["tasks"], &["submit", &task]] {
        let identified = [command, &["--connect", &hub.address, "--identity", &hub.operator]].concat();
        swarm(&identified).fails(77, &[&at, REFUSED, "the certificate was revoked"]);
    }
}

#[test]
fn a_node_whose_own_certificate_is_revoked_says_so_when_it_reads_the_list_and_when_it_starts() {
    let cluster = Cluster::new("refused_own");
    let mut hub = Hub::start(&cluster);
    hub.reload();
    let before = hub.node.says("were read again");
    assert!(!before.contains("was replaced") && !before.contains("on the revocation list"), "{before}");
    cluster.revoke("hub");
    hub.node.signal("HUP");
    let said = "the certificate of this node is on the revocation list";
    let log = hub.node.says(said);
    let line = log.lines().find(|line| line.contains(said)).unwrap();
    assert!(line.contains("\"ERROR\"") && line.contains("issue a new one and send SIGHUP"), "{line}");
    let again = ["node", "--config", &cluster.path("hub.toml"), "--listen", "127.0.0.1:0"];
    Running::start(&again).says(said);
}

/// When a line of the log was written, in seconds of its hour.
fn written(log: &str, parts: &[&str]) -> f64 {
    let line = log.lines().find(|line| parts.iter().all(|part| line.contains(part)));
    let line: Value = serde_json::from_str(line.unwrap_or_else(|| panic!("{parts:?}: {log}"))).unwrap();
    // 2026-11-20T16:41:22.123456Z
    let clock = line["timestamp"].as_str().unwrap().trim_end_matches('Z').split(':');
    clock.skip(1).fold(0.0, |seconds, part| seconds * 60.0 + part.parse::<f64>().unwrap())
}

#[test]
fn a_revoked_agent_is_out_at_once_and_its_work_goes_to_another() {
    let cluster = Cluster::new("refused_live");
    let mut hub = Hub::start(&cluster);
    let [one, two] = ["agent-1", "agent-2"].map(|name| {
        let file = cluster.agent_called(name, "hub", &hub.address, "workers = 1\nreconnect_seconds = 1");
        let mut agent = Running::start(&["node", "--config", &file]);
        agent.says("is ready");
        agent
    });
    eventually("both agents", || (hub.asked("status")["agents"] == 2).then_some(()));
    let task = similar_windows(&cluster.folder, &SYMBOLS, "");
    let submit = ["submit", &task, "--connect", &hub.address, "--identity", &hub.operator, "-o", "json"];
    let expected = swarm(&submit).json();

    // One that does not run holds what it was given until it is gone.
    cluster.revoke("agent-1");
    one.signal("STOP");
    let again = Running::start(&submit);
    eventually("work in the hands of the agent", || {
        let agents = hub.asked("agents");
        let held = agents.as_array().unwrap().iter().find(|agent| agent["name"] == "agent-1");
        held.expect("still connected")["assigned"].as_u64().filter(|held| *held > 0)
    });
    hub.reload();
    let log = hub.node.says("was revoked");
    let read = written(&log, &["the revocation list was replaced"]);
    let ended = written(&log, &["session ended", "\"agent-1\"", "was revoked"]);
    assert!((ended - read).rem_euclid(3_600.0) < 1.0, "{} s", ended - read);

    assert_eq!(again.finish().json(), expected);
    let agents = hub.asked("agents");
    let names: Vec<&Value> = agents.as_array().unwrap().iter().map(|agent| &agent["name"]).collect();
    assert_eq!(names, ["agent-2"]);
    one.signal("CONT");
    one.finish().fails(77, &["the session with hub ended", REFUSED, "the certificate was revoked"]);
    two.signal("TERM");
    assert_eq!(two.finish().code, Some(143));
}
