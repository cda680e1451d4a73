//! Which pods go first when there are to be fewer: those with the least to do.
//!
//! A ReplicaSet that shrinks takes the pods of the lowest `pod-deletion-cost` among those that are ready. The cost of a
//! pod is the number of tasks that it holds.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::error::ApplyError;
use crate::crd::FIELD_MANAGER;
use crate::gauge::Busy;
use crate::plan::selector_text;

/// What Kubernetes reads.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Marks the worker pods of a TaskQueue by how many tasks each holds.
pub async fn mark(client: &Client, namespace: &str, name: &str, busy: &Busy) -> Result<(), ApplyError> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let failed = |error| ApplyError::Pods(Box::new(error));
    for pod in pods(&api, name).await.map_err(failed)? {
        let pod_name = pod.name_any();
        let cost = busy.get(&pod_name).copied().unwrap_or(0).to_string();
        if pod.annotations().get(DELETION_COST).map_or("0", String::as_str) == cost {
            continue;
        }
        let patch = json!({ "metadata": { "annotations": { DELETION_COST: cost } } });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch_metadata(&pod_name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

/// The worker pods of a TaskQueue, those that are draining included.
pub async fn pods(api: &Api<Pod>, name: &str) -> Result<Vec<Pod>, kube::Error> {
    Ok(api.list(&ListParams::default().labels(&selector_text(name))).await?.items)
}
