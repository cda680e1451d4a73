//! A handler behind a URL: the payload is posted, and what is answered is the result.
//!
//! The URL is the configuration's, so any address may be connected to; no redirect is followed, and no proxy is asked.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use tidemill_executor::handler::RESULT_MAX_BYTES;
use tidemill_executor::{Context, Handler, HandlerError, HandlerResult, OrFail, Output, async_trait};
use tokio::time::timeout;

use crate::web::{Body, WebError, client, failed, failure, read, repetition, without_query};

/// How long an answer may take where neither the configuration nor the task says less: as long as a task may take.
const TIMEOUT: Duration = Duration::from_millis(tidemill_core::policy::TIMEOUT_MS_MAX);

/// The headers of a request, beside the usual ones.
const TASK_ID: HeaderName = HeaderName::from_static("tidemill-task-id");
const TASK_TYPE: HeaderName = HeaderName::from_static("tidemill-task-type");
const QUEUE: HeaderName = HeaderName::from_static("tidemill-queue");
const ATTEMPT: HeaderName = HeaderName::from_static("tidemill-attempt");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A URL that cannot serve a type.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It is not one, or not of HTTP. It is not shown, since it may hold a password.
    #[error("url: {0}; it has the form http://HOST:PORT/PATH or https://…")]
    Url(String),
    /// HTTP cannot be set up.
    #[error(transparent)]
    Web(#[from] WebError),
}

/// Posts payloads to a URL.
#[derive(Debug)]
pub struct Remote {
    client: Client,
    url: Url,
    timeout: Duration,
}

impl Remote {
    /// Checks `url`; connects to nothing. An answer may take `timeout` at most.
    pub fn new(url: &str, timeout: Option<Duration>) -> Result<Self, RemoteError> {
        let url = Url::parse(url).map_err(|error| RemoteError::Url(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(RemoteError::Url(format!("{}: is not spoken here", url.scheme())));
        }
        Ok(Self { client: client()?, url, timeout: timeout.unwrap_or(TIMEOUT) })
    }

    async fn ask(&self, cx: &Context) -> HandlerResult {
        let request = self.client.post(self.url.clone()).headers(headers(cx)?).body(cx.payload_bytes().clone());
        let response = request.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        // One more than is kept, so that more can be told from enough.
        let body = read(response, RESULT_MAX_BYTES + 1).await?;
        if status.is_success() { result(&body) } else { Err(failure(&self.shown(), status, &headers, &body)) }
    }

    fn shown(&self) -> String {
        let mut url = self.url.clone();
        // Refused only where there is no host, and then there is no user either.
        if url.set_username("").and_then(|()| url.set_password(None)).is_err() {
            return "the handler's URL".to_owned();
        }
        without_query(&url)
    }
}

#[async_trait]
impl Handler for Remote {
    async fn run(&self, cx: Context) -> HandlerResult {
        tokio::select! {
            biased;
            () = cx.cancelled() => Err(HandlerError::transient("told to end before the answer came")),
            done = timeout(self.timeout, self.ask(&cx)) => done.unwrap_or_else(|_| {
                let (url, limit) = (self.shown(), self.timeout.as_millis());
                Err(HandlerError::transient(format!("{url} had not answered after {limit} ms")))
            }),
        }
    }
}

fn headers(cx: &Context) -> Result<HeaderMap, HandlerError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ATTEMPT, cx.attempt().into());
    let texts = [
        (TASK_ID, visible(cx.task().as_str())),
        (TASK_TYPE, visible(cx.task_type().as_str())),
        (QUEUE, visible(cx.queue().as_str())),
        (IDEMPOTENCY_KEY, repetition(cx)),
    ];
    let traceparent = cx.traceparent().map(|text| (TRACEPARENT, visible(text)));
    for (name, text) in texts.into_iter().chain(traceparent) {
        headers.insert(name, text.parse::<HeaderValue>().or_permanent()?);
    }
    Ok(headers)
}

/// A text as a header can hold it: what is not visible ASCII is percent-encoded, and so is the percent sign.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for byte in text.bytes() {
        // Writing to a String cannot fail.
        if byte.is_ascii_graphic() && byte != b'%' {
            visible.push(char::from(byte));
        } else {
            write!(visible, "%{byte:02X}").ok();
        }
    }
    visible
}

fn result(body: &Body) -> HandlerResult {
    if !body.whole || body.bytes.len() > RESULT_MAX_BYTES {
        let text = format!("the answer has more bytes than a result may have, which is {RESULT_MAX_BYTES}");
        return Err(HandlerError::permanent(text));
    }
    if body.bytes.is_empty() {
        return Ok(Output::NONE);
    }
    match body.value() {
        (_, true) => Err(HandlerError::permanent("the answer is neither JSON nor text")),
        (value, false) => Output::json(&value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_holds_any_id_and_begins_no_other() {
        assert_eq!(visible("order:7/a b"), "order:7/a%20b");
        assert_eq!(visible("100% é\r\nX: y"), "100%25%20%C3%A9%0D%0AX:%20y");
    }
}
