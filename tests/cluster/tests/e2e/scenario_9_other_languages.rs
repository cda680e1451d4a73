//! Task types in another language: the samples of `config/samples`, with the images and addresses of this cluster.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kubectl::{NAMESPACE, apply, kubectl, wait_for};
use crate::queue::Queue;
use crate::release;
use crate::tools::{api, request, token};
use crate::wait::{ensure, until};

/// The image of the sample: Python, its handler, and Tidemill's program.
const IMAGE: &str = "localhost/tidemill/python-handler:latest";
/// The service that the sample posts to.
const NOTIFIER: &str = "notifier";
/// How long pods may take to start and a task to end.
const WORK: Duration = Duration::from_mins(1);

/// Answers 503 to the first request of each task, and then what it was sent, with the headers that tell of the task.
const SERVICE: &str = r#"
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Notifier(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def do_POST(self):
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        first = self.headers["Tidemill-Attempt"] == "1"
        names = ["Tidemill-Task-Id", "Tidemill-Task-Type", "Tidemill-Queue", "Tidemill-Attempt"]
        body = json.dumps({"payload": payload, "headers": [self.headers[name] for name in names]}).encode()
        self.send_response(503 if first else 200)
        if first:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("", 8080), Notifier).serve_forever()
"#;

pub(crate) fn run() {
    release::needed();
    let mut spec = sample("python-handler/taskqueue.yaml");
    spec["worker"]["image"] = IMAGE.into();
    let texts = Queue::ready("texts", &spec);
    a_python_program_counts_words();
    the_command_line_shows_the_result(&texts);
    private_addresses_stay_out_of_reach();

    serve_notices();
    let mut spec = sample("url-handler.yaml");
    spec["handlers"][0]["url"] = format!("http://{NOTIFIER}.{NAMESPACE}.svc:8080/notify").into();
    let notices = Queue::ready("notices", &spec);
    a_service_is_posted_to();
    for queue in [texts, notices] {
        queue.delete();
        queue.gone(WORK);
    }
    kubectl(&["delete", "pod,service", NOTIFIER]).done();
}

/// The spec of a sample.
fn sample(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/samples").join(name);
    let mut object: Value = serde_yaml_ng::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    object["spec"].take()
}

fn send(queue: &str, task: &Value) {
    request(&format!("/enqueue?queue={queue}"), Some(&task.to_string())).is(202);
}

/// Waits until a task has ended so, and what is known of it.
fn ended(queue: &str, id: &str, state: &str) -> Value {
    until(WORK, &format!("{id} is {state}"), || {
        let task = request(&format!("/api/v1/queues/{queue}/tasks/{id}"), None).json();
        ensure(task["state"] == state, || task.to_string())?;
        Ok(task)
    })
}

fn a_python_program_counts_words() {
    let task = |id: &str, payload: Value| json!({ "id": id, "type": "count_words", "payload": payload });
    send("texts", &task("words", json!({ "text": "to be or not to be; $(rm -rf /)" })));
    let counted = ended("texts", "words", "succeeded");
    let expected = json!({ "words": 9, "most": [["to", 2], ["be", 1], ["or", 1]], "attempt": 1 });
    assert_eq!(counted["result"], expected, "{counted}");
    println!("a task of a Python program: {}", counted["result"]);

    // Exit code 75 asks for another attempt; every other one is for good, and the end of stderr says why.
    send("texts", &task("later", json!({ "text": "a", "busy": true })));
    assert_eq!(ended("texts", "later", "succeeded")["result"]["attempt"], 2);
    send("texts", &task("wrong", json!({ "words": 1 })));
    let dead = ended("texts", "wrong", "dead");
    let expected = "python3 failed with exit code 1: payload.text: is missing, or is not a text";
    assert!(dead["attempts"].to_string().contains(expected), "{dead}");
    println!("a task that it refuses: {expected}");
}

/// From a worker pod, whose image holds the program.
fn the_command_line_shows_the_result(queue: &Queue) {
    let pods = queue.has_pods(1, WORK);
    let (server, token) = (format!("http://{}", api()), token());
    let args = ["exec", &pods[0], "--", "/tidemill", "tasks", "get", "words", "--queue", "texts", "--output", "json"];
    let args = [&args[..], &["--server", &server, "--token", &token]].concat();
    let shown: Value = serde_json::from_str(&kubectl(&args).done()).unwrap();
    assert_eq!(shown["result"]["words"], 9, "{shown}");
}

fn private_addresses_stay_out_of_reach() {
    for (id, url) in
        [("by-name", format!("http://{}/livez", api())), ("by-number", "http://169.254.169.254/".to_owned())]
    {
        send("texts", &json!({ "id": id, "type": "http_request", "payload": { "url": url } }));
        let dead = ended("texts", id, "dead");
        assert!(dead["attempts"].to_string().contains("is not a public address"), "{dead}");
    }
    println!("http_request is refused the Services of the cluster");
}

/// A Service of the cluster that knows nothing of Tidemill.
fn serve_notices() {
    apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": NOTIFIER, "labels": { "app": NOTIFIER } },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "notifier", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-c", SERVICE],
                "readinessProbe": { "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 1 },
            }],
        },
    }))
    .done();
    apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": NOTIFIER },
        "spec": { "selector": { "app": NOTIFIER }, "ports": [{ "port": 8080 }] },
    }))
    .done();
    wait_for("condition=Ready", &["pod", NOTIFIER], WORK).done();
}

fn a_service_is_posted_to() {
    let payload = json!({ "user": 7, "text": "Your order is on its way." });
    send("notices", &json!({ "id": "order:7", "type": "notify", "payload": payload }));
    let task = ended("notices", "order:7", "succeeded");
    let expected = json!({ "payload": payload, "headers": ["order:7", "notify", "notices", "2"] });
    assert_eq!(task["result"], expected, "{task}");
    assert!(task["attempts"].to_string().contains("503 Service Unavailable"), "{task}");
    println!("a task of a service: {}", task["result"]);
}
