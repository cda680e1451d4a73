//! `PUT /api/v1/queues/{queue}`: the settings of a queue, checked.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value};
use tidemill_core::QueueSettings;
use tidemill_core::policy::{RETRIES_MAX, TIMEOUT_MS_MAX};
use utoipa::ToSchema;

use super::queues;
use super::view::QueueBody;
use crate::error::{Answer, Faults, Refusal};
use crate::extract::{BODY_MAX, Body, InQueue};
use crate::json::{self, Shape};
use crate::state::{App, Creation, Deadline, within};

/// Bounds of a lease, in milliseconds: shorter ones end at a pause of the network, longer ones leave the tasks of a dead
/// worker lying.
const LEASE_MS: std::ops::RangeInclusive<u32> = 1_000..=600_000;
/// Most lost workers that a queue may grant a task.
const LOSS_LIMIT_MAX: u32 = 100;

/// Settings of a queue. What is left out is the installation's default.
#[derive(ToSchema)]
#[allow(dead_code)] // describes `QueueSettings`
pub(crate) struct SettingsBody {
    /// Retries of a task that names none
    retries: Option<u16>,
    /// Spacing of retries: exponential with full jitter
    backoff: Option<BackoffBody>,
    /// Time that an attempt may take of a task that names none
    timeout_ms: Option<u64>,
    /// What is kept of ended tasks
    retention: Option<RetentionBody>,
    /// Most live tasks
    max_tasks: Option<u64>,
    /// Largest payload
    max_payload_bytes: Option<u32>,
    /// How long a worker keeps its tasks without a sign of life
    lease_ms: Option<u32>,
    /// How many lost workers end a task as dead
    loss_limit: Option<u32>,
}

/// Spacing of retries.
#[derive(ToSchema)]
#[allow(dead_code)] // describes `Backoff`
pub(crate) struct BackoffBody {
    /// Upper bound of the wait before the first retry; doubles with each failure
    initial_ms: u32,
    /// Cap of that bound
    max_ms: u32,
}

/// What is kept of ended tasks.
#[derive(ToSchema)]
#[allow(dead_code)] // describes `Retention`
pub(crate) struct RetentionBody {
    succeeded: Option<KeepBody>,
    dead: Option<KeepBody>,
    cancelled: Option<KeepBody>,
}

/// Bounds by count and by age; the first one met forgets.
#[derive(ToSchema)]
#[allow(dead_code)] // describes `Keep`
pub(crate) struct KeepBody {
    count: u32,
    age_s: u32,
}

/// Creates the queue with these settings, or replaces those it has. What is left out is the installation's default.
#[utoipa::path(put, path = "/api/v1/queues/{queue}", tag = "queues", params(("queue" = String, Path, description = "Its name")),
    request_body(content = SettingsBody),
    responses(
        (status = 200, description = "The settings were replaced", body = QueueBody),
        (status = 201, description = "The queue was created", body = QueueBody),
        (status = 400, description = "The settings are wrong", body = crate::openapi::ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn put_queue(
    State(app): State<App>,
    InQueue(queue): InQueue,
    Body(body): Body,
) -> Answer<(StatusCode, Json<QueueBody>)> {
    let deadline = Deadline::now();
    let settings = read(&body, &app.options.default_settings)?;
    let created = within(deadline, app.broker.ensure_queue(&queue, &settings)).await?;
    if !created {
        app.on(deadline, &queue, Creation::Never, || app.broker.configure(&queue, &settings)).await?;
    }
    app.settings_changed(&queue);
    tracing::info!(queue = queue.as_str(), created, ?settings, "a queue was configured");
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(queues::read(&app, deadline, &queue).await?)))
}

fn read(body: &[u8], defaults: &QueueSettings) -> Answer<QueueSettings> {
    let named: Map<String, Value> = match json::shape(body) {
        Shape::Empty => Map::new(),
        _ => json::read(body)?,
    };
    let unusable = |error: serde_json::Error| Refusal::invalid("", format!("the settings are wrong: {error}"));
    let mut whole = serde_json::to_value(defaults).map_err(unusable)?;
    overlay(&mut whole, Value::Object(named));
    let settings: QueueSettings = serde_json::from_value(whole).map_err(unusable)?;
    let faults = check(&settings);
    if faults.is_empty() { Ok(settings) } else { Err(faults.refuse()) }
}

/// Lays `over` upon `base`, member by member.
fn overlay(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                overlay(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

fn check(settings: &QueueSettings) -> Faults {
    let mut faults = Faults::default();
    let mut rule = |holds: bool, pointer: &str, detail: String| {
        if !holds {
            faults.at(pointer, detail);
        }
    };
    let QueueSettings {
        retries,
        backoff,
        timeout_ms,
        retention: _,
        max_tasks,
        max_payload_bytes,
        lease_ms,
        loss_limit,
    } = settings;
    rule(*retries <= RETRIES_MAX, "/retries", format!("retries must be at most {RETRIES_MAX}"));
    rule(
        backoff.initial_ms <= backoff.max_ms,
        "/backoff",
        "backoff.initial_ms must be at most backoff.max_ms".to_owned(),
    );
    rule(
        (1..=TIMEOUT_MS_MAX).contains(timeout_ms),
        "/timeout_ms",
        format!("timeout_ms must be from 1 to {TIMEOUT_MS_MAX}"),
    );
    rule(*max_tasks > 0, "/max_tasks", "max_tasks must be at least 1".to_owned());
    rule(
        usize::try_from(*max_payload_bytes).is_ok_and(|bytes| (2..=BODY_MAX).contains(&bytes)),
        "/max_payload_bytes",
        format!("max_payload_bytes must be from 2 to {BODY_MAX}, the largest body"),
    );
    rule(
        LEASE_MS.contains(lease_ms),
        "/lease_ms",
        format!("lease_ms must be from {} to {}", LEASE_MS.start(), LEASE_MS.end()),
    );
    rule(
        (1..=LOSS_LIMIT_MAX).contains(loss_limit),
        "/loss_limit",
        format!("loss_limit must be from 1 to {LOSS_LIMIT_MAX}"),
    );
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_the_default_down_to_single_members() {
        let defaults = QueueSettings { retries: 7, ..QueueSettings::default() };
        let read = read(br#"{"backoff":{"initial_ms":5},"retention":{"dead":{"count":1}}}"#, &defaults).unwrap();
        assert_eq!((read.retries, read.backoff.initial_ms), (7, 5));
        assert_eq!(read.backoff.max_ms, defaults.backoff.max_ms);
        assert_eq!(read.retention.dead.age_s, defaults.retention.dead.age_s);
        assert_eq!(super::read(b"", &defaults).unwrap(), defaults);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let defaults = QueueSettings::default();
        for (body, word) in [
            (r#"{"retrys":1}"#, "retrys"),
            (r#"{"retries":"a"}"#, "invalid type"),
            (r#"{"retries":2000}"#, "at most 1000"),
            (r#"{"lease_ms":1}"#, "lease_ms must be from"),
            ("[]", "map"),
        ] {
            let problem = read(body.as_bytes(), &defaults).unwrap_err().into_problem();
            assert!(problem.detail.contains(word), "{body}: {}", problem.detail);
        }
    }

    #[test]
    fn the_described_settings_are_those_that_exist() {
        let real = serde_json::to_value(QueueSettings::default()).unwrap();
        let described = serde_json::to_value(<SettingsBody as utoipa::PartialSchema>::schema()).unwrap();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&described["properties"]), names(&real));
    }
}
