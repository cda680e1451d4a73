//! The tasks that run, each in a tokio task of its own.

use std::future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tidemill_core::{Claim, TaskId, WorkerId};
use tidemill_telemetry::subject::about;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
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
    places: Vec<Option<Running>>,
    free: Vec<usize>,
    /// Tells apart the tasks that had the same place.
    started: u64,
    tell: mpsc::UnboundedSender<Told>,
    told: mpsc::UnboundedReceiver<Told>,
}

#[derive(Debug)]
struct Running {
    number: u64,
    claim: Arc<Claim>,
    stop: Arc<Stop>,
    started: Instant,
    abort: AbortHandle,
}

/// What a task tells when it is over; one of each, so that the channel is bounded by the slots.
#[derive(Debug)]
struct Told {
    place: usize,
    number: u64,
    end: End,
}

/// Tells in any case: also where the task is aborted.
struct Teller {
    place: usize,
    number: u64,
    end: End,
    tell: mpsc::UnboundedSender<Told>,
}

impl Drop for Teller {
    fn drop(&mut self) {
        let end = std::mem::replace(&mut self.end, End::Stopped(Reason::Fenced));
        if self.tell.send(Told { place: self.place, number: self.number, end }).is_err() {
            tracing::trace!("a task ended after its worker");
        }
    }
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
        let (tell, told) = mpsc::unbounded_channel();
        Self { ground, places: Vec::new(), free: Vec::new(), started: 0, tell, told }
    }

    /// How many run, those included that were told to end and have not.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs `handler` on what `context` makes of the attempt's brake.
    pub(crate) fn start(
        &mut self,
        claim: Arc<Claim>,
        handler: Arc<dyn Handler>,
        context: impl FnOnce(Arc<Claim>, Arc<Stop>) -> Context,
    ) {
        let stop = Arc::new(Stop::default());
        let cx = context(Arc::clone(&claim), Arc::clone(&stop));
        let subject = cx.subject();
        let trace = cx.trace().cloned();
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.started += 1;
        let number = self.started;
        let (tell, ending) = (self.tell.clone(), trace.clone());
        let attempt = supervise(handler, cx, Arc::clone(&stop));
        let running = async move {
            let mut teller = Teller { place, number, end: End::Stopped(Reason::Fenced), tell };
            // Panics of a handler are contained; one that comes from dropping its future is caught here.
            teller.end = AssertUnwindSafe(attempt)
                .catch_unwind()
                .await
                .unwrap_or_else(|payload| End::Panicked(panic_message(payload.as_ref())));
            if let Some(trace) = &ending {
                trace.ended(teller.end.failure());
            }
        };
        let running = about(subject, running);
        let running = match trace {
            None => self.ground.spawn(running),
            Some(trace) => self.ground.spawn(running.instrument(trace.span)),
        };
        let abort = running.abort_handle();
        self.places[place] = Some(Running { number, claim, stop, started: Instant::now(), abort });
    }

    /// The next task that ends; never, while none runs. Safe to drop while it waits.
    pub(crate) async fn next(&mut self) -> Ended {
        loop {
            match self.told.recv().await {
                Some(told) => {
                    if let Some(ended) = self.take(told) {
                        return ended;
                    }
                }
                None => future::pending().await,
            }
        }
    }

    /// A task that has ended already.
    pub(crate) fn try_next(&mut self) -> Option<Ended> {
        while let Ok(told) = self.told.try_recv() {
            if let Some(ended) = self.take(told) {
                return Some(ended);
            }
        }
        None
    }

    /// Stops one task, where it runs and belongs to `worker`.
    pub(crate) fn stop(&self, task: &TaskId, worker: WorkerId, reason: Reason, grace: Duration) {
        let its = |running: &&Running| running.claim.token.worker == worker && running.claim.task == *task;
        if let Some(running) = self.running().find(its) {
            running.stop.pull(reason, grace);
        }
    }

    /// Stops all tasks.
    pub(crate) fn stop_all(&self, reason: Reason, grace: Duration) {
        for running in self.running() {
            running.stop.pull(reason, grace);
        }
    }

    /// Drops all tasks, without waiting for them.
    pub(crate) fn abandon(&mut self) -> Vec<Ended> {
        let places = std::mem::take(&mut self.places);
        self.free.clear();
        let drop = |running: Running| {
            running.abort.abort();
            let end = End::Stopped(running.stop.reason().unwrap_or(Reason::Draining));
            Ended { claim: running.claim, end, ran: running.started.elapsed() }
        };
        places.into_iter().flatten().map(drop).collect()
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.places.iter().flatten()
    }

    fn take(&mut self, told: Told) -> Option<Ended> {
        let place = self.places.get_mut(told.place)?;
        let running = place.take_if(|running| running.number == told.number)?;
        self.free.push(told.place);
        Some(Ended { claim: running.claim, end: told.end, ran: running.started.elapsed() })
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        for running in self.running() {
            running.abort.abort();
        }
    }
}
