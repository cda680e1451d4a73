//! The end of a TaskQueue: its workers drain, and then the broker hears of it.
//!
//! Workers drain by themselves on SIGTERM, with or without the broker. What `deletionPolicy` asks of the broker is tried
//! for a while and then given up, and said: a broker that is dead never holds up a deletion.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use serde_json::json;
use tidemill_broker::BrokerError;
use tokio::time::timeout;

use crate::apply;
use crate::crd::{DeletionPolicy, FIELD_MANAGER, TaskQueue};
use crate::dereference::dereference;
use crate::events::Happened;
use crate::plan::Names;
use crate::reconcile::{Context, ReconcileError};

/// How long the broker is asked.
const BROKER_PATIENCE: Duration = Duration::from_secs(10);
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
    let said = match timeout(BROKER_PATIENCE, settle_broker(&task_queue, context)).await {
        Ok(said) => said,
        Err(_) => Err("the broker did not answer in time".to_owned()),
    };
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
    let names = Names::of(&name);
    context.children.forget(&namespace, &[&names.worker, &names.api, &names.broker_secret]);
    context.metrics.forget(&namespace, &name);
    Ok(Action::await_change())
}

/// Scales the workers to zero. How many pods are still there.
async fn drain(
    task_queue: &TaskQueue,
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<usize, ReconcileError> {
    let names = Names::of(name);
    let deployments = Api::<Deployment>::namespaced(context.client.clone(), namespace);
    if let Some(deployment) = context.children.deployments.get(namespace, &names.worker)
        && deployment.spec.as_ref().and_then(|spec| spec.replicas) != Some(0)
        && deployment.owner_references().iter().any(|owner| Some(&owner.uid) == task_queue.metadata.uid.as_ref())
    {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
        match deployments.patch(&names.worker, &params, &patch).await {
            Ok(_) => {
                let note = "the workers drain: what runs may end, the rest goes back to the queue".to_owned();
                context.events.tell(task_queue, &Happened::normal("Draining", note)).await;
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(ReconcileError::Api(Box::new(error))),
        }
    }
    let pods = Api::<Pod>::namespaced(context.client.clone(), namespace);
    let pods = apply::pods(&pods, name).await.map_err(|error| ReconcileError::Api(Box::new(error)))?;
    Ok(pods.iter().filter(|pod| !has_ended(pod)).count())
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
    let done: Result<String, BrokerError> = async {
        Ok(match task_queue.spec.deletion_policy {
            DeletionPolicy::Retain if broker.disown(&queue, &owner).await? => {
                format!("the tasks of queue {queue} stay on the broker")
            }
            DeletionPolicy::Purge if broker.drop_queue(&queue, &owner).await? => format!("queue {queue} was purged"),
            _ => format!("queue {queue} was left as it is: this TaskQueue did not own it"),
        })
    }
    .await;
    brokers.release(&found.access).await;
    done.map_err(|error| error.to_string())
}
