//! What is particular to the store on Redis: its connections, its scripts and its bad days.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_broker::conformance::server::RedisServer;
use tidemill_broker::redis::RedisBroker;
use tidemill_broker::{Broker, BrokerError, Delivery, Exchange, Exchanged, Settled};
use tidemill_core::{
    NewTask, Outcome, QueueName, QueueSettings, RequestId, Settlement, State, TaskId, TaskType, WorkerId, WorkerInfo,
};

const SOON: Duration = Duration::from_secs(10);

fn queue() -> QueueName {
    QueueName::new("particular").unwrap()
}

fn tasks(ids: &[&str]) -> Vec<NewTask> {
    ids.iter().map(|id| NewTask::sleep(TaskId::new(*id).unwrap(), 0)).collect()
}

fn worker() -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::from_uuid(uuid::Uuid::new_v4()),
        name: "test".to_owned(),
        types: vec![TaskType::sleep()],
        slots: 10,
        version: "0".to_owned(),
    }
}

async fn broker(url: &str) -> Arc<RedisBroker> {
    let broker = RedisBroker::open(url).unwrap();
    broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap();
    broker
}

async fn redis_cli(server: &RedisServer, words: &[&str]) -> redis::Value {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection).await.unwrap()
}

fn text(value: redis::Value) -> String {
    redis::from_redis_value(value).unwrap()
}

/// Repeats `operation` while the store is unavailable.
async fn eventually<T, F: Future<Output = Result<T, BrokerError>>>(operation: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        match operation().await {
            Ok(value) => return value,
            Err(error) if error.is_unavailable() && began.elapsed() < SOON => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    redis_cli(&server, &["SCRIPT", "FLUSH"]).await;
    broker.enqueue(&queue(), &tasks(&["b"]), RequestId([2; 8])).await.unwrap();
    assert_eq!(broker.stats(&queue()).await.unwrap().pending, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_takes_nothing_in_but_drains() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    let worker = worker();
    broker.register(&queue(), &worker).await.unwrap();
    broker.enqueue(&queue(), &tasks(&["a", "b"]), RequestId([1; 8])).await.unwrap();
    redis_cli(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = broker.enqueue(&queue(), &tasks(&["c"]), RequestId([2; 8])).await.unwrap_err();
    assert!(matches!(refused, BrokerError::StoreFull { .. }), "{refused}");
    let mut finished = Vec::new();
    for number in 1..=2 {
        let exchange = Exchange { worker: worker.id, number, finished: std::mem::take(&mut finished), want: 2 };
        let Exchanged::Done { claims, settled, .. } = broker.exchange(&queue(), &exchange).await.unwrap() else {
            panic!("the worker is registered");
        };
        assert!(settled.iter().all(|settled| *settled == Settled::Now(State::Succeeded)));
        finished.extend(claims.into_iter().map(|claim| Settlement {
            task: claim.task,
            token: claim.token,
            outcome: Outcome::Succeeded { result: None },
            ran_ms: 0,
        }));
    }
    assert_eq!(broker.stats(&queue()).await.unwrap().counters.succeeded, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_newer_format_holds_up_no_other() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    let worker = worker();
    broker.register(&queue(), &worker).await.unwrap();
    broker.enqueue(&queue(), &tasks(&["newer", "good"]), RequestId([1; 8])).await.unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let records = "tidemill:{particular}:records";
    let mut record: Vec<u8> = redis::cmd("HGET").arg(records).arg("newer").query_async(&mut connection).await.unwrap();
    record[0] = 2;
    let () = redis::cmd("HSET").arg(records).arg("newer").arg(record).query_async(&mut connection).await.unwrap();
    let exchange = Exchange { worker: worker.id, number: 1, finished: Vec::new(), want: 2 };
    let Exchanged::Done { claims, .. } = broker.exchange(&queue(), &exchange).await.unwrap() else {
        panic!("the worker is registered");
    };
    assert_eq!(claims.iter().map(|claim| claim.task.as_str()).collect::<Vec<_>>(), ["good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_unavailable_within_two_seconds_and_served_when_it_is_back() {
    let server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let broker = broker(&server.url()).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    let mut events = broker.subscribe(&queue()).await.unwrap();
    server.kill();
    let asked = Instant::now();
    let error = broker.enqueue(&queue(), &tasks(&["b"]), RequestId([2; 8])).await.unwrap_err();
    assert!(error.is_unavailable() && asked.elapsed() < Duration::from_secs(2), "{error} after {:?}", asked.elapsed());
    assert_eq!(tokio::time::timeout(SOON, events.next()).await.unwrap(), Some(Delivery::Gap));

    server.restart();
    eventually(|| async { broker.enqueue(&queue(), &tasks(&["b"]), RequestId([2; 8])).await }).await;
    assert_eq!(broker.stats(&queue()).await.unwrap().pending, 2);
    // The watcher hears again, of this or a later task.
    let heard = async {
        for n in 0_u8.. {
            let id = format!("later{n}");
            broker.enqueue(&queue(), &tasks(&[&id]), RequestId([n; 8])).await.unwrap();
            let next = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
            if matches!(next, Ok(Some(Delivery::Batch(_)))) {
                break;
            }
        }
    };
    tokio::time::timeout(SOON, heard).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_whose_server_was_restarted_is_woken_by_the_next_task() {
    let server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let broker = broker(&server.url()).await;
    let waits = {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.wait(&queue(), Duration::from_secs(30)).await })
    };
    let blocked = async {
        while !text(redis_cli(&server, &["INFO", "clients"]).await).contains("blocked_clients:1") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, blocked).await.unwrap();
    server.restart();
    eventually(|| async { broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await }).await;
    tokio::time::timeout(SOON, waits).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn user_password_and_database_of_the_url_are_used() {
    let server = RedisServer::start();
    redis_cli(&server, &["ACL", "SETUSER", "mill", "on", ">grist", "~tidemill:*", "&tidemill:*", "+@all"]).await;
    let broker = broker(&format!("redis://mill:grist@127.0.0.1:{}/3", server.port())).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    let keyspace = text(redis_cli(&server, &["INFO", "keyspace"]).await);
    assert!(keyspace.contains("db3:") && !keyspace.contains("db0:"), "{keyspace}");

    let stranger = RedisBroker::open(&format!("redis://mill:chaff@127.0.0.1:{}", server.port())).unwrap();
    let error = stranger.ping().await.unwrap_err();
    assert!(matches!(&error, BrokerError::Unfit(said) if said.contains("password")), "{error}");
    assert!(!stranger.describe().contains("chaff"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_serves_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let _server = RedisServer::start_with(&["--unixsocket", socket.to_str().unwrap()]);
    let broker = broker(&format!("redis+unix://{}", socket.display())).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    assert_eq!(broker.stats(&queue()).await.unwrap().pending, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_a_certificate_of_an_unknown_authority_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let tls_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let _server = RedisServer::start_with(&[
        "--tls-port",
        &tls_port,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        certificate.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
    ]);
    let url = format!("rediss://localhost:{tls_port}");
    assert!(RedisBroker::open(&url).unwrap().ping().await.is_err());
    RedisBroker::open_trusting(&url, &certificate).unwrap().ping().await.unwrap();
}
