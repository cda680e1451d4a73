//! `kill -9` of the process that holds the embedded store, for real: the child is this very test binary.
// All of this is test code: it fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidemill_broker::embedded::{SqliteBroker, SqliteOptions};
use tidemill_broker::{Broker, BrokerError, Exchange, Exchanged, ListQuery};
use tidemill_core::{
    NewTask, Outcome, QueueName, QueueSettings, RequestId, Settlement, State, TaskId, TaskType, WorkerId, WorkerInfo,
};
use uuid::Uuid;

/// Tells the child where its store is.
const CHILD_DIR: &str = "TIDEMILL_TEST_CHILD_DIR";
/// How many batches the child acknowledges before it is killed.
const ACKNOWLEDGED: usize = 20;
const BATCH: usize = 25;
const DEADLINE: Duration = Duration::from_mins(1);

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn queue() -> QueueName {
    QueueName::default_queue()
}

/// The child: enqueues batch after batch, settles some of them, and says each that was acknowledged, until it is killed.
#[tokio::test]
async fn the_child_works_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let broker = SqliteBroker::open(SqliteOptions::new(dir)).unwrap();
    broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap();
    let id = WorkerId::from_uuid(Uuid::new_v4());
    let info = WorkerInfo { id, name: "child".into(), types: vec![TaskType::sleep()], slots: 5, version: "0".into() };
    broker.register(&queue(), &info).await.unwrap();
    let mut finished = Vec::new();
    for number in 1_u64.. {
        let batch: Vec<_> =
            (0..BATCH).map(|n| NewTask::sleep(TaskId::new(format!("{number}-{n}")).unwrap(), 1)).collect();
        broker.enqueue(&queue(), &batch, RequestId(number.to_be_bytes())).await.unwrap();
        let settled = finished.len();
        let exchange = Exchange { worker: id, number, finished: std::mem::take(&mut finished), want: 5 };
        let Exchanged::Done { claims, .. } = broker.exchange(&queue(), &exchange).await.unwrap() else {
            panic!("the worker is registered")
        };
        finished.extend(claims.into_iter().map(|claim| Settlement {
            task: claim.task,
            token: claim.token,
            outcome: Outcome::Succeeded { result: None },
            ran_ms: 1,
        }));
        println!("\nacknowledged {number} {settled}");
    }
}

#[tokio::test]
async fn everything_acknowledged_survives_kill_9() {
    let scratch = Scratch(std::env::temp_dir().join(format!("tidemill-test-{}", Uuid::new_v4())));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_works_until_it_is_killed", "--nocapture"])
        .env(CHILD_DIR, &scratch.0)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut acknowledged, mut settled) = (0_u64, 0_u64);
    while acknowledged < ACKNOWLEDGED as u64 {
        let line = lines.next().expect("the child speaks until it is killed").unwrap();
        if let Some(said) = line.strip_prefix("acknowledged ") {
            let (number, more) = said.split_once(' ').unwrap();
            acknowledged = number.parse().unwrap();
            settled += more.parse::<u64>().unwrap();
        }
    }
    let Err(held) = SqliteBroker::open(SqliteOptions::new(&scratch.0)) else { panic!("the child has it open") };
    assert!(matches!(held, BrokerError::Unfit(_)), "{held:?}");
    child.kill().unwrap();
    child.wait().unwrap();

    let began = Instant::now();
    let broker = loop {
        match SqliteBroker::open(SqliteOptions::new(&scratch.0)) {
            Ok(broker) => break broker,
            Err(error) => assert!(began.elapsed() < DEADLINE, "{error}"),
        }
    };
    for number in 1..=acknowledged {
        for n in 0..BATCH {
            let id = TaskId::new(format!("{number}-{n}")).unwrap();
            assert!(broker.get(&queue(), &id).await.unwrap().is_some(), "{id} was acknowledged");
        }
    }
    let stats = broker.stats(&queue()).await.unwrap();
    assert!(stats.counters.enqueued >= acknowledged * BATCH as u64);
    assert!(stats.succeeded >= settled, "{stats:?}");
    assert_eq!(stats.pending + stats.active + stats.succeeded, stats.counters.enqueued, "each stands somewhere, once");
    assert_eq!(stats.counters.started, stats.active + stats.succeeded);
    let active = ListQuery { state: State::Active, task_type: None, cursor: None, limit: 100 };
    let page = broker.list(&queue(), &active).await.unwrap();
    assert_eq!(page.tasks.len() as u64, stats.active);
    broker.close().await;
}
