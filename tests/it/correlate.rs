//! `swarm correlate` against naive answers, and against other programs' answers that were kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{Folder, Run, data, swarm, swarm_reading};

/// Answers of numpy, scipy and aeon; the file says of which versions.
fn reference() -> Value {
    serde_json::from_str(include_str!("correlate/reference.json")).unwrap()
}

fn bundled_returns() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/us_equity/daily_returns.csv").to_owned()
}

fn correlate(input: &str, more: &[&str]) -> Run {
    swarm(&[&["correlate", "--input", input, "-o", "json"], more].concat())
}

fn matrix(value: &Value) -> Vec<Vec<Option<f64>>> {
    serde_json::from_value(value.clone()).unwrap()
}

#[track_caller]
fn assert_matrix(found: &Value, expected: &Value, convert: impl Fn(f64) -> f64) {
    let (found, expected) = (matrix(&found["matrix"]), matrix(expected));
    assert_eq!(found.len(), expected.len());
    for (i, (row, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(row.len(), expected.len());
        for (j, (value, expected)) in row.iter().zip(expected).enumerate() {
            let (value, expected) = (value.unwrap(), convert(expected.unwrap()));
            assert!((value - expected).abs() < 1e-12, "{i} {j}: {value} is not {expected}");
            assert!(i != j || value == 1.0);
        }
    }
}

#[test]
fn correlations_of_real_returns_are_those_of_numpy_and_scipy() {
    let reference = &reference()["returns"];
    for method in ["pearson", "spearman"] {
        let found = correlate(&bundled_returns(), &["--method", method]).json();
        assert_eq!(found["labels"], json!(["AAPL", "AIG", "BAC", "EEM", "IBM", "IWM", "QQQ", "SPY", "USO"]));
        assert!(found["seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(found.as_object().unwrap().len(), 3);
        assert_matrix(&found, &reference[method], |r| r);
    }
}

#[test]
fn ties_and_gaps_are_treated_as_by_scipy_pair_by_pair() {
    let folder = Folder::new("correlate_gaps");
    let reference = &reference()["gapped"];
    let file = folder.write_gzip("gapped.csv.gz", reference["csv"].as_str().unwrap());
    for method in ["pearson", "spearman"] {
        assert_matrix(&correlate(&file, &["--method", method]).json(), &reference[method], |r| r);
    }
}

#[test]
fn lcss_and_dtw_are_those_of_aeon() {
    let folder = Folder::new("correlate_aeon");
    let reference = &reference()["walks"];
    let file = folder.write("walks.csv", reference["csv"].as_str().unwrap());
    let similarity = |squared: f64| 1.0 / (1.0 + squared.sqrt());
    for (raw, lcss, dtw) in [(&[][..], "lcss", "dtw_squared"), (&["--raw"], "lcss_raw", "dtw_raw_squared")] {
        let with = |arguments: &[&str]| correlate(&file, &[arguments, raw].concat()).json();
        assert_matrix(&with(&["--method", "lcss", "--epsilon", "0.3"]), &reference[lcss], |share| share);
        assert_matrix(&with(&["--method", "dtw"]), &reference[dtw], similarity);
    }
}

/// The definition, cell by cell.
fn naive_lcss(a: &[f64], b: &[f64], epsilon: f64, window: usize) -> f64 {
    let mut longest = vec![vec![0_u32; b.len() + 1]; a.len() + 1];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            let is_match = (x - y).abs() <= epsilon && i.abs_diff(j) <= window;
            longest[i + 1][j + 1] =
                if is_match { longest[i][j] + 1 } else { longest[i][j + 1].max(longest[i + 1][j]) };
        }
    }
    f64::from(longest[a.len()][b.len()]) / a.len().min(b.len()) as f64
}

#[test]
fn lcss_in_a_window_is_that_of_the_definition() {
    let folder = Folder::new("correlate_lcss");
    // Multiples of an eighth, so that values lie exactly epsilon apart.
    let series: Vec<Vec<f64>> =
        (1..=9).map(|s| (0..90).map(|i| f64::from((i * i * s + i) % 23) / 8.0).collect()).collect();
    let mut text = "s1,s2,s3,s4,s5,s6,s7,s8,s9\n".to_owned();
    for row in 0..90 {
        let fields: Vec<String> = series.iter().map(|values| values[row].to_string()).collect();
        text += &(fields.join(",") + "\n");
    }
    let file = folder.write("eighths.csv", text);
    for (window, points) in [(&[][..], usize::MAX), (&["--window", "0"], 0), (&["--window", "7"], 7)] {
        let given = ["--method", "lcss", "--raw", "--epsilon", "0.25"];
        let expected: Vec<Vec<f64>> =
            series.iter().map(|a| series.iter().map(|b| naive_lcss(a, b, 0.25, points)).collect()).collect();
        assert_matrix(&correlate(&file, &[&given, window].concat()).json(), &json!(expected), |share| share);
    }
}

#[test]
fn dtw_is_the_similarity_of_the_distance_that_match_prints() {
    let folder = Folder::new("correlate_dtw");
    let columns = [[1.0, 4.0, 2.0, 2.0, 9.0], [0.0, 3.0, 7.0, 1.0, 1.0]];
    let rows: String = (0..5).map(|i| format!("{},{}\n", columns[0][i], columns[1][i])).collect();
    let table = folder.write("table.csv", format!("a,b\n{rows}"));
    let [a, b] = [0, 1].map(|column| {
        let lines: String = columns[column].iter().map(|value| format!("{value}\n")).collect();
        folder.write(&column.to_string(), lines)
    });
    for window in [&[][..], &["--window", "1"]] {
        let distance =
            swarm(&[&["match", "distance", &a, &b, "--znormalize", "-o", "json"], window].concat()).json();
        let expected = 1.0 / (1.0 + distance["distance"].as_f64().unwrap());
        let found = correlate(&table, &[&["--method", "dtw"], window].concat()).json();
        assert_eq!(found["matrix"], json!([[1.0, expected], [expected, 1.0]]));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for method in ["pearson", "spearman", "lcss", "dtw"] {
        let with = |threads: &str| {
            correlate(&bundled_returns(), &["--method", method, "--threads", threads]).json()["matrix"]
                .clone()
        };
        let one = with("1");
        assert!(one[0][1].is_f64());
        assert_eq!(one, with("2"), "{method}");
        assert_eq!(one, with("7"), "{method}");
    }
}

#[test]
fn what_is_undefined_is_null() {
    let table = "a,b,c,d\n1,,5,1\n3,,5,3\n,3,5,4\n,4,5,9\n";
    let found = swarm_reading(&["correlate", "--input", "-", "-o", "json"], table.as_bytes()).json();
    let first = matrix(&found["matrix"])[0].clone();
    assert_eq!(first[..3], [Some(1.0), None, None], "no common rows, a constant series");
    assert!((first[3].unwrap() - 1.0).abs() < 1e-12);
    assert_eq!(found["matrix"][2], json!([null, null, null, null]));
    let text = swarm_reading(&["correlate", "--input", "-"], table.as_bytes());
    assert_eq!(text.code, Some(0));
    assert!(text.stdout.lines().nth(1).unwrap().ends_with("1.000      -      -  1.000"), "{}", text.stdout);
}

#[test]
fn the_first_column_is_the_index_unless_it_is_numeric() {
    let labels = |table: &str| {
        swarm_reading(&["correlate", "--input", "-", "-o", "json"], table.as_bytes()).json()["labels"].clone()
    };
    assert_eq!(labels("time,a,b\n2020-01-01,1,2\n2020-01-02,2,1\n"), json!(["a", "b"]));
    assert_eq!(labels("year,a,b\n2020,1,2\n2021,2,1\n"), json!(["year", "a", "b"]));
    assert_eq!(labels(",a,b\n0,1,2\n1,2,1\n"), json!(["a", "b"]), "a column without a name");
    assert_eq!(labels("x,a,b\n,1,2\nNaN,2,1\nu,3,3\n"), json!(["a", "b"]), "first known in the third row");
    assert_eq!(labels("x,a,b\n,1,2\n7,2,1\n"), json!(["x", "a", "b"]));
    let quoted = "\"t, utc\",\"a \"\"x\"\"\",<&>\n\"1, 2\",1,2\n\"u\",2,1\n";
    assert_eq!(labels(quoted), json!(["a \"x\"", "<&>"]));
}

#[test]
fn malformed_tables_are_refused_with_their_place() {
    let folder = Folder::new("correlate_malformed");
    for (name, content, place, found) in [
        ("empty", "", ": ", "empty"),
        ("no-rows", "a,b\n", ": ", "no rows"),
        ("one-column", "a\n1\n2\n", ": ", "has one series"),
        ("one-series", "t,a\nx,1\n", ": ", "has one series"),
        ("index-only", "t\nx\n", ": ", "has no series"),
        ("few", "a,b\n1,2\n1\n", ":3:2: ", "expected 2 fields, found 1"),
        ("many", "a,b\n1,2,3\n", ":2:6: ", "expected 2 fields, found 3"),
        ("twice", "a,b,a\n1,2,3\n", ":1:5: ", "two columns are called \"a\""),
        ("unnamed", "a,b,\n1,2,3\n", ":1:5: ", "found nothing: name it, or remove the column"),
        ("text", "a,b\n1,x\n", ":2:3: ", "\"x\""),
        ("late-text", "a,b\n1,2\nx,2\n", ":3:1: ", "\"x\""),
        ("huge", "a,b\n1,1e308\n", ":2:3: ", "1e100"),
        ("infinite", "a,b\n1,-inf\n", ":2:3: ", "\"-inf\""),
        ("blank", "a,b\n1,2\n\n3,4\n", ":3:1: ", "blank"),
        ("open-quote", "a,b\n1,\"2\n", ":2:3: ", "quoted"),
        ("two-lines", "a,b\n\"1\"\"\n\",2\n", ":2:1: ", "does not end on its line"),
    ] {
        let bad = folder.write(name, content);
        correlate(&bad, &[]).fails(65, &[&format!("{bad}{place}"), found]);
    }
    let wide: Vec<String> = (0..4098).map(|i| format!("s{i}")).collect();
    correlate(&folder.write("wide", wide.join(",") + "\n"), &[]).fails(65, &["wide:1:", "4096"]);
    correlate(&folder.path("absent"), &[]).fails(65, &["absent"]);
}

#[test]
fn f1_no_single_cell_decides_that_the_first_column_is_the_index() {
    let folder = Folder::new("correlate_first_column");
    for (name, content, place, number_line) in [
        ("first", "ret_a,b,c\n#N/A,1,2\n0.5,2,1\n", ":2:1: ", 3),
        ("later", "ret_a,b,c\n,1,2\nINF,2,2\n-,2,1\n0.5,2,1\n", ":3:1: ", 5),
        ("codes", "code,b,c\nAAPL,1,2\n600519,2,1\n", ":2:1: ", 3),
    ] {
        let bad = folder.write(name, content);
        let number = format!("while line {number_line} of this column has a number");
        correlate(&bad, &[]).fails(65, &[&format!("{bad}{place}expected a number"), &number]);
    }
}

#[test]
fn f1_a_first_column_of_formatted_numbers_is_refused_and_not_lost() {
    for cell in [
        "5%",
        "1,5",
        "$5",
        "\u{2212}1",
        "1 234",
        "(5)",
        "1'234",
        "1,234.5",
        "1.234.567",
        "5 \u{20ac}",
        "\u{a0}1",
    ] {
        let table = format!("ret_a,b,c\n\"{cell}\",1,2\n\"{cell}\",2,1\n\"{cell}\",3,3\n");
        let run = swarm_reading(&["correlate", "--input", "-"], table.as_bytes());
        run.fails(
            65,
            &[
                "standard input:2:1: expected a number",
                "if these are labels of rows, leave the name of the column empty",
            ],
        );
        let unnamed = swarm_reading(&["correlate", "--input", "-", "-o", "json"], &table.as_bytes()[5..]);
        assert_eq!((unnamed.json()["labels"].clone(), unnamed.stderr.as_str()), (json!(["b", "c"]), ""));
    }
    swarm_reading(&["correlate", "--input", "-"], b"a,b,c\nx,1,2\n5%,2,1\n")
        .fails(65, &[":2:1: expected a number, found \"x\", while line 3 of this column has a number"]);
}

#[test]
fn f1_a_first_column_of_texts_is_said_to_be_no_series_unless_they_are_dates() {
    let said = |cells: [&str; 2]| {
        let table = format!("t,b,c\n{},1,2\n{},2,1\n", cells[0], cells[1]);
        let run = swarm_reading(&["correlate", "--input", "-", "-o", "json"], table.as_bytes());
        assert_eq!(run.json()["labels"], json!(["b", "c"]));
        run.stderr
    };
    for cells in [["AAPL", "MSFT"], ["#N/A", "-"], ["1.0f", "2.0f"], ["USD 5", "USD 6"]] {
        let stderr = said(cells);
        assert!(stderr.contains("no value of \"t\" is a number, so it is taken for the labels"), "{stderr}");
        assert!(stderr.contains(" is no series: standard input:2:1: expected a number, found "), "{stderr}");
    }
    assert_eq!(said(["2020-01-01", "2020/01/02 16:00"]), "");
}

#[test]
fn f1_a_file_without_a_header_is_said_to_lose_its_first_row() {
    for (table, place) in
        [("1,2,3\n2,5,1\n3,1,1\n", ":1:1: "), ("2020-01-01,2,3\n2020-01-02,5,1\n", ":1:1: ")]
    {
        let run = swarm_reading(&["correlate", "--input", "-", "-o", "json"], table.as_bytes());
        assert!(
            run.stderr.contains(&format!("swarm: note: standard input{place}the first line is taken")),
            "{}",
            run.stderr
        );
        assert_eq!(run.code, Some(0));
    }
    let pandas = swarm_reading(&["correlate", "--input", "-", "-o", "json"], b",0,1\n0,1,2\n1,2,1\n");
    assert_eq!((pandas.code, pandas.stderr.as_str()), (Some(0), ""));
}

#[test]
fn f11_tickers_that_read_as_numbers_are_an_index() {
    let labels = |table: &str| {
        swarm_reading(&["correlate", "--input", "-", "-o", "json"], table.as_bytes()).json()["labels"].clone()
    };
    assert_eq!(labels("ticker,a,b\nINF,1,2\nIBM,2,1\n"), json!(["a", "b"]), "a text that reads as a number");
    assert_eq!(labels(",a,b\nAAPL,1,2\n600519,2,1\n"), json!(["a", "b"]), "a column without a name");
    for first in ["INF,1,2\n,2,1\n", "INF,1,2\nNAN,2,1\nNA,3,5\n", "NULL,1,2\nINFINITY,2,1\n"] {
        swarm_reading(&["correlate", "--input", "-"], format!("x,a,b\n{first}").as_bytes()).fails(
            65,
            &[":1: ", "\"INF", "; if these are labels of rows, leave the name of the column empty"],
        );
    }
}

#[test]
fn f10_a_table_of_4097_columns_has_an_index_or_is_refused() {
    let folder = Folder::new("correlate_4097");
    let header: String = (0..4096).map(|i| format!(",s{i}")).collect();
    let rows =
        |first: &str| format!("first{header}\n{}", format!("{first}{}\n", ",1".repeat(4096)).repeat(2));
    correlate(&folder.write("series", rows("1")), &[])
        .fails(65, &["series: has 4097 series, expected at most 4096"]);
    // Read as a whole, and refused for a reason of its own.
    let with_index = folder.write("index", rows("x"));
    correlate(&with_index, &["--rolling", "3"]).fails(65, &["index: has 2 rows, a window of 3"]);
}

#[test]
fn methods_that_take_no_gaps_say_where_the_first_one_is() {
    let folder = Folder::new("correlate_refused_gaps");
    for (name, content, place) in [
        ("inner", "t,a,b\nx,1,2\ny,3,NA\n", ":3:5: "),
        ("first", "a,b\n,1\n2,3\n", ":2:1: "),
        ("never", "a,b\n,1\n,3\n", ":2:1: "),
    ] {
        let bad = folder.write(name, content);
        for method in ["lcss", "dtw"] {
            correlate(&bad, &["--method", method]).fails(65, &[&format!("{bad}{place}"), "missing"]);
        }
        assert_eq!(correlate(&bad, &[]).code, Some(0));
    }
    // An index may lack a value anywhere.
    let index = folder.write("index", "t,a,b\n,1,2\nx,3,4\n,1,2\n");
    assert_eq!(correlate(&index, &["--method", "dtw"]).code, Some(0));
}

#[test]
fn lcss_names_the_rows_that_are_too_many() {
    let table = "a,b\n".to_owned() + &"1,2\n".repeat(32_769);
    let run = swarm_reading(&["correlate", "--input", "-", "--method", "lcss"], table.as_bytes());
    run.fails(65, &["standard input: has 32769 rows, lcss takes at most 32768"]);
}

#[test]
fn options_of_another_method_are_refused() {
    for (arguments, option) in [
        (&["--epsilon", "1"][..], "--epsilon"),
        (&["--method", "dtw", "--epsilon", "1"], "--epsilon"),
        (&["--method", "spearman", "--window", "3"], "--window"),
        (&["--raw"], "--raw"),
        (&["--method", "lcss", "--epsilon=-1"], "--epsilon"),
        (&["--method", "lcss", "--epsilon", "NaN"], "--epsilon"),
        (&["--threads", "0"], "--threads"),
        (&["--method", "kendall"], "--method"),
    ] {
        correlate(&bundled_returns(), arguments).fails(2, &[option]);
    }
}

#[test]
fn people_get_a_table_or_the_pairs_that_stand_out() {
    let text = swarm(&["correlate", "--input", &bundled_returns()]).stdout;
    assert!(text.starts_with("       AAPL    AIG    BAC "), "{text}");
    assert!(text.ends_with(" s\n") && text.contains("\n9 series, 36 pairs in "), "{text}");

    let mut wide = (0..30).map(|i| format!("s{i}")).collect::<Vec<_>>().join(",") + "\n";
    for row in 0..50_u64 {
        let fields: Vec<String> = (1..=30).map(|s| ((row * row * s + row) % 37).to_string()).collect();
        wide += &(fields.join(",") + "\n");
    }
    let text = swarm_reading(&["correlate", "--input", "-"], wide.as_bytes()).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[11], lines.len()), ("highest", "lowest", 24));
    assert!(lines[1..11].iter().all(|line| line.contains(" and ")));
}

/// The adjusted closes of 120 companies on days like the 5th as a table with gaps, and each series by itself.
fn closes() -> Option<(String, Vec<Vec<f64>>)> {
    let packed = std::fs::File::open(data("sp500_daily_2000_2021/daily_adjusted.csv.gz")?).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    let mut days = BTreeMap::<&str, BTreeMap<&str, &str>>::new();
    let mut symbols = BTreeSet::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        if fields[1].ends_with('5') {
            days.entry(fields[1]).or_default().insert(fields[0], fields[6]);
            symbols.insert(fields[0]);
        }
    }
    let mut table = String::from("date");
    symbols.iter().for_each(|symbol| table += &format!(",{symbol}"));
    for (day, closes) in &days {
        table += &format!("\n{day}");
        symbols.iter().for_each(|symbol| table += &format!(",{}", closes.get(symbol).unwrap_or(&"")));
    }
    let of = |symbol: &&str| {
        days.values()
            .map(|closes| closes.get(*symbol).map_or(f64::NAN, |close| close.parse().unwrap()))
            .collect()
    };
    Some((table, symbols.iter().map(of).collect()))
}

/// The textbook formula over the rows in which neither is missing.
fn naive_pearson(a: &[f64], b: &[f64]) -> f64 {
    let both: Vec<(f64, f64)> =
        a.iter().copied().zip(b.iter().copied()).filter(|(x, y)| !x.is_nan() && !y.is_nan()).collect();
    let n = both.len() as f64;
    let (x, y) = (both.iter().map(|p| p.0).sum::<f64>() / n, both.iter().map(|p| p.1).sum::<f64>() / n);
    let sum = |f: &dyn Fn(f64, f64) -> f64| both.iter().map(|p| f(p.0 - x, p.1 - y)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

#[test]
fn closes_of_120_companies_are_correlated() {
    let Some((table, series)) = closes() else { return };
    assert!(series.len() == 120 && series.iter().flatten().any(|close| close.is_nan()));
    let found = swarm_reading(&["correlate", "--input", "-", "-o", "json"], table.as_bytes()).json();
    let found = matrix(&found["matrix"]);
    for (i, a) in series.iter().enumerate() {
        for (j, b) in series.iter().enumerate().skip(i + 1) {
            let expected = naive_pearson(a, b);
            assert!((found[i][j].unwrap() - expected).abs() < 1e-9, "{i} {j}");
            assert_eq!(found[i][j], found[j][i]);
        }
    }
}

#[test]
fn rolling_windows_are_those_of_the_rows_by_themselves() {
    let folder = Folder::new("correlate_rolling");
    let table = std::fs::read_to_string(bundled_returns()).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    let rolling = correlate(&bundled_returns(), &["--rolling", "60", "--every", "100"]).json();
    assert_eq!(rolling["window"], 60);
    assert_eq!(rolling["pairs"].as_array().unwrap().len(), 36);
    let steps = rolling["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 7);
    for (step, row) in steps.iter().zip((59_usize..).step_by(100)) {
        assert_eq!((&step["row"], &step["index"]), (&json!(row), &json!(lines[row + 1][..10])));
        let window = [&lines[..1], &lines[row - 58..row + 2]].concat().join("\n");
        let whole = matrix(&correlate(&folder.write("window.csv", window), &[]).json()["matrix"]);
        for (pair, found) in
            rolling["pairs"].as_array().unwrap().iter().zip(step["correlations"].as_array().unwrap())
        {
            let [i, j] = [0, 1].map(|place| pair[place].as_u64().unwrap() as usize);
            assert!((found.as_f64().unwrap() - whole[i][j].unwrap()).abs() < 1e-9);
        }
    }
}

#[test]
fn rolling_windows_are_csv_for_people() {
    let table = "t,a,\"b,c\"\n\"x, y\",1,1\nu,2,1\nv,3,1\nw,4,2\n";
    let run = swarm_reading(&["correlate", "--input", "-", "--rolling", "2"], table.as_bytes());
    assert_eq!(run.stdout, "row,index,\"a~b,c\"\n1,u,\n2,v,\n3,w,1.000000\n");
    let bare = swarm_reading(&["correlate", "--input", "-", "--rolling", "2"], b"a,b\n1,2\n2,1\n");
    assert_eq!(bare.stdout, "row,a~b\n1,-1.000000\n");
}

#[test]
fn rolling_windows_that_cannot_be_are_refused() {
    let returns = bundled_returns();
    correlate(&returns, &["--rolling", "757"]).fails(65, &["daily_returns.csv", "756 rows", "757"]);
    correlate(&returns, &["--rolling", "1"]).fails(2, &["--rolling", "2"]);
    correlate(&returns, &["--rolling", "9", "--method", "lcss"]).fails(2, &["--rolling", "lcss"]);
    correlate(&returns, &["--every", "9"]).fails(2, &["--rolling"]);
    swarm_reading(&["correlate", "--input", "-", "--rolling", "2"], b"a,b\n1,2\n,1\n")
        .fails(65, &[":3:1: ", "missing"]);
    let wide: String = (0..2000).map(|i| format!("s{i},")).collect::<String>() + "z\n";
    let rows = (0..2001).map(|i| (i % 7).to_string()).collect::<Vec<_>>().join(",") + "\n";
    let table = wide + &rows.repeat(8);
    swarm_reading(&["correlate", "--input", "-", "--rolling", "2"], table.as_bytes())
        .fails(2, &["7 windows of 2001000 pairs", "--every"]);
}

/// A command that reads standard input ends at once on SIGINT, while it reads and while it computes.
#[cfg(unix)]
#[track_caller]
fn is_interrupted(arguments: &[&str], input: &str) {
    for is_read in [false, true] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_swarm"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take();
        // More than a pipe holds: when it is written, the command is at work.
        assert!(input.len() > 1 << 20);
        stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
        if is_read {
            stdin = None;
        }
        let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(130), "swarm: stopped by SIGINT\n"));
        assert!(output.stdout.is_empty());
    }
}

#[cfg(unix)]
#[test]
fn long_work_ends_at_once_on_a_signal() {
    let folder = Folder::new("correlate_interrupted");
    let table = "a,b,c,d,e,f,g,h,i\n".to_owned() + &"1,2,3,4,5,6,7,8,9\n2,1,4,3,6,5,9,8,7\n".repeat(30_000);
    is_interrupted(&["correlate", "--input", "-", "--method", "dtw"], &table);
    let walk: String = (0..150_000_u64).map(|i| format!("{}\n", i * i % 1009)).collect();
    let query = folder.write("query.csv", "x\n".to_owned() + &walk);
    let search =
        ["match", "search", "--series", "-", "--column", "x", "--query", &query, "--query-column", "x"];
    let lengths = ["--query-start", "7", "--query-length", "30000", "--window", "29000", "--top", "9"];
    is_interrupted(&[&search[..], &lengths].concat(), &("x\n".to_owned() + &walk.repeat(2)));
    let series: Vec<String> = (0..40_000_u64).map(|i| (i * i % 10_007).to_string()).collect();
    let rows = format!("one\t{}\n", series.join("\t"));
    let train = folder.write("train.tsv", &rows);
    is_interrupted(&["match", "classify", "--train", &train, "--test", "-"], &rows.repeat(8));
}

#[test]
fn f4_every_method_has_one_rule_of_what_is_constant() {
    let shape = [3, 1, 2, 0, 3, 2, 0, 1, 1, 3];
    let other = [5.0, 1.0, 4.0, 1.0, 9.0, 2.0, 6.0, 5.0, 3.0, 5.0];
    let table = |column: &dyn Fn(usize) -> String| {
        let rows = (0..10).map(|row| format!("{},{}\n", column(row), other[row]));
        "a,b\n".to_owned() + &rows.collect::<String>()
    };
    let value = |table: &str, more: &[&str]| {
        let arguments = [&["correlate", "--input", "-", "-o", "json"], more].concat();
        let found = swarm_reading(&arguments, table.as_bytes()).json();
        if more[0] == "--rolling" {
            found["steps"][0]["correlations"][0].as_f64()
        } else {
            found["matrix"][0][1].as_f64()
        }
    };
    let all: [&[&str]; 5] = [
        &["--method", "pearson"],
        &["--method", "spearman"],
        &["--rolling", "10"],
        &["--method", "dtw"],
        &["--method", "lcss"],
    ];
    let plain = table(&|row| shape[row].to_string());
    // Eighths are the last bits of numbers like that.
    let last_bits = table(&|row| format!("{}", 1e15 + f64::from(shape[row]) / 8.0));
    for method in all {
        let (found, expected) = (value(&last_bits, method).unwrap(), value(&plain, method).unwrap());
        assert!((found - expected).abs() < 1e-9, "{method:?}: {found} is not {expected}");
    }
    let constant = table(&|_| "10.33".to_owned());
    let faint = table(&|row| format!("{}e-160", shape[row]));
    for method in all {
        assert_eq!(value(&faint, method), value(&constant, method), "{method:?}");
        assert_eq!(value(&constant, method).is_none(), !["dtw", "lcss"].contains(&method[1]), "{method:?}");
    }
    assert!(
        swarm(&["correlate", "--help"]).stdout.contains("Constant, for every method: all values are equal")
    );
}

#[test]
fn f13_a_value_that_is_none_is_refused_with_what_to_do() {
    let labels = "if these are labels of rows, leave the name of the column empty";
    let texts = "only the first column may be labels of rows: remove this one, or move it there";
    let gaps = "a missing value is an empty field, NaN, NA, N/A, null or none";
    for (table, place, said) in [
        ("code,a,b\n600519,1,2\nBRK,2,1\n", ":3:1: ", labels),
        ("t,a,name\nx,1,Apple\n", ":2:5: ", texts),
        ("a,b\n1,-\n", ":2:3: ", gaps),
        ("a,b\n1,2\n1,.\n", ":3:3: ", gaps),
        ("a,b\n1,?\n", ":2:3: ", gaps),
        ("a,b\n#N/A,2\n1,3\n", ":2:1: ", gaps),
        ("a,b\n1,#DIV/0!\n", ":2:3: ", gaps),
        (
            "20200102,1,1\n20200103,2,1\n",
            ":1:12: ",
            "\"1\": this looks like a row, write the names of the columns",
        ),
        ("Daily returns of funds\na,b\n1,2\n", ":1:6: ", "where this line is a title, remove it"),
    ] {
        let run = swarm_reading(&["correlate", "--input", "-"], table.as_bytes());
        run.fails(65, &[&format!("standard input{place}"), said]);
    }
    let sums = "date,a,b\n2020-01-01,1,2\n2020-01-02,2,1\ntotal,3,3\n";
    let run = swarm_reading(&["correlate", "--input", "-", "-o", "json"], sums.as_bytes());
    assert!(
        run.stderr.contains("no value of \"date\" is a number")
            && run.stderr.contains(": standard input:4:1: expected a date, found \"total\""),
        "{}",
        run.stderr
    );
    assert_eq!(run.code, Some(0));
}
