//! The API by the name of its Service: requests from one pod, events in another, work in a third.

use std::time::Duration;

use serde_json::{Value, json};

use crate::queue::Queue;
use crate::release::{self, RELEASE, helm};
use crate::tools::{Listening, api, curl, request};
use crate::wait::{ensure, until};

/// Pods start in this time, and the tasks end.
const WORK: Duration = Duration::from_mins(1);
/// Long enough that a task is seen while it runs.
const TASK_MS: u64 = 4_000;

pub(crate) fn run() {
    release::needed();
    let queue = Queue::ready("web", &json!({ "scaling": { "maxReplicas": 2 }, "worker": { "workersLimit": 2 } }));
    let events = Listening::to("/ws?queue=web");
    let scheduled: Value = serde_json::from_str(
        &request(
            "/schedule?queue=web",
            Some(&json!({ "alpha": TASK_MS, "beta": TASK_MS, "gamma": TASK_MS }).to_string()),
        )
        .is(202),
    )
    .unwrap();
    assert_eq!(scheduled, json!({ "scheduled": [{ "alpha": TASK_MS }, { "beta": TASK_MS }, { "gamma": TASK_MS }] }));
    let task = json!({ "id": "delta", "type": "sleep", "payload": { "duration_ms": TASK_MS } });
    let enqueued: Value =
        serde_json::from_str(&request("/enqueue?queue=web", Some(&task.to_string())).is(202)).unwrap();
    assert_eq!([&enqueued["id"], &enqueued["queue"]], ["delta", "web"]);

    runs_in_worker_pods(&queue);
    let seen = events.until(WORK, |seen| seen.iter().filter(|event| event["done"].is_object()).count() == 4);
    every_event_was_seen(&seen);
    metrics_count_them();
    strangers_stay_out();

    let page = request("/", None).is(200);
    assert!(page.contains("<title>") && page.contains("Tidemill"), "{page}");
    queue.delete();
    queue.gone(WORK);

    let said = helm(&["test", RELEASE]).done();
    assert!(said.contains("Succeeded"), "{said}");
    println!("helm test passed");
}

/// While tasks run, `/tasks` shows them, and the workers that hold them are the pods by name.
fn runs_in_worker_pods(queue: &Queue) {
    let names: Vec<String> = until(WORK, "two tasks run in one worker pod", || {
        let tasks = request("/tasks?queue=web", None).json();
        let running = tasks["active"].as_object().map_or(0, serde_json::Map::len);
        ensure(running >= 2, || tasks.to_string())?;
        let workers = request("/api/v1/queues/web/workers", None).json();
        let busy = workers["workers"].as_array().into_iter().flatten().filter(|worker| worker["active"] != 0);
        Ok(busy.map(|worker| worker["name"].as_str().unwrap_or_default().to_owned()).collect())
    });
    let pods: Vec<String> = queue.pods().unwrap().iter().map(crate::kubectl::name).collect();
    assert!(!names.is_empty() && names.iter().all(|name| pods.contains(name)), "workers {names:?}, pods {pods:?}");
    println!("tasks run in {names:?}");
}

/// `scheduled` of each task comes first, then its `next`, `start` and `done`, each of them once.
fn every_event_was_seen(events: &[Value]) {
    let all = events.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let first = events.iter().find(|event| event["scheduled"].is_array()).expect("a message says what was scheduled");
    assert_eq!(first["scheduled"].as_array().map(Vec::len), Some(3), "{all}");
    for id in ["alpha", "beta", "gamma", "delta"] {
        let task = json!({ id: TASK_MS });
        let at = |what: &dyn Fn(&Value) -> bool| -> Vec<usize> {
            events.iter().enumerate().filter(|(_, event)| what(event)).map(|(index, _)| index).collect()
        };
        let scheduled = at(&|event| event["scheduled"].as_array().is_some_and(|tasks| tasks.contains(&task)));
        let [next, start, done] = ["next", "start", "done"].map(|kind| at(&|event| event[kind] == task));
        assert_eq!([scheduled.len(), start.len(), done.len()], [1, 1, 1], "{id} in\n{all}");
        assert!(!next.is_empty(), "no next of {id} in\n{all}");
        assert!(scheduled[0] < next[0] && next[0] < start[0] && start[0] < done[0], "{id} in\n{all}");
    }
}

fn metrics_count_them() {
    let figures = request("/metrics?queue=web", None).json();
    assert_eq!(figures["jobs_done"], 4, "{figures}");
    let text = request("/metrics?format=prometheus", None).is(200);
    assert!(text.contains("tidemill_http_requests"), "{text}");
}

/// Without a token, or with a wrong one, everything but the page and the probes is refused.
fn strangers_stay_out() {
    for path in ["/tasks", "/metrics", "/api/v1/queues", "/ws"] {
        let url = format!("http://{}{path}", api());
        curl(&[&url]).is(401);
        curl(&["-H", "Authorization: Bearer wrong", &url]).is(401);
    }
    curl(&["-d", r#"{"stranger": 1}"#, &format!("http://{}/schedule?queue=web", api())]).is(401);
    curl(&[&format!("http://{}/livez", api())]).is(200);
}
