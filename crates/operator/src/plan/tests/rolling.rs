use super::*;
use crate::plan::{BROKER_CHECKSUM, CONFIG_CHECKSUM};

fn bytes(case: &Case) -> String {
    let objects = case.plan();
    let api = objects.api.as_ref().map(|api| (&api.config_map, &api.service, &api.deployment));
    serde_json::to_string(&(
        (&objects.secret, &objects.service_account, &objects.config_map, &objects.service),
        (&objects.disruption_budget, &objects.network_policy, &objects.pod_monitor, &objects.deployment),
        api,
    ))
    .unwrap()
}

/// A spec with one member changed.
fn changed(base: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = base.clone();
    *changed.pointer_mut(pointer).unwrap() = value;
    changed
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let template =
        json!({ "spec": { "nodeSelector": { "b": "1", "a": "2" }, "securityContext": { "runAsUser": null } } });
    let spec = json!({ "api": {}, "worker": { "template": template } });
    assert_eq!(bytes(&Case::installation(&spec)), bytes(&Case::installation(&spec)));
}

#[test]
fn pods_are_replaced_when_what_they_run_with_changes_and_never_else() {
    let base = json!({
        "broker": { "url": "redis://redis:6379/0" },
        "worker": { "workersLimit": 10, "shutdownTimeoutSeconds": 30, "image": "a", "env": [] },
        "scaling": { "maxReplicas": 10 },
        "replicas": 1,
        "paused": false,
        "deletionPolicy": "Retain",
        "timeoutSeconds": 60,
        "retry": { "retries": 1 },
        "api": { "replicas": 1 },
    });
    let pod = |spec: &Value| Case::own(spec).pod();
    let before = pod(&base);
    let rolls = [
        ("/worker/workersLimit", json!(11)),
        ("/worker/shutdownTimeoutSeconds", json!(31)),
        ("/worker/image", json!("b")),
        ("/worker/env", json!([{ "name": "A", "value": "1" }])),
        ("/broker/url", json!("redis://other:6379/0")),
    ];
    for (pointer, value) in rolls {
        assert_ne!(pod(&changed(&base, pointer, value)), before, "{pointer}");
    }
    let stays = [
        ("/scaling/maxReplicas", json!(20)),
        ("/replicas", json!(5)),
        ("/paused", json!(true)),
        ("/deletionPolicy", json!("Purge")),
        ("/timeoutSeconds", json!(90)),
        ("/retry/retries", json!(5)),
        ("/api/replicas", json!(3)),
        ("/api", Value::Null),
    ];
    for (pointer, value) in stays {
        assert_eq!(pod(&changed(&base, pointer, value)), before, "{pointer}");
    }
    let mut scaled = Case::own(&base);
    scaled.replicas = 0;
    assert_eq!(scaled.pod(), before);
    assert_eq!(scaled.plan().deployment.spec.unwrap().replicas, Some(0));
}

#[test]
fn the_slots_of_a_pod_are_in_its_checksum() {
    let of = |limit: i32| {
        let case = Case::own(&json!({ "worker": { "workersLimit": limit } }));
        case.pod().metadata.unwrap().annotations.unwrap()[CONFIG_CHECKSUM].clone()
    };
    assert_eq!(of(10), of(10));
    assert_ne!(of(10), of(11));
    assert_eq!(of(10).len(), 16);
}

#[test]
fn a_changed_secret_of_the_broker_replaces_workers_and_apis() {
    let with = |checksum: &'static str| {
        let mut case = Case::own(&json!({ "api": {} }));
        case.checksum = checksum;
        let objects = case.plan();
        [objects.deployment, objects.api.unwrap().deployment].map(|deployment| deployment.spec.unwrap().template)
    };
    let (before, after) = (with("b1"), with("b2"));
    for (before, after) in before.into_iter().zip(after) {
        assert_ne!(before, after);
        assert_eq!(after.metadata.unwrap().annotations.unwrap()[BROKER_CHECKSUM], "b2");
        assert_eq!(before.spec, after.spec, "the annotation alone tells them apart");
    }
}
