//! Producers, workers and maintenance on one queue, while a test does to the servers what it is about; and what has become
//! of every task in the end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidemill_broker::redis::RedisBroker;
use tidemill_broker::{Access, Broker, BrokerError, Durability, Exchange, Exchanged, Settled};
use tidemill_core::{
    Keep, NewTask, Outcome, QueueName, QueueSettings, RequestId, Retention, Settlement, State, TaskId, TaskType,
    WorkerId, WorkerInfo,
};
use tokio::task::JoinSet;

const PRODUCERS: usize = 3;
const WORKERS: usize = 2;
const BATCH: usize = 5;
/// How long a producer pauses between batches: enough of them for a test, and not so many that it takes long to drain.
const PAUSE: Duration = Duration::from_millis(5);
/// How long an operation may be unavailable in a row.
const AWAY_MAX: Duration = Duration::from_secs(20);
/// How long what is left may take to be worked off.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// Work on one queue.
pub(crate) struct Load {
    pub(crate) queue: QueueName,
    pub(crate) broker: Arc<RedisBroker>,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    produced_enough: AtomicBool,
    done: AtomicBool,
    /// Ids that were acknowledged.
    acknowledged: Mutex<Vec<TaskId>>,
    /// How often a settlement of an id was accepted.
    settled: Mutex<HashMap<TaskId, u64>>,
    unavailable: AtomicU64,
}

/// What became of it all.
#[derive(Debug)]
#[allow(dead_code)] // printed
pub(crate) struct Account {
    pub(crate) acknowledged: usize,
    /// Acknowledged, but unknown to the store in the end.
    pub(crate) missing: usize,
    /// Tasks whose success was accepted more than once.
    pub(crate) settled_twice: usize,
    /// How often a caller was told that the store is unavailable.
    pub(crate) unavailable: u64,
}

impl Load {
    /// Begins. All that is enqueued waits for this many replicas.
    pub(crate) async fn begin(url: &str, queue: &str, replicas: u32) -> Self {
        let queue = QueueName::new(queue).unwrap();
        let shared = Arc::new(Shared::default());
        let durability = Durability { replicas, timeout: Duration::from_millis(500) };
        let open = || RedisBroker::open_with(&Access { durability, ..Access::new(url) }).unwrap();
        let broker = open();
        let keep = Keep { count: 1_000_000, age_s: 3_600 };
        let retention = Retention { succeeded: keep, ..Retention::default() };
        let settings = QueueSettings { retention, ..QueueSettings::default() };
        broker.ensure_queue(&queue, &settings).await.unwrap();
        let mut tasks = JoinSet::new();
        for number in 0..PRODUCERS {
            tasks.spawn(produce(open(), queue.clone(), number, Arc::clone(&shared)));
        }
        for _ in 0..WORKERS {
            tasks.spawn(work(open(), queue.clone(), Arc::clone(&shared)));
        }
        tasks.spawn(maintain(open(), queue.clone(), Arc::clone(&shared)));
        Self { queue, broker, shared, tasks }
    }

    /// Waits until this many more ids have been acknowledged.
    pub(crate) async fn more(&self, count: usize) {
        let target = self.acknowledged() + count;
        let began = Instant::now();
        while self.acknowledged() < target {
            assert!(began.elapsed() < AWAY_MAX, "no more than {} acknowledged", self.acknowledged());
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.shared.acknowledged.lock().unwrap().len()
    }

    /// Ends the producers, lets the workers work off what is left, and accounts for every id.
    pub(crate) async fn end(mut self) -> Account {
        self.shared.produced_enough.store(true, Ordering::Release);
        let began = Instant::now();
        loop {
            let stats = patiently(&self.shared, || self.broker.stats(&self.queue)).await;
            if self.tasks.len() <= WORKERS + 1 && stats.pending + stats.active + stats.delayed + stats.retrying == 0 {
                break;
            }
            assert!(began.elapsed() < DRAIN_MAX, "stuck: {stats:?}");
            while let Some(ended) = self.tasks.try_join_next() {
                ended.unwrap();
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.shared.done.store(true, Ordering::Release);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let acknowledged = std::mem::take(&mut *self.shared.acknowledged.lock().unwrap());
        let mut missing = 0;
        for id in &acknowledged {
            match patiently(&self.shared, || self.broker.get(&self.queue, id)).await {
                Some(task) => assert_eq!(task.state, State::Succeeded, "{id}"),
                None => missing += 1,
            }
        }
        let stats = self.broker.stats(&self.queue).await.unwrap();
        let lived = stats.succeeded + stats.dead + stats.cancelled;
        assert_eq!(stats.counters.enqueued, lived, "each task that is known stands in one place: {stats:?}");
        assert_eq!(stats.counters.succeeded, stats.succeeded, "{stats:?}");
        let settled_twice = self.shared.settled.lock().unwrap().values().filter(|times| **times > 1).count();
        Account {
            acknowledged: acknowledged.len(),
            missing,
            settled_twice,
            unavailable: self.shared.unavailable.load(Ordering::Relaxed),
        }
    }
}

/// Repeats an operation as long as the store is unavailable. Anything else is an answer.
async fn patiently<T, F>(shared: &Shared, operation: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, BrokerError>>,
{
    let began = Instant::now();
    loop {
        match operation().await {
            Ok(value) => return value,
            Err(error) if error.is_unavailable() && began.elapsed() < AWAY_MAX => {
                shared.unavailable.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => panic!("after {:?}: {error}", began.elapsed()),
        }
    }
}

async fn produce(broker: Arc<RedisBroker>, queue: QueueName, number: usize, shared: Arc<Shared>) {
    for round in 0.. {
        if shared.produced_enough.load(Ordering::Acquire) {
            return;
        }
        let ids: Vec<_> = (0..BATCH).map(|n| TaskId::new(format!("p{number}-{round}-{n}")).unwrap()).collect();
        let batch: Vec<_> = ids.iter().map(|id| NewTask::sleep(id.clone(), 0)).collect();
        let request = RequestId(rand::random());
        patiently(&shared, || broker.enqueue(&queue, &batch, request)).await;
        shared.acknowledged.lock().unwrap().extend(ids);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn work(broker: Arc<RedisBroker>, queue: QueueName, shared: Arc<Shared>) {
    while !shared.done.load(Ordering::Acquire) {
        let worker = WorkerInfo {
            id: WorkerId::from_uuid(uuid::Uuid::new_v4()),
            name: "load".to_owned(),
            types: vec![TaskType::sleep()],
            slots: 10,
            version: "0".to_owned(),
        };
        patiently(&shared, || broker.register(&queue, &worker)).await;
        let mut exchange = Exchange { worker: worker.id, number: 1, finished: Vec::new(), want: 10 };
        while !shared.done.load(Ordering::Acquire) {
            let exchanged = patiently(&shared, || broker.exchange(&queue, &exchange)).await;
            let Exchanged::Done { settled, claims, .. } = exchanged else { break };
            for (settlement, settled) in exchange.finished.iter().zip(settled) {
                if settled == Settled::Now(State::Succeeded) {
                    *shared.settled.lock().unwrap().entry(settlement.task.clone()).or_default() += 1;
                }
            }
            let finished: Vec<_> = claims
                .into_iter()
                .map(|claim| Settlement {
                    task: claim.task,
                    token: claim.token,
                    outcome: Outcome::Succeeded { result: None },
                    ran_ms: 0,
                })
                .collect();
            if finished.is_empty() {
                // It comes back when there is work, or when the server it waited at is no more.
                patiently(&shared, || broker.wait(&queue, Duration::from_millis(200))).await;
            }
            exchange = Exchange { number: exchange.number + 1, finished, ..exchange };
        }
    }
}

async fn maintain(broker: Arc<RedisBroker>, queue: QueueName, shared: Arc<Shared>) {
    while !shared.done.load(Ordering::Acquire) {
        patiently(&shared, || broker.maintain(&queue)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
