//! What a process logs is changed while it runs, on the API and on a worker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::time::Duration;

use serde_json::json;
use tidemill_tests::{Program, RedisServer, until};

const SOON: Duration = Duration::from_secs(15);
const LOG: &str = "/api/v1/process/log";

#[test]
fn the_level_is_changed_while_the_program_runs_and_returns_by_itself() {
    let redis = RedisServer::start();
    let args = ["--broker-url", &redis.url(), "--set", "log.level=warn"];
    let (api, worker) = (Program::start("api", &args).unwrap(), Program::start("worker", &args).unwrap());
    let run = |id: &str| {
        assert_eq!(api.post("/schedule", &json!({ id: 1 }).to_string()).unwrap().status, 202);
        until(&format!("{id} has ended"), SOON, || {
            api.get(&format!("/api/v1/queues/default/tasks/{id}")).unwrap().json()["state"] == "succeeded"
        });
    };
    run("quiet");
    for program in [&api, &worker] {
        assert_eq!(program.get(LOG).unwrap().json(), json!({"level": "warn", "configured": "warn"}));
        let answer = program.put(LOG, r#"{"level": "warn,tidemill::task=info", "for_s": 3}"#).unwrap();
        assert_eq!(
            (answer.status, &answer.json()["level"]),
            (200, &json!("warn,tidemill::task=info")),
            "{}",
            answer.text
        );
    }
    run("loud");
    for (program, event) in [(&api, "enqueued"), (&worker, "succeeded")] {
        until("the task is logged", SOON, || program.log().contains(event));
        assert!(program.log().contains("\"task\":\"loud\"") && !program.log().contains("\"task\":\"quiet\""));
        until("the level has returned", SOON, || {
            program.get(LOG).unwrap().json() == json!({"level": "warn", "configured": "warn"})
        });
    }
    for (body, pointer) in [(r#"{"level": "loud"}"#, "/level"), (r#"{"level": "info", "for_s": 0}"#, "/for_s")] {
        let answer = worker.put(LOG, body).unwrap();
        assert_eq!((answer.status, &answer.json()["errors"][0]["pointer"]), (400, &json!(pointer)), "{}", answer.text);
    }
}

#[test]
fn whoever_has_no_token_changes_no_level() {
    let redis = RedisServer::start();
    let args = ["--broker-url", &redis.url(), "--set", "auth.tokens=grain"];
    for role in ["standalone", "worker"] {
        let program = Program::start(role, &args).unwrap();
        assert_eq!(program.put(LOG, r#"{"level": "off"}"#).unwrap().status, 401, "{role}");
        assert_eq!(program.get(LOG).unwrap().status, 401, "{role}");
        assert_eq!(program.get_with(LOG, &[("authorization", "Bearer grain")]).unwrap().status, 200, "{role}");
    }
}
