//! The names of all metrics, each declared once with what it means: the registry, the reference in the documentation and
//! dashboards take them from here.

use std::borrow::Cow;

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::registry::{Registry, Unit};

/// What sort of figure a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until its process starts anew. On the wire its name ends in `_total`.
    Counter,
    /// How it is now.
    Gauge,
    /// How often it lay below each of some bounds, how often in all, and the sum.
    Histogram,
    /// Facts, as labels; always 1. On the wire its name ends in `_info`.
    Info,
}

impl Kind {
    /// The word of the text forms.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// Which processes show a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// All of them.
    Everywhere,
    /// `standalone`, `api`, and `worker`, which serves its health and metrics over HTTP.
    Http,
    /// `standalone` and `worker`.
    Worker,
    /// One process of an installation, so that no sum counts twice: `standalone`, the operator that leads, or where there
    /// is neither an `api` that is told to.
    Once,
    /// The operator.
    Operator,
    /// The operator that leads.
    Leader,
}

impl Shown {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everywhere => "every process",
            Self::Http => "api, standalone, worker",
            Self::Worker => "worker, standalone",
            Self::Once => "standalone, the leading operator, api with metrics.queues=on",
            Self::Operator => "operator",
            Self::Leader => "the leading operator",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, without unit and suffix.
    pub name: &'static str,
    /// What sort of figure it is.
    pub kind: Kind,
    /// Whether it is measured in seconds; its name on the wire then says so.
    pub seconds: bool,
    /// Its labels. None has more values than there are queues, task types served, routes or TaskQueues.
    pub labels: &'static [&'static str],
    /// Who shows it.
    pub shown: Shown,
    /// What it means, in a sentence without its full stop.
    pub help: &'static str,
}

impl Metric {
    /// Its name on the wire: of a histogram without `_bucket`, `_sum` and `_count`.
    pub fn series(&self) -> Cow<'static, str> {
        let unit = if self.seconds { "_seconds" } else { "" };
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        match (unit, suffix) {
            ("", "") => Cow::Borrowed(self.name),
            _ => Cow::Owned(format!("{}{unit}{suffix}", self.name)),
        }
    }

    /// Shows `figures` under this name.
    pub fn add(&self, registry: &mut Registry, figures: impl EncodeMetric + std::fmt::Debug + Send + Sync + 'static) {
        if self.seconds {
            registry.register_with_unit(self.name, self.help, Unit::Seconds, figures);
        } else {
            registry.register(self.name, self.help, figures);
        }
    }
}

macro_rules! unit {
    () => {
        false
    };
    (seconds) => {
        true
    };
}

macro_rules! metrics {
    ($($(#[$more:meta])* $name:ident = $text:literal $kind:ident $(in $unit:ident)? [$($label:literal),*] $shown:ident $help:literal;)*) => {
        $(
            #[doc = $help]
            #[doc = "."]
            #[allow(clippy::doc_markdown)] // shown to scrapers too, which know no backticks
            $(#[$more])*
            pub const $name: Metric = Metric {
                name: $text,
                kind: Kind::$kind,
                seconds: unit!($($unit)?),
                labels: &[$($label),*],
                shown: Shown::$shown,
                help: $help,
            };
        )*
        /// All of them, in the order in which they are explained.
        pub const ALL: &[Metric] = &[$($name),*];
    };
}

metrics! {
    BUILD = "tidemill_build" Info ["version"] Everywhere "Which build this is";
    LOG_LINES_DROPPED = "tidemill_log_lines_dropped" Counter [] Everywhere
        "Log lines that were dropped because stderr or the log file were slow or full";
    TRACE_SPANS = "tidemill_trace_spans" Counter ["result"] Everywhere
        "Spans that were handed to the collector (result exported) or that it did not take (failed)";

    HTTP_REQUESTS = "tidemill_http_requests" Counter ["method", "route", "status"] Http
        "HTTP requests answered, by the pattern of their route, never the path";
    HTTP_REQUEST_DURATION = "tidemill_http_request_duration" Histogram in seconds ["route"] Http
        "Time from a request's head to its response's head";
    WS_CLIENTS = "tidemill_ws_clients" Gauge [] Http "WebSocket clients connected now";
    WS_MESSAGES_BEHIND = "tidemill_ws_messages_behind" Gauge [] Http
        "Messages that connected WebSocket clients have still to be sent, all clients together";
    WS_EVENTS_LOST = "tidemill_ws_events_lost" Counter [] Http
        "WebSocket clients closed because they would have missed events: they lagged, or the subscription had a gap";

    BROKER_UP = "tidemill_broker_up" Gauge [] Http "Whether the broker answered this process last time: 1 or 0";
    BROKER_OPERATION_DURATION = "tidemill_broker_operation_duration" Histogram in seconds ["operation"] Everywhere
        "Time that the broker took for an operation, failed ones included; waiting for work is not one";
    BROKER_ERRORS = "tidemill_broker_errors" Counter ["operation", "kind"] Everywhere
        "Operations that the broker refused or did not answer; kind unavailable is trouble, task_exists, queue_full and unknown_queue are answers";

    WORKER_SLOTS = "tidemill_worker_slots" Gauge [] Worker "Tasks that this process's executor may run at a time";
    WORKER_BUSY = "tidemill_worker_busy" Gauge [] Worker "Tasks that this process's executor runs now";
    TASK_WAIT = "tidemill_task_wait" Histogram in seconds ["queue", "type"] Worker
        "Time from when the broker took a task to a start that no failure and no loss came before, by the broker's clock; a delay that was asked for is part of it, and one that was released or requeued by hand counts again";
    TASK_RUN = "tidemill_task_run" Histogram in seconds ["queue", "type"] Worker
        "Time that an attempt ran, however it ended";
    TASK_ATTEMPTS = "tidemill_task_attempts" Counter ["queue", "type", "outcome"] Worker
        "Attempts that ended and were settled: succeeded, failed (may be tried again), permanent, timed_out, panicked, cancelled, released, unserved, or refused because the settlement came too late";
    WORKER_EXCHANGES = "tidemill_worker_exchanges" Counter ["queue"] Worker
        "Round trips that settle what ended and claim what waits";
    WORKER_EXCHANGE_DURATION = "tidemill_worker_exchange_duration" Histogram in seconds ["queue"] Worker
        "Time that such a round trip took; one that first waited for work, as an idle worker's does, is left out";
    WORKER_SETTLED_BATCH = "tidemill_worker_settled_batch" Histogram ["queue"] Worker
        "Tasks settled by one round trip, of those that settled any";
    WORKER_CLAIMED_BATCH = "tidemill_worker_claimed_batch" Histogram ["queue"] Worker
        "Tasks claimed by one round trip, of those that claimed any";
    WORKER_HEARTBEATS = "tidemill_worker_heartbeats" Counter ["queue", "result"] Worker
        "Heartbeats: result renewed, failed (the broker did not answer) or retired (it no longer knows the worker)";
    WORKER_INCARNATIONS = "tidemill_worker_incarnations" Counter ["queue"] Worker
        "Times that this worker registered with its queue; one that is well does so once";
    WORKER_LEASES_LOST = "tidemill_worker_leases_lost" Counter ["queue"] Worker
        "Times that this worker lost its lease and with it the tasks in its hands, which run again";

    QUEUE_TASKS = "tidemill_queue_tasks" Gauge ["queue", "state"] Once
        "Tasks in a queue, by state; ended ones as far as they are kept";
    QUEUE_OLDEST_PENDING = "tidemill_queue_oldest_pending" Gauge in seconds ["queue"] Once
        "How long the head of a queue has waited; 0 when nothing waits";
    QUEUE_WORKERS = "tidemill_queue_workers" Gauge ["queue"] Once "Live workers registered with a queue";
    QUEUE_PAUSED = "tidemill_queue_paused" Gauge ["queue"] Once "Whether a queue is paused: 1 or 0";
    QUEUE_TRANSITIONS = "tidemill_queue_transitions" Counter ["queue", "transition"] Once
        "How often each transition happened since the queue came to be: enqueued, started, succeeded, failed (timed_out among them), timed_out, retried, dead, cancelled, lost, released, refused, requeued, deleted";
    QUEUE_RUN = "tidemill_queue_run" Counter in seconds ["queue"] Once "Time that settled attempts ran";

    OPERATOR_LEADER = "tidemill_operator_leader" Gauge [] Operator "Whether this operator leads: 1 or 0";
    OPERATOR_RECONCILES = "tidemill_operator_reconciles" Counter [] Operator "Reconciliations, failed ones included";
    OPERATOR_RECONCILE_ERRORS = "tidemill_operator_reconcile_errors" Counter ["kind"] Operator
        "Reconciliations that failed, by what failed";
    OPERATOR_RECONCILE_DURATION = "tidemill_operator_reconcile_duration" Histogram in seconds [] Operator
        "How long a reconciliation took, failed ones included";
    OPERATOR_QUEUE_DEPTH = "tidemill_operator_queue_depth" Gauge [] Operator
        "Objects that wait for the operator to reconcile them";

    TASKQUEUE_DESIRED = "tidemill_taskqueue_desired_replicas" Gauge ["namespace", "name"] Leader
        "Worker pods that a TaskQueue should have";
    TASKQUEUE_READY = "tidemill_taskqueue_ready_replicas" Gauge ["namespace", "name"] Leader
        "Worker pods of a TaskQueue that are ready";
    TASKQUEUE_MIN = "tidemill_taskqueue_min_replicas" Gauge ["namespace", "name"] Leader
        "Fewest worker pods that the autoscaler may choose for a TaskQueue; no series where the count is set by hand";
    TASKQUEUE_MAX = "tidemill_taskqueue_max_replicas" Gauge ["namespace", "name"] Leader
        "Most worker pods that the autoscaler may choose for a TaskQueue; no series where the count is set by hand";
    TASKQUEUE_AT_MAX = "tidemill_taskqueue_limited_by_max" Gauge ["namespace", "name"] Leader
        "Whether the work asks for more worker pods than a TaskQueue may have: 1 or 0";
    TASKQUEUE_TARGET_WAIT = "tidemill_taskqueue_target_wait" Gauge in seconds ["namespace", "name"] Leader
        "How long a task of a TaskQueue should wait at most";
    TASKQUEUE_BROKER_UP = "tidemill_taskqueue_broker_up" Gauge ["namespace", "name"] Leader
        "Whether the broker of a TaskQueue answers the operator: 1 or 0";
    TASKQUEUE_PENDING = "tidemill_taskqueue_pending_tasks" Gauge ["namespace", "name"] Leader
        "Tasks that wait in a TaskQueue's queue; no series while the broker does not say";
    TASKQUEUE_OLDEST = "tidemill_taskqueue_oldest_pending" Gauge in seconds ["namespace", "name"] Leader
        "How long the head of a TaskQueue's queue has waited, 0 when nothing waits; no series while the broker does not say";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_stands_once_and_says_what_it_is_on_the_wire() {
        let names: BTreeSet<_> = ALL.iter().map(Metric::series).collect();
        assert_eq!(names.len(), ALL.len());
        assert_eq!(BUILD.series(), "tidemill_build_info");
        assert_eq!(QUEUE_RUN.series(), "tidemill_queue_run_seconds_total");
        assert_eq!(TASK_WAIT.series(), "tidemill_task_wait_seconds");
        assert_eq!(WORKER_BUSY.series(), "tidemill_worker_busy");
    }
}
