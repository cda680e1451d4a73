//! The built-in handlers, run as a worker runs them, against a folder and a mail server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

mod support;

use std::path::Path;
use std::time::Duration;

use support::Server;
use tidemill_core::{TaskId, TaskType};
use tidemill_executor::{Context, Handler, HandlerError, HandlerResult, Output};
use tidemill_handlers::{SendEmail, Sleep, SmtpOptions};
use tokio::time::Instant;

fn cx(payload: &str) -> Context {
    let (task, task_type) = (TaskId::new("task/1").unwrap(), TaskType::new("send_email").unwrap());
    Context::detached(task, task_type, payload.to_owned()).0
}

async fn to_server(server: &Server, payload: &str) -> HandlerResult {
    let options = SmtpOptions { url: Some(server.url.clone()), ..SmtpOptions::default() };
    SendEmail::new(&options).unwrap().run(cx(payload)).await
}

async fn to_folder(folder: &Path, payload: &str) -> HandlerResult {
    let options = SmtpOptions { outbox: folder.to_owned(), ..SmtpOptions::default() };
    SendEmail::new(&options).unwrap().run(cx(payload)).await
}

async fn refusal(payload: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let error = to_folder(home.path(), payload).await.unwrap_err();
    assert!(error.is_permanent(), "{error}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    error.message().to_owned()
}

#[tokio::test]
async fn a_mail_reaches_the_server_with_all_of_its_recipients_and_parts() {
    let server = Server::start().await;
    let payload = r#"{"to": ["Ada <ada@example.com>", "bob@example.com"], "cc": "cy@example.com", "bcc": "eve@example.com",
        "subject": "Größe: 5 ≠ 6", "text": ".dot\nplain", "html": "<b>fat</b>", "reply_to": "desk@example.com",
        "from": "Mill <mill@example.com>"}"#;
    let result = to_server(&server, payload).await.unwrap();
    assert_eq!(result, Output::json(&serde_json::json!({"reply": "taken as 42"})).unwrap());
    let taken = server.taken.lock().unwrap().clone();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].from, "mill@example.com");
    assert_eq!(taken[0].to, ["ada@example.com", "bob@example.com", "cy@example.com", "eve@example.com"]);
    let data = &taken[0].data;
    for part in ["Reply-To: desk@example.com", "multipart/alternative", "<b>fat</b>", "\n.dot", "To: Ada <ada@"] {
        assert!(data.contains(part), "{part} in {data}");
    }
    assert!(!data.contains("eve@example.com"), "blind copies stay blind: {data}");
    assert!(data.contains("Message-ID: <task%2F1.0.default@example.com>"), "{data}");
}

#[tokio::test]
async fn a_server_that_refuses_is_permanent_and_one_that_defers_or_is_away_is_transient() {
    let server = Server::start().await;
    let error = to_server(&server, r#"{"to": "unknown@example.com", "subject": "x"}"#).await.unwrap_err();
    assert!(error.is_permanent(), "{error}");
    assert_eq!(error.message(), "the mail server refuses the mail: 550 no such mailbox");
    let error = to_server(&server, r#"{"to": "busy@example.com", "subject": "x"}"#).await.unwrap_err();
    assert!(!error.is_permanent(), "{error}");
    assert_eq!(error.message(), "the mail server does not take the mail now: 451 try again later");
    assert!(server.taken.lock().unwrap().is_empty());

    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let options = SmtpOptions { url: Some(format!("smtp://{free}")), ..SmtpOptions::default() };
    let handler = SendEmail::new(&options).unwrap();
    let error = handler.run(cx(r#"{"to": "a@example.com", "subject": "x"}"#)).await.unwrap_err();
    assert!(!error.is_permanent() && error.message().starts_with("the mail server cannot be used"), "{error}");
}

#[tokio::test]
async fn without_a_server_a_mail_becomes_a_file_and_a_repetition_the_same_file() {
    let home = tempfile::tempdir().unwrap();
    let payload = r#"{"to": "ada@example.com", "subject": "hello", "body": "good day"}"#;
    to_folder(home.path(), payload).await.unwrap();
    to_folder(home.path(), payload).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(files[0].file_name(), "19700101T000000.000Z-task%2F1.eml");
    let letter = std::fs::read_to_string(files[0].path()).unwrap();
    for part in ["From: tidemill@localhost", "To: ada@example.com", "Subject: hello", "good day", "Date: "] {
        assert!(letter.contains(part), "{part} in {letter}");
    }
}

#[tokio::test]
async fn a_bad_payload_is_refused_for_good_and_says_where() {
    assert!(refusal(r#"{"subject": "x"}"#).await.starts_with("payload: missing field `to`"));
    assert!(refusal(r#"{"to": "a@example.com"}"#).await.starts_with("payload: missing field `subject`"));
    assert_eq!(refusal(r#"{"to": [], "subject": "x"}"#).await, "payload.to: names nobody");
    assert_eq!(
        refusal(r#"{"to": "nobody", "subject": "x"}"#).await,
        "payload.to: \"nobody\" is not an address such as ada@example.com"
    );
    assert!(refusal(r#"{"to": 5, "subject": "x"}"#).await.starts_with("payload.to: expected an address or a list"));
}

#[tokio::test]
async fn a_line_break_begins_no_header() {
    let subject = refusal(r#"{"to": "a@example.com", "subject": "x\r\nBcc: eve@example.com"}"#).await;
    assert_eq!(subject, "payload.subject: has the control character '\\r'; use one line");
    for member in ["to", "cc", "bcc", "reply_to", "from"] {
        let mut payload = serde_json::json!({"to": "a@example.com", "subject": "x"});
        payload[member] = "\"a\nBcc: eve@example.com\" <a@example.com>".into();
        assert!(refusal(&payload.to_string()).await.starts_with(&format!("payload.{member}: has the control")));
    }
}

#[test]
fn options_that_cannot_work_are_refused_without_showing_a_password() {
    let options = |url: &str| SmtpOptions { url: Some(url.to_owned()), ..SmtpOptions::default() };
    for url in ["http://ada:secret@host", "smtp://ada:secret@", "nonsense secret", "smtp://ada:secret@host?tls=maybe"] {
        let error = SendEmail::new(&options(url)).unwrap_err().to_string();
        assert!(error.starts_with("smtp.url cannot be used") && !error.contains("secret"), "{error}");
    }
    for url in ["smtps://ada:secret@host", "smtp://ada:secret@host?tls=required", "smtp://host:2525"] {
        assert!(SendEmail::new(&options(url)).is_ok(), "{url}");
        assert!(!format!("{:?}", options(url)).contains("secret"));
    }
    let from = SmtpOptions { from: "nobody".to_owned(), ..SmtpOptions::default() };
    assert!(SendEmail::new(&from).unwrap_err().to_string().starts_with("smtp.from \"nobody\" is not an address"));
}

#[tokio::test(start_paused = true)]
async fn a_sleep_takes_its_time_and_ends_early_when_told() {
    let before = Instant::now();
    Sleep.run(cx(r#"{"duration_ms": 2500}"#)).await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_millis(2_500));

    let (cx, stop) = Context::detached(TaskId::new("a").unwrap(), TaskType::sleep(), r#"{"duration_ms": 60000}"#);
    let sleeping = tokio::spawn(async move { Sleep.run(cx).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    let error = sleeping.await.unwrap().unwrap_err();
    assert_eq!(error, HandlerError::transient("told to end before the time was up"));
}

#[tokio::test]
async fn a_sleep_longer_than_a_day_is_refused_for_good() {
    let error = Sleep.run(cx(r#"{"duration_ms": 86400001}"#)).await.unwrap_err();
    assert!(error.is_permanent());
    assert!(Sleep.run(cx(r#"{"duration_ms": -1}"#)).await.unwrap_err().is_permanent());
}
