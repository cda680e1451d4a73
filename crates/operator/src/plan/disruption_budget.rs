//! How many workers an eviction may take.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Inputs;
use super::labels::{Component, label_selector, metadata};

/// How many pods may be evicted at a time, rounded up: a single worker never holds up the draining of a node, and of
/// many a quarter may go, since a worker that is taken away drains and its tasks go on elsewhere.
const UNAVAILABLE_MAX: &str = "25%";

/// The budget. It counts what may be missing and not what must be there, so that no pods at all is no trouble. A pod that
/// is not ready may always go: it holds nothing that would be lost.
pub(super) fn disruption_budget(inputs: &Inputs<'_>) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::String(UNAVAILABLE_MAX.to_owned())),
        selector: Some(label_selector(inputs, Component::Worker)),
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..PodDisruptionBudgetSpec::default()
    };
    PodDisruptionBudget {
        metadata: metadata(inputs, &inputs.names().worker, Component::Worker),
        spec: Some(spec),
        ..PodDisruptionBudget::default()
    }
}
