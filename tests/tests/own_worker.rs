//! A worker of one's own, in a process of its own, between the API and a Redis; and the client library.

#![allow(clippy::unwrap_used, clippy::panic)] // a test's helpers may fail loudly

use std::time::Duration;

use serde_json::json;
use tidemill::client::{Client, ClientError, Task, Ticket};
use tidemill::core::State;
use tidemill_tests::{Program, RedisServer, program};

/// How long a task may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the worker may take to drain.
const ENDING: Duration = Duration::from_secs(20);

struct Mill {
    redis: RedisServer,
    api: Program,
    worker: Program,
    client: Client,
}

/// `workers_limit` comes from the file, as the operator gives it, and the broker from the flags.
fn start() -> Mill {
    let redis = RedisServer::start();
    let url = redis.url();
    let api = Program::start("api", &["--broker-url", &url, "--queue", "texts"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, "executor_service:\n  workers_limit: 3\nqueue:\n  name: texts\n").unwrap();
    let args = ["--config", file.to_str().unwrap(), "--broker-url", &url];
    let worker = Program::start_other("custom-worker", "worker", &args).unwrap();
    let client = Client::new(&format!("http://{}", api.address())).unwrap();
    Mill { redis, api, worker, client }
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Counted {
    words: usize,
    attempt: u32,
}

fn count(text: &str) -> Task {
    Task::new("count_words", &json!({ "text": text })).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_ones_own_is_told_probed_and_ended_as_the_programs_own_is() {
    let Mill { client, mut worker, api, redis } = start();
    let ticket = client.enqueue(count("to be or not to be")).await.unwrap();
    let counted: Counted = client.result(&ticket, PATIENCE).await.unwrap();
    assert_eq!(counted, Counted { words: 6, attempt: 1 });

    let metrics = worker.get("/metrics?format=prometheus").unwrap();
    assert!(metrics.text.contains("tidemill_worker_slots 3"), "{}", metrics.text);
    assert_eq!(worker.get("/livez").unwrap().status, 200);
    let workers = api.get("/api/v1/queues/texts/workers").unwrap().json();
    assert_eq!(workers["workers"][0]["types"], json!(["count_words"]), "{workers}");

    worker.signal("TERM").unwrap();
    assert_eq!(worker.wait_end(ENDING).and_then(|status| status.code()), Some(0), "{}", worker.log());
    assert!(worker.log().contains("stopped"), "{}", worker.log());
    drop(redis);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_enqueues_looks_waits_and_cancels() {
    let Mill { client, api: _api, worker: _worker, redis: _redis } = start();
    let tickets = client.enqueue_all(vec![count("a b"), count(&"word ".repeat(2_000))]).await.unwrap();
    let words = client.wait(&tickets[0], PATIENCE).await.unwrap();
    assert_eq!((words.state, words.result), (State::Succeeded, Some(json!({ "words": 2, "attempt": 1 }))));
    let Err(ClientError::Failed { state, message, .. }) = client.result::<Counted>(&tickets[1], PATIENCE).await else {
        panic!("too many words should be refused")
    };
    assert_eq!((state, message.as_str()), (State::Dead, "2000 words; at most 1000 are counted"));

    let later =
        client.enqueue(count("later").after(Duration::from_hours(1)).id("late".parse().unwrap())).await.unwrap();
    assert!(matches!(client.wait(&later, Duration::from_millis(50)).await, Err(ClientError::Late { .. })));
    let again = client.enqueue(count("later").id("late".parse().unwrap())).await.unwrap_err();
    assert!(matches!(&again, ClientError::Refused(problem) if problem.status == 409), "{again}");
    client.cancel(&later).await.unwrap();
    assert_eq!(client.get(&later).await.unwrap().unwrap().state, State::Cancelled);
    client.retry(&later).await.unwrap();
    assert!(client.wait(&later, PATIENCE).await.unwrap().has_ended());

    let nothing = Ticket { id: "nothing".parse().unwrap(), ..later };
    assert_eq!(client.get(&nothing).await.unwrap(), None);
    assert!(matches!(client.wait(&nothing, PATIENCE).await, Err(ClientError::Unknown(_))));
}

#[tokio::test]
async fn a_server_that_is_away_is_told_with_its_address() {
    let away = format!("http://127.0.0.1:{}", program::free_port().unwrap());
    let error = Client::new(&away).unwrap().enqueue(count("a")).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains(&away), "{error}");
}
