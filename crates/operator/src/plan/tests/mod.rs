#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broker;
mod merge;
mod objects;
mod rolling;

use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec};
use serde_json::{Value, json};
use tidemill_broker::{Access, Authorities};
use tidemill_core::QueueName;

use super::{BrokerAccess, Inputs, Objects, Template, plan};
use crate::crd::TaskQueue;
use crate::options::TraceSettings;

const IMAGE: &str = "tidemill:1";
const UID: &str = "5f2e4c1a-0000-4000-8000-000000000001";

/// A spec as a user writes it, and what is observed beside it.
pub(super) struct Case {
    spec: Value,
    pub(super) replicas: u32,
    pub(super) checksum: &'static str,
    pub(super) installation: Option<Access>,
    pub(super) network_policies: bool,
    pub(super) traces: Option<TraceSettings>,
    pub(super) pod_monitors: bool,
}

impl Case {
    /// A broker of its own by URL, and `spec` beside it.
    pub(super) fn own(spec: &Value) -> Self {
        let mut whole = json!({ "broker": { "url": "redis://redis:6379/0" } });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Self {
            spec: whole,
            replicas: 3,
            checksum: "b1",
            installation: None,
            network_policies: true,
            traces: None,
            pod_monitors: true,
        }
    }

    /// The installation's broker, with everything that it can need.
    pub(super) fn installation(spec: &Value) -> Self {
        let access = Access {
            username: Some("tide".to_owned()),
            password: Some("s$cret".to_owned()),
            authorities: Some(Authorities::Pem(b"PEM".to_vec())),
            ..Access::new("rediss://broker.tidemill.svc:6379/0")
        };
        Self { spec: spec.clone(), installation: Some(access), ..Self::own(&json!({})) }
    }

    pub(super) fn task_queue(&self) -> TaskQueue {
        serde_json::from_value(json!({
            "apiVersion": "tidemill.dev/v1alpha1",
            "kind": "TaskQueue",
            "metadata": { "name": "mails", "namespace": "shop", "uid": UID },
            "spec": self.spec,
        }))
        .unwrap()
    }

    pub(super) fn plan(&self) -> Objects {
        let task_queue = self.task_queue();
        let template = task_queue.spec.worker.template.as_ref();
        let template = template.map(|given| Template::parse(given).unwrap()).unwrap_or_default();
        let broker = match &self.installation {
            Some(access) => BrokerAccess::Installation(access),
            None => BrokerAccess::Own(task_queue.spec.broker.as_ref().unwrap()),
        };
        plan(&Inputs {
            task_queue: &task_queue,
            queue: &QueueName::new("Mails.2").unwrap(),
            replicas: self.replicas,
            broker,
            broker_checksum: self.checksum,
            default_image: IMAGE,
            network_policies: self.network_policies,
            traces: self.traces.as_ref(),
            pod_monitors: self.pod_monitors,
            template: &template,
        })
    }

    pub(super) fn pod(&self) -> PodTemplateSpec {
        self.plan().deployment.spec.unwrap().template
    }

    pub(super) fn pod_spec(&self) -> PodSpec {
        self.pod().spec.unwrap()
    }

    pub(super) fn worker(&self) -> Container {
        self.pod_spec().containers.into_iter().find(|container| container.name == "worker").unwrap()
    }
}

/// What a variable is, in short: its value, or the key of a Secret or the field that it comes from.
pub(super) fn told(variable: &EnvVar) -> (String, String) {
    let EnvVar { name, value, value_from } = variable;
    let source = match (value, value_from) {
        (Some(value), None) => value.clone(),
        (None, Some(from)) => match (&from.secret_key_ref, &from.field_ref) {
            (Some(secret), None) => format!("secret {}/{}", secret.name, secret.key),
            (None, Some(field)) => format!("field {}", field.field_path),
            other => panic!("{other:?}"),
        },
        other => panic!("{name}: {other:?}"),
    };
    (name.clone(), source)
}

/// Whether everything that `expected` says is in `found` too. Lists are compared whole.
pub(super) fn says(found: &Value, expected: &Value, path: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            for (key, expected) in expected {
                says(found.get(key).unwrap_or(&Value::Null), expected, &format!("{path}.{key}"));
            }
        }
        _ => assert_eq!(found, expected, "{path}"),
    }
}
