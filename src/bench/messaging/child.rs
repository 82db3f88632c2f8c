//! The responder as its parent sees it.

use std::process::Stdio;
use std::time::Duration;

use swarm_actors::identity::Identity;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::MessagingError;
use super::responder::{Addresses, Orders};

/// How long the responder may take to listen, and to end.
const MOMENT: Duration = Duration::from_secs(5);

/// A child process. It ends with the process that started it, whatever becomes of that one: when its
/// stdin is closed.
pub(super) struct Responder {
    child: Child,
    /// Held apart from the child, because to wait for that would close it.
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Responder {
    pub(super) async fn start(identity: &Identity) -> Result<Self, MessagingError> {
        let failed = |error: std::io::Error| MessagingError::Start(error.to_string());
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("bench-responder")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (mut stdin, stdout) = pipes.expect("both are piped");
        stdin.write_all(&Orders::new(identity).line()).await.map_err(failed)?;
        stdin.flush().await.map_err(failed)?;
        Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
    }

    pub(super) async fn addresses(&mut self) -> Result<Addresses, MessagingError> {
        let mut line = String::new();
        let read = tokio::time::timeout(MOMENT, self.stdout.read_line(&mut line)).await;
        let unusable = |why: &dyn std::fmt::Display| {
            MessagingError::Lost(format!("it did not say where it listens: {why}"))
        };
        read.map_err(|late| unusable(&late))?.map_err(|error| unusable(&error))?;
        serde_json::from_str(&line).map_err(|error| unusable(&error))
    }

    /// Completes if it ends by itself, which it should not: requests to it would wait for nothing.
    pub(super) async fn ended(&mut self) -> MessagingError {
        match self.child.wait().await {
            Ok(status) => MessagingError::Lost(format!("it ended with {status}")),
            Err(error) => MessagingError::Lost(error.to_string()),
        }
    }

    /// Ends it and waits for that.
    pub(super) async fn stop(mut self) {
        drop(self.stdin);
        if tokio::time::timeout(MOMENT, self.child.wait()).await.is_err() {
            // An error means that it has ended in this very moment.
            let _ended = self.child.kill().await;
        }
    }
}
