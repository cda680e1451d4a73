//! The rows of the two systems that Tidemill unites, as their users would try them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::time::Duration;

use serde_json::json;
use tidemill_tests::{Events, Program, until};

const SOON: Duration = Duration::from_secs(10);

fn standalone(args: &[&str]) -> Program {
    Program::start("standalone", args).expect("standalone starts")
}

#[test]
fn scheduled_tasks_are_answered_in_order_and_shown_as_active_and_scheduled() {
    let program = standalone(&["--form", "html_ws", "--workers-limit", "1"]);
    let answer = program.post("/schedule", r#"{"task123": 1000, "task456": 2500, "task789": 5000}"#).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.text, r#"{"scheduled":[{"task123":1000},{"task456":2500},{"task789":5000}]}"#);
    until("the first task runs", SOON, || {
        program.get("/tasks").unwrap().json()
            == json!({"active": {"task123": 1000}, "scheduled": [{"task456": 2500}, {"task789": 5000}]})
    });
    let tasks = program.get("/tasks").unwrap();
    assert_eq!(tasks.header("tidemill-scheduled-total"), "2");
}

#[test]
fn events_are_the_four_of_the_contract_and_in_their_order() {
    let program = standalone(&["--form", "ws", "--workers-limit", "1"]);
    let events = Events::connect(&program.address()).unwrap();
    program.post("/schedule", r#"{"a": 20, "b": 10}"#).unwrap();
    let heard = events.until(SOON, |heard| heard.iter().filter(|event| event.get("done").is_some()).count() == 2);
    assert_eq!(
        heard,
        [
            json!({"scheduled": [{"a": 20}, {"b": 10}]}),
            json!({"next": {"a": 20}}),
            json!({"start": {"a": 20}}),
            json!({"next": {"b": 10}}),
            json!({"done": {"a": 20}}),
            json!({"start": {"b": 10}}),
            json!({"done": {"b": 10}}),
        ]
    );
}

#[test]
fn each_form_offers_what_it_is_for_and_answers_404_for_the_rest() {
    for (form, ws, page) in [("rest", 404, 404), ("ws", 400, 404), ("html", 404, 200), ("html_ws", 400, 200)] {
        let program = standalone(&["--form", form]);
        assert_eq!(program.get("/tasks").unwrap().status, 200, "{form}");
        let without_upgrade = program.get("/ws").unwrap().status;
        assert_eq!(without_upgrade == 404, ws == 404, "{form} /ws: {without_upgrade}");
        assert_eq!(program.get("/").unwrap().status, page, "{form} /");
    }
}

#[test]
fn nothing_of_a_refused_schedule_is_scheduled() {
    let program = standalone(&["--form", "rest"]);
    let refused = [
        (r#"{"good": 1, "bad": -1}"#, 400, "bad"),
        (r#"{"good": 1, "bad": 1.5}"#, 400, "bad"),
        (r#"{"good": 1, "bad": "1"}"#, 400, "bad"),
        (r#"{"good": 1, "bad": 86400001}"#, 400, "bad"),
        (r#"{"good": 1, "good": 2}"#, 400, "good"),
        (r#"{"good": 1, "": 2}"#, 400, "empty"),
        ("{}", 400, ""),
        (r#"["good"]"#, 400, ""),
        (r#"{"good": 1"#, 400, ""),
    ];
    for (body, status, names) in refused {
        let answer = program.post("/schedule", body).unwrap();
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert!(answer.text.contains(names), "{body}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{body}");
    }
    assert_eq!(program.figure("default", "/counters/enqueued"), 0);
}

#[test]
fn ids_that_are_alive_refuse_the_whole_body_and_all_of_them_are_named() {
    let program = standalone(&["--form", "rest", "--workers-limit", "1"]);
    assert_eq!(program.post("/schedule", r#"{"a": 60000, "b": 60000}"#).unwrap().status, 202);
    let answer = program.post("/schedule", r#"{"new": 1, "a": 1, "b": 1}"#).unwrap();
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(answer.text.contains("\\\"a\\\"") && answer.text.contains("\\\"b\\\""), "{}", answer.text);
    assert_eq!(program.figure("default", "/counters/enqueued"), 2);
}

#[test]
fn an_enqueued_mail_is_written_and_can_be_opened() {
    let program = standalone(&["--form", "rest"]);
    let body = r#"{"type": "send_email", "Retries": 3, "payload": {"to": "worker@example.org", "subject": "Welcome"}}"#;
    let answer = program.post("/enqueue", body).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    let location = answer.header("location").to_owned();
    let outbox = program.folder().join("outbox");
    until("a mail lies in the outbox", SOON, || {
        std::fs::read_dir(&outbox)
            .is_ok_and(|files| files.flatten().any(|file| file.path().extension() == Some("eml".as_ref())))
    });
    until("the task has succeeded", SOON, || program.get(&location).unwrap().json()["state"] == "succeeded");
    let mail = std::fs::read_dir(&outbox).unwrap().flatten().next().unwrap().path();
    let text = std::fs::read_to_string(mail).unwrap();
    assert!(text.contains("worker@example.org") && text.contains("Subject: Welcome"), "{text}");
}

#[test]
fn errors_of_enqueue_are_said_in_the_words_of_the_contract() {
    let program = standalone(&["--form", "rest"]);
    for (body, words) in [
        (r#"{"type": "send_email"}"#, "payload is empty"),
        (r#"{"type": "send_email", "payload": null}"#, "payload is empty"),
        (r#"{"payload": {"to": "a@example.org"}}"#, "task type is empty"),
        (r#"{"type": "", "payload": {}}"#, "task type is empty"),
    ] {
        let answer = program.post("/enqueue", body).unwrap();
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        assert!(answer.text.contains(words), "{body}: {}", answer.text);
    }
    let answer = program.post("/enqueue", r#"{"TYPE": "fold_laundry", "RETRIES": 2, "Payload": {}}"#).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    let location = answer.header("location").to_owned();
    until("the task is dead", SOON, || program.get(&location).unwrap().json()["state"] == "dead");
    let task = program.get(&location).unwrap().json();
    assert_eq!(task["attempts"][0]["message"], "unsupported task", "{task}");
}

#[test]
fn metrics_are_json_for_people_and_text_for_prometheus() {
    let program = standalone(&["--form", "rest", "--workers-limit", "1"]);
    program.post("/schedule", r#"{"done": 0, "runs": 60000, "waits": 1}"#).unwrap();
    program.post("/enqueue", r#"{"type": "fold_laundry", "priority": 1, "payload": {}}"#).unwrap();
    until("one is done", SOON, || program.get("/metrics").unwrap().json()["jobs_done"] == 1);
    let metrics = program.get("/metrics").unwrap().json();
    let keys: Vec<_> = metrics.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["total_jobs_in_queue", "jobs_done", "jobs_failed"]);
    let text = program.get_with("/metrics", &[("accept", "text/plain;version=0.0.4;q=0.5")]).unwrap();
    assert!(text.text.contains("# HELP tidemill_"), "{}", text.text);
    assert!(program.get("/metrics?format=prometheus").unwrap().text.contains("# TYPE tidemill_"));
}

#[test]
fn every_event_of_a_task_is_in_the_log_file() {
    let program = standalone(&["--form", "rest"]);
    program.post("/schedule", r#"{"traced": 1}"#).unwrap();
    program.post("/enqueue", r#"{"id": "lost-cause", "type": "fold_laundry", "payload": {}}"#).unwrap();
    let log = program.folder().join("logs.txt");
    for (task, event) in [
        ("traced", "enqueued"),
        ("traced", "started"),
        ("traced", "succeeded"),
        ("lost-cause", "enqueued"),
        ("lost-cause", "dead"),
    ] {
        until(&format!("{task} {event} is logged"), SOON, || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines().any(|line| line.contains(task) && line.contains(event))
        });
    }
}

#[test]
fn at_shutdown_running_tasks_may_end_and_what_cannot_is_released_and_said() {
    let config = "app:\n  executor_shutdown_timeout_ms: 1500\n";
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), config).unwrap();
    let path = file.path().to_str().unwrap();
    let mut program = standalone(&["--form", "rest", "--workers-limit", "2", "--config", path]);
    program.post("/schedule", r#"{"short": 1000, "long": 60000, "waiting": 1}"#).unwrap();
    until("two tasks run", SOON, || program.figure("default", "/active") == 2);
    program.signal("TERM").unwrap();
    let status = program.wait_end(SOON).unwrap();
    assert!(status.success(), "{status}: {}", program.log());
    let log = program.log();
    assert!(log.lines().any(|line| line.contains("short") && line.contains("succeeded")), "{log}");
    assert!(log.lines().any(|line| line.contains("long") && line.contains("released")), "{log}");

    let (port, folder) = program.kill_for_restart().unwrap();
    let program = Program::start_at("standalone", &["--form", "rest", "--workers-limit", "1"], port, folder).unwrap();
    program.wait_ready();
    until("the released task runs again, first", SOON, || {
        program.get("/tasks").unwrap().json()["active"]["long"] == 60000
    });
    assert_eq!(program.get("/tasks").unwrap().json()["scheduled"], json!([{"waiting": 1}]));
}
