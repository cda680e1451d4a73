//! The registry of metrics: every name is declared in [`names`], once, with what it means.
//!
//! [`Metrics`] holds what this process counts; whoever has more to show registers it with [`Metrics::register`]. Figures
//! of whole queues are not kept here: they are read from the store for each scrape and handed to [`Metrics::render`], so
//! that they are never stale, and only one process of an installation does that, so that no sum counts them twice.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tidemill_core::{Counters, QueueName, QueueStats, State};

/// The names of all metrics. Counters end in `_total` on the wire, those with a unit in it.
pub mod names {
    /// Which build this is: always 1, with the label `version`.
    pub const BUILD: &str = "tidemill_build";
    /// HTTP requests answered. Labels `method`, `route` (the pattern, never the path) and `status`.
    pub const HTTP_REQUESTS: &str = "tidemill_http_requests";
    /// Time from a request's head to its response's head, in seconds. Label `route`.
    pub const HTTP_REQUEST_DURATION: &str = "tidemill_http_request_duration";
    /// WebSocket clients connected now.
    pub const WS_CLIENTS: &str = "tidemill_ws_clients";
    /// WebSocket clients closed because they would have missed events: they lagged, or the subscription had a gap.
    pub const WS_EVENTS_LOST: &str = "tidemill_ws_events_lost";
    /// Whether the broker answered this process last time: 1 or 0.
    pub const BROKER_UP: &str = "tidemill_broker_up";
    /// Tasks that this process's executor may run at a time.
    pub const WORKER_SLOTS: &str = "tidemill_worker_slots";
    /// Tasks that this process's executor runs now.
    pub const WORKER_BUSY: &str = "tidemill_worker_busy";
    /// Tasks in a queue. Labels `queue` and `state`; ended ones as far as they are kept.
    pub const QUEUE_TASKS: &str = "tidemill_queue_tasks";
    /// How long the head of a queue has waited, in seconds; 0 when nothing waits. Label `queue`.
    pub const QUEUE_OLDEST_PENDING: &str = "tidemill_queue_oldest_pending";
    /// Live workers registered with a queue. Label `queue`.
    pub const QUEUE_WORKERS: &str = "tidemill_queue_workers";
    /// Whether a queue is paused: 1 or 0. Label `queue`.
    pub const QUEUE_PAUSED: &str = "tidemill_queue_paused";
    /// How often each transition happened since the queue came to be. Labels `queue` and `transition`.
    pub const QUEUE_TRANSITIONS: &str = "tidemill_queue_transitions";
    /// Time that settled attempts ran, in seconds. Label `queue`.
    pub const QUEUE_RUN: &str = "tidemill_queue_run";
    /// Reconciliations of the operator, failed ones included.
    pub const OPERATOR_RECONCILES: &str = "tidemill_operator_reconciles";
    /// Reconciliations of the operator that failed. Label `kind`: what failed, one of a fixed few words.
    pub const OPERATOR_RECONCILE_ERRORS: &str = "tidemill_operator_reconcile_errors";
    /// How long a reconciliation took, in seconds, failed ones included.
    pub const OPERATOR_RECONCILE_DURATION: &str = "tidemill_operator_reconcile_duration";
    /// Objects that wait for the operator to reconcile them.
    pub const OPERATOR_QUEUE_DEPTH: &str = "tidemill_operator_queue_depth";
    /// Whether this operator leads: 1 or 0.
    pub const OPERATOR_LEADER: &str = "tidemill_operator_leader";
    /// Worker pods that a TaskQueue should have. Labels `namespace` and `name`, as in the next three; the leader alone shows them.
    pub const TASKQUEUE_DESIRED: &str = "tidemill_taskqueue_desired_replicas";
    /// Worker pods of a TaskQueue that are ready.
    pub const TASKQUEUE_READY: &str = "tidemill_taskqueue_ready_replicas";
    /// Tasks that wait in a TaskQueue's queue. No series while the broker does not say.
    pub const TASKQUEUE_PENDING: &str = "tidemill_taskqueue_pending_tasks";
    /// How long the head of a TaskQueue's queue has waited, in seconds; 0 when nothing waits. No series while the broker
    /// does not say.
    pub const TASKQUEUE_OLDEST: &str = "tidemill_taskqueue_oldest_pending";
}

/// Bounds of the buckets of request durations, in seconds: from a local answer to the two seconds in which every
/// operation of a broker answers, and what lies beyond.
const DURATION_BUCKETS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0, 10.0];

/// The two text forms that scrapers ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// `text/plain; version=0.0.4`, which every Prometheus reads.
    Plain,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl TextFormat {
    /// The media type of this form.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The metrics could not be written as text.
#[derive(Debug, thiserror::Error)]
#[error("writing the metrics as text failed: {0}")]
pub struct RenderError(#[from] fmt::Error);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

/// What this process counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    ws_clients: Gauge,
    ws_events_lost: Counter,
    broker_up: Gauge,
    worker_slots: Gauge,
    worker_busy: Gauge,
}

impl Metrics {
    /// The metrics of a program of this version.
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::default();
        let build = Info::new(vec![("version".to_owned(), version.to_owned())]);
        registry.register(names::BUILD, "Which build this is", build);
        let durations = Family::new_with_constructor(duration_histogram as fn() -> Histogram);
        let metrics = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            durations,
            ws_clients: Gauge::default(),
            ws_events_lost: Counter::default(),
            broker_up: Gauge::default(),
            worker_slots: Gauge::default(),
            worker_busy: Gauge::default(),
        };
        registry.register(names::HTTP_REQUESTS, "HTTP requests answered", metrics.requests.clone());
        registry.register_with_unit(
            names::HTTP_REQUEST_DURATION,
            "Time from a request's head to its response's head",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register(names::WS_CLIENTS, "WebSocket clients connected now", metrics.ws_clients.clone());
        registry.register(
            names::WS_EVENTS_LOST,
            "WebSocket clients closed because they would have missed events",
            metrics.ws_events_lost.clone(),
        );
        registry.register(
            names::BROKER_UP,
            "Whether the broker answered this process last time",
            metrics.broker_up.clone(),
        );
        Self { registry: Mutex::new(registry), ..metrics }
    }

    /// Lets another part of the program add what it counts, under names that it adds to [`names`].
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts a request. `route` is a pattern and `method` a known one, so that the number of series stays bounded.
    pub fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = RequestLabels { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&RouteLabels { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    /// A WebSocket client came (`1`) or went (`-1`).
    pub fn ws_clients(&self, change: i64) {
        self.ws_clients.inc_by(change);
    }

    /// A WebSocket client was closed because it would have missed events.
    pub fn ws_events_lost(&self) {
        self.ws_events_lost.inc();
    }

    /// Whether the broker answered.
    pub fn broker_up(&self, up: bool) {
        self.broker_up.set(i64::from(up));
    }

    /// Shows the executor of this process. The first call makes its series appear.
    pub fn worker(&self, slots: u32, busy: u32) {
        if self.worker_slots.set(i64::from(slots)) == 0 && slots > 0 {
            self.register(|registry| {
                let slots = "Tasks that this process's executor may run at a time";
                registry.register(names::WORKER_SLOTS, slots, self.worker_slots.clone());
                let busy = "Tasks that this process's executor runs now";
                registry.register(names::WORKER_BUSY, busy, self.worker_busy.clone());
            });
        }
        self.worker_busy.set(i64::from(busy));
    }

    /// Everything as text, the given queues included.
    pub fn render(&self, format: TextFormat, queues: &[(QueueName, QueueStats)]) -> Result<String, RenderError> {
        let mut text = String::with_capacity(4_096);
        encode_registry(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        if !queues.is_empty() {
            encode_registry(&mut text, &queue_registry(queues))?;
        }
        encode_eof(&mut text)?;
        Ok(match format {
            TextFormat::OpenMetrics => text,
            TextFormat::Plain => plain(&text),
        })
    }
}

fn duration_histogram() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

type Labels = Vec<(&'static str, String)>;

fn queue_registry(queues: &[(QueueName, QueueStats)]) -> Registry {
    let tasks = Family::<Labels, Gauge<u64, AtomicU64>>::default();
    let oldest = Family::<Labels, Gauge<f64, AtomicU64>>::default();
    let workers = Family::<Labels, Gauge>::default();
    let paused = Family::<Labels, Gauge>::default();
    let transitions = Family::<Labels, Counter>::default();
    let run = Family::<Labels, Counter<f64, AtomicU64>>::default();
    for (name, stats) in queues {
        let queue = || ("queue", name.as_str().to_owned());
        for (state, count) in depths(stats) {
            tasks.get_or_create(&vec![queue(), ("state", state.as_str().to_owned())]).set(count);
        }
        let own = vec![queue()];
        oldest.get_or_create(&own).set(seconds(stats.oldest_pending_ms.unwrap_or(0)));
        workers.get_or_create(&own).set(i64::from(stats.workers));
        paused.get_or_create(&own).set(i64::from(stats.paused));
        run.get_or_create(&own).inc_by(seconds(stats.counters.ran_ms));
        for (transition, count) in counted(&stats.counters) {
            transitions.get_or_create(&vec![queue(), ("transition", transition.to_owned())]).inc_by(count);
        }
    }
    let mut registry = Registry::default();
    registry.register(names::QUEUE_TASKS, "Tasks in a queue, by state", tasks);
    let help = "How long the head of a queue has waited";
    registry.register_with_unit(names::QUEUE_OLDEST_PENDING, help, Unit::Seconds, oldest);
    registry.register(names::QUEUE_WORKERS, "Live workers registered with a queue", workers);
    registry.register(names::QUEUE_PAUSED, "Whether a queue is paused", paused);
    registry.register(names::QUEUE_TRANSITIONS, "How often each transition happened", transitions);
    registry.register_with_unit(names::QUEUE_RUN, "Time that settled attempts ran", Unit::Seconds, run);
    registry
}

fn depths(stats: &QueueStats) -> [(State, u64); 7] {
    [
        (State::Pending, stats.pending),
        (State::Delayed, stats.delayed),
        (State::Active, stats.active),
        (State::Retrying, stats.retrying),
        (State::Succeeded, stats.succeeded),
        (State::Dead, stats.dead),
        (State::Cancelled, stats.cancelled),
    ]
}

fn counted(counters: &Counters) -> [(&'static str, u64); 13] {
    let Counters {
        enqueued,
        started,
        succeeded,
        failed,
        timed_out,
        retried,
        dead,
        cancelled,
        lost,
        released,
        refused,
        requeued,
        deleted,
        ran_ms: _,
    } = *counters;
    [
        ("enqueued", enqueued),
        ("started", started),
        ("succeeded", succeeded),
        ("failed", failed),
        ("timed_out", timed_out),
        ("retried", retried),
        ("dead", dead),
        ("cancelled", cancelled),
        ("lost", lost),
        ("released", released),
        ("refused", refused),
        ("requeued", requeued),
        ("deleted", deleted),
    ]
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

/// `OpenMetrics` as the older text form: there a counter's head carries the `_total` of its samples, and units and the end
/// mark are unknown.
fn plain(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help: Option<(&str, &str)> = None;
    let mut write = |line: &[&str]| {
        for part in line {
            text.push_str(part);
        }
        text.push('\n');
    };
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, words)) = help.take().filter(|(of, _)| *of == name) {
                write(&["# HELP ", name, suffix, " ", words]);
            }
            write(&["# TYPE ", name, suffix, " ", kind]);
        } else if !line.starts_with('#') {
            write(&[line]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        let metrics = Metrics::new("1.2.3");
        metrics.request("GET", "/tasks", 200, Duration::from_millis(3));
        metrics.broker_up(true);
        metrics
    }

    fn stats() -> QueueStats {
        QueueStats {
            pending: 3,
            oldest_pending_ms: Some(1_500),
            counters: Counters { enqueued: 5, dead: 2, ran_ms: 2_500, ..Counters::default() },
            ..QueueStats::default()
        }
    }

    #[test]
    fn open_metrics_ends_with_its_mark_and_the_plain_form_names_counters_by_their_samples() {
        let queues = [(QueueName::default_queue(), stats())];
        let open = metrics().render(TextFormat::OpenMetrics, &queues).unwrap();
        assert!(open.ends_with("# EOF\n"));
        assert!(open.contains("# TYPE tidemill_http_requests counter\n"), "{open}");
        let plain = metrics().render(TextFormat::Plain, &queues).unwrap();
        assert!(!plain.contains("# EOF") && !plain.contains("# UNIT"), "{plain}");
        for line in [
            "# TYPE tidemill_http_requests_total counter",
            "tidemill_http_requests_total{method=\"GET\",route=\"/tasks\",status=\"200\"} 1",
            "# TYPE tidemill_build_info gauge",
            "tidemill_build_info{version=\"1.2.3\"} 1",
            "tidemill_broker_up 1",
            "tidemill_queue_tasks{queue=\"default\",state=\"pending\"} 3",
            "tidemill_queue_oldest_pending_seconds{queue=\"default\"} 1.5",
            "tidemill_queue_transitions_total{queue=\"default\",transition=\"dead\"} 2",
            "tidemill_queue_run_seconds_total{queue=\"default\"} 2.5",
        ] {
            assert!(plain.lines().any(|found| found == line), "{line}\nnot in\n{plain}");
        }
    }

    #[test]
    fn without_queues_and_executor_there_are_no_series_of_theirs() {
        let metrics = metrics();
        let text = metrics.render(TextFormat::Plain, &[]).unwrap();
        assert!(!text.contains("tidemill_queue_") && !text.contains("tidemill_worker_"), "{text}");
        metrics.worker(10, 4);
        metrics.worker(10, 5);
        let text = metrics.render(TextFormat::Plain, &[]).unwrap();
        assert_eq!(text.matches("\ntidemill_worker_busy 5\n").count(), 1, "{text}");
    }
}
