//! `/metrics`, in both of its forms.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream;
use serde::{Deserialize, Serialize};
use tidemill_core::{Problem, QueueName, QueueStats};
use tidemill_telemetry::metrics::TextFormat;
use utoipa::{IntoParams, ToSchema};

use crate::error::{Answer, Refusal};
use crate::extract::Params;
use crate::state::{App, Deadline, within};

/// Queues shown as text; those beyond, by name, are left out, so that a scrape stays bounded.
const QUEUES_MAX: usize = 1_000;
/// Queues read from the store at a time.
const READS_AT_ONCE: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Prometheus,
    Json,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MetricsParams {
    /// Another queue than the default one (JSON alone)
    queue: Option<String>,
    /// Which form, whatever `Accept` says
    #[param(inline)]
    format: Option<Format>,
}

/// The figures of one queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobFigures {
    /// Tasks that wait in the queue now: pending, delayed and retrying
    total_jobs_in_queue: u64,
    /// Tasks that succeeded so far
    jobs_done: u64,
    /// Tasks that ended as dead so far
    jobs_failed: u64,
}

/// Figures: a queue's as JSON, or as text where `Accept` names `application/openmetrics-text`, or `text/plain` without
/// `application/json`.
#[utoipa::path(get, path = "/metrics", tag = "queue", params(MetricsParams), responses(
    (status = 200, description = "The figures", content((JobFigures = "application/json"), (String = "text/plain"))),
    (status = 404, description = "No such queue", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn metrics(
    State(app): State<App>,
    Params(params): Params<MetricsParams>,
    headers: HeaderMap,
) -> Answer<Response> {
    let accepted = accepted(&headers);
    match params.format {
        Some(Format::Prometheus) => text(&app, accepted.unwrap_or(TextFormat::Plain)).await,
        Some(Format::Json) => figures(&app, params.queue).await,
        None => match accepted {
            Some(format) => text(&app, format).await,
            None => figures(&app, params.queue).await,
        },
    }
}

/// The metrics of a port of their own: always text.
pub(crate) async fn metrics_text(State(app): State<App>, headers: HeaderMap) -> Answer<Response> {
    text(&app, accepted(&headers).unwrap_or(TextFormat::Plain)).await
}

async fn figures(app: &App, queue: Option<String>) -> Answer<Response> {
    let queue = app.queue(queue)?;
    let stats = app.read(&queue, || app.broker.stats(&queue)).await?;
    let figures = JobFigures {
        total_jobs_in_queue: stats.pending + stats.delayed + stats.retrying,
        jobs_done: stats.counters.succeeded,
        jobs_failed: stats.counters.dead,
    };
    Ok(Json(figures).into_response())
}

async fn text(app: &App, format: TextFormat) -> Answer<Response> {
    if let Some(probe) = &app.options.worker {
        let gauge = probe();
        app.metrics.worker(gauge.slots, gauge.busy);
    }
    let queues = if app.options.queue_metrics { all_stats(app).await } else { Vec::new() };
    let text = app.metrics.render(format, &queues).map_err(|error| {
        tracing::error!(%error, "the metrics could not be written");
        Refusal::from(Problem::new(500, "metrics-failed", "The metrics could not be written", error.to_string()))
    })?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()))], text).into_response())
}

/// The figures of all queues; what the store does not give in time is left out, and shows as a broker that is down.
async fn all_stats(app: &App) -> Vec<(QueueName, QueueStats)> {
    let deadline = Deadline::now();
    let queues = within(deadline, app.broker.queues()).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "a scrape goes without queues");
        Vec::new()
    });
    let mut read: Vec<(QueueName, QueueStats)> = stream::iter(queues.into_iter().take(QUEUES_MAX))
        .map(|queue| async move {
            let stats = within(deadline, app.broker.stats(&queue)).await;
            stats.ok().map(|stats| (queue, stats))
        })
        .buffer_unordered(READS_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    read.sort_by(|a, b| a.0.cmp(&b.0));
    read
}

/// The text form that `Accept` names, if it names one: `*/*` names none, and plain text beside JSON is what many clients of
/// JSON say by themselves.
fn accepted(headers: &HeaderMap) -> Option<TextFormat> {
    let (mut plain, mut json) = (false, false);
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            match range.split(';').next().unwrap_or_default().trim() {
                "application/openmetrics-text" => return Some(TextFormat::OpenMetrics),
                "text/plain" => plain = true,
                "application/json" => json = true,
                _ => {}
            }
        }
    }
    (plain && !json).then_some(TextFormat::Plain)
}
