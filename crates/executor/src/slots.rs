//! The tasks that run, each in a tokio task of its own.

use std::collections::HashMap;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::{Claim, TaskId, WorkerId};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::Instrument;

use crate::attempt::{End, Reason, Stop, panic_message, supervise};
use crate::context::Context;
use crate::handler::Handler;

/// The running tasks of a worker.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Where handlers run.
    ground: Handle,
    tasks: JoinSet<End>,
    running: HashMap<Id, Running>,
}

#[derive(Debug)]
struct Running {
    claim: Arc<Claim>,
    stop: Arc<Stop>,
    started: Instant,
    abort: AbortHandle,
}

/// A task that no longer runs, not judged yet.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) claim: Arc<Claim>,
    pub(crate) end: End,
    pub(crate) ran: Duration,
}

impl Slots {
    /// None yet, on this runtime.
    pub(crate) fn on(ground: Handle) -> Self {
        Self { ground, tasks: JoinSet::new(), running: HashMap::new() }
    }

    /// How many run, those included that were told to end and have not.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Runs `handler` on what `context` makes of the attempt's brake.
    pub(crate) fn start(
        &mut self,
        claim: Arc<Claim>,
        handler: Arc<dyn Handler>,
        context: impl FnOnce(Arc<Claim>, &Stop) -> Context,
    ) {
        let stop = Arc::new(Stop::default());
        let cx = context(Arc::clone(&claim), &stop);
        let span = tracing::info_span!(
            "task",
            queue = cx.queue().as_str(),
            task = claim.task.as_str(),
            r#type = claim.record.task_type.as_str(),
            attempt = claim.attempt,
        );
        let abort = self.tasks.spawn_on(supervise(handler, cx, Arc::clone(&stop)).instrument(span), &self.ground);
        self.running.insert(abort.id(), Running { claim, stop, started: Instant::now(), abort });
    }

    /// The next task that ends; never, while none runs. Safe to drop while it waits.
    pub(crate) async fn next(&mut self) -> Ended {
        loop {
            match self.tasks.join_next_with_id().await {
                Some(joined) => {
                    if let Some(ended) = self.take(joined) {
                        return ended;
                    }
                }
                None => future::pending().await,
            }
        }
    }

    /// A task that has ended already.
    pub(crate) fn try_next(&mut self) -> Option<Ended> {
        while let Some(joined) = self.tasks.try_join_next_with_id() {
            if let Some(ended) = self.take(joined) {
                return Some(ended);
            }
        }
        None
    }

    /// Stops one task, where it runs and belongs to `worker`.
    pub(crate) fn stop(&self, task: &TaskId, worker: WorkerId, reason: Reason, grace: Duration) {
        let its = |running: &&Running| running.claim.token.worker == worker && running.claim.task == *task;
        if let Some(running) = self.running.values().find(its) {
            running.stop.pull(reason, grace);
        }
    }

    /// Stops all tasks.
    pub(crate) fn stop_all(&self, reason: Reason, grace: Duration) {
        for running in self.running.values() {
            running.stop.pull(reason, grace);
        }
    }

    /// Drops all tasks, without waiting for them.
    pub(crate) fn abandon(&mut self) -> Vec<Ended> {
        let drop = |(_, running): (Id, Running)| {
            running.abort.abort();
            let end = End::Stopped(running.stop.reason().unwrap_or(Reason::Draining));
            Ended { claim: running.claim, end, ran: running.started.elapsed() }
        };
        self.running.drain().map(drop).collect()
    }

    fn take(&mut self, joined: Result<(Id, End), JoinError>) -> Option<Ended> {
        let (id, end) = match joined {
            Ok(joined) => joined,
            // Panics of a handler are contained; this one came from dropping its future.
            Err(error) => {
                let id = error.id();
                let end = match error.try_into_panic() {
                    Ok(payload) => End::Panicked(panic_message(payload.as_ref())),
                    Err(_) => End::Stopped(Reason::Fenced),
                };
                (id, end)
            }
        };
        let running = self.running.remove(&id)?;
        Some(Ended { claim: running.claim, end, ran: running.started.elapsed() })
    }
}
