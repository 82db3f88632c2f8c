//! `swarm match` against naive answers and against published ones.

use std::fmt::Write as _;

use crate::{Folder, data, swarm, swarm_reading};

/// Warping cost by the definition: every cell of the whole matrix, without tricks.
fn naive_distance_squared(a: &[f64], b: &[f64], radius: Option<usize>) -> f64 {
    let (n, m) = (a.len(), b.len());
    let mut cost = vec![vec![f64::INFINITY; m + 1]; n + 1];
    cost[0][0] = 0.0;
    for i in 1..=n {
        for j in 1..=m {
            if allowed(i - 1, j - 1, n, m, radius) {
                let step = cost[i - 1][j].min(cost[i][j - 1]).min(cost[i - 1][j - 1]);
                cost[i][j] = (a[i - 1] - b[j - 1]).powi(2) + step;
            }
        }
    }
    cost[n][m]
}

fn allowed(i: usize, j: usize, n: usize, m: usize, radius: Option<usize>) -> bool {
    radius.is_none_or(|r| i <= j + n.saturating_sub(m) + r && j <= i + m.saturating_sub(n) + r)
}

fn naive_z(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    values.iter().map(|v| if deviation > 0.0 { (v - mean) / deviation } else { 0.0 }).collect()
}

/// A reproducible walk that does not repeat itself.
fn walk(length: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut level = 0.0;
    let step = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        level += (state >> 40) as f64 / f64::from(1 << 23) - 1.0;
        level
    };
    std::iter::repeat_with(step).take(length).collect()
}

fn lines(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

#[track_caller]
fn assert_close(found: &serde_json::Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} is not {expected}");
}

#[track_caller]
fn assert_keys(object: &serde_json::Value, expected: &[&str]) {
    let mut keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = expected.to_vec();
    keys.sort_unstable();
    expected.sort_unstable();
    assert_eq!(keys, expected);
}

#[test]
fn distance_and_path_agree_with_the_definition() {
    let folder = Folder::new("distance");
    for (n, m) in [(1, 1), (1, 9), (16, 16), (33, 17), (17, 40), (100, 100)] {
        let (a, b) = (walk(n, 1), walk(m, 2));
        let (file_a, file_b) = (folder.write("a", lines(&a)), folder.write("b", lines(&b)));
        let tenth = n.max(m).div_ceil(10);
        for (band, radius) in [
            (&[][..], None),
            (&["--window", "0"], Some(0)),
            (&["--window", "5"], Some(5)),
            (&["--band", "10"], Some(tenth)),
            (&["--band", "100"], None),
        ] {
            for normal in [&[][..], &["--znormalize"]] {
                let plain = [&["match", "distance", &file_a, &file_b, "-o", "json"], band, normal].concat();
                let (a, b) =
                    if normal.is_empty() { (a.clone(), b.clone()) } else { (naive_z(&a), naive_z(&b)) };
                let expected = naive_distance_squared(&a, &b, radius);

                let found = swarm(&plain).json();
                assert_keys(&found, &["distance", "distance_squared"]);
                assert_close(&found["distance_squared"], expected);
                assert_close(&found["distance"], expected.sqrt());

                let found = swarm(&[&plain[..], &["--path"]].concat()).json();
                assert_keys(&found, &["distance", "distance_squared", "path"]);
                assert_close(&found["distance_squared"], expected);
                assert_path(&found["path"], &a, &b, radius, expected);
            }
        }
    }
}

#[track_caller]
fn assert_path(path: &serde_json::Value, a: &[f64], b: &[f64], radius: Option<usize>, cost: f64) {
    let path: Vec<(usize, usize)> = serde_json::from_value(path.clone()).unwrap();
    assert_eq!(path.first(), Some(&(0, 0)));
    assert_eq!(path.last(), Some(&(a.len() - 1, b.len() - 1)));
    for step in path.windows(2) {
        let (i, j) = (step[1].0 - step[0].0, step[1].1 - step[0].1);
        assert!(i <= 1 && j <= 1 && i + j >= 1, "{step:?}");
    }
    assert!(path.iter().all(|&(i, j)| allowed(i, j, a.len(), b.len(), radius)), "outside the band");
    let along = path.iter().map(|&(i, j)| (a[i] - b[j]).powi(2)).sum::<f64>();
    assert!((along - cost).abs() <= 1e-9 * cost.max(1.0), "{along} along the path is not {cost}");
}

#[test]
fn a_constant_series_is_normalised_to_zeros() {
    let folder = Folder::new("constant");
    let flat = folder.write("flat", "3.25\n3.25\n3.25\n");
    let found =
        swarm_reading(&["match", "distance", &flat, "-", "--znormalize", "-o", "json"], b"-1\n0\n1\n").json();
    assert_close(&found["distance_squared"], 3.0);
}

#[test]
fn text_output_is_for_people() {
    let folder = Folder::new("text_output");
    let (a, b) = (folder.write("a", "1\n2\n"), folder.write("b", "1\n4\n"));
    let run = swarm(&["match", "distance", &a, &b, "--path"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let expected = "distance          2\ndistance squared  4\n\n       a        b\n       0        0\n       1        1\n";
    assert_eq!(run.stdout, expected);
}

fn ucr_file(rows: &[(String, Vec<f64>)]) -> String {
    let row = |(label, values): &(String, Vec<f64>)| {
        let values: String = values.iter().map(|value| format!("\t{value}")).collect();
        format!("{label}{values}\n")
    };
    rows.iter().map(row).collect()
}

#[test]
fn classification_counts_the_errors_of_the_nearest_neighbour() {
    let folder = Folder::new("classify");
    // Every training series is a class of its own, and a test series has the label of its nearest one, or a
    // wrong label in every third row: any other choice of neighbours changes the count.
    let label = |index: usize| format!("series {index}");
    let train: Vec<_> = (0..12).map(|i| (label(i), walk(20 + i % 3, i as u64 + 1))).collect();
    let test: Vec<_> = (0..30).map(|i| walk(18 + i % 5, i as u64 + 100)).collect();
    let train_file = folder.write_gzip("train.gz", ucr_file(&train));

    let [full, tenth]: [fn(usize) -> Option<usize>; 2] = [|_| None, |longer| Some(longer.div_ceil(10))];
    for (band, radius) in [(&[][..], full), (&["--window", "2"], |_| Some(2)), (&["--band", "10"], tenth)] {
        let nearest = |values: &[f64]| {
            let distance = |(_, series): &&(String, Vec<f64>)| {
                let radius = radius(values.len().max(series.len()));
                naive_distance_squared(&naive_z(values), &naive_z(series), radius)
            };
            train.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap().0.clone()
        };
        let labelled = |(row, values): (usize, &Vec<f64>)| {
            (if row % 3 == 0 { "wrong".to_owned() } else { nearest(values) }, values.clone())
        };
        let test_file = ucr_file(&test.iter().enumerate().map(labelled).collect::<Vec<_>>());
        let arguments = ["match", "classify", "--train", &train_file, "--test", "-", "-o", "json"];
        let found = swarm_reading(&[&arguments[..], band].concat(), test_file.as_bytes()).json();
        assert_keys(&found, &["errors", "total", "error_rate", "seconds"]);
        assert_eq!(found["errors"], 10, "{band:?}");
        assert_eq!(found["total"], 30);
        assert_close(&found["error_rate"], 1.0 / 3.0);
        assert!(found["seconds"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_band_in_percent_is_of_the_longer_series_of_each_pair() {
    let folder = Folder::new("percent_of_longer");
    let pulse = |length: usize, at: &[usize]| -> Vec<f64> {
        (0..length).map(|i| if at.contains(&i) { 1.0 } else { 0.0 }).collect()
    };
    // The pulse of the short series lies two points behind that of `early`, which is a distance of 0 within
    // 10 % of 20 points and not within 10 % of its own 10; `near` is off by a trifle in either band.
    let mut near = pulse(20, &[6, 7]);
    near[15] = 0.01;
    let train = [("early".to_owned(), pulse(20, &[1, 2])), ("near".to_owned(), near.clone())];
    let test = [("early".to_owned(), pulse(10, &[3])), ("near".to_owned(), near)];
    let (train, test) = (folder.write("train", ucr_file(&train)), folder.write("test", ucr_file(&test)));
    let errors = |band: [&str; 2]| {
        let arguments = ["match", "classify", "--train", &train, "--test", &test, "-o", "json"];
        swarm(&[&arguments[..], &band].concat()).json()["errors"].clone()
    };
    assert_eq!(errors(["--band", "10"]), 0);
    assert_eq!(errors(["--window", "1"]), 1);
}

#[test]
fn of_equally_near_neighbours_the_first_wins() {
    let folder = Folder::new("first_nearest");
    let train = folder.write("train", "a\t1\t2\t3\nb\t1\t2\t3\n");
    let errors = |label: &str| {
        let test = folder.write("test", format!("{label}\t2\t4\t6\n"));
        swarm(&["match", "classify", "--train", &train, "--test", &test, "-o", "json"]).json()["errors"]
            .clone()
    };
    assert_eq!((errors("a"), errors("b")), (0.into(), 1.into()));
}

#[test]
fn m1_the_help_says_which_commands_normalise() {
    let said = ["z-normalised", "population deviation", "`swarm match distance --znormalize`"];
    for command in ["classify", "search"] {
        let help = swarm(&["match", command, "--help"]).stdout;
        let missing: Vec<_> = said.iter().filter(|text| !help.contains(*text)).collect();
        assert!(missing.is_empty(), "{command} says nothing of {missing:?}:\n{help}");
    }
}

#[test]
fn malformed_ucr_rows_are_refused_with_their_place() {
    let folder = Folder::new("malformed_ucr");
    let good = folder.write("good", "1\t1\t2\n");
    for (name, content, place, found) in [
        ("padding", "1\t1\t2\n2\t3\tNaN\n", ":2:5: ", "NaN"),
        ("inner", "1\tNaN\t2\n", ":1:3: ", "NaN"),
        ("text", "1\t1\t2\n2\t3\tx\n", ":2:5: ", "\"x\""),
        ("no-values", "1\t1\n2\n", ":2:2: ", "TAB"),
        ("missing-value", "1\t1\t\n", ":1:5: ", "nothing"),
        ("no-label", "\t1\t2\n", ":1:1: ", "label"),
        ("empty", "", ": ", "empty"),
    ] {
        let bad = folder.write(name, content);
        swarm(&["match", "classify", "--train", &good, "--test", &bad])
            .fails(65, &[&format!("{bad}{place}"), found]);
        swarm(&["match", "classify", "--train", &bad, "--test", &good]).fails(65, &[&bad]);
    }
}

fn csv_file(values: &[f64]) -> String {
    let mut text = "time,\"close, last\",volume\n".to_owned();
    for (row, value) in values.iter().enumerate() {
        writeln!(text, "{row},{value},\"1,000\"").unwrap();
    }
    text
}

fn search(series: &str, query: &str, start: usize, length: usize, more: &[&str]) -> crate::Run {
    let (start, length) = (start.to_string(), length.to_string());
    let mut arguments = vec!["match", "search", "--series", series, "--column", "close, last"];
    arguments.extend(["--query", query, "--query-column", "close, last"]);
    arguments.extend(["--query-start", &start, "--query-length", &length, "--window", "3", "-o", "json"]);
    arguments.extend(more);
    swarm(&arguments)
}

/// The best windows in order, each starting at least the query's length from every better one.
fn naive_search(
    series: &[f64],
    query: &[f64],
    top: usize,
    skip: impl Fn(usize) -> bool,
) -> Vec<(usize, f64)> {
    let m = query.len();
    let query = naive_z(query);
    let cost = |start: usize| naive_distance_squared(&naive_z(&series[start..start + m]), &query, Some(3));
    let mut all: Vec<_> =
        (0..=series.len() - m).filter(|&start| !skip(start)).map(|s| (s, cost(s))).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut best: Vec<(usize, f64)> = Vec::new();
    for (start, cost) in all {
        if best.len() < top && best.iter().all(|&(better, _)| start.abs_diff(better) >= m) {
            best.push((start, cost));
        }
    }
    best
}

#[track_caller]
fn assert_matches(found: &serde_json::Value, expected: &[(usize, f64)], tolerance: f64) {
    assert_keys(found, &["matches", "seconds", "pruned"]);
    assert!(found["pruned"].is_object());
    let matches = found["matches"].as_array().unwrap();
    let starts: Vec<_> = matches.iter().map(|m| m["start"].as_u64().unwrap() as usize).collect();
    assert_eq!(starts, expected.iter().map(|e| e.0).collect::<Vec<_>>());
    for (found, (_, cost)) in matches.iter().zip(expected) {
        assert_keys(found, &["start", "distance_squared"]);
        let found = found["distance_squared"].as_f64().unwrap();
        assert!((found - cost).abs() <= tolerance * cost.max(1.0), "{found} is not {cost}");
    }
}

#[test]
fn search_finds_what_a_naive_search_finds() {
    let folder = Folder::new("search");
    let (series, other) = (walk(400, 5), walk(60, 6));
    let file = folder.write("series.csv", csv_file(&series));
    let query = folder.write_gzip("query.csv.gz", csv_file(&other));

    let expected = naive_search(&series, &other[7..31], 3, |_| false);
    assert_matches(&search(&file, &query, 7, 24, &["--top", "3"]).json(), &expected, 1e-9);
    assert_matches(&search(&file, &query, 7, 24, &[]).json(), &expected[..1], 1e-9);
}

#[test]
fn a_query_does_not_find_itself_in_its_own_file() {
    let folder = Folder::new("search_itself");
    let series = walk(300, 7);
    let file = folder.write("series.csv", csv_file(&series));
    let same = file.replace("/series.csv", "/../search_itself/series.csv");
    for start in [0, 10, 150, 280] {
        let expected = naive_search(&series, &series[start..start + 20], 2, |at| at.abs_diff(start) < 20);
        assert_matches(&search(&file, &same, start, 20, &["--top", "2"]).json(), &expected, 1e-9);
    }
    let copy = folder.write("copy.csv", csv_file(&series));
    let found = search(&file, &copy, 150, 20, &[]).json();
    assert_eq!(found["matches"][0]["start"], 150);
}

#[test]
fn a_search_without_enough_windows_says_what_there_is() {
    let folder = Folder::new("search_few");
    let series = walk(50, 8);
    let file = folder.write("series.csv", csv_file(&series));
    assert_eq!(search(&file, &file, 0, 50, &["--top", "3"]).json()["matches"], serde_json::json!([]));
    let short = folder.write("short.csv", csv_file(&walk(10, 9)));
    search(&short, &file, 0, 20, &[]).fails(65, &["10", "20"]);
}

#[test]
fn a_query_outside_its_file_is_refused_with_the_numbers() {
    let folder = Folder::new("query_outside");
    let file = folder.write("series.csv", csv_file(&walk(50, 9)));
    search(&file, &file, 41, 10, &[]).fails(65, &[&file, "41", "50", "rows"]);
    search(&file, &file, usize::MAX, 10, &[]).fails(65, &[&file, "50 rows"]);
    search(&file, &file, 0, 0, &[]).fails(2, &["--query-length"]);
    search(&file, &file, 0, 10, &["--top", "0"]).fails(2, &["--top"]);
    search("-", "-", 0, 10, &[]).fails(2, &["standard input"]);
}

#[test]
fn malformed_csv_is_refused_with_its_place() {
    let folder = Folder::new("malformed_csv");
    let header = "time,\"close, last\",volume\n";
    for (name, content, place, found) in [
        ("empty", String::new(), ": ", "empty"),
        ("no-rows", header.to_owned(), ": ", "no rows"),
        ("no-column", "time,close\n1,2\n".to_owned(), ": ", "\"time\", \"close\""),
        ("many-columns", format!("{}\n1\n", "x,".repeat(70)), ": ", "(71 in all)"),
        ("twice", "\"close, last\",\"close, last\"\n1,2\n".to_owned(), ": ", "two columns"),
        ("few", format!("{header}1,2,3\n1,2\n"), ":3:4: ", "expected 3 fields, found 2"),
        ("many", format!("{header}1,2,3,4\n"), ":2:8: ", "expected 3 fields, found 4"),
        ("missing", format!("{header}1,,3\n"), ":2:3: ", "nothing"),
        ("nan", format!("{header}1,2,3\n12,nan,3\n"), ":3:4: ", "NaN"),
        ("text", format!("{header}é,\"x\",3\n"), ":2:3: ", "\"x\""),
        ("open-quote", format!("{header}1,2,\"3\n"), ":2:5: ", "quoted"),
        ("blank", format!("{header}1,2,3\n\n1,2,3\n"), ":3:1: ", "blank"),
    ] {
        let bad = folder.write(name, content);
        search(&bad, &bad, 0, 1, &[]).fails(65, &[&format!("{bad}{place}"), found]);
    }
}

#[test]
fn published_ucr_errors_are_reproduced() {
    for (set, total, band, errors) in [
        ("Coffee", 28, &[][..], 0),
        ("ItalyPowerDemand", 1029, &[], 51),
        ("BME", 150, &[], 15),
        ("BME", 150, &["--band", "4"], 3),
    ] {
        let part = |part| data(&format!("ucr/{set}_{part}.tsv.gz"));
        let (Some(train), Some(test)) = (part("TRAIN"), part("TEST")) else { return };
        let arguments = ["match", "classify", "--train", &train, "--test", &test, "-o", "json"];
        let found = swarm(&[&arguments[..], band].concat()).json();
        assert_eq!((found["errors"].clone(), found["total"].clone()), (errors.into(), total.into()), "{set}");
    }
}

#[test]
fn the_reference_search_within_one_year_of_minutes_is_reproduced() {
    let Some(file) = data("bitfinex_1m/BTCUSD_2018_1m.csv.gz") else { return };
    let mut arguments = vec!["match", "search", "--series", &file, "--column", "close"];
    arguments.extend(["--query", &file, "--query-column", "close", "--query-start", "250000"]);
    arguments.extend(["--query-length", "128", "--window", "6", "--top", "2", "-o", "json"]);
    let expected = [(230_792, 1.331519080), (30_886, 1.421579963)];
    assert_matches(&swarm(&arguments).json(), &expected, 1e-6);
}

#[test]
fn f6_labels_that_no_training_series_has_are_said() {
    let folder = Folder::new("classify_labels");
    let train = folder.write("train", "1\t1\t2\t3\n2\t3\t2\t1\n");
    let classify = |test: &str| {
        let test = folder.write("test", test);
        swarm(&["match", "classify", "--train", &train, "--test", &test, "-o", "json"])
    };
    let run = classify("1.0000000e+00\t1\t2\t4\n2.0000000e+00\t4\t2\t1\n");
    assert_eq!(run.json()["errors"], 2);
    let said = "2 of 2 series in";
    assert!(run.stderr.contains(said) && run.stderr.contains("such as \"1.0000000e+00\""), "{}", run.stderr);
    assert!(run.stderr.contains("compared as text, and there is \"1\", \"2\""), "{}", run.stderr);
    assert!(classify("1\t1\t2\t4\n3\t4\t2\t1\n").stderr.contains("1 of 2 series"));
    assert_eq!(classify("1\t1\t2\t4\n2\t4\t2\t1\n").stderr, "");
}

#[test]
fn f6_labels_of_equal_value_that_are_other_texts_are_said() {
    let folder = Folder::new("classify_values");
    let classify = |train: &str, test: &str| {
        let (train, test) = (folder.write("train", train), folder.write("test", test));
        swarm(&["match", "classify", "--train", &train, "--test", &test, "-o", "json"]).stderr
    };
    let said = "so some of equal value are different classes: ";
    for (train, test, labels) in [
        ("1\t1\t2\n1.0\t2\t1\n", "1\t1\t2\n", "\"1\" and \"1.0\"\n"),
        ("1\t1\t2\n2\t2\t1\n", "1\t1\t2\n2.0\t2\t1\n", "\"2\" and \"2.0\"\n"),
        (
            "-0\t1\t2\n0\t2\t1\n",
            "01\t1\t2\n1e0\t1\t2\n+1\t1\t2\n",
            "\"-0\" and \"0\", \"+1\" and \"01\" and \"1e0\"\n",
        ),
    ] {
        let stderr = classify(train, test);
        assert!(stderr.contains(&format!("{said}{labels}")), "{stderr}");
    }
    assert_eq!(classify("nan\t1\t2\nNaN\t2\t1\nx\t1\t1\n", "x\t1\t2\n"), "");
}

#[test]
fn f11_a_query_that_leaves_no_window_of_its_own_file_is_said() {
    let folder = Folder::new("search_none_left");
    let file = folder.write("series.csv", csv_file(&walk(60, 12)));
    let run = search(&file, &file, 20, 40, &[]);
    assert_eq!(run.json()["matches"], serde_json::json!([]));
    let said =
        "0 of 1 windows were found: each starts at least 40 rows from every better one, and from the query";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    let other = folder.write("other.csv", csv_file(&walk(60, 12)));
    let run = search(&file, &other, 20, 40, &["--top", "3"]);
    assert_eq!(run.json()["matches"].as_array().unwrap().len(), 1);
    assert!(
        run.stderr.ends_with(
            "note: 1 of 3 windows were found: each starts at least 40 rows from every better one\n"
        )
    );
}

#[test]
fn f11_a_distance_of_tiny_values_is_not_lost_in_their_squares() {
    let folder = Folder::new("distance_tiny");
    let (a, b) = (folder.write("a", "1e-300\n2e-300\n"), folder.write("b", "3e-300\n9e-300\n"));
    let distance = |a: &str, b: &str| {
        swarm(&["match", "distance", a, b, "-o", "json"]).json()["distance"].as_f64().unwrap()
    };
    let expected = 53.0_f64.sqrt() * 1e-300;
    assert!((distance(&a, &b) / expected - 1.0).abs() < 1e-12, "{:e}", distance(&a, &b));
    let least = folder.write("least", "5e-324\n5e-324\n");
    let zeros = folder.write("zeros", "0\n0\n");
    assert_eq!((distance(&least, &zeros), distance(&zeros, &zeros)), (5e-324, 0.0));
}

#[test]
fn f2_a_constant_query_is_said_to_tell_nothing() {
    let folder = Folder::new("search_constant");
    let file = folder.write("series.csv", csv_file(&walk(300, 11)));
    let flat = folder.write("flat.csv", csv_file(&[10.33; 40]));
    let run = search(&file, &flat, 0, 30, &["--top", "3"]);
    assert_matches(&run.json(), &[(0, 30.0), (30, 30.0), (60, 30.0)], 0.0);
    assert!(run.stderr.starts_with("swarm: note: the query is constant"), "{}", run.stderr);
    assert_eq!(search(&file, &file, 0, 30, &[]).stderr, "");
}

#[test]
fn f13_work_that_no_agent_does_is_refused_before_anything_is_sent() {
    let folder = Folder::new("distance_cells");
    let file = folder.write("long", "1\n".repeat(200_000));
    let connected = |command: &str, rest: &[&str]| {
        let arguments =
            [&command.split(' ').collect::<Vec<_>>()[..], &["--connect", "127.0.0.1:1"], rest].concat();
        swarm(&arguments)
    };
    let distance = format!("match distance {file} {file}");
    let said = ["40000000000 cells", "leave out --connect, or narrow the band with --band or --window"];
    connected(&distance, &[]).fails(2, &said);
    connected(&distance, &["--window", "20000", "--path"]).fails(2, &[said[1], "each cell counts 8 times"]);
    let nobody = ["--identity", &folder.path("none")];
    assert_eq!(connected(&distance, &[&["--window", "20000"], &nobody[..]].concat()).code, Some(78));

    let one =
        format!("one\t{}\n", (0..200_000_u64).map(|i| (i % 7).to_string()).collect::<Vec<_>>().join("\t"));
    let train = folder.write("train", "one\t1\t2\t3\n".repeat(20) + &one);
    let classify = format!("match classify --train {train} --test {train}");
    connected(&classify, &[]).fails(2, &["40001600128 cells", said[1]]);
    assert_eq!(connected(&classify, &[&["--band", "5"], &nobody[..]].concat()).code, Some(78));

    let table = folder.write("table.csv", "a,b\n".to_owned() + &"1,2\n2,1\n".repeat(100_000));
    let search = format!("match search --series {table} --column a --query {table} --query-column b");
    let search = |window| format!("{search} --query-start 0 --query-length 200000 --window {window}");
    let said = ["leave out --connect, or narrow the band with --window"];
    connected(&search(200_000), &[]).fails(2, &said);
    assert_eq!(connected(&search(20_000), &nobody).code, Some(78));

    let correlate = format!("correlate --input {table} --method dtw");
    connected(&correlate, &[]).fails(2, &said);
    assert_eq!(connected(&correlate, &[&["--window", "20000"], &nobody[..]].concat()).code, Some(78));
}
