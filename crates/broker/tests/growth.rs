//! What each operation costs on an empty queue and on a full one, side by side, on both stores.
//!
//! `GROWTH=1000000 cargo test --release -p tidemill-broker --test growth -- --nocapture` prints the medians with a million
//! pending and a million ended tasks. The test itself takes fewer, and asserts only what no busy machine can upset: that no
//! operation costs ten times as much and a millisecond besides. What tasks that are active cost is printed: there are never
//! more of them than slots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_broker::conformance::server::RedisServer;
use tidemill_broker::contract::BATCH_MAX;
use tidemill_broker::embedded::{SqliteBroker, SqliteOptions};
use tidemill_broker::{Broker, Exchange, Exchanged, ListQuery, connect};
use tidemill_core::{
    Claim, Failure, FailureKind, Keep, NewTask, Outcome, Priority, QueueName, QueueSettings, RequestId, Retention,
    Settlement, Start, State, TaskId, TaskType, WorkerId, WorkerInfo,
};

/// How many pending tasks, and as many ended ones, a full queue has unless `GROWTH` says otherwise.
const TASKS: usize = 20_000;
/// Claims that are open in a busy queue: those of a hundred workers of a hundred slots.
const ACTIVE: usize = 10_000;
/// Looks at a bounded number of tasks, so that it costs more on a full queue than on an empty one, and no more on a fuller.
const BOUNDED: &str = "list pending of a type that no task has";
/// Runs of which the median counts.
const RUNS: usize = 31;
/// Growth that no noise explains: tenfold, and so much besides.
const FACTOR: u32 = 10;
const SLACK: Duration = Duration::from_millis(1);

struct Queue {
    broker: Arc<dyn Broker>,
    name: QueueName,
    worker: WorkerInfo,
    number: u64,
    made: usize,
}

fn task(prefix: &str, number: usize) -> NewTask {
    NewTask::new(TaskId::new(format!("{prefix}-{number:09}")).unwrap(), TaskType::new("work").unwrap(), "{}")
}

fn worker() -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::from_uuid(uuid::Uuid::new_v4()),
        name: "growth".to_owned(),
        types: vec![TaskType::new("work").unwrap()],
        slots: 100,
        version: "0".to_owned(),
    }
}

fn settlement(claim: Claim, outcome: Outcome) -> Settlement {
    Settlement { task: claim.task, token: claim.token, outcome, ran_ms: 1 }
}

fn dead() -> Outcome {
    Outcome::Failed { failure: Failure::new(FailureKind::Permanent, "no"), retry_in_ms: None }
}

const DONE: Outcome = Outcome::Succeeded { result: None };

impl Queue {
    async fn new(broker: &Arc<dyn Broker>, name: &str) -> Self {
        let name = QueueName::new(name).unwrap();
        let keep = Keep { count: 2_000_000, age_s: 1_000_000 };
        let retention = Retention { succeeded: keep, dead: keep, cancelled: keep };
        let settings = QueueSettings { retention, lease_ms: 3_600_000, ..QueueSettings::default() };
        broker.ensure_queue(&name, &settings).await.unwrap();
        let queue = Self { broker: broker.clone(), name, worker: worker(), number: 0, made: 0 };
        broker.register(&queue.name, &queue.worker).await.unwrap();
        queue
    }

    async fn enqueue(&self, batch: &[NewTask]) {
        let request = RequestId(uuid::Uuid::new_v4().as_bytes()[..8].try_into().unwrap());
        self.broker.enqueue(&self.name, batch, request).await.unwrap();
    }

    async fn exchange(&mut self, finished: Vec<Settlement>, want: usize) -> Vec<Claim> {
        self.number += 1;
        let exchange = Exchange { worker: self.worker.id, number: self.number, finished, want };
        match self.broker.exchange(&self.name, &exchange).await.unwrap() {
            Exchanged::Done { claims, .. } => claims,
            Exchanged::Retired => panic!("it is registered"),
        }
    }

    /// `tasks` ended in two ways, and `tasks` pending.
    async fn fill(&mut self, tasks: usize) {
        for from in (0..tasks).step_by(BATCH_MAX) {
            let batch: Vec<_> = (from..tasks.min(from + BATCH_MAX)).map(|number| task("ended", number)).collect();
            self.enqueue(&batch).await;
            let claims = self.exchange(Vec::new(), batch.len()).await;
            let end = |(place, claim)| settlement(claim, if place % 10 == 0 { dead() } else { DONE });
            let finished = claims.into_iter().enumerate().map(end).collect();
            self.exchange(finished, 0).await;
        }
        for from in (0..tasks).step_by(BATCH_MAX) {
            let to = tasks.min(from + BATCH_MAX);
            self.enqueue(&(from..to).map(|number| task("pending", number)).collect::<Vec<_>>()).await;
        }
    }

    /// [`ACTIVE`] tasks in the hands of another worker.
    async fn engage(&mut self) {
        self.enqueue(&(0..ACTIVE).map(|number| task("active", number)).collect::<Vec<_>>()).await;
        let mut other = self.colleague().await;
        assert_eq!(other.exchange(Vec::new(), ACTIVE).await.len(), ACTIVE);
    }

    /// The same queue as another worker sees it.
    async fn colleague(&self) -> Self {
        let (name, broker) = (self.name.clone(), self.broker.clone());
        let other = Self { worker: worker(), number: 0, name, broker, made: 0 };
        other.broker.register(&other.name, &other.worker).await.unwrap();
        other
    }

    /// Fresh tasks at the tail of the line.
    async fn fresh(&mut self) -> TaskId {
        self.made += 1;
        let task = task("fresh", self.made);
        self.enqueue(std::slice::from_ref(&task)).await;
        task.id
    }

    /// A fresh task that goes before all others, claimed.
    async fn claimed(&mut self) -> Claim {
        self.made += 1;
        let task = NewTask { priority: Priority::new(100).unwrap(), ..task("first", self.made) };
        self.enqueue(std::slice::from_ref(&task)).await;
        self.exchange(Vec::new(), 1).await.remove(0)
    }

    async fn list(&self, state: State, task_type: Option<&str>, cursor: Option<usize>) -> Duration {
        let task_type = task_type.map(|name| TaskType::new(name).unwrap());
        let query = ListQuery { state, task_type, cursor: cursor.map(|place| place.to_string()), limit: 100 };
        timed(self.broker.list(&self.name, &query)).await
    }
}

async fn timed<T>(operation: impl Future<Output = tidemill_broker::Result<T>>) -> Duration {
    let began = Instant::now();
    operation.await.unwrap();
    began.elapsed()
}

type Measured = Vec<(&'static str, Duration)>;

macro_rules! measure {
    ($measured:ident, $what:literal, $run:expr) => {{
        let mut runs = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            runs.push($run);
        }
        runs.sort();
        $measured.push(($what, runs[RUNS / 2]));
    }};
}

/// The median of each operation.
#[allow(clippy::too_many_lines)] // a list of operations, one after another
async fn medians(queue: &mut Queue) -> Measured {
    let (broker, name) = (queue.broker.clone(), queue.name.clone());
    let mut all = Measured::new();
    measure!(all, "ping", timed(broker.ping()).await);
    measure!(all, "settings", timed(broker.settings(&name)).await);
    measure!(all, "queues", timed(broker.queues()).await);
    measure!(all, "stats", timed(broker.stats(&name)).await);
    measure!(all, "workers", timed(broker.workers(&name)).await);
    measure!(all, "owner", timed(broker.owner(&name)).await);
    measure!(all, "maintain", timed(broker.maintain(&name)).await);
    measure!(all, "wait", timed(broker.wait(&name, Duration::from_millis(1))).await);
    let id = queue.worker.id;
    measure!(all, "heartbeat", timed(broker.heartbeat(&name, &id, &[])).await);
    measure!(all, "enqueue", {
        let began = Instant::now();
        queue.fresh().await;
        began.elapsed()
    });
    measure!(all, "enqueue, prioritised", {
        queue.made += 1;
        let task = NewTask { priority: Priority::new(-3).unwrap(), ..task("low", queue.made) };
        let began = Instant::now();
        queue.enqueue(&[task]).await;
        began.elapsed()
    });
    measure!(all, "enqueue, delayed", {
        queue.made += 1;
        let task = NewTask { start: Start::AfterMs(1_000_000_000), ..task("late", queue.made) };
        let began = Instant::now();
        queue.enqueue(&[task]).await;
        began.elapsed()
    });
    measure!(all, "enqueue of an id that has ended", {
        let claim = queue.claimed().await;
        let id = claim.task.clone();
        queue.exchange(vec![settlement(claim, DONE)], 0).await;
        let began = Instant::now();
        queue.enqueue(&[NewTask::new(id, TaskType::new("work").unwrap(), "{}")]).await;
        began.elapsed()
    });
    measure!(all, "enqueue of an id cancelled in the line", {
        let id = queue.fresh().await;
        broker.cancel(&name, &id).await.unwrap();
        let began = Instant::now();
        queue.enqueue(&[NewTask::new(id, TaskType::new("work").unwrap(), "{}")]).await;
        began.elapsed()
    });
    measure!(all, "exchange, claim", {
        queue.fresh().await;
        let began = Instant::now();
        let claims = queue.exchange(Vec::new(), 1).await;
        let took = began.elapsed();
        queue.exchange(claims.into_iter().map(|claim| settlement(claim, DONE)).collect(), 0).await;
        took
    });
    measure!(all, "exchange, succeeded", {
        let finished = vec![settlement(queue.claimed().await, DONE)];
        let began = Instant::now();
        queue.exchange(finished, 0).await;
        began.elapsed()
    });
    measure!(all, "exchange, failed for good", {
        let finished = vec![settlement(queue.claimed().await, dead())];
        let began = Instant::now();
        queue.exchange(finished, 0).await;
        began.elapsed()
    });
    measure!(all, "exchange, released", {
        let finished = vec![settlement(queue.claimed().await, Outcome::Released)];
        let began = Instant::now();
        queue.exchange(finished, 0).await;
        let took = began.elapsed();
        let claims = queue.exchange(Vec::new(), 1).await;
        queue.exchange(claims.into_iter().map(|claim| settlement(claim, DONE)).collect(), 0).await;
        took
    });
    let waiting = queue.fresh().await;
    measure!(all, "get, pending", timed(broker.get(&name, &waiting)).await);
    let ended = queue.claimed().await;
    let ended_id = ended.task.clone();
    queue.exchange(vec![settlement(ended, DONE)], 0).await;
    measure!(all, "get, succeeded", timed(broker.get(&name, &ended_id)).await);
    let unknown = TaskId::new("nobody").unwrap();
    measure!(all, "get, unknown", timed(broker.get(&name, &unknown)).await);
    let held = queue.claimed().await;
    measure!(all, "get, active", timed(broker.get(&name, &held.task)).await);
    queue.exchange(vec![settlement(held, DONE)], 0).await;
    measure!(all, "list pending", queue.list(State::Pending, None, None).await);
    measure!(all, "list active", queue.list(State::Active, None, None).await);
    measure!(all, "list delayed", queue.list(State::Delayed, None, None).await);
    measure!(all, "list succeeded", queue.list(State::Succeeded, None, None).await);
    measure!(all, "list dead", queue.list(State::Dead, None, None).await);
    measure!(all, "list pending of a type that no task has", queue.list(State::Pending, Some("rare"), None).await);
    measure!(all, "cancel, pending", {
        let id = queue.fresh().await;
        timed(broker.cancel(&name, &id)).await
    });
    measure!(all, "delete, pending", {
        let id = queue.fresh().await;
        timed(broker.delete(&name, &id)).await
    });
    measure!(all, "delete, ended", {
        let claim = queue.claimed().await;
        let id = claim.task.clone();
        queue.exchange(vec![settlement(claim, DONE)], 0).await;
        timed(broker.delete(&name, &id)).await
    });
    measure!(all, "retry, dead", {
        let claim = queue.claimed().await;
        let id = claim.task.clone();
        queue.exchange(vec![settlement(claim, dead())], 0).await;
        timed(broker.retry(&name, &id)).await
    });
    measure!(all, "pause", timed(broker.pause(&name, false)).await);
    measure!(all, "register", timed(broker.register(&name, &queue.worker)).await);
    measure!(all, "retire with one claim", {
        let mut other = queue.colleague().await;
        queue.fresh().await;
        other.exchange(Vec::new(), 1).await;
        timed(broker.retire(&name, &other.worker.id)).await
    });
    all
}

async fn compare(broker: Arc<dyn Broker>) {
    let tasks = std::env::var("GROWTH").map_or(TASKS, |text| text.parse().expect("GROWTH is a number of tasks"));
    println!(
        "{}: {tasks} pending and {tasks} ended tasks, and then {ACTIVE} active ones, against none",
        broker.describe()
    );
    let mut empty = Queue::new(&broker, "empty").await;
    let mut full = Queue::new(&broker, "full").await;
    let began = Instant::now();
    full.fill(tasks).await;
    println!("filled within {:.1} s", began.elapsed().as_secs_f64());
    let before = medians(&mut empty).await;
    let after = medians(&mut full).await;
    full.engage().await;
    let busy = medians(&mut full).await;
    let mut grown = Vec::new();
    println!("{:<42} {:>10} {:>10} {:>8} {:>10} {:>8}", "median of", "empty", "full", "ratio", "busy", "ratio");
    for (((what, empty), (_, full)), (_, busy)) in before.iter().zip(&after).zip(&busy) {
        let ratio = |other: &Duration| other.as_secs_f64() / empty.as_secs_f64();
        let [on_empty, on_full, on_busy] = [empty, full, busy].map(Duration::as_micros);
        let (full_ratio, busy_ratio) = (ratio(full), ratio(busy));
        println!("{what:<42} {on_empty:>7} µs {on_full:>7} µs {full_ratio:>8.2} {on_busy:>7} µs {busy_ratio:>8.2}");
        if *full > *empty * FACTOR + SLACK && *what != BOUNDED {
            grown.push(*what);
        }
    }
    assert!(grown.is_empty(), "these cost more the more tasks there are: {grown:?}");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_on_redis_costs_more_the_more_tasks_there_are() {
    let server = RedisServer::start();
    compare(connect(&server.url()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_on_sqlite_costs_more_the_more_tasks_there_are() {
    let home = tempfile::tempdir().unwrap();
    let options = SqliteOptions { durable: false, ..SqliteOptions::new(home.path()) };
    compare(SqliteBroker::open(options).unwrap()).await;
}
