//! Traces: spans of requests, of tasks on their way and of attempts, sent to an OpenTelemetry collector.
//!
//! ```text
//!   caller ─traceparent─► POST /enqueue (server) ─► send QUEUE (producer) ─┬─► wait QUEUE
//!                                                    in the task's record   └─► process QUEUE (consumer) ─► handler's spans
//! ```
//!
//! Whether a trace is recorded is decided once, where it begins: by the caller, whose `traceparent` says so, or else by the
//! API server, which draws. What is not recorded costs a look at a flag, and nothing at all while traces are off. Names and
//! attributes follow the semantic conventions for HTTP and messaging of OpenTelemetry.

mod collector;
mod exporter;
mod sampler;
mod spans;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::{Layer, Registry};

pub use self::collector::TraceError;
use self::exporter::Reporting;
use self::sampler::Begun;
pub use self::spans::{Attempt, attempt, request, send, traceparent_of};
use crate::metrics::Metrics;

/// The target of the spans of this module.
pub(crate) const TARGET: &str = "tidemill::trace";
/// How long the end of the program waits for the last spans to reach the collector.
const FLUSH_DEADLINE: Duration = Duration::from_secs(3);
/// Parts of the program whose spans and events are none of a trace: what sends the spans, and lines about tasks, which are
/// spans already.
const LEFT_OUT: [&str; 6] = ["tidemill::task", "opentelemetry", "hyper", "reqwest", "h2", "rustls"];

/// Where to and how much.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceOptions {
    /// The collector's OTLP endpoint for HTTP: `http://collector:4318`. A URL that has a path is taken as it is.
    pub endpoint: String,
    /// Which part of the requests that come without a `traceparent` is recorded, from 0 to 1.
    pub sample_ratio: f64,
    /// The version of the program.
    pub version: String,
    /// The name of this process: the pod's, or host and process id.
    pub instance: String,
}

/// What makes spans of `tracing` those of a trace; for [`Logs::start`](crate::Logs::start).
pub type TraceLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// What a process with traces has.
struct On {
    tracer: SdkTracer,
    sample_ratio: f64,
}

static ON: OnceLock<On> = OnceLock::new();

/// Traces in force.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Sets traces up for the whole program; spans are sent from `runtime`. What comes back is to be given to the logs.
    ///
    /// A collector that is away is no error: it costs a line in the log now and then, and its spans. Besides, the standard
    /// variables `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME` and `OTEL_BSP_*` count.
    pub fn start(
        options: &TraceOptions,
        runtime: Handle,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, TraceLayer), TraceError> {
        let exporter = Reporting::new(collector::exporter(&options.endpoint)?, runtime, metrics);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).build())
            .with_sampler(Begun)
            .with_resource(resource(options))
            .build();
        let tracer = provider.tracer("tidemill");
        let shown = tracing_opentelemetry::layer()
            .with_tracer(tracer.clone())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        let wanted = LEFT_OUT.map(|part| (part, LevelFilter::OFF));
        let wanted = Targets::new().with_default(LevelFilter::INFO).with_targets(wanted);
        ON.get_or_init(|| On { tracer, sample_ratio: options.sample_ratio });
        Ok((Self { provider }, shown.with_filter(wanted).boxed()))
    }

    /// Sends what waits, for three seconds at most. The runtime must still turn, on another thread.
    pub fn end(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_DEADLINE) {
            tracing::warn!(%error, "the last spans may not have reached the collector");
        }
    }
}

/// Whether this process has traces.
pub fn is_on() -> bool {
    ON.get().is_some()
}

fn resource(options: &TraceOptions) -> Resource {
    let resource = Resource::builder().with_attributes([
        KeyValue::new("service.version", options.version.clone()),
        KeyValue::new("service.instance.id", options.instance.clone()),
    ]);
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let resource = match variable("POD_NAME") {
        Some(pod) => resource.with_attribute(KeyValue::new("k8s.pod.name", pod)),
        None => resource,
    };
    let resource = match variable("POD_NAMESPACE") {
        Some(namespace) => resource.with_attribute(KeyValue::new("k8s.namespace.name", namespace)),
        None => resource,
    };
    match variable("OTEL_SERVICE_NAME") {
        Some(_) => resource.build(),
        None => resource.with_service_name("tidemill").build(),
    }
}
