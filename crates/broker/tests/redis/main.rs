//! What is particular to the store on Redis: its connections, its scripts and its bad days.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

mod access;
mod away;
mod durability;
mod owners;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_broker::conformance::fleet;
use tidemill_broker::conformance::server::RedisServer;
use tidemill_broker::redis::RedisBroker;
use tidemill_broker::{Broker, BrokerError, Exchange, Exchanged, Settled};
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

/// Waits until so many clients of the server wait for something to pop.
async fn are_blocked(server: &RedisServer, clients: usize) {
    let wanted = format!("blocked_clients:{clients}\r\n");
    let blocked = fleet::eventually(async || server.ask::<String>(&["INFO", "clients"]).await.contains(&wanted));
    tokio::time::timeout(SOON, blocked).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    let () = server.ask(&["SCRIPT", "FLUSH"]).await;
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
    let () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
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
async fn a_worker_joins_and_a_queue_resumes_on_a_full_server() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    broker.pause(&queue(), true).await.unwrap();
    let () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let worker = worker();
    assert!(!broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap());
    broker.register(&queue(), &worker).await.unwrap();
    assert!(broker.pause(&queue(), false).await.unwrap());
    let exchange = Exchange { worker: worker.id, number: 1, finished: Vec::new(), want: 1 };
    let Exchanged::Done { claims, .. } = broker.exchange(&queue(), &exchange).await.unwrap() else {
        panic!("the worker is registered");
    };
    assert_eq!(claims.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_went_back_keeps_no_lost_worker() {
    const HOUR_MS: u64 = 3_600_000;
    let server = RedisServer::start();
    let broker = RedisBroker::open_with_skewed_clock(&server.url()).unwrap();
    broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap();
    let silent = worker();
    broker.advance_clock(&queue(), HOUR_MS).await.unwrap();
    broker.maintain(&queue()).await.unwrap();
    broker.register(&queue(), &silent).await.unwrap();
    let () = server.ask(&["HSET", "tidemill:{particular}:meta", "skew", "0"]).await;
    assert!(broker.maintain(&queue()).await.unwrap().renewed);
    for _ in 0..2 {
        broker.advance_clock(&queue(), 5_001).await.unwrap();
        broker.maintain(&queue()).await.unwrap();
    }
    assert_eq!(broker.workers(&queue()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_up_that_nobody_waits_for_any_more_goes_to_another_process() {
    let server = RedisServer::start();
    let (left, stays) = (broker(&server.url()).await, broker(&server.url()).await);
    let queue_left = queue();
    tokio::select! {
        _ = left.wait(&queue_left, SOON) => panic!("there is nothing to do"),
        () = are_blocked(&server, 1) => {}
    }
    let waits = {
        let stays = Arc::clone(&stays);
        tokio::spawn(async move { stays.wait(&queue(), SOON).await })
    };
    are_blocked(&server, 2).await;
    let asked = Instant::now();
    stays.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    waits.await.unwrap().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
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
    record[0] = 3;
    let () = redis::cmd("HSET").arg(records).arg("newer").arg(record).query_async(&mut connection).await.unwrap();
    let exchange = Exchange { worker: worker.id, number: 1, finished: Vec::new(), want: 2 };
    let Exchanged::Done { claims, .. } = broker.exchange(&queue(), &exchange).await.unwrap() else {
        panic!("the worker is registered");
    };
    assert_eq!(claims.iter().map(|claim| claim.task.as_str()).collect::<Vec<_>>(), ["good"]);
}
