//! Processes that run while a test looks at them.

use std::fs;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Run;

/// How long anything may take on a machine that is slow and busy.
const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until there is something.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// `swarm`, or a peer of it, in the background. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    stdout: Heard,
    stderr: Heard,
}

/// What was written to a pipe so far.
struct Heard {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Heard {
    fn on(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(bytes @ 1..) = pipe.read(&mut piece) {
                heard.lock().unwrap().extend_from_slice(&piece[..bytes]);
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    fn all(&mut self) -> String {
        self.reader.take().unwrap().join().unwrap();
        self.so_far()
    }
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(&[], arguments)
    }

    /// With these variables in its environment.
    pub(crate) fn start_in(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = Self::swarm(arguments);
        command.envs(environment.iter().copied());
        Self::spawn(command)
    }

    /// With pipes of the test's own, of which nothing is heard.
    pub(crate) fn start_on(arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Self {
        Self::spawn_on(Self::swarm(arguments), stdout, stderr)
    }

    /// Any command, which is heard.
    pub(crate) fn spawn(command: Command) -> Self {
        Self::spawn_on(command, Stdio::piped(), Stdio::piped())
    }

    fn swarm(arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swarm"));
        command.args(arguments);
        for variable in ["SWARM_LOG", "RUST_LOG", "SWARM_IDENTITY"] {
            command.env_remove(variable);
        }
        command
    }

    fn spawn_on(mut command: Command, stdout: Stdio, stderr: Stdio) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().unwrap();
        let stdout = child.stdout.take().map_or_else(|| Heard::on(io::empty()), Heard::on);
        let stderr = child.stderr.take().map_or_else(|| Heard::on(io::empty()), Heard::on);
        Self { child, stdout, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// Waits until stderr holds `text`, and gives all of it.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> String {
        eventually(text, || {
            let heard = self.stderr.so_far();
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() || heard.contains(text), "{ended:?} before it said {text:?}: {heard}");
            heard.contains(text).then_some(heard)
        })
    }

    /// The address behind `listens on` in what it says.
    #[track_caller]
    pub(crate) fn listens_on(&mut self) -> SocketAddr {
        let heard = self.says("listens on ");
        let (_, address) = heard.rsplit_once("listens on ").unwrap();
        address.split([';', '\n', '"']).next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(signal_to(self.child.id(), signal), "{signal}");
    }

    /// Whether one of its threads waits in this function of the kernel.
    pub(crate) fn waits_in(&self, function: &str) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let mut waits =
            threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("wchan")).ok());
        waits.any(|wait| wait.contains(function))
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Run {
        let status = eventually("the end of the process", || self.child.try_wait().unwrap());
        Run { code: status.code(), stdout: self.stdout.all(), stderr: self.stderr.all() }
    }

    /// The node processes that it has started: name and process id.
    #[track_caller]
    pub(crate) fn nodes(&self, count: usize) -> Vec<(String, u32)> {
        let parent = self.child.id();
        eventually("the node processes", || {
            let nodes: Vec<_> = processes().filter_map(|pid| Some((node_of(pid, parent)?, pid))).collect();
            (nodes.len() == count).then_some(nodes)
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Sends a signal to a process; whether there is one.
pub(crate) fn signal_to(pid: u32, signal: &str) -> bool {
    Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap().success()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The name of the node that a process runs for `parent`, as its command line tells it.
fn node_of(pid: u32, parent: u32) -> Option<String> {
    let stat = stat(pid)?;
    if stat[1].parse() != Ok(parent) {
        return None;
    }
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = command.split('\0').skip_while(|word| *word != "--name");
    words.nth(1).map(str::to_owned)
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat[0] != "Z")
}

/// How long a process has computed, in clock ticks of 1/100 s.
pub(crate) fn ticks(pid: u32) -> u64 {
    stat(pid).map_or(0, |stat| stat[11].parse().unwrap())
}

/// The fields of `/proc/PID/stat` from the third on, which is the state.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split_ascii_whitespace().map(str::to_owned).collect())
}
