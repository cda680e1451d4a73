//! Several operators, of which one leads.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::json;
use tidemill_cluster_tests::{Launch, RedisServer, Space, holds, until};

/// How soon another operator leads after the leader was killed: 13 s at most, and what a busy machine needs to fill caches.
const TAKEOVER: Duration = Duration::from_secs(30);
/// For how long a standby is seen to do nothing.
const QUIET: Duration = Duration::from_secs(3);

async fn holder(space: &Space) -> String {
    space.get::<Lease>("tidemill-operator").await.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
}

#[tokio::test]
async fn when_the_leader_is_killed_another_leads_and_reconciles() {
    let space = Space::alone("failover").await;
    let redis = RedisServer::start();
    let mut first = Launch::of(&space).variable("POD_NAME", "first").lead().await;
    let mut second = Launch::of(&space).variable("POD_NAME", "second").start();
    space.task_queue("before", json!({ "broker": { "url": redis.url() } })).await;
    space.until_ready("before", "Idle").await;
    tokio::time::sleep(QUIET).await;
    assert!(!second.has_led(), "two operators lead at once");
    assert!(holder(&space).await.starts_with("first"), "{}", holder(&space).await);
    first.kill();
    let began = Instant::now();
    space.task_queue("after", json!({ "broker": { "url": redis.url() } })).await;
    second.until_leading(TAKEOVER).await;
    println!("after kill -9 of the leader, the other led within {} ms", began.elapsed().as_millis());
    assert!(holder(&space).await.starts_with("second"), "{}", holder(&space).await);
    space.until_ready("after", "Idle").await;
    let metrics = second.metrics().await;
    assert!(
        metrics.lines().any(|line| line.starts_with("tidemill_operator_leader") && line.ends_with(" 1")),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_leader_that_is_asked_to_end_hands_over_at_once() {
    let space = Space::new("handover").await;
    let redis = RedisServer::start();
    let mut first = Launch::of(&space).variable("POD_NAME", "first").lead().await;
    let mut second = Launch::of(&space).variable("POD_NAME", "second").start();
    until("the second stands by", Duration::from_secs(20), async || {
        holds(second.log().contains("the API server answers"), || second.log())
    })
    .await;
    first.terminate();
    let began = Instant::now();
    assert_eq!(first.until_ended(TAKEOVER).await, 0, "{}", first.log());
    let ended = began.elapsed();
    // It gave its Lease back: nobody has to wait for that to expire.
    assert!(!holder(&space).await.starts_with("first"), "{}", holder(&space).await);
    second.until_leading(TAKEOVER).await;
    println!(
        "after SIGTERM the leader ended within {} ms, the other led within {} ms",
        ended.as_millis(),
        began.elapsed().as_millis()
    );
    space.task_queue("q", json!({ "broker": { "url": redis.url() } })).await;
    space.until_ready("q", "Idle").await;
}
