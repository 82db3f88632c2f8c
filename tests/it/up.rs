//! `swarm up`: real processes, the same results whatever happens to them, nothing left behind.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::ops::project;
use crate::processes::{Running, eventually, is_running, signal_to, ticks};
use crate::{Folder, Run, swarm};

fn star() -> String {
    let star = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/topologies/star.toml");
    star.to_str().unwrap().to_owned()
}

/// The star with its job twenty times, which is long enough to do something to its agents meanwhile.
fn long_star(folder: &Folder) -> String {
    let text = std::fs::read_to_string(star()).unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/us_equity");
    let text = text.replace("../data/us_equity", data.to_str().unwrap());
    let (nodes, job) = text.split_once("[[jobs]]").unwrap();
    let numbered = |number| job.replace("name = \"similar-windows\"", &format!("name = \"job-{number}\""));
    let jobs: String = (0..20).map(|number| format!("[[jobs]]{}\n", numbered(number))).collect();
    folder.write("long.toml", format!("{nodes}{jobs}"))
}

/// A coordinator that listens on `listen` and an agent, with a job on the data in `folder`.
fn topology(listen: &str, symbols: &str) -> String {
    format!(
        r#"name = "pair"
[[nodes]]
name = "hub"
role = "coordinator"
listen = "{listen}"
[[nodes]]
name = "agent-1"
role = "agent"
agent_type = "pattern-matcher"
connect = ["hub"]
[[jobs]]
name = "daily"
kind = "similar-windows"
data = "."
symbols = [{symbols}]
"#
    )
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn assert_gone(nodes: &[(String, u32)]) {
    for (name, pid) in nodes {
        assert!(!is_running(*pid), "{name} with pid {pid} is left");
    }
}

#[test]
fn the_star_finds_the_same_windows_when_an_agent_is_killed() {
    let plain = Running::start(&["up", &star(), "-o", "json"]);
    let nodes = plain.nodes(5);
    let plain = plain.finish();
    assert_eq!(plain.stderr, "", "nothing to warn of, and no progress beside JSON");
    let plain = plain.json();
    assert_gone(&nodes);
    check_shape(&plain, &nodes);

    let folder = Folder::new("up-killed");
    let killed = Running::start(&["up", &long_star(&folder), "-o", "json"]);
    let nodes = killed.nodes(5);
    let (_, agent) = nodes.iter().find(|(name, _)| name == "agent-2").unwrap();
    // Joining takes a few ticks; an agent that has computed for longer has a part of the job.
    eventually("the agent works", || (ticks(*agent) > 15).then_some(()));
    assert!(signal_to(*agent, "KILL"));
    let killed = killed.finish();
    assert!(
        killed.stderr.contains(&format!("the agent agent-2 (pid {agent}) ended: signal: 9")),
        "{}",
        killed.stderr
    );
    let killed = killed.json();
    let jobs = killed["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 20);
    assert!(jobs.iter().all(|job| job["result"] == plain["jobs"][0]["result"]));
    assert_eq!(killed["nodes"].as_array().unwrap().len(), 5);
    assert_gone(&nodes);
}

fn check_shape(outcome: &Value, processes: &[(String, u32)]) {
    assert_eq!(keys(outcome), ["jobs", "messages", "nodes", "topology"]);
    assert_eq!(outcome["topology"], "star");
    let nodes = outcome["nodes"].as_array().unwrap();
    for node in nodes {
        assert_eq!(keys(node), ["address", "name", "pid", "role"]);
        let address = node["address"].as_str().unwrap();
        assert!(address.parse::<std::net::SocketAddr>().unwrap().port() > 0, "{address}");
    }
    let mut ours: Vec<_> = processes.iter().map(|(name, pid)| (name.as_str(), u64::from(*pid))).collect();
    ours.sort_unstable();
    let mut told: Vec<_> =
        nodes.iter().map(|node| (node["name"].as_str().unwrap(), node["pid"].as_u64().unwrap())).collect();
    told.sort_unstable();
    assert_eq!(told, ours);
    assert_eq!((&nodes[0]["role"], &nodes[1]["role"]), (&"coordinator".into(), &"agent".into()));

    let job = &outcome["jobs"][0];
    assert_eq!(keys(job), ["agents_used", "credits", "kind", "name", "result", "seconds"]);
    assert_eq!((&job["kind"], &job["credits"]), (&"similar-windows".into(), &Value::Null));
    assert_eq!(job["agents_used"], 4);
    assert!(job["seconds"].as_f64().unwrap() > 0.0);
    let symbols = job["result"]["symbols"].as_array().unwrap();
    assert_eq!(symbols.len(), 9);
    for symbol in symbols {
        assert_eq!((&symbol["candidates"], symbol["matches"].as_array().unwrap().len()), (&45_416.into(), 5));
    }
    let messages = &outcome["messages"];
    assert_eq!(keys(messages), ["p50_us", "p99_us", "received", "sent"]);
    for key in ["p50_us", "p99_us", "received", "sent"] {
        assert!(messages[key].as_u64().unwrap() > 0, "{key}");
    }
}

#[test]
fn an_agent_that_dies_before_it_is_ready_holds_up_nothing() {
    let run = Running::start(&["up", &star(), "--full"]);
    let (_, agent) = run.nodes(5).into_iter().find(|(name, _)| name == "agent-3").unwrap();
    signal_to(agent, "KILL");
    let Run { code, stdout, stderr } = run.finish();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains(&format!("agent-3 (pid {agent}) ended")), "{stderr}");
    for part in ["compared with 45,416 windows", "Done by ", "agent-4      agent ", "The coordinator sent "] {
        assert!(stdout.contains(part), "{part:?} is missing in {stdout}");
    }
}

#[test]
fn c6_what_ran_and_what_to_try_next_is_said_in_few_lines() {
    let Run { code, stdout, stderr } = Running::start(&["up", &star()]).finish();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.lines().count() < 25, "{stdout}");
    for part in [
        "ran as 5 processes of this machine: the coordinator coordinator and 4 agents",
        "(similar-windows), done by ",
        "most like its last 60 bars",
        "`--full`",
        "`--keep`",
        "kill an agent",
        "an actor of your own",
    ] {
        assert!(stdout.contains(part), "{part:?} is missing in {stdout}");
    }
}

#[test]
fn t5_a_swarm_whose_agents_all_die_does_its_job_with_those_that_are_started_again() {
    let run = Running::start(&["up", &star(), "-o", "json"]);
    let nodes = run.nodes(5);
    for (_, pid) in nodes.iter().filter(|(name, _)| name != "coordinator") {
        signal_to(*pid, "KILL");
    }
    let run = run.finish();
    assert_eq!(
        run.stderr.matches("ended: signal: 9 (SIGKILL); it is started again").count(),
        4,
        "{}",
        run.stderr
    );
    let outcome = run.json();
    assert_eq!(outcome["jobs"][0]["result"]["symbols"][0]["candidates"], 45_416);
    let again = outcome["nodes"].as_array().unwrap().iter();
    let again: Vec<u64> = again.map(|node| node["pid"].as_u64().unwrap()).collect();
    assert!(nodes.iter().all(|(name, pid)| again.contains(&u64::from(*pid)) == (name == "coordinator")));
}

#[test]
fn a_swarm_without_its_coordinator_fails() {
    let run = Running::start(&["up", &star(), "-o", "json"]);
    let nodes = run.nodes(5);
    let (_, coordinator) = nodes.iter().find(|(name, _)| name == "coordinator").unwrap();
    signal_to(*coordinator, "KILL");
    run.finish().fails(69, &[&format!("the coordinator coordinator (pid {coordinator}) ended: signal: 9")]);
    assert_gone(&nodes);
}

#[test]
fn ctrl_c_leaves_nothing() {
    let run = Running::start(&["up", &star(), "-o", "json"]);
    let nodes = run.nodes(5);
    run.signal("INT");
    run.finish().fails(130, &["stopped by SIGINT"]);
    assert_gone(&nodes);
}

#[test]
fn a_second_signal_does_not_wait_for_a_node_that_hangs() {
    let run = Running::start(&["up", &star(), "-o", "json"]);
    let nodes = run.nodes(5);
    let (hanging, others): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|(name, _)| name == "agent-1");
    assert!(signal_to(hanging[0].1, "STOP"));
    run.signal("INT");
    let stopping = || others.iter().any(|(_, pid)| !is_running(*pid)).then_some(());
    eventually("the first signal is heeded", stopping);
    run.signal("INT");
    assert_eq!(run.finish().code, Some(130));
    // It may have been killed already, on a machine that is slow enough.
    signal_to(hanging[0].1, "CONT");
    let gone = || others.iter().chain(&hanging).all(|(_, pid)| !is_running(*pid)).then_some(());
    eventually("the end of the nodes", gone);
}

#[test]
fn an_agent_that_hangs_is_done_without_and_killed_in_the_end() {
    let folder = Folder::new("up-hanging");
    let run = Running::start(&["up", &long_star(&folder), "-o", "json"]);
    let nodes = run.nodes(5);
    let (_, agent) = nodes.iter().find(|(name, _)| name == "agent-4").unwrap();
    eventually("the agent works", || (ticks(*agent) > 15).then_some(()));
    assert!(signal_to(*agent, "STOP"));
    let run = run.finish();
    let said = format!("the agent agent-4 (pid {agent}) did not stop within");
    assert!(run.stderr.contains(&said), "{}", run.stderr);
    let run = run.json();
    let jobs = run["jobs"].as_array().unwrap();
    assert!(jobs.iter().all(|job| job["result"]["symbols"][0]["candidates"] == 45_416));
    assert_gone(&nodes);
}

#[test]
fn nodes_end_with_their_parent_even_when_it_is_killed() {
    let run = Running::start(&["up", &star(), "-o", "json"]);
    let nodes = run.nodes(5);
    run.signal("KILL");
    assert_eq!(run.finish().code, None);
    eventually("the end of the nodes", || nodes.iter().all(|(_, pid)| !is_running(*pid)).then_some(()));
}

#[test]
fn a_kept_swarm_runs_until_a_signal() {
    let mut run = Running::start(&["up", &star(), "--keep", "-o", "json"]);
    let nodes = run.nodes(5);
    let address = run.listens_on();
    let outcome: Value = serde_json::from_str(&run.stdout()).unwrap();
    assert_eq!(outcome["nodes"][0]["address"], address.to_string());
    assert!(nodes.iter().all(|(_, pid)| is_running(*pid)));
    run.signal("TERM");
    let run = run.finish();
    assert_eq!(run.code, Some(143), "{}", run.stderr);
    assert!(run.stderr.contains("stopped by SIGTERM"), "{}", run.stderr);
    assert_gone(&nodes);
}

#[test]
fn what_cannot_be_started_is_said_with_its_place() {
    let folder = Folder::new("up_refused");
    let faulty = folder.write("faulty.toml", "name = 1\nnodes = []\n");
    swarm(&["up", &faulty]).fails(78, &["faulty.toml:1:8: "]);
    swarm(&["up", &folder.path("none.toml")]).fails(78, &["cannot read", "none.toml"]);

    let no_data = folder.write("no-data.toml", topology("127.0.0.1:0", "\"SPY\""));
    swarm(&["up", &no_data]).fails(78, &["no-data.toml:", "holds no bars of SPY", "spy_daily.csv.gz"]);

    let occupied = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = occupied.local_addr().unwrap().to_string();
    let busy = folder.write(
        "busy.toml",
        topology(&address, "\"SPY\"").replace("\".\"", &format!("{:?}", project("examples/data/us_equity"))),
    );
    swarm(&["up", &busy]).fails(
        75,
        &["the coordinator hub did not start: exit status: 75", &format!("cannot listen on {address}")],
    );
}

#[test]
fn too_few_files_are_an_error_in_a_sentence() {
    let node =
        ["ulimit -n 8; exec \"$0\" up \"$1\"", env!("CARGO_BIN_EXE_swarm"), &star()].map(str::to_owned);
    let output = Command::new("sh").arg("-c").args(node).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("swarm: cannot open enough files"), "{stderr}");
}

/// A swarm without jobs, with an agent of which the file says `rest`.
fn idle(coordinator: &str, rest: &str) -> String {
    let whole = topology(coordinator, "");
    let (nodes, _) = whole.split_once("[[jobs]]").unwrap();
    format!("{nodes}{rest}\n")
}

#[test]
fn agents_that_cannot_start_end_the_swarm_with_what_they_said() {
    let folder = Folder::new("up_no_agent");
    let occupied = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = occupied.local_addr().unwrap();
    let said = format!("agent-1: cannot listen on {address}");
    let busy = folder.write("busy.toml", idle("127.0.0.1:0", &format!("listen = \"{address}\"")));
    for options in [&[][..], &["--keep"]] {
        let run = Running::start(&[&["up", &busy], options].concat());
        run.finish().fails(75, &["no agent is left, all 1 have ended", &said]);
    }
}

#[test]
fn t5_a_kept_swarm_ends_when_its_last_agent_has_died_four_times() {
    let file = Folder::new("up_kept").write("idle.toml", idle("127.0.0.1:0", ""));
    let mut run = Running::start(&["up", &file, "--keep", "-o", "json"]);
    let nodes = run.nodes(2);
    run.listens_on();
    let mut killed = BTreeSet::new();
    while killed.len() < 4 {
        let agents =
            run.nodes(2).into_iter().filter(|(name, pid)| name == "agent-1" && !killed.contains(pid));
        for (_, pid) in agents.collect::<Vec<_>>() {
            assert!(signal_to(pid, "KILL"));
            killed.insert(pid);
        }
    }
    let run = run.finish();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("no agent is left, all 1 have ended"), "{}", run.stderr);
    assert_gone(&nodes);
}

#[test]
fn agents_follow_their_coordinator_to_ipv6() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let file = Folder::new("up_ipv6").write("idle.toml", idle("[::1]:0", ""));
    let outcome = swarm(&["up", &file, "-o", "json"]).json();
    assert!(outcome["nodes"][1]["address"].as_str().unwrap().starts_with("[::1]:"), "{outcome}");
}

#[test]
fn an_agent_that_hangs_at_its_start_is_not_waited_for() {
    let run = Running::start(&["up", &star(), "-o", "json"]);
    let nodes = run.nodes(5);
    let (_, agent) = nodes.iter().find(|(name, _)| name == "agent-1").unwrap();
    // Where it was ready already, it hangs in its work, which ends as well.
    assert!(signal_to(*agent, "STOP"));
    let run = run.finish();
    assert!(!run.stderr.contains("did not get ready within"), "{}", run.stderr);
    assert_eq!(run.json()["jobs"][0]["result"]["symbols"][0]["candidates"], 45_416);
    assert_gone(&nodes);
}
