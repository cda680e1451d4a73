//! One trace from a request's `traceparent` through API, Redis and worker, as a real collector took it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::time::Duration;

use serde_json::json;
use tidemill_tests::{Collector, Program, RedisServer, Span, until};

const SOON: Duration = Duration::from_secs(20);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Tasks of type `http_request` may call the programs of these tests.
const CALLS_ALLOWED: &str = "http_request.allow_private=127.0.0.1/32";

/// An API and a worker in processes of their own, with a collector.
struct Fleet {
    collector: Collector,
    api: Program,
    worker: Program,
    _redis: RedisServer,
}

impl Fleet {
    fn start(ratio: &str) -> Self {
        let (redis, collector) = (RedisServer::start(), Collector::start().unwrap());
        let (endpoint, ratio) =
            (format!("traces.endpoint={}", collector.endpoint()), format!("traces.sample_ratio={ratio}"));
        let start = |role: &str| {
            let args = ["--broker-url", &redis.url(), "--set", &endpoint, "--set", &ratio, "--set", CALLS_ALLOWED];
            Program::start(role, &args).unwrap()
        };
        Self { api: start("api"), worker: start("worker"), collector, _redis: redis }
    }

    /// Enqueues one task with a `traceparent` of these flags, and waits for its end.
    fn run(&self, task: &serde_json::Value, trace: &str, flags: &str) {
        let parent = format!("00-{trace}-{CALLER}-{flags}");
        let answer = self.api.post_with("/enqueue", &task.to_string(), &[("traceparent", &parent)]).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text);
        self.ended(task["id"].as_str().unwrap());
    }

    fn ended(&self, id: &str) {
        until(&format!("{id} has ended"), SOON, || {
            let task = self.api.get(&format!("/api/v1/queues/default/tasks/{id}")).unwrap().json();
            task["state"] == "succeeded" || task["state"] == "dead"
        });
    }
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no span {name:?} in {spans:#?}"));
    assert_eq!(found.next(), None, "{name} is there twice");
    span
}

/// The way of a task from the caller to its attempt, checked. To be extended with what a handler does below the attempt.
fn way<'a>(spans: &'a [Span], caller: &str, id: &str) -> &'a Span {
    let request = named(spans, "POST /enqueue");
    assert_eq!((request.parent.as_str(), request.kind), (caller, 2));
    assert_eq!(request.attribute("http.request.method"), "POST");
    assert_eq!(request.attribute("http.route"), "/enqueue");
    assert_eq!(request.attribute("http.response.status_code"), "202");
    assert_eq!(request.resource["service.name"], "tidemill");
    assert_eq!(request.resource["service.version"], env!("CARGO_PKG_VERSION"));
    let send = named(spans, "send default");
    assert_eq!((&send.parent, send.kind), (&request.id, 4));
    assert_eq!(send.attribute("messaging.system"), "tidemill");
    assert_eq!(send.attribute("messaging.operation.type"), "send");
    assert_eq!(send.attribute("messaging.destination.name"), "default");
    assert_eq!(send.attribute("messaging.message.id"), id);
    let wait = named(spans, "wait default");
    assert_eq!((&wait.parent, wait.kind), (&send.id, 1));
    assert!(wait.began_ns <= wait.ended_ns);
    let process = named(spans, "process default");
    assert_eq!((&process.parent, process.kind), (&send.id, 5));
    assert_eq!(process.links, std::slice::from_ref(&send.id));
    assert_eq!(process.attribute("messaging.operation.name"), "process");
    assert_eq!(process.attribute("messaging.message.id"), id);
    assert_eq!(process.attribute("tidemill.task.attempt"), "1");
    assert_ne!(process.resource["service.instance.id"], request.resource["service.instance.id"]);
    process
}

#[test]
fn a_request_with_a_traceparent_is_one_trace_through_api_store_and_worker() {
    let fleet = Fleet::start("0");
    fleet.run(&json!({"id": "a", "type": "sleep", "payload": {"duration_ms": 50}}), TRACE, "01");
    let spans = fleet.collector.trace(TRACE, 4);
    let process = way(&spans, CALLER, "a");
    assert_eq!(process.attribute("tidemill.task.type"), "sleep");
    assert!(process.ended_ns - process.began_ns >= 50_000_000 && !process.failed);
    assert_eq!(spans.len(), 4, "{spans:#?}");
    // The log tells the same trace.
    for (program, event) in [(&fleet.api, "enqueued"), (&fleet.worker, "started"), (&fleet.worker, "succeeded")] {
        let log = program.log();
        let line = log.lines().find(|line| line.contains(&format!("\"event\":\"{event}\""))).expect(event);
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["trace_id"], &line["task"]), (&TRACE.into(), &"a".into()), "{line}");
    }
    // So do the exemplars of its durations.
    let open = [("accept", "application/openmetrics-text")];
    let text = fleet.worker.get_with("/metrics", &open).unwrap().text;
    let exemplar = format!("# {{trace_id=\"{TRACE}\"}}");
    assert!(
        text.lines().any(|line| line.starts_with("tidemill_task_run_seconds_bucket") && line.contains(&exemplar)),
        "{text}"
    );
}

#[test]
fn a_trace_goes_on_into_the_server_that_a_task_calls() {
    let fleet = Fleet::start("0");
    let payload = json!({"url": format!("http://{}/schedule", fleet.api.address()), "body": {"b": 1}});
    fleet.run(&json!({"id": "a", "type": "http_request", "payload": payload}), TRACE, "01");
    fleet.ended("b");
    let spans = fleet.collector.trace(TRACE, 8);
    let attempt = |id: &str| {
        let of = |span: &&Span| span.name == "process default" && span.attribute("messaging.message.id") == id;
        spans.iter().find(of).unwrap_or_else(|| panic!("no attempt of {id} in {spans:#?}"))
    };
    let called = named(&spans, "POST /schedule");
    assert_eq!((&called.parent, called.kind), (&attempt("a").id, 2), "{spans:#?}");
    let send =
        spans.iter().find(|span| span.name == "send default" && span.parent == called.id).expect("it is sent on");
    assert_eq!(attempt("b").parent, send.id);
    for span in &spans {
        println!("{} {} {}", span.id, span.parent, span.name);
    }
}

#[test]
fn each_attempt_is_a_span_that_says_how_it_failed_and_a_batch_is_sent_once() {
    let fleet = Fleet::start("0");
    let late =
        json!({"id": "late", "type": "sleep", "payload": {"duration_ms": 60_000}, "timeout_ms": 30, "retries": 1});
    let wrong = json!({"id": "wrong", "type": "sleep", "payload": {}});
    let settings = json!({"backoff": {"initial_ms": 1, "max_ms": 1}}).to_string();
    assert_eq!(fleet.api.put("/api/v1/queues/default", &settings).unwrap().status, 200);
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let batch = json!([late, wrong]).to_string();
    assert_eq!(fleet.api.post_with("/enqueue", &batch, &[("traceparent", &parent)]).unwrap().status, 202);
    fleet.ended("late");
    fleet.ended("wrong");
    // The request, its sending, and of each task the wait and each attempt.
    let spans = fleet.collector.trace(TRACE, 2 + 2 + 3);
    assert_eq!(named(&spans, "send default").attribute("messaging.batch.message_count"), "2");
    let of =
        |id: &str| spans.iter().filter(|span| span.kind == 5 && span.attribute("messaging.message.id") == id).collect();
    let (late, wrong): (Vec<&Span>, Vec<&Span>) = (of("late"), of("wrong"));
    assert!(late.iter().all(|span| span.failed && span.attribute("error.type") == "timeout"), "{late:#?}");
    let mut attempts: Vec<_> = late.iter().map(|span| span.attribute("tidemill.task.attempt")).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, ["1", "2"]);
    assert!(wrong.len() == 1 && wrong[0].failed && wrong[0].attribute("error.type") == "permanent", "{wrong:#?}");
}

#[test]
fn the_caller_decides_what_is_recorded_and_the_ratio_decides_for_the_others() {
    let fleet = Fleet::start("1");
    let task = |id: &str| json!({"id": id, "type": "sleep", "payload": {"duration_ms": 0}});
    fleet.run(&task("unrecorded"), TRACE, "00");
    assert_eq!(fleet.api.post("/schedule", r#"{"drawn": 1}"#).unwrap().status, 202);
    fleet.ended("drawn");
    let mut spans = Vec::new();
    until("the drawn trace is there", SOON, || {
        spans = fleet.collector.spans();
        spans.iter().any(|span| span.name == "process default")
    });
    assert!(spans.iter().all(|span| span.trace != TRACE), "{spans:#?}");
    let request = named(&spans, "POST /schedule");
    assert_eq!(request.parent, "");
    assert_eq!(named(&spans, "process default").trace, request.trace);
}

#[test]
fn the_last_spans_are_sent_at_the_end_and_a_collector_that_is_away_holds_nothing_up() {
    let mut fleet = Fleet::start("1");
    fleet.run(&json!({"id": "a", "type": "sleep", "payload": {"duration_ms": 0}}), TRACE, "01");
    fleet.worker.signal("TERM").unwrap();
    fleet.worker.wait_end(SOON);
    until("the span of the attempt is there", SOON, || {
        fleet.collector.spans().iter().any(|span| span.name == "process default")
    });

    let redis = RedisServer::start();
    let args = ["--broker-url", &redis.url(), "--set", "traces.endpoint=http://127.0.0.1:1"];
    let mut alone = Program::start("standalone", &args).unwrap();
    for n in 0..50 {
        assert_eq!(alone.post("/schedule", &json!({format!("n{n}"): 0}).to_string()).unwrap().status, 202);
    }
    until("all are done", SOON, || alone.figure("default", "/counters/succeeded") == 50);
    until("it is said that the collector is away", SOON, || alone.log().contains("the collector did not take spans"));
    alone.signal("TERM").unwrap();
    assert!(alone.wait_end(Duration::from_secs(10)).unwrap().success());
    assert_eq!(alone.log().matches("the collector did not take spans").count(), 1, "once a minute at most");
}
