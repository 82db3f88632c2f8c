//! Output that nobody reads: it holds up neither signals nor work.

use std::io::{PipeReader, Write as _};
use std::process::{Command, Stdio};

use crate::processes::{Running, eventually, is_running};
use crate::{Folder, Run};

/// A swarm that has nothing to do but to say that it is there.
const IDLE: &str = r#"name = "idle"
[[nodes]]
name = "hub"
role = "coordinator"
[[nodes]]
name = "agent-1"
role = "agent"
agent_type = "pattern-matcher"
connect = ["hub"]
"#;

/// A pipe that takes not one byte more, as long as its reader lives.
fn full_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // What a pipe holds on Linux.
    writer.write_all(&[b'\n'; 64 << 10]).unwrap();
    (reader, writer.into())
}

#[test]
fn results_that_nobody_reads_do_not_hold_up_a_signal() {
    let file = Folder::new("unread_results").write("idle.toml", IDLE);
    let (_reader, stdout) = full_pipe();
    let run = Running::start_on(&["up", &file, "-o", "json"], stdout, Stdio::piped());
    let nodes = run.nodes(2);
    eventually("it waits for a reader", || run.waits_in("pipe_write").then_some(()));
    run.signal("TERM");
    let Run { code, stderr, .. } = run.finish();
    assert_eq!((code, stderr.as_str()), (Some(143), "swarm: stopped by SIGTERM\n"));
    assert!(nodes.iter().all(|(_, pid)| !is_running(*pid)));
}

#[test]
fn progress_that_nobody_reads_holds_up_nothing() {
    let file = Folder::new("unread_progress").write("idle.toml", IDLE);
    let (_reader, stderr) = full_pipe();
    let run = Running::start_on(&["up", &file, "--keep", "--full"], Stdio::piped(), stderr);
    let nodes = run.nodes(2);
    eventually("the result", || run.stdout().contains("The coordinator sent").then_some(()));
    run.signal("INT");
    assert_eq!(run.finish().code, Some(130));
    assert!(nodes.iter().all(|(_, pid)| !is_running(*pid)));
}

#[test]
fn f13_a_distance_ends_on_a_signal_that_its_parent_ignores() {
    let folder = Folder::new("distance_signal");
    let (pipe, file) = (folder.path("pipe"), folder.write("file", "1\n"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "trap '' INT; exec \"$0\" match distance \"$1\" \"$2\"",
        env!("CARGO_BIN_EXE_swarm"),
        &pipe,
        &file,
    ]);
    let running = Running::spawn(shell);
    // It reads once it listens for signals.
    let _writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    running.signal("INT");
    running.finish().fails(130, &["stopped by SIGINT"]);
}
