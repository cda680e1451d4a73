//! Which spans are recorded.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

/// Records what belongs to a trace that is recorded, and a request that begins one: it was drawn before its span was made.
/// Whatever else the program makes spans of belongs to no request and no task.
#[derive(Debug, Clone)]
pub(super) struct Begun;

impl ShouldSample for Begun {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _trace: TraceId,
        _name: &str,
        kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        let parent = parent.filter(|cx| cx.has_active_span()).map(|cx| cx.span().span_context().clone());
        let recorded = match &parent {
            Some(parent) if parent.is_valid() => parent.is_sampled(),
            _ => *kind == SpanKind::Server,
        };
        let decision = if recorded { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop };
        let trace_state = parent.map_or_else(TraceState::default, |parent| parent.trace_state().clone());
        SamplingResult { decision, attributes: Vec::new(), trace_state }
    }
}
