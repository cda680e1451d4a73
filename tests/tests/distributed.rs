//! The API and its workers as separate processes, with Redis between them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidemill_tests::{Events, Program, RedisServer, events, until};

const SOON: Duration = Duration::from_secs(15);
/// Within this time the tasks of a worker that died are pending again.
const RECOVERY: Duration = Duration::from_secs(15);

fn api(redis: &RedisServer) -> Program {
    Program::start("api", &["--broker-url", &redis.url(), "--form", "html_ws"]).expect("the API starts")
}

fn worker(redis: &RedisServer, slots: &str) -> Program {
    Program::start("worker", &["--broker-url", &redis.url(), "--slots", slots]).expect("a worker starts")
}

#[test]
fn the_api_shows_and_announces_what_runs_in_each_of_two_workers() {
    let redis = RedisServer::start();
    let api = api(&redis);
    let _workers = [worker(&redis, "1"), worker(&redis, "1")];
    let heard = Events::connect(&api.address()).unwrap();
    api.post("/schedule", r#"{"one": 3000, "two": 3000, "three": 10}"#).unwrap();
    until("both workers run a task", SOON, || {
        api.get("/tasks").unwrap().json() == json!({"active": {"one": 3000, "two": 3000}, "scheduled": [{"three": 10}]})
    });
    let workers = api.get("/api/v1/queues/default/workers").unwrap().json();
    let busy: Vec<_> = workers["workers"].as_array().unwrap().iter().map(|worker| worker["active"].clone()).collect();
    assert_eq!(busy, [json!(1), json!(1)]);
    let heard = heard.until(SOON, |heard| heard.iter().filter(|event| event.get("done").is_some()).count() == 3);
    let started: HashSet<String> = heard.iter().flat_map(|event| events::ids(event, "start")).collect();
    assert_eq!(started, ["one", "two", "three"].map(String::from).into());
}

/// Schedules `count` tasks of `duration_ms` in bodies of 1,000.
fn schedule(api: &Program, prefix: &str, count: usize, duration_ms: u32) {
    for from in (0..count).step_by(1_000) {
        let body: serde_json::Map<String, Value> =
            (from..(from + 1_000).min(count)).map(|n| (format!("{prefix}{n:05}"), json!(duration_ms))).collect();
        let answer = api.post("/schedule", &Value::Object(body).to_string()).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
}

#[test]
fn a_killed_workers_thousand_tasks_are_all_settled_elsewhere_and_none_twice() {
    let redis = RedisServer::start();
    let api = api(&redis);
    let mut doomed = worker(&redis, "300");
    let heard = Events::connect(&api.address()).unwrap();
    schedule(&api, "t", 1_000, 1_000);
    until("300 are in flight", SOON, || api.figure("default", "/active") == 300);
    doomed.kill().unwrap();
    let killed = Instant::now();
    let _heir = worker(&redis, "300");
    let deadline = RECOVERY + Duration::from_secs(10);
    let heard =
        heard.until(deadline, |heard| heard.iter().filter(|event| event.get("done").is_some()).count() >= 1_000);
    println!("all settled {:?} after the kill", killed.elapsed());

    let mut done = BTreeMap::<String, usize>::new();
    for id in heard.iter().flat_map(|event| events::ids(event, "done")) {
        *done.entry(id).or_default() += 1;
    }
    assert_eq!(done.len(), 1_000);
    assert!(done.values().all(|times| *times == 1));
    for (figure, expected) in [("succeeded", 1_000), ("dead", 0), ("enqueued", 1_000), ("failed", 0)] {
        assert_eq!(api.figure("default", &format!("/counters/{figure}")), expected, "{figure}");
    }
    let lost = api.figure("default", "/counters/lost");
    assert!((1..=300).contains(&lost), "{lost} claims were lost");
    assert_eq!(api.figure("default", "/counters/started"), 1_000 + lost);
}

/// Schedules 10,000 tasks of 0 ms and checks that every event came, in order.
fn ten_thousand(api: &Program) {
    let heard = Events::connect(&api.address()).unwrap();
    schedule(api, "n", 10_000, 0);
    let heard = heard.until(Duration::from_mins(2), |heard| heard.back().is_some_and(|_| done_so_far(heard) == 10_000));
    let mut place = HashMap::<(&str, String), usize>::new();
    for (at, event) in heard.iter().enumerate() {
        for kind in ["scheduled", "next", "start", "done"] {
            for id in events::ids(event, kind) {
                let before = place.insert((kind, id.clone()), at);
                assert!(kind == "next" || before.is_none(), "{kind} twice for {id}");
            }
        }
    }
    for n in 0..10_000 {
        let id = format!("n{n:05}");
        let at = |kind| place.get(&(kind, id.clone())).copied().unwrap_or_else(|| panic!("no {kind} for {id}"));
        assert!(at("scheduled") < at("next") && at("next") < at("start") && at("start") < at("done"), "{id}");
    }
    let starts: Vec<String> = heard.iter().flat_map(|event| events::ids(event, "start")).collect();
    assert!(starts.is_sorted(), "tasks start in the order in which they were scheduled");
}

fn done_so_far(heard: &std::collections::VecDeque<Value>) -> usize {
    // Counted from the back only when the last event is one of the end, to stay cheap.
    if heard.back().is_none_or(|last| last.get("done").is_none()) {
        return 0;
    }
    heard.iter().filter(|event| event.get("done").is_some()).count()
}

#[test]
fn ten_thousand_tasks_run_with_all_their_events_in_order_on_redis() {
    let redis = RedisServer::start();
    let api = api(&redis);
    let _worker = worker(&redis, "10");
    ten_thousand(&api);
}

#[test]
fn ten_thousand_tasks_run_with_all_their_events_in_order_on_sqlite() {
    let program = Program::start("standalone", &["--form", "html_ws", "--workers-limit", "10"]).unwrap();
    ten_thousand(&program);
}
