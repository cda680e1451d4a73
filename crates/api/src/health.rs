//! `/livez` and `/readyz`, and the loop that asks the broker how it is.
//!
//! Ready means: this process has met its broker once and is not going away. A broker that is lost later is said in the
//! body and in a metric but does not take the process out of its Service: with it, all others would go as well.
//!
//! Live means: the loops of this process turn, that of the executor included. A broker that is away stops none of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::options::WorkerProbe;
use crate::state::{App, Deadline, within};

/// How often the broker is asked.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How often an outage that lasts is said in the log.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// After so long without a turn of the loop, the process is wedged and better started anew.
const WEDGED_AFTER: Duration = Duration::from_mins(1);

/// How this process is.
pub struct Health {
    broker: String,
    worker: Option<WorkerProbe>,
    born: Instant,
    beat_ms: AtomicU64,
    met: AtomicBool,
    up: AtomicBool,
    draining: AtomicBool,
    trouble: Mutex<String>,
}

/// What `/livez` and `/readyz` say.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthBody {
    /// `ok`, `degraded` (ready, but the broker is out of reach now), `starting`, `draining` or `wedged`
    status: &'static str,
    /// What keeps the tasks
    #[serde(skip_serializing_if = "Option::is_none")]
    broker: Option<String>,
    /// What is wrong
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Health {
    pub(crate) fn new(broker: String, worker: Option<WorkerProbe>) -> Self {
        Self {
            broker,
            worker,
            born: Instant::now(),
            beat_ms: AtomicU64::new(0),
            met: AtomicBool::new(false),
            up: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            trouble: Mutex::new("the broker has not answered yet".to_owned()),
        }
    }

    /// Says that this process is going away: not ready from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the broker answered last time.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Whether the broker has ever answered.
    pub fn has_met_broker(&self) -> bool {
        self.met.load(Ordering::Acquire)
    }

    fn beat(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat_ms.store(now, Ordering::Release);
    }

    fn is_wedged(&self) -> bool {
        let beat = Duration::from_millis(self.beat_ms.load(Ordering::Acquire));
        self.born.elapsed().saturating_sub(beat) > WEDGED_AFTER
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> (StatusCode, HealthBody) {
        if self.is_wedged() {
            return wedged("the health loop has not turned for a minute".to_owned());
        }
        let still_for = self.worker.as_ref().map_or(Duration::ZERO, |probe| probe().still_for);
        if still_for > WEDGED_AFTER {
            let seconds = still_for.as_secs();
            return wedged(format!("the executor's loop has not turned for {seconds} s: this process takes no tasks"));
        }
        (StatusCode::OK, HealthBody { status: "ok", broker: None, detail: None })
    }

    fn ready(&self) -> (StatusCode, HealthBody) {
        let body = |status, detail| HealthBody { status, broker: Some(self.broker.clone()), detail };
        if self.draining.load(Ordering::Acquire) {
            return (StatusCode::SERVICE_UNAVAILABLE, body("draining", None));
        }
        let trouble = (!self.is_up()).then(|| self.trouble().clone());
        if !self.has_met_broker() {
            return (StatusCode::SERVICE_UNAVAILABLE, body("starting", trouble));
        }
        if trouble.is_some() {
            return (StatusCode::OK, body("degraded", trouble));
        }
        if self.worker.as_ref().is_some_and(|probe| !probe().taking) {
            return (StatusCode::OK, body("degraded", Some("the executor takes no tasks now".to_owned())));
        }
        (StatusCode::OK, body("ok", None))
    }
}

fn wedged(detail: String) -> (StatusCode, HealthBody) {
    (StatusCode::SERVICE_UNAVAILABLE, HealthBody { status: "wedged", broker: None, detail: Some(detail) })
}

/// Asks the broker how it is until `stop`, and creates the default queue at the first contact where `creates`.
pub(crate) async fn watch(app: App, creates: bool, stop: CancellationToken) {
    let mut said: Option<Instant> = None;
    loop {
        app.health.beat();
        let outcome = greet(&app, creates).await;
        app.metrics.broker_up(outcome.is_ok());
        let was_up = app.health.up.swap(outcome.is_ok(), Ordering::AcqRel);
        match outcome {
            Ok(()) => {
                app.health.met.store(true, Ordering::Release);
                if !was_up {
                    tracing::info!(broker = app.health.broker, "the broker answers");
                }
                said = None;
            }
            Err(error) => {
                if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
                    tracing::warn!(broker = app.health.broker, error, "the broker does not answer; trying on");
                    said = Some(Instant::now());
                }
                *app.health.trouble() = error;
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(PING_EVERY)).await.is_none() {
            return;
        }
    }
}

async fn greet(app: &App, creates: bool) -> Result<(), String> {
    within(Deadline::now(), app.broker.ping()).await.map_err(|error| error.to_string())?;
    if creates && !app.health.has_met_broker() {
        let queue = &app.options.default_queue;
        let settings = &app.options.default_settings;
        within(Deadline::now(), app.broker.ensure_queue(queue, settings)).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Whether this process works at all.
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses(
    (status = 200, description = "It does", body = HealthBody),
    (status = 503, description = "It is wedged", body = HealthBody),
))]
pub(crate) async fn livez(State(app): State<App>) -> Response {
    answer(app.health.live())
}

/// Whether this process serves: it has met its broker, and is not going away.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, description = "It serves; `degraded` when the broker is out of reach now", body = HealthBody),
    (status = 503, description = "Not yet, or no more", body = HealthBody),
))]
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    answer(app.health.ready())
}

fn answer((status, body): (StatusCode, HealthBody)) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
