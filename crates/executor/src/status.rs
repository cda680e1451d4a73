//! What an executor tells of itself: where it stands, and what it has done.

use std::sync::atomic::{AtomicU64, Ordering};

use tidemill_core::WorkerId;

/// Where an executor stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The registered incarnation; `None` before the first contact with the store and between two incarnations.
    pub worker: Option<WorkerId>,
    /// Whether the store answered last time.
    pub reachable: bool,
    /// Tasks in its hands.
    pub active: usize,
    /// How many it runs at a time.
    pub slots: usize,
    /// Whether the queue holds back claims, as of the last exchange.
    pub paused: bool,
    /// Whether it takes no more tasks because it was told to stop.
    pub draining: bool,
    /// What went wrong last, while that is not mended.
    pub problem: Option<String>,
}

impl Status {
    /// Whether it is registered.
    pub fn is_registered(&self) -> bool {
        self.worker.is_some()
    }
}

/// What an executor has done since it began. Plain counters, for whoever exports them.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Exchanges that were answered.
    pub exchanges: AtomicU64,
    /// Operations of the loop that failed, repeated ones included.
    pub failures: AtomicU64,
    /// Settlements that were sent and answered: over `exchanges`, the size of a batch.
    pub settlements: AtomicU64,
    /// Most settlements in one exchange.
    pub largest_batch: AtomicU64,
    /// Tasks that were claimed.
    pub claims: AtomicU64,
    /// Handlers that were started.
    pub runs: AtomicU64,
    /// Milliseconds that handlers ran, all together.
    pub ran_ms: AtomicU64,
    /// Tasks that ended well.
    pub succeeded: AtomicU64,
    /// Attempts that failed, in whatever way.
    pub failed: AtomicU64,
    /// Of these, attempts that took too long.
    pub timed_out: AtomicU64,
    /// Of these, handlers that panicked.
    pub panicked: AtomicU64,
    /// Attempts that were stopped because someone cancelled the task.
    pub cancelled: AtomicU64,
    /// Tasks that were given back, those of a type that is not served included.
    pub released: AtomicU64,
    /// Settlements that came too late: the claim was another's by then.
    pub refused: AtomicU64,
    /// Heartbeats that were answered.
    pub heartbeats: AtomicU64,
    /// Incarnations that were registered.
    pub incarnations: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}
