//! `POST /schedule`: tasks that sleep, in the order written.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use tidemill_broker::contract::BATCH_MAX;
use tidemill_core::policy::DURATION_MS_MAX;
use tidemill_core::{NewTask, TaskId};

use super::QueueParam;
use super::intake::{allow_for_duration, take_in, too_many};
use crate::error::{Answer, Faults, Refusal};
use crate::extract::{Body, Params};
use crate::json::{self, Members, Shape};
use crate::state::{App, Creation, Deadline};

/// One member: id → duration.
pub(crate) struct Named<'a>(pub(crate) &'a TaskId, pub(crate) u32);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

#[derive(Serialize)]
struct Scheduled<'a> {
    scheduled: Vec<Named<'a>>,
}

/// Schedules tasks: an object of id → duration in milliseconds (0 to 86,400,000), in the order written.
#[utoipa::path(post, path = "/schedule", tag = "queue", params(QueueParam),
    request_body(content = crate::openapi::Durations, description = "At most 10,000 tasks", example = json!({"task123": 1000, "task456": 2500})),
    responses(
        (status = 202, description = "All are taken in", body = crate::openapi::ScheduledBody),
        (status = 400, description = "Nothing was scheduled: the body is wrong", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Nothing was scheduled: ids are alive already", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Nothing was scheduled: too large, or too many tasks", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be reached", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn schedule(
    State(app): State<App>,
    Params(params): Params<QueueParam>,
    headers: HeaderMap,
    Body(body): Body,
) -> Answer<Response> {
    let deadline = Deadline::now();
    let queue = app.queue(params.queue)?;
    let mut tasks = read(&body)?;
    let settings = app.settings(deadline, &queue, Creation::Allowed).await?;
    for task in &mut tasks {
        allow_for_duration(task, settings.timeout_ms);
    }
    take_in(&app, deadline, &queue, &mut tasks, &headers).await?;
    let scheduled = tasks.iter().map(|task| Named(&task.id, task.duration_ms)).collect();
    Ok((StatusCode::ACCEPTED, axum::Json(Scheduled { scheduled })).into_response())
}

fn read(body: &[u8]) -> Answer<Vec<NewTask>> {
    const WANTED: &str = "send a JSON object of id → duration in milliseconds, such as {\"task123\": 1000}";
    let empty = || Refusal::invalid("", format!("there is nothing to schedule; {WANTED}"));
    match json::shape(body) {
        Shape::Empty => return Err(empty()),
        Shape::Object => {}
        Shape::Array | Shape::Other => {
            json::read::<serde::de::IgnoredAny>(body)?;
            return Err(Refusal::invalid("", format!("the body is not an object; {WANTED}")));
        }
    }
    let members: Members<'_> = json::read(body)?;
    if members.total == 0 {
        return Err(empty());
    }
    if members.total > BATCH_MAX {
        return Err(too_many(members.total));
    }
    let mut faults = Faults::default();
    let mut tasks = Vec::with_capacity(members.list.len());
    let mut seen = HashSet::with_capacity(members.list.len());
    for (name, raw) in &members.list {
        let at = || json::pointer("", name);
        if !seen.insert(name.as_str()) {
            faults.at(at(), format!("{name:?} stands twice in this body"));
            continue;
        }
        let id = TaskId::new(name.as_str()).map_err(|error| error.to_string());
        let duration = json::whole(raw, 0, i64::from(DURATION_MS_MAX))
            .map_err(|wrong| format!("the duration of {name:?} in milliseconds {wrong}"));
        match (id, duration.map(u32::try_from)) {
            (Ok(id), Ok(Ok(duration))) => tasks.push(NewTask::sleep(id, duration)),
            (id, duration) => {
                for wrong in [id.err(), duration.err()].into_iter().flatten() {
                    faults.at(at(), wrong);
                }
            }
        }
    }
    if faults.is_empty() { Ok(tasks) } else { Err(faults.refuse()) }
}
