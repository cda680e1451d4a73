//! The end of a TaskQueue: its workers drain, and then the broker hears of it.
//!
//! Workers drain by themselves on SIGTERM, with or without the broker. What `deletionPolicy` asks of the broker is tried
//! for a while and then given up, and said: a broker that is dead never holds up a deletion.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use serde_json::json;
use tidemill_broker::{Broker, BrokerError};
use tidemill_core::{QueueName, QueueOwner};
use tokio::time::timeout;

use crate::apply;
use crate::crd::{DeletionPolicy, FIELD_MANAGER, TaskQueue};
use crate::dereference::dereference;
use crate::events::Happened;
use crate::plan::Names;
use crate::reconcile::{Context, ReconcileError};

/// How long the broker is asked.
const BROKER_PATIENCE: Duration = Duration::from_secs(10);
/// How long after the end of its grace period a pod counts as gone although nobody says so.
const OVERDUE: SignedDuration = SignedDuration::from_mins(1);
/// How often it is looked whether the pods are gone. Their going is watched by way of the Deployment too.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Drains the workers of a TaskQueue that is being deleted, and cleans up behind it. An error, [`ReconcileError::Draining`]
/// among them, keeps the finalizer.
pub(crate) async fn finalize(task_queue: Arc<TaskQueue>, context: &Context) -> Result<Action, ReconcileError> {
    let namespace = task_queue.namespace().unwrap_or_default();
    let name = task_queue.name_any();
    context.gauges.forget(&(namespace.clone(), name.clone())).await;

    let left = drain(&task_queue, context, &namespace, &name).await?;
    if left > 0 {
        return Err(ReconcileError::Draining { left, again: LOOK_EVERY });
    }
    let said = settle_broker(&task_queue, context).await;
    let happened = match said {
        Ok(note) => Happened::normal("Deleted", note),
        Err(why) => Happened::warning(
            "BrokerLeftAsIs",
            match task_queue.spec.deletion_policy {
                DeletionPolicy::Retain => format!("the queue still names this TaskQueue as its owner: {why}"),
                DeletionPolicy::Purge => format!("the queue's tasks were not purged: {why}"),
            },
        ),
    };
    context.events.tell(&task_queue, &happened).await;
    tracing::info!(namespace, name, "{}", happened.note);
    context.forget(&(namespace, name)).await;
    Ok(Action::await_change())
}

/// Scales the workers to zero. How many pods are still there, or may yet come.
///
/// The API server is asked, not the watch: what was scaled up a moment ago may have no pods yet, and be about to.
async fn drain(
    task_queue: &TaskQueue,
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<usize, ReconcileError> {
    let failed = |error| ReconcileError::Api(Box::new(error));
    let names = Names::of(name);
    let deployments = Api::<Deployment>::namespaced(context.client.clone(), namespace);
    let deployment = deployments.get_opt(&names.worker).await.map_err(failed)?;
    let deployment = deployment.filter(|there| there.owner_references().iter().any(|owner| is(owner, task_queue)));
    let mut coming = 0;
    if let Some(deployment) = deployment {
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        if wanted != 0 {
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
            match deployments.patch(&names.worker, &params, &patch).await {
                Ok(_) => {
                    let note = "the workers drain: what runs may end, the rest goes back to the queue".to_owned();
                    context.events.tell(task_queue, &Happened::normal("Draining", note)).await;
                }
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let status = deployment.status.unwrap_or_default();
        let obeyed = wanted == 0 && status.observed_generation >= deployment.metadata.generation;
        coming = if obeyed { status.replicas.unwrap_or(0) } else { wanted.max(1) };
    }
    let pods = Api::<Pod>::namespaced(context.client.clone(), namespace);
    let pods = apply::pods(&pods, name).await.map_err(failed)?;
    let now = k8s_openapi::jiff::Timestamp::now();
    let there = pods.iter().filter(|pod| !has_ended(pod) && !is_overdue(pod, now)).count();
    Ok(there.max(usize::try_from(coming).unwrap_or(0)))
}

fn is(owner: &OwnerReference, task_queue: &TaskQueue) -> bool {
    Some(&owner.uid) == task_queue.metadata.uid.as_ref()
}

/// Whether a pod should have ended long ago, its grace period included: its node is gone, and so is what it ran.
fn is_overdue(pod: &Pod, now: k8s_openapi::jiff::Timestamp) -> bool {
    let deadline = pod.metadata.deletion_timestamp.as_ref();
    deadline.is_some_and(|deadline| now.duration_since(deadline.0) > OVERDUE)
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// What was done, or why it was not.
async fn settle_broker(task_queue: &TaskQueue, context: &Context) -> Result<String, String> {
    let found =
        dereference(&context.client, &context.options, task_queue).await.map_err(|missing| missing.to_string())?;
    let queue = task_queue.queue_name().map_err(|error| error.to_string())?;
    let owner = context.owner(task_queue);
    let brokers = context.gauges.brokers();
    let broker = brokers.take(&found.access).map_err(|error| error.to_string())?;
    let done = timeout(BROKER_PATIENCE, tell(&*broker, task_queue, &queue, &owner)).await;
    brokers.release(&found.access).await;
    match done {
        Ok(Ok(note)) => Ok(note),
        // A store that lost the queue has nothing left to settle.
        Ok(Err(BrokerError::UnknownQueue { .. })) => Ok(format!("queue {queue} is not on the broker")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the broker did not answer in time".to_owned()),
    }
}

async fn tell(
    broker: &dyn Broker,
    task_queue: &TaskQueue,
    queue: &QueueName,
    owner: &QueueOwner,
) -> Result<String, BrokerError> {
    let paused = task_queue.spec.paused || task_queue.status.as_ref().is_some_and(|status| status.paused);
    Ok(match task_queue.spec.deletion_policy {
        DeletionPolicy::Retain => {
            // The pause was this resource's: whoever takes the queue up again knows nothing of it.
            if paused && broker.owner(queue).await?.as_ref() == Some(owner) {
                broker.pause(queue, false).await?;
            }
            if broker.disown(queue, owner).await? {
                format!("the tasks of queue {queue} stay on the broker")
            } else {
                not_ours(queue)
            }
        }
        DeletionPolicy::Purge if broker.drop_queue(queue, owner).await? => format!("queue {queue} was purged"),
        DeletionPolicy::Purge => not_ours(queue),
    })
}

fn not_ours(queue: &QueueName) -> String {
    format!("queue {queue} was left as it is: this TaskQueue did not own it")
}
