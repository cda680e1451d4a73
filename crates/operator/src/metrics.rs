//! What the operator counts, and the figures that it shows of each TaskQueue.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{Atomic, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use tidemill_telemetry::metrics::{Metrics, names};

/// Bounds of the buckets of reconciliations, in seconds: from one that finds all as it should be to the ten seconds that a
/// broker is waited for, and what lies beyond.
const DURATION_BUCKETS: [f64; 9] = [0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];

/// What reconciliations fail at.
const ERROR_KINDS: [&str; 4] = ["api", "timeout", "finalizer", "unreadable"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskQueueLabels {
    namespace: String,
    name: String,
}

/// The figures of one TaskQueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskQueueFigures {
    /// Worker pods that it should have.
    pub desired: u32,
    /// Worker pods that are ready.
    pub ready: u32,
    /// Fewest and most that the autoscaler may choose; `None` where the count is set by hand.
    pub limits: Option<(u32, u32)>,
    /// Whether the work asks for more than the most.
    pub at_max: bool,
    /// How long a task should wait at most.
    pub target_wait: Duration,
    /// Whether the broker answers; `None` before it was asked.
    pub broker_up: Option<bool>,
    /// Tasks that wait; `None` while the broker does not say.
    pub pending: Option<u64>,
    /// How long the head of the queue has waited, zero when nothing waits; `None` while the broker does not say.
    pub oldest: Option<Duration>,
}

type PerTaskQueue<N, A> = Family<TaskQueueLabels, Gauge<N, A>>;

/// What the operator counts. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct OperatorMetrics {
    reconciles: Counter,
    errors: Family<ErrorLabels, Counter>,
    duration: Histogram,
    depth: Gauge,
    leader: Gauge,
    desired: PerTaskQueue<u64, AtomicU64>,
    ready: PerTaskQueue<u64, AtomicU64>,
    min: PerTaskQueue<u64, AtomicU64>,
    max: PerTaskQueue<u64, AtomicU64>,
    at_max: PerTaskQueue<u64, AtomicU64>,
    target_wait: PerTaskQueue<f64, AtomicU64>,
    broker_up: PerTaskQueue<u64, AtomicU64>,
    pending: PerTaskQueue<u64, AtomicU64>,
    oldest: PerTaskQueue<f64, AtomicU64>,
}

impl OperatorMetrics {
    /// Registers the operator's series. Once per `metrics`: a second time would show each twice.
    pub fn register(metrics: &Metrics) -> Self {
        let own = Self {
            reconciles: Counter::default(),
            errors: Family::default(),
            duration: Histogram::new(DURATION_BUCKETS),
            depth: Gauge::default(),
            leader: Gauge::default(),
            desired: Family::default(),
            ready: Family::default(),
            min: Family::default(),
            max: Family::default(),
            at_max: Family::default(),
            target_wait: Family::default(),
            broker_up: Family::default(),
            pending: Family::default(),
            oldest: Family::default(),
        };
        // From the beginning, so that the first failure is a rise.
        for kind in ERROR_KINDS {
            drop(own.errors.get_or_create(&ErrorLabels { kind }));
        }
        metrics.register(|registry| {
            names::OPERATOR_RECONCILES.add(registry, own.reconciles.clone());
            names::OPERATOR_RECONCILE_ERRORS.add(registry, own.errors.clone());
            names::OPERATOR_RECONCILE_DURATION.add(registry, own.duration.clone());
            names::OPERATOR_QUEUE_DEPTH.add(registry, own.depth.clone());
            names::OPERATOR_LEADER.add(registry, own.leader.clone());
            names::TASKQUEUE_DESIRED.add(registry, own.desired.clone());
            names::TASKQUEUE_READY.add(registry, own.ready.clone());
            names::TASKQUEUE_MIN.add(registry, own.min.clone());
            names::TASKQUEUE_MAX.add(registry, own.max.clone());
            names::TASKQUEUE_AT_MAX.add(registry, own.at_max.clone());
            names::TASKQUEUE_TARGET_WAIT.add(registry, own.target_wait.clone());
            names::TASKQUEUE_BROKER_UP.add(registry, own.broker_up.clone());
            names::TASKQUEUE_PENDING.add(registry, own.pending.clone());
            names::TASKQUEUE_OLDEST.add(registry, own.oldest.clone());
        });
        own
    }

    /// A reconciliation ended, well or not.
    pub fn reconciled(&self, took: Duration) {
        self.reconciles.inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// A reconciliation failed; it is also told by [`OperatorMetrics::reconciled`]. `kind` is one of a fixed few words.
    pub fn failed(&self, kind: &'static str) {
        self.errors.get_or_create(&ErrorLabels { kind }).inc();
    }

    /// Whether this operator leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// How many objects wait for reconciliation.
    pub fn depth(&self, waiting: usize) {
        self.depth.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Shows a TaskQueue as it is now. What is not known has no series, rather than an old figure.
    pub fn task_queue(&self, namespace: &str, name: &str, figures: TaskQueueFigures) {
        let TaskQueueFigures { desired, ready, limits, at_max, target_wait, broker_up, pending, oldest } = figures;
        let labels = labels(namespace, name);
        self.desired.get_or_create(&labels).set(u64::from(desired));
        self.ready.get_or_create(&labels).set(u64::from(ready));
        show(&self.min, &labels, limits.map(|(min, _)| u64::from(min)));
        show(&self.max, &labels, limits.map(|(_, max)| u64::from(max)));
        self.at_max.get_or_create(&labels).set(u64::from(at_max));
        self.target_wait.get_or_create(&labels).set(target_wait.as_secs_f64());
        show(&self.broker_up, &labels, broker_up.map(u64::from));
        show(&self.pending, &labels, pending);
        show(&self.oldest, &labels, oldest.map(|oldest| oldest.as_secs_f64()));
    }

    /// A TaskQueue is gone: its series end.
    pub fn forget(&self, namespace: &str, name: &str) {
        let labels = labels(namespace, name);
        for figures in [&self.desired, &self.ready, &self.min, &self.max, &self.at_max, &self.broker_up, &self.pending]
        {
            figures.remove(&labels);
        }
        for figures in [&self.target_wait, &self.oldest] {
            figures.remove(&labels);
        }
    }

    /// This operator leads no more: the series of all TaskQueues end, since the next leader shows them.
    pub fn forget_all(&self) {
        for figures in [&self.desired, &self.ready, &self.min, &self.max, &self.at_max, &self.broker_up, &self.pending]
        {
            figures.clear();
        }
        for figures in [&self.target_wait, &self.oldest] {
            figures.clear();
        }
    }
}

/// Shows a figure, or ends its series where there is none.
fn show<N, A>(figures: &PerTaskQueue<N, A>, labels: &TaskQueueLabels, figure: Option<N>)
where
    A: Atomic<N> + Default,
{
    match figure {
        Some(figure) => {
            figures.get_or_create(labels).set(figure);
        }
        None => {
            figures.remove(labels);
        }
    }
}

fn labels(namespace: &str, name: &str) -> TaskQueueLabels {
    TaskQueueLabels { namespace: namespace.to_owned(), name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use tidemill_telemetry::metrics::TextFormat;

    use super::*;

    const FIGURES: TaskQueueFigures = TaskQueueFigures {
        desired: 3,
        ready: 2,
        limits: Some((1, 9)),
        at_max: false,
        target_wait: Duration::from_secs(10),
        broker_up: Some(true),
        pending: Some(40),
        oldest: Some(Duration::from_millis(1_500)),
    };

    fn registered() -> (Metrics, OperatorMetrics) {
        let metrics = Metrics::new("1.2.3");
        let own = OperatorMetrics::register(&metrics);
        (metrics, own)
    }

    fn text(metrics: &Metrics) -> String {
        metrics.render(TextFormat::Plain, &[]).unwrap()
    }

    /// The samples whose names begin so.
    fn samples(metrics: &Metrics, prefix: &str) -> Vec<String> {
        text(metrics).lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
    }

    #[test]
    fn reconciliations_are_counted_with_their_durations_and_errors_by_kind() {
        let (metrics, own) = registered();
        own.reconciled(Duration::from_millis(20));
        own.reconciled(Duration::from_millis(700));
        own.failed("apply");
        own.leads(true);
        own.depth(7);
        let text = text(&metrics);
        for line in [
            "# TYPE tidemill_operator_reconciles_total counter",
            "tidemill_operator_reconciles_total 2",
            "tidemill_operator_reconcile_errors_total{kind=\"apply\"} 1",
            "# TYPE tidemill_operator_reconcile_duration_seconds histogram",
            "tidemill_operator_reconcile_duration_seconds_bucket{le=\"0.05\"} 1",
            "tidemill_operator_reconcile_duration_seconds_count 2",
            "tidemill_operator_queue_depth 7",
            "tidemill_operator_leader 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
        }
        own.leads(false);
        assert_eq!(samples(&metrics, "tidemill_operator_leader"), ["tidemill_operator_leader 0"]);
    }

    #[test]
    fn a_task_queue_shows_its_figures_until_it_is_forgotten() {
        let (metrics, own) = registered();
        own.task_queue("shop", "mail", FIGURES);
        own.task_queue("shop", "print", TaskQueueFigures { desired: 1, ..FIGURES });
        own.forget("shop", "print");
        own.forget("other", "mail");
        let expected = [
            "tidemill_taskqueue_desired_replicas{namespace=\"shop\",name=\"mail\"} 3",
            "tidemill_taskqueue_ready_replicas{namespace=\"shop\",name=\"mail\"} 2",
            "tidemill_taskqueue_min_replicas{namespace=\"shop\",name=\"mail\"} 1",
            "tidemill_taskqueue_max_replicas{namespace=\"shop\",name=\"mail\"} 9",
            "tidemill_taskqueue_limited_by_max{namespace=\"shop\",name=\"mail\"} 0",
            "tidemill_taskqueue_target_wait_seconds{namespace=\"shop\",name=\"mail\"} 10.0",
            "tidemill_taskqueue_broker_up{namespace=\"shop\",name=\"mail\"} 1",
            "tidemill_taskqueue_pending_tasks{namespace=\"shop\",name=\"mail\"} 40",
            "tidemill_taskqueue_oldest_pending_seconds{namespace=\"shop\",name=\"mail\"} 1.5",
        ];
        assert_eq!(samples(&metrics, "tidemill_taskqueue_"), expected);
        own.forget_all();
        assert!(samples(&metrics, "tidemill_taskqueue_").is_empty());
    }

    #[test]
    fn what_the_broker_does_not_say_has_no_series() {
        let (metrics, own) = registered();
        own.task_queue("shop", "mail", FIGURES);
        let unknown = TaskQueueFigures { limits: None, broker_up: Some(false), pending: None, oldest: None, ..FIGURES };
        own.task_queue("shop", "mail", unknown);
        assert_eq!(samples(&metrics, "tidemill_taskqueue_").len(), 5);
        assert!(samples(&metrics, "tidemill_taskqueue_pending").is_empty());
    }
}
