use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tidemill_api::{BindError, Form, HealthOptions, HealthServer, Options, Server, WorkerGauge};
use tidemill_core::{Outcome, QueueName};
use tidemill_telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::support::{Api, Faulty, options, send, until};

#[tokio::test]
async fn what_a_form_leaves_out_is_404() {
    for form in Form::ALL {
        let api = Api::with(Options { form, ..options() }, Faulty::new()).await;
        assert_eq!(api.get("/tasks").await.status, 200);
        assert_eq!(api.get("/livez").await.status, 200);
        assert_eq!(api.get("/").await.status, if form.has_page() { 200 } else { 404 }, "{form}");
        assert_eq!(api.get("/static/favicon.svg").await.status, if form.has_page() { 200 } else { 404 }, "{form}");
        let ws = api.get("/ws").await;
        assert_eq!(ws.status, if form.has_ws() { 426 } else { 404 }, "{form}");
        ws.problem(ws.status);
        api.stopped().await;
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_and_panics_are_problems() {
    let api = Api::start().await;
    assert!(api.get("/nowhere").await.problem(404).contains("/nowhere"));
    let reply = api.send("PUT", "/tasks", &[], "").await;
    assert!(reply.problem(405).contains("GET"));
    assert!(reply.header("allow").contains("GET"));
    assert!(api.get("/schedule").await.problem(405).contains("POST"));
    api.get("/api/v1/queues/default/tasks/panic").await.problem(500);
    assert_eq!(api.get("/tasks").await.status, 200);
}

#[tokio::test]
async fn metrics_are_json_unless_a_scraper_asks_for_text() {
    let api = Api::with(Options { queue_metrics: true, metrics_port: Some(0), ..options() }, Faulty::new()).await;
    api.post("/schedule", r#"{"a": 1, "b": 1, "c": 1}"#).await;
    api.post("/enqueue", r#"{"type":"x","payload":{},"delay_ms":60000}"#).await;
    let claim = api.broker.claim("default", 1).await.remove(0);
    api.broker.settle("default", &claim, Outcome::Succeeded { result: None }).await;
    let figures = json!({"total_jobs_in_queue": 3, "jobs_done": 1, "jobs_failed": 0});
    for accept in
        ["*/*", "text/html,application/xhtml+xml,*/*;q=0.8", "application/json", "application/json, text/plain, */*"]
    {
        let reply = api.send("GET", "/metrics", &[("Accept", accept)], "").await;
        assert_eq!(reply.json(), figures, "{accept}");
    }
    assert_eq!(api.get("/metrics").await.json(), figures);
    assert_eq!(api.get("/metrics?queue=default&format=json").await.json(), figures);
    let series = "tidemill_queue_tasks{queue=\"default\",state=\"pending\"} 2";
    for (accept, kind) in [
        ("text/plain", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text; version=1.0.0"),
    ] {
        let reply = api.send("GET", "/metrics", &[("Accept", accept)], "").await;
        assert!(reply.header("content-type").starts_with(kind), "{reply:?}");
        assert!(reply.body.lines().any(|line| line == series), "{}", reply.body);
        assert!(reply.body.contains("route=\"/schedule\",status=\"202\""), "{}", reply.body);
        assert!(reply.body.contains("tidemill_broker_up 1"));
    }
    assert!(api.get("/metrics?format=prometheus").await.body.contains(series));
    assert_eq!(api.get("/metrics?format=xml").await.pointers(), ["?format"]);
    let apart = api.metrics_address.clone().unwrap();
    assert!(send(&apart, "GET", "/metrics", &[], "").await.body.contains(series));
    assert_eq!(send(&apart, "GET", "/readyz", &[], "").await.status, 200);
    assert_eq!(send(&apart, "GET", "/tasks", &[], "").await.status, 404);
}

#[tokio::test]
async fn the_port_of_metrics_asks_for_no_token_where_the_api_does() {
    let guarded = Options { tokens: vec!["secret".to_owned()], metrics_port: Some(0), ..options() };
    let api = Api::with(guarded, Faulty::new()).await;
    assert_eq!(api.get("/metrics").await.status, 401);
    let apart = api.metrics_address.clone().unwrap();
    let reply = send(&apart, "GET", "/metrics", &[], "").await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("tidemill_broker_up"), "{}", reply.body);
}

#[tokio::test]
async fn one_api_of_many_shows_no_series_of_whole_queues() {
    let api = Api::start().await;
    assert!(!api.get("/metrics?format=prometheus").await.body.contains("tidemill_queue_"));
}

#[tokio::test]
async fn a_worker_shows_health_and_metrics_and_nothing_else() {
    let options = HealthOptions {
        host: "127.0.0.1".to_owned(),
        port: 0,
        queue: QueueName::default_queue(),
        http_shutdown_timeout: Duration::from_secs(1),
        tokens_file: None,
        tokens: Vec::new(),
        log_level: None,
        worker: Some(Arc::new(|| WorkerGauge { slots: 10, busy: 3, taking: true, still_for: Duration::ZERO })),
    };
    let broker = Arc::new(Faulty::new());
    let server = HealthServer::bind(options, broker, Arc::new(Metrics::new("test"))).await.unwrap();
    let (address, health) = (server.local_addr().unwrap().to_string(), server.health());
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    until("up", async || health.is_up()).await;
    assert_eq!(send(&address, "GET", "/readyz", &[], "").await.json()["status"], "ok");
    let text = send(&address, "GET", "/metrics", &[("Accept", "text/plain")], "").await.body;
    assert!(text.contains("tidemill_worker_slots 10\n") && text.contains("tidemill_worker_busy 3\n"), "{text}");
    assert_eq!(send(&address, "POST", "/schedule", &[], "{}").await.status, 404);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_page_and_its_files_are_embedded_guarded_and_cached_by_their_tag() {
    let api = Api::start().await;
    let page = api.get("/").await;
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("default-src 'self'"));
    assert_eq!((page.header("x-content-type-options"), page.header("x-frame-options")), ("nosniff", "DENY"));
    let file = api.get("/static/favicon.svg").await;
    assert_eq!((file.status, file.header("content-type")), (200, "image/svg+xml"));
    let again = api.send("GET", "/static/favicon.svg", &[("If-None-Match", file.header("etag"))], "").await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let packed = api.send("GET", "/", &[("Accept-Encoding", "gzip")], "").await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    api.get("/static/none.js").await.problem(404);
    api.post("/static/favicon.svg", "").await.problem(405);
}

#[tokio::test]
async fn folders_that_exist_replace_what_is_embedded_and_nothing_outside_them_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (public, views) = (folder.path().join("public"), folder.path().join("views"));
    std::fs::create_dir_all(&public).unwrap();
    std::fs::create_dir_all(&views).unwrap();
    std::fs::write(public.join("own.css"), "b{}").unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::fs::write(
        views.join("index.tmpl"),
        "{{ form }} {{ 'live' if ws }} {{ static_endpoint }} {{ default_queue }} {{ '<' }}",
    )
    .unwrap();
    let options = Options {
        public_folder: public,
        views_folder: views,
        templates_ext: ".tmpl".to_owned(),
        static_endpoint: "/files/".to_owned(),
        ..options()
    };
    let api = Api::with(options, Faulty::new()).await;
    assert_eq!(api.get("/").await.body, "html_ws live /files default &lt;");
    assert_eq!(api.get("/files/own.css").await.body, "b{}");
    assert_eq!(api.get("/files/favicon.svg").await.status, 200);
    for path in ["/files/../secret", "/files/%2e%2e/secret", "/files/..%2fsecret", "/files//etc/passwd"] {
        let reply = api.get(path).await;
        assert!(reply.status >= 400 && !reply.body.contains("root:") && reply.body != "secret", "{path} {reply:?}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_in_one_sentence() {
    let api = Api::start().await;
    let port = api.address.rsplit(':').next().unwrap().parse().unwrap();
    let refused =
        Server::bind(Options { port, ..options() }, Arc::new(Faulty::new()), Arc::new(Metrics::new("t"))).await;
    let error = refused.err().unwrap();
    assert!(matches!(error, BindError::PortTaken { .. }));
    assert_eq!(
        error.to_string(),
        format!("port {port} of 127.0.0.1 is taken by another program; stop it or choose another port")
    );
}
