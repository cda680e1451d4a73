//! The spans of requests, of what is sent and of attempts.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use tidemill_core::{Claim, QueueName, TaskId};
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{ON, TARGET};
use crate::traceparent::Traceparent;

/// The span of an HTTP request (server). It is none while traces are off, where the caller's trace is not recorded, and, for
/// a caller that has no trace, where it is not drawn; `may_begin` says whether it takes part in that draw.
///
/// The fields `http.response.status_code`, `error.type` and `otel.status_code` are to be recorded when it ends.
pub fn request(method: &str, route: &str, path: &str, traceparent: Option<&str>, may_begin: bool) -> Span {
    let Some(on) = ON.get() else { return Span::none() };
    let caller = traceparent.and_then(Traceparent::parse);
    let recorded = match caller {
        Some(caller) => caller.is_sampled(),
        None => may_begin && rand::random::<f64>() < on.sample_ratio,
    };
    if !recorded {
        return Span::none();
    }
    let name = format!("{method} {route}");
    let span = tracing::info_span!(
        target: TARGET,
        "request",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        url.path = path,
        http.response.status_code = Empty,
        "error.type" = Empty,
    );
    if let Some(caller) = caller {
        below(&span, &context(caller));
    }
    span
}

/// The span of sending `count` tasks to a queue (producer), `first` among them, below the present one; none where that is none.
///
/// The fields `error.type` and `otel.status_code` are to be recorded when it fails.
pub fn send(queue: &QueueName, count: usize, first: Option<&TaskId>) -> Span {
    let current = Span::current();
    if ON.get().is_none() || current.metadata().is_none_or(|metadata| metadata.target() != TARGET) {
        return Span::none();
    }
    let name = format!("send {queue}");
    let span = tracing::info_span!(
        target: TARGET,
        "send",
        otel.name = name,
        otel.kind = "producer",
        otel.status_code = Empty,
        messaging.system = "tidemill",
        messaging.operation.name = "send",
        "messaging.operation.type" = "send",
        messaging.destination.name = queue.as_str(),
        messaging.message.id = Empty,
        messaging.batch.message_count = Empty,
        "error.type" = Empty,
    );
    match first {
        Some(task) if count == 1 => span.record("messaging.message.id", task.as_str()),
        _ => span.record("messaging.batch.message_count", count),
    };
    span
}

/// The `traceparent` by which others go on from `span`; `None` where that is none, or not recorded.
pub fn traceparent_of(span: &Span) -> Option<String> {
    if span.is_none() {
        return None;
    }
    let cx = span.context();
    let (active, found) = (cx.has_active_span(), cx.span().span_context().clone());
    let shown = || format!("00-{}-{}-{:02x}", found.trace_id(), found.span_id(), found.trace_flags().to_u8());
    (active && found.is_valid() && found.is_sampled()).then(shown)
}

/// The span of an attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The span, for all that the handler does.
    pub span: Span,
    /// The `traceparent` by which others go on from it.
    pub traceparent: String,
}

impl Attempt {
    /// How the attempt ended: nothing where well, else what sort of failure and its words.
    pub fn ended(&self, failure: Option<(&'static str, &str)>) {
        if let Some((kind, words)) = failure {
            self.span.record("otel.status_code", "ERROR");
            self.span.record("otel.status_description", words);
            self.span.record("error.type", kind);
        }
    }
}

/// The span of an attempt (consumer), and before it, of a first attempt, that of the wait. `None` while traces are off and
/// for a task whose trace is not recorded.
///
/// The conventions ask for a link to the span that sent the task, and allow it to be the parent as well where one message
/// is processed at a time: it is both, so that one trace shows the whole way.
pub fn attempt(queue: &QueueName, claim: &Claim) -> Option<Attempt> {
    let on = ON.get()?;
    let sender = Traceparent::parse(claim.record.traceparent.as_deref()?).filter(|sender| sender.is_sampled())?;
    let sender = context(sender);
    let waited = Duration::from_millis(claim.started_at_ms.saturating_sub(claim.record.enqueued_at_ms));
    if claim.attempt == 1 && claim.losses == 0 {
        wait(&on.tracer, queue, claim, &sender, waited);
    }
    let name = format!("process {queue}");
    let span = tracing::info_span!(
        target: TARGET,
        "process",
        otel.name = name,
        otel.kind = "consumer",
        otel.status_code = Empty,
        otel.status_description = Empty,
        messaging.system = "tidemill",
        messaging.operation.name = "process",
        "messaging.operation.type" = "process",
        messaging.destination.name = queue.as_str(),
        messaging.message.id = claim.task.as_str(),
        "tidemill.task.type" = claim.record.task_type.as_str(),
        tidemill.task.attempt = claim.attempt,
        "error.type" = Empty,
    );
    below(&span, &sender);
    span.add_link(sender.span().span_context().clone());
    let traceparent = traceparent_of(&span)?;
    Some(Attempt { span, traceparent })
}

/// The wait of a task, from when the store took it to when it was claimed, by the store's clock.
fn wait<T: Tracer>(tracer: &T, queue: &QueueName, claim: &Claim, sender: &Context, waited: Duration) {
    let began = SystemTime::UNIX_EPOCH + Duration::from_millis(claim.record.enqueued_at_ms);
    let builder = SpanBuilder::from_name(format!("wait {queue}"))
        .with_kind(SpanKind::Internal)
        .with_start_time(began)
        .with_attributes([
            KeyValue::new("messaging.system", "tidemill"),
            KeyValue::new("messaging.destination.name", queue.as_str().to_owned()),
            KeyValue::new("messaging.message.id", claim.task.as_str().to_owned()),
        ]);
    tracer.build_with_context(builder, sender).end_with_timestamp(began + waited);
}

fn below(span: &Span, parent: &Context) {
    if let Err(error) = span.set_parent(parent.clone()) {
        tracing::debug!(%error, "a span stays without its parent");
    }
}

fn context(of: Traceparent<'_>) -> Context {
    let trace = TraceId::from_hex(of.trace_id()).unwrap_or(TraceId::INVALID);
    let span = SpanId::from_hex(of.span_id()).unwrap_or(SpanId::INVALID);
    let flags = TraceFlags::default().with_sampled(of.is_sampled());
    Context::new().with_remote_span_context(SpanContext::new(trace, span, flags, true, TraceState::default()))
}
