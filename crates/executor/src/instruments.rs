//! What a worker shows of its work: how long tasks wait and run, how attempts end, how exchanges go.
//!
//! All series of a task are found by one look at a small map when an attempt begins or ends, and by none for the rest: what
//! is counted for each task costs no allocation.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use tidemill_broker::Settled;
use tidemill_core::{Claim, FailureKind, Outcome, QueueName, State, TaskType};
use tidemill_telemetry::metrics::timing::{self, Timing, Timings};
use tidemill_telemetry::metrics::{Metrics, names};
use tidemill_telemetry::traceparent::sampled_id;

/// What stands for the types that this worker does not serve, so that nobody's invention becomes a series.
const OTHER: &str = "other";
/// Bounds of the sizes of batches: from a single task to the most that one exchange carries.
const BATCHES: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 10_000.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabels {
    queue: String,
    r#type: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    queue: String,
    r#type: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BeatLabels {
    queue: String,
    result: &'static str,
}

/// How an attempt ended, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    Succeeded,
    Failed,
    Permanent,
    TimedOut,
    Panicked,
    Cancelled,
    Released,
    Unserved,
    Refused,
}

impl Ending {
    const ALL: [Self; 9] = [
        Self::Succeeded,
        Self::Failed,
        Self::Permanent,
        Self::TimedOut,
        Self::Panicked,
        Self::Cancelled,
        Self::Released,
        Self::Unserved,
        Self::Refused,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Permanent => "permanent",
            Self::TimedOut => "timed_out",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
            Self::Released => "released",
            Self::Unserved => "unserved",
            Self::Refused => "refused",
        }
    }

    /// What the worker said, and what the store made of it.
    pub(crate) fn of(outcome: &Outcome, settled: Settled) -> Self {
        match (settled, outcome) {
            (Settled::Refused, _) => Self::Refused,
            (_, Outcome::Succeeded { .. }) => Self::Succeeded,
            (_, Outcome::Failed { failure, .. }) => match failure.kind {
                FailureKind::Permanent => Self::Permanent,
                FailureKind::Timeout => Self::TimedOut,
                FailureKind::Panic => Self::Panicked,
                FailureKind::Transient | FailureKind::Unsupported | FailureKind::Lost => Self::Failed,
            },
            // Someone had asked for that meanwhile.
            (Settled::Now(State::Cancelled), _) | (_, Outcome::Cancelled) => Self::Cancelled,
            (_, Outcome::Released) => Self::Released,
            (_, Outcome::Unserved) => Self::Unserved,
        }
    }
}

/// The series of one type.
#[derive(Debug)]
struct OfType {
    wait: Timing,
    run: Timing,
    endings: [Counter; Ending::ALL.len()],
}

/// All series of a worker.
#[derive(Debug)]
pub(crate) struct Instruments {
    types: BTreeMap<TaskType, OfType>,
    other: OfType,
    wait: Timings<TypeLabels>,
    run: Timings<TypeLabels>,
    attempts: Family<OutcomeLabels, Counter>,
    round_trips: Family<QueueLabels, Counter>,
    round_trip: Counter,
    exchanges: Timings<QueueLabels>,
    exchange: Timing,
    settled: Family<QueueLabels, Histogram, fn() -> Histogram>,
    settled_batch: Histogram,
    claimed: Family<QueueLabels, Histogram, fn() -> Histogram>,
    claimed_batch: Histogram,
    beats: Family<BeatLabels, Counter>,
    renewed: Counter,
    failed: Counter,
    retired: Counter,
    incarnations: Family<QueueLabels, Counter>,
    incarnation: Counter,
    leases_lost: Family<QueueLabels, Counter>,
    lease_lost: Counter,
}

fn batches() -> Histogram {
    Histogram::new(BATCHES)
}

impl Instruments {
    pub(crate) fn new(queue: &QueueName, types: &[TaskType]) -> Self {
        let labels = QueueLabels { queue: queue.as_str().to_owned() };
        let (wait, run) = (timing::family(Timing::of_tasks), timing::family(Timing::of_tasks));
        let attempts = Family::<OutcomeLabels, Counter>::default();
        let of_type = |name: &str| {
            let own = TypeLabels { queue: labels.queue.clone(), r#type: name.to_owned() };
            let ending = |ending: Ending| {
                let TypeLabels { queue, r#type } = own.clone();
                attempts.get_or_create_owned(&OutcomeLabels { queue, r#type, outcome: ending.as_str() })
            };
            OfType {
                wait: wait.get_or_create_owned(&own),
                run: run.get_or_create_owned(&own),
                endings: Ending::ALL.map(ending),
            }
        };
        let exchanges = timing::family(Timing::of_operations);
        let settled = Family::<QueueLabels, Histogram, fn() -> Histogram>::new_with_constructor(batches);
        let claimed = Family::<QueueLabels, Histogram, fn() -> Histogram>::new_with_constructor(batches);
        let beats = Family::<BeatLabels, Counter>::default();
        let beat = |result| beats.get_or_create_owned(&BeatLabels { queue: labels.queue.clone(), result });
        let (incarnations, leases_lost, round_trips) = (Family::default(), Family::default(), Family::default());
        Self {
            types: types.iter().map(|name| (name.clone(), of_type(name.as_str()))).collect(),
            other: of_type(OTHER),
            round_trip: round_trips.get_or_create_owned(&labels),
            exchange: exchanges.get_or_create_owned(&labels),
            settled_batch: settled.get_or_create_owned(&labels),
            claimed_batch: claimed.get_or_create_owned(&labels),
            renewed: beat("renewed"),
            failed: beat("failed"),
            retired: beat("retired"),
            incarnation: incarnations.get_or_create_owned(&labels),
            lease_lost: leases_lost.get_or_create_owned(&labels),
            wait,
            run,
            attempts,
            round_trips,
            exchanges,
            settled,
            claimed,
            beats,
            incarnations,
            leases_lost,
        }
    }

    /// Shows all of it. Once per `metrics`: a second time would show each series twice.
    pub(crate) fn show(&self, metrics: &Metrics) {
        metrics.register(|registry| {
            names::TASK_WAIT.add(registry, self.wait.clone());
            names::TASK_RUN.add(registry, self.run.clone());
            names::TASK_ATTEMPTS.add(registry, self.attempts.clone());
            names::WORKER_EXCHANGES.add(registry, self.round_trips.clone());
            names::WORKER_EXCHANGE_DURATION.add(registry, self.exchanges.clone());
            names::WORKER_SETTLED_BATCH.add(registry, self.settled.clone());
            names::WORKER_CLAIMED_BATCH.add(registry, self.claimed.clone());
            names::WORKER_HEARTBEATS.add(registry, self.beats.clone());
            names::WORKER_INCARNATIONS.add(registry, self.incarnations.clone());
            names::WORKER_LEASES_LOST.add(registry, self.leases_lost.clone());
        });
    }

    /// An attempt begins. Only a first one says how long its task waited.
    pub(crate) fn began(&self, claim: &Claim) {
        if claim.attempt == 1 && claim.losses == 0 {
            let waited = claim.started_at_ms.saturating_sub(claim.record.enqueued_at_ms);
            let trace = sampled_id(claim.record.traceparent.as_deref());
            self.of(claim).wait.observe(Duration::from_millis(waited), trace);
        }
    }

    /// An attempt has run for so long.
    pub(crate) fn ran(&self, claim: &Claim, ran: Duration) {
        self.of(claim).run.observe(ran, sampled_id(claim.record.traceparent.as_deref()));
    }

    /// An attempt is settled, or will never be.
    pub(crate) fn ended(&self, claim: &Claim, ending: Ending) {
        self.of(claim).endings[ending as usize].inc();
    }

    /// An exchange was answered, so long after that was due; one that was let wait for work has no time.
    pub(crate) fn exchanged(&self, took: Option<Duration>, settled: usize, claimed: usize) {
        #[allow(clippy::cast_precision_loss)] // a batch is far below 2^52 tasks
        let size = |count: usize| count as f64;
        self.round_trip.inc();
        if let Some(took) = took {
            self.exchange.observe(took, None);
        }
        if settled > 0 {
            self.settled_batch.observe(size(settled));
        }
        if claimed > 0 {
            self.claimed_batch.observe(size(claimed));
        }
    }

    /// A heartbeat was answered: the lease is renewed, or the store no longer knows the worker.
    pub(crate) fn beat(&self, renewed: bool) {
        if renewed {
            self.renewed.inc()
        } else {
            self.retired.inc()
        };
    }

    /// A heartbeat failed.
    pub(crate) fn beat_failed(&self) {
        self.failed.inc();
    }

    /// The worker registered.
    pub(crate) fn registered(&self) {
        self.incarnation.inc();
    }

    /// The worker lost its lease.
    pub(crate) fn lost_lease(&self) {
        self.lease_lost.inc();
    }

    fn of(&self, claim: &Claim) -> &OfType {
        self.types.get(&claim.record.task_type).unwrap_or(&self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_its_place() {
        for (place, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending as usize, place, "{}", ending.as_str());
        }
    }
}
