//! Who works on a queue.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::view::WorkerBody;
use crate::error::Answer;
use crate::extract::InQueue;
use crate::state::App;

/// The workers of a queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerList {
    workers: Vec<WorkerBody>,
}

/// The registered workers, lost ones included until their tasks have been returned.
#[utoipa::path(get, path = "/api/v1/queues/{queue}/workers", tag = "queues", params(("queue" = String, Path, description = "The queue")), responses(
    (status = 200, description = "All of them", body = WorkerList),
    (status = 404, description = "No such queue", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn workers(State(app): State<App>, InQueue(queue): InQueue) -> Answer<Json<WorkerList>> {
    let workers = app.read(&queue, || app.broker.workers(&queue)).await?;
    Ok(Json(WorkerList { workers: workers.into_iter().map(WorkerBody::from).collect() }))
}
