//! One TaskQueue alone serves a queue.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::json;
use tidemill_cluster_tests::cluster::SOON;
use tidemill_cluster_tests::redis::{connect, queue};
use tidemill_cluster_tests::{Launch, RedisServer, Space, holds, until};
use tidemill_core::QueueOwner;
use tidemill_operator::crd::TaskQueue;

/// How long a deletion may take whose broker is dead.
const DELETION: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_second_to_claim_a_queue_says_so_and_takes_over_when_the_first_is_gone() {
    let space = Space::new("conflict").await;
    let redis = RedisServer::start();
    let broker = connect(&redis.url());
    let _operator = Launch::of(&space).lead().await;
    let spec = json!({ "broker": { "url": redis.url() }, "queue": "shared" });
    let first = space.task_queue("first", spec.clone()).await;
    space.until_ready("first", "Idle").await;
    space.task_queue("second", spec).await;
    let second = space.until_condition("second", "Ready", "False", "QueueConflict").await;
    let message = second.status.unwrap().conditions[0].message.clone();
    assert!(message.starts_with(&format!("queue shared is served by TaskQueue {}/first", space.name())), "{message}");
    assert!(space.get::<Deployment>("second-worker").await.is_none());
    space.until_ready("first", "Idle").await;
    assert_eq!(broker.owner(&queue("shared")).await.unwrap().unwrap().uid, first.uid().unwrap());
    space.delete::<TaskQueue>("first").await;
    space.until_ready("second", "Idle").await;
    assert_eq!(broker.owner(&queue("shared")).await.unwrap().unwrap().name, "second");
}

#[tokio::test]
async fn the_record_of_a_task_queue_that_is_no_more_is_taken_over() {
    let space = Space::new("takeover").await;
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let _operator = Launch::of(&space).lead().await;
    let spec = json!({ "broker": { "url": redis.url() }, "queue": "shared" });
    let first = space.task_queue("first", spec.clone()).await;
    space.until_ready("first", "Idle").await;
    redis.kill();
    space.delete::<TaskQueue>("first").await;
    space.until_gone::<TaskQueue>("first", DELETION).await;
    redis.restart();
    let broker = connect(&redis.url());
    assert_eq!(broker.owner(&queue("shared")).await.unwrap().unwrap().uid, first.uid().unwrap(), "the record is there");
    space.task_queue("second", spec.clone()).await;
    space.until_ready("second", "Idle").await;
    // One of the same name as the record has, and yet another.
    redis.kill();
    space.delete::<TaskQueue>("second").await;
    space.until_gone::<TaskQueue>("second", DELETION).await;
    redis.restart();
    let again = space.task_queue("second", spec).await;
    space.until_ready("second", "Idle").await;
    let broker = connect(&redis.url());
    assert_eq!(broker.owner(&queue("shared")).await.unwrap().unwrap().uid, again.uid().unwrap());
}

#[tokio::test]
async fn the_record_of_another_cluster_is_never_taken_over() {
    let space = Space::new("clusters").await;
    let redis = RedisServer::start();
    let broker = connect(&redis.url());
    let _operator = Launch::of(&space).lead().await;
    let [cluster, namespace, name, uid] = ["elsewhere", space.name(), "q", "1"].map(str::to_owned);
    let theirs = QueueOwner { cluster, namespace, name, uid };
    broker.ensure_queue(&queue("q"), &tidemill_core::QueueSettings::default()).await.unwrap();
    broker.own(&queue("q"), &theirs, None).await.unwrap();
    space.task_queue("q", json!({ "broker": { "url": redis.url() } })).await;
    let refused = space.until_condition("q", "Ready", "False", "QueueConflict").await;
    let message = refused.status.unwrap().conditions[0].message.clone();
    assert!(message.contains("cluster elsewhere"), "{message}");
    // Its deletion touches nothing of theirs.
    space.change::<TaskQueue>("q", json!({ "spec": { "deletionPolicy": "Purge" } })).await.unwrap();
    space.delete::<TaskQueue>("q").await;
    space.until_gone::<TaskQueue>("q", DELETION).await;
    until("their record stays", SOON, async || {
        let owner = broker.owner(&queue("q")).await.map_err(|error| error.to_string())?;
        holds(owner.as_ref() == Some(&theirs), || format!("{owner:?}"))
    })
    .await;
}
