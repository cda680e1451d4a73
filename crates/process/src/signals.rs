//! Signals: the first SIGTERM or SIGINT begins the drain, the second ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What the signals (or a part that failed) say.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Drain.
    pub stop: CancellationToken,
    /// End at once.
    pub abort: CancellationToken,
}

impl Stop {
    /// Listens for signals for as long as the handle is kept.
    pub fn listen(&self) -> std::io::Result<AbortOnDropHandle<()>> {
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let Self { stop, abort } = self.clone();
        Ok(AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = term.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if stop.is_cancelled() {
                    tracing::warn!(signal = name, "a second signal: ending at once");
                    return abort.cancel();
                }
                tracing::info!(signal = name, "stopping; another signal ends at once");
                stop.cancel();
            }
        })))
    }
}
