//! What the operator logs, changed while it runs: as `/api/v1/process/log` of the API, from this pod alone.

use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidemill_core::Problem;
use tidemill_core::problem::PROBLEM_JSON;
use tidemill_telemetry::level::LEVEL_FOR_MAX;
use tidemill_telemetry::{LevelNow, LogLevel};

use super::OperatorState;
use super::listener::Peer;

#[derive(Debug, Serialize)]
struct Body {
    level: String,
    configured: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    returns_in_s: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    level: String,
    for_s: Option<u64>,
}

/// What is logged now.
pub(super) async fn level(State(state): State<OperatorState>) -> Response {
    match &state.log_level {
        Some(level) => shown(level),
        None => refusal(404, "this process has no log of its own"),
    }
}

/// Logs something else from now on, for a while where that is said.
pub(super) async fn change(
    State(state): State<OperatorState>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    sent: axum::body::Bytes,
) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        return refusal(403, "the level is changed from the operator's own pod alone; use kubectl port-forward");
    }
    let Some(level) = &state.log_level else { return refusal(404, "this process has no log of its own") };
    let longest = LEVEL_FOR_MAX.as_secs();
    let Change { level: wanted, for_s } = match serde_json::from_slice(&sent) {
        Ok(change) => change,
        Err(error) => return refusal(400, &format!("send {{\"level\": \"debug\", \"for_s\": 600}}: {error}")),
    };
    if for_s.is_some_and(|seconds| seconds == 0 || seconds > longest) {
        return refusal(400, &format!("for_s must be a whole number from 1 to {longest}"));
    }
    match level.set(&wanted, for_s.map(Duration::from_secs)) {
        Ok(()) => shown(level),
        Err(error) => refusal(400, &error.to_string()),
    }
}

fn shown(level: &LogLevel) -> Response {
    let LevelNow { level, configured, returns_in } = level.now();
    Json(Body { level, configured, returns_in_s: returns_in.map(|left| left.as_secs()) }).into_response()
}

fn refusal(status: u16, detail: &str) -> Response {
    let problem = Problem::new(status, "refused", "The log level was not changed", detail);
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, [(header::CONTENT_TYPE, PROBLEM_JSON)], Json(problem)).into_response()
}
