//! What the owned objects are known by: labels, selectors, the owner.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::Resource;
use kube::api::ObjectMeta;

use super::Inputs;

/// The label that names the `TaskQueue` of an object. No other program sets it, so that a selector with it never picks
/// pods of the chart, whose other labels may be the same.
pub const OWNER_LABEL: &str = "tidemill.dev/queue-owner";

const NAME: &str = "app.kubernetes.io/name";
const INSTANCE: &str = "app.kubernetes.io/instance";
const COMPONENT: &str = "app.kubernetes.io/component";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const PROGRAM: &str = "tidemill";
const OPERATOR: &str = "tidemill-operator";

/// Which part of a `TaskQueue` an object belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Component {
    /// The workers.
    Worker,
    /// The API of its own.
    Api,
}

impl Component {
    fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Api => "api",
        }
    }
}

/// The labels that pick the worker pods of the `TaskQueue` of this name, and nothing else in its namespace. A
/// Deployment's selector cannot change: neither may these.
pub fn selector(task_queue: &str) -> BTreeMap<String, String> {
    selecting(task_queue, Component::Worker)
}

/// The same as text, as the scale subresource and lists of pods want it.
pub fn selector_text(task_queue: &str) -> String {
    let pairs: Vec<_> = selector(task_queue).into_iter().map(|(label, value)| format!("{label}={value}")).collect();
    pairs.join(",")
}

/// The labels that pick the pods of a part.
pub(super) fn selecting(task_queue: &str, component: Component) -> BTreeMap<String, String> {
    texts([(NAME, PROGRAM), (COMPONENT, component.as_str()), (OWNER_LABEL, task_queue)])
}

/// The same as a selector.
pub(super) fn label_selector(inputs: &Inputs<'_>, component: Component) -> LabelSelector {
    LabelSelector { match_labels: Some(selecting(inputs.name(), component)), ..LabelSelector::default() }
}

/// The labels of an object. The program's version is not among them: it would replace all pods with each new operator.
pub(super) fn labels(task_queue: &str, component: Component) -> BTreeMap<String, String> {
    let mut labels = selecting(task_queue, component);
    labels.extend(texts([(INSTANCE, task_queue), (MANAGED_BY, OPERATOR)]));
    labels
}

/// The metadata of an owned object: when its `TaskQueue` is gone, the garbage collector takes it away.
pub(super) fn metadata(inputs: &Inputs<'_>, name: &str, component: Component) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: inputs.task_queue.metadata.namespace.clone(),
        labels: Some(labels(inputs.name(), component)),
        owner_references: owner(inputs).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

fn owner(inputs: &Inputs<'_>) -> Option<OwnerReference> {
    let owner = inputs.task_queue.controller_owner_ref(&())?;
    Some(OwnerReference { block_owner_deletion: Some(true), ..owner })
}

/// A map of texts.
pub(super) fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
