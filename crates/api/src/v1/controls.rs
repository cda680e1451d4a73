//! One task: read it, cancel it, run it again, delete it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tidemill_broker::{Cancelled, Deleted, Requeued};
use tidemill_core::{Problem, QueueName, State as TaskState, TaskId};
use tidemill_telemetry::task_log::{TaskEvent, TaskLine};
use utoipa::ToSchema;

use super::view::{StateWord, TaskBody};
use crate::error::{Answer, Refusal};
use crate::extract::OneTask;
use crate::state::{App, Creation, Deadline};

/// Where a task stands now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Standing {
    #[schema(value_type = String)]
    id: TaskId,
    #[schema(value_type = String)]
    queue: QueueName,
    #[schema(value_type = StateWord)]
    state: TaskState,
}

/// One task, with its failed attempts and its result.
#[utoipa::path(get, path = "/api/v1/queues/{queue}/tasks/{id}", tag = "tasks", params(("queue" = String, Path, description = "The queue"), ("id" = String, Path, description = "The task")), responses(
    (status = 200, description = "The task", body = TaskBody),
    (status = 404, description = "No such task or queue", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_task(State(app): State<App>, OneTask(queue, id): OneTask) -> Answer<Json<TaskBody>> {
    let deadline = Deadline::now();
    let view = app.on(deadline, &queue, Creation::Never, || app.broker.get(&queue, &id)).await?;
    let view = view.ok_or_else(|| Refusal::unknown_task(&queue, &id))?;
    let settings = app.settings(deadline, &queue, Creation::Never).await?;
    Ok(Json(TaskBody::full(&queue, view, &settings)))
}

/// Forgets a task that waits (which cancels it) or has ended.
#[utoipa::path(delete, path = "/api/v1/queues/{queue}/tasks/{id}", tag = "tasks", params(("queue" = String, Path, description = "The queue"), ("id" = String, Path, description = "The task")), responses(
    (status = 204, description = "It is forgotten"),
    (status = 404, description = "No such task or queue", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "It is active", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_task(State(app): State<App>, OneTask(queue, id): OneTask) -> Answer<StatusCode> {
    match app.read(&queue, || app.broker.delete(&queue, &id)).await? {
        Deleted::Forgotten => {
            TaskLine::new(&queue, &id).log(TaskEvent::Deleted);
            Ok(StatusCode::NO_CONTENT)
        }
        Deleted::Active => Err(conflict(format!("task {id} is active; cancel it first"))),
        Deleted::Unknown => Err(Refusal::unknown_task(&queue, &id)),
    }
}

/// Cancels a task: at once where it waits; where it is active, its worker is asked.
#[utoipa::path(post, path = "/api/v1/queues/{queue}/tasks/{id}/cancel", tag = "tasks", params(("queue" = String, Path, description = "The queue"), ("id" = String, Path, description = "The task")), responses(
    (status = 202, description = "It is cancelled, or `active` and its worker is asked", body = Standing),
    (status = 404, description = "No such task or queue", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "It has ended", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn cancel_task(
    State(app): State<App>,
    OneTask(queue, id): OneTask,
) -> Answer<(StatusCode, Json<Standing>)> {
    let (event, state) = match app.read(&queue, || app.broker.cancel(&queue, &id)).await? {
        Cancelled::Now => (TaskEvent::Cancelled, TaskState::Cancelled),
        Cancelled::Asked => (TaskEvent::CancelRequested, TaskState::Active),
        Cancelled::Ended(state) => return Err(conflict(format!("task {id} has ended already: it is {state}"))),
        Cancelled::Unknown => return Err(Refusal::unknown_task(&queue, &id)),
    };
    TaskLine::new(&queue, &id).log(event);
    Ok((StatusCode::ACCEPTED, Json(Standing { id, queue, state })))
}

/// Runs a dead or cancelled task again, or a delayed or retrying one now.
#[utoipa::path(post, path = "/api/v1/queues/{queue}/tasks/{id}/retry", tag = "tasks", params(("queue" = String, Path, description = "The queue"), ("id" = String, Path, description = "The task")), responses(
    (status = 202, description = "It is pending", body = Standing),
    (status = 404, description = "No such task or queue", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "It is in another state", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn retry_task(
    State(app): State<App>,
    OneTask(queue, id): OneTask,
) -> Answer<(StatusCode, Json<Standing>)> {
    match app.read(&queue, || app.broker.retry(&queue, &id)).await? {
        Requeued::Pending => {
            TaskLine::new(&queue, &id).log(TaskEvent::Requeued);
            Ok((StatusCode::ACCEPTED, Json(Standing { id, queue, state: TaskState::Pending })))
        }
        Requeued::Refused(state) => {
            let from = "only dead, cancelled, delayed and retrying tasks can be run again";
            Err(conflict(format!("task {id} is {state}; {from}")))
        }
        Requeued::Unknown => Err(Refusal::unknown_task(&queue, &id)),
    }
}

fn conflict(detail: String) -> Refusal {
    Problem::new(409, "wrong-state", "The task's state does not allow that", detail).into()
}
