//! A worker of one's own: its image in a TaskQueue, scaled like any other.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::kubectl::{kubectl, wait_for};
use crate::queue::{self, Queue};
use crate::tools::request;
use crate::wait::{ensure, until};
use crate::{images, release};

/// The TaskQueue of the example.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/custom-worker/taskqueue.yaml");
/// The image that it names, for people to replace by theirs.
const NAMED: &str = "registry.example.org/custom-worker:0.1.0";
/// The first pod starts in this time, and the tasks end.
const WORK: Duration = Duration::from_mins(1);

pub(crate) fn run() {
    release::needed();
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    assert!(example.contains(NAMED), "{example}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taskqueue.yaml");
    let image = format!("{}\n    imagePullPolicy: IfNotPresent", images::CUSTOM_WORKER);
    std::fs::write(&file, example.replace(NAMED, &image)).unwrap();
    apply(&file);
    wait_for("condition=Ready", &["taskqueue/texts"], queue::READY_WITHIN).done();
    let queue = Queue::named("texts");

    let task = |id: &str, text: &str| json!({ "id": id, "type": "count_words", "payload": { "text": text } });
    let batch = json!([task("hamlet", "to be or not to be"), task("empty", ""), { "id": "none", "type": "sleep", "payload": {} }]);
    request("/enqueue?queue=texts", Some(&batch.to_string())).is(202);
    let pods = until(WORK, "a pod of the example's image runs", || {
        let pods = queue.pods()?;
        ensure(!pods.is_empty(), || "no pod yet".to_owned())?;
        Ok(pods)
    });
    assert_eq!(pods[0]["spec"]["containers"][0]["image"], images::CUSTOM_WORKER);
    let counters = queue.settled(WORK);
    assert_eq!((counters.succeeded, counters.dead, counters.lost), (2, 1, 0), "{counters:?}");
    let counted = request("/api/v1/queues/texts/tasks/hamlet", None).json();
    assert_eq!(counted["result"], json!({ "words": 6, "attempt": 1 }), "{counted}");
    // It serves what it has a handler for, and nothing else.
    let refused = request("/api/v1/queues/texts/tasks/none", None).json();
    assert_eq!(refused["attempts"][0]["kind"], "unsupported", "{refused}");

    // It is probed and scraped as the program's own workers are, and drains at once when it may go.
    let pod = crate::kubectl::name(&queue.pods().unwrap()[0]);
    let metrics = kubectl(&[
        "get",
        "--raw",
        &format!("/api/v1/namespaces/{}/pods/{pod}:8080/proxy/metrics?format=prometheus", crate::kubectl::NAMESPACE),
    ]);
    assert!(metrics.done().contains("tidemill_worker_slots 4"), "the worker's metrics are shown");
    queue.delete();
    queue.gone(WORK);
}

fn apply(file: &Path) {
    kubectl(&["apply", "--filename", file.to_str().unwrap()]).done();
}
