//! The drain, and the last words.

use std::sync::Arc;
use std::time::Duration;

use tidemill_core::TaskId;
use tokio::time::{Instant, timeout_at};

use super::Work;
use crate::attempt::Reason;
use crate::report::{Closing, Report};
use crate::session::Session;

/// Time for the last call, which ends the incarnation in good order.
const RETIRE_DEADLINE: Duration = Duration::from_secs(2);
/// How many unsettled tasks the log names: a line stays a line.
const TASKS_NAMED: usize = 100;

impl Work {
    pub(super) fn close(&mut self, closing: Closing) {
        let queue = self.shared.options.queue.as_str();
        let running = self.slots.len();
        tracing::info!(queue, running, at_once = closing.aborting, "worker stops: nothing more is claimed");
        self.closing = Some(closing);
        self.wait = None;
        if self.session.is_none() || self.call_waits.take().is_some() {
            // An exchange that waits is sent again, and then does not wait.
            self.call = None;
        }
        self.release_waiting();
    }

    /// The steps of the drain that are due.
    pub(super) fn drain(&mut self, now: Instant) {
        let Some(mut closing) = self.closing else { return };
        if now >= closing.cancel_at && !closing.cancelled {
            closing.cancelled = true;
            self.slots.stop_all(Reason::Draining, closing.drop_at.saturating_duration_since(now));
        }
        if now >= closing.drop_at && !closing.dropped {
            closing.dropped = true;
            for ended in self.slots.abandon() {
                self.ended(ended);
            }
        }
        self.closing = Some(closing);
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        let Some(closing) = &self.closing else { return false };
        let open = self.session.as_ref().is_some_and(Session::is_open);
        now >= closing.end_at || (self.slots.is_empty() && self.due.is_empty() && !open)
    }

    /// The last words.
    pub(super) async fn end(mut self) -> Report {
        let shared = Arc::clone(&self.shared);
        let queue = &shared.options.queue;
        let waiting = self.stock.take_all();
        let left = self.slots.abandon().into_iter().map(|ended| ended.claim).chain(waiting);
        let unsent: Vec<_> = left.chain(self.due.drain(..).map(|due| due.claim)).collect();
        self.call = None;
        if let Some(mut session) = self.session.take() {
            self.report.unsettled =
                session.abandoned().into_iter().chain(unsent).map(|claim| claim.task.clone()).collect();
            let latest = Instant::now() + RETIRE_DEADLINE;
            let until = self.closing.map_or(latest, |closing| closing.end_at.min(latest));
            let retired = timeout_at(until, shared.broker.retire(queue, &session.id)).await;
            match retired {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error = %error, "worker not signed off: its lease will expire"),
                Err(_) => tracing::warn!("worker not signed off in time: its lease will expire"),
            }
        }
        if !self.report.unsettled.is_empty() {
            let tasks =
                self.report.unsettled.iter().take(TASKS_NAMED).map(TaskId::as_str).collect::<Vec<_>>().join(", ");
            let count = self.report.unsettled.len();
            tracing::warn!(
                queue = queue.as_str(),
                count,
                tasks,
                "the store was not told of these; they will run again"
            );
        }
        shared.status.send_modify(|status| {
            (status.worker, status.active, status.draining) = (None, 0, true);
        });
        self.report
    }
}
