//! What the command line asks of a cluster beside running the operator.

use std::time::Duration;

use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::crd::{Scaling, TaskQueue, condition};
use crate::scale;

/// How often it is looked whether TaskQueues are gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a definition that was installed a moment ago may be unknown.
const DEFINITION_PATIENCE: Duration = Duration::from_secs(30);
/// Who owns the fields of the TaskQueues that a chart brings along.
const CHART_MANAGER: &str = "tidemill-chart";

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
    /// What was to be applied is no TaskQueue.
    #[error("document {document}: {problem}")]
    Document {
        /// Its number, from 1.
        document: usize,
        /// What is wrong with it.
        problem: String,
    },
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
    let scaling = status.conditions.iter().find(|condition| condition.type_ == condition::SCALING_ACTIVE);
    let scaling = scaling.map(|scaling| format!("\nscaling is {}: {}\n", scaling.reason, scaling.message));
    let heading = (!status.scalings.is_empty()).then(|| "\nlast changes:\n".to_owned());
    let change = |change: &Scaling| format!("  {}  {} to {}: {}\n", change.at.0, change.from, change.to, change.why);
    let parts = [Some(scale::explain(decision)), scaling, heading].into_iter().flatten();
    let text = parts.chain(status.scalings.iter().map(change)).collect();
    Ok(text)
}

/// Applies the TaskQueues of a YAML text, then deletes those that `selector` picks and that are not in it. What was done
/// to each.
///
/// For a chart that brings TaskQueues along with their definition, which the API server may still be learning.
pub async fn apply_all(
    client: &Client,
    namespace: &str,
    selector: &str,
    text: &str,
) -> Result<Vec<(String, &'static str)>, CommandError> {
    let api = Api::<TaskQueue>::namespaced(client.clone(), namespace);
    let wanted = documents(text)?;
    let began = Instant::now();
    // An empty list of none is the first request that shows whether the definition is known.
    let there = loop {
        match api.list_metadata(&ListParams::default().labels(selector)).await {
            Ok(list) => break list.items,
            Err(kube::Error::Api(status)) if status.is_not_found() && began.elapsed() < DEFINITION_PATIENCE => {
                sleep(LOOK_EVERY).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    let mut done = Vec::new();
    for task_queue in &wanted {
        let name = task_queue["metadata"]["name"].as_str().unwrap_or_default();
        api.patch(name, &PatchParams::apply(CHART_MANAGER).force(), &Patch::Apply(task_queue)).await?;
        done.push((name.to_owned(), "applied"));
    }
    for name in there.iter().map(ResourceExt::name_any) {
        if done.iter().any(|(kept, _)| *kept == name) {
            continue;
        }
        match api.delete(&name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            deleted => drop(deleted?),
        }
        done.push((name, "deleted"));
    }
    Ok(done)
}

/// The TaskQueues of a YAML text, as they are written: what they leave out stays out.
fn documents(text: &str) -> Result<Vec<Value>, CommandError> {
    let wrong = |document: usize, problem: String| CommandError::Document { document, problem };
    let mut found = Vec::new();
    for (index, document) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        let value = Value::deserialize(document).map_err(|error| wrong(index + 1, error.to_string()))?;
        if value.is_null() {
            continue;
        }
        if value["kind"] != "TaskQueue" || !value["metadata"]["name"].is_string() {
            return Err(wrong(index + 1, "not a TaskQueue with a name in metadata.name".to_owned()));
        }
        found.push(value);
    }
    Ok(found)
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
    let names = names_of(&api, &picked).await?;
    for name in &names {
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let began = Instant::now();
    loop {
        let left = names_of(&api, &picked).await?;
        if left.is_empty() {
            return Ok(names);
        }
        if began.elapsed() > patience {
            return Err(CommandError::StillThere { seconds: patience.as_secs(), names: left });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The names of those that are picked: none where not even their definition is there.
async fn names_of(api: &Api<TaskQueue>, picked: &ListParams) -> Result<Vec<String>, kube::Error> {
    match api.list_metadata(picked).await {
        Ok(list) => Ok(list.items.iter().map(ResourceExt::name_any).collect()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_holds_any_number_of_task_queues_and_nothing_else() {
        assert!(documents("").unwrap().is_empty() && documents("---\n").unwrap().is_empty());
        let two = "---\nkind: TaskQueue\nmetadata: {name: a}\n---\nkind: TaskQueue\nmetadata: {name: b}\nspec: {}\n";
        assert_eq!(documents(two).unwrap().len(), 2);
        let wrong =
            documents("kind: TaskQueue\nmetadata: {name: a}\n---\nkind: Secret\nmetadata: {name: b}\n").unwrap_err();
        assert_eq!(wrong.to_string(), "document 2: not a TaskQueue with a name in metadata.name");
    }
}
