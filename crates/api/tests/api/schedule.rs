use std::fmt::Write;

use serde_json::json;
use tidemill_broker::Broker;
use tidemill_core::{QueueName, TaskId};

use crate::support::Api;

#[tokio::test]
async fn tasks_are_scheduled_in_the_order_written_and_shown_so() {
    let api = Api::start().await;
    let reply = api.post("/schedule", r#"{"task789": 2500, "task012": 7000, "task345": 0}"#).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.body, r#"{"scheduled":[{"task789":2500},{"task012":7000},{"task345":0}]}"#);
    let claims = api.broker.claim("default", 1).await;
    assert_eq!(claims[0].task.as_str(), "task789");
    let reply = api.get("/tasks").await;
    assert_eq!(reply.body, r#"{"active":{"task789":2500},"scheduled":[{"task012":7000},{"task345":0}]}"#);
    assert_eq!((reply.header("tidemill-active-total"), reply.header("tidemill-scheduled-total")), ("1", "2"));
    let reply = api.get("/tasks?limit=1").await;
    assert_eq!(reply.body, r#"{"active":{"task789":2500},"scheduled":[{"task012":7000}]}"#);
    assert_eq!(reply.header("tidemill-scheduled-total"), "2");
}

#[tokio::test]
async fn a_wrong_body_is_refused_whole_and_every_fault_named() {
    let api = Api::start().await;
    for (body, pointers, words) in [
        ("", vec![""], "nothing to schedule"),
        ("{}", vec![""], "nothing to schedule"),
        ("[1]", vec![""], "not an object"),
        ("7", vec![""], "not an object"),
        (r#"{"a":1,"b":-1}"#, vec!["/b"], "whole number from 0 to 86400000, not -1"),
        (r#"{"a":1.5,"b":"2","c":86400001,"d":null,"e":1e3}"#, vec!["/a", "/b", "/c", "/d", "/e"], "and 2 more"),
        (r#"{"a":1,"b":2,"a":3}"#, vec!["/a"], "stands twice"),
        (r#"{"":1,"x/y":-1}"#, vec!["/", "/x~1y"], "task id is empty"),
        (&format!("{{\"{}\":1}}", "x".repeat(129)), vec![&format!("/{}", "x".repeat(129))], "129 characters"),
    ] {
        let reply = api.post("/schedule", body).await;
        let detail = reply.problem(400);
        assert!(detail.contains(words), "{body}: {detail}");
        assert_eq!(reply.pointers(), pointers, "{body}");
    }
    let detail = api.post("/schedule", "{\"a\": 1,\n \"b\" 2}").await.problem(400);
    assert!(detail.contains("line 2 column 6"), "{detail}");
    assert_eq!(api.get("/tasks").await.body, r#"{"active":{},"scheduled":[]}"#);
}

#[tokio::test]
async fn ids_that_are_alive_are_all_named_and_nothing_is_scheduled() {
    let api = Api::start().await;
    api.post("/schedule", r#"{"a": 1, "b": 2}"#).await;
    let reply = api.post("/schedule", r#"{"c": 3, "b": 2, "a": 1}"#).await;
    let detail = reply.problem(409);
    assert!(detail.contains("\"b\", \"a\""), "{detail}");
    assert_eq!(reply.pointers(), ["/b", "/a"]);
    assert_eq!(api.get("/tasks").await.json()["scheduled"], json!([{"a": 1}, {"b": 2}]));
}

#[tokio::test]
async fn ten_thousand_tasks_are_taken_and_one_more_is_not() {
    let api = Api::start().await;
    let body = |count: usize| {
        let mut body = String::from("{\"t0\":0");
        for n in 1..count {
            write!(body, ",\"t{n}\":0").unwrap();
        }
        body + "}"
    };
    let detail = api.post("/schedule", &body(10_001)).await.problem(413);
    assert!(detail.contains("10001 tasks; at most 10000"), "{detail}");
    assert_eq!(api.post("/schedule", &body(10_000)).await.status, 202);
    let reply = api.get("/tasks?limit=10000").await;
    assert_eq!(reply.json()["scheduled"].as_array().unwrap().len(), 10_000);
    assert_eq!(api.get("/tasks").await.json()["scheduled"].as_array().unwrap().len(), 1_000);
    let big = format!("{{\"a\":{}1}}", " ".repeat(8 << 20));
    assert!(api.post("/schedule", &big).await.problem(413).contains("8388608 bytes"));
    assert!(api.get("/tasks?limit=10001").await.problem(400).contains("10000"));
}

#[tokio::test]
async fn a_task_longer_than_the_usual_timeout_gets_one_of_its_own() {
    let api = Api::start().await;
    api.post("/schedule", r#"{"short": 1000, "long": 7200000}"#).await;
    let queue = QueueName::default_queue();
    let timeout = async |id| api.broker.get(&queue, &TaskId::new(id).unwrap()).await.unwrap().unwrap().timeout_ms;
    assert_eq!(timeout("short").await, None);
    assert_eq!(timeout("long").await, Some(7_260_000));
}

#[tokio::test]
async fn another_queue_comes_into_being_when_written_to_and_not_when_looked_at() {
    let api = Api::start().await;
    assert!(api.get("/tasks?queue=defalt").await.problem(404).contains("did you mean default?"));
    assert_eq!(api.post("/schedule?queue=mails", r#"{"a": 1}"#).await.status, 202);
    assert_eq!(api.get("/tasks?queue=mails").await.json()["scheduled"], json!([{"a": 1}]));
    assert_eq!(api.get("/tasks").await.json()["scheduled"], json!([]));
    assert_eq!(api.post("/schedule?queue=-x", r#"{"a": 1}"#).await.pointers(), ["?queue"]);
    assert!(api.get("/tasks?quue=mails").await.problem(400).contains("did you mean \"queue\"?"));
}
