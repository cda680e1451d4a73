//! Objects on web servers and in folders, as handlers use them. Those of S3 are in `objects_s3.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use futures::StreamExt;
use tidemill_core::{TaskId, TaskType};
use tidemill_executor::{Context, HandlerError};
use tidemill_handlers::objects::{ObjectOptions, Objects};
use tokio::task::JoinHandle;

/// A web server with an answer for each name.
struct Web {
    at: SocketAddr,
    put: Arc<Mutex<Vec<(String, String, Bytes)>>>,
    task: JoinHandle<()>,
}

impl Web {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, put) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&put);
        let keep = move |Path(name): Path<String>, headers: HeaderMap, body: Bytes| async move {
            match name.as_str() {
                "moved" => return Redirect::temporary("/out/secret").into_response(),
                "full" => return StatusCode::INSUFFICIENT_STORAGE.into_response(),
                _ => {}
            }
            let kind = headers["content-type"].to_str().unwrap().to_owned();
            kept.lock().unwrap().push((name, kind, body));
            StatusCode::CREATED.into_response()
        };
        let app =
            Router::new().route("/in/{name}", get(answer).put(keep)).route("/out/secret", get(|| async { "secret" }));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { at, put, task }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(Path(name): Path<String>, RawQuery(query): RawQuery) -> Response {
    match name.as_str() {
        "plain" => "hello".into_response(),
        "signed" if query.as_deref() == Some("sig=a%2Fb") => "signed".into_response(),
        "without-length" => Body::from_stream(pieces(3)).into_response(),
        "endless" => Body::from_stream(pieces(usize::MAX)).into_response(),
        "large" => vec![0_u8; 5_000].into_response(),
        "here" => Redirect::temporary("/in/plain").into_response(),
        "out" => Redirect::temporary("/out/secret").into_response(),
        "dots" => Redirect::temporary("/in/../out/secret").into_response(),
        "elsewhere" => Redirect::temporary("http://169.254.169.254/latest/meta-data/").into_response(),
        "file" => Redirect::temporary("file:///etc/passwd").into_response(),
        "round" => Redirect::temporary("/in/round").into_response(),
        "busy" => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")]).into_response(),
        "silent" => std::future::pending().await,
        "forbidden" => StatusCode::FORBIDDEN.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn pieces(count: usize) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    futures::stream::iter(0..count).map(|_| Ok(Bytes::from_static(&[7; 500])))
}

fn cx() -> Context {
    Context::detached(TaskId::new("a").unwrap(), TaskType::new("x").unwrap(), "{}").0
}

fn objects(prefix: String) -> Objects {
    Objects::new(&ObjectOptions { allow: vec![prefix], max_bytes: 2_000, ..ObjectOptions::default() }).unwrap()
}

async fn read(web: &Web, path: &str) -> Result<Bytes, HandlerError> {
    objects(web.url("/in/")).read(&cx(), "source", &web.url(path)).await
}

#[tokio::test]
async fn an_object_is_read_with_its_query_and_without_a_length_and_through_redirects_that_stay_within() {
    let web = Web::start().await;
    for (path, expected) in [
        ("/in/plain", &b"hello"[..]),
        ("/in/signed?sig=a%2Fb", b"signed"),
        ("/in/without-length", &[7; 1_500]),
        ("/in/here", b"hello"),
    ] {
        assert_eq!(read(&web, path).await.unwrap(), expected, "{path}");
    }
}

#[tokio::test]
async fn a_redirect_that_leaves_what_is_allowed_is_not_followed() {
    let web = Web::start().await;
    for path in ["/in/out", "/in/dots", "/in/elsewhere", "/in/file", "/in/round"] {
        let error = read(&web, path).await.unwrap_err();
        assert!(error.is_permanent(), "{path}: {error}");
        assert!(error.message().contains("not followed") || path == "/in/file", "{path}: {error}");
    }
    let error = objects(web.url("/in/")).write(&cx(), "target", &web.url("/in/moved"), "x".into(), "text/plain").await;
    assert!(error.unwrap_err().message().contains("redirects (307 Temporary Redirect) to /out/secret"));
    assert!(web.put.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_object_beyond_the_limit_is_refused_before_or_while_it_comes() {
    let web = Web::start().await;
    for path in ["/in/large", "/in/endless"] {
        let error = read(&web, path).await.unwrap_err();
        assert!(error.is_permanent() && error.message().contains("objects.max_bytes"), "{path}: {error}");
    }
    let objects = objects(web.url("/in/"));
    let written = objects.write(&cx(), "target", &web.url("/in/a"), vec![0; 2_001].into(), "text/plain").await;
    assert!(written.unwrap_err().is_permanent());
    assert!(web.put.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_stays() {
    let web = Web::start().await;
    for (path, permanent, words) in [
        ("/in/nothing", true, "is refused by its server: 404 Not Found"),
        ("/in/forbidden", true, "is refused by its server: 403 Forbidden"),
        ("/in/busy", false, "cannot be had now: 503 Service Unavailable"),
        ("/out/secret", true, "may not be used: it is below no prefix of the worker's setting objects.allow"),
        ("/in/..%2fout/secret", true, "which is not a plain name"),
    ] {
        let error = read(&web, path).await.unwrap_err();
        assert_eq!(error.is_permanent(), permanent, "{error}");
        assert!(error.message().starts_with("payload.source: ") && error.message().ends_with(words), "{error}");
    }
    assert_eq!(read(&web, "/in/busy").await.unwrap_err().wait(), Some(Duration::from_secs(7)));
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{gone}/a");
    let error = objects(url.clone()).read(&cx(), "source", &url).await.unwrap_err();
    assert!(!error.is_permanent() && error.message().contains("cannot be reached"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let web = Web::start().await;
    let error = read(&web, "/in/silent").await.unwrap_err();
    assert!(!error.is_permanent() && error.message().ends_with("does not answer in time"), "{error}");
}

#[tokio::test]
async fn an_object_is_put_with_its_media_type() {
    let web = Web::start().await;
    let objects = objects(web.url("/in/"));
    objects.write(&cx(), "target", &web.url("/in/a.png"), "bytes".into(), "image/png").await.unwrap();
    let expected = ("a.png".to_owned(), "image/png".to_owned(), Bytes::from("bytes"));
    assert_eq!(*web.put.lock().unwrap(), [expected]);
    let error = objects.write(&cx(), "target", &web.url("/in/full"), "x".into(), "image/png").await.unwrap_err();
    assert!(!error.is_permanent(), "{error}");
}

#[tokio::test]
async fn without_a_prefix_nothing_is_used_and_the_setting_is_named() {
    let objects = Objects::new(&ObjectOptions::default()).unwrap();
    for url in ["file:///etc/passwd", "https://example.org/a", "s3://bucket/a"] {
        let error = objects.read(&cx(), "source", url).await.unwrap_err();
        let told = error.message();
        assert!(error.is_permanent() && told.contains("the worker's setting objects.allow is empty"), "{told}");
    }
}
