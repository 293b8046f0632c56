//! SIGTERM and SIGINT, for the commands that serve until they are asked to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask to stop.
pub struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Stops {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the process may not handle signals.
    pub fn take() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
