//! What a `TaskQueue` asks of the autoscaler.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Who says how many pods there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Mode {
    /// The autoscaler.
    Auto,
    /// `spec.replicas`, written by hand, by `kubectl scale` or by an HPA.
    Manual {
        /// That many, whatever the other members of the policy say.
        replicas: u32,
    },
}

/// The limits and aims of one queue, from its spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Who says how many pods there are.
    pub mode: Mode,
    /// Never fewer pods in Auto.
    pub min_replicas: u32,
    /// Never more pods in Auto; where it is below `min_replicas`, it holds and the other does not.
    pub max_replicas: u32,
    /// How long a backlog may take to work off, once the pods are ready. Below a millisecond: a slot for every task.
    pub target_wait: Duration,
    /// How many waiting tasks a slot may have before it while the service time is not known yet; `None` is as many as
    /// end within `target_wait` when each takes [`ASSUMED_SERVICE`](super::ASSUMED_SERVICE). 0 counts as 1.
    pub backlog_per_slot: Option<u32>,
    /// How long fewer pods must have been enough before there are fewer. Zero: at once.
    pub stabilization: Duration,
    /// At most that many pods start at a time: the next ones wait until those are ready. 0 counts as 1.
    pub max_step: Option<u32>,
    /// How many tasks a pod runs at a time. 0 counts as 1.
    pub slots_per_pod: u32,
}

impl Policy {
    /// `pods`, within the bounds.
    pub(super) fn bounded(&self, pods: u32) -> u32 {
        pods.max(self.min_replicas).min(self.max_replicas)
    }
}
