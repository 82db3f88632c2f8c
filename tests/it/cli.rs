//! What is around the commands: inputs, exit codes, streams.

use std::process::Command;

use crate::{Folder, gzip, swarm, swarm_reading};

#[test]
fn wrong_usage_exits_with_2() {
    let folder = Folder::new("wrong_usage");
    let a = folder.write("a", "1\n2\n");
    for arguments in [
        vec![],
        vec!["nonsense"],
        vec!["match"],
        vec!["match", "distance", &a],
        vec!["match", "distance", &a, &a, "--band", "5", "--window", "5"],
        vec!["match", "distance", &a, &a, "--band", "-1"],
        vec!["match", "distance", &a, &a, "--band", "100.5"],
        vec!["match", "distance", &a, &a, "--band", "NaN"],
        vec!["match", "distance", &a, &a, "--window", "-1"],
        vec!["match", "distance", &a, &a, "--window", "1.5"],
        vec!["match", "distance", &a, &a, "-o", "yaml"],
        vec!["match", "distance", "-", "-"],
        vec!["match", "classify", "--train", "-", "--test", "-"],
        vec!["completions", "cmd.exe"],
    ] {
        let run = swarm(&arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{arguments:?}");
        assert!(!run.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn malformed_numbers_are_refused_with_their_place() {
    let folder = Folder::new("malformed_numbers");
    let good = folder.write("good", "1\n2\n");
    for (name, content, place, found) in [
        ("nan", "1\nnan\n2\n", ":2:1: ", "NaN"),
        ("infinite", "1\ninf\n", ":2:1: ", "\"inf\""),
        ("overflowing", "1\n2\n1e999\n", ":3:1: ", "\"1e999\""),
        ("text", "1\n  x\n", ":2:3: ", "\"x\""),
        ("two-on-a-line", "1 2\n", ":1:1: ", "\"1 2\""),
        ("blank-between", "1\n\n\n2\n", ":2:1: ", "blank"),
        ("empty", "", ": ", "empty"),
        ("only-blank", "\n \n", ": ", "empty"),
        ("escape", "\u{1b}[31m\n", ":1:1: ", "\\u{1b}"),
    ] {
        let bad = folder.write(name, content);
        swarm(&["match", "distance", &bad, &good]).fails(65, &["swarm: ", &format!("{bad}{place}"), found]);
        swarm(&["match", "distance", &good, &bad]).fails(65, &[&bad]);
        swarm_reading(&["match", "distance", &good, "-"], content.as_bytes())
            .fails(65, &[&format!("standard input{place}"), found]);
    }
    let bad = folder.write("not-utf-8", b"1\n2\xff\n");
    swarm(&["match", "distance", &bad, &good]).fails(65, &[&format!("{bad}:2:2: "), "UTF-8"]);
}

#[test]
fn long_garbage_is_refused_without_being_repeated() {
    let folder = Folder::new("long_garbage");
    let good = folder.write("good", "1\n");
    let text = folder.write("text", "x".repeat(1 << 20));
    let run = swarm(&["match", "distance", &text, &good]);
    run.fails(65, &[&format!("{text}:1:1: ")]);
    assert!(run.stderr.len() < 500, "{} bytes", run.stderr.len());

    let endless = folder.write_gzip("endless.gz", vec![b'1'; 17 << 20]);
    swarm(&["match", "distance", &endless, &good]).fails(65, &[&format!("{endless}:1:1: "), "16 MiB"]);
}

#[test]
fn unreadable_files_are_named() {
    let folder = Folder::new("unreadable_files");
    let good = folder.write("good", "1\n");
    let whole = gzip("1\n".repeat(1000).as_bytes());
    let mut damaged = whole.clone();
    damaged[20] ^= 0xff;
    let cases = [
        folder.path("missing"),
        folder.path(""),
        folder.write("plain.gz", "1\n2\n"),
        folder.write("truncated.gz", &whole[..whole.len() - 4]),
        folder.write("damaged.gz", damaged),
        folder.write("nothing.gz", ""),
    ];
    for path in &cases {
        swarm(&["match", "distance", path, &good]).fails(65, &["swarm: ", path]);
    }
}

#[test]
fn line_ends_byte_order_marks_gzip_and_stdin_make_no_difference() {
    let folder = Folder::new("line_ends");
    let a = folder.write("a", "1\n2.5\n-3e0\n");
    let distance = |b: &str, stdin: &str| {
        swarm_reading(&["match", "distance", &a, b, "-o", "json"], stdin.as_bytes()).json()["distance"]
            .clone()
    };
    assert_eq!(distance("-", "1\n2.5\n-3"), 0.0);
    assert_eq!(distance(&folder.write("crlf", "1\r\n2.5\r\n-3\r\n\r\n"), ""), 0.0);
    assert_eq!(distance(&folder.write("marked", "\u{feff}1\n 2.5\n-3\t\n\n\n"), ""), 0.0);
    assert_eq!(distance(&folder.write_gzip("b.gz", "1\n2.5\n-3\n"), ""), 0.0);
    let mut members = gzip(b"1\n2.");
    members.extend(gzip(b"5\n-3\n"));
    assert_eq!(distance(&folder.write("members.gz", members), ""), 0.0);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_swarm"))
        .args(["completions", "bash"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_swarm"))
        .args(["completions", "bash"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("swarm: cannot write to stdout: "));
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let run = swarm(&["completions", shell]);
        assert_eq!(run.code, Some(0), "{shell}: {}", run.stderr);
        assert!(run.stdout.contains("query-column"), "{shell}");
    }
}

#[test]
fn help_goes_to_stdout() {
    let run = swarm(&["match", "search", "--help"]);
    assert_eq!(run.code, Some(0));
    assert!(run.stdout.contains("--query-start <ROW>"), "{}", run.stdout);
}
