//! What a node would do for pods, for clusters that have none.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use tidemill_operator::plan::selector_text;

use crate::cluster::SOON;
use crate::{Space, holds, until};

/// Waits until a TaskQueue has `count` worker pods, and says of each that it runs and is ready.
///
/// # Panics
/// When they do not come.
pub async fn run_pods(space: &Space, task_queue: &str, count: usize) {
    let selected = ListParams::default().labels(&selector_text(task_queue));
    let pods = until(&format!("{task_queue} has {count} pods"), SOON, async || {
        let pods = space.api::<Pod>().list(&selected).await.map_err(|error| error.to_string())?.items;
        let there = pods.len();
        holds(there == count, || format!("it has {there}")).map(|()| pods)
    })
    .await;
    let ready = json!({ "status": {
        "phase": "Running",
        "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
    } });
    for pod in pods {
        let api = space.api::<Pod>();
        let said = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&ready)).await;
        said.expect("the API server takes the pod's status");
    }
}
