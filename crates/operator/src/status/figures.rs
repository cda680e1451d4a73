//! Numbers of the status.

use k8s_openapi::api::apps::v1::Deployment;
use tidemill_core::QueueStats;

use crate::crd::QueueFigures;

/// The worker pods, by their Deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pods {
    /// Wanted.
    pub(super) wanted: i32,
    /// There, those that drain not counted.
    pub(super) there: i32,
    /// Ready.
    pub(super) ready: i32,
    /// Of the present template.
    pub(super) updated: i32,
    /// Whether the Deployment's own status speaks of its present spec.
    pub(super) current: bool,
    /// Whether the Deployment gave up waiting for its pods.
    pub(super) stuck: bool,
}

impl Pods {
    /// Of this Deployment; none without one.
    pub(super) fn of(deployment: Option<&Deployment>) -> Self {
        let Some(deployment) = deployment else { return Self::default() };
        let status = deployment.status.clone().unwrap_or_default();
        let stuck = status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "Progressing" && condition.status == "False"
                || condition.type_ == "ReplicaFailure" && condition.status == "True"
        });
        Self {
            wanted: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0),
            there: status.replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            current: status.observed_generation >= deployment.metadata.generation,
            stuck,
        }
    }

    /// All pods that are wanted are there, ready and of the present template, and no others.
    pub(super) fn settled(&self) -> bool {
        self.current && self.there == self.wanted && self.ready == self.wanted && self.updated == self.wanted
    }
}

/// The queue at a glance.
pub(super) fn figures(queue: &str, stats: &QueueStats) -> QueueFigures {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let oldest = stats.oldest_pending_ms.map(|ms| ms / 1_000);
    QueueFigures {
        name: queue.to_owned(),
        pending: count(stats.pending),
        active: count(stats.active),
        delayed: count(stats.delayed),
        retrying: count(stats.retrying),
        dead: count(stats.dead),
        oldest_seconds: oldest.map(count),
        oldest: oldest.map(readable),
    }
}

/// Seconds as kubectl writes ages: 45s, 3m, 5h, 2d.
fn readable(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / MINUTE),
        7_200..172_800 => format!("{}h", seconds / HOUR),
        _ => format!("{}d", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_as_kubectl_writes_them() {
        for (seconds, text) in [(0, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"), (172_800, "2d")]
        {
            assert_eq!(readable(seconds), text);
        }
    }
}
