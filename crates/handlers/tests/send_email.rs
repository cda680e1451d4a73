//! `send_email`, run as a worker runs it, against a folder and a mail server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use support::{Authority, MailServer};
use tidemill_broker::Broker;
use tidemill_broker::embedded::{SqliteBroker, SqliteOptions};
use tidemill_core::{Backoff, NewTask, QueueName, RequestId, TaskId, TaskType};
use tidemill_executor::{Context, Executor, ExecutorOptions, Handler, HandlerResult, Output, Registry};
use tidemill_handlers::objects::ObjectOptions;
use tidemill_handlers::{SendEmail, SmtpOptions};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long a mail may take that goes through an executor.
const PATIENCE: Duration = Duration::from_secs(30);

fn cx(payload: &str) -> Context {
    let (task, task_type) = (TaskId::new("task/1").unwrap(), TaskType::new("send_email").unwrap());
    Context::detached(task, task_type, payload.to_owned()).0
}

fn sender(options: &SmtpOptions) -> SendEmail {
    SendEmail::new(options, &ObjectOptions::default()).unwrap()
}

async fn to_server(server: &MailServer, payload: &str) -> HandlerResult {
    sender(&SmtpOptions { url: Some(server.url()), ..SmtpOptions::default() }).run(cx(payload)).await
}

async fn to_folder(folder: &Path, payload: &str) -> HandlerResult {
    sender(&SmtpOptions { outbox: folder.to_owned(), ..SmtpOptions::default() }).run(cx(payload)).await
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
    let mut server = MailServer::plain();
    let payload = r#"{"to": ["Ada <ada@example.com>", "bob@example.com"], "cc": "cy@example.com", "bcc": "eve@example.com",
        "subject": "Größe: 5 ≠ 6", "text": ".dot\nplain", "html": "<b>fat</b>", "reply_to": "desk@example.com",
        "from": "Mill <mill@example.com>"}"#;
    let result = to_server(&server, payload).await.unwrap();
    assert_eq!(result, Output::json(&json!({"reply": "taken as 42"})).unwrap());
    let mail = server.taken();
    assert_eq!(mail.from, "mill@example.com");
    assert_eq!(mail.to, ["ada@example.com", "bob@example.com", "cy@example.com", "eve@example.com"]);
    for (header, value) in [
        ("from", "Mill <mill@example.com>"),
        ("to", "Ada <ada@example.com>, bob@example.com"),
        ("cc", "cy@example.com"),
        ("reply-to", "desk@example.com"),
        ("subject", "Größe: 5 ≠ 6"),
        ("message-id", "<task%2F1.0.default@example.com>"),
    ] {
        assert_eq!(mail.headers[header], value);
    }
    assert!(mail.headers.values().all(|value| !value.contains("eve@example.com")), "blind copies stay blind");
    let parts: Vec<_> = mail.parts.iter().map(|part| (part.kind.as_str(), part.text())).collect();
    assert_eq!(parts, [("text/plain", ".dot\nplain".to_owned()), ("text/html", "<b>fat</b>".to_owned())]);
}

#[tokio::test]
async fn a_server_that_refuses_is_permanent_and_one_that_defers_or_is_away_is_transient() {
    let server = MailServer::plain();
    let error = to_server(&server, r#"{"to": "unknown@example.com", "subject": "x"}"#).await.unwrap_err();
    assert!(error.is_permanent(), "{error}");
    assert_eq!(error.message(), "the mail server refuses the mail: 550 no such mailbox");
    let error = to_server(&server, r#"{"to": "busy@example.com", "subject": "x"}"#).await.unwrap_err();
    assert!(!error.is_permanent(), "{error}");
    assert_eq!(error.message(), "the mail server does not take the mail now: 451 try again later");

    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let handler = sender(&SmtpOptions { url: Some(format!("smtp://{free}")), ..SmtpOptions::default() });
    let error = handler.run(cx(r#"{"to": "a@example.com", "subject": "x"}"#)).await.unwrap_err();
    assert!(!error.is_permanent() && error.message().starts_with("the mail server cannot be used"), "{error}");
}

#[tokio::test]
async fn tls_is_spoken_from_the_start_or_after_starttls_and_only_with_whom_is_trusted() {
    let authority = Authority::new();
    for mode in ["starttls", "implicit"] {
        let mut server = MailServer::encrypted(mode, &authority);
        let payload = r#"{"to": "ada@example.com", "subject": "x", "text": "in secret"}"#;
        let options = SmtpOptions { url: Some(server.url()), ..SmtpOptions::default() };
        let trusting = SmtpOptions { ca_file: Some(authority.file()), ..options.clone() };
        sender(&trusting).run(cx(payload)).await.unwrap();
        let mail = server.taken();
        assert!(mail.encrypted, "{mode}: {mail:?}");
        assert_eq!(mail.parts[0].text().trim_end(), "in secret", "{mode}");

        let error = sender(&options).run(cx(payload)).await.unwrap_err();
        let told = error.message();
        assert!(!error.is_permanent() && told.contains("invalid peer certificate"), "{mode}: {told}");
        if mode == "starttls" {
            let plain = options.url.unwrap().replace(&server.user(), "").replace("?tls=required", "");
            let error = sender(&SmtpOptions { url: Some(plain), ..trusting }).run(cx(payload)).await.unwrap_err();
            assert!(error.message().contains("530"), "nothing is sent in the clear: {error}");
        }
    }
}

#[tokio::test]
async fn an_account_that_is_refused_may_be_mended_while_the_mail_waits() {
    let authority = Authority::new();
    let server = MailServer::encrypted("starttls", &authority);
    let url = server.url().replace(":secret@", ":wrong@");
    let options = SmtpOptions { url: Some(url), ca_file: Some(authority.file()), ..SmtpOptions::default() };
    let error = sender(&options).run(cx(r#"{"to": "ada@example.com", "subject": "x"}"#)).await.unwrap_err();
    assert!(!error.is_permanent() && error.message().contains("535"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_is_greylisted_is_taken_at_the_second_attempt() {
    let mut server = MailServer::plain();
    let home = tempfile::tempdir().unwrap();
    let store = SqliteBroker::open(SqliteOptions { durable: false, ..SqliteOptions::new(home.path()) }).unwrap();
    let queue = QueueName::new("mails").unwrap();
    let options = ExecutorOptions { slots: 1, create_queue: true, ..ExecutorOptions::new(queue.clone()) };
    store.ensure_queue(&queue, &options.settings).await.unwrap();
    let payload = r#"{"to": "grey@example.com", "subject": "patience", "text": "hello"}"#;
    let mut task = NewTask::new(TaskId::new("m1").unwrap(), TaskType::new("send_email").unwrap(), payload);
    task.retries = Some(3);
    task.backoff = Some(Backoff { initial_ms: 1, max_ms: 1 });
    store.enqueue(&queue, &[task], RequestId([1; 8])).await.unwrap();
    let mut registry = Registry::new();
    let smtp = SmtpOptions { url: Some(server.url()), ..SmtpOptions::default() };
    registry.add("send_email", sender(&smtp)).unwrap();
    let stop = CancellationToken::new();
    let executor = Executor::new(store.clone(), Arc::new(registry), options);
    let running = tokio::spawn(executor.run(stop.clone(), CancellationToken::new()));
    let done = timeout(PATIENCE, async {
        loop {
            let stats = store.stats(&queue).await.unwrap();
            if stats.succeeded == 1 {
                return stats;
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    let stats = done.await.expect("the mail is sent in the end");
    assert_eq!((stats.counters.started, stats.counters.retried), (2, 1));
    assert_eq!(server.taken().to, ["grey@example.com"]);
    stop.cancel();
    timeout(PATIENCE, running).await.expect("the executor ends").unwrap();
}

#[tokio::test]
async fn attachments_arrive_as_they_were_from_objects_and_from_the_payload() {
    let mut server = MailServer::plain();
    let home = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n * 7 + n / 251).to_le_bytes()[0]).collect();
    std::fs::write(home.path().join("data.bin"), &bytes).unwrap();
    let folder = format!("file://{}", home.path().display());
    let objects = ObjectOptions { allow: vec![folder.clone()], ..ObjectOptions::default() };
    let options = SmtpOptions { url: Some(server.url()), ..SmtpOptions::default() };
    let handler = SendEmail::new(&options, &objects).unwrap();
    let payload = json!({
        "to": "ada@example.com", "subject": "files", "text": "see there", "html": "<p>see there</p>",
        "attachments": [
            {"name": "dätä.bin", "url": format!("{folder}/data.bin")},
            {"name": "note.txt", "base64": STANDARD.encode("grün\n.\nend")},
            {"name": "x", "content_type": "application/pdf", "base64": ""},
        ],
    });
    handler.run(cx(&payload.to_string())).await.unwrap();
    let mail = server.taken();
    let kinds: Vec<_> = mail.parts.iter().map(|part| (part.kind.as_str(), part.name.as_deref())).collect();
    assert_eq!(
        kinds,
        [
            ("text/plain", None),
            ("text/html", None),
            ("application/octet-stream", Some("dätä.bin")),
            ("text/plain", Some("note.txt")),
            ("application/pdf", Some("x")),
        ]
    );
    assert_eq!(mail.parts[2].bytes(), bytes);
    assert_eq!(mail.parts[3].bytes(), "grün\n.\nend".as_bytes());
    assert!(mail.parts[4].bytes().is_empty());
}

#[tokio::test]
async fn attachments_that_cannot_be_had_are_refused_for_good() {
    let attach = |attachment: serde_json::Value| {
        json!({"to": "a@example.com", "subject": "x", "attachments": [attachment]}).to_string()
    };
    for (attachment, words) in [
        (
            json!({"name": "a", "url": "file:///etc/passwd"}),
            "payload.attachments[0].url: file:///etc/passwd may not be used",
        ),
        (json!({"name": "a/b", "base64": ""}), "payload.attachments[0].name: \"a/b\" is no name of a file"),
        (json!({"name": "a\r\nb", "base64": ""}), "payload.attachments[0].name: has the control character"),
        (json!({"name": "a"}), "payload.attachments[0]: give either url or base64"),
        (json!({"name": "a", "base64": "?"}), "payload.attachments[0].base64: "),
        (json!({"name": "a", "base64": "", "content_type": "no\r\ntype"}), "payload.attachments[0].content_type: "),
    ] {
        let told = refusal(&attach(attachment)).await;
        assert!(told.starts_with(words), "{told}");
    }
}

#[tokio::test]
async fn a_template_is_filled_with_data_that_is_escaped_in_html() {
    let mut server = MailServer::plain();
    let home = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("welcome.subject", "Welcome, {{ name }}\n"),
        ("welcome.txt", "Dear {{ name }}"),
        ("welcome.html", "<p>Dear {{ name }}</p>"),
    ] {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    let options = SmtpOptions { url: Some(server.url()), templates: home.path().to_owned(), ..SmtpOptions::default() };
    let payload = json!({"to": "ada@example.com", "template": "welcome", "data": {"name": "<script>Ada"}});
    sender(&options).run(cx(&payload.to_string())).await.unwrap();
    let mail = server.taken();
    assert_eq!(mail.headers["subject"], "Welcome, <script>Ada");
    assert_eq!(mail.parts[0].text(), "Dear <script>Ada");
    assert_eq!(mail.parts[1].text(), "<p>Dear &lt;script&gt;Ada</p>");
    for (payload, words) in [
        (
            json!({"to": "a@example.com", "template": "welcome"}),
            "payload.template: welcome.subject, line 1: undefined value",
        ),
        (
            json!({"to": "a@example.com", "template": "../welcome"}),
            "payload.template: \"../welcome\" is not a plain name",
        ),
        (
            json!({"to": "a@example.com", "template": "welcome", "data": {"name": "x\r\nBcc: eve@example.com"}}),
            "payload.subject: has the control character",
        ),
    ] {
        let error = sender(&options).run(cx(&payload.to_string())).await.unwrap_err();
        assert!(error.is_permanent() && error.message().starts_with(words), "{error}");
    }
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
    assert_eq!(refusal(r#"{"to": "a@example.com"}"#).await, "payload: missing field `subject`");
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
        let error = SendEmail::new(&options(url), &ObjectOptions::default()).unwrap_err().to_string();
        assert!(error.starts_with("smtp.url cannot be used") && !error.contains("secret"), "{error}");
    }
    for url in ["smtps://ada:secret@host", "smtp://ada:secret@host?tls=required", "smtp://host:2525"] {
        assert!(SendEmail::new(&options(url), &ObjectOptions::default()).is_ok(), "{url}");
        assert!(!format!("{:?}", options(url)).contains("secret"));
    }
    let from = SmtpOptions { from: "nobody".to_owned(), ..SmtpOptions::default() };
    assert!(
        SendEmail::new(&from, &ObjectOptions::default())
            .unwrap_err()
            .to_string()
            .starts_with("smtp.from \"nobody\" is not an address")
    );
}
