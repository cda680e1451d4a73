//! A store in memory that keeps the contract as far as the executor can tell, with faults at will and a diary.
#![allow(dead_code)] // each test binary uses its part

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemill_broker::*;
use tidemill_core::envelope::body;
use tidemill_core::*;
use tidemill_executor::{Context, Executor, ExecutorOptions, HandlerResult, Output, Registry, Report, async_trait};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) pending: VecDeque<(TaskId, Record, u32, u32)>,
    pub(crate) later: Vec<(Instant, (TaskId, Record, u32, u32))>,
    pub(crate) active: HashMap<TaskId, (ClaimToken, Record, u32, u32)>,
    pub(crate) ended: BTreeMap<TaskId, (State, Outcome)>,
    pub(crate) cancel: HashSet<TaskId>,
    pub(crate) progress: HashMap<TaskId, Progress>,
    pub(crate) workers: HashMap<WorkerId, (WorkerInfo, u64, Option<Exchanged>)>,
    pub(crate) retired: Vec<WorkerId>,
    /// Worker, number, settlements, wanted, claimed.
    pub(crate) exchanges: Vec<(WorkerId, u64, usize, usize, usize)>,
    pub(crate) settled: Vec<(TaskId, State)>,
    pub(crate) refused: Vec<TaskId>,
    pub(crate) most_active: usize,
    pub(crate) settings: QueueSettings,
    pub(crate) exists: bool,
}

#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) store: Mutex<Store>,
    pub(crate) down: AtomicBool,
    pub(crate) lose_replies: AtomicUsize,
    pub(crate) latency_ms: AtomicU64,
    pub(crate) paused: AtomicBool,
    wake: Notify,
}

pub(crate) fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

pub(crate) fn id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

pub(crate) fn task(name: &str, task_type: &str) -> NewTask {
    NewTask::new(id(name), TaskType::new(task_type).unwrap(), "{}")
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        let fake = Self::default();
        fake.store.lock().unwrap().exists = true;
        Arc::new(fake)
    }

    pub(crate) fn add(&self, task: &NewTask) {
        self.add_lost(task, 0);
    }

    pub(crate) fn add_lost(&self, task: &NewTask, losses: u32) {
        let record = Record::decode(&Record::stamp(&body(task, RequestId([0; 8])).unwrap(), 1).into()).unwrap();
        self.store.lock().unwrap().pending.push_back((task.id.clone(), record, 0, losses));
        self.wake.notify_one();
    }

    pub(crate) fn state(&self, task: &str) -> Option<State> {
        self.store.lock().unwrap().ended.get(&id(task)).map(|ended| ended.0)
    }

    pub(crate) fn outcome(&self, task: &str) -> Option<Outcome> {
        self.store.lock().unwrap().ended.get(&id(task)).map(|ended| ended.1.clone())
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Store) -> T) -> T {
        f(&mut self.store.lock().unwrap())
    }

    /// Waits for a condition on the store, at most a minute of the clock in force.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Store) -> bool) {
        eventually(what, || condition(&self.store.lock().unwrap())).await;
    }

    async fn reach(&self, operation: &'static str) -> Result<()> {
        let latency = self.latency_ms.load(Ordering::Relaxed);
        if latency > 0 {
            tokio::time::sleep(Duration::from_millis(latency)).await;
        }
        if self.down.load(Ordering::Relaxed) {
            return Err(BrokerError::Unavailable { operation, reason: "down".to_owned() });
        }
        Ok(())
    }

    /// Loses the workers, as if their leases had run out.
    pub(crate) fn lose_workers(&self) {
        let mut store = self.store.lock().unwrap();
        store.workers.clear();
        let lost: Vec<_> = store.active.drain().collect();
        for (task, (_, record, attempt, losses)) in lost {
            store.pending.push_front((task, record, attempt - 1, losses + 1));
        }
        drop(store);
        self.wake.notify_one();
    }
}

pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waited = timeout(Duration::from_mins(3), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

impl Store {
    fn settle(&mut self, settlement: &Settlement) -> Settled {
        let Settlement { task, token, outcome, .. } = settlement;
        if self.active.get(task).is_none_or(|active| active.0 != *token) {
            self.refused.push(task.clone());
            return Settled::Refused;
        }
        let (_, record, attempt, losses) = self.active.remove(task).unwrap();
        let asked = self.cancel.remove(task);
        let state = match outcome {
            Outcome::Succeeded { .. } => State::Succeeded,
            Outcome::Cancelled => State::Cancelled,
            _ if asked => State::Cancelled,
            Outcome::Failed { retry_in_ms: None, .. } | Outcome::Unserved => State::Dead,
            Outcome::Failed { retry_in_ms: Some(ms), .. } => {
                let due = Instant::now() + Duration::from_millis(*ms);
                self.later.push((due, (task.clone(), record, attempt, losses)));
                State::Retrying
            }
            Outcome::Released => {
                self.pending.push_front((task.clone(), record, attempt - 1, losses));
                State::Pending
            }
        };
        if !state.is_live() {
            assert!(self.ended.insert(task.clone(), (state, outcome.clone())).is_none(), "{task} ended twice");
        }
        self.settled.push((task.clone(), state));
        Settled::Now(state)
    }

    fn promote(&mut self) {
        let now = Instant::now();
        let (due, later) = self.later.drain(..).partition(|(at, _)| *at <= now);
        self.later = later;
        let due: Vec<(Instant, _)> = due;
        self.pending.extend(due.into_iter().map(|(_, task)| task));
    }
}

#[async_trait]
impl Broker for Fake {
    fn describe(&self) -> String {
        "fake".to_owned()
    }

    async fn ensure_queue(&self, _: &QueueName, settings: &QueueSettings) -> Result<bool> {
        self.reach("ensure").await?;
        Ok(self.with(|store| {
            store.settings = *settings;
            !std::mem::replace(&mut store.exists, true)
        }))
    }

    async fn settings(&self, queue: &QueueName) -> Result<QueueSettings> {
        self.reach("settings").await?;
        let unknown = || BrokerError::UnknownQueue { operation: "settings", queue: queue.clone() };
        self.with(|store| store.exists.then_some(store.settings).ok_or_else(unknown))
    }

    async fn register(&self, _: &QueueName, worker: &WorkerInfo) -> Result<()> {
        self.reach("register").await?;
        self.with(|store| store.workers.insert(worker.id, (worker.clone(), 0, None)));
        Ok(())
    }

    async fn exchange(&self, _: &QueueName, exchange: &Exchange) -> Result<Exchanged> {
        self.reach("exchange").await?;
        let paused = self.paused.load(Ordering::Relaxed);
        let answer = self.with(|store| {
            let Some((_, last, answer)) = store.workers.get(&exchange.worker).cloned() else {
                return Exchanged::Retired;
            };
            if exchange.number == last {
                store.exchanges.push((exchange.worker, exchange.number, exchange.finished.len(), exchange.want, 0));
                return answer.unwrap();
            }
            assert_eq!(exchange.number, last + 1, "a number was left out");
            let settled = exchange.finished.iter().map(|settlement| store.settle(settlement)).collect();
            store.promote();
            let want = if paused { 0 } else { exchange.want.min(store.pending.len()) };
            let batch: Vec<_> = store.pending.drain(..want).collect();
            let token = ClaimToken { worker: exchange.worker, counter: exchange.number };
            let claims: Vec<Claim> = batch
                .into_iter()
                .map(|(task, record, failures, losses)| {
                    store.active.insert(task.clone(), (token, record.clone(), failures + 1, losses));
                    Claim { task, token, record, attempt: failures + 1, losses, started_at_ms: 1 }
                })
                .collect();
            store.most_active = store.most_active.max(store.active.len());
            let log = (exchange.worker, exchange.number, exchange.finished.len(), exchange.want, claims.len());
            store.exchanges.push(log);
            let now = Instant::now();
            let next_due_ms =
                store.later.iter().map(|(at, _)| u64::try_from((*at - now).as_millis()).unwrap() + 1).min();
            let done = Exchanged::Done { settled, claims, pending: store.pending.len() as u64, next_due_ms, paused };
            store.workers.insert(
                exchange.worker,
                (store.workers[&exchange.worker].0.clone(), exchange.number, Some(done.clone())),
            );
            done
        });
        let lose = |left: usize| left.checked_sub(1);
        match self.lose_replies.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lose) {
            Ok(_) => Err(BrokerError::Unavailable { operation: "exchange", reason: "reply lost".to_owned() }),
            Err(_) => Ok(answer),
        }
    }

    async fn wait(&self, _: &QueueName, until: Duration) -> Result<()> {
        self.reach("wait").await?;
        let ended = timeout(until, self.wake.notified()).await;
        self.reach("wait").await?;
        drop(ended);
        Ok(())
    }

    async fn heartbeat(&self, _: &QueueName, worker: &WorkerId, told: &[(TaskId, Progress)]) -> Result<Heartbeat> {
        self.reach("heartbeat").await?;
        Ok(self.with(|store| {
            if !store.workers.contains_key(worker) {
                return Heartbeat::Retired;
            }
            store.progress.extend(told.iter().cloned());
            Heartbeat::Renewed { cancelled: store.cancel.iter().cloned().collect() }
        }))
    }

    async fn retire(&self, _: &QueueName, worker: &WorkerId) -> Result<()> {
        self.reach("retire").await?;
        self.with(|store| {
            store.workers.remove(worker);
            store.retired.push(*worker);
            let held: Vec<_> = store.active.extract_if(|_, active| active.0.worker == *worker).collect();
            for (task, (_, record, attempt, losses)) in held {
                store.pending.push_front((task, record, attempt - 1, losses));
            }
        });
        Ok(())
    }

    async fn maintain(&self, _: &QueueName) -> Result<Maintained> {
        self.reach("maintain").await?;
        Ok(Maintained::default())
    }

    async fn ping(&self) -> Result<()> {
        self.reach("ping").await
    }
    async fn configure(&self, _: &QueueName, settings: &QueueSettings) -> Result<()> {
        self.with(|store| store.settings = *settings);
        Ok(())
    }
    async fn own(&self, _: &QueueName, _: &QueueOwner, _: Option<&QueueOwner>) -> Result<Ownership> {
        unimplemented!()
    }
    async fn disown(&self, _: &QueueName, _: &QueueOwner) -> Result<bool> {
        unimplemented!()
    }
    async fn owner(&self, _: &QueueName) -> Result<Option<QueueOwner>> {
        unimplemented!()
    }
    async fn drop_queue(&self, _: &QueueName, _: &QueueOwner) -> Result<bool> {
        unimplemented!()
    }
    async fn queues(&self) -> Result<Vec<QueueName>> {
        unimplemented!()
    }
    async fn enqueue(&self, _: &QueueName, _: &[NewTask], _: RequestId) -> Result<Vec<Enqueued>> {
        unimplemented!()
    }
    async fn get(&self, _: &QueueName, _: &TaskId) -> Result<Option<TaskView>> {
        unimplemented!()
    }
    async fn list(&self, _: &QueueName, _: &ListQuery) -> Result<Page> {
        unimplemented!()
    }
    async fn stats(&self, _: &QueueName) -> Result<QueueStats> {
        unimplemented!()
    }
    async fn workers(&self, _: &QueueName) -> Result<Vec<WorkerView>> {
        unimplemented!()
    }
    async fn cancel(&self, _: &QueueName, _: &TaskId) -> Result<Cancelled> {
        unimplemented!()
    }
    async fn retry(&self, _: &QueueName, _: &TaskId) -> Result<Requeued> {
        unimplemented!()
    }
    async fn delete(&self, _: &QueueName, _: &TaskId) -> Result<Deleted> {
        unimplemented!()
    }
    async fn pause(&self, _: &QueueName, _: bool) -> Result<bool> {
        unimplemented!()
    }
    async fn purge(&self, _: &QueueName, _: State) -> Result<u64> {
        unimplemented!()
    }
    async fn subscribe(&self, _: &QueueName) -> Result<Subscription> {
        unimplemented!()
    }
    async fn close(&self) {}
}

/// What handlers of the tests do, and a diary of what they did.
#[derive(Default)]
pub(crate) struct Diary {
    pub(crate) started: Mutex<Vec<String>>,
    pub(crate) running: AtomicUsize,
    pub(crate) most: AtomicUsize,
}

impl Diary {
    pub(crate) fn started(&self) -> Vec<String> {
        self.started.lock().unwrap().clone()
    }
}

pub(crate) struct InFlight(Arc<Diary>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Diary {
    pub(crate) fn enter(self: &Arc<Self>, cx: &Context) -> InFlight {
        self.started.lock().unwrap().push(cx.task().to_string());
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        InFlight(Arc::clone(self))
    }
}

/// Types: `quick` ends at once, `short` after 50 ms, `stuck` never and ignores its token, `polite` ends when told,
/// `broken` panics, `failing` fails.
pub(crate) fn registry(diary: &Arc<Diary>) -> Arc<Registry> {
    let mut registry = Registry::new();
    let mut add = |name: &str, f: fn(Context) -> futures::future::BoxFuture<'static, HandlerResult>| {
        let diary = Arc::clone(diary);
        let handler = move |cx: Context| {
            let diary = Arc::clone(&diary);
            async move {
                let _entered = diary.enter(&cx);
                f(cx).await
            }
        };
        registry.add(name, handler).unwrap();
    };
    add("quick", |_| Box::pin(async { Ok(Output::NONE) }));
    add("short", |_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(Output::NONE)
        })
    });
    add("stuck", |_| Box::pin(std::future::pending()));
    add("polite", |cx| {
        Box::pin(async move {
            cx.progress(40, "waiting to be told");
            cx.cancelled().await;
            Err(tidemill_executor::HandlerError::transient("told to end"))
        })
    });
    add("broken", |_| Box::pin(async { panic!("a fault of {}", "mine") }));
    add("failing", |_| Box::pin(async { Err(std::io::Error::other("no luck"))? }));
    Arc::new(registry)
}

/// An executor on a store in memory, under way.
pub(crate) struct Rig {
    pub(crate) fake: Arc<Fake>,
    pub(crate) diary: Arc<Diary>,
    pub(crate) stop: CancellationToken,
    pub(crate) abort: CancellationToken,
    pub(crate) status: tokio::sync::watch::Receiver<tidemill_executor::Status>,
    pub(crate) metrics: Arc<tidemill_executor::Metrics>,
    pub(crate) pulse: tidemill_executor::Pulse,
    pub(crate) report: JoinHandle<Report>,
}

pub(crate) fn start(fake: Arc<Fake>, change: impl FnOnce(&mut ExecutorOptions)) -> Rig {
    let diary = Arc::default();
    let mut options = ExecutorOptions::new(queue());
    change(&mut options);
    let executor = Executor::new(Arc::clone(&fake) as Arc<dyn Broker>, registry(&diary), options);
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    let (status, metrics, pulse) = (executor.status(), executor.metrics(), executor.pulse());
    let report = tokio::spawn(executor.run(stop.clone(), abort.clone()));
    Rig { fake, diary, stop, abort, status, metrics, pulse, report }
}

impl Rig {
    pub(crate) async fn report(self) -> Report {
        timeout(Duration::from_mins(1), self.report).await.expect("the executor ends").unwrap()
    }

    pub(crate) async fn stopped(self) -> Report {
        self.stop.cancel();
        self.report().await
    }
}
