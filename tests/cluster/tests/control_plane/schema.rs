//! What the API server says of TaskQueues by their definition alone: no operator runs here.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, ValidationDirective};
use serde_json::{Value, json};
use tidemill_cluster_tests::cluster::definition;
use tidemill_cluster_tests::{Space, kubectl};
use tidemill_operator::crd::{CRD_NAME, TaskQueue};

/// The bound that leaves room below what `kubectl apply` can remember in an annotation.
const DEFINITION_BYTES_MAX: u64 = 100_000;

#[tokio::test]
async fn the_definition_is_small_and_is_taken_without_a_warning() {
    let space = Space::new("definition").await;
    let file = definition();
    assert!(fs::metadata(&file).unwrap().len() < DEFINITION_BYTES_MAX);
    for how in [&["--server-side", "--force-conflicts"][..], &[]] {
        let file = file.display().to_string();
        let (taken, said, complained) = kubectl(&[&["apply", "--dry-run=server", "-f", &file], how].concat());
        assert!(taken, "{said}{complained}");
        // Of an object that was made by server-side apply, plain apply says that it adds its annotation.
        let warned =
            complained.lines().any(|line| line.contains("Warning") && !line.contains("last-applied-configuration"));
        assert!(!warned, "{complained}");
    }
    let known = Api::<CustomResourceDefinition>::all(space.client().clone()).get(CRD_NAME).await.unwrap();
    let conditions = known.status.unwrap().conditions.unwrap();
    let holds = |type_: &str| conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True");
    assert!(holds("Established") && holds("NamesAccepted"), "{conditions:?}");
    assert!(!holds("NonStructuralSchema"), "{conditions:?}");
    let names = known.spec.names;
    assert_eq!((names.short_names, names.categories), (Some(vec!["tq".to_owned()]), Some(vec!["all".to_owned()])));
}

/// Applies a fixture without keeping it. What the API server says against it.
async fn judged(space: &Space, file: &Path) -> Result<(), String> {
    let object: DynamicObject = serde_yaml_ng::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let api = Api::<DynamicObject>::namespaced_with(
        space.client().clone(),
        space.name(),
        &ApiResource::erase::<TaskQueue>(&()),
    );
    let params = PatchParams {
        dry_run: true,
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("tidemill-tests")
    };
    let name = object.metadata.name.clone().unwrap();
    match api.patch(&name, &params, &Patch::Apply(&object)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("{}: {error}", file.display()),
    }
}

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(kind);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[tokio::test]
async fn sound_resources_are_taken() {
    let space = Space::new("accepted").await;
    for file in fixtures("accepted") {
        assert_eq!(judged(&space, &file).await, Ok(()), "{}", file.display());
    }
}

#[tokio::test]
async fn nonsense_is_refused_with_the_sentence_that_says_what_is_wrong() {
    let space = Space::new("refused").await;
    for file in fixtures("refused") {
        let text = fs::read_to_string(&file).unwrap();
        let expected = text.lines().next().unwrap().trim_start_matches("# ");
        let said = judged(&space, &file).await.expect_err(&format!("{} is taken", file.display()));
        assert!(said.contains(expected), "{}: {said}", file.display());
    }
}

#[tokio::test]
async fn every_rule_of_the_definition_has_a_resource_that_it_refuses() {
    let text = fs::read_to_string(definition()).unwrap();
    let definition: Value = serde_yaml_ng::from_str(&text).unwrap();
    let mut rules = Vec::new();
    collect_messages(&definition, &mut rules);
    assert!(rules.len() >= 7, "{rules:?}");
    let refused: String = fixtures("refused").iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    for (rule, message) in rules {
        // Of what changes, the tests below have the cases.
        let tried = if rule.contains("oldSelf") {
            UPDATE_RULES.contains(&&*message)
        } else {
            refused.contains(&*start(&message))
        };
        assert!(tried, "no resource is refused by the rule {rule:?}, which says {message:?}");
    }
}

/// The part of a message that the fixtures quote: up to the reason.
fn start(message: &str) -> String {
    message.split(": the names of").next().unwrap_or(message).to_owned()
}

fn collect_messages(schema: &Value, into: &mut Vec<(String, String)>) {
    match schema {
        Value::Object(members) => {
            for rule in members.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                into.push((rule["rule"].as_str().unwrap().to_owned(), rule["message"].as_str().unwrap().to_owned()));
            }
            members.values().for_each(|member| collect_messages(member, into));
        }
        Value::Array(members) => members.iter().for_each(|member| collect_messages(member, into)),
        _ => {}
    }
}

const QUEUE_RULE: &str = "queue can neither change nor appear nor go: create another TaskQueue instead";
const REPLICAS_RULE: &str =
    "replicas counts in mode Manual alone: set scaling.mode: Manual to scale by hand or by an HPA";
const UPDATE_RULES: [&str; 2] = [QUEUE_RULE, REPLICAS_RULE];

#[tokio::test]
async fn what_may_not_change_does_not() {
    let space = Space::new("updates").await;
    let auto = json!({ "mode": "Auto" });
    let manual = json!({ "mode": "Manual" });
    let cases = [
        ("queue-stays", json!({ "queue": "a" }), json!({ "queue": "a", "paused": true }), None),
        ("queue-changes", json!({ "queue": "a" }), json!({ "queue": "b" }), Some(QUEUE_RULE)),
        ("queue-appears", json!({}), json!({ "queue": "queue-appears" }), Some(QUEUE_RULE)),
        ("queue-goes", json!({ "queue": "a" }), json!({ "queue": null }), Some(QUEUE_RULE)),
        ("auto-replicas", json!({ "scaling": auto }), json!({ "replicas": 3 }), Some(REPLICAS_RULE)),
        ("auto-replicas-gone", json!({ "replicas": 3 }), json!({ "replicas": null }), Some(REPLICAS_RULE)),
        ("auto-replicas-stay", json!({ "replicas": 3 }), json!({ "replicas": 3, "paused": true }), None),
        ("manual-replicas", json!({ "scaling": manual }), json!({ "replicas": 3 }), None),
        ("to-manual", json!({ "scaling": auto }), json!({ "replicas": 3, "scaling": manual }), None),
        ("to-auto", json!({ "scaling": manual }), json!({ "replicas": 3, "scaling": auto }), None),
    ];
    for (name, before, change, refused) in cases {
        space.task_queue(name, before).await;
        let changed = space.change::<TaskQueue>(name, json!({ "spec": change })).await;
        match (changed, refused) {
            (Ok(_), None) => {}
            (Err(kube::Error::Api(status)), Some(sentence)) => {
                assert!(status.message.contains(sentence), "{name}: {status:?}");
            }
            (changed, _) => panic!("{name}: {changed:?}, expected {refused:?}"),
        }
    }
}

#[tokio::test]
async fn defaults_are_filled_in_as_documented() {
    let space = Space::new("defaults").await;
    let keep = |count: u32, age: u32| json!({ "count": count, "ageSeconds": age });
    let expected = json!({
        "worker": { "workersLimit": 10, "shutdownTimeoutSeconds": 30 },
        "scaling": {
            "mode": "Auto", "minReplicas": 0, "maxReplicas": 10, "targetWaitSeconds": 10,
            "scaleDown": { "stabilizationSeconds": 60 }, "scaleUp": {},
        },
        "replicas": 1,
        "paused": false,
        "deletionPolicy": "Retain",
        "retention": { "succeeded": keep(10_000, 3_600), "dead": keep(100_000, 7_776_000), "cancelled": keep(10_000, 86_400) },
        "retry": { "retries": 0, "backoff": { "initialMilliseconds": 1_000, "maxMilliseconds": 600_000 } },
        "timeoutSeconds": 3_600,
    });
    // As YAML, since the types of this program would fill in what the API server leaves out.
    let api = Api::<DynamicObject>::namespaced_with(
        space.client().clone(),
        space.name(),
        &ApiResource::erase::<TaskQueue>(&()),
    );
    let made = |name: &'static str, spec: Value| {
        let object = json!({ "apiVersion": "tidemill.dev/v1alpha1", "kind": "TaskQueue", "metadata": { "name": name }, "spec": spec });
        let api = &api;
        async move {
            let object = serde_json::from_value::<DynamicObject>(object).unwrap();
            api.create(&kube::api::PostParams::default(), &object).await.unwrap().data["spec"].clone()
        }
    };
    assert_eq!(made("empty", json!({})).await, expected);
    // A part that says something has the defaults of the rest.
    let some = made("some", json!({ "scaling": { "maxReplicas": 3 }, "retry": { "retries": 2 }, "api": {} })).await;
    let mut scaling = expected["scaling"].clone();
    scaling["maxReplicas"] = json!(3);
    assert_eq!(some["scaling"], scaling);
    assert_eq!(
        some["retry"],
        json!({ "retries": 2, "backoff": { "initialMilliseconds": 1_000, "maxMilliseconds": 600_000 } })
    );
    assert_eq!(some["api"], json!({ "form": "html_ws", "replicas": 1 }));
}

#[tokio::test]
async fn kubectl_scale_works_in_mode_manual_and_is_refused_with_a_sentence_in_mode_auto() {
    let space = Space::new("scale").await;
    space.task_queue("by-hand", json!({ "scaling": { "mode": "Manual" } })).await;
    space.task_queue("by-itself", json!({})).await;
    let scale = |name: &str| kubectl(&["scale", "--namespace", space.name(), &format!("tq/{name}"), "--replicas=3"]);
    let (scaled, _, complained) = scale("by-hand");
    assert!(scaled, "{complained}");
    assert_eq!(space.get::<TaskQueue>("by-hand").await.unwrap().spec.replicas, 3);
    let (scaled, _, complained) = scale("by-itself");
    assert!(!scaled && complained.contains(REPLICAS_RULE), "{complained}");
    assert_eq!(space.get::<TaskQueue>("by-itself").await.unwrap().spec.replicas, 1);
}
