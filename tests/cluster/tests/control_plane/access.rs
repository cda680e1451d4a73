//! The operator with the roles that the chart gives it.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use serde_json::json;
use tidemill_broker::Broker;
use tidemill_cluster_tests::account::Permission;
use tidemill_cluster_tests::cluster::SOON;
use tidemill_cluster_tests::kubelet::run_pods;
use tidemill_cluster_tests::redis::{connect, enqueue, queue};
use tidemill_cluster_tests::{Account, Launch, Operator, RedisServer, Space, holds, until};
use tidemill_core::State;
use tidemill_operator::crd::TaskQueue;

use crate::objects::PodMonitors;
use crate::scaling::{pods, until_replicas, work};

/// All that an operator does in the life of a TaskQueue on the installation's broker.
async fn live(space: &Space, broker: &dyn Broker, other_broker: &str) {
    let scaling = json!({ "backlogPerSlot": 1, "scaleDown": { "stabilizationSeconds": 0 } });
    space.task_queue("q", json!({ "scaling": scaling, "api": { "replicas": 0 } })).await;
    space.until_ready("q", "Idle").await;
    let name = queue("q");
    enqueue(broker, &name, 20).await;
    until_replicas(space, "q", 2).await;
    run_pods(space, "q", 2).await;
    until("both are ready", SOON, async || {
        let ready = space.get::<TaskQueue>("q").await.unwrap().status.unwrap().ready_replicas;
        holds(ready == 2, || format!("{ready} are"))
    })
    .await;
    // One is busy when there are to be fewer, which is written on it.
    let worker = work(broker, &name, &pods(space, "q").await[0].name_any(), 3).await;
    broker.purge(&name, State::Pending).await.unwrap();
    until_replicas(space, "q", 1).await;
    broker.retire(&name, &worker).await.unwrap();
    broker.purge(&name, State::Pending).await.unwrap();
    until_replicas(space, "q", 0).await;

    space.delete::<Deployment>("q-worker").await;
    until("the Deployment is there again", SOON, async || {
        space.get::<Deployment>("q-worker").await.map(drop).ok_or("it is not".to_owned())
    })
    .await;
    // What the spec no longer needs goes: an API, an account, a copy of the access to the installation's broker.
    let change =
        json!({ "broker": { "url": other_broker }, "worker": { "serviceAccountName": "default" }, "api": null });
    space.change::<TaskQueue>("q", json!({ "spec": change })).await.unwrap();
    space.until_gone::<Secret>("q-broker", SOON).await;
    space.until_gone::<ServiceAccount>("q-worker", SOON).await;
    space.until_gone::<Deployment>("q-api", SOON).await;
    space.until_ready("q", "Idle").await;

    let from = json!({ "broker": { "urlFrom": { "name": "redis", "key": "url" } } });
    space.task_queue("secretive", from).await;
    space.until_condition("secretive", "Ready", "False", "SecretMissing").await;
    space.secret("redis", &[("url", other_broker)]).await;
    space.until_ready("secretive", "Idle").await;
    // Whether the owner of a record is still there is asked of the API server.
    space.task_queue("rival", json!({ "broker": { "url": other_broker }, "queue": "q" })).await;
    space.until_condition("rival", "Ready", "False", "QueueConflict").await;
    for name in ["rival", "q", "secretive"] {
        space.delete::<TaskQueue>(name).await;
        space.until_gone::<TaskQueue>(name, SOON).await;
    }
    space.until_event("q", "Deleted").await;
}

/// Fails where the operator asked for anything that its roles do not allow.
fn nothing_was_forbidden(operator: &Operator, account: &Account) {
    let log = operator.log();
    let refused: Vec<_> = log.lines().filter(|line| line.to_lowercase().contains("forbidden")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let Some(requests) = account.requests() else {
        println!("no audit log (TIDEMILL_CLUSTER is not set): the operator's own log alone was looked at");
        return;
    };
    assert!(!requests.is_empty(), "the audit log knows nothing of the operator");
    let refused: Vec<_> = requests.iter().filter(|request| request.code == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[tokio::test]
async fn with_the_chart_s_cluster_role_everything_works_and_every_permission_is_used() {
    let space = Space::alone("cluster-role").await;
    let monitors = PodMonitors::define(&space).await;
    let (redis, other) = (RedisServer::start(), RedisServer::start());
    let broker = connect(&redis.url());
    let account = Account::of_chart(&space, &[]).await;
    let secrets = account.allowed().into_iter().filter(|(_, resource, _)| resource == "secrets");
    let secrets: BTreeSet<String> = secrets.map(|(_, _, verb)| verb).collect();
    assert!(secrets.is_disjoint(&["list", "watch", "*"].map(str::to_owned).into()), "{secrets:?}");

    let launch = account.launch(Launch::everywhere(&space).offer(&redis.url(), space.name()));
    let mut operator = launch.clone().set("operator.network_policies", "on").lead().await;
    live(&space, &*broker, &other.url()).await;
    // Network policies are turned off while there are some.
    space.task_queue("q", json!({ "broker": { "url": other.url() } })).await;
    space.until_ready("q", "Idle").await;
    assert!(space.get::<NetworkPolicy>("q-worker").await.is_some());
    nothing_was_forbidden(&operator, &account);
    operator.terminate();
    operator.until_ended(SOON).await;
    let operator = launch.set("operator.network_policies", "off").lead().await;
    space.until_gone::<NetworkPolicy>("q-worker", SOON).await;
    nothing_was_forbidden(&operator, &account);
    drop(operator);
    monitors.undefine(&space).await;

    let Some(requests) = account.requests() else { return };
    let mut used: BTreeSet<Permission> = requests.iter().map(|request| request.permission.clone()).collect();
    // An apply of what was not there is a patch that makes it.
    for request in requests.iter().filter(|request| request.code == 201) {
        let (group, resource, _) = request.permission.clone();
        used.insert((group, resource, "create".to_owned()));
    }
    // Asked for by the admission of owner references that block, and not by a request.
    let asked = ("tidemill.dev".to_owned(), "taskqueues/finalizers".to_owned(), "update".to_owned());
    let unused: Vec<_> =
        account.allowed().into_iter().filter(|allowed| !used.contains(allowed) && *allowed != asked).collect();
    assert!(unused.is_empty(), "the chart allows what the operator never does: {unused:#?}");
}

#[tokio::test]
async fn with_the_chart_s_role_of_one_namespace_everything_works() {
    let space = Space::new("role").await;
    let (redis, other) = (RedisServer::start(), RedisServer::start());
    let broker = connect(&redis.url());
    let account =
        Account::of_chart(&space, &[&format!("operator.watchNamespace={}", space.name()), "operator.cluster=here"])
            .await;
    let launch = account.launch(Launch::of(&space).offer(&redis.url(), space.name()).set("operator.cluster", "here"));
    let operator = launch.set("operator.network_policies", "on").lead().await;
    live(&space, &*broker, &other.url()).await;
    nothing_was_forbidden(&operator, &account);
}
