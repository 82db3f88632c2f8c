//! Tests from outside: the built binary `swarm`, its output and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
#[cfg(target_os = "linux")]
mod ca;
mod cli;
mod config;
mod correlate;
mod declare;
#[cfg(target_os = "linux")]
mod enrol;
mod input;
#[cfg(target_os = "linux")]
mod links;
mod matching;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod node;
#[cfg(target_os = "linux")]
mod ops;
mod pictures;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod python;
#[cfg(target_os = "linux")]
mod refused;
#[cfg(target_os = "linux")]
mod spread;
#[cfg(target_os = "linux")]
mod stranger;
#[cfg(target_os = "linux")]
mod unread;
#[cfg(target_os = "linux")]
mod up;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run of `swarm` left behind.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    #[track_caller]
    fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// Asserts a failure whose message, beside `swarm: `, holds every given part.
    #[track_caller]
    fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "stdout {:?}, stderr {:?}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing in {:?}", self.stderr);
        }
    }
}

fn swarm(arguments: &[&str]) -> Run {
    swarm_reading(arguments, b"")
}

fn swarm_reading(arguments: &[&str], stdin: &[u8]) -> Run {
    run(arguments, &[], stdin)
}

/// Runs `swarm` with these variables in its environment.
fn swarm_in(environment: &[(&str, &str)], arguments: &[&str]) -> Run {
    run(arguments, environment, b"")
}

fn run(arguments: &[&str], environment: &[(&str, &str)], stdin: &[u8]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_swarm"))
        .args(arguments)
        .env_remove("SWARM_IDENTITY")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A child that failed before it read leaves a closed pipe, which is not what a test is about.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder of one test's own, empty at its start.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn write_gzip(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        self.write(name, gzip(content.as_ref()))
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A file of the public data sets, or `None` with a message where they are absent.
fn data(name: &str) -> Option<String> {
    let folder = std::env::var_os("ACTIX_SWARM_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = folder.join(name);
    if !path.exists() {
        // Not `eprintln!`, whose text the test runner hides when the test passes.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: {} is absent: reference data that is no part of the repository, in a folder that ACTIX_SWARM_DATA names", path.display()).unwrap();
        return None;
    }
    Some(path.to_str().unwrap().to_owned())
}

#[test]
fn c5_a_run_of_the_tests_ends_with_how_many_were_skipped_and_why() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("skipped");
    let run = |script: &str| {
        let cargo = folder.write("cargo", format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(cargo, fs::Permissions::from_mode(0o700)).unwrap();
        let path = format!("{}:{}", folder.0.display(), std::env::var("PATH").unwrap());
        let output = Command::new(ops::project(".ci/test")).env("PATH", path).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) =
        run("echo 'test a ... SKIPPED: no x'; echo 'SKIPPED: no x'; echo 'SKIPPED: no y' >&2; exit 3");
    assert_eq!(code, Some(3));
    let (_, end) = said.split_once("skipped tests: 3, each with its reason:\n").expect("a summary");
    let lines: Vec<&str> = end.lines().map(str::trim).collect();
    assert_eq!(lines, ["2 no x", "1 no y"]);
    let (code, said) = run("echo 'test a ... ok'");
    assert_eq!((code, said.as_str()), (Some(0), "test a ... ok\nno test was skipped\n"));
}
