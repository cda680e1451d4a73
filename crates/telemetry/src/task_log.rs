//! One structured line for each transition of a task, written by the process that made it.
//!
//! Every line has the target [`TARGET`] and the fields `event`, `queue` and `task`; the others where they apply.

use tidemill_core::{ClaimToken, QueueName, TaskId, TaskType};

use crate::traceparent::trace_id;

/// The target of all lines of this module, for filters.
pub const TARGET: &str = "tidemill::task";

/// What happened to a task. The words are the values of the field `event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEvent {
    /// Taken in.
    Enqueued,
    /// An attempt began.
    Started,
    /// Ended well.
    Succeeded,
    /// An attempt failed; another follows.
    Retrying,
    /// Ended badly.
    Dead,
    /// Ended because someone asked for it.
    Cancelled,
    /// Someone asked for its cancellation while it was active.
    CancelRequested,
    /// Given back by its worker.
    Released,
    /// Its worker was lost; it is pending again.
    Lost,
    /// A settlement came too late and was refused.
    Refused,
    /// Someone had it run again, or now.
    Requeued,
    /// Someone deleted it.
    Deleted,
}

impl TaskEvent {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enqueued => "enqueued",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Retrying => "retrying",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::CancelRequested => "cancel_requested",
            Self::Released => "released",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Requeued => "requeued",
            Self::Deleted => "deleted",
        }
    }
}

/// The fields of a line. Build it with `TaskLine::new(queue, task)` and fill in what applies.
#[derive(Debug, Clone, Copy)]
pub struct TaskLine<'a> {
    /// The queue.
    pub queue: &'a QueueName,
    /// The task.
    pub task: &'a TaskId,
    /// Its type.
    pub task_type: Option<&'a TaskType>,
    /// Which attempt, from 1.
    pub attempt: Option<u32>,
    /// The claim.
    pub claim: Option<ClaimToken>,
    /// How long it ran, in milliseconds.
    pub ran_ms: Option<u64>,
    /// Milliseconds until the next attempt.
    pub retry_in_ms: Option<u64>,
    /// What went wrong.
    pub error: Option<&'a str>,
    /// The trace that it belongs to, as its `traceparent` says.
    pub traceparent: Option<&'a str>,
}

impl<'a> TaskLine<'a> {
    /// A line about `task` with no more than its name.
    pub fn new(queue: &'a QueueName, task: &'a TaskId) -> Self {
        Self {
            queue,
            task,
            task_type: None,
            attempt: None,
            claim: None,
            ran_ms: None,
            retry_in_ms: None,
            error: None,
            traceparent: None,
        }
    }

    /// Writes the line: bad ends as warnings, all else as information.
    pub fn log(&self, event: TaskEvent) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    event = event.as_str(),
                    queue = self.queue.as_str(),
                    task = self.task.as_str(),
                    r#type = self.task_type.map(TaskType::as_str),
                    attempt = self.attempt,
                    claim = self.claim.map(tracing::field::display),
                    ran_ms = self.ran_ms,
                    retry_in_ms = self.retry_in_ms,
                    error = self.error,
                    trace_id = trace_id(self.traceparent),
                )
            };
        }
        match event {
            TaskEvent::Dead | TaskEvent::Lost | TaskEvent::Refused | TaskEvent::Retrying => line!(warn),
            _ => line!(info),
        }
    }
}
