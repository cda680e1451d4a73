//! Requests to a server, and its problems as sentences.

use std::time::Duration;

use serde_json::Value;
use tidemill_core::Problem;
use tidemill_telemetry::traceparent::Traceparent;
use ureq::http::{Method, Request};

use super::Connection;
use crate::exit::{failed, unreachable, usage};

/// How long a connection may take; a server that is there answers at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a whole request may take: a purge of a large queue is the longest.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// Largest answer that is read, in bytes: a page of a thousand tasks with payloads of the usual size is far smaller.
const ANSWER_MAX: u64 = 256 << 20;

/// A server.
pub struct Server {
    agent: ureq::Agent,
    base: String,
    token: Option<String>,
}

impl Server {
    /// The server that the arguments name. Nothing is connected yet.
    pub fn new(connection: &Connection) -> anyhow::Result<Self> {
        let base = connection.server.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(usage(format!("--server {base}: a server is http://HOST:PORT or https://HOST")));
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .user_agent(concat!("tidemill/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.into(), base, token: connection.token.clone() })
    }

    /// Asks for `path`.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(&Method::GET, path, None)
    }

    /// Posts a JSON text, or nothing.
    pub fn post(&self, path: &str, body: Option<String>) -> anyhow::Result<Value> {
        self.send(&Method::POST, path, body)
    }

    /// Deletes `path`.
    pub fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.send(&Method::DELETE, path, None)
    }

    /// The status and text of `path`, whatever they are.
    pub fn probe(&self, path: &str) -> anyhow::Result<(u16, String)> {
        self.exchange(&Method::GET, path, None)
    }

    /// The server's default queue, unless `queue` names one.
    pub fn queue(&self, queue: Option<&str>) -> anyhow::Result<String> {
        if let Some(queue) = queue {
            return Ok(queue.to_owned());
        }
        let info = self.get("/api/v1/info")?;
        info["default_queue"].as_str().map(str::to_owned).ok_or_else(|| self.no_tidemill())
    }

    fn send(&self, method: &Method, path: &str, body: Option<String>) -> anyhow::Result<Value> {
        let (status, text) = self.exchange(method, path, body)?;
        match status {
            204 => Ok(Value::Null),
            200..300 => serde_json::from_str(&text).map_err(|_| self.no_tidemill()),
            _ => Err(failed(refusal(status, &text))),
        }
    }

    fn exchange(&self, method: &Method, path: &str, body: Option<String>) -> anyhow::Result<(u16, String)> {
        let mut request =
            Request::builder().method(method).uri(format!("{}{path}", self.base)).header("accept", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        // Whoever runs this command in a trace finds there what became of it.
        if *method == Method::POST
            && let Some(trace) = std::env::var("TRACEPARENT").ok().filter(|trace| Traceparent::parse(trace).is_some())
        {
            request = request.header("traceparent", trace);
        }
        let wrong = |error: ureq::http::Error| usage(format!("the request cannot be made: {error}"));
        let response = match body {
            Some(body) => self.agent.run(request.header("content-type", "application/json").body(body).map_err(wrong)?),
            None => self.agent.run(request.body(()).map_err(wrong)?),
        };
        let mut response = response.map_err(|error| self.away(&error))?;
        let text = response.body_mut().with_config().limit(ANSWER_MAX).read_to_string();
        Ok((response.status().as_u16(), text.map_err(|error| self.away(&error))?))
    }

    fn away(&self, error: &ureq::Error) -> anyhow::Error {
        let base = &self.base;
        let reason = match error {
            ureq::Error::BadUri(reason) => return usage(format!("--server {base} is no address: {reason}")),
            ureq::Error::Timeout(_) => {
                return unreachable(format!("{base} gave no answer in time; look at its log, or try again"));
            }
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        unreachable(format!(
            "no server answers at {base} ({reason}); start one with `tidemill standalone`, or name another with \
             --server URL or TIDEMILL_SERVER"
        ))
    }

    fn no_tidemill(&self) -> anyhow::Error {
        failed(format!("{} answers, but not as Tidemill does; is it another program's port?", self.base))
    }
}

/// What a server said that refused a request, as sentences with places.
fn refusal(status: u16, text: &str) -> String {
    let Ok(problem) = serde_json::from_str::<Problem>(text) else {
        return match status {
            401 | 403 => format!("the server refused ({status}); give a token with --token or TIDEMILL_TOKEN"),
            _ => format!("the server answered {status}"),
        };
    };
    let hint = if status == 401 { "; give a token with --token or TIDEMILL_TOKEN" } else { "" };
    let mut sentences = vec![format!("{}{hint}", problem.detail)];
    sentences.extend(problem.errors.iter().map(|error| match place(&error.pointer) {
        place if error.detail == problem.detail => format!("  at {place}"),
        place => format!("  at {place}: {}", error.detail),
    }));
    sentences.join("\n")
}

fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "the whole body" } else { pointer }
}

/// A segment of a path, or a value of a query, with all that might mean something escaped.
pub fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_as_sentences_with_places() {
        let problem = Problem::new(400, "bad-body", "Bad body", "the body has 1 fault")
            .at("/task123", "must be a whole number from 0 to 86400000");
        assert_eq!(
            refusal(400, &serde_json::to_string(&problem).unwrap()),
            "the body has 1 fault\n  at /task123: must be a whole number from 0 to 86400000"
        );
        assert_eq!(refusal(502, "<html>"), "the server answered 502");
    }

    #[test]
    fn a_path_segment_is_escaped() {
        assert_eq!(escaped("a/b c?ä"), "a%2Fb%20c%3F%C3%A4");
    }
}
