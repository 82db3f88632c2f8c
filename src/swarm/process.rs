//! A node as a child process: started, listened to, stopped, waited for.

use std::fmt;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use swarm_protocols::{Backoff, NodeId, Role};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::supervision::{Assignment, Ready};

/// How long a node may take until it is ready.
const START_MAX: Duration = Duration::from_secs(60);

/// How long a node may take to stop by itself: it gives itself a tenth of that.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How long the last words of a process that has ended may take.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// How often an agent is started again that crashed.
const RESTARTS_MAX: u32 = 3;

/// How long it is waited before an agent is started again: at most this the first time, twice as long each further time.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The exit code of a process whose main thread panicked.
const PANICKED: i32 = 101;

/// The exit code of a node that no longer does what it is there for: `EX_SOFTWARE` of `sysexits.h`.
pub(crate) const BROKEN: u8 = 70;

/// The exit code of a node whose configuration is at fault.
pub(crate) const MISCONFIGURED: u8 = 78;

/// The exit code of a node that something else is in the way of, such as who has its port: `EX_TEMPFAIL`.
pub(crate) const TRY_AGAIN: u8 = 75;

/// The longest line of a child that is passed on whole, in bytes.
const LINE_BYTES_MAX: u64 = 4096;

/// A node that runs as a child of this process, or did. An agent that crashes is started again, three times; a
/// coordinator is not, as the tasks are gone with it.
pub(crate) struct Process {
    pub(crate) name: NodeId,
    pub(crate) role: Role,
    state: watch::Receiver<State>,
    stop: oneshot::Sender<()>,
    supervisor: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct State {
    /// Of the child, the last one where it was started again.
    pid: u32,
    address: Option<SocketAddr>,
    end: Option<End>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// Its exit code, if it had one.
    code: Option<i32>,
    how: String,
    /// The last line that it said.
    pub(crate) last_words: String,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.how)
    }
}

impl End {
    /// Its exit code, if that says that it cannot do what it was told.
    pub(crate) fn unable(&self) -> Option<u8> {
        [MISCONFIGURED, TRY_AGAIN].into_iter().find(|code| self.code == Some(i32::from(*code)))
    }

    /// Whether it was killed, or it or an actor of it panicked.
    fn is_crash(&self) -> bool {
        self.code.is_none_or(|code| code == PANICKED || code == i32::from(BROKEN))
    }
}

impl From<io::Result<ExitStatus>> for End {
    fn from(status: io::Result<ExitStatus>) -> Self {
        match status {
            Ok(status) => Self { code: status.code(), how: status.to_string(), last_words: String::new() },
            Err(error) => Self {
                code: None,
                how: format!("it cannot be waited for: {error}"),
                last_words: String::new(),
            },
        }
    }
}

impl Process {
    /// Starts the node `name`. Its standard error is passed on line by line, under its name.
    pub(crate) fn spawn(name: NodeId, role: Role, assignment: &Assignment) -> io::Result<Self> {
        let child = Running::start(&name)?;
        let (states, state) = watch::channel(State { pid: child.pid, address: None, end: None });
        let (stop, stopped) = oneshot::channel();
        let supervised = Supervised { name: name.clone(), role, assignment: assignment.encode(), states };
        let supervisor = actix_rt::spawn(supervised.run(child, stopped));
        Ok(Self { name, role, state, stop, supervisor })
    }

    /// The process id of its child, also when that has ended.
    pub(crate) fn pid(&self) -> u32 {
        self.state.borrow().pid
    }

    /// Where it listens, once it is ready; kept when it has ended.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.state.borrow().address
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state.borrow().end.is_none()
    }

    /// Waits until it is ready, or has ended instead.
    pub(crate) async fn ready(&self) -> Result<SocketAddr, End> {
        let state = self.wait_for(|state| state.address.is_some() || state.end.is_some()).await;
        match state {
            State { end: Some(end), .. } => Err(end),
            State { address, end: None, .. } => Ok(address.expect("waited for")),
        }
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) -> End {
        self.wait_for(|state| state.end.is_some()).await.end.expect("waited for")
    }

    async fn wait_for(&self, condition: impl FnMut(&State) -> bool) -> State {
        let mut state = self.state.clone();
        let reached = state.wait_for(condition).await.map(|state| state.clone());
        let (code, last_words) = (None, String::new());
        let panicked = || End { code, how: "its supervisor panicked".to_owned(), last_words };
        reached.unwrap_or_else(|_| State { end: Some(panicked()), ..self.state.borrow().clone() })
    }

    /// Stops it and waits for it: first by closing its standard input, in the end by killing it.
    pub(crate) async fn stop(self) {
        // It may have ended by itself.
        let _ended = self.stop.send(());
        // A supervisor that panicked has dropped its child, which killed it.
        let _panicked = self.supervisor.await;
    }
}

/// A child that was started.
struct Running {
    child: Child,
    pid: u32,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

impl Running {
    fn start(name: &NodeId) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["node", "--name", name.as_str(), "--config", "-", "--supervised"])
            // A pipe is no terminal; this process knows who reads in the end.
            .args(io::stderr().is_terminal().then_some("--readable-logs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // For a panic of this process; otherwise every child is stopped and waited for.
            .kill_on_drop(true);
        // Ctrl-C goes to the whole group of a terminal, and its nodes stop when this process says so.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        Ok(Self {
            pid: child.id().expect("a child that nobody has waited for"),
            stdin: child.stdin.take().expect("piped"),
            stdout: child.stdout.take().expect("piped"),
            stderr: child.stderr.take().expect("piped"),
            child,
        })
    }
}

/// The supervisor's side of a [`Process`].
struct Supervised {
    name: NodeId,
    role: Role,
    assignment: Vec<u8>,
    states: watch::Sender<State>,
}

impl Supervised {
    /// Runs the child, and further ones where it is started again, until one has ended for good.
    async fn run(self, mut running: Running, mut stop: oneshot::Receiver<()>) {
        let mut backoff = Backoff::new(RESTART_PAUSE, RESTART_PAUSE * 8);
        for restarts in 0.. {
            let label = format!("the {} {} (pid {})", self.role, self.name, running.pid);
            let (end, asked) = self.run_once(running, &label, &mut stop).await;
            let again = self.role == Role::Agent && end.is_crash() && restarts < RESTARTS_MAX;
            if asked || !again {
                if !asked {
                    tracing::warn!("{label} ended: {end}");
                }
                self.states.send_modify(|state| state.end = Some(end));
                return;
            }
            tracing::warn!("{label} ended: {end}; it is started again");
            let pause = tokio::time::sleep(backoff.next(u32::MAX));
            tokio::select! {
                () = pause => {}
                // Whatever the sender did: nobody wants the agent any more.
                _ = &mut stop => {
                    self.states.send_modify(|state| state.end = Some(end));
                    return;
                }
            }
            running = match Running::start(&self.name) {
                Ok(running) => running,
                Err(error) => {
                    tracing::warn!("{label} cannot be started again: {error}");
                    self.states.send_modify(|state| state.end = Some(end));
                    return;
                }
            };
            let pid = running.pid;
            self.states.send_modify(|state| *state = State { pid, address: None, end: None });
        }
    }

    /// Runs one child, and says how it ended and whether it was asked to.
    async fn run_once(&self, running: Running, label: &str, stop: &mut oneshot::Receiver<()>) -> (End, bool) {
        let Running { mut child, mut stdin, stdout, stderr, .. } = running;
        let words = actix_rt::spawn(pass_on(stderr, self.name.to_string()));
        let asked = tokio::select! {
            _ = child.wait() => false,
            () = introduce(&mut stdin, stdout, &self.assignment, &self.states) => {
                tracing::warn!("{label} did not get ready within {START_MAX:?}, it is stopped");
                false
            }
            _ = stop => true,
        };
        // The end of the pipe says that it is to stop. SIGTERM would say no more than that.
        drop(stdin);
        let status = match timeout(STOP_MAX, child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                tracing::warn!("{label} did not stop within {STOP_MAX:?}, it is killed");
                // An error means that it has just ended.
                let _ended = child.start_kill();
                child.wait().await
            }
        };
        let last_words = timeout(LAST_WORDS_MAX, words).await.ok().and_then(Result::ok).unwrap_or_default();
        (End { last_words, ..End::from(status) }, asked)
    }
}

/// Tells a child what to run and waits for its answer; ends only when none came in time.
async fn introduce(
    stdin: &mut ChildStdin,
    stdout: ChildStdout,
    assignment: &[u8],
    states: &watch::Sender<State>,
) {
    let ready = async {
        stdin.write_all(assignment).await?;
        stdin.flush().await?;
        let mut line = Vec::new();
        BufReader::new(stdout.take(LINE_BYTES_MAX)).read_until(b'\n', &mut line).await?;
        io::Result::Ok(serde_json::from_slice::<Ready>(&line)?)
    };
    match timeout(START_MAX, ready).await {
        Ok(Ok(ready)) => {
            states.send_modify(|state| state.address = Some(ready.address));
            std::future::pending().await
        }
        // A pipe that broke belongs to a child that is ending, which says more about it.
        Ok(Err(_)) => tokio::time::sleep(START_MAX).await,
        Err(_) => {}
    }
}

/// Passes the lines of a child on to our own stderr; the last one remains.
async fn pass_on(stderr: ChildStderr, name: String) -> String {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    let mut last = String::new();
    loop {
        line.clear();
        match (&mut stderr).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return last,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                super::progress::say(attributed(&name, text.trim_end()));
                last = text.trim_end().to_owned();
            }
        }
    }
}

/// A line of a node, with its name: beside a sentence, inside of a log line in JSON.
fn attributed(name: &str, line: &str) -> String {
    match line.strip_prefix('{').filter(|rest| rest.ends_with('}')) {
        Some(rest) => format!("{{\"node\":\"{name}\",{rest}"),
        None => format!("{name}: {line}"),
    }
}
