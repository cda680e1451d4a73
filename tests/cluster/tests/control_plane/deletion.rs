//! The end of a TaskQueue.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use tidemill_cluster_tests::cluster::SOON;
use tidemill_cluster_tests::redis::{connect, enqueue, queue};
use tidemill_cluster_tests::{Launch, RedisServer, Space, holds, until};
use tidemill_operator::crd::TaskQueue;

/// How long a deletion may take whose broker is dead: it is tried for ten seconds.
const DEAD_BROKER: Duration = Duration::from_secs(20);

/// Waits until nothing in the namespace belongs to a TaskQueue any more.
async fn nothing_is_left(space: &Space) {
    macro_rules! count {
        ($($kind:ty),*) => { vec![$({
            let left = space.api::<$kind>().list_metadata(&ListParams::default()).await.unwrap().items;
            let ours = left.into_iter().filter(|object| object.labels().contains_key("tidemill.dev/queue-owner"));
            (stringify!($kind), ours.map(|object| object.name_any()).collect::<Vec<_>>())
        }),*] };
    }
    until("nothing is left behind", SOON, async || {
        let left = count![
            Deployment,
            ReplicaSet,
            Pod,
            Service,
            ServiceAccount,
            ConfigMap,
            Secret,
            PodDisruptionBudget,
            NetworkPolicy
        ];
        holds(left.iter().all(|(_, names)| names.is_empty()), || format!("{left:?}"))
    })
    .await;
}

#[tokio::test]
async fn retain_leaves_the_tasks_on_the_broker_and_nothing_in_the_namespace() {
    let space = Space::new("retain").await;
    let redis = RedisServer::start();
    let broker = connect(&redis.url());
    let _operator =
        Launch::of(&space).offer(&redis.url(), space.name()).set("operator.network_policies", "on").lead().await;
    space.task_queue("q", json!({ "api": {} })).await;
    space.until_ready("q", "Idle").await;
    enqueue(&*broker, &queue("q"), 7).await;
    until("there are worker pods", SOON, async || {
        let pods =
            space.api::<Pod>().list(&ListParams::default().labels("app.kubernetes.io/component=worker")).await.unwrap();
        holds(!pods.items.is_empty(), || "none".to_owned())
    })
    .await;
    space.delete::<TaskQueue>("q").await;
    space.until_gone::<TaskQueue>("q", SOON).await;
    nothing_is_left(&space).await;
    assert_eq!(broker.stats(&queue("q")).await.unwrap().pending, 7);
    assert_eq!(broker.owner(&queue("q")).await.unwrap(), None);
    assert!(space.until_event("q", "Draining").await.contains("the workers drain"));
    assert_eq!(space.until_event("q", "Deleted").await, "the tasks of queue q stay on the broker");

    // Another of the same name takes them up again.
    space.task_queue("q", json!({ "paused": true })).await;
    until("the tasks are counted", SOON, async || {
        let status = space.get::<TaskQueue>("q").await.unwrap().status.unwrap_or_default();
        holds(status.queue.as_ref().is_some_and(|queue| queue.pending == 7), || format!("{status:?}"))
    })
    .await;
}

#[tokio::test]
async fn purge_drops_the_queue_from_the_broker() {
    let space = Space::new("purge").await;
    let redis = RedisServer::start();
    let broker = connect(&redis.url());
    let _operator = Launch::of(&space).lead().await;
    let spec = json!({ "broker": { "url": redis.url() }, "deletionPolicy": "Purge", "paused": true });
    space.task_queue("q", spec).await;
    space.until_ready("q", "Paused").await;
    enqueue(&*broker, &queue("q"), 7).await;
    space.delete::<TaskQueue>("q").await;
    space.until_gone::<TaskQueue>("q", SOON).await;
    nothing_is_left(&space).await;
    assert!(!broker.queues().await.unwrap().contains(&queue("q")));
    assert_eq!(space.until_event("q", "Deleted").await, "queue q was purged");
}

#[tokio::test]
async fn a_dead_broker_holds_up_no_deletion_and_an_event_says_what_was_left() {
    let space = Space::new("dead-broker").await;
    let redis = RedisServer::start();
    let _operator = Launch::of(&space).lead().await;
    for (name, policy) in [("retained", "Retain"), ("purged", "Purge")] {
        space.task_queue(name, json!({ "broker": { "url": redis.url() }, "deletionPolicy": policy })).await;
        space.until_ready(name, "Idle").await;
    }
    redis.kill();
    for (name, left) in [
        ("retained", "the queue still names this TaskQueue as its owner: "),
        ("purged", "the queue's tasks were not purged: "),
    ] {
        let began = Instant::now();
        space.delete::<TaskQueue>(name).await;
        space.until_gone::<TaskQueue>(name, DEAD_BROKER).await;
        println!("with a dead broker, {name} was gone after {} ms", began.elapsed().as_millis());
        let note = space.until_event(name, "BrokerLeftAsIs").await;
        assert!(note.starts_with(left), "{note}");
    }
    nothing_is_left(&space).await;
}

#[tokio::test]
async fn a_task_queue_that_never_had_its_secret_can_be_deleted() {
    let space = Space::new("secretless").await;
    let _operator = Launch::of(&space).lead().await;
    space.task_queue("q", json!({ "broker": { "urlFrom": { "name": "none", "key": "url" } } })).await;
    space.until_condition("q", "Ready", "False", "SecretMissing").await;
    space.delete::<TaskQueue>("q").await;
    space.until_gone::<TaskQueue>("q", DEAD_BROKER).await;
    nothing_is_left(&space).await;
}

#[tokio::test]
async fn the_finalizer_stays_until_the_last_worker_pod_has_gone() {
    let space = Space::new("drain").await;
    let redis = RedisServer::start();
    let _operator = Launch::of(&space).lead().await;
    let spec = json!({ "broker": { "url": redis.url() }, "replicas": 1, "scaling": { "mode": "Manual" } });
    space.task_queue("q", spec).await;
    let workers = ListParams::default().labels("tidemill.dev/queue-owner=q");
    let pod = until("there is a pod", SOON, async || {
        space.api::<Pod>().list(&workers).await.unwrap().items.pop().ok_or("none".to_owned())
    })
    .await;
    // A finalizer of somebody else's stands for a worker that takes its time to drain.
    let held = json!({ "metadata": { "finalizers": ["example.org/slow"] } });
    space.change::<Pod>(&pod.name_any(), held).await.unwrap();
    space.delete::<TaskQueue>("q").await;
    until("the pod is asked to go", SOON, async || {
        let pod = space.get::<Pod>(&pod.name_any()).await.ok_or("it is gone")?;
        holds(pod.metadata.deletion_timestamp.is_some(), || "it is not".to_owned())
    })
    .await;
    let task_queue = space.get::<TaskQueue>("q").await.unwrap();
    assert!(task_queue.finalizers().iter().any(|finalizer| finalizer == "tidemill.dev/drain"));
    assert_eq!(space.get::<Deployment>("q-worker").await.unwrap().spec.unwrap().replicas, Some(0));
    space.change::<Pod>(&pod.name_any(), json!({ "metadata": { "finalizers": null } })).await.unwrap();
    space.until_gone::<TaskQueue>("q", SOON).await;
    nothing_is_left(&space).await;
    assert!(space.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default()).await.is_err());
}
