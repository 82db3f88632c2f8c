//! What a failed command leaves behind: a sentence for people and an exit code for scripts.

use std::fmt;
use std::process::ExitCode;

use swarm_kernels::KernelError;

use crate::input::InputError;
use crate::plot::PictureError;
use crate::swarm::process::MISCONFIGURED;

/// The exit codes of the command line contract; 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The job was understood and failed.
    Failed = 1,
    /// The arguments contradict each other or the contract.
    Usage = 2,
    /// An input file is missing, unreadable or holds what cannot be used.
    BadInput = 65,
    /// A peer cannot be reached, or was lost.
    Unavailable = 69,
    /// The other side has too much to do.
    TryAgain = 75,
    /// The other side does not let this one do that.
    NotPermitted = 77,
    /// A topology or node file is wrong, or names what this machine does not have: an identity that
    /// cannot be used, an address that cannot be listened on.
    BadConfiguration = MISCONFIGURED,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// Stopped by SIGTERM.
    Terminated = 143,
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
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

impl From<InputError> for CliError {
    fn from(error: InputError) -> Self {
        Self::new(Exit::BadInput, error)
    }
}

impl From<PictureError> for CliError {
    fn from(error: PictureError) -> Self {
        let exit = match error {
            PictureError::Write { .. } => Exit::Failed,
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
