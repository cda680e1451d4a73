//! A TaskQueue and its broker: away, unfit, paused, and told the queue's settings.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;
use tidemill_cluster_tests::cluster::SOON;
use tidemill_cluster_tests::redis::{connect, enqueue, queue};
use tidemill_cluster_tests::{Launch, RedisServer, Space, holds, until};
use tidemill_core::{Backoff, Keep, Retention};
use tidemill_operator::crd::TaskQueue;

#[tokio::test]
async fn a_broker_that_is_away_at_the_start_is_waited_for() {
    let space = Space::new("away").await;
    let redis = RedisServer::start();
    redis.kill();
    let _operator = Launch::of(&space).lead().await;
    space.task_queue("q", json!({ "broker": { "url": redis.url() } })).await;
    space.until_condition("q", "BrokerReachable", "False", "BrokerUnreachable").await;
    space.until_condition("q", "Ready", "False", "BrokerUnreachable").await;
    space.until_condition("q", "Degraded", "True", "BrokerUnreachable").await;
    // Whether the queue may be served is not known, so there is nothing that would serve it.
    assert!(space.get::<Deployment>("q-worker").await.is_none());
    redis.restart();
    space.until_ready("q", "Idle").await;
    space.until_condition("q", "BrokerReachable", "True", "Connected").await;
}

#[tokio::test]
async fn while_the_broker_is_away_the_number_of_pods_is_held() {
    /// Longer than the operator takes to ask a broker anew that is away.
    const OUTAGE: Duration = Duration::from_secs(6);
    let space = Space::new("held").await;
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let _operator = Launch::of(&space).lead().await;
    let scaling = json!({ "scaleDown": { "stabilizationSeconds": 0 }, "backlogPerSlot": 1 });
    space
        .task_queue(
            "q",
            json!({ "broker": { "url": redis.url() }, "scaling": scaling, "worker": { "workersLimit": 1 } }),
        )
        .await;
    space.until_ready("q", "Idle").await;
    enqueue(&*connect(&redis.url()), &queue("q"), 3).await;
    let replicas = async || space.get::<Deployment>("q-worker").await.unwrap().spec.unwrap().replicas.unwrap();
    until("there are three pods", SOON, async || {
        let now = replicas().await;
        holds(now == 3, || format!("{now}"))
    })
    .await;
    redis.kill();
    space.until_condition("q", "BrokerReachable", "False", "BrokerUnreachable").await;
    let away = space.until_condition("q", "ScalingActive", "False", "NoData").await;
    assert_eq!(away.status.unwrap().queue.unwrap().pending, 3, "the last figures are kept");
    let began = std::time::Instant::now();
    while began.elapsed() < OUTAGE {
        assert_eq!(replicas().await, 3);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    redis.restart();
    space.until_condition("q", "BrokerReachable", "True", "Connected").await;
    let broker = connect(&redis.url());
    until("the tasks are cancelled", SOON, async || {
        broker.purge(&queue("q"), tidemill_core::State::Pending).await.map_err(|error| error.to_string())
    })
    .await;
    space.until_ready("q", "Idle").await;
    assert_eq!(replicas().await, 0);
}

#[tokio::test]
async fn a_broker_that_forgets_tasks_when_it_is_full_is_refused() {
    let space = Space::new("unfit").await;
    let redis = RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let _operator = Launch::of(&space).lead().await;
    space.task_queue("q", json!({ "broker": { "url": redis.url() } })).await;
    let unfit = space.until_condition("q", "Ready", "False", "BrokerUnfit").await;
    let message = unfit.status.unwrap().conditions[0].message.clone();
    assert!(message.contains("noeviction"), "{message}");
    assert!(space.get::<Deployment>("q-worker").await.is_none());
}

#[tokio::test]
async fn a_paused_queue_hands_out_no_tasks_and_says_so() {
    let space = Space::new("paused").await;
    let redis = RedisServer::start();
    let broker = connect(&redis.url());
    let _operator = Launch::of(&space).lead().await;
    space.task_queue("q", json!({ "broker": { "url": redis.url() }, "paused": true })).await;
    let paused = space.until_ready("q", "Paused").await;
    assert!(paused.status.unwrap().paused);
    assert!(broker.stats(&queue("q")).await.unwrap().paused);
    enqueue(&*broker, &queue("q"), 5).await;
    until("the status counts what waits", SOON, async || {
        let status = space.get::<TaskQueue>("q").await.unwrap().status.unwrap();
        holds(status.queue.as_ref().is_some_and(|queue| queue.pending == 5), || format!("{status:?}"))
    })
    .await;
    assert_eq!(space.get::<Deployment>("q-worker").await.unwrap().spec.unwrap().replicas, Some(0));
    space.change::<TaskQueue>("q", json!({ "spec": { "paused": false } })).await.unwrap();
    until("the queue hands out tasks again", SOON, async || {
        let stats = broker.stats(&queue("q")).await.map_err(|error| error.to_string())?;
        holds(!stats.paused, || format!("{stats:?}"))
    })
    .await;
    until("there are pods for them", SOON, async || {
        let replicas = space.get::<Deployment>("q-worker").await.unwrap().spec.unwrap().replicas;
        holds(replicas.unwrap() > 0, || format!("{replicas:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_pause_by_hand_is_left_in_force() {
    let space = Space::new("pause-by-hand").await;
    let redis = RedisServer::start();
    let broker = connect(&redis.url());
    let _operator = Launch::of(&space).lead().await;
    space.task_queue("q", json!({ "broker": { "url": redis.url() } })).await;
    space.until_ready("q", "Idle").await;
    broker.pause(&queue("q"), true).await.unwrap();
    space.until_ready("q", "Paused").await;
    space.change::<TaskQueue>("q", json!({ "spec": { "timeoutSeconds": 60 } })).await.unwrap();
    until("the settings are published", SOON, async || {
        let settings = broker.settings(&queue("q")).await.map_err(|error| error.to_string())?;
        holds(settings.timeout_ms == 60_000, || format!("{settings:?}"))
    })
    .await;
    assert!(broker.stats(&queue("q")).await.unwrap().paused);
}

#[tokio::test]
async fn the_settings_of_the_spec_are_published_to_the_broker_at_once_and_when_they_change() {
    let space = Space::new("settings").await;
    let redis = RedisServer::start();
    let broker = connect(&redis.url());
    let _operator = Launch::of(&space).lead().await;
    let keep = |count: u32, age: u32| json!({ "count": count, "ageSeconds": age });
    space
        .task_queue(
            "q",
            json!({
                "broker": { "url": redis.url() },
                "queue": "Mails.2",
                "retry": { "retries": 4, "backoff": { "initialMilliseconds": 10, "maxMilliseconds": 20 } },
                "retention": { "succeeded": keep(1, 2), "dead": keep(3, 4), "cancelled": keep(5, 6) },
                "timeoutSeconds": 7,
            }),
        )
        .await;
    space.until_ready("q", "Idle").await;
    let name = queue("Mails.2");
    let settings = broker.settings(&name).await.unwrap();
    assert_eq!(settings.retries, 4);
    assert_eq!(settings.backoff, Backoff { initial_ms: 10, max_ms: 20 });
    let [succeeded, dead, cancelled] = [(1, 2), (3, 4), (5, 6)].map(|(count, age_s)| Keep { count, age_s });
    assert_eq!(settings.retention, Retention { succeeded, dead, cancelled });
    assert_eq!(settings.timeout_ms, 7_000);
    let owner = broker.owner(&name).await.unwrap().unwrap();
    assert_eq!((owner.namespace.as_str(), owner.name.as_str()), (space.name(), "q"));
    space.change::<TaskQueue>("q", json!({ "spec": { "retry": { "retries": 9 } } })).await.unwrap();
    until("the change is published", SOON, async || {
        let settings = broker.settings(&name).await.map_err(|error| error.to_string())?;
        holds(settings.retries == 9, || format!("{settings:?}"))
    })
    .await;
}
