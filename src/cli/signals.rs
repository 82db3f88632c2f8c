//! Signals that ask the process to stop.

use std::time::Duration;

use swarm_actors::{StopSignal, StopSignals};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

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
    /// From now on signals no longer end the process by themselves, nor does a file that has become as long as it may
    /// be, as a log can: what is written to it then is lost.
    pub(crate) fn listen() -> Result<Self, CliError> {
        #[cfg(unix)]
        let too_long = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop);
        #[cfg(not(unix))]
        let too_long = Ok(());
        let signals = too_long.and_then(|()| StopSignals::listen()).map_err(|error| {
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
    hangup: Signal,
}

impl Reloads {
    /// From now on SIGHUP no longer ends the process.
    pub(crate) fn listen() -> Result<Self, CliError> {
        Ok(Self {
            #[cfg(unix)]
            hangup: signal(SignalKind::hangup()).map_err(|error| {
                CliError::new(Exit::Failed, format_args!("cannot listen for SIGHUP: {error}"))
            })?,
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
