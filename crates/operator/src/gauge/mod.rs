//! One gauge per TaskQueue: what its broker says of the queue, kept fresh.
//!
//! A gauge claims the queue for its TaskQueue, publishes the queue's settings, keeps it maintained (a queue without
//! workers has nobody else who would), reads its figures, and asks the autoscaler. When the answer changes, it asks for a
//! reconciliation. It polls, slowly while nothing happens; a queue without work is watched besides, so that its first task
//! is seen at once.

mod read;
mod settle;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tidemill_broker::Access;
use tidemill_core::{QueueName, QueueOwner, QueueStats};
use tidemill_telemetry::metrics::Metrics;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::brokers::Brokers;
use crate::crd::TaskQueueSpec;
use crate::scale::{Decision, Policy};

/// A TaskQueue's namespace and name.
pub type Key = (String, String);

/// What a reconciliation wants of a gauge.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The broker.
    pub access: Access,
    /// The queue on it.
    pub queue: QueueName,
    /// The TaskQueue.
    pub owner: QueueOwner,
    /// Where the queue's settings come from.
    pub spec: Arc<TaskQueueSpec>,
    /// What is asked of claims.
    pub pause: Pause,
    /// The autoscaler's bounds.
    pub policy: Policy,
    /// The pods that the Deployment asks for; `None` while there is none.
    pub replicas: Option<u32>,
    /// Those of them that are ready.
    pub ready: u32,
}

/// What a TaskQueue asks of its queue's claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// Hold them back.
    Hold,
    /// Let them go on: the TaskQueue had held them back and no longer does.
    Lift,
    /// Leave them as they are: someone may have paused the queue by hand.
    LeaveAlone,
}

/// What a gauge shows.
#[derive(Debug, Clone)]
pub enum Reading {
    /// Nothing yet.
    Waiting,
    /// Somebody else owns the queue.
    Conflict(QueueOwner),
    /// The broker cannot be trusted with tasks, and why.
    Unfit(String),
    /// The broker does not answer. What it said last, and the decision to hold.
    Unreachable {
        /// What went wrong.
        error: String,
        /// The last figures, and the decision made without fresh ones; `None` if it never answered.
        last: Option<Seen>,
    },
    /// Fresh figures.
    Live(Seen),
}

/// How many tasks each worker holds, by the pod's name.
pub type Busy = HashMap<String, u32>;

/// What was seen of a queue.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The queue at a glance.
    pub stats: QueueStats,
    /// How many tasks each worker holds, by the pod's name. Empty while nothing runs.
    pub busy: Busy,
    /// How many pods there should be.
    pub decision: Decision,
    /// Whether the pause that the TaskQueue asks for is in force.
    pub held: bool,
}

/// Tells whether the TaskQueue of a record is certainly no more.
pub type IsGone = Arc<dyn Fn(QueueOwner) -> BoxFuture<'static, bool> + Send + Sync>;

/// The gauges of all TaskQueues.
pub struct Gauges {
    running: Mutex<HashMap<Key, Gauge>>,
    shared: Arc<Shared>,
}

struct Shared {
    brokers: Brokers,
    changed: mpsc::Sender<Key>,
    is_gone: IsGone,
    born: Instant,
}

struct Gauge {
    target: watch::Sender<Target>,
    reading: watch::Receiver<Reading>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Gauges {
    /// No gauges yet. Whoever's figures change is sent to `changed`; what brokers are asked is counted in `metrics`.
    pub fn new(changed: mpsc::Sender<Key>, is_gone: IsGone, metrics: Arc<Metrics>) -> Self {
        let shared = Shared { brokers: Brokers::new(metrics), changed, is_gone, born: Instant::now() };
        Self { running: Mutex::default(), shared: Arc::new(shared) }
    }

    /// Follows a queue from now on, or as `target` has it now, and shows what is known of it.
    pub fn follow(&self, key: &Key, target: Target) -> Reading {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gauge) = running.get(key)
            && !gauge.task.is_finished()
        {
            let same = {
                let now = gauge.target.borrow();
                now.access == target.access && now.queue == target.queue && now.owner == target.owner
            };
            gauge.target.send_if_modified(|now| {
                let differs = *now != target;
                *now = target;
                differs
            });
            // What another broker said is not shown as this one's.
            return if same { gauge.reading.borrow().clone() } else { Reading::Waiting };
        }
        let (target, targets) = watch::channel(target);
        let (readings, reading) = watch::channel(Reading::Waiting);
        let stop = CancellationToken::new();
        let task = tokio::spawn(read::run(self.shared.clone(), key.clone(), targets, readings, stop.clone()));
        running.insert(key.clone(), Gauge { target, reading, stop, task });
        Reading::Waiting
    }

    /// Stops following a queue. Its broker hears nothing of it any more when this returns.
    pub async fn forget(&self, key: &Key) {
        let gauge = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        if let Some(gauge) = gauge {
            gauge.end().await;
        }
    }

    /// Stops following all of them.
    pub async fn forget_all(&self) {
        let all: Vec<Gauge> = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.drain().map(|(_, gauge)| gauge).collect()
        };
        for gauge in &all {
            gauge.stop.cancel();
        }
        for gauge in all {
            gauge.end().await;
        }
    }

    /// The fresh figures of all queues, each queue once: where several brokers have a queue of one name, the one of the
    /// first TaskQueue by namespace and name is shown.
    pub fn stats(&self) -> Vec<(QueueName, QueueStats)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gauges: Vec<_> = running.iter().collect();
        gauges.sort_by(|one, other| one.0.cmp(other.0));
        let mut shown: Vec<(QueueName, QueueStats)> = Vec::with_capacity(gauges.len());
        let mut names = std::collections::HashSet::new();
        for (_, gauge) in gauges {
            let queue = gauge.target.borrow().queue.clone();
            if let Reading::Live(seen) = &*gauge.reading.borrow()
                && names.insert(queue.clone())
            {
                shown.push((queue, seen.stats.clone()));
            }
        }
        shown
    }

    /// How many reconciliations were asked for and have not begun.
    pub fn waiting(&self) -> usize {
        self.shared.changed.max_capacity() - self.shared.changed.capacity()
    }

    /// The brokers, for what is asked of them beside the gauges.
    pub fn brokers(&self) -> &Brokers {
        &self.shared.brokers
    }
}

impl Gauge {
    async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a gauge ended badly");
        }
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.born.elapsed()
    }
}
