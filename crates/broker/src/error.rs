//! What can go wrong between a caller and a store.

use tidemill_core::{NameError, QueueName, RecordError, TaskId};

/// The result of a broker operation.
pub type Result<T> = std::result::Result<T, BrokerError>;

/// An operation that was not done. Each names what was tried and on what.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// The store cannot be reached, or gave no answer in time. Whether the operation took effect is not known; all of
    /// them may be repeated (an enqueue with the same request id, an exchange with the same number).
    #[error("{operation}: the store cannot be reached: {reason}")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// What the connection said.
        reason: String,
    },
    /// There is no such queue.
    #[error("{operation}: there is no queue {queue}")]
    UnknownQueue {
        /// What was tried.
        operation: &'static str,
        /// The queue.
        queue: QueueName,
    },
    /// The queue holds as many live tasks as it may.
    #[error("queue {queue} is full: it may hold {max} live tasks")]
    QueueFull {
        /// The queue.
        queue: QueueName,
        /// Its bound.
        max: u64,
    },
    /// Some ids belong to live tasks of other requests. Nothing was enqueued.
    #[error("queue {queue} has live tasks of these ids already: {}", list(ids))]
    TaskExists {
        /// The queue.
        queue: QueueName,
        /// All of the ids that are taken, in the order of the batch.
        ids: Vec<TaskId>,
    },
    /// The same id stands twice in one batch. Nothing was enqueued.
    #[error("task id {0:?} stands twice in one batch")]
    DuplicateId(TaskId),
    /// A list was asked to go on from what is no cursor of it.
    #[error("{0:?} is no cursor of this list; a cursor is what the page before it gave")]
    BadCursor(String),
    /// Who was to own a queue cannot be kept.
    #[error("the owner of a queue cannot be kept: {0}")]
    BadOwner(NameError),
    /// The store is full and takes in nothing more.
    #[error("{operation}: the store is full: {reason}")]
    StoreFull {
        /// What was tried.
        operation: &'static str,
        /// What the store said.
        reason: String,
    },
    /// The store cannot serve Tidemill as it is set up. Says how to mend it.
    #[error("{0}")]
    Unfit(String),
    /// What is stored cannot be read.
    #[error("{operation}: {source}")]
    Unreadable {
        /// What was tried.
        operation: &'static str,
        /// What is wrong with it.
        source: RecordError,
    },
    /// The store answered what this build does not understand, or failed inside.
    #[error("{operation}: the store answered unexpectedly: {reason}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// The answer.
        reason: String,
    },
}

impl BrokerError {
    /// Whether the same call may succeed later without anyone mending anything.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// What sort of error it is, in one word of a fixed few, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::UnknownQueue { .. } => "unknown_queue",
            Self::QueueFull { .. } => "queue_full",
            Self::TaskExists { .. } => "task_exists",
            Self::DuplicateId(_) => "duplicate_id",
            Self::BadCursor(_) => "bad_cursor",
            Self::BadOwner(_) => "bad_owner",
            Self::StoreFull { .. } => "store_full",
            Self::Unfit(_) => "unfit",
            Self::Unreadable { .. } => "unreadable",
            Self::Store { .. } => "store",
        }
    }
}

fn list(ids: &[TaskId]) -> String {
    ids.iter().map(|id| format!("{:?}", id.as_str())).collect::<Vec<_>>().join(", ")
}
