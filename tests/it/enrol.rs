//! Machines that join over the network, certificates that renew themselves, and revocations that arrive.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime};

use swarm_actors::identity::{AuthorityFolder, Identity, OnExisting, Validity, write_identity};
use swarm_protocols::Role;

use crate::ca::{Cluster, load, mode};
use crate::processes::{Running, eventually};
use crate::{Run, swarm, swarm_reading};

const DAY: Duration = Duration::from_secs(86_400);

/// A coordinator that issues from the authority of its cluster.
struct Hub {
    node: Running,
    address: SocketAddr,
    enrols_at: SocketAddr,
}

impl Hub {
    /// Its identity is there.
    fn start(cluster: &Cluster) -> Self {
        let rest = "role = \"coordinator\"\nauthority = { folder = \"ca\", enrol = \"127.0.0.1:0\" }";
        let file = cluster.node("hub", rest);
        let mut node = Running::start(&["node", "--config", &file]);
        let address = node.listens_on();
        let heard = node.says("are enrolled at ");
        let (_, enrols_at) = heard.split_once("are enrolled at ").unwrap();
        let enrols_at = enrols_at.split(['\n', '"']).next().unwrap().parse().unwrap();
        Self { node, address, enrols_at }
    }
}

impl Cluster {
    fn hub(&self) -> Hub {
        self.issue("hub", "coordinator");
        Hub::start(self)
    }

    fn open(&self) -> AuthorityFolder {
        AuthorityFolder::open(Path::new(&self.authority)).unwrap()
    }

    fn enrol(&self, name: &str, at: SocketAddr, token: &str, out: &str) -> Run {
        let (at, out) = (at.to_string(), self.path(out));
        let arguments = ["ca", "enrol", name, "--connect", &at, "--token", "-", "--out", &out, "-o", "json"];
        swarm_reading(&arguments, token.as_bytes())
    }

    /// Writes an identity that expires soon and is due for renewal.
    fn due(&self, name: &str, role: Role, left: Duration) -> Identity {
        let folder = self.open();
        let now = SystemTime::now();
        let due = Validity::new(now - DAY, now + left).unwrap();
        let identity = folder.issue(&name.parse().unwrap(), role, due, OnExisting::Refuse).unwrap();
        let revoked = folder.revocation_list().unwrap();
        write_identity(Path::new(&self.path(name)), &identity, &revoked, OnExisting::Refuse).unwrap();
        identity
    }

    fn serial(&self, name: &str) -> String {
        load(&self.path(name)).as_peer().serial.to_string()
    }
}

fn secret(token: &str) -> &str {
    token.rsplit('.').next().unwrap()
}

#[test]
fn a_machine_enrols_over_the_network_with_a_key_of_its_own_and_joins() {
    let cluster = Cluster::new("enrol_joins");
    let mut hub = cluster.hub();
    // What is no QUIC is nothing.
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[0x55; 1200], hub.enrols_at).unwrap();

    let token = cluster.token("agent-1", "agent");
    let enrolled = cluster.enrol("agent-1", hub.enrols_at, &token, "agent-1").json();
    let identity = load(&cluster.path("agent-1"));
    assert_eq!((&enrolled["name"], &enrolled["role"]), (&"agent-1".into(), &"agent".into()));
    assert_eq!(enrolled["serial"], identity.as_peer().serial.to_string());
    assert_eq!((mode(cluster.path("agent-1")), mode(cluster.path("agent-1/node.key.pem"))), (0o700, 0o600));
    let heard = hub.node.says("a newcomer was given a certificate");
    assert!(!heard.contains(secret(&token)), "{heard}");

    let file = cluster.agent("agent-1", hub.address);
    assert_eq!(swarm(&["config", "check", &file]).code, Some(0));
    let mut agent = Running::start(&["node", "--config", &file]);
    agent.says("the agent agent-1 is ready");

    // The answer was lost: the same key gets the same certificate, another one gets none.
    fs::remove_file(cluster.path("agent-1/node.pem")).unwrap();
    let again = cluster.enrol("agent-1", hub.enrols_at, &token, "agent-1").json();
    assert_eq!(again["serial"], enrolled["serial"]);
    cluster.enrol("agent-1", hub.enrols_at, &token, "thief").fails(77, &["used before"]);
    cluster.enrol("agent-1", hub.enrols_at, &token, "agent-1").fails(1, &["node.pem is there already"]);
    assert_eq!(cluster.serial("agent-1"), identity.as_peer().serial.to_string());
}

#[test]
fn newcomers_that_are_not_let_in_are_told_why_and_leave_a_line() {
    let cluster = Cluster::new("enrol_refused");
    let mut hub = cluster.hub();
    let at = hub.enrols_at;
    let good = cluster.token("a", "agent");
    let refused = |token: &str, code, parts: &[&str]| cluster.enrol("a", at, token, "a").fails(code, parts);
    refused("no token", 65, &["the token: this is no join token"]);
    refused(&"x".repeat(5_000), 65, &["the token: it is longer than 4096 bytes"]);
    refused(&cluster.token("b", "agent"), 77, &["the join token is for b, the request for a"]);
    refused(&good.replace(".agent.", ".coordinator."), 77, &["the authority did not make this join token"]);
    let late = SystemTime::now() - Duration::from_secs(60);
    let late = cluster.open().join_token(&"a".parse().unwrap(), Role::Agent, late).unwrap();
    refused(late.as_str(), 77, &["the join token expired at"]);
    let heard = hub.node.says("the join token expired at");
    let lines: Vec<&str> = heard.lines().filter(|line| line.contains("a newcomer was refused")).collect();
    assert_eq!(lines.len(), 2, "{heard}");
    assert!(lines.iter().all(|line| line.contains("\"audit\"") && line.contains("127.0.0.1:")));

    // A token of another authority is not sent, and neither is one to the coordinator of another authority.
    let other = Cluster::new("enrol_refused_other");
    let foreign = other.token("a", "agent");
    refused(&foreign, 77, &["is no coordinator of the authority that made the join token", "UnknownIssuer"]);
    hub.node.says("a newcomer got no certificate");
    let mut middle = other.hub();
    let sent_to_middle = cluster.enrol("a", middle.enrols_at, &good, "a");
    sent_to_middle.fails(77, &["is no coordinator of the authority that made the join token"]);
    let heard = middle.node.says("a newcomer got no certificate");
    assert!(!heard.contains(secret(&good)), "{heard}");

    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = cluster.enrol("a", silent.local_addr().unwrap(), &good, "a");
    nobody.fails(
        69,
        &["cannot be reached: nobody answered within 5s", "`[authority] enrol` must be running there"],
    );
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    cluster.enrol("a", closed, &good, "a").fails(69, &["cannot be reached: nobody listens there"]);
    // Nothing of all this cost the token, or left an identity behind.
    assert!(!Path::new(&cluster.path("a/node.pem")).exists());
    cluster.enrol("a", at, &good, "a").json();
    assert!(!hub.node.says("a newcomer was given").contains(secret(&good)));
}

#[test]
fn certificates_that_are_due_renew_themselves_and_are_shown_from_then_on() {
    let cluster = Cluster::new("enrol_renews");
    let hub_before = cluster.due("hub", Role::Coordinator, DAY / 24);
    // Long enough for two processes to start on a busy machine.
    let agent_before = cluster.due("agent-1", Role::Agent, Duration::from_secs(30));
    let key = fs::read(cluster.path("agent-1/node.key.pem")).unwrap();
    cluster.issue("desk", "operator");

    let mut hub = Hub::start(&cluster);
    hub.node.says("the certificate was renewed");
    let hub_after = load(&cluster.path("hub"));
    assert!(hub_after.valid_until() > hub_before.valid_until());

    let mut agent = Running::start(&["node", "--config", &cluster.agent("agent-1", hub.address)]);
    agent.says("the certificate was renewed");
    let agent_after = load(&cluster.path("agent-1"));
    assert_eq!((agent_after.id(), agent_after.role()), (agent_before.id(), agent_before.role()));
    let lifetime = agent_after.valid_until().duration_since(SystemTime::now()).unwrap();
    assert!(lifetime > DAY - Duration::from_secs(600) && lifetime < DAY + DAY / 24, "{lifetime:?}");
    assert_eq!(fs::read(cluster.path("agent-1/node.key.pem")).unwrap(), key);
    let heard = hub.node.says(&agent_after.as_peer().serial.to_string());
    let line = heard.lines().find(|line| line.contains(&agent_after.as_peer().serial.to_string())).unwrap();
    for part in ["agent-1", &agent_before.as_peer().serial.to_string()] {
        assert!(line.contains(part), "{line}");
    }

    // Once the former one has expired, only the new one can have opened the session that there is.
    let over = agent_before.valid_until() + Duration::from_secs(2);
    eventually("the end of the former certificate", || (SystemTime::now() > over).then_some(()));
    eventually("a session with the renewed certificate", || {
        let connect = hub.address.to_string();
        let desk = cluster.path("desk");
        let agents = swarm(&["agents", "--connect", &connect, "--identity", &desk, "-o", "json"]).json();
        (agents[0]["name"] == "agent-1").then_some(())
    });
    // The coordinator shows its own new one to newcomers too.
    cluster.enrol("b", hub.enrols_at, &cluster.token("b", "agent"), "b").json();
}

#[test]
fn a_node_whose_coordinator_has_no_authority_says_so_and_goes_on() {
    let cluster = Cluster::new("enrol_none");
    cluster.due("hub", Role::Coordinator, DAY / 24);
    let mut hub = Running::start(&["node", "--config", &cluster.node("hub", "role = \"coordinator\"")]);
    let address = hub.listens_on();
    let heard = hub.says("was not renewed");
    assert!(heard.contains("this coordinator has no [authority]"), "{heard}");
    let before = cluster.due("agent-1", Role::Agent, DAY / 24);
    let mut agent = Running::start(&["node", "--config", &cluster.agent("agent-1", address)]);
    let heard = agent.says("was not renewed");
    assert!(heard.contains("hub exposes nothing named certificate-authority"), "{heard}");
    assert_eq!(cluster.serial("agent-1"), before.as_peer().serial.to_string());
    agent.signal("TERM");
    agent.finish().fails(143, &[]);
}

#[test]
fn a_revocation_reaches_the_nodes_without_files_being_carried() {
    let cluster = Cluster::new("enrol_revokes");
    let mut hub = cluster.hub();
    cluster.issue("gone", "agent");
    let file = cluster.agent("gone", hub.address);
    let mut gone = Running::start(&["node", "--config", &file]);
    gone.says("the agent gone is ready");
    let before_list = fs::read(cluster.path("ca/revoked.pem")).unwrap();
    cluster.ca("revoke", &["gone"]).json();
    gone.says("was revoked");
    hub.node.says("there is a newer revocation list");

    // An agent that was given its identity before takes the list as soon as it joins, and keeps it.
    let before = cluster.due("agent-1", Role::Agent, DAY);
    fs::write(cluster.path("agent-1/revoked.pem"), before_list).unwrap();
    let mut agent = Running::start(&["node", "--config", &cluster.agent("agent-1", hub.address)]);
    agent.says("there is a newer revocation list");
    let kept = load(&cluster.path("agent-1"));
    assert_eq!(kept.revocation_list().len(), 1);
    assert!(kept.revocation_list().check(load(&cluster.path("gone")).as_peer()).is_err());
    assert!(kept.revocation_list().check(before.as_peer()).is_ok());
    assert_eq!(load(&cluster.path("hub")).revocation_list().len(), 1);
}

#[test]
fn c2_a_command_at_the_port_of_another_is_told_that_there_are_two() {
    let cluster = Cluster::new("enrol_ports");
    let hub = cluster.hub();
    cluster.issue("desk", "operator");
    let told = ["sessions and the enrolment of newcomers have ports of their own"];
    let (enrols_at, desk) = (hub.enrols_at.to_string(), cluster.path("desk"));
    swarm(&["status", "--connect", &enrols_at, "--identity", &desk]).fails(69, &told);
    cluster.issue("early", "agent");
    swarm(&["node", "--config", &cluster.agent("early", hub.enrols_at)]).fails(69, &told);
    let token = cluster.token("agent-1", "agent");
    cluster.enrol("agent-1", hub.address, &token, "agent-1").fails(69, &told);
}

#[test]
fn an_authority_section_that_cannot_be_used_is_named() {
    let cluster = Cluster::new("enrol_config");
    cluster.issue("hub", "coordinator");
    let other = Cluster::new("enrol_config_other");
    let check = |rest: &str, code, parts: &[&str]| {
        let file = cluster.node("hub", &format!("role = \"coordinator\"\n{rest}"));
        swarm(&["node", "--config", &file]).fails(code, parts);
        let checked = swarm(&["config", "check", &file]);
        assert_eq!(checked.code, Some(code), "{}", checked.stderr);
        assert!(parts.iter().all(|part| checked.stderr.contains(part)), "{}", checked.stderr);
    };
    check("authority = { folder = \"none\" }", 78, &["hub.toml:4:24: there is no folder"]);
    let foreign = format!("authority = {{ folder = \"{}\" }}", other.authority);
    check(&foreign, 78, &["is not the authority of this coordinator"]);
    check("authority = { folder = \"hub\" }", 78, &["hub holds no authority, but the identity of a node"]);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let rest = format!("role = \"coordinator\"\nauthority = {{ folder = \"ca\", enrol = \"{address}\" }}");
    let file = cluster.node("hub", &rest);
    swarm(&["node", "--config", &file]).fails(75, &["cannot listen for newcomers on", &address.to_string()]);
}
