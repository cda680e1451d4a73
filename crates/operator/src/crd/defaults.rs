//! The queue's defaults. They are published to the broker, so that API and workers enforce the same.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_core::{Backoff, Keep, QueueSettings, Retention};

use super::TaskQueueSpec;

/// Retries of tasks that name none.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetrySpec {
    /// How many times a task is tried again after a failure.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub retries: i32,
    /// How long it waits before that.
    #[serde(default)]
    pub backoff: BackoffSpec,
}

/// Spacing of retries: it doubles with each failure, up to a cap, and is spread at random below that.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("self.initialMilliseconds <= self.maxMilliseconds")
    .message("retry.backoff: initialMilliseconds must not exceed maxMilliseconds"))]
#[serde(rename_all = "camelCase")]
pub struct BackoffSpec {
    /// Longest wait before the first retry, in milliseconds.
    #[serde(default = "initial_milliseconds")]
    #[schemars(range(min = 0, max = 86_400_000))]
    pub initial_milliseconds: i64,
    /// Longest wait before any retry, in milliseconds.
    #[serde(default = "max_milliseconds")]
    #[schemars(range(min = 0, max = 86_400_000))]
    pub max_milliseconds: i64,
}

impl Default for BackoffSpec {
    fn default() -> Self {
        Self { initial_milliseconds: initial_milliseconds(), max_milliseconds: max_milliseconds() }
    }
}

fn initial_milliseconds() -> i64 {
    i64::from(Backoff::default().initial_ms)
}

fn max_milliseconds() -> i64 {
    i64::from(Backoff::default().max_ms)
}

/// What is kept of tasks that ended.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(default)]
pub struct RetentionSpec {
    /// Of those that succeeded.
    pub succeeded: KeepSpec,
    /// Of dead letters.
    pub dead: KeepSpec,
    /// Of those that were cancelled.
    pub cancelled: KeepSpec,
}

impl Default for RetentionSpec {
    fn default() -> Self {
        let Retention { succeeded, dead, cancelled } = Retention::default();
        Self { succeeded: succeeded.into(), dead: dead.into(), cancelled: cancelled.into() }
    }
}

/// How many are kept, and for how long.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KeepSpec {
    /// How many at most.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub count: i32,
    /// How long at most, in seconds.
    #[schemars(range(min = 0, max = 31_536_000))]
    pub age_seconds: i32,
}

impl From<Keep> for KeepSpec {
    fn from(keep: Keep) -> Self {
        let whole = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        Self { count: whole(keep.count), age_seconds: whole(keep.age_s) }
    }
}

impl From<KeepSpec> for Keep {
    fn from(keep: KeepSpec) -> Self {
        Self { count: keep.count.unsigned_abs(), age_s: keep.age_seconds.unsigned_abs() }
    }
}

impl TaskQueueSpec {
    /// What is published to the broker. What the resource has no field for keeps the value of `kept`.
    pub fn settings(&self, kept: &QueueSettings) -> QueueSettings {
        let RetentionSpec { succeeded, dead, cancelled } = self.retention;
        let milliseconds = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        QueueSettings {
            retries: u16::try_from(self.retry.retries).unwrap_or(tidemill_core::policy::RETRIES_MAX),
            backoff: Backoff {
                initial_ms: milliseconds(self.retry.backoff.initial_milliseconds),
                max_ms: milliseconds(self.retry.backoff.max_milliseconds),
            },
            timeout_ms: self.timeout_seconds.unsigned_abs().saturating_mul(1_000),
            retention: Retention { succeeded: succeeded.into(), dead: dead.into(), cancelled: cancelled.into() },
            ..*kept
        }
    }
}
