//! What sends batches of spans, and says how that goes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;

use crate::metrics::Metrics;

/// How often a trouble that lasts is said.
const REMIND_AFTER: Duration = Duration::from_mins(1);

/// Sends by way of a runtime, since the thread that batches has none; counts, and says of trouble once a minute.
#[derive(Debug)]
pub(super) struct Reporting {
    otlp: Arc<Otlp>,
    runtime: Handle,
    metrics: Arc<Metrics>,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    said: Option<Instant>,
    lost: usize,
}

impl Reporting {
    pub(super) fn new(otlp: Otlp, runtime: Handle, metrics: Arc<Metrics>) -> Self {
        Self { otlp: Arc::new(otlp), runtime, metrics, trouble: Mutex::default() }
    }

    fn failed(&self, count: usize, error: &OTelSdkError) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.lost += count;
        if trouble.said.is_none_or(|said| said.elapsed() >= REMIND_AFTER) {
            let lost = std::mem::take(&mut trouble.lost);
            trouble.said = Some(Instant::now());
            tracing::warn!(%error, spans = lost, "the collector did not take spans; they are lost");
        }
    }
}

impl SpanExporter for Reporting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (count, otlp) = (batch.len(), self.otlp.clone());
        let sent = self.runtime.spawn(async move { otlp.export(batch).await }).await;
        let result = sent.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        self.metrics.spans(result.is_ok(), count);
        if let Err(error) = &result {
            self.failed(count, error);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Before the first span: nobody else holds it yet.
        if let Some(otlp) = Arc::get_mut(&mut self.otlp) {
            otlp.set_resource(resource);
        }
    }
}
