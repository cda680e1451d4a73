//! Scaling by hand, mending, deleting and uninstalling.

use std::time::Duration;

use serde_json::json;

use crate::kubectl::{apply, get, kubectl, kubectl_within, names, wait_for};
use crate::queue::Queue;
use crate::release::{self, RELEASE};
use crate::wait::{ensure, until};

/// How long pods may take to come or to go.
const PODS: Duration = Duration::from_mins(1);
/// How long a controller may take to look at something.
const SOON: Duration = Duration::from_secs(45);
/// How long a deletion may take without a broker: the shutdown timeout of workers that cannot settle, and 10 s in which
/// the operator tries to reach it.
const WITHOUT_BROKER: Duration = Duration::from_secs(90);
/// Long enough that tasks run when their queue is deleted, and well below the shutdown timeout.
const TASK_MS: u64 = 5_000;
/// All kinds that the operator makes, and what comes of them.
const OWNED: &str = "deployments,replicasets,pods,services,endpointslices,serviceaccounts,configmaps,secrets,\
    poddisruptionbudgets,networkpolicies";
/// All kinds that the chart makes in its namespace.
const INSTALLED: &str = "deployments,statefulsets,replicasets,pods,jobs,services,endpointslices,serviceaccounts,configmaps,\
    secrets,poddisruptionbudgets,networkpolicies,roles,rolebindings,leases,taskqueues";

pub(crate) fn run() {
    release::needed();
    let queue = Queue::ready("by-hand", &json!({ "scaling": { "mode": "Manual" }, "worker": { "workersLimit": 2 } }));
    queue.has_pods(1, PODS);
    scales_by_hand(&queue);
    takes_an_autoscaler();
    comes_back(&queue);
    drains(&queue);
    is_deleted_without_a_broker();
    uninstalls();
}

fn scales_by_hand(queue: &Queue) {
    kubectl(&["scale", "tq/by-hand", "--replicas=3"]).done();
    queue.has_pods(3, PODS);
    until(SOON, "the status says so", || {
        let replicas = get(&["taskqueue/by-hand"])?["status"]["readyReplicas"].clone();
        ensure(replicas == 3, || replicas.to_string())
    });

    let auto = Queue::ready("by-itself", &json!({}));
    let refusal = kubectl(&["scale", "tq/by-itself", "--replicas=3"]).refused();
    assert!(refusal.contains("set scaling.mode: Manual to scale by hand or by an HPA"), "{refusal}");
    println!("scaling in mode Auto: {}", refusal.trim());
    auto.delete();
    auto.gone(PODS);
}

/// There are no figures of CPU on the test cluster; that it can be scaled is said all the same.
fn takes_an_autoscaler() {
    apply(&json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "by-hand" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "tidemill.dev/v1alpha1", "kind": "TaskQueue", "name": "by-hand" },
            "minReplicas": 1, "maxReplicas": 4,
            "metrics": [{ "type": "Resource", "resource": {
                "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 70 },
            } }],
        },
    }))
    .done();
    wait_for("condition=AbleToScale", &["horizontalpodautoscaler/by-hand"], SOON).done();
    kubectl(&["delete", "horizontalpodautoscaler/by-hand"]).done();
}

fn comes_back(queue: &Queue) {
    let uid = || get(&["deployment/by-hand-worker"]).map(|deployment| deployment["metadata"]["uid"].clone());
    let before = uid().unwrap();
    kubectl(&["delete", "deployment/by-hand-worker", "--wait=false"]).done();
    until(SOON, "the Deployment is made anew", || {
        let now = uid()?;
        ensure(now != before, || "it is still the old one".to_owned())
    });
    queue.has_pods(3, PODS);
    println!("a deleted Deployment came back");
}

/// What runs may end, and what waits stays on the broker.
fn drains(queue: &Queue) {
    queue.send(8, TASK_MS);
    until(SOON, "all slots are taken", || {
        let active = queue.figures()?["active"].clone();
        ensure(active == 6, || format!("{active} are"))
    });
    queue.delete();
    queue.gone(PODS);
    nothing_is_left_of("by-hand");
    let figures = queue.figures().unwrap();
    let counters = &figures["counters"];
    let ended =
        [&counters["succeeded"], &counters["lost"], &counters["released"], &counters["failed"], &figures["pending"]];
    assert_eq!(ended, [6, 0, 0, 0, 2], "{figures}");
    println!("a deleted TaskQueue let its 6 tasks end, kept the 2 that waited, and left nothing behind");
}

fn is_deleted_without_a_broker() {
    let broker = format!("statefulset/{RELEASE}-valkey");
    let queue = Queue::ready("bereft", &json!({ "scaling": { "mode": "Manual" } }));
    queue.has_pods(1, PODS);
    kubectl(&["scale", &broker, "--replicas=0"]).done();
    wait_for("delete", &[&format!("pod/{RELEASE}-valkey-0")], PODS).done();
    queue.delete();
    queue.gone(WITHOUT_BROKER);
    nothing_is_left_of("bereft");
    until(SOON, "an Event says what was left", || {
        let reasons = kubectl(&["get", "events", "--output=jsonpath={.items[*].reason}"]).result()?;
        ensure(reasons.contains("BrokerLeftAsIs"), || reasons)
    });
    kubectl(&["scale", &broker, "--replicas=1"]).done();
    wait_for("jsonpath={.status.readyReplicas}=1", &[&broker], PODS).done();
    println!("a TaskQueue whose broker is gone was deleted all the same");
}

fn nothing_is_left_of(task_queue: &str) {
    until(SOON, "nothing is left of a deleted TaskQueue", || {
        let mut left = names(&[OWNED, &format!("--selector=tidemill.dev/queue-owner={task_queue}")])?;
        left.extend(names(&["secrets"])?.into_iter().filter(|name| *name == format!("{task_queue}-broker")));
        ensure(left.is_empty(), || format!("{left:?}"))
    });
}

/// The chart's own TaskQueues are drained by a hook, while the operator lives.
fn uninstalls() {
    let queues = json!([{ "name": "of-the-chart", "spec": { "scaling": { "mode": "Manual" } } }]);
    release::upgrade(&format!("taskQueues={queues}")).done();
    Queue::named("of-the-chart").has_pods(1, PODS);
    println!("helm upgrade applied a TaskQueue of the values");
    let said = release::uninstall().done();
    println!("{}", said.trim());
    kubectl(&["get", "crd", "taskqueues.tidemill.dev"]).done();
    // What Kubernetes puts into each namespace, the pods of these tests, and the Lease by which operators elect their leader.
    let others = ["kube-root-ca.crt", "default", "client", "listener", "tidemill-operator"];
    until(PODS, "nothing is left but the definition, the broker's volume and the Lease", || {
        let mut left = names(&[INSTALLED])?;
        left.retain(|name| !others.contains(&name.as_str()));
        left.extend(names(&[
            "clusterroles,clusterrolebindings",
            &format!("--selector=tidemill.dev/installation={RELEASE}"),
        ])?);
        ensure(left.is_empty(), || format!("{left:?}"))
    });
    // It stays for the case that the release comes back with its tasks; here it does not.
    kubectl_within(PODS, &["delete", "persistentvolumeclaims", "--all"]).done();
}
