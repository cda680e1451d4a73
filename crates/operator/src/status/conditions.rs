//! The conditions: what each says, and why.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Observed;
use super::figures::Pods;
use crate::crd::{ScalingMode, TaskQueue, TaskQueueStatus, condition, reason};
use crate::gauge::{Reading, Seen};

/// Longest message of a condition, in bytes; the API server takes 32,768.
const MESSAGE_MAX: usize = 2_000;

/// What stopped the stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The reason of the condition.
    pub reason: &'static str,
    /// The sentence of the condition.
    pub message: String,
}

/// What the conditions are made of.
pub struct Found<'a> {
    /// The TaskQueue.
    pub task_queue: &'a TaskQueue,
    /// What the stages found.
    pub observed: &'a Observed<'a>,
    /// Its worker pods.
    pub(super) pods: Pods,
    /// Whether the last status said Ready of the present generation.
    pub(super) was_ready: bool,
}

/// One condition, before its time of change is known.
struct Said {
    holds: Option<bool>,
    reason: &'static str,
    message: String,
}

fn said(holds: bool, reason: &'static str, message: impl Into<String>) -> Said {
    Said { holds: Some(holds), reason, message: message.into() }
}

/// All conditions. One that says the same as `before` keeps its time.
pub(super) fn conditions(found: &Found<'_>, before: &[Condition]) -> Vec<Condition> {
    let all = [
        (condition::READY, ready(found)),
        (condition::PROGRESSING, progressing(found)),
        (condition::DEGRADED, degraded(found)),
        (condition::BROKER_REACHABLE, broker(found)),
        (condition::SCALING_ACTIVE, scaling(found)),
    ];
    all.into_iter().map(|(type_, said)| dated(found, before, type_, said)).collect()
}

fn dated(found: &Found<'_>, before: &[Condition], type_: &str, said: Said) -> Condition {
    let status = match said.holds {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let since = before.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    let mut message = said.message;
    if message.len() > MESSAGE_MAX {
        let mut end = MESSAGE_MAX;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
    }
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: said.reason.to_owned(),
        message,
        last_transition_time: since
            .map_or_else(|| Time(found.observed.now), |condition| condition.last_transition_time.clone()),
        observed_generation: found.task_queue.metadata.generation,
    }
}

fn ready(found: &Found<'_>) -> Said {
    let Found { observed, pods, .. } = found;
    if let Some(trouble) = &observed.trouble {
        return said(false, trouble.reason, &trouble.message);
    }
    match observed.reading {
        Reading::Waiting => said(false, reason::PENDING, "the broker has not been asked yet"),
        Reading::Conflict(other) => said(
            false,
            reason::QUEUE_CONFLICT,
            format!(
                "queue {} is served by TaskQueue {}/{} (uid {}, cluster {}): choose another spec.queue, or delete that one",
                observed.queue, other.namespace, other.name, other.uid, other.cluster
            ),
        ),
        Reading::Unfit(why) => said(false, reason::BROKER_UNFIT, why),
        Reading::Unreachable { error, .. } => said(
            false,
            reason::BROKER_UNREACHABLE,
            format!("{error}; the number of pods is held, and workers go on as soon as the broker answers"),
        ),
        Reading::Live(seen) => served(seen, *pods, found.was_ready),
    }
}

/// Whether the status says so of the present generation.
pub(super) fn was_ready(task_queue: &TaskQueue, before: &TaskQueueStatus) -> bool {
    before.conditions.iter().any(|before| {
        before.type_ == condition::READY
            && before.status == "True"
            && before.observed_generation == task_queue.metadata.generation
    })
}

/// A queue that merely scales stays ready; one whose pods are being replaced, or that has none of those it needs, is not.
fn served(seen: &Seen, pods: Pods, was_ready: bool) -> Said {
    let stats = &seen.stats;
    if pods.stuck {
        return said(
            false,
            reason::PODS_NOT_READY,
            format!(
                "{} of {} worker pods are ready and no more become so: see their events and logs",
                pods.ready, pods.wanted
            ),
        );
    }
    let replacing = if pods.current { pods.updated < pods.there } else { !was_ready };
    if replacing || pods.wanted > 0 && pods.ready == 0 {
        return said(
            false,
            reason::ROLLING_OUT,
            format!(
                "{} of {} worker pods are ready, {} of the present template",
                pods.ready, pods.wanted, pods.updated
            ),
        );
    }
    if stats.paused {
        let by = if seen.held { "by spec.paused" } else { "by hand" };
        return said(true, reason::PAUSED, format!("paused {by}: {} tasks wait, {} run", stats.pending, stats.active));
    }
    if pods.wanted == 0 && stats.pending + stats.active == 0 {
        return said(true, reason::IDLE, "no worker pods, and nothing to do");
    }
    said(
        true,
        reason::AVAILABLE,
        format!(
            "{} of {} worker pods are ready; {} tasks wait, {} run",
            pods.ready, pods.wanted, stats.pending, stats.active
        ),
    )
}

fn progressing(found: &Found<'_>) -> Said {
    let pods = found.pods;
    if found.task_queue.metadata.deletion_timestamp.is_some() || pods.there > pods.wanted && pods.updated >= pods.wanted
    {
        return said(true, reason::DRAINING, format!("{} worker pods are to become {}", pods.there, pods.wanted));
    }
    if pods.stuck || pods.settled() {
        return said(false, reason::AS_EXPECTED, format!("{} worker pods, as wanted", pods.there));
    }
    said(
        true,
        reason::ROLLING_OUT,
        format!("{} of {} worker pods are ready, {} of the present template", pods.ready, pods.wanted, pods.updated),
    )
}

fn degraded(found: &Found<'_>) -> Said {
    let Found { observed, pods, .. } = found;
    if let Some(trouble) = &observed.trouble {
        return said(true, trouble.reason, &trouble.message);
    }
    match observed.reading {
        Reading::Unreachable { error, .. } => said(true, reason::BROKER_UNREACHABLE, error),
        Reading::Unfit(why) => said(true, reason::BROKER_UNFIT, why),
        Reading::Conflict(_) => said(true, reason::QUEUE_CONFLICT, "another TaskQueue serves this queue"),
        Reading::Waiting | Reading::Live(_) if pods.stuck => {
            said(true, reason::PODS_NOT_READY, format!("{} of {} worker pods are ready", pods.ready, pods.wanted))
        }
        Reading::Waiting | Reading::Live(_) => said(false, reason::AS_EXPECTED, "nothing is wrong"),
    }
}

fn broker(found: &Found<'_>) -> Said {
    match found.observed.reading {
        Reading::Waiting => Said { holds: None, reason: reason::PENDING, message: "not asked yet".to_owned() },
        Reading::Unfit(why) => said(false, reason::BROKER_UNFIT, why),
        Reading::Unreachable { error, .. } => said(false, reason::BROKER_UNREACHABLE, error),
        Reading::Conflict(_) | Reading::Live(_) => said(true, reason::CONNECTED, "the broker answers"),
    }
}

fn scaling(found: &Found<'_>) -> Said {
    if found.task_queue.spec.scaling.mode == ScalingMode::Manual {
        return said(false, reason::MANUAL, "spec.replicas decides: kubectl scale, or a HorizontalPodAutoscaler");
    }
    match (&found.observed.trouble, found.observed.reading) {
        (None, Reading::Live(seen)) => said(true, reason::AUTO, seen.decision.reason.to_string()),
        _ => said(false, reason::NO_DATA, "no fresh figures of the queue: the number of pods is held"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use k8s_openapi::jiff::Timestamp;
    use tidemill_core::{QueueOwner, QueueStats};

    use super::*;
    use crate::crd::TaskQueueSpec;
    use crate::scale::{Memory, Mode, Policy, decide};

    fn seen(stats: QueueStats) -> Seen {
        let policy = Policy {
            mode: Mode::Auto,
            min_replicas: 0,
            max_replicas: 10,
            target_wait: std::time::Duration::from_secs(10),
            backlog_per_slot: None,
            stabilization: std::time::Duration::from_mins(1),
            max_step: None,
            slots_per_pod: 10,
        };
        let (decision, _) = decide(&policy, Memory::default(), None, std::time::Duration::ZERO);
        Seen { stats, busy: HashMap::new(), decision, held: false }
    }

    fn reason_of(reading: &Reading, pods: Pods, trouble: Option<Trouble>) -> (String, String) {
        let mut task_queue = TaskQueue::new("emails", TaskQueueSpec::default());
        task_queue.metadata.generation = Some(3);
        let observed = Observed {
            queue: "emails",
            broker: None,
            image: None,
            reading,
            deployment: None,
            trouble,
            scaled: None,
            now: Timestamp::UNIX_EPOCH,
        };
        let all = conditions(&Found { task_queue: &task_queue, observed: &observed, pods, was_ready: false }, &[]);
        assert_eq!(all.len(), 5);
        assert!(all.iter().all(|condition| condition.observed_generation == Some(3)));
        (all[0].status.clone(), all[0].reason.clone())
    }

    #[test]
    fn ready_says_what_is_the_matter() {
        let settled =
            |count| Pods { wanted: count, there: count, ready: count, updated: count, current: true, stuck: false };
        let live = |pending, paused| Reading::Live(seen(QueueStats { pending, paused, ..QueueStats::default() }));
        let owner = QueueOwner { cluster: "c".into(), namespace: "n".into(), name: "o".into(), uid: "u".into() };
        let trouble = Trouble { reason: reason::SECRET_MISSING, message: "no".into() };
        let away = Reading::Unreachable { error: "gone".into(), last: None };
        let table = [
            (Reading::Waiting, settled(0), None, "False", reason::PENDING),
            (live(0, false), settled(0), None, "True", reason::IDLE),
            (live(4, false), settled(2), None, "True", reason::AVAILABLE),
            (live(4, true), settled(0), None, "True", reason::PAUSED),
            (live(4, false), Pods { ready: 1, ..settled(2) }, None, "True", reason::AVAILABLE),
            (live(4, false), Pods { ready: 0, ..settled(2) }, None, "False", reason::ROLLING_OUT),
            (live(4, false), Pods { updated: 1, ..settled(2) }, None, "False", reason::ROLLING_OUT),
            (live(4, false), Pods { current: false, ..settled(2) }, None, "False", reason::ROLLING_OUT),
            (live(4, false), Pods { ready: 1, stuck: true, ..settled(2) }, None, "False", reason::PODS_NOT_READY),
            (live(4, false), settled(2), Some(trouble), "False", reason::SECRET_MISSING),
            (away, settled(2), None, "False", reason::BROKER_UNREACHABLE),
            (Reading::Unfit("evicts".into()), settled(0), None, "False", reason::BROKER_UNFIT),
            (Reading::Conflict(owner), settled(0), None, "False", reason::QUEUE_CONFLICT),
        ];
        for (reading, pods, trouble, status, reason) in table {
            assert_eq!(reason_of(&reading, pods, trouble), (status.to_owned(), reason.to_owned()), "{reading:?}");
        }
    }

    #[test]
    fn a_condition_that_stays_as_it_is_keeps_its_time() {
        let task_queue = TaskQueue::new("emails", TaskQueueSpec::default());
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let observed = |reading, now| Observed {
            queue: "emails",
            broker: None,
            image: None,
            reading,
            deployment: None,
            trouble: None,
            scaled: None,
            now,
        };
        let live = Reading::Live(seen(QueueStats::default()));
        let pods = Pods { current: true, ..Pods::default() };
        let (first, second) = (observed(&live, at(1)), observed(&live, at(2)));
        let before = conditions(&Found { task_queue: &task_queue, observed: &first, pods, was_ready: false }, &[]);
        let after = conditions(&Found { task_queue: &task_queue, observed: &second, pods, was_ready: false }, &before);
        assert_eq!(before, after);
        let gone = Reading::Unreachable { error: "gone".into(), last: None };
        let third = observed(&gone, at(3));
        let changed = conditions(&Found { task_queue: &task_queue, observed: &third, pods, was_ready: false }, &after);
        assert_eq!(changed[0].last_transition_time, Time(at(3)));
    }
}
