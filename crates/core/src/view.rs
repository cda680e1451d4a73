//! What can be read of tasks, workers and queues.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::envelope::Record;
use crate::id::{TaskId, WorkerId};
use crate::name::TaskType;
use crate::policy::Priority;
use crate::state::State;
use crate::task::FailureKind;

/// How far a handler says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// 0–100.
    pub percent: u8,
    /// What it is doing, at most 256 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A past attempt that did not end well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Which attempt, from 1. A lost one has the number of the attempt that was under way.
    pub attempt: u32,
    /// Who ran it.
    pub worker: WorkerId,
    /// What sort of failure.
    pub kind: FailureKind,
    /// What went wrong.
    pub message: String,
    /// When it ended, in milliseconds since the Unix epoch, by the store's clock.
    pub ended_at_ms: u64,
    /// How long it ran, in milliseconds, where that is known.
    pub ran_ms: u64,
}

/// Everything about one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// Which task.
    pub id: TaskId,
    /// Picks the handler.
    pub task_type: TaskType,
    /// Where it stands.
    pub state: State,
    /// Who goes first.
    pub priority: Priority,
    /// A JSON object.
    pub payload: Bytes,
    /// Declared duration in milliseconds, 0 where it declares none.
    pub duration_ms: u32,
    /// Own number of retries; `None` is the queue's default.
    pub retries: Option<u16>,
    /// Own time per attempt in milliseconds; `None` is the queue's default.
    pub timeout_ms: Option<u64>,
    /// When the store took it.
    pub enqueued_at_ms: u64,
    /// When it is due, where it is delayed or retrying.
    pub due_at_ms: Option<u64>,
    /// When its present attempt began, where it is active.
    pub started_at_ms: Option<u64>,
    /// Who runs it, where it is active.
    pub worker: Option<WorkerId>,
    /// How far it says it is, where it is active and says so.
    pub progress: Option<Progress>,
    /// When it ended, where it has.
    pub ended_at_ms: Option<u64>,
    /// Attempts that failed so far (of the present life, where it was retried by hand).
    pub failures: u32,
    /// Workers lost with it so far.
    pub losses: u32,
    /// Its newest failed and lost attempts, oldest first.
    pub attempts: Vec<AttemptView>,
    /// Its result, a JSON value, where it succeeded with one.
    pub result: Option<Bytes>,
}

impl TaskView {
    /// What a record tells of a task in `state`, and nothing beyond.
    pub fn of(id: TaskId, record: Record, state: State) -> Self {
        Self {
            id,
            task_type: record.task_type,
            state,
            priority: record.priority,
            payload: record.payload,
            duration_ms: record.duration_ms,
            retries: record.retries,
            timeout_ms: record.timeout_ms,
            enqueued_at_ms: record.enqueued_at_ms,
            due_at_ms: None,
            started_at_ms: None,
            worker: None,
            progress: None,
            ended_at_ms: None,
            failures: 0,
            losses: 0,
            attempts: Vec::new(),
            result: None,
        }
    }
}

/// What a worker says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// This incarnation.
    pub id: WorkerId,
    /// A name for people: host and process id, or the pod's name.
    pub name: String,
    /// The types that it serves.
    pub types: Vec<TaskType>,
    /// How many tasks it runs at a time.
    pub slots: u32,
    /// The version of its program.
    pub version: String,
}

/// A registered worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// What it said of itself.
    pub info: WorkerInfo,
    /// When it registered, in milliseconds since the Unix epoch, by the store's clock.
    pub registered_at_ms: u64,
    /// How long its lease still holds, in milliseconds; negative when it has run out.
    pub lease_left_ms: i64,
    /// How many tasks it holds.
    pub active: u32,
    /// The ages of what it holds, in milliseconds since each claim, added up; by the store's clock.
    pub running_ms: u64,
}

/// How often each transition happened, since the queue came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Tasks taken in.
    pub enqueued: u64,
    /// Claims.
    pub started: u64,
    /// Tasks that succeeded.
    pub succeeded: u64,
    /// Attempts that failed, timed out ones included, losses not.
    pub failed: u64,
    /// Attempts that timed out.
    pub timed_out: u64,
    /// Failures that led to another attempt.
    pub retried: u64,
    /// Tasks that ended as dead.
    pub dead: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Claims that ended with their worker.
    pub lost: u64,
    /// Claims given back, those set aside for a worker that serves the type included.
    pub released: u64,
    /// Settlements refused because the claim was no longer the worker's.
    pub refused: u64,
    /// Dead, cancelled, delayed or retrying tasks that someone requeued.
    pub requeued: u64,
    /// Waiting or ended tasks that someone deleted. A waiting one counts as cancelled too.
    pub deleted: u64,
    /// Milliseconds that settled attempts ran, in total.
    pub ran_ms: u64,
}

/// A queue at a glance. Reading it costs the same however many tasks there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueueStats {
    /// Tasks that wait for a slot.
    pub pending: u64,
    /// Tasks that are not due yet.
    pub delayed: u64,
    /// Tasks in workers' hands.
    pub active: u64,
    /// Tasks that wait for their next attempt.
    pub retrying: u64,
    /// Kept tasks that succeeded.
    pub succeeded: u64,
    /// Kept dead letters.
    pub dead: u64,
    /// Kept cancelled tasks.
    pub cancelled: u64,
    /// Whether claims are held back.
    pub paused: bool,
    /// How long ago the head of the queue was enqueued, in milliseconds; `None` when nothing is pending.
    pub oldest_pending_ms: Option<u64>,
    /// Milliseconds until the next delayed or retrying task is due (0: now); `None` when there is none.
    pub next_due_ms: Option<u64>,
    /// Registered workers whose leases hold.
    pub workers: u32,
    /// How often each transition happened.
    pub counters: Counters,
}

impl QueueStats {
    /// How many tasks are in `state`.
    pub fn count(&self, state: State) -> u64 {
        match state {
            State::Delayed => self.delayed,
            State::Pending => self.pending,
            State::Active => self.active,
            State::Retrying => self.retrying,
            State::Succeeded => self.succeeded,
            State::Dead => self.dead,
            State::Cancelled => self.cancelled,
        }
    }
}
