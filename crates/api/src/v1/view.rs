//! Tasks, queues and workers as this API shows them.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use tidemill_core::{
    AttemptView, Counters, FailureKind, Progress, QueueName, QueueSettings, QueueStats, State, TaskView, WorkerView,
};
use utoipa::ToSchema;

/// `ms` since the Unix epoch as RFC 3339, UTC, to the millisecond.
pub(crate) fn moment(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::MAX)
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

/// A task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskBody {
    id: String,
    queue: String,
    #[serde(rename = "type")]
    task_type: String,
    #[schema(value_type = StateWord)]
    state: State,
    #[schema(minimum = -100, maximum = 100)]
    priority: i8,
    /// What it is to be done with
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
    /// Declared duration
    duration_ms: u32,
    /// How often it is tried again after a failure
    retries: u16,
    /// How long an attempt may take
    timeout_ms: u64,
    enqueued_at: String,
    /// When it is due, where it is delayed or retrying
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    /// When its present attempt began
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    /// Who runs it
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ProgressBody>)]
    progress: Option<Progress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// Attempts that failed so far
    failures: u32,
    /// Workers lost with it so far
    losses: u32,
    /// Its newest failed and lost attempts, oldest first; not in lists
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<AttemptBody>>,
    /// Its result, where it succeeded with one; not in lists
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    result: Option<Box<RawValue>>,
}

/// How far a handler says it is.
#[derive(ToSchema)]
#[allow(dead_code)] // describes `Progress`
pub(crate) struct ProgressBody {
    #[schema(maximum = 100)]
    percent: u8,
    message: Option<String>,
}

/// Where a task stands.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code)] // describes `State`
pub(crate) enum StateWord {
    Pending,
    Delayed,
    Active,
    Retrying,
    Succeeded,
    Dead,
    Cancelled,
}

/// A past attempt that did not end well.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptBody {
    attempt: u32,
    worker: String,
    /// `transient`, `permanent`, `timeout`, `panic`, `unsupported` or `lost`
    #[schema(value_type = String)]
    kind: FailureKind,
    message: String,
    ended_at: String,
    ran_ms: u64,
}

impl TaskBody {
    /// A task as lists show it.
    pub(crate) fn brief(queue: &QueueName, view: TaskView, settings: &QueueSettings) -> Self {
        Self {
            id: view.id.into(),
            queue: queue.to_string(),
            task_type: view.task_type.into(),
            state: view.state,
            priority: view.priority.get(),
            payload: raw(&view.payload),
            duration_ms: view.duration_ms,
            retries: view.retries.unwrap_or(settings.retries),
            timeout_ms: view.timeout_ms.unwrap_or(settings.timeout_ms),
            enqueued_at: moment(view.enqueued_at_ms),
            due_at: view.due_at_ms.map(moment),
            started_at: view.started_at_ms.map(moment),
            worker: view.worker.map(|worker| worker.to_string()),
            progress: view.progress,
            ended_at: view.ended_at_ms.map(moment),
            failures: view.failures,
            losses: view.losses,
            attempts: None,
            result: None,
        }
    }

    /// A task with its attempts and its result.
    pub(crate) fn full(queue: &QueueName, mut view: TaskView, settings: &QueueSettings) -> Self {
        let attempts = std::mem::take(&mut view.attempts).into_iter().map(AttemptBody::from).collect();
        let result = view.result.take().map(|result| raw(&result));
        Self { attempts: Some(attempts), result, ..Self::brief(queue, view, settings) }
    }
}

impl From<AttemptView> for AttemptBody {
    fn from(view: AttemptView) -> Self {
        Self {
            attempt: view.attempt,
            worker: view.worker.to_string(),
            kind: view.kind,
            message: view.message,
            ended_at: moment(view.ended_at_ms),
            ran_ms: view.ran_ms,
        }
    }
}

/// Stored JSON as it is; what is none (no client of ours writes that) as a string.
fn raw(bytes: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    RawValue::from_string(text)
        .or_else(|_| serde_json::value::to_raw_value(&String::from_utf8_lossy(bytes)))
        .unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// A queue at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueBody {
    name: String,
    /// Whether claims are held back
    paused: bool,
    pending: u64,
    delayed: u64,
    active: u64,
    retrying: u64,
    /// Kept tasks that succeeded
    succeeded: u64,
    /// Kept dead letters
    dead: u64,
    /// Kept cancelled tasks
    cancelled: u64,
    /// How long the head of the queue has waited
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_pending_ms: Option<u64>,
    /// Until the next delayed or retrying task is due
    #[serde(skip_serializing_if = "Option::is_none")]
    next_due_ms: Option<u64>,
    /// Live workers
    workers: u32,
    /// How often each transition happened
    #[schema(value_type = CountersBody)]
    counters: Counters,
    /// Not in lists
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<super::settings::SettingsBody>)]
    settings: Option<QueueSettings>,
}

/// How often each transition happened since the queue came to be.
#[derive(ToSchema)]
#[allow(dead_code)] // describes `Counters`
pub(crate) struct CountersBody {
    enqueued: u64,
    started: u64,
    succeeded: u64,
    failed: u64,
    timed_out: u64,
    retried: u64,
    dead: u64,
    cancelled: u64,
    lost: u64,
    released: u64,
    refused: u64,
    requeued: u64,
    deleted: u64,
    ran_ms: u64,
}

impl QueueBody {
    pub(crate) fn new(name: &QueueName, stats: &QueueStats, settings: Option<QueueSettings>) -> Self {
        Self {
            name: name.to_string(),
            paused: stats.paused,
            pending: stats.pending,
            delayed: stats.delayed,
            active: stats.active,
            retrying: stats.retrying,
            succeeded: stats.succeeded,
            dead: stats.dead,
            cancelled: stats.cancelled,
            oldest_pending_ms: stats.oldest_pending_ms,
            next_due_ms: stats.next_due_ms,
            workers: stats.workers,
            counters: stats.counters,
            settings,
        }
    }
}

/// A registered worker.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerBody {
    id: String,
    /// For people: host and process, or the pod
    name: String,
    /// The types that it serves
    types: Vec<String>,
    /// How many tasks it runs at a time
    slots: u32,
    /// How many it holds
    active: u32,
    /// The ages of what it holds, added up
    running_ms: u64,
    version: String,
    registered_at: String,
    /// How long its lease still holds; negative when it has run out
    lease_left_ms: i64,
}

impl From<WorkerView> for WorkerBody {
    fn from(view: WorkerView) -> Self {
        Self {
            id: view.info.id.to_string(),
            name: view.info.name,
            types: view.info.types.into_iter().map(String::from).collect(),
            slots: view.info.slots,
            active: view.active,
            running_ms: view.running_ms,
            version: view.info.version,
            registered_at: moment(view.registered_at_ms),
            lease_left_ms: view.lease_left_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_utc_with_milliseconds() {
        assert_eq!(moment(1_795_312_800_000), "2026-11-22T02:00:00.000Z");
        assert_eq!(moment(7), "1970-01-01T00:00:00.007Z");
    }
}
