//! What this installation is.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::view::moment;
use crate::state::App;

/// What this installation is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Info {
    /// The version of the program
    version: &'static str,
    /// What keeps the tasks
    broker: String,
    /// The queue of the routes of the root when none is named
    default_queue: String,
    /// Which parts are served: `rest`, `ws`, `html` or `html_ws`
    form: &'static str,
    /// Whether a queue comes into being when a task is sent to it
    creates_queues: bool,
    /// The server's time
    now: String,
}

/// What this installation is: version, store, form.
#[utoipa::path(get, path = "/api/v1/info", tag = "installation", responses((status = 200, description = "What it is", body = Info)))]
pub(crate) async fn info(State(app): State<App>) -> Json<Info> {
    Json(Info {
        version: env!("CARGO_PKG_VERSION"),
        broker: app.broker.describe(),
        default_queue: app.options.default_queue.to_string(),
        form: app.options.form.as_str(),
        creates_queues: app.options.creates_queues,
        now: moment(u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)),
    })
}
