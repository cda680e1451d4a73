//! Histograms of durations, with the trace of a sample as its exemplar.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Bounds of request durations, in seconds: from a local answer to the two seconds in which every operation of a broker
/// answers, and what lies beyond.
const REQUESTS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0, 10.0];
/// Bounds of the broker's operations: from a script on the same machine to the five seconds after which nobody waits.
const OPERATIONS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0, 5.0];
/// Bounds of what tasks take and how long they wait: from microseconds to the hour after which an attempt is late.
const TASKS: [f64; 15] =
    [0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Exemplar {
    trace_id: String,
}

/// A histogram of durations, in seconds. Clones count together.
#[derive(Debug, Clone)]
pub struct Timing(HistogramWithExemplars<Exemplar>);

/// Timings by their labels.
pub type Timings<L> = Family<L, Timing, fn() -> Timing>;

/// Timings by labels, each made by `new`.
pub fn family<L: Clone + std::hash::Hash + Eq>(new: fn() -> Timing) -> Timings<L> {
    Family::new_with_constructor(new)
}

impl Timing {
    /// For HTTP requests.
    pub fn of_requests() -> Self {
        Self::new(&REQUESTS)
    }

    /// For operations of a broker.
    pub fn of_operations() -> Self {
        Self::new(&OPERATIONS)
    }

    /// For tasks.
    pub fn of_tasks() -> Self {
        Self::new(&TASKS)
    }

    fn new(bounds: &[f64]) -> Self {
        Self(HistogramWithExemplars::new(bounds.iter().copied()))
    }

    /// Counts `took`; `trace` is the id of the sampled trace that it belongs to.
    pub fn observe(&self, took: Duration, trace: Option<&str>) {
        let exemplar = trace.map(|trace| Exemplar { trace_id: trace.to_owned() });
        self.0.observe(took.as_secs_f64(), exemplar, None);
    }
}

impl EncodeMetric for Timing {
    fn encode(&self, encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }
}

impl TypedMetric for Timing {
    const TYPE: MetricType = MetricType::Histogram;
}
