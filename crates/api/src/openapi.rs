//! The OpenAPI document, generated from the handlers, and the bodies that are described here because they are read or
//! written by hand.

use std::sync::OnceLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidemill",
        description = "A task queue. The routes of the root act on the default queue unless `?queue=` names another; \
                       `/api/v1` shows and controls everything. Errors are `application/problem+json` (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    modifiers(&Bearer),
    security((), ("bearer" = [])),
    tags(
        (name = "queue", description = "Hand in tasks and watch them"),
        (name = "tasks", description = "Single tasks"),
        (name = "queues", description = "Whole queues"),
        (name = "installation", description = "What this installation is"),
        (name = "health", description = "For whoever keeps this process running"),
    ),
)]
pub(crate) struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

/// What was wrong, where, and what would be right (RFC 9457)
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
#[allow(dead_code)] // describes `tidemill_core::Problem`
pub(crate) struct ProblemBody {
    /// Names the sort of problem
    #[serde(rename = "type")]
    kind: String,
    /// The sort of problem in a few words
    title: String,
    status: u16,
    /// This very problem
    detail: String,
    /// The single faults, each with its place
    errors: Option<Vec<FaultBody>>,
}

/// One fault
#[derive(Serialize, ToSchema)]
#[schema(as = Fault)]
#[allow(dead_code)] // describes `tidemill_core::FieldError`
pub(crate) struct FaultBody {
    /// A JSON Pointer into the body, or a query parameter after `?`
    pointer: String,
    detail: String,
}

/// Task id → duration in milliseconds
#[derive(ToSchema)]
#[schema(value_type = std::collections::HashMap<String, u32>)]
#[allow(dead_code)] // describes what `rest::schedule` reads
pub(crate) struct Durations(std::collections::HashMap<String, u32>);

/// Tasks that were taken in, in order
#[derive(ToSchema)]
#[schema(as = Scheduled)]
#[allow(dead_code)] // describes what `rest::schedule` writes
pub(crate) struct ScheduledBody {
    /// Each an object of one member, id → duration
    scheduled: Vec<std::collections::HashMap<String, u32>>,
}

/// What runs and what waits
#[derive(ToSchema)]
#[schema(as = Overview)]
#[allow(dead_code)] // describes what `rest::tasks` writes
pub(crate) struct OverviewBody {
    /// Id → duration of what runs now
    active: std::collections::HashMap<String, u32>,
    /// What waits, in the order in which it will be claimed: each an object of one member, id → duration
    scheduled: Vec<std::collections::HashMap<String, u32>>,
}

/// A task to take in. Names match in any letter case
#[derive(ToSchema)]
#[schema(as = NewTask)]
#[allow(dead_code)] // describes what `rest::declare` reads
pub(crate) struct EnqueueBody {
    /// Picks the handler
    #[schema(rename = "type")]
    task_type: String,
    /// What it is to be done with
    payload: serde_json::Map<String, serde_json::Value>,
    /// How often it is tried again after a failure
    #[schema(maximum = 1000)]
    retries: Option<u16>,
    /// Unique among the live tasks of its queue; a new UUID where it is left out
    #[schema(min_length = 1, max_length = 128)]
    id: Option<String>,
    /// Another queue than the default one
    queue: Option<String>,
    /// Not before so long from now
    delay_ms: Option<u64>,
    /// Not before this time (RFC 3339); excludes `delay_ms`
    run_at: Option<String>,
    /// A higher one goes first
    #[schema(minimum = -100, maximum = 100)]
    priority: Option<i8>,
    /// How long an attempt may take
    timeout_ms: Option<u64>,
}

/// The document, generated from the code. Golden: `crates/api/openapi.json`.
pub fn openapi_json() -> String {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let document = crate::router::described().into_openapi();
        let mut text = document.to_pretty_json().unwrap_or_default();
        text.push('\n');
        text
    })
    .clone()
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "installation", responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub(crate) async fn openapi() -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], openapi_json()).into_response()
}
