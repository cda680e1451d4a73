//! An incarnation that ends because its lease did, or because the store says so.

use std::time::Duration;

use tokio::time::Instant;

use super::Work;
use crate::attempt::Reason;
use crate::journal;
use crate::session::Session;

/// Time for a handler to end by itself where the claim is no longer this worker's: another runs the task by now.
const FENCE_GRACE: Duration = Duration::from_secs(1);

impl Work {
    /// Stops what runs once the lease has ended long ago. What it has become, and what ended before, is settled when the
    /// store is back, where that still holds the claims; only then the incarnation is over.
    pub(super) fn give_up(&mut self, now: Instant) {
        let (settings, grace) = (self.shared.settings(), self.shared.options.lease_loss_grace);
        let Some(session) = &mut self.session else { return };
        let stuck = session.gives_up_at(&settings, grace).is_some_and(|at| now >= at);
        if session.leaves_at(&settings, grace).is_some_and(|at| now >= at) {
            let (queue, running) = (self.shared.options.queue.as_str(), self.slots.len());
            tracing::warn!(
                queue,
                running,
                "lease lost: it has ended and the store cannot be asked; what runs is stopped"
            );
            session.leaving = true;
            self.slots.stop_all(Reason::Fenced, FENCE_GRACE);
            self.release_waiting();
        }
        let settled = |session: &Session| self.slots.is_empty() && self.due.is_empty() && !session.is_open();
        if stuck {
            self.fence("an exchange stays without an answer", true);
        } else if self.session.as_ref().is_some_and(|session| session.leaving && settled(session)) {
            self.fence("its lease had ended", true);
        }
    }

    /// Ends this incarnation: what it holds is or will be others'. With `courtesy` the store is told, once it answers.
    pub(super) fn fence(&mut self, why: &str, courtesy: bool) {
        let Some(mut session) = self.session.take() else { return };
        let queue = &self.shared.options.queue;
        self.shared.instruments.lost_lease();
        tracing::warn!(queue = queue.as_str(), worker = %session.id, running = self.slots.len(), why, "worker retired");
        self.slots.stop_all(Reason::Fenced, FENCE_GRACE);
        let unsent = self.due.drain(..).map(|due| due.claim);
        let waiting = self.stock.take_all().into_iter().chain(self.alone.take());
        for claim in session.abandoned().into_iter().chain(unsent).chain(waiting) {
            journal::refused(&self.shared, &claim);
        }
        self.former = courtesy.then_some(session.id);
        (self.call, self.call_waits, self.wait, self.look) = (None, None, None, true);
    }

    pub(super) fn gives_up_at(&self) -> Option<Instant> {
        let (settings, grace) = (self.shared.settings(), self.shared.options.lease_loss_grace);
        let session = self.session.as_ref()?;
        [session.leaves_at(&settings, grace), session.gives_up_at(&settings, grace)].into_iter().flatten().min()
    }
}
