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
fn every_figure_of_the_kernels_stands_beside_its_scalar_form() {
    let run =
        swarm(&["bench", "kernels", "--seconds", "0.05", "--only", "pearson_matrix_ms-252", "-o", "json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("--data"), "searches are left out, and it says so: {}", run.stderr);
    let lines: Vec<serde_json::Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sides: Vec<&str> = lines.iter().map(|line| line["side"].as_str().unwrap()).collect();
    assert_eq!(sides, ["swarm", "floor"]);
    for line in &lines {
        assert_eq!((&line["bench"], &line["metric"]), (&"kernels".into(), &"pearson_matrix_ms".into()));
        assert_eq!(line["params"], serde_json::json!({ "n": 252, "series": 100 }));
        assert_eq!(line["unit"], "ms");
        assert!(line["value"].as_f64().unwrap() > 0.0, "{line}");
    }
}

#[test]
fn a_folder_without_search_cases_is_bad_input() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let arguments =
        ["bench", "kernels", "--seconds", "0.05", "--only", "search_ms", "--data", folder, "-o", "json"];
    swarm(&arguments).fails(65, &["cannot read", "search_bench_reference.json"]);
}

#[test]
fn a_name_that_no_case_has_is_told() {
    let wanted = ["bench", "kernels", "--seconds", "0.05", "--only", "dtw-of-nothing", "-o", "json"];
    swarm(&wanted).fails(2, &["no case has a name with \"dtw-of-nothing\" in it"]);
}

#[test]
fn a_responder_without_an_identity_says_so() {
    swarm(&["bench-responder"]).fails(1, &["cannot start the responder"]);
}
