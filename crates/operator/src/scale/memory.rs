//! What earlier samples taught.

use serde::{Deserialize, Serialize};
use tidemill_core::Counters;

use super::window::Window;

/// What the autoscaler keeps from one look to the next. Its size is bounded, and it holds whole numbers only, so that
/// a recorded one is read back exactly as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// The last time it heard of, in milliseconds since the operator's start.
    pub(super) at_ms: u64,
    /// How many pods there were or should be, as far as known.
    pub(super) replicas: Option<u32>,
    /// Attempts that become due, in millionths per second.
    pub(super) arrivals_micro: u64,
    /// How long attempts ran, in microseconds, older ones counting less.
    pub(super) ran_micros: u64,
    /// How many attempts that were, in millionths, older ones counting less.
    pub(super) ended_micro: u64,
    /// How many ended attempts were measured, all counting alike.
    pub(super) measured: u64,
    /// Recommendations of late.
    pub(super) window: Window,
    /// The last sample, as far as it is compared with the next.
    pub(super) last: Option<Last>,
}

/// The part of a sample that is compared with the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Last {
    pub(super) at_ms: u64,
    pub(super) pending: u64,
    pub(super) counters: Counters,
}

impl Memory {
    /// Of a queue whose Deployment asks for `replicas` pods now, and of which nothing else is known.
    pub fn new(replicas: u32) -> Self {
        Self { replicas: Some(replicas), ..Self::default() }
    }

    /// Takes over how many pods the Deployment asks for now. A sample says so by itself; where the broker cannot be
    /// asked, this is what keeps the answer from being another number than the one in force.
    #[must_use]
    pub fn adopt(mut self, replicas: u32) -> Self {
        self.replicas = Some(replicas);
        self
    }
}
