//! Signals that ask a program to stop.

use super::Node;
use crate::quic_bridge;
use std::{io, time::Duration};

/// A request to stop, from the keyboard or from whoever supervises the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// Ctrl-C: SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// The stop signals that come from now on.
#[derive(Debug)]
pub struct StopSignals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl StopSignals {
    /// From now on these signals no longer end the process by themselves.
    pub fn listen() -> io::Result<Self> {
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
    pub async fn next(&mut self) -> StopSignal {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
        }
        #[cfg(not(unix))]
        match tokio::signal::ctrl_c().await {
            Ok(()) => StopSignal::Interrupt,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Node {
    /// Serves until SIGTERM or Ctrl-C, then [drains and stops](Self::stop): what is in progress gets up to `grace`
    /// to finish. A second signal ends the wait.
    pub async fn stop_on_signal(&self, grace: Duration) -> io::Result<StopSignal> {
        let mut signals = StopSignals::listen()?;
        let signal = signals.next().await;
        tracing::info!(?signal, "the node drains and stops");
        tokio::select! {
            () = self.stop(grace) => {}
            _ = signals.next() => {}
        }
        Ok(signal)
    }

    /// Completes when the node begins to stop, or has stopped.
    pub(crate) async fn drains(&self) {
        if let Ok(Some(mut running)) = self.bridge.send(quic_bridge::Running).await {
            while running.changed().await.is_ok() {}
        }
    }
}
