//! The end of a process of this harness: on SIGTERM in good order.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A token that a SIGTERM cancels, and what listens for it.
pub fn on_sigterm() -> std::io::Result<(CancellationToken, AbortOnDropHandle<()>)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    let listening = tokio::spawn(async move {
        if terminate.recv().await.is_some() {
            cancel.cancel();
        }
    });
    Ok((stop, AbortOnDropHandle::new(listening)))
}
