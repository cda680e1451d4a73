//! `POST /enqueue`: a task of any type, or a batch of them.

use std::collections::{HashMap, HashSet};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tidemill_broker::Enqueued;
use tidemill_broker::contract::BATCH_MAX;
use tidemill_core::{NewTask, Problem, QueueName, State as TaskState, TaskId, TaskType};
use utoipa::ToSchema;

use super::QueueParam;
use super::declare::{self, Declared};
use super::intake::{allow_for_duration, take_in, too_many};
use crate::error::{Answer, Faults, Refusal};
use crate::extract::{Body, Params};
use crate::json::{self, Items, Members, Shape};
use crate::state::{App, Creation, Deadline};

/// A task that was taken in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    #[schema(value_type = String)]
    id: TaskId,
    #[schema(value_type = String)]
    queue: QueueName,
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    task_type: TaskType,
    #[schema(value_type = String)]
    state: TaskState,
}

/// A batch that was taken in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedBatch {
    tasks: Vec<Accepted>,
}

/// Takes in one task, or an array of them, whole or not at all.
///
/// Names of members match in any letter case. What is left out is the queue's default; a missing id is a new UUID.
/// A request that is repeated with the same ids and the same `Idempotency-Key` is answered as the first was, while its tasks
/// are kept.
#[utoipa::path(post, path = "/enqueue", tag = "queue", params(QueueParam),
    request_body(content = crate::openapi::EnqueueBody, description = "A task or an array of at most 10,000",
        example = json!({"type": "send_email", "retries": 3, "payload": {"to": "a@example.com", "subject": "Hello"}})),
    responses(
        (status = 202, description = "Taken in; `{\"tasks\": […]}` where an array was sent", body = Accepted,
            headers(("location" = String, description = "Where the task can be read; not for an array"))),
        (status = 400, description = "Nothing was taken in: the body is wrong", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Nothing was taken in: ids are alive already", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Nothing was taken in: too large", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "The queue is full", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be reached", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn enqueue(
    State(app): State<App>,
    Params(params): Params<QueueParam>,
    headers: HeaderMap,
    Body(body): Body,
) -> Answer<Response> {
    let deadline = Deadline::now();
    let shape = json::shape(&body);
    let declared = match shape {
        Shape::Object => read_one(&body)?,
        Shape::Array => read_many(&body)?,
        Shape::Empty | Shape::Other => {
            if shape == Shape::Other {
                json::read::<serde::de::IgnoredAny>(&body)?;
            }
            let wanted = "send a JSON object such as {\"type\": \"send_email\", \"payload\": {…}}, or an array of them";
            return Err(Refusal::invalid("", format!("the body is no task; {wanted}")));
        }
    };
    let (queue, mut tasks) = one_queue(&app, params.queue, declared, shape)?;
    let settings = app.settings(deadline, &queue, Creation::Allowed).await?;
    for (index, task) in tasks.iter_mut().enumerate() {
        check_size(task, index, shape, settings.max_payload_bytes)?;
        allow_for_duration(task, settings.timeout_ms);
    }
    let done = take_in(&app, deadline, &queue, &mut tasks, &headers).await.map_err(|refusal| {
        let places: HashMap<&str, usize> = tasks.iter().enumerate().map(|(at, task)| (task.id.as_str(), at)).collect();
        refusal.at_ids(|id| match places.get(id) {
            Some(at) if shape == Shape::Array => format!("/{at}/id"),
            _ => "/id".to_owned(),
        })
    })?;
    let accepted = |task: NewTask, Enqueued::Created(state): Enqueued| Accepted {
        id: task.id,
        queue: queue.clone(),
        task_type: task.task_type,
        state,
    };
    let mut accepted: Vec<Accepted> = tasks.into_iter().zip(done).map(|(task, done)| accepted(task, done)).collect();
    if shape == Shape::Array {
        return Ok((StatusCode::ACCEPTED, axum::Json(AcceptedBatch { tasks: accepted })).into_response());
    }
    let Some(one) = accepted.pop() else {
        return Err(Problem::new(500, "store-failed", "The store of tasks failed", "no task came back").into());
    };
    let location = format!("/api/v1/queues/{}/tasks/{}", one.queue, percent_encoded(one.id.as_str()));
    let mut response = (StatusCode::ACCEPTED, axum::Json(one)).into_response();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

fn read_one(body: &Bytes) -> Answer<Vec<Declared>> {
    let members: Members<'_> = json::read(body)?;
    let mut faults = Faults::default();
    match declare::read(&members, "", now_ms(), &mut faults) {
        Some(declared) if faults.is_empty() => Ok(vec![declared]),
        _ => Err(faults.refuse()),
    }
}

fn read_many(body: &Bytes) -> Answer<Vec<Declared>> {
    let items: Items<'_> = json::read(body)?;
    if items.total == 0 {
        return Err(Refusal::invalid("", "the batch is empty; send at least one task"));
    }
    if items.total > BATCH_MAX {
        return Err(too_many(items.total));
    }
    let now_ms = now_ms();
    let mut faults = Faults::default();
    let mut batch = Vec::with_capacity(items.list.len());
    let mut seen = HashSet::with_capacity(items.list.len());
    for (index, raw) in items.list.iter().enumerate() {
        let at = format!("/{index}");
        let Ok(members) = serde_json::from_str::<Members<'_>>(raw.get()) else {
            faults.at(at, format!("a task is a JSON object, not {}", json::shown(raw)));
            continue;
        };
        let Some(declared) = declare::read(&members, &at, now_ms, &mut faults) else { continue };
        if !seen.insert(declared.task.id.clone()) {
            faults.at(format!("{at}/id"), format!("{:?} stands twice in this batch", declared.task.id.as_str()));
        }
        batch.push(declared);
    }
    if faults.is_empty() { Ok(batch) } else { Err(faults.refuse()) }
}

/// The one queue that all of a batch goes to.
fn one_queue(
    app: &App,
    asked: Option<String>,
    declared: Vec<Declared>,
    shape: Shape,
) -> Answer<(QueueName, Vec<NewTask>)> {
    let asked = asked.map(|name| app.queue(Some(name))).transpose()?;
    let usual = asked.clone().unwrap_or_else(|| app.options.default_queue.clone());
    let mut chosen: Option<QueueName> = None;
    let mut tasks = Vec::with_capacity(declared.len());
    for (index, Declared { task, queue }) in declared.into_iter().enumerate() {
        let pointer = || if shape == Shape::Array { format!("/{index}/queue") } else { "/queue".to_owned() };
        let queue = queue.unwrap_or_else(|| usual.clone());
        if asked.as_ref().is_some_and(|asked| *asked != queue) {
            return Err(Refusal::invalid(
                pointer(),
                format!("the task names queue {queue}, but ?queue= names {usual}"),
            ));
        }
        if let Some(chosen) = &chosen
            && *chosen != queue
        {
            let detail =
                format!("a batch goes to one queue, but this one names {chosen} and {queue}; send two batches");
            return Err(Refusal::invalid(pointer(), detail));
        }
        chosen.get_or_insert(queue);
        tasks.push(task);
    }
    Ok((chosen.unwrap_or(usual), tasks))
}

fn check_size(task: &NewTask, index: usize, shape: Shape, max: u32) -> Answer<()> {
    let length = task.payload.len();
    if u64::try_from(length).is_ok_and(|length| length <= u64::from(max)) {
        return Ok(());
    }
    let detail = format!("payload has {length} bytes; this queue takes at most {max}");
    let pointer = if shape == Shape::Array { format!("/{index}/payload") } else { "/payload".to_owned() };
    Err(Problem::new(413, "too-large", "The payload is too large", detail.clone()).at(pointer, detail).into())
}

/// `text` as one segment of a path.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else if write!(encoded, "%{byte:02X}").is_err() {
            return encoded;
        }
    }
    encoded
}
