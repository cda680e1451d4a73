//! What the gauge saw.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::Counters;

/// One look at a queue and its Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// When, since the operator's start, by its monotonic clock.
    pub at: Duration,
    /// How many pods the Deployment asks for now.
    pub replicas: u32,
    /// How many of its pods are ready.
    pub ready: u32,
    /// Whether claims are held back.
    pub paused: bool,
    /// Tasks that wait for a slot.
    pub pending: u64,
    /// Tasks that are not due yet.
    pub delayed: u64,
    /// Tasks in workers' hands.
    pub active: u64,
    /// Tasks that wait for their next attempt.
    pub retrying: u64,
    /// How long the head of the queue has waited; `None` when nothing is pending. Shown, not reckoned with.
    pub oldest_pending: Option<Duration>,
    /// Until the next delayed or retrying task is due; `None` when there is none.
    pub next_due: Option<Duration>,
    /// The ages of all active tasks together; zero where it is not known.
    pub running: Duration,
    /// The queue's counters.
    pub counters: Counters,
}
