use super::*;

fn with(template: &Value) -> Case {
    Case::own(&json!({ "worker": { "env": [{ "name": "A", "value": "1" }], "template": template } }))
}

fn worker_of(template: &Value) -> Value {
    serde_json::to_value(with(template).worker()).unwrap()
}

#[test]
fn an_empty_template_changes_nothing() {
    let without = Case::own(&json!({ "worker": { "env": [{ "name": "A", "value": "1" }] } }));
    assert_eq!(with(&json!({})).pod(), without.pod());
    assert_eq!(with(&json!({ "metadata": {}, "spec": {} })).pod(), without.pod());
    assert_eq!(with(&json!({ "spec": { "containers": [{ "name": "worker" }] } })).pod(), without.pod());
}

#[test]
fn members_of_the_pod_are_merged_one_by_one() {
    let template = json!({ "spec": {
        "nodeSelector": { "disk": "fast" },
        "tolerations": [{ "key": "spot", "operator": "Exists" }],
        "securityContext": { "fsGroup": 1000 },
        "terminationGracePeriodSeconds": 300,
        "topologySpreadConstraints": [
            { "topologyKey": "kubernetes.io/hostname", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule" },
            { "topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway" },
        ],
    } });
    let pod = serde_json::to_value(with(&template).pod_spec()).unwrap();
    let expected = json!({
        "nodeSelector": { "disk": "fast" },
        "tolerations": [{ "key": "spot", "operator": "Exists" }],
        "securityContext": { "fsGroup": 1000, "runAsNonRoot": true, "runAsUser": 65532 },
        "terminationGracePeriodSeconds": 300,
    });
    says(&pod, &expected, "pod");
    let spread = pod["topologySpreadConstraints"].as_array().unwrap();
    assert_eq!(spread.len(), 2);
    assert_eq!((&spread[0]["maxSkew"], &spread[0]["whenUnsatisfiable"]), (&json!(2), &json!("DoNotSchedule")));
    assert_eq!(spread[0]["labelSelector"]["matchLabels"]["tidemill.dev/queue-owner"], "mails");
}

#[test]
fn the_worker_is_merged_by_name_and_other_containers_stand_beside_it() {
    let template = json!({ "spec": {
        "initContainers": [{ "name": "fetch", "image": "fetch:1" }],
        "containers": [
            { "name": "proxy", "image": "proxy:1" },
            {
                "name": "worker",
                "args": ["work", "hard"],
                "env": [{ "name": "B", "value": "2" }, { "name": "A", "value": "3" }],
                "volumeMounts": [{ "name": "models", "mountPath": "/models" }],
                "ports": [{ "containerPort": 9000, "name": "debug" }],
                "livenessProbe": { "failureThreshold": 9 },
            },
        ],
        "volumes": [{ "name": "models", "persistentVolumeClaim": { "claimName": "models" } }],
    } });
    let pod = with(&template).pod_spec();
    let names: Vec<_> = pod.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["worker", "proxy"]);
    assert_eq!(pod.init_containers.unwrap()[0].name, "fetch");
    let volumes: Vec<_> = pod.volumes.unwrap().into_iter().map(|volume| volume.name).collect();
    assert_eq!(volumes, ["settings", "data", "tmp", "models"]);
    let worker = &pod.containers[0];
    let env: Vec<_> = worker.env.as_ref().unwrap().iter().map(told).collect();
    let env: Vec<_> = env.iter().map(|(name, source)| (name.as_str(), source.as_str())).collect();
    assert_eq!(env[1..], [("POD_NAME", "field metadata.name"), ("A", "3"), ("B", "2")]);
    let found = serde_json::to_value(worker).unwrap();
    let expected = json!({
        "image": IMAGE,
        "args": ["work", "hard"],
        "livenessProbe": { "failureThreshold": 9, "httpGet": { "path": "/livez" } },
    });
    says(&found, &expected, "worker");
    assert_eq!(found["ports"].as_array().unwrap().len(), 2);
    assert_eq!(found["volumeMounts"].as_array().unwrap().len(), 4);
}

#[test]
fn where_one_of_several_members_may_be_set_the_given_one_replaces_ours() {
    let template = json!({ "spec": {
        "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
        "containers": [{
            "name": "worker",
            "env": [{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "metadata.uid" } } }],
            "readinessProbe": { "exec": { "command": ["ready"] } },
        }],
    } });
    let case = with(&template);
    let volumes = case.pod_spec().volumes.unwrap();
    let data = volumes.iter().find(|volume| volume.name == "data").unwrap();
    assert!(data.empty_dir.is_none() && data.persistent_volume_claim.is_some());
    let worker = case.worker();
    let probe = worker.readiness_probe.unwrap();
    assert!(probe.http_get.is_none() && probe.exec.is_some());
    assert!(probe.period_seconds.is_some(), "the rest of the probe stays");
    let variable = worker.env.unwrap().into_iter().find(|variable| variable.name == "A").unwrap();
    assert_eq!(told(&variable).1, "field metadata.uid");
}

#[test]
fn null_takes_a_member_away() {
    let template = json!({ "spec": {
        "securityContext": { "runAsUser": null, "runAsGroup": null },
        "topologySpreadConstraints": null,
        "containers": [{
            "name": "worker",
            "resources": { "requests": { "cpu": null, "memory": "1Gi" } },
            "startupProbe": null,
            "ports": [{ "containerPort": 8080, "name": null }],
        }],
    } });
    let pod = serde_json::to_value(with(&template).pod_spec()).unwrap();
    let expected = json!({
        "securityContext": { "runAsUser": null, "runAsGroup": null, "runAsNonRoot": true },
        "topologySpreadConstraints": null,
    });
    says(&pod, &expected, "pod");
    let worker = worker_of(&template);
    assert_eq!(worker["resources"]["requests"], json!({ "memory": "1Gi" }));
    assert_eq!(worker["ports"], json!([{ "containerPort": 8080, "protocol": "TCP" }]));
    assert!(worker.get("startupProbe").is_none() && worker.get("livenessProbe").is_some());
}

#[test]
fn labels_checksums_and_the_restart_policy_are_not_for_the_taking() {
    let ours = with(&json!({})).pod().metadata.unwrap();
    let template = json!({
        "metadata": {
            "labels": {
                "app.kubernetes.io/component": "other", "tidemill.dev/queue-owner": null, "example.org/team": "a",
            },
            "annotations": {
                "tidemill.dev/config-checksum": "0", "tidemill.dev/broker-checksum": null, "example.org/note": "b",
            },
        },
        "spec": { "restartPolicy": null },
    });
    let pod = with(&template).pod();
    let metadata = pod.metadata.unwrap();
    let mut labels = ours.labels.unwrap();
    labels.insert("example.org/team".to_owned(), "a".to_owned());
    assert_eq!(metadata.labels, Some(labels));
    let mut annotations = ours.annotations.unwrap();
    annotations.insert("example.org/note".to_owned(), "b".to_owned());
    assert_eq!(metadata.annotations, Some(annotations));
    assert_eq!(pod.spec.unwrap().restart_policy.as_deref(), Some("Always"));
}
