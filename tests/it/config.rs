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
