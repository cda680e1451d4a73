//! A worker on a store of its own, in a folder that goes with it.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidemill_broker::embedded::{ManualClock, SqliteBroker, SqliteOptions};
use tidemill_broker::{Broker, BrokerError};
use tidemill_core::policy::Retention;
use tidemill_core::{NewTask, QueueName, QueueSettings, RequestId, TaskId, TaskView};
use tidemill_executor::{Executor, ExecutorOptions, Registry};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::error::WorkerError;
use crate::worker::WorkerBuilder;

/// How long a run may take by the wall clock before it is called stuck.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked whether all is done.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How many ended tasks are kept: more than a test looks at.
const KEPT: u32 = 100_000;
/// How long they are kept, in seconds of a clock that skips all waiting: ten years.
const KEPT_S: u32 = 315_360_000;

/// A worker on a store of its own. Its clock stands still while a task runs or waits for a slot, and skips to the next
/// delayed or retried task when nothing else is left.
pub struct Mill {
    broker: Arc<SqliteBroker>,
    clock: Arc<ManualClock>,
    queue: QueueName,
    stop: CancellationToken,
    running: AbortOnDropHandle<()>,
    _home: TempDir,
}

/// Why a [`Mill`] came to no end.
#[derive(Debug, thiserror::Error)]
pub enum MillError {
    /// The worker cannot be put together.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The store failed or refused.
    #[error(transparent)]
    Store(#[from] BrokerError),
    /// There is no folder to be had for it.
    #[error("no folder for the store of the test: {0}")]
    Folder(#[from] std::io::Error),
    /// Something is never done.
    #[error("after a minute {active} tasks still run and {waiting} wait")]
    Stuck {
        /// How many run.
        active: u64,
        /// How many wait.
        waiting: u64,
    },
    /// There is no such task.
    #[error("there is no task {0}")]
    Unknown(String),
}

impl Mill {
    /// Starts a worker with these handlers. Broker, queue and slots that the builder names are left aside.
    pub async fn start<S>(worker: WorkerBuilder<S>) -> Result<Self, MillError> {
        Self::with(worker.into_registry()?).await
    }

    /// The same with handlers of a registry.
    pub async fn with(registry: Registry) -> Result<Self, MillError> {
        let home = tempfile::tempdir()?;
        let clock = Arc::new(ManualClock::default());
        let options = SqliteOptions { clock: clock.clone(), durable: false, ..SqliteOptions::new(home.path()) };
        let broker = SqliteBroker::open(options)?;
        let queue = QueueName::default_queue();
        let retention = {
            let mut retention = Retention::default();
            for kept in [&mut retention.succeeded, &mut retention.dead, &mut retention.cancelled] {
                (kept.count, kept.age_s) = (KEPT, KEPT_S);
            }
            retention
        };
        broker.ensure_queue(&queue, &QueueSettings { retention, ..QueueSettings::default() }).await?;
        let stop = CancellationToken::new();
        let options = ExecutorOptions::new(queue.clone());
        let executor = Executor::new(broker.clone(), Arc::new(registry), options);
        let until = stop.clone();
        let running = AbortOnDropHandle::new(tokio::spawn(async move {
            drop(executor.run(until, CancellationToken::new()).await);
        }));
        Ok(Self { broker, clock, queue, stop, running, _home: home })
    }

    /// Enqueues tasks.
    pub async fn enqueue(&self, tasks: Vec<NewTask>) -> Result<(), MillError> {
        let request = RequestId(Uuid::new_v4().into_bytes()[..8].try_into().unwrap_or_default());
        self.broker.enqueue(&self.queue, &tasks, request).await?;
        Ok(())
    }

    /// Waits until no task runs, waits, is delayed or is to be retried.
    pub async fn run_until_idle(&self) -> Result<(), MillError> {
        let began = Instant::now();
        loop {
            let stats = self.broker.stats(&self.queue).await?;
            let waiting = stats.pending + stats.delayed + stats.retrying;
            if stats.active + waiting == 0 {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(MillError::Stuck { active: stats.active, waiting });
            }
            if let (0, 0, Some(due_ms)) = (stats.active, stats.pending, stats.next_due_ms) {
                self.clock.advance(due_ms);
                self.broker.maintain(&self.queue).await?;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// A task as it stands.
    pub async fn task(&self, id: &str) -> Result<TaskView, MillError> {
        let unknown = || MillError::Unknown(id.to_owned());
        let task = TaskId::new(id).map_err(|_| unknown())?;
        self.broker.get(&self.queue, &task).await?.ok_or_else(unknown)
    }

    /// The store, for whatever else a test wants to do or see.
    pub fn broker(&self) -> Arc<dyn Broker> {
        self.broker.clone()
    }

    /// Ends the worker and waits for that. (Dropping it ends it too, without waiting.)
    pub async fn stop(self) {
        self.stop.cancel();
        // A panic of the executor itself would have shown as a task that never ends.
        self.running.await.ok();
        self.broker.close().await;
    }
}
