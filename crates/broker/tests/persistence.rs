//! What each way in which Redis can persist keeps through `kill -9` of its process: the rows of the README's table that a
//! test can bring about (it cannot pull the plug of a machine).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::time::{Duration, Instant};

use tidemill_broker::conformance::server::RedisServer;
use tidemill_broker::redis::RedisBroker;
use tidemill_broker::{Broker, BrokerError};
use tidemill_core::{NewTask, QueueName, QueueSettings, QueueStats, RequestId, TaskId};

/// Batches of one before the server is killed, at once after the last acknowledgement.
const BATCHES: u64 = 300;
const SOON: Duration = Duration::from_secs(10);

fn queue() -> QueueName {
    QueueName::new("kept").unwrap()
}

async fn enqueue(broker: &RedisBroker, ids: std::ops::Range<u64>) {
    for n in ids {
        let task = NewTask::sleep(TaskId::new(format!("t{n}")).unwrap(), 0);
        broker.enqueue(&queue(), &[task], RequestId(n.to_be_bytes())).await.unwrap();
    }
}

async fn open(server: &RedisServer) -> std::sync::Arc<RedisBroker> {
    let broker = RedisBroker::open(&server.url()).unwrap();
    broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap();
    broker
}

/// What is there when the server has been killed and started again.
async fn after_a_crash(server: &RedisServer, broker: &RedisBroker) -> Result<QueueStats, BrokerError> {
    server.restart();
    let began = Instant::now();
    loop {
        match broker.stats(&queue()).await {
            Err(error) if error.is_unavailable() && began.elapsed() < SOON => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
}

async fn all_is_there_with(fsync: &str) {
    let server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", fsync]);
    let broker = open(&server).await;
    enqueue(&broker, 0..BATCHES).await;
    assert_eq!(after_a_crash(&server, &broker).await.unwrap().pending, BATCHES);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_appendfsync_always_a_killed_server_has_lost_nothing() {
    all_is_there_with("always").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_appendfsync_everysec_a_killed_server_has_lost_nothing_while_its_machine_lives() {
    all_is_there_with("everysec").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_snapshots_a_killed_server_has_lost_what_came_after_the_last() {
    let server = RedisServer::start();
    let broker = open(&server).await;
    enqueue(&broker, 0..BATCHES).await;
    let () = server.ask(&["SAVE"]).await;
    enqueue(&broker, BATCHES..2 * BATCHES).await;
    let stats = after_a_crash(&server, &broker).await.unwrap();
    assert_eq!((stats.pending, stats.counters.enqueued), (BATCHES, BATCHES));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_persistence_a_killed_server_has_lost_all_and_says_so() {
    let server = RedisServer::start();
    let broker = open(&server).await;
    enqueue(&broker, 0..BATCHES).await;
    let error = after_a_crash(&server, &broker).await.unwrap_err();
    assert!(matches!(error, BrokerError::UnknownQueue { .. }), "{error}");
}
