//! `GET /api/v1/queues/{queue}/tasks`: page by page, of one state or of all.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_broker::ListQuery;
use tidemill_broker::contract::PAGE_MAX;
use tidemill_core::state::UnknownState;
use tidemill_core::{State as TaskState, TaskType};
use utoipa::{IntoParams, ToSchema};

use super::view::{StateWord, TaskBody};
use crate::error::{Answer, Refusal};
use crate::extract::{InQueue, Params, count};
use crate::state::{App, Creation, Deadline};

/// Tasks of a page where no limit is named.
const LIMIT: usize = 100;
/// Pages of the store that one request may take: a rare type is found over several requests rather than in one long one.
const READS_MAX: usize = 16;

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskPage {
    /// Without attempts and results
    tasks: Vec<TaskBody>,
    /// Where to go on; none at the end. A page may be short, or empty, and still have one
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only of this state; without it all states, one after another
    #[param(value_type = Option<StateWord>)]
    state: Option<String>,
    /// Only of this type
    #[serde(rename = "type")]
    task_type: Option<String>,
    /// The cursor of the page before
    cursor: Option<String>,
    /// At most so many
    #[param(minimum = 1, maximum = 1_000, default = 100)]
    #[serde(default, deserialize_with = "count")]
    limit: Option<usize>,
}

/// Tasks: pending in claim order, delayed and retrying by due time, active by start, ended ones newest first.
#[utoipa::path(get, path = "/api/v1/queues/{queue}/tasks", tag = "tasks", params(("queue" = String, Path, description = "The queue"), ListParams), responses(
    (status = 200, description = "A page", body = TaskPage),
    (status = 400, description = "A parameter is wrong", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "No such queue", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_tasks(
    State(app): State<App>,
    InQueue(queue): InQueue,
    Params(params): Params<ListParams>,
) -> Answer<Json<TaskPage>> {
    let deadline = Deadline::now();
    let limit = params.limit.unwrap_or(LIMIT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Refusal::invalid("?limit", format!("limit must be a whole number from 1 to {PAGE_MAX}")));
    }
    let wanted = params.state.as_deref().map(|word| state_word("?state", word)).transpose()?;
    let task_type = params
        .task_type
        .map(|name| TaskType::new(name).map_err(|error| Refusal::invalid("?type", error.to_string())))
        .transpose()?;
    let states: Vec<TaskState> = wanted.map_or_else(|| TaskState::ALL.to_vec(), |state| vec![state]);
    let (mut place, mut inner) = begin(&states, params.cursor)?;
    let settings = app.settings(deadline, &queue, Creation::Never).await?;
    let mut tasks = Vec::new();
    for _ in 0..READS_MAX {
        let Some(state) = states.get(place).copied() else { break };
        let left = limit - tasks.len();
        if left == 0 {
            break;
        }
        let query = ListQuery { state, task_type: task_type.clone(), cursor: inner.take(), limit: left };
        let page = app.on(deadline, &queue, Creation::Never, || app.broker.list(&queue, &query)).await?;
        tasks.extend(page.tasks.into_iter().map(|view| TaskBody::brief(&queue, view, &settings)));
        inner = page.cursor;
        if inner.is_none() {
            place += 1;
        }
    }
    let cursor = states.get(place).map(|state| format!("{state}:{}", inner.unwrap_or_default()));
    Ok(Json(TaskPage { tasks, cursor }))
}

/// Where a page begins: the place among `states`, and the store's own cursor there.
fn begin(states: &[TaskState], cursor: Option<String>) -> Answer<(usize, Option<String>)> {
    let Some(cursor) = cursor else { return Ok((0, None)) };
    let wrong = || Refusal::invalid("?cursor", "cursor is none that a page of this list ended with");
    let (word, inner) = cursor.split_once(':').ok_or_else(wrong)?;
    let state = state_word("?cursor", word).map_err(|_| wrong())?;
    let place = states.iter().position(|one| *one == state).ok_or_else(wrong)?;
    Ok((place, (!inner.is_empty()).then(|| inner.to_owned())))
}

fn state_word(pointer: &str, word: &str) -> Answer<TaskState> {
    word.parse().map_err(|error: UnknownState| Refusal::invalid(pointer, error.to_string()))
}
