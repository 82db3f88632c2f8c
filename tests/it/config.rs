//! `swarm config check`.

use std::path::Path;

use crate::{Folder, swarm};

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
        .fails(78, &["swarm.toml:1:8: ", "swarm.toml:4:8: ", "expected one of"]);
}

#[test]
fn a_file_is_what_its_content_says() {
    let folder = Folder::new("config_kinds");
    let node = folder.write("node.toml", "name = \"a\"\nrole = \"agent\"\n");
    swarm(&["config", "check", &node]).fails(78, &["missing field `listen`"]);
    let neither = folder.write("other.toml", "name = \"a\"\n");
    swarm(&["config", "check", &neither]).fails(78, &["other.toml:1:1: neither a topology"]);
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
    swarm(&["config", "check", &file]).fails(78, &["swarm.toml:2:10: the text is not valid UTF-8"]);
}
