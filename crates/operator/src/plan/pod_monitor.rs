//! Tells the Prometheus operator to scrape the workers.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;

use super::Inputs;
use super::labels::{Component, metadata, selector};
use super::pod::HTTP_PORT_NAME;

/// The resource of another project: it exists where the Prometheus operator is installed.
pub fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("monitoring.coreos.com", "v1", "PodMonitor"),
        "podmonitors",
    )
}

/// The monitor of the worker pods.
pub(super) fn pod_monitor(inputs: &Inputs<'_>) -> DynamicObject {
    let name = inputs.names().worker;
    let mut monitor = DynamicObject::new(&name, &resource()).data(json!({
        "spec": {
            "selector": { "matchLabels": selector(inputs.name()) },
            "podMetricsEndpoints": [{ "port": HTTP_PORT_NAME, "path": "/metrics" }],
        },
    }));
    monitor.metadata = metadata(inputs, &name, Component::Worker);
    monitor
}
