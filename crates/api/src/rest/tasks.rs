//! `GET /tasks`: what runs and what waits.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use tidemill_broker::ListQuery;
use tidemill_broker::contract::PAGE_MAX;
use tidemill_core::{QueueName, State as TaskState, TaskId};
use utoipa::IntoParams;

use super::schedule::Named;
use crate::error::{Answer, Refusal};
use crate::extract::{Params, count};
use crate::state::{App, Creation, Deadline};

/// Tasks of each list where no limit is named.
const LIMIT: usize = 1_000;
/// Highest limit: ten pages of the store.
const LIMIT_MAX: usize = 10_000;
/// How many run in all.
const ACTIVE_TOTAL: HeaderName = HeaderName::from_static("tidemill-active-total");
/// How many wait in all.
const SCHEDULED_TOTAL: HeaderName = HeaderName::from_static("tidemill-scheduled-total");

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TasksParams {
    /// Another queue than the default one
    queue: Option<String>,
    /// At most so many of each list
    #[param(maximum = 10_000, default = 1_000)]
    #[serde(default, deserialize_with = "count")]
    limit: Option<usize>,
}

type Short = (TaskId, u32);

struct ActiveMap<'a>(&'a [Short]);

impl Serialize for ActiveMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (id, duration) in self.0 {
            map.serialize_entry(id, duration)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Overview<'a> {
    active: ActiveMap<'a>,
    scheduled: Vec<Named<'a>>,
}

/// What runs now, as a map of id → duration, and what waits, as a list in the order in which it will be claimed.
///
/// The totals are in the headers `Tidemill-Active-Total` and `Tidemill-Scheduled-Total`.
#[utoipa::path(get, path = "/tasks", tag = "queue", params(TasksParams), responses(
    (status = 200, description = "Both lists", body = crate::openapi::OverviewBody, headers(
        ("tidemill-active-total" = u64, description = "How many tasks run in all"),
        ("tidemill-scheduled-total" = u64, description = "How many tasks wait in all"),
    )),
    (status = 404, description = "No such queue", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn tasks(State(app): State<App>, Params(params): Params<TasksParams>) -> Answer<Response> {
    let deadline = Deadline::now();
    let queue = app.queue(params.queue)?;
    let limit = params.limit.unwrap_or(LIMIT);
    if limit > LIMIT_MAX {
        return Err(Refusal::invalid("?limit", format!("limit must be a whole number from 0 to {LIMIT_MAX}")));
    }
    let stats = app.on(deadline, &queue, Creation::Never, || app.broker.stats(&queue)).await?;
    // What waits is read first: a task that is claimed in between is seen in both and dropped from the first, never
    // missed in both.
    let waiting = list(&app, deadline, &queue, TaskState::Pending, limit).await?;
    let active = list(&app, deadline, &queue, TaskState::Active, limit).await?;
    let running: HashSet<&TaskId> = active.iter().map(|(id, _)| id).collect();
    let scheduled =
        waiting.iter().filter(|(id, _)| !running.contains(id)).map(|(id, duration)| Named(id, *duration)).collect();
    let mut response = Json(Overview { active: ActiveMap(&active), scheduled }).into_response();
    let headers = response.headers_mut();
    headers.insert(ACTIVE_TOTAL, HeaderValue::from(stats.active));
    headers.insert(SCHEDULED_TOTAL, HeaderValue::from(stats.pending));
    Ok(response)
}

async fn list(app: &App, deadline: Deadline, queue: &QueueName, state: TaskState, limit: usize) -> Answer<Vec<Short>> {
    let mut tasks: Vec<Short> = Vec::new();
    let mut seen = HashSet::new();
    let mut cursor = None;
    for _ in 0..=LIMIT_MAX / PAGE_MAX {
        let left = limit - tasks.len();
        if left == 0 {
            break;
        }
        let query = ListQuery { state, task_type: None, cursor: cursor.take(), limit: left.min(PAGE_MAX) };
        let page = app.on(deadline, queue, Creation::Never, || app.broker.list(queue, &query)).await?;
        for view in page.tasks {
            if seen.insert(view.id.clone()) {
                tasks.push((view.id, view.duration_ms));
            }
        }
        match page.cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    Ok(tasks)
}
