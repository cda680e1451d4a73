//! Metrics, API, the JSON form and the count of what was acknowledged: all say the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::io::Write as _;
use std::process::{Command, Stdio};

use tidemill_tests::mixture::QUEUE;
use tidemill_tests::{Mixture, Scrape};

const TRANSITIONS: [&str; 13] = [
    "enqueued",
    "started",
    "succeeded",
    "failed",
    "timed_out",
    "retried",
    "dead",
    "cancelled",
    "lost",
    "released",
    "refused",
    "requeued",
    "deleted",
];

#[test]
fn after_a_run_with_failures_all_figures_agree_to_the_unit() {
    let run = Mixture::run().unwrap();
    let [plain, open] = [false, true].map(|open| Scrape::of(&run.standalone, open).unwrap());
    for transition in TRANSITIONS {
        let labels = [("queue", QUEUE), ("transition", transition)];
        let [from_plain, from_open] =
            [&plain, &open].map(|scrape| scrape.count("tidemill_queue_transitions_total", &labels));
        let from_api = run.standalone.figure(QUEUE, &format!("/counters/{transition}"));
        println!("{transition}: {from_api}");
        assert_eq!((from_plain, from_open), (from_api, from_api), "{transition}");
    }
    let counter = |transition: &str| {
        plain.count("tidemill_queue_transitions_total", &[("queue", QUEUE), ("transition", transition)])
    };
    // What the one who sent them counted.
    assert_eq!(counter("enqueued"), run.enqueued);
    assert_eq!(counter("succeeded"), run.succeeded);
    assert_eq!(counter("dead"), run.deaths());
    assert_eq!(counter("cancelled"), run.cancelled);
    assert_eq!(counter("lost"), run.lost);
    assert_eq!((counter("timed_out"), counter("requeued")), (8, 1));
    assert_eq!(counter("retried"), 4);
    // What the JSON form says.
    let figures = run.standalone.get("/metrics?format=json").unwrap().json();
    assert_eq!(figures["total_jobs_in_queue"], 0);
    assert_eq!(figures["jobs_done"], run.succeeded);
    assert_eq!(figures["jobs_failed"], run.deaths());
    // How many are kept in each state.
    for (state, expected) in
        [("succeeded", run.succeeded), ("dead", run.dead), ("cancelled", run.cancelled), ("active", 0)]
    {
        assert_eq!(plain.count("tidemill_queue_tasks", &[("queue", QUEUE), ("state", state)]), expected, "{state}");
        assert_eq!(run.standalone.figure(QUEUE, &format!("/{state}")), expected, "{state}");
    }
    // Requests, as the server counted them.
    let enqueues = [("route", "/enqueue"), ("status", "202")];
    assert_eq!(plain.count("tidemill_http_requests_total", &enqueues), run.requests);
    workers_agree(&run, &plain);
    for scrape in [&plain, &Scrape::of(&run.worker, false).unwrap()] {
        check(&scrape.text);
    }
}

/// What the workers that still live counted: all but the claim that was lost.
fn workers_agree(run: &Mixture, standalone: &Scrape) {
    let worker = Scrape::of(&run.worker, true).unwrap();
    let both = |name: &str, labels: &[(&str, &str)]| standalone.count(name, labels) + worker.count(name, labels);
    let ended = |outcome: &str| both("tidemill_task_attempts_total", &[("queue", QUEUE), ("outcome", outcome)]);
    assert_eq!(ended("succeeded"), run.succeeded);
    assert_eq!(ended("timed_out"), 8);
    assert_eq!(ended("permanent"), 6);
    assert_eq!((ended("failed"), ended("panicked"), ended("refused")), (0, 0, 0));
    assert_eq!(ended("unserved"), 1);
    let other = both("tidemill_task_attempts_total", &[("type", "other"), ("outcome", "unserved")]);
    assert_eq!(other, 1, "a type that nobody serves is none of its own");
    let started = run.standalone.figure(QUEUE, "/counters/started");
    let all = both("tidemill_task_attempts_total", &[("queue", QUEUE)]);
    assert_eq!(all + run.lost, started);
    let ran = both("tidemill_task_run_seconds_count", &[("queue", QUEUE)]);
    assert_eq!(ran, ended("succeeded") + ended("timed_out") + ended("permanent"));
    let settled = both("tidemill_worker_settled_batch_sum", &[]);
    assert_eq!(settled, all);
    assert_eq!(both("tidemill_worker_claimed_batch_sum", &[]), all);
    assert!(both("tidemill_worker_incarnations_total", &[]) >= 2);
    assert!(both("tidemill_broker_operation_duration_seconds_count", &[("operation", "heartbeat")]) > 0);
    assert_eq!(both("tidemill_broker_errors_total", &[("kind", "unavailable")]), 0);
    assert!(
        standalone.count("tidemill_broker_operation_duration_seconds_count", &[("operation", "enqueue")])
            >= run.requests
    );
}

/// By promtool, where there is one.
fn check(text: &str) {
    let Some(promtool) = std::env::var_os("PROMTOOL") else {
        println!("PROMTOOL names no promtool: its checks are left out");
        return;
    };
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
}
