//! Rows of the embedded store that no version of ours would write: each operation answers or refuses them in words, the
//! writer lives on, and no other task is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidemill_broker::embedded::{ManualClock, SqliteBroker, SqliteOptions};
use tidemill_broker::{Broker, BrokerError, Exchange, Exchanged, ListQuery};
use tidemill_core::{
    Claim, Failure, FailureKind, NewTask, Outcome, QueueName, QueueSettings, RequestId, Settlement, State, TaskId,
    TaskType, WorkerId, WorkerInfo,
};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(10);
const LEASE_MS: u64 = 10_000;

/// What is done to the rows, as SQL: the tables are strict, so that a value has at least the type of its column.
const DAMAGES: [&str; 31] = [
    "UPDATE tasks SET record = x'' WHERE id = 'pending-victim'",
    "UPDATE tasks SET record = x'ff' WHERE id = 'pending-victim'",
    "UPDATE tasks SET record = randomblob(60) WHERE id = 'pending-victim'",
    "UPDATE tasks SET record = zeroblob(1000000) WHERE id = 'pending-victim'",
    "UPDATE tasks SET record = x'01' WHERE id = 'active-victim'",
    "UPDATE tasks SET record = CAST(x'02' || substr(record, 2) AS BLOB) WHERE id = 'delayed-victim'",
    "UPDATE tasks SET record = x'' WHERE id = 'dead-victim'",
    "UPDATE tasks SET request = x'' WHERE id = 'pending-victim'",
    "UPDATE tasks SET request = zeroblob(100) WHERE id = 'dead-victim'",
    "UPDATE tasks SET id = '' WHERE id = 'pending-victim'",
    "UPDATE tasks SET id = char(10) WHERE id = 'pending-victim'",
    "UPDATE tasks SET id = replace(hex(zeroblob(5000)), '0', 'i') WHERE id = 'pending-victim'",
    "UPDATE tasks SET priority = 9223372036854775807 WHERE id = 'pending-victim'",
    "UPDATE tasks SET priority = -9223372036854775808 WHERE id = 'active-victim'",
    "UPDATE tasks SET duration_ms = -1 WHERE id = 'pending-victim'",
    "UPDATE tasks SET failures = -1 WHERE id = 'pending-victim'",
    "UPDATE tasks SET failures = 4294967295 WHERE id = 'pending-victim'",
    "UPDATE tasks SET losses = 9223372036854775807 WHERE id = 'active-victim'",
    "UPDATE tasks SET losses = 4294967295 WHERE id = 'active-victim'",
    "UPDATE tasks SET progress = 'x' WHERE id = 'active-victim'",
    "UPDATE tasks SET enqueued_at = -1 WHERE id = 'pending-victim'",
    "UPDATE tasks SET state = 99 WHERE id = 'pending-victim'",
    "UPDATE tasks SET worker = 4711 WHERE id = 'active-victim'",
    "UPDATE tasks SET worker = NULL WHERE id = 'active-victim'",
    "UPDATE tasks SET rank = 9223372036854775807, seq = -9223372036854775808 WHERE id = 'delayed-victim'",
    "UPDATE attempts SET view = 'x'",
    "DELETE FROM attempts",
    "UPDATE workers SET info = '{'",
    "UPDATE workers SET answer = x'00ff00ff', number = 9223372036854775807",
    "UPDATE workers SET active = -5",
    "UPDATE workers SET id = 'x'",
];

fn id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

fn task(text: &str) -> NewTask {
    NewTask::new(id(text), TaskType::new("work").unwrap(), "{}")
}

fn worker() -> WorkerInfo {
    let types = vec![TaskType::new("work").unwrap()];
    let id = WorkerId::from_uuid(uuid::Uuid::new_v4());
    WorkerInfo { id, name: "test".to_owned(), types, slots: 9, version: "0".to_owned() }
}

fn queue() -> QueueName {
    QueueName::default_queue()
}

fn open(home: &Path, clock: &Arc<ManualClock>) -> Arc<SqliteBroker> {
    let options = SqliteOptions { clock: clock.clone(), durable: false, ..SqliteOptions::new(home) };
    SqliteBroker::open(options).unwrap()
}

async fn within<T>(what: &str, operation: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
    timeout(DEADLINE, operation).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

async fn exchange(
    broker: &SqliteBroker,
    worker: &WorkerInfo,
    number: u64,
    finished: Vec<Settlement>,
    want: usize,
) -> Result<Vec<Claim>, String> {
    let exchange = Exchange { worker: worker.id, number, finished, want };
    match within("exchange", broker.exchange(&queue(), &exchange)).await {
        Ok(Exchanged::Done { claims, .. }) => Ok(claims),
        Ok(Exchanged::Retired) => Err("a new worker is retired".to_owned()),
        Err(error) => Err(format!("exchange {number}: {error}")),
    }
}

fn settled(claims: Vec<Claim>, outcome: impl Fn(&Claim) -> Option<Outcome>) -> Vec<Settlement> {
    let one = |claim: Claim| {
        outcome(&claim).map(|outcome| Settlement { task: claim.task, token: claim.token, outcome, ran_ms: 1 })
    };
    claims.into_iter().filter_map(one).collect()
}

/// A task in each state, of which one each is to be damaged and the other is not.
async fn fill(broker: &SqliteBroker) {
    let settings = QueueSettings { lease_ms: u32::try_from(LEASE_MS).unwrap(), ..QueueSettings::default() };
    broker.ensure_queue(&queue(), &settings).await.unwrap();
    let names = ["dead-victim", "dead-good", "active-victim", "active-good"];
    broker.enqueue(&queue(), &names.map(task), RequestId([1; 8])).await.unwrap();
    let worker = worker();
    broker.register(&queue(), &worker).await.unwrap();
    let claims = exchange(broker, &worker, 1, Vec::new(), 4).await.unwrap();
    let failure = || Failure::new(FailureKind::Permanent, "no");
    let dead = |claim: &Claim| {
        let failed = Outcome::Failed { failure: failure(), retry_in_ms: None };
        claim.task.as_str().starts_with("dead").then_some(failed)
    };
    exchange(broker, &worker, 2, settled(claims, dead), 0).await.unwrap();
    let mut waiting = ["pending-victim", "pending-good", "delayed-victim", "delayed-good"].map(task);
    waiting[2].start = tidemill_core::Start::AfterMs(2_000);
    waiting[3].start = tidemill_core::Start::AfterMs(2_000);
    broker.enqueue(&queue(), &waiting, RequestId([2; 8])).await.unwrap();
}

async fn use_all(broker: &SqliteBroker) {
    drop(within("stats", broker.stats(&queue())).await);
    drop(within("workers", broker.workers(&queue())).await);
    drop(within("maintain", broker.maintain(&queue())).await);
    for state in State::ALL {
        let query = ListQuery { state, task_type: None, cursor: None, limit: 100 };
        drop(within("list", broker.list(&queue(), &query)).await);
    }
    for victim in ["dead", "active", "pending", "delayed"].map(|name| id(&format!("{name}-victim"))) {
        drop(within("get", broker.get(&queue(), &victim)).await);
        drop(within("cancel", broker.cancel(&queue(), &victim)).await);
        drop(within("retry", broker.retry(&queue(), &victim)).await);
        drop(within("delete", broker.delete(&queue(), &victim)).await);
    }
}

/// Lets the lease and the delays pass, works all off, and says what is amiss.
async fn work_off(broker: &SqliteBroker, clock: &ManualClock) -> Result<(), String> {
    let mut maintained = Ok(());
    for _ in 0..9 {
        clock.advance(LEASE_MS / 3);
        maintained = within("maintain", broker.maintain(&queue())).await.map(drop);
    }
    maintained.map_err(|error| format!("maintenance does not go on: {error}"))?;
    let worker = worker();
    within("register", broker.register(&queue(), &worker)).await.map_err(|error| error.to_string())?;
    let mut finished = Vec::new();
    for number in 1..=10 {
        let claims = exchange(broker, &worker, number, std::mem::take(&mut finished), 2).await?;
        finished = settled(claims, |_| Some(Outcome::Succeeded { result: None }));
    }
    for name in ["active-good", "pending-good", "delayed-good"] {
        match within("get", broker.get(&queue(), &id(name))).await {
            Ok(Some(view)) if view.state == State::Succeeded => {}
            Ok(view) => return Err(format!("{name} is {:?}", view.map(|view| view.state))),
            Err(error) => return Err(format!("{name}: {error}")),
        }
    }
    within("stats", broker.stats(&queue())).await.map(drop).map_err(|error| format!("stats: {error}"))
}

fn database(home: &Path) -> PathBuf {
    let files = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let is_database = |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3"));
    files.into_iter().find(is_database).expect("a database in the folder")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_nobody_expected_costs_no_other_task_and_stops_no_maintenance() {
    let mut failures = Vec::new();
    for damage in DAMAGES {
        for uses in [false, true] {
            let (home, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()));
            let broker = open(home.path(), &clock);
            fill(&broker).await;
            broker.close().await;
            drop(broker);
            let changed = rusqlite::Connection::open(database(home.path())).unwrap().execute(damage, []).unwrap();
            assert!(changed > 0, "{damage} changed nothing");
            let broker = open(home.path(), &clock);
            if uses {
                use_all(&broker).await;
            }
            if let Err(error) = work_off(&broker, &clock).await {
                failures.push(format!("{damage} (all used: {uses}): {error}"));
            }
            broker.close().await;
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), 2 * DAMAGES.len(), failures.join("\n"));
}
