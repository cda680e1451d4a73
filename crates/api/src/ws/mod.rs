//! `/ws`: the events of a queue, each as one JSON object of one text message.
//!
//! ```text
//!   Broker::subscribe ──► hub: one pump a queue ──► feed: the last messages, written once ──► client, client, …
//! ```
//!
//! A client is never waited for: one that falls behind the feed is closed with 1012, as are all clients of a queue whose
//! subscription has a gap. Whoever saw a message saw every message before it since it connected.

mod client;
mod feed;
mod hub;

pub(crate) use hub::Hub;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::http::header;
use axum::response::Response;
use tidemill_core::Problem;

use crate::auth::WS_PROTOCOL;
use crate::error::{Answer, Refusal};
use crate::extract::Params;
use crate::rest::QueueParam;
use crate::state::{App, Creation, Deadline, WS_CLIENTS_MAX};

/// Largest message that a client may send; none is needed.
const INCOMING_MAX: usize = 4 << 10;
/// What a connection reads at a time: ten thousand clients would otherwise hold a gigabyte for nothing.
const READ_BUFFER: usize = 4 << 10;
/// What is gathered before it is written to the network.
const WRITE_BUFFER: usize = 16 << 10;

/// Pushes one JSON object per event: `scheduled`, `next`, `start` or `done`. The subscription is in force when the
/// handshake is answered.
#[utoipa::path(get, path = "/ws", tag = "queue", params(QueueParam), responses(
    (status = 101, description = "A WebSocket. It is closed with 1012 `events lost, reload /tasks` rather than skip an event, and with 1001 at shutdown"),
    (status = 404, description = "No such queue, or a form without WebSocket", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
    (status = 426, description = "Not a WebSocket handshake", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "Too many clients, or the store cannot be reached", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn ws(
    State(app): State<App>,
    Params(params): Params<QueueParam>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let upgrade = upgrade.map_err(|rejection| {
        let detail = format!("this is a WebSocket: connect with ws:// or wss:// ({})", rejection.body_text());
        Refusal::from(Problem::new(426, "websocket-needed", "A WebSocket is needed", detail))
            .with(header::UPGRADE, "websocket")
    })?;
    let queue = app.queue(params.queue)?;
    let place = app.ws_places.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{WS_CLIENTS_MAX} clients are connected, the most that this server serves");
        Refusal::busy("too-many-clients", "Too many WebSocket clients", detail)
    })?;
    let deadline = Deadline::now();
    let reader = app.on(deadline, &queue, Creation::Allowed, || app.hub.join(&queue)).await?;
    let token = app.sockets.token();
    let serve = {
        let app = app.clone();
        move |socket: WebSocket| async move {
            client::serve(socket, reader, &app).await;
            drop((place, token));
        }
    };
    let configured = upgrade
        .max_message_size(INCOMING_MAX)
        .max_frame_size(INCOMING_MAX)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .protocols([WS_PROTOCOL]);
    Ok(configured.on_upgrade(serve))
}
