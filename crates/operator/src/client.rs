//! What the command line asks of a cluster beside running the operator.

use std::time::Duration;

use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, sleep};

use crate::crd::{TaskQueue, condition};
use crate::scale;

/// How often it is looked whether TaskQueues are gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no such TaskQueue.
    #[error("there is no TaskQueue {name} in namespace {namespace}; `kubectl get tq --all-namespaces` lists them")]
    Unknown {
        /// Where it was looked for.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The operator has not written a status yet.
    #[error("TaskQueue {0} has no decision yet: is the operator running?")]
    Undecided(String),
    /// The API server refused, or did not answer.
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
    /// TaskQueues were deleted and are still there.
    #[error("after {seconds} s these TaskQueues still drain: {}; they go when their workers have ended", names.join(", "))]
    StillThere {
        /// How long it was waited.
        seconds: u64,
        /// Which.
        names: Vec<String>,
    },
}

/// A cluster, by `KUBECONFIG`, `~/.kube/config` or from within a pod.
pub async fn connect() -> Result<Client, kube::Error> {
    Client::try_default().await
}

/// What the autoscaler last decided for a TaskQueue, and why, for reading.
pub async fn explain(client: &Client, namespace: Option<&str>, name: &str) -> Result<String, CommandError> {
    let namespace = namespace.unwrap_or_else(|| client.default_namespace()).to_owned();
    let api = Api::<TaskQueue>::namespaced(client.clone(), &namespace);
    let Some(task_queue) = api.get_opt(name).await? else {
        return Err(CommandError::Unknown { namespace, name: name.to_owned() });
    };
    let status = task_queue.status.unwrap_or_default();
    let Some(decision) = &status.scaling else { return Err(CommandError::Undecided(name.to_owned())) };
    let mut text = scale::explain(decision);
    if let Some(scaling) = status.conditions.iter().find(|condition| condition.type_ == condition::SCALING_ACTIVE) {
        text.push_str(&format!("\nscaling is {}: {}\n", scaling.reason, scaling.message));
    }
    if !status.scalings.is_empty() {
        text.push_str("\nlast changes:\n");
    }
    for change in &status.scalings {
        text.push_str(&format!("  {}  {} to {}: {}\n", change.at.0, change.from, change.to, change.why));
    }
    Ok(text)
}

/// Deletes the TaskQueues that `selector` picks, and waits until the operator has drained and let go of them all.
/// Their names.
pub async fn delete_all(
    client: &Client,
    namespace: &str,
    selector: &str,
    patience: Duration,
) -> Result<Vec<String>, CommandError> {
    let api = Api::<TaskQueue>::namespaced(client.clone(), namespace);
    let picked = ListParams::default().labels(selector);
    let names: Vec<String> = api.list_metadata(&picked).await?.items.iter().map(ResourceExt::name_any).collect();
    for name in &names {
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let began = Instant::now();
    loop {
        let left: Vec<String> = api.list_metadata(&picked).await?.items.iter().map(ResourceExt::name_any).collect();
        if left.is_empty() {
            return Ok(names);
        }
        if began.elapsed() > patience {
            return Err(CommandError::StillThere { seconds: patience.as_secs(), names: left });
        }
        sleep(LOOK_EVERY).await;
    }
}
