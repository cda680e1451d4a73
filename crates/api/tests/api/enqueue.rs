use serde_json::json;
use tidemill_api::Options;
use tidemill_core::Outcome;

use crate::support::{Api, Faulty, options};

#[tokio::test]
async fn the_example_of_the_seeds_is_taken_whatever_its_letter_case() {
    let api = Api::start().await;
    let body = r#"{"type": "send_email", "Retries": 3, "payload": {"to": "a@example.com", "subject": "Hi"}}"#;
    let reply = api.post("/enqueue", body).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let json = reply.json();
    let id = json["id"].as_str().unwrap();
    assert_eq!(json, json!({"id": id, "queue": "default", "type": "send_email", "state": "pending"}));
    assert_eq!(reply.header("location"), format!("/api/v1/queues/default/tasks/{id}"));
    let task = api.get(reply.header("location")).await.json();
    assert_eq!((task["retries"].as_u64(), &task["payload"]["subject"]), (Some(3), &json!("Hi")));
}

#[tokio::test]
async fn the_door_says_what_is_missing_in_the_words_that_users_know() {
    let api = Api::start().await;
    assert_eq!(api.post("/enqueue", r#"{"type": "send_email"}"#).await.problem(400), "payload is empty");
    assert_eq!(api.post("/enqueue", r#"{"type": "", "payload": {"a": 1}}"#).await.problem(400), "task type is empty");
    assert_eq!(api.post("/enqueue", r#"{"payload": {"a": 1}}"#).await.problem(400), "task type is empty");
    assert_eq!(api.post("/enqueue", r#"{"type": "x", "payload": {}}"#).await.status, 202);
    let reply = api.post("/enqueue", r#"{"type": "x", "payload": {}, "retires": 1}"#).await;
    assert_eq!(reply.problem(400), "unknown member \"retires\"; did you mean \"retries\"?");
    assert!(api.post("/enqueue", "{\"type\": x}").await.problem(400).contains("line 1 column 10"));
    assert!(api.post("/enqueue", "").await.problem(400).contains("no task"));
}

#[tokio::test]
async fn a_request_that_is_repeated_under_its_key_is_answered_as_the_first_was_also_after_the_end() {
    let api = Api::start().await;
    let body = r#"{"type": "x", "payload": {}, "id": "a"}"#;
    let send = async |key: &str| api.send("POST", "/enqueue", &[("idempotency-key", key)], body).await.status;
    assert_eq!((send("one").await, send("one").await, send("two").await), (202, 202, 409));
    let claims = api.broker.claim("default", 5).await;
    assert_eq!(claims.len(), 1);
    api.broker.settle("default", &claims[0], Outcome::Succeeded { result: None }).await;
    assert_eq!(send("one").await, 202);
    assert_eq!(api.broker.claim("default", 5).await, [], "it does not run again");
    assert_eq!(send("two").await, 202, "another request may use the id again");
    assert_eq!(api.broker.claim("default", 5).await.len(), 1);
    assert_eq!(send(&"k".repeat(256)).await, 400);
}

#[tokio::test]
async fn a_declared_duration_longer_than_the_queues_timeout_raises_that_of_the_task_unless_it_names_its_own() {
    let mut settings = options().default_settings;
    settings.timeout_ms = 3_600_000;
    let api = Api::with(Options { default_settings: settings, ..options() }, Faulty::new()).await;
    let two_hours = r#""type":"sleep","payload":{"duration_ms":7200000}"#;
    for (id, body, expected) in [
        ("raised", format!("{{{two_hours}, \"id\":\"raised\"}}"), 7_260_000),
        ("named", format!("{{{two_hours}, \"id\":\"named\", \"timeout_ms\":1000}}"), 1_000),
        ("short", r#"{"id":"short","type":"sleep","payload":{"duration_ms":5}}"#.to_owned(), 3_600_000),
        ("silent", r#"{"id":"silent","type":"a","payload":{}}"#.to_owned(), 3_600_000),
    ] {
        assert_eq!(api.post("/enqueue", &body).await.status, 202, "{body}");
        let task = api.get(&format!("/api/v1/queues/default/tasks/{id}")).await.json();
        assert_eq!(task["timeout_ms"], expected, "{id}");
    }
}

#[tokio::test]
async fn a_batch_is_taken_whole_or_not_at_all() {
    let api = Api::start().await;
    let batch = r#"[{"type":"a","payload":{},"id":"1"},{"type":"b","payload":{},"id":"2","delay_ms":60000}]"#;
    let reply = api.post("/enqueue", batch).await;
    assert_eq!(reply.status, 202);
    assert_eq!(
        reply.json(),
        json!({"tasks": [
            {"id": "1", "queue": "default", "type": "a", "state": "pending"},
            {"id": "2", "queue": "default", "type": "b", "state": "delayed"},
        ]})
    );
    let reply =
        api.post("/enqueue", r#"[{"type":"a","payload":{},"id":"3"},{"type":"a","payload":{},"id":"2"}]"#).await;
    reply.problem(409);
    assert_eq!(reply.pointers(), ["/1/id"]);
    let reply = api.post("/enqueue", r#"[{"type":"a","payload":{},"id":"3"},{"type":"","payload":{}},7]"#).await;
    reply.problem(400);
    assert_eq!(reply.pointers(), ["/1/type", "/2"]);
    let reply =
        api.post("/enqueue", r#"[{"type":"a","payload":{},"id":"3"},{"type":"a","payload":{},"id":"3"}]"#).await;
    reply.problem(400);
    assert_eq!(reply.pointers(), ["/1/id"]);
    let two = r#"[{"type":"a","payload":{},"queue":"x"},{"type":"a","payload":{},"queue":"y"}]"#;
    assert!(api.post("/enqueue", two).await.problem(400).contains("names x and y"));
    assert!(api.post("/enqueue", "[]").await.problem(400).contains("empty"));
    assert_eq!(api.get("/api/v1/queues/default/tasks/3").await.status, 404);
}

#[tokio::test]
async fn an_id_of_any_printable_characters_has_a_location_that_leads_to_it() {
    let api = Api::start().await;
    let reply = api.post("/enqueue", r#"{"id":"übung 1/2?#%","type":"a","payload":{}, "queue":"q.1"}"#).await;
    assert_eq!(reply.header("location"), "/api/v1/queues/q.1/tasks/%C3%BCbung%201%2F2%3F%23%25");
    assert_eq!(api.get(reply.header("location")).await.json()["id"], "übung 1/2?#%");
}

#[tokio::test]
async fn a_payload_beyond_the_queues_bound_and_a_task_beyond_its_room_are_refused() {
    let mut settings = options().default_settings;
    settings.max_payload_bytes = 20;
    settings.max_tasks = 1;
    let api = Api::with(Options { default_settings: settings, ..options() }, Faulty::new()).await;
    let long = r#"{"type":"a","payload":{"text":"more than twenty bytes"}}"#;
    let reply = api.post("/enqueue", long).await;
    assert!(reply.problem(413).contains("at most 20"));
    assert_eq!(reply.pointers(), ["/payload"]);
    assert_eq!(api.post("/enqueue", r#"{"type":"a","payload":{}}"#).await.status, 202);
    let reply = api.post("/enqueue", r#"{"type":"a","payload":{}}"#).await;
    reply.problem(429);
    assert!(!reply.header("retry-after").is_empty());
}

#[tokio::test]
async fn a_cluster_refuses_a_queue_that_nobody_declared() {
    let api = Api::with(Options { creates_queues: false, ..options() }, Faulty::new()).await;
    let reply = api.post("/enqueue", r#"{"type":"a","payload":{},"queue":"defaults"}"#).await;
    assert!(reply.problem(404).contains("did you mean default?"));
    assert_eq!(api.post("/enqueue", r#"{"type":"a","payload":{}}"#).await.status, 202);
}
