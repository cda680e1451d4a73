//! `/api/v1/process/log`: what this process logs, changed while it runs.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tidemill_core::Problem;
use tidemill_telemetry::level::LEVEL_FOR_MAX;
use tidemill_telemetry::{LevelNow, LogLevel};
use utoipa::ToSchema;

use crate::connection::Peer;
use crate::error::{Answer, Refusal};
use crate::extract::Body;
use crate::json;
use crate::state::App;

/// What this process logs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogBody {
    /// The level in force: `info`, or per part `warn,tidemill::task=info`
    level: String,
    /// The one of the configuration
    configured: String,
    /// In how many seconds that is in force again by itself; absent where it stays
    #[serde(skip_serializing_if = "Option::is_none")]
    returns_in_s: Option<u64>,
}

/// Another level.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogChange {
    /// The level: `debug`, or per part `warn,tidemill::task=info`
    level: String,
    /// For how many seconds, at most a day; without, until it is changed again or the process ends
    for_s: Option<u64>,
}

/// What this process logs.
#[utoipa::path(get, path = "/api/v1/process/log", tag = "installation", responses(
    (status = 200, description = "The level in force", body = LogBody),
))]
pub(crate) async fn log_level(State(app): State<App>) -> Answer<Json<LogBody>> {
    Ok(Json(body(level(&app)?.now())))
}

/// Logs more, or less, from now on; with `for_s`, only for a while. It concerns this one process.
#[utoipa::path(put, path = "/api/v1/process/log", tag = "installation",
    request_body(content = LogChange, example = json!({"level": "debug", "for_s": 600})),
    responses(
        (status = 200, description = "It is in force", body = LogBody),
        (status = 400, description = "The level is none", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "No token is asked for, and the caller is on another machine", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn put_log_level(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    Body(sent): Body,
) -> Answer<Json<LogBody>> {
    let is_local = peer.is_some_and(|Extension(Peer(address))| address.ip().to_canonical().is_loopback());
    if !app.tokens.required() && !is_local {
        let detail = "no token is asked for here, so that the level is changed from this machine alone (in a pod: kubectl port-forward)";
        return Err(Problem::new(403, "not-from-here", "The log level was not changed", detail).into());
    }
    let LogChange { level: wanted, for_s } = json::read(&sent)?;
    let longest = LEVEL_FOR_MAX.as_secs();
    if for_s.is_some_and(|seconds| seconds == 0 || seconds > longest) {
        return Err(Refusal::invalid("/for_s", format!("must be a whole number from 1 to {longest}")));
    }
    let level = level(&app)?;
    level
        .set(&wanted, for_s.map(Duration::from_secs))
        .map_err(|error| Refusal::invalid("/level", error.to_string()))?;
    Ok(Json(body(level.now())))
}

fn level(app: &App) -> Answer<&LogLevel> {
    app.options.log_level.as_ref().ok_or_else(|| {
        let detail = "this process has no log of its own: whoever embeds the server decides what is logged";
        Problem::new(404, "not-found", "There is nothing here", detail).into()
    })
}

fn body(now: LevelNow) -> LogBody {
    let LevelNow { level, configured, returns_in } = now;
    LogBody { level, configured, returns_in_s: returns_in.map(|left| left.as_secs()) }
}
