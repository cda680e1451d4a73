//! Extractors whose refusals are problems: a bounded body, query parameters and path segments.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use tidemill_core::{Problem, QueueName, TaskId, suggest};
use tokio::time::timeout;

use crate::error::Refusal;

/// Largest body: ten thousand tasks of 800 bytes.
pub(crate) const BODY_MAX: usize = 8 << 20;
/// How long a body may take to arrive: the largest over a slow line.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A whole body, of any content type: `curl -d` does not say that it sends JSON.
pub(crate) struct Body(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let reading = Limited::new(request.into_body(), BODY_MAX).collect();
        match timeout(BODY_TIMEOUT, reading).await {
            Ok(Ok(body)) => Ok(Self(body.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let detail = format!("the body has more than {BODY_MAX} bytes; send the tasks in several requests");
                Err(Problem::new(413, "too-large", "The body is too large", detail).into())
            }
            Ok(Err(error)) => {
                let detail = format!("the body broke off: {error}");
                Err(Problem::new(400, "broken-body", "The body did not arrive", detail).into())
            }
            Err(_) => {
                let detail = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
                Err(Problem::new(408, "slow-body", "The body did not arrive in time", detail).into())
            }
        }
    }
}

/// Query parameters, unknown ones refused by name.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => {
                let text = rejection.body_text();
                let detail = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                let (name, reason) = detail.split_once(": ").unwrap_or(("", detail));
                Err(Refusal::invalid(format!("?{name}"), explained(name, reason)))
            }
        }
    }
}

/// A sentence about a query parameter, from what serde says of it.
fn explained(name: &str, reason: &str) -> String {
    if name.is_empty() {
        return format!("query parameters: {reason}");
    }
    match reason.split_once(", expected ") {
        Some((said, known)) if said.starts_with("unknown field") => {
            let words = known.split('`').skip(1).step_by(2);
            match suggest::nearest(name, words, 1).first() {
                Some(near) => format!("there is no query parameter {name:?}; did you mean {near:?}?"),
                None => format!("there is no query parameter {name:?}; it takes {known}"),
            }
        }
        _ => format!("query parameter {name}: {reason}"),
    }
}

/// A query parameter that counts.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|_| D::Error::custom(format!("must be a whole number, not {text:?}")))
}

/// The segment `{queue}`.
pub(crate) struct InQueue(pub(crate) QueueName);

impl<S: Send + Sync> FromRequestParts<S> for InQueue {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(name) = Path::<String>::from_request_parts(parts, state).await.map_err(|error| bad_path(&error))?;
        Ok(Self(queue_name(name)?))
    }
}

/// The segments `{queue}` and `{id}`.
pub(crate) struct OneTask(pub(crate) QueueName, pub(crate) TaskId);

impl<S: Send + Sync> FromRequestParts<S> for OneTask {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path((name, id)) =
            Path::<(String, String)>::from_request_parts(parts, state).await.map_err(|error| bad_path(&error))?;
        let id = TaskId::new(id).map_err(|error| wrong_segment(&error))?;
        Ok(Self(queue_name(name)?, id))
    }
}

fn queue_name(name: String) -> Result<QueueName, Refusal> {
    QueueName::new(name).map_err(|error| wrong_segment(&error))
}

fn wrong_segment(error: &impl ToString) -> Refusal {
    Problem::new(400, "invalid-request", "The request is not valid", error.to_string()).into()
}

fn bad_path(rejection: &axum::extract::rejection::PathRejection) -> Refusal {
    Problem::new(400, "invalid-request", "The request is not valid", rejection.body_text()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_query_parameter_is_told_with_the_nearest_right_one() {
        let unknown = "unknown field `limt`, expected `queue` or `limit`";
        assert_eq!(explained("limt", unknown), "there is no query parameter \"limt\"; did you mean \"limit\"?");
        let one = "unknown field `zebra`, expected one of `state`, `type`";
        assert_eq!(explained("zebra", one), "there is no query parameter \"zebra\"; it takes one of `state`, `type`");
        let number = "must be a whole number, not \"-1\"";
        assert_eq!(explained("limit", number), "query parameter limit: must be a whole number, not \"-1\"");
    }
}
