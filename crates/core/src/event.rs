//! What is announced when tasks move.

use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::state::State;

/// A task as events name it: its id and declared duration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRef {
    /// Which task.
    pub id: TaskId,
    /// Its declared duration in milliseconds, 0 where it declares none.
    pub duration_ms: u32,
}

/// One thing that happened on a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// New tasks, in order; also dead and cancelled ones that were requeued.
    Scheduled(Vec<TaskRef>),
    /// The new head of the queue: will start as soon as a worker is free. Always before its start.
    Next(TaskRef),
    /// An attempt began.
    Start(TaskRef),
    /// A task ended for good: once per task, however it ended.
    Done(TaskRef, State),
}

/// The events of one operation, numbered per queue without a gap while someone listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventBatch {
    /// One more than that of the batch before it.
    pub number: u64,
    /// In the order in which they happened.
    pub events: Vec<Event>,
}
