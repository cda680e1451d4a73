//! What happens when something is away, taken, killed or wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidemill_tests::program::{binary, free_port};
use tidemill_tests::{Events, Program, RedisServer, until};

const SOON: Duration = Duration::from_secs(15);

#[test]
fn everything_acknowledged_is_there_after_standalone_was_killed() {
    let mut program = Program::start("standalone", &["--form", "rest", "--workers-limit", "2"]).unwrap();
    let mut acknowledged = Vec::new();
    for n in 0..200 {
        let id = format!("k{n:03}");
        assert_eq!(program.post("/schedule", &json!({ &id: 30 }).to_string()).unwrap().status, 202);
        acknowledged.push(id);
    }
    program.kill().unwrap();
    let (port, folder) = program.kill_for_restart().unwrap();
    let program = Program::start_at("standalone", &["--form", "rest", "--workers-limit", "20"], port, folder).unwrap();
    program.wait_ready();
    until("all of them have succeeded", Duration::from_secs(40), || {
        program.figure("default", "/counters/succeeded") == 200
    });
    for id in acknowledged {
        let task = program.get(&format!("/api/v1/queues/default/tasks/{id}")).unwrap().json();
        assert_eq!(task["state"], "succeeded", "{task}");
    }
}

#[test]
fn a_redis_that_is_away_at_start_is_awaited() {
    let redis = RedisServer::start();
    redis.kill();
    let port = free_port().unwrap();
    let api = Program::start_at("api", &["--broker-url", &redis.url()], port, TempDir::new().unwrap()).unwrap();
    until("it lives", SOON, || api.get("/livez").is_ok_and(|answer| answer.status == 200));
    assert_eq!(api.get("/readyz").unwrap().status, 503);
    redis.restart();
    api.wait_ready();
    assert_eq!(api.post("/schedule", r#"{"a": 1}"#).unwrap().status, 202);
}

#[test]
fn a_redis_that_goes_away_in_the_middle_loses_nothing_and_runs_nothing_twice() {
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let api = Program::start("api", &["--broker-url", &redis.url(), "--form", "html_ws"]).unwrap();
    let worker = Program::start("worker", &["--broker-url", &redis.url(), "--slots", "5"]).unwrap();
    let body: serde_json::Map<String, Value> = (0..10).map(|n| (format!("m{n}"), json!(1_500))).collect();
    api.post("/schedule", &Value::Object(body).to_string()).unwrap();
    until("five run", SOON, || api.figure("default", "/active") == 5);
    let events = Events::connect(&api.address()).unwrap();

    redis.kill();
    let asked = Instant::now();
    let answer = api.post("/enqueue", r#"{"type": "sleep", "payload": {"duration_ms": 1}}"#).unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(!answer.header("retry-after").is_empty());
    assert!(asked.elapsed() < Duration::from_millis(2_500), "{:?}", asked.elapsed());
    let (code, reason) = events.until_closed(SOON);
    assert_eq!((code, reason.as_str()), (1012, "events lost, reload /tasks"));
    assert_eq!(worker.get("/livez").unwrap().status, 200);

    redis.restart();
    until("all have succeeded", Duration::from_secs(30), || {
        api.get("/api/v1/queues/default").is_ok_and(|answer| answer.status == 200)
            && api.figure("default", "/counters/succeeded") == 10
    });
    for (figure, expected) in [("started", 10), ("lost", 0), ("refused", 0), ("enqueued", 10)] {
        assert_eq!(api.figure("default", &format!("/counters/{figure}")), expected, "{figure}");
    }
}

/// Runs the program to its end, which has to come soon, and returns its exit code and what it said.
fn run(args: &[&str]) -> (Option<i32>, String) {
    let folder = TempDir::new().unwrap();
    let output =
        Command::new("timeout").arg("20").arg(binary()).args(args).current_dir(folder.path()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_cannot_work_is_said_in_one_sentence_with_exit_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), "app:\n  prot: 80\n").unwrap();
    let config = file.path().to_str().unwrap();
    let below_a_file = format!("{config}/data");
    let cases: [(&[&str], &[&str]); 4] = [
        (&["standalone", "--host", "127.0.0.1", "--port", &port], &[&port]),
        (&["standalone", "--port", "0", "--config", config], &["prot", "port", ":2"]),
        (&["standalone", "--port", "0", "--data-dir", &below_a_file], &[&below_a_file]),
        (&["standalone", "--port", "0", "--broker-url", "mongo://x"], &["mongo://x", "redis://"]),
    ];
    for (args, words) in cases {
        let (code, said) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{args:?} does not say {word:?}: {said}");
        }
    }
}

#[test]
fn a_second_process_on_the_same_data_is_refused_in_words() {
    let first = Program::start("standalone", &["--form", "rest"]).unwrap();
    let data = first.folder().join("tidemill-data");
    let (code, said) = run(&["standalone", "--host", "127.0.0.1", "--port", "0", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("tidemill-data"), "{said}");
}

#[test]
fn a_redis_that_evicts_is_refused_with_the_remedy() {
    let redis = RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let (code, said) = run(&["api", "--host", "127.0.0.1", "--port", "0", "--broker-url", &redis.url()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("noeviction"), "{said}");
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let mut program = Program::start("standalone", &["--form", "rest"]).unwrap();
    program.post("/schedule", r#"{"long": 60000}"#).unwrap();
    until("it runs", SOON, || program.figure("default", "/active") == 1);
    let asked = Instant::now();
    program.signal("TERM").unwrap();
    until("it drains", SOON, || !program.is_ready());
    program.signal("TERM").unwrap();
    program.wait_end(SOON);
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}
