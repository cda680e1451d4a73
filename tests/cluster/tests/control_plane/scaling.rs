//! How many worker pods there are.

use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;
use tidemill_broker::{Broker, Exchange, Exchanged};
use tidemill_cluster_tests::cluster::SOON;
use tidemill_cluster_tests::kubelet::run_pods;
use tidemill_cluster_tests::redis::{connect, enqueue, queue};
use tidemill_cluster_tests::{Launch, RedisServer, Space, holds, kubectl, until};
use tidemill_core::{QueueName, State, TaskType, WorkerId, WorkerInfo};
use tidemill_operator::crd::TaskQueue;
use tidemill_operator::plan::selector_text;
use tidemill_tests::program::binary;

pub(crate) async fn until_replicas(space: &Space, name: &str, wanted: i32) {
    until_replicas_within(SOON, space, name, wanted).await;
}

async fn until_replicas_within(deadline: Duration, space: &Space, name: &str, wanted: i32) {
    let deployment = format!("{name}-worker");
    until(&format!("{deployment} asks for {wanted} pods"), deadline, async || {
        let now = space.get::<Deployment>(&deployment).await.and_then(|found| found.spec?.replicas);
        holds(now == Some(wanted), || format!("{now:?}"))
    })
    .await;
}

pub(crate) async fn pods(space: &Space, name: &str) -> Vec<Pod> {
    let selected = ListParams::default().labels(&selector_text(name));
    let pods = space.api::<Pod>().list(&selected).await.unwrap().items;
    pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
}

#[tokio::test]
async fn in_mode_manual_there_are_as_many_pods_as_the_spec_says() {
    let space = Space::new("manual").await;
    let redis = RedisServer::start();
    let _operator = Launch::of(&space).lead().await;
    let spec = json!({ "broker": { "url": redis.url() }, "replicas": 2, "scaling": { "mode": "Manual" } });
    space.task_queue("q", spec).await;
    until_replicas(&space, "q", 2).await;
    space.until_condition("q", "Ready", "False", "RollingOut").await;
    space.until_condition("q", "ScalingActive", "False", "Manual").await;
    run_pods(&space, "q", 2).await;
    space.until_ready("q", "Available").await;
    let (scaled, _, complained) = kubectl(&["scale", "--namespace", space.name(), "tq/q", "--replicas=3"]);
    assert!(scaled, "{complained}");
    until_replicas(&space, "q", 3).await;
    run_pods(&space, "q", 3).await;
    let status = until("the status counts the pods", SOON, async || {
        let status = space.get::<TaskQueue>("q").await.unwrap().status.unwrap();
        holds((status.replicas, status.ready_replicas) == (3, 3), || format!("{status:?}")).map(|()| status)
    })
    .await;
    assert_eq!(status.selector, Some(selector_text("q")));
    // A broker that is away does not keep anybody from scaling by hand.
    redis.kill();
    space.until_condition("q", "BrokerReachable", "False", "BrokerUnreachable").await;
    space.change::<TaskQueue>("q", json!({ "spec": { "replicas": 1 } })).await.unwrap();
    until_replicas(&space, "q", 1).await;
}

#[tokio::test]
async fn a_horizontal_pod_autoscaler_scales_a_task_queue_in_mode_manual() {
    /// The controller looks every 15 s, and learns of new resources every 30 s; after an outage it waits besides.
    const LOOK: Duration = Duration::from_mins(2);
    let space = Space::new("hpa").await;
    let redis = RedisServer::start();
    let _operator = Launch::of(&space).lead().await;
    let spec = json!({ "broker": { "url": redis.url() }, "replicas": 1, "scaling": { "mode": "Manual" } });
    space.task_queue("q", spec).await;
    until_replicas(&space, "q", 1).await;
    let hpa: HorizontalPodAutoscaler = serde_json::from_value(json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "q" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "tidemill.dev/v1alpha1", "kind": "TaskQueue", "name": "q" },
            "minReplicas": 2, "maxReplicas": 4,
            "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } } }],
        },
    }))
    .unwrap();
    space.create(&hpa).await;
    // Fewer pods than its minimum: it writes that through the scale subresource, without asking for metrics.
    until_replicas_within(LOOK, &space, "q", 2).await;
    assert_eq!(space.get::<TaskQueue>("q").await.unwrap().spec.replicas, 2);
    let hpa = until("the autoscaler can scale", LOOK, async || {
        let hpa = space.get::<HorizontalPodAutoscaler>("q").await.unwrap();
        let conditions = hpa.status.clone().and_then(|status| status.conditions).unwrap_or_default();
        let able = conditions.iter().any(|condition| condition.type_ == "AbleToScale" && condition.status == "True");
        holds(able, || format!("{conditions:?}")).map(|()| conditions)
    })
    .await;
    assert!(hpa.iter().all(|condition| condition.reason.as_deref() != Some("InvalidSelector")), "{hpa:?}");
}

#[tokio::test]
async fn there_are_never_more_pods_than_max_replicas_and_never_fewer_than_min_replicas() {
    let space = Space::new("bounds").await;
    let redis = RedisServer::start();
    let broker = connect(&redis.url());
    let _operator = Launch::of(&space).lead().await;
    let scaling = json!({
        "minReplicas": 1, "maxReplicas": 3, "backlogPerSlot": 1, "scaleDown": { "stabilizationSeconds": 0 },
    });
    space
        .task_queue(
            "q",
            json!({ "broker": { "url": redis.url() }, "worker": { "workersLimit": 1 }, "scaling": scaling }),
        )
        .await;
    until_replicas(&space, "q", 1).await;
    run_pods(&space, "q", 1).await;
    space.until_ready("q", "Available").await;
    enqueue(&*broker, &queue("q"), 500).await;
    until_replicas(&space, "q", 3).await;
    let status = until("the status tells what limited it", SOON, async || {
        let status = space.get::<TaskQueue>("q").await.unwrap().status.unwrap();
        let limited = status.scaling.as_ref().is_some_and(|decision| decision.limited_by.is_some());
        holds(limited, || format!("{status:?}")).map(|()| status)
    })
    .await;
    let decision = status.scaling.unwrap();
    assert_eq!((decision.replicas, decision.limited_by.unwrap().as_str()), (3, "MaxReplicas"));
    assert!(decision.wanted > 3, "{decision:?}");
    assert!(space.until_event("q", "Scaled").await.starts_with("worker pods from "));

    // `explain` says the same, and what was done lately.
    let said = Command::new(binary()).args(["operator", "explain", "q", "-n", space.name()]).output().unwrap();
    let (text, complained) =
        (String::from_utf8(said.stdout).unwrap(), String::from_utf8_lossy(&said.stderr).into_owned());
    assert!(said.status.success(), "{complained}");
    for part in
        ["3 pods (", "scaling.maxReplicas allows no more.", "500 pending, 0 active", "last changes:", "1 to 3: "]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }

    broker.purge(&queue("q"), State::Pending).await.unwrap();
    until_replicas(&space, "q", 1).await;
}

#[tokio::test]
async fn explain_names_what_is_not_there() {
    let space = Space::new("explain").await;
    let said = Command::new(binary()).args(["operator", "explain", "q", "-n", space.name()]).output().unwrap();
    let complained = String::from_utf8_lossy(&said.stderr).into_owned();
    let expected = format!("there is no TaskQueue q in namespace {}", space.name());
    assert!(!said.status.success() && complained.contains(&expected), "{complained}");
    space.task_queue("q", json!({})).await;
    let said = Command::new(binary()).args(["operator", "explain", "q", "-n", space.name()]).output().unwrap();
    let complained = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && complained.contains("is the operator running?"), "{complained}");
}

/// A worker in the pod of this name, which claims tasks and never ends them. Its lease is kept while this runs.
pub(crate) async fn work(broker: &dyn Broker, queue: &QueueName, pod: &str, want: usize) -> WorkerId {
    let id: WorkerId = serde_json::from_value(json!("01900000-0000-7000-8000-000000000001")).unwrap();
    let info =
        WorkerInfo { id, name: pod.to_owned(), types: vec![TaskType::sleep()], slots: 10, version: "test".to_owned() };
    broker.register(queue, &info).await.unwrap();
    let claimed =
        broker.exchange(queue, &Exchange { worker: id, number: 1, finished: Vec::new(), want }).await.unwrap();
    assert!(matches!(claimed, Exchanged::Done { ref claims, .. } if claims.len() == want), "{claimed:?}");
    id
}

#[tokio::test]
async fn scaling_in_takes_idle_pods_first() {
    /// A third of the time for which a lease holds.
    const BEAT: Duration = Duration::from_secs(3);
    let space = Space::new("idle-first").await;
    let redis = RedisServer::start();
    let broker = connect(&redis.url());
    let _operator = Launch::of(&space).lead().await;
    let scaling = json!({ "backlogPerSlot": 1, "scaleDown": { "stabilizationSeconds": 0 } });
    space.task_queue("q", json!({ "broker": { "url": redis.url() }, "scaling": scaling })).await;
    space.until_ready("q", "Idle").await;
    let name = queue("q");
    enqueue(&*broker, &name, 30).await;
    until_replicas(&space, "q", 3).await;
    run_pods(&space, "q", 3).await;
    until("all of them are ready", SOON, async || {
        let ready = space.get::<TaskQueue>("q").await.unwrap().status.unwrap().ready_replicas;
        holds(ready == 3, || format!("{ready} are"))
    })
    .await;
    let all = pods(&space, "q").await;
    // Of equal pods the youngest would go first, so the busy one is the one that would go.
    let busy = all.iter().max_by_key(|pod| pod.metadata.creation_timestamp.clone()).unwrap().name_any();
    let worker = work(&*broker, &name, &busy, 5).await;
    broker.purge(&name, State::Pending).await.unwrap();
    let shrunk = until_replicas(&space, "q", 1);
    let beating = async {
        loop {
            broker.heartbeat(&name, &worker, &[]).await.unwrap();
            tokio::time::sleep(BEAT).await;
        }
    };
    tokio::select! {
        () = shrunk => {}
        () = beating => {}
    }
    let left = until("one pod is left", SOON, async || {
        let left = pods(&space, "q").await;
        holds(left.len() == 1, || format!("{}", left.len())).map(|()| left)
    })
    .await;
    assert_eq!(left[0].name_any(), busy);
    assert_eq!(left[0].annotations()["controller.kubernetes.io/pod-deletion-cost"], "5");
}
