//! Looking at a swarm that runs, giving it work, and changing nodes while they run.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::ca::Cluster;
use crate::processes::{Running, eventually, is_running};
use crate::{Folder, Run, swarm, swarm_in};

pub(crate) fn project(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
}

/// The task of finding windows like the last one of each symbol, as a file; `rest` is what else it says.
pub(crate) fn similar_windows(folder: &Folder, symbols: &[&str], rest: &str) -> String {
    let data = project("examples/data/us_equity");
    let task =
        format!("{{\"kind\": \"similar-windows\", \"data\": {data:?}, \"symbols\": {symbols:?}{rest}}}");
    folder.write("task.json", task)
}

/// Those of the bundled prices.
pub(crate) const SYMBOLS: [&str; 9] = ["SPY", "AAPL", "AIG", "BAC", "EEM", "IBM", "IWM", "QQQ", "USO"];

impl Cluster {
    /// Issues an identity, and gives its folder.
    pub(crate) fn identity(&self, name: &str, role: &str) -> String {
        self.issue(name, role);
        self.path(name)
    }

    fn coordinator(&self, rest: &str) -> String {
        self.identity("hub", "coordinator");
        let text = format!("name = \"hub\"\nrole = \"coordinator\"\nidentity = \"hub\"\n{rest}\n");
        self.folder.write("hub.toml", text)
    }

    /// Issues an identity to an agent, and writes its file: `peer` is the node that it connects to.
    pub(crate) fn agent_called(&self, name: &str, peer: &str, address: &str, rest: &str) -> String {
        self.identity(name, "agent");
        let text = format!(
            "name = \"{name}\"\nrole = \"agent\"\nidentity = \"{name}\"\nlisten = \"127.0.0.1:0\"\n\
             agent_type = \"pattern-matcher\"\n\
             connect = [{{ name = \"{peer}\", address = \"{address}\" }}]\n{rest}\n"
        );
        self.folder.write(&format!("{name}.toml"), text)
    }
}

/// A coordinator that runs, and how an operator reaches it.
pub(crate) struct Hub {
    pub(crate) node: Running,
    pub(crate) address: String,
    pub(crate) operator: String,
}

impl Hub {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        Self::start_with(cluster, "")
    }

    /// One whose file says more.
    pub(crate) fn start_with(cluster: &Cluster, rest: &str) -> Self {
        let file = cluster.coordinator(&format!("listen = \"127.0.0.1:0\"\n{rest}"));
        let mut node = Running::start(&["node", "--config", &file]);
        let address = node.listens_on().to_string();
        Self { node, address, operator: cluster.identity("desk", "operator") }
    }

    /// Waits until it has ended, and starts it again where it was.
    pub(crate) fn restart(&mut self, cluster: &Cluster) {
        let file = cluster.path("hub.toml");
        eventually("its end", || (!is_running(self.node.id())).then_some(()));
        self.node = Running::start(&["node", "--config", &file, "--listen", &self.address]);
        self.node.listens_on();
    }

    pub(crate) fn asked(&self, command: &str) -> Value {
        swarm(&[command, "--connect", &self.address, "--identity", &self.operator, "-o", "json"]).json()
    }

    /// Waits until the coordinator has an agent, and tells for how many seconds it has had it.
    fn agent_since(&self) -> f64 {
        eventually("an agent", || self.asked("agents")[0]["connected_seconds"].as_f64())
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn is_empty(folder: &str) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn a_kept_swarm_is_looked_at_and_given_work_without_an_identity_of_ones_own() {
    let folder = Folder::new("ops_kept");
    let runtime = folder.path("");
    let environment = [("XDG_RUNTIME_DIR", runtime.as_str())];
    let topology = project("examples/topologies/star.toml");
    let mut up = Running::start_in(&environment, &["up", &topology, "--keep", "-o", "json"]);
    let address = up.listens_on().to_string();
    let job: Value = serde_json::from_str(&up.stdout()).unwrap();
    let job = &job["jobs"][0]["result"];
    let ask = |command: &str| swarm_in(&environment, &[command, "--connect", &address, "-o", "json"]).json();

    let status = ask("status");
    assert_eq!(keys(&status), ["address", "agents", "coordinator", "messages", "tasks", "uptime_seconds"]);
    assert_eq!((&status["coordinator"], &status["agents"]), (&json!("coordinator"), &json!(4)));
    assert_eq!(status["tasks"], json!({"queued": 0, "running": 0}));
    let agents = ask("agents");
    assert_eq!(agents.as_array().unwrap().len(), 4);
    assert_eq!(agents[3]["name"], "agent-4");
    assert_eq!(agents[0]["protocols"], json!(["correlator", "pattern-matcher", "series-matcher"]));
    let answered: u64 = agents.as_array().unwrap().iter().map(|one| one["answered"].as_u64().unwrap()).sum();
    assert_eq!(answered, 9, "one for each symbol of the topology's job");

    let task = similar_windows(&folder, &SYMBOLS, "");
    let submitted = swarm_in(&environment, &["submit", &task, "--connect", &address, "-o", "json"]);
    assert!(submitted.stderr.contains("similar-windows: "), "progress goes to stderr: {}", submitted.stderr);
    let by_symbol = |result: &Value| {
        let mut symbols = result["symbols"].as_array().unwrap().clone();
        symbols.sort_by_key(|symbol| symbol["symbol"].as_str().unwrap().to_owned());
        symbols
    };
    assert_eq!(by_symbol(&submitted.json()), by_symbol(job));
    let states: Vec<Value> = ask("tasks").as_array().unwrap().iter().map(|t| t["state"].clone()).collect();
    assert_eq!(states, ["done", "done"]);

    let left = Path::new(&runtime).join("actix-swarm").join(address.replace(':', "-"));
    for entry in [left.clone(), left.join("node.key.pem")] {
        let mode = fs::metadata(&entry).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others can read {}", entry.display());
    }
    up.signal("TERM");
    assert_eq!(up.finish().code, Some(143));
    assert!(!left.parent().unwrap().exists(), "nothing is left");
}

#[test]
fn a_kept_swarm_that_is_killed_leaves_nothing() {
    let folder = Folder::new("ops_killed");
    let runtime = folder.path("");
    let environment = [("XDG_RUNTIME_DIR", runtime.as_str())];
    let topology = project("examples/topologies/star.toml");
    let mut up = Running::start_in(&environment, &["up", &topology, "--keep", "-o", "json"]);
    let nodes = up.nodes(5);
    let address = up.listens_on().to_string();
    assert!(!is_empty(&runtime));
    up.signal("KILL");
    up.finish();
    eventually("the end of the nodes", || nodes.iter().all(|(_, pid)| !is_running(*pid)).then_some(()));
    assert!(is_empty(&runtime), "the coordinator removes what its parent left");
    swarm_in(&environment, &["status", "--connect", &address]).fails(69, &[&address]);
}

#[test]
fn a_plain_swarm_writes_no_identity() {
    let folder = Folder::new("ops_plain");
    let runtime = folder.path("");
    let topology = project("examples/topologies/star.toml");
    let up = Running::start_in(&[("XDG_RUNTIME_DIR", &runtime)], &["up", &topology, "-o", "json"]);
    up.nodes(5);
    assert!(is_empty(&runtime));
    assert_eq!(up.finish().code, Some(0));
}

#[test]
fn whoever_is_no_operator_of_the_swarm_is_turned_away() {
    let cluster = Cluster::new("ops_refused");
    let hub = Hub::start(&cluster);
    let asked = |identity: &str| swarm(&["tasks", "--connect", &hub.address, "--identity", identity]);
    assert_eq!(asked(&hub.operator).stdout, "no tasks\n");
    let named = [("SWARM_IDENTITY", hub.operator.as_str())];
    assert_eq!(swarm_in(&named, &["agents", "--connect", &hub.address]).stdout, "no agent is connected\n");

    let agent = cluster.identity("agent-1", "agent");
    asked(&agent).fails(77, &["that of the agent agent-1, not of an operator"]);
    let foreign = Cluster::new("ops_foreign").identity("desk", "operator");
    asked(&foreign).fails(77, &["no session with a coordinator at ", &hub.address]);
    asked(&cluster.path("none"))
        .fails(78, &["there is no folder ", "none: `swarm ca enrol`", "; --identity names it"]);
    let runtime = cluster.path("");
    let without = [("XDG_RUNTIME_DIR", runtime.as_str())];
    swarm_in(&without, &["status", "--connect", &hub.address]).fails(78, &["no identity for "]);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let dead = swarm(&["status", "--connect", &address, "--identity", &hub.operator]);
    dead.fails(69, &["a coordinator at ", &address, "did not answer within 5s"]);
    swarm(&["status", "--connect", "nowhere"]).fails(2, &["is no address to connect to"]);
    let closed = "127.0.0.1:1";
    let with = swarm(&["status", "--connect", closed, "--identity", &hub.operator]);
    let nobody = "127.0.0.1:1 cannot be reached: nobody listens there; a node listens on a UDP port";
    with.fails(69, &["a coordinator at ", nobody]);
    assert_eq!(with.stderr, swarm_in(&without, &["status", "--connect", closed]).stderr);
}

#[test]
fn a_task_file_is_judged_before_anything_is_asked() {
    let folder = Folder::new("ops_task_file");
    let submit = |text: &str| {
        let task = folder.write("task.json", text);
        swarm(&["submit", &task, "--connect", "127.0.0.1:1", "--identity", "none"])
    };
    submit("{\n  \"kind\": \"dance\"\n}").fails(65, &["task.json:2:", "unknown kind `dance`"]);
    submit("{\"kind\": \"similar-windows\", \"data\": \".\", \"symbols\": [], \"x\": 1}")
        .fails(65, &["task.json:1:", "no symbols"]);
    submit("").fails(65, &["task.json: is empty, expected a task"]);
}

#[test]
fn ctrl_c_cancels_the_task() {
    let cluster = Cluster::new("ops_cancel");
    let hub = Hub::start(&cluster);
    let task = similar_windows(&cluster.folder, &["SPY"], ", \"priority\": 9");
    // No agent is there, so it waits.
    let submit = Running::start(&["submit", &task, "--connect", &hub.address, "--identity", &hub.operator]);
    let queued = eventually("the task", || hub.asked("tasks").get(0).cloned());
    assert_eq!((&queued["state"], &queued["priority"]), (&json!("queued"), &json!(9)));
    assert_eq!(queued["progress"], json!({"done": 0, "assigned": 0, "total": 1}));
    submit.signal("INT");
    assert_eq!(submit.finish().code, Some(130));
    eventually("the end of the task", || (hub.asked("tasks")[0]["state"] == "cancelled").then_some(()));

    let waiting = swarm(&["submit", &task, "--connect", &hub.address, "--identity", &hub.operator]);
    waiting.fails(1, &["no agent exposes the protocol"]);
    let failed = &hub.asked("tasks")[0];
    assert_eq!(failed["state"], "failed");
    assert!(failed["reason"].as_str().unwrap().contains("no agent exposes the protocol"));
}

#[test]
fn a3_a_task_is_cancelled_by_its_id() {
    let cluster = Cluster::new("ops_cancel_id");
    let hub = Hub::start(&cluster);
    let task = similar_windows(&cluster.folder, &["SPY"], "");
    // No agent is there, so it waits.
    let submit = Running::start(&["submit", &task, "--connect", &hub.address, "--identity", &hub.operator]);
    let queued = eventually("the task", || hub.asked("tasks").get(0).cloned());
    let id = queued["id"].as_str().unwrap();
    let cancel = || swarm(&["cancel", id, "--connect", &hub.address, "--identity", &hub.operator]);
    assert_eq!(cancel().stdout, format!("cancelled {id}\n"));
    assert_eq!(submit.finish().code, Some(1));
    assert_eq!(hub.asked("tasks")[0]["state"], "cancelled");
    cancel().fails(1, &["no task", id, "is queued or running"]);
}

#[test]
fn a10_a_node_outlives_a_log_that_is_as_long_as_it_may_be() {
    let cluster = Cluster::new("ops_long_log");
    let (file, log) = (cluster.coordinator("listen = \"127.0.0.1:0\""), cluster.path("log"));
    let mut command = Command::new("sh");
    // In units of 512 bytes.
    command.args(["-c", "ulimit -f 8; exec \"$0\" node --config \"$1\" 2> \"$2\""]);
    command.args([env!("CARGO_BIN_EXE_swarm"), &file, &log]).env("SWARM_LOG", "info");
    let node = Running::spawn(command);
    let address = eventually("an address", || {
        let said = fs::read_to_string(&log).ok()?;
        Some(said.split_once("listens on ")?.1.split_once('"')?.0.to_owned())
    });
    let hub = Hub { node, address, operator: cluster.identity("desk", "operator") };
    eventually("a full log", || {
        hub.asked("status");
        (fs::metadata(&log).unwrap().len() == 4096).then_some(())
    });
    hub.asked("status");
    assert_eq!(hub.asked("status")["coordinator"], "hub");
}

#[test]
fn an_agent_finds_its_coordinator_again() {
    let cluster = Cluster::new("ops_reconnect");
    let mut hub = Hub::start(&cluster);
    let port = hub.address.parse::<SocketAddr>().unwrap().port();
    // A name with more than one address on most machines; the coordinator listens on one of them.
    let file = cluster.agent_called("agent-1", "hub", &format!("localhost:{port}"), "");
    let mut agent = Running::start(&["node", "--config", &file]);
    agent.says("the agent agent-1 is ready");
    hub.agent_since();
    hub.node.signal("KILL");
    hub.restart(&cluster);
    agent.says("it is dialled again");
    hub.agent_since();
}

#[test]
fn certificates_and_log_level_are_read_again_and_sessions_stay() {
    let cluster = Cluster::new("ops_reload");
    let mut hub = Hub::start(&cluster);
    let file = cluster.agent_called("agent-1", "hub", &hub.address, "");
    let mut agent = Running::start(&["node", "--config", &file]);
    agent.says("the agent agent-1 is ready");
    let before = hub.agent_since();

    let certificate = cluster.path("hub/node.pem");
    let old = fs::read_to_string(&certificate).unwrap();
    fs::write(&certificate, "no certificate").unwrap();
    hub.node.signal("HUP");
    hub.node.says("not reloaded, what was there before stays");
    assert_eq!(hub.asked("status")["agents"], 1, "the old certificate is shown on");

    fs::write(&certificate, old).unwrap();
    let renewed = swarm(&["ca", "renew", &cluster.path("ca"), "hub", "--out", &cluster.path("hub")]);
    assert_eq!(renewed.code, Some(0), "{}", renewed.stderr);
    let config = fs::read_to_string(cluster.path("hub.toml")).unwrap();
    cluster.folder.write("hub.toml", format!("log = \"info,swarm_actors=trace\"\n{config}"));
    hub.node.signal("HUP");
    hub.node.says("the identity was replaced");
    hub.node.says("certificates and log level were read again");
    hub.node.says("heartbeat");
    let after = hub.agent_since();
    assert!(after > before, "the agent has been connected all the time: {before} s, then {after} s");

    // The agent shows its renewed certificate in another session, and keeps its place.
    let renewed = swarm(&["ca", "renew", &cluster.path("ca"), "agent-1", "--out", &cluster.path("agent-1")]);
    assert_eq!(renewed.code, Some(0), "{}", renewed.stderr);
    agent.signal("HUP");
    agent.says("another session took over");
    let log = hub.node.says("another session took over");
    assert!(!log.contains("\"message\":\"session ended\",\"peer\":\"agent-1\""), "{log}");
    assert!(hub.agent_since() > after, "connected without a break");
    hub.node.signal("TERM");
    hub.node.finish().fails(143, &["stopped by SIGTERM"]);
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let cluster = Cluster::new("ops_precedence");
    let file = cluster.coordinator("listen = \"127.0.0.1:0\"");
    let listens = |environment: &[(&str, &str)], flags: &[&str]| {
        let arguments = [&["node", "--config", &file], flags].concat();
        let mut node = Running::start_in(environment, &arguments);
        node.listens_on().ip().to_string()
    };
    let environment = [("SWARM_LISTEN", "127.0.0.2:0")];
    assert_eq!(listens(&[], &[]), "127.0.0.1");
    assert_eq!(listens(&environment, &[]), "127.0.0.2");
    assert_eq!(listens(&environment, &["--listen", "127.0.0.3:0"]), "127.0.0.3");

    let wrong = [("SWARM_LISTEN", "everywhere")];
    swarm_in(&wrong, &["node", "--config", &file])
        .fails(78, &["the variable SWARM_LISTEN is \"everywhere\""]);
    let check = |text: &str| swarm(&["config", "check", &cluster.folder.write("checked.toml", text)]);
    let valid = fs::read_to_string(&file).unwrap();
    assert_eq!(check(&valid).code, Some(0));
    check(&format!("{valid}lisen = 3\n")).fails(78, &["checked.toml:5:1: unknown key `lisen`"]);
    check(&format!("{valid}log = \"a=loud\"\n")).fails(78, &["checked.toml:5:7: ", "is no filter for logs"]);
}

#[test]
fn logs_that_no_terminal_shows_are_lines_of_json() {
    let cluster = Cluster::new("ops_json_logs");
    let mut hub = Hub::start(&cluster);
    hub.asked("status");
    hub.node.says("session ended");
    hub.node.signal("TERM");
    let Run { stderr, .. } = hub.node.finish();
    let (logs, last) = stderr.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(last, "swarm: stopped by SIGTERM", "the sentence that every command ends with");
    for line in logs.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["timestamp"].is_string() && line["level"] == "INFO", "{line}");
    }
    assert!(logs.contains("\"peer\":\"desk\""), "{logs}");
}
