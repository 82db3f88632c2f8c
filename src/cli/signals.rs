//! Signals that ask the process to stop.

use std::time::Duration;

use swarm_actors::{StopSignal, StopSignals};

use super::error::{CliError, Exit};
use crate::stderr;

/// How long a process that is told twice to stop waits for a reader.
const LAST_WORDS_MAX: Duration = Duration::from_millis(100);

impl From<StopSignal> for CliError {
    fn from(signal: StopSignal) -> Self {
        let (name, exit) = match signal {
            StopSignal::Interrupt => ("SIGINT", Exit::Interrupted),
            StopSignal::Terminate => ("SIGTERM", Exit::Terminated),
        };
        CliError::new(exit, format_args!("stopped by {name}"))
    }
}

/// The signals that come from now on.
pub(crate) struct Signals(StopSignals);

impl Signals {
    /// From now on signals no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self, CliError> {
        let signals = StopSignals::listen().map_err(|error| {
            CliError::new(Exit::Failed, format_args!("cannot listen for signals: {error}"))
        })?;
        Ok(Self(signals))
    }

    /// The next signal. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> StopSignal {
        self.0.next().await
    }

    /// Waits for an orderly stop; a signal meanwhile ends the process at once.
    pub(crate) async fn during_stop(&mut self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            signal = self.next() => {
                stderr::flush(LAST_WORDS_MAX);
                std::process::exit(CliError::from(signal).exit() as i32)
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
