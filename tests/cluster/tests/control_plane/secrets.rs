//! Secrets that a TaskQueue names, and the one that the operator makes of the installation's broker.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use tidemill_cluster_tests::cluster::SOON;
use tidemill_cluster_tests::redis::require_password;
use tidemill_cluster_tests::{Launch, RedisServer, Space, holds, until};
use tidemill_operator::crd::TaskQueue;
use tidemill_operator::plan::BROKER_CHECKSUM;

/// Secrets are not watched but looked at within a minute; a busy machine may need a little more to act on it.
const SECRET_LOOK: Duration = Duration::from_secs(75);

fn checksum(deployment: &Deployment) -> String {
    let template = deployment.spec.as_ref().unwrap().template.metadata.clone().unwrap();
    template.annotations.unwrap()[BROKER_CHECKSUM].clone()
}

fn message(task_queue: &TaskQueue) -> String {
    task_queue.status.as_ref().unwrap().conditions[0].message.clone()
}

#[tokio::test]
async fn a_missing_secret_is_named_in_the_condition_and_the_queue_is_ready_when_it_appears() {
    let space = Space::new("secret").await;
    let redis = RedisServer::start();
    let _operator = Launch::of(&space).lead().await;
    space.task_queue("q", json!({ "broker": { "urlFrom": { "name": "redis", "key": "url" } } })).await;
    let missing = space.until_condition("q", "Ready", "False", "SecretMissing").await;
    let expected =
        format!("spec.broker.urlFrom names Secret redis, which is not there: create it in namespace {}", space.name());
    assert_eq!(message(&missing), expected);
    space.secret("redis", &[("uri", &redis.url())]).await;
    until("the message names the key", SOON, async || {
        let now = message(&space.get("q").await.unwrap());
        holds(now == "spec.broker.urlFrom names key url of Secret redis, which has only uri", || now)
    })
    .await;
    space.change::<Secret>("redis", json!({ "stringData": { "url": redis.url() } })).await.unwrap();
    space.until_ready("q", "Idle").await;
    let worker = space.get::<Deployment>("q-worker").await.unwrap().spec.unwrap().template.spec.unwrap();
    let url = worker.containers[0].env.as_ref().unwrap().iter().find(|env| env.name == "TIDEMILL_BROKER__URL").unwrap();
    let source = url.value_from.as_ref().unwrap().secret_key_ref.as_ref().unwrap();
    assert_eq!((source.name.as_str(), source.key.as_str()), ("redis", "url"), "the pods read the Secret themselves");
}

#[tokio::test]
async fn a_secret_that_changes_replaces_the_workers_within_a_minute() {
    let space = Space::new("rotation").await;
    let redis = RedisServer::start();
    let _operator = Launch::of(&space).lead().await;
    space.secret("redis", &[("password", "before")]).await;
    let other = RedisServer::start();
    require_password(&other, "before");
    let spec = json!({ "broker": { "url": other.url(), "passwordFrom": { "name": "redis", "key": "password" } } });
    space.task_queue("q", spec).await;
    space.until_ready("q", "Idle").await;
    let before = checksum(&space.get("q-worker").await.unwrap());
    space.task_queue("bystander", json!({ "broker": { "url": redis.url() } })).await;
    space.until_ready("bystander", "Idle").await;
    let bystander = checksum(&space.get("bystander-worker").await.unwrap());
    space.change::<Secret>("redis", json!({ "stringData": { "password": "after" } })).await.unwrap();
    until("the workers' template changes", SECRET_LOOK, async || {
        let now = checksum(&space.get("q-worker").await.unwrap());
        holds(now != before, || format!("{now} as before"))
    })
    .await;
    assert_eq!(checksum(&space.get("bystander-worker").await.unwrap()), bystander);
}

#[tokio::test]
async fn the_installation_s_broker_is_copied_to_where_it_is_offered_and_nowhere_else() {
    let space = Space::new("offered").await;
    let redis = RedisServer::start();
    require_password(&redis, "sesame");
    let own = RedisServer::start();
    let operator = Launch::of(&space).offer(&redis.url(), space.name()).set("broker.password", "sesame").lead().await;
    space.task_queue("q", json!({})).await;
    space.until_ready("q", "Idle").await;
    let copy = space.get::<Secret>("q-broker").await.unwrap();
    let data = copy.data.unwrap();
    let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
    assert_eq!((text("url"), text("password")), (redis.url(), "sesame".to_owned()));
    assert!(!space.get::<TaskQueue>("q").await.unwrap().status.unwrap().broker.unwrap().contains("sesame"));

    // A broker of its own needs no copy.
    space.change::<TaskQueue>("q", json!({ "spec": { "broker": { "url": own.url() } } })).await.unwrap();
    space.until_gone::<Secret>("q-broker", SOON).await;
    space.until_ready("q", "Idle").await;
    space.change::<TaskQueue>("q", json!({ "spec": { "broker": null } })).await.unwrap();
    until("the copy is there again", SOON, async || {
        space.get::<Secret>("q-broker").await.map(drop).ok_or("it is not".to_owned())
    })
    .await;
    space.until_ready("q", "Idle").await;
    assert!(!operator.log().contains("sesame"), "a password is in the log");
    drop(operator);

    let _other = Launch::of(&space).offer(&redis.url(), "somewhere-else").lead().await;
    space.task_queue("not-offered", json!({})).await;
    let none = space.until_condition("not-offered", "Ready", "False", "NoBroker").await;
    assert!(message(&none).contains("broker.allowedNamespaces"), "{}", message(&none));
    assert!(space.get::<Secret>("not-offered-broker").await.is_none());
}
