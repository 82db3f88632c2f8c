//! `swarm node`: one node from a file.

use std::net::UdpSocket;
use std::time::{Duration, Instant, SystemTime};

use swarm_actors::identity::{Authority, Identity, Validity};
use swarm_protocols::Role;

use crate::processes::Running;
use crate::{Folder, swarm};

/// A cluster whose files lie in the folder of a test.
pub(crate) struct Cluster {
    folder: Folder,
    authority: Authority,
    validity: Validity,
}

impl Cluster {
    pub(crate) fn new(test: &str) -> Self {
        let validity = Validity::starting(SystemTime::now(), Duration::from_secs(3_600)).unwrap();
        let authority = Authority::new("test", validity).unwrap();
        Self { folder: Folder::new(test), authority, validity }
    }

    pub(crate) fn identity(&self, name: &str, role: Role) -> Identity {
        self.authority.issue(&name.parse().unwrap(), role, self.validity).unwrap()
    }

    /// Writes the identity and the file of a node; `rest` is what the file says beside them.
    pub(crate) fn node(&self, name: &str, role: Role, rest: &str) -> String {
        let identity = self.identity(name, role);
        let pem = identity.to_pem();
        self.folder.write(&format!("{name}.pem"), &pem.certificate);
        self.folder.write(&format!("{name}.key.pem"), pem.key.as_str());
        self.folder.write("authority.pem", &pem.authority);
        self.file(name, role, name, rest)
    }

    /// Writes the file of a node with the identity of `certified`.
    fn file(&self, name: &str, role: Role, certified: &str, rest: &str) -> String {
        let text = format!(
            "name = \"{name}\"\nrole = \"{role}\"\n{rest}\n[identity]\ncertificate = \"{certified}.pem\"\n\
             key = \"{certified}.key.pem\"\nauthority = \"authority.pem\"\n"
        );
        self.folder.write(&format!("{name}.toml"), text)
    }

    fn coordinator(&self, listen: &str) -> String {
        self.node("hub", Role::Coordinator, &format!("listen = \"{listen}\""))
    }

    fn agent(&self, address: impl std::fmt::Display) -> String {
        let rest = format!(
            "listen = \"127.0.0.1:0\"\nagent_type = \"pattern-matcher\"\n\
             connect = [{{ name = \"hub\", address = \"{address}\" }}]\nreconnect_seconds = 1"
        );
        self.node("agent-1", Role::Agent, &rest)
    }
}

#[test]
fn an_agent_whose_coordinator_stays_away_ends() {
    let cluster = Cluster::new("node_pair");
    let mut coordinator = Running::start(&["node", "--config", &cluster.coordinator("127.0.0.1:0")]);
    let address = coordinator.listens_on();
    let mut agent = Running::start(&["node", "--config", &cluster.agent(address)]);
    agent.says("the agent agent-1 is ready");
    coordinator.signal("TERM");
    coordinator.finish().fails(143, &["stopped by SIGTERM"]);
    agent.finish().fails(69, &["the session with hub ended"]);
}

#[test]
fn s9_an_agent_of_two_coordinators_starts_when_one_of_them_is_there() {
    let cluster = Cluster::new("node_two");
    let mut coordinator = Running::start(&["node", "--config", &cluster.coordinator("127.0.0.1:0")]);
    let (address, silent) = (coordinator.listens_on(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let other = silent.local_addr().unwrap();
    for (name, first, second) in
        [("agent-1", ("hub", address), ("off", other)), ("agent-2", ("off", other), ("hub", address))]
    {
        let peer = |(name, address)| format!("{{ name = \"{name}\", address = \"{address}\" }}");
        let rest = format!(
            "listen = \"127.0.0.1:0\"\nagent_type = \"pattern-matcher\"\nconnect = [{}, {}]",
            peer(first),
            peer(second)
        );
        let mut agent = Running::start(&["node", "--config", &cluster.node(name, Role::Agent, &rest)]);
        agent.says(&format!("the agent {name} is ready"));
    }
}

#[test]
fn a_signal_stops_an_agent() {
    let cluster = Cluster::new("node_signal");
    let mut coordinator = Running::start(&["node", "--config", &cluster.coordinator("127.0.0.1:0")]);
    let address = coordinator.listens_on();
    let mut agent = Running::start(&["node", "--config", &cluster.agent(address)]);
    agent.says("the agent agent-1 is ready");
    agent.signal("INT");
    agent.finish().fails(130, &["stopped by SIGINT"]);
}

#[test]
fn a_dead_coordinator_is_named() {
    let cluster = Cluster::new("node_dead");
    // Bound, so that nobody else gets the port, and silent.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let mut agent =
        Running::start(&["node", "--config", &cluster.agent(address), "--reconnect-seconds", "1"]);
    let heard = agent.says("it is tried again for 1s");
    assert!(heard.contains(&address.to_string()), "{heard}");
    agent.finish().fails(69, &["hub at ", &address.to_string()]);
}

#[test]
fn an_agent_that_tries_nothing_again_ends_at_once_where_nobody_listens() {
    let cluster = Cluster::new("node_closed");
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let begun = Instant::now();
    let run =
        Running::start(&["node", "--config", &cluster.agent(address), "--reconnect-seconds", "0"]).finish();
    assert!(!run.stderr.contains("tried again"), "{}", run.stderr);
    run.fails(69, &[&format!("hub at {address} cannot be reached: nobody listens there")]);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // Of one that is silent it is not known.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = cluster.agent(silent.local_addr().unwrap());
    let run = Running::start(&["node", "--config", &file, "--reconnect-seconds", "0"]).finish();
    assert!(!run.stderr.contains("tried again"), "{}", run.stderr);
    run.fails(69, &["hub at ", "did not answer"]);
}

#[test]
fn t7_an_agent_may_be_started_before_its_coordinator() {
    let cluster = Cluster::new("node_early");
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = cluster.agent(address);
    let mut agent = Running::start(&["node", "--config", &file, "--reconnect-seconds", "60"]);
    agent.says("it is tried again for 60s");
    let mut coordinator = Running::start(&["node", "--config", &cluster.coordinator(&address.to_string())]);
    coordinator.says("the coordinator hub is ready");
    agent.says("the agent agent-1 is ready");
}

#[test]
fn t7_a_name_that_cannot_be_looked_up_at_the_start_is_tried_again() {
    let cluster = Cluster::new("node_lookup");
    let file = cluster.agent("no-such-host.invalid:7400");
    let begun = Instant::now();
    let mut agent = Running::start(&["node", "--config", &file, "--reconnect-seconds", "2"]);
    let unknown = "hub at no-such-host.invalid:7400 cannot be looked up";
    let heard = agent.says("it is tried again for 2s");
    assert!(heard.contains(unknown), "{heard}");
    agent.finish().fails(69, &[unknown]);
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    Running::start(&["node", "--config", &file, "--reconnect-seconds", "0"]).finish().fails(69, &[unknown]);
}

#[test]
fn what_a_node_cannot_be_started_with_is_named() {
    let cluster = Cluster::new("node_refused");
    let occupied = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = occupied.local_addr().unwrap().to_string();
    let hub = cluster.coordinator(&address);
    swarm(&["node", "--config", &hub]).fails(75, &["cannot listen on", &address]);

    let rest = "listen = \"127.0.0.1:0\"";
    let other = cluster.file("other", Role::Coordinator, "hub", rest);
    swarm(&["node", "--config", &other])
        .fails(78, &["the coordinator other", "certificate of the coordinator hub"]);
    let missing = cluster.file("missing", Role::Coordinator, "none", rest);
    swarm(&["node", "--config", &missing]).fails(78, &["missing.toml:", "there is no file", "none.pem"]);
    cluster.folder.write("hub.key.pem", "no key");
    swarm(&["node", "--config", &hub]).fails(78, &["private key", "hub.key.pem"]);
    let checked = swarm(&["config", "check", &hub, "-o", "json"]);
    assert_eq!(checked.code, Some(78), "{}", checked.stderr);
    let answer: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("hub.key.pem"), "{answer}");
    swarm(&["node"]).fails(2, &["--config"]);
}

#[test]
fn a_certificate_that_does_not_hold_now_is_noticed_by_its_holder() {
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    for (test, from, until, said) in [
        ("node_expired", now - day * 3, now - day, "expired at"),
        ("node_early", now + day, now + day * 3, "is valid from"),
    ] {
        let authority = Authority::new("test", Validity::new(now - day * 9, now + day * 9).unwrap()).unwrap();
        let validity = Validity::new(from, until).unwrap();
        let cluster = Cluster { folder: Folder::new(test), authority, validity };
        let hub = cluster.coordinator("127.0.0.1:0");
        for command in [["node", "--config"], ["config", "check"]] {
            swarm(&[&command[..], &[&hub]].concat()).fails(78, &["hub.pem: ", said]);
        }
    }
}
