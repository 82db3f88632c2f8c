//! Signals that ask the process to stop.

use std::io;
use std::time::Duration;

use super::error::{CliError, Exit};
use crate::stderr;

/// How long a process that is told twice to stop waits for a reader.
const LAST_WORDS_MAX: Duration = Duration::from_millis(100);

/// A request to stop, from the keyboard or from another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    fn exit(self) -> Exit {
        match self {
            Signal::Interrupt => Exit::Interrupted,
            Signal::Terminate => Exit::Terminated,
        }
    }
}

impl From<Signal> for CliError {
    fn from(signal: Signal) -> Self {
        let name = match signal {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
        };
        CliError::new(signal.exit(), format_args!("stopped by {name}"))
    }
}

/// The signals that come from now on.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// From now on signals no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self, CliError> {
        Self::register()
            .map_err(|error| CliError::new(Exit::Failed, format_args!("cannot listen for signals: {error}")))
    }

    fn register() -> io::Result<Self> {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Signal {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
        #[cfg(not(unix))]
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits for an orderly stop; a signal meanwhile ends the process at once.
    pub(crate) async fn during_stop(&mut self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            signal = self.next() => {
                stderr::flush(LAST_WORDS_MAX);
                std::process::exit(signal.exit() as i32)
            }
        }
    }
}

/// The requests to read the configuration again: SIGHUP, which ends a process that does not listen for it.
pub(crate) struct Reloads {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Reloads {
    /// From now on SIGHUP no longer ends the process.
    pub(crate) fn listen() -> Result<Self, CliError> {
        Ok(Self {
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).map_err(
                |error| CliError::new(Exit::Failed, format_args!("cannot listen for SIGHUP: {error}")),
            )?,
        })
    }

    /// The next request. Dropping the future loses none.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}
