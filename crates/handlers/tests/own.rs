//! A type of one's own behind a URL, as a worker runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

#[path = "support/web.rs"]
mod web;

use std::time::Duration;

use serde_json::{Value, json};
use tidemill_core::{TaskId, TaskType};
use tidemill_executor::{Context, Handler, HandlerError};
use tidemill_handlers::Remote;
use tokio::time::timeout;
use web::WebServer;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

async fn post(url: &str, limit: Option<Duration>) -> Result<Option<Value>, HandlerError> {
    let (task, task_type) = (TaskId::new("order/7 é").unwrap(), TaskType::new("image:resize").unwrap());
    let cx = Context::detached(task, task_type, r#"{"n": 1.10}"#).0;
    let output = timeout(LIMIT, Remote::new(url, limit).unwrap().run(cx)).await.expect("a request ends")?;
    Ok(output.as_json().map(|json| serde_json::from_slice(json).unwrap()))
}

#[tokio::test]
async fn the_payload_is_posted_as_it_came_and_the_answer_is_the_result() {
    let server = WebServer::start().await;
    assert_eq!(post(&server.url("/json?a=b"), None).await.unwrap(), Some(json!({"ok": [1, 2]})));
    let asked = server.only();
    assert_eq!((asked.method.as_str(), asked.uri.to_string().as_str()), ("POST", "/json?a=b"));
    assert_eq!(asked.body, r#"{"n": 1.10}"#, "to the byte");
    let headers = ["content-type", "tidemill-task-id", "tidemill-task-type", "tidemill-queue", "tidemill-attempt"];
    let expected = ["application/json", "order/7%20%C3%A9", "image:resize", "default", "1"];
    assert_eq!(headers.map(|name| asked.header(name)), expected);
    assert_eq!(asked.header("idempotency-key"), "default~order%2F7%20%C3%A9~0");
    assert_eq!(post(&server.url("/text"), None).await.unwrap(), Some(json!("plain")));
    assert_eq!(post(&server.url("/none"), None).await.unwrap(), None);
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn its_statuses_are_judged_like_those_of_http_request() {
    let server = WebServer::start().await;
    let error = post(&server.url("/wait/3"), None).await.unwrap_err();
    assert_eq!((error.is_permanent(), error.wait()), (false, Some(Duration::from_secs(3))));
    for (path, permanent) in
        [("/status/500", false), ("/status/429", false), ("/status/400", true), ("/to?/text", true)]
    {
        let error = post(&server.url(path), None).await.unwrap_err();
        assert_eq!(error.is_permanent(), permanent, "{error}");
    }
    let error = post(&server.url("/large"), None).await.unwrap_err();
    assert!(error.is_permanent() && error.message().contains("which is 262144"), "{error}");
    let error = post(&server.url("/bytes"), None).await.unwrap_err();
    assert_eq!(error.message(), "the answer is neither JSON nor text");
    let error = post(&server.url("/slow"), Some(Duration::from_millis(50))).await.unwrap_err();
    assert!(!error.is_permanent() && error.message().ends_with("/slow had not answered after 50 ms"), "{error}");
}

#[test]
fn a_url_that_cannot_serve_is_refused_without_being_shown() {
    for url in ["nonsense hunter2", "ftp://u:hunter2@h/", "unix:/hunter2"] {
        let said = Remote::new(url, None).unwrap_err().to_string();
        assert!(said.starts_with("url: ") && said.contains("http://HOST") && !said.contains("hunter2"), "{said}");
    }
}
