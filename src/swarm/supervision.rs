//! What a parent and the node process that it supervises say to each other.
//!
//! The parent writes an [`Assignment`] to the child's standard input, as JSON that ends with a NUL
//! byte, so that no key touches a disk or a command line, and leaves the pipe open. The child
//! answers on standard output with one line of JSON, [`Ready`]. The end of the pipe tells the child
//! to stop, which is also what it sees when its parent was killed.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use swarm_actors::identity::{Identity, IdentityError, IdentityPem, PrivateKeyPem};
use swarm_protocols::session::Timing;
use tokio::sync::oneshot;

use super::node_file::Duty;

/// The longest assignment, in bytes.
const ASSIGNMENT_BYTES_MAX: u64 = 1 << 20;

/// How long the sessions of supervised nodes wait. All of them are on one machine, where a peer that
/// is silent for seconds is dead, and its work should not wait any longer.
pub(crate) const TIMING: Timing = Timing {
    handshake: Duration::from_secs(10),
    heartbeat: Duration::from_millis(500),
    silence: Duration::from_secs(3),
    frame: Duration::from_secs(10),
};

/// What a node is to run. Its identity says who it is.
#[derive(Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) listen: SocketAddr,
    pub(crate) duty: Duty,
    certificate: String,
    key: String,
    authority: String,
}

/// A node works: a coordinator listens, an agent has a session with its coordinator.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
}

impl Assignment {
    pub(crate) fn new(identity: &Identity, listen: SocketAddr, duty: Duty) -> Self {
        let IdentityPem { certificate, key, authority } = identity.to_pem();
        Self {
            listen,
            duty,
            certificate: certificate.clone(),
            key: key.as_str().to_owned(),
            authority: authority.clone(),
        }
    }

    pub(crate) fn identity(&self) -> Result<Identity, IdentityError> {
        Identity::from_pem(IdentityPem {
            certificate: self.certificate.clone(),
            key: PrivateKeyPem::new(self.key.clone()),
            authority: self.authority.clone(),
        })
    }

    /// The bytes for the pipe.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("strings and numbers always have a JSON form");
        bytes.push(0);
        bytes
    }

    /// Reads an assignment; `None` when the pipe ends before it, because the parent is gone or has
    /// thought better of it.
    pub(crate) fn read(pipe: impl BufRead) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        pipe.take(ASSIGNMENT_BYTES_MAX).read_until(0, &mut bytes)?;
        if bytes.pop() != Some(0) {
            let overlong = bytes.len() as u64 + 1 == ASSIGNMENT_BYTES_MAX;
            return if overlong { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(None) };
        }
        Ok(Some(serde_json::from_slice(&bytes)?))
    }
}

impl Ready {
    pub(crate) fn write(&self, mut to: impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut to, self)?;
        to.write_all(b"\n")?;
        to.flush()
    }
}

/// Completes when standard input ends.
pub(crate) fn end_of_stdin() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    // A thread of its own, which nobody joins: a read of a pipe cannot be given up, and the process
    // may well end before the pipe does.
    thread::spawn(move || {
        // An error is as good an end as any.
        let _end = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _nobody_waits = ended.send(());
    });
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;
    use swarm_actors::identity::{Authority, Validity};
    use swarm_protocols::Role;

    fn assignment() -> Assignment {
        let hour = Validity::starting(SystemTime::now(), Duration::from_secs(3_600)).unwrap();
        let authority = Authority::new("test", hour).unwrap();
        let identity = authority.issue(&"hub".parse().unwrap(), Role::Coordinator, hour).unwrap();
        Assignment::new(&identity, "127.0.0.1:0".parse().unwrap(), Duty::Coordinator)
    }

    #[test]
    fn an_assignment_passes_through_a_pipe_that_stays_open() {
        let mut pipe = assignment().encode();
        pipe.extend_from_slice(b"more");
        let read = Assignment::read(&pipe[..]).unwrap().unwrap();
        assert_eq!(read.duty, Duty::Coordinator);
        let identity = read.identity().unwrap();
        assert_eq!((identity.id().as_str(), identity.role()), ("hub", Role::Coordinator));
    }

    #[test]
    fn a_pipe_that_ends_early_holds_no_assignment_and_garbage_is_an_error() {
        let pipe = assignment().encode();
        assert!(Assignment::read(&pipe[..pipe.len() - 1]).unwrap().is_none());
        assert!(Assignment::read(&b""[..]).unwrap().is_none());
        assert!(Assignment::read(&b"{}\0"[..]).is_err());
        let endless = vec![b' '; ASSIGNMENT_BYTES_MAX as usize + 1];
        assert_eq!(Assignment::read(&endless[..]).err().unwrap().kind(), io::ErrorKind::FileTooLarge);
    }
}
