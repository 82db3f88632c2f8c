//! `swarm bench`: what it prints and that it ends, not how fast this machine is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::swarm;

#[test]
fn every_figure_of_messaging_stands_beside_its_controls() {
    let run = swarm(&["bench", "messaging", "--seconds", "0.05", "-o", "json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let mut sides: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for line in run.stdout.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["bench"], "messaging");
        let value = line["value"].as_f64().unwrap();
        let (metric, side) = (text(&line["metric"]), text(&line["side"]));
        // Resident memory is that of whole pages, and a few connections may fit into what is there.
        let may_be_nothing = metric == "rss_bytes_per_connection" || metric == "ask_cpu_ns";
        // No other process answers within a microsecond.
        let least = if metric.ends_with("_us") { 1.0 } else { 0.0 };
        assert!(value > least || may_be_nothing, "{line}");
        if let Some(rate) = line["params"].get_mut("rate") {
            assert!(rate.as_u64().unwrap() > 0, "a rate that was measured");
            *rate = "measured".into();
        }
        sides.entry((metric, line["params"].to_string())).or_default().push(side);
    }

    let mut expected = BTreeMap::new();
    let mut expect = |metric: &str, params: Value, sides: &[&str]| {
        let sides = sides.iter().map(|side| (*side).to_owned()).collect::<Vec<_>>();
        expected.insert((metric.to_owned(), params.to_string()), sides);
    };
    let both = ["swarm", "floor"];
    for (mode, bytes, in_flight, controls) in [
        ("lane", 64, [1, 64, 256, 1000].as_slice(), ["swarm", "floor", "callers"].as_slice()),
        ("pipeline", 64, &[64, 256, 1000], &both),
        ("stream", 64, &[1, 64, 256, 1000], &both),
        ("lane", 1024, &[64, 256, 1000], &both),
    ] {
        for in_flight in in_flight {
            let params = json!({ "payload_bytes": bytes, "in_flight": in_flight, "mode": mode });
            let metrics =
                if *in_flight == 1 { ["ask_p50_us", "ask_p99_us"].as_slice() } else { &["ask_per_second"] };
            for metric in metrics {
                expect(metric, params.clone(), controls);
            }
            for process in ["caller", "callee"] {
                let mut params = params.clone();
                params["process"] = process.into();
                expect("ask_allocations", params.clone(), controls);
                if cfg!(unix) {
                    expect("ask_cpu_ns", params, controls);
                }
            }
        }
    }
    expect("open_loop_p99_us", json!({ "payload_bytes": 64, "rate": "measured" }), &both);
    expect("lane_tells_per_second", json!({ "payload_bytes": 64 }), &both);
    for bytes in [65_536, 1_048_576] {
        expect("bulk_gbit_per_second", json!({ "payload_bytes": bytes, "in_flight": 8 }), &both);
    }
    expect("connect_first_reply_us", json!({}), &both);
    expect("reconnect_0rtt_first_reply_us", json!({}), &both);
    if cfg!(target_os = "linux") {
        expect("rss_bytes_per_connection", json!({ "connections": 20 }), &both);
    }
    expect("local_ask_ns", json!({}), &both);
    expect("local_tells_per_second", json!({}), &both);
    assert_eq!(sides, expected);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn a_figure_stands_in_one_row_of_the_table_for_each_of_its_controls() {
    let run = swarm(&["bench", "messaging", "--seconds", "0.05", "--only", "lane-64-64"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let rows: Vec<&str> = run.stdout.lines().filter(|row| row.starts_with("ask_per_second ")).collect();
    let [floor, callers] = rows.as_slice() else { panic!("{}", run.stdout) };
    assert!(!floor.contains("(callers)") && callers.contains("lane bytes=64 (callers)"), "{}", run.stdout);
}

#[test]
fn every_figure_of_the_kernels_stands_beside_its_scalar_form() {
    let run =
        swarm(&["bench", "kernels", "--seconds", "0.05", "--only", "pearson_matrix_ms-252", "-o", "json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("--data"), "searches are left out, and it says so: {}", run.stderr);
    let lines: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sides: Vec<&str> = lines.iter().map(|line| line["side"].as_str().unwrap()).collect();
    assert_eq!(sides, ["swarm", "floor"]);
    for line in &lines {
        assert_eq!((&line["bench"], &line["metric"]), (&"kernels".into(), &"pearson_matrix_ms".into()));
        assert_eq!(line["params"], json!({ "n": 252, "series": 100 }));
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
