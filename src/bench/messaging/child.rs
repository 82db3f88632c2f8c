//! The responder as its parent sees it.

use std::process::Stdio;
use std::time::Duration;

use serde::de::DeserializeOwned;
use swarm_actors::identity::Identity;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::MessagingError;
use super::responder::{Addresses, Orders};
use super::usage::{Usage, resident_bytes};

/// How long the responder may take to say something, and to end.
const MOMENT: Duration = Duration::from_secs(5);

/// A child process that answers. It ends with the process that started it, whatever becomes of that one: when its
/// stdin is closed.
pub(super) struct Responder {
    pub(super) addresses: Addresses,
    process: Option<u32>,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Responder {
    /// Starts one, measures, ends it and waits for that.
    pub(super) async fn with<T>(
        identity: &Identity,
        measure: impl AsyncFnOnce(&mut Responder) -> Result<T, MessagingError>,
    ) -> Result<T, MessagingError> {
        let failed = |error: std::io::Error| MessagingError::Start(error.to_string());
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("bench-responder")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let process = child.id();
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (mut stdin, stdout) = pipes.expect("both are piped");
        stdin.write_all(&Orders::new(identity).line()).await.map_err(failed)?;
        stdin.flush().await.map_err(failed)?;
        let mut stdout = BufReader::new(stdout);

        let measured = async {
            let addresses = said(&mut stdout, "where it listens").await?;
            measure(&mut Responder { addresses, process, stdin, stdout }).await
        };
        let measured = tokio::select! {
            measured = measured => measured,
            // By itself, which it should not: requests to it would wait for nothing.
            ended = child.wait() => Err(MessagingError::Lost(match ended {
                Ok(status) => format!("it ended with {status}"),
                Err(error) => error.to_string(),
            })),
        };
        stop(child).await;
        measured
    }

    /// What the responder has used so far.
    pub(super) async fn usage(&mut self) -> Result<Usage, MessagingError> {
        let lost = |error: std::io::Error| MessagingError::Lost(error.to_string());
        self.stdin.write_all(b"\n").await.map_err(lost)?;
        self.stdin.flush().await.map_err(lost)?;
        said(&mut self.stdout, "what it has used").await
    }

    /// The memory that it has now, where the system tells.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        resident_bytes(self.process?)
    }
}

/// The next line of the responder.
async fn said<T: DeserializeOwned>(
    stdout: &mut BufReader<ChildStdout>,
    what: &str,
) -> Result<T, MessagingError> {
    let mut line = String::new();
    let read = tokio::time::timeout(MOMENT, stdout.read_line(&mut line)).await;
    let unusable =
        |why: &dyn std::fmt::Display| MessagingError::Lost(format!("it did not say {what}: {why}"));
    read.map_err(|late| unusable(&late))?.map_err(|error| unusable(&error))?;
    serde_json::from_str(&line).map_err(|error| unusable(&error))
}

/// Its stdin is closed already.
async fn stop(mut child: Child) {
    if tokio::time::timeout(MOMENT, child.wait()).await.is_err() {
        // An error means that it has ended in this very moment.
        let _ended = child.kill().await;
    }
}
