//! `swarm bench`: what it prints and that it ends, not how fast this machine is.

use crate::swarm;

#[test]
fn every_figure_of_messaging_stands_beside_its_floor() {
    let run = swarm(&["bench", "messaging", "--seconds", "0.05", "--only", "1024-64", "-o", "json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines: Vec<serde_json::Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let params = serde_json::json!({ "payload_bytes": 1024, "in_flight": 64, "mode": "lane" });
    let sides: Vec<&str> = lines.iter().map(|line| line["side"].as_str().unwrap()).collect();
    assert_eq!(sides, ["swarm", "floor"]);
    for line in &lines {
        assert_eq!((&line["bench"], &line["metric"]), (&"messaging".into(), &"ask_per_second".into()));
        assert_eq!((&line["unit"], &line["params"]), (&"1/s".into(), &params));
        assert!(line["value"].as_f64().unwrap() > 0.0, "{line}");
    }
}

#[test]
fn a_responder_without_an_identity_says_so() {
    swarm(&["bench-responder"]).fails(1, &["cannot start the responder"]);
}
