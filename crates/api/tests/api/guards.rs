use tidemill_api::Options;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::{Api, Faulty, options, until};

fn with_tokens(tokens: &[&str]) -> Options {
    Options { tokens: tokens.iter().map(ToString::to_string).collect(), ..options() }
}

#[tokio::test]
async fn a_token_guards_everything_but_health_and_the_page() {
    let api = Api::with(with_tokens(&["s3cret"]), Faulty::new()).await;
    for path in ["/tasks", "/metrics", "/ws", "/api/v1/info", "/api/v1/openapi.json", "/api/v1/queues"] {
        let reply = api.get(path).await;
        reply.problem(401);
        assert!(reply.header("www-authenticate").starts_with("Bearer"), "{path}");
    }
    api.post("/schedule", r#"{"a":1}"#).await.problem(401);
    api.send("GET", "/tasks", &[("Authorization", "Bearer wrong")], "").await.problem(401);
    assert_eq!(api.send("GET", "/tasks", &[("Authorization", "Bearer s3cret")], "").await.status, 200);
    for path in ["/livez", "/readyz", "/", "/static/favicon.svg"] {
        assert_eq!(api.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_browser_sends_its_token_as_a_subprotocol() {
    let api = Api::with(with_tokens(&["s3cret"]), Faulty::new()).await;
    let url = format!("ws://{}/ws", api.address);
    assert!(connect_async(&url).await.is_err());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "tidemill, bearer.czNjcmV0".parse().unwrap());
    let (_, response) = connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "tidemill");
}

#[tokio::test]
async fn a_token_file_that_changes_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, "old\n").unwrap();
    let api = Api::with(Options { tokens_file: Some(path.clone()), ..options() }, Faulty::new()).await;
    let status = async |token: &str| {
        api.send("GET", "/tasks", &[("Authorization", &format!("Bearer {token}"))], "").await.status
    };
    assert_eq!((status("old").await, status("new").await), (200, 401));
    std::fs::write(&path, "new\n").unwrap();
    until("read anew", async || status("new").await == 200).await;
    assert_eq!(status("old").await, 401);
    std::fs::write(&path, "").unwrap();
    assert_eq!(status("new").await, 200);
}

#[tokio::test]
async fn a_foreign_page_may_neither_post_nor_watch() {
    let allowed = vec!["https://console.example".to_owned()];
    let api = Api::with(Options { allowed_origins: allowed, ..options() }, Faulty::new()).await;
    let own = format!("http://{}", api.address);
    let post = async |origin: &str| api.send("POST", "/schedule", &[("Origin", origin)], r#"{"a":1}"#).await;
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        post(origin).await.problem(403);
        let headers = [("Origin", origin), ("Connection", "Upgrade"), ("Upgrade", "websocket")];
        api.send("GET", "/ws", &headers, "").await.problem(403);
    }
    assert_eq!(post(&own).await.status, 202);
    let reply = post("https://console.example").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (409, "https://console.example"));
    let reply = api.send("OPTIONS", "/schedule", &[("Origin", "https://console.example")], "").await;
    assert_eq!((reply.status, reply.header("access-control-allow-headers")), (200, "authorization, content-type"));
    assert_eq!(api.send("GET", "/tasks", &[("Origin", "http://evil.example")], "").await.status, 200);
    api.send("GET", "/tasks", &[("Host", "rebound.example")], "").await.problem(403);
}
