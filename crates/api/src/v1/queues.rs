//! Queues as a whole: their figures, and what holds them back or empties them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tidemill_core::{QueueName, State as TaskState};
use utoipa::{IntoParams, ToSchema};

use super::view::{QueueBody, StateWord};
use crate::error::{Answer, Refusal};
use crate::extract::{InQueue, Params};
use crate::state::{App, Creation, Deadline, within};

/// Queues read from the store at a time.
const READS_AT_ONCE: usize = 16;
/// How long a purge may take: the store deletes in bounded steps, and there may be millions.
const PURGE_WITHIN: Duration = Duration::from_mins(1);

/// All queues.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueList {
    queues: Vec<QueueBody>,
}

/// Whether a queue is paused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Paused {
    name: String,
    paused: bool,
}

/// How many tasks were purged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Purged {
    purged: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PurgeParams {
    /// Tasks of which state; any but `active`
    #[param(value_type = StateWord, required)]
    state: Option<String>,
}

/// All queues, by name, each at a glance.
#[utoipa::path(get, path = "/api/v1/queues", tag = "queues", responses((status = 200, description = "All of them", body = QueueList)))]
pub(crate) async fn queues(State(app): State<App>) -> Answer<Json<QueueList>> {
    let deadline = Deadline::now();
    let names = within(deadline, app.broker.queues()).await?;
    let read: Vec<Option<QueueBody>> = stream::iter(names)
        .map(|name| {
            let app = &app;
            async move {
                match within(deadline, app.broker.stats(&name)).await {
                    Ok(stats) => Ok(Some(QueueBody::new(&name, &stats, None))),
                    Err(tidemill_broker::BrokerError::UnknownQueue { .. }) => Ok(None),
                    Err(error) => Err(Refusal::from(error)),
                }
            }
        })
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    Ok(Json(QueueList { queues: read.into_iter().flatten().collect() }))
}

/// One queue at a glance, with its settings.
#[utoipa::path(get, path = "/api/v1/queues/{queue}", tag = "queues", params(("queue" = String, Path, description = "Its name")), responses(
    (status = 200, description = "The queue", body = QueueBody),
    (status = 404, description = "No such queue", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn queue(State(app): State<App>, InQueue(queue): InQueue) -> Answer<Json<QueueBody>> {
    read(&app, Deadline::now(), &queue).await.map(Json)
}

/// The queue as the store has it now.
pub(crate) async fn read(app: &App, deadline: Deadline, queue: &QueueName) -> Answer<QueueBody> {
    let stats = app.on(deadline, queue, Creation::Never, || app.broker.stats(queue)).await?;
    let settings = app.on(deadline, queue, Creation::Never, || app.broker.settings(queue)).await?;
    Ok(QueueBody::new(queue, &stats, Some(settings)))
}

/// Holds back claims; what runs goes on.
#[utoipa::path(post, path = "/api/v1/queues/{queue}/pause", tag = "queues", params(("queue" = String, Path, description = "Its name")), responses(
    (status = 200, description = "It is paused", body = Paused),
    (status = 404, description = "No such queue", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn pause(State(app): State<App>, InQueue(queue): InQueue) -> Answer<Json<Paused>> {
    set_paused(&app, queue, true).await
}

/// Grants claims again.
#[utoipa::path(post, path = "/api/v1/queues/{queue}/resume", tag = "queues", params(("queue" = String, Path, description = "Its name")), responses(
    (status = 200, description = "It is not paused", body = Paused),
    (status = 404, description = "No such queue", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn resume(State(app): State<App>, InQueue(queue): InQueue) -> Answer<Json<Paused>> {
    set_paused(&app, queue, false).await
}

async fn set_paused(app: &App, queue: QueueName, paused: bool) -> Answer<Json<Paused>> {
    let changed = app.read(&queue, || app.broker.pause(&queue, paused)).await?;
    if changed {
        tracing::info!(queue = queue.as_str(), paused, "a queue was paused or resumed");
    }
    Ok(Json(Paused { name: queue.to_string(), paused }))
}

/// Deletes all tasks of a state.
#[utoipa::path(post, path = "/api/v1/queues/{queue}/purge", tag = "queues", params(("queue" = String, Path, description = "Its name"), PurgeParams), responses(
    (status = 200, description = "They are gone", body = Purged),
    (status = 400, description = "No state, or `active`", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "No such queue", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn purge(
    State(app): State<App>,
    InQueue(queue): InQueue,
    Params(params): Params<PurgeParams>,
) -> Answer<Json<Purged>> {
    let Some(word) = params.state else {
        return Err(Refusal::invalid("?state", "state is missing; say which tasks, such as ?state=dead"));
    };
    let state: TaskState = word
        .parse()
        .map_err(|error: tidemill_core::state::UnknownState| Refusal::invalid("?state", error.to_string()))?;
    if state == TaskState::Active {
        return Err(Refusal::invalid("?state", "active tasks cannot be purged; cancel them first"));
    }
    let deadline = Deadline::after(PURGE_WITHIN);
    let purged = app.on(deadline, &queue, Creation::Never, || app.broker.purge(&queue, state)).await?;
    tracing::info!(queue = queue.as_str(), state = state.as_str(), purged, "tasks were purged");
    Ok(Json(Purged { purged }))
}
