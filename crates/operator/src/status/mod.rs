//! The last stage: what was seen and decided is said, in conditions that a person and a program can read.
//!
//! Pure but for [`write`]: a status is made from what the other stages found.

mod conditions;
mod figures;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

pub use conditions::{Found, Trouble};

use crate::crd::{SCALINGS_MAX, STATUS_MANAGER, Scaling, TaskQueue, TaskQueueStatus};
use crate::gauge::Reading;
use crate::scale::Decision;

/// What the earlier stages found.
pub struct Observed<'a> {
    /// The queue's name on the broker.
    pub queue: &'a str,
    /// Where the tasks are kept, without secrets.
    pub broker: Option<String>,
    /// The image of the worker pods.
    pub image: Option<String>,
    /// What the gauge shows.
    pub reading: &'a Reading,
    /// The worker Deployment, if it is there.
    pub deployment: Option<&'a Deployment>,
    /// What stopped the stages, if anything did.
    pub trouble: Option<Trouble>,
    /// The number of worker pods before and now, if this turn changed it.
    pub scaled: Option<(u32, u32)>,
    /// The time.
    pub now: k8s_openapi::jiff::Timestamp,
}

/// The status of a TaskQueue.
/// `before` is the last one, which may be newer than the one in `task_queue`: the operator does not wait for its own
/// writes to come back.
pub fn status(task_queue: &TaskQueue, before: TaskQueueStatus, observed: &Observed<'_>) -> TaskQueueStatus {
    let pods = figures::Pods::of(observed.deployment);
    let was_ready = conditions::was_ready(task_queue, &before);
    let found = Found { task_queue, observed, pods, was_ready };
    let seen = match observed.reading {
        Reading::Live(seen) | Reading::Unreachable { last: Some(seen), .. } => Some(seen),
        _ => None,
    };
    TaskQueueStatus {
        observed_generation: task_queue.metadata.generation,
        conditions: conditions::conditions(&found, &before.conditions),
        replicas: pods.there,
        ready_replicas: pods.ready,
        selector: Some(crate::plan::selector_text(&task_queue.name_any())),
        broker: observed.broker.clone(),
        image: observed.image.clone(),
        paused: seen.map_or(before.paused, |seen| seen.held),
        queue: seen.map(|seen| figures::figures(observed.queue, &seen.stats)).or(before.queue),
        scalings: scalings(before.scalings, observed, seen.map(|seen| &seen.decision)),
        scaling: seen.map(|seen| seen.decision.clone()).or(before.scaling),
    }
}

fn scalings(mut known: Vec<Scaling>, observed: &Observed<'_>, decision: Option<&Decision>) -> Vec<Scaling> {
    if let Some((from, to)) = observed.scaled {
        let why = decision.map(|decision| decision.reason.to_string()).unwrap_or_default();
        known.insert(0, Scaling { at: Time(observed.now), from, to, why });
        known.truncate(SCALINGS_MAX);
    }
    known
}

/// Writes the status, whoever wrote another.
pub async fn write(client: &Client, task_queue: &TaskQueue, status: &TaskQueueStatus) -> Result<(), kube::Error> {
    let api = Api::<TaskQueue>::namespaced(client.clone(), &task_queue.namespace().unwrap_or_default());
    let body = json!({
        "apiVersion": TaskQueue::api_version(&()),
        "kind": TaskQueue::kind(&()),
        "metadata": { "name": task_queue.name_any(), "uid": task_queue.uid() },
        "status": status,
    });
    let params = PatchParams::apply(STATUS_MANAGER).force();
    api.patch_status(&task_queue.name_any(), &params, &Patch::Apply(&body)).await.map(drop)
}

/// Whether `after` says anything that `before` does not, figures that change by themselves aside.
pub fn differs(before: &TaskQueueStatus, after: &TaskQueueStatus) -> bool {
    let essence = |status: &TaskQueueStatus| {
        let mut essence = status.clone();
        essence.queue = None;
        essence.scaling = None;
        (essence, status.scaling.as_ref().map(|decision| (decision.replicas, decision.reason)))
    };
    essence(before) != essence(after)
}
