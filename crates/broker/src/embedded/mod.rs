//! The embedded store: SQLite in a directory of its own, for one process.
//!
//! ```text
//!   operations ──► writer (one thread) ──► store ──► session: enqueue, exchange, settle, maintain, controls, workers, owners
//!                      │ commits a batch of requests at once, then answers, then tells
//!                      ▼
//!                     hub ──► waiters and watchers
//!   reads ───────► reader (a few connections) ──► reads
//! ```
//!
//! An operation is answered when it is on disk (WAL, `synchronous=FULL`): what was acknowledged survives `kill -9` and a
//! power cut. One commit serves all requests that have queued up meanwhile. A queue's figures are one row that changes
//! with its tasks, in the same transaction, so `stats` costs the same however many tasks there are.
//!
//! What has ended is forgotten as it is overtaken: an operation that ends `n` tasks forgets up to `2n` beyond the count
//! that is kept, so only settings that became stricter leave an excess for a while. Ages are maintenance's business.

mod clock;
mod controls;
mod database;
mod enqueue;
mod exchange;
mod fault;
mod hub;
mod maintain;
mod owners;
mod reader;
mod reads;
mod rows;
mod session;
mod settle;
#[cfg(feature = "conformance")]
mod snapshot;
mod store;
#[cfg(test)]
mod tests;
mod workers;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use tidemill_core::{
    NewTask, Progress, QueueName, QueueOwner, QueueSettings, QueueStats, RequestId, State, TaskId, TaskView, WorkerId,
    WorkerInfo, WorkerView,
};

pub use self::clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "conformance")]
pub use self::snapshot::Snapshot;

use self::database::Directory;
use self::enqueue::Batch;
use self::fault::Outcome;
use self::hub::{Hub, Shared};
use self::owners::Dropping;
use self::reader::Readers;
use self::session::Session;
use self::store::Store;
use self::writer::Writer;
use crate::contract::{
    Broker, Cancelled, Deleted, Enqueued, Exchange, Exchanged, Heartbeat, ListQuery, MAINTAIN_MAX, Maintained,
    Ownership, Page, Requeued,
};
use crate::error::{BrokerError, Result};
use crate::subscription::Subscription;

/// Where the store lives unless it is told otherwise.
pub const DEFAULT_DIR: &str = "./tidemill-data";

/// How to open the store.
#[derive(Clone)]
pub struct SqliteOptions {
    /// Where its files are; created if missing.
    pub dir: PathBuf,
    /// What tells it the time.
    pub clock: Arc<dyn Clock>,
    /// Whether each commit waits for the disk. Off, a power cut loses the last ones: for tests.
    pub durable: bool,
}

/// The embedded store.
pub struct SqliteBroker {
    writer: Writer,
    readers: Arc<Readers>,
    hub: Arc<Hub>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
}

impl SqliteOptions {
    /// The machine's clock, and durable.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), clock: Arc::new(SystemClock::default()), durable: true }
    }
}

impl SqliteBroker {
    /// Opens the store, creating it if there is none.
    ///
    /// [`BrokerError::Unfit`] where another process has it open, the directory cannot be written, or its database is of
    /// a newer format or no database of ours.
    pub fn open(options: SqliteOptions) -> Result<Arc<Self>> {
        let SqliteOptions { dir, clock, durable } = options;
        let hub = Arc::new(Hub::default());
        let directory = Directory::hold(&dir)?;
        let store = Store::open(directory, durable, clock.clone(), hub.clone())?;
        let readers = Readers::open(store.directory())?;
        let writer = Writer::start(store)?;
        Ok(Arc::new(Self { writer, readers, hub, clock, dir }))
    }

    /// How many transactions were committed since it was opened. Each holds the operations that came together.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Keeps the whole database as it is.
    #[cfg(feature = "conformance")]
    pub async fn snapshot(&self) -> Result<Snapshot> {
        self.writer.alone("snapshot", |store| store.snapshot()).await
    }

    /// Puts the whole database back, as if the last writes had been lost.
    #[cfg(feature = "conformance")]
    pub async fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        let snapshot = snapshot.clone();
        self.writer.alone("restore", move |store| store.restore(&snapshot)).await
    }

    async fn on_queue<T, F>(&self, operation: &'static str, queue: &QueueName, body: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Session<'_>) -> Outcome<T> + Send + 'static,
    {
        let queue = queue.clone();
        self.writer.write(operation, move |store| store.on_queue(operation, &queue, body)).await
    }

    async fn read<T, F>(&self, operation: &'static str, queue: &QueueName, body: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &QueueName) -> Outcome<T> + Send + 'static,
    {
        let queue = queue.clone();
        self.readers.read(operation, move |connection| body(connection, &queue)).await
    }

    fn shared(&self, operation: &'static str, queue: &QueueName) -> Result<Arc<Shared>> {
        if self.hub.is_closed() {
            return Err(closed(operation));
        }
        self.hub.get(queue).ok_or_else(|| BrokerError::UnknownQueue { operation, queue: queue.clone() })
    }
}

#[async_trait]
impl Broker for SqliteBroker {
    fn describe(&self) -> String {
        format!("sqlite at {}", self.dir.display())
    }

    async fn ping(&self) -> Result<()> {
        self.writer.write("ping", |_| Ok(())).await
    }

    async fn ensure_queue(&self, queue: &QueueName, settings: &QueueSettings) -> Result<bool> {
        // A full disk takes no queue in, but one that is there must be served and shown.
        match self.settings(queue).await {
            Err(BrokerError::UnknownQueue { .. }) => {
                let (queue, settings) = (queue.clone(), *settings);
                self.writer.write("ensure_queue", move |store| store.create(&queue, &settings)).await
            }
            known => known.map(|_| false),
        }
    }

    async fn configure(&self, queue: &QueueName, settings: &QueueSettings) -> Result<()> {
        let (queue, settings) = (queue.clone(), *settings);
        let configure = move |store: &mut Store| {
            store.create(&queue, &settings)?;
            store.on_queue("configure", &queue, |session| {
                session.queue.settings = settings;
                Ok(())
            })
        };
        self.writer.write("configure", configure).await
    }

    async fn settings(&self, queue: &QueueName) -> Result<QueueSettings> {
        self.read("settings", queue, reads::settings).await
    }

    async fn own(&self, queue: &QueueName, owner: &QueueOwner, instead_of: Option<&QueueOwner>) -> Result<Ownership> {
        owner.check().map_err(BrokerError::BadOwner)?;
        let (owner, instead_of) = (owner.clone(), instead_of.cloned());
        self.on_queue("own", queue, move |session| Ok(session.own(owner, instead_of.as_ref()))).await
    }

    async fn disown(&self, queue: &QueueName, owner: &QueueOwner) -> Result<bool> {
        let owner = owner.clone();
        self.on_queue("disown", queue, move |session| Ok(session.disown(&owner))).await
    }

    async fn owner(&self, queue: &QueueName) -> Result<Option<QueueOwner>> {
        self.read("owner", queue, reads::owner).await
    }

    async fn drop_queue(&self, queue: &QueueName, owner: &QueueOwner) -> Result<bool> {
        let step = MAINTAIN_MAX as u64;
        // As many steps as the tasks at first take: what comes in meanwhile goes with the last, however much it is.
        let mut steps: Option<u64> = None;
        loop {
            let most = if steps == Some(0) { u64::MAX } else { step };
            let (name, owner) = (queue.clone(), owner.clone());
            match self.writer.write("drop_queue", move |store| store.drop_queue(&name, &owner, most)).await? {
                Dropping::Refused => return Ok(false),
                Dropping::Gone => return Ok(true),
                Dropping::Left(tasks) => steps = Some(steps.map_or(tasks.div_ceil(step), |left| left - 1)),
            }
        }
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        self.readers.read("queues", reads::queues).await
    }

    async fn enqueue(&self, queue: &QueueName, batch: &[NewTask], request: RequestId) -> Result<Vec<Enqueued>> {
        let batch = Batch::new(batch, request)?;
        self.on_queue("enqueue", queue, move |session| session.enqueue(&batch)).await
    }

    async fn register(&self, queue: &QueueName, worker: &WorkerInfo) -> Result<()> {
        let worker = worker.clone();
        self.on_queue("register", queue, move |session| session.register(&worker)).await
    }

    async fn exchange(&self, queue: &QueueName, exchange: &Exchange) -> Result<Exchanged> {
        let exchange = exchange.clone();
        self.on_queue("exchange", queue, move |session| session.exchange(&exchange)).await
    }

    async fn wait(&self, queue: &QueueName, until: Duration) -> Result<()> {
        let shared = self.shared("wait", queue)?;
        self.hub.wait(&shared, self.clock.as_ref(), until).await;
        if self.hub.is_closed() { Err(closed("wait")) } else { Ok(()) }
    }

    async fn heartbeat(
        &self,
        queue: &QueueName,
        worker: &WorkerId,
        progress: &[(TaskId, Progress)],
    ) -> Result<Heartbeat> {
        let (worker, progress) = (*worker, progress.to_vec());
        self.on_queue("heartbeat", queue, move |session| session.heartbeat(&worker, &progress)).await
    }

    async fn retire(&self, queue: &QueueName, worker: &WorkerId) -> Result<()> {
        let worker = *worker;
        self.on_queue("retire", queue, move |session| session.retire(&worker)).await
    }

    async fn maintain(&self, queue: &QueueName) -> Result<Maintained> {
        self.on_queue("maintain", queue, |session| session.maintain(MAINTAIN_MAX)).await
    }

    async fn get(&self, queue: &QueueName, task: &TaskId) -> Result<Option<TaskView>> {
        let task = task.clone();
        self.read("get", queue, move |connection, queue| reads::get(connection, queue, &task)).await
    }

    async fn list(&self, queue: &QueueName, query: &ListQuery) -> Result<Page> {
        let query = query.clone();
        self.read("list", queue, move |connection, queue| reads::list(connection, queue, &query)).await
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats> {
        let clock = self.clock.clone();
        self.read("stats", queue, move |connection, queue| reads::stats(connection, queue, clock.now_ms())).await
    }

    async fn workers(&self, queue: &QueueName) -> Result<Vec<WorkerView>> {
        let clock = self.clock.clone();
        self.read("workers", queue, move |connection, queue| reads::workers(connection, queue, clock.now_ms())).await
    }

    async fn cancel(&self, queue: &QueueName, task: &TaskId) -> Result<Cancelled> {
        let task = task.clone();
        self.on_queue("cancel", queue, move |session| session.cancel(&task)).await
    }

    async fn retry(&self, queue: &QueueName, task: &TaskId) -> Result<Requeued> {
        let task = task.clone();
        self.on_queue("retry", queue, move |session| session.retry(&task)).await
    }

    async fn delete(&self, queue: &QueueName, task: &TaskId) -> Result<Deleted> {
        let task = task.clone();
        self.on_queue("delete", queue, move |session| session.delete(&task)).await
    }

    async fn pause(&self, queue: &QueueName, paused: bool) -> Result<bool> {
        self.on_queue("pause", queue, move |session| Ok(session.pause(paused))).await
    }

    async fn purge(&self, queue: &QueueName, state: State) -> Result<u64> {
        let step = MAINTAIN_MAX as u64;
        let mut left = self.on_queue("purge", queue, move |session| Ok(session.queue.figures.count(state))).await?;
        let mut purged = 0;
        while left > 0 {
            let most = left.min(step);
            let dropped = self.on_queue("purge", queue, move |session| session.purge(state, most)).await?;
            purged += dropped;
            left -= dropped;
            if dropped < most {
                break;
            }
        }
        Ok(purged)
    }

    async fn subscribe(&self, queue: &QueueName) -> Result<Subscription> {
        let subscription = self.shared("subscribe", queue)?.subscribe().ok_or_else(|| closed("subscribe"))?;
        // What was committed before this was perhaps not announced; what comes after is.
        self.ping().await?;
        Ok(subscription)
    }

    async fn close(&self) {
        self.hub.close();
        self.readers.close();
        self.writer.close().await;
    }
}

fn closed(operation: &'static str) -> BrokerError {
    BrokerError::Unavailable { operation, reason: "it is closed".to_owned() }
}
