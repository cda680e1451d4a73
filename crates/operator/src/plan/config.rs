//! The settings of the pods, as a file in a `ConfigMap`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Inputs;
use super::labels::{Component, metadata, texts};
use crate::crd::HandlerSpec;
use crate::options::TraceSettings;

/// The file's name, within the `ConfigMap` and within the folder of the settings.
pub(super) const FILE: &str = "config.yaml";
/// How much of a checksum is kept, in bytes. It tells one version from the next, and guards against nobody.
const CHECKSUM_BYTES: usize = 8;
const MILLISECONDS: u32 = 1_000;

/// The workers' settings: what the resource decides, and nothing that has the right default.
pub(super) fn config_map(inputs: &Inputs<'_>) -> ConfigMap {
    let worker = &inputs.task_queue.spec.worker;
    let mut config = format!(
        "app:
  port: {port}
  executor_shutdown_timeout_ms: {shutdown}
executor_service:
  workers_limit: {slots}
queue:
  name: {queue}
log:
  format: json
smtp:
  outbox: {data}/outbox
{traces}",
        port = super::pod::HTTP_PORT,
        shutdown = worker.shutdown_timeout_seconds.unsigned_abs().saturating_mul(MILLISECONDS),
        slots = worker.workers_limit,
        queue = quoted(inputs.queue.as_str()),
        data = super::pod::DATA_FOLDER,
        traces = traces(inputs),
    );
    config.push_str(&handlers(&inputs.task_queue.spec.handlers));
    named(inputs, &inputs.names().worker, Component::Worker, &config)
}

/// Where the pods send their traces: nothing at all where nowhere.
pub(super) fn traces(inputs: &Inputs<'_>) -> String {
    let Some(TraceSettings { endpoint, sample_ratio }) = inputs.traces else { return String::new() };
    format!("traces:\n  endpoint: {}\n  sample_ratio: {sample_ratio}\n", quoted(endpoint))
}

/// The section of the types of one's own, a line each, by name: JSON is YAML. Empty where there are none, so that the file of
/// those who have none stays as it is.
fn handlers(handlers: &[HandlerSpec]) -> String {
    if handlers.is_empty() {
        return String::new();
    }
    let lines: BTreeMap<&str, Value> =
        handlers.iter().map(|handler| (handler.r#type.as_str(), section(handler))).collect();
    lines.iter().fold("handlers:\n".to_owned(), |mut text, (name, handler)| {
        // Writing to a String cannot fail.
        writeln!(text, "  {}: {handler}", quoted(name)).ok();
        text
    })
}

fn section(handler: &HandlerSpec) -> Value {
    let HandlerSpec { r#type: _, command, url, env, pass_env, directory, timeout_seconds } = handler;
    let env = env.as_ref().map(|env| env.iter().map(|one| (one.name.clone(), json!(one.value))).collect::<Map<_, _>>());
    let timeout_ms = timeout_seconds.map(|seconds| seconds.unsigned_abs().saturating_mul(MILLISECONDS.into()));
    let members = [
        ("command", command.as_ref().map(|command| json!(command))),
        ("url", url.as_ref().map(|url| json!(url))),
        ("env", env.map(Value::from)),
        ("pass_env", pass_env.as_ref().filter(|names| !names.is_empty()).map(|names| json!(names))),
        ("directory", directory.as_ref().map(|directory| json!(directory))),
        ("timeout_ms", timeout_ms.map(Value::from)),
    ];
    members.into_iter().filter_map(|(member, value)| Some((member.to_owned(), value?))).collect::<Map<_, _>>().into()
}

/// A `ConfigMap` that holds this file of settings alone.
pub(super) fn named(inputs: &Inputs<'_>, name: &str, component: Component, config: &str) -> ConfigMap {
    ConfigMap {
        metadata: metadata(inputs, name, component),
        data: Some(texts([(FILE, config)])),
        ..ConfigMap::default()
    }
}

/// Text as YAML reads it as text, whatever it looks like: a queue may be called `1.0` or `true`.
pub(super) fn quoted(text: &str) -> String {
    json!(text).to_string()
}

/// A checksum of a `ConfigMap`'s data, in hexadecimal digits. Pods that carry it are replaced when the data change.
pub(super) fn checksum(config_map: &ConfigMap) -> String {
    let mut hash = Sha256::new();
    for (key, value) in config_map.data.iter().flatten() {
        for part in [key, value] {
            hash.update(part.len().to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finalize().iter().take(CHECKSUM_BYTES).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
