//! Searches, classifications, distances and correlations by the agents of a swarm: the same answers as on one
//! machine, however many agents there are and whatever becomes of them.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ca::Cluster;
use crate::ops::Hub;
use crate::processes::{Running, eventually, ticks};
use crate::swarm;

/// A walk of few different steps, so that there are windows which are alike.
fn walk(length: usize, seed: u64) -> Vec<f64> {
    let (mut state, mut level) = (seed, 100.0);
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        level += ((state >> 33) % 5) as f64 - 2.0;
        level
    };
    std::iter::repeat_with(step).take(length).collect()
}

/// A table with a column for each series.
fn csv(series: &[Vec<f64>]) -> String {
    let mut text: String = (0..series.len()).map(|column| format!("s{column},")).collect();
    text.pop();
    for row in 0..series[0].len() {
        let values: Vec<String> = series.iter().map(|values| values[row].to_string()).collect();
        write!(text, "\n{}", values.join(",")).unwrap();
    }
    text
}

fn ucr(count: usize, points: usize, seed: u64) -> String {
    let row = |i: usize| {
        let values: String = walk(points + i % 3, seed + i as u64).iter().map(|v| format!("\t{v}")).collect();
        format!("{}{values}\n", i % 4)
    };
    (0..count).map(row).collect()
}

fn lines(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

/// A command whose answer is the same here and there.
struct Command {
    arguments: Vec<String>,
    /// The word for its tasks.
    kind: &'static str,
    /// How many parts its first task has at least.
    parts: u64,
}

impl Command {
    fn new(kind: &'static str, parts: u64, text: &str) -> Self {
        let arguments = text.split(' ').map(str::to_owned).collect();
        Self { arguments, kind, parts }
    }

    /// What it prints, without what depends on how it was done.
    fn answer(&self, more: &[&str]) -> Value {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).chain(["-o", "json"]).collect();
        let mut answer = swarm(&[&arguments[..], more].concat()).json();
        for varying in ["seconds", "pruned"] {
            answer.as_object_mut().unwrap().remove(varying);
        }
        answer
    }
}

fn commands(cluster: &Cluster) -> Vec<Command> {
    let write = |name: &str, text: String| cluster.folder.write(name, text);
    let series = write("series.csv", csv(&[walk(6_000, 3)]));
    let (train, test) = (write("train", ucr(18, 90, 10)), write("test", ucr(90, 90, 500)));
    let (a, b) = (write("a", lines(&walk(300, 1))), write("b", lines(&walk(260, 2))));
    let table = write("table.csv", csv(&(0..24).map(|i| walk(200, 40 + i)).collect::<Vec<_>>()));
    let mut gapped = csv(&(0..9).map(|i| walk(60, 80 + i)).collect::<Vec<_>>());
    gapped = gapped.replacen(",101,", ",,", 3);
    let gapped = write("gapped.csv", gapped);
    let search = format!(
        "match search --series {series} --column s0 --query {series} --query-column s0 --query-start 2900 \
         --query-length 64 --window 16 --top"
    );
    let classify = format!("match classify --train {train} --test {test}");
    let distance = format!("match distance {a} {b}");
    vec![
        Command::new("search", 2, &format!("{search} 1")),
        Command::new("search", 2, &format!("{search} 70")),
        Command::new("classify", 2, &classify),
        Command::new("classify", 1, &format!("{classify} --band 10")),
        Command::new("distance", 1, &format!("{distance} --znormalize --path")),
        Command::new("distance", 1, &format!("{distance} --band 15")),
        Command::new("correlate", 1, &format!("correlate --input {table}")),
        Command::new("correlate", 1, &format!("correlate --input {gapped} --method spearman")),
        Command::new("correlate", 1, &format!("correlate --input {table} --method lcss --epsilon 0.1")),
        Command::new("correlate", 2, &format!("correlate --input {table} --method dtw")),
    ]
}

/// Starts an agent with one thread, and waits until it can be given work.
fn agent(cluster: &Cluster, hub: &Hub, name: &str) -> Running {
    let file = cluster.agent_called(name, "hub", &hub.address, "workers = 1");
    let agent = Running::start(&["node", "--config", &file]);
    eventually("the agent", || {
        let agents = hub.asked("agents");
        agents.as_array().unwrap().iter().any(|agent| agent["name"] == name).then_some(())
    });
    agent
}

impl Hub {
    fn connect(&self) -> [&str; 4] {
        ["--connect", &self.address, "--identity", &self.operator]
    }

    /// The task that was submitted last.
    fn last_task(&self) -> Option<Value> {
        self.asked("tasks").get(0).cloned()
    }
}

#[test]
fn a_swarm_of_any_size_answers_as_one_machine_does() {
    let cluster = Cluster::new("spread_same");
    let commands = commands(&cluster);
    let expected: Vec<Value> = commands.iter().map(|command| command.answer(&[])).collect();
    assert_eq!(expected[1]["matches"].as_array().unwrap().len(), 70, "matches crowd each other");
    let hub = Hub::start(&cluster);
    let mut agents = Vec::new();
    for count in 1..=3 {
        agents.push(agent(&cluster, &hub, &format!("agent-{count}")));
        for (command, expected) in commands.iter().zip(&expected) {
            assert_eq!(command.answer(&hub.connect()), *expected, "{count} agents: {:?}", command.arguments);
            let tasks = hub.asked("tasks");
            let newest = &tasks[0];
            assert_eq!((&newest["kind"], &newest["state"]), (&json!(command.kind), &json!("done")));
            let totals =
                tasks.as_array().unwrap().iter().map(|task| task["progress"]["total"].as_u64().unwrap());
            assert!(totals.max().unwrap() >= command.parts, "{tasks}");
        }
    }
    let summaries = hub.asked("agents");
    for summary in summaries.as_array().unwrap() {
        assert!(summary["answered"].as_u64().unwrap() > 0, "{summaries}");
        assert_eq!(summary["protocols"], json!(["correlator", "pattern-matcher", "series-matcher"]));
    }
}

#[test]
fn an_agent_that_is_killed_with_work_in_hand_changes_nothing() {
    let cluster = Cluster::new("spread_killed");
    let commands = commands(&cluster);
    let command = &commands[2];
    let expected = command.answer(&[]);
    let hub = Hub::start(&cluster);
    let agents = ["agent-1", "agent-2"].map(|name| agent(&cluster, &hub, name));
    // It takes its units, and is stopped before it can answer any.
    agents[0].signal("STOP");
    let arguments: Vec<&str> = command.arguments.iter().map(String::as_str).collect();
    let arguments = [&arguments[..], &["-o", "json"], &hub.connect()].concat();
    let running = Running::start(&arguments);
    eventually("a unit that is done", || {
        let task = hub.last_task()?;
        let (done, assigned) = (task["progress"]["done"].as_u64()?, task["progress"]["assigned"].as_u64()?);
        assert_eq!(task["state"], "running", "{task}");
        (done >= 1 && assigned >= 1).then_some(())
    });
    agents[0].signal("KILL");
    let mut found = running.finish().json();
    found.as_object_mut().unwrap().remove("seconds");
    assert_eq!(found, expected);
    let summaries = hub.asked("agents");
    assert_eq!((summaries.as_array().unwrap().len(), &summaries[0]["name"]), (1, &json!("agent-2")));
}

#[test]
fn a_coordinator_that_is_restarted_with_work_in_hand_changes_nothing() {
    let cluster = Cluster::new("spread_restarted");
    let commands = commands(&cluster);
    let command = &commands[2];
    let expected = command.answer(&[]);
    let mut hub = Hub::start(&cluster);
    let worker = agent(&cluster, &hub, "agent-1");
    let other = cluster.agent_called("agent-2", "hub", &hub.address, "workers = 1");
    let arguments: Vec<&str> = command.arguments.iter().map(String::as_str).collect();
    for signal in ["KILL", "TERM"] {
        worker.signal("STOP");
        let running = Running::start(&[&arguments[..], &["-o", "json"], &hub.connect()].concat());
        eventually("a unit in hand", || {
            hub.last_task()?["progress"]["assigned"].as_u64().filter(|assigned| *assigned >= 1)
        });
        hub.node.signal(signal);
        // While it drains it takes nobody, and an agent that is started then does not give up.
        let newcomer = (signal == "TERM").then(|| {
            let mut newcomer = Running::start(&["node", "--config", &other]);
            newcomer.says("it is tried again for");
            newcomer
        });
        hub.restart(&cluster);
        worker.signal("CONT");
        let run = running.finish();
        assert_eq!(run.stderr.matches("the task is submitted again").count(), 1, "{}", run.stderr);
        let mut found = run.json();
        found.as_object_mut().unwrap().remove("seconds");
        assert_eq!(found, expected);
        newcomer.into_iter().for_each(|mut newcomer| drop(newcomer.says("the agent agent-2 is ready")));
    }
}

#[test]
fn ctrl_c_cancels_at_the_coordinator_and_at_the_agents() {
    let cluster = Cluster::new("spread_cancelled");
    // Hours of it: nothing is like anything else, and warping may go anywhere.
    let table = cluster.folder.write("table.csv", csv(&[walk(60_000, 7)]));
    let hub = Hub::start(&cluster);
    let agent = agent(&cluster, &hub, "agent-1");
    let search = format!(
        "match search --series {table} --column s0 --query {table} --query-column s0 --query-start 0 \
         --query-length 2000 --window 2000 --top 30"
    );
    let arguments: Vec<&str> = search.split(' ').collect();
    let mut running = Running::start(&[&arguments[..], &hub.connect()].concat());
    running.says(" parts done");
    let before = ticks(agent.id());
    eventually("work at the agent", || (ticks(agent.id()) > before + 20).then_some(()));
    running.signal("INT");
    running.finish().fails(130, &["stopped by SIGINT"]);
    eventually("the end of the task", || (hub.last_task()?["state"] == "cancelled").then_some(()));
    eventually("the end of the work", || {
        let before = ticks(agent.id());
        thread::sleep(Duration::from_millis(300));
        (ticks(agent.id()) <= before + 3).then_some(())
    });
}

#[test]
fn what_is_wrong_is_said_as_on_one_machine() {
    let cluster = Cluster::new("spread_wrong");
    let hub = Hub::start(&cluster);
    let (a, large) = (cluster.folder.write("a", "1\n2\n"), cluster.folder.write("large", "1\n1e101\n"));
    let connect = hub.connect();
    let distance = |rest: &[&str]| swarm(&[&["match", "distance"], rest].concat());
    distance(&[&[a.as_str(), &large], &connect[..]].concat()).fails(65, &["large:2:1: ", "1e101"]);
    distance(&[&a, &cluster.path("none"), connect[0], connect[1]]).fails(65, &["none"]);
    distance(&[&a, &a, "--identity", &hub.operator]).fails(2, &["--connect"]);
    let none = distance(&[&[a.as_str(), &a], &connect[..]].concat());
    none.fails(1, &["no agent exposes the protocol \"series-matcher\""]);
    let best = |rows: usize, more: &[&str]| {
        let series = cluster.folder.write("series.csv", csv(&[walk(rows, 1)]));
        let search = format!(
            "match search --series {series} --column s0 --query {series} --query-column s0 --query-start 0 \
             --query-length 2 --window 1 --top 65537"
        );
        swarm(&[&search.split(' ').collect::<Vec<_>>()[..], more].concat())
    };
    assert_eq!(best(65_537, &[]).code, Some(0), "no limit here");
    best(65_537, &connect).fails(2, &["a swarm finds up to 65536"]);
    best(65_536, &connect).fails(1, &["no agent exposes"]);
}

#[test]
fn a_job_that_never_fits_into_its_coordinator_is_refused_for_good() {
    let cluster = Cluster::new("spread-never");
    // A message has 1 MiB, and the content of all tasks 4.1 MiB.
    let hub = Hub::start_with(&cluster, "memory_mib = 24");
    let train = |count| cluster.folder.write("train", ucr(count, 18_000, 1));
    let test = cluster.folder.write("test", ucr(1, 18_000, 7));
    // In blocks of six series: half of the content is too little, or all of it.
    for series in [20, 60] {
        let classify = ["match", "classify", "--train", &train(series), "--test", &test];
        let there = ["--connect", &hub.address, "--identity", &hub.operator];
        swarm(&[&classify[..], &there].concat())
            .fails(1, &["its inputs take ", "no client may have more than 2", "(memory_mib of its node)"]);
    }
}
