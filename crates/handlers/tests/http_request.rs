//! `http_request` as a worker runs it, against a server on the loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

#[path = "support/web.rs"]
mod web;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tidemill_core::{TaskId, TaskType};
use tidemill_executor::{Context, Handler, HandlerError};
use tidemill_handlers::{HttpRequest, HttpRequestOptions};
use tokio::time::timeout;
use web::WebServer;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

fn cx(payload: &Value) -> Context {
    let task_type = TaskType::new("http_request").unwrap();
    Context::detached(TaskId::new("order/7").unwrap(), task_type, payload.to_string()).0
}

/// What may be reached in these tests: this machine, by number.
fn here(allow: &[&str], secrets: Option<&Path>) -> HttpRequest {
    HttpRequest::new(&HttpRequestOptions {
        allow: allow.iter().map(|&text| text.to_owned()).collect(),
        allow_private: vec!["127.0.0.1".to_owned()],
        secrets: secrets.map(Path::to_owned),
    })
    .unwrap()
}

async fn run(handler: &HttpRequest, payload: Value) -> Result<Value, HandlerError> {
    let output = timeout(LIMIT, handler.run(cx(&payload))).await.expect("a request ends")?;
    Ok(serde_json::from_slice(output.as_json().expect("a request leaves a result")).unwrap())
}

async fn refusal(handler: &HttpRequest, payload: Value) -> String {
    let error = run(handler, payload).await.unwrap_err();
    assert!(error.is_permanent(), "{error}");
    error.message().to_owned()
}

fn secrets(pairs: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in pairs {
        std::fs::write(folder.path().join(name), value).unwrap();
    }
    folder
}

#[tokio::test]
async fn a_request_arrives_as_described_and_its_answer_is_kept() {
    let server = WebServer::start().await;
    let payload = json!({
        "method": "PUT", "url": server.url("/json?a=1"), "headers": {"X-Kind": "order"}, "body": {"n": 1.10, "s": "é"},
    });
    let result = run(&here(&[], None), payload).await.unwrap();
    assert_eq!(result["status"], 200);
    assert_eq!(result["body"], json!({"ok": [1, 2]}));
    assert_eq!(result["headers"]["content-type"], "application/json");
    assert!(result["headers"]["date"].is_string() && result.get("truncated").is_none());
    let asked = server.only();
    assert_eq!((asked.method.as_str(), asked.uri.to_string().as_str()), ("PUT", "/json?a=1"));
    assert_eq!(asked.body, r#"{"n":1.1,"s":"é"}"#);
    assert_eq!((asked.header("x-kind"), asked.header("content-type")), ("order", "application/json"));
    assert_eq!(asked.header("idempotency-key"), "default~order%2F7~0");
    assert!(asked.header("user-agent").starts_with("tidemill/"));
}

#[tokio::test]
async fn a_body_may_be_text_or_nothing_and_an_answer_text_bytes_or_too_much() {
    let server = WebServer::start().await;
    let here = here(&[], None);
    let result = run(&here, json!({"url": server.url("/bytes"), "body_text": "<a/>"})).await.unwrap();
    assert_eq!(result["body_base64"], "//4=");
    let result = run(&here, json!({"url": server.url("/text"), "method": "GET"})).await.unwrap();
    assert_eq!(result["body"], "plain");
    let result = run(&here, json!({"url": server.url("/none"), "method": "HEAD"})).await.unwrap();
    assert_eq!((&result["status"], result.get("body")), (&json!(204), None));
    // Each of these characters takes six in JSON: a result holds a part of them, and says so.
    let result = run(&here, json!({"url": server.url("/large")})).await.unwrap();
    assert_eq!(result["truncated"], true);
    let kept = result["body"].as_str().unwrap().len();
    assert!((20_000..60_000).contains(&kept), "{kept}");
    let asked = server.asked();
    assert_eq!((asked[0].body.as_ref(), asked[0].header("content-type")), (&b"<a/>"[..], "text/plain; charset=utf-8"));
    assert_eq!((asked[1].body.len(), asked[1].header("content-type")), (0, ""));
}

#[tokio::test]
async fn statuses_are_judged_and_retry_after_is_honoured() {
    let server = WebServer::start().await;
    let here = here(&[], None);
    for status in [408, 425, 429, 500, 503] {
        let error = run(&here, json!({"url": server.url(&format!("/status/{status}?token=x"))})).await.unwrap_err();
        assert!(!error.is_permanent() && error.wait().is_none(), "{error:?}");
        assert!(
            error
                .message()
                .starts_with(&format!("POST {} answered {status} ", server.url(&format!("/status/{status}"))))
        );
    }
    let error = run(&here, json!({"url": server.url("/wait/7")})).await.unwrap_err();
    assert_eq!((error.is_permanent(), error.wait()), (false, Some(Duration::from_secs(7))));
    let error = run(&here, json!({"url": server.url("/wait/86400000")})).await.unwrap_err();
    assert_eq!(error.wait(), Some(Duration::from_hours(1)), "nobody parks a task for years");
    let said = refusal(&here, json!({"url": server.url("/status/404")})).await;
    assert!(said.ends_with("/status/404 answered 404 Not Found: status 404"), "{said}");
    let result = run(&here, json!({"url": server.url("/status/404"), "success": ["200-299", 404]})).await.unwrap();
    assert_eq!(result["status"], 404);
    assert!(refusal(&here, json!({"url": server.url("/none"), "success": [200]})).await.contains("204 No Content"));
}

#[tokio::test]
async fn a_network_that_fails_is_transient_and_so_is_a_server_that_is_slow() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let here = here(&[], None);
    let error = run(&here, json!({"url": format!("http://{free}/?token=hunter2")})).await.unwrap_err();
    assert!(!error.is_permanent() && !error.message().contains("hunter2"), "{error}");
    let error = run(&here, json!({"url": "http://no-such-host.invalid/"})).await.unwrap_err();
    assert!(!error.is_permanent(), "{error}");
    let server = WebServer::start().await;
    let error = run(&here, json!({"url": server.url("/slow"), "timeout_ms": 50})).await.unwrap_err();
    assert!(!error.is_permanent() && error.message().ends_with("had not answered after 50 ms"), "{error}");
    let payload = json!({"url": server.url("/slow")});
    let (cx, stop) =
        Context::detached(TaskId::new("a").unwrap(), TaskType::new("http_request").unwrap(), payload.to_string());
    stop.cancel();
    let error = timeout(LIMIT, here.run(cx)).await.unwrap().unwrap_err();
    assert_eq!(error.message(), "told to end before the answer came");
}

#[tokio::test]
async fn what_was_answered_counts_also_where_its_body_breaks_off_or_never_ends() {
    let server = WebServer::start().await;
    let here = here(&[], None);
    for (path, timeout_ms) in [("/endless", 500), ("/broken", 20_000)] {
        let result = run(&here, json!({"url": server.url(path), "timeout_ms": timeout_ms})).await.unwrap();
        assert_eq!((&result["status"], &result["truncated"]), (&json!(200), &json!(true)), "{path}: {result}");
    }
    let result = run(&here, json!({"url": server.url("/endless"), "timeout_ms": 500})).await.unwrap();
    assert_eq!(result["body"], "part");
    let error = run(&here, json!({"url": server.url("/endless/503"), "timeout_ms": 500})).await.unwrap_err();
    assert!(!error.is_permanent() && error.message().ends_with("answered 503 Service Unavailable: part"), "{error}");
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn signatures_are_verified_by_their_receivers() {
    let server = WebServer::start().await;
    let key = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let folder = secrets(&[("hook", key), ("plain", "grist\n")]);
    let here = here(&[], Some(folder.path()));
    let signed = |signature: Value| json!({"url": server.url("/"), "body": {"order": 7}, "signature": signature});
    run(&here, signed(json!({"kind": "standard-webhooks", "secret": "hook"}))).await.unwrap();
    run(&here, signed(json!({"kind": "hmac-sha256", "secret": "plain"}))).await.unwrap();
    run(&here, signed(json!({"kind": "hmac-sha256", "secret": "plain", "header": "X-Hub-Signature-256"})))
        .await
        .unwrap();
    let asked = server.asked();
    let receiver = Webhook::new(key).unwrap();
    receiver.verify(&asked[0].body, &asked[0].headers).unwrap();
    assert!(receiver.verify(b"{\"order\":8}", &asked[0].headers).is_err());
    assert_eq!(asked[0].header("webhook-id"), "default~order%2F7~0", "the same in each attempt");
    // printf '{"order":7}' | openssl dgst -sha256 -hmac grist
    let expected = "sha256=7491d8692c27f687d74805b0794d502280c20a5596c8decbac572d7e205b7a5c";
    assert_eq!((asked[1].header("x-signature"), asked[2].header("x-hub-signature-256")), (expected, expected));

    let wrong = [
        (json!({"kind": "standard-webhooks", "secret": "plain"}), "is not one of Standard Webhooks"),
        (json!({"kind": "hmac-sha256", "secret": "../hook"}), "is not a name of a secret"),
        (json!({"kind": "hmac-sha256", "secret": "other"}), "cannot be read"),
        (json!({"kind": "hmac-sha256", "secret": "hook", "header": "X\r\nY"}), "is not a name of a header"),
        (json!({"kind": "md5", "secret": "hook"}), "unknown variant `md5`"),
    ];
    for (signature, sentence) in wrong {
        let said = refusal(&here, signed(signature)).await;
        assert!(said.starts_with("payload.signature") && said.contains(sentence), "{said}");
        assert!(!said.contains("grist") && !said.contains("C2FV"), "{said}");
    }
    assert_eq!(server.asked().len(), 3, "what is refused is not sent");
}

#[tokio::test]
async fn secrets_go_only_to_those_who_are_listed() {
    let server = WebServer::start().await;
    let folder = secrets(&[("token", "Bearer hunter2\n"), ("lines", "a\nX-Evil: b")]);
    let payload = |name: &str| json!({"url": server.url("/"), "headers": {"Authorization": {"secret": name}}});
    let said = refusal(&here(&[], Some(folder.path())), payload("token")).await;
    assert!(
        said.starts_with("payload.headers.Authorization: secrets are sent only where http_request.allow"),
        "{said}"
    );
    let listed = here(&["127.0.0.1"], Some(folder.path()));
    run(&listed, payload("token")).await.unwrap();
    assert_eq!(server.only().header("authorization"), "Bearer hunter2");
    let said = refusal(&listed, payload("lines")).await;
    assert_eq!(said, "payload.headers.Authorization: has the character '\\n'; a header's value is one line of ASCII");
}

#[tokio::test]
async fn a_redirect_is_followed_and_takes_no_credentials_to_another_origin() {
    let (first, second) = (WebServer::start().await, WebServer::start().await);
    let folder = secrets(&[("token", "hunter2"), ("key", "grist")]);
    let here = here(&["127.0.0.1"], Some(folder.path()));
    let payload = |path: &str| {
        json!({
            "url": first.url(path), "body": {"a": 1}, "signature": {"kind": "hmac-sha256", "secret": "key"},
            "headers": {"X-Token": {"secret": "token"}, "Authorization": "Basic YTpi", "Cookie": "a=b", "X-Kind": "c"},
        })
    };
    let held = |asked: &web::Asked| {
        ["x-token", "authorization", "cookie", "x-signature"].map(|name| !asked.header(name).is_empty())
    };
    // Within the origin everything goes along, and 302 makes it a GET without a body.
    run(&here, payload("/to?/text")).await.unwrap();
    let asked = first.asked();
    assert_eq!(held(&asked[1]), [true, true, true, false]);
    assert_eq!((asked[1].method.as_str(), asked[1].body.len(), asked[1].header("content-type")), ("GET", 0, ""));
    // To another, the method and the body of a 307 go along, and nothing that is a secret.
    run(&here, payload(&format!("/keep?{}", second.url("/text")))).await.unwrap();
    let there = second.only();
    assert_eq!(held(&there), [false; 4]);
    assert_eq!((there.method.as_str(), there.header("x-kind")), ("POST", "c"));
    assert_eq!(there.body, r#"{"a":1}"#);
    // Nor do they come back with the way back.
    let back = format!("/keep?{}", second.url(&format!("/keep?{}", first.url("/text"))));
    run(&here, payload(&back)).await.unwrap();
    assert_eq!(held(first.asked().last().unwrap()), [false; 4]);
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_may_not_be_asked() {
    let server = WebServer::start().await;
    let here = here(&[], None);
    let targets = [
        "http://127.0.0.2/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2130706434/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "file:///etc/passwd",
        "ftp://a/",
        "http://a:b@127.0.0.1/",
        "//127.0.0.2/x",
        "http://[",
    ];
    for target in targets {
        let error = run(&here, json!({"url": server.url(&format!("/keep?{target}"))})).await.unwrap_err();
        assert!(error.is_permanent(), "{target}: {error}");
    }
    let said = refusal(&here, json!({"url": server.url("/keep?http://127.0.0.2/")})).await;
    assert!(said.contains("/keep: 127.0.0.2 is not a public address"), "{said}");
    let said = refusal(&here, json!({"url": server.url("/circle")})).await;
    assert!(said.ends_with("leads on after 5 redirects"), "{said}");
    let listed = self::here(&[&format!("{}/keep", server.url(""))], None);
    let said = refusal(&listed, json!({"url": server.url("/keep?/text")})).await;
    assert!(said.contains("is not among what http_request.allow admits"), "{said}");
}

/// By a name of this machine rather than by a number: the name resolves, and nothing connects.
#[tokio::test]
async fn a_name_of_a_private_address_is_refused_for_good() {
    let server = WebServer::start().await;
    let open = HttpRequest::new(&HttpRequestOptions::default()).unwrap();
    for host in ["localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.1", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/", server.address.port());
        let error = run(&open, json!({"url": url})).await.unwrap_err();
        assert!(error.is_permanent(), "{url}: {error}");
        assert!(error.message().contains("not a public address; http_request.allow_private can admit it"), "{error}");
    }
    assert!(server.asked().is_empty());
    let named = HttpRequestOptions { allow_private: vec!["localhost".to_owned()], ..HttpRequestOptions::default() };
    let url = format!("http://localhost:{}/", server.address.port());
    run(&HttpRequest::new(&named).unwrap(), json!({"url": url})).await.unwrap();
}

#[tokio::test]
async fn a_header_begins_no_other_and_leaves_the_message_whole() {
    let server = WebServer::start().await;
    let here = here(&[], None);
    let cases = [
        ("X-A", "b\r\nX-Evil: c"),
        ("X-A", "b\nc"),
        ("X-A", "b\0"),
        ("X-A", "é"),
        ("X-A\r\nX-Evil", "b"),
        ("X A", "b"),
        ("", "b"),
        ("X-A:", "b"),
        ("Host", "evil.example"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "close"),
        ("UPGRADE", "h2c"),
        ("Proxy-Authorization", "x"),
        ("TE", "trailers"),
    ];
    for (name, value) in cases {
        let said = refusal(&here, json!({"url": server.url("/"), "headers": {name: value}})).await;
        assert!(said.starts_with(&format!("payload.headers.{name}: ")), "{said}");
    }
    let many: serde_json::Map<String, Value> = (0..65).map(|n| (format!("X-{n}"), "a".into())).collect();
    assert!(refusal(&here, json!({"url": server.url("/"), "headers": many})).await.contains("at most 64"));
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_payload_that_does_not_fit_is_refused_and_the_member_is_named() {
    let here = here(&[], None);
    let cases = [
        (json!({}), "payload: missing field `url`"),
        (json!({"url": "nonsense"}), "payload.url: is not a URL"),
        (json!({"url": "http://a", "method": "CONNECT"}), "payload.method: unknown variant `CONNECT`"),
        (json!({"url": "http://127.0.0.1", "body": 1, "body_text": "x"}), "payload.body_text: there is a body as well"),
        (
            json!({"url": "http://a", "headers": {"A": 1}}),
            "payload.headers.A: expected a text or {\"secret\": \"NAME\"}",
        ),
        (json!({"url": "http://a", "success": ["2xx"]}), "payload.success[0]: a status is a number from 200 to 599"),
        (json!({"url": "http://a", "proxy": "x"}), "payload.proxy: unknown field `proxy`"),
        (json!({"url": "http://a", "timeout_ms": "x"}), "payload.timeout_ms: invalid type"),
    ];
    for (payload, sentence) in cases {
        let said = refusal(&here, payload).await;
        assert!(said.starts_with(sentence), "{said}");
    }
}
