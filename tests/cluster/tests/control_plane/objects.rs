//! The objects of a TaskQueue: made, kept as they should be, and never taken from somebody else.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidemill_cluster_tests::cluster::SOON;
use tidemill_cluster_tests::operator::WORKER_IMAGE;
use tidemill_cluster_tests::{Launch, RedisServer, Space, holds, kubectl, until};
use tidemill_operator::crd::TaskQueue;
use tidemill_operator::plan::{CONFIG_CHECKSUM, pod_monitor_resource};

/// What somebody by hand could have meant: neither the status, nor what the API server counts for itself.
fn essence<K: Serialize>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    value.as_object_mut().unwrap().remove("status");
    let metadata = value["metadata"].as_object_mut().unwrap();
    for counted in ["resourceVersion", "managedFields", "generation", "creationTimestamp", "uid"] {
        metadata.remove(counted);
    }
    // An address is given out anew to each Service that asks for any.
    if value["spec"]["clusterIP"] != "None"
        && let Some(spec) = value["spec"].as_object_mut()
    {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    let metadata = value["metadata"].as_object_mut().unwrap();
    // The revision of a Deployment is its controller's.
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("deployment.kubernetes.io/revision");
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    value
}

/// Deletes an object and waits for another of the same essence, then makes `change` and waits until it is undone.
async fn is_mended<K>(space: &Space, name: &str, change: Value)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug,
{
    let kind = K::kind(&());
    let before: K =
        until(&format!("{kind} {name} is there"), SOON, async || space.get(name).await.ok_or("no".to_owned())).await;
    assert!(before.owner_references().iter().any(|owner| owner.kind == "TaskQueue" && owner.controller == Some(true)));
    space.delete::<K>(name).await;
    until(&format!("{kind} {name} is there again"), SOON, async || {
        let now = space.get::<K>(name).await.filter(|now| now.uid() != before.uid());
        let now = now.map(|now| essence(&now)).ok_or("it is gone")?;
        holds(now == essence(&before), || format!("{now:#}"))
    })
    .await;
    let changed: K = space.change(name, change.clone()).await.unwrap();
    assert_ne!(essence(&changed), essence(&before), "{kind}: {change} changes nothing");
    until(&format!("{change} of {kind} {name} is undone"), SOON, async || {
        let now = essence(&space.get::<K>(name).await.ok_or("it is gone")?);
        holds(now == essence(&before), || format!("{now:#}"))
    })
    .await;
}

#[tokio::test]
async fn a_task_queue_becomes_its_objects_and_an_idle_one_is_ready() {
    let space = Space::new("objects").await;
    let redis = RedisServer::start();
    let _operator = Launch::of(&space).set("operator.network_policies", "on").lead().await;
    space.task_queue("emails", json!({ "broker": { "url": redis.url() } })).await;
    let task_queue = space.until_ready("emails", "Idle").await;
    let status = task_queue.status.unwrap();
    let said = |type_: &str| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
        (condition.status.clone(), condition.reason.clone())
    };
    let is = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    assert_eq!(said("Progressing"), is("False", "AsExpected"));
    assert_eq!(said("Degraded"), is("False", "AsExpected"));
    assert_eq!(said("BrokerReachable"), is("True", "Connected"));
    assert_eq!(said("ScalingActive"), is("True", "Auto"));
    assert_eq!(status.observed_generation, task_queue.metadata.generation);
    assert_eq!((status.replicas, status.ready_replicas), (0, 0));
    assert_eq!(status.broker, Some(redis.url()));
    assert_eq!(status.image.as_deref(), Some(WORKER_IMAGE));
    assert_eq!(status.queue.unwrap().name, "emails");

    let deployment = space.get::<Deployment>("emails-worker").await.unwrap();
    assert_eq!(deployment.spec.unwrap().replicas, Some(0));
    assert!(space.get::<Service>("emails-worker").await.is_some());
    assert!(space.get::<ServiceAccount>("emails-worker").await.is_some());
    assert!(space.get::<ConfigMap>("emails-worker").await.is_some());
    assert!(space.get::<PodDisruptionBudget>("emails-worker").await.is_some());
    assert!(space.get::<NetworkPolicy>("emails-worker").await.is_some());

    let (_, shown, _) = kubectl(&["get", "tq", "--namespace", space.name(), "-o", "wide"]);
    let head: Vec<_> = shown.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "READY", "REPLICAS", "PENDING", "ACTIVE", "OLDEST", "AGE", "BROKER", "IMAGE", "REASON"]);
    let line = shown.lines().nth(1).unwrap();
    assert!(line.starts_with("emails") && line.contains("True") && line.trim_end().ends_with("Idle"), "{line}");
    assert!(space.until_event("emails", "Idle").await.contains("nothing to do"));
}

#[tokio::test]
async fn each_object_that_is_deleted_or_changed_by_hand_is_mended() {
    let space = Space::new("mend").await;
    let redis = RedisServer::start();
    let _operator = Launch::of(&space).set("operator.network_policies", "on").lead().await;
    space.task_queue("q", json!({ "broker": { "url": redis.url() }, "api": { "replicas": 0 } })).await;
    space.until_ready("q", "Idle").await;
    is_mended::<ServiceAccount>(&space, "q-worker", json!({ "automountServiceAccountToken": true })).await;
    is_mended::<ConfigMap>(&space, "q-worker", json!({ "data": { "config.yaml": "queue: {name: another}" } })).await;
    is_mended::<Service>(&space, "q-worker", json!({ "spec": { "publishNotReadyAddresses": false } })).await;
    is_mended::<PodDisruptionBudget>(&space, "q-worker", json!({ "spec": { "maxUnavailable": 0 } })).await;
    is_mended::<NetworkPolicy>(&space, "q-worker", json!({ "spec": { "ingress": [] } })).await;
    let shorter = json!({ "spec": { "template": { "spec": { "terminationGracePeriodSeconds": 1 } } } });
    is_mended::<Deployment>(&space, "q-worker", shorter).await;
    is_mended::<ConfigMap>(&space, "q-api", json!({ "data": { "config.yaml": "form: rest" } })).await;
    is_mended::<Service>(&space, "q-api", json!({ "metadata": { "labels": { "app.kubernetes.io/name": "x" } } })).await;
    is_mended::<Deployment>(&space, "q-api", json!({ "spec": { "replicas": 3 } })).await;
    // Without the label by which the operator watches its objects, it sees it go and gives it the label back.
    let unlabelled = json!({ "metadata": { "labels": { "tidemill.dev/queue-owner": null } } });
    is_mended::<Deployment>(&space, "q-worker", unlabelled.clone()).await;
    is_mended::<ConfigMap>(&space, "q-worker", unlabelled).await;
}

#[tokio::test]
async fn what_somebody_else_made_under_a_name_of_ours_is_left_alone() {
    let space = Space::new("foreign").await;
    let redis = RedisServer::start();
    let _operator = Launch::of(&space).offer(&redis.url(), space.name()).lead().await;
    let theirs = ObjectMeta { name: Some("q-worker".to_owned()), ..ObjectMeta::default() };
    let data = [("theirs".to_owned(), "yes".to_owned())];
    space.create(&ConfigMap { metadata: theirs, data: Some(data.into()), ..ConfigMap::default() }).await;
    space.secret("p-broker", &[("theirs", "yes")]).await;
    for (name, kind) in [("q", "ConfigMap q-worker"), ("p", "Secret p-broker")] {
        space.task_queue(name, json!({})).await;
        let task_queue = space.until_condition(name, "Ready", "False", "ApplyFailed").await;
        let conditions = task_queue.status.unwrap().conditions;
        let message = &conditions.iter().find(|condition| condition.type_ == "Ready").unwrap().message;
        assert!(message.contains(&format!("{kind} is there already and belongs to somebody else")), "{message}");
    }
    assert_eq!(space.get::<ConfigMap>("q-worker").await.unwrap().data.unwrap()["theirs"], "yes");
    space.delete::<ConfigMap>("q-worker").await;
    space.until_ready("q", "Idle").await;
    let ours = space.get::<ConfigMap>("q-worker").await.unwrap();
    assert!(ours.data.unwrap().contains_key("config.yaml"));
}

#[tokio::test]
async fn a_change_of_the_spec_reaches_the_deployment() {
    let space = Space::new("changes").await;
    let redis = RedisServer::start();
    let _operator = Launch::of(&space).lead().await;
    space.task_queue("q", json!({ "broker": { "url": redis.url() } })).await;
    space.until_ready("q", "Idle").await;
    let checksum = |deployment: &Deployment| {
        let template = deployment.spec.as_ref().unwrap().template.metadata.clone().unwrap();
        template.annotations.unwrap()[CONFIG_CHECKSUM].clone()
    };
    let before = checksum(&space.get("q-worker").await.unwrap());
    let change = json!({ "spec": { "worker": {
        "image": "registry.example/worker:2",
        "workersLimit": 3,
        "shutdownTimeoutSeconds": 5,
        "env": [{ "name": "GREETING", "value": "hello" }],
        "template": { "spec": { "nodeSelector": { "disk": "fast" } } },
    } } });
    space.change::<TaskQueue>("q", change).await.unwrap();
    until("the Deployment follows", SOON, async || {
        let deployment = space.get::<Deployment>("q-worker").await.unwrap();
        let pod = deployment.spec.clone().unwrap().template.spec.unwrap();
        let worker = &pod.containers[0];
        let greeted =
            worker.env.iter().flatten().any(|env| env.name == "GREETING" && env.value.as_deref() == Some("hello"));
        let follows = worker.image.as_deref() == Some("registry.example/worker:2")
            && greeted
            && pod.termination_grace_period_seconds == Some(15)
            && pod.node_selector.as_ref().is_some_and(|selector| selector["disk"] == "fast")
            && checksum(&deployment) != before;
        holds(follows, || format!("{pod:?}"))
    })
    .await;
    let config = space.get::<ConfigMap>("q-worker").await.unwrap().data.unwrap()["config.yaml"].clone();
    assert!(config.contains("workers_limit: 3"), "{config}");
    let status = space.until_ready("q", "Idle").await.status.unwrap();
    assert_eq!(status.image.as_deref(), Some("registry.example/worker:2"));
    // What is taken out of the spec goes.
    space
        .change::<TaskQueue>("q", json!({ "spec": { "worker": { "env": null, "template": null, "image": null } } }))
        .await
        .unwrap();
    until("the Deployment goes back", SOON, async || {
        let pod = space.get::<Deployment>("q-worker").await.unwrap().spec.unwrap().template.spec.unwrap();
        let worker = &pod.containers[0];
        let back = worker.image.as_deref() == Some(WORKER_IMAGE)
            && pod.node_selector.is_none()
            && worker.env.iter().flatten().all(|env| env.name != "GREETING");
        holds(back, || format!("{pod:?}"))
    })
    .await;
}

#[tokio::test]
async fn an_api_of_a_queue_s_own_appears_and_goes_with_the_spec() {
    let space = Space::new("api").await;
    let redis = RedisServer::start();
    let _operator = Launch::of(&space).lead().await;
    space.task_queue("q", json!({ "broker": { "url": redis.url() } })).await;
    space.until_ready("q", "Idle").await;
    assert!(space.get::<Deployment>("q-api").await.is_none());
    space.change::<TaskQueue>("q", json!({ "spec": { "api": { "form": "rest", "replicas": 2 } } })).await.unwrap();
    let deployment =
        until("the API is there", SOON, async || space.get::<Deployment>("q-api").await.ok_or("no".to_owned())).await;
    assert_eq!(deployment.spec.unwrap().replicas, Some(2));
    assert!(space.get::<Service>("q-api").await.is_some());
    let config = space.get::<ConfigMap>("q-api").await.unwrap().data.unwrap()["config.yaml"].clone();
    assert!(config.contains("form: rest"), "{config}");
    space.change::<TaskQueue>("q", json!({ "spec": { "api": null } })).await.unwrap();
    space.until_gone::<Deployment>("q-api", SOON).await;
    space.until_gone::<Service>("q-api", SOON).await;
    space.until_gone::<ConfigMap>("q-api", SOON).await;
    assert!(space.get::<Deployment>("q-worker").await.is_some());
}

#[tokio::test]
async fn a_resource_that_cannot_work_says_so_and_stops_no_other() {
    let space = Space::new("bad").await;
    let redis = RedisServer::start();
    let _operator = Launch::of(&space).lead().await;
    let broker = json!({ "url": redis.url() });
    let template = json!({ "spec": { "tolerationz": [] } });
    space.task_queue("bad", json!({ "broker": broker, "worker": { "template": template } })).await;
    // The API server alone can tell that this is no image pull secret, no quantity, and so on: it refuses the Deployment.
    let refused = json!({ "spec": { "containers": [{ "name": "worker", "ports": [{ "containerPort": 70_000 }] }] } });
    space.task_queue("refused", json!({ "broker": broker, "worker": { "template": refused } })).await;
    space.task_queue("good", json!({ "broker": broker })).await;
    space.until_ready("good", "Idle").await;
    let bad = space.until_condition("bad", "Ready", "False", "InvalidSpec").await.status.unwrap();
    let message = &bad.conditions[0].message;
    assert_eq!(message, "spec.worker.template.spec.tolerationz: unknown field; did you mean tolerations?");
    space.until_condition("refused", "Ready", "False", "ApplyFailed").await;
    // The others are looked after as before.
    space.change::<TaskQueue>("good", json!({ "spec": { "paused": true } })).await.unwrap();
    space.until_ready("good", "Paused").await;
    for name in ["bad", "refused"] {
        space.change::<TaskQueue>(name, json!({ "spec": { "worker": { "template": null } } })).await.unwrap();
        space.until_ready(name, "Idle").await;
    }
}

#[tokio::test]
async fn a_pod_monitor_is_made_and_mended_where_the_cluster_knows_them() {
    let space = Space::alone("monitor").await;
    let known = PodMonitors::define(&space).await;
    let redis = RedisServer::start();
    let operator = Launch::of(&space).lead().await;
    space.task_queue("q", json!({ "broker": { "url": redis.url() } })).await;
    space.until_ready("q", "Idle").await;
    let api = PodMonitors::api(&space);
    let first = api.get("q-worker").await.unwrap();
    assert!(first.data["spec"]["podMetricsEndpoints"].is_array(), "{:?}", first.data);
    api.delete("q-worker", &DeleteParams::default()).await.unwrap();
    until("the PodMonitor is there again", SOON, async || {
        let again = api.get_opt("q-worker").await.unwrap();
        holds(again.is_some_and(|again| again.uid() != first.uid()), || "it is not".to_owned())
    })
    .await;
    drop(operator);
    known.undefine(&space).await;
}

/// The resource of the Prometheus operator, known to the cluster while a test needs it.
pub(crate) struct PodMonitors {
    made: bool,
}

impl PodMonitors {
    const CRD: &str = "podmonitors.monitoring.coreos.com";

    pub(crate) async fn define(space: &Space) -> Self {
        let definitions = Api::<CustomResourceDefinition>::all(space.client().clone());
        let made = definitions.get_opt(Self::CRD).await.unwrap().is_none();
        if made {
            let definition = json!({
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": { "name": Self::CRD },
                "spec": {
                    "group": "monitoring.coreos.com",
                    "scope": "Namespaced",
                    "names": { "kind": "PodMonitor", "plural": "podmonitors", "singular": "podmonitor" },
                    "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    } } }],
                },
            });
            definitions.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
        }
        let known = Self { made };
        until("PodMonitors are served", SOON, async || {
            Self::api(space).list(&ListParams::default()).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        known
    }

    pub(crate) fn api(space: &Space) -> Api<DynamicObject> {
        Api::namespaced_with(space.client().clone(), space.name(), &pod_monitor_resource())
    }

    pub(crate) async fn undefine(self, space: &Space) {
        if !self.made {
            return;
        }
        let definitions = Api::<CustomResourceDefinition>::all(space.client().clone());
        definitions.delete(Self::CRD, &DeleteParams::default()).await.unwrap();
        until("PodMonitors are unknown again", SOON, async || {
            let there = definitions.get_opt(Self::CRD).await.unwrap();
            holds(there.is_none(), || format!("{there:?}"))
        })
        .await;
    }
}
