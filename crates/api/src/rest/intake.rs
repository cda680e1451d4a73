//! A batch on its way into the broker: repeated under one request id while the store is out of reach, then logged.

use std::time::Duration;

use axum::http::HeaderMap;
use rand::Rng;
use sha2::{Digest, Sha256};
use tidemill_broker::contract::BATCH_MAX;
use tidemill_broker::{BrokerError, Enqueued};
use tidemill_core::policy::TIMEOUT_MS_MAX;
use tidemill_core::{NewTask, Problem, QueueName, RequestId};
use tidemill_telemetry::task_log::{TaskEvent, TaskLine};
use tidemill_telemetry::traces;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use crate::error::{Answer, Refusal};
use crate::observed::traceparent;
use crate::state::{App, Creation, Deadline};

/// Bounds of the pause before a batch is handed over again, in milliseconds: drawn, so that many do not come at once.
const PAUSE_MS: std::ops::Range<u64> = 20..120;
/// What a task gets beyond the duration that it declares before it counts as timed out, in milliseconds.
const TIMEOUT_MARGIN_MS: u64 = 60_000;

/// Gives a task that names no timeout the time that its declared duration needs, where the queue's own is too short.
pub(crate) fn allow_for_duration(task: &mut NewTask, queue_timeout_ms: u64) {
    let needed = u64::from(task.duration_ms) + TIMEOUT_MARGIN_MS;
    if task.timeout_ms.is_none() && task.duration_ms > 0 && needed > queue_timeout_ms {
        task.timeout_ms = Some(needed.min(TIMEOUT_MS_MAX));
    }
}

/// What a caller says that repeats a request.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Longest such key.
const KEY_MAX: usize = 255;

/// The id of the request: made of the caller's key, so that a repetition of it is recognised, else a new one.
fn request_id(headers: &HeaderMap) -> Answer<RequestId> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(RequestId(rand::rng().random())) };
    let is_fit = !key.is_empty() && key.len() <= KEY_MAX && key.to_str().is_ok();
    let digest = Sha256::digest(key.as_bytes());
    match digest.first_chunk() {
        Some(first) if is_fit => Ok(RequestId(*first)),
        _ => Err(Refusal::invalid("", format!("the header Idempotency-Key has 1 to {KEY_MAX} printable characters"))),
    }
}

/// Hands `batch` to the broker, whole or not at all. Its tasks go on with the trace of their sending where that is recorded,
/// else with the caller's.
pub(crate) async fn take_in(
    app: &App,
    deadline: Deadline,
    queue: &QueueName,
    batch: &mut [NewTask],
    headers: &HeaderMap,
) -> Answer<Vec<Enqueued>> {
    let (request, caller) = (request_id(headers)?, traceparent(headers));
    let span = traces::send(queue, batch.len(), batch.first().map(|task| &task.id));
    let trace = traces::traceparent_of(&span).or(caller);
    for task in batch.iter_mut() {
        task.traceparent.clone_from(&trace);
    }
    let batch = &*batch;
    let taking = app.on(deadline, queue, Creation::Allowed, || patiently(app, deadline, queue, batch, request));
    let done = taking.instrument(span.clone()).await.map_err(|refusal| {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", refusal.kind());
        refusal.of_tasks()
    })?;
    for task in batch {
        let line = TaskLine {
            task_type: Some(&task.task_type),
            traceparent: task.traceparent.as_deref(),
            ..TaskLine::new(queue, &task.id)
        };
        line.log(TaskEvent::Enqueued);
    }
    Ok(done)
}

async fn patiently(
    app: &App,
    deadline: Deadline,
    queue: &QueueName,
    batch: &[NewTask],
    request: RequestId,
) -> tidemill_broker::Result<Vec<Enqueued>> {
    let mut unknown = None;
    loop {
        match app.broker.enqueue(queue, batch, request).await {
            Err(error @ BrokerError::Unavailable { .. }) => {
                let pause = Duration::from_millis(rand::rng().random_range(PAUSE_MS));
                if Instant::now() + pause >= deadline.0 {
                    return Err(error);
                }
                sleep(pause).await;
                unknown = Some(error);
            }
            // A full store refuses without looking at what it took in of an earlier sending, whose reply was lost.
            Err(full @ BrokerError::StoreFull { .. }) => return Err(unknown.unwrap_or(full)),
            done => return done,
        }
    }
}

/// 413 for more tasks than one request may bring.
pub(crate) fn too_many(count: usize) -> Refusal {
    let detail = format!("the body has {count} tasks; at most {BATCH_MAX} are allowed in one request, send several");
    Problem::new(413, "too-many-tasks", "Too many tasks in one request", detail).into()
}
