//! Who leads, as other parts of the program see it.

use tokio::sync::watch;
use tokio::time::Instant;

/// What the election knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    /// Whether the API server has ever answered.
    pub(super) answered: bool,
    /// Who holds the record.
    pub(super) holder: Option<String>,
    /// Until when this process leads.
    pub(super) leads_until: Option<Instant>,
}

/// Who leads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LeaderView {
    seen: watch::Receiver<View>,
}

impl LeaderView {
    pub(super) fn new(seen: watch::Receiver<View>) -> Self {
        Self { seen }
    }

    /// Whether this process leads now, judged by the clock: right also in a process that was paused, before anything else
    /// of it has run again.
    pub fn leads(&self) -> bool {
        self.seen.borrow().leads_until.is_some_and(|until| Instant::now() < until)
    }

    /// Who held the record when it was last seen; the name is that process's [`Elector::identity`](super::Elector).
    pub fn holder(&self) -> Option<String> {
        self.seen.borrow().holder.clone()
    }

    /// Waits until the API server has answered the election for the first time; `false` when the elector is gone before.
    pub async fn answered(&self) -> bool {
        self.seen.clone().wait_for(|view| view.answered).await.is_ok()
    }
}
