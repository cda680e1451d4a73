//! The registry of metrics: every name is declared in [`names`], once, with what it means.
//!
//! [`Metrics`] holds what this process counts; whoever has more to show registers it with [`Metrics::register`]. Figures
//! of whole queues are not kept here: they are read from the store for each scrape and handed to [`Metrics::render`], so
//! that they are never stale, and only one process of an installation does that, so that no sum counts them twice.
//! Durations are [`timing`]s, which name the trace of a sample where there is one.

pub mod names;
mod queues;
mod text;
pub mod timing;

use std::fmt;
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tidemill_core::{QueueName, QueueStats};

pub use self::text::TextFormat;
use self::timing::{Timing, Timings};

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    operation: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// Reads a counter that is kept elsewhere.
type Read = Box<dyn Fn() -> u64 + Send + Sync>;

/// What this process counts.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    durations: Timings<RouteLabels>,
    ws_clients: Gauge,
    ws_messages_behind: Gauge,
    ws_events_lost: Counter,
    broker_up: Gauge,
    has_broker: Once,
    operations: Timings<OperationLabels>,
    errors: Family<ErrorLabels, Counter>,
    spans: Family<ResultLabels, Counter>,
    worker_slots: Gauge,
    worker_busy: Gauge,
    lines_dropped: OnceLock<Read>,
}

impl Metrics {
    /// The metrics of a program of this version.
    pub fn new(version: &str) -> Self {
        let metrics = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            durations: timing::family(Timing::of_requests),
            ws_clients: Gauge::default(),
            ws_messages_behind: Gauge::default(),
            ws_events_lost: Counter::default(),
            broker_up: Gauge::default(),
            has_broker: Once::new(),
            operations: timing::family(Timing::of_operations),
            errors: Family::default(),
            spans: Family::default(),
            worker_slots: Gauge::default(),
            worker_busy: Gauge::default(),
            lines_dropped: OnceLock::new(),
        };
        let build = Info::new(vec![("version".to_owned(), version.to_owned())]);
        metrics.register(|registry| {
            names::BUILD.add(registry, build);
            names::HTTP_REQUESTS.add(registry, metrics.requests.clone());
            names::HTTP_REQUEST_DURATION.add(registry, metrics.durations.clone());
            names::WS_CLIENTS.add(registry, metrics.ws_clients.clone());
            names::WS_MESSAGES_BEHIND.add(registry, metrics.ws_messages_behind.clone());
            names::WS_EVENTS_LOST.add(registry, metrics.ws_events_lost.clone());
            names::BROKER_OPERATION_DURATION.add(registry, metrics.operations.clone());
            names::BROKER_ERRORS.add(registry, metrics.errors.clone());
            names::TRACE_SPANS.add(registry, metrics.spans.clone());
        });
        metrics
    }

    /// Lets another part of the program add what it counts, under names that it adds to [`names`].
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts a request. `route` is a pattern and `method` a known one, so that the number of series stays bounded. `trace`
    /// is the id of the trace that it belongs to, where that is sampled.
    pub fn request(&self, method: &str, route: &str, status: u16, took: Duration, trace: Option<&str>) {
        let labels = RequestLabels { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&RouteLabels { route: route.to_owned() }).observe(took, trace);
    }

    /// A WebSocket client came (`1`) or went (`-1`).
    pub fn ws_clients(&self, change: i64) {
        self.ws_clients.inc_by(change);
    }

    /// Where it is counted how many messages clients have still to be sent.
    pub fn ws_messages_behind(&self) -> Gauge {
        self.ws_messages_behind.clone()
    }

    /// A WebSocket client was closed because it would have missed events.
    pub fn ws_events_lost(&self) {
        self.ws_events_lost.inc();
    }

    /// Whether the broker answered. The first call makes the series appear: a process that has no broker of its own has none.
    pub fn broker_up(&self, up: bool) {
        self.broker_up.set(i64::from(up));
        self.has_broker.call_once(|| {
            self.register(|registry| names::BROKER_UP.add(registry, self.broker_up.clone()));
        });
    }

    /// An operation of the broker ended. One that waits on purpose has no time. `error` is the kind of what went wrong; both
    /// words are of a fixed few.
    pub fn broker_call(&self, operation: &'static str, took: Option<Duration>, error: Option<&'static str>) {
        if let Some(took) = took {
            self.operations.get_or_create(&OperationLabels { operation }).observe(took, None);
        }
        if let Some(kind) = error {
            self.errors.get_or_create(&ErrorLabels { operation, kind }).inc();
        }
    }

    /// So many spans were handed to the collector, or not taken by it.
    pub fn spans(&self, exported: bool, count: usize) {
        let result = if exported { "exported" } else { "failed" };
        self.spans.get_or_create(&ResultLabels { result }).inc_by(count as u64);
    }

    /// Says how many lines of the log were dropped so far is read. The first call counts.
    pub fn log_lines_dropped(&self, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.lines_dropped.get_or_init(|| Box::new(read));
    }

    /// Shows the executor of this process. The first call makes its series appear.
    pub fn worker(&self, slots: u32, busy: u32) {
        if self.worker_slots.set(i64::from(slots)) == 0 && slots > 0 {
            self.register(|registry| {
                names::WORKER_SLOTS.add(registry, self.worker_slots.clone());
                names::WORKER_BUSY.add(registry, self.worker_busy.clone());
            });
        }
        self.worker_busy.set(i64::from(busy));
    }

    /// Everything as text, the given queues included.
    pub fn render(&self, format: TextFormat, queues: &[(QueueName, QueueStats)]) -> Result<String, RenderError> {
        let mut text = String::with_capacity(4_096);
        encode_registry(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        if let Some(read) = self.lines_dropped.get() {
            let mut registry = Registry::default();
            names::LOG_LINES_DROPPED.add(&mut registry, ConstCounter::new(read()));
            encode_registry(&mut text, &registry)?;
        }
        if !queues.is_empty() {
            encode_registry(&mut text, &queues::queue_registry(queues))?;
        }
        encode_eof(&mut text)?;
        Ok(match format {
            TextFormat::OpenMetrics => text,
            TextFormat::Plain => text::plain(&text),
        })
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tidemill_core::Counters;

    use super::*;

    fn metrics() -> Metrics {
        let metrics = Metrics::new("1.2.3");
        metrics.request("GET", "/tasks", 200, Duration::from_millis(3), None);
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
    fn a_process_that_has_not_asked_the_broker_does_not_say_that_it_is_down() {
        let metrics = Metrics::new("1.2.3");
        let text = || metrics.render(TextFormat::Plain, &[]).unwrap();
        assert!(!text().contains("tidemill_broker_up"), "{}", text());
        for up in [false, true] {
            metrics.broker_up(up);
            assert_eq!(text().matches(&format!("\ntidemill_broker_up {}\n", u8::from(up))).count(), 1, "{}", text());
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

    #[test]
    fn a_sample_of_a_sampled_trace_shows_it_in_the_form_that_knows_exemplars_alone() {
        let metrics = metrics();
        let trace = "0af7651916cd43dd8448eb211c80319c";
        metrics.request("POST", "/enqueue", 202, Duration::from_millis(3), Some(trace));
        let exemplar = format!("{{le=\"0.005\",route=\"/enqueue\"}} 1 # {{trace_id=\"{trace}\"}} 0.003");
        let open = metrics.render(TextFormat::OpenMetrics, &[]).unwrap();
        assert!(open.contains(&exemplar), "{open}");
        let plain = metrics.render(TextFormat::Plain, &[]).unwrap();
        assert!(!plain.contains(trace) && plain.contains("{le=\"0.005\",route=\"/enqueue\"} 1\n"), "{plain}");
    }

    #[test]
    fn operations_of_the_broker_are_timed_and_their_errors_counted_by_kind() {
        let metrics = metrics();
        metrics.broker_call("exchange", Some(Duration::from_millis(1)), None);
        metrics.broker_call("exchange", Some(Duration::from_millis(1)), Some("unavailable"));
        metrics.broker_call("wait", None, Some("unavailable"));
        let text = metrics.render(TextFormat::Plain, &[]).unwrap();
        for line in [
            "tidemill_broker_operation_duration_seconds_count{operation=\"exchange\"} 2",
            "tidemill_broker_errors_total{operation=\"wait\",kind=\"unavailable\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
        }
        assert!(!text.contains("_count{operation=\"wait\"}"), "{text}");
    }

    #[test]
    fn dropped_log_lines_are_read_where_they_are_counted() {
        let metrics = metrics();
        metrics.log_lines_dropped(|| 7);
        let text = metrics.render(TextFormat::Plain, &[]).unwrap();
        assert!(text.contains("\ntidemill_log_lines_dropped_total 7\n"), "{text}");
    }
}
