//! Input files that are unusual, or made to do harm.

use std::fs;

use crate::{Folder, swarm};

#[test]
fn blank_lines_may_come_last_up_to_a_number() {
    let folder = Folder::new("input_blank");
    let few = folder.write("few", "1\n2\n".to_owned() + &"\r\n".repeat(1_024));
    assert_eq!(swarm(&["match", "distance", &few, &few, "-o", "json"]).json()["distance"], 0.0);
    let many = folder.write_gzip("many.gz", "1\n2\n".to_owned() + &"\n".repeat(1_025));
    swarm(&["match", "distance", &many, &few]).fails(65, &["many.gz:3:1: more than 1024 blank lines"]);
    let wide = folder.write("wide", "1\n".to_owned() + &" ".repeat(65 << 10));
    swarm(&["match", "distance", &wide, &few]).fails(65, &["wide:2:1: more than"]);
}

#[test]
fn a_small_file_of_tiny_rows_does_not_fill_the_memory() {
    let folder = Folder::new("input_rows");
    let rows = folder.write_gzip("rows.gz", "1\t1\n".repeat(3_300_000));
    swarm(&["match", "classify", "--train", &rows, "--test", &rows])
        .fails(65, &["rows.gz: holds more than fits in 512 MiB"]);
}

#[test]
fn a_byte_order_mark_alone_is_an_empty_file() {
    let folder = Folder::new("input_mark");
    for (name, text) in [("mark", "\u{feff}"), ("line", "\u{feff}\r\n")] {
        let file = folder.write(name, text);
        swarm(&["match", "distance", &file, &file]).fails(65, &[name, "is empty"]);
    }
}

#[test]
fn a_hard_link_is_the_same_file() {
    let folder = Folder::new("input_link");
    let rows: String = (0..40).map(|i| format!("{}\n", i * i % 17)).collect();
    let (file, link) = (folder.write("a.csv", "x\n".to_owned() + &rows), folder.path("b.csv"));
    fs::hard_link(&file, &link).unwrap();
    let columns = ["--column", "x", "--query-column", "x", "--query-start", "3"];
    let search = |query: &str, length: &str| {
        let files = ["match", "search", "--series", &file, "--query", query, "--query-length", length];
        swarm(&[&files[..], &columns, &["--window", "1", "-o", "json"]].concat())
    };
    assert_eq!(search(&link, "10").json()["matches"], search(&file, "10").json()["matches"]);
}

#[test]
fn a_series_that_is_too_short_is_named() {
    let folder = Folder::new("input_short");
    let short = folder.write("short.csv", "x\n1\n2\n3\n");
    let long = folder.write("long.csv", "x\n".to_owned() + &"1\n2\n".repeat(20));
    let files = ["match", "search", "--series", &short, "--column", "x", "--query", &long];
    let query = ["--query-column", "x", "--query-start", "0", "--query-length", "20", "--window", "2"];
    swarm(&[&files[..], &query].concat())
        .fails(65, &["short.csv: has 3 rows, a query of 20 does not fit in it"]);
}

#[test]
fn a_large_distance_is_a_power_of_ten() {
    let folder = Folder::new("input_large");
    let (a, b) = (folder.write("a", "1267650600228229401496703205376\n"), folder.write("b", "0\n"));
    let text = swarm(&["match", "distance", &a, &b]).stdout;
    assert_eq!(text, "distance          1.2676506002282294e30\ndistance squared  1.6069380442589903e60\n");
}
