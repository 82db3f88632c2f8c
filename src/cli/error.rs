//! What a failed command leaves behind: a sentence for people and an exit code for scripts.

use std::fmt::{self, Write as _};
use std::io;
use std::process::ExitCode;

use swarm_kernels::KernelError;
use swarm_protocols::{unstacked, visible};

use crate::input::InputError;
use crate::plot::PictureError;
use crate::swarm::process::{BROKEN, MISCONFIGURED, TRY_AGAIN};

/// The exit codes of the command line contract; 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The job was understood and failed.
    Failed = 1,
    /// The arguments contradict each other or the contract.
    Usage = 2,
    /// An input file is missing or holds what cannot be used.
    BadInput = 65,
    /// A peer cannot be reached, or was lost.
    Unavailable = 69,
    /// A part of the process that it is there for has panicked or failed.
    Broken = BROKEN,
    /// The other side has too much to do, or another process has the port.
    TryAgain = TRY_AGAIN,
    /// The other side does not let this one do that, or the system does not let this user at a file.
    NotPermitted = 77,
    /// A topology or node file is wrong, or names what this machine does not have: an identity that
    /// cannot be used, an address that cannot be listened on.
    BadConfiguration = MISCONFIGURED,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// Stopped by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// Where the system does not let this user at a file that is 77, whatever the file is for.
    pub(crate) fn of_io(cause: &io::Error, otherwise: Self) -> Self {
        match cause.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            _ => otherwise,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Ends a command. The message names what is wrong and stands after `swarm: ` on stderr.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: Exit,
    message: String,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// The same error, about what a flag or a variable says where one does: people look into the file first.
    pub(crate) fn said_by(self, name: Option<&str>) -> Self {
        let Some(name) = name else { return self };
        Self { message: format!("{}; {name} names it", self.message), ..self }
    }

    /// The same error, and what follows from it.
    pub(crate) fn and(self, consequence: impl fmt::Display) -> Self {
        Self { message: format!("{}; {consequence}", self.message), ..self }
    }

    /// The same error, said of a part of the work.
    pub(crate) fn within(self, part: impl fmt::Display) -> Self {
        Self { message: format!("{part}: {}", self.message), ..self }
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may hold texts of files and peers; faults have a line each.
        let fit = |c| if c == '\n' { c } else { visible(c) };
        unstacked(self.message.chars().map(fit)).try_for_each(|c| f.write_char(c))
    }
}

impl std::error::Error for CliError {}

impl From<InputError> for CliError {
    fn from(error: InputError) -> Self {
        let exit = match &error {
            InputError::Unreadable { cause, .. } => Exit::of_io(cause, Exit::BadInput),
            InputError::Whole { .. } | InputError::At { .. } => Exit::BadInput,
        };
        Self::new(exit, error)
    }
}

impl From<PictureError> for CliError {
    fn from(error: PictureError) -> Self {
        let exit = match &error {
            PictureError::Write { cause, .. } => Exit::of_io(cause, Exit::Failed),
            PictureError::IsInput { .. } => Exit::Usage,
        };
        Self::new(exit, error)
    }
}

impl From<KernelError> for CliError {
    fn from(error: KernelError) -> Self {
        let exit = match error {
            KernelError::PercentOutOfRange { .. } => Exit::Usage,
            KernelError::Cancelled => Exit::Failed,
            _ => Exit::BadInput,
        };
        Self::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Source;
    use crate::swarm::document::ConfigError;

    #[test]
    fn c1_a_file_that_this_user_may_not_use_is_77_whatever_it_is_for() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let input = Source::File("prices.csv".into());
        let unread = InputError::Unreadable { input: input.clone(), cause: denied() };
        let unwritten = PictureError::Write { path: "a.svg".into(), cause: denied() };
        let configuration = ConfigError::Unreadable { file: "hub.toml".to_owned(), cause: denied() };
        for error in [CliError::from(unread), unwritten.into(), CliError::from(&configuration)] {
            assert_eq!(error.exit(), Exit::NotPermitted, "{error}");
        }
        let missing = InputError::Unreadable { input, cause: io::ErrorKind::NotFound.into() };
        assert_eq!(CliError::from(missing).exit(), Exit::BadInput);
    }

    #[test]
    fn a10_an_error_turns_no_direction_of_reading_and_keeps_its_lines() {
        let error = CliError::new(Exit::Failed, "several faults\na\u{202e}b\u{1b}[2J");
        assert_eq!(error.to_string(), "several faults\na\u{fffd}b\u{fffd}[2J");
    }
}
