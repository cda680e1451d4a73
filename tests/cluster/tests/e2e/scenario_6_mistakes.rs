//! What is refused, and what is waited for.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kubectl::{NAMESPACE, apply, kubectl, wait_for};
use crate::queue::Queue;
use crate::release::{self, RELEASE};
use crate::wait::{ensure, until};

/// A missing Secret is looked for every few seconds.
const SOON: Duration = Duration::from_secs(45);
/// How long a task may take, its pod included.
const WORK: Duration = Duration::from_mins(1);

pub(crate) fn run() {
    release::needed();
    nonsense_is_refused();
    a_missing_secret_is_waited_for();
}

fn nonsense_is_refused() {
    let secret = json!({ "name": "redis", "key": "url" });
    let cases: [(Value, &str); 5] = [
        (
            json!({ "scaling": { "minReplicas": 3, "maxReplicas": 2 } }),
            "scaling: minReplicas must not exceed maxReplicas",
        ),
        (
            json!({ "broker": { "url": "redis://redis:6379", "urlFrom": secret } }),
            "broker needs either url or urlFrom, and not both",
        ),
        (
            json!({ "worker": { "workersLimit": 0 } }),
            "spec.worker.workersLimit in body should be greater than or equal to 1",
        ),
        (json!({ "deletionPolicy": "Forget" }), r#"supported values: "Retain", "Purge""#),
        (json!({ "wrokers": 3 }), r#"unknown field "spec.wrokers""#),
    ];
    for (spec, sentence) in cases {
        let refusal = apply(&json!({
            "apiVersion": "tidemill.dev/v1alpha1", "kind": "TaskQueue", "metadata": { "name": "nonsense" }, "spec": spec,
        }))
        .refused();
        assert!(refusal.contains(sentence), "{refusal}");
        println!("refused: {}", refusal.trim().lines().last().unwrap_or_default());
    }
    let queue = Queue::ready("settled", &json!({ "queue": "letters" }));
    let change = r#"{"spec": {"queue": "parcels"}}"#;
    let refusal = kubectl(&["patch", &queue.resource(), "--type=merge", "--patch", change]).refused();
    assert!(refusal.contains("queue"), "{refusal}");
    println!("refused: {}", refusal.trim());
    queue.delete();
    queue.gone(WORK);
}

fn a_missing_secret_is_waited_for() {
    let queue = Queue::applied(
        "patient",
        &json!({ "broker": {
            "urlFrom": { "name": "late", "key": "url" },
            "passwordFrom": { "name": format!("{RELEASE}-valkey"), "key": "password" },
        } }),
    );
    let condition = until(SOON, "the condition says that a Secret is missing", || {
        let condition = queue.condition("Ready")?;
        ensure(condition["reason"] == "SecretMissing", || condition.to_string())?;
        Ok(condition)
    });
    let message = condition["message"].as_str().unwrap_or_default();
    assert!(condition["status"] == "False" && message.contains("late"), "{condition}");
    println!("a missing Secret: {message}");

    let url = format!("--from-literal=url=redis://{RELEASE}-valkey.{NAMESPACE}.svc:6379");
    kubectl(&["create", "secret", "generic", "late", &url]).done();
    wait_for("condition=Ready", &[&queue.resource()], SOON).done();
    queue.send(1, 10);
    assert_eq!(queue.settled(WORK).succeeded, 1);
    queue.delete();
    queue.gone(WORK);
    kubectl(&["delete", "secret", "late"]).done();
}
