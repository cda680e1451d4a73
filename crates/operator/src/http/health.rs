//! How the operator is, as the kubelet asks it.
//!
//! A standby is ready: it does what is asked of it, and a rollout must not wait for it to lead. An API server that is lost
//! later changes nothing here: starting the operator anew would not bring it back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::Instant;

use super::OperatorState;

/// After so long without a beat, the operator is wedged and better started anew.
const WEDGED_AFTER: Duration = Duration::from_mins(1);

/// What the operator is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It has just begun.
    Starting,
    /// It waits for leadership.
    Standby,
    /// It leads, and fills its caches.
    Syncing,
    /// It leads, and its caches are filled.
    Leading,
    /// It is going away. No other phase follows.
    Stopping,
}

/// How the operator is.
#[derive(Debug)]
pub struct Health {
    born: Instant,
    beat_ms: AtomicU64,
    answered: AtomicBool,
    phase: Mutex<Phase>,
}

/// What `/livez` and `/readyz` say.
#[derive(Debug, Serialize)]
struct Body {
    /// `ok`, `standby`, `starting`, `syncing`, `stopping` or `wedged`
    status: &'static str,
    /// What is wrong
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}

impl Health {
    /// An operator that begins now.
    pub fn new() -> Self {
        Self {
            born: Instant::now(),
            beat_ms: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            phase: Mutex::new(Phase::Starting),
        }
    }

    /// The operator's loop turns. It says so every ten seconds at least, also while it waits for leadership: after a minute
    /// without, `/livez` fails.
    pub fn beat(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat_ms.store(now, Ordering::Release);
    }

    /// The API server has answered. Once is enough.
    pub fn answered(&self) {
        self.answered.store(true, Ordering::Release);
    }

    /// The operator comes to be at this. After [`Phase::Stopping`] nothing else is taken in.
    pub fn enter(&self, phase: Phase) {
        let mut now = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != Phase::Stopping {
            *now = phase;
        }
    }

    /// What it is at.
    pub fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> (StatusCode, Body) {
        let beat = Duration::from_millis(self.beat_ms.load(Ordering::Acquire));
        if self.born.elapsed().saturating_sub(beat) > WEDGED_AFTER {
            let detail = Some("the operator's loop has not turned for a minute");
            return (StatusCode::SERVICE_UNAVAILABLE, Body { status: "wedged", detail });
        }
        (StatusCode::OK, Body { status: "ok", detail: None })
    }

    fn ready(&self) -> (StatusCode, Body) {
        let phase = self.phase();
        let (code, status, detail) = match phase {
            Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", None),
            _ if !self.answered.load(Ordering::Acquire) => {
                (StatusCode::SERVICE_UNAVAILABLE, "starting", Some("the API server has not answered yet"))
            }
            Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting", None),
            Phase::Syncing => (StatusCode::SERVICE_UNAVAILABLE, "syncing", Some("the caches are not filled yet")),
            Phase::Standby => (StatusCode::OK, "standby", None),
            Phase::Leading => (StatusCode::OK, "ok", None),
        };
        (code, Body { status, detail })
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether this process works at all.
pub(super) async fn livez(State(state): State<OperatorState>) -> Response {
    answer(state.health.live())
}

/// Whether this process does what it should at this time.
pub(super) async fn readyz(State(state): State<OperatorState>) -> Response {
    answer(state.health.ready())
}

fn answer((status, body): (StatusCode, Body)) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_operator_is_wedged_once_its_loop_has_not_turned_for_a_minute() {
        let health = Health::new();
        advance(WEDGED_AFTER).await;
        assert_eq!(health.live().0, StatusCode::OK);
        advance(Duration::from_millis(1)).await;
        assert_eq!(health.live().0, StatusCode::SERVICE_UNAVAILABLE);
        health.beat();
        advance(WEDGED_AFTER).await;
        assert_eq!(health.live().0, StatusCode::OK);
    }
}
