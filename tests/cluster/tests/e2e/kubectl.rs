//! kubectl in the namespace of the scenarios.

use std::time::Duration;

use serde_json::Value;

use crate::process::{self, Said};

/// The namespace of the installation, and of all that the scenarios make.
pub(crate) const NAMESPACE: &str = "tidemill-e2e";
/// How long one call may take that does not wait for anything.
const PROMPT: Duration = Duration::from_secs(30);

/// Runs kubectl.
pub(crate) fn kubectl(args: &[&str]) -> Said {
    run(args, "", PROMPT)
}

/// Runs a kubectl that waits for something by itself.
pub(crate) fn kubectl_within(limit: Duration, args: &[&str]) -> Said {
    run(args, "", limit)
}

/// `kubectl apply -f -`.
pub(crate) fn apply(manifest: &Value) -> Said {
    run(&["apply", "-f", "-"], &manifest.to_string(), PROMPT)
}

/// `kubectl wait`, for `limit` at most.
pub(crate) fn wait_for(condition: &str, what: &[&str], limit: Duration) -> Said {
    let (condition, timeout) = (format!("--for={condition}"), format!("--timeout={}s", limit.as_secs()));
    let args: Vec<&str> = ["wait", &condition, &timeout].into_iter().chain(what.iter().copied()).collect();
    kubectl_within(limit + PROMPT, &args)
}

/// What is there, as JSON; an object that is not there is an error.
pub(crate) fn get(what: &[&str]) -> Result<Value, String> {
    let args: Vec<&str> = ["get", "-o", "json"].into_iter().chain(what.iter().copied()).collect();
    let text = kubectl(&args).result()?;
    serde_json::from_str(&text).map_err(|error| format!("kubectl get {}: {error}", what.join(" ")))
}

/// The items of a list.
pub(crate) fn list(what: &[&str]) -> Result<Vec<Value>, String> {
    Ok(get(what)?["items"].as_array().cloned().unwrap_or_default())
}

/// The names of a list.
pub(crate) fn names(what: &[&str]) -> Result<Vec<String>, String> {
    Ok(list(what)?.iter().map(name).collect())
}

/// The name of an object.
pub(crate) fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Whether a pod is ready and not on its way out.
pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn run(args: &[&str], input: &str, limit: Duration) -> Said {
    let args: Vec<&str> = ["--namespace", NAMESPACE].into_iter().chain(args.iter().copied()).collect();
    process::run("kubectl", &args, input, limit)
}
