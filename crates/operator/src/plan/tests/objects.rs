use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use serde::Serialize;

use super::*;
use crate::plan::{ApiObjects, Names, selector, selector_text};

/// Kind, name and metadata of each object that is planned, and the object itself.
fn listed(objects: Objects) -> Vec<(String, ObjectMeta, Value)> {
    // Without `..`: an object that is added to the plan and forgotten here does not compile.
    let Objects {
        secret,
        service_account,
        config_map,
        service,
        disruption_budget,
        network_policy,
        pod_monitor,
        deployment,
        api,
    } = objects;
    let mut list = Vec::new();
    list.extend(secret.map(|it| row(&it.metadata, &it)));
    list.extend(service_account.map(|it| row(&it.metadata, &it)));
    list.push(row(&config_map.metadata, &config_map));
    list.push(row(&service.metadata, &service));
    list.push(row(&disruption_budget.metadata, &disruption_budget));
    list.extend(network_policy.map(|it| row(&it.metadata, &it)));
    list.extend(pod_monitor.map(|it| row(&it.metadata, &it)));
    list.push(row(&deployment.metadata, &deployment));
    if let Some(ApiObjects { config_map, service, deployment }) = api {
        list.push(row(&config_map.metadata, &config_map));
        list.push(row(&service.metadata, &service));
        list.push(row(&deployment.metadata, &deployment));
    }
    list
}

fn row(metadata: &ObjectMeta, object: &impl Serialize) -> (String, ObjectMeta, Value) {
    let object = serde_json::to_value(object).unwrap();
    let text = |key: &str| object[key].as_str().unwrap().to_owned();
    (format!("{} {} {}", text("apiVersion"), text("kind"), metadata.name.clone().unwrap()), metadata.clone(), object)
}

fn named(case: &Case) -> Vec<String> {
    listed(case.plan()).into_iter().map(|(named, ..)| named).collect()
}

#[test]
fn each_spec_has_its_objects_and_no_others() {
    let mut bare = Case::own(&json!({ "worker": { "serviceAccountName": "mailer" } }));
    (bare.network_policies, bare.pod_monitors) = (false, false);
    let always = ["v1 ConfigMap mails-worker", "v1 Service mails-worker", "policy/v1 PodDisruptionBudget mails-worker"];
    let mut expected = always.to_vec();
    expected.push("apps/v1 Deployment mails-worker");
    assert_eq!(named(&bare), expected);

    let full = Case::installation(&json!({ "api": {} }));
    let mut expected = vec!["v1 Secret mails-broker", "v1 ServiceAccount mails-worker"];
    expected.extend(always);
    expected.extend([
        "networking.k8s.io/v1 NetworkPolicy mails-worker",
        "monitoring.coreos.com/v1 PodMonitor mails-worker",
        "apps/v1 Deployment mails-worker",
        "v1 ConfigMap mails-api",
        "v1 Service mails-api",
        "apps/v1 Deployment mails-api",
    ]);
    assert_eq!(named(&full), expected);
    let names = Names::of("mails");
    let Names { worker, broker_secret, api } = &names;
    assert_eq!([worker, broker_secret, api], ["mails-worker", "mails-broker", "mails-api"]);
}

#[test]
fn pods_send_their_traces_where_the_operator_is_told() {
    let mut case = Case::own(&json!({ "api": {} }));
    case.traces = Some(TraceSettings { endpoint: "http://collector:4318".to_owned(), sample_ratio: 0.25 });
    let objects = case.plan();
    let settings = |config: &ConfigMap| config.data.as_ref().unwrap()["config.yaml"].clone();
    let api = objects.api.as_ref().unwrap();
    for settings in [settings(&objects.config_map), settings(&api.config_map)] {
        assert!(
            settings.ends_with("\ntraces:\n  endpoint: \"http://collector:4318\"\n  sample_ratio: 0.25\n"),
            "{settings}"
        );
    }
}

#[test]
fn every_object_has_its_owner_and_labels() {
    for (named, metadata, object) in listed(Case::installation(&json!({ "api": {} })).plan()) {
        let component = if named.ends_with("-api") { "api" } else { "worker" };
        let expected = json!({
            "namespace": "shop",
            "labels": {
                "app.kubernetes.io/name": "tidemill",
                "app.kubernetes.io/instance": "mails",
                "app.kubernetes.io/component": component,
                "app.kubernetes.io/managed-by": "tidemill-operator",
                "tidemill.dev/queue-owner": "mails",
            },
            "ownerReferences": [{
                "apiVersion": "tidemill.dev/v1alpha1", "kind": "TaskQueue", "name": "mails", "uid": UID,
                "controller": true, "blockOwnerDeletion": true,
            }],
        });
        says(&serde_json::to_value(&metadata).unwrap(), &expected, &named);
        says(&object["metadata"], &expected, &named);
    }
}

#[test]
fn every_selector_picks_the_pods_of_its_part() {
    let objects = Case::own(&json!({ "api": {} })).plan();
    let workers = selector("mails");
    assert_eq!(
        selector_text("mails"),
        "app.kubernetes.io/component=worker,app.kubernetes.io/name=tidemill,tidemill.dev/queue-owner=mails"
    );
    let deployment = objects.deployment.spec.unwrap();
    let spread = deployment.template.spec.unwrap().topology_spread_constraints.unwrap().remove(0);
    let selectors = [
        deployment.selector.match_labels,
        spread.label_selector.unwrap().match_labels,
        objects.service.spec.unwrap().selector,
        objects.disruption_budget.spec.unwrap().selector.unwrap().match_labels,
        objects.network_policy.unwrap().spec.unwrap().pod_selector.unwrap().match_labels,
        serde_json::from_value(objects.pod_monitor.unwrap().data["spec"]["selector"]["matchLabels"].clone()).unwrap(),
    ];
    for selector in selectors {
        assert_eq!(selector, Some(workers.clone()));
    }
    let labels = deployment.template.metadata.unwrap().labels.unwrap();
    assert!(workers.iter().all(|(label, value)| labels.get(label) == Some(value)));

    let api = objects.api.unwrap();
    let deployment = api.deployment.spec.unwrap();
    let picked = deployment.selector.match_labels.unwrap();
    assert_eq!(api.service.spec.unwrap().selector, Some(picked.clone()));
    let labels = deployment.template.metadata.unwrap().labels.unwrap();
    assert!(picked.iter().all(|(label, value)| labels.get(label) == Some(value)));
    assert!(!workers.iter().all(|(label, value)| labels.get(label) == Some(value)), "no worker selector picks the API");
}

#[test]
fn the_worker_deployment_says_what_it_must() {
    let deployment = Case::own(&json!({ "worker": { "shutdownTimeoutSeconds": 45 } })).plan().deployment;
    let found = serde_json::to_value(deployment).unwrap();
    let expected = json!({
        "replicas": 3,
        "revisionHistoryLimit": 2,
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": 0 } },
        "template": { "spec": {
            "serviceAccountName": "mails-worker",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 55,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" },
            },
        } },
    });
    says(&found["spec"], &expected, "spec");
    let container = &found["spec"]["template"]["spec"]["containers"][0];
    let expected = json!({
        "name": "worker",
        "image": IMAGE,
        "args": ["worker", "--config", "/etc/tidemill/config.yaml"],
        "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
        },
        "resources": { "requests": { "cpu": "50m", "memory": "64Mi" } },
        "startupProbe": { "httpGet": { "path": "/livez", "port": 8080 } },
        "livenessProbe": { "httpGet": { "path": "/livez", "port": 8080 } },
        "readinessProbe": { "httpGet": { "path": "/readyz", "port": 8080 } },
        "imagePullPolicy": "IfNotPresent",
        "envFrom": null,
    });
    says(container, &expected, "container");
    let mounts: Vec<_> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap())
        .collect();
    assert_eq!(mounts, ["/etc/tidemill", "/data", "/tmp"]);
}

#[test]
fn what_the_spec_says_of_the_worker_reaches_its_container() {
    let worker = json!({
        "image": "registry.example.org/mailer:2",
        "imagePullPolicy": "Never",
        "imagePullSecrets": [{ "name": "registry" }],
        "serviceAccountName": "mailer",
        "resources": { "limits": { "memory": "1Gi" } },
        "env": [{ "name": "A", "value": "1" }],
        "envFrom": [{ "secretRef": { "name": "mailer" } }],
    });
    let case = Case::own(&json!({ "worker": worker }));
    let expected = json!({
        "image": "registry.example.org/mailer:2",
        "imagePullPolicy": "Never",
        "resources": { "limits": { "memory": "1Gi" }, "requests": null },
        "envFrom": [{ "secretRef": { "name": "mailer" } }],
    });
    says(&serde_json::to_value(case.worker()).unwrap(), &expected, "container");
    let expected = json!({ "serviceAccountName": "mailer", "imagePullSecrets": [{ "name": "registry" }] });
    says(&serde_json::to_value(case.pod_spec()).unwrap(), &expected, "pod");
    assert_eq!(told(case.worker().env.unwrap().last().unwrap()), ("A".to_owned(), "1".to_owned()));
}

#[test]
fn the_settings_of_workers_read_as_meant() {
    let spec = json!({ "worker": { "workersLimit": 7, "shutdownTimeoutSeconds": 45 } });
    let data = Case::own(&spec).plan().config_map.data.unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["config.yaml"]);
    let config: Value = serde_yaml_ng::from_str(&data["config.yaml"]).unwrap();
    let expected = json!({
        "app": { "port": 8080, "executor_shutdown_timeout_ms": 45_000 },
        "executor_service": { "workers_limit": 7 },
        "queue": { "name": "Mails.2" },
        "log": { "format": "json" },
        "smtp": { "outbox": "/data/outbox" },
    });
    assert_eq!(config, expected);
}

#[test]
fn the_types_of_ones_own_are_a_section_of_the_settings_in_an_order_of_its_own() {
    let handlers = json!([
        {
            "type": "true", "command": ["python3", "/app/a b.py", "$(rm)"], "directory": "/app", "timeoutSeconds": 60,
            "env": [{ "name": "MODE", "value": "fast: yes\n# no" }], "passEnv": ["BUCKET_KEY"],
        },
        { "type": "notify", "url": "http://hooks.shop.svc/x?y#z" },
    ]);
    let settings = |handlers: &Value| Case::own(&json!({ "handlers": handlers })).plan().config_map.data.unwrap();
    let data = settings(&handlers);
    let config: Value = serde_yaml_ng::from_str(&data["config.yaml"]).unwrap();
    let expected = json!({
        "notify": { "url": "http://hooks.shop.svc/x?y#z" },
        "true": {
            "command": ["python3", "/app/a b.py", "$(rm)"], "directory": "/app", "timeout_ms": 60_000,
            "env": { "MODE": "fast: yes\n# no" }, "pass_env": ["BUCKET_KEY"],
        },
    });
    assert_eq!(config["handlers"], expected);
    let turned: Vec<&Value> = handlers.as_array().unwrap().iter().rev().collect();
    assert_eq!(settings(&json!(turned)), data, "the order of the spec rolls no pods");
    assert!(!settings(&json!([]))["config.yaml"].contains("handlers"));
}

#[test]
fn a_queue_that_looks_like_something_else_stays_text_in_the_settings() {
    for name in ["1.0", "true", "null", "0x10", "mails"] {
        let config: Value = serde_yaml_ng::from_str(&format!("name: {}", crate::plan::config::quoted(name))).unwrap();
        assert_eq!(config, json!({ "name": name }));
    }
}

#[test]
fn the_small_objects_say_what_they_must() {
    let objects = Case::own(&json!({})).plan();
    let cases = [
        (
            serde_json::to_value(&objects.service).unwrap(),
            json!({
                "clusterIP": "None", "publishNotReadyAddresses": true,
                "ports": [{ "name": "metrics", "port": 8080, "targetPort": 8080, "protocol": "TCP" }],
            }),
        ),
        (
            serde_json::to_value(&objects.disruption_budget).unwrap(),
            json!({ "maxUnavailable": "25%", "minAvailable": null, "unhealthyPodEvictionPolicy": "AlwaysAllow" }),
        ),
        (
            serde_json::to_value(&objects.network_policy).unwrap(),
            json!({
                "policyTypes": ["Ingress"], "ingress": [{ "ports": [{ "port": 8080, "protocol": "TCP" }] }],
                "egress": null,
            }),
        ),
        (
            serde_json::to_value(&objects.pod_monitor).unwrap(),
            json!({ "podMetricsEndpoints": [{ "port": "http", "path": "/metrics" }] }),
        ),
    ];
    for (object, expected) in cases {
        says(&object["spec"], &expected, object["kind"].as_str().unwrap());
    }
    assert_eq!(objects.service_account.unwrap().automount_service_account_token, Some(false));
}

#[test]
fn the_own_api_serves_its_queue_in_its_form_behind_its_tokens() {
    let spec = json!({
        "worker": { "image": "mailer:2", "imagePullPolicy": "Never" },
        "api": { "form": "ws", "replicas": 2, "tokensFrom": { "name": "tokens", "key": "all" } },
    });
    let api = Case::own(&spec).plan().api.unwrap();
    let config: Value = serde_yaml_ng::from_str(&api.config_map.data.unwrap()["config.yaml"]).unwrap();
    let expected = json!({
        "app": { "port": 8080, "fiber_shutdown_timeout_ms": 10_000 },
        "form": "ws",
        "queue": { "name": "Mails.2" },
        "log": { "format": "json" },
        "metrics": { "port": 9090 },
        "auth": { "tokens_file": "/etc/tidemill/auth/tokens" },
    });
    assert_eq!(config, expected);
    let ports =
        |number: i32, name: &str| json!({ "name": name, "port": number, "targetPort": number, "protocol": "TCP" });
    says(
        &serde_json::to_value(api.service.spec).unwrap(),
        &json!({ "type": "ClusterIP", "ports": [ports(8080, "http"), ports(9090, "metrics")] }),
        "service",
    );
    let spec = serde_json::to_value(api.deployment.spec).unwrap();
    assert_eq!(spec["replicas"], 2);
    let pod = &spec["template"]["spec"];
    assert_eq!(
        pod["volumes"][0]["projected"]["sources"],
        json!([
            { "configMap": { "name": "mails-api", "items": [{ "key": "config.yaml", "path": "config.yaml" }] } },
            { "secret": { "name": "tokens", "items": [{ "key": "all", "path": "auth/tokens" }] } },
        ])
    );
    let expected = json!({
        "name": "api",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": ["api", "--config", "/etc/tidemill/config.yaml"],
        "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } },
        "livenessProbe": { "httpGet": { "path": "/livez", "port": 8080 } },
        "readinessProbe": { "httpGet": { "path": "/readyz", "port": 8080 } },
        "securityContext": { "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false },
    });
    says(&pod["containers"][0], &expected, "container");

    let open = Case::own(&json!({ "api": {} })).plan().api.unwrap();
    let config: Value = serde_yaml_ng::from_str(&open.config_map.data.unwrap()["config.yaml"]).unwrap();
    assert_eq!((config.get("auth"), &config["form"]), (None, &json!("html_ws")));
}
