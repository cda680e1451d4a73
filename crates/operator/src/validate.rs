//! What the schema of the resource cannot judge.
//!
//! The API server refuses most nonsense itself. What is left becomes a condition, in words that name the field.

use k8s_openapi::api::core::v1::EnvVar;
use thiserror::Error;
use tidemill_core::QueueName;

use crate::crd::{TaskQueue, WorkerSpec};
use crate::plan::{Template, WORKER_CONTAINER};

/// What the spec means, once it is known to be sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Valid {
    /// The queue that is served.
    pub queue: QueueName,
    /// `spec.worker.template`, or the empty one.
    pub template: Template,
}

/// What is wrong with a spec, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// The path of the field: `spec.worker.env[0].name`.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

impl Invalid {
    /// A mistake in this field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Variables that a resource has a field for, or that the operator counts on; those that end in `__` are a family.
const TAKEN: &[(&str, &str)] = &[
    ("TIDEMILL_BROKER__", "the pods would leave the queue's broker; say it in spec.broker"),
    ("TIDEMILL_QUEUE__NAME", "the pods would leave their queue; its name is spec.queue"),
    ("TIDEMILL_EXECUTOR_SERVICE__WORKERS_LIMIT", "the autoscaler counts with spec.worker.workersLimit; say it there"),
    (
        "TIDEMILL_APP__EXECUTOR_SHUTDOWN_TIMEOUT_MS",
        "the pod's grace period is reckoned from spec.worker.shutdownTimeoutSeconds; say it there",
    ),
    ("TIDEMILL_HANDLERS", "the pods would not serve the types of spec.handlers; say it there"),
    ("TIDEMILL_APP__HOST", "the probes would not reach the pod"),
    ("TIDEMILL_APP__PORT", "probes and metrics expect port 8080"),
    ("POD_NAME", "a worker is known by the name of its pod, which the operator fills in"),
];

/// What the spec means, or the first thing that is wrong with it.
pub fn validate(task_queue: &TaskQueue) -> Result<Valid, Invalid> {
    let worker = &task_queue.spec.worker;
    let queue = task_queue.queue_name().map_err(|e| Invalid::new("spec.queue", e.to_string()))?;
    variables(&worker.env, "spec.worker.env")?;
    let template = worker.template.as_ref().map(Template::parse).transpose()?.unwrap_or_default();
    template_fits(&template, worker)?;
    Ok(Valid { queue, template })
}

fn template_fits(template: &Template, worker: &WorkerSpec) -> Result<(), Invalid> {
    const SPEC: &str = "spec.worker.template.spec";
    let Some(spec) = &template.patch().spec else { return Ok(()) };
    let shutdown = i64::from(worker.shutdown_timeout_seconds);
    let removed = worker.template.as_ref().and_then(|template| template.get("spec")?.get(GRACE));
    if removed.is_some_and(serde_json::Value::is_null) {
        return Err(Invalid::new(format!("{SPEC}.{GRACE}"), "a worker needs it to end its tasks; leave it out"));
    }
    if let Some(grace) = spec.termination_grace_period_seconds.filter(|grace| *grace < shutdown) {
        let message = format!(
            "{grace} s is shorter than spec.worker.shutdownTimeoutSeconds ({shutdown}): running tasks would be killed; \
             leave it out, and the pod gets {shutdown} s and 10 more"
        );
        return Err(Invalid::new(format!("{SPEC}.{GRACE}"), message));
    }
    for (index, container) in spec.containers.iter().enumerate().filter(|(_, c)| c.name == WORKER_CONTAINER) {
        variables(container.env.as_deref().unwrap_or_default(), &format!("{SPEC}.containers[{index}].env"))?;
    }
    Ok(())
}

const GRACE: &str = "terminationGracePeriodSeconds";

fn variables(env: &[EnvVar], path: &str) -> Result<(), Invalid> {
    for (index, variable) in env.iter().enumerate() {
        let EnvVar { name, value, value_from } = variable;
        let path = format!("{path}[{index}]");
        let taken = TAKEN.iter().find(|(taken, _)| name == taken || (taken.ends_with("__") && name.starts_with(taken)));
        if let Some((_, why)) = taken {
            return Err(Invalid::new(format!("{path}.name"), format!("{name} cannot be set here: {why}")));
        }
        if env.iter().take(index).any(|earlier| earlier.name == *name) {
            return Err(Invalid::new(format!("{path}.name"), format!("{name} stands twice")));
        }
        if value.is_some() && value_from.is_some() {
            return Err(Invalid::new(path, format!("{name} has a value and a valueFrom; keep one")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judged(spec: &Value) -> Result<Valid, String> {
        let resource = json!({
            "apiVersion": "tidemill.dev/v1alpha1", "kind": "TaskQueue", "metadata": { "name": "mails" }, "spec": spec,
        });
        validate(&serde_json::from_value(resource).unwrap()).map_err(|e| e.to_string())
    }

    fn worker(worker: &Value) -> Result<Valid, String> {
        judged(&json!({ "worker": worker }))
    }

    fn template(template: &Value) -> Result<Valid, String> {
        worker(&json!({ "template": template }))
    }

    #[test]
    fn the_queue_is_the_named_one_or_called_as_the_resource() {
        let name = |spec: &Value| judged(spec).unwrap().queue.to_string();
        assert_eq!(name(&json!({})), "mails");
        assert_eq!(name(&json!({ "queue": "Mails.2" })), "Mails.2");
        assert!(judged(&json!({ "queue": "a b" })).unwrap_err().starts_with("spec.queue: "));
    }

    #[test]
    fn sound_templates_are_taken() {
        let taken = [
            json!({}),
            json!({ "metadata": { "labels": { "example.org/team": "a" }, "annotations": { "a": "b" } } }),
            json!({ "spec": { "tolerations": [{ "key": "spot", "operator": "Exists" }] } }),
            json!({ "spec": { "restartPolicy": "Always", "terminationGracePeriodSeconds": 30 } }),
            json!({ "spec": { "securityContext": { "runAsUser": null } } }),
            json!({ "spec": { "containers": [
                { "name": "worker", "args": ["worker"], "resources": { "limits": { "memory": "1Gi", "cpu": 2 } } },
                { "name": "proxy", "image": "proxy", "ports": [{ "containerPort": 1 }],
                  "readinessProbe": { "httpGet": { "path": "/", "port": "http" } } },
            ] } }),
            json!({ "spec": { "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "x" } }] } }),
        ];
        for given in taken {
            assert_eq!(template(&given).map(|_| ()), Ok(()), "{given}");
        }
    }

    #[test]
    fn mistakes_in_a_template_are_named_with_their_path() {
        let cases = [
            (json!({ "spec": { "tolerationz": [] } }), "spec.tolerationz: unknown field; did you mean tolerations?"),
            (json!({ "zebra": {} }), "zebra: unknown field"),
            (
                json!({ "spec": { "containers": [{ "name": "worker", "resources": { "limit": {} } }] } }),
                "spec.containers[0].resources.limit: unknown field; did you mean limits?",
            ),
            (
                json!({ "spec": { "containers": [{ "name": "worker", "args": "work" }] } }),
                "spec.containers[0].args: expected a list, found \"work\"",
            ),
            (
                json!({ "spec": { "containers": [{ "name": "worker", "args": [1] }] } }),
                "spec.containers[0].args[0]: expected text, found 1",
            ),
            (json!({ "spec": { "containers": [{ "image": "x" }] } }), "spec.containers[0].name: missing"),
            (json!({ "spec": { "containers": [null] } }), "spec.containers[0]: expected an object, found null"),
            (json!({ "spec": { "containers": null } }), "spec.containers: a worker pod cannot do without its worker"),
            (json!({ "spec": null }), "spec: a worker pod cannot do without it"),
            (json!({ "spec": { "priority": 5_000_000_000_i64 } }), "spec.priority: 5000000000 is beyond 32 bits"),
            (json!({ "spec": { "hostNetwork": "no" } }), "spec.hostNetwork: expected true or false, found \"no\""),
            (
                json!({ "metadata": { "labels": { "example.org/team": 1 } } }),
                "metadata.labels[\"example.org/team\"]: expected text, found 1",
            ),
            (
                json!({ "metadata": { "name": "x" } }),
                "metadata.name: of a pod's metadata only labels and annotations can be set",
            ),
            (
                json!({ "spec": { "restartPolicy": "Never" } }),
                "spec.restartPolicy: the pods of a Deployment are always restarted: leave it out",
            ),
            (
                json!({ "spec": { "terminationGracePeriodSeconds": 29 } }),
                "spec.terminationGracePeriodSeconds: 29 s is shorter than spec.worker.shutdownTimeoutSeconds (30): \
                 running tasks would be killed; leave it out, and the pod gets 30 s and 10 more",
            ),
            (
                json!({ "spec": { "terminationGracePeriodSeconds": null } }),
                "spec.terminationGracePeriodSeconds: a worker needs it to end its tasks; leave it out",
            ),
            (
                json!({ "spec": { "containers": [{ "name": "worker", "env": [{ "name": "POD_NAME", "value": "x" }] }] } }),
                "spec.containers[0].env[0].name: POD_NAME cannot be set here: a worker is known by the name of its pod, \
                 which the operator fills in",
            ),
        ];
        for (given, expected) in cases {
            let expected = format!("spec.worker.template.{expected}");
            assert_eq!(template(&given).map(|_| ()), Err(expected), "{given}");
        }
    }

    #[test]
    fn another_container_of_the_pod_may_have_any_variable() {
        let env = json!([{ "name": "TIDEMILL_BROKER__URL", "value": "redis://elsewhere:6379/0" }]);
        assert!(template(&json!({ "spec": { "containers": [{ "name": "proxy", "env": env }] } })).is_ok());
    }

    #[test]
    fn variables_that_would_cut_a_pod_off_its_queue_are_refused() {
        let names = [
            ("TIDEMILL_BROKER__URL", false),
            ("TIDEMILL_BROKER__PASSWORD", false),
            ("TIDEMILL_QUEUE__NAME", false),
            ("TIDEMILL_EXECUTOR_SERVICE__WORKERS_LIMIT", false),
            ("TIDEMILL_APP__EXECUTOR_SHUTDOWN_TIMEOUT_MS", false),
            ("TIDEMILL_APP__PORT", false),
            ("TIDEMILL_HANDLERS", false),
            ("POD_NAME", false),
            ("TIDEMILL_LOG__LEVEL", true),
            ("TIDEMILL_SMTP__URL", true),
            ("BROKER_URL", true),
        ];
        for (name, fine) in names {
            let judged = worker(&json!({ "env": [{ "name": "A", "value": "1" }, { "name": name, "value": "x" }] }));
            match judged {
                Ok(_) => assert!(fine, "{name}"),
                Err(message) => {
                    assert!(!fine, "{message}");
                    let start = format!("spec.worker.env[1].name: {name} cannot be set here: ");
                    assert!(message.starts_with(&start), "{message}");
                }
            }
        }
    }

    #[test]
    fn a_variable_stands_once_and_has_one_source() {
        let twice = json!({ "env": [{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }] });
        assert_eq!(worker(&twice).unwrap_err(), "spec.worker.env[1].name: A stands twice");
        let source = json!({ "fieldRef": { "fieldPath": "metadata.uid" } });
        let both = json!({ "env": [{ "name": "A", "value": "1", "valueFrom": source }] });
        assert_eq!(worker(&both).unwrap_err(), "spec.worker.env[0]: A has a value and a valueFrom; keep one");
    }
}
