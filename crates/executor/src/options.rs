//! What an executor is told.

use std::time::Duration;

use tidemill_core::{QueueName, QueueSettings};

use crate::threads::Threads;

/// Slots of an executor that was not told how many.
pub const DEFAULT_SLOTS: usize = 10;
/// How long running tasks may go on after a stop, by default.
pub const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long running tasks may go on after their lease has ended, by default: a store that was away renews the leases
/// when it returns, so most of what runs on is not in vain.
pub const DEFAULT_LEASE_LOSS_GRACE: Duration = Duration::from_mins(1);

/// What an executor is told. `ExecutorOptions::new(queue)` has the defaults.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// The queue that it serves.
    pub queue: QueueName,
    /// How many tasks it runs at a time, at least 1.
    pub slots: usize,
    /// Where they run.
    pub threads: Threads,
    /// How long running tasks may go on after a stop.
    pub shutdown_timeout: Duration,
    /// How long running tasks may go on after their lease has ended by this process's monotonic clock.
    pub lease_loss_grace: Duration,
    /// A name for people: host and process id, or the pod's name.
    pub worker_name: String,
    /// The version of the program.
    pub version: String,
    /// Whether to create the queue where there is none.
    pub create_queue: bool,
    /// The settings of a queue that is created.
    pub settings: QueueSettings,
}

impl ExecutorOptions {
    /// The defaults for `queue`.
    pub fn new(queue: QueueName) -> Self {
        Self {
            queue,
            slots: DEFAULT_SLOTS,
            threads: Threads::per_processor(),
            shutdown_timeout: DEFAULT_SHUTDOWN_TIMEOUT,
            lease_loss_grace: DEFAULT_LEASE_LOSS_GRACE,
            worker_name: format!("pid-{}", std::process::id()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            create_queue: false,
            settings: QueueSettings::default(),
        }
    }
}
