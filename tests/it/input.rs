//! Input files that are unusual, or made to do harm.

use std::fs;

use crate::{Folder, gzip, swarm, swarm_reading};

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

#[cfg(unix)]
#[test]
fn f8_a_pipe_that_is_named_twice_is_refused_instead_of_waited_for() {
    let folder = Folder::new("input_pipe");
    let pipe = folder.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let once = "can be read once";
    swarm(&["match", "distance", &pipe, &pipe]).fails(2, &[&pipe, once]);
    for names in [["-", "/dev/stdin"], ["/dev/stdin", "-"], ["/dev/stdin", "/dev/stdin"]] {
        swarm_reading(&["match", "distance", names[0], names[1]], b"1\n").fails(2, &[once]);
    }
    swarm(&["match", "classify", "--train", &pipe, "--test", &pipe]).fails(2, &[&pipe, once]);
    // A file is read from its beginning each time.
    let file = folder.write("file", "1\n2\n");
    assert_eq!(swarm(&["match", "distance", &file, &file, "-o", "json"]).json()["distance"], 0.0);
}

#[test]
fn f9_zeros_after_the_members_of_a_gzip_file_are_padding() {
    let folder = Folder::new("input_padded");
    let plain = folder.write("plain", "1\n2\n3\n");
    let padding = vec![0; 200 << 10];
    let members = [gzip(b"1\n2\n"), padding.clone(), gzip(b"3\n"), padding.clone()].concat();
    let padded = folder.write("padded.gz", members);
    assert_eq!(swarm(&["match", "distance", &padded, &plain, "-o", "json"]).json()["distance"], 0.0);
    for (name, rest) in [("text.gz", &b"more"[..]), ("cut.gz", &gzip(b"3\n")[..12])] {
        let bad = folder.write(name, [&gzip(b"1\n2\n")[..], &padding, rest].concat());
        swarm(&["match", "distance", &bad, &plain]).fails(65, &[&format!("{bad}: is not a complete gzip")]);
    }
}

#[test]
fn f13_a_gzip_file_is_known_by_its_first_bytes_too() {
    let folder = Folder::new("input_magic");
    let (plain, packed) = (folder.write("plain", "1\n2\n"), gzip(b"1\n2\n"));
    let other_name = folder.write("packed.csv", &packed);
    for name in [&other_name, "-"] {
        let found = swarm_reading(&["match", "distance", name, &plain, "-o", "json"], &packed).json();
        assert_eq!(found["distance"], 0.0, "{name}");
    }
}

#[test]
fn f13_a_file_that_is_no_text_is_named_as_what_it_looks_like() {
    let folder = Folder::new("input_formats");
    let utf16 = |mark: &[u8], text: &str| {
        [mark, &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()].concat()
    };
    let utf32 = |text: &str| text.chars().flat_map(|c| (c as u32).to_le_bytes()).collect::<Vec<_>>();
    for (name, content, format) in [
        ("marked32", utf32("\u{feff}a,b\n"), "UTF-32"),
        ("unmarked32", utf32("a,b\n"), "UTF-32 without its mark"),
        (
            "big32",
            "a,b\n".chars().flat_map(|c| (c as u32).to_be_bytes()).collect(),
            "UTF-32 without its mark",
        ),
        ("lzma", b"\x5d\0\0\x80\0\xff\xff".to_vec(), "an LZMA file"),
        ("zeros", vec![0; 5_000], "binary data"),
        ("empty.zip", b"PK\x05\x06\0\0\0\0".to_vec(), "an empty ZIP archive"),
        ("empty.bz2", b"BZh9\x17\x72\x45\x38\x50\x90".to_vec(), "a bzip2 file"),
        ("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(), "a spreadsheet of the old kind"),
        ("zlib", b"\x78\x9c\x4b\xd4\x49".to_vec(), "a file packed by compress or zlib"),
        ("twice.gz", gzip(&gzip(b"a,b\n1,2\n")), "a gzip file within another, unpack it once"),
        ("xz.gz", gzip(b"\xfd7zXZ\0"), "an xz file"),
        ("marked", utf16(&[0xff, 0xfe], "a,b\n1,2\n"), "UTF-16"),
        ("unmarked", utf16(&[], "a,b\n1,2\n"), "UTF-16 without its mark"),
        ("big", b"\xfe\xff\0a\0,".to_vec(), "UTF-16"),
        ("sheet", b"PK\x03\x04\x14\0".to_vec(), "a ZIP archive or a spreadsheet"),
        ("zstd", b"\x28\xb5\x2f\xfd\x04".to_vec(), "a Zstandard file"),
        ("xz", b"\xfd7zXZ\0".to_vec(), "an xz file"),
        ("bzip2", b"BZh91AY&SY".to_vec(), "a bzip2 file"),
    ] {
        let bad = folder.write(name, content);
        let expected = format!("{bad}: looks like {format}, expected text in UTF-8");
        swarm(&["correlate", "--input", &bad]).fails(65, &[&expected]);
    }
}

#[test]
fn f13_other_separators_and_decimal_commas_are_named() {
    let folder = Folder::new("input_separators");
    let number = folder.write("number", "1\n");
    for (name, header, place, separators) in [
        ("semicolons", "date;close", 5, "semicolons"),
        ("tabs", "date\tclose", 5, "TABs"),
        ("bars", "dé|close", 3, "vertical bars"),
        ("blanks", "date close", 5, "blanks"),
    ] {
        let bad = folder.write(name, format!("{header}\n1,5;2,5\n"));
        let expected = format!("{bad}:1:{place}: the columns seem to be separated by {separators}, expected");
        swarm(&["correlate", "--input", &bad]).fails(65, &[&expected]);
        let search = ["match", "search", "--series", &bad, "--column", "close", "--query", &bad];
        let query = ["--query-column", "close", "--query-start", "0", "--query-length", "1", "--window", "0"];
        swarm(&[&search[..], &query].concat()).fails(65, &[&expected]);
    }
    let commas = folder.write("commas", "1,0.5,0.25\n");
    swarm(&["match", "classify", "--train", &commas, "--test", &commas])
        .fails(65, &["commas:1:2: expected a TAB and values after the label, found commas"]);
    let decimals = folder.write("decimals", "1,5\n");
    swarm(&["match", "distance", &number, &decimals])
        .fails(65, &["decimals:1:1: expected a number with a decimal point, found \"1,5\""]);
}

#[test]
fn f13_a_first_line_of_another_format_is_named() {
    let folder = Folder::new("input_first_lines");
    let search = ["--column", "a", "--query-column", "a", "--query-start", "0", "--query-length", "1"];
    for (name, content, expected) in [
        ("page", "<!DOCTYPE html>\n<html></html>\n", ":1:1: the first line looks like HTML or XML"),
        ("objects", "[{\"a\":1,\"b\":2}]\n", ":1:1: the first line looks like JSON"),
        ("excel", "sep=;\na;b\n1;2\n", ":1:1: the first line tells Excel the separator: remove it"),
        ("excel_commas", "sep=,\na,b\n1,2\n", ":1:1: the first line tells Excel the separator: remove it"),
        ("comment", "# made by x\na,b\n1,2\n", ":1:1: the first line looks like a comment: remove it"),
    ] {
        let bad = folder.write(name, content);
        let expected = &format!("{bad}{expected}, expected names of columns");
        swarm(&["correlate", "--input", &bad]).fails(65, &[expected]);
        let files = ["match", "search", "--series", &bad, "--query", &bad, "--window", "0"];
        swarm(&[&files[..], &search].concat()).fails(65, &[expected]);
    }
}

#[test]
fn f13_a_separator_and_decimal_commas_beside_it_are_named() {
    let folder = Folder::new("input_mixed_separators");
    for (name, content, expected) in [
        (
            "named",
            "datum;wert, eur;zwei\n1,5;2,5;3\n",
            ":1:6: the columns seem to be separated by semicolons",
        ),
        ("tabs", "a\tb, x\n1,5\t2,5\n", ":1:2: the columns seem to be separated by TABs"),
        (
            "fields",
            "a,b\n1,2;3\n",
            ":2:3: expected one number, found \"2;3\": several seem to be separated by semicolons",
        ),
    ] {
        let bad = folder.write(name, content);
        swarm(&["correlate", "--input", &bad]).fails(65, &[&format!("{bad}{expected}")]);
    }
    let quoted = folder.write("quoted", "\"a;b;c\",d\n1,2\n2,1\n");
    assert_eq!(swarm(&["correlate", "--input", &quoted, "-o", "json"]).json()["labels"][0], "a;b;c");
}

#[test]
fn f13_a_number_that_is_written_for_people_is_refused_with_what_to_write() {
    let folder = Folder::new("input_formatted");
    let good = folder.write("good", "1\n");
    for (text, expected) in [
        ("1,234", "found \"1,234\": write 1.234 or 1234, whichever is meant"),
        ("-12,345", "write -12.345 or -12345, whichever is meant"),
        ("1234,567", "a number with a decimal point, found"),
        ("0,125", "a number with a decimal point, found"),
        ("1,234.5", "such as -1234.5, found \"1,234.5\": write it without signs of currency"),
        ("1.234,5", "such as -1234.5"),
        ("1.234.567", "such as -1234.5"),
        ("1'234", "such as -1234.5"),
        ("1 234", "such as -1234.5"),
        ("(5)", "such as -1234.5"),
        ("5%", "such as -1234.5"),
        ("$5", "such as -1234.5"),
        ("\u{2212}5", "such as -1234.5"),
        ("1,2,3", "expected one number, found \"1,2,3\": several seem to be separated by commas"),
        ("1 2 3 4", "expected one number, found \"1 2 3 4\": several seem to be separated by blanks"),
        ("1 234 567,5", "such as -1234.5"),
        ("\"1\"", "percent, brackets, quotes, blanks or thousands"),
        ("1\t2", "several seem to be separated by TABs"),
        ("one", "expected a number, found \"one\""),
    ] {
        let bad = folder.write("bad", format!("{text}\n"));
        swarm(&["match", "distance", &good, &bad]).fails(65, &["bad:1:1: expected", expected]);
    }
}

#[test]
fn f13_several_byte_order_marks_and_a_name_that_promises_gzip_are_understood() {
    let folder = Folder::new("input_clear");
    let plain = folder.write("plain", "1\n2\n");
    let marks = folder.write("marks", "\u{feff}\u{feff}1\n2\n");
    assert_eq!(swarm(&["match", "distance", &marks, &plain, "-o", "json"]).json()["distance"], 0.0);
    let promised = folder.write("plain.gz", "1\n2\n");
    swarm(&["match", "distance", &promised, &plain])
        .fails(65, &["plain.gz: is called .gz and is no gzip file, rename it if it is text"]);
    let zip = folder.write("zip.gz", "PK\u{3}\u{4}");
    swarm(&["match", "distance", &zip, &plain]).fails(65, &["zip.gz: looks like a ZIP archive"]);
}

#[test]
fn f14_negative_numbers_after_options_are_values_that_are_refused() {
    let folder = Folder::new("input_negative");
    let (table, column) = (folder.write("table", "a,b\n1,2\n2,1\n"), folder.write("column", "1\n2\n"));
    for (arguments, expected) in [
        (
            &["correlate", "--input", &table, "--method", "lcss", "--epsilon", "-1"][..],
            "a number that is not negative",
        ),
        (&["correlate", "--input", &table, "--method", "dtw", "--window", "-3"], "a whole number from 0 on"),
        (&["correlate", "--input", &table, "--rolling", "-2"], "a number of rows from 2 on"),
        (&["correlate", "--input", &table, "--rolling", "2", "--every", "-1"], "a whole number from 1 on"),
        (&["match", "distance", &column, &column, "--band", "-5"], "a number from 0 to 100"),
        (&["match", "distance", &column, &column, "--window", "-1.5"], "a whole number from 0 on"),
    ] {
        swarm(arguments).fails(2, &["invalid value '-", expected]);
    }
}

#[test]
fn f14_options_that_are_no_numbers_or_addresses_are_told_what_is_expected() {
    for (arguments, expected) in [
        (&["ca", "init", "x", "--days", "abc"][..], "a whole number from 1 to 36500"),
        (
            &["ca", "issue", "x", "n", "--role", "agent", "--out", "o", "--days", "0"],
            "a whole number from 1 to 36500",
        ),
        (
            &["ca", "token", "x", "n", "--role", "agent", "--expires", "1h"],
            "a whole number from 1 to 2592000",
        ),
        (
            &["node", "--config", "x", "--listen", "here"],
            "no address to listen on: an IP address and a port such as",
        ),
    ] {
        swarm(arguments).fails(2, &["invalid value", expected]);
    }
    crate::swarm_in(&[("SWARM_LISTEN", "here")], &["node", "--config", "Cargo.toml"])
        .fails(78, &["SWARM_LISTEN", "an IP address and a port such as"]);
}

#[test]
fn f14_line_ends_blank_lines_and_what_follows_a_gzip_file_are_named() {
    let folder = Folder::new("input_lines");
    let good = folder.write("good", "1\n2\n");
    for (name, content, expected) in [
        (
            "mac",
            &b"1\r2\r3\r"[..],
            ":1:2: a carriage return without a line feed, expected lines that end in LF or CRLF",
        ),
        ("mixed", b"1\r\n2\r3\n", ":2:2: a carriage return"),
        ("blank", b"1\n\n2\n", ":2:1: the line is blank, expected a row"),
        ("first", b"\n1\n2\n", ":1:1: the line is blank, expected a row"),
        (
            "tail.gz",
            &[&gzip(b"1\n2\n")[..], b"tail"].concat(),
            "after its end come bytes that are no gzip, remove them",
        ),
    ] {
        let bad = folder.write(name, content);
        swarm(&["match", "distance", &bad, &good]).fails(65, &[&bad, expected]);
    }
    let table = folder.write("table", "a,b\r1,2\r2,1\r");
    swarm(&["correlate", "--input", &table]).fails(65, &["table:1:4: a carriage return"]);
}

#[test]
fn f14_a_task_file_may_have_a_byte_order_mark() {
    let folder = Folder::new("input_task");
    let fault = |content: &str| {
        let task = folder.write("task.json", content);
        swarm(&["submit", &task, "--connect", "127.0.0.1:1"])
    };
    fault("\u{feff}{\"kind\": \"dance\"}").fails(65, &["task.json:1:16: unknown kind `dance`"]);
    fault("\u{feff}[]").fails(65, &["task.json:1:1: expected a task", "found a list"]);
}

/// What `swarm correlate` says of a table whose first column has this name and these values, and which labels it finds.
fn first_column(name: &str, values: [&str; 3]) -> (serde_json::Value, String) {
    let [a, b, c] = values;
    let table = format!("{name},x,y\n{a},1,2\n{b},2,1\n{c},3,3\n");
    let run = swarm_reading(&["correlate", "--input", "-", "-o", "json"], table.as_bytes());
    (run.json()["labels"].clone(), run.stderr)
}

#[test]
fn m1_numbers_under_the_name_of_an_index_are_a_series_and_that_is_said() {
    let years = ["20240101", "20240102", "20240103"];
    for name in ["Date", "timestamp", "INDEX", "time", "Date Time", "date_time"] {
        let (labels, said) = first_column(name, years);
        assert_eq!(labels, serde_json::json!([name, "x", "y"]));
        let expected = format!(
            "swarm: note: standard input:1:1: the values of \"{name}\" are numbers, so it is a series; if these are labels of \
             rows, leave the name of the column empty\n"
        );
        assert_eq!(said, expected);
    }
    for name in ["year", "updated", "a"] {
        assert_eq!(first_column(name, years).1, "", "{name}");
    }
    assert_eq!(first_column("date", ["", "NaN", ""]).1, "", "no value is a number");
    assert_eq!(first_column("", years), (serde_json::json!(["x", "y"]), String::new()));
}

#[test]
fn m2_dates_with_the_year_first_and_times_of_day_need_no_note() {
    for dates in [
        ["19980102 00:00", "19980105 00:00", "19980106 00:00"],
        ["20240101T0930", "20240101T1000", "20240101T1030Z"],
        ["2024-01-01", "2024/01/02", "2024-01-03T09:30:00Z"],
        ["2024-01", "2024-02", "2024-03"],
        ["10:00", "10:30", "11:00:30"],
    ] {
        assert_eq!(first_column("t", dates), (serde_json::json!(["x", "y"]), String::new()), "{dates:?}");
    }
}

#[test]
fn what_has_digits_where_a_date_has_them_is_no_date_for_that() {
    for labels in [
        ["2020W01", "2020W02", "2020W03"],
        ["2020a01b01", "2020a01b02", "2020a01b03"],
        ["20200101x", "20200102x", "20200103x"],
        ["10:00x30", "10:01x30", "10:02x30"],
    ] {
        let said = first_column("t", labels).1;
        assert!(said.contains("no value of \"t\" is a number"), "{labels:?}: {said:?}");
    }
}

#[test]
fn m2_dates_of_which_the_month_is_not_known_get_a_note_that_says_how_to_write_them() {
    for dates in [["01/02/2020", "01/03/2020", "01/04/2020"], ["01.02.2024", "02.02.2024", "3.2.2024"]] {
        let (labels, said) = first_column("Date", dates);
        assert_eq!(labels, serde_json::json!(["x", "y"]));
        assert!(
            said.contains("swarm: note: no value of \"Date\" is a number, so it is taken for the labels"),
            "{said}"
        );
        assert!(
            said.ends_with(
                "; dates are written as 2020-01-31: of 01/02/2020 it is not known which number is the month\n"
            ),
            "{said}"
        );
    }
    let (_, said) = first_column("t", ["AAPL", "01/02/2020", "IBM"]);
    assert!(!said.contains("month"), "{said}");
}

#[test]
fn m2_the_bundled_prices_are_correlated_without_a_note() {
    let bars = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/us_equity/spy_daily.csv.gz");
    let run = swarm(&["correlate", "--input", bars, "-o", "json"]);
    assert_eq!((run.json()["labels"][0].as_str(), run.stderr.as_str()), (Some("open"), ""));
}
