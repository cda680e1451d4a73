//! Keeps the lease of one incarnation, in a task of its own, whatever handlers and exchanges do.

use std::sync::Arc;
use std::time::Duration;

use tidemill_broker::{BrokerError, Heartbeat};
use tidemill_core::{TaskId, WorkerId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::executor::Shared;
use crate::link::{Retry, within};
use crate::status::add;

/// Heartbeats per lease: two in a row may be lost without harm.
const PER_LEASE: u32 = 4;

/// What the loop is told.
#[derive(Debug)]
pub(crate) enum Beat {
    /// The lease counts from `at` on, and these tasks are to be stopped.
    Renewed { at: Instant, cancelled: Vec<TaskId> },
    /// The incarnation is over.
    Retired,
}

/// Beats until the incarnation is over or nobody listens.
pub(crate) async fn run(shared: Arc<Shared>, worker: WorkerId, beats: mpsc::Sender<Beat>) {
    let queue = &shared.options.queue;
    let mut retry = Retry::default();
    let mut pause = period(&shared);
    loop {
        sleep(pause).await;
        let progress = shared.progress.take();
        let at = Instant::now();
        let beat = match within("heartbeat", shared.broker.heartbeat(queue, &worker, &progress)).await {
            Ok(Heartbeat::Renewed { cancelled }) => {
                shared.link.answered();
                add(&shared.metrics.heartbeats, 1);
                shared.instruments.beat(true);
                retry.reset();
                pause = period(&shared);
                Beat::Renewed { at, cancelled }
            }
            Ok(Heartbeat::Retired) | Err(BrokerError::UnknownQueue { .. }) => {
                shared.instruments.beat(false);
                Beat::Retired
            }
            Err(error) => {
                shared.progress.put_back(progress);
                shared.link.failed(&error);
                shared.instruments.beat_failed();
                pause = retry.next().min(period(&shared));
                continue;
            }
        };
        let over = matches!(beat, Beat::Retired);
        if beats.send(beat).await.is_err() || over {
            return;
        }
    }
}

/// A quarter of the lease, a little less by chance, so that a fleet does not beat in step.
fn period(shared: &Shared) -> Duration {
    let lease = Duration::from_millis(shared.settings().lease_ms.into());
    (lease / PER_LEASE).mul_f64(0.8 + rand::random::<f64>() / 5.0)
}
