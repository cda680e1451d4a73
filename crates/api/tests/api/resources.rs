use serde_json::json;
use tidemill_core::{Failure, FailureKind, Outcome};

use crate::support::{Api, until};

#[tokio::test]
async fn a_dead_task_shows_why_and_runs_again_when_asked() {
    let api = Api::start().await;
    api.post("/enqueue", r#"{"type":"sleep","payload":{"duration_ms":5},"id":"x"}"#).await;
    let claim = api.broker.claim("default", 1).await.remove(0);
    let path = "/api/v1/queues/default/tasks/x";
    let task = api.get(path).await.json();
    assert_eq!((&task["state"], &task["duration_ms"]), (&json!("active"), &json!(5)));
    assert!(task["started_at"].as_str().unwrap().ends_with('Z') && task["worker"].is_string(), "{task}");
    assert!(api.send("DELETE", path, &[], "").await.problem(409).contains("cancel it first"));
    assert!(api.post(&format!("{path}/retry"), "").await.problem(409).contains("is active"));
    let failure = Failure::new(FailureKind::Permanent, "no such address");
    api.broker.settle("default", &claim, Outcome::Failed { failure, retry_in_ms: None }).await;
    let task = api.get(path).await.json();
    assert_eq!(task["state"], "dead");
    assert_eq!(task["attempts"][0]["message"], "no such address");
    assert_eq!(task["attempts"][0]["kind"], "permanent");
    assert!(api.post(&format!("{path}/cancel"), "").await.problem(409).contains("it is dead"));
    let reply = api.post(&format!("{path}/retry"), "").await;
    assert_eq!((reply.status, reply.json()), (202, json!({"id": "x", "queue": "default", "state": "pending"})));
    let reply = api.post(&format!("{path}/cancel"), "").await;
    assert_eq!((reply.status, &reply.json()["state"]), (202, &json!("cancelled")));
    assert_eq!(api.send("DELETE", path, &[], "").await.status, 204);
    for method in ["GET", "DELETE"] {
        assert!(api.send(method, path, &[], "").await.problem(404).contains("no task x"));
    }
}

#[tokio::test]
async fn the_list_leads_through_all_states_page_by_page() {
    let api = Api::start().await;
    for n in 0..5 {
        let delay = if n % 2 == 0 { 0 } else { 60_000 };
        api.post("/enqueue", &format!(r#"{{"type":"t{n}","payload":{{}},"id":"{n}","delay_ms":{delay}}}"#)).await;
    }
    let base = "/api/v1/queues/default/tasks";
    let mut ids = Vec::new();
    let mut next = Some(format!("{base}?limit=2"));
    while let Some(path) = next {
        let page = api.get(&path).await.json();
        let tasks = page["tasks"].as_array().unwrap();
        assert!(tasks.len() <= 2 && tasks.iter().all(|task| task.get("attempts").is_none()));
        ids.extend(tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()));
        next = page["cursor"].as_str().map(|cursor| format!("{base}?limit=2&cursor={cursor}"));
    }
    assert_eq!(ids, ["0", "2", "4", "1", "3"]);
    let only = api.get(&format!("{base}?state=delayed&type=t3")).await.json();
    assert_eq!(only["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(only["tasks"][0]["retries"], 0);
    assert!(only["tasks"][0]["due_at"].is_string());
    for (query, pointer) in [
        ("state=running", "?state"),
        ("limit=0", "?limit"),
        ("limit=x", "?limit"),
        ("cursor=zz", "?cursor"),
        ("type=-", "?type"),
    ] {
        let reply = api.get(&format!("{base}?{query}")).await;
        reply.problem(400);
        assert_eq!(reply.pointers(), [pointer], "{query}");
    }
}

#[tokio::test]
async fn a_queue_is_created_configured_paused_and_purged() {
    let api = Api::start().await;
    let reply = api.send("PUT", "/api/v1/queues/mails", &[], r#"{"retries": 4}"#).await;
    assert_eq!((reply.status, &reply.json()["settings"]["retries"]), (201, &json!(4)), "{reply:?}");
    let reply = api.send("PUT", "/api/v1/queues/mails", &[], r#"{"retries": 5, "lease_ms": 5000}"#).await;
    assert_eq!((reply.status, &reply.json()["settings"]["lease_ms"]), (200, &json!(5000)));
    let reply = api.send("PUT", "/api/v1/queues/mails", &[], r#"{"retrys": 5}"#).await;
    assert!(reply.problem(400).contains("retrys"));
    let queues = api.get("/api/v1/queues").await.json();
    assert_eq!((&queues["queues"][0]["name"], &queues["queues"][1]["name"]), (&json!("default"), &json!("mails")));
    assert_eq!(api.post("/api/v1/queues/mails/pause", "").await.json(), json!({"name": "mails", "paused": true}));
    assert_eq!(api.get("/api/v1/queues/mails").await.json()["paused"], true);
    assert_eq!(api.post("/api/v1/queues/mails/resume", "").await.json()["paused"], false);
    api.post("/enqueue?queue=mails", r#"[{"type":"a","payload":{}},{"type":"a","payload":{}}]"#).await;
    assert_eq!(api.post("/api/v1/queues/mails/purge?state=pending", "").await.json(), json!({"purged": 2}));
    assert_eq!(api.post("/api/v1/queues/mails/purge?state=active", "").await.pointers(), ["?state"]);
    assert_eq!(api.post("/api/v1/queues/mails/purge", "").await.pointers(), ["?state"]);
    assert!(api.get("/api/v1/queues/mial").await.problem(404).contains("did you mean mails"));
    assert!(api.get("/api/v1/queues/a%20b").await.problem(400).contains("queue name"));
}

#[tokio::test]
async fn workers_and_the_installation_are_in_sight() {
    let api = Api::start().await;
    api.broker.claim("default", 0).await;
    let workers = api.get("/api/v1/queues/default/workers").await.json();
    assert_eq!(workers["workers"][0]["name"], "tester");
    assert_eq!(workers["workers"][0]["types"], json!(["sleep"]));
    assert!(workers["workers"][0]["running_ms"].is_u64(), "{workers}");
    let info = api.get("/api/v1/info").await.json();
    assert_eq!(info["broker"], "sqlite for tests");
    assert_eq!((&info["form"], &info["creates_queues"]), (&json!("html_ws"), &json!(true)));
}

#[tokio::test]
async fn the_document_is_the_golden_one() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let text = tidemill_api::openapi_json();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    let known = std::fs::read_to_string(golden).unwrap_or_default();
    assert!(known == text, "openapi.json has changed: run `make openapi`, or this test with UPDATE_GOLDEN=1");
    let api = Api::start().await;
    assert_eq!(api.get("/api/v1/openapi.json").await.body, text);
}

#[tokio::test]
async fn due_tasks_are_promoted_though_no_worker_runs() {
    let api = Api::start().await;
    api.post("/enqueue", r#"{"type":"a","payload":{},"id":"d","delay_ms":50}"#).await;
    until("promoted", async || api.get("/api/v1/queues/default/tasks/d").await.json()["state"] == "pending").await;
}
