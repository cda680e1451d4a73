//! A web server that answers as its path says, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use futures::{StreamExt as _, stream};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The server. It ends with the test's runtime.
pub(crate) struct WebServer {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl WebServer {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&asked));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The one request that came.
    pub(crate) fn only(&self) -> Asked {
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked[0].clone()
    }
}

/// `/status/404`, `/wait/7` (503 with Retry-After), `/to?URL` (302), `/keep?URL` (307), `/circle`, `/json`, `/text`, `/none`,
/// `/large`, `/bytes`, `/slow`; `/endless` and `/broken` begin with `part`, and then stay silent or break off.
async fn answer(
    State(asked): State<Arc<Mutex<Vec<Asked>>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    asked.lock().unwrap().push(Asked { method, uri: uri.clone(), headers, body });
    let segments: Vec<&str> = uri.path().split('/').skip(1).collect();
    let (status, headers, body) = match segments.as_slice() {
        ["status", status] => (status.parse().unwrap(), vec![], format!("status\n {status}").into_bytes()),
        ["wait", seconds] => (503, vec![(RETRY_AFTER, (*seconds).to_owned())], Vec::new()),
        ["to"] => (302, vec![(LOCATION, uri.query().unwrap().to_owned())], Vec::new()),
        ["circle"] => (302, vec![(LOCATION, "/circle".to_owned())], Vec::new()),
        ["keep"] => (307, vec![(LOCATION, uri.query().unwrap().to_owned())], Vec::new()),
        ["json"] => (200, vec![(CONTENT_TYPE, "application/json".to_owned())], br#"{"ok": [1, 2]}"#.to_vec()),
        ["large"] => (200, vec![], "\u{1}".repeat(600_000).into_bytes()),
        ["bytes"] => (200, vec![], vec![0xff, 0xfe]),
        ["slow"] => {
            tokio::time::sleep(Duration::from_mins(5)).await;
            (200, vec![], Vec::new())
        }
        ["endless", "503"] => (503, vec![], Vec::new()),
        ["none"] => (204, vec![], Vec::new()),
        _ => (200, vec![(CONTENT_TYPE, "text/plain".to_owned())], b"plain".to_vec()),
    };
    let part = stream::iter([Ok(Bytes::from_static(b"part"))]);
    let body = match segments.as_slice() {
        ["endless", ..] => Body::from_stream(part.chain(stream::pending::<std::io::Result<Bytes>>())),
        ["broken"] => Body::from_stream(part.chain(stream::once(async {
            tokio::task::yield_now().await; // what came before is sent
            Err(std::io::Error::other("broken"))
        }))),
        _ => Body::from(body),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
