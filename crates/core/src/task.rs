//! A task on its way: as a caller hands it in, as a worker is handed it, and how an attempt ends.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::envelope::Record;
use crate::id::{ClaimToken, TaskId};
use crate::name::TaskType;
use crate::policy::{Backoff, Priority};

/// Longest error message that is kept, in bytes; a longer one is cut at a character.
pub const ERROR_MESSAGE_MAX: usize = 2_048;
/// Most attempts whose errors are kept with a task: the newest.
pub const ERRORS_KEPT: usize = 20;

/// When a task may start, by the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Start {
    /// As soon as a slot is free.
    #[default]
    Now,
    /// So many milliseconds after the store took it.
    AfterMs(u64),
    /// At this time, in milliseconds since the Unix epoch. One that has passed means now.
    AtMs(u64),
}

/// A task as a caller hands it in. What is `None` is the queue's default when the task runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// The caller's id, or a generated one.
    pub id: TaskId,
    /// Picks the handler.
    pub task_type: TaskType,
    /// A JSON object, as bytes that nobody copies or parses on the way.
    pub payload: Bytes,
    /// When it may start.
    pub start: Start,
    /// Who goes first.
    pub priority: Priority,
    /// How often it is tried again after a failure.
    pub retries: Option<u16>,
    /// How its retries are spaced.
    pub backoff: Option<Backoff>,
    /// How long an attempt may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How long it says it will take, in milliseconds; 0 where it says nothing. Shown, never enforced.
    pub duration_ms: u32,
    /// The trace that it belongs to (W3C `traceparent`).
    pub traceparent: Option<String>,
}

impl NewTask {
    /// A task that starts now, with the queue's defaults.
    pub fn new(id: TaskId, task_type: TaskType, payload: impl Into<Bytes>) -> Self {
        Self {
            id,
            task_type,
            payload: payload.into(),
            start: Start::Now,
            priority: Priority::NORMAL,
            retries: None,
            backoff: None,
            timeout_ms: None,
            duration_ms: 0,
            traceparent: None,
        }
    }

    /// A task of `POST /schedule`: type `sleep`, payload `{"duration_ms": n}`.
    pub fn sleep(id: TaskId, duration_ms: u32) -> Self {
        let payload = format!("{{\"duration_ms\":{duration_ms}}}");
        Self { duration_ms, ..Self::new(id, TaskType::sleep(), payload) }
    }
}

/// A task in a worker's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which task.
    pub task: TaskId,
    /// The fence: needed to settle it.
    pub token: ClaimToken,
    /// What to do.
    pub record: Record,
    /// Which attempt this is, from 1. Losses and releases do not count.
    pub attempt: u32,
    /// How many workers were lost with it so far.
    pub losses: u32,
    /// When it was claimed, in milliseconds since the Unix epoch, by the store's clock.
    pub started_at_ms: u64,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// May well succeed another time.
    Transient,
    /// Would fail every time; is not retried.
    Permanent,
    /// Took longer than it may.
    Timeout,
    /// The handler panicked.
    Panic,
    /// No live worker serves the type.
    Unsupported,
    /// The worker was lost.
    Lost,
}

/// An attempt's error, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort of failure.
    pub kind: FailureKind,
    /// What went wrong, at most [`ERROR_MESSAGE_MAX`] bytes.
    pub message: String,
}

impl Failure {
    /// Cuts `message` to [`ERROR_MESSAGE_MAX`].
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(ERROR_MESSAGE_MAX));
        Self { kind, message }
    }
}

/// How an attempt ended, in the worker's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Well, perhaps with a result (a JSON value) to keep.
    Succeeded {
        /// Kept with the task for its retention.
        result: Option<Bytes>,
    },
    /// Badly. With `retry_in_ms` it is tried again after so long; without, it is dead.
    Failed {
        /// What went wrong.
        failure: Failure,
        /// Milliseconds until the next attempt, by the store's clock.
        retry_in_ms: Option<u64>,
    },
    /// Not at all: the worker gives it back, at no cost, to the head of its priority.
    Released,
    /// This worker has no handler for the type. Another live worker that has one gets it; if there is none, it is dead
    /// with `unsupported task`.
    Unserved,
    /// It was stopped because someone cancelled it.
    Cancelled,
}

/// The end of one claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Which task.
    pub task: TaskId,
    /// The claim.
    pub token: ClaimToken,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it ran, in milliseconds of the worker's monotonic clock.
    pub ran_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_at_a_character() {
        let failure = Failure::new(FailureKind::Transient, "é".repeat(ERROR_MESSAGE_MAX));
        assert_eq!(failure.message.len(), ERROR_MESSAGE_MAX);
        assert!(failure.message.chars().all(|c| c == 'é'));
    }
}
