//! `http_request`: sends a request, and keeps what was answered.
//!
//! What comes with a payload is not trusted: only public addresses are connected to unless the configuration admits more
//! (see `web/guard.rs`), each redirect is looked at like the first URL, and secrets are named in payloads but kept in a
//! folder of the worker.

mod payload;
mod prepared;
mod secrets;
mod signature;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Client, Response, StatusCode};
use schemars::schema_for;
use serde_json::{Map, Value, json};
use tidemill_executor::handler::RESULT_MAX_BYTES;
use tidemill_executor::{Context, Handler, HandlerError, HandlerResult, Output, async_trait};
use tokio::time::{Instant, timeout_at};

use crate::BuiltIn;
use crate::web::{Body, Guard, WebError, failed, failure, guarded_client, without_query};
use payload::Payload;
use prepared::Prepared;
use secrets::Secrets;

/// Redirects that are followed: more are a circle, or a maze.
const REDIRECTS_MAX: u32 = 5;
/// Headers of an answer that are kept: what tells where something is, which version it has, and by which id the server's
/// people find it.
const KEPT: [&str; 8] =
    ["content-type", "date", "etag", "last-modified", "location", "request-id", "retry-after", "x-request-id"];
/// Longest value of a header that is kept, in bytes.
const KEPT_VALUE_MAX: usize = 1024;

/// How it is described and added.
pub(crate) const TYPE: BuiltIn = BuiltIn {
    name: "http_request",
    summary: "Sends an HTTP request, signed where the payload asks for it, and keeps what was answered.",
    doc: "Only public addresses are connected to, whatever a name resolves to and wherever a redirect leads, and only what \
          `http_request.allow` lists where it lists something; `http_request.allow_private` admits private addresses. \
          Secrets are named in the payload and kept in the folder `http_request.secrets`; as headers they are sent only \
          where `http_request.allow` says to whom. Statuses 408, 425, 429 and 5xx and a network that fails are tried again, \
          after the time of `Retry-After` (an hour at most) where the server says one; other statuses that are no success, \
          a refused address and a malformed payload are permanent errors. At most 5 redirects are followed; credentials do \
          not go along to another origin. Each request has an `Idempotency-Key` that is the same in every attempt, and the \
          task's `traceparent`. The result is the status, some headers, and the body as far as 256 KiB hold it.",
    example: r#"{"url": "https://example.org/hooks/orders", "body": {"order": 7}}"#,
    payload: || schema_for!(Payload),
    add: |registry, options| Ok(registry.add("http_request", HttpRequest::new(&options.http_request)?).map(drop)?),
};

/// What requests may do.
#[derive(Debug, Clone, Default)]
pub struct HttpRequestOptions {
    /// Hosts and beginnings of URLs that may be asked: `example.org`, `*.example.org`, `example.org:8443`,
    /// `https://example.org/hooks/`. Empty: every host that has a public address.
    pub allow: Vec<String>,
    /// Hosts and networks whose private addresses may be connected to: `10.1.0.0/16`, `hooks.shop.svc`.
    pub allow_private: Vec<String>,
    /// The folder of secrets, a file each.
    pub secrets: Option<PathBuf>,
}

/// Sends the request that the payload describes.
#[derive(Debug)]
pub struct HttpRequest {
    client: Client,
    guard: Arc<Guard>,
    secrets: Secrets,
}

impl HttpRequest {
    /// Checks `options`; connects to nothing.
    pub fn new(options: &HttpRequestOptions) -> Result<Self, WebError> {
        let guard = Arc::new(Guard::new(&options.allow, &options.allow_private)?);
        let client = guarded_client(Arc::clone(&guard))?;
        Ok(Self { client, guard, secrets: Secrets::new(options.secrets.clone()) })
    }

    async fn ask(&self, mut asked: Prepared, time: Time) -> HandlerResult {
        let mut redirects = 0;
        loop {
            let request = self.client.request(asked.method.clone(), asked.url.clone()).headers(asked.headers.clone());
            let request = match &asked.body {
                Some(body) => request.body(body.clone()),
                None => request,
            };
            let sent = timeout_at(time.until, request.send()).await;
            let response = sent.map_err(|_| time.is_up(&asked))?.map_err(failed)?;
            let success = asked.success.holds(response.status());
            let next = response.headers().get(LOCATION).filter(|_| !success && is_redirect(response.status()));
            let Some(next) = next else { return answered(&asked, success, response, time).await };
            redirects += 1;
            if redirects > REDIRECTS_MAX {
                let text = format!("{} leads on after {REDIRECTS_MAX} redirects", without_query(&asked.url));
                return Err(HandlerError::permanent(text));
            }
            let next = next.to_str().ok().and_then(|text| asked.url.join(text).ok());
            let Some(next) = next else {
                let text = format!("{} redirects to what is not a URL", without_query(&asked.url));
                return Err(HandlerError::permanent(text));
            };
            self.guard.check(&next).map_err(|refused| {
                HandlerError::permanent(format!("a redirect of {}: {refused}", without_query(&asked.url)))
            })?;
            asked.redirect(response.status(), next);
        }
    }
}

#[async_trait]
impl Handler for HttpRequest {
    async fn run(&self, cx: Context) -> HandlerResult {
        let payload: Payload = cx.payload()?;
        let limit = payload.timeout();
        let asked = Prepared::new(payload, &cx, &self.guard, &self.secrets).await?;
        tokio::select! {
            biased;
            () = cx.cancelled() => Err(HandlerError::transient("told to end before the answer came")),
            done = self.ask(asked, Time { limit, until: Instant::now() + limit }) => done,
        }
    }
}

/// The time that a request has in all.
#[derive(Debug, Clone, Copy)]
struct Time {
    limit: Duration,
    until: Instant,
}

impl Time {
    fn is_up(self, asked: &Prepared) -> HandlerError {
        HandlerError::transient(format!("{} had not answered after {} ms", shown(asked), self.limit.as_millis()))
    }
}

fn shown(asked: &Prepared) -> String {
    format!("{} {}", asked.method, without_query(&asked.url))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

async fn answered(asked: &Prepared, success: bool, mut response: Response, time: Time) -> HandlerResult {
    let (status, headers) = (response.status(), response.headers().clone());
    // The status says what was done, even where the body breaks off or does not end: nothing is repeated for that.
    let mut body = Body::before(&response);
    let read = timeout_at(time.until, body.read(&mut response, RESULT_MAX_BYTES)).await;
    match read {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(request = shown(asked), %status, %error, "the body of an answer broke off"),
        Err(_) => {
            let limit_ms = u64::try_from(time.limit.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(request = shown(asked), %status, limit_ms, "the body of an answer did not end in time");
        }
    }
    if success {
        return result(status, &headers, body);
    }
    Err(failure(&shown(asked), status, &headers, &body))
}

/// What is kept of an answer: all of the body where there is room, else its beginning, and a mark that says so.
fn result(status: StatusCode, headers: &HeaderMap, mut body: Body) -> HandlerResult {
    let kept: Map<String, Value> = KEPT
        .iter()
        .filter_map(|&name| Some((name, headers.get(name)?.to_str().ok()?)))
        .filter(|(_, value)| value.len() <= KEPT_VALUE_MAX)
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let mut limit = body.bytes.len();
    loop {
        let mut result = json!({ "status": status.as_u16(), "headers": kept });
        if !body.bytes.is_empty() {
            let (value, encoded) = body.value();
            result[if encoded { "body_base64" } else { "body" }] = value;
        }
        if !body.whole {
            result["truncated"] = true.into();
        }
        match Output::json(&result) {
            // Escapes and base64 take more room than what they stand for.
            Err(_) if limit > 0 => {
                limit /= 2;
                body = body.cut(limit);
            }
            output => return output,
        }
    }
}
