//! A producer that speaks to the store itself, through the library: batches, repeated under one request id until their outcome
//! is known.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidemill::broker::{BrokerError, connect};
use tidemill::core::NewTask;
use tidemill::{Broker, QueueName, RequestId, Start};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::tasks::Mixture;
use super::{SHARED, TOLD, stop};
use crate::history::Writer;
use crate::recorder::Recorder;

/// Pause between batches, in milliseconds, least and most.
const PAUSE_MS: (u64, u64) = (60, 200);
/// Largest batch.
const BATCH_MAX: u64 = 15;
/// How long a batch is repeated whose outcome is not known.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between repetitions, in milliseconds, least and most.
const AGAIN_MS: (u64, u64) = (50, 300);
/// How often a task of an hour is handed in.
const HOUR_EVERY: Duration = Duration::from_secs(5);

/// Runs until a SIGTERM, and then until the outcome of the last batch is known.
pub async fn run(url: &str, folder: &Path, name: &str, skew_ms: i64, seed: u64) -> anyhow::Result<()> {
    let (stop, _listening) = stop::on_sigterm()?;
    let broker: Arc<dyn Broker> = Recorder::new(connect(url)?, Writer::open(folder, name, skew_ms)?);
    let queues = [QueueName::new(TOLD)?, QueueName::new(SHARED)?];
    let mut mixture = Mixture::new(seed, name, skew_ms);
    let mut hour_at = Instant::now() + HOUR_EVERY;
    while !stop.is_cancelled() {
        let mut queue = &queues[0];
        let batch: Vec<NewTask> = if Instant::now() >= hour_at {
            hour_at = Instant::now() + HOUR_EVERY;
            mixture.hour().into_iter().collect()
        } else if mixture.draw().chance(35) {
            mixture.again().into_iter().collect()
        } else {
            // A few of a type that only some workers of the queue serve.
            if mixture.draw().chance(10) {
                queue = &queues[1];
            }
            let size = mixture.draw().between(1, BATCH_MAX);
            (0..size).filter_map(|_| mixture.task()).collect()
        };
        hand_in(broker.as_ref(), queue, &batch, &mut mixture).await;
        cancel_one(broker.as_ref(), queue, &batch, &mut mixture).await;
        pause(&stop, mixture.draw().between(PAUSE_MS.0, PAUSE_MS.1)).await;
    }
    broker.close().await;
    Ok(())
}

async fn pause(stop: &CancellationToken, ms: u64) {
    tokio::select! {
        () = sleep(Duration::from_millis(ms)) => {}
        () = stop.cancelled() => {}
    }
}

/// Hands a batch in until its outcome is known, or patience ends.
async fn hand_in(broker: &dyn Broker, queue: &QueueName, batch: &[NewTask], mixture: &mut Mixture) {
    let request = RequestId(mixture.draw().number().to_be_bytes());
    let deadline = Instant::now() + PATIENCE;
    loop {
        match broker.enqueue(queue, batch, request).await {
            Err(BrokerError::Unavailable { .. }) if Instant::now() < deadline => {
                sleep(Duration::from_millis(mixture.draw().between(AGAIN_MS.0, AGAIN_MS.1))).await;
            }
            _ => return,
        }
    }
}

/// Cancels one of a batch now and then, if it is one that still waits or one that takes an hour.
async fn cancel_one(broker: &dyn Broker, queue: &QueueName, batch: &[NewTask], mixture: &mut Mixture) {
    let waiting = batch.iter().find(|task| task.start != Start::Now);
    if let Some(task) = waiting.filter(|_| mixture.draw().chance(50)) {
        // What becomes of it is written down; a call that failed is not repeated.
        drop(broker.cancel(queue, &task.id).await);
    }
}
