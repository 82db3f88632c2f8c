//! `swarm config check`.

use std::path::Path;

use crate::{Folder, Run, ca, ops, swarm, swarm_in};

#[test]
fn the_example_topology_is_valid() {
    let star = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/topologies/star.toml");
    let star = star.to_str().unwrap();
    assert_eq!(swarm(&["config", "check", star, "-o", "json"]).json(), serde_json::json!({"valid": true}));
    assert_eq!(swarm(&["config", "check", star]).stdout, "valid\n");
}

#[test]
fn every_fault_is_reported_with_its_place() {
    let folder = Folder::new("config_faults");
    let file = folder.write("swarm.toml", "name = 1\n[[nodes]]\nname = \"a\"\nrole = \"boss\"\n");
    let run = swarm(&["config", "check", &file, "-o", "json"]);
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    let answer: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(answer["valid"], false);
    let errors = answer["errors"].as_array().unwrap();
    let places: Vec<_> =
        errors.iter().map(|error| (error["line"].as_u64(), error["column"].as_u64())).collect();
    assert_eq!(places, [(Some(1), Some(8)), (Some(4), Some(8))]);
    for error in errors {
        assert_eq!(error["file"], file);
        assert!(run.stderr.contains(error["message"].as_str().unwrap()), "{}", run.stderr);
    }
    swarm(&["config", "check", &file])
        .fails(78, &["swarm.toml:1:8: ", "swarm.toml:4:8: ", "expected `coordinator` or `agent`"]);
}

#[test]
fn a_file_is_what_its_content_says() {
    let folder = Folder::new("config_kinds");
    let node = folder.write("node.toml", "name = \"a\"\nrole = \"agent\"\n");
    swarm(&["config", "check", &node]).fails(78, &["`listen` is missing"]);
    let neither = folder.write("other.toml", "name = \"a\"\n");
    swarm(&["config", "check", &neither]).fails(78, &["other.toml:1:1: neither a topology"]);
    let nearly = folder.write("nearly.toml", "name = \"a\"\n[[node]]\nname = \"hub\"\n");
    swarm(&["config", "check", &nearly])
        .fails(78, &["nearly.toml:2:3: `node` is not known: neither a topology, which has [[nodes]]"]);
    let silent = folder.write("silent.toml", "name = \"a\"\nrole = \"agent\"\nlog = \"wran\"\n");
    swarm(&["config", "check", &silent]).fails(78, &["silent.toml:3:7: ", "\"wran\" is neither a level"]);
    swarm(&["config", "check", &folder.path("none.toml")]).fails(78, &["cannot read", "none.toml"]);
}

#[test]
fn many_faults_are_counted_instead_of_listed() {
    let folder = Folder::new("config_many");
    let file = folder.write("swarm.toml", "[[nodes]]\nname = \"é\"\nrole = \"boss\"\n".repeat(20_000));
    let run = swarm(&["config", "check", &file, "-o", "json"]);
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    let answer: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 101);
    let place = |index: usize| (errors[index]["line"].as_u64(), errors[index]["column"].as_u64());
    assert_eq!((place(0), place(1), place(2)), ((Some(1), Some(1)), (Some(2), Some(8)), (Some(5), Some(8))));
    assert_eq!(errors[100]["message"], "and 19901 more faults from here on");
}

#[test]
fn text_that_is_not_utf8_has_a_place() {
    let file = Folder::new("config_utf8").write("swarm.toml", b"name = \"a\"\nname = \"\xc3\xa9\xff\"\n");
    swarm(&["config", "check", &file])
        .fails(78, &["swarm.toml:2:10: the text is not valid UTF-8, save it in that encoding"]);
}

const TWO_NODES: &str = "name = \"t\"\n\
    [[nodes]]\nname = \"hub\"\nrole = \"coordinator\"\n\
    [[nodes]]\nname = \"agent-1\"\nrole = \"agent\"\nagent_type = \"pattern-matcher\"\nconnect = [\"hub\"]\n";

#[test]
fn c1_a_check_names_a_symbol_without_bars_in_the_words_of_up_and_of_submit() {
    let folder = Folder::new("config_symbols");
    let data = ops::project("examples/data/us_equity");
    let job = format!("[[jobs]]\nname = \"j\"\nkind = \"similar-windows\"\ndata = \"{data}\"\n");
    let topology = folder.write("t.toml", format!("{TWO_NODES}{job}symbols = [\"SPY\", \"NONE\"]\n"));
    let said = format!("{data}: holds no bars of NONE: there is no none_daily.csv.gz");
    for command in [&["config", "check", &topology][..], &["up", &topology]] {
        swarm(command).fails(78, &[&format!("t.toml:14:19: {said}")]);
    }
    let task = ops::similar_windows(&folder, &["NONE"], "");
    let hub = ops::Hub::start(&ca::Cluster::new("config_symbols_hub"));
    let submit = ["submit", &task, "--connect", &hub.address, "--identity", &hub.operator];
    swarm(&submit).fails(65, &[&said]);

    let nowhere = folder.write("n.toml", format!("{TWO_NODES}{job}symbols = []\n").replace(&data, "none"));
    swarm(&["config", "check", &nowhere])
        .fails(78, &["n.toml:13:8: ", "none: there is no such folder", "no symbols"]);
    let task =
        folder.write("n.json", "{\"kind\": \"similar-windows\", \"data\": \"none\", \"symbols\": [\"A\"]}");
    let submit = ["submit", &task, "--connect", &hub.address, "--identity", &hub.operator];
    swarm(&submit).fails(65, &["none: there is no such folder"]);
}

#[test]
fn c1_a_check_names_an_identity_that_is_not_there() {
    let folder = Folder::new("config_identity");
    let text = "name = \"hub\"\nrole = \"coordinator\"\nlisten = \"127.0.0.1:0\"\nidentity = \"none\"\n";
    let file = folder.write("hub.toml", text);
    for command in [["config", "check", &file], ["node", "--config", &file]] {
        swarm(&command).fails(
            78,
            &["hub.toml:4:12: there is no folder ", "none: `swarm ca enrol` or `swarm ca issue` makes it"],
        );
    }
    fn says_who(run: Run, by: &str) {
        run.fails(78, &["hub.toml:1:1: there is no folder elsewhere", by]);
    }
    let variable = [("SWARM_IDENTITY", "elsewhere")];
    says_who(swarm_in(&variable, &["config", "check", &file]), "SWARM_IDENTITY names it");
    says_who(swarm_in(&variable, &["node", "--config", &file]), "SWARM_IDENTITY names it");
    says_who(swarm(&["node", "--config", &file, "--identity", "elsewhere"]), "--identity names it");
}

#[test]
fn c2_a_file_of_the_other_kind_is_called_what_it_is() {
    let folder = Folder::new("config_other_kind");
    let topology = folder.write("t.toml", TWO_NODES);
    let node = folder.write("n.toml", "name = \"hub\"\nrole = \"coordinator\"\nlisten = \"127.0.0.1:0\"\n");
    let one_fault = |run: Run, parts: &[&str]| {
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        run.fails(78, parts);
    };
    one_fault(swarm(&["up", &node]), &["n.toml:1:1: this is a node file, which `swarm node --config` runs"]);
    one_fault(
        swarm(&["node", "--config", &topology]),
        &["t.toml:1:1: this is a topology, which `swarm up` runs"],
    );
}

#[test]
fn c3_an_error_about_a_setting_says_which_variable_it_is_from() {
    let cluster = ca::Cluster::new("config_said_by");
    cluster.issue("hub", "coordinator");
    cluster.issue("other", "agent");
    let file = cluster.node("hub", "role = \"coordinator\"");
    let other = cluster.path("other");
    let foreign = [("SWARM_IDENTITY", other.as_str())];
    for command in [["config", "check", &file], ["node", "--config", &file]] {
        swarm_in(&foreign, &command)
            .fails(78, &["is the certificate of the agent other; SWARM_IDENTITY names it"]);
    }
    // An operator's commands read it too.
    swarm_in(&foreign, &["status", "--connect", "127.0.0.1:1"])
        .fails(77, &["that of the agent other, not of an operator; SWARM_IDENTITY names it"]);
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let busy = [("SWARM_LISTEN", address.as_str())];
    let said = format!("cannot listen on {address}");
    swarm_in(&busy, &["node", "--config", &file]).fails(75, &[&said, "; SWARM_LISTEN names it"]);
    let run = swarm(&["node", "--config", &file, "--listen", &address]);
    run.fails(75, &[&said, "; --listen names it"]);
    for (variable, wrong) in [
        ("SWARM_LISTEN", "here"),
        ("SWARM_LOG", "a=loud"),
        ("RUST_LOG", "a=loud"),
        ("SWARM_WORKERS", "0"),
        ("SWARM_RECONNECT_SECONDS", "-1"),
    ] {
        let run = swarm_in(&[(variable, wrong)], &["node", "--config", &file]);
        run.fails(78, &[&format!("the variable {variable} is {wrong:?}: ")]);
    }
}

#[test]
fn f14_faults_of_files_are_told_in_words_of_the_files() {
    let folder = Folder::new("config_words");
    const INSIDES: [&str; 12] = [
        "invalid type",
        "struct",
        "sequence",
        "variant",
        "i64",
        "u8",
        "i128",
        "f64",
        "key-value",
        "recurs",
        "ident",
        "EOF",
    ];
    let say = |run: Run, file: &str, expected: &str| {
        let said = run.stderr.replace(file, "");
        assert!(said.contains(expected), "{said:?} does not say {expected:?}");
        for word in INSIDES {
            assert!(!said.contains(word), "{word} in {said:?}");
        }
    };
    let node = "[[nodes]]\nname = \"a\"\nrole = \"coordinator\"\n";
    for (content, expected) in [
        (format!("name = 5\n{node}"), "expected a text in quotes, found the number 5"),
        (format!("name = [\"a\"]\n{node}"), "expected a text in quotes, found a list"),
        (
            format!("name = 2020-01-01\n{node}"),
            "expected a text in quotes, found a table or a date without quotes",
        ),
        (format!("name = true\n{node}"), "expected a text in quotes, found true"),
        (format!("name = \"x\"\n{node}workers = 1.5\n"), "expected a whole number, found the number 1.5"),
        (format!("name = \"x\"\n{node}workers = 99999999999999999999\n"), "expected a whole number, found"),
        (format!("name = \"x\"\n{node}connect = \"a\"\n"), "expected a list, found the text \"a\""),
        (format!("name = \"x\"\n{node}listen = 5\n"), "expected a text in quotes, found the number 5"),
        (
            node.replace("\"coordinator\"", "\"agnet\""),
            "unknown word `agnet`, expected `coordinator` or `agent`",
        ),
        (node.replace("\"coordinator\"", "5"), "expected a word in quotes"),
        (node.replace("\"coordinator\"", "{ agent = 1 }"), "expected a word in quotes"),
        (
            "nodes = [5]\nname = \"x\"\n".to_owned(),
            "expected a table [[nodes]] with `name` and `role`, found the number 5",
        ),
        ("nodes = [[]]\nname = \"x\"\n".to_owned(), "expected a table [[nodes]]"),
        (format!("name = \"x\"\njobs = [5]\n{node}"), "expected a table"),
        (format!("name = \"x\"\njobs = [[\"a\"]]\n{node}"), "expected a table, found a list of 1"),
        ("role = \"agent\"\nconnect = 5\n".to_owned(), "expected a list, found the number 5"),
        (
            "role = \"agent\"\nname = \"a\"\nmemory_mib = \"1\"\n".to_owned(),
            "expected a whole number, found the text",
        ),
        ("role = \"agent\"\nname = \"a\"\nidentity = 5\n".to_owned(), "expected a folder, or a table with"),
        ("{\"nodes\": []}".to_owned(), "a task file in JSON is for `swarm submit`"),
        (format!("name = t\n{node}"), "expected a value: a text in quotes"),
        ("null".to_owned(), "expected `=` and a value after the key"),
        ("[]".to_owned(), "expected the name of a key"),
        ("<html>".to_owned(), "expected a key of letters"),
        (format!("a = {}", "[".repeat(9_000)), "too many brackets within brackets"),
        (format!("name = x\n{node}"), "expected a value: a text in quotes"),
        (format!("name = \"x\n{node}"), "expected a text that ends on its line"),
    ] {
        let file = folder.write("file.toml", content);
        say(swarm(&["config", "check", &file]), &file, expected);
    }
    for (content, expected) in [
        ("{", "the file ends too early"),
        ("{\"kind\": nul}", "expected a value: a text in double quotes"),
        ("{\"kind\" 5}", "expected a colon"),
        ("{\"priority\": 1.5}", "expected a whole number, found the number 1.5"),
        ("{\"priority\": -1}", "-1 is no priority: 0 to 10 is expected"),
        ("{\"deadline_seconds\": []}", "expected a number, found a list"),
        ("{\"kind\": {}}", "expected the word for a kind of job, found an object"),
        ("{\"kind\": \"\\ud800\"}", "half of a character"),
        ("{\"kind\": \"a\nb\"}", "a line end or another control character"),
    ] {
        let file = folder.write("task.json", content);
        say(swarm(&["submit", &file, "--connect", "127.0.0.1:1"]), &file, expected);
    }
}

#[test]
fn c1_a_wrong_file_is_worded_alike_by_a_check_and_by_the_command_that_runs_it() {
    let folder = Folder::new("config_alike");
    let hub = "name = \"hub\"\nrole = \"coordinator\"\nlisten = \"127.0.0.1:0\"\n";
    let agent = TWO_NODES.replace("connect = [\"hub\"]\n", "");
    folder.write("file", "");
    for (command, text, said) in [
        (
            &["up"][..],
            format!("{agent}connect = [{{ name = \"hub\" }}]\n"),
            ":9:12: expected the name of the coordinator alone, such as \"hub\", found a table",
        ),
        (&["up"], format!("{agent}connect = \"hub\"\n"), ":9:11: expected a list, found the text \"hub\""),
        (
            &["up"],
            format!("{TWO_NODES}workers = \"4\"\n"),
            ":10:11: expected a whole number, found the text \"4\"",
        ),
        (&["up"], format!("jobs = [\"x\"]\n{TWO_NODES}"), ":1:9: expected a table, found the text \"x\""),
        (
            &["up"],
            "name = \"t\"\n[[node]]\nname = \"hub\"\n".to_owned(),
            ":2:3: `node` is not known: neither a topology",
        ),
        (&["up"], String::new(), ":1:1: neither a topology"),
        (&["up"], format!("\u{feff}x = 1\r\n{TWO_NODES}"), ":1:1: unknown key `x`"),
        (
            &["node", "--config"],
            "name = \"a\"\nroel = \"agent\"\n".to_owned(),
            ":2:1: `roel` is not known: neither a topology",
        ),
        (&["node", "--config"], "[node]\nrole = \"agent\"\n".to_owned(), ":1:2: `node` is not known"),
        (&["node", "--config"], format!("{hub}identity = \"file\"\n"), ":4:12: "),
        (&["node", "--config"], format!("{hub}identity = \".\"\n"), ":4:12: node certificate "),
        (
            &["node", "--config"],
            format!("{hub}identity = {{ certificate = \".\", key = \"file\", authority = \"file\" }}\n"),
            "is a directory, a file is expected",
        ),
        (
            &["node", "--config"],
            format!("{hub}identity = \".\"\nauthority = {{ folder = \"none\" }}\n"),
            "none: `swarm ca init` makes an authority",
        ),
        (
            &["node", "--config"],
            format!("{hub}identity = \".\"\nauthority = {{ folder = \"file\" }}\n"),
            "file is not a directory",
        ),
    ] {
        let file = folder.write("a.toml", text);
        let run = swarm(&[command, &[&file]].concat());
        run.fails(78, &["a.toml:", said]);
        let check = swarm(&["config", "check", &file, "-o", "json"]);
        assert_eq!((check.code, &check.stderr), (Some(78), &run.stderr), "{}", check.stdout);
        assert!(check.stdout.contains("\"valid\":false"), "{}", check.stdout);
    }
    let none = folder.path("none.toml");
    let check = swarm(&["config", "check", &none, "-o", "json"]);
    assert!(check.stdout.contains("\"valid\":false"), "{}", check.stdout);
    assert_eq!(check.stderr, swarm(&["up", &none]).stderr);
}

#[test]
fn c1_an_identity_or_an_authority_of_another_node_is_named_where_the_file_names_it() {
    let cluster = ca::Cluster::new("config_other_node");
    cluster.issue("hub", "coordinator");
    let node =
        format!("role = \"coordinator\"\nlisten = \"127.0.0.1:0\"\nidentity = {:?}\n", cluster.path("hub"));
    let folder = Folder::new("config_other_node_files");
    let file = folder.write("hubb.toml", format!("name = \"hubb\"\n{node}"));
    let other = ca::Cluster::new("config_other_authority");
    let foreign = format!("name = \"hub\"\n{node}authority = {{ folder = {:?} }}\n", other.authority);
    let foreign = folder.write("hub.toml", foreign);
    for command in [&["config", "check"][..], &["node", "--config"]] {
        swarm(&[command, &[&file]].concat())
            .fails(78, &["hubb.toml:4:12: this is the file of the coordinator hubb"]);
        swarm(&[command, &[&foreign]].concat())
            .fails(78, &["hub.toml:5:24: ", "is not the authority of this coordinator"]);
    }
    // A flag for agents is refused before anything is listened on.
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let plain = folder.write("plain.toml", format!("name = \"hub\"\n{node}"));
    for flag in ["--workers", "--reconnect-seconds"] {
        swarm(&["node", "--config", &plain, "--listen", &address, flag, "2"])
            .fails(78, &["plain.toml:2:8: ", flag, "is for agents, and this is a coordinator"]);
    }
    swarm(&["node", "--config", &plain, "--listen", "here"])
        .fails(2, &["\"here\" is no address to listen on"]);
}

#[test]
fn c1_every_fault_of_a_node_file_is_found_at_once_and_variables_of_nodes_are_nothing_to_a_topology() {
    let folder = Folder::new("config_node_faults");
    let text = "nme = \"hub\"\nrole = 3\nlisten = 7400\nmemory_mib = \"x\"\nidentity = 3\n";
    let run = swarm(&["config", "check", &folder.write("hub.toml", text)]);
    for (line, column) in [(1, 1), (2, 8), (3, 10), (4, 14), (5, 12)] {
        run.fails(78, &[&format!("hub.toml:{line}:{column}: ")]);
    }
    run.fails(78, &["`name` is missing", "unknown key `nme`", "expected a whole number"]);
    let topology = folder.write("t.toml", TWO_NODES);
    let wrong = [("SWARM_LISTEN", "here")];
    assert_eq!(swarm_in(&wrong, &["config", "check", &topology]).stdout, "valid\n");
    let node = folder.write("n.toml", "name = \"hub\"\nrole = \"coordinator\"\n");
    let check = swarm_in(&wrong, &["config", "check", &node]);
    check.fails(78, &["the variable SWARM_LISTEN is \"here\": "]);
    assert_eq!(check.stderr, swarm_in(&wrong, &["node", "--config", &node]).stderr);
}
