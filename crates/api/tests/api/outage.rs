use std::sync::atomic::Ordering;

use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use crate::support::{Api, Faulty, options, until};

const TASK: &str = r#"{"type":"a","payload":{},"id":"x"}"#;

#[tokio::test]
async fn not_ready_before_the_broker_was_met_and_degraded_when_it_is_lost_later() {
    let broker = Faulty::new();
    broker.down.store(true, Ordering::SeqCst);
    let api = Api::unready(options(), broker).await;
    assert_eq!(api.get("/livez").await.json(), json!({"status": "ok"}));
    let reply = api.get("/readyz").await;
    assert_eq!((reply.status, &reply.json()["status"]), (503, &json!("starting")));
    api.broker.down.store(false, Ordering::SeqCst);
    until("ready", async || api.get("/readyz").await.status == 200).await;
    assert_eq!(api.get("/tasks").await.status, 200);
    api.broker.down.store(true, Ordering::SeqCst);
    until("degraded", async || api.get("/readyz").await.json()["status"] == "degraded").await;
    let reply = api.get("/readyz").await;
    assert_eq!(reply.status, 200);
    assert!(reply.json()["detail"].as_str().unwrap().contains("switched off"), "{reply:?}");
    assert!(api.get("/metrics?format=prometheus").await.body.contains("tidemill_broker_up 0"));
    api.health.drain();
    let reply = api.get("/readyz").await;
    assert_eq!((reply.status, &reply.json()["status"]), (503, &json!("draining")));
}

#[tokio::test]
async fn an_enqueue_is_answered_within_two_seconds_whatever_the_store_does() {
    let api = Api::start().await;
    for switch in [&api.broker.down, &api.broker.hangs] {
        switch.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        let reply = api.post("/enqueue", TASK).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        reply.problem(503);
        assert_eq!(reply.header("retry-after"), "1");
        switch.store(false, Ordering::SeqCst);
    }
    assert_eq!(api.post("/enqueue", TASK).await.status, 202);
}

#[tokio::test]
async fn what_may_have_been_taken_in_is_said_to_be_unknown_and_what_was_only_read_is_not() {
    let api = Api::start().await;
    assert_eq!(api.post("/enqueue", r#"{"type":"a","payload":{}}"#).await.status, 202);
    api.broker.down.store(true, Ordering::SeqCst);
    assert!(api.post("/enqueue", TASK).await.problem(503).contains("is not known: send it again"));
    assert!(!api.get("/tasks").await.problem(503).contains("not known"));
}

#[tokio::test]
async fn a_short_outage_and_a_lost_reply_are_not_noticed() {
    let api = Api::start().await;
    assert_eq!(api.post("/enqueue", r#"{"type":"a","payload":{}}"#).await.status, 202);
    api.broker.down.store(true, Ordering::SeqCst);
    let (reply, ()) = tokio::join!(api.post("/enqueue", TASK), async {
        sleep(Duration::from_millis(300)).await;
        api.broker.down.store(false, Ordering::SeqCst);
    });
    assert_eq!(reply.status, 202, "{reply:?}");
    api.broker.loses_reply.store(true, Ordering::SeqCst);
    assert_eq!(api.post("/schedule", r#"{"y": 1}"#).await.status, 202);
    assert_eq!(api.get("/tasks").await.header("tidemill-scheduled-total"), "3");
}

#[tokio::test]
async fn what_may_have_been_taken_in_is_not_said_to_be_refused_by_a_store_that_filled_up_since() {
    let api = Api::start().await;
    assert_eq!(api.post("/enqueue", r#"{"type":"a","payload":{}}"#).await.status, 202);
    api.broker.full.store(true, Ordering::SeqCst);
    api.post("/enqueue", TASK).await.problem(507);
    api.broker.full.store(false, Ordering::SeqCst);
    api.broker.fills_up.store(true, Ordering::SeqCst);
    api.broker.loses_reply.store(true, Ordering::SeqCst);
    assert!(api.post("/enqueue", TASK).await.problem(503).contains("is not known: send it again"));
    assert_eq!(api.get("/api/v1/queues/default/tasks/x").await.status, 200);
}
