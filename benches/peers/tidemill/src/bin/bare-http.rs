//! What HTTP alone costs: a handler of the shape of `POST /enqueue` that answers without a broker.
//!
//! It reads the task, gives it an id, and answers 202 with the same body and headers that Tidemill's API answers with.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use clap::Parser;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers `POST /enqueue` and does nothing.
#[derive(Debug, Parser)]
struct Args {
    /// The port of the loopback interface that it listens on.
    #[arg(long)]
    port: u16,
}

#[derive(Debug, Deserialize)]
struct Declared {
    #[serde(rename = "type")]
    task_type: String,
    payload: Box<RawValue>,
}

#[derive(Debug, Serialize)]
struct Accepted {
    id: String,
    queue: &'static str,
    #[serde(rename = "type")]
    task_type: String,
    state: &'static str,
}

type Answer = (StatusCode, [(HeaderName, HeaderValue); 1], Json<Accepted>);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", Args::parse().port)).await?;
    // What a task may be at most, so that the payload is looked at as it would be where it is kept.
    let routes = Router::new().route("/enqueue", post(enqueue)).with_state(1_usize << 20);
    Ok(axum::serve(listener, routes).await?)
}

async fn enqueue(State(limit): State<usize>, Json(declared): Json<Declared>) -> Result<Answer, StatusCode> {
    if declared.payload.get().len() > limit {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let id = uuid::Uuid::now_v7().to_string();
    let location = HeaderValue::try_from(format!("/api/v1/queues/default/tasks/{id}"))
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let accepted = Accepted { id, queue: "default", task_type: declared.task_type, state: "pending" };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(accepted)))
}
