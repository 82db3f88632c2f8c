//! What a topology may say, and what is said of one that may not.

use super::*;

const CORES: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");

fn parse(text: &str) -> Result<Topology, ConfigError> {
    let mut document = Document::new(Path::new("swarm.toml"), text);
    let sections = document.sections()?;
    Topology::parse(&mut document, sections, CORES)
}

/// The faults of a topology as `line:column: message`.
fn faults(text: &str) -> Vec<String> {
    match parse(text) {
        Err(ConfigError::Invalid(faults)) => faults
            .iter()
            .map(|fault| fault.to_string().strip_prefix("swarm.toml:").unwrap().to_owned())
            .collect(),
        other => panic!("{other:?}"),
    }
}

const VALID: &str = r#"name = "star"
[[nodes]]
name = "hub"
role = "coordinator"
listen = "0.0.0.0:7400"
[[nodes]]
name = "agent-1"
role = "agent"
agent_type = "pattern-matcher"
connect = ["hub"]
[[nodes]]
name = "agent-2"
role = "agent"
agent_type = "pattern-matcher"
connect = ["hub"]
workers = 3
[[jobs]]
name = "daily"
kind = "similar-windows"
data = "examples/data/us_equity"
symbols = ["SPY", "AAPL"]
"#;

#[test]
fn a_topology_says_what_is_to_be_started() {
    let topology = parse(VALID).unwrap();
    assert_eq!(topology.name.to_string(), "star");
    assert_eq!(topology.coordinator.name.as_str(), "hub");
    assert_eq!(topology.coordinator.listen.to_string(), "0.0.0.0:7400");
    let agents: Vec<_> = topology.agents.iter().map(|a| (a.name.as_str(), a.workers.get())).collect();
    assert_eq!(agents, [("agent-1", 4), ("agent-2", 3)], "eight cores shared by two agents");
    assert!(topology.agents.iter().all(|agent| agent.listen.to_string() == "127.0.0.1:0"));
    let Job { name, kind, job } = &topology.jobs[0];
    assert_eq!((name.to_string().as_str(), kind.word), ("daily", "similar-windows"));
    let described =
        "SimilarWindows { data: \"examples/data/us_equity\", symbols: [Symbol(\"SPY\"), Symbol(\"AAPL\")] }";
    assert_eq!(format!("{job:?}"), described);
}

#[test]
fn the_example_is_valid_and_finds_its_data() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/topologies/star.toml");
    let topology = Topology::read(&file, CORES).unwrap();
    assert_eq!((topology.agents.len(), topology.jobs.len()), (4, 1));
}

#[test]
fn faults_are_found_in_every_section_at_once() {
    let text = VALID
        .replace("\"star\"", "7")
        .replace("\"agent-1\"", "\"Agent 1\"")
        .replace("workers = 3", "wokers = 3")
        + "[[links]]\n";
    let found = faults(&text);
    for (fault, expected) in found.iter().zip([
        "1:8: expected a text in quotes, found the number 7",
        "7:8: \"Agent 1\" is no valid name: 63 or fewer",
        "16:1: unknown key `wokers`, expected one of `name`, `role`, `listen`",
        "22:3: unknown key `links`, expected are `name`, [[nodes]] and [[jobs]]",
    ]) {
        assert!(fault.starts_with(expected), "{fault}\nis not\n{expected}");
    }
    assert_eq!(found.len(), 4);
}

#[test]
fn what_nodes_and_jobs_say_about_one_another_is_checked() {
    let text = VALID
        .replace("\"agent-2\"", "\"agent-1\"")
        .replacen("[\"hub\"]", "[\"hob\"]", 1)
        .replace("agent_type = \"pattern-matcher\"\nconnect = [\"hub\"]\nworkers", "workers")
        .replace("data = \"examples/data/us_equity\"", "data = \"nowhere\"")
        .replace("\"AAPL\"", "\"SPY\", \"../A\"");
    assert_eq!(
        faults(&text),
        [
            "10:12: no coordinator is called hob",
            "12:8: two nodes are called agent-1",
            "12:8: `connect` of agent-1 is missing: coordinators are expected",
            "12:8: `agent_type` of agent-1 is missing: pattern-matcher is expected",
            "18:8: nowhere: there is no such folder",
            "19:19: two symbols are called SPY",
            "19:26: \"../A\" is no symbol: 24 or fewer capital letters, digits, dots and hyphens are expected, \
             with a letter or a digit at the beginning",
        ]
    );
}

#[test]
fn there_is_one_coordinator_and_a_job_has_its_agents() {
    for role in ["operator", "worker"] {
        assert_eq!(
            faults(&VALID.replace("role = \"coordinator\"", &format!("role = \"{role}\""))),
            [format!("4:8: unknown word `{role}`, expected `coordinator` or `agent`")]
        );
    }
    let two = VALID.replace("role = \"agent\"", "role = \"coordinator\"");
    assert_eq!(
        faults(&two),
        [
            "8:8: a second coordinator, one is expected",
            "13:8: a second coordinator, one is expected",
            "19:8: the job similar-windows needs an agent of the type pattern-matcher",
        ]
    );
    let idle = VALID.replace("listen = \"0.0.0.0:7400\"", "workers = 2");
    assert_eq!(faults(&idle), ["5:11: `workers` belongs to agents, not to a coordinator"]);
}

#[test]
fn nodes_listen_where_they_reach_one_another() {
    let v6 = VALID.replace("0.0.0.0:7400", "[::1]:7400");
    assert!(parse(&v6).unwrap().agents.iter().all(|agent| agent.listen.to_string() == "[::1]:0"));
    let agent_on = |text: &str, address: &str| {
        text.replace("workers = 3", &format!("workers = 3\nlisten = \"{address}\""))
    };
    assert_eq!(
        faults(&agent_on(&v6, "127.0.0.1:0")),
        ["17:10: agent-2 cannot connect from 127.0.0.1:0 to [::1]:7400"]
    );
    assert_eq!(faults(&agent_on(VALID, "[::1]:0"))[0].split(' ').next(), Some("17:10:"));
    for fine in ["[::]:0", "127.0.0.1:7401", "0.0.0.0:7401"] {
        assert_eq!(parse(&agent_on(VALID, fine)).unwrap().agents[1].listen.to_string(), fine);
    }
    for (coordinator, agent) in [
        ("127.0.0.1:7400", "127.0.0.1:7400"),
        ("0.0.0.0:7400", "127.0.0.1:7400"),
        ("127.0.0.1:7400", "0.0.0.0:7400"),
    ] {
        assert_eq!(
            faults(&agent_on(&VALID.replace("0.0.0.0:7400", coordinator), agent)),
            [format!("17:10: another node listens on {agent} already")]
        );
    }
    for many in ["224.0.0.1:7401", "255.255.255.255:0", "[ff02::1]:0"] {
        let found = faults(&agent_on(VALID, many));
        assert_eq!(found, [format!("17:10: {many} is no address to listen on: it is that of many machines")]);
    }
}

#[test]
fn an_agent_connects_once_to_a_coordinator() {
    let twice = VALID.replacen("[\"hub\"]", "[\"hub\", \"hub\"]", 1);
    assert_eq!(faults(&twice), ["10:19: two entries of `connect` are called hub"]);
}

#[test]
fn broken_toml_has_a_place() {
    assert_eq!(
        faults("name = \"star\n"),
        ["1:13: expected a text that ends on its line, without control characters"]
    );
    assert_eq!(faults(""), ["1:1: `name` is missing"]);
    assert_eq!(
        faults("name = \"a\"\nnodes = 3"),
        ["2:9: tables [[nodes]] are expected, found is a value of type integer"]
    );
    assert_eq!(faults("a = \nb = \n").len(), 2);
}
